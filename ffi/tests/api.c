/* Every function once or more, as its documentation says, on a clock that the
 * test moves. */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#define SECOND UINT64_C(1000000000)

static fb_region *open_region(void) {
    fb_region_options options = fb_region_options_init();
    options.flags = FB_REGION_MANUAL_CLOCK;
    options.bytes = 8 << 20;
    fb_region *region = NULL;
    ANSWERS(FB_OK, fb_region_open(&options, &region));
    return region;
}

static void versions_and_names(void) {
    CHECK(strcmp(fb_version(), FB_VERSION) == 0);
    CHECK(fb_abi_version() == FB_ABI_VERSION);
    CHECK(fb_layout_version() == FB_LAYOUT_VERSION);
    CHECK(strcmp(fb_status_name(FB_OK), "FB_OK") == 0);
    CHECK(strcmp(fb_status_name(FB_E_CORRUPT), "FB_E_CORRUPT") == 0);
    CHECK(strcmp(fb_status_name(12345), "FB_UNKNOWN") == 0);
    CHECK(strcmp(fb_state_name(FB_STATE_HALF_OPEN), "half-open") == 0);
    CHECK(strcmp(fb_state_name(77), "unknown") == 0);
    CHECK(strcmp(fb_event_name(FB_EVENT_OBJECT_CREATED), "object-created") == 0);
    CHECK(strcmp(fb_event_name(FB_EVENT_OPTIONS_CHANGED), "options-changed") == 0);
    CHECK(strcmp(fb_event_name(FB_EVENT_BREAKER_OPENED), "breaker-open") == 0);
    CHECK(strcmp(fb_event_name(FB_EVENT_BREAKER_HALF_OPENED), "breaker-half-open") == 0);
    CHECK(strcmp(fb_event_name(FB_EVENT_BREAKER_CLOSED), "breaker-closed") == 0);
    CHECK(strcmp(fb_event_name(FB_EVENT_CACHE_CLEARED), "cache-cleared") == 0);
    CHECK(strcmp(fb_event_name(FB_EVENT_SHARD_RESET), "shard-reset") == 0);
    CHECK(strcmp(fb_event_name(0), "unknown") == 0);
    CHECK(strcmp(fb_reason_name(FB_REASON_LIMIT), "limit") == 0);
    CHECK(strcmp(fb_reason_name(FB_REASON_FULL), "full") == 0);
    CHECK(strcmp(fb_reason_name(FB_REASON_BUSY), "busy") == 0);
    CHECK(strcmp(fb_reason_name(0), "unknown") == 0);
}

static void the_last_error_is_cut_to_fit(void) {
    CHECK(fb_last_error(NULL, 0) == 0);
    fb_region *region = NULL;
    fb_region_options options = fb_region_options_init();
    options.name_or_path = "\xd0\xb8"; /* a letter that is no ASCII */
    ANSWERS(FB_E_INVALID_ARGUMENT, fb_region_open(&options, &region));
    const size_t length = fb_last_error(NULL, 0);
    char text[256];
    CHECK(length > 12 && fb_last_error(text, sizeof text) == length);
    CHECK(strlen(text) == length);
    char little[5];
    CHECK(fb_last_error(little, sizeof little) == length);
    CHECK(strlen(little) == 4 && strncmp(little, text, 4) == 0);
    char one[1] = {'x'};
    CHECK(fb_last_error(one, 1) == length && one[0] == 0);
    /* Never in the middle of a character. */
    char *letter = strstr(text, "\xd0\xb8");
    if (letter != NULL) {
        const size_t up_to_it = (size_t)(letter - text);
        char cut[256];
        CHECK(fb_last_error(cut, up_to_it + 2) == length && strlen(cut) == up_to_it);
    }
}

static void time_moves_when_told(void) {
    fb_region *region = open_region();
    uint64_t before = 1, after = 0;
    ANSWERS(FB_OK, fb_region_now(region, &before));
    ANSWERS(FB_OK, fb_region_advance(region, 5 * SECOND));
    ANSWERS(FB_OK, fb_region_now(region, &after));
    CHECK(after - before == 5 * SECOND);
    ANSWERS(FB_OK, fb_region_close(region));

    ANSWERS(FB_OK, fb_region_open(NULL, &region));
    FAILS(FB_E_INVALID_ARGUMENT, "clock: got the real clock; allowed: a region made with a manual clock",
          fb_region_advance(region, 1));
    ANSWERS(FB_OK, fb_region_now(region, &before));
    ANSWERS(FB_OK, fb_region_now(region, &after));
    CHECK(after >= before);
    ANSWERS(FB_OK, fb_region_close(region));
}

/* Each tier has its figures, whatever its name's length; a debt is a penalty that
 * takes more than is there. */
static void figures_of_tiers(void) {
    fb_region *region = open_region();
    const char *const longest = "a-tier-whose-name-has-31-bytes.";
    fb_limiter_options options = fb_limiter_options_init();
    const fb_tier tiers[] = {
        {"pro", fb_rate_text("10/min")},
        {longest, fb_rate_unlimited()},
    };
    options.rate = fb_rate_text("2/min");
    options.tiers = tiers;
    options.tier_count = 2;
    options.max_keys = 1000;
    fb_limiter *limiter = NULL;
    ANSWERS(FB_OK, fb_limiter_open(region, "api", &options, &limiter));
    ANSWERS(FB_OK, fb_limiter_take(limiter, "a", 1, NULL));
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "a", 1, 1, "nobody", FB_NOW, NULL));
    ANSWERS(FB_DENIED, fb_limiter_take(limiter, "a", 1, NULL));
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "b", 1, 9, "pro", FB_NOW, NULL));
    ANSWERS(FB_DENIED, fb_limiter_penalize_with(limiter, "b", 1, 2, "pro", FB_NOW, NULL));
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "c", 1, 99, longest, FB_NOW, NULL));

    fb_tier_stats told[FB_MOST_TIERS];
    size_t count = 99;
    ANSWERS(FB_OK, fb_limiter_tier_stats(limiter, told, FB_MOST_TIERS, &count));
    CHECK(count == 3 && strlen(longest) == 31);
    CHECK(strcmp(told[0].tier, "default") == 0 && strcmp(told[1].tier, "pro") == 0);
    CHECK(strcmp(told[2].tier, longest) == 0);
    CHECK(told[0].admitted == 2 && told[0].refused == 1 && told[0].debts == 0);
    CHECK(told[1].admitted == 1 && told[1].refused == 0 && told[1].debts == 1);
    CHECK(told[2].admitted == 1 && told[2].refused == 0 && told[2].debts == 0);
    fb_limiter_stats stats = fb_limiter_stats_init();
    ANSWERS(FB_OK, fb_limiter_get_stats(limiter, &stats));
    CHECK(stats.admitted == 4 && stats.refused == 1 && stats.debts == 1);

    /* Exactly as many as there are; with less room, only the count. */
    memset(told, 7, sizeof told);
    FAILS(FB_E_TOO_LARGE, "stats: 168 bytes; allowed: at most 112",
          fb_limiter_tier_stats(limiter, told, 2, &count));
    CHECK(count == 3 && told[0].tier[0] == 7 && told[0].admitted == UINT64_C(0x0707070707070707));
    count = 99;
    FAILS(FB_E_TOO_LARGE, "stats: 168 bytes; allowed: at most 0",
          fb_limiter_tier_stats(limiter, NULL, 0, &count));
    CHECK(count == 3);
    ANSWERS(FB_OK, fb_limiter_tier_stats(limiter, told, 3, &count));
    CHECK(count == 3 && told[2].admitted == 1);
    CHECK(told[3].tier[0] == 7 && told[3].admitted == UINT64_C(0x0707070707070707));
    ANSWERS(FB_OK, fb_limiter_close(limiter));

    /* As many as there can be. */
    const char *const names[] = {"b", "c", "d", "e", "f", "g", "h", "i",
                                 "j", "k", "l", "m", "n", "o", "p"};
    fb_tier most[FB_MOST_TIERS - 1];
    for (size_t i = 0; i < FB_MOST_TIERS - 1; i++) {
        most[i] = (fb_tier){names[i], fb_rate_text("1/s")};
    }
    options.tiers = most;
    options.tier_count = FB_MOST_TIERS - 1;
    ANSWERS(FB_OK, fb_limiter_open(region, "most", &options, &limiter));
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "k", 1, 1, "p", FB_NOW, NULL));
    ANSWERS(FB_OK, fb_limiter_tier_stats(limiter, told, FB_MOST_TIERS, &count));
    CHECK(count == FB_MOST_TIERS && strcmp(told[15].tier, "p") == 0 && told[15].admitted == 1);
    ANSWERS(FB_OK, fb_limiter_close(limiter));
    ANSWERS(FB_OK, fb_region_close(region));
}

