/* A child uses the handles of its parent, and both see what the other did. */
#define _DEFAULT_SOURCE
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct handles {
    fb_region *region;
    fb_limiter *limiter;
    fb_cache *cache;
    fb_breaker *breaker;
    fb_histogram *histogram;
    fb_window *window;
    fb_permits *permits;
};

/* The parent's lease, of two that there may be. */
static fb_lease held;

static struct handles open_all(const fb_region_options *options) {
    struct handles h = {NULL, NULL, NULL, NULL, NULL, NULL, NULL};
    fb_limiter_options limiter = fb_limiter_options_init();
    fb_cache_options cache = fb_cache_options_init();
    fb_breaker_options breaker = fb_breaker_options_init();
    limiter.rate = fb_rate_text("1/day burst 10");
    cache.bytes = 1 << 20;
    breaker.failure_threshold = 3;
    ANSWERS(FB_OK, fb_region_open(options, &h.region));
    ANSWERS(FB_OK, fb_limiter_open(h.region, "l", &limiter, &h.limiter));
    ANSWERS(FB_OK, fb_cache_open(h.region, "c", &cache, &h.cache));
    ANSWERS(FB_OK, fb_breaker_open(h.region, "b", &breaker, &h.breaker));
    ANSWERS(FB_OK, fb_histogram_open(h.region, "h", NULL, &h.histogram));
    fb_window_options window = fb_window_options_init();
    fb_permits_options permits = fb_permits_options_init();
    window.max_keys = 1000;
    permits.limit = 2;
    ANSWERS(FB_OK, fb_window_open(h.region, "w", &window, &h.window));
    ANSWERS(FB_OK, fb_permits_open(h.region, "p", &permits, &h.permits));
    return h;
}

static void close_all(struct handles h) {
    ANSWERS(FB_OK, fb_limiter_close(h.limiter));
    ANSWERS(FB_OK, fb_cache_close(h.cache));
    ANSWERS(FB_OK, fb_breaker_close(h.breaker));
    ANSWERS(FB_OK, fb_histogram_close(h.histogram));
    ANSWERS(FB_OK, fb_window_close(h.window));
    ANSWERS(FB_OK, fb_permits_close(h.permits));
    ANSWERS(FB_OK, fb_region_close(h.region));
}

/* Runs `work` in a child; whether all of its checks passed. */
static int in_a_child(void (*work)(struct handles), struct handles h) {
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        failed_ = 0;
        alarm(20); /* A child that hangs is a child that failed. */
        work(h);
        fflush(NULL);
        _exit(failed_ == 0 ? 0 : 1);
    }
    int status = 1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static void use(struct handles h, int shared) {
    char buf[16];
    size_t len = 0;
    uint64_t permit = 0;
    /* What the parent did is there. */
    ANSWERS(FB_OK, fb_limiter_take_with(h.limiter, "k", 1, 6, NULL, FB_NOW, NULL));
    ANSWERS(FB_DENIED, fb_limiter_take(h.limiter, "k", 1, NULL));
    ANSWERS(FB_OK, fb_cache_get(h.cache, "p", 1, buf, sizeof buf, &len));
    CHECK(len == 6 && memcmp(buf, "parent", 6) == 0);
    fb_count count;
    fb_lease lease = held;
    uint64_t in_use = 77;
    ANSWERS(FB_OK, fb_window_hit(h.window, "w", 1, UINT64_C(3600000000000), &count));
    CHECK(count.count == 2);
    /* The parent's lease is not the child's: it can do nothing with it. */
    ANSWERS(FB_LATE, fb_permits_release(h.permits, &lease));
    ANSWERS(FB_LATE, fb_permits_renew(h.permits, &lease));
    ANSWERS(FB_OK, fb_permits_in_use(h.permits, "k", 1, &in_use));
    if (shared) {
        /* One is left; its holder's end gives it back. */
        CHECK(in_use == 1);
        ANSWERS(FB_OK, fb_permits_try_acquire(h.permits, "k", 1, &lease, NULL));
        ANSWERS(FB_DENIED, fb_permits_try_acquire(h.permits, "k", 1, &lease, NULL));
    }
    /* What the child does will be. */
    ANSWERS(FB_OK, fb_cache_set(h.cache, "c", 1, "child", 5));
    for (int i = 0; i < 3; i++) {
        ANSWERS(FB_OK, fb_breaker_enter(h.breaker, &permit, NULL));
        ANSWERS(FB_OK, fb_breaker_failure(h.breaker, permit));
    }
    for (int i = 0; i < 1000; i++) {
        if (fb_histogram_record_ns(h.histogram, 5) != FB_OK) {
            CHECK(!"records in a child");
        }
    }
    fb_region_stats stats = fb_region_stats_init();
    ANSWERS(FB_OK, fb_region_get_stats(h.region, &stats));
    CHECK(stats.seats == (shared ? 2u : 1u));
    /* It may open more, and close what it has. */
    fb_histogram *more = NULL;
    ANSWERS(FB_OK, fb_histogram_open(h.region, "of the child", NULL, &more));
    ANSWERS(FB_OK, fb_histogram_record_ns(more, 5));
    ANSWERS(FB_OK, fb_histogram_close(more));
    close_all(h);
}

