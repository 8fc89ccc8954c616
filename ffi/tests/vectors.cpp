// The cases of tests/vectors, through forebay.hpp.
#include "check.h"

#include "case.h"
#include "vectors.h"

#include <forebay.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <variant>

namespace {

using Object = std::variant<forebay::Limiter, forebay::Cache, forebay::Breaker, forebay::Histogram,
                            forebay::WindowCounter, forebay::Permits>;
using Fields = std::map<std::string, std::optional<std::uint64_t>>;

const fb_case *the_case;
std::size_t step_number;

void holds(bool condition, const std::string &what) {
    if (condition) {
        passed_++;
        return;
    }
    failed_++;
    std::fprintf(stderr, "%s: \"%s\", step %zu: %s\n", the_case->file, the_case->name, step_number,
                 what.c_str());
}

void equal(const std::string &what, std::optional<std::uint64_t> got,
           std::optional<std::uint64_t> wanted) {
    const auto word = [](std::optional<std::uint64_t> n) { return n ? std::to_string(*n) : "null"; };
    holds(got == wanted, what + ": got " + word(got) + ", wanted " + word(wanted));
}

std::optional<std::uint64_t> count(std::optional<forebay::Duration> duration) {
    if (!duration) {
        return std::nullopt;
    }
    return static_cast<std::uint64_t>(duration->count());
}

forebay::Duration nanoseconds(std::uint64_t ns) {
    return forebay::Duration(static_cast<forebay::Duration::rep>(ns));
}

std::string spell(fb_case_bytes bytes) {
    std::string spelled;
    if (bytes.data != nullptr && bytes.times == 0) {
        std::vector<std::string_view> parts;
        for (std::size_t at = 0; at < bytes.length; at += parts.back().size() + 1) {
            parts.emplace_back(bytes.data + at);
        }
        switch (parts.size()) {
        case 1:
            return forebay::key({parts[0]});
        case 2:
            return forebay::key({parts[0], parts[1]});
        case 3:
            return forebay::key({parts[0], parts[1], parts[2]});
        default:
            holds(false, "a tuple of 1 to 3 parts");
        }
    }
    for (std::size_t i = 0; i < bytes.times; i++) {
        spelled.append(bytes.data, bytes.length);
    }
    return spelled;
}

void compare(const fb_case_field *expected, std::size_t expected_count, const Fields &answer) {
    for (std::size_t i = 0; i < expected_count; i++) {
        const fb_case_field &wanted = expected[i];
        const auto found = answer.find(wanted.name);
        if (found == answer.end()) {
            holds(false, std::string("unknown field ") + wanted.name);
        } else {
            equal(wanted.name, found->second,
                  wanted.null ? std::nullopt : std::optional(wanted.number));
        }
    }
}

void fields(const fb_case_step &step, const Fields &answer) {
    compare(step.fields, step.field_count, answer);
}

Fields told(const forebay::Verdict &verdict) {
    return {{"allowed", verdict.allowed},
            {"limit", verdict.limit},
            {"remaining", verdict.remaining},
            {"retry_after_ns", count(verdict.retry_after)},
            {"reset_after_ns", count(verdict.reset_after)},
            {"window_ns", count(verdict.window)}};
}

Object open(const forebay::Region &region, const fb_case_object &object) {
    const std::string_view kind = object.kind;
    if (kind == "limiter") {
        forebay::LimiterOptions options(object.rate);
        for (std::size_t i = 0; i < object.tier_count; i++) {
            options.tier(object.tiers[i].name, object.tiers[i].rate);
        }
        if (object.max_keys != 0) {
            options.max_keys(object.max_keys);
        }
        if (object.algorithm != 0) {
            options.algorithm(static_cast<forebay::Algorithm>(object.algorithm));
        }
        if (object.on_full != 0) {
            options.on_full(static_cast<forebay::OnFull>(object.on_full));
        }
        if (object.on_error != 0) {
            options.on_error(static_cast<forebay::OnError>(object.on_error));
        }
        options.enabled(object.enabled != 0).show_keys(object.show_keys != 0);
        return region.limiter(object.name, options);
    }
    if (kind == "cache") {
        forebay::CacheOptions options;
        if (object.bytes != 0) {
            options.bytes(object.bytes);
        }
        if (object.max_entries != 0) {
            options.max_entries(object.max_entries);
        }
        if (object.max_item != 0) {
            options.max_item(object.max_item);
        }
        if (object.shards != 0) {
            options.shards(object.shards);
        }
        if (object.ttl_ns != 0 && object.ttl_ns != FB_NEVER) {
            options.ttl(nanoseconds(object.ttl_ns));
        }
        return region.cache(object.name, options);
    }
    if (kind == "breaker") {
        forebay::BreakerOptions options;
        if (object.failure_threshold != 0) {
            options.failure_threshold(object.failure_threshold == FB_NO_THRESHOLD
                                          ? 0
                                          : static_cast<std::uint32_t>(object.failure_threshold));
        }
        if (object.failure_rate == FB_NO_RATE) {
            options.failure_rate(std::nullopt);
        } else if (object.failure_rate != 0.0) {
            options.failure_rate(object.failure_rate);
        }
        if (object.volume_threshold != 0) {
            options.volume_threshold(static_cast<std::uint32_t>(object.volume_threshold));
        }
        if (object.window_ns != 0) {
            options.window(nanoseconds(object.window_ns));
        }
        if (object.open_for_ns != 0) {
            options.open_for(nanoseconds(object.open_for_ns));
        }
        if (object.success_threshold != 0) {
            options.success_threshold(static_cast<std::uint32_t>(object.success_threshold));
        }
        if (object.half_open_calls != 0) {
            options.half_open_calls(static_cast<std::uint32_t>(object.half_open_calls));
        }
        if (object.probe_lease_ns != 0) {
            options.probe_lease(nanoseconds(object.probe_lease_ns));
        }
        return region.breaker(object.name, options);
    }
    if (kind == "window") {
        forebay::WindowOptions options;
        if (object.max_keys != 0) {
            options.max_keys(object.max_keys);
        }
        return region.window(object.name, options);
    }
    if (kind == "permits") {
        forebay::PermitsOptions options(object.limit);
        if (object.lease_ns != 0) {
            options.lease(nanoseconds(object.lease_ns));
        }
        if (object.max_leases != 0) {
            options.max_leases(object.max_leases);
        }
        return region.permits(object.name, options);
    }
    return region.histogram(object.name);
}

struct World {
    std::optional<forebay::Region> region;
    std::map<std::string, Object> objects;
    std::map<std::string, forebay::Permit> permits;
    std::map<std::string, forebay::Reservation> reservations;
    std::map<std::string, forebay::Lease> leases;