static void a_limiter(void) {
    fb_region *region = open_region();
    fb_limiter_options options = fb_limiter_options_init();
    const fb_tier tiers[] = {
        {"pro", fb_rate_per(10, 60 * SECOND, 0)},
        {"admin", fb_rate_unlimited()},
        {"bulk", fb_rate_text("1/s burst 30")},
    };
    options.rate = fb_rate_text("2/min");
    options.tiers = tiers;
    options.tier_count = 3;
    options.max_keys = 1000;
    fb_limiter *limiter = NULL;
    ANSWERS(FB_OK, fb_limiter_open(region, "api", &options, &limiter));

    fb_verdict verdict;
    ANSWERS(FB_OK, fb_limiter_peek(limiter, "a", 1, &verdict));
    CHECK(verdict.limit == 2 && verdict.remaining == 2 && verdict.reset_after_ns == 0);
    ANSWERS(FB_OK, fb_limiter_take(limiter, "a", 1, &verdict));
    CHECK(verdict.limit == 2 && verdict.remaining == 1 && verdict.retry_after_ns == 0);
    CHECK(verdict.reset_after_ns == 30 * SECOND);
    ANSWERS(FB_OK, fb_limiter_take(limiter, "a", 1, NULL));
    ANSWERS(FB_DENIED, fb_limiter_take(limiter, "a", 1, NULL));
    ANSWERS(FB_DENIED, fb_limiter_take(limiter, "a", 1, &verdict));
    CHECK(verdict.remaining == 0 && verdict.retry_after_ns == 30 * SECOND);
    ANSWERS(FB_DENIED, fb_limiter_peek(limiter, "a", 1, NULL));

    /* A cost beyond the burst is never admitted. */
    ANSWERS(FB_DENIED, fb_limiter_take_with(limiter, "b", 1, 3, NULL, FB_NOW, &verdict));
    CHECK(verdict.retry_after_ns == FB_NEVER && verdict.remaining == 2);
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "b", 1, 0, NULL, FB_NOW, &verdict));
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "b", 1, 2, NULL, FB_NOW, &verdict));
    CHECK(verdict.remaining == 0);

    /* Tiers, in numbers and in text; an unknown one is the default, counted. */
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "c", 1, 4, "pro", FB_NOW, &verdict));
    CHECK(verdict.limit == 10 && verdict.remaining == 6);
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "c", 1, 1000000, "admin", FB_NOW, &verdict));
    CHECK(verdict.limit == UINT64_MAX && verdict.remaining == UINT64_MAX);
    ANSWERS(FB_OK, fb_limiter_peek_with(limiter, "d", 1, 30, "bulk", FB_NOW, &verdict));
    CHECK(verdict.limit == 30 && verdict.remaining == 30);
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "e", 1, 2, "nobody", FB_NOW, &verdict));
    CHECK(verdict.limit == 2);

    /* One reading of the clock serves. */
    uint64_t now = 0;
    ANSWERS(FB_OK, fb_region_now(region, &now));
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "f", 1, 2, NULL, now, NULL));
    ANSWERS(FB_DENIED, fb_limiter_take_with(limiter, "f", 1, 1, NULL, now, NULL));
    ANSWERS(FB_OK, fb_region_advance(region, 30 * SECOND));
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "f", 1, 1, NULL, now + 30 * SECOND, NULL));

    ANSWERS(FB_OK, fb_limiter_reset(limiter, "f", 1));
    ANSWERS(FB_MISS, fb_limiter_reset(limiter, "f", 1));
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "f", 1, 2, NULL, FB_NOW, NULL));

    /* Any bytes are a key, none too. */
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, NULL, 0, 2, NULL, FB_NOW, NULL));
    ANSWERS(FB_DENIED, fb_limiter_take(limiter, "", 0, NULL));
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "x\0y\xff", 4, 2, NULL, FB_NOW, NULL));
    ANSWERS(FB_OK, fb_limiter_take(limiter, "x\0z\xff", 4, NULL));
    ANSWERS(FB_DENIED, fb_limiter_take(limiter, "x\0y\xff", 4, NULL));

    fb_limiter_stats stats = fb_limiter_stats_init();
    ANSWERS(FB_OK, fb_limiter_get_stats(limiter, &stats));
    CHECK(stats.unknown_tier == 1 && stats.refused > 0 && stats.admitted > 0);
    CHECK(stats.slots >= 1000 && stats.evicted_live == 0 && stats.contended == 0);

    /* Attaching gives another handle to the same limiter. */
    fb_limiter *again = NULL;
    ANSWERS(FB_OK, fb_limiter_open(region, "api", NULL, &again));
    CHECK(again != limiter);
    ANSWERS(FB_DENIED, fb_limiter_take(again, "x\0y\xff", 4, NULL));
    FAILS(FB_E_NOT_FOUND, NULL, fb_limiter_open(region, "none", NULL, &again));

    /* Objects keep their region. */
    ANSWERS(FB_OK, fb_region_close(region));
    ANSWERS(FB_OK, fb_limiter_take(again, "after", 5, NULL));
    ANSWERS(FB_OK, fb_limiter_close(again));
    ANSWERS(FB_OK, fb_limiter_close(limiter));
}

static fb_limiter *limiter_of(fb_region *region, const char *name, const char *rate) {
    const fb_tier tiers[] = {
        {"pro", fb_rate_text("10/s burst 20")},
        {"admin", fb_rate_unlimited()},
    };
    fb_limiter_options options = fb_limiter_options_init();
    options.rate = fb_rate_text(rate);
    options.tiers = tiers;
    options.tier_count = 2;
    fb_limiter *limiter = NULL;
    ANSWERS(FB_OK, fb_limiter_open(region, name, &options, &limiter));
    return limiter;
}

static void refunds_penalties_and_blocks(void) {
    fb_region *region = open_region();
    fb_limiter *limiter = limiter_of(region, "api", "1/s burst 2");
    fb_verdict verdict;
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "a", 1, 2, NULL, FB_NOW, &verdict));
    CHECK(verdict.window_ns == 2 * SECOND);
    ANSWERS(FB_OK, fb_limiter_refund(limiter, "a", 1, 1, &verdict));
    CHECK(verdict.remaining == 1 && verdict.retry_after_ns == 0);
    ANSWERS(FB_OK, fb_limiter_refund(limiter, "a", 1, 100, NULL));
    ANSWERS(FB_OK, fb_limiter_peek(limiter, "a", 1, &verdict));
    CHECK(verdict.remaining == 2);
    ANSWERS(FB_OK, fb_limiter_penalize(limiter, "a", 1, 1, &verdict));
    CHECK(verdict.remaining == 1);
    /* A debt of three: the next token comes in four seconds. */
    ANSWERS(FB_DENIED, fb_limiter_penalize(limiter, "a", 1, 4, &verdict));
    CHECK(verdict.remaining == 0 && verdict.retry_after_ns == 4 * SECOND);
    ANSWERS(FB_DENIED, fb_limiter_refund(limiter, "a", 1, 1, &verdict));
    CHECK(verdict.retry_after_ns == 3 * SECOND);
    /* In the tokens of a tier, a tenth of a second each. */
    ANSWERS(FB_OK, fb_limiter_penalize_with(limiter, "b", 1, 5, "pro", FB_NOW, &verdict));
    CHECK(verdict.limit == 20 && verdict.remaining == 15);
    ANSWERS(FB_OK, fb_limiter_refund_with(limiter, "b", 1, 2, "pro", &verdict));
    CHECK(verdict.remaining == 17);
    ANSWERS(FB_OK, fb_limiter_penalize_with(limiter, "b", 1, 500, "admin", FB_NOW, &verdict));
    CHECK(verdict.limit == FB_UNLIMITED && verdict.window_ns == 0);

    ANSWERS(FB_OK, fb_limiter_block(limiter, "c", 1, 10 * SECOND));
    ANSWERS(FB_DENIED, fb_limiter_take(limiter, "c", 1, &verdict));
    CHECK(verdict.retry_after_ns == 10 * SECOND && verdict.reset_after_ns == 10 * SECOND);
    ANSWERS(FB_DENIED, fb_limiter_peek_with(limiter, "c", 1, 1, "admin", FB_NOW, NULL));
    ANSWERS(FB_OK, fb_limiter_unblock(limiter, "c", 1));
    ANSWERS(FB_MISS, fb_limiter_unblock(limiter, "c", 1));
    ANSWERS(FB_OK, fb_limiter_take(limiter, "c", 1, NULL));
    ANSWERS(FB_OK, fb_limiter_block(limiter, "c", 1, 10 * SECOND));
    ANSWERS(FB_OK, fb_region_advance(region, 10 * SECOND));
    ANSWERS(FB_OK, fb_limiter_take(limiter, "c", 1, NULL));

    /* Its name, and the sentence for who was refused. */
    char text[128];
    CHECK(fb_limiter_name(limiter, NULL, 0) == 3);
    CHECK(fb_limiter_name(limiter, text, sizeof text) == 3 && strcmp(text, "api") == 0);
    CHECK(fb_limiter_name(limiter, text, 3) == 3 && strcmp(text, "ap") == 0);
    const size_t length = fb_limiter_refusal(limiter, 3 * SECOND / 2, text, sizeof text);
    CHECK(length == strlen(text));
    CHECK(strcmp(text, "limiter 'api' refused: retry after 1.5s") == 0);
    fb_limiter_refusal(limiter, FB_NEVER, text, sizeof text);
    CHECK(strcmp(text, "limiter 'api' refused: it never admits that much") == 0);
    ANSWERS(FB_OK, fb_limiter_close(limiter));
    ANSWERS(FB_OK, fb_region_close(region));
}

