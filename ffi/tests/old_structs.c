/* Callers whose header is older or newer than the library: the same calls with
 * structs that are shorter or longer than ours. */
#include "check.h"

#include <stddef.h>

static fb_region *region;

/* Fills what lies beyond a short struct, to see that it is neither read nor written. */
#define FENCE 0xAB

static int intact(const unsigned char *bytes, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        if (bytes[i] != FENCE) {
            return 0;
        }
    }
    return 1;
}

static int zero(const unsigned char *bytes, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        if (bytes[i] != 0) {
            return 0;
        }
    }
    return 1;
}

static void shorter_options_have_the_defaults(void) {
    union {
        fb_cache_options options;
        unsigned char bytes[sizeof(fb_cache_options)];
    } old;
    /* A header that knew only `bytes`. */
    memset(&old, FENCE, sizeof old);
    old.options.struct_size = offsetof(fb_cache_options, max_entries);
    old.options.reserved = 0;
    old.options.bytes = 1 << 20;
    fb_cache *cache = NULL;
    ANSWERS(FB_OK, fb_cache_open(region, "old", &old.options, &cache));
    fb_cache_stats stats = fb_cache_stats_init();
    ANSWERS(FB_OK, fb_cache_get_stats(cache, &stats));
    CHECK(stats.max_entries == (1 << 20) / 512);
    ANSWERS(FB_OK, fb_cache_close(cache));

    /* The shortest that can be: nothing but the size. */
    old.options.struct_size = 4;
    old.options.reserved = 77;
    ANSWERS(FB_OK, fb_cache_open(region, "none", &old.options, &cache));
    ANSWERS(FB_OK, fb_cache_close(cache));
    old.options.struct_size = 3;
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_cache_open(region, "none", &old.options, &cache));

    union {
        fb_breaker_options options;
        unsigned char bytes[sizeof(fb_breaker_options)];
    } breaker;
    memset(&breaker, FENCE, sizeof breaker);
    breaker.options.struct_size = offsetof(fb_breaker_options, failure_rate);
    breaker.options.failure_threshold = 1;
    fb_breaker *opened = NULL;
    uint64_t permit = 0;
    uint32_t state = 0;
    ANSWERS(FB_OK, fb_breaker_open(region, "old breaker", &breaker.options, &opened));
    ANSWERS(FB_OK, fb_breaker_enter(opened, &permit, NULL));
    ANSWERS(FB_OK, fb_breaker_failure(opened, permit));
    ANSWERS(FB_OK, fb_breaker_state(opened, &state));
    CHECK(state == FB_STATE_OPEN);
    ANSWERS(FB_OK, fb_breaker_close(opened));

    union {
        fb_limiter_options options;
        unsigned char bytes[sizeof(fb_limiter_options)];
    } limiter;
    memset(&limiter, FENCE, sizeof limiter);
    limiter.options.struct_size = offsetof(fb_limiter_options, tiers);
    limiter.options.reserved = 0;
    limiter.options.rate = fb_rate_text("3/s");
    fb_limiter *limits = NULL;
    ANSWERS(FB_OK, fb_limiter_open(region, "old limiter", &limiter.options, &limits));
    ANSWERS(FB_OK, fb_limiter_take_with(limits, "k", 1, 3, NULL, FB_NOW, NULL));
    ANSWERS(FB_OK, fb_limiter_close(limits));
    /* A header that ended with max_keys, of limiters that were buckets only. */
    limiter.options.struct_size = offsetof(fb_limiter_options, rates);
    limiter.options.tiers = NULL;
    limiter.options.tier_count = 0;
    limiter.options.max_keys = 0;
    ANSWERS(FB_OK, fb_limiter_open(region, "old limiter", &limiter.options, &limits));
    ANSWERS(FB_DENIED, fb_limiter_take(limits, "k", 1, NULL));
    ANSWERS(FB_OK, fb_limiter_close(limits));
    fb_limiter_options sliding = fb_limiter_options_init();
    sliding.rate = fb_rate_text("3/s");
    sliding.algorithm = FB_ALGORITHM_SLIDING;
    sliding.on_full = FB_ON_FULL_STRICT;
    sliding.max_keys = 1000;
    ANSWERS(FB_OK, fb_limiter_open(region, "new limiter", &sliding, &limits));
    ANSWERS(FB_OK, fb_limiter_close(limits));
    /* It takes what is there, whose algorithm it has no word for. */
    ANSWERS(FB_OK, fb_limiter_open(region, "new limiter", &limiter.options, &limits));
    ANSWERS(FB_OK, fb_limiter_close(limits));

    union {
        fb_permits_options options;
        unsigned char bytes[sizeof(fb_permits_options)];
    } permits;
    memset(&permits, FENCE, sizeof permits);
    permits.options.struct_size = offsetof(fb_permits_options, lease_ns);
    permits.options.reserved = 0;
    permits.options.limit = 1;
    fb_permits *few = NULL;
    fb_lease lease;
    uint64_t ends_in = 0;
    ANSWERS(FB_OK, fb_permits_open(region, "old permits", &permits.options, &few));
    ANSWERS(FB_OK, fb_permits_try_acquire(few, "k", 1, &lease, NULL));
    ANSWERS(FB_OK, fb_permits_ends_in(few, &lease, &ends_in));
    CHECK(ends_in > UINT64_C(50000000000) && ends_in <= UINT64_C(60001000000));
    ANSWERS(FB_OK, fb_permits_close(few));

    union {
        fb_window_options options;
        unsigned char bytes[sizeof(fb_window_options)];
    } window;
    memset(&window, FENCE, sizeof window);
    window.options.struct_size = offsetof(fb_window_options, max_keys);
    window.options.reserved = 0;
    fb_window *hits = NULL;
    fb_window_stats stats_of_hits = fb_window_stats_init();
    ANSWERS(FB_OK, fb_window_open(region, "old window", &window.options, &hits));
    ANSWERS(FB_OK, fb_window_get_stats(hits, &stats_of_hits));
    CHECK(stats_of_hits.slots == 131072);
    ANSWERS(FB_OK, fb_window_close(hits));

    union {
        fb_region_options options;
        unsigned char bytes[sizeof(fb_region_options)];
    } old_region;
    memset(&old_region, FENCE, sizeof old_region);
    old_region.options.struct_size = offsetof(fb_region_options, bytes);
    old_region.options.flags = 0;
    old_region.options.name_or_path = NULL;
    fb_region *another = NULL;
    ANSWERS(FB_OK, fb_region_open(&old_region.options, &another));
    ANSWERS(FB_OK, fb_region_close(another));
}

