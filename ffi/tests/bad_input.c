/* What must not be passed, passed: each time a code and a sentence, and nothing
 * else happens. */
#include "check.h"

#include <math.h>
#include <stdlib.h>

static fb_region *region;
static fb_limiter *limiter;
static fb_cache *cache;
static fb_breaker *breaker;
static fb_histogram *histogram;
static fb_window *window;
static fb_permits *permits;

static void open_all(void) {
    fb_region_options options = fb_region_options_init();
    options.flags = FB_REGION_MANUAL_CLOCK;
    fb_limiter_options limiter_options = fb_limiter_options_init();
    limiter_options.rate = fb_rate_text("1000/s");
    fb_cache_options cache_options = fb_cache_options_init();
    fb_breaker_options breaker_options = fb_breaker_options_init();
    ANSWERS(FB_OK, fb_region_open(&options, &region));
    ANSWERS(FB_OK, fb_limiter_open(region, "l", &limiter_options, &limiter));
    ANSWERS(FB_OK, fb_cache_open(region, "c", &cache_options, &cache));
    ANSWERS(FB_OK, fb_breaker_open(region, "b", &breaker_options, &breaker));
    ANSWERS(FB_OK, fb_histogram_open(region, "h", NULL, &histogram));
    fb_window_options window_options = fb_window_options_init();
    fb_permits_options permits_options = fb_permits_options_init();
    permits_options.limit = 2;
    ANSWERS(FB_OK, fb_window_open(region, "w", &window_options, &window));
    ANSWERS(FB_OK, fb_permits_open(region, "p", &permits_options, &permits));
}

static void *never(void *context, size_t length) {
    (void)length;
    *(int *)context = 1;
    return NULL;
}

/* All functions with these handles answer `code`. */
static void all_with(fb_status code, fb_region *r, fb_limiter *l, fb_cache *c, fb_breaker *b,
                     fb_histogram *h, fb_window *w, fb_permits *p) {
    char buf[64];
    size_t len = 77, count = 77;
    uint64_t number = 77;
    fb_reservation place = {1, {77, 77, 77, 77}};
    uint32_t state = 77;
    int asked = 0;
    fb_verdict verdict = {7, 7, 7, 7, 7};
    fb_object objects[8];
    fb_event events[8];
    fb_bucket buckets[8];
    const double percent = 50;
    fb_limiter *new_l = NULL;
    fb_cache *new_c = NULL;
    fb_breaker *new_b = NULL;
    fb_histogram *new_h = NULL;
    fb_region_stats region_stats = fb_region_stats_init();
    fb_limiter_stats limiter_stats = fb_limiter_stats_init();
    fb_cache_stats cache_stats = fb_cache_stats_init();
    fb_breaker_stats breaker_stats = fb_breaker_stats_init();
    fb_snapshot snapshot = fb_snapshot_init();
    fb_entry entry = fb_entry_init();
    fb_window *new_w = NULL;
    fb_permits *new_p = NULL;
    fb_window_stats window_stats = fb_window_stats_init();
    fb_permits_stats permits_stats = fb_permits_stats_init();
    fb_refused_key refused[2];
    fb_tier_stats tiers[2];
    fb_count seen = {77, 77};
    fb_lease lease = {77, 77};
    fb_refusal refusal = {FB_REASON_LIMIT, 0, 77};

    ANSWERS(code, fb_region_now(r, &number));
    ANSWERS(code, fb_region_advance(r, 1));
    ANSWERS(code, fb_region_path(r, buf, sizeof buf, &len));
    ANSWERS(code, fb_region_get_stats(r, &region_stats));
    ANSWERS(code, fb_region_objects(r, objects, 8, &count));
    ANSWERS(code, fb_region_events(r, 0, events, 8, &count, &number, &number));
    ANSWERS(code, fb_limiter_open(r, "l", NULL, &new_l));
    ANSWERS(code, fb_cache_open(r, "c", NULL, &new_c));
    ANSWERS(code, fb_breaker_open(r, "b", NULL, &new_b));
    ANSWERS(code, fb_histogram_open(r, "h", NULL, &new_h));
    ANSWERS(code, fb_window_open(r, "w", NULL, &new_w));
    ANSWERS(code, fb_permits_open(r, "p", NULL, &new_p));
    CHECK(new_l == NULL && new_c == NULL && new_b == NULL && new_h == NULL);
    CHECK(new_w == NULL && new_p == NULL);

    ANSWERS(code, fb_limiter_take(l, "k", 1, &verdict));
    ANSWERS(code, fb_limiter_take_with(l, "k", 1, 1, NULL, FB_NOW, &verdict));
    ANSWERS(code, fb_limiter_peek(l, "k", 1, &verdict));
    ANSWERS(code, fb_limiter_peek_with(l, "k", 1, 1, NULL, FB_NOW, &verdict));
    ANSWERS(code, fb_limiter_reset(l, "k", 1));
    ANSWERS(code, fb_limiter_refund(l, "k", 1, 1, &verdict));
    ANSWERS(code, fb_limiter_refund_with(l, "k", 1, 1, NULL, &verdict));
    ANSWERS(code, fb_limiter_penalize(l, "k", 1, 1, &verdict));
    ANSWERS(code, fb_limiter_penalize_with(l, "k", 1, 1, NULL, FB_NOW, &verdict));
    ANSWERS(code, fb_limiter_block(l, "k", 1, 1));
    ANSWERS(code, fb_limiter_unblock(l, "k", 1));
    ANSWERS(code, fb_limiter_reserve(l, "k", 1, 1, &number, &place, &verdict));
    ANSWERS(code, fb_limiter_reserve_with(l, "k", 1, 1, NULL, FB_NOW, 1, &number, &place, &verdict));
    ANSWERS(code, fb_limiter_until_due(l, 1, &number));
    ANSWERS(code, fb_limiter_cancel(l, "k", 1, &place));
    ANSWERS(code, fb_limiter_cancel_with(l, "k", 1, 1, NULL, &place));
    ANSWERS(code, fb_limiter_acquire(l, "k", 1, FB_NEVER, &verdict));
    ANSWERS(code, fb_limiter_acquire_with(l, "k", 1, 1, NULL, FB_NOW, FB_NEVER, &verdict));
    const fb_request request = fb_request_of(l, "k", 1);
    ANSWERS(code, fb_take_all(&request, 1, &verdict));
    ANSWERS(code, fb_limiter_clear(l));
    ANSWERS(code, fb_limiter_top_refused(l, refused, 2, &count));
    ANSWERS(code, fb_limiter_mark(l, "k", 1, &number));
    ANSWERS(code, fb_limiter_forget_refused(l));
    ANSWERS(code, fb_limiter_tier_stats(l, tiers, 2, &count));
    CHECK(fb_limiter_name(l, buf, sizeof buf) == 0);
    CHECK(fb_limiter_refusal(l, 1, buf, sizeof buf) == 0);
    ANSWERS(code, fb_limiter_get_stats(l, &limiter_stats));
    CHECK(verdict.limit == 7 && verdict.window_ns == 7 && limiter_stats.slots == 0);

    ANSWERS(code, fb_cache_get(c, "k", 1, buf, sizeof buf, &len));
    ANSWERS(code, fb_cache_get_with(c, "k", 1, never, &asked, &len));
    ANSWERS(code, fb_cache_entry(c, "k", 1, buf, sizeof buf, &len, &entry));
    ANSWERS(code, fb_cache_contains(c, "k", 1));
    ANSWERS(code, fb_cache_set(c, "k", 1, "v", 1));
    ANSWERS(code, fb_cache_set_with(c, "k", 1, "v", 1, 0, 0));
    ANSWERS(code, fb_cache_delete(c, "k", 1));
    ANSWERS(code, fb_cache_clear(c));
    ANSWERS(code, fb_cache_len(c, &number));
    ANSWERS(code, fb_cache_get_stats(c, &cache_stats));
    CHECK(!asked && cache_stats.shards == 0 && entry.version == 0);

    ANSWERS(code, fb_breaker_enter(b, &number, &number));
    ANSWERS(code, fb_breaker_success(b, 1));
    ANSWERS(code, fb_breaker_failure(b, 1));
    ANSWERS(code, fb_breaker_ignore(b, 1));
    ANSWERS(code, fb_breaker_state(b, &state));
    ANSWERS(code, fb_breaker_get_stats(b, &breaker_stats));
    CHECK(fb_breaker_rejection(b, 1, buf, sizeof buf) == 0 && state == 77);

    ANSWERS(code, fb_histogram_record_ns(h, 1));
    ANSWERS(code, fb_histogram_percentile(h, 50, &number));
    ANSWERS(code, fb_histogram_percentiles(h, &percent, &number, 1));
    ANSWERS(code, fb_histogram_snapshot(h, &snapshot));
    ANSWERS(code, fb_histogram_buckets(h, buckets, 8, &count));

    ANSWERS(code, fb_window_hit(w, "k", 1, 1000000, &seen));
    ANSWERS(code, fb_window_hit_with(w, "k", 1, 1000000, 1, 1, &seen));
    ANSWERS(code, fb_window_get(w, "k", 1, &seen));
    ANSWERS(code, fb_window_decrement(w, "k", 1, 1, &seen));
    ANSWERS(code, fb_window_reset(w, "k", 1));
    ANSWERS(code, fb_window_block(w, "k", 1, 1));
    ANSWERS(code, fb_window_blocked_for(w, "k", 1, &number));
    ANSWERS(code, fb_window_unblock(w, "k", 1));
    ANSWERS(code, fb_window_clear(w));
    ANSWERS(code, fb_window_get_stats(w, &window_stats));
    CHECK(seen.count == 77 && seen.resets_in_ns == 77 && window_stats.slots == 0);

    ANSWERS(code, fb_permits_try_acquire(p, "k", 1, &lease, &refusal));
    ANSWERS(code, fb_permits_release(p, &lease));
    ANSWERS(code, fb_permits_renew(p, &lease));
    ANSWERS(code, fb_permits_ends_in(p, &lease, &number));
    ANSWERS(code, fb_permits_in_use(p, "k", 1, &number));
    ANSWERS(code, fb_permits_get_stats(p, &permits_stats));
    CHECK(fb_permits_refusal(p, &refusal, buf, sizeof buf) == 0);
    CHECK(lease.record == 77 && lease.word == 77 && refusal.retry_after_ns == 77);
    CHECK(len == 77 && count == 77 && number == 77);
}