static void reservations(void) {
    fb_region *region = open_region();
    fb_limiter *limiter = limiter_of(region, "mails", "1/s burst 2");
    fb_verdict verdict = {7, 7, 7, 7, 7};
    uint64_t now = 0, wait = 77;
    fb_reservation due = {77, {77, 77, 77, 77}}, last = due;
    ANSWERS(FB_OK, fb_region_now(region, &now));
    ANSWERS(FB_OK, fb_limiter_reserve(limiter, "a", 1, 0, &wait, &due, &verdict));
    CHECK(wait == 0 && due.due_ns == now && verdict.limit == 7);
    ANSWERS(FB_OK, fb_limiter_reserve(limiter, "a", 1, 0, &wait, NULL, NULL));
    ANSWERS(FB_DENIED, fb_limiter_reserve(limiter, "a", 1, SECOND - 1, &wait, &due, &verdict));
    CHECK(verdict.retry_after_ns == SECOND && verdict.remaining == 0);
    ANSWERS(FB_OK, fb_limiter_reserve(limiter, "a", 1, SECOND, &wait, &due, NULL));
    CHECK(wait == SECOND && due.due_ns == now + SECOND);
    /* Whoever comes later waits longer. */
    ANSWERS(FB_OK, fb_limiter_reserve_with(limiter, "a", 1, 2, NULL, now, FB_NEVER, &wait, &last,
                                           NULL));
    CHECK(wait == 3 * SECOND && last.due_ns == now + 3 * SECOND);
    ANSWERS(FB_DENIED, fb_limiter_reserve_with(limiter, "a", 1, 3, NULL, FB_NOW, FB_NEVER, &wait,
                                               &last, &verdict));
    CHECK(verdict.retry_after_ns == FB_NEVER && last.due_ns == now + 3 * SECOND);
    ANSWERS(FB_OK, fb_limiter_cancel_with(limiter, "a", 1, 2, NULL, &last));
    ANSWERS(FB_OK, fb_region_advance(region, SECOND / 2));
    ANSWERS(FB_OK, fb_limiter_until_due(limiter, due.due_ns, &wait));
    CHECK(wait == SECOND / 2);
    ANSWERS(FB_OK, fb_region_advance(region, SECOND / 2));
    ANSWERS(FB_OK, fb_limiter_until_due(limiter, due.due_ns, &wait));
    CHECK(wait == 0);
    ANSWERS(FB_LATE, fb_limiter_cancel(limiter, "a", 1, &due));
    /* An unlimited tier waits for a block to end, and for nothing else. */
    ANSWERS(FB_OK, fb_limiter_reserve_with(limiter, "b", 1, 1000, "admin", FB_NOW, 0, &wait, NULL,
                                           NULL));
    CHECK(wait == 0);
    ANSWERS(FB_OK, fb_limiter_block(limiter, "b", 1, SECOND));
    ANSWERS(FB_OK, fb_limiter_reserve_with(limiter, "b", 1, 1000, "admin", FB_NOW, SECOND, &wait,
                                           &due, NULL));
    CHECK(wait == SECOND);
    /* What need not wait does not. */
    ANSWERS(FB_OK, fb_limiter_acquire(limiter, "c", 1, 0, &verdict));
    CHECK(verdict.remaining == 1 && verdict.limit == 2);
    ANSWERS(FB_OK, fb_limiter_acquire_with(limiter, "d", 1, 20, "pro", FB_NOW, 0, &verdict));
    CHECK(verdict.remaining == 0 && verdict.limit == 20);
    ANSWERS(FB_DENIED, fb_limiter_acquire(limiter, "d", 1, SECOND / 4, &verdict));
    ANSWERS(FB_OK, fb_limiter_close(limiter));
    ANSWERS(FB_OK, fb_region_close(region));
}

/* Several rates: a text, an array, and rows of one tier. */
static void several_rates(void) {
    fb_region *region = open_region();
    const fb_rate rates[] = {fb_rate_per(3, SECOND / 10, 0), fb_rate_text("5/min and 100/day")};
    const fb_tier tiers[] = {
        {"pro", fb_rate_text("6/s")},
        {"bulk", fb_rate_text("9/s")},
        {"pro", fb_rate_per(8, 60 * SECOND, 0)},
    };
    fb_limiter_options options = fb_limiter_options_init();
    options.rates = rates;
    options.rate_count = 2;
    options.tiers = tiers;
    options.tier_count = 3;
    options.max_keys = 1000;
    fb_limiter *limiter = NULL, *other = NULL;
    fb_verdict verdict;
    ANSWERS(FB_OK, fb_limiter_open(region, "api", &options, &limiter));
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "a", 1, 3, NULL, FB_NOW, &verdict));
    CHECK(verdict.limit == 3 && verdict.remaining == 0);
    ANSWERS(FB_DENIED, fb_limiter_take(limiter, "a", 1, &verdict));
    CHECK(verdict.limit == 3 && verdict.retry_after_ns == SECOND / 30 + 1);
    ANSWERS(FB_OK, fb_region_advance(region, SECOND / 10));
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "a", 1, 2, NULL, FB_NOW, &verdict));
    ANSWERS(FB_DENIED, fb_limiter_take(limiter, "a", 1, &verdict));
    CHECK(verdict.limit == 5 && verdict.window_ns == 60 * SECOND);
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "b", 1, 6, "pro", FB_NOW, &verdict));
    CHECK(verdict.limit == 6);
    ANSWERS(FB_OK, fb_region_advance(region, SECOND));
    ANSWERS(FB_DENIED, fb_limiter_take_with(limiter, "b", 1, 3, "pro", FB_NOW, &verdict));
    CHECK(verdict.limit == 8);
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "c", 1, 9, "bulk", FB_NOW, NULL));

    /* Fewer rates later, never more. */
    options.tier_count = 0;
    options.rates = NULL;
    options.rate_count = 0;
    options.rate = fb_rate_text("1/s and 2/s and 3/s and 4/s");
    FAILS(FB_E_GEOMETRY, NULL, fb_limiter_open(region, "api", &options, &other));
    options.rate = fb_rate_text("7/s");
    ANSWERS(FB_OK, fb_limiter_open(region, "api", &options, &other));
    ANSWERS(FB_OK, fb_limiter_peek(limiter, "new", 3, &verdict));
    CHECK(verdict.limit == 7);

    /* What was reserved comes back to both. */
    options.rate = fb_rate_text("1/s and 5/day");
    fb_limiter *mails = NULL;
    uint64_t wait = 0;
    fb_reservation due;
    ANSWERS(FB_OK, fb_limiter_open(region, "mails", &options, &mails));
    ANSWERS(FB_OK, fb_limiter_take(mails, "m", 1, NULL));
    ANSWERS(FB_OK, fb_limiter_reserve(mails, "m", 1, SECOND, &wait, &due, NULL));
    CHECK(wait == SECOND);
    ANSWERS(FB_OK, fb_limiter_cancel(mails, "m", 1, &due));
    ANSWERS(FB_OK, fb_region_advance(region, SECOND));
    ANSWERS(FB_OK, fb_limiter_peek(mails, "m", 1, &verdict));
    CHECK(verdict.limit == 1 && verdict.remaining == 1);
    for (int i = 0; i < 4; i++) {
        ANSWERS(FB_OK, fb_limiter_take(mails, "m", 1, &verdict));
        ANSWERS(FB_OK, fb_region_advance(region, SECOND));
    }
    ANSWERS(FB_DENIED, fb_limiter_take(mails, "m", 1, &verdict));
    CHECK(verdict.limit == 5);
    ANSWERS(FB_OK, fb_limiter_close(limiter));
    ANSWERS(FB_OK, fb_limiter_close(other));
    ANSWERS(FB_OK, fb_limiter_close(mails));
    ANSWERS(FB_OK, fb_region_close(region));
}