static void longer_options_must_be_zero_where_they_are_unknown(void) {
    struct {
        fb_cache_options options;
        uint64_t newer[4];
    } newer;
    memset(&newer, 0, sizeof newer);
    newer.options.struct_size = sizeof newer;
    fb_cache *cache = NULL;
    ANSWERS(FB_OK, fb_cache_open(region, "newer", &newer.options, &cache));
    ANSWERS(FB_OK, fb_cache_close(cache));
    cache = NULL;
    newer.newer[3] = 1;
    FAILS(FB_E_INVALID_ARGUMENT,
          "options: got 80 bytes, with an option set that this library does not know; "
          "allowed: 48 bytes, and zero after them",
          fb_cache_open(region, "newer", &newer.options, &cache));
    newer.newer[3] = UINT64_C(1) << 63;
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_cache_open(region, "newer", &newer.options, &cache));
    newer.newer[3] = 0;
    newer.newer[0] = 256;
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_cache_open(region, "newer", &newer.options, &cache));
    CHECK(cache == NULL);

    struct {
        fb_histogram_options options;
        uint64_t newer;
    } histogram_options;
    memset(&histogram_options, 0, sizeof histogram_options);
    histogram_options.options.struct_size = sizeof histogram_options;
    fb_histogram *histogram = NULL;
    ANSWERS(FB_OK, fb_histogram_open(region, "h", &histogram_options.options, &histogram));
    ANSWERS(FB_OK, fb_histogram_close(histogram));
    histogram_options.newer = 5;
    ANSWERS(FB_E_INVALID_ARGUMENT,
            fb_histogram_open(region, "h", &histogram_options.options, &histogram));
}

