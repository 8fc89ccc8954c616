"""Limiters beyond a take: giving back, waiting, several at once, decorators,
headers."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any

import pytest

import forebay

# Far longer than any test runs.
HOUR = 3600


@pytest.fixture
def limiter(region: forebay.Region) -> forebay.Limiter:
    return region.limiter("api", "1/s burst 5", tiers={"pro": "10/s burst 50"})


@pytest.fixture
def real() -> Iterator[forebay.Region]:
    """A private region with the real clock."""
    with forebay.private() as region:
        yield region


class Interrupted(Exception):
    """What a signal handler raises here."""


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    def handler(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Giving back, debts, blocks


def test_tokens_are_given_back_and_taken_by_force(limiter: forebay.Limiter) -> None:
    limiter.take("ada", 3)
    assert limiter.refund("ada").remaining == 3
    assert limiter.refund("ada", 100).remaining == 5
    assert limiter.penalize("ada").remaining == 4
    in_debt = limiter.penalize("ada", 6)
    assert not in_debt and in_debt.retry_after == 3.0
    assert limiter.refund("bob", 1, tier="pro").limit == 50
    assert limiter.penalize("bob", 10, tier="pro").remaining == 40
    assert limiter.reset("ada")


def test_a_block_is_seconds_or_a_timedelta(
    region: forebay.Region, limiter: forebay.Limiter
) -> None:
    limiter.block("ada", 2)
    limiter.block("bob", timedelta(minutes=1))
    assert limiter.peek("ada").retry_after == 2.0
    assert limiter.peek("bob", tier="pro").retry_after == 60.0
    region.advance(2)
    assert limiter.allow("ada") and not limiter.allow("bob")
    assert limiter.unblock("bob") is True
    assert limiter.unblock("bob") is False
    assert limiter.allow("bob")


def test_an_unlimited_tier_that_is_blocked_has_nothing_left(region: forebay.Region) -> None:
    limiter = region.limiter("staff", "unlimited")
    assert limiter.peek("ada").remaining is None
    limiter.block("ada", 5)
    verdict = limiter.peek("ada")
    assert (verdict.limit, verdict.remaining, verdict.retry_after) == (None, 0, 5.0)


def test_the_window_says_how_fast_it_fills(limiter: forebay.Limiter) -> None:
    assert limiter.peek("ada").window == 5.0


# Reservations


def test_a_reservation_says_when_to_act(region: forebay.Region, limiter: forebay.Limiter) -> None:
    now = limiter.reserve("ada", 0, cost=5)
    assert now is not None and now.wait == 0.0 and now.cancel() is False
    assert limiter.reserve("ada", 1.999, cost=2) is None
    later = limiter.reserve("ada", timedelta(seconds=2), cost=2)
    assert later is not None
    assert later.wait == 2.0
    assert later.due == round((region.now() + 2.0) * 1e9)
    assert repr(later) == "<forebay.Reservation, wait 2.0 s>"
    region.advance(0.5)
    assert later.wait == 1.5
    region.advance(1.5)
    assert later.wait == 0.0
    assert limiter.reserve("ada", HOUR, cost=6) is None, "no wait helps"


def test_a_reservation_is_cancelled_once(limiter: forebay.Limiter) -> None:
    limiter.take("ada", 5)
    place = limiter.reserve("ada", HOUR, cost=2)
    assert place is not None
    assert limiter.peek("ada").retry_after == 3.0
    assert place.cancel() is True
    assert place.cancel() is False
    assert limiter.peek("ada").retry_after == 1.0
    dropped = limiter.reserve("ada", HOUR)
    del dropped
    assert limiter.peek("ada").retry_after == 2.0, "it stays spent"


# Waiting


def test_acquire_sleeps_until_its_turn(real: forebay.Region) -> None:
    limiter = real.limiter("api", "20/s burst 1")
    started = time.monotonic()
    verdicts = [limiter.acquire("ada", 10) for _ in range(3)]
    assert all(verdicts)
    assert time.monotonic() - started >= 0.099
    assert not limiter.acquire("ada", 0)


def test_acquire_wakes_when_a_manual_clock_is_moved(
    region: forebay.Region, limiter: forebay.Limiter
) -> None:
    limiter.take("ada", 5)
    answers: list[forebay.Verdict] = []
    waiting = threading.Thread(target=lambda: answers.append(limiter.acquire("ada", 10, cost=2)))
    waiting.start()
    while limiter.peek("ada").retry_after != 3.0:
        time.sleep(0)  # other threads run while one waits
    region.advance(1.999)
    assert not answers
    region.advance(0.001)
    waiting.join(60)
    (verdict,) = answers
    assert verdict and verdict.remaining == 0


@pytest.mark.parametrize("manual", [False, True], ids=["real", "manual"])
def test_a_signal_handler_that_raises_gives_the_place_up(manual: bool) -> None:
    limiter = forebay.private(manual_clock=manual).limiter("api", "1/hour")
    limiter.take("ada")
    with pytest.raises(Interrupted), interrupted_after(0.05):
        limiter.acquire("ada", 3 * HOUR)
    wait = limiter.peek("ada").retry_after
    assert wait is not None and wait <= HOUR


def test_a_signal_handler_that_returns_does_not_end_the_wait(real: forebay.Region) -> None:
    limiter = real.limiter("api", "5/s burst 1")
    limiter.take("ada")
    heard: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: heard.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        assert limiter.acquire("ada", 10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert heard == [signal.SIGALRM]


def test_acquire_async_waits_in_the_loop(real: forebay.Region) -> None:
    limiter = real.limiter("api", "20/s burst 1")

    async def main() -> list[forebay.Verdict]:
        assert not await limiter.acquire_async("bob", 0, cost=2)
        return await asyncio.gather(*(limiter.acquire_async("ada", 10) for _ in range(3)))

    started = time.monotonic()
    assert all(asyncio.run(main()))
    assert time.monotonic() - started >= 0.099
    assert inspect.iscoroutine(waiting := limiter.acquire_async("carol", 10))
    waiting.close()
    assert limiter.allow("carol"), "nothing is spent before it is awaited"


def test_acquire_async_wakes_when_a_manual_clock_is_moved(
    region: forebay.Region, limiter: forebay.Limiter
) -> None:
    async def main() -> None:
        limiter.take("ada", 5)
        waiting = asyncio.create_task(limiter.acquire_async("ada", 10, cost=2))
        while limiter.peek("ada").retry_after != 3.0:
            await asyncio.sleep(0)
        region.advance(1)
        await asyncio.sleep(0)
        assert not waiting.done()
        region.advance(1)
        assert await waiting

    asyncio.run(main())


@pytest.mark.parametrize("manual", [False, True], ids=["real", "manual"])
def test_cancellation_gives_the_place_up(manual: bool) -> None:
    limiter = forebay.private(manual_clock=manual).limiter("api", "1/hour")
    limiter.take("ada")

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await limiter.acquire_async("ada", 3 * HOUR)

    asyncio.run(main())
    wait = limiter.peek("ada").retry_after
    assert wait is not None and wait <= HOUR


# Errors and decorators


def test_enforce_raises_what_was_said(limiter: forebay.Limiter) -> None:
    assert limiter.enforce("ada", 5).remaining == 0
    with pytest.raises(forebay.Limited) as caught:
        limiter.enforce("ada", cost=2)
    error = caught.value
    assert str(error) == "limiter 'api' refused: retry after 2s"
    assert (error.limiter, error.verdict.retry_after) == ("api", 2.0)
    assert error.code == "FB_DENIED" and isinstance(error, forebay.Error)
    assert error.headers("draft-10") == [
        ("RateLimit-Policy", '"api";q=5;w=5'),
        ("RateLimit", '"api";r=0;t=2'),
        ("Retry-After", "2"),
    ]
    assert error.headers(now=1_700_000_000)[2] == ("X-RateLimit-Reset", "1700000005")


def test_a_function_is_limited_by_its_arguments(limiter: forebay.Limiter) -> None:
    @limiter.limit(
        key=lambda user, size: ("upload", user),
        cost=lambda user, size: size,
        tier=lambda user, size: "pro" if user == "paul" else None,
    )
    def upload(user: str, size: int) -> str:
        """Uploads."""
        return f"{user} {size}"

    assert upload("ada", 5) == "ada 5"
    with pytest.raises(forebay.Limited):
        upload("ada", size=1)
    assert upload("paul", size=50) == "paul 50"
    assert limiter.peek(("upload", "ada")).remaining == 0
    assert upload.__name__ == "upload" and upload.__doc__ == "Uploads."
    assert list(inspect.signature(upload).parameters) == ["user", "size"]


def test_constants_are_the_same_for_every_call(limiter: forebay.Limiter) -> None:
    class Client:
        @limiter.limit(key="all clients", cost=2)
        def call(self, n: int) -> int:
            return n

        @limiter.limit(key=lambda self, n: ("n", n), tier="pro")
        def other(self, n: int) -> int:
            return n

    assert [Client().call(1), Client().call(2)] == [1, 2]
    with pytest.raises(forebay.Limited):
        Client().call(3)
    assert Client().other(7) == 7
    assert limiter.peek(("n", 7), tier="pro").remaining == 49


def test_a_coroutine_function_is_limited_when_it_is_awaited(limiter: forebay.Limiter) -> None:
    @limiter.limit(key=lambda user: user, cost=3)
    async def fetch(user: str) -> str:
        await asyncio.sleep(0)
        return user

    assert inspect.iscoroutinefunction(fetch)

    async def main() -> None:
        waiting = fetch("ada")
        assert limiter.peek("ada").remaining == 5
        assert await waiting == "ada"
        with pytest.raises(forebay.Limited):
            await fetch("ada")

    asyncio.run(main())


def test_what_a_callable_raises_is_raised_and_nothing_is_spent(limiter: forebay.Limiter) -> None:
    called: list[str] = []

    def no_key(user: str) -> str:
        raise KeyError(user)

    def decorated(**options: Any) -> Callable[[str], None]:
        return limiter.limit(**options)(called.append)

    with pytest.raises(KeyError):
        decorated(key=no_key)("ada")
    with pytest.raises(TypeError, match="key: "):
        decorated(key=lambda user: None)("ada")
    with pytest.raises(forebay.InvalidArgument, match="cost: got -1"):
        decorated(key="ada", cost=lambda user: -1)("ada")
    assert not called and limiter.stats().admitted == 0


# Several limits


def test_several_limits_admit_together_or_not_at_all(region: forebay.Region) -> None:
    each = region.limiter("each", "1/s burst 2", tiers={"staff": "unlimited"}, max_keys=1000)
    everybody = region.limiter("all", "1/s burst 3", max_keys=1000)
    allowed, verdicts = forebay.take_all([(each, "ada"), (everybody, "", 2)])
    assert allowed is True
    assert [verdict.remaining for verdict in verdicts] == [1, 1]
    requests: list[forebay.Request] = [(each, "ada"), (everybody, "", 2)]
    allowed, verdicts = forebay.take_all(iter(requests))
    assert allowed is False
    assert [verdict.allowed for verdict in verdicts] == [True, False]
    assert each.peek("ada").remaining == 1
    allowed, verdicts = forebay.take_all([(each, ("a", 1), 9, "staff"), (everybody, b"", 1, None)])
    assert allowed and verdicts[0].limit is None
    assert forebay.take_all([]) == (True, [])


def test_a_request_that_is_read_may_use_the_limiter(limiter: forebay.Limiter) -> None:
    def requests() -> Iterator[forebay.Request]:
        limiter.take("ada", 4)
        yield limiter, "ada"
        limiter.take("ada")
        yield limiter, "bob"

    allowed, verdicts = forebay.take_all(requests())
    assert not allowed
    assert [verdict.remaining for verdict in verdicts] == [0, 5]


# Headers and addresses


def test_headers_are_pairs_in_order(limiter: forebay.Limiter) -> None:
    verdict = limiter.take("ada")
    before = int(time.time())
    told = verdict.headers("api")
    assert [name for name, _ in told] == [
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
    ]
    assert before + 1 <= int(told[2][1]) <= time.time() + 2
    now = 1_700_000_000.25
    assert verdict.headers("api", now=now) == forebay.headers([("api", verdict)], now=now)
    assert verdict.headers("api", now=now)[2] == ("X-RateLimit-Reset", "1700000002")
    assert [name for name, _ in verdict.headers("api", "draft-7", "legacy-delta")] == [
        "RateLimit-Policy",
        "RateLimit",
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
    ]
    assert forebay.headers([]) == []
    assert forebay.headers([("api", verdict, None)], "draft-8") == verdict.headers("api", "draft-8")
    policy = forebay.headers([("api", verdict, b"foo")], "draft-10")[0][1]
    assert policy.endswith(";pk=:MmMyNmI0NmI2OGZm:")
    assert policy == forebay.headers([("api", verdict, "foo")], "draft-10")[0][1]
    parts = forebay.headers([("api", verdict, ("a", 1))], "draft-10")[0][1]
    assert parts != policy and ";pk=:" in parts
    assert dict(told)["X-RateLimit-Limit"] == "5"


def test_a_client_is_its_address_or_its_network() -> None:
    address = forebay.client_address
    assert address("203.0.113.7:4711") == "203.0.113.7"
    assert address("10.0.0.7", None, 1) == "10.0.0.7"
    assert address("10.0.0.7", "6.6.6.6, 203.0.113.9", trusted_hops=1) == "203.0.113.9"
    assert address("10.0.0.7", "203.0.113.9", 2**64 - 1) == "203.0.113.9"
    assert address("2001:db8:1:2:3:4:5:6", ipv6_prefix=56) == "2001:db8:1::/56"