    void operator()(const forebay::WindowCounter &window, const fb_case_step &step);
    void operator()(const forebay::Permits &pool, const fb_case_step &step);

    void operator()(const forebay::Limiter &limiter, const fb_case_step &step) {
        const std::string_view verb = step.verb;
        const std::string key = spell(step.key);
        forebay::Charge charge(step.cost);
        if (step.tier != nullptr) {
            charge.tier(step.tier);
        }
        const bool plain = step.cost == 1 && step.tier == nullptr;
        if (verb == "allow") {
            equal("allow", plain ? limiter.allow(key) : limiter.allow(key, charge), step.number);
        } else if (verb == "reset") {
            equal("reset", limiter.reset(key), step.number);
        } else if (verb == "stats") {
            const forebay::LimiterStats stats = limiter.stats();
            fields(step, {{"admitted", stats.admitted},
                          {"refused", stats.refused},
                          {"evicted_live", stats.evicted_live},
                          {"unknown_tier", stats.unknown_tier},
                          {"contended", stats.contended},
                          {"slots", stats.slots},
                          {"debts", stats.debts}});
        } else if (verb == "tier_stats") {
            std::string lines;
            for (const forebay::TierStats &of : limiter.tier_stats()) {
                lines += of.tier + " " + std::to_string(of.admitted) + " " +
                         std::to_string(of.refused) + " " + std::to_string(of.debts) + "\n";
            }
            holds(lines == spell(step.bytes), lines);
        } else if (verb == "clear") {
            limiter.clear();
        } else if (verb == "forget_refused") {
            limiter.forget_refused();
        } else if (verb == "top_refused") {
            std::string lines;
            for (const forebay::RefusedKey &one : limiter.top_refused()) {
                lines += std::to_string(one.count) + " " + std::to_string(one.over) + " " +
                         one.key.value_or("-") + "\n";
                holds(!one.key || limiter.mark(*one.key) == one.mark, "top_refused: the mark");
            }
            holds(lines == spell(step.bytes), lines);
        } else if (verb == "unblock") {
            equal("unblock", limiter.unblock(key), step.number);
        } else if (verb == "block") {
            limiter.block(key, nanoseconds(step.ns));
        } else if (verb == "take" || verb == "peek") {
            fields(step, told(verb == "take" ? limiter.take(key, charge) : limiter.peek(key, charge)));
        } else if (verb == "refund") {
            fields(step, told(step.tier == nullptr ? limiter.refund(key, step.cost)
                                                   : limiter.refund(key, charge)));
        } else if (verb == "penalize") {
            fields(step, told(step.tier == nullptr ? limiter.penalize(key, step.cost)
                                                   : limiter.penalize(key, charge)));
        } else if (verb == "acquire") {
            fields(step, told(limiter.acquire(key, nanoseconds(step.ns), charge)));
        } else if (verb == "enforce") {
            try {
                fields(step, told(limiter.enforce(key, charge)));
                holds(step.message == nullptr, "enforce: admitted");
            } catch (const forebay::Limited &limited) {
                holds(step.message != nullptr && limited.what() == std::string_view(step.message),
                      limited.what());
                holds(limited.limiter() == step.on && !limited.verdict().allowed, "limited");
            }
        } else if (verb == "reserve") {
            forebay::Verdict refusal{};
            std::optional<forebay::Reservation> reservation =
                limiter.reserve(key, nanoseconds(step.ns), charge, &refusal);
            if (step.expect == EXPECT_BYTES) {
                holds(!reservation && refusal.limit > 0, "reserve: refused");
            } else if (reservation) {
                fields(step, {{"wait_ns", count(reservation->wait())}});
                equal("due", count(reservation->due()), count(region->now() + reservation->wait()));
                reservations.insert_or_assign(step.permit, std::move(*reservation));
            } else {
                holds(false, "reserve: not refused");
            }
        } else if (verb == "cancel") {
            equal("cancel", reservations.at(step.permit).cancel(), step.number);
        } else {
            holds(false, "unknown verb " + std::string(verb));
        }
    }

