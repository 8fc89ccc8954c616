"""forebay as a storage of `limits`: its strategies behave as with its own
memory, over processes, and in an application."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

import forebay

pytest.importorskip("limits", reason="limits is not installed")

from limits import (
    RateLimitItem,
    RateLimitItemPerHour,
    RateLimitItemPerMinute,
    RateLimitItemPerSecond,
    RateLimitItemPerYear,
)
from limits.aio.strategies import FixedWindowRateLimiter as AsyncFixedWindow
from limits.aio.strategies import SlidingWindowCounterRateLimiter as AsyncSlidingWindow
from limits.errors import ConfigurationError, StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import (
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    RateLimiter,
    SlidingWindowCounterRateLimiter,
)

from forebay.limits import AsyncForebayStorage, ForebayStorage


class Clock:
    """The wall clock and a region's, moved together."""

    def __init__(self, region: forebay.Region) -> None:
        self.region = region
        # Where windows of 2, 4 and 60 seconds begin.
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.region.advance(seconds)


@pytest.fixture
def clock(region: forebay.Region, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock(region)
    monkeypatch.setattr(time, "time", clock.time)
    yield clock


@pytest.fixture
def storage(region: forebay.Region) -> ForebayStorage:
    return ForebayStorage(region)


TEN = RateLimitItemPerSecond(10, 2)


# The strategies


def test_a_fixed_window_of_ten_in_two_seconds(storage: ForebayStorage, clock: Clock) -> None:
    limiter = FixedWindowRateLimiter(storage)
    assert limiter.get_window_stats(TEN, "ada") == (clock.now, 10)
    start = clock.now
    for left in range(9, -1, -1):
        assert limiter.hit(TEN, "ada")
        clock.tick(0.125)
        assert limiter.get_window_stats(TEN, "ada") == (start + 2, left)
    assert not limiter.test(TEN, "ada") and not limiter.hit(TEN, "ada")
    assert limiter.get_window_stats(TEN, "ada").remaining == 0
    assert limiter.hit(TEN, "bob")
    clock.tick(start + 2 - clock.now)
    assert limiter.get_window_stats(TEN, "ada") == (clock.now, 10)
    assert limiter.hit(TEN, "ada")


@pytest.mark.parametrize("strategy", [FixedWindowRateLimiter, SlidingWindowCounterRateLimiter])
def test_a_hit_has_a_cost(
    storage: ForebayStorage, clock: Clock, strategy: type[RateLimiter]
) -> None:
    limiter = strategy(storage)
    assert not limiter.test(TEN, "ada", cost=11) and not limiter.hit(TEN, "ada", cost=11)
    assert limiter.test(TEN, "bob", cost=10)
    assert limiter.hit(TEN, "bob", cost=5)
    assert not limiter.test(TEN, "bob", cost=6) and not limiter.hit(TEN, "bob", cost=6)
    assert limiter.hit(TEN, "carol", cost=0)
    assert limiter.get_window_stats(TEN, "carol").remaining == 10
    limiter.clear(TEN, "bob")
    assert limiter.hit(TEN, "bob", cost=10)
    storage.reset()
    assert limiter.hit(TEN, "bob", cost=10)


def test_a_sliding_window_weighs_the_previous_one(storage: ForebayStorage, clock: Clock) -> None:
    limiter = SlidingWindowCounterRateLimiter(storage)
    minute = RateLimitItemPerMinute(10)
    clock.tick(30)
    assert all(limiter.hit(minute, "ada") for _ in range(10))
    assert not limiter.hit(minute, "ada")
    clock.tick(30)
    assert not limiter.hit(minute, "ada"), "all ten are in sight yet"
    clock.tick(30)
    assert limiter.get_window_stats(minute, "ada").remaining == 5
    assert [limiter.hit(minute, "ada") for _ in range(6)] == [True] * 5 + [False]
    clock.tick(24)
    assert limiter.hit(minute, "ada", cost=4), "one of ten and five"
    assert not limiter.hit(minute, "ada")
    clock.tick(66)
    assert limiter.get_window_stats(minute, "ada").remaining == 10
    assert limiter.hit(minute, "ada", cost=10)


@pytest.mark.parametrize("strategy", [FixedWindowRateLimiter, SlidingWindowCounterRateLimiter])
@pytest.mark.parametrize("seed", range(5))
def test_the_answers_are_those_of_the_librarys_own_memory(
    storage: ForebayStorage, clock: Clock, strategy: type[RateLimiter], seed: int
) -> None:
    ours, theirs = strategy(storage), strategy(MemoryStorage())
    chance = random.Random(seed)
    items: list[RateLimitItem] = [TEN, RateLimitItemPerSecond(7, 4), RateLimitItemPerSecond(1)]
    for _ in range(600):
        # Exact in binary, so that no rounding tells the two apart.
        clock.tick(chance.choice([0, 0, 0.125, 0.25, 1.5, 5]))
        item, key = chance.choice(items), chance.choice("ab")
        cost = chance.choice([1, 1, 1, 2, 5])
        assert ours.test(item, key, cost=cost) == theirs.test(item, key, cost=cost)
        assert ours.hit(item, key, cost=cost) == theirs.hit(item, key, cost=cost)
        assert ours.get_window_stats(item, key) == theirs.get_window_stats(item, key)
        if chance.random() < 0.02:
            ours.clear(item, key)
            theirs.clear(item, key)


def test_a_hit_too_late_for_its_window_is_made_in_the_next_one(
    storage: ForebayStorage, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = SlidingWindowCounterRateLimiter(storage)
    clock.tick(1.875)
    readings = iter([clock.now, clock.now + 0.25])
    monkeypatch.setattr(time, "time", lambda: next(readings, clock.now + 0.25))
    assert limiter.hit(TEN, "ada", cost=4)
    previous, _, current, _ = storage.get_sliding_window(TEN.key_for("ada"), 2)
    assert (previous, current) == (0, 4)


def test_the_moving_window_is_not_offered(storage: ForebayStorage) -> None:
    with pytest.raises(NotImplementedError):
        MovingWindowRateLimiter(storage)


def test_counts_end_where_a_window_counts_no_further(storage: ForebayStorage, clock: Clock) -> None:
    billions = RateLimitItemPerHour(10**9)
    fixed, sliding = FixedWindowRateLimiter(storage), SlidingWindowCounterRateLimiter(storage)
    for limiter in (fixed, sliding):
        assert limiter.hit(billions, "ada", cost=2**23 - 2)
        assert not limiter.hit(billions, "ada", cost=2)
    # What was refused does not weigh on the next window.
    clock.tick(3600 * 1.5)
    assert sliding.hit(billions, "ada")


# The storage


def test_a_storage_is_made_from_a_uri_a_region_or_a_counter(shared_path: str) -> None:
    uri = f"forebay://{shared_path}"
    options: dict[str, float | str | bool] = {"bytes": 1 << 20, "max_keys": 1000}
    by_uri = storage_from_string(uri, **options)
    assert isinstance(by_uri, ForebayStorage) and isinstance(by_uri, Storage)
    asynchronous = storage_from_string("async+" + uri)
    assert isinstance(asynchronous, AsyncForebayStorage)
    with forebay.open(shared_path, create=False) as region:
        assert region.bytes == 1 << 20
        by_region = ForebayStorage(region)
        by_counter = ForebayStorage(region.window("limits"))
        by_path = ForebayStorage(shared_path)
        other = ForebayStorage(region, name="others", max_keys=1000)
    # The region was closed: handles go on.
    assert by_uri.incr("ada", 60) == 1
    assert by_region.incr("ada", 60, 3) == 4
    assert by_counter.get("ada") == by_path.get("ada") == 4
    assert asyncio.run(asynchronous.incr("ada", 60)) == 5
    assert other.get("ada") == 0
    # A window ends on a whole millisecond.
    assert time.time() < by_uri.get_expiry("ada") <= time.time() + 61
    assert by_uri.get_expiry("nobody") <= time.time()
    assert by_uri.check() and asyncio.run(asynchronous.check())
    by_uri.clear("ada")
    assert by_uri.get("ada") == 0


def test_bad_input_is_told(region: forebay.Region, shared_path: str) -> None:
    for uri in ("forebay://", "forebay://a b", "forebay://shop?bytes=5"):
        with pytest.raises(forebay.InvalidArgument):
            storage_from_string(uri)
    with pytest.raises(ConfigurationError):
        storage_from_string("forebays://shop")
    with pytest.raises(TypeError, match="uri: a str, a forebay.Region"):
        ForebayStorage(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unknown"):
        storage_from_string(f"forebay://{shared_path}", unknown=5)
    with pytest.raises(TypeError, match="bytes"):
        ForebayStorage(region, bytes=5)
    with pytest.raises(TypeError, match="max_keys"):
        ForebayStorage(region.window("limits"), max_keys=5)
    with pytest.raises(forebay.Io):
        storage_from_string(f"forebay://{shared_path}/no/such/directory")
    for wrap, error in ((False, forebay.InvalidArgument), (True, StorageError)):
        storage = ForebayStorage(region, wrap_exceptions=wrap)
        with pytest.raises(error):
            storage.incr("ada", 60, -1)
        with pytest.raises(error):
            storage.incr("ada", 0)
        with pytest.raises(error):
            FixedWindowRateLimiter(storage).hit(RateLimitItemPerYear(5, 5), "ada")
    assert storage.get("ada") == 0


def test_forebay_itself_does_without_limits() -> None:
    program = "import forebay, sys; sys.exit('limits' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def hit_all(uri: str, item: RateLimitItem, times: int, results: multiprocessing.Queue[int]) -> None:
    storage = storage_from_string(uri)
    assert isinstance(storage, Storage)
    for strategy in (FixedWindowRateLimiter, SlidingWindowCounterRateLimiter):
        limiter = strategy(storage)
        results.put(sum(limiter.hit(item, "everybody") for _ in range(times)))


def test_processes_share_a_limit_exactly(shared_path: str) -> None:
    uri = f"forebay://{shared_path}"
    item = RateLimitItemPerYear(1000)
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[int] = context.Queue()
    processes = [
        context.Process(target=hit_all, args=(uri, item, 700, results)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    admitted = [results.get(timeout=60) for _ in range(4)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sum(admitted) == 2 * 1000
    storage = ForebayStorage(uri)
    assert not FixedWindowRateLimiter(storage).hit(item, "everybody")
    assert not SlidingWindowCounterRateLimiter(storage).hit(item, "everybody")


def test_limits_in_an_event_loop(region: forebay.Region, clock: Clock) -> None:
    storage = AsyncForebayStorage(region)
    clock.tick(0.5)

    async def main() -> None:
        for strategy in (AsyncFixedWindow, AsyncSlidingWindow):
            limiter = strategy(storage)
            for _ in range(10):
                assert await limiter.hit(TEN, "ada")
            assert not await limiter.hit(TEN, "ada")
            assert not await limiter.test(TEN, "ada")
            stats = await limiter.get_window_stats(TEN, "ada")
            assert clock.now < stats.reset_time <= clock.now + 2
            assert stats.remaining == 0
            await limiter.clear(TEN, "ada")
            assert await limiter.hit(TEN, "ada", cost=10)
        assert await storage.get(TEN.key_for("ada")) == 10
        assert await storage.get_expiry(TEN.key_for("ada")) == clock.now + 2
        await storage.reset()
        assert await storage.get(TEN.key_for("ada")) == 0

    asyncio.run(main())


# Applications


@pytest.mark.parametrize("strategy", ["fixed-window", "sliding-window-counter"])
def test_workers_of_a_flask_application_share_a_limit(shared_path: str, strategy: str) -> None:
    flask = pytest.importorskip("flask", reason="flask is not installed")
    flask_limiter = pytest.importorskip("flask_limiter", reason="flask-limiter is not installed")

    def worker() -> Any:
        app = flask.Flask("shop")
        limiter = flask_limiter.Limiter(
            lambda: "203.0.113.7",
            app=app,
            storage_uri=f"forebay://{shared_path}",
            storage_options={"max_keys": 1000},
            strategy=strategy,
            headers_enabled=True,
        )

        def home() -> str:
            return "hello"

        app.get("/")(limiter.limit("3 per 5 hours")(home))
        return app

    clients = [worker().test_client() for _ in range(2)]
    responses = [clients[i % 2].get("/") for i in range(5)]
    assert [each.status_code for each in responses] == [200, 200, 200, 429, 429]
    left = [each.headers["X-RateLimit-Remaining"] for each in responses]
    assert left == ["2", "1", "0", "0", "0"]
    assert 0 < int(responses[-1].headers["Retry-After"]) <= 2 * 5 * 3600


def test_workers_of_a_starlette_application_share_a_limit(shared_path: str) -> None:
    slowapi = pytest.importorskip("slowapi", reason="slowapi is not installed")
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    def worker() -> Starlette:
        limiter = slowapi.Limiter(
            key_func=lambda: "everybody", storage_uri=f"forebay://{shared_path}"
        )

        async def home(request: Request) -> Response:
            return PlainTextResponse("hello")

        app = Starlette(routes=[Route("/", limiter.limit("3/hour")(home))])
        app.state.limiter = limiter
        app.add_exception_handler(
            slowapi.errors.RateLimitExceeded, slowapi._rate_limit_exceeded_handler
        )
        return app

    async def status(app: Starlette) -> int:
        sent = []

        async def receive() -> dict[str, object]:
            return {"type": "http.request"}

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [],
            "client": ("203.0.113.7", 5),
        }
        await app(scope, receive, send)  # type: ignore[arg-type]
        code = sent[0]["status"]
        assert isinstance(code, int)
        return code

    async def main() -> list[int]:
        workers = [worker(), worker()]
        return [await status(workers[i % 2]) for i in range(4)]

    assert asyncio.run(main()) == [200, 200, 200, 429]
