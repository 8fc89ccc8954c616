"""The engine: what `forebay` re-exports from its native half."""

import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, ParamSpec, TypeVar, final

from forebay.values import (
    BreakerStats,
    CacheStats,
    Duration,
    Entry,
    Events,
    HeaderStyle,
    Key,
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

__all__ = [
    "Breaker",
    "Cache",
    "Count",
    "Guarded",
    "Histogram",
    "Hit",
    "Lease",
    "Limiter",
    "Permit",
    "Permits",
    "Rate",
    "Region",
    "Reservation",
    "Snapshot",
    "Timer",
    "Verdict",
    "WindowCounter",
    "_verdict",
    "client_address",
    "headers",
    "open",
    "private",
    "take_all",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])

def open(
    name_or_path: str | os.PathLike[str],
    /,
    *,
    bytes: int | None = None,
    mode: int | None = None,
    create: bool = True,
    fresh: bool = False,
    ephemeral: bool = False,
    manual_clock: bool = False,
) -> Region:
    """Opens a shared region; creates it if it does not exist.

    A name (letters, digits, ``.``, ``_``, ``-``; at most 48; not beginning with
    ``.``) stands for the machine's standard place for it; a ``str`` with a slash
    and any ``PathLike`` is a path. Opening twice in a process gives one mapping.

    bytes: the size of a region that is created (16 MiB), a multiple of 8; an
        existing one keeps its own.
    mode: permission bits of a created file: 0o600, or 0o660 to share it with a
        group. An existing file that lets in more is refused.
    create: False attaches only; ``NotFound`` if there is nothing.
    fresh: start anew unless another live process has the region open.
    ephemeral: the last process to let go of it removes the file; one that is
        killed does not. Fixed when the region is created.
    manual_clock: the region's clock stands still until ``advance``; fixed when
        the region is created.

    Raises ``InvalidArgument``, ``NotFound``, ``OutOfSpace``, ``Permission``,
    ``Layout``, ``Corrupt``, ``OtherBoot``, ``ClockNamespace``, ``NoSeat``,
    ``Busy`` or ``Io``. Other threads run meanwhile.
    """

def private(*, bytes: int | None = None, manual_clock: bool = False) -> Region:
    """Makes a region of this process alone: nothing to set up, nothing left.

    After ``fork`` the child has a copy of its own.
    """

def take_all(requests: Iterable[Request], /) -> tuple[bool, list[Verdict]]:
    """Holds one request against several limits, at most 16: either all admit it
    and all are charged, or none is.

        allowed, verdicts = forebay.take_all([(each, address), (all, "")])

    Each is ``(limiter, key)``, ``(limiter, key, cost)`` or ``(limiter, key,
    cost, tier)``, of any limiters. The answers are in their order; the refusal
    with the longest wait is the one to tell about. None is ever overdrawn; a
    process killed in the middle of it may lose tokens.
    """

def headers(
    limits: Iterable[tuple[str, Verdict] | tuple[str, Verdict, Key | None]],
    /,
    *styles: HeaderStyle,
    now: float | None = None,
) -> list[tuple[str, str]]:
    """The HTTP headers that tell a client about these limits, in each of the
    styles, ``"legacy"`` unless any is named.

    limits: each with the name that the newer styles give it, printable ASCII,
        and perhaps the key that was asked about: draft-8 and draft-10 then tell
        it as ``pk``, the partition key, by the first twelve hexadecimal digits
        of its SHA-256. Somebody who sees them can check a guess at the key.
        The limits share the headers of draft-8 and draft-10; the older styles tell of
        the one that refused, else of the one with the fewest tokens left. An
        unlimited one is not told at all.
    now: seconds since 1970, as from ``time.time()``, which is the default.

    Seconds are rounded up. ``Retry-After`` comes last, if a limit refused and
    waiting helps: the longest wait.
    """