    void operator()(const forebay::Cache &cache, const fb_case_step &step) {
        const std::string_view verb = step.verb;
        const std::string key = spell(step.key);
        std::optional<bool> yes;
        if (verb == "set") {
            forebay::SetOptions options;
            options.codec(step.codec);
            if (step.ttl_ns == FB_NEVER) {
                options.never_expires();
            } else if (step.ttl_ns != 0) {
                options.ttl(nanoseconds(step.ttl_ns));
            }
            yes = cache.set(key, spell(step.value), options);
        } else if (verb == "contains") {
            yes = cache.contains(key);
        } else if (verb == "delete") {
            yes = cache.erase(key);
        } else if (verb == "clear") {
            cache.clear();
        } else if (verb == "len") {
            equal("len", cache.size(), step.number);
        } else if (verb == "get") {
            const std::optional<std::string> value = cache.get(key);
            if (step.expect == EXPECT_NULL) {
                holds(!value, "get: a miss");
            } else if (step.expect == EXPECT_BYTES) {
                holds(value == spell(step.bytes), "get: the value");
            }
        } else if (verb == "entry") {
            const std::optional<forebay::Entry> entry = cache.entry(key);
            holds(entry.has_value() == (step.expect != EXPECT_NULL), "entry: there or not");
            if (entry) {
                if (step.bytes.data != nullptr) {
                    holds(entry->value == spell(step.bytes), "entry: the value");
                }
                fields(step, {{"codec", entry->codec},
                              {"version", entry->version},
                              {"age_ns", count(entry->age)},
                              {"ttl_ns", count(entry->ttl)}});
            }
        } else if (verb == "stats") {
            const forebay::CacheStats stats = cache.stats();
            fields(step, {{"hits", stats.hits},
                          {"misses", stats.misses},
                          {"sets", stats.sets},
                          {"deletes", stats.deletes},
                          {"evictions", stats.evictions},
                          {"expirations", stats.expirations},
                          {"too_large", stats.too_large},
                          {"busy", stats.busy},
                          {"resets", stats.resets},
                          {"entries", stats.entries},
                          {"bytes_used", stats.bytes_used},
                          {"bytes_capacity", stats.bytes_capacity},
                          {"max_entries", stats.max_entries},
                          {"max_item", stats.max_item},
                          {"shards", stats.shards}});
        } else {
            holds(false, "unknown verb " + std::string(verb));
        }
        if (yes && step.expect == EXPECT_NUMBER) {
            equal(step.verb, *yes, step.number);
        }
    }

