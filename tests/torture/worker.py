"""A long-lived worker of the torture test, in Python: see src/steady.rs.

usage: python3 worker.py REGION LOG WHO SEED
"""

import mmap
import random
import struct
import sys
import time

import forebay

CURSOR, STATE, ORDER, HEADER, RECORD, CAPACITY = 0, 1, 2, 16, 5, 32_768
STARTING, RUNNING, RESTING = 0, 1, 2
RUN, REST, QUIT = 0, 1, 2
GET, SET, DELETE, CLEAR, TAKE, BREAK, RECORD_NS, SLIDE, BOTH, ACQUIRE, RENEW, RELEASE = range(1, 13)
YES, NO, WRONG = 1, 2, 2**64 - 1
SUCCESS, FAILURE, REJECTED, LATE = 1, 2, 3, 4
KEYS, HOT_KEYS, BUCKETS, HOT_BUCKETS, DURATIONS, LARGEST = 2048, 48, 20_000, 4, 16, 3800
#: Keys of the sliding window, of the two rates, and of the permits, each.
FEW, HELD = 2, 16

#: What the words of a value are mixed with, by their places.
MASK = int.from_bytes(
    b"".join(struct.pack("<I", n * 0x9E3779B1 & 0xFFFFFFFF) for n in range(LARGEST // 4)), "little"
)


def make(key: int, ident: int, length: int) -> bytes:
    """The value of this key, id and length."""
    header = struct.pack("<IIQ", key, length, ident)
    whole = (header * (length // 16 + 1))[:length]
    mask = MASK & (1 << 8 * length) - 1
    return (int.from_bytes(whole, "little") ^ mask).to_bytes(length, "little")


def id_of(key: int, value: bytes) -> int | None:
    """The id of a whole value of this key; None for anything else."""
    if len(value) < 16:
        return None
    mask = MASK & (1 << 128) - 1
    first = (int.from_bytes(value[:16], "little") ^ mask).to_bytes(16, "little")
    ident = struct.unpack("<IIQ", first)[2]
    return ident if value == make(key, ident, len(value)) else None


class Worker:
    def __init__(self, region: forebay.Region, log: str, who: int, seed: int):
        self.cache = region.cache("cache", create=False)
        self.limiter = region.limiter("limits")
        self.breaker = region.breaker("origin", create=False)
        self.histogram = region.histogram("latency")
        self.sliding = region.limiter("sliding")
        self.rates = region.limiter("rates")
        self.permits = region.permits("permits")
        self.evidence = log + ".wrong"
        with open(log, "r+b") as file:
            self.words = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")
        self.who = who
        self.written = 0
        self.leases = 0
        self.random = random.Random(seed << 32 | who)

    def invoke(self, operation: int, key: int, ttl: int = 0, argument: int = 0) -> int:
        """Notes that a call begins: where its record is."""
        words = self.words
        n = words[CURSOR]
        at = HEADER + n * RECORD
        words[at + 4] = 0
        words[at] = key << 32 | ttl << 16 | operation
        words[at + 1] = argument
        words[at + 2] = time.monotonic_ns()
        words[CURSOR] = n + 1
        return at

    def answer(self, at: int, result: int) -> None:
        """Notes a call's answer."""
        self.words[at + 3] = result
        self.words[at + 4] = time.monotonic_ns()

    def key(self) -> int:
        return self.random.randrange(KEYS if self.random.random() < 0.25 else HOT_KEYS)

    def get(self) -> None:
        key = self.key()
        call = self.invoke(GET, key)
        value = self.cache.get_bytes(f"k{key}")
        ident = 0 if value is None else id_of(key, value)
        if ident is None:
            with open(self.evidence, "w") as file:
                file.write(f"key {key}: {value!r}\n")
        self.answer(call, WRONG if ident is None else ident)

    def set(self) -> None:
        key = self.key()
        most = self.random.choice((LARGEST, 1500, 1500, 400, 400, 400, 400, 400))
        length = 16 + 4 * self.random.randrange((most - 16) // 4)
        ttl = self.random.randrange(1, 21) if self.random.random() < 0.125 else 0
        self.written += 1
        ident = self.who << 32 | self.written
        value = make(key, ident, length)
        call = self.invoke(SET, key, ttl, ident)
        name = f"k{key}"
        stored = self.cache.set(name, value, ttl / 1000) if ttl else self.cache.set(name, value)
        self.answer(call, YES if stored else NO)

    def delete(self) -> None:
        key = self.key()
        call = self.invoke(DELETE, key)
        self.answer(call, YES if self.cache.delete(f"k{key}") else NO)

    def take(self) -> None:
        key = self.random.randrange(BUCKETS if self.random.random() < 0.5 else HOT_BUCKETS)
        cost = self.random.randrange(1, 4)
        call = self.invoke(TAKE, key, 0, cost)
        self.answer(call, YES if self.limiter.allow(f"b{key}", cost) else NO)

    def slide(self) -> None:
        key = self.random.randrange(FEW)
        call = self.invoke(SLIDE, key, 0, 1)
        self.answer(call, YES if self.sliding.allow(f"w{key}") else NO)

    def both(self) -> None:
        key = self.random.randrange(FEW)
        call = self.invoke(BOTH, key, 0, 1)
        self.answer(call, YES if self.rates.allow(f"r{key}") else NO)

    def hold(self) -> None:
        if self.words[CURSOR] + HELD + 3 > CAPACITY:
            return
        key = self.random.randrange(FEW)
        self.leases += 1
        lease = self.who << 32 | self.leases
        call = self.invoke(ACQUIRE, key, 0, lease)
        held = self.permits.try_acquire(f"p{key}")
        self.answer(call, NO if held is None else YES)
        if held is None:
            return
        for _ in range(self.random.randrange(HELD)):
            self.get()
        if self.random.random() < 0.5:
            call = self.invoke(RENEW, key, 0, lease)
            self.answer(call, YES if held.renew() else NO)
        call = self.invoke(RELEASE, key, 0, lease)
        self.answer(call, YES if held.release() else NO)

    def call(self) -> None:
        down = time.monotonic_ns() // 40_000_000 % 3 == 0
        fails = self.random.random() < (0.6 if down else 0.01)
        call = self.invoke(BREAK, 0)
        try:
            permit = self.breaker.enter()
        except forebay.BreakerOpen:
            self.answer(call, REJECTED)
            return
        counted = permit.failure() if fails else permit.success()
        self.answer(call, LATE if not counted else FAILURE if fails else SUCCESS)

    def record(self) -> None:
        number = self.random.randrange(DURATIONS)
        call = self.invoke(RECORD_NS, number)
        self.histogram.record_ns(1000 << number)
        self.answer(call, YES)

    def work(self) -> None:
        """Works until it is told to end."""
        steps = [self.get, self.set, self.delete, self.take, self.call, self.record]
        steps += [self.slide, self.both, self.hold]
        weights = [37, 22, 6, 12, 7, 10, 2, 2, 2]
        words = self.words
        while True:
            order = words[ORDER]
            turn = order & ~0xFF
            if order & 0xFF == QUIT:
                return
            if order & 0xFF == REST or words[CURSOR] >= CAPACITY:
                words[STATE] = turn | RESTING
                time.sleep(0.0005)
                continue
            words[STATE] = turn | RUNNING
            for step in self.random.choices(steps, weights, k=50):
                if words[CURSOR] < CAPACITY:
                    step()
            time.sleep(self.random.random() * 0.0003)


def main(name: str, log: str, who: str, seed: str) -> None:
    with forebay.open(name, create=False) as region:
        Worker(region, log, int(who), int(seed)).work()


if __name__ == "__main__":
    main(*sys.argv[1:])