def client_address(
    peer: str,
    /,
    forwarded_for: str | None = None,
    trusted_hops: int = 0,
    ipv6_prefix: int = 64,
) -> str:
    """The address that a limiter should count a client by, as a key.

    peer: who connected: an address, with or without a port.
    forwarded_for: the header ``X-Forwarded-For``, several joined by commas.
    trusted_hops: how many proxies of our own there are, `peer` the last of
        them. Each appended whom it saw to the header; what stands further left
        is the client's word and does not count. With fewer entries than hops,
        or one that is no address, the nearest that can be trusted is taken.
    ipv6_prefix: how many bits of an IPv6 address count, 0 to 128: a client has
        a whole network to send from. An IPv4 address written as an IPv6 one is
        the IPv4 address.

    ``InvalidArgument`` if `peer` is no address.
    """

@final
class Region:
    """A region of memory with the objects that live in it.

    A context manager: leaving the block closes it. Objects are found by name (1
    to 48 bytes of UTF-8); asking for one that exists attaches to it. Sizes that
    differ from what exists raise ``Geometry``; rates, TTLs and thresholds are
    those of whoever opened last, for everybody.
    """

    def limiter(
        self,
        name: str,
        rate: RateLike | None = None,
        *,
        tiers: Mapping[str, RateLike] | None = None,
        algorithm: Literal["bucket", "fixed", "sliding"] | None = None,
        on_full: Literal["lenient", "strict"] | None = None,
        max_keys: int | None = None,
        enabled: bool | None = None,
        on_error: Literal["deny", "allow"] | None = None,
        show_keys: bool | None = None,
    ) -> Limiter:
        """A limiter. Without a rate it attaches only: ``NotFound`` if absent.

        rate: the default tier's rate: ``"60/min burst 90"`` or a ``Rate``; or
            several, at most four, that a request must all keep to: ``"10/s and
            1000/day"``, or a sequence.
        tiers: at most 15 more rates, by names of 1 to 31 bytes other than
            ``"default"``; ``"unlimited"`` is a rate. One that is not named
            again stays.
        algorithm: ``"bucket"``, tokens come back one by one; ``"fixed"``, a
            window that begins with a key's first token; ``"sliding"``, at most
            the count in any interval of the window's length. As it is in a
            limiter that is there, else a bucket; fixed when it is created, and
            with ``"sliding"`` so is the window.
        on_full: what a newcomer finds when no slot is free: ``"lenient"``, the
            one that is free soonest, and starts anew; ``"strict"``, that one
            with what is owed there, or it is refused, so that a flood of fresh
            keys gives nobody a token. As it is, else lenient; fixed when the
            limiter is created.
        max_keys: most keys with a bucket that is not full, at once, without
            crowding each other (65,536); 16 bytes each for each rate, and a
            quarter to spare.
        enabled: False lets everything pass, uncharged, counted as admitted.
        on_error: the answer when others kept changing the key's slots, a
            thousand times in a row: ``"deny"``, or ``"allow"``, uncharged.
        show_keys: whether `Limiter.top_refused` may show keys of at most 47
            bytes; they are stored in the region then.

        The last three are, when they are left out with a rate, True,
        ``"deny"`` and False, for everybody.
        """

    def window(
        self, name: str, *, max_keys: int | None = None, create: bool = True
    ) -> WindowCounter:
        """A window counter. Without options it attaches to what is there, as it
        is, and creates one with the defaults only if nothing is.

        max_keys: most keys with a window at once without crowding each other
            (65,536); 16 bytes each and a quarter to spare.
        create: False attaches only: ``NotFound`` if absent.
        """

    def permits(
        self,
        name: str,
        limit: int | None = None,
        *,
        lease: Duration | None = None,
        max_leases: int | None = None,
    ) -> Permits:
        """Permits. Without a limit they attach only: ``NotFound`` if absent.

        limit: leases of a key at once, 1 to 4,096. Lowered, the leases that
            there are go on; it is not raised beyond what the permits were
            created for.
        lease: when a lease ends by itself that is neither released nor renewed
            (60 s), from 1 ms to 30 days, in whole milliseconds. Its holder may
            be at work still: choose more than the work takes, or renew.
        max_leases: leases of all keys together (4,096), from the limit to
            16,777,216; about 50 bytes each, twice that at worst. Fixed when the
            permits are created.
        """

    def cache(
        self,
        name: str,
        *,
        bytes: int | None = None,
        max_entries: int | None = None,
        max_item: int | None = None,
        shards: int | None = None,
        ttl: Duration | None = None,
        create: bool = True,
    ) -> Cache:
        """A cache. Without options it attaches to what is there, as it is, and
        creates one with the defaults only if nothing is.

        bytes: memory in the region, all included (4 MiB), at least 16 KiB.
        max_entries: most entries (bytes / 512); each takes about 80 bytes
            beside its key and value.
        max_item: most bytes of a key and its value, up to about a quarter of a
            shard (an eighth of that or 64 KiB, whichever is more; 94 KiB in
            4 MiB).
        shards: parts, each with a lock of its own for writers, a power of two
            (at most four a core, fewer where one would have less than 128
            entries or less room than 32 of the largest items).
        ttl: how long entries live unless ``set`` says otherwise (as it is in a
            cache that is there, for ever in a new one).
        create: False attaches only: ``NotFound`` if absent.
        """

    def breaker(
        self,
        name: str,
        *,
        failure_threshold: int | None = None,
        failure_rate: float | None = ...,
        volume_threshold: int | None = None,
        window: Duration | None = None,
        open_for: Duration | None = None,
        success_threshold: int | None = None,
        half_open_calls: int | None = None,
        probe_lease: Duration | None = None,
        is_failure: Callable[[Any, BaseException | None], object] | None = None,
        create: bool = True,
    ) -> Breaker:
        """A breaker. Without options it attaches to what is there, as it is,
        and creates one with the defaults only if nothing is. With options, those
        that are left out are the defaults.

        failure_threshold: consecutive failures that open it (5), at most
            1,000,000; 0 is off.
        failure_rate: share of failures in the window that opens it, that or
            more (0.5), above 0 and at most 1, kept to a millionth; None is off.
        volume_threshold: calls in the window before the rate counts (10), at
            most 500,000.
        window: length of the window (10 s), from 10 ms to a day.
        open_for: how long it stays open (60 s), from 1 ms to 30 days, in whole
            milliseconds.
        success_threshold: probes that must succeed to close it (2), at most
            1,000,000. One that fails opens it again.
        half_open_calls: probes at once while half-open, over all processes (1),
            at most 16.
        probe_lease: how long a probe may be silent before its place goes to
            another (30 s), from 1 ms to a day.
        is_failure: ``is_failure(result, error)`` judges each call made through
            this handle; without it, an ``Exception`` is a failure. One of
            ``result`` and ``error`` is None. Not stored in the region.
        create: False attaches only: ``NotFound`` if absent.
        """

    def histogram(self, name: str) -> Histogram:
        """A histogram: created, or attached to if there is one of that name."""

    def objects(self) -> list[ObjectInfo]:
        """What the region holds."""

    def stats(self) -> RegionStats:
        """Size, use, participants, events."""

    def events(self, since: int = 0) -> Events:
        """What happened, from the event numbered `since` on. Continue with the
        answer's ``next``. The region keeps the latest events only."""

    def now(self) -> float:
        """Seconds since the region was created, the same in all processes."""

    def advance(self, by: Duration, /) -> None:
        """Moves a manual clock on; ``InvalidArgument`` on a real one."""

    def close(self) -> None:
        """Lets go of the region; closing twice is nothing.

        Using this object afterwards raises ``Closed``. Limiters, caches,
        breakers and histograms made from it go on working: the process lets go
        of the region when the last of them is gone.
        """

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""

    @property
    def path(self) -> Path | None:
        """The region's file; None for a private region."""

    @property
    def shared(self) -> bool:
        """Whether other processes can open it."""

    @property
    def bytes(self) -> int:
        """Its size."""

    def __enter__(self) -> Region: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class Rate:
    """A rate: `count` tokens every `per` seconds, at most `burst` at once.

    The burst is the count unless it is given. Whether the rate can be had is
    said when a limiter is opened with it.
    """

    UNLIMITED: Final[Rate]
    """The rate that refuses nobody."""

    def __new__(cls, count: int, per: Duration, burst: int | None = None) -> Rate: ...
    @classmethod
    def parse(cls, text: str, /) -> Rate:
        """``Rate.parse("60/min burst 90")``; also ``"100/15min"``,
        ``"unlimited"``."""

    @classmethod
    def per_second(cls, count: int, /, burst: int | None = None) -> Rate:
        """So many a second."""

    @classmethod
    def per_minute(cls, count: int, /, burst: int | None = None) -> Rate:
        """So many a minute."""

    @classmethod
    def per_hour(cls, count: int, /, burst: int | None = None) -> Rate:
        """So many an hour."""

    @classmethod
    def per_day(cls, count: int, /, burst: int | None = None) -> Rate:
        """So many a day."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Limiter:
    """Token buckets by key, each refilled at the rate of the caller's tier.

    The bucket belongs to the key: the tier only picks the rate at the time of
    the call. No call allocates in the engine, and only `acquire` waits.
    """

    @property
    def name(self) -> str:
        """The limiter's name in its region."""

    def allow(self, key: Key, /, cost: int = 1, tier: str | None = None) -> bool:
        """Spends `cost` tokens if they are there; whether they were.

        An unknown tier is the default one, and counted. A cost above the burst
        is refused and spends nothing; a cost of 0 only looks.
        """

    def take(self, key: Key, /, cost: int = 1, tier: str | None = None) -> Verdict:
        """As `allow`, with all that there is to know of the answer."""

    def peek(self, key: Key, /, cost: int = 1, tier: str | None = None) -> Verdict:
        """What `take` would answer; spends nothing."""

    def enforce(self, key: Key, /, cost: int = 1, tier: str | None = None) -> Verdict:
        """As `take`, but raises ``Limited`` if the request may not proceed."""

    def limit(
        self,
        *,
        key: Key | Callable[..., Key],
        cost: int | Callable[..., int] = 1,
        tier: str | Callable[..., str | None] | None = None,
    ) -> Callable[[_F], _F]:
        """Decorates a function, a method or an ``async def``: each call is
        enforced first, when it is awaited if it is a coroutine.

            @logins.limit(key=lambda user, password: user)
            def log_in(user: str, password: str) -> bool: ...

        Each is a constant, or a callable that is called with the arguments of
        the call.
        """

    def refund(self, key: Key, tokens: int = 1, /, *, tier: str | None = None) -> Verdict:
        """Gives tokens back that were spent for nothing, in the tokens of the
        tier; the bucket is never more than full. Tells what `peek` then would.
        """

    def penalize(self, key: Key, tokens: int = 1, /, *, tier: str | None = None) -> Verdict:
        """Takes tokens whether they are there or not: the key may be in debt
        afterwards, and waits until that is paid off, four and a half years at
        most. Tells what `peek` then would. An unlimited tier has no debts.
        """

    def block(self, key: Key, time: Duration, /) -> None:
        """Refuses the key everything for this long, at least, in every tier: a
        block that ends later stays. Its bucket goes on refilling. At most four
        and a half years.
        """

    def unblock(self, key: Key, /) -> bool:
        """Ends a block; whether there was one."""

    def reserve(
        self, key: Key, max_wait: Duration, /, *, cost: int = 1, tier: str | None = None
    ) -> Reservation | None:
        """Spends tokens now, or in advance if they can be used within
        `max_wait`, two years at most: sleep for ``reservation.wait``, then act.
        None if the wait would be longer, or for ever; nothing is spent then.
        """

    def acquire(
        self, key: Key, timeout: Duration, /, *, cost: int = 1, tier: str | None = None
    ) -> Verdict:
        """Waits for tokens, at most for so long, and spends them. Whoever comes
        first is served first, in whatever process; nobody waits who would not
        be served in time. A verdict that is not allowed waited for nothing.

        Other threads run meanwhile. What a signal handler raises, as Ctrl-C
        does, ends the wait and gives the tokens back. The wait itself is
        ``time.sleep``, or ends when a manual clock is moved.
        """

    def acquire_async(
        self, key: Key, timeout: Duration, /, *, cost: int = 1, tier: str | None = None
    ) -> Coroutine[Any, Any, Verdict]:
        """As `acquire`, in asyncio: takes its place in the queue when it is first
        awaited; cancelled while it waits, it gives the tokens back.
        """

    def reset(self, key: Key, /) -> bool:
        """Fills the key's bucket and ends a block; whether there was either."""

    def clear(self) -> None:
        """Fills all buckets and ends all blocks, for every process. Reads the
        whole table; other threads run meanwhile."""

    def top_refused(self) -> list[RefusedKey]:
        """The keys that were refused most since the limiter was created, or
        since `forget_refused`: up to 32, the worst first. Estimates, never
        exact. The keys themselves are told only with ``show_keys``; without,
        `mark` tells whether a key that you know is among them."""

    def mark(self, key: Key, /) -> str:
        """By what `top_refused` calls this key: 16 hexadecimal digits."""

    def forget_refused(self) -> None:
        """Begins to count anew who is refused most."""

    def stats(self) -> LimiterStats:
        """Counts since the limiter was created, over all processes."""

    def tier_stats(self) -> list[TierStats]:
        """The counts of each tier: ``default`` first, then in the order in which
        the tiers came to be. Evictions are not told apart: a bucket is a key's,
        in whatever tier it is asked."""

    def _place(
        self, key: Key, timeout: Duration, cost: int, tier: str | None, /
    ) -> Reservation | Verdict: ...

