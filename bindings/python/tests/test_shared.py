"""Two processes, one region: each sees what the other did."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable

import pytest

import forebay


def open_shop(path: str) -> forebay.Region:
    return forebay.open(path, bytes=8 << 20, manual_clock=True)


def use_everything(path: str) -> None:
    """What the second process does; the first looks at it afterwards."""
    region = open_shop(path)
    limiter = region.limiter("api")
    assert limiter.peek("user").remaining == 3, "spent by the first process"
    assert limiter.allow("user", 2)

    cache = region.cache("pages", create=False)
    assert cache.get("from first") == {"price": 12, "name": "Ärmel"}
    assert cache.set("from second", [1, 2, 3])
    assert cache.delete("doomed")

    breaker = region.breaker("origin", create=False)
    assert breaker.state == "closed"
    with pytest.raises(ConnectionError):
        breaker.call(fail)
    assert breaker.state == "open", "one failure was the first process's"

    histogram = region.histogram("http")
    assert histogram.snapshot().count == 1
    histogram.record(0.5)
    assert region.now() == pytest.approx(100.0, abs=2)


def fail() -> None:
    raise ConnectionError("down")


def prepare(path: str) -> forebay.Region:
    region = open_shop(path)
    region.advance(100)
    limiter = region.limiter("api", "5/min")
    assert limiter.allow("user", 2)
    cache = region.cache("pages", bytes=1 << 20, ttl=300)
    cache.set("from first", {"price": 12, "name": "Ärmel"})
    cache.set("doomed", b"")
    breaker = region.breaker("origin", failure_threshold=2, open_for=30)
    with pytest.raises(ConnectionError):
        breaker.call(fail)
    region.histogram("http").record(0.25)
    return region


def look(region: forebay.Region) -> None:
    assert region.limiter("api").peek("user").remaining == 1
    cache = region.cache("pages", create=False)
    assert cache.get("from second") == [1, 2, 3]
    assert "doomed" not in cache
    breaker = region.breaker("origin", create=False)
    assert breaker.state == "open"
    with pytest.raises(forebay.BreakerOpen) as refused:
        breaker.enter()
    assert refused.value.retry_after == 30.0
    snapshot = region.histogram("http").snapshot()
    assert (snapshot.count, snapshot.sum) == (2, 0.75)
    kinds = [event.kind for event in region.events()]
    assert "breaker-open" in kinds


def in_child(work: Callable[[], None]) -> None:
    """Runs it in a forked child and waits; fails if the child does."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_spawned_process_shares_everything(shared_path: str) -> None:
    region = prepare(shared_path)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=use_everything, args=(shared_path,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    look(region)


def test_a_forked_process_shares_everything(shared_path: str) -> None:
    region = prepare(shared_path)
    in_child(lambda: use_everything(shared_path))
    look(region)


def test_handles_work_in_a_forked_child(shared_path: str) -> None:
    region = prepare(shared_path)
    limiter = region.limiter("api")
    cache = region.cache("pages", create=False)
    histogram = region.histogram("http")

    def work() -> None:
        assert limiter.allow("user", 3)
        assert cache.set("from child", "text")
        histogram.record(1)
        assert region.stats().seats == 2

    in_child(work)
    assert limiter.peek("user").remaining == 0
    assert cache.get("from child") == "text"
    assert histogram.snapshot().count == 2
    assert region.stats().seats == 1, "the child's seat is free again"


def test_a_limit_holds_over_many_processes(shared_path: str) -> None:
    region = open_shop(shared_path)
    limiter = region.limiter("api", "100/day")
    reading, writing = os.pipe()

    def work() -> None:
        admitted = sum(limiter.allow("user") for _ in range(60))
        os.write(writing, f"{admitted}\n".encode())

    for _ in range(4):
        in_child(work)
    os.close(writing)
    with os.fdopen(reading) as lines:
        assert sum(map(int, lines)) == 100


def test_a_private_region_is_not_shared_with_a_child() -> None:
    region = forebay.private()
    limiter = region.limiter("api", "5/min")
    in_child(lambda: assert_true(limiter.allow("user", 5)))
    assert limiter.allow("user", 5)


def test_who_waits_is_woken_by_a_clock_that_another_process_moves(shared_path: str) -> None:
    region = open_shop(shared_path)
    limiter = region.limiter("api", "1/min")
    assert limiter.allow("user")
    reading, writing = os.pipe()

    def work() -> None:
        os.read(reading, 1)
        region.advance(60)

    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    threading.Timer(0.05, os.write, (writing, b"x")).start()
    assert limiter.acquire("user", 60)
    os.waitpid(pid, 0)


def assert_true(answer: bool) -> None:
    assert answer


def test_a_child_forked_while_threads_hammer_is_not_held_up(shared_path: str) -> None:
    region = open_shop(shared_path)
    limiter = region.limiter("api", "unlimited")
    cache = region.cache("pages", bytes=1 << 20)
    stop = threading.Event()

    def hammer(number: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            limiter.allow(f"user {turn % 100}")
            cache.set(f"page {turn % 100}", b"x" * 100)
            cache.get(f"page {(turn + number) % 100}")

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()

    def work() -> None:
        for turn in range(100):
            limiter.allow(f"user {turn}")
            cache.set(f"child {turn}", b"y")
            cache.get(f"page {turn}")

    try:
        for _ in range(20):
            in_child(work)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_child_forked_while_threads_open_can_open(shared_path: str) -> None:
    stop = threading.Event()

    def hammer(number: int) -> None:
        while not stop.is_set():
            with forebay.open(f"{shared_path}.{number}", bytes=1 << 20) as region:
                region.histogram("http")

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()

    def work() -> None:
        signal.alarm(20)  # a child that hangs is killed, and fails
        with forebay.open(f"{shared_path}.0", bytes=1 << 20) as region:
            region.histogram("http").record(1)

    try:
        for _ in range(20):
            in_child(work)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_child_forked_while_threads_open_does_not_keep_their_seats(shared_path: str) -> None:
    stop = threading.Event()

    def hammer(number: int) -> None:
        while not stop.is_set():
            forebay.open(f"{shared_path}.{number}", bytes=1 << 20).close()

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    children: list[int] = []
    try:
        for _ in range(200):
            pid = os.fork()
            if pid == 0:
                signal.pause()  # a child that lives on and never uses forebay
                os._exit(0)
            children.append(pid)
        stop.set()
        for thread in threads:
            thread.join()
        for number in range(2):
            with forebay.open(f"{shared_path}.{number}") as region:
                assert region.stats().seats == 1
    finally:
        stop.set()
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_opening_twice_is_one_mapping(shared_path: str) -> None:
    one, two = open_shop(shared_path), open_shop(shared_path)
    one.limiter("api", "5/min").allow("user", 5)
    assert not two.limiter("api").allow("user")
    assert one.stats().seats == 1
    one.close()
    assert two.limiter("api").peek("user").remaining == 0


def test_an_ephemeral_file_goes_with_its_last_process(shared_path: str) -> None:
    with forebay.open(shared_path, bytes=1 << 20, ephemeral=True) as region:
        assert region.path is not None and region.path.exists()
    assert not os.path.exists(shared_path)


def test_fresh_starts_anew_and_a_reload_does_not(shared_path: str) -> None:
    with open_shop(shared_path) as region:
        assert region.limiter("api", "5/min").allow("user", 5)
    with open_shop(shared_path) as region:
        assert not region.limiter("api").allow("user")
    with forebay.open(shared_path, bytes=8 << 20, fresh=True) as region:
        assert region.objects() == []
