// forebay.hpp: every member once or more, what it throws, and what it does not.
#include "check.h"

#include <forebay.hpp>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace std::string_literals;
using namespace std::string_view_literals;

namespace {

forebay::Region manual() {
    return forebay::Region::open_private(forebay::RegionOptions().bytes(8 << 20).manual_clock(true));
}

/// Whether `call` throws an Error with this code (and, if given, this sentence).
template <class F> bool throws(fb_status code, F call, std::string_view words = {}) {
    try {
        call();
    } catch (const forebay::Error &error) {
        if (error.code() != code || (!words.empty() && words != error.what())) {
            std::fprintf(stderr, "threw %s: %s\n", error.code_name(), error.what());
            return false;
        }
        return true;
    }
    return false;
}

void limiters() {
    const forebay::Region region = manual();
    const forebay::Limiter api =
        region.limiter("api", forebay::LimiterOptions("2/min")
                                  .tier("pro", forebay::Rate::per_minute(10).burst(20))
                                  .tier("admin", forebay::Rate::unlimited())
                                  .tier("bulk", "1/s burst 30")
                                  .max_keys(1000));
    CHECK(api.allow("a"));
    CHECK(api.allow("a"s));
    CHECK(!api.allow("a"sv));
    const forebay::Verdict refused = api.take("a");
    CHECK(!refused && !refused.allowed && refused.limit == 2 && refused.remaining == 0);
    CHECK(refused.retry_after == 30s && refused.reset_after == 60s);
    CHECK(!api.take("b", forebay::Charge(3)).retry_after);
    CHECK(api.take("b", forebay::Charge().cost(4).tier("pro")).limit == 20);
    CHECK(api.take("b", forebay::Charge(1000).tier("admin")).remaining == UINT64_MAX);
    CHECK(api.peek("c", forebay::Charge(30).tier("bulk")).allowed);
    CHECK(api.allow("d", forebay::Charge(2).at(region.now())));
    CHECK(!api.allow("d", forebay::Charge().at(region.now())));
    region.advance(30s);
    CHECK(api.allow("d", forebay::Charge().at(region.now())));
    CHECK(api.reset("d") && !api.reset("d"));
    CHECK(api.peek("d").remaining == 2);
    CHECK(api.stats().admitted > 0 && api.stats().unknown_tier == 0);
    (void)api.penalize("e", forebay::Charge(11).tier("pro"));
    CHECK(api.stats().debts == 0);
    (void)api.penalize("e", forebay::Charge(10).tier("pro"));
    CHECK(api.stats().debts == 1);
    std::uint64_t admitted = 0;
    std::string tiers;
    for (const forebay::TierStats &of : api.tier_stats()) {
        admitted += of.admitted;
        tiers += of.tier + " ";
        CHECK(of.debts == (of.tier == "pro" ? 1U : 0U));
    }
    CHECK(admitted == api.stats().admitted && tiers == "default pro admin bulk ");
    CHECK(api.try_tier_stats().value().size() == 4);

    // Keys of parts.
    const std::string key = forebay::key({"a", "bc"});
    CHECK(key == "\1\0\0\0a\2\0\0\0bc"sv && key != forebay::key({"ab", "c"}));
    CHECK(forebay::key({}).empty() && forebay::key({""}) == "\0\0\0\0"sv);
    CHECK(api.allow(key) && api.allow(""sv) && api.allow("x\0y"sv));

    // Attaching, and several ways to say a rate.
    CHECK(!region.limiter("api").allow("a", forebay::Charge(2)));
    CHECK(region.limiter("numbers", forebay::Rate(5, 1s)).peek("k").limit == 5);
    CHECK(region.limiter("burst", forebay::Rate(5, 1s, 9)).peek("k").limit == 9);
    CHECK(region.limiter("text", "7/s"s).peek("k").limit == 7);
    CHECK(throws(FB_E_NOT_FOUND, [&] { (void)region.limiter("none"); }));
}

void verbs_of_limiters() {
    const forebay::Region region = manual();
    const forebay::Limiter api = region.limiter(
        "api", forebay::LimiterOptions("1/s burst 2").tier("pro", "10/s burst 20"));
    CHECK(api.name() == "api" && api.take("a").window == 2s);
    CHECK(api.refund("a").remaining == 2 && api.refund("a", 100).remaining == 2);
    CHECK(api.penalize("a").remaining == 1 && api.penalize("a", 4).retry_after == 4s);
    CHECK(api.penalize("b", forebay::Charge(5).tier("pro")).remaining == 15);
    CHECK(api.refund("b", forebay::Charge(2).tier("pro")).remaining == 17);
    api.block("c", 10s);
    CHECK(api.take("c").retry_after == 10s && api.unblock("c") && !api.unblock("c"));

    CHECK(api.enforce("d").remaining == 1);
    try {
        api.enforce("d", forebay::Charge(2));
        CHECK(!"a refusal throws");
    } catch (const forebay::Limited &limited) {
        CHECK(limited.what() == "limiter 'api' refused: retry after 1s"s);
        CHECK(limited.limiter() == "api" && limited.verdict().retry_after == 1s);
        CHECK(limited.what() == api.refusal(limited.verdict()));
        // As a response tells it.
        const std::vector<forebay::Header> told =
            limited.verdict().headers(limited.limiter(), {"draft-7"});
        CHECK((told == std::vector<forebay::Header>{{"RateLimit-Policy", "2;w=2"},
                                                    {"RateLimit", "limit=2, remaining=1, reset=1"},
                                                    {"Retry-After", "1"}}));
    }
    try {
        api.enforce("d", forebay::Charge(3));
        CHECK(!"a refusal throws");
    } catch (const std::runtime_error &never) {
        CHECK(never.what() == "limiter 'api' refused: it never admits that much"s);
    }

    // Reservations: kept apart from the key, moved, cancelled once.
    std::string key = "a key that is longer than a short string";
    CHECK(api.reserve(key, 0s) && api.reserve(key, 0s));
    forebay::Verdict refusal{};
    CHECK(!api.reserve(key, 999ms, forebay::Charge(), &refusal) && refusal.retry_after == 1s);
    std::optional<forebay::Reservation> first = api.reserve(key, 1s);
    CHECK(first && first->wait() == 1s && first->due() == region.now() + 1s);
    std::string tier = "pro";
    std::optional<forebay::Reservation> second =
        api.reserve(key, 5s, forebay::Charge(20).tier(tier.c_str()));
    CHECK(second && second->wait() == 3s);
    const std::string was = std::exchange(key, "overwritten");
    tier = "default";
    forebay::Reservation moved = std::move(*second);
    CHECK(!second->cancel() && second->wait() == 0s);
    CHECK(moved.cancel() && !moved.cancel());
    CHECK(api.peek(was).retry_after == 2s);
    region.advance(500ms);
    CHECK(first->wait() == 500ms);
    region.advance(500ms);
    CHECK(first->wait() == 0s && !first->cancel());
    {
        // Destroyed, it stays spent.
        const std::optional<forebay::Reservation> forgotten = api.reserve("forgotten", 0s);
    }
    CHECK(api.peek("forgotten").remaining == 1);

    // Waiting, in a thread that the clock wakes.
    CHECK(api.take("w", forebay::Charge(2)) && !api.acquire("w", 999ms));
    std::atomic<bool> done{false};
    std::thread waiter([&] {
        CHECK(api.acquire("w", 1s).allowed);
        done = true;
    });
    while (api.peek("w").reset_after != 3s) {
        std::this_thread::yield();
    }
    CHECK(!done);
    region.advance(1s);
    waiter.join();
    CHECK(done && api.acquire("x", 0s, forebay::Charge(20).tier("pro")).limit == 20);

    // A wait that a program ends early.
    const std::optional<forebay::Reservation> place = api.reserve("early", 1h);
    std::optional<forebay::Reservation> last = api.reserve("early", 1h, forebay::Charge(2));
    std::mutex mutex;
    std::condition_variable stopped;
    std::unique_lock<std::mutex> lock(mutex);
    std::thread stopper([&] {
        const std::lock_guard<std::mutex> guard(mutex);
        stopped.notify_all();
    });
    stopped.wait_for(lock, last->wait());
    lock.unlock();
    stopper.join();
    CHECK(place && last->cancel() && api.peek("early").remaining == 1);
}

void algorithms_and_rates() {
    const forebay::Region region =
        forebay::Region::open_private(forebay::RegionOptions().bytes(64 << 20).manual_clock(true));
    using forebay::Algorithm;
    using forebay::OnError;
    using forebay::OnFull;
    // Several rates, however they are said.
    const forebay::Limiter text = region.limiter("text", "3/s and 5/min");
    const forebay::Limiter list = region.limiter("list", {"3/s", forebay::Rate::per_minute(5)});
    const std::vector<forebay::Rate> kept = {forebay::Rate(3, 1s), "5/min"};
    const forebay::Limiter vector = region.limiter("vector", forebay::LimiterOptions(kept));
    const forebay::Limiter tiers = region.limiter("tiers", forebay::LimiterOptions("1/s")
                                                               .tier("a", {"3/s", "5/min"})
                                                               .tier("b", kept)
                                                               .tier("c", "3/s and 5/min")
                                                               .tier("d", {"9/s"})
                                                               .tier("e", {9, 1s}));
    for (const forebay::Limiter *limiter : {&text, &list, &vector}) {
        CHECK(limiter->take("k", forebay::Charge(3)).limit == 3 && !limiter->allow("k"));
    }
    for (const char *tier : {"a", "b", "c"}) {
        CHECK(tiers.take(tier, forebay::Charge(3).tier(tier)).limit == 3);
    }
    CHECK(tiers.peek("k", forebay::Charge().tier("d")).limit == 9);
    CHECK(tiers.peek("k", forebay::Charge().tier("e")).limit == 9);
    region.advance(1s);
    for (const forebay::Limiter *limiter : {&text, &list, &vector}) {
        CHECK(limiter->take("k", forebay::Charge(2)).allowed && limiter->take("k").limit == 5);
    }
    for (const char *tier : {"a", "b", "c"}) {
        CHECK(tiers.take(tier, forebay::Charge(3).tier(tier)).limit == 5);
    }

    const forebay::Limiter login = region.limiter("login", forebay::LimiterOptions("3/min")
                                                               .algorithm(Algorithm::sliding)
                                                               .on_full(OnFull::strict)
                                                               .on_error(OnError::allow)
                                                               .max_keys(1000));
    CHECK(login.allow("a", forebay::Charge(3)));
    region.advance(30s);
    CHECK(!login.allow("a"));
    CHECK(throws(FB_E_GEOMETRY, [&] {
        (void)region.limiter("login", forebay::LimiterOptions("3/min").algorithm(Algorithm::fixed));
    }));
    const forebay::Limiter off = region.limiter("login", forebay::LimiterOptions("3/min").enabled(false));
    CHECK(login.take("a").limit == UINT64_MAX);
    const forebay::Limiter shown = region.limiter(
        "login", forebay::LimiterOptions("3/min").enabled(true).show_keys(true));
    login.forget_refused();
    for (int i = 0; i < 4; i++) {
        CHECK(!login.allow("a"));
    }
    login.block(std::string(48, 'x'), 1h);
    CHECK(!login.allow(std::string(48, 'x')));
    const std::vector<forebay::RefusedKey> worst = login.top_refused();
    CHECK(worst.size() == 2 && worst[0].count == 4 && worst[0].over == 0 && worst[0].key == "a");
    CHECK(worst[0].mark == login.mark("a") && !worst[1].key);
    CHECK(worst[1].mark == login.mark(std::string(48, 'x')));
    login.forget_refused();
    CHECK(login.top_refused().empty());
    login.clear();
    CHECK(login.peek("a").remaining == 3 && login.allow(std::string(48, 'x')));
}

void window_counters() {
    const forebay::Region region = manual();
    const forebay::WindowCounter hits = region.window("hits", forebay::WindowOptions().max_keys(1000));
    CHECK(hits.hit("a", 10s).count == 1 && hits.hit("a", 10s).resets_in == 10s);
    const forebay::Hit third = hits.hit("a", 10s, 3, 5);
    CHECK(third && third.count == 5 && third.resets_in == 10s);
    const forebay::Hit fourth = hits.hit("a", 10s, 1, 5);
    CHECK(!fourth && !fourth.counted && fourth.count == 5);
    CHECK(hits.hit("a", 10s, 2).counted && hits.get("a").count == 7);
    CHECK(!hits.hit("b", 10s, 1, 0) && hits.get("b").resets_in == 0s);
    CHECK(hits.decrement("a").count == 6 && hits.decrement("a", 100).count == 0);
    hits.block("a", 3s);
    region.advance(1s);
    CHECK(hits.blocked_for("a") == 2s && hits.unblock("a") && !hits.unblock("a"));
    CHECK(hits.blocked_for("a") == 0s && hits.reset("a") && !hits.reset("a"));
    hits.hit("c", 10s);
    CHECK(region.attach_window("hits").get("c").count == 1);
    hits.clear();
    CHECK(hits.get("c").count == 0);
    const forebay::WindowStats stats = hits.stats();
    CHECK(stats.hits == 5 && stats.refused == 2 && stats.slots > 1000);
    CHECK(region.window("default").stats().slots == 131072);
    CHECK(throws(FB_E_NOT_FOUND, [&] { (void)region.attach_window("none"); }));
    CHECK(region.window("hits").stats().slots == stats.slots);
}

void permits() {
    const forebay::Region region = manual();
    const forebay::Permits exports =
        region.permits("exports", forebay::PermitsOptions(2).lease(10s).max_leases(100));
    {
        const std::optional<forebay::Lease> one = exports.acquire("ada");
        region.advance(1s);
        std::optional<forebay::Lease> two = exports.acquire("ada");
        CHECK(one && two && one->ends_in() == 9s && exports.in_use("ada") == 2);
        forebay::Refusal refusal{};
        CHECK(!exports.acquire("ada", &refusal) && !exports.acquire("ada"));
        CHECK(refusal.reason == forebay::Reason::limit && refusal.retry_after == 9s);
        CHECK(forebay::name(refusal.reason) == "limit"s);
        CHECK(exports.refusal(refusal) == "the permits 'exports' are all out: retry within 9s");
        CHECK(exports.refusal({forebay::Reason::busy, std::nullopt}) ==
              "the permits 'exports' are held by another participant");
        CHECK(two->renew() && two->ends_in() == 10s);

        // Moved, it is released once, by whoever has it last.
        forebay::Lease moved = std::move(*two);
        two.reset();
        CHECK(exports.in_use("ada") == 2 && moved.ends_in() == 10s);
        CHECK(moved.release() && !moved.release() && !moved.renew() && moved.ends_in() == 0s);
        CHECK(exports.in_use("ada") == 1);
        moved = std::move(*exports.acquire("ada"));
        CHECK(exports.in_use("ada") == 2 && moved.ends_in() == 10s);
        // What it had is released when it gets another.
        moved = std::move(*exports.acquire("bob"));
        CHECK(exports.in_use("ada") == 1 && exports.in_use("bob") == 1);
        forebay::Lease &itself = moved;
        moved = std::move(itself);
        CHECK(exports.in_use("bob") == 1);
    }
    CHECK(exports.in_use("ada") == 0 && exports.in_use("bob") == 0);

    std::optional<forebay::Lease> late = exports.acquire("ada");
    region.advance(10s);
    CHECK(late->ends_in() == 0s && !late->renew() && !late->release());
    // Another process', or another handle's limit.
    const forebay::Permits fewer = region.permits("exports", 1);
    const std::optional<forebay::Lease> only = region.permits("exports").acquire("eve");
    CHECK(!fewer.acquire("eve"));
    const forebay::PermitsStats stats = exports.stats();
    CHECK(stats.granted == 6 && stats.refused == 3 && stats.full == 0);
    CHECK(throws(FB_E_NOT_FOUND, [&] { (void)region.permits("none"); }));
    CHECK(throws(FB_E_WRONG_KIND, [&] { (void)region.window("exports"); }));

    // A lease that ends with an exception.
    try {
        const std::optional<forebay::Lease> lease = exports.acquire("zoe");
        CHECK(exports.in_use("zoe") == 1);
        throw 5;
    } catch (int) {
        CHECK(exports.in_use("zoe") == 0);
    }
}

void several_limits() {
    const forebay::Region region = manual();
    const forebay::Limiter each = region.limiter("each", "1/s burst 2");
    const forebay::Limiter all = region.limiter("all", "1/s burst 3");
    const forebay::Limiter staff = region.limiter("staff", "unlimited");
    forebay::TakenAll taken = forebay::take_all({{each, "a"}, {all, "", forebay::Charge(2)}});
    CHECK(taken && taken.verdicts.size() == 2 && taken.verdicts[1].remaining == 1);
    taken = forebay::take_all({{each, "a"}, {all, "", forebay::Charge(2)}});
    CHECK(!taken && taken.verdicts[0] && taken.verdicts[1].retry_after == 1s);
    CHECK(each.peek("a").remaining == 1);
    CHECK(forebay::take_all({{each, "b", forebay::Charge().at(region.now())}}).allowed);
    CHECK(forebay::take_all({}).allowed);
    std::vector<forebay::Request> many(17, {each, "c"});
    CHECK(throws(FB_E_INVALID_ARGUMENT, [&] { (void)forebay::take_all(many); },
                 "requests: got 17; allowed: at most 16"));

    const std::chrono::system_clock::time_point wall{100s};
    using Headers = std::vector<forebay::Header>;
    const forebay::Verdict verdict = all.peek("");
    CHECK((forebay::headers({{"all", verdict}}, {"legacy"}, wall) ==
           Headers{{"X-RateLimit-Limit", "3"},
                   {"X-RateLimit-Remaining", "1"},
                   {"X-RateLimit-Reset", "102"}}));
    CHECK((forebay::headers({{"all", verdict}, {"a: \"b\"", each.peek("a")}}, {"draft-10"}) ==
           Headers{{"RateLimit-Policy", "\"all\";q=3;w=3, \"a: \\\"b\\\"\";q=2;w=2"},
                   {"RateLimit", "\"all\";r=1;t=2, \"a: \\\"b\\\"\";r=1;t=1"}}));
    CHECK(forebay::headers({{"all", verdict, "foo"}}, {"draft-8"}).front().second ==
          "\"all\"; q=3; w=3; pk=:MmMyNmI0NmI2OGZm:");
    CHECK(forebay::headers({{"all", verdict, std::string_view()}}, {"draft-10"}).front().second ==
          "\"all\";q=3;w=3;pk=:ZTNiMGM0NDI5OGZj:");
    CHECK(verdict.headers("all").size() == 3 && verdict.headers("all", {"draft-6", "draft-8"}).size() == 6);
    CHECK(staff.take("k").headers("staff").empty() && forebay::headers({}).empty());
    CHECK(all.take("", forebay::Charge(2)).headers("all", {}).size() == 1);
    // More than the first buffer holds.
    const std::vector<forebay::Limit> limits(16, {"a name that is rather long, for a limit", verdict});
    CHECK(forebay::headers(limits, {"draft-8"})[1].second.size() > 600);

    CHECK(forebay::client_address("10.0.0.7", "6.6.6.6, 203.0.113.9", 1) == "203.0.113.9");
    CHECK(forebay::client_address("[2001:db8:1:2:3:4:5:6]:443") == "2001:db8:1:2::/64");
    CHECK(forebay::client_address("2001:db8::1", {}, 0, 32) == "2001:db8::/32");
    // A NUL that a client sends hides nobody.
    CHECK(forebay::client_address("10.0.0.7", "6.6.6.6\0, 203.0.113.9"sv, 1) == "203.0.113.9");
}

void caches() {
    const forebay::Region region = manual();
    const forebay::Cache pages = region.cache(
        "pages", forebay::CacheOptions().bytes(1 << 20).max_entries(500).shards(1).ttl(60s));
    CHECK(!pages.get("k"));
    CHECK(pages.set("k", "value"));
    CHECK(pages.get("k") == "value"s);
    CHECK(pages.set("long", std::string(20000, 'x')));
    CHECK(pages.get("long") == std::string(20000, 'x'));
    std::string into = "what was there";
    CHECK(pages.get_into("k", into) && into == "value");
    CHECK(!pages.get_into("none", into) && into.empty());
    CHECK(pages.set("", "") && pages.get("") == ""s);
    CHECK(pages.set("n\0l"sv, "v\0v"sv) && pages.get("n\0l"sv) == "v\0v"s);

    CHECK(pages.set("j", "{}", forebay::SetOptions().ttl(10s).codec(FB_CODEC_JSON)));
    region.advance(3s);
    std::optional<forebay::Entry> entry = pages.entry("j");
    CHECK(entry && entry->value == "{}" && entry->codec == FB_CODEC_JSON);
    CHECK(entry->age == 3s && entry->ttl == 7s && entry->version != 0);
    CHECK(pages.set("j", "[]", forebay::SetOptions().never_expires()));
    entry = pages.entry("j");
    CHECK(entry && !entry->ttl && entry->codec == FB_CODEC_BYTES);
    CHECK(pages.entry("long")->value.size() == 20000 && !pages.entry("none"));
    CHECK(pages.set("now", "v") && pages.set("now", "w", forebay::SetOptions().ttl(0s)));
    CHECK(!pages.contains("now"));

    region.advance(60s);
    CHECK(!pages.contains("k") && pages.contains("j"));
    CHECK(pages.erase("j") && !pages.erase("j"));
    CHECK(!pages.set("large", std::string(1 << 20, 'x')));
    pages.clear();
    CHECK(pages.set("one", "1") && pages.size() == 1 && !pages.empty());
    const forebay::CacheStats stats = pages.stats();
    CHECK(stats.too_large == 1 && stats.max_entries == 500);
    CHECK(forebay::hit_rate(stats) > 0 && forebay::hit_rate(stats) < 1);
    CHECK(forebay::hit_rate(fb_cache_stats_init()) == 0);

    CHECK(region.attach_cache("pages").contains("one"));
    CHECK(throws(FB_E_GEOMETRY, [&] {
        (void)region.cache("pages", forebay::CacheOptions().bytes(2 << 20));
    }));
    CHECK(throws(FB_E_NOT_FOUND, [&] { (void)region.attach_cache("none"); }));
    CHECK(throws(FB_E_WRONG_KIND, [&] { (void)region.breaker("pages"); },
                 "'pages' is a cache, not a breaker"));
}

void breakers() {
    const forebay::Region region = manual();
    const forebay::Breaker origin =
        region.breaker("origin", forebay::BreakerOptions()
                                     .failure_threshold(2)
                                     .failure_rate(std::nullopt)
                                     .open_for(10s)
                                     .success_threshold(1)
                                     .half_open_calls(1)
                                     .probe_lease(5s)
                                     .volume_threshold(10)
                                     .window(10s));
    CHECK(origin.state() == forebay::State::closed);
    CHECK(origin.call([] { return 7; }) == 7);
    origin.call([] {});
    int target = 0;
    CHECK(&origin.call([&]() -> int & { return target; }) == &target);
    CHECK(*origin.call([] { return std::make_unique<int>(5); }) == 5);

    // An exception is a failure, and passes through.
    bool passed_through = false;
    try {
        origin.call([]() -> int { throw std::runtime_error("down"); });
    } catch (const std::runtime_error &error) {
        passed_through = error.what() == "down"s;
    }
    CHECK(passed_through && origin.stats().failures == 1);
    // So is a result that is none.
    CHECK(origin.call([] { return 503; }, [](int status) { return status < 500; }) == 503);
    CHECK(origin.state() == forebay::State::open);

    forebay::Duration wait{};
    CHECK(!origin.enter(&wait) && wait == 10s);
    bool called = false;
    try {
        origin.call([&] { called = true; });
        CHECK(!"an open breaker rejects");
    } catch (const forebay::Rejected &rejected) {
        CHECK(rejected.retry_after() == 10s);
        CHECK(rejected.what() == origin.rejection(10s));
        CHECK(std::string_view(rejected.what()).find("'origin' is open") != std::string_view::npos);
    }
    CHECK(!called);

    region.advance(10s);
    {
        // Destroyed without a word: a failure.
        const std::optional<forebay::Permit> probe = origin.enter();
        CHECK(probe && origin.state() == forebay::State::half_open);
    }
    CHECK(origin.state() == forebay::State::open);
    region.advance(10s);
    std::optional<forebay::Permit> probe = origin.enter();
    CHECK(probe && !origin.enter());
    CHECK(probe->ignore() && !probe->success());
    probe = origin.enter();
    forebay::Permit moved = std::move(*probe);
    CHECK(!probe->success());
    CHECK(moved.success() && !moved.success() && !moved.failure());
    CHECK(origin.state() == forebay::State::closed);
    CHECK(forebay::name(forebay::State::half_open) == "half-open"s);

    const forebay::BreakerStats stats = origin.stats();
    CHECK(stats.successes == 5 && stats.failures == 3 && stats.ignored == 1 && stats.opened == 2);
    CHECK(region.attach_breaker("origin").stats().successes == 5);

    std::vector<std::string> seen;
    const forebay::Events told = region.events(0);
    for (const forebay::Event &event : told.events) {
        CHECK(event.object == "origin");
        seen.emplace_back(event.name());
    }
    CHECK((seen == std::vector<std::string>{"object-created", "breaker-open", "breaker-half-open",
                                            "breaker-open", "breaker-half-open", "breaker-closed"}));
    CHECK(told.lost == 0 && region.events(told.next).events.empty());
}

void histograms() {
    const forebay::Region region = manual();
    const forebay::Histogram http = region.histogram("http");
    CHECK(!http.percentile(50) && http.snapshot().count == 0 && !http.snapshot().min);
    for (int i = 1; i <= 100; i++) {
        http.record(std::chrono::milliseconds(i));
    }
    http.record(5us);
    CHECK(std::abs(static_cast<double>(http.percentile(50)->count()) / 50e6 - 1) < 0.012);
    const forebay::Snapshot snapshot = http.snapshot();
    CHECK(snapshot.count == 101 && snapshot.sum == 5050ms + 5us);
    CHECK(snapshot.min == 5us && snapshot.max == 100ms && snapshot.mean > 49ms);
    std::uint64_t sum = 0;
    for (const forebay::Bucket &bucket : http.buckets()) {
        sum += bucket.count;
    }
    CHECK(sum == 101);
    CHECK(http.time([] { return 3; }) == 3);
    bool thrown = false;
    try {
        http.time([] { throw 5; });
    } catch (int) {
        thrown = true;
    }
    CHECK(thrown && http.snapshot().count == 103);
}

void regions() {
    const forebay::Region region = manual();
    CHECK(!region.path() && region.objects().empty() && region.stats().bytes == 8 << 20);
    std::vector<forebay::Histogram> kept;
    for (int i = 0; i < 20; i++) {
        kept.push_back(region.histogram("h" + std::to_string(i)));
    }
    const std::vector<forebay::ObjectInfo> objects = region.objects();
    CHECK(objects.size() == 20 && objects[19].name == "h19" &&
          objects[19].kind == FB_KIND_HISTOGRAM && objects[19].bytes > 0);

    const char *folder = std::getenv("FOREBAY_TEST_OUT");
    const std::string path = (folder != nullptr ? folder : "/tmp") + "/api-cpp.region"s;
    forebay::Region shared = forebay::Region::open(
        path, forebay::RegionOptions().fresh(true).ephemeral(true).mode(0600).bytes(1 << 20));
    CHECK(shared.path() == path && shared.stats().shared == 1);
    const forebay::Region again = forebay::Region::open(path, forebay::RegionOptions().create(false));
    const forebay::Duration before = shared.now();
    CHECK(again.now() >= before);

    // Objects keep their region; a moved-from handle answers.
    const forebay::Histogram orphan = forebay::Region::open_private().histogram("orphan");
    orphan.record(1ms);
    forebay::Region moved = std::move(shared);
    CHECK(moved.path() == path);
    CHECK(throws(FB_E_INVALID_ARGUMENT, [&] { (void)shared.now(); },
                 "region: got NULL; allowed: an open region handle"));
}

void bad_input() {
    const forebay::Region region = manual();
    const auto invalid = [](auto call, std::string_view words) {
        return throws(FB_E_INVALID_ARGUMENT, call, words);
    };
    const forebay::Cache cache = region.cache("c");
    const forebay::Histogram histogram = region.histogram("h");
    CHECK(invalid([&] { (void)region.histogram("a\0b"sv); },
                  "name: got a text with NUL inside; allowed: a text without"));
    CHECK(invalid([&] { (void)forebay::Region::open("a\0b"sv); },
                  "name_or_path: got a text with NUL inside; allowed: a text without"));
    CHECK(invalid([&] { (void)region.limiter("l", "5/s\0"s); },
                  "rate: got a text with NUL inside; allowed: a text without"));
    CHECK(invalid([&] { (void)region.limiter("l", forebay::LimiterOptions("5/s").tier("a\0b"s, "5/s")); },
                  "tier: got a text with NUL inside; allowed: a text without"));
    CHECK(invalid([&] { (void)region.limiter("l", forebay::Rate(5, -1s)); },
                  "rate: got -1000000000 ns; allowed: 0 or more"));
    CHECK(invalid([&] { (void)region.limiter("l", forebay::LimiterOptions("5/s").max_keys(0)); },
                  "max_keys: got 0; allowed: above 0"));
    CHECK(throws(FB_E_INVALID_ARGUMENT, [&] { (void)region.limiter("l", "often"); }));
    CHECK(throws(FB_E_INVALID_ARGUMENT, [&] { (void)region.limiter("l", forebay::Rate("5/s").burst(3)); }));
    const forebay::Limiter verbs = region.limiter("verbs", forebay::LimiterOptions("5/s").max_keys(1000));
    CHECK(invalid([&] { verbs.block("k", -1ns); }, "time: got -1 ns; allowed: 0 or more"));
    CHECK(invalid([&] { (void)verbs.reserve("k", -1ns); }, "max_wait: got -1 ns; allowed: 0 or more"));
    CHECK(invalid([&] { (void)verbs.acquire("k", -1ns); }, "timeout: got -1 ns; allowed: 0 or more"));
    CHECK(throws(FB_E_INVALID_ARGUMENT, [&] { verbs.penalize("k", forebay::Charge().tier("\xff")); }));
    CHECK(throws(FB_E_INVALID_ARGUMENT, [&] { verbs.refund("k", forebay::Charge().tier("\xff")); }));
    CHECK(verbs.peek("k").remaining == 5 && !verbs.unblock("k"));
    using forebay::LimiterOptions;
    CHECK(invalid([&] { (void)region.limiter("l", LimiterOptions(std::vector<forebay::Rate>())); },
                  "rate: got 0 rates; allowed: 1 to 4 rates"));
    CHECK(invalid([&] { (void)region.limiter("l", LimiterOptions("1/s").tier("t", std::vector<forebay::Rate>())); },
                  "rate: got 0 rates; allowed: 1 to 4 rates"));
    CHECK(invalid([&] { (void)region.limiter("l", {"1/s", "2/s", "3/s", "4/s", "5/s"}); },
                  "rate: got 5 rates; allowed: 1 to 4 rates"));
    CHECK(invalid([&] { (void)region.limiter("l", {"1/s", "2/s and 3/s", "4/s and 5/s"}); },
                  "rate: got 5 rates; allowed: 1 to 4 rates"));
    CHECK(invalid([&] { (void)region.limiter("l", {forebay::Rate(1, -1s), "2/s"}); },
                  "rate: got -1000000000 ns; allowed: 0 or more"));
    CHECK(throws(FB_E_INVALID_ARGUMENT, [&] { (void)region.limiter("l", {"1/s", "unlimited"}); }));
    CHECK(invalid([&] { (void)region.limiter("l", LimiterOptions("1/s").algorithm(forebay::Algorithm{})); },
                  "algorithm: got 0; allowed: above 0"));
    CHECK(invalid([&] { (void)region.limiter("l", LimiterOptions("1/s").on_full(static_cast<forebay::OnFull>(7))); },
                  "on_full: got 7; allowed: 0 or an fb_on_full"));
    CHECK(invalid([&] { (void)region.limiter("l", LimiterOptions("1/s").on_error(forebay::OnError{})); },
                  "on_error: got 0; allowed: above 0"));
    CHECK(invalid([&] { (void)region.window("w", forebay::WindowOptions().max_keys(0)); },
                  "max_keys: got 0; allowed: above 0"));
    CHECK(invalid([&] { (void)region.permits("p", 0); }, "limit: got 0; allowed: 1 to 4096"));
    CHECK(throws(FB_E_INVALID_ARGUMENT, [&] { (void)region.permits("p", UINT64_MAX); }));
    CHECK(invalid([&] { (void)region.permits("p", forebay::PermitsOptions(1).lease(-1ns)); },
                  "lease: got -1 ns; allowed: 0 or more"));
    CHECK(invalid([&] { (void)region.permits("p", forebay::PermitsOptions(1).lease(0ns)); },
                  "lease: got 0; allowed: above 0"));
    CHECK(throws(FB_E_INVALID_ARGUMENT, [&] {
        (void)region.permits("p", forebay::PermitsOptions(1).lease(forebay::Duration::max()));
    }));
    CHECK(invalid([&] { (void)region.permits("p", forebay::PermitsOptions(1).max_leases(0)); },
                  "max_leases: got 0; allowed: above 0"));
    {
        const forebay::Region other = manual();
        const forebay::WindowCounter hits = other.window("w");
        CHECK(invalid([&] { hits.hit("k", -1ns); }, "window: got -1 ns; allowed: 0 or more"));
        CHECK(invalid([&] { hits.hit("k", -1ns, 1, 1); }, "window: got -1 ns; allowed: 0 or more"));
        CHECK(throws(FB_E_INVALID_ARGUMENT, [&] { hits.hit("k", 1us); }));
        CHECK(throws(FB_E_INVALID_ARGUMENT, [&] { hits.hit("k", forebay::Duration::max()); }));
        CHECK(invalid([&] { hits.block("k", -1ns); }, "time: got -1 ns; allowed: 0 or more"));
        CHECK(hits.get("k").count == 0 && hits.blocked_for("k") == 0s);
        // The forms that do not throw say the same.
        CHECK(!hits.try_hit("k", -1ns) && hits.try_hit("k", 1s)->count == 1);
        forebay::Permits pool = other.permits("p", 1);
        forebay::Result<std::optional<forebay::Lease>> lease = pool.try_acquire("k");
        CHECK(lease && *lease && pool.try_acquire("k") && !*pool.try_acquire("k"));
        CHECK((*lease)->release());
        const forebay::Permits to = std::move(pool);
        CHECK(!pool.try_acquire("k") && !pool.try_in_use("k") && *to.try_in_use("k") == 0);
    }
    const forebay::Verdict fine = verbs.peek("k");
    CHECK(invalid([&] { (void)fine.headers("a\0b"sv); },
                  "name: got a text with NUL inside; allowed: a text without"));
    CHECK(throws(FB_E_INVALID_ARGUMENT, [&] { (void)fine.headers("a\r\nb"); }));
    CHECK(invalid([&] { (void)fine.headers("api", {"draft-9"}); },
                  "style: got \"draft-9\"; allowed: legacy, legacy-delta, draft-6, draft-7, draft-8, draft-10"));
    for (const std::string_view style : {""sv, "legacy,draft-6"sv, "legacy\0"sv}) {
        CHECK(throws(FB_E_INVALID_ARGUMENT, [&] { (void)fine.headers("api", {style}); }));
    }
    forebay::Verdict none_such = fine;
    none_such.reset_after = -1ns;
    CHECK(invalid([&] { (void)none_such.headers("api"); }, "verdict: got -1 ns; allowed: 0 or more"));
    CHECK(invalid([&] { (void)forebay::headers({}, {}, std::chrono::system_clock::time_point(-1s)); },
                  "now: got -1000000000 ns; allowed: 0 or more"));
    CHECK(invalid([] { (void)forebay::client_address("localhost"); },
                  "address: got \"localhost\"; allowed: an IPv4 or IPv6 address, with or without a port"));
    CHECK(invalid([] { (void)forebay::client_address("1.2.3.4\0"sv); },
                  "peer: got a text with NUL inside; allowed: a text without"));
    CHECK(invalid([] { (void)forebay::client_address("::1", {}, 0, 129); },
                  "ipv6_prefix: got 129; allowed: 0 to 128"));
    CHECK(invalid([&] { histogram.record(-1ns); }, "duration: got -1 ns; allowed: 0 or more"));
    CHECK(invalid([&] { region.advance(-1ns); }, "by: got -1 ns; allowed: 0 or more"));
    CHECK(invalid([&] { cache.set("k", "v", forebay::SetOptions().ttl(-1ns)); },
                  "ttl: got -1 ns; allowed: 0 or more"));
    CHECK(throws(FB_E_INVALID_ARGUMENT, [&] { cache.set("k", "v", forebay::SetOptions().codec(256)); }));
    CHECK(!cache.contains("k"));
    CHECK(invalid([&] { (void)region.cache("z", forebay::CacheOptions().ttl(-1ns)); },
                  "ttl: got -1 ns; allowed: 0 or more"));
    CHECK(invalid([&] { (void)region.cache("z", forebay::CacheOptions().bytes(0)); },
                  "bytes: got 0; allowed: above 0"));
    CHECK(invalid([&] { (void)region.breaker("z", forebay::BreakerOptions().open_for(-1s)); },
                  "open_for: got -1000000000 ns; allowed: 0 or more"));
    CHECK(invalid([&] { (void)region.breaker("z", forebay::BreakerOptions().half_open_calls(0)); },
                  "half_open_calls: got 0; allowed: above 0"));
    for (const double rate : {0.0, -1.0, -0.5, 1.5, std::nan(""), HUGE_VAL}) {
        CHECK(throws(FB_E_INVALID_ARGUMENT,
                     [&] { (void)region.breaker("z", forebay::BreakerOptions().failure_rate(rate)); }));
    }
    for (const double percent : {-1.0, 100.5, std::nan(""), HUGE_VAL}) {
        CHECK(throws(FB_E_INVALID_ARGUMENT, [&] { (void)histogram.percentile(percent); }));
    }
    CHECK(throws(FB_E_INVALID_ARGUMENT, [] {
        (void)forebay::Region::open_private(forebay::RegionOptions().bytes(0));
    }));
    CHECK(throws(FB_E_INVALID_ARGUMENT, [] {
        (void)forebay::Region::open_private(forebay::RegionOptions().mode(0));
    }));
    CHECK(region.objects().size() == 3);
    // The longest durations are long, not negative.
    CHECK(cache.set("k", "v", forebay::SetOptions().ttl(forebay::Duration::max())));
    region.advance(24h * 365);
    CHECK(cache.contains("k"));
    histogram.record(forebay::Duration::max());
    CHECK(histogram.snapshot().max == forebay::Duration::max());

    // The forms that do not throw say the same.
    const forebay::Result<forebay::Limiter> none = region.try_limiter("none");
    CHECK(!none && none.error().code() == FB_E_NOT_FOUND);
    CHECK(none.error().code_name() == "FB_E_NOT_FOUND"s);
    forebay::Result<forebay::Limiter> some = region.try_limiter("some", "1/h");
    CHECK(some && some->try_allow("k").value() && !*some->try_allow("k"));
    const forebay::Limiter limiter = *std::move(some);
    CHECK(limiter.try_take("k")->retry_after == 1h);
    CHECK(!region.try_advance(-1ns) && region.try_advance(1ns));
    forebay::Limiter from = region.limiter("some");
    const forebay::Limiter to = std::move(from);
    const forebay::Result<bool> gone = from.try_allow("k");
    CHECK(!gone && gone.error().what() == "limiter: got NULL; allowed: an open limiter handle"s);
    CHECK(throws(FB_E_NOT_FOUND, [&] { (void)region.try_limiter("none").value(); }));
}

void threads() {
    const forebay::Region region = forebay::Region::open_private();
    const forebay::Limiter limiter = region.limiter("l", "1/day burst 1000");
    const forebay::Cache cache = region.cache("c");
    const forebay::Histogram histogram = region.histogram("h");
    std::atomic<int> admitted{0}, torn{0};
    std::vector<std::thread> workers;
    for (int t = 0; t < 4; t++) {
        workers.emplace_back([&, t] {
            std::string value;
            for (int i = 0; i < 2000; i++) {
                admitted += limiter.allow("k");
                cache.set("k", std::string(100 + 400 * static_cast<std::size_t>(t),
                                           static_cast<char>('a' + t)));
                if (cache.get_into("k", value)) {
                    torn += value.find_first_not_of(value[0]) != std::string::npos;
                }
                histogram.record(1us);
            }
        });
    }
    for (std::thread &worker : workers) {
        worker.join();
    }
    CHECK(admitted == 1000 && torn == 0 && histogram.snapshot().count == 8000);
}

} // namespace

int main() {
    limiters();
    verbs_of_limiters();
    algorithms_and_rates();
    window_counters();
    permits();
    several_limits();
    caches();
    breakers();
    histograms();
    regions();
    bad_input();
    threads();
    return finish();
}