@final
class Reservation:
    """Tokens that are spent, to be used when the wait is over: `Limiter.reserve`.

    Dropped, they stay spent; `cancel` gives them back.
    """

    @property
    def wait(self) -> float:
        """Seconds to wait before acting, as of now; 0.0 once it is time."""

    @property
    def due(self) -> int:
        """When to act, in nanoseconds since the region was created."""

    def cancel(self) -> bool:
        """Gives the tokens back. False if it was time to act already, or if
        they were given back before. Those who reserved later keep their times.
        """

    @property
    def _manual(self) -> bool: ...
    def _sleep(self) -> bool: ...
    def _verdict(self) -> Verdict: ...

@final
class WindowCounter:
    """Counts by key in windows of time, exact over all processes: what the
    stores of other rate limiters are made of. A limiter whose algorithm is
    ``"fixed"`` is the limit itself.

    A key's window begins with its first hit, which tells its length. No call
    waits.
    """

    @property
    def name(self) -> str:
        """The counter's name in its region."""

    def hit(
        self, key: Key, window: Duration, /, hits: int = 1, *, limit: int | None = None
    ) -> Hit:
        """Counts hits, unless the window would have more than `limit` then. If
        the key has no window, or that is over, one of this length begins, from
        1 ms to four and a half years, in whole milliseconds.

        At most 8,388,607 are counted in a window. Zero hits only look.
        """

    def get(self, key: Key, /) -> Count:
        """What the key's window has seen."""

    def decrement(self, key: Key, hits: int = 1, /) -> Count:
        """Takes hits back, down to none; the window stays as it is."""

    def reset(self, key: Key, /) -> bool:
        """Ends the key's window and its block; whether it had either."""

    def block(self, key: Key, time: Duration, /) -> None:
        """Marks the key as blocked for so long, for `blocked_for` to tell; a
        mark that ends later stays. It is counted on regardless."""

    def blocked_for(self, key: Key, /) -> float:
        """Seconds that the key is blocked yet; 0.0 if it is not."""

    def unblock(self, key: Key, /) -> bool:
        """Ends a block; whether there was one."""

    def clear(self) -> None:
        """Ends all windows and blocks, for every process. Reads the whole
        table; other threads run meanwhile."""

    def stats(self) -> WindowStats:
        """Counts since the counter was created, over all processes."""

