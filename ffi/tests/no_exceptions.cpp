// forebay.hpp built with -fno-exceptions: the forms that return a Result work,
// the others print the sentence and abort.
#include "check.h"

#include <forebay.hpp>

#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

#ifndef FOREBAY_NO_EXCEPTIONS
#error "-fno-exceptions implies FOREBAY_NO_EXCEPTIONS"
#endif

int main() {
    const forebay::Result<forebay::Region> region = forebay::Region::try_open_private();
    if (!CHECK(region)) {
        return finish();
    }
    const forebay::Result<forebay::Limiter> limiter = region->try_limiter("l", "2/h");
    CHECK(limiter && *limiter->try_allow("k") && *limiter->try_allow("k") &&
          !*limiter->try_allow("k"));
    CHECK(!limiter->allow("k"));
    CHECK(limiter->try_refund("k")->remaining == 1 && limiter->try_penalize("k")->remaining == 0);
    CHECK(!limiter->try_block("k", std::chrono::seconds(-1)) && !*limiter->try_unblock("k"));
    CHECK(!*limiter->try_reserve("k", std::chrono::seconds(1)));
    forebay::Result<std::optional<forebay::Reservation>> later =
        limiter->try_reserve("k", std::chrono::hours(1));
    CHECK(later && *later && (*later)->wait() > std::chrono::minutes(20) && (*later)->cancel());
    CHECK(!limiter->try_acquire("k", std::chrono::seconds(0))->allowed);
    CHECK(!forebay::try_take_all({{*limiter, "k"}})->allowed);
    CHECK(!forebay::try_headers({}, {"none"}) && forebay::try_headers({})->empty());
    CHECK(*forebay::try_client_address("::ffff:1.2.3.4") == "1.2.3.4");
    CHECK(region->try_attach_cache("c").error().code() == FB_E_NOT_FOUND);
    const forebay::Result<forebay::Cache> cache = region->try_cache("c");
    CHECK(cache && *cache->try_set("k", "v") && *cache->try_get("k") == "v");
    const forebay::Result<forebay::Breaker> breaker = region->try_breaker("b");
    forebay::Result<std::optional<forebay::Permit>> permit = breaker->try_enter();
    CHECK(permit && *permit && (*permit)->success());
    CHECK(!region->try_histogram(""));
    const forebay::Result<forebay::WindowCounter> window = region->try_window("w");
    CHECK(window && window->try_hit("k", std::chrono::seconds(9))->count == 1);
    CHECK(!window->try_hit("k", std::chrono::seconds(9), 1, 1)->counted && !region->try_permits("p", 0));
    const forebay::Result<forebay::Permits> permits = region->try_permits("p", 1);
    forebay::Result<std::optional<forebay::Lease>> lease = permits->try_acquire("k");
    CHECK(lease && *lease && !*permits->try_acquire("k") && (*lease)->release());

    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        (void)std::freopen("/dev/null", "w", stderr);
        (void)region->histogram("");
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    return finish();
}
