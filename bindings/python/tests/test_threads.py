"""Many threads, one handle: counts are exact and nobody waits for ever."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import forebay

THREADS = 8
TURNS = 2_000


@contextmanager
def eager_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def in_threads(work: Callable[[int], None]) -> None:
    """Runs it in every thread at once; what one raises, this raises."""
    failures: list[BaseException] = []
    start = threading.Barrier(THREADS)

    def body(number: int) -> None:
        start.wait()
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(THREADS)]
    with eager_switching():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def test_a_limit_holds_over_threads(region: forebay.Region) -> None:
    limiter = region.limiter("api", "5000/day")
    admitted = [0] * THREADS

    def work(number: int) -> None:
        admitted[number] = sum(limiter.allow("user") for _ in range(TURNS))

    in_threads(work)
    assert sum(admitted) == 5000
    stats = limiter.stats()
    assert (stats.admitted, stats.refused) == (5000, THREADS * TURNS - 5000)


def test_hits_with_a_limit_are_exact_over_threads(region: forebay.Region) -> None:
    counter = region.window("hits")
    counted = [0] * THREADS

    def work(number: int) -> None:
        counted[number] = sum(counter.hit("user", 60, limit=5000).counted for _ in range(TURNS))

    in_threads(work)
    assert sum(counted) == counter.get("user").count == 5000


def test_leases_are_so_many_at_once_over_threads(region: forebay.Region) -> None:
    permits = region.permits("exports", 3)
    inside: list[int] = []
    refused = [0] * THREADS

    def work(number: int) -> None:
        for _ in range(TURNS):
            lease = permits.try_acquire("user")
            if lease is None:
                refused[number] += 1
                continue
            with lease:
                inside.append(number)
                assert len(inside) <= 3
                inside.remove(number)

    in_threads(work)
    assert permits.in_use("user") == 0
    stats = permits.stats()
    assert stats.granted == THREADS * TURNS - sum(refused)
    assert stats.refused + stats.busy == sum(refused)


def test_one_lease_is_released_once_over_threads(region: forebay.Region) -> None:
    permits = region.permits("exports", 1)
    leases = [permits.enter(("user", i)) for i in range(100)]
    released = [0] * THREADS

    def work(number: int) -> None:
        for lease in leases:
            lease.renew()
            released[number] += lease.release()

    in_threads(work)
    assert sum(released) == len(leases)


def test_a_value_is_never_anothers_nor_torn(region: forebay.Region) -> None:
    cache = region.cache("pages", bytes=1 << 20)

    def work(number: int) -> None:
        for turn in range(TURNS):
            key = f"page {turn % 50}"
            cache.set(key, f"{key}|".encode() * (1 + turn % 40 + number))
            found = cache.get(key)
            if found is not None:
                parts = found.split(b"|")
                assert parts.pop() == b""
                assert set(parts) == {key.encode()}

    in_threads(work)


def test_a_histogram_loses_nothing(region: forebay.Region) -> None:
    histogram = region.histogram("http")

    def work(number: int) -> None:
        for turn in range(TURNS):
            histogram.record_ns(turn)
            if turn % 100 == 0:
                histogram.snapshot()

    in_threads(work)
    snapshot = histogram.snapshot()
    assert snapshot.count == THREADS * TURNS
    assert sum(count for _, count in snapshot.buckets()) == THREADS * TURNS


def test_only_one_probe_at_a_time(region: forebay.Region) -> None:
    breaker = region.breaker("origin", failure_threshold=1, open_for=10)
    breaker.enter().failure()
    region.advance(10)
    permits: list[forebay.Permit] = []

    def work(number: int) -> None:
        try:
            permits.append(breaker.enter())
        except forebay.BreakerOpen:
            pass

    in_threads(work)
    assert len(permits) == 1


def test_every_call_is_counted(region: forebay.Region) -> None:
    breaker = region.breaker("origin", failure_threshold=0, failure_rate=None)

    @breaker
    def work_once(turn: int) -> int:
        if turn % 2:
            raise ConnectionError
        return turn

    def work(number: int) -> None:
        for turn in range(TURNS):
            if turn % 2:
                with pytest.raises(ConnectionError):
                    work_once(turn)
            else:
                assert work_once(turn) == turn

    in_threads(work)
    stats = breaker.stats()
    assert (stats.successes, stats.failures) == (THREADS * TURNS // 2, THREADS * TURNS // 2)


def test_opening_and_closing_races_with_use() -> None:
    def work(number: int) -> None:
        for _ in range(20):
            with forebay.private(bytes=1 << 20) as region:
                limiter = region.limiter("api", "5/min", max_keys=100)
                assert limiter.allow("user")
            assert limiter.allow("user")

    in_threads(work)


def test_closing_while_others_use_it_is_closed_or_answered() -> None:
    region = forebay.private()

    def work(number: int) -> None:
        if number == 0:
            region.close()
            return
        try:
            for _ in range(100):
                region.stats()
        except forebay.Closed:
            pass

    in_threads(work)


def test_handles_are_freed(region: forebay.Region) -> None:
    freed: list[str] = []

    def judge(result: object, error: BaseException | None) -> bool:
        return error is not None

    breaker = region.breaker("origin", is_failure=judge)
    judge.breaker = breaker  # type: ignore[attr-defined]

    @breaker
    def call() -> None: ...

    call.itself = call  # type: ignore[attr-defined]
    weakref.finalize(judge, freed.append, "judge")
    weakref.finalize(call, freed.append, "call")
    del judge, breaker, call
    gc.collect()
    assert sorted(freed) == ["call", "judge"], "cycles through a breaker are collected"