static void use_shared(struct handles h) { use(h, 1); }
static void use_private(struct handles h) { use(h, 0); }
static void leave_a_permit(struct handles h) {
    uint64_t permit = 0;
    ANSWERS(FB_OK, fb_breaker_enter(h.breaker, &permit, NULL));
}

static void parent(struct handles h, int shared) {
    char buf[16];
    size_t len = 0;
    uint64_t permit = 0;
    ANSWERS(FB_OK, fb_limiter_take_with(h.limiter, "k", 1, 4, NULL, FB_NOW, NULL));
    ANSWERS(FB_OK, fb_cache_set(h.cache, "p", 1, "parent", 6));
    ANSWERS(FB_OK, fb_window_hit(h.window, "w", 1, UINT64_C(3600000000000), NULL));
    ANSWERS(FB_OK, fb_permits_try_acquire(h.permits, "k", 1, &held, NULL));
    CHECK(in_a_child(leave_a_permit, h));
    CHECK(in_a_child(shared ? use_shared : use_private, h));

    fb_snapshot snapshot = fb_snapshot_init();
    ANSWERS(FB_OK, fb_histogram_snapshot(h.histogram, &snapshot));
    /* The child's lease ended with it; the parent's is there. */
    fb_lease another;
    fb_count count;
    ANSWERS(FB_OK, fb_permits_try_acquire(h.permits, "k", 1, &another, NULL));
    ANSWERS(FB_DENIED, fb_permits_try_acquire(h.permits, "k", 1, &another, NULL));
    ANSWERS(FB_OK, fb_permits_release(h.permits, &held));
    ANSWERS(FB_OK, fb_window_get(h.window, "w", 1, &count));
    CHECK(count.count == (shared ? 2u : 1u));
    if (shared) {
        CHECK(snapshot.count == 1000);
        ANSWERS(FB_DENIED, fb_limiter_take(h.limiter, "k", 1, NULL));
        ANSWERS(FB_OK, fb_cache_get(h.cache, "c", 1, buf, sizeof buf, &len));
        CHECK(len == 5 && memcmp(buf, "child", 5) == 0);
        ANSWERS(FB_REJECTED, fb_breaker_enter(h.breaker, &permit, NULL));
    } else {
        /* A private region is copied by fork: the child had its own. */
        CHECK(snapshot.count == 0);
        ANSWERS(FB_OK, fb_limiter_take_with(h.limiter, "k", 1, 6, NULL, FB_NOW, NULL));
        ANSWERS(FB_MISS, fb_cache_get(h.cache, "c", 1, buf, sizeof buf, &len));
        ANSWERS(FB_OK, fb_breaker_enter(h.breaker, &permit, NULL));
        ANSWERS(FB_OK, fb_breaker_success(h.breaker, permit));
    }
    fb_region_stats stats = fb_region_stats_init();
    ANSWERS(FB_OK, fb_region_get_stats(h.region, &stats));
    CHECK(stats.seats == 1);
    close_all(h);
}

static struct handles hammered;
static atomic_int stop;

