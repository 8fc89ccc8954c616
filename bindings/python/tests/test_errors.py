"""Bad input: a typed error with the engine's sentence, never a crash, and
nothing changed by it."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import forebay

NAN = float("nan")
INF = float("inf")
HUGE = 10**5000  # more digits than Python prints


@pytest.fixture
def limiter(region: forebay.Region) -> forebay.Limiter:
    return region.limiter("api", "5/min")


@pytest.fixture
def cache(region: forebay.Region) -> forebay.Cache:
    return region.cache("pages")


@pytest.fixture
def counter(region: forebay.Region) -> forebay.WindowCounter:
    return region.window("hits")


@pytest.fixture
def permits(region: forebay.Region) -> forebay.Permits:
    return region.permits("exports", 2)


@pytest.fixture
def histogram(region: forebay.Region) -> forebay.Histogram:
    return region.histogram("http")


def bad_files() -> list[Any]:
    """The rows of the damaged files that a harness made, if it did."""
    directory = os.environ.get("FOREBAY_BAD_FILES")
    if not directory:
        skip = pytest.mark.skip(reason="FOREBAY_BAD_FILES is not set")
        return [pytest.param(None, None, None, marks=skip, id="bad files")]
    rows = []
    manifest = (Path(directory) / "manifest.tsv").read_text(encoding="utf-8")
    for line in manifest.splitlines():
        name, number, code, message = line.split("\t")
        if not number.lstrip("-").isdigit():
            continue  # the heading
        rows.append(pytest.param(Path(directory) / name, code, message, id=name))
    assert rows, "the manifest is empty"
    return rows


@pytest.mark.parametrize(("path", "code", "message"), bad_files())
def test_a_bad_file_is_refused_with_the_sentence_of_every_language(
    path: Path, code: str, message: str
) -> None:
    with pytest.raises(forebay.Error) as caught:
        forebay.open(str(path))
    assert caught.value.code == code
    assert str(caught.value) == message.replace("{path}", str(path))


def test_an_error_is_ours_and_the_builtin_one() -> None:
    for error, builtin in {
        forebay.InvalidArgument: ValueError,
        forebay.Geometry: ValueError,
        forebay.WrongKind: ValueError,
        forebay.TooLarge: ValueError,
        forebay.Closed: ValueError,
        forebay.RegionFull: MemoryError,
        forebay.OutOfSpace: OSError,
        forebay.Permission: PermissionError,
        forebay.Layout: OSError,
        forebay.Corrupt: OSError,
        forebay.OtherBoot: OSError,
        forebay.ClockNamespace: OSError,
        forebay.Io: OSError,
        forebay.NoSeat: OSError,
        forebay.Busy: OSError,
        forebay.NotFound: FileNotFoundError,
        forebay.Unsupported: NotImplementedError,
        forebay.Panic: RuntimeError,
    }.items():
        assert issubclass(error, forebay.Error)
        assert issubclass(error, builtin)
        assert error.code.startswith("FB_E_")
    assert issubclass(forebay.NotFound, LookupError)


def test_errors_survive_pickling() -> None:
    # As multiprocessing sends them home.
    error = pickle.loads(pickle.dumps(forebay.NotFound("limiter 'api' does not exist")))
    assert str(error) == "limiter 'api' does not exist"
    refused = pickle.loads(pickle.dumps(forebay.BreakerOpen("breaker 'x' is open", "x", 1.5)))
    assert (refused.breaker, refused.retry_after) == ("x", 1.5)


def test_a_limit_that_refused_survives_pickling(limiter: forebay.Limiter) -> None:
    limiter.take("a", 5)
    for cost in (1, 6):
        with pytest.raises(forebay.Limited) as caught:
            limiter.enforce("a", cost)
        home = pickle.loads(pickle.dumps(caught.value))
        assert (str(home), home.limiter) == (str(caught.value), "api")
        assert home.verdict == caught.value.verdict == copy.copy(home.verdict)


@pytest.mark.parametrize("bad", [None, 7, 1.5, [], {}, object(), True, frozenset()])
def test_a_key_of_another_type_is_a_type_error(
    limiter: forebay.Limiter,
    cache: forebay.Cache,
    counter: forebay.WindowCounter,
    permits: forebay.Permits,
    bad: Any,
) -> None:
    calls: list[Callable[[Any], object]] = [
        limiter.allow,
        limiter.take,
        limiter.peek,
        limiter.reset,
        limiter.enforce,
        limiter.refund,
        limiter.penalize,
        limiter.unblock,
        lambda key: limiter.block(key, 1),
        lambda key: limiter.reserve(key, 1),
        lambda key: limiter.acquire(key, 1),
        lambda key: limiter.acquire_async(key, 1),
        lambda key: limiter.limit(key=key),
        limiter.mark,
        lambda key: forebay.take_all([(limiter, "a"), (limiter, key)]),
        lambda key: counter.hit(key, 1),
        counter.get,
        counter.decrement,
        counter.reset,
        lambda key: counter.block(key, 1),
        counter.blocked_for,
        counter.unblock,
        permits.try_acquire,
        permits.enter,
        permits.in_use,
        lambda key: permits.limit(key=key),
        cache.get,
        cache.get_bytes,
        cache.entry,
        cache.delete,
        cache.contains,
    ]
    for call in calls:
        with pytest.raises(TypeError, match="key: str, bytes-like or a tuple"):
            call(bad)
    with pytest.raises(TypeError):
        cache.set(bad, b"value")
    assert limiter.stats().admitted == 0
    assert counter.stats().hits == 0
    assert permits.stats().granted == 0
    assert cache.stats().sets == 0


@pytest.mark.parametrize("part", [None, 1.5, True, ("nested",), [], object()])
def test_a_part_of_another_type_is_a_type_error(limiter: forebay.Limiter, part: Any) -> None:
    with pytest.raises(TypeError, match="key: each part"):
        limiter.allow(("tenant", part))


def test_a_tuple_of_nothing_is_no_key(limiter: forebay.Limiter) -> None:
    with pytest.raises(forebay.InvalidArgument, match="key: got"):
        limiter.allow(())


def test_text_that_is_not_unicode_is_an_encode_error(
    limiter: forebay.Limiter, cache: forebay.Cache
) -> None:
    lone = "\ud800"
    for call in (
        lambda: limiter.allow(lone),
        lambda: limiter.allow(("a", lone)),
        lambda: limiter.allow("a", tier=lone),
        lambda: cache.get(lone),
        lambda: cache.set("a", lone),
        lambda: cache.set("a", {"b": lone}),
    ):
        with pytest.raises(UnicodeEncodeError):
            call()
    with pytest.raises(UnicodeEncodeError):
        forebay.open(lone)
    assert limiter.stats().admitted == 0
    assert len(cache) == 0


def test_odd_keys_are_keys(limiter: forebay.Limiter, cache: forebay.Cache) -> None:
    keys: list[forebay.Key] = ["", b"\0", "a\0b", b"\xff\xfe", "🔑", "k" * 100_000]
    for key in keys:
        assert limiter.allow(key)
        assert limiter.peek(key).remaining == 4
    for key in keys[:-1]:
        assert cache.set(key, b"v")
        assert cache.get(key) == b"v"


@pytest.mark.parametrize("bad", [-1, -(2**63), 2**64, -HUGE, HUGE], ids=["-1", "-2^63", "2^64", "-huge", "huge"])
def test_a_number_out_of_range_is_an_invalid_argument(
    region: forebay.Region,
    limiter: forebay.Limiter,
    counter: forebay.WindowCounter,
    permits: forebay.Permits,
    histogram: forebay.Histogram,
    bad: int,
) -> None:
    calls: list[tuple[str, Callable[[], object]]] = [
        ("cost", lambda: limiter.allow("a", bad)),
        ("cost", lambda: limiter.take("a", cost=bad)),
        ("cost", lambda: limiter.enforce("a", bad)),
        ("cost", lambda: limiter.reserve("a", 1, cost=bad)),
        ("cost", lambda: limiter.acquire("a", 1, cost=bad)),
        ("cost", lambda: limiter.acquire_async("a", 1, cost=bad)),
        ("cost", lambda: limiter.limit(key="a", cost=bad)),
        ("cost", lambda: forebay.take_all([(limiter, "a"), (limiter, "a", bad)])),
        ("tokens", lambda: limiter.refund("a", bad)),
        ("tokens", lambda: limiter.penalize("a", bad)),
        ("hits", lambda: counter.hit("a", 1, bad)),
        ("hits", lambda: counter.decrement("a", bad)),
        ("limit", lambda: counter.hit("a", 1, limit=bad)),
        ("max_keys", lambda: region.window("x", max_keys=bad)),
        ("limit", lambda: region.permits("exports", bad)),
        ("max_leases", lambda: region.permits("exports", 2, max_leases=bad)),
        ("trusted_hops", lambda: forebay.client_address("::1", "", bad)),
        ("ipv6_prefix", lambda: forebay.client_address("::1", ipv6_prefix=bad)),
        ("ns", lambda: histogram.record_ns(bad)),
        ("bytes", lambda: forebay.private(bytes=bad)),
        ("mode", lambda: forebay.open("never-made", mode=bad)),
        ("max_keys", lambda: region.limiter("x", "1/s", max_keys=bad)),
        ("max_entries", lambda: region.cache("x", max_entries=bad)),
        ("shards", lambda: region.cache("x", shards=bad)),
        ("failure_threshold", lambda: region.breaker("x", failure_threshold=bad)),
        ("half_open_calls", lambda: region.breaker("x", half_open_calls=bad)),
        ("since", lambda: region.events(bad)),
        ("rate", lambda: forebay.Rate(bad, 1)),
        ("burst", lambda: forebay.Rate.per_second(1, burst=bad)),
    ]
    for argument, call in calls:
        with pytest.raises(forebay.InvalidArgument) as caught:
            call()
        assert str(caught.value).startswith(f"{argument}: got ")
        assert isinstance(caught.value, ValueError)
    assert limiter.peek("a").remaining == 5
    assert counter.get("a").count == 0
    leases = [permits.try_acquire("a") for _ in range(3)]
    assert leases[1] is not None and leases[2] is None


def test_large_numbers_that_fit_are_answered(
    limiter: forebay.Limiter, counter: forebay.WindowCounter, histogram: forebay.Histogram
) -> None:
    for hits in (2**53 + 1, 2**63, 2**64 - 1):
        assert not counter.hit("a", 1, hits, limit=hits)
        assert counter.hit("b", 1, hits).count == 2**23 - 1
        assert counter.decrement("b", hits).count == 0
    for cost in (2**53 + 1, 2**63, 2**64 - 1):
        verdict = limiter.take("a", cost)
        assert not verdict and verdict.retry_after is None and verdict.remaining == 5
    histogram.record_ns(2**64 - 1)
    assert histogram.snapshot().count == 1


@pytest.mark.parametrize("bad", [1.5, "1", [], Decimal(1)])
def test_a_number_of_another_type_is_a_type_error(
    region: forebay.Region,
    counter: forebay.WindowCounter,
    permits: forebay.Permits,
    bad: Any,
) -> None:
    calls: list[Callable[[], object]] = [
        lambda: counter.hit("a", 1, bad),
        lambda: counter.hit("a", 1, limit=bad),
        lambda: counter.decrement("a", bad),
        lambda: region.window("hits", max_keys=bad),
        lambda: region.permits("exports", bad),
        lambda: region.permits("exports", 2, max_leases=bad),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    assert counter.stats().hits == 0 and permits.stats().granted == 0


@pytest.mark.parametrize("bad", [1.5, "1", None, [], Decimal(1)])
def test_a_cost_of_another_type_is_a_type_error(limiter: forebay.Limiter, bad: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: limiter.allow("a", bad),
        lambda: limiter.enforce("a", bad),
        lambda: limiter.refund("a", bad),
        lambda: limiter.penalize("a", bad),
        lambda: limiter.reserve("a", 1, cost=bad),
        lambda: limiter.acquire("a", 1, cost=bad),
        lambda: limiter.limit(key="a", cost=bad),
        lambda: forebay.take_all([(limiter, "a"), (limiter, "a", bad)]),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    assert limiter.peek("a").remaining == 5


@pytest.mark.parametrize("bad", [5, b"pro", ["pro"], True])
def test_a_tier_of_another_type_is_a_type_error(limiter: forebay.Limiter, bad: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: limiter.take("a", tier=bad),
        lambda: limiter.enforce("a", tier=bad),
        lambda: limiter.refund("a", tier=bad),
        lambda: limiter.penalize("a", tier=bad),
        lambda: limiter.reserve("a", 1, tier=bad),
        lambda: limiter.acquire("a", 1, tier=bad),
        lambda: limiter.acquire_async("a", 1, tier=bad),
        lambda: limiter.limit(key="a", tier=bad),
        lambda: forebay.take_all([(limiter, "a"), (limiter, "a", 1, bad)]),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="tier"):
            call()
    assert limiter.peek("a").remaining == 5


@pytest.mark.parametrize(
    "bad",
    [None, 5, "api", (), ("api",), ("api", "a"), ["api", "a"], (None, "a"), "six"],
    ids=repr,
)
def test_what_is_no_request_is_a_type_error(limiter: forebay.Limiter, bad: Any) -> None:
    with pytest.raises(TypeError, match="requests: each a tuple"):
        forebay.take_all([(limiter, "a"), bad])
    with pytest.raises(TypeError, match="requests: each a tuple .* not one of 5 items"):
        forebay.take_all([(limiter, "a"), (limiter, "a", 1, None, bad)])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        forebay.take_all(5)  # type: ignore[arg-type]
    assert limiter.peek("a").remaining == 5


def test_at_most_sixteen_limits_at_once(limiter: forebay.Limiter) -> None:
    with pytest.raises(forebay.InvalidArgument, match="requests: got 17; allowed: at most 16"):
        forebay.take_all([(limiter, "a", 0)] * 17)
    with pytest.raises(forebay.InvalidArgument):
        forebay.take_all([(limiter, "a", 1, "nobody")] * 17)
    assert limiter.peek("a").remaining == 5
    assert limiter.stats().admitted == 0


def test_headers_of_what_cannot_be_told_are_refused(limiter: forebay.Limiter) -> None:
    verdict = limiter.peek("a")
    for bad in ("a\r\nSet-Cookie: x", "naïve", "\0", "\x7f"):
        with pytest.raises(forebay.InvalidArgument, match="name: got"):
            forebay.headers([("api", verdict), (bad, verdict)])
        with pytest.raises(forebay.InvalidArgument, match="name: got"):
            verdict.headers(bad, "draft-10")
    style: Any
    for style in ("", "draft-9", "LEGACY", "legacy "):
        with pytest.raises(forebay.InvalidArgument, match="style: got .*; allowed: legacy, "):
            verdict.headers("api", style)
    for style in (None, 8, b"legacy", ["legacy"]):
        with pytest.raises(TypeError, match="style: a str"):
            verdict.headers("api", "legacy", style)
    pair: Any
    for pair in (verdict, ("api",), ("api", None), (verdict, "api"), ("api", 5), "ap", None):
        with pytest.raises(TypeError, match="limits: each a \\(name, verdict\\)"):
            forebay.headers([("api", verdict), pair])
    with pytest.raises(TypeError, match="limits: each a .* or \\(name, verdict, key\\)"):
        forebay.headers([("api", verdict, "key", 1)])  # type: ignore[list-item]
    key: Any
    for key in (5, 1.5, [], object()):
        with pytest.raises(TypeError, match="key: str, bytes-like or a tuple"):
            forebay.headers([("api", verdict, key)])
    with pytest.raises(forebay.InvalidArgument, match="key: got"):
        forebay.headers([("api", verdict, ())])
    with pytest.raises(TypeError):
        forebay.headers(verdict)  # type: ignore[arg-type]
    with pytest.raises(forebay.InvalidArgument, match="now: got"):
        verdict.headers("api", now=2**63)


@pytest.mark.parametrize("bad", ["", "localhost", "1.2.3", "::1::2", "[::1", "1.2.3.4:99999", "\0"])
def test_a_peer_is_an_address(bad: str) -> None:
    with pytest.raises(forebay.InvalidArgument, match="address: got"):
        forebay.client_address(bad)


def test_an_address_of_another_type_is_a_type_error() -> None:
    calls: tuple[Callable[[], object], ...] = (
        lambda: forebay.client_address(None),  # type: ignore[arg-type]
        lambda: forebay.client_address(b"::1"),  # type: ignore[arg-type]
        lambda: forebay.client_address("::1", ["::2"]),  # type: ignore[arg-type]
        lambda: forebay.client_address("::1", "", 1.5),  # type: ignore[arg-type]
        lambda: forebay.client_address("::1", "", 1, "64"),  # type: ignore[arg-type]
    )
    for call in calls:
        with pytest.raises(TypeError):
            call()
    for bits in (129, 256, 2**64 - 1):
        with pytest.raises(forebay.InvalidArgument) as caught:
            forebay.client_address("::1", ipv6_prefix=bits)
        assert str(caught.value) == f"ipv6_prefix: got {bits}; allowed: 0 to 128"


def test_only_a_callable_is_decorated(limiter: forebay.Limiter) -> None:
    with pytest.raises(TypeError, match="a limiter decorates a callable, not int"):
        limiter.limit(key="a")(5)  # type: ignore[type-var]
    with pytest.raises(TypeError):
        limiter.limit()  # type: ignore[call-arg]


@pytest.mark.parametrize("bad", [-1, -0.001, NAN, INF, -INF, 1e300, 10**30, timedelta(days=-1)])
def test_a_duration_out_of_range_is_an_invalid_argument(
    region: forebay.Region,
    limiter: forebay.Limiter,
    cache: forebay.Cache,
    counter: forebay.WindowCounter,
    histogram: forebay.Histogram,
    bad: Any,
) -> None:
    start = region.now()
    verdict = limiter.peek("a")
    calls: list[tuple[str, Callable[[], object]]] = [
        ("ttl", lambda: cache.set("a", b"v", ttl=bad)),
        ("ttl", lambda: region.cache("x", ttl=bad)),
        ("duration", lambda: histogram.record(bad)),
        ("by", lambda: region.advance(bad)),
        ("window", lambda: region.breaker("x", window=bad)),
        ("open_for", lambda: region.breaker("x", open_for=bad)),
        ("probe_lease", lambda: region.breaker("x", probe_lease=bad)),
        ("per", lambda: forebay.Rate(1, bad)),
        ("time", lambda: limiter.block("a", bad)),
        ("time", lambda: counter.block("a", bad)),
        ("window", lambda: counter.hit("a", bad)),
        ("lease", lambda: region.permits("x", 1, lease=bad)),
        ("max_wait", lambda: limiter.reserve("a", bad)),
        ("timeout", lambda: limiter.acquire("a", bad)),
        ("timeout", lambda: limiter.acquire_async("a", bad)),
        ("now", lambda: verdict.headers("api", now=bad)),
        ("now", lambda: forebay.headers([("api", verdict)], now=bad)),
    ]
    for argument, call in calls:
        with pytest.raises(forebay.InvalidArgument) as caught:
            call()
        assert str(caught.value).startswith(f"{argument}: got ")
    assert len(cache) == 0
    assert histogram.snapshot().count == 0
    assert limiter.peek("a") == verdict
    assert limiter.stats().admitted == 0
    assert region.now() == start


@pytest.mark.parametrize("bad", ["60", True, [], object(), 1j])
def test_a_duration_of_another_type_is_a_type_error(
    region: forebay.Region,
    limiter: forebay.Limiter,
    cache: forebay.Cache,
    counter: forebay.WindowCounter,
    histogram: forebay.Histogram,
    bad: Any,
) -> None:
    calls: list[Callable[[Any], object]] = [
        histogram.record,
        lambda bad: limiter.block("a", bad),
        lambda bad: counter.block("a", bad),
        lambda bad: counter.hit("a", bad),
        lambda bad: region.permits("x", 1, lease=bad),
        lambda bad: limiter.reserve("a", bad),
        lambda bad: limiter.acquire("a", bad),
        lambda bad: limiter.acquire_async("a", bad),
        lambda bad: limiter.peek("a").headers("api", now=bad),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="a number of seconds or a datetime.timedelta"):
            call(bad)
    with pytest.raises(TypeError):
        limiter.acquire("a", None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        cache.set("a", b"v", ttl=bad)
    with pytest.raises(TypeError):
        histogram.record(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [-1, 100.001, NAN, INF, -INF])
def test_a_percentile_is_between_0_and_100(histogram: forebay.Histogram, bad: float) -> None:
    with pytest.raises(forebay.InvalidArgument):
        histogram.percentile(bad)
    with pytest.raises(forebay.InvalidArgument):
        histogram.snapshot().percentile(bad)


@pytest.mark.parametrize("bad", [NAN, INF, -0.5, 0.0, 1.5])
def test_a_failure_rate_is_a_share(region: forebay.Region, bad: float) -> None:
    with pytest.raises(forebay.InvalidArgument):
        region.breaker("x", failure_rate=bad)


def test_a_value_json_cannot_say_is_refused_and_nothing_stored(cache: forebay.Cache) -> None:
    recursive: list[Any] = []
    recursive.append(recursive)
    for value, error in (
        (object(), TypeError),
        ({1, 2}, TypeError),
        (NAN, ValueError),
        ([INF], ValueError),
        (recursive, ValueError),
    ):
        with pytest.raises(error):
            cache.set("a", value)
    assert len(cache) == 0


def test_a_value_too_large_is_false_and_counted(region: forebay.Region) -> None:
    cache = region.cache("small", bytes=64 << 10, max_item=1024)
    assert cache.set("a", b"x" * 2000) is False
    assert cache.stats().too_large == 1
    assert cache.get("a") is None


def test_an_object_of_another_kind_or_size_is_told_apart(region: forebay.Region) -> None:
    region.limiter("api", "5/min", max_keys=1000)
    with pytest.raises(forebay.WrongKind, match="'api' is a limiter, not a cache"):
        region.cache("api")
    with pytest.raises(forebay.Geometry, match="max_keys = 1000, asked for 100000"):
        region.limiter("api", "5/min", max_keys=100_000)
    with pytest.raises(forebay.NotFound):
        region.limiter("nobody")
    with pytest.raises(forebay.NotFound):
        region.cache("nobody", create=False)
    with pytest.raises(forebay.NotFound):
        region.breaker("nobody", create=False)
    with pytest.raises(forebay.RegionFull):
        region.cache("large", bytes=64 << 20)
    with pytest.raises(forebay.InvalidArgument, match="create: got False"):
        region.cache("pages", ttl=1, create=False)
    for options in (
        {"max_keys": 5},
        {"tiers": {"pro": "1/s"}},
        {"algorithm": "bucket"},
        {"on_full": "strict"},
        {"enabled": True},
        {"on_error": "deny"},
        {"show_keys": False},
    ):
        with pytest.raises(forebay.InvalidArgument, match="rate: got None"):
            region.limiter("x", **options)
    with pytest.raises(forebay.InvalidArgument, match="limit: got None"):
        region.permits("x", lease=5)
    with pytest.raises(forebay.InvalidArgument, match="create: got False"):
        region.window("x", max_keys=5, create=False)
    for argument, call in (
        ("window", lambda: region.window("w").hit("a", 0.0009)),
        ("window", lambda: region.window("w").hit("a", 5 * 366 * 86_400)),
        ("max_keys", lambda: region.window("x", max_keys=0)),
        ("limit", lambda: region.permits("x", 0)),
        ("limit", lambda: region.permits("x", 4097)),
        ("lease", lambda: region.permits("x", 1, lease=0)),
        ("lease", lambda: region.permits("x", 1, lease=31 * 86_400)),
        ("max_leases", lambda: region.permits("x", 5, max_leases=4)),
        ("max_leases", lambda: region.permits("x", 5, max_leases=2**24 + 1)),
    ):
        with pytest.raises(forebay.InvalidArgument, match=f"^{argument}: got"):
            call()
    assert [each.name for each in region.objects()] == ["api", "w"]
    with pytest.raises(forebay.NotFound):
        region.permits("nobody")
    with pytest.raises(forebay.InvalidArgument):
        region.limiter("", "5/min")
    with pytest.raises(forebay.InvalidArgument):
        region.limiter("n" * 49, "5/min")


@pytest.mark.parametrize("bad", ["", "5", "5/", "/min", "five/min", "5/fortnight", "-5/min", "\0"])
def test_a_rate_that_is_not_one_is_refused(region: forebay.Region, bad: str) -> None:
    with pytest.raises(forebay.InvalidArgument, match="rate: got"):
        region.limiter("x", bad)
    with pytest.raises(forebay.InvalidArgument, match="rate: got"):
        forebay.Rate.parse(bad)


@pytest.mark.parametrize(
    "bad", [(), [], ["5/min"] * 5, ["5/min", "unlimited"], ["5/min and 6/h"], "5/min and "]
)
def test_rates_that_are_none_or_too_many_are_refused(region: forebay.Region, bad: Any) -> None:
    with pytest.raises(forebay.InvalidArgument, match="rate: got"):
        region.limiter("x", bad)
    with pytest.raises(forebay.InvalidArgument, match="rate: got"):
        region.limiter("x", "5/min", tiers={"pro": bad})
    assert region.objects() == []


def test_a_choice_has_a_name(region: forebay.Region) -> None:
    bad: Any
    for bad in ("", "Bucket", "bucket ", "leaky\n", "\0"):
        for option in ("algorithm", "on_full", "on_error"):
            with pytest.raises(forebay.InvalidArgument, match=f"^{option}: got"):
                region.limiter("x", "5/min", **{option: bad})
    assert region.objects() == []


def test_rates_and_tiers_of_another_type_are_type_errors(region: forebay.Region) -> None:
    for call in (
        lambda: region.limiter("x", 5),  # type: ignore[arg-type]
        lambda: region.limiter("x", b"5/min"),  # type: ignore[arg-type]
        lambda: region.limiter("x", b""),  # type: ignore[arg-type]
        lambda: region.limiter("x", [5]),  # type: ignore[list-item]
        lambda: region.limiter("x", {"5/min"}),  # type: ignore[arg-type]
        lambda: region.limiter("x", [["5/min"]]),  # type: ignore[list-item]
        lambda: region.limiter("x", bytearray(b"5")),  # type: ignore[arg-type]
        lambda: region.limiter("x", "5/min", algorithm=5),  # type: ignore[arg-type]
        lambda: region.limiter("x", "5/min", on_full=True),  # type: ignore[arg-type]
        lambda: region.limiter("x", "5/min", on_error=b"deny"),  # type: ignore[arg-type]
        lambda: region.limiter("x", "5/min", enabled=1),  # type: ignore[arg-type]
        lambda: region.limiter("x", "5/min", show_keys="yes"),  # type: ignore[arg-type]
        lambda: region.permits("p", 1).limit(key="a")(5),  # type: ignore[type-var]
        lambda: region.limiter("x", "5/min", tiers=["pro"]),  # type: ignore[arg-type]
        lambda: region.limiter("x", "5/min", tiers={"pro": 5}),  # type: ignore[dict-item]
        lambda: region.limiter("x", "5/min", tiers={5: "5/min"}),  # type: ignore[dict-item]
        lambda: region.limiter(5),  # type: ignore[arg-type]
        lambda: region.breaker("x", is_failure=5),  # type: ignore[arg-type]
        lambda: region.breaker("x")(5),  # type: ignore[type-var]
        lambda: forebay.open(5),  # type: ignore[arg-type]
        lambda: forebay.open(b"/tmp/x"),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize("bad", ["", "a b", "ü", "n" * 49, "..", "a\0b"])
def test_a_region_has_a_plain_name(bad: str) -> None:
    with pytest.raises(forebay.InvalidArgument):
        forebay.open(bad)


def test_a_region_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(forebay.NotFound) as caught:
        forebay.open(tmp_path / "absent", create=False)
    assert isinstance(caught.value, FileNotFoundError)
    assert not (tmp_path / "absent").exists()


def test_a_file_that_is_not_a_region_is_corrupt_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"not a region" * 10_000)
    path.chmod(0o600)
    with pytest.raises(forebay.Corrupt) as caught:
        forebay.open(path)
    assert caught.value.filename == str(path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"not a region" * 10_000


def test_a_directory_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(forebay.Error) as caught:
        forebay.open(tmp_path / "no" / "such" / "region")
    assert isinstance(caught.value, OSError)


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "open.fb"
    forebay.open(path).close()
    path.chmod(0o666)
    with pytest.raises(forebay.Permission) as caught:
        forebay.open(path)
    assert isinstance(caught.value, PermissionError)


def test_a_real_clock_is_not_moved() -> None:
    with forebay.private() as region, pytest.raises(forebay.InvalidArgument):
        region.advance(1)


def test_a_closed_region_says_so_and_its_objects_go_on() -> None:
    region = forebay.private()
    limiter = region.limiter("api", "5/min")
    region.close()
    region.close()
    assert region.closed
    for use in (
        lambda: region.limiter("api"),
        lambda: region.cache("c"),
        lambda: region.breaker("b"),
        lambda: region.histogram("h"),
        lambda: region.window("w"),
        lambda: region.permits("p", 1),
        lambda: region.objects(),
        lambda: region.stats(),
        lambda: region.events(),
        lambda: region.now(),
        lambda: region.advance(1),
        lambda: region.path,
        lambda: region.shared,
        lambda: region.bytes,
        lambda: region.__enter__(),
    ):
        with pytest.raises(forebay.Closed, match="the region is closed"):
            use()
    assert limiter.allow("a")


def test_a_buffer_may_change_during_and_after_the_call(cache: forebay.Cache) -> None:
    key, value = bytearray(b"key"), bytearray(b"value")
    assert cache.set(key, value)
    key[:] = b"another"
    value.clear()
    assert cache.get(b"key") == b"value"
    view = memoryview(b"0v1a2l3u4e5")
    assert cache.set(view[::2], view[1::2])  # not contiguous
    assert cache.get(b"012345") == b"value"
    view.release()
    with pytest.raises(ValueError):
        cache.get(view)


def test_code_of_the_callers_runs_outside_the_engine(
    region: forebay.Region, cache: forebay.Cache
) -> None:
    """Whatever runs while a key or a value is read may use the same objects."""

    class Devious(dict[str, int]):
        def items(self) -> Any:
            cache.set("inner", "set while a value was encoded")
            cache.clear()
            return super().items()

    assert cache.set("outer", Devious(a=1))
    assert cache.get("outer") == {"a": 1}

    class Number(int):
        def __str__(self) -> str:
            cache.clear()
            return "wrong"

    assert cache.set(("n", Number(7)), b"v")
    assert cache.get(("n", 7)) == b"v"


def test_handles_are_not_made_or_copied_by_hand(limiter: forebay.Limiter) -> None:
    for handle in (
        forebay.Region,
        forebay.Limiter,
        forebay.Cache,
        forebay.Breaker,
        forebay.Histogram,
        forebay.Permit,
        forebay.Permits,
        forebay.Lease,
        forebay.WindowCounter,
        forebay.Count,
        forebay.Hit,
        forebay.Reservation,
        forebay.Verdict,
        forebay.Snapshot,
    ):
        with pytest.raises(TypeError):
            handle()
    with pytest.raises(TypeError):
        pickle.dumps(limiter)
    with pytest.raises(TypeError):
        copy.copy(limiter)
    with pytest.raises(AttributeError):
        limiter.name = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        limiter.unknown = 1  # type: ignore[attr-defined]
