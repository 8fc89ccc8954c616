// A long-lived worker of the torture test, in C++17: see src/steady.rs.
//
// usage: worker REGION LOG WHO SEED

#include <forebay.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace {

using Word = std::atomic<std::uint64_t>;
static_assert(sizeof(Word) == 8 && Word::is_always_lock_free);

constexpr std::size_t at_cursor = 0, at_state = 1, at_order = 2;
constexpr std::size_t header_words = 16, record_words = 5, capacity = 32'768;
enum State : std::uint64_t { running = 1, resting = 2 };
enum Order : std::uint64_t { run = 0, rest = 1, quit = 2 };
enum Operation : std::uint64_t {
    op_get = 1, op_set, op_delete, op_clear, op_take, op_break, op_record,
    op_slide, op_both, op_acquire, op_renew, op_release
};
constexpr std::uint64_t yes = 1, no = 2, wrong = ~std::uint64_t{0};
enum Answer : std::uint64_t { success = 1, failure, rejected, late };
constexpr std::uint32_t keys = 2048, hot_keys = 48, buckets = 20'000, hot_buckets = 4;
constexpr std::uint32_t durations = 16, largest = 3800;
/// Keys of the sliding window, of the two rates, and of the permits, each.
constexpr std::uint32_t few = 2, held_calls = 16;

std::uint64_t now() {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(
            std::chrono::steady_clock::now().time_since_epoch())
            .count());
}

/// The value of this key, id and length.
std::string make(std::uint32_t key, std::uint64_t id, std::uint32_t length) {
    const std::uint32_t header[] = {key, length, static_cast<std::uint32_t>(id),
                                    static_cast<std::uint32_t>(id >> 32)};
    std::string value(length, '\0');
    for (std::uint32_t place = 0; place < length / 4; ++place) {
        const std::uint32_t word = header[place % 4] ^ place * 0x9e3779b1u;
        std::memcpy(&value[place * 4], &word, 4);
    }
    return value;
}

/// The id of a whole value of this key, or `wrong`.
std::uint64_t id_of(std::uint32_t key, const std::string &value) {
    if (value.size() < 16) {
        return wrong;
    }
    const auto word = [&value](std::uint32_t place) {
        std::uint32_t found = 0;
        std::memcpy(&found, &value[place * 4], 4);
        return found ^ place * 0x9e3779b1u;
    };
    const std::uint64_t id = std::uint64_t{word(3)} << 32 | word(2);
    return value == make(key, id, static_cast<std::uint32_t>(value.size())) ? id : wrong;
}

/// The words of a log's file.
Word *map(const std::string &path) {
    const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    struct stat known {};
    if (file < 0 || ::fstat(file, &known) != 0) {
        throw std::runtime_error("cannot open " + path);
    }
    void *first = ::mmap(nullptr, static_cast<std::size_t>(known.st_size), PROT_READ | PROT_WRITE,
                         MAP_SHARED, file, 0);
    ::close(file);
    if (first == MAP_FAILED) {
        throw std::runtime_error("cannot map " + path);
    }
    return static_cast<Word *>(first);
}

class Worker {
public:
    Worker(const forebay::Region &region, const std::string &log, std::uint32_t who,
           std::uint64_t seed)
        : words_(map(log)), cache_(region.attach_cache("cache")), limiter_(region.limiter("limits")),
          breaker_(region.attach_breaker("origin")), histogram_(region.histogram("latency")),
          sliding_(region.limiter("sliding")), rates_(region.limiter("rates")),
          permits_(region.permits("permits")),
          evidence_(log + ".wrong"), who_(who), random_(seed << 32 | who) {}

    /// Works until it is told to end.
    void work() {
        for (;;) {
            const std::uint64_t order = words_[at_order];
            const std::uint64_t turn = order & ~std::uint64_t{0xff};
            if ((order & 0xff) == quit) {
                return;
            }
            if ((order & 0xff) == rest || full()) {
                words_[at_state] = turn | resting;
                std::this_thread::sleep_for(std::chrono::microseconds(500));
                continue;
            }
            words_[at_state] = turn | running;
            for (auto left = 1 + below(200); left > 0 && !full(); --left) {
                step();
            }
            std::this_thread::sleep_for(std::chrono::microseconds(below(300)));
        }
    }

private:
    bool full() const { return words_[at_cursor] >= capacity; }

    std::uint32_t below(std::uint32_t bound) {
        return static_cast<std::uint32_t>(random_() % bound);
    }

    std::uint32_t key() { return below(below(4) == 0 ? keys : hot_keys); }

    /// Notes that a call begins: where its record is.
    std::size_t invoke(Operation operation, std::uint32_t key, std::uint32_t ttl = 0,
                       std::uint64_t argument = 0) {
        const std::uint64_t n = words_[at_cursor];
        const std::size_t at = header_words + n * record_words;
        words_[at + 4] = 0;
        words_[at] = std::uint64_t{key} << 32 | std::uint64_t{ttl} << 16 | operation;
        words_[at + 1] = argument;
        words_[at + 2] = now();
        words_[at_cursor] = n + 1;
        return at;
    }

