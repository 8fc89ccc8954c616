"""forebay as a storage of the library `limits`, and so of what builds on it:
Flask-Limiter, slowapi.

    import forebay.limits  # registers the schemes
    from limits.storage import storage_from_string

    storage = storage_from_string("forebay://shop")

Every process that opens the same region shares the limits, without a server to
run. ``forebay://NAME`` and ``forebay:///a/path`` are what ``forebay.open``
takes; ``async+forebay://`` is for ``limits.aio``, and no call of it waits.

Offered are the fixed window and the sliding window counter, both exact over all
processes. The moving window is not: it needs a log of every hit for each key,
and a region's memory is fixed. A limiter of forebay's own with
``algorithm="sliding"`` is at least as strict.

This module alone needs `limits` to be installed.
"""

from __future__ import annotations

import sys
import time
from math import floor
from typing import Final

from limits.aio.storage import SlidingWindowCounterSupport as AsyncSlidingWindowCounterSupport
from limits.aio.storage import Storage as AsyncStorage
from limits.storage import SlidingWindowCounterSupport, Storage

import forebay
from forebay import Region, WindowCounter

__all__ = ["AsyncForebayStorage", "ForebayStorage"]

#: A window counts no further.
_MOST: Final = (1 << 23) - 1


class _Windows:
    """What both storages do: a window counter, asked in the words of `limits`."""

    def __init__(
        self,
        where: str | Region | WindowCounter,
        name: str,
        bytes: int | None,
        max_keys: int | None,
    ) -> None:
        if isinstance(where, str):
            _, scheme, place = where.partition("://")
            where = forebay.open(place if scheme else where, bytes=bytes)
        elif bytes is not None:
            raise TypeError("bytes: only where a region is opened by its URI")
        if isinstance(where, Region):
            where = where.window(name, max_keys=max_keys)
        elif max_keys is not None:
            raise TypeError("max_keys: not for a WindowCounter, which has its own")
        if not isinstance(where, WindowCounter):
            kind = type(where).__name__
            raise TypeError(f"uri: a str, a forebay.Region or a WindowCounter, not {kind}")
        self.counter = where

    def incr(self, key: str, expiry: float, amount: int) -> int:
        hit = self.counter.hit(key, expiry, amount)
        # What could not be counted is not let through.
        return _beyond(hit.count) if hit.counted else sys.maxsize

    def get(self, key: str) -> int:
        return _beyond(self.counter.get(key).count)

    def get_expiry(self, key: str) -> float:
        return time.time() + self.counter.get(key).resets_in

    def acquire(self, key: str, limit: int, expiry: float, amount: int) -> bool:
        """A hit in the current window, if that and the previous one leave room.

        Both are windows of the wall clock, and the previous one's count stands:
        a hit that came too late for its window is taken back and made again in
        the next one.
        """
        while True:
            window, gone = divmod(time.time(), expiry)
            previous = self.counter.get((key, int(window) - 1)).count
            room = min(limit - floor(previous * (expiry - gone) / expiry), _MOST)
            if amount > room:
                return False
            current = (key, int(window))
            # Twice as long: it is read until the next one is over.
            hit = self.counter.hit(current, 2 * expiry, amount, limit=room)
            # None at all always fit.
            if not hit.counted or hit.count > room:
                return False
            if time.time() // expiry == window:
                return True
            self.counter.decrement(current, amount)

    def sliding_window(self, key: str, expiry: float) -> tuple[int, float, int, float]:
        window, gone = divmod(time.time(), expiry)
        previous = self.counter.get((key, int(window) - 1)).count
        current = self.counter.get((key, int(window))).count
        left = expiry - gone
        return previous, left if previous else 0.0, current, left + expiry

    def clear_sliding_window(self, key: str, expiry: float) -> None:
        window = int(time.time() // expiry)
        for number in (window - 1, window):
            self.counter.reset((key, number))


def _beyond(count: int) -> int:
    """A count, or more than any limit if it went no further."""
    return count if count < _MOST else sys.maxsize


class ForebayStorage(Storage, SlidingWindowCounterSupport):
    """Windows in a region: fixed windows and sliding window counters.

    uri: ``forebay://NAME``, ``forebay:///a/path``; or a ``Region``, or a
        ``WindowCounter`` that nothing else counts in.
    wrap_exceptions: raise ``limits.errors.StorageError`` for forebay's errors.
    name: of the window counter in the region.
    bytes: the size of a region that is created (16 MiB).
    max_keys: as for ``Region.window``, when the counter is created: 65,536. A
        sliding window takes two. With more at once, new keys take the windows
        that end soonest, whose keys then start anew; the ``stats`` of the
        ``WindowCounter`` count those as ``evicted_live``.

    A window is at most four and a half years long, half of that if it slides.
    The 8,388,607th hit in a window is refused, whatever the limit. A cost is
    not negative.
    """

    STORAGE_SCHEME = ["forebay"]

    def __init__(
        self,
        uri: str | Region | WindowCounter,
        wrap_exceptions: bool = False,
        *,
        name: str = "limits",
        bytes: int | None = None,
        max_keys: int | None = None,
    ) -> None:
        super().__init__(wrap_exceptions=wrap_exceptions)
        self._windows = _Windows(uri, name, bytes, max_keys)

    @property
    def base_exceptions(self) -> type[Exception]:
        """What forebay raises."""
        return forebay.Error

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Counts hits in the key's window; how many there are now."""
        return self._windows.incr(key, expiry, amount)

    def get(self, key: str) -> int:
        """How many hits the key's window has seen."""
        return self._windows.get(key)

    def get_expiry(self, key: str) -> float:
        """When the key's window ends, in seconds since 1970; now, if it has
        none."""
        return self._windows.get_expiry(key)

    def check(self) -> bool:
        """Whether the storage works: it does once it was opened."""
        return True

    def reset(self) -> None:
        """Ends all windows of the counter, for every process."""
        self._windows.counter.clear()

    def clear(self, key: str) -> None:
        """Ends the key's window."""
        self._windows.counter.reset(key)

    def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Counts hits if, with the previous window's by the share of it that is
        still in sight, there are at most `limit` then."""
        return self._windows.acquire(key, limit, expiry, amount)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The previous window's hits and how long they count yet, and the
        current one's."""
        return self._windows.sliding_window(key, expiry)

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Ends both of the key's windows."""
        self._windows.clear_sliding_window(key, expiry)


class AsyncForebayStorage(AsyncStorage, AsyncSlidingWindowCounterSupport):
    """`ForebayStorage` for ``limits.aio``: the same limits, in the same region.
    No call of it waits."""

    STORAGE_SCHEME = ["async+forebay"]

    def __init__(
        self,
        uri: str | Region | WindowCounter,
        wrap_exceptions: bool = False,
        *,
        name: str = "limits",
        bytes: int | None = None,
        max_keys: int | None = None,
    ) -> None:
        super().__init__(wrap_exceptions=wrap_exceptions)
        self._windows = _Windows(uri, name, bytes, max_keys)

    @property
    def base_exceptions(self) -> type[Exception]:
        """What forebay raises."""
        return forebay.Error

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """As `ForebayStorage.incr`."""
        return self._windows.incr(key, expiry, amount)

    async def get(self, key: str) -> int:
        """As `ForebayStorage.get`."""
        return self._windows.get(key)

    async def get_expiry(self, key: str) -> float:
        """As `ForebayStorage.get_expiry`."""
        return self._windows.get_expiry(key)

    async def check(self) -> bool:
        """As `ForebayStorage.check`."""
        return True

    async def reset(self) -> None:
        """As `ForebayStorage.reset`."""
        self._windows.counter.clear()

    async def clear(self, key: str) -> None:
        """As `ForebayStorage.clear`."""
        self._windows.counter.reset(key)

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """As `ForebayStorage.acquire_sliding_window_entry`."""
        return self._windows.acquire(key, limit, expiry, amount)

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """As `ForebayStorage.get_sliding_window`."""
        return self._windows.sliding_window(key, expiry)

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        """As `ForebayStorage.clear_sliding_window`."""
        self._windows.clear_sliding_window(key, expiry)
