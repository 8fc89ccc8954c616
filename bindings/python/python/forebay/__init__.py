"""A cache, rate limits, permits, circuit breakers and latency histograms in one
region of memory: private to the process, or shared by every worker on the
machine, in whatever language each is written.

    import forebay

    region = forebay.open("shop")  # or forebay.private()
    limits = region.limiter("api", "60/min burst 90")
    pages = region.cache("pages", ttl=300)
    origin = region.breaker("origin")
    latency = region.histogram("http")

    if limits.allow("203.0.113.7"):
        with latency.time():
            body = pages.get("/")
            if body is None:
                body = origin.call(render, "/")
                pages.set("/", body)

Durations are seconds or ``datetime.timedelta``. Handles keep their region
alive, work from any thread, and in a child after ``fork``. Only opening a region
or an object may wait for other processes, and only ``Limiter.acquire`` for its
turn; other threads run meanwhile.
"""

from forebay._core import (
    Breaker,
    Cache,
    Count,
    Histogram,
    Hit,
    Lease,
    Limiter,
    Permit,
    Permits,
    Rate,
    Region,
    Reservation,
    Snapshot,
    Timer,
    Verdict,
    WindowCounter,
    client_address,
    headers,
    open as open,
    private,
    take_all,
)
from forebay.errors import (
    BreakerOpen,
    Busy,
    ClockNamespace,
    Closed,
    Corrupt,
    Error,
    Geometry,
    InvalidArgument,
    Io,
    Layout,
    Limited,
    NoPermit,
    NoSeat,
    NotFound,
    OtherBoot,
    OutOfSpace,
    Panic,
    Permission,
    RegionFull,
    TooLarge,
    Unsupported,
    WrongKind,
)
from forebay.values import (
    BreakerStats,
    CacheStats,
    Duration,
    Entry,
    Event,
    Events,
    HeaderStyle,
    Key,
    KeyPart,
    LimiterStats,
    ObjectInfo,
    PermitsStats,
    RateLike,
    RefusedKey,
    RegionStats,
    Request,
    TierStats,
    WindowStats,
)

# Not `open`: a star import must not hide the built-in one.
__all__ = [
    "Breaker",
    "BreakerOpen",
    "BreakerStats",
    "Busy",
    "Cache",
    "CacheStats",
    "ClockNamespace",
    "Closed",
    "Corrupt",
    "Count",
    "Duration",
    "Entry",
    "Error",
    "Event",
    "Events",
    "Geometry",
    "HeaderStyle",
    "Histogram",
    "Hit",
    "InvalidArgument",
    "Io",
    "Key",
    "KeyPart",
    "Layout",
    "Lease",
    "Limited",
    "Limiter",
    "LimiterStats",
    "NoPermit",
    "NoSeat",
    "NotFound",
    "ObjectInfo",
    "OtherBoot",
    "OutOfSpace",
    "Panic",
    "Permission",
    "Permit",
    "Permits",
    "PermitsStats",
    "Rate",
    "RateLike",
    "RefusedKey",
    "Region",
    "RegionFull",
    "RegionStats",
    "Request",
    "Reservation",
    "Snapshot",
    "TierStats",
    "Timer",
    "TooLarge",
    "Unsupported",
    "Verdict",
    "WindowCounter",
    "WindowStats",
    "WrongKind",
    "client_address",
    "headers",
    "private",
    "take_all",
]
