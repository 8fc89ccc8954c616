"""It reads and behaves as Python does."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import enum
import inspect
import os
import pickle
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import forebay

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "python"
# Any real number is a duration; the type says float.
HALF: Any = Decimal("0.5")
README = Path(__file__).resolve().parents[1] / "README.md"


# The region


def test_a_region_is_a_context_manager() -> None:
    with forebay.private() as region:
        assert not region.closed
        assert not region.shared
        assert region.path is None
        assert region.bytes == 16 << 20
    assert region.closed
    assert repr(region) == "<forebay.Region closed>"


def test_a_shared_region_has_a_path(tmp_path: Path) -> None:
    with forebay.open(tmp_path / "shop.fb", bytes=1 << 20) as region:
        assert region.shared
        assert region.path == tmp_path / "shop.fb"
        assert "shop.fb" in repr(region)
        assert region.stats().seats == 1


def test_a_bare_pathlike_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with forebay.open(Path("shop.fb"), bytes=1 << 20):
        assert (tmp_path / "shop.fb").exists()


def test_a_name_stands_for_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_DIR", str(tmp_path))
    with forebay.open("shop", bytes=1 << 20) as region:
        assert region.path is not None and region.path.parent == tmp_path


def test_time_is_in_the_tests_own_hands(region: forebay.Region) -> None:
    start = region.now()
    region.advance(1.5)
    region.advance(timedelta(minutes=1))
    region.advance(2)
    assert region.now() - start == 63.5


def test_objects_events_and_stats_are_plain_values(region: forebay.Region) -> None:
    region.limiter("api", "5/min")
    region.cache("pages", bytes=1 << 20)
    region.breaker("origin")
    region.histogram("http")
    assert [(thing.name, thing.kind) for thing in region.objects()] == [
        ("api", "limiter"),
        ("pages", "cache"),
        ("origin", "breaker"),
        ("http", "histogram"),
    ]
    assert region.stats().objects == 4
    events = region.events()
    assert len(events) == 4
    assert {event.kind for event in events} == {"object-created"}
    assert [event.object for event in events] == ["api", "pages", "origin", "http"]
    assert len(region.events(events.next)) == 0
    stats = dataclasses.asdict(region.stats())
    assert stats["bytes"] == 16 << 20
    assert pickle.loads(pickle.dumps(events)) == events
    with pytest.raises(dataclasses.FrozenInstanceError):
        region.stats().bytes = 1  # type: ignore[misc]


def test_objects_name_themselves(region: forebay.Region) -> None:
    assert repr(region.limiter("api", "5/min")) == '<forebay.Limiter "api">'
    assert repr(region.cache("pages", bytes=1 << 20)) == '<forebay.Cache "pages">'
    assert repr(region.breaker("origin")) == '<forebay.Breaker "origin" closed>'
    assert repr(region.histogram("http")) == '<forebay.Histogram "http">'
    assert region.limiter("api").name == "api"


def test_without_options_what_is_there_stays_as_it_is(region: forebay.Region) -> None:
    cache = region.cache("pages", bytes=1 << 20, ttl=10)
    region.cache("pages").set("a", b"v")
    entry = cache.entry("a")
    assert entry is not None and entry.ttl == 10.0
    breaker = region.breaker("origin", failure_threshold=1)
    region.breaker("origin").enter().failure()
    assert breaker.state == "open"


# Keys


def test_a_key_is_text_bytes_or_a_tuple(region: forebay.Region) -> None:
    limiter = region.limiter("api", "1/min")
    same: list[forebay.Key] = ["user", b"user", bytearray(b"user"), memoryview(b"user")]
    assert [limiter.allow(key) for key in same] == [True, False, False, False]
    assert limiter.allow(("tenant", 7))
    assert not limiter.allow(("tenant", "7")), "an int is its decimal text"
    assert not limiter.allow((b"tenant", bytearray(b"7")))
    assert limiter.allow(("tenant7",))
    assert limiter.allow(("ten", "ant7"))
    many = tuple(range(30))
    assert limiter.allow(many)
    assert not limiter.allow(tuple(str(part) for part in many))
    for number in (0, -1, 2**63 - 1, -(2**63), 2**64, -(10**40)):
        assert limiter.allow(("n", number))
        assert not limiter.allow(("n", str(number)))


def test_subclasses_are_keys_by_what_they_hold(region: forebay.Region) -> None:
    class Colour(str, enum.Enum):
        RED = "red"

    class Level(enum.IntEnum):
        HIGH = 3

    limiter = region.limiter("api", "1/min")
    assert limiter.allow(Colour.RED)
    assert not limiter.allow("red")
    assert limiter.allow(("level", Level.HIGH))
    assert not limiter.allow(("level", "3"))


# Limiter


def test_a_verdict_says_all(region: forebay.Region) -> None:
    limiter = region.limiter("api", "60/min burst 2", tiers={"staff": "unlimited"})
    verdict = limiter.take("user", 2)
    assert verdict and verdict.allowed is True
    assert (verdict.limit, verdict.remaining, verdict.reset_after) == (2, 0, 2.0)
    assert verdict.retry_after is None
    refused = limiter.take("user")
    assert not refused
    assert refused.retry_after == 1.0
    assert refused == limiter.take("user")
    assert refused != verdict
    assert repr(refused) == (
        "Verdict(allowed=False, limit=2, remaining=0, retry_after=1.0, reset_after=2.0, "
        "window=2.0)"
    )
    staff = limiter.take("user", tier="staff")
    assert staff and staff.limit is None and staff.remaining is None
    assert repr(staff) == (
        "Verdict(allowed=True, limit=None, remaining=None, retry_after=None, reset_after=0.0, "
        "window=0.0)"
    )


def test_waiting_as_long_as_told_is_enough(region: forebay.Region) -> None:
    limiter = region.limiter("api", "3/s burst 1")
    assert limiter.allow("user")
    wait = limiter.peek("user").retry_after
    assert wait is not None
    region.advance(wait)
    assert limiter.allow("user")


def test_rates_are_values() -> None:
    Rate = forebay.Rate
    assert Rate.parse("60/min burst 90") == Rate.per_minute(60, burst=90) == Rate(60, 60, 90)
    assert Rate.per_second(5) != Rate.per_hour(5)
    assert Rate.per_day(5) == Rate(5, timedelta(days=1))
    assert Rate.parse("unlimited") == Rate.UNLIMITED
    assert len({Rate.per_minute(60), Rate.parse("60/min"), Rate(60, 60.0)}) == 1
    for rate in (Rate(60, 1.5, burst=3), Rate.parse("60/min"), Rate.UNLIMITED):
        assert eval(repr(rate), {"Rate": Rate}) == rate


def test_tiers_are_any_mapping(region: forebay.Region) -> None:
    tiers = MappingProxyType({"pro": forebay.Rate.per_minute(9)})
    limiter = region.limiter("api", forebay.Rate.per_minute(1), tiers=tiers, max_keys=100)
    assert limiter.peek("user", tier="pro").limit == 9
    assert region.limiter("api").peek("user").limit == 1


# Cache


@pytest.mark.parametrize(
    ("value", "stored", "codec"),
    [
        (b"\x00\xff", b"\x00\xff", "bytes"),
        (b"", b"", "bytes"),
        ("Grüße 🔑", "Grüße 🔑".encode(), "text"),
        ("", b"", "text"),
        (None, b"null", "json"),
        (True, b"true", "json"),
        (False, b"false", "json"),
        (0, b"0", "json"),
        (-7, b"-7", "json"),
        (2**63, b"9223372036854775808", "json"),
        (-(2**63), b"-9223372036854775808", "json"),
        (10**18 - 1, b"999999999999999999", "json"),
        (1.5, b"1.5", "json"),
        ([1, "ä", None], '[1,"ä",null]'.encode(), "json"),
        ({"a": {"b": []}}, b'{"a":{"b":[]}}', "json"),
    ],
)
def test_a_value_comes_back_as_it_went(
    region: forebay.Region, value: Any, stored: bytes, codec: str
) -> None:
    cache = region.cache("pages", bytes=1 << 20)
    assert cache.set("a", value)
    found = cache.get("a")
    assert found == value and type(found) is type(value)
    assert cache.get_bytes("a") == stored
    entry = cache.entry("a")
    assert entry is not None
    assert (entry.value, entry.codec) == (value, codec)


def test_values_of_other_shapes(region: forebay.Region) -> None:
    cache = region.cache("pages", bytes=1 << 20)
    cache.set("a", (1, 2))
    assert cache.get("a") == [1, 2]
    cache.set("a", bytearray(b"x"))
    assert cache.get("a") == b"x"
    cache.set("a", memoryview(b"y"))
    assert cache.get("a") == b"y"
    large = "ü" * 20_000
    cache = region.cache("large", bytes=1 << 20, max_item=100_000)
    assert cache.set("a", large)
    assert cache.get("a") == large


def test_a_miss_is_the_default(region: forebay.Region) -> None:
    cache = region.cache("pages", bytes=1 << 20)
    assert cache.get("a") is None
    assert cache.get("a", 5) == 5
    assert cache.get_bytes("a") is None
    assert cache.entry("a") is None
    cache.set("a", None)
    assert cache.get("a", 5) is None


def test_a_cache_is_a_container(region: forebay.Region) -> None:
    cache = region.cache("pages", bytes=1 << 20)
    assert cache, "an empty cache is still a cache"
    cache.set("a", 1)
    cache.set("b", 2)
    assert "a" in cache and "c" not in cache
    assert len(cache) == 2
    assert cache.delete("a") is True
    assert cache.delete("a") is False
    cache.clear()
    assert len(cache) == 0


def test_ttl_is_seconds_timedelta_never_or_the_caches_own(region: forebay.Region) -> None:
    cache = region.cache("pages", bytes=1 << 20, ttl=timedelta(minutes=1))

    def ttl(key: str) -> float | None:
        entry = cache.entry(key)
        assert entry is not None
        return entry.ttl

    cache.set("own", b"")
    cache.set("seconds", b"", 10)
    cache.set("keyword", b"", ttl=0.5)
    cache.set("decimal", b"", ttl=5 * HALF)
    cache.set("delta", b"", ttl=timedelta(hours=1))
    cache.set("never", b"", ttl=None)
    assert (ttl("own"), ttl("seconds"), ttl("keyword")) == (60.0, 10.0, 0.5)
    assert (ttl("decimal"), ttl("delta"), ttl("never")) == (2.5, 3600.0, None)
    region.advance(0.5)
    assert "keyword" not in cache
    region.advance(3600)
    assert "delta" not in cache
    assert "never" in cache


def test_an_entry_says_when_and_which(region: forebay.Region) -> None:
    before = datetime.now(timezone.utc)
    cache = region.cache("pages", bytes=1 << 20)
    cache.set("a", "one")
    first = cache.entry("a")
    cache.set("a", "two")
    second = cache.entry("a")
    assert first is not None and second is not None
    assert second.version > first.version
    assert first.created.tzinfo is not None
    assert abs(first.created - before) < timedelta(seconds=10)
    assert repr(second).startswith("Entry(value='two', codec='text', version=")


def test_stats_have_a_hit_rate(region: forebay.Region) -> None:
    cache = region.cache("pages", bytes=1 << 20)
    assert cache.stats().hit_rate == 0.0
    cache.set("a", 1)
    cache.get("a")
    cache.get("a")
    cache.get("a")
    cache.get("b")
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.sets, stats.entries) == (3, 1, 1, 1)
    assert stats.hit_rate == 0.75
    assert repr(stats).startswith("CacheStats(hits=3, misses=1, sets=1, ")


# Breaker


@pytest.fixture
def breaker(region: forebay.Region) -> forebay.Breaker:
    return region.breaker("origin", failure_threshold=1, open_for=30, success_threshold=1)


def divide(a: float, b: float) -> float:
    """Divides."""
    return a / b


def test_call_passes_arguments_and_results(breaker: forebay.Breaker) -> None:
    assert breaker.call(divide, 6, b=3) == 2.0
    with pytest.raises(ZeroDivisionError):
        breaker.call(divide, 1, 0)
    with pytest.raises(forebay.BreakerOpen) as refused:
        breaker.call(divide, 6, 3)
    assert str(refused.value) == "breaker 'origin' is open: retry after 30s"
    assert (refused.value.breaker, refused.value.retry_after) == ("origin", 30.0)
    assert refused.value.code == "FB_REJECTED"
    assert isinstance(refused.value, forebay.Error)
    stats = breaker.stats()
    assert (stats.successes, stats.failures, stats.rejected, stats.opened) == (1, 1, 1, 1)


def test_it_recovers_by_a_probe(region: forebay.Region, breaker: forebay.Breaker) -> None:
    breaker.enter().failure()
    region.advance(30)
    assert breaker.call(divide, 1, 1) == 1.0
    assert breaker.state == "closed"
    assert [event.kind for event in region.events()][-3:] == [
        "breaker-open",
        "breaker-half-open",
        "breaker-closed",
    ]


def test_a_permit_is_a_context_manager(breaker: forebay.Breaker) -> None:
    with breaker.enter() as permit:
        assert repr(permit) == "<forebay.Permit of 'origin'>"
    assert breaker.stats().successes == 1
    with pytest.raises(KeyboardInterrupt), breaker.enter():
        raise KeyboardInterrupt
    assert breaker.stats().ignored == 1
    with pytest.raises(ValueError), breaker.enter():
        raise ValueError
    assert breaker.stats().failures == 1
    assert breaker.state == "open"


def test_the_first_word_counts(breaker: forebay.Breaker) -> None:
    permit = breaker.enter()
    assert permit.ignore() is True
    assert permit.failure() is False
    assert permit.success() is False
    with breaker.enter() as permit:
        permit.ignore()
    stats = breaker.stats()
    assert (stats.ignored, stats.successes, stats.failures) == (2, 0, 0)
    assert repr(permit) == "<forebay.Permit of 'origin', told>"


def test_a_permit_dropped_without_a_word_is_a_failure(breaker: forebay.Breaker) -> None:
    permit = breaker.enter()
    del permit
    assert breaker.stats().failures == 1
    assert breaker.state == "open"


def test_a_decorated_function_looks_like_itself(breaker: forebay.Breaker) -> None:
    guarded = breaker(divide)
    assert guarded(6, b=3) == 2.0
    assert guarded.__name__ == "divide"
    assert guarded.__doc__ == "Divides."
    assert guarded.__module__ == divide.__module__
    assert guarded.__wrapped__ is divide  # type: ignore[attr-defined]
    assert inspect.signature(guarded) == inspect.signature(divide)
    assert inspect.getdoc(guarded) == "Divides."
    assert "divide" in repr(guarded) and "'origin'" in repr(guarded)
    assert not inspect.iscoroutinefunction(guarded)
    assert breaker.stats().successes == 1


REGION = forebay.private()


@REGION.breaker("module")
def at_module_level(a: int) -> int:
    return a + 1


def test_a_decorated_function_is_pickled_by_name() -> None:
    assert pickle.loads(pickle.dumps(at_module_level)) is at_module_level
    assert copy.copy(at_module_level) is at_module_level
    assert copy.deepcopy(at_module_level) is at_module_level


def test_a_decorated_method_is_bound(breaker: forebay.Breaker) -> None:
    class Client:
        def __init__(self, base: int) -> None:
            self.base = base

        @breaker
        def add(self, n: int) -> int:
            return self.base + n

        @staticmethod
        @breaker
        def twice(n: int) -> int:
            return 2 * n

        @classmethod
        @breaker
        def make(cls, base: int) -> Client:
            return cls(base)

    assert Client(5).add(1) == 6
    assert Client.add(Client(5), n=2) == 7
    assert Client.twice(4) == 8
    assert Client.make(3).add(1) == 4
    assert breaker.stats().successes == 5


def test_is_failure_judges_results_and_errors(region: forebay.Region) -> None:
    def judge(status: Any, error: BaseException | None) -> bool:
        return isinstance(error, ConnectionError) or (status is not None and status >= 500)

    breaker = region.breaker("origin", failure_threshold=2, is_failure=judge)

    @breaker
    def call(status: int) -> int:
        return status

    assert call(200) == 200
    assert call(503) == 503
    with pytest.raises(KeyError):
        breaker.call(dict[str, int]().__getitem__, "absent")
    stats = breaker.stats()
    assert (stats.successes, stats.failures) == (2, 1)

    def broken(result: Any, error: BaseException | None) -> bool:
        raise RuntimeError("cannot judge")

    breaker = region.breaker("other", is_failure=broken)
    with pytest.raises(RuntimeError, match="cannot judge"):
        breaker.call(divide, 1, 1)
    assert breaker.stats().failures == 1, "no permit is lost"


def test_a_coroutine_function_stays_one(breaker: forebay.Breaker) -> None:
    @breaker
    async def fetch(a: int, *, b: int = 0) -> int:
        """Fetches."""
        await asyncio.sleep(0)
        return a + b

    assert inspect.iscoroutinefunction(fetch)
    assert fetch.__name__ == "fetch" and fetch.__doc__ == "Fetches."
    assert asyncio.run(fetch(1, b=2)) == 3
    assert breaker.stats().successes == 1


def test_an_awaited_failure_counts_when_it_comes(breaker: forebay.Breaker) -> None:
    @breaker
    async def fetch() -> None:
        assert breaker.stats().failures == 0
        await asyncio.sleep(0)
        raise ConnectionError

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await fetch()
        assert breaker.state == "open"
        refused = fetch()
        with pytest.raises(forebay.BreakerOpen):
            await refused

    asyncio.run(main())


def test_call_awaits_a_coroutine(breaker: forebay.Breaker) -> None:
    async def fetch(a: int) -> int:
        await asyncio.sleep(0)
        if a < 0:
            raise ConnectionError
        return a

    async def main() -> None:
        assert await breaker.call(fetch, 5) == 5
        assert breaker.stats().successes == 1
        assert await asyncio.gather(*(breaker.call(fetch, n) for n in range(10))) == [*range(10)]
        assert breaker.stats().successes == 11
        with pytest.raises(ConnectionError):
            await breaker.call(fetch, -1)
        assert breaker.state == "open"
        with pytest.raises(forebay.BreakerOpen):
            await breaker.call(fetch, 5)

    asyncio.run(main())


def test_cancellation_is_ignored(breaker: forebay.Breaker) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        started = [
            asyncio.create_task(breaker.call(hang)),
            asyncio.create_task(breaker(hang)()),
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        unstarted = asyncio.create_task(breaker.call(hang))
        for task in (*started, unstarted):
            task.cancel()
        await asyncio.gather(*started, unstarted, return_exceptions=True)

    asyncio.run(main())
    stats = breaker.stats()
    assert (stats.ignored, stats.failures) == (3, 0)
    assert breaker.state == "closed"


def test_a_task_is_a_result(breaker: forebay.Breaker) -> None:
    async def main() -> None:
        async def work() -> int:
            return 7

        task = breaker.call(lambda: asyncio.create_task(work()))
        assert isinstance(task, asyncio.Task)
        assert await task == 7

    asyncio.run(main())


# Histogram


def test_durations_are_recorded_in_any_form(region: forebay.Region) -> None:
    histogram = region.histogram("http")
    assert histogram.percentile(50) is None
    assert histogram.snapshot().min is None
    histogram.record(0.5)
    histogram.record(2)
    histogram.record(timedelta(milliseconds=500))
    histogram.record(HALF)
    histogram.record_ns(500_000_000)
    snapshot = histogram.snapshot()
    assert (snapshot.count, snapshot.sum, snapshot.min, snapshot.max) == (5, 4.0, 0.5, 2.0)
    assert snapshot.mean == 0.8
    median = histogram.percentile(50)
    assert median is not None and abs(median - 0.5) < 0.5 * 0.011
    assert histogram.percentile(100) == 2.0
    assert [count for _, count in snapshot.buckets()] == [4, 1]
    assert all(edge >= 0.5 for edge, _ in snapshot.buckets())
    assert snapshot == histogram.snapshot()
    assert repr(snapshot).startswith("Snapshot(count=5, mean=0.8, p50=0.")


def test_a_timer_reads_the_regions_clock(region: forebay.Region) -> None:
    histogram = region.histogram("http")
    with histogram.time():
        region.advance(0.25)
    with pytest.raises(ValueError), histogram.time():
        region.advance(0.75)
        raise ValueError
    with histogram.time(), histogram.time():
        region.advance(1)
    snapshot = histogram.snapshot()
    assert (snapshot.count, snapshot.sum) == (4, 3.0)


# The documents


def test_the_example_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "first.py")],
        env={**os.environ, "FOREBAY_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "p99" in done.stdout


def run_examples(of_limits: bool) -> None:
    """Runs the README's examples, those that need `limits` or those that do not."""
    blocks = README.read_text(encoding="utf-8").split("```python\n")[1:]
    programs = [block.split("```")[0] for block in blocks]
    chosen = [program for program in programs if ("forebay.limits" in program) is of_limits]
    assert chosen
    names: dict[str, Any] = {}
    for program in chosen:
        exec(compile(program, str(README), "exec"), names)


def test_the_readmes_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_DIR", str(tmp_path))
    run_examples(of_limits=False)


def test_the_readmes_example_with_limits_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("limits", reason="limits is not installed")
    monkeypatch.setenv("FOREBAY_DIR", str(tmp_path))
    run_examples(of_limits=True)
