//! `client_address`: who is asking, as a limiter's key.

use crate::arguments::{invalid, unsigned};
use crate::engine;
use forebay::ClientAddress;
use pyo3::prelude::*;

/// The address that a limiter should count a client by.
#[pyfunction]
#[pyo3(signature = (peer, /, forwarded_for=None, trusted_hops=0, ipv6_prefix=64))]
pub fn client_address(
    py: Python<'_>,
    peer: &str,
    forwarded_for: Option<&str>,
    #[pyo3(from_py_with = hops)] trusted_hops: usize,
    #[pyo3(from_py_with = bits)] ipv6_prefix: u8,
) -> PyResult<String> {
    engine::attempt(py, || {
        ClientAddress::behind(peer, forwarded_for.unwrap_or_default(), trusted_hops)?
            .ipv6_prefix(ipv6_prefix)
            .map(|address| address.to_string())
    })
}

fn hops(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    // More hops than there can be entries are as good as any.
    Ok(usize::try_from(unsigned("trusted_hops", value)?).unwrap_or(usize::MAX))
}

fn bits(value: &Bound<'_, PyAny>) -> PyResult<u8> {
    u8::try_from(unsigned("ipv6_prefix", value)?)
        .map_err(|_| invalid("ipv6_prefix", value, "0 to 128"))
}
