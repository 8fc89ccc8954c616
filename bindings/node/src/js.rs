//! JavaScript values: making and reading them through Node-API.
//!
//! An [`Env`] and its [`Value`]s live for one call from JavaScript, which the
//! lifetime `'e` says: neither can be kept. Every status is checked.

use crate::failure::{Answer, Failure};
use forebay::Error;
use napi_sys as sys;
use std::marker::PhantomData;
use std::ptr;

/// The JavaScript environment during one call.
#[derive(Clone, Copy)]
pub struct Env<'e> {
    raw: sys::napi_env,
    call: PhantomData<&'e ()>,
}

/// A JavaScript value during one call.
#[derive(Clone, Copy)]
pub struct Value<'e> {
    raw: sys::napi_value,
    call: PhantomData<&'e ()>,
}

impl Value<'_> {
    /// The value as Node-API takes it.
    pub fn raw(self) -> sys::napi_value {
        self.raw
    }
}

/// What `typeof` tells, and whether an object is an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `undefined`
    Undefined,
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// a number
    Number,
    /// a string
    String,
    /// a symbol
    Symbol,
    /// an object that is not an array
    Object,
    /// an array
    Array,
    /// a function
    Function,
    /// a bigint
    BigInt,
    /// something of Node-API's own
    External,
}

impl Type {
    /// The type in a sentence: `a number`.
    pub fn name(self) -> &'static str {
        match self {
            Type::Undefined => "undefined",
            Type::Null => "null",
            Type::Boolean => "a boolean",
            Type::Number => "a number",
            Type::String => "a string",
            Type::Symbol => "a symbol",
            Type::Object => "an object",
            Type::Array => "an array",
            Type::Function => "a function",
            Type::BigInt => "a bigint",
            Type::External => "an external",
        }
    }
}

/// `Ok` for `napi_ok`; an exception under way stays under way.
pub fn check(status: sys::napi_status) -> Result<(), Failure> {
    match status {
        sys::Status::napi_ok => Ok(()),
        sys::Status::napi_pending_exception => Err(Failure::Thrown),
        other => Err(Failure::Core(Error::Panic {
            message: format!("Node-API answered with status {other}"),
        })),
    }
}

impl<'e> Env<'e> {
    /// The environment that Node handed to a callback.
    ///
    /// # Safety
    /// `raw` must be live and on its own thread for all of `'e`.
    pub unsafe fn new(raw: sys::napi_env) -> Self {
        Env {
            raw,
            call: PhantomData,
        }
    }

    /// The environment as Node-API takes it.
    pub fn raw(self) -> sys::napi_env {
        self.raw
    }