@final
class Count:
    """What a key's window has seen."""

    @property
    def count(self) -> int:
        """Hits in the window."""

    @property
    def resets_in(self) -> float:
        """Seconds until it ends; 0.0 without a window."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Hit:
    """What a window has seen, and whether the hit is in it; true if it is."""

    @property
    def counted(self) -> bool:
        """Whether the hit was counted: not beyond a limit, and not when others
        kept changing the key's slots."""

    @property
    def count(self) -> int:
        """Hits in the window."""

    @property
    def resets_in(self) -> float:
        """Seconds until it ends; 0.0 without a window."""

    def __bool__(self) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Permits:
    """So many at once of each key, over all threads and processes, whichever of
    them are killed or stopped.

        with exports.enter(user):
            ...

    A lease is live until it is released, or its time is over, or its holder's
    process has ended. One whose time is over does not stop its holder: who works
    on without renewing works beside the next one.
    """

    @property
    def name(self) -> str:
        """The permits' name in their region."""

    def try_acquire(self, key: Key, /) -> Lease | None:
        """A lease for this key; None if there is none now. It does not wait for
        one."""

    def enter(self, key: Key, /) -> Lease:
        """As `try_acquire`, but raises ``NoPermit``, which tells why and when to
        come back."""

    def limit(self, *, key: Key | Callable[..., Key]) -> Callable[[_F], _F]:
        """Decorates a function, a method or an ``async def``: each call holds a
        lease from its first step to its last, or raises ``NoPermit``.

            @exports.limit(key=lambda user: user)
            def export(user: str) -> bytes: ...

        The key is a constant, or a callable that is called with the arguments
        of the call. Not for generator functions: use `enter` in their bodies.
        """

    def in_use(self, key: Key, /) -> int:
        """How many leases the key has, those of dead processes that nobody has
        noticed yet among them."""

    def stats(self) -> PermitsStats:
        """Counts since the permits were created, over all processes."""