static void null_handles(void) {
    all_with(FB_E_INVALID_ARGUMENT, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    FAILS(FB_E_INVALID_ARGUMENT, "limiter: got NULL; allowed: an open limiter handle",
          fb_limiter_take(NULL, "k", 1, NULL));
    ANSWERS(FB_OK, fb_region_close(NULL));
    ANSWERS(FB_OK, fb_limiter_close(NULL));
    ANSWERS(FB_OK, fb_cache_close(NULL));
    ANSWERS(FB_OK, fb_breaker_close(NULL));
    ANSWERS(FB_OK, fb_histogram_close(NULL));
    ANSWERS(FB_OK, fb_window_close(NULL));
    ANSWERS(FB_OK, fb_permits_close(NULL));
}

static void handles_of_another_kind(void) {
    all_with(FB_E_INVALID_ARGUMENT, (fb_region *)limiter, (fb_limiter *)cache, (fb_cache *)breaker,
             (fb_breaker *)histogram, (fb_histogram *)region, (fb_window *)permits,
             (fb_permits *)window);
    FAILS(FB_E_INVALID_ARGUMENT, "window: got a permits handle; allowed: an open window handle",
          fb_window_clear((fb_window *)permits));
    FAILS(FB_E_INVALID_ARGUMENT, "permits: got a window handle; allowed: an open permits handle",
          fb_permits_close((fb_permits *)window));
    FAILS(FB_E_INVALID_ARGUMENT, "limiter: got a cache handle; allowed: an open limiter handle",
          fb_limiter_take((fb_limiter *)cache, "k", 1, NULL));
    FAILS(FB_E_INVALID_ARGUMENT, "cache: got a region handle; allowed: an open cache handle",
          fb_cache_close((fb_cache *)region));
    uint64_t words[4] = {0, 0, 0, 0};
    FAILS(FB_E_INVALID_ARGUMENT,
          "region: got a pointer that is no handle; allowed: an open region handle",
          fb_region_advance((fb_region *)words, 1));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_close((fb_region *)words));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_close((fb_region *)((char *)words + 1)));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_advance((fb_region *)((char *)words + 3), 1));
}

static void closed_handles(void) {
    fb_region *r = region;
    fb_limiter *l = limiter;
    fb_cache *c = cache;
    fb_breaker *b = breaker;
    fb_histogram *h = histogram;
    fb_window *w = window;
    fb_permits *p = permits;
    ANSWERS(FB_OK, fb_region_close(r));
    ANSWERS(FB_OK, fb_limiter_close(l));
    ANSWERS(FB_OK, fb_cache_close(c));
    ANSWERS(FB_OK, fb_breaker_close(b));
    ANSWERS(FB_OK, fb_histogram_close(h));
    ANSWERS(FB_OK, fb_window_close(w));
    ANSWERS(FB_OK, fb_permits_close(p));
    all_with(FB_E_CLOSED, r, l, c, b, h, w, p);
    FAILS(FB_E_CLOSED, "the region is closed", fb_region_close(r));
    FAILS(FB_E_CLOSED, "the limiter is closed", fb_limiter_close(l));
    FAILS(FB_E_CLOSED, "the cache is closed", fb_cache_close(c));
    FAILS(FB_E_CLOSED, "the breaker is closed", fb_breaker_close(b));
    FAILS(FB_E_CLOSED, "the histogram is closed", fb_histogram_close(h));
    FAILS(FB_E_CLOSED, "the window is closed", fb_window_close(w));
    FAILS(FB_E_CLOSED, "the permits is closed", fb_permits_close(p));
    open_all();
    /* Their memory was not given to the new ones. */
    all_with(FB_E_CLOSED, r, l, c, b, h, w, p);
    /* Handles come and go without end, each its own while it is open. */
    for (int i = 0; i < 2000; i++) {
        fb_histogram *one = NULL;
        fb_histogram *two = NULL;
        if (fb_histogram_open(region, "h", NULL, &one) != FB_OK ||
            fb_histogram_open(region, "h", NULL, &two) != FB_OK || one == two ||
            fb_histogram_close(one) != FB_OK || fb_histogram_close(two) != FB_OK) {
            CHECK(!"handles come and go");
            break;
        }
    }
}

