"""The four primitives in one program: `python first.py`.

Workers that run this at once on one machine, in any language, share the limit,
the cache, the breaker and the histogram of the region "example".
"""

import forebay


def render(path: str) -> dict[str, str]:
    """What is worth not doing twice."""
    return {"path": path, "body": "hello"}


def main() -> None:
    with forebay.open("example") as region:
        limits = region.limiter("api", "60/min burst 90", tiers={"staff": "unlimited"})
        pages = region.cache("pages", bytes=1 << 20, ttl=300)
        origin = region.breaker("origin", failure_threshold=5, open_for=60)
        latency = region.histogram("http")

        for number in range(100):
            verdict = limits.take("203.0.113.7")
            if not verdict:
                print(f"request {number}: too many, retry in {verdict.retry_after:.1f} s")
                break
            with latency.time():
                path = f"/products/{number % 10}"
                page = pages.get(path)
                if page is None:
                    page = origin.call(render, path)
                    pages.set(path, page)

        print(f"hit rate {pages.stats().hit_rate:.0%}, breaker {origin.state}")
        p99 = latency.percentile(99)
        if p99 is not None:
            print(f"p99 {p99 * 1e6:.1f} µs of {latency.snapshot().count} requests")


if __name__ == "__main__":
    main()
