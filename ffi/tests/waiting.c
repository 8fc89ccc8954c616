/* Waiting for tokens: with either clock, in threads, through signals, in a child,
 * and given up early. */
#define _DEFAULT_SOURCE
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define MILLISECOND UINT64_C(1000000)

struct world {
    fb_region *region;
    fb_limiter *limiter;
};

static struct world open_world(const char *path, uint32_t flags, const char *rate) {
    struct world world = {NULL, NULL};
    fb_region_options options = fb_region_options_init();
    fb_limiter_options limiter = fb_limiter_options_init();
    options.name_or_path = path;
    options.flags = flags;
    limiter.rate = fb_rate_text(rate);
    ANSWERS(FB_OK, fb_region_open(&options, &world.region));
    ANSWERS(FB_OK, fb_limiter_open(world.region, "l", &limiter, &world.limiter));
    return world;
}

static void close_world(struct world world) {
    ANSWERS(FB_OK, fb_limiter_close(world.limiter));
    ANSWERS(FB_OK, fb_region_close(world.region));
}

static void pause_for(long milliseconds) {
    const struct timespec time = {0, milliseconds * 1000000};
    nanosleep(&time, NULL);
}

struct waiter {
    fb_limiter *limiter;
    uint64_t timeout_ns;
    fb_status said;
    fb_verdict verdict;
    atomic_int done;
};

static void *wait_for_one(void *argument) {
    struct waiter *waiter = (struct waiter *)argument;
    waiter->said =
        fb_limiter_acquire(waiter->limiter, "k", 1, waiter->timeout_ns, &waiter->verdict);
    waiter->done = 1;
    return NULL;
}

/* Until the key has spent so many tokens beyond its burst. */
static void until_in_line(const fb_limiter *limiter, uint64_t reset_after_ns) {
    fb_verdict verdict = {0, 0, 0, 0, 0};
    for (int i = 0; i < 5000 && verdict.reset_after_ns != reset_after_ns; i++) {
        fb_limiter_peek(limiter, "k", 1, &verdict);
        pause_for(1);
    }
    CHECK(verdict.reset_after_ns == reset_after_ns);
}

static void a_manual_clock_wakes_who_is_due(void) {
    const struct world world = open_world(NULL, FB_REGION_MANUAL_CLOCK, "1/s burst 1");
    ANSWERS(FB_OK, fb_limiter_take(world.limiter, "k", 1, NULL));
    struct waiter waiters[3];
    pthread_t threads[3];
    for (uint64_t i = 0; i < 3; i++) {
        memset(&waiters[i], 0, sizeof waiters[i]);
        waiters[i].limiter = world.limiter;
        waiters[i].timeout_ns = 3 * SECOND;
        pthread_create(&threads[i], NULL, wait_for_one, &waiters[i]);
        until_in_line(world.limiter, (2 + i) * SECOND);
    }
    /* A fourth would not be served in time, and is told so at once. */
    fb_verdict verdict;
    ANSWERS(FB_DENIED, fb_limiter_acquire(world.limiter, "k", 1, 3 * SECOND, &verdict));
    CHECK(verdict.retry_after_ns == 4 * SECOND);
    ANSWERS(FB_OK, fb_region_advance(world.region, SECOND / 2));
    pause_for(20);
    CHECK(!waiters[0].done && !waiters[1].done && !waiters[2].done);
    /* In the order in which they came. */
    ANSWERS(FB_OK, fb_region_advance(world.region, SECOND / 2));
    pthread_join(threads[0], NULL);
    pause_for(20);
    CHECK(waiters[0].said == FB_OK && !waiters[1].done && !waiters[2].done);
    ANSWERS(FB_OK, fb_region_advance(world.region, 2 * SECOND));
    pthread_join(threads[1], NULL);
    pthread_join(threads[2], NULL);
    CHECK(waiters[1].said == FB_OK && waiters[2].said == FB_OK);
    CHECK(waiters[2].verdict.remaining == 0 && waiters[2].verdict.retry_after_ns == 0);
    close_world(world);
}

