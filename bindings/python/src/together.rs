//! `take_all`: one request against several limits.

use crate::arguments::{tier_of, type_name, unsigned};
use crate::engine;
use crate::key::with_key;
use crate::limiter::Limiter;
use crate::verdict::Verdict;
use forebay::Charge;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Holds one request against several limits: all admit it, or none is charged.
#[pyfunction]
#[pyo3(signature = (requests, /))]
pub fn take_all(py: Python<'_>, requests: &Bound<'_, PyAny>) -> PyResult<(bool, Vec<Verdict>)> {
    // All are read before any reaches the engine: a bad one changes nothing.
    let requests = requests
        .try_iter()?
        .map(|request| Request::of(&request?))
        .collect::<PyResult<Vec<_>>>()?;
    let (allowed, verdicts) = engine::attempt(py, || {
        let requests: Vec<_> = requests.iter().map(Request::ask).collect();
        forebay::take_all(&requests)
    })?;
    Ok((allowed, verdicts.into_iter().map(Verdict::from).collect()))
}

/// A request as Python gives it, read.
struct Request<'py> {
    limiter: Bound<'py, Limiter>,
    key: Vec<u8>,
    cost: u64,
    tier: Option<String>,
}

impl<'py> Request<'py> {
    fn of(request: &Bound<'py, PyAny>) -> PyResult<Request<'py>> {
        let not_one = |given: String| {
            let error =
                format!("requests: each a tuple (limiter, key[, cost[, tier]]), not {given}");
            PyTypeError::new_err(error)
        };
        let parts = request
            .cast::<PyTuple>()
            .map_err(|_| not_one(type_name(request)))?;
        if !(2..=4).contains(&parts.len()) {
            return Err(not_one(format!("one of {} items", parts.len())));
        }
        let limiter = parts.get_item(0)?;
        let limiter = limiter.cast_into::<Limiter>().map_err(|error| {
            let given = error.into_inner();
            not_one(format!("one with a {} first", type_name(&given)))
        })?;
        Ok(Request {
            key: with_key(&parts.get_item(1)?, <[u8]>::to_vec)?,
            cost: match parts.get_item(2) {
                Ok(cost) => unsigned("cost", &cost)?,
                Err(_) => 1,
            },
            tier: match parts.get_item(3) {
                Ok(tier) => tier_of(&tier)?,
                Err(_) => None,
            },
            limiter,
        })
    }

    fn ask(&self) -> forebay::Request<'_> {
        let charge = Charge {
            cost: self.cost,
            tier: self.tier.as_deref(),
            now: None,
        };
        self.limiter.get().inner().request(&*self.key, charge)
    }
}