    void operator()(const forebay::Breaker &breaker, const fb_case_step &step) {
        const std::string_view verb = step.verb;
        if (verb == "enter") {
            forebay::Duration wait{};
            std::optional<forebay::Permit> permit = breaker.enter(&wait);
            if (step.expect == EXPECT_BYTES) {
                holds(permit.has_value() == (std::string_view(step.bytes.data) == "permit"),
                      "enter: a permit or not");
                if (step.number != UINT64_MAX) {
                    equal("retry_after_ns", count(wait), step.number);
                }
            }
            if (permit && step.permit != nullptr) {
                permits.insert_or_assign(step.permit, std::move(*permit));
            } else if (permit) {
                permits.emplace("unnamed " + std::to_string(permits.size()), std::move(*permit));
            }
        } else if (verb == "state") {
            holds(forebay::name(breaker.state()) == std::string_view(step.bytes.data),
                  std::string("state: ") + forebay::name(breaker.state()));
        } else if (verb == "stats") {
            const forebay::BreakerStats stats = breaker.stats();
            fields(step, {{"successes", stats.successes},
                          {"failures", stats.failures},
                          {"ignored", stats.ignored},
                          {"rejected", stats.rejected},
                          {"late", stats.late},
                          {"opened", stats.opened},
                          {"half_opened", stats.half_opened},
                          {"closed", stats.closed},
                          {"probes", stats.probes}});
        } else {
            const auto permit = permits.find(step.permit);
            holds(permit != permits.end(), "a permit of that name");
            if (permit == permits.end()) {
                return;
            }
            if (verb == "success") {
                permit->second.success();
            } else if (verb == "failure") {
                permit->second.failure();
            } else if (verb == "ignore") {
                permit->second.ignore();
            } else {
                holds(false, "unknown verb " + std::string(verb));
            }
        }
    }

