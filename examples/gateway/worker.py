"""A worker of the gateway, in Python: limiter, cache, breaker, histogram.

usage: python3 worker.py REGION LOG RUN_NS MINUTE_NS MAX_KEYS
"""

import json
import sys
import time
from collections import Counter

import forebay

TIERS = {"Basic": 5, "Business": 30, "Enterprise": 300, "Museum": 50}
OUTCOMES = {"L": "limited", "H": "hits", "F": "fetched", "E": "failed", "X": "rejected"}


class Down(Exception):
    """The origin failed: it is down, or went down while it worked."""


class WrongBody(Exception):
    """The cache answered with bytes that are not the page's."""


def line(path: str) -> bytes:
    """The line that a page's body repeats; its length is odd."""
    digest = 0x811C9DC5
    for byte in path.encode():
        digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
    text = f"{path} {digest:08x}\n".encode()
    return text if len(text) % 2 else text + b"\n"


class Worker:
    def __init__(self, region: forebay.Region, log: str, run_ns: int, minute_ns: int, max_keys: int):
        minute = minute_ns / 1e9
        rates = {name: forebay.Rate(count, minute) for name, count in TIERS.items()}
        self.region = region
        self.clients = region.limiter("clients", rates["Basic"], tiers=rates, max_keys=max_keys)
        self.pages = region.cache(
            "pages", bytes=32 << 20, max_entries=8192, max_item=128 << 10
        )
        self.breaker = region.breaker(
            "origin",
            failure_threshold=5,
            failure_rate=None,
            open_for=run_ns / 25 / 1e9,
            success_threshold=2,
            half_open_calls=1,
        )
        self.latency = region.histogram("latency")
        self.run = run_ns / 1e9
        self.start = 0.0
        self.counts: Counter[str] = Counter()
        self.stored = 0
        self.straddled = 0
        self.lines: dict[str, bytes] = {}
        with open(log, encoding="utf-8", newline="\n") as file:
            self.requests = [request.rstrip("\n").split("\t")[1:] for request in file]

    def body(self, path: str, size: int) -> bytes:
        """What the origin serves for a path."""
        unit = self.lines.get(path)
        if unit is None:
            unit = self.lines[path] = line(path)
        return (unit * (size // len(unit) + 1))[:size]

    def phase(self) -> str:
        """How the origin is doing."""
        passed = (self.region.now() - self.start) / self.run
        if 0.55 <= passed < 0.65:
            return "failing"
        return "slow" if 0.45 <= passed < 0.55 else "well"

    def work(self) -> None:
        """One call of the origin."""
        phase = self.phase()
        if phase == "failing":
            raise Down
        time.sleep(0.000_6 if phase == "slow" else 0.000_2)
        if self.phase() == "failing":
            raise Down

    def serve(self, client: str, tier: str, path: str, size: int) -> str:
        """Serves one request: the letter of what became of it."""
        if not self.clients.allow(client, 1, tier):
            return "L"
        cached = self.pages.get_bytes(path)
        if cached is not None:
            if cached != self.body(path, size):
                raise WrongBody(f"{path}: {len(cached)} bytes that are not its {size}")
            return "H"
        try:
            self.breaker.call(self.work)
        except forebay.BreakerOpen:
            return "X"
        except Down:
            return "E"
        self.straddled += self.phase() == "failing"
        self.stored += self.pages.set(path, self.body(path, size))
        return "F"

    def serve_all(self, first: int, last: int) -> str:
        """Serves a batch: a letter for each request."""
        letters = []
        for client, tier, path, size in self.requests[first:last]:
            begun = time.perf_counter_ns()
            letters.append(self.serve(client, tier, path, int(size)))
            self.latency.record_ns(time.perf_counter_ns() - begun)
        self.counts.update(letters)
        return "".join(letters)

    def summary(self) -> str:
        """What this worker did, in JSON."""
        counts = {name: self.counts[letter] for letter, name in OUTCOMES.items()}
        own = {"served": self.counts.total(), "stored": self.stored, "straddled": self.straddled}
        return json.dumps(own | counts)


def work(name: str, log: str, *numbers: str) -> None:
    with forebay.open(name, create=False, ephemeral=True) as region:
        worker = Worker(region, log, *map(int, numbers))
        print("ready", flush=True)
        for command in sys.stdin:
            match command.split():
                case ["start", ns]:
                    worker.start = int(ns) / 1e9
                case ["serve", first, last]:
                    letters = worker.serve_all(int(first), int(last))
                    print("done", first, last, letters, flush=True)
                case ["quit"]:
                    print(worker.summary(), flush=True)
                    return
                case _:
                    raise ValueError(f"not a command: {command!r}")


if __name__ == "__main__":
    try:
        work(*sys.argv[1:])
    except WrongBody as error:
        print("wrong", error, flush=True)
        sys.exit(1)
