"""Several rates, algorithms, who is refused most; window counters; permits."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import inspect
import multiprocessing
import os
import pickle
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

import forebay
from forebay import Rate


# Limiters


def test_several_rates_are_text_or_a_sequence(region: forebay.Region) -> None:
    rates: list[forebay.RateLike] = [
        "5/s and 8/min",
        ["5/s", "8/min"],
        (Rate.per_second(5), Rate(8, timedelta(minutes=1))),
        [Rate.per_second(5), "8/min"],
    ]
    for number, rate in enumerate(rates):
        tiers = {"pro": ("9/s", "10/min")}
        limiter = region.limiter(f"api {number}", rate, tiers=tiers, max_keys=1000)
        assert limiter.allow("a", 5) and not limiter.allow("a")
        region.advance(1)
        assert limiter.allow("a", 3) and not limiter.allow("a")
        region.advance(60)
        assert limiter.allow("b", 9, "pro") and not limiter.allow("b", 2, "pro")


def test_an_algorithm_is_kept_unless_it_is_named(region: forebay.Region) -> None:
    logins = region.limiter("logins", "10/15min", algorithm="sliding", on_full="strict")
    assert logins.allow("ada", 10)
    again = region.limiter("logins", "10/15min")
    region.advance(timedelta(minutes=10))
    assert not again.allow("ada"), "a bucket would have six again"
    with pytest.raises(forebay.Geometry, match="algorithm"):
        region.limiter("logins", "10/15min", algorithm="bucket")
    with pytest.raises(forebay.Geometry, match="on_full"):
        region.limiter("logins", "10/15min", on_full="lenient")


def test_a_fixed_window_ends_all_at_once(region: forebay.Region) -> None:
    limiter = region.limiter("api", "10/min", algorithm="fixed")
    assert limiter.allow("a", 10)
    region.advance(59)
    assert limiter.take("a").retry_after == 1.0
    region.advance(1)
    assert limiter.allow("a", 10)


def test_a_limiter_that_is_not_enabled_lets_everything_pass(region: forebay.Region) -> None:
    limiter = region.limiter("api", "1/min", enabled=False, on_error="allow")
    assert all(limiter.allow("a") for _ in range(5))
    assert region.limiter("api", "1/min").allow("a"), "nothing was charged"
    assert not limiter.allow("a"), "switched on for everybody"
    limiter.clear()
    assert limiter.allow("a")


def test_who_is_refused_most(region: forebay.Region) -> None:
    shown = region.limiter("shown", "1/min", show_keys=True)
    hidden = region.limiter("hidden", "1/min")
    keys: list[forebay.Key] = ["203.0.113.7", b"\xff\0", ("tenant", 7), "k" * 48]
    for times, key in enumerate(keys, 2):
        for limiter in (shown, hidden):
            for _ in range(times):
                limiter.allow(key)
    worst = shown.top_refused()
    assert [each.count for each in worst] == [4, 3, 2, 1]
    assert worst[-1].key == "203.0.113.7" and worst[-2].key == b"\xff\0"
    assert worst[0].key is None, "longer than 47 bytes"
    assert worst[0].mark == shown.mark("k" * 48)
    assert worst[1].mark == shown.mark(("tenant", 7))
    for each in worst:
        assert len(each.mark) == 16 and int(each.mark, 16) > 0 and each.over == 0
        # A key again, and the same one.
        assert each.key is None or shown.mark(each.key) == each.mark
    assert [each.key for each in hidden.top_refused()] == [None] * 4
    shown.forget_refused()
    assert shown.top_refused() == []


def test_each_tier_has_its_counts(region: forebay.Region) -> None:
    name = "ä" * 15 + "b"  # 31 bytes, the longest
    limiter = region.limiter("api", "2/min", tiers={name: "unlimited", "pro": "5/min"})
    for _ in range(3):
        limiter.allow("a")
    limiter.allow("a", tier="nobody")
    limiter.allow("b", tier=name)
    limiter.penalize("c", 6, tier="pro")
    told = limiter.tier_stats()
    assert told == [
        forebay.TierStats("default", admitted=2, refused=2, debts=0),
        forebay.TierStats(name, admitted=1, refused=0, debts=0),
        forebay.TierStats("pro", admitted=0, refused=0, debts=1),
    ]
    stats = limiter.stats()
    assert (stats.admitted, stats.refused, stats.debts) == (3, 2, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        told[0].debts = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        limiter.tier_stats("pro")  # type: ignore[call-arg]


# Window counters


def test_hits_are_counted_in_a_window(region: forebay.Region) -> None:
    counter = region.window("hits", max_keys=1000)
    assert counter.name == "hits"
    hit = counter.hit("a", 60)
    assert (hit.counted, hit.count, hit.resets_in) == (True, 1, 60.0)
    region.advance(20)
    assert counter.hit("a", timedelta(minutes=1), 4) == counter.hit("a", 60, hits=0)
    count = counter.get("a")
    assert (count.count, count.resets_in) == (5, 40.0)
    assert counter.decrement("a", 2).count == 3
    assert counter.get("nobody") == counter.get("nobody either") != count
    assert repr(count) == "Count(count=5, resets_in=40.0)"
    assert counter.stats() == forebay.WindowStats(2, 0, 0, 0, counter.stats().slots)


def test_a_hit_beyond_a_limit_is_false(region: forebay.Region) -> None:
    counter = region.window("hits")
    assert counter.hit("a", 60, 2, limit=3)
    refused = counter.hit("a", 60, 2, limit=3)
    assert not refused and refused.count == 2
    assert repr(refused) == "Hit(counted=False, count=2, resets_in=60.0)"
    assert counter.hit("a", 60, limit=None).count == 3
    assert counter.stats().refused == 1


def test_a_window_and_its_block_end(region: forebay.Region) -> None:
    counter = region.window("hits")
    counter.hit("a", 60)
    counter.block("a", timedelta(seconds=30))
    assert counter.blocked_for("a") == 30.0
    assert counter.unblock("a") and not counter.unblock("a")
    assert counter.blocked_for("a") == 0.0
    assert counter.reset("a") and not counter.reset("a")
    counter.hit("a", 60)
    counter.clear()
    assert counter.get("a").count == 0


def test_windows_and_permits_are_objects_of_the_region(region: forebay.Region) -> None:
    region.window("hits", max_keys=1000)
    assert region.window("hits").hit("a", 1)
    region.permits("exports", 2)
    assert region.permits("exports").try_acquire("a")
    assert [(each.name, each.kind) for each in region.objects()] == [
        ("hits", "window"),
        ("exports", "permits"),
    ]
    with pytest.raises(forebay.Geometry):
        region.window("hits", max_keys=100_000)
    with pytest.raises(forebay.NotFound):
        region.window("nobody", create=False)
    with pytest.raises(forebay.NotFound):
        region.permits("nobody")
    with pytest.raises(forebay.WrongKind, match="'hits' is a window, not"):
        region.permits("hits", 1)
    assert repr(region.window("hits")) == '<forebay.WindowCounter "hits">'
    assert repr(region.permits("exports")) == '<forebay.Permits "exports">'


# Permits


@pytest.fixture
def exports(region: forebay.Region) -> forebay.Permits:
    return region.permits("exports", 2, lease=60)


def test_a_lease_is_released_by_leaving_the_block(exports: forebay.Permits) -> None:
    with exports.enter("ada") as first, exports.enter("ada"):
        assert exports.in_use("ada") == 2
        assert exports.try_acquire("ada") is None
        assert exports.try_acquire("bob")
        assert first.ends_in == 60.0
    assert exports.in_use("ada") == 0
    assert first.ends_in == 0.0
    with pytest.raises(ZeroDivisionError), exports.enter("ada"):
        1 / 0
    assert exports.in_use("ada") == 0
    lease = exports.try_acquire("ada")
    assert lease is not None
    with lease as same:
        assert same is lease
        assert lease.release(), "leaving the block afterwards is nothing"
    assert not lease.release()
    stats = exports.stats()
    assert (stats.granted, stats.refused, stats.expired) == (5, 1, 0)


def test_why_there_is_no_permit(exports: forebay.Permits) -> None:
    leases = [exports.enter("ada"), exports.enter("ada")]
    with pytest.raises(forebay.NoPermit, match="^the permits 'exports' are all out") as caught:
        exports.enter("ada")
    home = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(home, forebay.NoPermit) and isinstance(home, forebay.Error)
    for error in (caught.value, home):
        assert (error.permits, error.reason, error.retry_after) == ("exports", "limit", 60.0)
        assert error.code == "FB_DENIED"
    assert all(lease.release() for lease in leases)


def test_a_lease_ends_by_itself_unless_it_is_renewed(
    region: forebay.Region, exports: forebay.Permits
) -> None:
    lease = exports.enter("ada")
    region.advance(50)
    assert lease.renew() and lease.ends_in == 60.0
    assert repr(lease) == "<forebay.Lease, ends in 60.0 s>"
    region.advance(60)
    assert lease.ends_in == 0.0
    assert not lease.renew() and not lease.release()
    released = exports.enter("ada")
    released.release()
    assert not released.renew()


def test_a_dropped_lease_is_released(exports: forebay.Permits) -> None:
    for _ in range(3):
        lease = exports.try_acquire("ada")
        assert lease
    assert exports.in_use("ada") == 1, "each was dropped for the next one"
    del lease
    gc.collect()
    assert exports.in_use("ada") == 0


def test_a_function_holds_a_lease_while_it_runs(exports: forebay.Permits) -> None:
    @exports.limit(key=lambda user, depth: ("user", user))
    def export(user: str, depth: int) -> int:
        """Exports."""
        in_use = exports.in_use(("user", user))
        return export(user, depth - 1) if depth else in_use

    assert export.__doc__ == "Exports."
    assert export("ada", 1) == 2
    with pytest.raises(forebay.NoPermit):
        export("ada", 2)
    assert exports.in_use(("user", "ada")) == 0


def test_a_coroutine_function_holds_a_lease_while_it_is_awaited(exports: forebay.Permits) -> None:
    @exports.limit(key="all")
    async def work() -> int:
        in_use = exports.in_use("all")
        await asyncio.sleep(0)
        return in_use

    async def main() -> list[int | BaseException]:
        calls = [work() for _ in range(3)]
        return await asyncio.gather(*calls, return_exceptions=True)

    assert inspect.iscoroutinefunction(work)
    *worked, refused = asyncio.run(main())
    assert worked == [1, 2]
    assert isinstance(refused, forebay.NoPermit)
    assert exports.in_use("all") == 0


def test_a_generator_function_is_not_decorated(exports: forebay.Permits) -> None:
    def generate() -> Iterator[int]:
        with exports.enter("ada"):
            yield exports.in_use("ada")

    async def generate_async() -> AsyncIterator[int]:
        yield 1

    assert list(generate()) == [1]
    for function in (generate, generate_async):
        with pytest.raises(TypeError, match="no generator function"):
            exports.limit(key="ada")(function)


def hold_and_hang(path: str, ready: str) -> None:
    lease = forebay.open(path).permits("exports").enter("ada")
    os.close(os.open(ready, os.O_CREAT | os.O_WRONLY, 0o600))
    time.sleep(600)
    lease.release()


def test_a_killed_process_gives_its_permit_back(shared_path: str) -> None:
    with forebay.open(shared_path) as region:
        exports = region.permits("exports", 1, lease=600)
        ready = shared_path + ".ready"
        process = multiprocessing.get_context("spawn").Process(
            target=hold_and_hang, args=(shared_path, ready)
        )
        process.start()
        while not os.path.exists(ready):
            assert process.is_alive()
            time.sleep(0.01)
        assert exports.try_acquire("ada") is None
        process.kill()
        process.join()
        assert exports.try_acquire("ada")
        assert exports.stats().reaped == 1


def test_a_forked_child_does_not_release_its_parents_lease(shared_path: str) -> None:
    with forebay.open(shared_path) as region:
        exports = region.permits("exports", 1)
        lease = exports.enter("ada")
        child = os.fork()
        if child == 0:
            # Neither by name nor by dropping it.
            released = lease.release()
            del lease
            os._exit(1 if released or exports.in_use("ada") != 1 else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert exports.in_use("ada") == 1
        assert lease.release()
