"""Every way a call can fail, told apart.

Each class is an ``Error``, and also the built-in exception that a caller who
has never heard of forebay would catch. ``str(error)`` is the engine's sentence,
the same in every language; ``error.code`` is the stable name of its kind.
"""

from __future__ import annotations

import errno as _errno
from typing import TYPE_CHECKING, ClassVar, Final, Literal

if TYPE_CHECKING:
    from forebay._core import Verdict
    from forebay.values import HeaderStyle


class Error(Exception):
    """The base of all of forebay's exceptions."""

    #: The stable name of this kind of error, the same in every language.
    code: ClassVar[str] = "FB_E"

    # OSError and KeyError write themselves in other ways.
    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class InvalidArgument(Error, ValueError):
    """An argument is outside what is allowed; nothing was changed."""

    code = "FB_E_INVALID_ARGUMENT"


class Geometry(Error, ValueError):
    """The object exists with another size than the one asked for."""

    code = "FB_E_GEOMETRY"


class WrongKind(Error, ValueError):
    """An object of that name exists and is of another kind."""

    code = "FB_E_WRONG_KIND"


class RegionFull(Error, MemoryError):
    """The region has no room for the object."""

    code = "FB_E_REGION_FULL"


class OutOfSpace(Error, OSError):
    """The file system or the container cannot hold the region."""

    code = "FB_E_OUT_OF_SPACE"


class Permission(Error, PermissionError):
    """The file, its directory or its owner is not one to trust."""

    code = "FB_E_PERMISSION"


class Layout(Error, OSError):
    """The file was made by another layout version or byte order."""

    code = "FB_E_LAYOUT"


class Corrupt(Error, OSError):
    """The file is not a region, or is damaged."""

    code = "FB_E_CORRUPT"


class OtherBoot(Error, OSError):
    """The file was made before the machine last booted."""

    code = "FB_E_OTHER_BOOT"


class ClockNamespace(Error, OSError):
    """The file's clock cannot be read here: another time namespace."""

    code = "FB_E_CLOCK_NAMESPACE"


class TooLarge(Error, ValueError):
    """A key, a value or a buffer has the wrong size."""

    code = "FB_E_TOO_LARGE"


class Busy(Error, OSError):
    """Somebody else holds what the call needs, for longer than it may wait."""

    code = "FB_E_BUSY"


class Closed(Error, ValueError):
    """The region was closed."""

    code = "FB_E_CLOSED"


class NotFound(Error, FileNotFoundError, LookupError):
    """There is no region, or no object in it, of that name."""

    code = "FB_E_NOT_FOUND"


class NoSeat(Error, OSError):
    """As many processes as can have the region open have it open."""

    code = "FB_E_NO_SEAT"


class Io(Error, OSError):
    """The operating system refused; ``errno`` says how."""

    code = "FB_E_IO"


class Unsupported(Error, NotImplementedError):
    """This platform cannot do it."""

    code = "FB_E_UNSUPPORTED"


class Panic(Error, RuntimeError):
    """A bug: the engine caught one of its own panics."""

    code = "FB_E_PANIC"


class BreakerOpen(Error):
    """The breaker is open: the call was not made."""

    code = "FB_REJECTED"

    #: The breaker's name.
    breaker: str
    #: Seconds until it may let a call through.
    retry_after: float

    def __init__(self, sentence: str, breaker: str, retry_after: float) -> None:
        super().__init__(sentence, breaker, retry_after)
        self.breaker = breaker
        self.retry_after = retry_after


class Limited(Error):
    """The limiter refused: the request may not proceed, and spent nothing."""

    code = "FB_DENIED"

    #: The limiter's name.
    limiter: str
    #: What it said: how long to wait, for one thing.
    verdict: Verdict

    def __init__(self, sentence: str, limiter: str, verdict: Verdict) -> None:
        super().__init__(sentence, limiter, verdict)
        self.limiter = limiter
        self.verdict = verdict

    def headers(self, *styles: HeaderStyle, now: float | None = None) -> list[tuple[str, str]]:
        """The headers of a response that says so, under the limiter's name:
        ``Verdict.headers``, which takes any other name."""
        return self.verdict.headers(self.limiter, *styles, now=now)


class NoPermit(Error):
    """There is no permit for the key now."""

    code = "FB_DENIED"

    #: The permits' name.
    permits: str
    #: Why: ``"limit"``, the key has as many leases as it may; ``"full"``, there
    #: is no room for another lease; ``"busy"``, another process has the lock.
    reason: Literal["limit", "full", "busy"]
    #: Seconds until one of the leases in the way has ended, unless it is
    #: renewed; most end before, by being released. None if it is busy.
    retry_after: float | None

    def __init__(
        self,
        sentence: str,
        permits: str,
        reason: Literal["limit", "full", "busy"],
        retry_after: float | None,
    ) -> None:
        super().__init__(sentence, permits, reason, retry_after)
        self.permits = permits
        self.reason = reason
        self.retry_after = retry_after


_BY_CODE: Final[dict[str, type[Error]]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        Geometry,
        WrongKind,
        RegionFull,
        OutOfSpace,
        Permission,
        Layout,
        Corrupt,
        OtherBoot,
        ClockNamespace,
        TooLarge,
        Busy,
        Closed,
        NotFound,
        NoSeat,
        Io,
        Unsupported,
        Panic,
    )
}

_ERRNO: Final[dict[type[Error], int]] = {
    OutOfSpace: _errno.ENOSPC,
    Permission: _errno.EACCES,
    NotFound: _errno.ENOENT,
}


def _of_core(code: str, sentence: str, filename: str | None, errno: int | None) -> Error:
    """The exception for an error of the engine."""
    error = _BY_CODE.get(code, Error)(sentence)
    if isinstance(error, OSError):
        error.filename = filename
        error.errno = errno if errno is not None else _ERRNO.get(type(error))
    return error