static void algorithms_and_switches(void) {
    fb_region *region = open_region();
    fb_limiter_options options = fb_limiter_options_init();
    options.rate = fb_rate_text("3/min");
    options.algorithm = FB_ALGORITHM_SLIDING;
    options.on_full = FB_ON_FULL_STRICT;
    options.on_error = FB_ON_ERROR_ALLOW;
    options.max_keys = 1000;
    fb_limiter *limiter = NULL, *other = NULL;
    fb_verdict verdict;
    ANSWERS(FB_OK, fb_limiter_open(region, "login", &options, &limiter));
    ANSWERS(FB_OK, fb_limiter_take_with(limiter, "a", 1, 3, NULL, FB_NOW, NULL));
    ANSWERS(FB_OK, fb_region_advance(region, 30 * SECOND));
    ANSWERS(FB_DENIED, fb_limiter_take(limiter, "a", 1, &verdict));
    /* What it is stays; unset takes what there is. */
    options.algorithm = FB_ALGORITHM_FIXED;
    ANSWERS(FB_E_GEOMETRY, fb_limiter_open(region, "login", &options, &other));
    options.algorithm = 0;
    options.on_full = FB_ON_FULL_LENIENT;
    ANSWERS(FB_E_GEOMETRY, fb_limiter_open(region, "login", &options, &other));
    options.on_full = 0;
    options.flags = FB_LIMITER_DISABLED;
    ANSWERS(FB_OK, fb_limiter_open(region, "login", &options, &other));
    /* Disabled, for all of its handles. */
    ANSWERS(FB_OK, fb_limiter_take(limiter, "a", 1, &verdict));
    CHECK(verdict.limit == UINT64_MAX);
    ANSWERS(FB_OK, fb_limiter_close(other));
    options.flags = FB_LIMITER_SHOW_KEYS;
    ANSWERS(FB_OK, fb_limiter_open(region, "login", &options, &other));
    for (int i = 0; i < 5; i++) {
        ANSWERS(FB_DENIED, fb_limiter_take(limiter, "a", 1, NULL));
    }

    /* Who was refused most, the worst first, as many as fit. */
    fb_refused_key keys[FB_MOST_REFUSED];
    size_t count = 99;
    uint64_t mark = 0;
    char longest[48];
    memset(longest, 'x', sizeof longest);
    ANSWERS(FB_OK, fb_limiter_block(limiter, "", 0, SECOND));
    ANSWERS(FB_OK, fb_limiter_block(limiter, longest, 47, SECOND));
    ANSWERS(FB_OK, fb_limiter_block(limiter, longest, 48, SECOND));
    for (int i = 0; i < 4; i++) {
        ANSWERS(FB_DENIED, fb_limiter_take(limiter, longest, 47, NULL));
    }
    for (int i = 0; i < 3; i++) {
        ANSWERS(FB_DENIED, fb_limiter_take(limiter, longest, 48, NULL));
    }
    ANSWERS(FB_DENIED, fb_limiter_take(limiter, NULL, 0, NULL));
    ANSWERS(FB_OK, fb_limiter_top_refused(limiter, keys, FB_MOST_REFUSED, &count));
    CHECK(count == 4 && keys[0].count == 6 && keys[0].over == 0);
    CHECK(keys[0].is_shown == 1 && keys[0].key_len == 1 && keys[0].key[0] == 'a');
    CHECK(keys[1].count == 4 && keys[1].key_len == 47 && memcmp(keys[1].key, longest, 47) == 0);
    CHECK(keys[2].count == 3 && keys[2].is_shown == 0 && keys[2].key_len == 0);
    CHECK(keys[3].count == 1 && keys[3].is_shown == 1 && keys[3].key_len == 0);
    ANSWERS(FB_OK, fb_limiter_mark(limiter, longest, 48, &mark));
    CHECK(keys[2].mark == mark);
    memset(keys, 7, sizeof keys);
    ANSWERS(FB_OK, fb_limiter_top_refused(limiter, keys, 1, &count));
    CHECK(count == 1 && keys[0].count == 6 && keys[1].count == UINT64_C(0x0707070707070707));
    ANSWERS(FB_OK, fb_limiter_top_refused(limiter, NULL, 0, &count));
    CHECK(count == 0);
    ANSWERS(FB_OK, fb_limiter_forget_refused(limiter));
    ANSWERS(FB_OK, fb_limiter_top_refused(limiter, keys, FB_MOST_REFUSED, &count));
    CHECK(count == 0);
    ANSWERS(FB_OK, fb_limiter_clear(limiter));
    ANSWERS(FB_OK, fb_limiter_peek(limiter, "a", 1, &verdict));
    CHECK(verdict.remaining == 3);
    ANSWERS(FB_MISS, fb_limiter_unblock(limiter, longest, 47));
    ANSWERS(FB_OK, fb_limiter_close(limiter));
    ANSWERS(FB_OK, fb_limiter_close(other));
    ANSWERS(FB_OK, fb_region_close(region));
}

static void a_window_counter(void) {
    fb_region *region = open_region();
    fb_window_options options = fb_window_options_init();
    options.max_keys = 1000;
    fb_window *window = NULL, *other = NULL;
    fb_count count = {7, 7};
    uint64_t wait = 77;
    ANSWERS(FB_OK, fb_window_open(region, "hits", &options, &window));
    ANSWERS(FB_OK, fb_window_get(window, "a", 1, &count));
    CHECK(count.count == 0 && count.resets_in_ns == 0);
    ANSWERS(FB_OK, fb_window_hit(window, "a", 1, 10 * SECOND, &count));
    CHECK(count.count == 1 && count.resets_in_ns == 10 * SECOND);
    ANSWERS(FB_OK, fb_window_hit(window, "a", 1, 60 * SECOND, NULL));
    ANSWERS(FB_OK, fb_region_advance(region, SECOND));
    ANSWERS(FB_OK, fb_window_hit_with(window, "a", 1, SECOND, 3, 5, &count));
    CHECK(count.count == 5 && count.resets_in_ns == 9 * SECOND);
    ANSWERS(FB_DENIED, fb_window_hit_with(window, "a", 1, SECOND, 1, 5, &count));
    CHECK(count.count == 5);
    ANSWERS(FB_OK, fb_window_hit_with(window, "a", 1, SECOND, 1, FB_UNLIMITED, &count));
    ANSWERS(FB_OK, fb_window_hit_with(window, "b", 1, SECOND, 0, 5, &count));
    CHECK(count.count == 0 && count.resets_in_ns == 0);
    ANSWERS(FB_OK, fb_window_decrement(window, "a", 1, 2, &count));
    CHECK(count.count == 4);
    ANSWERS(FB_OK, fb_window_decrement(window, "a", 1, UINT64_MAX, NULL));
    ANSWERS(FB_OK, fb_window_get(window, "a", 1, &count));
    CHECK(count.count == 0 && count.resets_in_ns == 9 * SECOND);
    ANSWERS(FB_OK, fb_window_reset(window, "a", 1));
    ANSWERS(FB_MISS, fb_window_reset(window, "a", 1));
    ANSWERS(FB_OK, fb_window_block(window, "a", 1, SECOND));
    ANSWERS(FB_OK, fb_window_blocked_for(window, "a", 1, &wait));
    CHECK(wait == SECOND);
    ANSWERS(FB_OK, fb_window_unblock(window, "a", 1));
    ANSWERS(FB_MISS, fb_window_unblock(window, "a", 1));
    ANSWERS(FB_OK, fb_window_blocked_for(window, "a", 1, &wait));
    CHECK(wait == 0);
    ANSWERS(FB_OK, fb_window_open(region, "hits", NULL, &other));
    ANSWERS(FB_OK, fb_window_hit(other, "c", 1, SECOND, NULL));
    ANSWERS(FB_OK, fb_window_get(window, "c", 1, &count));
    CHECK(count.count == 1);
    ANSWERS(FB_OK, fb_window_clear(window));
    ANSWERS(FB_OK, fb_window_get(other, "c", 1, &count));
    CHECK(count.count == 0);
    fb_window_stats stats = fb_window_stats_init();
    ANSWERS(FB_OK, fb_window_get_stats(window, &stats));
    CHECK(stats.hits == 5 && stats.refused == 1 && stats.evicted_live == 0);
    CHECK(stats.contended == 0 && stats.slots > 1000);
    ANSWERS(FB_OK, fb_window_close(other));
    options.max_keys = 100000;
    FAILS(FB_E_GEOMETRY, NULL, fb_window_open(region, "hits", &options, &other));
    ANSWERS(FB_E_NOT_FOUND, fb_window_open(region, "none", NULL, &other));
    fb_limiter *limiter = NULL;
    ANSWERS(FB_E_WRONG_KIND, fb_limiter_open(region, "hits", NULL, &limiter));
    ANSWERS(FB_OK, fb_window_close(window));
    ANSWERS(FB_OK, fb_region_close(region));
}