static void places_that_are_null(void) {
    fb_region_options options = fb_region_options_init();
    fb_limiter_options limiter_options = fb_limiter_options_init();
    limiter_options.rate = fb_rate_text("1/s");
    char buf[8];
    size_t n = 0;
    uint64_t number = 0;
    FAILS(FB_E_INVALID_ARGUMENT, "region: got NULL; allowed: a pointer to write to",
          fb_region_open(&options, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_now(region, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_path(region, buf, sizeof buf, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_path(region, NULL, 4, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_get_stats(region, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_objects(region, NULL, 1, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_objects(region, NULL, 0, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_events(region, 0, NULL, 1, &n, &number, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_events(region, 0, NULL, 0, NULL, &number, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_events(region, 0, NULL, 0, &n, NULL, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_open(region, "n", &limiter_options, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_cache_open(region, "n", NULL, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_breaker_open(region, "n", NULL, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_histogram_open(region, "n", NULL, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_get_stats(limiter, NULL));
    FAILS(FB_E_INVALID_ARGUMENT, "wait_ns: got NULL; allowed: a pointer to write to",
          fb_limiter_reserve(limiter, "k", 1, 0, NULL, NULL, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT,
            fb_limiter_reserve_with(limiter, "k", 1, 1, NULL, FB_NOW, 0, NULL, NULL, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_until_due(limiter, 0, NULL));
    FAILS(FB_E_INVALID_ARGUMENT, "reservation: got NULL; allowed: a pointer to write to",
          fb_limiter_cancel(limiter, "k", 1, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_cancel_with(limiter, "k", 1, 1, NULL, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_take_all(NULL, 1, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_headers(NULL, 1, "legacy", 0, buf, sizeof buf, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_headers(NULL, 0, NULL, 0, buf, sizeof buf, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_headers(NULL, 0, "", 0, NULL, 1, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_headers(NULL, 0, "", 0, buf, sizeof buf, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_client_address(NULL, NULL, 0, 0, 64, buf, sizeof buf, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_client_address("::1", NULL, 1, 0, 64, buf, sizeof buf, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_client_address("::1", NULL, 0, 0, 64, NULL, 8, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_client_address("::1", NULL, 0, 0, 64, buf, 8, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_cache_get(cache, "k", 1, buf, sizeof buf, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_cache_get(cache, "k", 1, NULL, 1, &n));
    FAILS(FB_E_INVALID_ARGUMENT, "place: got NULL; allowed: a function",
          fb_cache_get_with(cache, "k", 1, NULL, NULL, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_cache_get_with(cache, "k", 1, never, NULL, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_cache_entry(cache, "k", 1, buf, sizeof buf, &n, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_cache_len(cache, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_cache_get_stats(cache, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_breaker_enter(breaker, NULL, &number));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_breaker_state(breaker, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_breaker_get_stats(breaker, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_histogram_percentile(histogram, 50, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_histogram_percentiles(histogram, NULL, &number, 1));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_histogram_snapshot(histogram, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_histogram_buckets(histogram, NULL, 0, NULL));
    fb_window_options window_options = fb_window_options_init();
    fb_permits_options permits_options = fb_permits_options_init();
    permits_options.limit = 1;
    fb_lease lease = {7, 7};
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_window_open(region, "n", &window_options, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_permits_open(region, "n", &permits_options, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_top_refused(limiter, NULL, 1, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_top_refused(limiter, NULL, 0, NULL));
    FAILS(FB_E_INVALID_ARGUMENT,
          "stats: got NULL with a length of 1; allowed: NULL only with a length of 0",
          fb_limiter_tier_stats(limiter, NULL, 1, &n));
    FAILS(FB_E_INVALID_ARGUMENT, "count: got NULL; allowed: a pointer to write to",
          fb_limiter_tier_stats(limiter, NULL, 0, NULL));
    FAILS(FB_E_INVALID_ARGUMENT, "mark: got NULL; allowed: a pointer to write to",
          fb_limiter_mark(limiter, "k", 1, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_window_get(window, "k", 1, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_window_blocked_for(window, "k", 1, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_window_get_stats(window, NULL));
    FAILS(FB_E_INVALID_ARGUMENT, "lease: got NULL; allowed: a pointer to write to",
          fb_permits_try_acquire(permits, "k", 1, NULL, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_permits_release(permits, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_permits_renew(permits, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_permits_ends_in(permits, NULL, &number));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_permits_ends_in(permits, &lease, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_permits_in_use(permits, "k", 1, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_permits_get_stats(permits, NULL));
    CHECK(fb_permits_refusal(permits, NULL, buf, sizeof buf) == 0);
    /* A refused open leaves nothing behind. */
    fb_limiter *none = NULL;
    ANSWERS(FB_E_NOT_FOUND, fb_limiter_open(region, "n", NULL, &none));
    fb_window *no_window = NULL;
    ANSWERS(FB_E_NOT_FOUND, fb_window_open(region, "n", NULL, &no_window));
    /* A place at an odd address is not written to. */
    uint64_t words[2] = {0, 0};
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_now(region, (uint64_t *)(void *)((char *)words + 1)));
    ANSWERS(FB_E_INVALID_ARGUMENT,
            fb_limiter_take(limiter, "k", 1, (fb_verdict *)(void *)((char *)words + 1)));
    ANSWERS(FB_E_INVALID_ARGUMENT,
            fb_limiter_tier_stats(limiter, (fb_tier_stats *)(void *)((char *)words + 1), 1, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT,
            fb_limiter_reserve(limiter, "k", 1, 0, &number,
                               (fb_reservation *)(void *)((char *)words + 1), NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT,
            fb_limiter_cancel(limiter, "k", 1, (fb_reservation *)(void *)((char *)words + 1)));
    ANSWERS(FB_E_INVALID_ARGUMENT,
            fb_limiter_acquire(limiter, "k", 1, 0, (fb_verdict *)(void *)((char *)words + 1)));
    const fb_request request = fb_request_of(limiter, "k", 1);
    ANSWERS(FB_E_INVALID_ARGUMENT,
            fb_take_all(&request, 1, (fb_verdict *)(void *)((char *)words + 1)));
    ANSWERS(FB_E_INVALID_ARGUMENT,
            fb_window_hit(window, "k", 1, 1000000, (fb_count *)(void *)((char *)words + 1)));
    ANSWERS(FB_E_INVALID_ARGUMENT,
            fb_permits_try_acquire(permits, "k", 1, (fb_lease *)(void *)((char *)words + 1), NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT,
            fb_permits_try_acquire(permits, "k", 1, &lease,
                                   (fb_refusal *)(void *)((char *)words + 1)));
    ANSWERS(FB_E_INVALID_ARGUMENT,
            fb_permits_renew(permits, (fb_lease *)(void *)((char *)words + 1)));
    fb_count seen;
    ANSWERS(FB_OK, fb_window_get(window, "k", 1, &seen));
    ANSWERS(FB_OK, fb_permits_in_use(permits, "k", 1, &number));
    CHECK(seen.count == 0 && number == 0 && lease.record == 7);
    /* Nothing was spent before the place was looked at. */
    fb_verdict verdict;
    ANSWERS(FB_OK, fb_limiter_peek(limiter, "k", 1, &verdict));
    CHECK(verdict.remaining == 1000);
    CHECK(words[0] == 0 && words[1] == 0);
}

static void lengths(void) {
    char buf[8];
    size_t n = 0;
    FAILS(FB_E_INVALID_ARGUMENT,
          "key: got NULL with a length of 3; allowed: NULL only with a length of 0",
          fb_limiter_take(limiter, NULL, 3, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_reset(limiter, NULL, 1));
    uint64_t wait = 0;
    const fb_reservation place = {FB_NEVER, {1, 1, 1, 1}};
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_refund(limiter, NULL, 1, 1, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_penalize(limiter, NULL, 1, 1, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_block(limiter, NULL, 1, 1));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_unblock(limiter, NULL, 1));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_reserve(limiter, NULL, 1, 1, &wait, NULL, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_cancel(limiter, NULL, 1, &place));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_acquire(limiter, NULL, 1, 1, NULL));
    ANSWERS(FB_E_TOO_LARGE, fb_limiter_block(limiter, "k", SIZE_MAX, 1));
    ANSWERS(FB_E_TOO_LARGE, fb_limiter_acquire(limiter, "k", SIZE_MAX, 1, NULL));
    ANSWERS(FB_E_TOO_LARGE, fb_headers((const fb_limit *)(const void *)&wait, SIZE_MAX, "", 0, buf,
                                       sizeof buf, &n));
    ANSWERS(FB_E_TOO_LARGE, fb_client_address("::1", "", SIZE_MAX, 0, 64, buf, sizeof buf, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_mark(limiter, NULL, 1, &wait));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_window_hit(window, NULL, 1, 1000000, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_window_block(window, NULL, 1, 1));
    ANSWERS(FB_E_TOO_LARGE, fb_window_decrement(window, "k", SIZE_MAX, 1, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_permits_in_use(permits, NULL, 1, &wait));
    ANSWERS(FB_E_TOO_LARGE, fb_permits_in_use(permits, "k", SIZE_MAX, &wait));
    ANSWERS(FB_E_TOO_LARGE, fb_limiter_top_refused(limiter, (fb_refused_key *)(void *)buf, SIZE_MAX,
                                                   &n));
    ANSWERS(FB_E_TOO_LARGE, fb_limiter_tier_stats(limiter, (fb_tier_stats *)(void *)buf, SIZE_MAX,
                                                  &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_cache_set(cache, NULL, 1, "v", 1));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_cache_set(cache, "k", 1, NULL, 1));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_cache_get(cache, NULL, 1, buf, sizeof buf, &n));
    FAILS(FB_E_TOO_LARGE,
          "key: 18446744073709551615 bytes; allowed: at most 9223372036854775807",
          fb_limiter_take(limiter, "k", SIZE_MAX, NULL));
    ANSWERS(FB_E_TOO_LARGE, fb_limiter_peek(limiter, "k", (size_t)PTRDIFF_MAX + 1, NULL));
    ANSWERS(FB_E_TOO_LARGE, fb_cache_set(cache, "k", SIZE_MAX, "v", 1));
    ANSWERS(FB_E_TOO_LARGE, fb_cache_set(cache, "k", 1, "v", SIZE_MAX));
    ANSWERS(FB_E_TOO_LARGE, fb_cache_delete(cache, "k", SIZE_MAX));
    ANSWERS(FB_E_TOO_LARGE, fb_cache_contains(cache, "k", SIZE_MAX));
    ANSWERS(FB_E_TOO_LARGE, fb_cache_get(cache, "k", 1, buf, SIZE_MAX, &n));
    ANSWERS(FB_MISS, fb_cache_contains(cache, "k", 1));

    const void *parts[] = {"a", NULL};
    const size_t lens[] = {1, 2};
    const size_t huge[] = {1, SIZE_MAX};
    const size_t large[] = {1, (size_t)UINT32_MAX + 1};
    const void *large_parts[] = {"a", "b"};
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_key_join(parts, lens, 2, buf, sizeof buf, &n));
    ANSWERS(FB_E_TOO_LARGE, fb_key_join(large_parts, huge, 2, buf, sizeof buf, &n));
    FAILS(FB_E_TOO_LARGE, "part: 4294967296 bytes; allowed: at most 4294967295",
          fb_key_join(large_parts, large, 2, buf, sizeof buf, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_key_join(NULL, lens, 2, buf, sizeof buf, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_key_join(large_parts, NULL, 2, buf, sizeof buf, &n));
    ANSWERS(FB_E_TOO_LARGE, fb_key_join(large_parts, lens, SIZE_MAX, buf, sizeof buf, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_key_join(large_parts, lens, 1, NULL, 9, &n));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_key_join(large_parts, lens, 1, buf, sizeof buf, NULL));
    ANSWERS(FB_E_TOO_LARGE, fb_histogram_buckets(histogram, (fb_bucket *)(void *)buf, SIZE_MAX, &n));

    /* Long keys are keys to a limiter; a cache does not store what it cannot hold. */
    const size_t length = 1 << 20;
    char *long_key = (char *)malloc(length);
    memset(long_key, 'x', length);
    ANSWERS(FB_OK, fb_limiter_take(limiter, long_key, length, NULL));
    ANSWERS(FB_NOT_STORED, fb_cache_set(cache, long_key, length, "v", 1));
    ANSWERS(FB_MISS, fb_cache_get(cache, long_key, length, buf, sizeof buf, &n));
    free(long_key);
}

static void names(void) {
    fb_histogram *none = NULL;
    fb_region *no_region = NULL;
    char name[100];
    FAILS(FB_E_INVALID_ARGUMENT, "name: got NULL; allowed: a text that ends with NUL",
          fb_histogram_open(region, NULL, NULL, &none));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_histogram_open(region, "", NULL, &none));
    FAILS(FB_E_INVALID_ARGUMENT, "name: got \"\\xff\\xfe\"; allowed: UTF-8",
          fb_histogram_open(region, "\xff\xfe", NULL, &none));
    memset(name, 'n', sizeof name);
    name[48] = 0;
    ANSWERS(FB_OK, fb_histogram_open(region, name, NULL, &none));
    fb_object objects[16];
    size_t count = 0;
    ANSWERS(FB_OK, fb_region_objects(region, objects, 16, &count));
    CHECK(count == 7 && strcmp(objects[6].name, name) == 0);
    ANSWERS(FB_OK, fb_histogram_close(none));
    name[48] = 'n';
    name[49] = 0;
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_histogram_open(region, name, NULL, &none));

    fb_region_options options = fb_region_options_init();
    const char *const bad[] = {"", ".", "..", ".hidden", "a b", "caf\xc3\xa9", "\xff", "a\nb"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        options.name_or_path = bad[i];
        ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_open(&options, &no_region));
    }
    CHECK(no_region == NULL);
}

static void region_options(void) {
    fb_region *none = NULL;
    fb_region_options options = fb_region_options_init();
    options.flags = 0x80;
    FAILS(FB_E_INVALID_ARGUMENT, "flags: got 0x80; allowed: a sum of FB_REGION_ flags",
          fb_region_open(&options, &none));
    options = fb_region_options_init();
    options.reserved = 1;
    FAILS(FB_E_INVALID_ARGUMENT, "reserved: got 1; allowed: 0", fb_region_open(&options, &none));
    options = fb_region_options_init();
    options.bytes = 1;
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_open(&options, &none));
    options.bytes = UINT64_MAX;
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_open(&options, &none));
    options = fb_region_options_init();
    options.mode = 0666;
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_open(&options, &none));
    options = fb_region_options_init();
    options.struct_size = 0;
    FAILS(FB_E_INVALID_ARGUMENT,
          "struct_size: got 0; allowed: the struct's size, as its _init function sets it",
          fb_region_open(&options, &none));
    options.struct_size = UINT32_MAX;
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_open(&options, &none));
    CHECK(none == NULL);
}

static void limiter_options(void) {
    fb_limiter *none = NULL;
    fb_limiter_options options = fb_limiter_options_init();
#define REFUSED ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_open(region, "new", &options, &none))
    REFUSED; /* no rate */
    options.rate = fb_rate_text("many");
    REFUSED;
    options.rate = fb_rate_text("");
    REFUSED;
    options.rate = fb_rate_text("\xff");
    REFUSED;
    options.rate = fb_rate_text("5/s");
    options.rate.count = 5;
    FAILS(FB_E_INVALID_ARGUMENT, "rate: got \"5/s\" and numbers; allowed: a text, or numbers",
          fb_limiter_open(region, "new", &options, &none));
    options.rate = fb_rate_per(0, 1000, 0);
    REFUSED;
    options.rate = fb_rate_per(5, 0, 0);
    REFUSED;
    options.rate = fb_rate_per(UINT64_MAX - 1, UINT64_MAX, UINT64_MAX);
    REFUSED;
    options.rate = fb_rate_per(1, UINT64_MAX, 1000000);
    REFUSED;
    options.rate = fb_rate_text("5/s");
    options.reserved = 1;
    REFUSED;
    options.reserved = 0;
    options.max_keys = UINT64_MAX;
    REFUSED;
    options.max_keys = 0;
    options.tier_count = 1;
    REFUSED; /* no tiers */
    fb_tier tiers[20];
    char names[20][8];
    for (int i = 0; i < 20; i++) {
        snprintf(names[i], sizeof names[i], "t%d", i);
        tiers[i].name = names[i];
        tiers[i].rate = fb_rate_text("5/s");
    }
    options.tiers = tiers;
    options.tier_count = 20;
    REFUSED;
    options.tier_count = 1;
    tiers[0].name = NULL;
    REFUSED;
    tiers[0].name = "";
    REFUSED;
    tiers[0].name = "a name that has more than 31 bytes in it";
    REFUSED;
    tiers[0].name = "t";
    tiers[0].rate = fb_rate_text("no rate");
    REFUSED;
    options.tier_count = SIZE_MAX;
    ANSWERS(FB_E_TOO_LARGE, fb_limiter_open(region, "new", &options, &none));
    tiers[0].rate = fb_rate_text("5/s");
    for (int i = 1; i < 5; i++) {
        tiers[i] = tiers[0];
    }
    options.tier_count = 5;
    FAILS(FB_E_INVALID_ARGUMENT, "rate: got 5 rates; allowed: 1 to 4 rates",
          fb_limiter_open(region, "new", &options, &none));
    options.tier_count = 0;

    /* Several rates. */
    const fb_rate rates[] = {fb_rate_text("1/s"), fb_rate_text("2/s and 3/s"), fb_rate_text("4/s"),
                             fb_rate_text("5/s"), fb_rate_unlimited(), fb_rate_text("6/s"),
                             fb_rate_per(7, 0, 0)};
    options.rates = rates;
    options.rate_count = 1;
    FAILS(FB_E_INVALID_ARGUMENT, "rate: got rate and rates; allowed: one of them",
          fb_limiter_open(region, "new", &options, &none));
    options.rate = fb_rate_per(0, 0, 5);
    REFUSED;
    options.rate = fb_rate_per(0, 0, 0);
    options.rate_count = 4;
    FAILS(FB_E_INVALID_ARGUMENT, "rate: got 5 rates; allowed: 1 to 4 rates",
          fb_limiter_open(region, "new", &options, &none));
    options.rates = rates + 4;
    options.rate_count = 2;
    REFUSED; /* unlimited beside others */
    options.rates = rates + 5;
    REFUSED;
    options.rates = NULL;
    REFUSED;
    options.rates = rates;
    options.rate_count = SIZE_MAX;
    ANSWERS(FB_E_TOO_LARGE, fb_limiter_open(region, "new", &options, &none));
    options.rate_count = 0;
    REFUSED; /* no rate at all */
    const char *const texts[] = {"1/s and", "and 1/s", " and ", "1/s and and 2/s", "1/s, 2/s",
                                 "1/s and 2/s and 3/s and 4/s and 5/s", "unlimited and 1/s"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        options.rate = fb_rate_text(texts[i]);
        REFUSED;
        CHECK(strncmp(sentence(), "rate: ", 6) == 0);
    }

    /* Numbers that no name has. */
    const uint32_t numbers[] = {4, 77, UINT32_MAX};
    options.rate = fb_rate_text("5/s");
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        options.algorithm = numbers[i];
        REFUSED;
        CHECK(strncmp(sentence(), "algorithm: ", 11) == 0);
        options.algorithm = 0;
        options.on_full = numbers[i];
        REFUSED;
        CHECK(strncmp(sentence(), "on_full: ", 9) == 0);
        options.on_full = 0;
        options.on_error = numbers[i];
        REFUSED;
        CHECK(strncmp(sentence(), "on_error: ", 10) == 0);
        options.on_error = 0;
        options.flags = numbers[i];
        REFUSED;
        CHECK(strncmp(sentence(), "flags: ", 7) == 0);
        options.flags = 0;
    }
    options.on_full = 3;
    FAILS(FB_E_INVALID_ARGUMENT, "on_full: got 3; allowed: 0 or an fb_on_full",
          fb_limiter_open(region, "new", &options, &none));
    options.on_full = 0;
    options.algorithm = FB_ALGORITHM_SLIDING;
    options.rate = fb_rate_per(5, 1, 0); /* shorter than a window can be */
    REFUSED;
    options.rate = fb_rate_per(5, UINT64_C(1000000000), 6); /* a window has no burst */
    REFUSED;
#undef REFUSED
    ANSWERS(FB_E_NOT_FOUND, fb_limiter_open(region, "new", NULL, &none));
    CHECK(none == NULL);

    FAILS(FB_E_INVALID_ARGUMENT, "tier: got \"\\xff\"; allowed: UTF-8",
          fb_limiter_take_with(limiter, "k", 1, 1, "\xff", FB_NOW, NULL));
    /* No cost wraps round to an admission. */
    const uint64_t costs[] = {1001, UINT32_MAX, UINT64_C(1) << 53, (UINT64_C(1) << 53) + 1,
                              UINT64_C(1) << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
        fb_verdict verdict;
        ANSWERS(FB_DENIED, fb_limiter_take_with(limiter, "c", 1, costs[i], NULL, FB_NOW, &verdict));
        CHECK(verdict.remaining == 1000 && verdict.retry_after_ns == FB_NEVER);
    }
}

static void verbs_of_a_limiter(void) {
    fb_verdict verdict;
    uint64_t wait = 77;
    fb_reservation place = {77, {77, 77, 77, 77}};
    FAILS(FB_E_INVALID_ARGUMENT, "tier: got \"\\xff\"; allowed: UTF-8",
          fb_limiter_refund_with(limiter, "v", 1, 1, "\xff", NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT,
            fb_limiter_penalize_with(limiter, "v", 1, 1, "\xff", FB_NOW, NULL));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_reserve_with(limiter, "v", 1, 1, "\xff", FB_NOW, 0,
                                                           &wait, &place, &verdict));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_limiter_cancel_with(limiter, "v", 1, 1, "\xff", &place));
    ANSWERS(FB_E_INVALID_ARGUMENT,
            fb_limiter_acquire_with(limiter, "v", 1, 1, "\xff", FB_NOW, 0, NULL));
    CHECK(wait == 77 && place.due_ns == 77 && place.words[0] == 77);
    ANSWERS(FB_OK, fb_limiter_peek(limiter, "v", 1, &verdict));
    CHECK(verdict.remaining == 1000);

    /* The largest numbers wrap nowhere. */
    ANSWERS(FB_OK, fb_limiter_refund(limiter, "v", 1, UINT64_MAX, &verdict));
    CHECK(verdict.remaining == 1000 && verdict.limit == 1000);
    ANSWERS(FB_DENIED, fb_limiter_reserve_with(limiter, "v", 1, UINT64_MAX, NULL, FB_NOW, FB_NEVER,
                                               &wait, &place, &verdict));
    CHECK(wait == 77 && place.due_ns == 77 && place.words[0] == 77 && verdict.retry_after_ns == FB_NEVER);
    ANSWERS(FB_DENIED, fb_limiter_acquire_with(limiter, "v", 1, UINT64_MAX, NULL, FB_NOW, FB_NEVER,
                                               &verdict));
    ANSWERS(FB_DENIED, fb_limiter_penalize(limiter, "v", 1, UINT64_MAX, &verdict));
    CHECK(verdict.remaining == 0 && verdict.retry_after_ns > UINT64_C(1) << 56 &&
          verdict.retry_after_ns < UINT64_C(1) << 58);
    ANSWERS(FB_DENIED, fb_limiter_penalize(limiter, "v", 1, UINT64_MAX, &verdict));
    /* A debt of years is too long a wait, whatever is asked for. */
    ANSWERS(FB_DENIED, fb_limiter_reserve(limiter, "v", 1, FB_NEVER, &wait, &place, &verdict));
    ANSWERS(FB_DENIED, fb_limiter_acquire(limiter, "v", 1, FB_NEVER, &verdict));
    CHECK(wait == 77 && place.due_ns == 77 && place.words[0] == 77);
    ANSWERS(FB_OK, fb_limiter_reset(limiter, "v", 1));
    ANSWERS(FB_OK, fb_limiter_block(limiter, "v", 1, FB_NEVER));
    ANSWERS(FB_DENIED, fb_limiter_peek(limiter, "v", 1, &verdict));
    CHECK(verdict.retry_after_ns > UINT64_C(1) << 56 && verdict.retry_after_ns < FB_NEVER);
    ANSWERS(FB_OK, fb_limiter_unblock(limiter, "v", 1));
    ANSWERS(FB_OK, fb_limiter_until_due(limiter, FB_NEVER, &wait));
    CHECK(wait > UINT64_C(1) << 63);
    /* No reservation: nothing to give back to a full bucket. */
    place.due_ns = 0;
    ANSWERS(FB_LATE, fb_limiter_cancel(limiter, "v", 1, &place));
    memset(&place, 0xff, sizeof place);
    ANSWERS(FB_OK, fb_limiter_cancel_with(limiter, "v", 1, UINT64_MAX, NULL, &place));
    /* Nor more than the cost, nor anything where nothing was charged. */
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "v", 1, 5, NULL, FB_NOW, NULL));
    ANSWERS(FB_OK, fb_limiter_cancel(limiter, "v", 1, &place));
    ANSWERS(FB_OK, fb_limiter_peek(limiter, "v", 1, &verdict));
    CHECK(verdict.remaining == 996);
    memset(&place.words, 0, sizeof place.words);
    ANSWERS(FB_OK, fb_limiter_cancel_with(limiter, "v", 1, 4, NULL, &place));
    ANSWERS(FB_OK, fb_limiter_peek(limiter, "v", 1, &verdict));
    CHECK(verdict.remaining == 996);
    ANSWERS(FB_OK, fb_limiter_reset(limiter, "v", 1));
    ANSWERS(FB_OK, fb_limiter_peek(limiter, "v", 1, &verdict));
    CHECK(verdict.remaining == 1000);
}

static void windows(void) {
    fb_window *none = NULL;
    fb_window_options options = fb_window_options_init();
    options.reserved = 1;
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_window_open(region, "new", &options, &none));
    options.reserved = 0;
    options.max_keys = UINT64_MAX;
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_window_open(region, "new", &options, &none));
    CHECK(strncmp(sentence(), "max_keys: ", 10) == 0);
    ANSWERS(FB_E_NOT_FOUND, fb_window_open(region, "new", NULL, &none));
    CHECK(none == NULL);

    fb_count seen = {77, 77};
    const uint64_t lengths_ns[] = {0, 1, 999999, UINT64_C(1) << 60, FB_NEVER};
    for (size_t i = 0; i < sizeof lengths_ns / sizeof *lengths_ns; i++) {
        ANSWERS(FB_E_INVALID_ARGUMENT, fb_window_hit(window, "v", 1, lengths_ns[i], &seen));
        CHECK(strncmp(sentence(), "window: ", 8) == 0);
        ANSWERS(FB_E_INVALID_ARGUMENT,
                fb_window_hit_with(window, "v", 1, lengths_ns[i], 1, 1, &seen));
    }
    CHECK(seen.count == 77);
    ANSWERS(FB_OK, fb_window_get(window, "v", 1, &seen));
    CHECK(seen.count == 0);
    /* The largest numbers wrap nowhere. */
    ANSWERS(FB_DENIED, fb_window_hit_with(window, "v", 1, 1000000, UINT64_MAX, 5, &seen));
    CHECK(seen.count == 0 && seen.resets_in_ns == 0);
    ANSWERS(FB_DENIED, fb_window_hit_with(window, "v", 1, 1000000, 1, 0, &seen));
    ANSWERS(FB_OK, fb_window_hit_with(window, "v", 1, 1000000, UINT64_MAX, FB_UNLIMITED, &seen));
    CHECK(seen.count == 8388607);
    ANSWERS(FB_OK, fb_window_hit(window, "v", 1, 1000000, &seen));
    CHECK(seen.count == 8388607);
    ANSWERS(FB_DENIED, fb_window_hit_with(window, "v", 1, 1000000, 1, UINT64_MAX - 1, &seen));
    ANSWERS(FB_OK, fb_window_block(window, "v", 1, FB_NEVER));
    uint64_t wait = 0;
    ANSWERS(FB_OK, fb_window_blocked_for(window, "v", 1, &wait));
    CHECK(wait > UINT64_C(1) << 56 && wait < UINT64_C(1) << 58);
    ANSWERS(FB_OK, fb_window_reset(window, "v", 1));
}

static void leases(void) {
    fb_permits *none = NULL;
    fb_permits_options options = fb_permits_options_init();
#define REFUSED(what)                                                                              \
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_permits_open(region, "new", &options, &none));               \
    CHECK(strncmp(sentence(), what, strlen(what)) == 0)
    REFUSED("limit: got 0"); /* no limit */
    options.limit = 4097;
    REFUSED("limit: ");
    options.limit = UINT64_MAX;
    REFUSED("limit: ");
    options.limit = 10;
    options.lease_ns = UINT64_MAX;
    REFUSED("lease: ");
    options.lease_ns = 0;
    options.max_leases = 9;
    REFUSED("max_leases: ");
    options.max_leases = UINT64_MAX;
    REFUSED("max_leases: ");
    options.max_leases = 0;
    options.reserved = 1;
    REFUSED("reserved: ");
#undef REFUSED
    ANSWERS(FB_E_NOT_FOUND, fb_permits_open(region, "new", NULL, &none));
    CHECK(none == NULL);

    /* Numbers that are no leases, while there is one. */
    fb_lease held;
    uint64_t number = 77;
    ANSWERS(FB_OK, fb_permits_try_acquire(permits, "v", 1, &held, NULL));
    const uint64_t numbers[] = {0, 1, 12345, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        for (size_t j = 0; j < sizeof numbers / sizeof *numbers; j++) {
            fb_lease lease = {numbers[i], numbers[j]};
            ANSWERS(FB_LATE, fb_permits_release(permits, &lease));
            ANSWERS(FB_LATE, fb_permits_renew(permits, &lease));
            CHECK(lease.record == numbers[i] && lease.word == numbers[j]);
            ANSWERS(FB_OK, fb_permits_ends_in(permits, &lease, &number));
        }
        fb_lease lease = {held.record, numbers[i]};
        ANSWERS(FB_LATE, fb_permits_release(permits, &lease));
        lease = held;
        lease.record ^= numbers[i] | 1;
        ANSWERS(FB_LATE, fb_permits_release(permits, &lease));
    }
    ANSWERS(FB_OK, fb_permits_in_use(permits, "v", 1, &number));
    CHECK(number == 1);
    ANSWERS(FB_OK, fb_permits_release(permits, &held));

    /* What is no refusal has no sentence. */
    char buf[128];
    fb_refusal refusal = {0, 0, 0};
    const uint32_t reasons[] = {0, 4, UINT32_MAX};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        refusal.reason = reasons[i];
        CHECK(fb_permits_refusal(permits, &refusal, buf, sizeof buf) == 0);
    }
    refusal.reason = FB_REASON_BUSY;
    refusal.retry_after_ns = FB_NEVER;
    CHECK(fb_permits_refusal(permits, &refusal, NULL, 0) > 0);
    CHECK(fb_permits_refusal(permits, &refusal, buf, sizeof buf) == strlen(buf));
    CHECK(strcmp(buf, "the permits 'p' are held by another participant") == 0);
}

static void requests_together(void) {
    fb_request requests[17];
    fb_verdict verdicts[17];
    memset(verdicts, 7, sizeof verdicts);
    for (int i = 0; i < 17; i++) {
        requests[i] = fb_request_of(limiter, "t", 1);
    }
    FAILS(FB_E_INVALID_ARGUMENT, "requests: got 17; allowed: at most 16",
          fb_take_all(requests, 17, verdicts));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_take_all(requests, SIZE_MAX, verdicts));
    /* One that is wrong, after one that is not: neither is asked. */
    fb_limiter_stats before = fb_limiter_stats_init(), after = fb_limiter_stats_init();
    ANSWERS(FB_OK, fb_limiter_get_stats(limiter, &before));
    requests[0].tier = "there is none of that name";
    requests[1].limiter = (const fb_limiter *)cache;
    FAILS(FB_E_INVALID_ARGUMENT, "limiter: got a cache handle; allowed: an open limiter handle",
          fb_take_all(requests, 2, verdicts));
    requests[1] = fb_request_of(limiter, NULL, 3);
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_take_all(requests, 2, verdicts));
    requests[1] = fb_request_of(limiter, "t", 1);
    requests[1].tier = "\xff";
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_take_all(requests, 2, verdicts));
    ANSWERS(FB_OK, fb_limiter_get_stats(limiter, &after));
    CHECK(memcmp(&before, &after, sizeof before) == 0);
    CHECK(verdicts[0].limit == UINT64_C(0x0707070707070707));
    requests[1] = requests[2];
    requests[1].cost = UINT64_MAX;
    ANSWERS(FB_DENIED, fb_take_all(requests, 2, verdicts));
    CHECK(verdicts[0].retry_after_ns == 0 && verdicts[0].remaining == 1000);
    CHECK(verdicts[1].retry_after_ns == FB_NEVER && verdicts[2].limit != 1000);
    ANSWERS(FB_OK, fb_take_all(requests + 1, 0, NULL));
}

static void headers_and_addresses(void) {
    char buf[128];
    memset(buf, '.', sizeof buf);
    size_t n = 77;
    fb_limit limit = {"api", {5, 4, 0, UINT64_C(60000000000), UINT64_C(60000000000)}, NULL, 0};
#define REFUSED(words, count, styles)                                                              \
    FAILS(FB_E_INVALID_ARGUMENT, words, fb_headers(&limit, count, styles, 0, buf, sizeof buf, &n))
    const char *const known =
        "style: got \"draft-9\"; allowed: legacy, legacy-delta, draft-6, draft-7, draft-8, draft-10";
    REFUSED(known, 1, "draft-9");
    REFUSED(known, 0, "legacy, draft-9");
    REFUSED(NULL, 1, "legacy,");
    REFUSED(NULL, 1, ",");
    REFUSED(NULL, 1, " ");
    REFUSED(NULL, 1, "Legacy");
    REFUSED("styles: got \"\\xff\"; allowed: UTF-8", 1, "\xff");
    const char *const bad[] = {"a\r\nSet-Cookie: x", "na\xc3\xafve", "\x7f", "\t", "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        limit.name = bad[i];
        REFUSED(NULL, 1, "legacy");
        CHECK(strncmp(sentence(), "name: ", 6) == 0);
    }
    limit.name = NULL;
    REFUSED("name: got NULL; allowed: a text that ends with NUL", 1, "legacy");
    limit.name = "api";
    limit.key_len = 3;
    REFUSED(NULL, 1, "legacy");
    CHECK(strncmp(sentence(), "key: ", 5) == 0);
    limit.key = "key";
    limit.key_len = SIZE_MAX;
    ANSWERS(FB_E_TOO_LARGE, fb_headers(&limit, 1, "draft-8", 0, buf, sizeof buf, &n));
    limit.key = NULL;
    limit.key_len = 0;
#undef REFUSED
    CHECK(n == 77 && buf[0] == '.');
    /* Any numbers are a verdict. */
    memset(&limit.verdict, 0xff, sizeof limit.verdict);
    limit.verdict.limit = UINT64_MAX - 1;
    limit.name = "api";
    char long_buf[1024];
    ANSWERS(FB_OK, fb_headers(&limit, 1, "legacy, legacy-delta,draft-6,draft-7 ,draft-8,draft-10",
                              UINT64_MAX - 1, long_buf, sizeof long_buf, &n));
    CHECK(strlen(long_buf) == n);

    n = 77;
    const char *const no_peers[] = {"", "localhost", "1.2.3", "1.2.3.4.5", "[::1", "1.2.3.4:99999"};
    for (size_t i = 0; i < sizeof no_peers / sizeof *no_peers; i++) {
        ANSWERS(FB_E_INVALID_ARGUMENT,
                fb_client_address(no_peers[i], NULL, 0, 0, 64, buf, sizeof buf, &n));
        CHECK(strncmp(sentence(), "address: ", 9) == 0);
    }
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_client_address("\xff", NULL, 0, 0, 64, buf, sizeof buf, &n));
    FAILS(FB_E_INVALID_ARGUMENT, "ipv6_prefix: got 129; allowed: 0 to 128",
          fb_client_address("::1", NULL, 0, 0, 129, buf, sizeof buf, &n));
    FAILS(FB_E_INVALID_ARGUMENT, "ipv6_prefix: got 320; allowed: 0 to 128",
          fb_client_address("1.2.3.4", NULL, 0, 0, 320, buf, sizeof buf, &n));
    CHECK(n == 77 && buf[0] == '.');
    /* What a client may send cannot fail the call, nor hide who asks. */
    const char hostile[] = "\xff\xfe, \0,6.6.6.6\0, 10.0.0.9";
    ANSWERS(FB_OK, fb_client_address("10.0.0.1", hostile, sizeof hostile - 1, 1, 64, buf,
                                     sizeof buf, &n));
    CHECK(strcmp(buf, "10.0.0.9") == 0);
    ANSWERS(FB_OK, fb_client_address("10.0.0.1", hostile, sizeof hostile - 1, SIZE_MAX, 64, buf,
                                     sizeof buf, &n));
    CHECK(strcmp(buf, "10.0.0.9") == 0);
}

static void cache_options(void) {
    fb_cache *none = NULL;
    fb_cache_options options = fb_cache_options_init();
#define REFUSED(field, value)                                                                      \
    options = fb_cache_options_init();                                                             \
    options.field = value;                                                                         \
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_cache_open(region, "new", &options, &none))
    REFUSED(reserved, 1);
    REFUSED(bytes, 1);
    REFUSED(bytes, UINT64_MAX);
    REFUSED(max_entries, UINT64_MAX);
    REFUSED(max_item, UINT64_MAX);
    REFUSED(shards, 3);
    REFUSED(shards, UINT64_MAX);
    REFUSED(struct_size, 3);
#undef REFUSED
    CHECK(none == NULL);
    FAILS(FB_E_INVALID_ARGUMENT, "codec: got 256; allowed: 0 to 255",
          fb_cache_set_with(cache, "k", 1, "v", 1, 0, 256));
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_cache_set_with(cache, "k", 1, "v", 1, 0, UINT32_MAX));
    ANSWERS(FB_MISS, fb_cache_contains(cache, "k", 1));
    /* The longest TTLs are long, not short. */
    ANSWERS(FB_OK, fb_cache_set_with(cache, "k", 1, "v", 1, UINT64_MAX - 1, 0));
    ANSWERS(FB_OK, fb_region_advance(region, UINT64_C(1) << 50));
    ANSWERS(FB_OK, fb_cache_contains(cache, "k", 1));
}

static void breaker_options(void) {
    fb_breaker *none = NULL;
    fb_breaker_options options = fb_breaker_options_init();
#define REFUSED(field, value)                                                                      \
    options = fb_breaker_options_init();                                                           \
    options.field = value;                                                                         \
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_breaker_open(region, "new", &options, &none));               \
    CHECK(strncmp(sentence(), #field, 6) == 0)
    REFUSED(failure_rate, (double)NAN);
    REFUSED(failure_rate, (double)INFINITY);
    REFUSED(failure_rate, -(double)INFINITY);
    REFUSED(failure_rate, 1.5);
    REFUSED(failure_rate, -0.5);
    REFUSED(failure_threshold, UINT32_MAX - 1);
    REFUSED(window_ns, 1);
    REFUSED(window_ns, UINT64_MAX);
    REFUSED(open_for_ns, UINT64_MAX);
    REFUSED(probe_lease_ns, UINT64_MAX);
    REFUSED(half_open_calls, 17);
    REFUSED(half_open_calls, UINT32_MAX);
    REFUSED(volume_threshold, UINT32_MAX);
    REFUSED(success_threshold, UINT32_MAX);
    REFUSED(reserved, 1);
#undef REFUSED
    CHECK(none == NULL);
    /* Numbers that are no permits. */
    const uint64_t numbers[] = {0, 1, 12345, UINT64_C(1) << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const fb_status said = fb_breaker_failure(breaker, numbers[i]);
        CHECK(said == FB_LATE || said == FB_OK);
    }
    fb_histogram_options histogram_options = fb_histogram_options_init();
    fb_histogram *no_histogram = NULL;
    histogram_options.reserved = 1;
    ANSWERS(FB_E_INVALID_ARGUMENT,
            fb_histogram_open(region, "new", &histogram_options, &no_histogram));
}

static void percents(void) {
    uint64_t ns = 77;
    const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, -0.001, 100.001, 1e300};
    for (int recorded = 0; recorded < 2; recorded++) {
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            ANSWERS(FB_E_INVALID_ARGUMENT, fb_histogram_percentile(histogram, bad[i], &ns));
            CHECK(strncmp(sentence(), "percent: ", 9) == 0);
            const double several[] = {50, bad[i]};
            uint64_t told[2] = {77, 77};
            ANSWERS(FB_E_INVALID_ARGUMENT, fb_histogram_percentiles(histogram, several, told, 2));
            CHECK(told[0] == 77);
        }
        ANSWERS(FB_OK, fb_histogram_record_ns(histogram, UINT64_MAX));
        ANSWERS(FB_OK, fb_histogram_record_ns(histogram, 0));
    }
    CHECK(ns == 77);
    ANSWERS(FB_OK, fb_histogram_percentile(histogram, 100, &ns));
    fb_snapshot snapshot = fb_snapshot_init();
    ANSWERS(FB_OK, fb_histogram_snapshot(histogram, &snapshot));
    CHECK(snapshot.count == 4 && snapshot.max_ns == UINT64_MAX && snapshot.min_ns == 0);
}

int main(void) {
    open_all();
    null_handles();
    handles_of_another_kind();
    closed_handles();
    places_that_are_null();
    names();
    lengths();
    region_options();
    limiter_options();
    verbs_of_a_limiter();
    windows();
    leases();
    requests_together();
    headers_and_addresses();
    cache_options();
    breaker_options();
    percents();
    return finish();
}