@final
class Lease:
    """One permit, for a time. A context manager: leaving the block releases it.
    Dropped, it is released too. In a child of ``fork`` it is the parent's still.
    """

    def release(self) -> bool:
        """Gives the permit back. False if its time was over before, so that
        somebody else may have had it meanwhile, or if it was released before."""

    def renew(self) -> bool:
        """Has it end by itself as late as one acquired now would. False if it
        has ended: then it stays so, acquire another."""

    @property
    def ends_in(self) -> float:
        """Seconds until it ends by itself; 0.0 once it has ended."""

    def __enter__(self) -> Lease: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class Verdict:
    """A limiter's answer; true if the request may proceed."""

    @property
    def allowed(self) -> bool:
        """Whether the request may proceed."""

    @property
    def limit(self) -> int | None:
        """The most tokens the key's bucket holds; None when unlimited."""

    @property
    def remaining(self) -> int | None:
        """The tokens left; None when unlimited, but 0 if the key is blocked."""

    @property
    def retry_after(self) -> float | None:
        """Seconds until it would be admitted. None when it was, and when it
        never can be (the cost exceeds the burst)."""

    @property
    def reset_after(self) -> float:
        """Seconds until the bucket is full again and nothing blocks the key."""

    @property
    def window(self) -> float:
        """Seconds that an empty bucket takes to fill; 0.0 when unlimited."""

    def headers(
        self, name: str, /, *styles: HeaderStyle, now: float | None = None
    ) -> list[tuple[str, str]]:
        """The HTTP headers that tell a client of it: the function `headers`,
        for one limit of that name."""

    def __bool__(self) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