static void permits(void) {
    fb_region *region = open_region();
    fb_permits_options options = fb_permits_options_init();
    options.limit = 2;
    options.lease_ns = 10 * SECOND;
    options.max_leases = 100;
    fb_permits *exports = NULL, *other = NULL;
    fb_lease first, second, third = {7, 7};
    fb_refusal refusal = {7, 7, 7};
    uint64_t number = 77;
    ANSWERS(FB_OK, fb_permits_open(region, "exports", &options, &exports));
    ANSWERS(FB_OK, fb_permits_try_acquire(exports, "ada", 3, &first, &refusal));
    CHECK(refusal.reason == 7);
    ANSWERS(FB_OK, fb_region_advance(region, SECOND));
    ANSWERS(FB_OK, fb_permits_try_acquire(exports, "ada", 3, &second, NULL));
    ANSWERS(FB_DENIED, fb_permits_try_acquire(exports, "ada", 3, &third, &refusal));
    CHECK(refusal.reason == FB_REASON_LIMIT && refusal.reserved == 0);
    CHECK(refusal.retry_after_ns == 9 * SECOND && third.record == 7 && third.word == 7);
    char words[128];
    CHECK(fb_permits_refusal(exports, &refusal, words, sizeof words) == strlen(words));
    CHECK(strcmp(words, "the permits 'exports' are all out: retry within 9s") == 0);
    ANSWERS(FB_DENIED, fb_permits_try_acquire(exports, "ada", 3, &third, NULL));
    ANSWERS(FB_OK, fb_permits_in_use(exports, "ada", 3, &number));
    CHECK(number == 2);

    /* By any handle of this process; once. */
    ANSWERS(FB_OK, fb_permits_open(region, "exports", NULL, &other));
    ANSWERS(FB_OK, fb_permits_release(other, &first));
    ANSWERS(FB_LATE, fb_permits_release(exports, &first));
    ANSWERS(FB_LATE, fb_permits_renew(exports, &first));
    ANSWERS(FB_OK, fb_permits_try_acquire(exports, "ada", 3, &third, NULL));
    ANSWERS(FB_LATE, fb_permits_release(exports, &first));

    /* Renewed it is another; its time ends it. */
    const fb_lease before = second;
    ANSWERS(FB_OK, fb_region_advance(region, 5 * SECOND));
    ANSWERS(FB_OK, fb_permits_ends_in(exports, &second, &number));
    CHECK(number == 5 * SECOND);
    ANSWERS(FB_OK, fb_permits_renew(exports, &second));
    ANSWERS(FB_OK, fb_permits_ends_in(exports, &second, &number));
    CHECK(number == 10 * SECOND && second.word != before.word);
    ANSWERS(FB_LATE, fb_permits_release(exports, &before));
    ANSWERS(FB_OK, fb_region_advance(region, 10 * SECOND));
    ANSWERS(FB_OK, fb_permits_ends_in(exports, &second, &number));
    CHECK(number == 0);
    ANSWERS(FB_LATE, fb_permits_renew(exports, &second));
    ANSWERS(FB_LATE, fb_permits_release(exports, &second));
    ANSWERS(FB_OK, fb_permits_in_use(exports, "ada", 3, &number));
    CHECK(number == 0);
    fb_permits_stats stats = fb_permits_stats_init();
    ANSWERS(FB_OK, fb_permits_get_stats(exports, &stats));
    CHECK(stats.granted == 3 && stats.refused == 2 && stats.expired > 0 && stats.reaped == 0);

    /* The limit of the newest opener applies to all. */
    fb_permits *again = NULL;
    options.limit = 1;
    options.lease_ns = 0;
    options.max_leases = 0;
    ANSWERS(FB_OK, fb_permits_open(region, "exports", &options, &again));
    ANSWERS(FB_OK, fb_permits_try_acquire(exports, "bob", 3, &first, NULL));
    ANSWERS(FB_DENIED, fb_permits_try_acquire(other, "bob", 3, &second, &refusal));
    CHECK(refusal.retry_after_ns == 60 * SECOND);
    fb_object objects[4];
    size_t count = 0;
    ANSWERS(FB_OK, fb_region_objects(region, objects, 4, &count));
    CHECK(count == 1 && objects[0].kind == FB_KIND_PERMITS);
    ANSWERS(FB_OK, fb_permits_close(again));
    ANSWERS(FB_OK, fb_permits_close(other));
    options.max_leases = 200;
    FAILS(FB_E_GEOMETRY, NULL, fb_permits_open(region, "exports", &options, &other));
    ANSWERS(FB_E_NOT_FOUND, fb_permits_open(region, "none", NULL, &other));
    ANSWERS(FB_OK, fb_permits_release(exports, &first));
    ANSWERS(FB_OK, fb_permits_close(exports));
    ANSWERS(FB_OK, fb_region_close(region));
}

