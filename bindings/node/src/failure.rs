//! Errors on their way from Rust to `throw`.

use crate::js::{Env, Value};
use crate::realm::Realm;
use forebay::Error;
use napi_sys as sys;
use std::fmt::Display;
use std::ptr;

/// What a verb answers.
pub type Answer<'e> = Result<Value<'e>, Failure>;

/// Why a verb did not answer.
pub enum Failure {
    /// An error of the core, or one in its words.
    Core(Error),
    /// An argument of the wrong type: the same words, as a `TypeError`.
    Type(Error),
    /// JavaScript has thrown already (a getter, a full heap).
    Thrown,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Core(error)
    }
}

impl Failure {
    /// An argument of the wrong type.
    pub fn of_type(argument: &'static str, given: impl Display, allowed: impl Display) -> Self {
        Failure::Type(Error::invalid(argument, given, allowed))
    }

    /// Throws it. The package's own function (`lib/errors.js`) makes the error
    /// object, so that native and JavaScript errors are of the same classes.
    #[cold]
    pub fn throw(self, env: Env<'_>, realm: Option<&Realm>) {
        let (error, kind) = match self {
            Failure::Thrown => return,
            Failure::Core(error) => {
                let kind = match error {
                    Error::InvalidArgument { .. } | Error::TooLarge { .. } => "range",
                    _ => "core",
                };
                (error, kind)
            }
            Failure::Type(error) => (error, "type"),
        };
        let (code, message) = (error.code().name(), error.to_string());
        // Anything that fails here fails because JavaScript has thrown or is
        // being torn down: there is nothing left to tell.
        let _ = (|| -> Result<(), Failure> {
            let code = env.string(code.as_bytes())?;
            let message = env.string(message.as_bytes())?;
            let made = match realm {
                Some(realm) => {
                    realm.make_error(env, [code, message, env.string(kind.as_bytes())?])?
                }
                None => None,
            };
            // SAFETY: the values are of this environment and call.
            unsafe {
                let mut error = ptr::null_mut();
                match made {
                    Some(made) => error = made.raw(),
                    None => {
                        sys::napi_create_error(env.raw(), code.raw(), message.raw(), &mut error);
                    }
                }
                sys::napi_throw(env.raw(), error);
            }
            Ok(())
        })();
    }
}
