// forebay.hpp in C++20: waiting in a coroutine, with an executor of the program's
// own. Here it is one that moves the region's clock to the next timer.
#include "check.h"

#include <forebay.hpp>

#include <list>
#include <stdexcept>

using namespace std::chrono_literals;
using forebay::Duration;

namespace {

/// Timers, in the order of their times.
class Loop {
public:
    struct Entry {
        Duration due;
        forebay::Wake wake;
    };
    using Entries = std::list<Entry>;

    explicit Loop(const forebay::Region &region) : region_(region) {}

    void after(Duration wait, forebay::Wake wake) {
        const Duration due = region_.now() + wait;
        Entries::iterator at = entries.begin();
        while (at != entries.end() && at->due <= due) {
            ++at;
        }
        entries.insert(at, Entry{due, std::move(wake)});
    }

    /// Plays the first timer; false if there is none.
    bool step() {
        if (entries.empty()) {
            return false;
        }
        const Entry first = entries.front();
        entries.pop_front();
        if (first.due > region_.now()) {
            region_.advance(first.due - region_.now());
        }
        first.wake();
        return true;
    }

    Entries entries;

private:
    const forebay::Region &region_;
};

/// A coroutine that begins at once, and is destroyed with this.
class Task {
public:
    struct promise_type {
        Task get_return_object() {
            return Task(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() { std::terminate(); }
    };

    explicit Task(std::coroutine_handle<> frame) : frame_(frame) {}
    Task(Task &&other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    Task(const Task &) = delete;
    ~Task() { destroy(); }

    [[nodiscard]] bool done() const { return frame_.done(); }
    void destroy() {
        if (const std::coroutine_handle<> frame = std::exchange(frame_, nullptr)) {
            frame.destroy();
        }
    }

private:
    std::coroutine_handle<> frame_;
};

template <class Timer>
Task wait(const forebay::Limiter &limiter, Duration timeout, Timer timer, std::string &said,
          forebay::Charge charge = forebay::Charge()) {
    // The key and the tier are its own: these are gone when it is awaited.
    auto place = limiter.acquire_async(std::string("a key longer than a short string"), timeout,
                                       std::move(timer), charge);
    try {
        const forebay::Verdict verdict = co_await place;
        said += verdict ? "yes " + std::to_string(verdict.remaining) : "no";
        CHECK(!(verdict.allowed && verdict.retry_after) && verdict.limit == 2);
        // Awaited again it asks for nothing more.
        const forebay::Verdict again = co_await place;
        CHECK(again.remaining == verdict.remaining);
    } catch (const std::exception &error) {
        said += error.what();
    }
}

Task try_wait(const forebay::Limiter &limiter, Duration timeout, Loop &loop, std::string &said) {
    const auto timer = [&](Duration wait, forebay::Wake wake) { loop.after(wait, wake); };
    const forebay::Result<forebay::Verdict> verdict =
        co_await limiter.try_acquire_async("t", timeout, timer, forebay::Charge(2));
    said = verdict ? (verdict->allowed ? "yes" : "no") : verdict.error().code_name();
}

struct World {
    forebay::Region region = forebay::Region::open_private(forebay::RegionOptions().manual_clock(true));
    forebay::Limiter limiter = region.limiter("l", "1/s burst 2");
    Loop loop{region};

    auto timer() {
        return [this](Duration wait, forebay::Wake wake) { loop.after(wait, std::move(wake)); };
    }
    void empty() const {
        CHECK(limiter.allow("a key longer than a short string", forebay::Charge(2)));
    }
    forebay::Verdict peek() const { return limiter.peek("a key longer than a short string"); }
};

void each_is_resumed_in_its_turn() {
    World world;
    std::string said[5];
    std::vector<Task> tasks;
    for (std::string &one : said) {
        tasks.push_back(wait(world.limiter, 2s, world.timer(), one));
    }
    // Two at once, two in turn, and one would wait for too long: it is told at once.
    CHECK(said[0] == "yes 1" && said[1] == "yes 0" && said[2].empty() && said[4] == "no");
    CHECK(world.loop.step() && world.region.now() == 1s);
    CHECK(said[2] == "yes 0" && said[3].empty());
    CHECK(world.loop.step() && world.region.now() == 2s && said[3] == "yes 0");
    CHECK(!world.loop.step());
    for (const Task &task : tasks) {
        CHECK(task.done());
    }
}

void what_is_destroyed_gives_its_tokens_back() {
    World world;
    std::string said[4];
    std::vector<Task> tasks;
    for (std::string &one : said) {
        tasks.push_back(wait(world.limiter, 1h, world.timer(), one));
    }
    CHECK(world.peek().retry_after == 3s);
    tasks[3].destroy();
    CHECK(world.peek().retry_after == 2s);
    tasks[2].destroy();
    CHECK(world.peek().retry_after == 1s && world.loop.entries.size() == 2);
    // Their timers wake nobody, twice or not; who waits then is not theirs.
    std::string next;
    const Task task = wait(world.limiter, 1h, world.timer(), next);
    const forebay::Wake stale = world.loop.entries.back().wake;
    stale();
    CHECK(world.loop.step() && world.loop.step() && said[2].empty() && said[3].empty());
    stale();
    world.loop.step();
    CHECK(next == "yes 0" && task.done());
    // What was not awaited yet has taken nothing.
    { const auto unused = world.limiter.acquire_async("unused", 1h, world.timer()); }
    CHECK(world.limiter.peek("unused").remaining == 2);
}

void a_timer_that_is_early_is_asked_again() {
    World world;
    std::string said;
    int asked = 0;
    const auto early = [&](Duration wait, forebay::Wake wake) {
        asked++;
        world.loop.after(wait > 1ms ? wait - 1ms : wait, std::move(wake));
    };
    world.empty();
    const Task task = wait(world.limiter, 5s, early, said);
    CHECK(world.loop.step() && said.empty() && asked == 2);
    CHECK(world.loop.step() && said == "yes 0" && world.region.now() == 1s);
}

void what_a_timer_returns_is_kept_while_it_waits() {
    World world;
    std::string said;
    int kept = 0;
    const auto timer = [&](Duration wait, forebay::Wake wake) {
        world.loop.after(wait, std::move(wake));
        kept++;
        return std::shared_ptr<int>(&kept, [](int *count) { --*count; });
    };
    world.empty();
    Task given_up = wait(world.limiter, 5s, timer, said);
    const Task served = wait(world.limiter, 5s, timer, said);
    CHECK(kept == 2);
    given_up.destroy();
    CHECK(kept == 1);
    while (world.loop.step()) {
    }
    CHECK(said == "yes 0" && kept == 0 && served.done());
}

void what_is_wrong_is_told_where_it_is_awaited() {
    World world;
    std::string said;
    { const Task task = wait(world.limiter, -1ns, world.timer(), said); }
    CHECK(said == "timeout: got -1 ns; allowed: 0 or more");
    said.clear();
    { const Task task = wait(world.limiter, 1h, world.timer(), said, forebay::Charge(3)); }
    CHECK(said == "no"); // More than the burst: no wait helps.
    said.clear();
    {
        const Task task = wait(world.limiter, 1h, world.timer(), said, forebay::Charge().tier("\xff"));
    }
    CHECK(said.find("tier") != std::string::npos);
    CHECK(world.peek().remaining == 2 && world.loop.entries.empty());
    // A timer that cannot be set: nothing stays spent.
    world.empty();
    const auto none = [](Duration, const forebay::Wake &) { throw std::runtime_error("no timer"); };
    said.clear();
    { const Task task = wait(world.limiter, 1h, none, said); }
    CHECK(said == "no timer" && world.peek().retry_after == 1s);

    const Task bad = try_wait(world.limiter, -1ns, world.loop, said);
    CHECK(said == "FB_E_INVALID_ARGUMENT");
    const Task first = try_wait(world.limiter, 0s, world.loop, said);
    CHECK(said == "yes");
    const Task refused = try_wait(world.limiter, 1s, world.loop, said);
    CHECK(said == "no");
    said.clear();
    const Task second = try_wait(world.limiter, 2s, world.loop, said);
    CHECK(said.empty() && world.loop.step() && said == "yes" && world.region.now() == 2s);
}

} // namespace

int main() {
    each_is_resumed_in_its_turn();
    what_is_destroyed_gives_its_tokens_back();
    a_timer_that_is_early_is_asked_again();
    what_a_timer_returns_is_kept_while_it_waits();
    what_is_wrong_is_told_where_it_is_awaited();
    return finish();
}
