/* The cases of tests/vectors, through forebay.h. */
#include "check.h"
#include "case.h"
#include "vectors.h"

#include <stdlib.h>

/* Tokens that were reserved, and what gives them back. */
struct reservation {
    const char *name;
    const struct fb_case_step *step;
    fb_reservation raw;
};

struct lease {
    const char *name;
    fb_lease lease;
};

/* The objects, permits, reservations and leases of one case, by name. */
struct world {
    const struct fb_case *the_case;
    fb_region *region;
    fb_limiter *limiters[8];
    fb_cache *caches[8];
    fb_breaker *breakers[8];
    fb_histogram *histograms[8];
    fb_window *windows[8];
    fb_permits *permit_pools[8];
    const char *permit_names[32];
    uint64_t permits[32];
    size_t permit_count;
    struct reservation reservations[32];
    size_t reservation_count;
    struct lease leases[32];
    size_t lease_count;
};

static size_t step_number;

static void holds(const struct world *world, int condition, const char *what, uint64_t got,
                  uint64_t wanted) {
    if (condition) {
        passed_++;
        return;
    }
    failed_++;
    fprintf(stderr, "%s: \"%s\", step %zu: %s: got %llu, wanted %llu\n", world->the_case->file,
            world->the_case->name, step_number, what, (unsigned long long)got,
            (unsigned long long)wanted);
}

static void equal(const struct world *world, const char *what, uint64_t got, uint64_t wanted) {
    holds(world, got == wanted, what, got, wanted);
}

/* Bytes in memory of their own. */
struct owned {
    char *data;
    size_t length;
};

static struct owned spell(struct fb_case_bytes bytes) {
    struct owned owned = {NULL, 0};
    if (bytes.data != NULL && bytes.times == 0) {
        const void *parts[16];
        size_t lengths[16];
        size_t count = 0;
        for (size_t at = 0; at < bytes.length; at += lengths[count++] + 1) {
            parts[count] = bytes.data + at;
            lengths[count] = strlen(bytes.data + at);
        }
        fb_key_join(parts, lengths, count, NULL, 0, &owned.length);
        owned.data = (char *)malloc(owned.length + 1);
        ANSWERS(FB_OK, fb_key_join(parts, lengths, count, owned.data, owned.length, &owned.length));
        return owned;
    }
    owned.length = bytes.length * bytes.times;
    owned.data = (char *)malloc(owned.length + 1);
    for (size_t i = 0; i < bytes.times; i++) {
        memcpy(owned.data + i * bytes.length, bytes.data, bytes.length);
    }
    return owned;
}

static int same(struct owned got, struct fb_case_bytes wanted) {
    const struct owned spelled = spell(wanted);
    const int is_same =
        got.length == spelled.length && memcmp(got.data, spelled.data, got.length) == 0;
    free(spelled.data);
    return is_same;
}

static fb_status open_object(struct world *world, size_t at) {
    const struct fb_case_object *object = &world->the_case->objects[at];
    if (strcmp(object->kind, "limiter") == 0) {
        fb_limiter_options options = fb_limiter_options_init();
        fb_tier tiers[32];
        for (size_t i = 0; i < object->tier_count && i < 32; i++) {
            tiers[i].name = object->tiers[i].name;
            tiers[i].rate = fb_rate_text(object->tiers[i].rate);
        }
        options.rate = fb_rate_text(object->rate);
        options.tiers = tiers;
        options.tier_count = object->tier_count;
        options.max_keys = object->max_keys;
        options.algorithm = object->algorithm;
        options.on_full = object->on_full;
        options.on_error = object->on_error;
        options.flags = (object->enabled ? 0 : FB_LIMITER_DISABLED) |
                        (object->show_keys ? FB_LIMITER_SHOW_KEYS : 0);
        return fb_limiter_open(world->region, object->name, &options, &world->limiters[at]);
    }
    if (strcmp(object->kind, "cache") == 0) {
        fb_cache_options options = fb_cache_options_init();
        options.bytes = object->bytes;
        options.max_entries = object->max_entries;
        options.max_item = object->max_item;
        options.shards = object->shards;
        options.ttl_ns = object->ttl_ns;
        return fb_cache_open(world->region, object->name, &options, &world->caches[at]);
    }
    if (strcmp(object->kind, "breaker") == 0) {
        fb_breaker_options options = fb_breaker_options_init();
        options.failure_threshold = (uint32_t)object->failure_threshold;
        options.failure_rate = object->failure_rate;
        options.volume_threshold = (uint32_t)object->volume_threshold;
        options.window_ns = object->window_ns;
        options.open_for_ns = object->open_for_ns;
        options.success_threshold = (uint32_t)object->success_threshold;
        options.half_open_calls = (uint32_t)object->half_open_calls;
        options.probe_lease_ns = object->probe_lease_ns;
        return fb_breaker_open(world->region, object->name, &options, &world->breakers[at]);
    }
    if (strcmp(object->kind, "window") == 0) {
        fb_window_options options = fb_window_options_init();
        options.max_keys = object->max_keys;
        return fb_window_open(world->region, object->name, &options, &world->windows[at]);
    }
    if (strcmp(object->kind, "permits") == 0) {
        fb_permits_options options = fb_permits_options_init();
        options.limit = object->limit;
        options.lease_ns = object->lease_ns;
        options.max_leases = object->max_leases;
        return fb_permits_open(world->region, object->name, &options, &world->permit_pools[at]);
    }
    return fb_histogram_open(world->region, object->name, NULL, &world->histograms[at]);
}

