"""Plain values that the engine answers with: frozen dataclasses.

``dataclasses.asdict`` makes any of them a dictionary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from forebay._core import Limiter, Rate

#: One part of a tuple key; an ``int`` stands for its decimal text.
KeyPart: TypeAlias = str | bytes | bytearray | memoryview | int

#: What names a bucket or an entry. The parts of a tuple do not run into each
#: other: ``("a", "bc")`` is not ``("ab", "c")``.
Key: TypeAlias = str | bytes | bytearray | memoryview | tuple[KeyPart, ...]

#: A duration: seconds, or a ``timedelta``.
Duration: TypeAlias = float | timedelta

#: A rate: a ``Rate``, or text such as ``"60/min burst 90"``. Several that all
#: must be kept to, at most four: ``"10/s and 1000/day"``, or a sequence of them.
RateLike: TypeAlias = str | Rate | Sequence[str | Rate]

#: One of the limits for ``take_all``: the limiter and the key, then the cost
#: and the tier.
Request: TypeAlias = (
    tuple[Limiter, Key] | tuple[Limiter, Key, int] | tuple[Limiter, Key, int, str | None]
)

#: A style of rate-limit headers. ``"legacy"`` is ``X-RateLimit-*`` with the
#: reset in seconds since 1970, ``"legacy-delta"`` with the reset in seconds from
#: now; the others are those of the IETF's drafts.
HeaderStyle: TypeAlias = (
    Literal["legacy", "legacy-delta"] | Literal["draft-6", "draft-7", "draft-8", "draft-10"]
)


@dataclass(frozen=True, slots=True)
class LimiterStats:
    """Counts since the limiter was created, over all processes."""

    #: Requests that were let through.
    admitted: int
    #: Requests that were not.
    refused: int
    #: Penalties that took more than was there.
    debts: int
    #: Buckets that were not full when another key took their slot.
    evicted_live: int
    #: Requests whose tier the limiter does not know.
    unknown_tier: int
    #: Requests refused because others kept changing the key's slots; among
    #: ``refused``.
    contended: int
    #: Slots of its table, one for each bucket that is not full.
    slots: int


@dataclass(frozen=True, slots=True)
class TierStats:
    """Counts of one of a limiter's tiers: ``Limiter.tier_stats``."""

    #: The tier's name; ``default`` for requests that name no tier, or one that
    #: the limiter does not know.
    tier: str
    #: Requests that were let through.
    admitted: int
    #: Requests that were not.
    refused: int
    #: Penalties that took more than was there.
    debts: int


@dataclass(frozen=True, slots=True)
class RefusedKey:
    """A key that a limiter refused often: ``Limiter.top_refused``. The figures
    are estimates."""

    #: A name for the key, 16 hexadecimal digits of its hash with the region's
    #: secret: ``Limiter.mark`` gives the same, and no other way leads back.
    mark: str
    #: How often it was refused.
    count: int
    #: By how much the count may be too high.
    over: int
    #: The key's bytes, as text if they are UTF-8: again a key, the same one.
    #: None unless the limiter shows keys, and for more than 47 bytes.
    key: str | bytes | None


@dataclass(frozen=True, slots=True)
class WindowStats:
    """Counts since the counter was created, over all processes."""

    #: Hits that were counted, whatever their weight.
    hits: int
    #: Hits that were not, for a limit.
    refused: int
    #: Windows that were not over when another key took their slot.
    evicted_live: int
    #: Hits that were not counted because others kept changing the key's slots.
    contended: int
    #: Slots of its table, one for each window that is not over.
    slots: int


@dataclass(frozen=True, slots=True)
class PermitsStats:
    """Counts since the permits were created, over all processes."""

    #: Leases granted.
    granted: int
    #: Refusals because of the limit.
    refused: int
    #: Refusals because there was no room.
    full: int
    #: Refusals because another process had the lock.
    busy: int
    #: Leases whose time was over before they were released.
    expired: int
    #: Leases whose holders had died.
    reaped: int


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Counts since the cache was created, over all processes."""

    #: Reads that found a value.
    hits: int
    #: Reads that found none.
    misses: int
    #: Values stored.
    sets: int
    #: Values deleted.
    deletes: int
    #: Live entries that made room for others.
    evictions: int
    #: Expired entries that made room for others.
    expirations: int
    #: Sets refused because the item exceeds ``max_item``.
    too_large: int
    #: Writes that could not get their shard's lock in time.
    busy: int
    #: Shards cleared because a process died while it wrote to them.
    resets: int
    #: Entries now, expired ones included until they make room.
    entries: int
    #: Bytes that they take.
    bytes_used: int
    #: Bytes there are for them.
    bytes_capacity: int
    #: The largest key and value together that is stored.
    max_item: int
    #: Entries that there may be.
    max_entries: int
    #: Its parts, each with a lock of its own for writers.
    shards: int

    @property
    def hit_rate(self) -> float:
        """Hits out of all gets; 0.0 when there were none."""
        gets = self.hits + self.misses
        return self.hits / gets if gets else 0.0


@dataclass(frozen=True, slots=True)
class BreakerStats:
    """Counts since the breaker was created, over all processes."""

    #: Calls that worked and counted.
    successes: int
    #: Calls that failed and counted.
    failures: int
    #: Calls that were cancelled, or said to be neither.
    ignored: int
    #: Calls that were not made.
    rejected: int
    #: Outcomes that came after the breaker had moved on; not among the above.
    late: int
    #: Times it opened.
    opened: int
    #: Times it half-opened.
    half_opened: int
    #: Times it closed.
    closed: int
    #: Calls let through while half-open.
    probes: int


@dataclass(frozen=True, slots=True)
class RegionStats:
    """What a region holds."""

    #: Its size.
    bytes: int
    #: What the header and the objects take of it.
    used: int
    #: How many objects there are.
    objects: int
    #: Live processes that have it open; 1 for a private region.
    seats: int
    #: How many may.
    seats_max: int
    #: Events since it was created.
    events: int
    #: Events that could not be written.
    events_dropped: int
    #: Structures that recovery cleared because their holder had died.
    resets: int


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object of a region."""

    name: str
    #: ``"limiter"``, ``"cache"``, ``"breaker"``, ``"histogram"``, ``"window"``
    #: or ``"permits"``.
    kind: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a region, in whichever process."""

    sequence: int
    #: Seconds since the region was created.
    time: float
    #: Such as ``"breaker-open"`` or ``"cache-cleared"``.
    kind: str
    #: The object's name, empty for the region itself.
    object: str
    #: A number whose meaning depends on the kind.
    detail: int


@dataclass(frozen=True, slots=True)
class Events:
    """Some events, oldest first; iterating gives them."""

    events: tuple[Event, ...]
    #: What to ask for next time.
    next: int
    #: How many that were asked for had been overwritten.
    lost: int

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)


@dataclass(frozen=True, slots=True)
class Entry:
    """A cache's entry with all that is known of it."""

    #: As ``get`` gives it; plain bytes when the codec is not one of ours.
    value: Any
    #: ``"bytes"``, ``"text"``, ``"json"`` or ``"other(N)"``.
    codec: str
    #: A number that no other value of this key has had or will have.
    version: int
    #: When it was set, in UTC.
    created: datetime
    #: Seconds left to live; None when it does not expire.
    ttl: float | None