    /// Notes a call's answer.
    void answer(std::size_t at, std::uint64_t result) {
        words_[at + 3] = result;
        words_[at + 4] = now();
    }

    void step() {
        const auto draw = below(100);
        if (draw < 37) {
            get();
        } else if (draw < 59) {
            set();
        } else if (draw < 65) {
            const auto key = this->key();
            const auto name = "k" + std::to_string(key);
            const auto call = invoke(op_delete, key);
            answer(call, cache_.erase(name) ? yes : no);
        } else if (draw < 77) {
            const auto key = below(below(2) == 0 ? buckets : hot_buckets);
            const auto name = "b" + std::to_string(key);
            const auto cost = 1 + below(3);
            const auto call = invoke(op_take, key, 0, cost);
            answer(call, limiter_.allow(name, forebay::Charge(cost)) ? yes : no);
        } else if (draw < 79) {
            take_one(sliding_, op_slide, "w");
        } else if (draw < 81) {
            take_one(rates_, op_both, "r");
        } else if (draw < 83) {
            hold();
        } else if (draw < 90) {
            this->call();
        } else {
            const auto number = below(durations);
            const auto call = invoke(op_record, number);
            histogram_.record(std::chrono::nanoseconds(std::int64_t{1000} << number));
            answer(call, yes);
        }
    }

    void get() {
        const auto key = this->key();
        const auto name = "k" + std::to_string(key);
        const auto call = invoke(op_get, key);
        const std::uint64_t id = cache_.get_into(name, value_) ? id_of(key, value_) : 0;
        if (id == wrong) {
            std::ofstream(evidence_, std::ios::binary) << "key " << key << ": " << value_ << '\n';
        }
        answer(call, id);
    }

    void set() {
        const auto key = this->key();
        const auto name = "k" + std::to_string(key);
        const auto draw = below(20);
        const std::uint32_t most = draw == 0 ? largest : draw < 5 ? 1500 : 400;
        const auto length = 16 + 4 * below((most - 16) / 4);
        const std::uint32_t ttl = below(8) == 0 ? 1 + below(20) : 0;
        const std::uint64_t id = std::uint64_t{who_} << 32 | ++written_;
        const auto value = make(key, id, length);
        forebay::SetOptions options;
        if (ttl != 0) {
            options.ttl(std::chrono::milliseconds(ttl));
        }
        const auto call = invoke(op_set, key, ttl, id);
        answer(call, cache_.set(name, value, options) ? yes : no);
    }

    void take_one(const forebay::Limiter &limiter, Operation operation, const char *kind) {
        const auto key = below(few);
        const auto name = kind + std::to_string(key);
        const auto call = invoke(operation, key, 0, 1);
        answer(call, limiter.allow(name) ? yes : no);
    }

    void hold() {
        if (words_[at_cursor] + held_calls + 3 > capacity) {
            return;
        }
        const auto key = below(few);
        const auto name = "p" + std::to_string(key);
        const std::uint64_t lease = std::uint64_t{who_} << 32 | ++leases_;
        auto call = invoke(op_acquire, key, 0, lease);
        auto held = permits_.acquire(name);
        answer(call, held ? yes : no);
        if (!held) {
            return;
        }
        for (auto left = below(held_calls); left > 0; --left) {
            get();
        }
        if (below(2) == 0) {
            call = invoke(op_renew, key, 0, lease);
            answer(call, held->renew() ? yes : no);
        }
        call = invoke(op_release, key, 0, lease);
        answer(call, held->release() ? yes : no);
    }

    void call() {
        const bool down = now() / 40'000'000 % 3 == 0;
        const bool fails = below(100) < (down ? 60u : 1u);
        const auto call = invoke(op_break, 0);
        auto permit = breaker_.enter();
        if (!permit) {
            answer(call, rejected);
            return;
        }
        const bool counted = fails ? permit->failure() : permit->success();
        answer(call, !counted ? late : fails ? failure : success);
    }

    Word *words_;
    forebay::Cache cache_;
    forebay::Limiter limiter_;
    forebay::Breaker breaker_;
    forebay::Histogram histogram_;
    forebay::Limiter sliding_, rates_;
    forebay::Permits permits_;
    std::string evidence_, value_;
    std::uint32_t who_, written_ = 0, leases_ = 0;
    std::mt19937_64 random_;
};

} // namespace

int main(int count, char **values) {
    try {
        if (count != 5) {
            throw std::runtime_error("usage: worker REGION LOG WHO SEED");
        }
        const auto region =
            forebay::Region::open(values[1], forebay::RegionOptions().create(false));
        Worker(region, values[2], static_cast<std::uint32_t>(std::stoul(values[3])),
               std::stoull(values[4]))
            .work();
    } catch (const std::exception &error) {
        std::fprintf(stderr, "torture worker: %s\n", error.what());
        return 1;
    }
}