def _verdict(
    allowed: bool,
    limit: int,
    remaining: int,
    retry_after: int | None,
    reset_after: int,
    window: int,
    /,
) -> Verdict: ...

@final
class Cache:
    """A bounded map from keys to values that every language can read.

    bytes-like values are stored as they are, ``str`` as text, anything else as
    JSON; tuples come back as lists. When it is full, the least recently used
    entries go.
    """

    @property
    def name(self) -> str:
        """The cache's name in its region."""

    def get(self, key: Key, default: Any = None, /) -> Any:
        """The key's value, or `default`.

        A value that some program stored under a codec of its own raises
        ``InvalidArgument``, and one that is not what its codec says a
        ``ValueError``: `get_bytes` reads both.
        """

    def get_bytes(self, key: Key, /) -> bytes | None:
        """The key's value as its bytes, whatever its codec."""

    def entry(self, key: Key, /) -> Entry | None:
        """The key's value with all that is known of it."""

    def set(self, key: Key, value: object, /, ttl: Duration | None = ...) -> bool:
        """Stores a value; False if it is too large or its shard is held, which
        the stats count, and then an older value is gone as well.

        ttl: seconds or a ``timedelta``; None is for ever; the cache's own when
        it is left out. What JSON cannot express raises ``TypeError`` or
        ``ValueError``.
        """

    def delete(self, key: Key, /) -> bool:
        """Removes the key; whether it was there."""

    def contains(self, key: Key, /) -> bool:
        """Whether the key is there; also ``key in cache``. Not a use of it."""

    def clear(self) -> None:
        """Removes everything, for every process."""

    def stats(self) -> CacheStats:
        """Counts since the cache was created, over all processes."""

    def __contains__(self, key: Key, /) -> bool: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...