static void answers_are_cut_or_completed(void) {
    union {
        fb_region_stats stats;
        unsigned char bytes[sizeof(fb_region_stats) + 64];
    } told;

    /* An older caller gets what it knows, and nothing is written behind it. */
    memset(&told, FENCE, sizeof told);
    told.stats.struct_size = offsetof(fb_region_stats, used);
    ANSWERS(FB_OK, fb_region_get_stats(region, &told.stats));
    CHECK(told.stats.struct_size == offsetof(fb_region_stats, used));
    CHECK(told.stats.shared == 0 && told.stats.bytes == 16 << 20);
    CHECK(intact(told.bytes, offsetof(fb_region_stats, used), sizeof told));

    memset(&told, FENCE, sizeof told);
    told.stats.struct_size = 4;
    ANSWERS(FB_OK, fb_region_get_stats(region, &told.stats));
    CHECK(intact(told.bytes, 4, sizeof told));

    /* A newer caller's further fields become zero. */
    memset(&told, FENCE, sizeof told);
    told.stats.struct_size = sizeof(fb_region_stats) + 32;
    ANSWERS(FB_OK, fb_region_get_stats(region, &told.stats));
    CHECK(told.stats.struct_size == sizeof(fb_region_stats) + 32);
    CHECK(zero(told.bytes, sizeof(fb_region_stats), sizeof(fb_region_stats) + 32));
    CHECK(intact(told.bytes, sizeof(fb_region_stats) + 32, sizeof told));

    /* One that was never set is refused, and nothing is written. */
    memset(&told, FENCE, sizeof told);
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_get_stats(region, &told.stats));
    told.stats.struct_size = 0;
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_get_stats(region, &told.stats));
    CHECK(intact(told.bytes, 4, sizeof told));

    union {
        fb_snapshot snapshot;
        unsigned char bytes[sizeof(fb_snapshot) + 8];
    } snapshot;
    fb_histogram *histogram = NULL;
    ANSWERS(FB_OK, fb_histogram_open(region, "h", NULL, &histogram));
    ANSWERS(FB_OK, fb_histogram_record_ns(histogram, 5));
    memset(&snapshot, FENCE, sizeof snapshot);
    snapshot.snapshot.struct_size = offsetof(fb_snapshot, mean_ns);
    ANSWERS(FB_OK, fb_histogram_snapshot(histogram, &snapshot.snapshot));
    CHECK(snapshot.snapshot.count == 1 && snapshot.snapshot.sum_ns == 5);
    CHECK(intact(snapshot.bytes, offsetof(fb_snapshot, mean_ns), sizeof snapshot));
    ANSWERS(FB_OK, fb_histogram_close(histogram));
}

/* All statistics, from a caller who knows them up to `last` and from one who
 * knows 16 bytes more. */
#define CUT_AND_COMPLETED(type, call, handle, last)                                         \
    do {                                                                                    \
        union {                                                                             \
            type stats;                                                                     \
            unsigned char bytes[sizeof(type) + 24];                                         \
        } told;                                                                             \
        type whole = type##_init();                                                         \
        ANSWERS(FB_OK, call(handle, &whole));                                               \
        memset(&told, FENCE, sizeof told);                                                  \
        told.stats.struct_size = offsetof(type, last);                                      \
        ANSWERS(FB_OK, call(handle, &told.stats));                                          \
        CHECK(memcmp(told.bytes + 4, (unsigned char *)&whole + 4, offsetof(type, last) - 4) \
              == 0);                                                                        \
        CHECK(intact(told.bytes, offsetof(type, last), sizeof told));                       \
        memset(&told, FENCE, sizeof told);                                                  \
        told.stats.struct_size = sizeof(type) + 16;                                         \
        ANSWERS(FB_OK, call(handle, &told.stats));                                          \
        CHECK(memcmp(told.bytes + 4, (unsigned char *)&whole + 4, sizeof(type) - 4) == 0);  \
        CHECK(zero(told.bytes, sizeof(type), sizeof(type) + 16));                           \
        CHECK(intact(told.bytes, sizeof(type) + 16, sizeof told));                          \
    } while (0)