static atomic_int rung;

static void ring(int signal) {
    (void)signal;
    rung++;
}

static void the_real_clock(void) {
    const struct world world = open_world(NULL, 0, "10/s burst 1");
    uint64_t started = 0, ended = 0;
    ANSWERS(FB_OK, fb_limiter_take(world.limiter, "k", 1, NULL));
    ANSWERS(FB_DENIED, fb_limiter_acquire(world.limiter, "k", 1, 10 * MILLISECOND, NULL));
    ANSWERS(FB_DENIED, fb_limiter_acquire(world.limiter, "k", 1, 0, NULL));

    /* A signal does not cut the sleep short. */
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = ring;
    sigaction(SIGALRM, &action, NULL);
    const struct itimerval every = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    ANSWERS(FB_OK, fb_region_now(world.region, &started));
    fb_verdict verdict;
    fb_limiter_reset(world.limiter, "k", 1);
    ANSWERS(FB_OK, fb_limiter_take(world.limiter, "k", 1, NULL));
    setitimer(ITIMER_REAL, &every, NULL);
    ANSWERS(FB_OK, fb_limiter_acquire(world.limiter, "k", 1, 10 * SECOND, &verdict));
    setitimer(ITIMER_REAL, &never, NULL);
    ANSWERS(FB_OK, fb_region_now(world.region, &ended));
    CHECK(rung > 0 && ended - started >= 100 * MILLISECOND);
    CHECK(verdict.limit == 1 && verdict.remaining == 0);
    close_world(world);
}

/* How a wait ends early: a reservation, a condition, and the tokens back. */
static void a_wait_that_ends_early(void) {
    const struct world world = open_world(NULL, 0, "1/h burst 1");
    ANSWERS(FB_OK, fb_limiter_take(world.limiter, "k", 1, NULL));
    fb_verdict before, after;
    ANSWERS(FB_DENIED, fb_limiter_peek(world.limiter, "k", 1, &before));
    uint64_t wait = 0;
    fb_reservation place;
    ANSWERS(FB_OK, fb_limiter_reserve(world.limiter, "k", 1, FB_NEVER, &wait, &place, NULL));
    CHECK(wait > 3590 * SECOND && wait <= 3600 * SECOND);
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t shutdown = PTHREAD_COND_INITIALIZER;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 5000000; /* the program is told to stop */
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&mutex);
    while (pthread_cond_timedwait(&shutdown, &mutex, &until) == 0) {
    }
    pthread_mutex_unlock(&mutex);
    ANSWERS(FB_OK, fb_limiter_cancel(world.limiter, "k", 1, &place));
    ANSWERS(FB_DENIED, fb_limiter_peek(world.limiter, "k", 1, &after));
    CHECK(after.retry_after_ns <= before.retry_after_ns);
    close_world(world);
}

/* A clock that the parent moves wakes a child. */
static void a_child_waits(const char *path) {
    const struct world world = open_world(
        path, FB_REGION_FRESH | FB_REGION_EPHEMERAL | FB_REGION_MANUAL_CLOCK, "1/s burst 1");
    ANSWERS(FB_OK, fb_limiter_take(world.limiter, "k", 1, NULL));
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        signal(SIGALRM, SIG_DFL);
        _exit(fb_limiter_acquire(world.limiter, "k", 1, SECOND, NULL) == FB_OK ? 0 : 1);
    }
    until_in_line(world.limiter, 2 * SECOND);
    pause_for(10);
    int status = 1;
    CHECK(waitpid(child, &status, WNOHANG) == 0);
    ANSWERS(FB_OK, fb_region_advance(world.region, SECOND));
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close_world(world);
}

int main(void) {
    const char *folder = getenv("FOREBAY_TEST_OUT");
    char path[4096];
    snprintf(path, sizeof path, "%s/waiting-c.region", folder != NULL ? folder : "/tmp");
    a_manual_clock_wakes_who_is_due();
    the_real_clock();
    a_wait_that_ends_early();
    a_child_waits(path);
    return finish();
}
