/* forebay from C: a limit, a cache, a breaker and a histogram in one region.
 *
 *     cc first.c -lforebay -o first && ./first
 */
#include <forebay.h>

#include <stdio.h>
#include <string.h>

/* Prints why a call failed; a program of yours would log it. */
static int failed(const char *what) {
    char sentence[256];
    fb_last_error(sentence, sizeof sentence);
    fprintf(stderr, "%s: %s\n", what, sentence);
    return 1;
}

int main(void) {
    /* NULL: private to this process. With options.name_or_path = "shop" every
     * worker on the machine that opens "shop" shares what is below. */
    fb_region *region = NULL;
    if (fb_region_open(NULL, &region) < 0) {
        return failed("region");
    }

    fb_limiter_options limits = fb_limiter_options_init();
    limits.rate = fb_rate_text("60/min burst 3");
    fb_cache_options pages = fb_cache_options_init();
    pages.ttl_ns = UINT64_C(300) * 1000000000; /* five minutes */
    fb_breaker_options origin = fb_breaker_options_init();

    fb_limiter *limiter = NULL;
    fb_cache *cache = NULL;
    fb_breaker *breaker = NULL;
    fb_histogram *histogram = NULL;
    if (fb_limiter_open(region, "api", &limits, &limiter) < 0 ||
        fb_cache_open(region, "pages", &pages, &cache) < 0 ||
        fb_breaker_open(region, "origin", &origin, &breaker) < 0 ||
        fb_histogram_open(region, "http", NULL, &histogram) < 0) {
        return failed("objects");
    }

    const char *address = "203.0.113.7";
    for (int request = 1; request <= 4; request++) {
        fb_verdict verdict;
        if (fb_limiter_take(limiter, address, strlen(address), &verdict) == FB_DENIED) {
            printf("request %d: 429, retry after %.1f s\n", request,
                   (double)verdict.retry_after_ns / 1e9);
            continue;
        }
        uint64_t started = 0, ended = 0, permit = 0;
        fb_region_now(region, &started);
        char page[1024];
        size_t length = 0;
        const char *from = "the cache";
        if (fb_cache_get(cache, "/", 1, page, sizeof page, &length) != FB_OK) {
            if (fb_breaker_enter(breaker, &permit, NULL) == FB_REJECTED) {
                printf("request %d: 503, the origin is down\n", request);
                continue;
            }
            length = (size_t)snprintf(page, sizeof page, "hello"); /* the call */
            fb_breaker_success(breaker, permit);
            fb_cache_set(cache, "/", 1, page, length);
            from = "the origin";
        }
        fb_region_now(region, &ended);
        fb_histogram_record_ns(histogram, ended - started);
        printf("request %d: 200 \"%.*s\" from %s, %llu left\n", request, (int)length, page, from,
               (unsigned long long)verdict.remaining);
    }

    uint64_t p99 = 0;
    if (fb_histogram_percentile(histogram, 99, &p99) == FB_OK) {
        printf("p99: %.1f us\n", (double)p99 / 1e3);
    }

    fb_histogram_close(histogram);
    fb_breaker_close(breaker);
    fb_cache_close(cache);
    fb_limiter_close(limiter);
    fb_region_close(region);
    return 0;
}