static void statistics_are_cut_or_completed(void) {
    fb_limiter_options options = fb_limiter_options_init();
    options.rate = fb_rate_text("1/s");
    options.max_keys = 1000;
    fb_limiter *limiter = NULL;
    ANSWERS(FB_OK, fb_limiter_open(region, "limiter", &options, &limiter));
    ANSWERS(FB_OK, fb_limiter_take(limiter, "k", 1, NULL));
    ANSWERS(FB_DENIED, fb_limiter_take(limiter, "k", 1, NULL));
    ANSWERS(FB_DENIED, fb_limiter_penalize(limiter, "k", 1, 1, NULL));
    CUT_AND_COMPLETED(fb_limiter_stats, fb_limiter_get_stats, limiter, contended);
    /* A header that ended with slots. */
    CUT_AND_COMPLETED(fb_limiter_stats, fb_limiter_get_stats, limiter, debts);
    ANSWERS(FB_OK, fb_limiter_close(limiter));

    fb_cache_options small = fb_cache_options_init();
    small.bytes = 64 << 10;
    fb_cache *cache = NULL;
    ANSWERS(FB_OK, fb_cache_open(region, "cache", &small, &cache));
    ANSWERS(FB_OK, fb_cache_set(cache, "k", 1, "v", 1));
    CUT_AND_COMPLETED(fb_cache_stats, fb_cache_get_stats, cache, max_item);
    ANSWERS(FB_OK, fb_cache_close(cache));

    fb_breaker *breaker = NULL;
    fb_breaker_options defaults = fb_breaker_options_init();
    uint64_t permit = 0;
    ANSWERS(FB_OK, fb_breaker_open(region, "breaker", &defaults, &breaker));
    ANSWERS(FB_OK, fb_breaker_enter(breaker, &permit, NULL));
    ANSWERS(FB_OK, fb_breaker_success(breaker, permit));
    CUT_AND_COMPLETED(fb_breaker_stats, fb_breaker_get_stats, breaker, probes);
    ANSWERS(FB_OK, fb_breaker_close(breaker));

    fb_window *window = NULL;
    ANSWERS(FB_OK, fb_window_open(region, "old window", NULL, &window));
    ANSWERS(FB_OK, fb_window_hit(window, "k", 1, 1000000, NULL));
    CUT_AND_COMPLETED(fb_window_stats, fb_window_get_stats, window, contended);
    ANSWERS(FB_OK, fb_window_close(window));

    fb_permits *permits = NULL;
    fb_lease lease;
    ANSWERS(FB_OK, fb_permits_open(region, "old permits", NULL, &permits));
    ANSWERS(FB_DENIED, fb_permits_try_acquire(permits, "k", 1, &lease, NULL));
    CUT_AND_COMPLETED(fb_permits_stats, fb_permits_get_stats, permits, busy);
    ANSWERS(FB_OK, fb_permits_close(permits));

    CUT_AND_COMPLETED(fb_region_stats, fb_region_get_stats, region, events_dropped);
}

/* No version of a struct ends within a field: half a pointer would point to
 * nowhere, half a number is another number. Such a size is refused before any
 * field is read or written. */
#define NOT_CUT(type, open, fields)                                                         \
    do {                                                                                    \
        union {                                                                             \
            type options;                                                                   \
            unsigned char bytes[sizeof(type) + 64];                                         \
        } cut;                                                                              \
        for (uint32_t size = 0; size <= sizeof cut; size++) {                               \
            if (size == 4 || (size > 4 && size % sizeof(fields) == 0)) {                    \
                continue;                                                                   \
            }                                                                               \
            memset(&cut, FENCE, sizeof cut);                                                \
            cut.options.struct_size = size;                                                 \
            ANSWERS(FB_E_INVALID_ARGUMENT, open);                                           \
            CHECK(strncmp(sentence(), "struct_size: got ", 17) == 0);                  \
            CHECK(intact(cut.bytes, 4, sizeof cut));                                        \
        }                                                                                   \
    } while (0)

