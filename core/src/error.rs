//! Every way an operation can fail, told apart, with one sentence each.
//!
//! All faces print the sentence that [`Error`]'s `Display` writes, so a Python
//! traceback, a Node error, `fb_last_error` and a Rust log line read the same.
//! [`Error::code`] is the number that the C face returns and the name that the
//! others carry.

use std::fmt;
use std::path::{Path, PathBuf};

/// The kind of an object in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A [`Limiter`](crate::Limiter).
    Limiter,
    /// A [`Cache`](crate::Cache).
    Cache,
    /// A [`Breaker`](crate::Breaker).
    Breaker,
    /// A [`Histogram`](crate::Histogram).
    Histogram,
    /// A [`WindowCounter`](crate::WindowCounter).
    Window,
    /// [`Permits`](crate::Permits).
    Permits,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] = [
        Kind::Limiter,
        Kind::Cache,
        Kind::Breaker,
        Kind::Histogram,
        Kind::Window,
        Kind::Permits,
    ];

    /// The number that stands for this kind in a region and in the C face.
    pub fn number(self) -> u32 {
        match self {
            Kind::Limiter => 1,
            Kind::Cache => 2,
            Kind::Breaker => 3,
            Kind::Histogram => 4,
            Kind::Window => 5,
            Kind::Permits => 6,
        }
    }

    pub(crate) fn from_number(number: u64) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .find(|k| u64::from(k.number()) == number)
    }

    /// The name as it appears in messages: `limiter`, `cache`, `breaker`,
    /// `histogram`, `window`, `permits`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Limiter => "limiter",
            Kind::Cache => "cache",
            Kind::Breaker => "breaker",
            Kind::Histogram => "histogram",
            Kind::Window => "window",
            Kind::Permits => "permits",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What went wrong. Expected answers (a miss, a refused request, an open
/// breaker) are values, never errors.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// An argument is outside what is allowed; nothing was changed.
    InvalidArgument {
        /// The argument or option, as the caller names it.
        argument: &'static str,
        /// What was given.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// An object exists with another geometry than the one asked for.
    Geometry {
        /// The object's name.
        object: String,
        /// The option that differs.
        option: &'static str,
        /// The value in the region.
        theirs: u64,
        /// The value asked for.
        ours: u64,
    },
    /// An object of that name exists and is of another kind.
    WrongKind {
        /// The object's name.
        object: String,
        /// What it is.
        found: Kind,
        /// What was asked for.
        wanted: Kind,
    },
    /// The region has no room for the object.
    RegionFull {
        /// What is short: `bytes` or `objects`.
        what: &'static str,
        /// How much the object needs.
        needs: u64,
        /// How much is left.
        has: u64,
    },
    /// The file system or the container cannot hold the region.
    OutOfSpace {
        /// The region's file.
        path: PathBuf,
        /// Bytes asked for.
        needs: u64,
        /// What said so, and the setting that sizes it.
        hint: String,
    },
    /// The file, its directory or its owner is not one to trust.
    Permission {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file was made by another layout version or byte order.
    Layout {
        /// The file.
        path: PathBuf,
        /// What the file says.
        found: String,
        /// What this build reads.
        wanted: String,
    },
    /// The file is not a region, or is damaged.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file was made before the machine last booted.
    OtherBoot {
        /// The file.
        path: PathBuf,
    },
    /// The file's clock cannot be read here: another time namespace.
    ClockNamespace {
        /// The file.
        path: PathBuf,
    },
    /// A key, a value or a buffer has the wrong size.
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The largest that is allowed.
        max: u64,
    },
    /// Somebody else holds what the call needs, for longer than it may wait.
    Busy {
        /// What is held.
        what: &'static str,
    },
    /// The handle was closed.
    Closed {
        /// What was closed.
        what: &'static str,
    },
    /// There is nothing of that name.
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// All seats of the region are taken by live processes.
    NoSeat {
        /// How many there are.
        seats: u64,
    },
    /// The operating system refused.
    Io {
        /// The file.
        path: PathBuf,
        /// The operation, as a verb: `open`, `map`.
        operation: &'static str,
        /// The system's error number.
        errno: i32,
    },
    /// This platform cannot do it.
    Unsupported {
        /// What cannot be done.
        what: &'static str,
    },
    /// A bug: the engine caught one of its own panics.
    Panic {
        /// The panic's message.
        message: String,
    },
}

/// A stable number for each kind of [`Error`]: what the C face returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
#[non_exhaustive]
#[allow(missing_docs)] // each is the Error variant of the same name
pub enum Code {
    InvalidArgument = -1,
    Geometry = -2,
    WrongKind = -3,
    RegionFull = -4,
    OutOfSpace = -5,
    Permission = -6,
    Layout = -7,
    Corrupt = -8,
    OtherBoot = -9,
    ClockNamespace = -10,
    TooLarge = -11,
    Busy = -12,
    Closed = -13,
    NotFound = -14,
    NoSeat = -15,
    Io = -16,
    Unsupported = -17,
    Panic = -99,
}

impl Code {
    /// The name that faces with named codes use, such as `FB_E_CORRUPT`.
    pub fn name(self) -> &'static str {
        match self {
            Code::InvalidArgument => "FB_E_INVALID_ARGUMENT",
            Code::Geometry => "FB_E_GEOMETRY",
            Code::WrongKind => "FB_E_WRONG_KIND",
            Code::RegionFull => "FB_E_REGION_FULL",
            Code::OutOfSpace => "FB_E_OUT_OF_SPACE",
            Code::Permission => "FB_E_PERMISSION",
            Code::Layout => "FB_E_LAYOUT",
            Code::Corrupt => "FB_E_CORRUPT",
            Code::OtherBoot => "FB_E_OTHER_BOOT",
            Code::ClockNamespace => "FB_E_CLOCK_NAMESPACE",
            Code::TooLarge => "FB_E_TOO_LARGE",
            Code::Busy => "FB_E_BUSY",
            Code::Closed => "FB_E_CLOSED",
            Code::NotFound => "FB_E_NOT_FOUND",
            Code::NoSeat => "FB_E_NO_SEAT",
            Code::Io => "FB_E_IO",
            Code::Unsupported => "FB_E_UNSUPPORTED",
            Code::Panic => "FB_E_PANIC",
        }
    }
}

