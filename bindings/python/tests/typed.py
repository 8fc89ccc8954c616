"""A program for the type checker: `mypy --strict` must accept every line and
infer every type asserted here. Never run."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import assert_type

import forebay
from forebay import Key, Rate, RateLike


def regions(path: Path) -> None:
    with forebay.open("shop", bytes=1 << 24, mode=0o660) as region:
        assert_type(region, forebay.Region)
        assert_type(region.path, Path | None)
        assert_type(region.now(), float)
    forebay.open(path, ephemeral=True).close()
    for event in forebay.private(manual_clock=True).events():
        assert_type(event, forebay.Event)
        assert_type(event.kind, str)


def limiters(region: forebay.Region, key: Key, rate: RateLike) -> None:
    limiter = region.limiter("api", rate, tiers={"pro": Rate.per_minute(60), "staff": "unlimited"})
    assert_type(limiter.allow(key), bool)
    assert_type(limiter.allow(("tenant", 7), 2, "pro"), bool)
    verdict = limiter.take(b"key", cost=2, tier="pro")
    assert_type(verdict.retry_after, float | None)
    assert_type(verdict.remaining, int | None)
    assert_type(limiter.stats().admitted, int)
    assert_type([each.tier for each in limiter.tier_stats()], list[str])
    assert_type(limiter.refund(key, 2, tier="pro").window, float)
    assert_type(limiter.penalize(key), forebay.Verdict)
    limiter.block(key, timedelta(minutes=5))
    assert_type(limiter.unblock(key), bool)
    reservation = limiter.reserve(key, 5, cost=2)
    if reservation is not None:
        assert_type(reservation.wait, float)
        assert_type(reservation.due, int)
        assert_type(reservation.cancel(), bool)
    assert_type(limiter.acquire(key, 0.5, tier="pro"), forebay.Verdict)
    try:
        limiter.enforce(key)
    except forebay.Limited as refused:
        assert_type(refused.verdict, forebay.Verdict)
        assert_type(refused.headers("legacy", "draft-8"), list[tuple[str, str]])
    requests: list[forebay.Request] = [(limiter, key), (limiter, "", 2), (limiter, "", 1, None)]
    assert_type(forebay.take_all(requests), tuple[bool, list[forebay.Verdict]])
    forebay.take_all([(limiter, key), (limiter, ("a", 1))])
    assert_type(verdict.headers("api", now=0.0), list[tuple[str, str]])
    forebay.headers([("api", verdict), ("api", verdict, ("a", 1)), ("api", verdict, None)])
    forebay.headers([("api", verdict, 5)])  # type: ignore[list-item]
    forebay.headers([("api", verdict)], "draft-9")  # type: ignore[arg-type]
    assert_type(forebay.client_address("::1", None, trusted_hops=1), str)


def rates(region: forebay.Region) -> None:
    region.limiter("a", "5/s and 8/min", algorithm="sliding", on_full="strict")
    region.limiter("b", [Rate.per_second(5), "8/min"], tiers={"pro": ("9/s", "9/min")})
    region.limiter("c", "1/s", algorithm="leaky")  # type: ignore[arg-type]
    limiter = region.limiter("d", "1/s", enabled=False, on_error="allow", show_keys=True)
    limiter.clear()
    for refused in limiter.top_refused():
        assert_type(refused.key, str | bytes | None)
        assert_type(refused.mark == limiter.mark("a"), bool)
    limiter.forget_refused()


def windows(region: forebay.Region, key: Key) -> None:
    counter = region.window("hits", max_keys=1000)
    hit = counter.hit(key, timedelta(minutes=1), 2, limit=5)
    assert_type(hit, forebay.Hit)
    assert_type(hit.counted, bool)
    assert_type(counter.get(key).resets_in, float)
    assert_type(counter.decrement(key, 2), forebay.Count)
    counter.block(key, 60)
    assert_type(counter.blocked_for(key), float)
    assert_type(counter.stats().hits, int)


def permits(region: forebay.Region, key: Key) -> None:
    exports = region.permits("exports", 2, lease=timedelta(minutes=1), max_leases=100)
    lease = exports.try_acquire(key)
    if lease is not None:
        with lease:
            assert_type(lease.renew(), bool)
            assert_type(lease.ends_in, float)
    try:
        with exports.enter(key) as held:
            assert_type(held, forebay.Lease)
    except forebay.NoPermit as refused:
        assert_type(refused.retry_after, float | None)

    @exports.limit(key=lambda a: ("user", a))
    def work(a: int) -> str:
        return str(a)

    assert_type(work(1), str)
    assert_type(exports.stats().reaped, int)


async def waiting(limiter: forebay.Limiter) -> None:
    assert_type(await limiter.acquire_async("a", 1), forebay.Verdict)

    @limiter.limit(key=lambda a: ("user", a), cost=2)
    async def fetch(a: int) -> str:
        return str(a)

    @limiter.limit(key="all")
    def sync(a: int) -> float:
        return float(a)

    assert_type(await fetch(1), str)
    assert_type(sync(1), float)
    sync("wrong")  # type: ignore[arg-type]


def caches(region: forebay.Region) -> None:
    cache = region.cache("pages", ttl=timedelta(minutes=5))
    assert_type(cache.set("a", {"b": [1]}, ttl=None), bool)
    assert_type(cache.get_bytes("a"), bytes | None)
    assert_type("a" in cache, bool)
    entry = cache.entry("a")
    if entry is not None:
        assert_type(entry.ttl, float | None)
    assert_type(cache.stats().hit_rate, float)


def breakers(region: forebay.Region) -> None:
    breaker = region.breaker("origin", failure_rate=None, open_for=30)

    @breaker
    def sync(a: int, *, b: str) -> float:
        return float(a)

    assert_type(sync(1, b="x"), float)
    assert_type(breaker.call(sync, 1, b="x"), float)
    breaker.call(sync, "wrong", b="x")  # type: ignore[arg-type]
    with breaker.enter() as permit:
        assert_type(permit.success(), bool)
    try:
        breaker.enter()
    except forebay.BreakerOpen as refused:
        assert_type(refused.retry_after, float)


async def awaiting(breaker: forebay.Breaker) -> None:
    @breaker
    async def fetch(a: int) -> str:
        return str(a)

    assert_type(await fetch(1), str)
    assert_type(await breaker.call(fetch, 1), str)


def histograms(region: forebay.Region) -> None:
    histogram = region.histogram("http")
    histogram.record(0.1)
    with histogram.time():
        pass
    assert_type(histogram.percentile(99), float | None)
    assert_type(histogram.snapshot().buckets(), list[tuple[float, int]])