static void several_limits(void) {
    fb_region *region = open_region();
    fb_region *other = open_region();
    fb_limiter *each = limiter_of(region, "each", "1/s burst 2");
    fb_limiter *all = limiter_of(other, "all", "1/s burst 3"); /* of another region */
    fb_request requests[] = {fb_request_of(each, "a", 1), fb_request_of(all, NULL, 0)};
    fb_verdict verdicts[2];
    CHECK(requests[0].cost == 1 && requests[0].now_ns == FB_NOW && requests[0].tier == NULL);
    ANSWERS(FB_OK, fb_take_all(requests, 2, verdicts));
    CHECK(verdicts[0].remaining == 1 && verdicts[1].remaining == 2);
    ANSWERS(FB_OK, fb_take_all(requests, 2, NULL));
    ANSWERS(FB_DENIED, fb_take_all(requests, 2, verdicts));
    CHECK(verdicts[0].retry_after_ns == SECOND && verdicts[0].remaining == 0);
    CHECK(verdicts[1].retry_after_ns == 0 && verdicts[1].remaining == 1);
    requests[0].tier = "pro";
    requests[1].cost = 0; /* only looks */
    requests[0].key = "pro";
    requests[0].key_len = 3;
    ANSWERS(FB_OK, fb_take_all(requests, 2, verdicts));
    CHECK(verdicts[0].limit == 20 && verdicts[0].remaining == 19);
    ANSWERS(FB_OK, fb_limiter_peek(all, NULL, 0, verdicts));
    CHECK(verdicts[0].remaining == 1);
    ANSWERS(FB_OK, fb_take_all(NULL, 0, NULL));

    /* As headers. */
    const fb_limit limits[] = {{"each", verdicts[0], NULL, 0}, {"all \"1\"", verdicts[0], NULL, 0}};
    const char wanted[] = "RateLimit-Policy: \"each\";q=3;w=3, \"all \\\"1\\\"\";q=3;w=3\r\n"
                          "RateLimit: \"each\";r=1;t=2, \"all \\\"1\\\"\";r=1;t=2\r\n";
    char text[512];
    size_t len = 0;
    memset(text, '.', sizeof text);
    ANSWERS(FB_E_TOO_LARGE, fb_headers(limits, 2, "draft-10", FB_NOW, NULL, 0, &len));
    CHECK(len == sizeof wanted - 1);
    FAILS(FB_E_TOO_LARGE, NULL, fb_headers(limits, 2, "draft-10", FB_NOW, text, len, &len));
    CHECK(len == sizeof wanted - 1 && text[0] == '.');
    ANSWERS(FB_OK, fb_headers(limits, 2, "draft-10", FB_NOW, text, len + 1, &len));
    CHECK(len == sizeof wanted - 1 && strcmp(text, wanted) == 0);
    /* The reset in seconds since 1970, by a clock that is given or by ours. */
    ANSWERS(FB_OK, fb_headers(limits, 1, "legacy", 100 * SECOND, text, sizeof text, &len));
    CHECK(strcmp(text, "X-RateLimit-Limit: 3\r\nX-RateLimit-Remaining: 1\r\n"
                       "X-RateLimit-Reset: 102\r\n") == 0);
    const uint64_t before = (uint64_t)time(NULL);
    ANSWERS(FB_OK, fb_headers(limits, 1, "legacy", FB_NOW, text, sizeof text, &len));
    const uint64_t reset = strtoull(strstr(text, "Reset: ") + 7, NULL, 10);
    CHECK(reset >= before + 2 && reset <= (uint64_t)time(NULL) + 3);
    /* No style: only when to come back. */
    ANSWERS(FB_OK, fb_headers(limits, 1, "", FB_NOW, text, sizeof text, &len));
    CHECK(len == 0 && text[0] == 0);
    ANSWERS(FB_OK, fb_limiter_take(each, "h", 1, NULL));
    ANSWERS(FB_OK, fb_limiter_take(each, "h", 1, NULL));
    fb_limit told = {"each", verdicts[0], "foo", 3};
    ANSWERS(FB_OK, fb_headers(&told, 1, "draft-8", FB_NOW, text, sizeof text, &len));
    CHECK(strstr(text, "Policy: \"each\"; q=3; w=3; pk=:MmMyNmI0NmI2OGZm:\r\n") != NULL);
    /* The empty key is one that is not NULL. */
    told.key_len = 0;
    ANSWERS(FB_OK, fb_headers(&told, 1, "draft-10", FB_NOW, text, sizeof text, &len));
    CHECK(strstr(text, ";w=3;pk=:ZTNiMGM0NDI5OGZj:\r\n") != NULL);
    told.key = NULL;
    ANSWERS(FB_OK, fb_headers(&told, 1, "draft-10", FB_NOW, text, sizeof text, &len));
    CHECK(strstr(text, ";w=3\r\n") != NULL && strstr(text, "pk") == NULL);
    fb_limit refused = {"each", {0, 0, 0, 0, 0}, NULL, 0};
    ANSWERS(FB_DENIED, fb_limiter_take(each, "h", 1, &refused.verdict));
    ANSWERS(FB_OK, fb_headers(&refused, 1, "", FB_NOW, text, sizeof text, &len));
    CHECK(strcmp(text, "Retry-After: 1\r\n") == 0);
    ANSWERS(FB_OK, fb_limiter_close(each));
    ANSWERS(FB_OK, fb_limiter_close(all));
    ANSWERS(FB_OK, fb_region_close(region));
    ANSWERS(FB_OK, fb_region_close(other));
}

static void addresses_of_clients(void) {
    char text[64];
    size_t len = 0;
    const char *const forwarded = "6.6.6.6, 203.0.113.9";
    ANSWERS(FB_OK, fb_client_address("10.0.0.7:443", forwarded, strlen(forwarded), 1, 64, text,
                                     sizeof text, &len));
    CHECK(len == 11 && strcmp(text, "203.0.113.9") == 0);
    ANSWERS(FB_OK, fb_client_address("10.0.0.7", forwarded, strlen(forwarded), 0, 64, text,
                                     sizeof text, &len));
    CHECK(strcmp(text, "10.0.0.7") == 0);
    len = 0;
    ANSWERS(FB_E_TOO_LARGE, fb_client_address("::1", NULL, 0, 0, 64, text, 5, &len));
    CHECK(len == 5);
    ANSWERS(FB_OK, fb_client_address("::1", NULL, 0, 0, 64, text, 6, &len));
    CHECK(strcmp(text, "::/64") == 0);
    ANSWERS(FB_OK, fb_client_address("[2001:db8:1:2:3:4:5:6]:80", NULL, 0, 0, 128, text,
                                     sizeof text, &len));
    CHECK(strcmp(text, "2001:db8:1:2:3:4:5:6/128") == 0);
    ANSWERS(FB_OK, fb_client_address("2001:db8::1", NULL, 0, 0, 0, text, sizeof text, &len));
    CHECK(strcmp(text, "::/0") == 0);
}

struct place {
    char *memory;
    size_t asked;
    int refuse;
};

static void *place(void *context, size_t length) {
    struct place *to = (struct place *)context;
    to->asked = length;
    free(to->memory);
    to->memory = to->refuse ? NULL : (char *)malloc(length + 1);
    return to->memory;
}

static void a_cache(void) {
    fb_region *region = open_region();
    fb_cache_options options = fb_cache_options_init();
    options.bytes = 1 << 20;
    options.max_entries = 500;
    options.ttl_ns = 60 * SECOND;
    options.shards = 1;
    fb_cache *cache = NULL;
    ANSWERS(FB_OK, fb_cache_open(region, "pages", &options, &cache));

    char buf[64];
    size_t len = 99;
    ANSWERS(FB_MISS, fb_cache_get(cache, "k", 1, buf, sizeof buf, &len));
    CHECK(len == 99);
    ANSWERS(FB_OK, fb_cache_set(cache, "k", 1, "value", 5));
    memset(buf, '.', sizeof buf);
    ANSWERS(FB_OK, fb_cache_get(cache, "k", 1, buf, sizeof buf, &len));
    CHECK(len == 5 && memcmp(buf, "value", 5) == 0);

    /* Too little room: the length is told and nothing copied. */
    memset(buf, '.', sizeof buf);
    len = 0;
    FAILS(FB_E_TOO_LARGE, "buf: 5 bytes; allowed: at most 4", fb_cache_get(cache, "k", 1, buf, 4, &len));
    CHECK(len == 5 && buf[0] == '.');
    len = 0;
    ANSWERS(FB_E_TOO_LARGE, fb_cache_get(cache, "k", 1, NULL, 0, &len));
    CHECK(len == 5);
    ANSWERS(FB_OK, fb_cache_get(cache, "k", 1, buf, 5, &len));

    /* A place that is asked for. */
    struct place to = {NULL, 0, 0};
    len = 0;
    ANSWERS(FB_OK, fb_cache_get_with(cache, "k", 1, place, &to, &len));
    CHECK(len == 5 && to.asked == 5 && memcmp(to.memory, "value", 5) == 0);
    ANSWERS(FB_MISS, fb_cache_get_with(cache, "none", 4, place, &to, &len));
    to.refuse = 1;
    len = 0;
    ANSWERS(FB_E_TOO_LARGE, fb_cache_get_with(cache, "k", 1, place, &to, &len));
    CHECK(len == 5);
    to.refuse = 0;

    /* Empty keys and values are keys and values. */
    ANSWERS(FB_OK, fb_cache_set(cache, NULL, 0, NULL, 0));
    len = 99;
    ANSWERS(FB_OK, fb_cache_get(cache, "", 0, NULL, 0, &len));
    CHECK(len == 0);
    len = 99;
    ANSWERS(FB_OK, fb_cache_get_with(cache, NULL, 0, place, &to, &len));
    CHECK(len == 0 && to.asked == 0);
    free(to.memory);

    /* What is known of an entry. */
    fb_entry entry = fb_entry_init();
    ANSWERS(FB_OK, fb_cache_set_with(cache, "j", 1, "{}", 2, 10 * SECOND, FB_CODEC_JSON));
    ANSWERS(FB_OK, fb_region_advance(region, 3 * SECOND));
    ANSWERS(FB_OK, fb_cache_entry(cache, "j", 1, buf, sizeof buf, &len, &entry));
    CHECK(len == 2 && memcmp(buf, "{}", 2) == 0 && entry.codec == FB_CODEC_JSON);
    CHECK(entry.age_ns == 3 * SECOND && entry.ttl_ns == 7 * SECOND);
    CHECK(entry.struct_size == sizeof entry);
    const uint64_t version = entry.version;
    ANSWERS(FB_OK, fb_cache_set_with(cache, "j", 1, "[]", 2, FB_NEVER, 200));
    ANSWERS(FB_OK, fb_cache_entry(cache, "j", 1, buf, sizeof buf, &len, &entry));
    CHECK(entry.codec == 200 && entry.ttl_ns == FB_NEVER && entry.version != version);
    len = 0;
    ANSWERS(FB_E_TOO_LARGE, fb_cache_entry(cache, "j", 1, buf, 1, &len, &entry));
    CHECK(len == 2);
    ANSWERS(FB_MISS, fb_cache_entry(cache, "none", 4, buf, sizeof buf, &len, &entry));

    /* Time passes: the cache's TTL, the entry's, none. */
    ANSWERS(FB_OK, fb_cache_set_with(cache, "own", 3, "v", 1, 5 * SECOND, FB_CODEC_BYTES));
    ANSWERS(FB_OK, fb_cache_set_with(cache, "usual", 5, "v", 1, 0, FB_CODEC_BYTES));
    ANSWERS(FB_OK, fb_region_advance(region, 6 * SECOND));
    ANSWERS(FB_MISS, fb_cache_contains(cache, "own", 3));
    ANSWERS(FB_OK, fb_cache_contains(cache, "usual", 5));
    ANSWERS(FB_OK, fb_region_advance(region, 60 * SECOND));
    ANSWERS(FB_MISS, fb_cache_contains(cache, "usual", 5));
    ANSWERS(FB_OK, fb_cache_contains(cache, "j", 1));

    ANSWERS(FB_OK, fb_cache_delete(cache, "j", 1));
    ANSWERS(FB_MISS, fb_cache_delete(cache, "j", 1));

    /* Larger than an item may be. */
    char *large = (char *)calloc(1, 1 << 20);
    ANSWERS(FB_OK, fb_cache_set(cache, "large", 5, "old", 3));
    ANSWERS(FB_NOT_STORED, fb_cache_set(cache, "large", 5, large, 1 << 20));
    ANSWERS(FB_MISS, fb_cache_contains(cache, "large", 5));
    free(large);

    uint64_t entries = 99;
    ANSWERS(FB_OK, fb_cache_set(cache, "a", 1, "1", 1));
    ANSWERS(FB_OK, fb_cache_clear(cache));
    ANSWERS(FB_MISS, fb_cache_contains(cache, "a", 1));
    ANSWERS(FB_OK, fb_cache_set(cache, "b", 1, "2", 1));
    ANSWERS(FB_OK, fb_cache_len(cache, &entries));
    CHECK(entries == 1);

    fb_cache_stats stats = fb_cache_stats_init();
    ANSWERS(FB_OK, fb_cache_get_stats(cache, &stats));
    CHECK(stats.hits > 0 && stats.misses > 0 && stats.sets > 0 && stats.deletes > 0);
    CHECK(stats.too_large == 1 && stats.entries == 1 && stats.max_entries == 500);
    CHECK(stats.shards == 1 && stats.resets == 0 && stats.bytes_used <= stats.bytes_capacity);
    CHECK(stats.max_item > 0 && stats.max_item < 1 << 20);

    fb_cache *again = NULL;
    ANSWERS(FB_OK, fb_cache_open(region, "pages", NULL, &again));
    ANSWERS(FB_OK, fb_cache_contains(again, "b", 1));
    options.bytes = 2 << 20;
    ANSWERS(FB_E_GEOMETRY, fb_cache_open(region, "pages", &options, &again));
    ANSWERS(FB_E_NOT_FOUND, fb_cache_open(region, "none", NULL, &again));
    ANSWERS(FB_E_WRONG_KIND, fb_histogram_open(region, "pages", NULL, (fb_histogram **)&again));
    ANSWERS(FB_OK, fb_cache_contains(again, "b", 1));
    ANSWERS(FB_OK, fb_cache_close(again));
    ANSWERS(FB_OK, fb_cache_close(cache));
    ANSWERS(FB_OK, fb_region_close(region));
}

