"""The table of cases that every language runs: tests/vectors/*.json."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import forebay

VECTORS = Path(__file__).resolve().parents[3] / "tests" / "vectors"
UNLIMITED = 2**64 - 1
CODECS = {"bytes": 0, "text": 1, "json": 2}


def cases() -> list[Any]:
    """Every case of every file, named by both."""
    found = []
    for path in sorted(VECTORS.glob("*.json")):
        for case in json.loads(path.read_text(encoding="utf-8"))["cases"]:
            found.append(pytest.param(case, id=f"{path.stem}: {case['name']}"))
    return found


def test_there_are_cases() -> None:
    assert len(cases()) >= 10


@pytest.mark.parametrize("case", cases())
def test_case(case: dict[str, Any]) -> None:
    world = World()
    if "error" in case:
        (name, description), *more = case["objects"].items()
        assert not more and not case.get("steps")
        with pytest.raises(forebay.Error) as caught:
            world.open(name, description)
        assert caught.value.code == case["error"]["code"]
        if "message" in case["error"]:
            assert str(caught.value) == case["error"]["message"]
        return
    for name, description in case["objects"].items():
        world.open(name, description)
    for number, step in enumerate(case["steps"]):
        for _ in range(step.get("times", 1) if step.get("do") != "record" else 1):
            try:
                world.step(step)
            except AssertionError as failed:
                raise AssertionError(f"step {number}: {step}\n{failed}") from None


def ns(seconds: float | None) -> int | None:
    """Seconds as the whole nanoseconds that they came from."""
    return None if seconds is None else round(seconds * 1e9)


def same_time(got: int | None, expected: int | None) -> bool:
    """Whether a time came through a float unharmed: within its precision."""
    if got is None or expected is None:
        return got is expected
    return abs(got - expected) <= expected * 2**-52


def key_of(step: dict[str, Any], field: str = "key") -> forebay.Key:
    if f"{field}_hex" in step:
        return bytes.fromhex(step[f"{field}_hex"])
    if f"{field}_parts" in step:
        return tuple(step[f"{field}_parts"])
    if f"{field}_repeat" in step:
        text, times = step[f"{field}_repeat"]
        return str(text * times)
    return str(step[field])


def value_of(step: dict[str, Any]) -> bytes:
    if "value_hex" in step:
        return bytes.fromhex(step["value_hex"])
    if "value_repeat" in step:
        text, times = step["value_repeat"]
        return str(text * times).encode()
    return str(step["value"]).encode()


def take_options(step: dict[str, Any]) -> dict[str, Any]:
    return {name: step[name] for name in ("cost", "tier") if name in step}


def tokens(step: dict[str, Any]) -> tuple[int, ...]:
    return (step["cost"],) if "cost" in step else ()


def tier_option(step: dict[str, Any]) -> dict[str, Any]:
    return {"tier": step["tier"]} if "tier" in step else {}


def seconds(ns: int) -> timedelta | float:
    """Nanoseconds as a duration, exactly where a timedelta can say them."""
    return timedelta(microseconds=ns // 1000) if ns % 1000 == 0 else ns / 1e9


class World:
    """One case's region, objects, permits, reservations and leases."""

    def __init__(self) -> None:
        self.created = datetime.now(timezone.utc)
        self.region = forebay.private(bytes=4 << 20, manual_clock=True)
        self.objects: dict[str, Any] = {}
        self.permits: dict[str, forebay.Permit] = {}
        self.reservations: dict[str, forebay.Reservation] = {}
        self.leases: dict[str, forebay.Lease] = {}

    def open(self, name: str, description: dict[str, Any]) -> None:
        options = dict(description)
        kind = options.pop("kind")
        for option in [option for option in options if option.endswith("_ns")]:
            options[option.removesuffix("_ns")] = options.pop(option) / 1e9
        self.objects[name] = getattr(self.region, kind)(name, **options)

    def step(self, step: dict[str, Any]) -> None:
        if "advance_ns" in step:
            before = self.region.now()
            self.region.advance(step["advance_ns"] / 1e9)
            moved = ns(self.region.now() - before)
            assert moved is not None and abs(moved - step["advance_ns"]) <= 1
            return
        verb = getattr(self, "do_" + step["do"], None)
        assert verb is not None, f"unknown step: {step['do']}"
        target = self.objects[step["on"]] if "on" in step else None
        verb(target, step)

    def do_allow(self, limiter: forebay.Limiter, step: dict[str, Any]) -> None:
        assert limiter.allow(key_of(step), **take_options(step)) is step["expect"]

    def do_take(self, limiter: forebay.Limiter, step: dict[str, Any]) -> None:
        self.check_verdict(limiter.take(key_of(step), **take_options(step)), step)

    def do_peek(self, limiter: forebay.Limiter, step: dict[str, Any]) -> None:
        self.check_verdict(limiter.peek(key_of(step), **take_options(step)), step)

    def check_verdict(self, verdict: forebay.Verdict, step: dict[str, Any]) -> None:
        self.check_subset(verdict, step["expect"])

    def check_subset(self, verdict: forebay.Verdict, expect: dict[str, Any]) -> None:
        for name, expected in expect.items():
            if name.endswith("_ns"):
                got = ns(getattr(verdict, name.removesuffix("_ns")))
                assert same_time(got, expected), f"{name}: {got}"
                continue
            got = getattr(verdict, name)
            if name in ("limit", "remaining") and got is None:
                got = UNLIMITED
            assert got == expected, f"{name}: {got}"
        assert bool(verdict) is verdict.allowed

    def do_reset(
        self, target: forebay.Limiter | forebay.WindowCounter, step: dict[str, Any]
    ) -> None:
        answer = target.reset(key_of(step))
        assert "expect" not in step or answer is step["expect"]

    def do_top_refused(self, limiter: forebay.Limiter, step: dict[str, Any]) -> None:
        found = limiter.top_refused()
        said = [{"count": each.count, "over": each.over, "key": each.key} for each in found]
        assert said == step["expect"]
        assert all(each.key is None or limiter.mark(each.key) == each.mark for each in found)

    def do_tier_stats(self, limiter: forebay.Limiter, step: dict[str, Any]) -> None:
        assert [dataclasses.asdict(each) for each in limiter.tier_stats()] == step["expect"]

    def do_forget_refused(self, limiter: forebay.Limiter, step: dict[str, Any]) -> None:
        limiter.forget_refused()

    def do_hit(self, counter: forebay.WindowCounter, step: dict[str, Any]) -> None:
        window = seconds(step["window_ns"])
        options = {name: step[name] for name in ("hits", "limit") if name in step}
        if "message" not in step:
            hit = counter.hit(key_of(step), window, **options)
            assert bool(hit) is hit.counted
            self.check_count(hit, step)
            return
        with pytest.raises(forebay.Error) as caught:
            counter.hit(key_of(step), window, **options)
        assert (caught.value.code, str(caught.value)) == (step["code"], step["message"])

    def check_count(self, count: forebay.Count | forebay.Hit, step: dict[str, Any]) -> None:
        for name, expected in step["expect"].items():
            got = getattr(count, name.removesuffix("_ns"))
            assert (ns(got) if name.endswith("_ns") else got) == expected, f"{name}: {got}"

    def do_decrement(self, counter: forebay.WindowCounter, step: dict[str, Any]) -> None:
        hits = (step["hits"],) if "hits" in step else ()
        self.check_count(counter.decrement(key_of(step), *hits), step)

    def do_blocked_for(self, counter: forebay.WindowCounter, step: dict[str, Any]) -> None:
        assert ns(counter.blocked_for(key_of(step))) == step["expect_ns"]

    def do_try_acquire(self, permits: forebay.Permits, step: dict[str, Any]) -> None:
        if step["expect"] == "lease":
            lease = permits.try_acquire(key_of(step))
            assert lease is not None
            self.leases[step["as"]] = lease
            return
        # `try_acquire` would say no more than None.
        with pytest.raises(forebay.NoPermit) as caught:
            permits.enter(key_of(step))
        assert caught.value.permits == permits.name
        for name, expected in step["expect"].items():
            refused = caught.value
            got = refused.reason if name == "refused" else ns(refused.retry_after)
            assert got == expected, f"{name}: {got}"

    def do_release(self, permits: forebay.Permits, step: dict[str, Any]) -> None:
        assert self.leases[step["lease"]].release() is step["expect"]

    def do_renew(self, permits: forebay.Permits, step: dict[str, Any]) -> None:
        assert self.leases[step["lease"]].renew() is step["expect"]

    def do_ends_in(self, permits: forebay.Permits, step: dict[str, Any]) -> None:
        assert ns(self.leases[step["lease"]].ends_in) == step["expect_ns"]

    def do_in_use(self, permits: forebay.Permits, step: dict[str, Any]) -> None:
        assert permits.in_use(key_of(step)) == step["expect"]

    def do_refund(self, limiter: forebay.Limiter, step: dict[str, Any]) -> None:
        self.check_verdict(limiter.refund(key_of(step), *tokens(step), **tier_option(step)), step)

    def do_penalize(self, limiter: forebay.Limiter, step: dict[str, Any]) -> None:
        self.check_verdict(limiter.penalize(key_of(step), *tokens(step), **tier_option(step)), step)

    def do_block(
        self, target: forebay.Limiter | forebay.WindowCounter, step: dict[str, Any]
    ) -> None:
        target.block(key_of(step), seconds(step["for_ns"]))

    def do_unblock(
        self, target: forebay.Limiter | forebay.WindowCounter, step: dict[str, Any]
    ) -> None:
        assert target.unblock(key_of(step)) is step["expect"]

    def do_reserve(self, limiter: forebay.Limiter, step: dict[str, Any]) -> None:
        max_wait = seconds(step["max_wait_ns"])
        reservation = limiter.reserve(key_of(step), max_wait, **take_options(step))
        if step["expect"] == "refused":
            assert reservation is None
            return
        assert reservation is not None
        assert same_time(ns(reservation.wait), step["expect"]["wait_ns"])
        self.reservations[step["as"]] = reservation

    def do_cancel(self, limiter: forebay.Limiter, step: dict[str, Any]) -> None:
        assert self.reservations[step["reservation"]].cancel() is step["expect"]

    def do_acquire(self, limiter: forebay.Limiter, step: dict[str, Any]) -> None:
        timeout = seconds(step["timeout_ns"])
        self.check_verdict(limiter.acquire(key_of(step), timeout, **take_options(step)), step)

    def do_enforce(self, limiter: forebay.Limiter, step: dict[str, Any]) -> None:
        if "message" not in step:
            self.check_verdict(limiter.enforce(key_of(step), **take_options(step)), step)
            return
        with pytest.raises(forebay.Limited) as caught:
            limiter.enforce(key_of(step), **take_options(step))
        assert str(caught.value) == step["message"]

    def do_take_all(self, target: None, step: dict[str, Any]) -> None:
        requests: list[forebay.Request] = [
            (self.objects[part["on"]], key_of(part), part.get("cost", 1), part.get("tier"))
            for part in step["requests"]
        ]
        allowed, verdicts = forebay.take_all(requests)
        assert allowed is step["expect"]
        for verdict, expected in zip(verdicts, step["verdicts"], strict=True):
            self.check_subset(verdict, expected)

    def do_headers(self, target: None, step: dict[str, Any]) -> None:
        limits: list[Any] = []
        for part in step["take"]:
            verdict = self.objects[part["on"]].take(key_of(part), **take_options(part))
            told = any(field.startswith("tell") for field in part)
            key = (key_of(part, "tell"),) if told else ()
            limits.append((part["name"], verdict, *key))
        now = step["wall_ns"] / 1e9
        expected = [(name, value) for name, value in step["expect"]]
        assert forebay.headers(limits, *step["styles"], now=now) == expected
        if len(limits) == 1 and len(limits[0]) == 2:
            ((name, verdict),) = limits
            assert verdict.headers(name, *step["styles"], now=now) == expected

    def do_client_address(self, target: None, step: dict[str, Any]) -> None:
        fields = ("forwarded_for", "trusted_hops", "ipv6_prefix")
        options = {name: step[name] for name in fields if name in step}
        if "expect" in step:
            assert forebay.client_address(step["peer"], **options) == step["expect"]
            return
        with pytest.raises(forebay.Error) as caught:
            forebay.client_address(step["peer"], **options)
        assert (caught.value.code, str(caught.value)) == (step["code"], step["message"])

    def do_set(self, cache: forebay.Cache, step: dict[str, Any]) -> None:
        value: object = value_of(step)
        codec = step.get("codec", "bytes")
        assert codec in ("bytes", "text"), f"unknown codec: {codec}"
        if codec == "text":
            value = value_of(step).decode()
        if "ttl_ns" in step:
            ttl = step["ttl_ns"]
            answer = cache.set(key_of(step), value, None if ttl is None else ttl / 1e9)
        else:
            answer = cache.set(key_of(step), value)
        assert "expect" not in step or answer is step["expect"]

    def do_get(self, target: Any, step: dict[str, Any]) -> None:
        if isinstance(target, forebay.WindowCounter):
            self.check_count(target.get(key_of(step)), step)
            return
        got = target.get_bytes(key_of(step))
        if "expect_hex" in step:
            assert got == bytes.fromhex(step["expect_hex"])
        elif "expect_repeat" in step:
            text, times = step["expect_repeat"]
            assert got == str(text * times).encode()
        elif step["expect"] is None:
            assert got is None
        else:
            assert got == step["expect"].encode()

    def do_contains(self, cache: forebay.Cache, step: dict[str, Any]) -> None:
        assert cache.contains(key_of(step)) is step["expect"]
        assert (key_of(step) in cache) is step["expect"]

    def do_delete(self, cache: forebay.Cache, step: dict[str, Any]) -> None:
        answer = cache.delete(key_of(step))
        assert "expect" not in step or answer is step["expect"]

    def do_entry(self, cache: forebay.Cache, step: dict[str, Any]) -> None:
        entry = cache.entry(key_of(step))
        if step["expect"] is None:
            assert entry is None
            return
        assert entry is not None
        for name, expected in step["expect"].items():
            if name == "value":
                got = entry.value.encode() if isinstance(entry.value, str) else entry.value
                assert got == expected.encode()
            elif name == "codec":
                assert CODECS[entry.codec] == expected
            elif name == "age_ns":
                # `created` is wall time: the region's birth, which this world
                # saw, plus the manual clock then.
                age = self.region.now() - (entry.created - self.created).total_seconds()
                assert abs(age - expected / 1e9) < 1.0, f"age: {age}"
            elif name == "ttl_ns":
                assert same_time(ns(entry.ttl), expected), f"ttl: {entry.ttl}"
            else:
                assert getattr(entry, name) == expected

    def do_clear(
        self,
        target: forebay.Cache | forebay.Limiter | forebay.WindowCounter,
        step: dict[str, Any],
    ) -> None:
        target.clear()

    def do_len(self, cache: forebay.Cache, step: dict[str, Any]) -> None:
        assert len(cache) == step["expect"]

    def do_enter(self, breaker: forebay.Breaker, step: dict[str, Any]) -> None:
        try:
            permit = breaker.enter()
        except forebay.BreakerOpen as refused:
            assert step["expect"] == "rejected"
            if "retry_after_ns" in step:
                got = ns(refused.retry_after)
                assert same_time(got, step["retry_after_ns"]), f"retry_after: {got}"
            return
        # Kept before the check: a permit that is dropped is a failure.
        self.permits[step.get("as", "")] = permit
        assert step.get("expect", "permit") == "permit"

    def do_success(self, breaker: forebay.Breaker, step: dict[str, Any]) -> None:
        answer = self.permits[step["permit"]].success()
        assert "expect" not in step or answer is step["expect"]

    def do_failure(self, breaker: forebay.Breaker, step: dict[str, Any]) -> None:
        answer = self.permits[step["permit"]].failure()
        assert "expect" not in step or answer is step["expect"]

    def do_ignore(self, breaker: forebay.Breaker, step: dict[str, Any]) -> None:
        answer = self.permits[step["permit"]].ignore()
        assert "expect" not in step or answer is step["expect"]

    def do_state(self, breaker: forebay.Breaker, step: dict[str, Any]) -> None:
        assert breaker.state == step["expect"]

    def do_record(self, histogram: forebay.Histogram, step: dict[str, Any]) -> None:
        for _ in range(step.get("times", 1)):
            histogram.record_ns(step["ns"])

    def do_percentile(self, histogram: forebay.Histogram, step: dict[str, Any]) -> None:
        got = ns(histogram.percentile(step["percent"]))
        assert same_time(got, step["expect_ns"]), f"percentile: {got}"
        assert histogram.snapshot().percentile(step["percent"]) == histogram.percentile(
            step["percent"]
        )

    def do_snapshot(self, histogram: forebay.Histogram, step: dict[str, Any]) -> None:
        snapshot = histogram.snapshot()
        for name, expected in step["expect"].items():
            got = getattr(snapshot, name.removesuffix("_ns"))
            if name.endswith("_ns"):
                assert same_time(ns(got), expected), f"{name}: {got}"
            else:
                assert got == expected, f"{name}: {got}"

    def do_stats(self, target: Any, step: dict[str, Any]) -> None:
        stats = target.stats()
        for name, expected in step["expect"].items():
            assert getattr(stats, name) == expected, f"{name}: {stats}"