static void *hammer(void *nothing) {
    char value[300] = {0}, buf[300];
    size_t len = 0;
    uint64_t permit = 0;
    for (unsigned i = 0; !stop; i++) {
        const unsigned key = i % 50;
        fb_limiter_take(hammered.limiter, &key, sizeof key, NULL);
        fb_cache_set(hammered.cache, &key, sizeof key, value, i % 300);
        fb_cache_get(hammered.cache, &key, sizeof key, buf, sizeof buf, &len);
        if (fb_breaker_enter(hammered.breaker, &permit, NULL) == FB_OK) {
            fb_breaker_success(hammered.breaker, permit);
        }
        fb_histogram_record_ns(hammered.histogram, i);
        fb_window_hit(hammered.window, &key, sizeof key, 1000000, NULL);
        fb_lease lease;
        if (fb_permits_try_acquire(hammered.permits, &key, sizeof key, &lease, NULL) == FB_OK) {
            fb_permits_release(hammered.permits, &lease);
        }
    }
    return nothing;
}

/* Opens and closes, so that forks fall into the midst of that too. */
static void *open_and_close(void *options) {
    while (!stop) {
        fb_region *region = NULL;
        fb_histogram *histogram = NULL;
        if (fb_region_open((const fb_region_options *)options, &region) == FB_OK) {
            fb_histogram_open(region, "h", NULL, &histogram);
        }
        fb_histogram_close(histogram);
        fb_region_close(region);
    }
    return options;
}

static fb_region_options attach;

static void open_again(void) {
    fb_region *region = NULL;
    fb_histogram *histogram = NULL;
    ANSWERS(FB_OK, fb_region_open(&attach, &region));
    ANSWERS(FB_OK, fb_histogram_open(region, "h", NULL, &histogram));
    ANSWERS(FB_OK, fb_histogram_close(histogram));
    ANSWERS(FB_OK, fb_region_close(region));
}

static void use_while_hammered(struct handles h) {
    char buf[300];
    size_t len = 0;
    uint64_t permit = 0;
    alarm(2);
    for (unsigned i = 0; i < 200; i++) {
        const unsigned key = i % 50;
        CHECK(fb_limiter_take(h.limiter, &i, sizeof i, NULL) >= 0);
        CHECK(fb_cache_set(h.cache, &key, sizeof key, "x", 1) >= 0);
        CHECK(fb_cache_get(h.cache, &key, sizeof key, buf, sizeof buf, &len) >= 0);
        ANSWERS(FB_OK, fb_breaker_enter(h.breaker, &permit, NULL));
        ANSWERS(FB_OK, fb_breaker_success(h.breaker, permit));
        ANSWERS(FB_OK, fb_histogram_record_ns(h.histogram, 1));
        ANSWERS(FB_OK, fb_window_hit(h.window, &key, sizeof key, 1000000, NULL));
        fb_lease lease;
        const fb_status said = fb_permits_try_acquire(h.permits, &i, sizeof i, &lease, NULL);
        CHECK(said == FB_DENIED || (said == FB_OK && fb_permits_release(h.permits, &lease) == FB_OK));
    }
    open_again();
    close_all(h);
}

/* Threads that the child does not have were in the middle of calls. */
static void fork_while_threads_call(const fb_region_options *options) {
    pthread_t threads[3];
    hammered = open_all(options);
    attach = fb_region_options_init();
    attach.name_or_path = options != NULL ? options->name_or_path : NULL;
    stop = 0;
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, i == 0 ? open_and_close : hammer, &attach);
    }
    for (int i = 0; i < 50; i++) {
        if (!CHECK(in_a_child(use_while_hammered, hammered))) {
            break;
        }
    }
    stop = 1;
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    close_all(hammered);
}

int main(void) {
    const char *folder = getenv("FOREBAY_TEST_OUT");
    char path[4096];
    snprintf(path, sizeof path, "%s/fork-c.region", folder != NULL ? folder : "/tmp");
    fb_region_options options = fb_region_options_init();
    options.name_or_path = path;
    options.flags = FB_REGION_FRESH | FB_REGION_EPHEMERAL;
    parent(open_all(&options), 1);
    parent(open_all(NULL), 0);
    fork_while_threads_call(&options);
    fork_while_threads_call(NULL);
    return finish();
}
