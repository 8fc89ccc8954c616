//! An object of options: known names only, each checked when it is read.

use crate::duration::duration;
use crate::failure::Failure;
use crate::js::{Env, Type, Value};
use crate::number::count;
use crate::text;
use std::time::Duration;

/// The options of one call.
pub struct Options<'e> {
    env: Env<'e>,
    object: Value<'e>,
}

impl<'e> Options<'e> {
    /// The options; `None` for `undefined`. A name that is not `known` is an
    /// error: a misspelt option that does nothing costs a day.
    pub fn read(env: Env<'e>, object: Value<'e>, known: &[&str]) -> Result<Option<Self>, Failure> {
        match env.type_of(object)? {
            Type::Undefined => return Ok(None),
            Type::Object => {}
            other => {
                return Err(Failure::of_type(
                    "options",
                    other.name(),
                    format!("an object with {}", known.join(", ")),
                ))
            }
        }
        for name in env.own_names(object)? {
            let name = text::to_string(env, name, "options")?.unwrap_or_default();
            if !known.contains(&name.as_str()) {
                return Err(Failure::of_type(
                    "options",
                    format!("{name:?}"),
                    known.join(", "),
                ));
            }
        }
        Ok(Some(Options { env, object }))
    }

    /// The option, unless it is absent or `undefined`.
    pub fn value(&self, name: &str) -> Result<Option<Value<'e>>, Failure> {
        let value = self.env.get(self.object, name)?;
        Ok(match self.env.type_of(value)? {
            Type::Undefined => None,
            _ => Some(value),
        })
    }

    /// A whole number.
    pub fn count(&self, name: &'static str) -> Result<Option<u64>, Failure> {
        self.value(name)?
            .map(|value| count(self.env, value, name, u64::MAX))
            .transpose()
    }

    /// A whole number of 32 bits.
    pub fn small_count(&self, name: &'static str) -> Result<Option<u32>, Failure> {
        self.value(name)?
            .map(|value| count(self.env, value, name, u32::MAX.into()).map(|n| n as u32))
            .transpose()
    }

    /// A duration.
    pub fn duration(&self, name: &'static str) -> Result<Option<Duration>, Failure> {
        self.value(name)?
            .map(|value| duration(self.env, value, name))
            .transpose()
    }

    /// Text.
    pub fn text(&self, name: &'static str) -> Result<Option<String>, Failure> {
        self.value(name)?
            .map(|value| self::name(self.env, value, name))
            .transpose()
    }

    /// `true` or `false`.
    pub fn boolean(&self, name: &'static str) -> Result<Option<bool>, Failure> {
        let Some(value) = self.value(name)? else {
            return Ok(None);
        };
        match self.env.as_boolean(value)? {
            None => Err(Failure::of_type(
                name,
                self.env.type_of(value)?.name(),
                "true or false",
            )),
            is => Ok(is),
        }
    }
}

/// A name: text, which the core checks further.
pub fn name(env: Env<'_>, value: Value<'_>, argument: &'static str) -> Result<String, Failure> {
    match text::to_string(env, value, argument)? {
        Some(name) => Ok(name),
        None => Err(Failure::of_type(
            argument,
            env.type_of(value)?.name(),
            "a string",
        )),
    }
}