/// A result with forebay's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The stable code of this error.
    pub fn code(&self) -> Code {
        match self {
            Error::InvalidArgument { .. } => Code::InvalidArgument,
            Error::Geometry { .. } => Code::Geometry,
            Error::WrongKind { .. } => Code::WrongKind,
            Error::RegionFull { .. } => Code::RegionFull,
            Error::OutOfSpace { .. } => Code::OutOfSpace,
            Error::Permission { .. } => Code::Permission,
            Error::Layout { .. } => Code::Layout,
            Error::Corrupt { .. } => Code::Corrupt,
            Error::OtherBoot { .. } => Code::OtherBoot,
            Error::ClockNamespace { .. } => Code::ClockNamespace,
            Error::TooLarge { .. } => Code::TooLarge,
            Error::Busy { .. } => Code::Busy,
            Error::Closed { .. } => Code::Closed,
            Error::NotFound { .. } => Code::NotFound,
            Error::NoSeat { .. } => Code::NoSeat,
            Error::Io { .. } => Code::Io,
            Error::Unsupported { .. } => Code::Unsupported,
            Error::Panic { .. } => Code::Panic,
        }
    }

    /// An [`Error::InvalidArgument`]; public so that the bindings word theirs alike.
    pub fn invalid(
        argument: &'static str,
        given: impl fmt::Display,
        allowed: impl fmt::Display,
    ) -> Error {
        Error::InvalidArgument {
            argument,
            given: given.to_string(),
            allowed: allowed.to_string(),
        }
    }

    pub(crate) fn io(path: &Path, operation: &'static str, error: &std::io::Error) -> Error {
        Error::Io {
            path: path.to_owned(),
            operation,
            errno: error.raw_os_error().unwrap_or(0),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidArgument {
                argument,
                given,
                allowed,
            } => write!(f, "{argument}: got {given}; allowed: {allowed}"),
            Error::Geometry {
                object,
                option,
                theirs,
                ours,
            } => {
                let (theirs, ours) = (shown(option, *theirs), shown(option, *ours));
                let leave = match *option {
                    "rates" | "window" => String::new(),
                    option => format!(", leave {option} out"),
                };
                write!(
                    f,
                    "'{object}' exists with {option} = {theirs}, asked for {ours}: \
                     ask for {theirs}{leave}, or use another name"
                )
            }
            Error::WrongKind {
                object,
                found,
                wanted,
            } => write!(f, "'{object}' is a {found}, not a {wanted}"),
            Error::RegionFull { what, needs, has } => write!(
                f,
                "region full: needs {needs} {what}, has {has}: open it with more bytes under a new name"
            ),
            Error::OutOfSpace { path, needs, hint } => write!(
                f,
                "{}: no space for a region of {needs} bytes: {hint}",
                path.display()
            ),
            Error::Permission { path, problem } => write!(f, "{}: {problem}", path.display()),
            Error::Layout {
                path,
                found,
                wanted,
            } => write!(
                f,
                "{}: made with {found}, this build reads {wanted}",
                path.display()
            ),
            Error::Corrupt { path, problem } => {
                write!(f, "{}: not a usable region: {problem}", path.display())
            }
            Error::OtherBoot { path } => write!(
                f,
                "{}: made before the last boot; open it with create to replace it",
                path.display()
            ),
            Error::ClockNamespace { path } => write!(
                f,
                "{}: made in another time namespace, whose clock differs",
                path.display()
            ),
            Error::TooLarge { what, size, max } => {
                write!(f, "{what}: {size} bytes; allowed: at most {max}")
            }
            Error::Busy { what } => write!(f, "{what} is held by another participant"),
            Error::Closed { what } => write!(f, "the {what} is closed"),
            Error::NotFound { what } => write!(f, "{what} does not exist"),
            Error::NoSeat { seats } => write!(
                f,
                "no seat left: {seats} live processes have this region open"
            ),
            Error::Io {
                path,
                operation,
                errno,
            } => write!(
                f,
                "{}: {operation}: {}",
                path.display(),
                std::io::Error::from_raw_os_error(*errno)
            ),
            Error::Unsupported { what } => write!(f, "{what}: not supported on this platform"),
            Error::Panic { message } => write!(f, "a bug in forebay: {message}"),
        }
    }
}

/// A geometry's number as people know it.
fn shown(option: &str, number: u64) -> String {
    let name = |names: &[&'static str]| names.get(number as usize).copied().map(str::to_owned);
    match option {
        "algorithm" => name(&["bucket", "fixed", "sliding"]),
        "on_full" => name(&["lenient", "strict"]),
        "window" => Some(format!("{:?}", std::time::Duration::from_nanos(number))),
        _ => None,
    }
    .unwrap_or_else(|| number.to_string())
}

impl std::error::Error for Error {}