static uint64_t permit_of(fb_breaker *breaker) {
    uint64_t permit = 0;
    ANSWERS(FB_OK, fb_breaker_enter(breaker, &permit, NULL));
    return permit;
}

static uint32_t state_of(fb_breaker *breaker) {
    uint32_t state = 99;
    ANSWERS(FB_OK, fb_breaker_state(breaker, &state));
    return state;
}

static void a_breaker(void) {
    fb_region *region = open_region();
    fb_breaker_options options = fb_breaker_options_init();
    options.failure_threshold = 3;
    options.failure_rate = FB_NO_RATE;
    options.open_for_ns = 10 * SECOND;
    options.success_threshold = 1;
    fb_breaker *breaker = NULL;
    ANSWERS(FB_OK, fb_breaker_open(region, "origin", &options, &breaker));
    CHECK(state_of(breaker) == FB_STATE_CLOSED);

    ANSWERS(FB_OK, fb_breaker_success(breaker, permit_of(breaker)));
    ANSWERS(FB_OK, fb_breaker_ignore(breaker, permit_of(breaker)));
    const uint64_t slow = permit_of(breaker);
    for (int i = 0; i < 3; i++) {
        ANSWERS(FB_OK, fb_breaker_failure(breaker, permit_of(breaker)));
    }
    CHECK(state_of(breaker) == FB_STATE_OPEN);

    uint64_t permit = 77, wait = 0;
    ANSWERS(FB_REJECTED, fb_breaker_enter(breaker, &permit, &wait));
    CHECK(permit == 77 && wait == 10 * SECOND);
    ANSWERS(FB_REJECTED, fb_breaker_enter(breaker, &permit, NULL));
    ANSWERS(FB_LATE, fb_breaker_success(breaker, slow));

    char text[128];
    const size_t length = fb_breaker_rejection(breaker, wait, text, sizeof text);
    CHECK(length == strlen(text) && strstr(text, "'origin' is open") != NULL);

    ANSWERS(FB_OK, fb_region_advance(region, 10 * SECOND));
    permit = permit_of(breaker);
    CHECK(state_of(breaker) == FB_STATE_HALF_OPEN);
    ANSWERS(FB_REJECTED, fb_breaker_enter(breaker, &permit, NULL));
    ANSWERS(FB_OK, fb_breaker_success(breaker, permit));
    CHECK(state_of(breaker) == FB_STATE_CLOSED);

    fb_breaker_stats stats = fb_breaker_stats_init();
    ANSWERS(FB_OK, fb_breaker_get_stats(breaker, &stats));
    CHECK(stats.successes == 2 && stats.failures == 3 && stats.ignored == 1);
    CHECK(stats.rejected == 3 && stats.late == 1 && stats.probes == 1);
    CHECK(stats.opened == 1 && stats.half_opened == 1 && stats.closed == 1);

    fb_breaker *again = NULL;
    ANSWERS(FB_OK, fb_breaker_open(region, "origin", NULL, &again));
    ANSWERS(FB_E_NOT_FOUND, fb_breaker_open(region, "none", NULL, &breaker));
    ANSWERS(FB_OK, fb_breaker_close(again));

    /* What happened can be read, in pages of any size. */
    fb_event events[3];
    size_t count = 99;
    uint64_t next = 0, lost = 99, opened = 0, closed = 0, all = 0;
    do {
        ANSWERS(FB_OK, fb_region_events(region, next, events, 3, &count, &next, &lost));
        CHECK(count <= 3 && lost == 0);
        for (size_t i = 0; i < count; i++) {
            opened += events[i].kind == FB_EVENT_BREAKER_OPENED;
            closed += events[i].kind == FB_EVENT_BREAKER_CLOSED;
            CHECK(strcmp(events[i].object, "origin") == 0);
            all++;
        }
    } while (count > 0);
    CHECK(opened == 1 && closed == 1 && all == 4);
    ANSWERS(FB_OK, fb_region_events(region, next, NULL, 0, &count, &next, NULL));
    CHECK(count == 0);

    ANSWERS(FB_OK, fb_breaker_close(breaker));
    ANSWERS(FB_OK, fb_region_close(region));
}

static void a_breaker_of_rates_alone(void) {
    fb_region *region = open_region();
    fb_breaker_options options = fb_breaker_options_init();
    options.failure_threshold = FB_NO_THRESHOLD;
    options.failure_rate = 0.25;
    options.volume_threshold = 20;
    fb_breaker *breaker = NULL;
    ANSWERS(FB_OK, fb_breaker_open(region, "rate", &options, &breaker));
    for (int i = 0; i < 15; i++) {
        ANSWERS(FB_OK, fb_breaker_success(breaker, permit_of(breaker)));
    }
    for (int i = 0; i < 4; i++) {
        ANSWERS(FB_OK, fb_breaker_failure(breaker, permit_of(breaker)));
    }
    CHECK(state_of(breaker) == FB_STATE_CLOSED);
    ANSWERS(FB_OK, fb_breaker_failure(breaker, permit_of(breaker)));
    CHECK(state_of(breaker) == FB_STATE_OPEN);
    ANSWERS(FB_OK, fb_breaker_close(breaker));
    ANSWERS(FB_OK, fb_region_close(region));
}