static void sizes_that_cut_a_field_are_refused(void) {
    fb_region *no_region = NULL;
    fb_limiter *no_limiter = NULL;
    fb_cache *no_cache = NULL;
    fb_breaker *no_breaker = NULL;
    fb_histogram *no_histogram = NULL;
    NOT_CUT(fb_region_options, fb_region_open(&cut.options, &no_region), uint64_t);
    NOT_CUT(fb_limiter_options, fb_limiter_open(region, "cut", &cut.options, &no_limiter),
            uint64_t);
    NOT_CUT(fb_cache_options, fb_cache_open(region, "cut", &cut.options, &no_cache), uint64_t);
    NOT_CUT(fb_breaker_options, fb_breaker_open(region, "cut", &cut.options, &no_breaker),
            uint64_t);
    NOT_CUT(fb_histogram_options, fb_histogram_open(region, "cut", &cut.options, &no_histogram),
            uint32_t);
    fb_window *no_window = NULL;
    fb_permits *no_permits = NULL;
    NOT_CUT(fb_window_options, fb_window_open(region, "cut", &cut.options, &no_window), uint64_t);
    NOT_CUT(fb_permits_options, fb_permits_open(region, "cut", &cut.options, &no_permits),
            uint64_t);
    CHECK(no_window == NULL && no_permits == NULL);
    CHECK(no_region == NULL && no_limiter == NULL && no_cache == NULL);
    CHECK(no_breaker == NULL && no_histogram == NULL);
    ANSWERS(FB_E_NOT_FOUND, fb_limiter_open(region, "cut", NULL, &no_limiter));
    NOT_CUT(fb_region_stats, fb_region_get_stats(region, &cut.options), uint64_t);

    /* Cut between two fields, half of a text's pointer would be read as NULL
     * or as anything: `name_or_path` counts as a whole or not at all. */
    const char *const path = "/nonexistent/region";
    fb_region_options options = fb_region_options_init();
    options.name_or_path = path;
    options.struct_size = offsetof(fb_region_options, name_or_path) + 4;
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_open(&options, &no_region));
    options.struct_size = offsetof(fb_region_options, name_or_path) + sizeof path;
    ANSWERS(FB_E_IO, fb_region_open(&options, &no_region));
    options.struct_size = offsetof(fb_region_options, name_or_path);
    ANSWERS(FB_OK, fb_region_open(&options, &no_region));
    ANSWERS(FB_OK, fb_region_close(no_region));
}

/* Those without struct_size are in arrays and in each other: they have one size,
 * and nothing is written behind them. */
static void other_structs_do_not_grow(void) {
    if (sizeof(void *) == 8) {
        CHECK(sizeof(fb_rate) == 32 && sizeof(fb_tier) == 40);
        CHECK(sizeof(fb_refused_key) == 80 && offsetof(fb_refused_key, key) == 32);
        CHECK(sizeof(fb_tier_stats) == 56 && offsetof(fb_tier_stats, admitted) == 32);
        CHECK(sizeof(fb_count) == 16 && sizeof(fb_lease) == 16 && sizeof(fb_refusal) == 16);
        CHECK(sizeof(fb_verdict) == 40 && offsetof(fb_verdict, window_ns) == 32);
        CHECK(sizeof(fb_request) == 48 && offsetof(fb_request, now_ns) == 40);
        CHECK(sizeof(fb_limit) == 64 && offsetof(fb_limit, verdict) == 8 &&
              offsetof(fb_limit, key) == 48);
    }
    union {
        fb_verdict verdicts[3];
        unsigned char bytes[3 * sizeof(fb_verdict)];
    } told;
    fb_limiter_options options = fb_limiter_options_init();
    options.rate = fb_rate_text("1/s burst 2");
    fb_limiter *limiter = NULL;
    ANSWERS(FB_OK, fb_limiter_open(region, "verdicts", &options, &limiter));
    const fb_request requests[] = {fb_request_of(limiter, "a", 1), fb_request_of(limiter, "b", 1)};
    memset(&told, FENCE, sizeof told);
    ANSWERS(FB_OK, fb_take_all(requests, 2, told.verdicts));
    CHECK(told.verdicts[1].remaining == 1 && told.verdicts[1].window_ns == UINT64_C(2000000000));
    CHECK(intact(told.bytes, 2 * sizeof(fb_verdict), sizeof told));
    memset(&told, FENCE, sizeof told);
    ANSWERS(FB_OK, fb_limiter_take(limiter, "c", 1, told.verdicts));
    CHECK(told.verdicts[0].window_ns == UINT64_C(2000000000));
    CHECK(intact(told.bytes, sizeof(fb_verdict), sizeof told));
    ANSWERS(FB_OK, fb_limiter_close(limiter));
}

int main(void) {
    ANSWERS(FB_OK, fb_region_open(NULL, &region));
    sizes_that_cut_a_field_are_refused();
    other_structs_do_not_grow();
    shorter_options_have_the_defaults();
    longer_options_must_be_zero_where_they_are_unknown();
    answers_are_cut_or_completed();
    statistics_are_cut_or_completed();
    ANSWERS(FB_OK, fb_region_close(region));
    return finish();
}