/* The field of an answer by its name; -1 in `known`: no such field. */
struct named {
    const char *name;
    uint64_t value;
};

static void compare(const struct world *world, const struct fb_case_field *expected,
                    size_t expected_count, const struct named *answer, size_t count) {
    for (size_t i = 0; i < expected_count; i++) {
        const struct fb_case_field *wanted = &expected[i];
        size_t at = 0;
        while (at < count && strcmp(answer[at].name, wanted->name) != 0) {
            at++;
        }
        if (at == count) {
            holds(world, 0, wanted->name, 0, wanted->number);
        } else {
            equal(world, wanted->name, answer[at].value,
                  wanted->null ? FB_NEVER : wanted->number);
        }
    }
}

static void fields(const struct world *world, const struct fb_case_step *step,
                   const struct named *answer, size_t count) {
    compare(world, step->fields, step->field_count, answer, count);
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void told(const struct world *world, const struct fb_case_field *expected, size_t count,
                 const fb_verdict *verdict) {
    const int allowed = verdict->retry_after_ns == 0;
    const struct named answer[] = {
        {"allowed", (uint64_t)allowed},
        {"limit", verdict->limit},
        {"remaining", verdict->remaining},
        {"retry_after_ns", allowed ? FB_NEVER : verdict->retry_after_ns},
        {"reset_after_ns", verdict->reset_after_ns},
        {"window_ns", verdict->window_ns},
    };
    compare(world, expected, count, answer, COUNT(answer));
}

/* The functions with all arguments, or the short ones where they say the same. */
static fb_status ask(const struct fb_case_step *step, const fb_limiter *limiter, struct owned key,
                     fb_verdict *verdict) {
    const char *verb = step->verb;
    const int plain = step->tier == NULL && step->cost == 1;
    if (strcmp(verb, "peek") == 0) {
        return plain ? fb_limiter_peek(limiter, key.data, key.length, verdict)
                     : fb_limiter_peek_with(limiter, key.data, key.length, step->cost, step->tier,
                                            FB_NOW, verdict);
    }
    if (strcmp(verb, "refund") == 0) {
        return step->tier == NULL
                   ? fb_limiter_refund(limiter, key.data, key.length, step->cost, verdict)
                   : fb_limiter_refund_with(limiter, key.data, key.length, step->cost, step->tier,
                                            verdict);
    }
    if (strcmp(verb, "penalize") == 0) {
        return step->tier == NULL
                   ? fb_limiter_penalize(limiter, key.data, key.length, step->cost, verdict)
                   : fb_limiter_penalize_with(limiter, key.data, key.length, step->cost,
                                              step->tier, FB_NOW, verdict);
    }
    if (strcmp(verb, "acquire") == 0) {
        return plain ? fb_limiter_acquire(limiter, key.data, key.length, step->ns, verdict)
                     : fb_limiter_acquire_with(limiter, key.data, key.length, step->cost,
                                               step->tier, FB_NOW, step->ns, verdict);
    }
    /* "allow" and "enforce" are for the other languages: the status says it. */
    CHECK(strcmp(verb, "take") == 0 || strcmp(verb, "allow") == 0 || strcmp(verb, "enforce") == 0);
    return plain ? fb_limiter_take(limiter, key.data, key.length, verdict)
                 : fb_limiter_take_with(limiter, key.data, key.length, step->cost, step->tier,
                                        FB_NOW, verdict);
}

static void reserve(struct world *world, const struct fb_case_step *step,
                    const fb_limiter *limiter, struct owned key) {
    struct reservation reservation = {step->permit, step, {0, {0, 0, 0, 0}}};
    uint64_t wait = 0, left = 0;
    fb_verdict refusal;
    const fb_status said =
        step->tier == NULL && step->cost == 1
            ? fb_limiter_reserve(limiter, key.data, key.length, step->ns, &wait,
                                 &reservation.raw, &refusal)
            : fb_limiter_reserve_with(limiter, key.data, key.length, step->cost, step->tier, FB_NOW,
                                      step->ns, &wait, &reservation.raw, &refusal);
    if (step->expect == EXPECT_BYTES) {
        CHECK(strcmp(step->bytes.data, "refused") == 0);
        equal(world, "reserve", (uint64_t)said, FB_DENIED);
        CHECK(refusal.retry_after_ns > 0);
        return;
    }
    equal(world, "reserve", (uint64_t)said, FB_OK);
    const struct named answer[] = {{"wait_ns", wait}};
    fields(world, step, answer, 1);
    ANSWERS(FB_OK, fb_limiter_until_due(limiter, reservation.raw.due_ns, &left));
    equal(world, "what is left to wait", left, wait);
    if (reservation.name != NULL && CHECK(world->reservation_count < 32)) {
        world->reservations[world->reservation_count++] = reservation;
    }
}

static void cancel(struct world *world, const struct fb_case_step *step,
                   const fb_limiter *limiter) {
    size_t at = world->reservation_count;
    while (at > 0 && strcmp(world->reservations[at - 1].name, step->permit) != 0) {
        at--;
    }
    if (!CHECK(at > 0)) {
        return;
    }
    const struct reservation of = world->reservations[at - 1];
    const struct owned key = spell(of.step->key);
    const fb_status said =
        of.step->tier == NULL && of.step->cost == 1
            ? fb_limiter_cancel(limiter, key.data, key.length, &of.raw)
            : fb_limiter_cancel_with(limiter, key.data, key.length, of.step->cost, of.step->tier,
                                     &of.raw);
    CHECK(said == FB_OK || said == FB_LATE);
    equal(world, "cancel", said == FB_OK, step->number);
    free(key.data);
}

static void top_refused(const struct world *world, const struct fb_case_step *step,
                        const fb_limiter *limiter) {
    char text[4096] = "";
    size_t length = 0;
    fb_refused_key keys[FB_MOST_REFUSED];
    size_t count = 0;
    ANSWERS(FB_OK, fb_limiter_top_refused(limiter, keys, FB_MOST_REFUSED, &count));
    for (size_t i = 0; i < count; i++) {
        const fb_refused_key *one = &keys[i];
        const int is_shown = one->is_shown == 1;
        uint64_t mark = 0;
        if (is_shown) {
            ANSWERS(FB_OK, fb_limiter_mark(limiter, one->key, one->key_len, &mark));
            equal(world, "mark", mark, one->mark);
        }
        length += (size_t)snprintf(text + length, sizeof text - length, "%llu %llu %.*s\n",
                                   (unsigned long long)one->count, (unsigned long long)one->over,
                                   is_shown ? (int)one->key_len : 1,
                                   is_shown ? (const char *)one->key : "-");
    }
    holds(world, strcmp(text, step->bytes.data) == 0, text, count, 0);
}

static void tier_stats(const struct world *world, const struct fb_case_step *step,
                       const fb_limiter *limiter) {
    char text[4096] = "";
    size_t length = 0;
    fb_tier_stats tiers[FB_MOST_TIERS];
    size_t count = 0;
    ANSWERS(FB_OK, fb_limiter_tier_stats(limiter, tiers, FB_MOST_TIERS, &count));
    for (size_t i = 0; i < count; i++) {
        const fb_tier_stats *of = &tiers[i];
        length += (size_t)snprintf(text + length, sizeof text - length, "%s %llu %llu %llu\n",
                                   of->tier, (unsigned long long)of->admitted,
                                   (unsigned long long)of->refused, (unsigned long long)of->debts);
    }
    holds(world, strcmp(text, step->bytes.data) == 0, text, count, 0);
}

static void on_limiter(struct world *world, const struct fb_case_step *step,
                       fb_limiter *limiter) {
    const struct owned key = spell(step->key);
    if (strcmp(step->verb, "reset") == 0 || strcmp(step->verb, "unblock") == 0) {
        const fb_status said =
            (step->verb[0] == 'r' ? fb_limiter_reset : fb_limiter_unblock)(limiter, key.data,
                                                                           key.length);
        CHECK(said == FB_OK || said == FB_MISS);
        equal(world, step->verb, said == FB_OK, step->number);
    } else if (strcmp(step->verb, "block") == 0) {
        ANSWERS(FB_OK, fb_limiter_block(limiter, key.data, key.length, step->ns));
    } else if (strcmp(step->verb, "clear") == 0) {
        ANSWERS(FB_OK, fb_limiter_clear(limiter));
    } else if (strcmp(step->verb, "forget_refused") == 0) {
        ANSWERS(FB_OK, fb_limiter_forget_refused(limiter));
    } else if (strcmp(step->verb, "top_refused") == 0) {
        top_refused(world, step, limiter);
    } else if (strcmp(step->verb, "tier_stats") == 0) {
        tier_stats(world, step, limiter);
    } else if (strcmp(step->verb, "reserve") == 0) {
        reserve(world, step, limiter, key);
    } else if (strcmp(step->verb, "cancel") == 0) {
        cancel(world, step, limiter);
    } else if (strcmp(step->verb, "stats") == 0) {
        fb_limiter_stats stats = fb_limiter_stats_init();
        ANSWERS(FB_OK, fb_limiter_get_stats(limiter, &stats));
        const struct named answer[] = {
            {"admitted", stats.admitted},         {"refused", stats.refused},
            {"evicted_live", stats.evicted_live}, {"unknown_tier", stats.unknown_tier},
            {"contended", stats.contended},       {"slots", stats.slots},
            {"debts", stats.debts},
        };
        fields(world, step, answer, COUNT(answer));
    } else {
        fb_verdict verdict;
        const fb_status said = ask(step, limiter, key, &verdict);
        CHECK(said == FB_OK || said == FB_DENIED);
        CHECK((said == FB_OK) == (verdict.retry_after_ns == 0));
        if (step->expect == EXPECT_NUMBER) {
            equal(world, step->verb, said == FB_OK, step->number);
        }
        told(world, step->fields, step->field_count, &verdict);
        if (step->message != NULL) {
            char words[256];
            fb_limiter_refusal(limiter, verdict.retry_after_ns, words, sizeof words);
            holds(world, said == FB_DENIED && strcmp(words, step->message) == 0, words, 0, 0);
        }
    }
    free(key.data);
}

static void counted(const struct world *world, const struct fb_case_step *step, fb_status said,
                    const fb_count *count) {
    CHECK(said == FB_OK || said == FB_DENIED);
    const struct named answer[] = {
        {"counted", said == FB_OK},
        {"count", count->count},
        {"resets_in_ns", count->resets_in_ns},
    };
    fields(world, step, answer, COUNT(answer));
}

static void on_window(const struct world *world, const struct fb_case_step *step,
                      fb_window *window) {
    const char *verb = step->verb;
    const struct owned key = spell(step->key);
    fb_count count = {UINT64_MAX, UINT64_MAX};
    if (strcmp(verb, "hit") == 0) {
        const int plain = step->cost == 1 && step->limit == UINT64_MAX;
        const fb_status said =
            plain ? fb_window_hit(window, key.data, key.length, step->ns, &count)
                  : fb_window_hit_with(window, key.data, key.length, step->ns, step->cost,
                                       step->limit, &count);
        if (step->code != NULL) {
            holds(world, strcmp(fb_status_name(said), step->code) == 0, step->code, 0, 0);
            holds(world, strcmp(sentence(), step->message) == 0, sentence(), 0, 0);
            equal(world, "count", count.count, UINT64_MAX);
        } else {
            counted(world, step, said, &count);
        }
    } else if (strcmp(verb, "get") == 0) {
        counted(world, step, fb_window_get(window, key.data, key.length, &count), &count);
    } else if (strcmp(verb, "decrement") == 0) {
        counted(world, step, fb_window_decrement(window, key.data, key.length, step->cost, &count),
                &count);
    } else if (strcmp(verb, "reset") == 0 || strcmp(verb, "unblock") == 0) {
        const fb_status said = (verb[0] == 'r' ? fb_window_reset : fb_window_unblock)(
            window, key.data, key.length);
        CHECK(said == FB_OK || said == FB_MISS);
        equal(world, verb, said == FB_OK, step->number);
    } else if (strcmp(verb, "block") == 0) {
        ANSWERS(FB_OK, fb_window_block(window, key.data, key.length, step->ns));
    } else if (strcmp(verb, "blocked_for") == 0) {
        uint64_t wait = UINT64_MAX;
        ANSWERS(FB_OK, fb_window_blocked_for(window, key.data, key.length, &wait));
        equal(world, "blocked_for", wait, step->number);
    } else if (strcmp(verb, "clear") == 0) {
        ANSWERS(FB_OK, fb_window_clear(window));
    } else if (strcmp(verb, "stats") == 0) {
        fb_window_stats stats = fb_window_stats_init();
        ANSWERS(FB_OK, fb_window_get_stats(window, &stats));
        const struct named answer[] = {
            {"hits", stats.hits},           {"refused", stats.refused},
            {"evicted_live", stats.evicted_live}, {"contended", stats.contended},
            {"slots", stats.slots},
        };
        fields(world, step, answer, COUNT(answer));
    } else {
        holds(world, 0, verb, 0, 0);
    }
    free(key.data);
}

static fb_lease *lease_named(struct world *world, const char *name) {
    for (size_t at = 0; at < world->lease_count; at++) {
        if (strcmp(world->leases[at].name, name) == 0) {
            return &world->leases[at].lease;
        }
    }
    if (!CHECK(world->lease_count < 32)) {
        exit(1);
    }
    world->leases[world->lease_count].name = name;
    return &world->leases[world->lease_count++].lease;
}

static void on_permits(struct world *world, const struct fb_case_step *step,
                       fb_permits *permits) {
    const char *verb = step->verb;
    const struct owned key = spell(step->key);
    if (strcmp(verb, "try_acquire") == 0) {
        fb_refusal refusal = {0, 0, 0};
        fb_lease lease = {0, 0};
        const fb_status said =
            fb_permits_try_acquire(permits, key.data, key.length, &lease, &refusal);
        CHECK(said == FB_OK || said == FB_DENIED);
        if (said == FB_OK) {
            *lease_named(world, step->permit) = lease;
        }
        equal(world, "try_acquire", said == FB_OK, step->expect == EXPECT_BYTES);
        const struct named answer[] = {
            {"refused", refusal.reason},
            {"retry_after_ns", refusal.retry_after_ns},
        };
        fields(world, step, answer, COUNT(answer));
    } else if (strcmp(verb, "release") == 0 || strcmp(verb, "renew") == 0) {
        fb_lease *lease = lease_named(world, step->permit);
        const fb_status said = strcmp(verb, "release") == 0 ? fb_permits_release(permits, lease)
                                                            : fb_permits_renew(permits, lease);
        CHECK(said == FB_OK || said == FB_LATE);
        equal(world, verb, said == FB_OK, step->number);
    } else if (strcmp(verb, "ends_in") == 0) {
        uint64_t ends_in = UINT64_MAX;
        ANSWERS(FB_OK, fb_permits_ends_in(permits, lease_named(world, step->permit), &ends_in));
        equal(world, "ends_in", ends_in, step->number);
    } else if (strcmp(verb, "in_use") == 0) {
        uint64_t leases = UINT64_MAX;
        ANSWERS(FB_OK, fb_permits_in_use(permits, key.data, key.length, &leases));
        equal(world, "in_use", leases, step->number);
    } else if (strcmp(verb, "stats") == 0) {
        fb_permits_stats stats = fb_permits_stats_init();
        ANSWERS(FB_OK, fb_permits_get_stats(permits, &stats));
        const struct named answer[] = {
            {"granted", stats.granted}, {"refused", stats.refused}, {"full", stats.full},
            {"busy", stats.busy},       {"expired", stats.expired}, {"reaped", stats.reaped},
        };
        fields(world, step, answer, COUNT(answer));
    } else {
        holds(world, 0, verb, 0, 0);
    }
    free(key.data);
}

static fb_limiter *limiter_named(const struct world *world, const char *name) {
    for (size_t at = 0; at < world->the_case->object_count; at++) {
        if (strcmp(world->the_case->objects[at].name, name) == 0) {
            return world->limiters[at];
        }
    }
    return NULL;
}

enum { MOST_PARTS = 16 };

/* Steps that are not on one object. */
static void on_none(const struct world *world, const struct fb_case_step *step) {
    struct owned keys[MOST_PARTS];
    struct owned tells[MOST_PARTS];
    fb_request requests[MOST_PARTS];
    fb_verdict verdicts[MOST_PARTS];
    fb_limit limits[MOST_PARTS];
    char text[2048];
    size_t length = 0;
    if (!CHECK(step->part_count <= MOST_PARTS)) {
        return;
    }
    for (size_t i = 0; i < step->part_count; i++) {
        const struct fb_case_part *part = &step->parts[i];
        keys[i] = spell(part->key);
        tells[i] = spell(part->tell);
        requests[i] =
            fb_request_of(limiter_named(world, part->on), keys[i].data, keys[i].length);
        requests[i].cost = part->cost;
        requests[i].tier = part->tier;
    }
    if (strcmp(step->verb, "take_all") == 0) {
        const fb_status said = fb_take_all(requests, step->part_count, verdicts);
        CHECK(said == FB_OK || said == FB_DENIED);
        equal(world, "take_all", said == FB_OK, step->number);
        for (size_t i = 0; i < step->part_count; i++) {
            told(world, step->parts[i].fields, step->parts[i].field_count, &verdicts[i]);
        }
    } else if (strcmp(step->verb, "headers") == 0) {
        for (size_t i = 0; i < step->part_count; i++) {
            const fb_request *of = &requests[i];
            const fb_status said = fb_limiter_take_with(of->limiter, of->key, of->key_len, of->cost,
                                                        of->tier, FB_NOW, &limits[i].verdict);
            CHECK(said == FB_OK || said == FB_DENIED);
            limits[i].name = step->parts[i].name;
            limits[i].key = step->parts[i].tell.data != NULL ? tells[i].data : NULL;
            limits[i].key_len = tells[i].length;
        }
        ANSWERS(FB_OK, fb_headers(limits, step->part_count, step->styles, step->ns, text,
                                  sizeof text, &length));
        holds(world, strlen(text) == length && strcmp(text, step->bytes.data) == 0, text, length,
              step->bytes.length);
    } else if (strcmp(step->verb, "client_address") == 0) {
        const char *forwarded = step->forwarded_for;
        const fb_status said = fb_client_address(
            step->peer, forwarded, forwarded != NULL ? strlen(forwarded) : 0,
            (size_t)step->trusted_hops, step->ipv6_prefix, text, sizeof text, &length);
        if (step->code != NULL) {
            holds(world, strcmp(fb_status_name(said), step->code) == 0, step->code, 0, 0);
            holds(world, strcmp(sentence(), step->message) == 0, sentence(), 0, 0);
        } else {
            equal(world, "client_address", (uint64_t)said, FB_OK);
            holds(world, strlen(text) == length && strcmp(text, step->bytes.data) == 0, text,
                  length, step->bytes.length);
        }
    } else {
        holds(world, 0, step->verb, 0, 0);
    }
    for (size_t i = 0; i < step->part_count; i++) {
        free(keys[i].data);
        free(tells[i].data);
    }
}

static void *grow(void *context, size_t length) {
    struct owned *to = (struct owned *)context;
    free(to->data);
    to->data = (char *)malloc(length + 1);
    return to->data;
}

static void on_cache(const struct world *world, const struct fb_case_step *step, fb_cache *cache) {
    const char *verb = step->verb;
    const struct owned key = spell(step->key);
    const struct owned value = spell(step->value);
    fb_status said = FB_OK;
    if (strcmp(verb, "set") == 0) {
        said = step->ttl_ns == 0 && step->codec == 0
                   ? fb_cache_set(cache, key.data, key.length, value.data, value.length)
                   : fb_cache_set_with(cache, key.data, key.length, value.data, value.length,
                                       step->ttl_ns, step->codec);
        CHECK(said == FB_OK || said == FB_NOT_STORED);
    } else if (strcmp(verb, "contains") == 0) {
        said = fb_cache_contains(cache, key.data, key.length);
    } else if (strcmp(verb, "delete") == 0) {
        said = fb_cache_delete(cache, key.data, key.length);
    } else if (strcmp(verb, "clear") == 0) {
        said = fb_cache_clear(cache);
    } else if (strcmp(verb, "len") == 0) {
        uint64_t entries = 0;
        ANSWERS(FB_OK, fb_cache_len(cache, &entries));
        equal(world, "len", entries, step->number);
    } else if (strcmp(verb, "get") == 0) {
        struct owned got = {NULL, 0};
        said = fb_cache_get_with(cache, key.data, key.length, grow, &got, &got.length);
        if (step->expect == EXPECT_NULL) {
            equal(world, "get", (uint64_t)said, FB_MISS);
        } else if (step->expect == EXPECT_BYTES) {
            equal(world, "get", (uint64_t)said, FB_OK);
            holds(world, said == FB_OK && same(got, step->bytes), "value", got.length,
                  step->bytes.length * step->bytes.times);
        }
        free(got.data);
    } else if (strcmp(verb, "entry") == 0) {
        static char buf[1 << 20];
        struct owned got = {buf, 0};
        fb_entry entry = fb_entry_init();
        said = fb_cache_entry(cache, key.data, key.length, buf, sizeof buf, &got.length, &entry);
        equal(world, "entry", (uint64_t)said, step->expect == EXPECT_NULL ? FB_MISS : FB_OK);
        if (step->bytes.data != NULL && said == FB_OK) {
            holds(world, same(got, step->bytes), "value", got.length, step->bytes.length);
        }
        const struct named answer[] = {
            {"codec", entry.codec},
            {"version", entry.version},
            {"age_ns", entry.age_ns},
            {"ttl_ns", entry.ttl_ns},
        };
        fields(world, step, answer, COUNT(answer));
    } else if (strcmp(verb, "stats") == 0) {
        fb_cache_stats stats = fb_cache_stats_init();
        ANSWERS(FB_OK, fb_cache_get_stats(cache, &stats));
        const struct named answer[] = {
            {"hits", stats.hits},
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
            {"shards", stats.shards},
        };
        fields(world, step, answer, COUNT(answer));
    } else {
        holds(world, 0, verb, 0, 0);
    }
    if (step->expect == EXPECT_NUMBER && strcmp(verb, "len") != 0) {
        equal(world, verb, said == FB_OK, step->number);
    }
    free(key.data);
    free(value.data);
}

static void on_breaker(struct world *world, const struct fb_case_step *step, fb_breaker *breaker) {
    const char *verb = step->verb;
    if (strcmp(verb, "enter") == 0) {
        uint64_t permit = 0, wait = 0;
        const fb_status said = fb_breaker_enter(breaker, &permit, &wait);
        CHECK(said == FB_OK || said == FB_REJECTED);
        if (step->expect == EXPECT_BYTES) {
            equal(world, "enter", said == FB_OK, strcmp(step->bytes.data, "permit") == 0);
            if (step->number != UINT64_MAX) {
                equal(world, "retry_after_ns", wait, step->number);
            }
        }
        if (said == FB_OK && step->permit != NULL && CHECK(world->permit_count < 32)) {
            world->permit_names[world->permit_count] = step->permit;
            world->permits[world->permit_count++] = permit;
        }
    } else if (strcmp(verb, "state") == 0) {
        uint32_t state = 99;
        ANSWERS(FB_OK, fb_breaker_state(breaker, &state));
        holds(world, strcmp(fb_state_name(state), step->bytes.data) == 0, step->bytes.data, state,
              0);
    } else if (strcmp(verb, "stats") == 0) {
        fb_breaker_stats stats = fb_breaker_stats_init();
        ANSWERS(FB_OK, fb_breaker_get_stats(breaker, &stats));
        const struct named answer[] = {
            {"successes", stats.successes}, {"failures", stats.failures},
            {"ignored", stats.ignored},     {"rejected", stats.rejected},
            {"late", stats.late},           {"opened", stats.opened},
            {"half_opened", stats.half_opened}, {"closed", stats.closed},
            {"probes", stats.probes},
        };
        fields(world, step, answer, COUNT(answer));
    } else {
        fb_status (*const say)(const fb_breaker *, uint64_t) =
            strcmp(verb, "success") == 0   ? fb_breaker_success
            : strcmp(verb, "failure") == 0 ? fb_breaker_failure
            : strcmp(verb, "ignore") == 0  ? fb_breaker_ignore
                                           : NULL;
        size_t at = world->permit_count;
        /* The newest of that name. */
        while (at > 0 && strcmp(world->permit_names[at - 1], step->permit) != 0) {
            at--;
        }
        if (CHECK(say != NULL && at > 0)) {
            const fb_status said = say(breaker, world->permits[at - 1]);
            CHECK(said == FB_OK || said == FB_LATE);
        }
    }
}

static void on_histogram(const struct world *world, const struct fb_case_step *step,
                         fb_histogram *histogram) {
    const char *verb = step->verb;
    if (strcmp(verb, "record") == 0) {
        ANSWERS(FB_OK, fb_histogram_record_ns(histogram, step->ns));
    } else if (strcmp(verb, "percentile") == 0) {
        uint64_t ns = 0;
        const fb_status said = fb_histogram_percentile(histogram, step->percent, &ns);
        if (step->expect == EXPECT_NULL) {
            equal(world, "percentile", (uint64_t)said, FB_EMPTY);
        } else {
            equal(world, "percentile", (uint64_t)said, FB_OK);
            equal(world, "percentile", ns, step->number);
        }
    } else if (strcmp(verb, "snapshot") == 0) {
        fb_snapshot snapshot = fb_snapshot_init();
        ANSWERS(FB_OK, fb_histogram_snapshot(histogram, &snapshot));
        const struct named answer[] = {
            {"count", snapshot.count},
            {"sum_ns", snapshot.sum_ns},
            {"min_ns", snapshot.count > 0 ? snapshot.min_ns : FB_NEVER},
            {"max_ns", snapshot.count > 0 ? snapshot.max_ns : FB_NEVER},
        };
        fields(world, step, answer, COUNT(answer));
    } else {
        holds(world, 0, verb, 0, 0);
    }
}

static void take_step(struct world *world, const struct fb_case_step *step) {
    if (strcmp(step->verb, "advance") == 0) {
        ANSWERS(FB_OK, fb_region_advance(world->region, step->ns));
        return;
    }
    if (step->on == NULL) {
        on_none(world, step);
        return;
    }
    for (size_t at = 0; at < world->the_case->object_count; at++) {
        if (strcmp(world->the_case->objects[at].name, step->on) == 0) {
            if (world->limiters[at] != NULL) {
                on_limiter(world, step, world->limiters[at]);
            } else if (world->caches[at] != NULL) {
                on_cache(world, step, world->caches[at]);
            } else if (world->breakers[at] != NULL) {
                on_breaker(world, step, world->breakers[at]);
            } else if (world->windows[at] != NULL) {
                on_window(world, step, world->windows[at]);
            } else if (world->permit_pools[at] != NULL) {
                on_permits(world, step, world->permit_pools[at]);
            } else {
                on_histogram(world, step, world->histograms[at]);
            }
            return;
        }
    }
    holds(world, 0, "no such object", 0, 0);
}

static void run_case(const struct fb_case *the_case) {
    struct world world;
    memset(&world, 0, sizeof world);
    world.the_case = the_case;
    step_number = 0;
    for (size_t at = 0; at < the_case->object_count; at++) {
        if (the_case->objects[at].cannot_be_said) {
            printf("left out: \"%s\" (C has no way to say it)\n", the_case->name);
            return;
        }
    }
    fb_region_options options = fb_region_options_init();
    options.bytes = 4 << 20;
    options.flags = FB_REGION_MANUAL_CLOCK;
    ANSWERS(FB_OK, fb_region_open(&options, &world.region));
    if (the_case->error_code != NULL) {
        const fb_status said = open_object(&world, 0);
        const int right = strcmp(fb_status_name(said), the_case->error_code) == 0 &&
                          strcmp(sentence(), the_case->error_message) == 0;
        if (!right) {
            fprintf(stderr, "got %s, \"%s\"\n", fb_status_name(said), sentence());
        }
        holds(&world, right, "error", (uint64_t)said, 0);
    } else if (CHECK(the_case->object_count <= 8)) {
        for (size_t at = 0; at < the_case->object_count; at++) {
            ANSWERS(FB_OK, open_object(&world, at));
        }
        for (size_t at = 0; at < the_case->step_count; at++) {
            step_number = at + 1;
            for (uint64_t times = 0; times < the_case->steps[at].times; times++) {
                take_step(&world, &the_case->steps[at]);
            }
        }
    }
    for (size_t at = 0; at < 8; at++) {
        fb_limiter_close(world.limiters[at]);
        fb_cache_close(world.caches[at]);
        fb_breaker_close(world.breakers[at]);
        fb_histogram_close(world.histograms[at]);
        fb_window_close(world.windows[at]);
        fb_permits_close(world.permit_pools[at]);
    }
    ANSWERS(FB_OK, fb_region_close(world.region));
}

int main(void) {
    for (size_t at = 0; at < CASES; at++) {
        run_case(&cases[at]);
    }
    printf("%d cases\n", (int)CASES);
    return finish();
}