static void a_histogram(void) {
    fb_region *region = open_region();
    fb_histogram_options options = fb_histogram_options_init();
    fb_histogram *histogram = NULL;
    ANSWERS(FB_OK, fb_histogram_open(region, "http", &options, &histogram));

    uint64_t ns = 99;
    ANSWERS(FB_EMPTY, fb_histogram_percentile(histogram, 50, &ns));
    const double percents[] = {0, 50, 100};
    uint64_t several[3] = {7, 7, 7};
    ANSWERS(FB_EMPTY, fb_histogram_percentiles(histogram, percents, several, 3));
    CHECK(ns == 99 && several[2] == 7);
    fb_snapshot snapshot = fb_snapshot_init();
    ANSWERS(FB_OK, fb_histogram_snapshot(histogram, &snapshot));
    CHECK(snapshot.count == 0 && snapshot.sum_ns == 0 && snapshot.min_ns == 0 && snapshot.max_ns == 0);

    for (uint64_t i = 1; i <= 100; i++) {
        ANSWERS(FB_OK, fb_histogram_record_ns(histogram, i * 1000000));
    }
    ANSWERS(FB_OK, fb_histogram_percentile(histogram, 50, &ns));
    CHECK(fabs((double)ns / 50e6 - 1) < 0.012);
    ANSWERS(FB_OK, fb_histogram_percentiles(histogram, percents, several, 3));
    CHECK(fabs((double)several[0] / 1e6 - 1) < 0.012 && several[1] == ns);
    CHECK(fabs((double)several[2] / 100e6 - 1) < 0.012);
    ANSWERS(FB_OK, fb_histogram_percentiles(histogram, NULL, NULL, 0));
    ANSWERS(FB_OK, fb_histogram_snapshot(histogram, &snapshot));
    CHECK(snapshot.count == 100 && snapshot.sum_ns == UINT64_C(5050000000));
    CHECK(snapshot.mean_ns == 50500000 && snapshot.min_ns == 1000000 && snapshot.max_ns == 100000000);

    size_t count = 0;
    ANSWERS(FB_E_TOO_LARGE, fb_histogram_buckets(histogram, NULL, 0, &count));
    fb_bucket *buckets = (fb_bucket *)calloc(count, sizeof *buckets);
    ANSWERS(FB_OK, fb_histogram_buckets(histogram, buckets, count, &count));
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        CHECK(buckets[i].count > 0 && (i == 0 || buckets[i].upper_seconds > buckets[i - 1].upper_seconds));
        sum += buckets[i].count;
    }
    CHECK(sum == 100);
    free(buckets);
    ANSWERS(FB_OK, fb_histogram_close(histogram));
    ANSWERS(FB_OK, fb_region_close(region));
}

static void what_a_region_holds(void) {
    fb_region *region = open_region();
    size_t count = 99;
    ANSWERS(FB_OK, fb_region_objects(region, NULL, 0, &count));
    CHECK(count == 0);
    fb_limiter_options limiter_options = fb_limiter_options_init();
    limiter_options.rate = fb_rate_text("5/s");
    fb_limiter *limiter = NULL;
    fb_histogram *histogram = NULL;
    ANSWERS(FB_OK, fb_limiter_open(region, "one", &limiter_options, &limiter));
    ANSWERS(FB_OK, fb_histogram_open(region, "two", NULL, &histogram));

    fb_object objects[4];
    memset(objects, 0, sizeof objects);
    ANSWERS(FB_E_TOO_LARGE, fb_region_objects(region, objects, 1, &count));
    CHECK(count == 2 && objects[0].name[0] == 0);
    ANSWERS(FB_OK, fb_region_objects(region, objects, 4, &count));
    CHECK(count == 2);
    CHECK(strcmp(objects[0].name, "one") == 0 && objects[0].kind == FB_KIND_LIMITER);
    CHECK(strcmp(objects[1].name, "two") == 0 && objects[1].kind == FB_KIND_HISTOGRAM);
    CHECK(objects[0].bytes > 0 && objects[2].name[0] == 0);

    fb_region_stats stats = fb_region_stats_init();
    ANSWERS(FB_OK, fb_region_get_stats(region, &stats));
    CHECK(stats.objects == 2 && stats.shared == 0 && stats.seats == 1 && stats.seats_max >= 1);
    CHECK(stats.bytes == 8 << 20 && stats.used > 0 && stats.used < stats.bytes);
    CHECK(stats.events == 2 && stats.events_dropped == 0 && stats.resets == 0);

    char path[16];
    size_t len = 99;
    ANSWERS(FB_MISS, fb_region_path(region, path, sizeof path, &len));
    CHECK(len == 99);
    ANSWERS(FB_OK, fb_limiter_close(limiter));
    ANSWERS(FB_OK, fb_histogram_close(histogram));
    ANSWERS(FB_OK, fb_region_close(region));
}

static void a_shared_region(void) {
    const char *folder = getenv("FOREBAY_TEST_OUT");
    char path[4096];
    snprintf(path, sizeof path, "%s/api-c.region", folder != NULL ? folder : "/tmp");
    fb_region_options options = fb_region_options_init();
    options.name_or_path = path;
    options.flags = FB_REGION_EPHEMERAL | FB_REGION_FRESH | FB_REGION_MANUAL_CLOCK;
    options.bytes = 1 << 20;
    options.mode = 0600;
    fb_region *one = NULL, *two = NULL;
    ANSWERS(FB_OK, fb_region_open(&options, &one));
    options.flags = FB_REGION_NO_CREATE;
    ANSWERS(FB_OK, fb_region_open(&options, &two));
    CHECK(one != two);

    char told[4096];
    size_t len = 0;
    ANSWERS(FB_E_TOO_LARGE, fb_region_path(one, told, strlen(path), &len));
    CHECK(len == strlen(path));
    ANSWERS(FB_OK, fb_region_path(one, told, len + 1, &len));
    CHECK(strcmp(told, path) == 0);
    fb_region_stats stats = fb_region_stats_init();
    ANSWERS(FB_OK, fb_region_get_stats(two, &stats));
    CHECK(stats.shared == 1 && stats.seats == 1 && stats.bytes == 1 << 20);

    /* Both handles see one histogram and one clock. */
    fb_histogram *in_one = NULL, *in_two = NULL;
    ANSWERS(FB_OK, fb_histogram_open(one, "h", NULL, &in_one));
    ANSWERS(FB_OK, fb_histogram_open(two, "h", NULL, &in_two));
    ANSWERS(FB_OK, fb_histogram_record_ns(in_one, 5));
    uint64_t ns = 0;
    ANSWERS(FB_OK, fb_histogram_percentile(in_two, 50, &ns));
    CHECK(ns == 5);
    ANSWERS(FB_OK, fb_histogram_close(in_one));
    ANSWERS(FB_OK, fb_histogram_close(in_two));
    ANSWERS(FB_OK, fb_region_close(one));
    ANSWERS(FB_OK, fb_region_close(two));

    /* Ephemeral: it went with the last handle. */
    ANSWERS(FB_E_NOT_FOUND, fb_region_open(&options, &one));
}

static void keys_of_parts(void) {
    const void *parts[] = {"a", "bc", NULL};
    const size_t lens[] = {1, 2, 0};
    unsigned char key[32];
    size_t len = 0;
    ANSWERS(FB_OK, fb_key_join(parts, lens, 3, key, sizeof key, &len));
    CHECK(len == 15 && memcmp(key, "\1\0\0\0a\2\0\0\0bc\0\0\0\0", 15) == 0);
    len = 0;
    ANSWERS(FB_E_TOO_LARGE, fb_key_join(parts, lens, 3, key, 14, &len));
    CHECK(len == 15);
    ANSWERS(FB_OK, fb_key_join(NULL, NULL, 0, NULL, 0, &len));
    CHECK(len == 0);
}

int main(void) {
    the_last_error_is_cut_to_fit();
    versions_and_names();
    time_moves_when_told();
    a_limiter();
    figures_of_tiers();
    refunds_penalties_and_blocks();
    reservations();
    several_rates();
    algorithms_and_switches();
    a_window_counter();
    permits();
    several_limits();
    addresses_of_clients();
    a_cache();
    a_breaker();
    a_breaker_of_rates_alone();
    a_histogram();
    what_a_region_holds();
    a_shared_region();
    keys_of_parts();
    return finish();
}
