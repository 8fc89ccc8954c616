/* Hot calls allocate nothing, also when they answer no or the buffer is too
 * small. Counted by standing in for malloc, which the library calls by name. */
#include "check.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

/* glibc's own, behind the names. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_ulong allocations;

void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    allocations++;
    return __libc_calloc(count, size);
}
void *realloc(void *memory, size_t size) {
    allocations++;
    return __libc_realloc(memory, size);
}
int posix_memalign(void **memory, size_t alignment, size_t size) {
    allocations++;
    *memory = __libc_memalign(alignment, size);
    return *memory == NULL ? 12 : 0;
}
void *aligned_alloc(size_t alignment, size_t size) {
    allocations++;
    return __libc_memalign(alignment, size);
}

static void *into(void *context, size_t length) {
    (void)length;
    return context;
}

int main(void) {
    fb_region *region = NULL;
    fb_limiter *limiter = NULL;
    fb_cache *cache = NULL;
    fb_breaker *breaker = NULL;
    fb_breaker *open = NULL;
    fb_histogram *histogram = NULL;
    fb_limiter *sliding = NULL;
    fb_window *window = NULL;
    fb_permits *permits = NULL;
    fb_limiter_options limiter_options = fb_limiter_options_init();
    const fb_tier tiers[] = {{"pro", fb_rate_text("100000/s")}};
    limiter_options.rate = fb_rate_text("5/s");
    limiter_options.tiers = tiers;
    limiter_options.tier_count = 1;
    fb_cache_options cache_options = fb_cache_options_init();
    cache_options.bytes = 256 << 10;
    fb_breaker_options breaker_options = fb_breaker_options_init();
    breaker_options.failure_threshold = 1;
    const unsigned long before_opening = allocations;
    ANSWERS(FB_OK, fb_region_open(NULL, &region));
    /* The counting counts. */
    CHECK(allocations > before_opening);
    ANSWERS(FB_OK, fb_limiter_open(region, "l", &limiter_options, &limiter));
    ANSWERS(FB_OK, fb_cache_open(region, "c", &cache_options, &cache));
    ANSWERS(FB_OK, fb_breaker_open(region, "b", &breaker_options, &breaker));
    ANSWERS(FB_OK, fb_breaker_open(region, "open", &breaker_options, &open));
    ANSWERS(FB_OK, fb_histogram_open(region, "h", NULL, &histogram));
    fb_limiter_options sliding_options = fb_limiter_options_init();
    sliding_options.rate = fb_rate_text("100/s and 1000/min");
    sliding_options.algorithm = FB_ALGORITHM_SLIDING;
    sliding_options.on_full = FB_ON_FULL_STRICT;
    sliding_options.flags = FB_LIMITER_SHOW_KEYS;
    sliding_options.max_keys = 10000;
    fb_window_options window_options = fb_window_options_init();
    window_options.max_keys = 10000;
    fb_permits_options permits_options = fb_permits_options_init();
    permits_options.limit = 2;
    ANSWERS(FB_OK, fb_limiter_open(region, "s", &sliding_options, &sliding));
    ANSWERS(FB_OK, fb_window_open(region, "w", &window_options, &window));
    ANSWERS(FB_OK, fb_permits_open(region, "p", &permits_options, &permits));
    fb_count count;
    fb_lease lease = {0, 0}, kept = {0, 0};
    fb_refusal refusal;
    ANSWERS(FB_OK, fb_permits_try_acquire(permits, "full", 4, &lease, NULL));
    ANSWERS(FB_OK, fb_permits_try_acquire(permits, "full", 4, &kept, NULL));
    uint64_t permit = 0, wait = 0, number = 0;
    fb_reservation place = {0, {0, 0, 0, 0}};
    ANSWERS(FB_OK, fb_breaker_enter(open, &permit, NULL));
    ANSWERS(FB_OK, fb_breaker_failure(open, permit));

    static char value[2000];
    char buf[2000];
    char little[10];
    size_t len = 0;
    unsigned long answers = 0;
    fb_verdict verdict;
    fb_entry entry = fb_entry_init();
    fb_limiter_stats limiter_stats = fb_limiter_stats_init();
    fb_breaker_stats breaker_stats = fb_breaker_stats_init();
    const void *parts[] = {"tenant", "user"};
    const size_t lens[] = {6, 4};

    /* A thread's first error makes the place for its errors. */
    ANSWERS(FB_OK, fb_cache_set(cache, "k", 1, value, 100));
    ANSWERS(FB_E_TOO_LARGE, fb_cache_get(cache, "k", 1, little, 10, &len));

    const unsigned long before = allocations;
    for (unsigned i = 0; i < 20000; i++) {
        const unsigned key = i % 700;
        answers += (unsigned long)fb_limiter_take(limiter, &key, sizeof key, &verdict);
        answers += (unsigned long)fb_limiter_take_with(limiter, &i, sizeof i, 3, "pro", FB_NOW, NULL);
        answers += (unsigned long)fb_limiter_take_with(limiter, &i, sizeof i, 1, "none", FB_NOW, NULL);
        answers += (unsigned long)fb_limiter_peek(limiter, &key, sizeof key, &verdict);
        answers += (unsigned long)fb_limiter_reset(limiter, &i, sizeof i);
        answers += (unsigned long)fb_limiter_refund(limiter, &key, sizeof key, 1, &verdict);
        answers += (unsigned long)fb_limiter_refund_with(limiter, &i, sizeof i, 2, "pro", NULL);
        answers += (unsigned long)fb_limiter_penalize(limiter, &i, sizeof i, 1, &verdict);
        answers += (unsigned long)fb_limiter_penalize_with(limiter, &i, sizeof i, 2, "pro", FB_NOW, NULL);
        answers += (unsigned long)fb_limiter_block(limiter, &i, sizeof i, 1);
        answers += (unsigned long)fb_limiter_unblock(limiter, &i, sizeof i);
        answers += (unsigned long)fb_limiter_reserve(limiter, &key, sizeof key, 1000000000, &wait, &place, &verdict);
        answers += (unsigned long)fb_limiter_until_due(limiter, place.due_ns, &wait);
        answers += (unsigned long)fb_limiter_cancel(limiter, &key, sizeof key, &place);
        answers += (unsigned long)fb_limiter_reserve_with(limiter, &i, sizeof i, 9, "none", FB_NOW, 0, &wait, &place, NULL);
        answers += (unsigned long)fb_limiter_cancel_with(limiter, &i, sizeof i, 3, "pro", &place);
        answers += (unsigned long)fb_limiter_acquire(limiter, &key, sizeof key, 0, &verdict);
        answers += (unsigned long)fb_limiter_acquire_with(limiter, &i, sizeof i, 1, "pro", FB_NOW, 0, NULL);
        answers += (unsigned long)fb_cache_set(cache, &key, sizeof key, value, i % 2000);
        answers += (unsigned long)fb_cache_set_with(cache, &i, sizeof i, value, 100, 1000000, 2);
        answers += (unsigned long)(fb_cache_get(cache, &key, sizeof key, buf, sizeof buf, &len) == 0);
        answers += (unsigned long)(fb_cache_get(cache, &key, sizeof key, little, 10, &len) == 0);
        answers += (unsigned long)fb_cache_get_with(cache, &key, sizeof key, into, buf, &len);
        answers += (unsigned long)fb_cache_entry(cache, &key, sizeof key, buf, sizeof buf, &len, &entry);
        answers += (unsigned long)fb_cache_contains(cache, &key, sizeof key);
        answers += (unsigned long)fb_cache_get(cache, "no such key", 11, buf, sizeof buf, &len);
        answers += (unsigned long)fb_cache_delete(cache, &i, sizeof i);
        answers += (unsigned long)fb_breaker_enter(breaker, &permit, &wait);
        answers += (unsigned long)fb_breaker_success(breaker, permit);
        answers += (unsigned long)fb_breaker_enter(open, &number, &wait);
        answers += (unsigned long)fb_histogram_record_ns(histogram, i);
        answers += (unsigned long)fb_region_now(region, &number);
        answers += (unsigned long)fb_key_join(parts, lens, 2, buf, sizeof buf, &len);
        answers += (unsigned long)fb_limiter_take(sliding, &key, sizeof key, &verdict);
        answers += (unsigned long)fb_limiter_mark(sliding, &key, sizeof key, &number);
        answers += (unsigned long)fb_window_hit(window, &key, sizeof key, 1000000000, &count);
        answers += (unsigned long)fb_window_hit_with(window, &key, sizeof key, 1000000000, 2, 9, &count);
        answers += (unsigned long)fb_window_get(window, &key, sizeof key, &count);
        answers += (unsigned long)fb_window_decrement(window, &i, sizeof i, 1, NULL);
        answers += (unsigned long)fb_window_blocked_for(window, &i, sizeof i, &wait);
        answers += (unsigned long)fb_permits_try_acquire(permits, "full", 4, &lease, &refusal);
        answers += (unsigned long)fb_permits_try_acquire(permits, &key, sizeof key, &lease, NULL);
        answers += (unsigned long)fb_permits_renew(permits, &lease);
        answers += (unsigned long)fb_permits_ends_in(permits, &lease, &wait);
        answers += (unsigned long)fb_permits_in_use(permits, &key, sizeof key, &number);
        answers += (unsigned long)fb_permits_release(permits, &lease);
        answers += (unsigned long)fb_permits_release(permits, &lease);
        answers += (unsigned long)fb_permits_renew(permits, &kept);
        answers += (unsigned long)fb_limiter_get_stats(limiter, &limiter_stats);
        answers += (unsigned long)fb_breaker_get_stats(breaker, &breaker_stats);
    }
    const unsigned long after = allocations;
    printf("%lu allocations in 1000000 calls\n", after - before);
    CHECK(after == before && answers > 0);
    ANSWERS(FB_OK, fb_limiter_close(limiter));
    ANSWERS(FB_OK, fb_limiter_close(sliding));
    ANSWERS(FB_OK, fb_window_close(window));
    ANSWERS(FB_OK, fb_permits_close(permits));
    ANSWERS(FB_OK, fb_cache_close(cache));
    ANSWERS(FB_OK, fb_breaker_close(breaker));
    ANSWERS(FB_OK, fb_breaker_close(open));
    ANSWERS(FB_OK, fb_histogram_close(histogram));
    ANSWERS(FB_OK, fb_region_close(region));
    return finish();
}