    void operator()(const forebay::Histogram &histogram, const fb_case_step &step) {
        const std::string_view verb = step.verb;
        if (verb == "record") {
            histogram.record(nanoseconds(step.ns));
        } else if (verb == "percentile") {
            equal("percentile", count(histogram.percentile(step.percent)),
                  step.expect == EXPECT_NULL ? std::nullopt : std::optional(step.number));
        } else if (verb == "snapshot") {
            const forebay::Snapshot snapshot = histogram.snapshot();
            fields(step, {{"count", snapshot.count},
                          {"sum_ns", count(snapshot.sum)},
                          {"min_ns", count(snapshot.min)},
                          {"max_ns", count(snapshot.max)}});
        } else {
            holds(false, "unknown verb " + std::string(verb));
        }
    }
};

void World::operator()(const forebay::WindowCounter &window, const fb_case_step &step) {
    const std::string_view verb = step.verb;
    const std::string key = spell(step.key);
    const auto told = [&](const forebay::Count &said, bool counted) {
        fields(step, {{"counted", counted},
                      {"count", said.count},
                      {"resets_in_ns", count(said.resets_in)}});
    };
    if (verb == "hit") {
        try {
            if (step.cost == 1 && step.limit == UINT64_MAX) {
                told(window.hit(key, nanoseconds(step.ns)), true);
            } else {
                const forebay::Hit hit = window.hit(
                    key, nanoseconds(step.ns), step.cost,
                    step.limit == UINT64_MAX ? std::nullopt : std::optional(step.limit));
                told(hit, hit.counted);
            }
            holds(step.code == nullptr, "hit: no error");
        } catch (const forebay::Error &error) {
            holds(step.code != nullptr && error.code_name() == std::string_view(step.code) &&
                      error.what() == std::string_view(step.message),
                  error.what());
        }
    } else if (verb == "get") {
        told(window.get(key), true);
    } else if (verb == "decrement") {
        told(step.cost == 1 ? window.decrement(key) : window.decrement(key, step.cost), true);
    } else if (verb == "reset") {
        equal("reset", window.reset(key), step.number);
    } else if (verb == "block") {
        window.block(key, nanoseconds(step.ns));
    } else if (verb == "blocked_for") {
        equal("blocked_for", count(window.blocked_for(key)), step.number);
    } else if (verb == "unblock") {
        equal("unblock", window.unblock(key), step.number);
    } else if (verb == "clear") {
        window.clear();
    } else if (verb == "stats") {
        const forebay::WindowStats stats = window.stats();
        fields(step, {{"hits", stats.hits},
                      {"refused", stats.refused},
                      {"evicted_live", stats.evicted_live},
                      {"contended", stats.contended},
                      {"slots", stats.slots}});
    } else {
        holds(false, "unknown verb " + std::string(verb));
    }
}

void World::operator()(const forebay::Permits &pool, const fb_case_step &step) {
    const std::string_view verb = step.verb;
    const std::string key = spell(step.key);
    if (verb == "try_acquire") {
        forebay::Refusal refusal{};
        std::optional<forebay::Lease> lease = pool.acquire(key, &refusal);
        holds(lease.has_value() == (step.expect == EXPECT_BYTES), "try_acquire: a lease or not");
        if (lease) {
            leases.insert_or_assign(step.permit, std::move(*lease));
        } else {
            fields(step, {{"refused", static_cast<std::uint64_t>(refusal.reason)},
                          {"retry_after_ns", count(refusal.retry_after)}});
        }
    } else if (verb == "release") {
        equal("release", leases.at(step.permit).release(), step.number);
    } else if (verb == "renew") {
        equal("renew", leases.at(step.permit).renew(), step.number);
    } else if (verb == "ends_in") {
        equal("ends_in", count(leases.at(step.permit).ends_in()), step.number);
    } else if (verb == "in_use") {
        equal("in_use", pool.in_use(key), step.number);
    } else if (verb == "stats") {
        const forebay::PermitsStats stats = pool.stats();
        fields(step, {{"granted", stats.granted},
                      {"refused", stats.refused},
                      {"full", stats.full},
                      {"busy", stats.busy},
                      {"expired", stats.expired},
                      {"reaped", stats.reaped}});
    } else {
        holds(false, "unknown verb " + std::string(verb));
    }
}

/// Steps that are not on one object.
void on_none(const World &world, const fb_case_step &step) {
    const std::string_view verb = step.verb;
    std::vector<std::string> keys;
    std::vector<std::string> tells;
    std::vector<forebay::Request> requests;
    std::vector<forebay::Limit> limits;
    keys.reserve(step.part_count);
    tells.reserve(step.part_count);
    for (std::size_t i = 0; i < step.part_count; i++) {
        const fb_case_part &part = step.parts[i];
        const auto &limiter = std::get<forebay::Limiter>(world.objects.at(part.on));
        keys.push_back(spell(part.key));
        const forebay::Charge charge = forebay::Charge(part.cost).tier(part.tier);
        if (verb == "headers") {
            tells.push_back(spell(part.tell));
            limits.push_back({part.name, limiter.take(keys[i], charge)});
            if (part.tell.data != nullptr) {
                limits.back().key = tells.back();
            }
        } else {
            requests.emplace_back(limiter, keys[i], charge);
        }
    }
    if (verb == "take_all") {
        const forebay::TakenAll taken = forebay::take_all(requests);
        equal("take_all", taken.allowed, step.number);
        holds(taken.verdicts.size() == step.part_count, "take_all: as many verdicts");
        for (std::size_t i = 0; i < step.part_count; i++) {
            compare(step.parts[i].fields, step.parts[i].field_count, told(taken.verdicts[i]));
        }
    } else if (verb == "headers") {
        std::vector<std::string_view> styles;
        std::string_view left = step.styles;
        while (!left.empty()) {
            const std::size_t comma = std::min(left.find(','), left.size());
            styles.push_back(left.substr(0, comma));
            left.remove_prefix(std::min(comma + 1, left.size()));
        }
        const std::chrono::system_clock::time_point wall{
            std::chrono::duration_cast<std::chrono::system_clock::duration>(nanoseconds(step.ns))};
        std::string lines;
        for (const auto &[name, value] : forebay::headers(limits, styles, wall)) {
            lines += name + ": " + value + "\r\n";
        }
        holds(lines == spell(step.bytes), lines);
    } else if (verb == "client_address") {
        const forebay::Result<std::string> address = forebay::try_client_address(
            step.peer, step.forwarded_for == nullptr ? "" : step.forwarded_for,
            static_cast<std::size_t>(step.trusted_hops), step.ipv6_prefix);
        if (address) {
            holds(step.code == nullptr && *address == spell(step.bytes), *address);
        } else {
            holds(step.code != nullptr && address.error().code_name() == std::string_view(step.code) &&
                      address.error().what() == std::string_view(step.message),
                  address.error().what());
        }
    } else {
        holds(false, "unknown verb " + std::string(verb));
    }
}

void run() {
    World world;
    world.region = forebay::Region::open_private(
        forebay::RegionOptions().bytes(4 << 20).manual_clock(true));
    if (the_case->error_code != nullptr) {
        try {
            (void)open(*world.region, the_case->objects[0]);
            holds(false, "no error");
        } catch (const forebay::Error &error) {
            holds(error.code_name() == std::string_view(the_case->error_code), error.code_name());
            holds(error.what() == std::string_view(the_case->error_message), error.what());
        }
        return;
    }
    for (std::size_t at = 0; at < the_case->object_count; at++) {
        const fb_case_object &object = the_case->objects[at];
        world.objects.emplace(object.name, open(*world.region, object));
    }
    for (std::size_t at = 0; at < the_case->step_count; at++) {
        const fb_case_step &step = the_case->steps[at];
        step_number = at + 1;
        for (std::uint64_t times = 0; times < step.times; times++) {
            if (std::string_view(step.verb) == "advance") {
                world.region->advance(nanoseconds(step.ns));
            } else if (step.on == nullptr) {
                on_none(world, step);
            } else {
                std::visit([&](const auto &object) { world(object, step); },
                           world.objects.at(step.on));
            }
        }
    }
}

} // namespace

int main() {
    for (const fb_case &one : cases) {
        the_case = &one;
        step_number = 0;
        bool can_be_said = true;
        for (std::size_t at = 0; at < one.object_count; at++) {
            can_be_said = can_be_said && !one.objects[at].cannot_be_said;
        }
        if (!can_be_said) {
            std::printf("left out: \"%s\" (the options themselves refuse it)\n", one.name);
            continue;
        }
        try {
            run();
        } catch (const std::exception &problem) {
            holds(false, problem.what());
        }
    }
    std::printf("%d cases\n", static_cast<int>(CASES));
    return finish();
}