@final
class Breaker:
    """A circuit breaker: refuses calls to what keeps failing, then probes it.

    An ``Exception`` is a failure. Cancellation and interruption
    (``asyncio.CancelledError``, ``KeyboardInterrupt``) are ignored, so put a
    timeout inside the guarded function: around it, it is a cancellation.
    Nothing is held while the guarded call runs.
    """

    @property
    def name(self) -> str:
        """The breaker's name in its region."""

    @property
    def state(self) -> str:
        """``"closed"``, ``"half-open"``, ``"open"`` or ``"forced-open"``."""

    def enter(self) -> Permit:
        """Leave to make one call; raises ``BreakerOpen`` if there is none."""

    def call(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Calls the function and counts what became of it; raises
        ``BreakerOpen`` instead when the breaker is open. A coroutine is counted
        when it has been awaited."""

    def __call__(self, function: _F, /) -> _F:
        """Decorates a function, a method or an ``async def``."""

    def stats(self) -> BreakerStats:
        """Counts since the breaker was created, over all processes."""

@final
class Permit:
    """Leave to make one call, to be told what became of it.

    The first word counts; later ones answer False. Dropped without a word it is
    a failure. As a context manager: an ``Exception`` is a failure, leaving the
    block otherwise a success.
    """

    def success(self) -> bool:
        """It succeeded. True if that counted, False if it came too late."""

    def failure(self) -> bool:
        """It failed. True if that counted, False if it came too late."""

    def ignore(self) -> bool:
        """It says nothing: neither success nor failure."""

    def _settle(self, result: object, error: BaseException | None, /) -> None: ...
    def __enter__(self) -> Permit: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class Guarded:
    """A function that a breaker decorates."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __get__(self, instance: Any, owner: Any = None, /) -> Any: ...

@final
class Histogram:
    """Latencies: exact counts and sums, percentiles within 1.1 percent from 1 µs
    to 17 minutes."""

    @property
    def name(self) -> str:
        """The histogram's name in its region."""

    def record(self, duration: Duration, /) -> None:
        """Records a duration."""

    def record_ns(self, ns: int, /) -> None:
        """Records a whole number of nanoseconds."""

    def time(self) -> Timer:
        """``with histogram.time():`` records how long the block took, on the
        region's clock."""

    def percentile(self, percent: float, /) -> float | None:
        """The percentile (0 to 100) in seconds; None when nothing was
        recorded."""

    def snapshot(self) -> Snapshot:
        """All of it at one moment."""

@final
class Timer:
    """Records how long a ``with`` block took, whether it raised or not."""

    def __enter__(self) -> Timer: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class Snapshot:
    """What a histogram held when it was taken. Seconds throughout."""

    @property
    def count(self) -> int:
        """How many values were recorded."""

    @property
    def sum(self) -> float:
        """Their sum."""

    @property
    def mean(self) -> float:
        """Their mean; 0.0 when there are none."""

    @property
    def min(self) -> float | None:
        """The least; None when there are none."""

    @property
    def max(self) -> float | None:
        """The greatest; None when there are none."""

    def percentile(self, percent: float, /) -> float | None:
        """The percentile (0 to 100); None when there are no values."""

    def buckets(self) -> list[tuple[float, int]]:
        """The buckets that are not empty: upper edge, and count; ascending."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
