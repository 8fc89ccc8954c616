// A worker of the gateway, in C++17: limiter, cache, breaker, histogram.
//
// usage: worker REGION LOG RUN_NS MINUTE_NS MAX_KEYS

#include <forebay.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::pair<const char *, std::uint64_t> tiers[] = {
    {"Basic", 5}, {"Business", 30}, {"Enterprise", 300}, {"Museum", 50}};

/// A line of the log: time, client, tier, path and size between tabs.
struct Request {
    std::string_view client;
    std::string tier;
    std::string_view path;
    std::size_t size;
};

std::string read_file(const char *name) {
    std::ifstream file(name, std::ios::binary);
    if (!file) {
        throw std::runtime_error(std::string("cannot read ") + name);
    }
    return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<Request> read_log(std::string_view text) {
    std::vector<Request> requests;
    const auto field = [&text](char end) {
        const auto length = text.find(end);
        if (length == text.npos) {
            throw std::runtime_error("the log is not one");
        }
        const auto found = text.substr(0, length);
        text.remove_prefix(length + 1);
        return found;
    };
    while (!text.empty()) {
        field('\t');
        const auto client = field('\t');
        const auto tier = field('\t');
        const auto path = field('\t');
        const auto size = std::stoul(std::string(field('\n')));
        requests.push_back({client, std::string(tier), path, size});
    }
    return requests;
}

/// What the origin serves for a path: one line, of odd length, again and again.
std::string body(std::string_view path, std::size_t size) {
    std::uint32_t hash = 0x811c9dc5;
    for (const unsigned char byte : path) {
        hash = (hash ^ byte) * 0x01000193;
    }
    char digest[16];
    std::snprintf(digest, sizeof digest, " %08x\n", static_cast<unsigned>(hash));
    std::string line = std::string(path) + digest;
    if (line.size() % 2 == 0) {
        line += '\n';
    }
    std::string whole;
    whole.reserve(size + line.size());
    while (whole.size() < size) {
        whole += line;
    }
    whole.resize(size);
    return whole;
}

/// The service behind the gateway, on its bad day.
struct Origin {
    enum class Phase { well, slow, failing };

    const forebay::Region &region;
    std::chrono::nanoseconds run;
    std::chrono::nanoseconds start{0};

    Phase phase() const {
        const auto percent = (region.now() - start) * 100 / run;
        if (percent >= 55 && percent < 65) {
            return Phase::failing;
        }
        return percent >= 45 && percent < 55 ? Phase::slow : Phase::well;
    }

    /// One call; whether it succeeded. An origin that goes down fails the calls
    /// that it is working on too.
    bool work() const {
        const auto phase_before = phase();
        if (phase_before == Phase::failing) {
            return false;
        }
        std::this_thread::sleep_for(phase_before == Phase::slow ? 600us : 200us);
        return phase() != Phase::failing;
    }
};

class Worker {
public:
    Worker(const forebay::Region &region, std::string_view log, std::chrono::nanoseconds run,
           std::chrono::nanoseconds minute, std::uint64_t max_keys)
        : requests_(read_log(log)), clients_(region.limiter("clients", limits(minute, max_keys))),
          pages_(region.cache(
              "pages",
              forebay::CacheOptions().bytes(32 << 20).max_entries(8192).max_item(128 << 10))),
          breaker_(region.breaker("origin", forebay::BreakerOptions()
                                                .failure_threshold(5)
                                                .failure_rate(std::nullopt)
                                                .open_for(run / 25)
                                                .success_threshold(2)
                                                .half_open_calls(1))),
          latency_(region.histogram("latency")), origin_{region, run} {}

    void start(std::chrono::nanoseconds at) { origin_.start = at; }

    /// Serves a batch: a letter for each request.
    std::string serve_all(std::size_t first, std::size_t last) {
        std::string letters;
        for (auto number = first; number < last; ++number) {
            const auto begun = Clock::now();
            letters += serve(requests_.at(number));
            latency_.record(Clock::now() - begun);
        }
        return letters;
    }

    /// What this worker did, in JSON.
    std::string summary() const {
        const auto served = limited_ + hits_ + fetched_ + failed_ + rejected_;
        std::ostringstream json;
        json << "{\"served\":" << served << ",\"limited\":" << limited_ << ",\"hits\":" << hits_
             << ",\"fetched\":" << fetched_ << ",\"failed\":" << failed_
             << ",\"rejected\":" << rejected_ << ",\"stored\":" << stored_
             << ",\"straddled\":" << straddled_ << "}";
        return json.str();
    }

private:
    static forebay::LimiterOptions limits(std::chrono::nanoseconds minute,
                                          std::uint64_t max_keys) {
        forebay::LimiterOptions options(forebay::Rate(tiers[0].second, minute));
        for (const auto &[name, rate] : tiers) {
            options.tier(name, forebay::Rate(rate, minute));
        }
        return options.max_keys(max_keys);
    }

    /// Serves one request: the letter of what became of it.
    char serve(const Request &request) {
        if (!clients_.allow(request.client, forebay::Charge().tier(request.tier.c_str()))) {
            ++limited_;
            return 'L';
        }
        if (pages_.get_into(request.path, cached_)) {
            if (cached_ != body(request.path, request.size)) {
                throw std::runtime_error(std::string(request.path) + ": " +
                                         std::to_string(cached_.size()) +
                                         " bytes that are not its " +
                                         std::to_string(request.size));
            }
            ++hits_;
            return 'H';
        }
        auto permit = breaker_.enter();
        if (!permit) {
            ++rejected_;
            return 'X';
        }
        if (!origin_.work()) {
            permit->failure();
            ++failed_;
            return 'E';
        }
        permit->success();
        straddled_ += origin_.phase() == Origin::Phase::failing;
        stored_ += pages_.set(request.path, body(request.path, request.size));
        ++fetched_;
        return 'F';
    }

    std::vector<Request> requests_;
    forebay::Limiter clients_;
    forebay::Cache pages_;
    forebay::Breaker breaker_;
    forebay::Histogram latency_;
    Origin origin_;
    std::string cached_;
    std::uint64_t limited_ = 0, hits_ = 0, fetched_ = 0, failed_ = 0, rejected_ = 0;
    std::uint64_t stored_ = 0, straddled_ = 0;
};

void work(const std::vector<std::string> &arguments) {
    if (arguments.size() != 5) {
        throw std::runtime_error("usage: worker REGION LOG RUN_NS MINUTE_NS MAX_KEYS");
    }
    const auto nanoseconds = [](const std::string &text) {
        return std::chrono::nanoseconds(std::stoll(text));
    };
    const auto region = forebay::Region::open(
        arguments[0], forebay::RegionOptions().create(false).ephemeral(true));
    const std::string log = read_file(arguments[1].c_str());
    Worker worker(region, log, nanoseconds(arguments[2]), nanoseconds(arguments[3]),
                  std::stoull(arguments[4]));

    std::cout << "ready" << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream command(line);
        std::string verb, first, last;
        command >> verb >> first >> last;
        if (verb == "start") {
            worker.start(nanoseconds(first));
        } else if (verb == "serve") {
            const auto letters = worker.serve_all(std::stoul(first), std::stoul(last));
            std::cout << "done " << first << ' ' << last << ' ' << letters << std::endl;
        } else if (verb == "quit") {
            std::cout << worker.summary() << std::endl;
            return;
        } else {
            throw std::runtime_error("not a command: " + line);
        }
    }
}

} // namespace

int main(int count, char **values) {
    try {
        work({values + 1, values + count});
    } catch (const std::exception &error) {
        std::cout << "wrong " << error.what() << std::endl;
        return 1;
    }
}
