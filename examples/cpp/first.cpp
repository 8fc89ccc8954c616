// forebay from C++: a limit, a cache, a breaker and a histogram in one region.
//
//     c++ -std=c++17 first.cpp -lforebay -o first && ./first
#include <forebay.hpp>

#include <iostream>

using namespace std::chrono_literals;

int main() {
    // Private to this process. With Region::open("shop") every worker on the
    // machine that opens "shop" shares what is below.
    const forebay::Region region = forebay::Region::open_private();
    const forebay::Limiter limits = region.limiter("api", "60/min burst 3");
    const forebay::Cache pages = region.cache("pages", forebay::CacheOptions().ttl(5min));
    const forebay::Breaker origin = region.breaker("origin");
    const forebay::Histogram latency = region.histogram("http");

    for (int request = 1; request <= 4; request++) {
        const forebay::Verdict verdict = limits.take("203.0.113.7");
        if (!verdict) {
            const std::chrono::duration<double> wait = verdict.retry_after.value_or(0s);
            std::cout << "request " << request << ": 429, retry after " << wait.count() << " s\n";
            continue;
        }
        const std::string page = latency.time([&] {
            if (std::optional<std::string> cached = pages.get("/")) {
                return *cached;
            }
            // An exception would count as a failure; when the breaker is open,
            // call throws forebay::Rejected.
            std::string fetched = origin.call([] { return std::string("hello"); });
            pages.set("/", fetched);
            return fetched;
        });
        std::cout << "request " << request << ": 200 \"" << page << "\", " << verdict.remaining
                  << " left\n";
    }

    std::cout << "hit rate " << forebay::hit_rate(pages.stats()) << ", p99 "
              << latency.percentile(99)->count() / 1000 << " us\n";
}