    /// A value that Node-API gave, now under this call's lifetime.
    ///
    /// # Safety
    /// `raw` must be a value of this environment, valid for all of `'e`.
    pub unsafe fn adopt(self, raw: sys::napi_value) -> Value<'e> {
        Value {
            raw,
            call: PhantomData,
        }
    }

    /// Runs one Node-API function that writes a value.
    fn make(
        self,
        write: impl FnOnce(sys::napi_env, *mut sys::napi_value) -> sys::napi_status,
    ) -> Answer<'e> {
        let mut raw = ptr::null_mut();
        check(write(self.raw, &mut raw))?;
        // SAFETY: Node-API has just made it in the scope of this call.
        Ok(unsafe { self.adopt(raw) })
    }

    /// `undefined`
    pub fn undefined(self) -> Answer<'e> {
        // SAFETY: the environment is live, the result is writable.
        self.make(|env, to| unsafe { sys::napi_get_undefined(env, to) })
    }

    /// `null`
    pub fn null(self) -> Answer<'e> {
        // SAFETY: as in `undefined`.
        self.make(|env, to| unsafe { sys::napi_get_null(env, to) })
    }

    /// `true` or `false`
    pub fn boolean(self, is: bool) -> Answer<'e> {
        // SAFETY: as in `undefined`.
        self.make(|env, to| unsafe { sys::napi_get_boolean(env, is, to) })
    }

    /// A number.
    pub fn number(self, value: f64) -> Answer<'e> {
        // SAFETY: as in `undefined`.
        self.make(|env, to| unsafe { sys::napi_create_double(env, value, to) })
    }

    /// A bigint.
    pub fn bigint(self, value: u64) -> Answer<'e> {
        // SAFETY: as in `undefined`.
        self.make(|env, to| unsafe { sys::napi_create_bigint_uint64(env, value, to) })
    }

    /// A string of UTF-8 bytes; what is not UTF-8 in them becomes U+FFFD.
    pub fn string(self, bytes: &[u8]) -> Answer<'e> {
        let at = bytes.as_ptr().cast();
        let len = bytes.len() as isize;
        // ASCII is Latin-1, which V8 copies instead of decoding.
        if bytes.is_ascii() {
            // SAFETY: `at` and `len` describe `bytes`, which V8 copies.
            self.make(|env, to| unsafe { sys::napi_create_string_latin1(env, at, len, to) })
        } else {
            // SAFETY: as above.
            self.make(|env, to| unsafe { sys::napi_create_string_utf8(env, at, len, to) })
        }
    }

    /// A `Buffer` with a copy of `bytes`.
    pub fn buffer(self, bytes: &[u8]) -> Answer<'e> {
        self.make(|env, to| {
            // SAFETY: the pointer and length describe `bytes`, which is copied;
            // nobody asks where to.
            unsafe {
                sys::napi_create_buffer_copy(
                    env,
                    bytes.len(),
                    bytes.as_ptr().cast(),
                    ptr::null_mut(),
                    to,
                )
            }
        })
    }

    /// An empty object.
    pub fn object(self) -> Answer<'e> {
        // SAFETY: as in `undefined`.
        self.make(|env, to| unsafe { sys::napi_create_object(env, to) })
    }

    /// An object with these properties, in this order.
    pub fn record(self, properties: &[(&str, Value<'e>)]) -> Answer<'e> {
        let object = self.object()?;
        for (name, value) in properties {
            self.set(object, name, *value)?;
        }
        Ok(object)
    }

    /// An object with these numbers; counts above 2^53 lose their last bits.
    pub fn numbers(self, properties: &[(&str, u64)]) -> Answer<'e> {
        let object = self.object()?;
        for (name, value) in properties {
            self.set(object, name, self.number(*value as f64)?)?;
        }
        Ok(object)
    }

    /// An array of these values.
    pub fn array(self, values: &[Value<'e>]) -> Answer<'e> {
        // SAFETY: as in `undefined`.
        let array = self
            .make(|env, to| unsafe { sys::napi_create_array_with_length(env, values.len(), to) })?;
        for (i, value) in values.iter().enumerate() {
            // SAFETY: both values are of this environment and call.
            check(unsafe { sys::napi_set_element(self.raw, array.raw, i as u32, value.raw) })?;
        }
        Ok(array)
    }

    /// `object[name] = value`
    pub fn set(self, object: Value<'e>, name: &str, value: Value<'e>) -> Result<(), Failure> {
        let name = self.string(name.as_bytes())?;
        // SAFETY: all three values are of this environment and call.
        check(unsafe { sys::napi_set_property(self.raw, object.raw, name.raw, value.raw) })
    }

    /// `object[name]`; a getter may run and throw.
    pub fn get(self, object: Value<'e>, name: &str) -> Answer<'e> {
        let name = self.string(name.as_bytes())?;
        // SAFETY: both values are of this environment and call.
        self.make(|env, to| unsafe { sys::napi_get_property(env, object.raw, name.raw, to) })
    }

    /// `array[index]`; a getter may run and throw.
    pub fn element(self, array: Value<'e>, index: u32) -> Answer<'e> {
        // SAFETY: the value is of this environment and call.
        self.make(|env, to| unsafe { sys::napi_get_element(env, array.raw, index, to) })
    }

    /// The length of an array.
    pub fn array_len(self, array: Value<'e>) -> Result<u32, Failure> {
        let mut len = 0;
        // SAFETY: the value is of this environment and call.
        check(unsafe { sys::napi_get_array_length(self.raw, array.raw, &mut len) })?;
        Ok(len)
    }

    /// The names of an object's own enumerable properties.
    pub fn own_names(self, object: Value<'e>) -> Result<Vec<Value<'e>>, Failure> {
        let names = self.make(|env, to| {
            // SAFETY: the value is of this environment and call.
            unsafe {
                sys::napi_get_all_property_names(
                    env,
                    object.raw,
                    sys::KeyCollectionMode::own_only,
                    sys::KeyFilter::enumerable | sys::KeyFilter::skip_symbols,
                    sys::KeyConversion::numbers_to_strings,
                    to,
                )
            }
        })?;
        (0..self.array_len(names)?)
            .map(|i| self.element(names, i))
            .collect()
    }

    /// What kind of value it is.
    pub fn type_of(self, value: Value<'e>) -> Result<Type, Failure> {
        let mut kind = 0;
        // SAFETY: the value is of this environment and call.
        check(unsafe { sys::napi_typeof(self.raw, value.raw, &mut kind) })?;
        Ok(match kind {
            sys::ValueType::napi_undefined => Type::Undefined,
            sys::ValueType::napi_null => Type::Null,
            sys::ValueType::napi_boolean => Type::Boolean,
            sys::ValueType::napi_number => Type::Number,
            sys::ValueType::napi_string => Type::String,
            sys::ValueType::napi_symbol => Type::Symbol,
            sys::ValueType::napi_function => Type::Function,
            sys::ValueType::napi_bigint => Type::BigInt,
            sys::ValueType::napi_object => {
                let mut is_array = false;
                // SAFETY: as above.
                check(unsafe { sys::napi_is_array(self.raw, value.raw, &mut is_array) })?;
                if is_array {
                    Type::Array
                } else {
                    Type::Object
                }
            }
            _ => Type::External,
        })
    }

    /// The number, if it is one.
    pub fn as_number(self, value: Value<'e>) -> Result<Option<f64>, Failure> {
        let mut number = 0.0;
        // SAFETY: the value is of this environment and call.
        match unsafe { sys::napi_get_value_double(self.raw, value.raw, &mut number) } {
            sys::Status::napi_number_expected => Ok(None),
            status => check(status).map(|()| Some(number)),
        }
    }

    /// The boolean, if it is one.
    pub fn as_boolean(self, value: Value<'e>) -> Result<Option<bool>, Failure> {
        let mut is = false;
        // SAFETY: the value is of this environment and call.
        match unsafe { sys::napi_get_value_bool(self.raw, value.raw, &mut is) } {
            sys::Status::napi_boolean_expected => Ok(None),
            status => check(status).map(|()| Some(is)),
        }
    }

    /// The bigint as `u64`, if it is a bigint: `None` inside when it is
    /// negative, the largest `u64` when it is larger.
    pub fn as_bigint(self, value: Value<'e>) -> Result<Option<Option<u64>>, Failure> {
        let (mut sign, mut words, mut count) = (0, [0u64; 2], 2usize);
        // SAFETY: the value is of this environment and call; `words` has room
        // for the `count` words that it is said to have.
        let status = unsafe {
            sys::napi_get_value_bigint_words(
                self.raw,
                value.raw,
                &mut sign,
                &mut count,
                words.as_mut_ptr(),
            )
        };
        match status {
            sys::Status::napi_bigint_expected => Ok(None),
            status => check(status).map(|()| {
                Some(match (sign, count) {
                    (0, 0) => Some(0),
                    (0, 1) => Some(words[0]),
                    (0, _) => Some(u64::MAX),
                    _ => None,
                })
            }),
        }
    }
}
