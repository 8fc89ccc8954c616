// forebay from C++20: mails that wait for their turn in coroutines, on an event loop
// of the program's own. Any loop with timers does.
//
//     c++ -std=c++20 coroutine.cpp -lforebay -o coroutine && ./coroutine
#include <forebay.hpp>

#include <iostream>
#include <map>
#include <thread>

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// The loop: what is to be called, by its time.
std::multimap<Clock::time_point, forebay::Wake> timers;

void run() {
    while (!timers.empty()) {
        const auto next = timers.extract(timers.begin());
        std::this_thread::sleep_until(next.key());
        next.mapped()();
    }
}

/// A coroutine that runs by itself.
struct Detached {
    struct promise_type {
        Detached get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() { std::terminate(); }
    };
};

Detached send(const forebay::Limiter &mails, int mail) {
    const auto timer = [](forebay::Duration wait, forebay::Wake wake) {
        timers.emplace(Clock::now() + wait, std::move(wake));
    };
    if (co_await mails.acquire_async("a@example.org", 25ms, timer)) {
        std::cout << "mail " << mail << " sent\n";
    } else {
        std::cout << "mail " << mail << " would wait for too long\n";
    }
}

int main() {
    const forebay::Region region = forebay::Region::open_private();
    const forebay::Limiter mails = region.limiter("mails", "100/s burst 1");
    for (int mail = 1; mail <= 4; mail++) {
        send(mails, mail);
    }
    run();
}
