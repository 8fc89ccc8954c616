// forebay for C++17: the functions of forebay.h with handles that close
// themselves, string_view keys and chrono durations. Header only. In C++20 a
// coroutine may wait for its tokens: Limiter::acquire_async.
//
//     auto region = forebay::Region::open("shop");
//     auto limits = region.limiter("api", "60/min burst 90");
//     if (!limits.allow(address)) { ... }
//
// Each verb has two forms: `take` throws forebay::Error, `try_take` returns a
// Result and throws nothing (but std::bad_alloc, where it returns a string, a
// vector or a Reservation). Expected answers (a miss, a refused request, an open
// breaker) are values in both; `enforce` and `call` turn a refusal into an
// exception of its own. With FOREBAY_NO_EXCEPTIONS, which is implied by
// -fno-exceptions, the throwing forms print the sentence and abort instead.
//
// Handles are movable, not copyable, and as large as a pointer. All const
// members may be called by any number of threads at once, and in a child after
// fork; a moved-from handle answers FB_E_INVALID_ARGUMENT. A handle keeps its
// region. The calls cost what their C functions say in forebay.h; beyond that,
// only what returns a std::string, a std::vector or a Reservation allocates.
#ifndef FOREBAY_HPP
#define FOREBAY_HPP

#include "forebay.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>
#ifdef __cpp_impl_coroutine
#include <coroutine>
#endif

#if !defined(FOREBAY_NO_EXCEPTIONS) && !defined(__cpp_exceptions) && !defined(_CPPUNWIND)
#define FOREBAY_NO_EXCEPTIONS
#endif

namespace forebay {

/// Durations are whole nanoseconds; any chrono duration of whole units converts.
using Duration = std::chrono::nanoseconds;

/// What went wrong: one of the FB_E_ codes and its sentence, the same sentence
/// in every language.
class Error : public std::runtime_error {
public:
    Error(fb_status code, const std::string &sentence)
        : std::runtime_error(sentence), code_(code) {}

    /// The FB_E_ code.
    [[nodiscard]] fb_status code() const noexcept { return code_; }

    /// The code's name, such as "FB_E_CORRUPT".
    [[nodiscard]] const char *code_name() const noexcept { return fb_status_name(code_); }

private:
    fb_status code_;
};

namespace detail {

[[noreturn]] inline void fail(const Error &error) {
#ifdef FOREBAY_NO_EXCEPTIONS
    std::fprintf(stderr, "forebay: %s\n", error.what());
    std::abort();
#else
    throw error;
#endif
}

/// The error that this thread's last call left.
inline Error last_error(fb_status code) {
    char sentence[256];
    const std::size_t length = fb_last_error(sentence, sizeof sentence);
    if (length < sizeof sentence) {
        return Error(code, std::string(sentence, length));
    }
    std::string whole(length + 1, '\0');
    fb_last_error(whole.data(), whole.size());
    whole.resize(length);
    return Error(code, whole);
}

} // namespace detail

/// A value, or the Error that was in its way.
template <class T> class [[nodiscard]] Result {
public:
    Result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : held_(std::in_place_index<1>, std::move(error)) {}

    /// Whether there is a value.
    explicit operator bool() const noexcept { return held_.index() == 0; }

    /// The value; without one, throws the Error.
    T &value() & {
        require();
        return *std::get_if<0>(&held_);
    }
    const T &value() const & {
        require();
        return *std::get_if<0>(&held_);
    }
    T value() && {
        require();
        return std::move(*std::get_if<0>(&held_));
    }

    /// The value, which must be there.
    T &operator*() & noexcept { return *std::get_if<0>(&held_); }
    const T &operator*() const & noexcept { return *std::get_if<0>(&held_); }
    T operator*() && noexcept { return std::move(*std::get_if<0>(&held_)); }
    T *operator->() noexcept { return std::get_if<0>(&held_); }
    const T *operator->() const noexcept { return std::get_if<0>(&held_); }

    /// The error, which must be there.
    [[nodiscard]] const Error &error() const noexcept { return *std::get_if<1>(&held_); }

private:
    void require() const {
        if (held_.index() != 0) {
            detail::fail(*std::get_if<1>(&held_));
        }
    }

    std::variant<T, Error> held_;
};

/// Done, or the Error that was in the way.
template <> class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Error error) : error_(std::move(error)) {}

    /// Whether it was done.
    explicit operator bool() const noexcept { return !error_; }

    /// Nothing; throws the Error if there is one.
    void value() const {
        if (error_) {
            detail::fail(*error_);
        }
    }

    /// The error, which must be there.
    [[nodiscard]] const Error &error() const noexcept { return *error_; }

private:
    std::optional<Error> error_;
};

namespace detail {

/// The Result of a call: its Error, or what `make` makes of the status.
template <class T, class Make> Result<T> result(fb_status status, Make make) {
    if (status < 0) {
        return last_error(status);
    }
    return make(status);
}

/// The Result of a call that is only done or not.
inline Result<void> done(fb_status status) {
    if (status < 0) {
        return last_error(status);
    }
    return {};
}

/// The Result of a call that answers yes (FB_OK) or no.
inline Result<bool> yes(fb_status status) {
    if (status < 0) {
        return last_error(status);
    }
    return status == FB_OK;
}

inline Error invalid(const char *argument, const std::string &given, const char *allowed) {
    return Error(FB_E_INVALID_ARGUMENT,
                 std::string(argument) + ": got " + given + "; allowed: " + allowed);
}

/// A duration for C, which has no negative ones; they are remembered in `wrong`.
inline std::uint64_t whole(Duration duration, const char *argument, std::optional<Error> &wrong) {
    if (duration.count() < 0) {
        wrong = invalid(argument, std::to_string(duration.count()) + " ns", "0 or more");
        return 0;
    }
    return static_cast<std::uint64_t>(duration.count());
}

/// A duration from C; what chrono cannot hold becomes its largest.
inline Duration chrono(std::uint64_t ns) noexcept {
    constexpr auto most = static_cast<std::uint64_t>(Duration::max().count());
    return Duration(static_cast<Duration::rep>(ns < most ? ns : most));
}

/// A name for C, which ends at the first NUL: one inside would be another name.
inline Result<std::string> name(std::string_view text, const char *argument = "name") {
    if (text.find('\0') != std::string_view::npos) {
        return invalid(argument, "a text with NUL inside", "a text without");
    }
    return std::string(text);
}

/// A handle that closes itself.
template <class H, fb_status (*close)(H *)> struct Closer {
    void operator()(H *handle) const noexcept { close(handle); }
};
template <class H, fb_status (*close)(H *)> using Handle = std::unique_ptr<H, Closer<H, close>>;

} // namespace detail

/// Joins the parts of a tuple key without ambiguity: ("a", "bc") and ("ab", "c")
/// are different keys, and the same ones in every language. Allocates.
[[nodiscard]] inline Result<std::string> try_key(std::initializer_list<std::string_view> parts) {
    std::vector<const void *> starts;
    std::vector<std::size_t> lengths;
    std::size_t total = 0;
    for (const std::string_view part : parts) {
        starts.push_back(part.data());
        lengths.push_back(part.size());
        total += 4 + part.size();
    }
    std::string joined(total, '\0');
    std::size_t length = 0;
    const fb_status status = fb_key_join(starts.data(), lengths.data(), parts.size(), joined.data(),
                                         joined.size(), &length);
    if (status < 0) {
        return detail::last_error(status);
    }
    return joined;
}
[[nodiscard]] inline std::string key(std::initializer_list<std::string_view> parts) {
    return try_key(parts).value();
}

// ---------------------------------------------------------------- Limiter

/// A rate: from text ("60/min burst 90", "100/15min", "unlimited") or numbers. A
/// text may be several: "10/s and 1000/day". It is checked when the limiter is
/// opened.
class Rate {
public:
    Rate(const char *text) : text_(text) {}
    Rate(std::string text) : text_(std::move(text)) {}
    /// `count` tokens every `per`, at most `burst` at once (0: `count`).
    Rate(std::uint64_t count, Duration per, std::uint64_t burst = 0)
        : rate_(fb_rate_per(count, detail::whole(per, "rate", wrong_), burst)) {}
    static Rate per_second(std::uint64_t count) { return {count, std::chrono::seconds(1)}; }
    static Rate per_minute(std::uint64_t count) { return {count, std::chrono::minutes(1)}; }
    static Rate per_hour(std::uint64_t count) { return {count, std::chrono::hours(1)}; }
    static Rate per_day(std::uint64_t count) { return {count, std::chrono::hours(24)}; }
    static Rate unlimited() { return Rate("unlimited"); }

    /// The most tokens at once; a rate from text says it in its text.
    Rate &burst(std::uint64_t burst) {
        rate_.burst = burst;
        return *this;
    }

private:
    friend class Region;

    /// For C; borrows the text.
    fb_rate raw(std::optional<Error> &wrong) const {
        fb_rate rate = rate_;
        if (text_) {
            rate.text = text_->c_str();
            if (text_->find('\0') != std::string::npos) {
                wrong = detail::invalid("rate", "a text with NUL inside", "a text without");
            }
        }
        if (wrong_) {
            wrong = wrong_;
        }
        return rate;
    }

    std::optional<Error> wrong_;
    std::optional<std::string> text_;
    fb_rate rate_ = fb_rate_per(0, 0, 0);
};

/// What a limiter counts (see enum fb_algorithm).
enum class Algorithm : std::uint32_t {
    /// A token bucket: tokens come back one by one, at the rate.
    bucket = FB_ALGORITHM_BUCKET,
    /// A window that begins with a key's first token: all are back at its end.
    fixed = FB_ALGORITHM_FIXED,
    /// At most the count in any interval of the window's length.
    sliding = FB_ALGORITHM_SLIDING,
};

/// What happens when a newcomer finds no free slot (see enum fb_on_full).
enum class OnFull : std::uint32_t {
    /// It takes another key's, which starts anew when it comes back.
    lenient = FB_ON_FULL_LENIENT,
    /// It takes what is owed there too, or is refused. For logins.
    strict = FB_ON_FULL_STRICT,
};

/// What a limiter answers when it cannot tell (see enum fb_on_error).
enum class OnError : std::uint32_t {
    /// The request is refused.
    deny = FB_ON_ERROR_DENY,
    /// The request passes, uncharged.
    allow = FB_ON_ERROR_ALLOW,
};

/// How to open a limiter.
///
///     forebay::LimiterOptions("10/s and 1000/day")
///     forebay::LimiterOptions({forebay::Rate::per_second(10), "1000/day"})
///     forebay::LimiterOptions("10/15min").algorithm(forebay::Algorithm::sliding)
class LimiterOptions {
public:
    LimiterOptions(Rate rate) : rates_{std::move(rate)} {}
    LimiterOptions(const char *rate) : rates_{rate} {}
    LimiterOptions(std::string rate) : rates_{std::move(rate)} {}
    /// Several rates that all must be kept to, at most 4, and later no more than
    /// the limiter was created with.
    LimiterOptions(std::initializer_list<Rate> rates) : rates_(rates) {}
    explicit LimiterOptions(std::vector<Rate> rates) : rates_(std::move(rates)) {}

    /// A rate for requests of this tier; at most 15, names of 1 to 31 bytes other
    /// than "default", which is the limiter's own rate.
    LimiterOptions &tier(std::string name, Rate rate) {
        return tier(std::move(name), std::vector<Rate>{std::move(rate)});
    }
    /// Several of them. The first rates of all tiers share their memory, and so
    /// on: put those of similar periods in the same place.
    LimiterOptions &tier(std::string name, std::initializer_list<Rate> rates) {
        return tier(std::move(name), std::vector<Rate>(rates));
    }
    LimiterOptions &tier(std::string name, std::vector<Rate> rates) {
        tiers_.emplace_back(std::move(name), std::move(rates));
        return *this;
    }
    /// A bucket unless said otherwise. Fixed when the limiter is created; so is
    /// the length of a sliding window, which all tiers share.
    LimiterOptions &algorithm(Algorithm algorithm) {
        algorithm_ = algorithm;
        return *this;
    }
    /// Lenient unless said otherwise. Fixed when the limiter is created.
    LimiterOptions &on_full(OnFull on_full) {
        on_full_ = on_full;
        return *this;
    }
    /// Refused unless said otherwise.
    LimiterOptions &on_error(OnError on_error) {
        on_error_ = on_error;
        return *this;
    }
    /// False: everything passes, uncharged, and is counted as admitted.
    LimiterOptions &enabled(bool enabled) { return flag(FB_LIMITER_DISABLED, !enabled); }
    /// Whether Limiter::top_refused may show keys, as far as they are at most 47
    /// bytes long; they are stored in the region then.
    LimiterOptions &show_keys(bool show) { return flag(FB_LIMITER_SHOW_KEYS, show); }
    /// How many keys may have a bucket that is not full at once without crowding
    /// each other; it fixes the memory. 65,536 unless said otherwise.
    LimiterOptions &max_keys(std::uint64_t count) {
        max_keys_ = count;
        return *this;
    }

private:
    friend class Region;

    LimiterOptions &flag(std::uint32_t flag, bool on) {
        flags_ = on ? flags_ | flag : flags_ & ~flag;
        return *this;
    }

    std::vector<Rate> rates_;
    std::vector<std::pair<std::string, std::vector<Rate>>> tiers_;
    std::optional<std::uint64_t> max_keys_;
    std::optional<Algorithm> algorithm_;
    std::optional<OnFull> on_full_;
    OnError on_error_ = OnError::deny;
    std::uint32_t flags_ = 0;
};

/// What a request costs: one token at the default tier, now, unless said
/// otherwise. A cost of 0 only looks.
class Charge {
public:
    Charge() = default;
    explicit Charge(std::uint64_t cost) : cost_(cost) {}
    Charge &cost(std::uint64_t cost) noexcept {
        cost_ = cost;
        return *this;
    }
    /// The tier, a text that ends with NUL and outlives the charge.
    Charge &tier(const char *tier) noexcept {
        tier_ = tier;
        return *this;
    }
    /// The time, from Region::now: one reading may serve several calls.
    Charge &at(Duration now) noexcept {
        now_ = static_cast<std::uint64_t>(now.count());
        return *this;
    }

private:
    friend class Limiter;
    friend class Request;
    friend class Reservation;
    std::uint64_t cost_ = 1;
    std::uint64_t now_ = FB_NOW;
    const char *tier_ = nullptr;
};

/// A header: its name and its value.
using Header = std::pair<std::string, std::string>;

/// A limiter's answer.
struct Verdict {
    bool allowed;
    /// The most tokens that the bucket holds; UINT64_MAX: unlimited.
    std::uint64_t limit;
    /// The tokens left.
    std::uint64_t remaining;
    /// How long until the same request would be admitted; none when it was, or
    /// when it costs more than the bucket holds.
    std::optional<Duration> retry_after;
    /// How long until the bucket is full again and nothing blocks the key.
    Duration reset_after;
    /// How long an empty bucket takes to fill: with `limit`, the rate that
    /// headers tell; zero: unlimited.
    Duration window;

    explicit operator bool() const noexcept { return allowed; }

    /// The headers that tell a client about this limit: forebay::headers.
    [[nodiscard]] std::vector<Header>
    headers(std::string_view name, const std::vector<std::string_view> &styles = {"legacy"}) const;
};

namespace detail {

/// A verdict from C.
inline Verdict verdict(const fb_verdict &said) noexcept {
    Verdict verdict{said.retry_after_ns == 0, said.limit, said.remaining, std::nullopt,
                    chrono(said.reset_after_ns), chrono(said.window_ns)};
    if (!verdict.allowed && said.retry_after_ns != FB_NEVER) {
        verdict.retry_after = chrono(said.retry_after_ns);
    }
    return verdict;
}

/// A verdict for C.
inline fb_verdict verdict(const Verdict &verdict, std::optional<Error> &wrong) {
    const auto ns = [&](Duration duration) { return whole(duration, "verdict", wrong); };
    std::uint64_t retry_after = 0;
    if (!verdict.allowed) {
        retry_after = verdict.retry_after ? ns(*verdict.retry_after) : FB_NEVER;
        retry_after = retry_after == 0 ? 1 : retry_after; // 0 would be admitted.
    }
    return {verdict.limit, verdict.remaining, retry_after, ns(verdict.reset_after),
            ns(verdict.window)};
}

/// A text from a function that returns the length it needs, without NUL.
template <class Write> std::string text(Write write) {
    std::string text(write(nullptr, std::size_t{0}), '\0');
    // One more for NUL, which std::string has room for.
    write(text.data(), text.size() + 1);
    return text;
}

/// A text from a function that answers with a status, and the length in `*len`.
template <class Write> Result<std::string> text(std::size_t room, Write write) {
    std::string text(room, '\0');
    std::size_t length = 0;
    fb_status status = write(text.data(), text.size(), &length);
    if (status == FB_E_TOO_LARGE && length >= text.size()) {
        text.resize(length + 1);
        status = write(text.data(), text.size(), &length);
    }
    if (status < 0) {
        return last_error(status);
    }
    text.resize(length);
    return text;
}

} // namespace detail

/// A limiter refused the request: Limiter::enforce.
class Limited : public std::runtime_error {
public:
    Limited(const std::string &sentence, std::string limiter, const Verdict &verdict)
        : std::runtime_error(sentence), limiter_(std::move(limiter)), verdict_(verdict) {}

    /// The limiter's name.
    [[nodiscard]] const std::string &limiter() const noexcept { return limiter_; }
    /// What it said.
    [[nodiscard]] const Verdict &verdict() const noexcept { return verdict_; }

private:
    std::string limiter_;
    Verdict verdict_;
};

/// Tokens that are spent, to be used when its wait is over: Limiter::reserve.
/// Destroyed, it stays spent; `cancel` gives it back. It must not outlive its
/// Limiter.
class [[nodiscard]] Reservation {
public:
    Reservation(Reservation &&other) noexcept
        : limiter_(std::exchange(other.limiter_, nullptr)), key_(std::move(other.key_)),
          tier_(std::move(other.tier_)), cost_(other.cost_), raw_(other.raw_) {}
    Reservation &operator=(Reservation &&other) noexcept {
        std::swap(limiter_, other.limiter_);
        key_.swap(other.key_);
        tier_.swap(other.tier_);
        std::swap(cost_, other.cost_);
        std::swap(raw_, other.raw_);
        return *this;
    }
    Reservation(const Reservation &) = delete;
    Reservation &operator=(const Reservation &) = delete;
    ~Reservation() = default;

    /// How long to wait before acting; zero once it is time, or cancelled.
    [[nodiscard]] Duration wait() const noexcept {
        std::uint64_t wait = 0;
        fb_limiter_until_due(limiter_, raw_.due_ns, &wait);
        return detail::chrono(wait);
    }

    /// When to act, in the time of Region::now.
    [[nodiscard]] Duration due() const noexcept { return detail::chrono(raw_.due_ns); }

    /// Gives the tokens back; false if it was time to act already, or it was
    /// cancelled before. Those who reserved after it keep their times, and of a
    /// bucket's tokens as many are given back as they did not take after it: of
    /// several, cancel the youngest first. In a window nobody passes over a place
    /// that was given up.
    bool cancel() noexcept {
        const fb_limiter *limiter = std::exchange(limiter_, nullptr);
        return limiter != nullptr &&
               fb_limiter_cancel_with(limiter, key_.data(), key_.size(), cost_,
                                      tier_ ? tier_->c_str() : nullptr, &raw_) == FB_OK;
    }

private:
    friend class Limiter;
    template <class, class> friend class Acquire;
    /// What its bucket has now; a look at no token is always admitted.
    Result<Verdict> bucket() const noexcept {
        fb_verdict said;
        const fb_status status =
            fb_limiter_peek_with(limiter_, key_.data(), key_.size(), 0,
                                 tier_ ? tier_->c_str() : nullptr, FB_NOW, &said);
        said.retry_after_ns = 0; // Blocked only after it had reserved.
        return detail::result<Verdict>(status, [&](fb_status) { return detail::verdict(said); });
    }
    Reservation(const fb_limiter *limiter, std::string_view key, const Charge &charge)
        : limiter_(limiter), key_(key), cost_(charge.cost_) {
        if (charge.tier_ != nullptr) {
            tier_ = charge.tier_;
        }
    }

    const fb_limiter *limiter_;
    std::string key_;
    std::optional<std::string> tier_;
    std::uint64_t cost_;
    fb_reservation raw_{};
};

#ifdef __cpp_impl_coroutine
template <class Timer, class Answer> class Acquire;
#endif

/// What a limiter counted since it was created, in all processes.
using LimiterStats = fb_limiter_stats;

/// What a limiter counted for one of its tiers: Limiter::tier_stats.
struct TierStats {
    /// The tier's name; "default" for requests that name no tier, or one that the
    /// limiter does not have.
    std::string tier;
    /// Requests admitted.
    std::uint64_t admitted;
    /// Requests refused.
    std::uint64_t refused;
    /// Penalties that took more than was there.
    std::uint64_t debts;
};

/// A key that was refused often: Limiter::top_refused.
struct RefusedKey {
    /// The key's mark: Limiter::mark tells that of a key.
    std::uint64_t mark;
    /// How often it was refused, at most: an estimate.
    std::uint64_t count;
    /// By how much `count` may be too high.
    std::uint64_t over;
    /// The key, if the limiter shows keys.
    std::optional<std::string> key;
};

/// A token bucket or a window per key.
class Limiter {
public:
    /// Its name; empty when it was moved from. Allocates.
    [[nodiscard]] std::string name() const {
        return detail::text([&](char *buf, std::size_t cap) {
            return fb_limiter_name(handle_.get(), buf, cap);
        });
    }

    /// Takes one token, or what `charge` says; whether the request is admitted.
    [[nodiscard]] bool allow(std::string_view key) const { return try_allow(key).value(); }
    [[nodiscard]] bool allow(std::string_view key, const Charge &charge) const {
        return try_allow(key, charge).value();
    }
    Result<bool> try_allow(std::string_view key) const noexcept {
        return detail::yes(fb_limiter_take(handle_.get(), key.data(), key.size(), nullptr));
    }
    Result<bool> try_allow(std::string_view key, const Charge &charge) const noexcept {
        return detail::yes(fb_limiter_take_with(handle_.get(), key.data(), key.size(), charge.cost_,
                                                charge.tier_, charge.now_, nullptr));
    }

    /// The same, and tells what is left and how long to wait.
    [[nodiscard]] Verdict take(std::string_view key, const Charge &charge = Charge()) const {
        return try_take(key, charge).value();
    }
    Result<Verdict> try_take(std::string_view key, const Charge &charge = Charge()) const noexcept {
        return ask(fb_limiter_take_with, key, charge);
    }

    /// Answers as take would, and spends nothing.
    [[nodiscard]] Verdict peek(std::string_view key, const Charge &charge = Charge()) const {
        return try_peek(key, charge).value();
    }
    Result<Verdict> try_peek(std::string_view key, const Charge &charge = Charge()) const noexcept {
        return ask(fb_limiter_peek_with, key, charge);
    }

#ifndef FOREBAY_NO_EXCEPTIONS
    /// Takes, and throws Limited if the request is refused; without exceptions
    /// that is try_take.
    Verdict enforce(std::string_view key, const Charge &charge = Charge()) const {
        const Verdict verdict = take(key, charge);
        if (!verdict) {
            throw Limited(refusal(verdict), name(), verdict);
        }
        return verdict;
    }
#endif

    /// The sentence for a caller who was refused. Allocates.
    [[nodiscard]] std::string refusal(const Verdict &verdict) const {
        std::optional<Error> wrong;
        const std::uint64_t wait = detail::verdict(verdict, wrong).retry_after_ns;
        return detail::text([&](char *buf, std::size_t cap) {
            return fb_limiter_refusal(handle_.get(), wait, buf, cap);
        });
    }

    /// Gives tokens back that were spent for nothing: a request that came to no
    /// harm, a job that was cancelled. The bucket is never more than full. Tells
    /// what peek then would. The time of a charge is not looked at: what was
    /// given back at an old time would be too much.
    Verdict refund(std::string_view key, std::uint64_t tokens = 1) const {
        return try_refund(key, tokens).value();
    }
    Verdict refund(std::string_view key, const Charge &charge) const {
        return try_refund(key, charge).value();
    }
    Result<Verdict> try_refund(std::string_view key, std::uint64_t tokens = 1) const noexcept {
        return try_refund(key, Charge(tokens));
    }
    Result<Verdict> try_refund(std::string_view key, const Charge &charge) const noexcept {
        fb_verdict said;
        return told(fb_limiter_refund_with(handle_.get(), key.data(), key.size(), charge.cost_,
                                           charge.tier_, &said),
                    said);
    }

    /// Takes tokens whether they are there or not: the key may be in debt
    /// afterwards, and waits until that is paid off. Tells what peek then would.
    Verdict penalize(std::string_view key, std::uint64_t tokens = 1) const {
        return try_penalize(key, tokens).value();
    }
    Verdict penalize(std::string_view key, const Charge &charge) const {
        return try_penalize(key, charge).value();
    }
    Result<Verdict> try_penalize(std::string_view key, std::uint64_t tokens = 1) const noexcept {
        return try_penalize(key, Charge(tokens));
    }
    Result<Verdict> try_penalize(std::string_view key, const Charge &charge) const noexcept {
        return ask(fb_limiter_penalize_with, key, charge);
    }

    /// Refuses the key everything for this long, at least: a block that ends
    /// later stays. Holds in every tier, unlimited ones too. At most four and a
    /// half years.
    void block(std::string_view key, Duration time) const { try_block(key, time).value(); }
    Result<void> try_block(std::string_view key, Duration time) const noexcept {
        std::optional<Error> wrong;
        const std::uint64_t ns = detail::whole(time, "time", wrong);
        if (wrong) {
            return *wrong;
        }
        return detail::done(fb_limiter_block(handle_.get(), key.data(), key.size(), ns));
    }

    /// Ends a block; false if there was none.
    bool unblock(std::string_view key) const { return try_unblock(key).value(); }
    Result<bool> try_unblock(std::string_view key) const noexcept {
        return detail::yes(fb_limiter_unblock(handle_.get(), key.data(), key.size()));
    }

    /// Spends a charge now, to be used after a wait of at most `max_wait`; none
    /// when it would be longer: then nothing is spent, and `refusal`, if given,
    /// says why. Whoever came first is served first. The wait is the program's
    /// own (a condition variable, a timer), and can end early: cancel; in a
    /// coroutine, acquire_async is all of that. Keeps a copy of the key and the tier.
    ///
    ///     if (auto turn = mails.reserve(address, 5s)) {
    ///         stopped.wait_for(lock, turn->wait()); // a condition variable
    ///         is_stopped ? (void)turn->cancel() : send(mail);
    ///     }
    [[nodiscard]] std::optional<Reservation> reserve(std::string_view key, Duration max_wait,
                                                     const Charge &charge = Charge(),
                                                     Verdict *refusal = nullptr) const {
        return try_reserve(key, max_wait, charge, refusal).value();
    }
    Result<std::optional<Reservation>> try_reserve(std::string_view key, Duration max_wait,
                                                   const Charge &charge = Charge(),
                                                   Verdict *refusal = nullptr) const {
        std::optional<Error> wrong;
        const std::uint64_t most = detail::whole(max_wait, "max_wait", wrong);
        if (wrong) {
            return *wrong;
        }
        // Copied first: what cannot be remembered is not spent.
        Reservation reservation(handle_.get(), key, charge);
        std::uint64_t wait = 0;
        fb_verdict said;
        const fb_status status =
            fb_limiter_reserve_with(handle_.get(), key.data(), key.size(), charge.cost_,
                                    charge.tier_, charge.now_, most, &wait, &reservation.raw_, &said);
        if (status < 0) {
            return detail::last_error(status);
        }
        if (status != FB_OK) {
            if (refusal != nullptr) {
                *refusal = detail::verdict(said);
            }
            return std::optional<Reservation>();
        }
        return std::optional<Reservation>(std::move(reservation));
    }

    /// Waits for a charge, at most for `timeout`, and spends it. Whoever comes
    /// first is served first; nobody waits who would not be served in time: such
    /// a call is refused at once. Blocks the thread; where the wait must end
    /// early, reserve.
    [[nodiscard]] Verdict acquire(std::string_view key, Duration timeout,
                                  const Charge &charge = Charge()) const {
        return try_acquire(key, timeout, charge).value();
    }
    Result<Verdict> try_acquire(std::string_view key, Duration timeout,
                                const Charge &charge = Charge()) const noexcept {
        std::optional<Error> wrong;
        const std::uint64_t most = detail::whole(timeout, "timeout", wrong);
        if (wrong) {
            return *wrong;
        }
        fb_verdict said;
        return told(fb_limiter_acquire_with(handle_.get(), key.data(), key.size(), charge.cost_,
                                            charge.tier_, charge.now_, most, &said),
                    said);
    }

#ifdef __cpp_impl_coroutine
    /// acquire for a coroutine of any executor, in C++20. The place in the queue is
    /// taken when this is awaited, and given up if the coroutine is destroyed
    /// meanwhile. Answers what the bucket has when its time has come.
    ///
    /// `timer` is the executor's: called with how long to wait and a Wake, it has
    /// that called after so long, not before it returns, where the coroutine is to
    /// run and where it may be destroyed. What it returns, if anything, is kept until
    /// the wait is over: a timer that is cancelled when it is destroyed. With asio:
    ///
    ///     const auto timer = [&](forebay::Duration wait, forebay::Wake wake) {
    ///         auto timer = std::make_unique<asio::steady_timer>(executor, wait);
    ///         timer->async_wait([wake](auto error) { if (!error) wake(); });
    ///         return timer;
    ///     };
    ///     if (co_await mails.acquire_async(address, 5s, timer)) send(mail);
    ///
    /// Copies the key and the timer; a wait allocates. Await it once, while the
    /// limiter is there. Of several that are given up, destroy the youngest first:
    /// those behind one that is given up keep their times.
    template <class Timer>
    Acquire<Timer, Verdict> acquire_async(std::string_view key, Duration timeout, Timer timer,
                                          const Charge &charge = Charge()) const;
    template <class Timer>
    Acquire<Timer, Result<Verdict>> try_acquire_async(std::string_view key, Duration timeout,
                                                      Timer timer,
                                                      const Charge &charge = Charge()) const;
#endif

    /// Makes the key's bucket full again and ends a block; false if it was full
    /// and there was none.
    bool reset(std::string_view key) const { return try_reset(key).value(); }
    Result<bool> try_reset(std::string_view key) const noexcept {
        return detail::yes(fb_limiter_reset(handle_.get(), key.data(), key.size()));
    }

    /// Fills all buckets and ends all blocks; reads the whole table.
    void clear() const { try_clear().value(); }
    Result<void> try_clear() const noexcept {
        return detail::done(fb_limiter_clear(handle_.get()));
    }

    /// The keys that were refused most, since the limiter's creation or since
    /// forget_refused: up to 32, the worst first. Estimates, never exact. Keys are
    /// told only with LimiterOptions::show_keys; without, mark tells whether a key
    /// that you know is among them.
    [[nodiscard]] std::vector<RefusedKey> top_refused() const { return try_top_refused().value(); }
    Result<std::vector<RefusedKey>> try_top_refused() const {
        fb_refused_key found[FB_MOST_REFUSED];
        std::size_t count = 0;
        const fb_status status =
            fb_limiter_top_refused(handle_.get(), found, FB_MOST_REFUSED, &count);
        if (status < 0) {
            return detail::last_error(status);
        }
        std::vector<RefusedKey> told;
        told.reserve(count);
        for (std::size_t i = 0; i < count; i++) {
            const fb_refused_key &one = found[i];
            told.push_back({one.mark, one.count, one.over, std::nullopt});
            if (one.is_shown != 0) {
                told.back().key.emplace(reinterpret_cast<const char *>(one.key), one.key_len);
            }
        }
        return told;
    }

    /// By what top_refused calls this key.
    [[nodiscard]] std::uint64_t mark(std::string_view key) const { return try_mark(key).value(); }
    Result<std::uint64_t> try_mark(std::string_view key) const noexcept {
        std::uint64_t mark = 0;
        return detail::result<std::uint64_t>(
            fb_limiter_mark(handle_.get(), key.data(), key.size(), &mark),
            [&](fb_status) { return mark; });
    }

    /// Begins to count anew who is refused most.
    void forget_refused() const { try_forget_refused().value(); }
    Result<void> try_forget_refused() const noexcept {
        return detail::done(fb_limiter_forget_refused(handle_.get()));
    }

    /// What it counted, in all processes.
    [[nodiscard]] LimiterStats stats() const { return try_stats().value(); }
    Result<LimiterStats> try_stats() const noexcept {
        LimiterStats stats = fb_limiter_stats_init();
        return detail::result<LimiterStats>(fb_limiter_get_stats(handle_.get(), &stats),
                                            [&](fb_status) { return stats; });
    }

    /// What it counted for each of its tiers, in all processes: "default" first,
    /// then in the order in which the tiers came to be. Evictions are not told
    /// apart: a bucket is a key's, in whatever tier it is asked.
    [[nodiscard]] std::vector<TierStats> tier_stats() const { return try_tier_stats().value(); }
    Result<std::vector<TierStats>> try_tier_stats() const {
        fb_tier_stats found[FB_MOST_TIERS];
        std::size_t count = 0;
        const fb_status status =
            fb_limiter_tier_stats(handle_.get(), found, FB_MOST_TIERS, &count);
        if (status < 0) {
            return detail::last_error(status);
        }
        std::vector<TierStats> told;
        told.reserve(count);
        for (std::size_t i = 0; i < count; i++) {
            const fb_tier_stats &of = found[i];
            told.push_back({of.tier, of.admitted, of.refused, of.debts});
        }
        return told;
    }

    /// The C handle, which stays this object's.
    [[nodiscard]] fb_limiter *c_handle() const noexcept { return handle_.get(); }

private:
    friend class Region;
    explicit Limiter(fb_limiter *handle) : handle_(handle) {}

    using Ask = fb_status (*)(const fb_limiter *, const void *, std::size_t, std::uint64_t,
                              const char *, std::uint64_t, fb_verdict *);
    Result<Verdict> ask(Ask call, std::string_view key, const Charge &charge) const noexcept {
        fb_verdict said;
        return told(call(handle_.get(), key.data(), key.size(), charge.cost_, charge.tier_,
                         charge.now_, &said),
                    said);
    }
    static Result<Verdict> told(fb_status status, const fb_verdict &said) noexcept {
        return detail::result<Verdict>(status, [&](fb_status) { return detail::verdict(said); });
    }

    detail::Handle<fb_limiter, fb_limiter_close> handle_;
};

#ifdef __cpp_impl_coroutine

/// What a timer of Limiter::acquire_async calls when its time has come: resumes the
/// coroutine. Copyable, and without effect once nobody waits any more.
class Wake {
public:
    void operator()() const {
        if (const std::function<void()> resume = *resume_) {
            resume();
        }
    }

private:
    template <class, class> friend class Acquire;
    using Resume = std::shared_ptr<std::function<void()>>;
    explicit Wake(Resume resume) : resume_(std::move(resume)) {}

    Resume resume_;
};

/// To be awaited: Limiter::acquire_async. Destroyed while it waits, as with the
/// frame of its coroutine, it gives its tokens back.
template <class Timer, class Answer> class [[nodiscard]] Acquire {
public:
    Acquire(const Acquire &) = delete;
    Acquire &operator=(const Acquire &) = delete;
    ~Acquire() { give_up(); }

    bool await_ready() {
        give_up(); // What a timer that threw has left.
        if (!told_) {
            Verdict refusal{};
            auto place = limiter_.try_reserve(key_, timeout_, charge_, &refusal);
            place_ = place ? std::move(*place) : std::nullopt;
            if (!place_) {
                told_ = place ? Result<Verdict>(refusal) : place.error();
            }
        }
        return told_ || place_->wait() == Duration::zero();
    }
    void await_suspend(std::coroutine_handle<> waiter) {
        resume_ = std::make_shared<std::function<void()>>([this, waiter] {
            if (place_->wait() > Duration::zero()) {
                return sleep(); // The timer was early.
            }
            *resume_ = nullptr;
            waiter.resume();
        });
        sleep();
    }
    Answer await_resume() {
        if (!told_) {
            told_ = place_->bucket();
            place_.reset();
        }
        if constexpr (std::is_same_v<Answer, Verdict>) {
            return told_->value();
        } else {
            return *told_;
        }
    }

private:
    friend class Limiter;
    using Kept = std::invoke_result_t<Timer &, Duration, Wake>;
    Acquire(const Limiter &limiter, std::string_view key, Duration timeout, Timer timer,
            const Charge &charge)
        : limiter_(limiter), key_(key), timeout_(timeout), timer_(std::move(timer)),
          charge_(charge) {
        std::optional<Error> wrong;
        detail::whole(timeout, "timeout", wrong);
        if (wrong) {
            told_ = *wrong;
        }
    }

    void sleep() {
        if constexpr (std::is_void_v<Kept>) {
            timer_(place_->wait(), Wake(resume_));
        } else {
            kept_.emplace(timer_(place_->wait(), Wake(resume_)));
        }
    }
    void give_up() noexcept {
        if (resume_) {
            *resume_ = nullptr;
        }
        if (place_) {
            place_->cancel();
        }
    }

    const Limiter &limiter_;
    std::string key_;
    Duration timeout_;
    Timer timer_;
    Charge charge_;
    std::optional<std::conditional_t<std::is_void_v<Kept>, char, Kept>> kept_;
    std::optional<Reservation> place_;
    std::optional<Result<Verdict>> told_;
    Wake::Resume resume_;
};

template <class Timer>
Acquire<Timer, Verdict> Limiter::acquire_async(std::string_view key, Duration timeout, Timer timer,
                                               const Charge &charge) const {
    return {*this, key, timeout, std::move(timer), charge};
}
template <class Timer>
Acquire<Timer, Result<Verdict>> Limiter::try_acquire_async(std::string_view key, Duration timeout,
                                                           Timer timer,
                                                           const Charge &charge) const {
    return {*this, key, timeout, std::move(timer), charge};
}

#endif

/// One of the limits that a request is held against: take_all. It borrows the
/// limiter and the key.
class Request {
public:
    Request(const Limiter &limiter, std::string_view key, const Charge &charge = Charge()) noexcept
        : raw_(fb_request_of(limiter.c_handle(), key.data(), key.size())) {
        raw_.cost = charge.cost_;
        raw_.tier = charge.tier_;
        raw_.now_ns = charge.now_;
    }

    /// As it is in C.
    [[nodiscard]] const fb_request &raw() const noexcept { return raw_; }

private:
    fb_request raw_;
};

/// What several limits said together.
struct TakenAll {
    /// Whether all admitted the request, and were charged.
    bool allowed;
    /// What each one says: of those that refuse, the one with the longest wait is
    /// the one to tell about.
    std::vector<Verdict> verdicts;

    explicit operator bool() const noexcept { return allowed; }
};

/// Holds one request against several limits, of any limiters, at most 16: either
/// all admit it and all are charged, or none is.
///
///     auto all = forebay::take_all({{each, address}, {global, ""}});
inline Result<TakenAll> try_take_all(const std::vector<Request> &requests) {
    std::vector<fb_request> raw;
    raw.reserve(requests.size());
    for (const Request &request : requests) {
        raw.push_back(request.raw());
    }
    std::vector<fb_verdict> said(requests.size());
    const fb_status status = fb_take_all(raw.data(), raw.size(), said.data());
    if (status < 0) {
        return detail::last_error(status);
    }
    TakenAll taken{status == FB_OK, {}};
    taken.verdicts.reserve(said.size());
    for (const fb_verdict &one : said) {
        taken.verdicts.push_back(detail::verdict(one));
    }
    return taken;
}
[[nodiscard]] inline TakenAll take_all(const std::vector<Request> &requests) {
    return try_take_all(requests).value();
}

/// A limit as headers tell it.
struct Limit {
    /// Its name in the newer styles, printable ASCII such as the limiter's.
    std::string_view name;
    /// What it said.
    Verdict verdict;
    /// The key that was asked about, if the client is to be told which of its
    /// requests share a bucket: pk, the partition key, in draft-8 and draft-10, by
    /// digits of its hash. Somebody who sees them can check a guess at the key.
    std::optional<std::string_view> key = std::nullopt;
};

/// The headers that tell a client about these limits, in order. Styles: "legacy",
/// "legacy-delta", "draft-6", "draft-7", "draft-8", "draft-10" (see fb_headers).
/// `now`: the wall clock, which "legacy" needs.
inline Result<std::vector<Header>>
try_headers(const std::vector<Limit> &limits,
            const std::vector<std::string_view> &styles = {"legacy"},
            std::chrono::system_clock::time_point now = std::chrono::system_clock::now()) {
    std::optional<Error> wrong;
    // The names must end with NUL, and stay where they are.
    std::vector<std::string> names;
    names.reserve(limits.size());
    std::vector<fb_limit> raw;
    for (const auto &[name, verdict, key] : limits) {
        Result<std::string> checked = detail::name(name);
        if (!checked) {
            return checked.error();
        }
        names.push_back(*std::move(checked));
        // An empty view may have no data, and in C no pointer means no key.
        const std::string_view told = key.value_or("");
        const char *const data = told.data() != nullptr ? told.data() : "";
        raw.push_back({names.back().c_str(), detail::verdict(verdict, wrong),
                       key ? data : nullptr, told.size()});
    }
    std::string list;
    for (const std::string_view style : styles) {
        if (style.empty() || style.find_first_of(std::string_view(",\0", 2)) != style.npos) {
            return detail::invalid("styles", "\"" + std::string(style) + "\"",
                                   "the name of one style each");
        }
        list.append(list.empty() ? "" : ",").append(style);
    }
    const std::uint64_t wall = detail::whole(now.time_since_epoch(), "now", wrong);
    if (wrong) {
        return *wrong;
    }
    const Result<std::string> lines =
        detail::text(1024, [&](char *buf, std::size_t cap, std::size_t *length) {
            return fb_headers(raw.data(), raw.size(), list.c_str(), wall, buf, cap, length);
        });
    if (!lines) {
        return lines.error();
    }
    std::vector<Header> told;
    // "Name: value\r\n" each; a value has no line breaks.
    for (std::size_t at = 0; at < lines->size();) {
        const std::size_t colon = lines->find(": ", at);
        const std::size_t end = lines->find("\r\n", colon);
        told.emplace_back(lines->substr(at, colon - at),
                          lines->substr(colon + 2, end - colon - 2));
        at = end + 2;
    }
    return told;
}
[[nodiscard]] inline std::vector<Header>
headers(const std::vector<Limit> &limits, const std::vector<std::string_view> &styles = {"legacy"},
        std::chrono::system_clock::time_point now = std::chrono::system_clock::now()) {
    return try_headers(limits, styles, now).value();
}

inline std::vector<Header> Verdict::headers(std::string_view name,
                                            const std::vector<std::string_view> &styles) const {
    return forebay::headers({{name, *this}}, styles);
}

/// The address that a limiter should count a client by, as text for its key: the
/// same in every language. `peer` is the address of the connection, with or
/// without a port; behind `trusted_hops` proxies of our own, the last of which is
/// `peer`, each appended what it saw to the header X-Forwarded-For (several are
/// joined by commas); what stands further left is the client's word and does not
/// count. An IPv6 address stands for its network of `ipv6_prefix` bits.
inline Result<std::string> try_client_address(std::string_view peer,
                                              std::string_view forwarded_for = {},
                                              std::size_t trusted_hops = 0,
                                              std::uint32_t ipv6_prefix = 64) {
    const Result<std::string> checked = detail::name(peer, "peer");
    if (!checked) {
        return checked.error();
    }
    return detail::text(64, [&](char *buf, std::size_t cap, std::size_t *length) {
        return fb_client_address(checked->c_str(), forwarded_for.data(), forwarded_for.size(),
                                 trusted_hops, ipv6_prefix, buf, cap, length);
    });
}
[[nodiscard]] inline std::string client_address(std::string_view peer,
                                                std::string_view forwarded_for = {},
                                                std::size_t trusted_hops = 0,
                                                std::uint32_t ipv6_prefix = 64) {
    return try_client_address(peer, forwarded_for, trusted_hops, ipv6_prefix).value();
}

// ---------------------------------------------------------- WindowCounter

/// How to open a window counter.
class WindowOptions {
public:
    /// How many keys may have a window at once without crowding each other; it
    /// fixes the memory. 65,536 unless said otherwise.
    WindowOptions &max_keys(std::uint64_t count) {
        options_.max_keys = count;
        if (count == 0) {
            wrong_ = detail::invalid("max_keys", "0", "above 0");
        }
        return *this;
    }

private:
    friend class Region;
    fb_window_options options_ = fb_window_options_init();
    std::optional<Error> wrong_;
};

/// What a key's window has seen.
struct Count {
    /// Hits in the window; at most 8,388,607 are counted.
    std::uint64_t count;
    /// How long until it ends; zero if the key has no window.
    Duration resets_in;
};

/// What a key's window has seen, and whether these hits are in it.
struct Hit : Count {
    bool counted;

    explicit operator bool() const noexcept { return counted; }
};

/// What a window counter counted since it was created, in all processes.
using WindowStats = fb_window_stats;

/// Counts by key in windows of time, exact under concurrency: what the stores of
/// other rate limiters are made of. A Limiter with Algorithm::fixed is the limit
/// itself. A key's window begins with its first hit, which tells its length, in
/// whole milliseconds.
class WindowCounter {
public:
    /// Counts one hit of this key. If it has no window, or that is over, one of
    /// this length begins: 1 ms to four and a half years.
    Count hit(std::string_view key, Duration window) const { return try_hit(key, window).value(); }
    Result<Count> try_hit(std::string_view key, Duration window) const noexcept {
        std::optional<Error> wrong;
        const std::uint64_t length = detail::whole(window, "window", wrong);
        if (wrong) {
            return *wrong;
        }
        fb_count said;
        return told(fb_window_hit(handle_.get(), key.data(), key.size(), length, &said), said);
    }

    /// Counts so many hits, unless the window would have more than `limit` then.
    /// Zero hits begin no window.
    Hit hit(std::string_view key, Duration window, std::uint64_t hits,
            std::optional<std::uint64_t> limit = std::nullopt) const {
        return try_hit(key, window, hits, limit).value();
    }
    Result<Hit> try_hit(std::string_view key, Duration window, std::uint64_t hits,
                        std::optional<std::uint64_t> limit = std::nullopt) const noexcept {
        std::optional<Error> wrong;
        const std::uint64_t length = detail::whole(window, "window", wrong);
        if (wrong) {
            return *wrong;
        }
        fb_count said;
        return detail::result<Hit>(
            fb_window_hit_with(handle_.get(), key.data(), key.size(), length, hits,
                               limit.value_or(FB_UNLIMITED), &said),
            [&](fb_status status) { return Hit{count(said), status == FB_OK}; });
    }

    /// What the key's window has seen.
    [[nodiscard]] Count get(std::string_view key) const { return try_get(key).value(); }
    Result<Count> try_get(std::string_view key) const noexcept {
        fb_count said;
        return told(fb_window_get(handle_.get(), key.data(), key.size(), &said), said);
    }

    /// Takes hits back, down to none; the window stays as it is.
    Count decrement(std::string_view key, std::uint64_t hits = 1) const {
        return try_decrement(key, hits).value();
    }
    Result<Count> try_decrement(std::string_view key, std::uint64_t hits = 1) const noexcept {
        fb_count said;
        return told(fb_window_decrement(handle_.get(), key.data(), key.size(), hits, &said), said);
    }

    /// Ends the key's window, and its block; false if it had neither.
    bool reset(std::string_view key) const { return try_reset(key).value(); }
    Result<bool> try_reset(std::string_view key) const noexcept {
        return detail::yes(fb_window_reset(handle_.get(), key.data(), key.size()));
    }

    /// Marks the key as blocked for this long, for blocked_for to tell; a mark
    /// that ends later stays. It is counted on regardless.
    void block(std::string_view key, Duration time) const { try_block(key, time).value(); }
    Result<void> try_block(std::string_view key, Duration time) const noexcept {
        std::optional<Error> wrong;
        const std::uint64_t ns = detail::whole(time, "time", wrong);
        if (wrong) {
            return *wrong;
        }
        return detail::done(fb_window_block(handle_.get(), key.data(), key.size(), ns));
    }

    /// How long the key is blocked yet; zero if it is not.
    [[nodiscard]] Duration blocked_for(std::string_view key) const {
        return try_blocked_for(key).value();
    }
    Result<Duration> try_blocked_for(std::string_view key) const noexcept {
        std::uint64_t wait = 0;
        return detail::result<Duration>(
            fb_window_blocked_for(handle_.get(), key.data(), key.size(), &wait),
            [&](fb_status) { return detail::chrono(wait); });
    }

    /// Ends a block; false if there was none.
    bool unblock(std::string_view key) const { return try_unblock(key).value(); }
    Result<bool> try_unblock(std::string_view key) const noexcept {
        return detail::yes(fb_window_unblock(handle_.get(), key.data(), key.size()));
    }

    /// Ends all windows and blocks; reads the whole table.
    void clear() const { try_clear().value(); }
    Result<void> try_clear() const noexcept { return detail::done(fb_window_clear(handle_.get())); }

    /// What it counted, in all processes.
    [[nodiscard]] WindowStats stats() const { return try_stats().value(); }
    Result<WindowStats> try_stats() const noexcept {
        WindowStats stats = fb_window_stats_init();
        return detail::result<WindowStats>(fb_window_get_stats(handle_.get(), &stats),
                                           [&](fb_status) { return stats; });
    }

    /// The C handle, which stays this object's.
    [[nodiscard]] fb_window *c_handle() const noexcept { return handle_.get(); }

private:
    friend class Region;
    explicit WindowCounter(fb_window *handle) : handle_(handle) {}

    static Count count(const fb_count &said) noexcept {
        return {said.count, detail::chrono(said.resets_in_ns)};
    }
    static Result<Count> told(fb_status status, const fb_count &said) noexcept {
        return detail::result<Count>(status, [&](fb_status) { return count(said); });
    }

    detail::Handle<fb_window, fb_window_close> handle_;
};

// ---------------------------------------------------------------- Permits

/// How to open permits.
class PermitsOptions {
public:
    /// So many leases of a key at once, 1 to 4,096. When it is lowered, the leases
    /// that there are go on; it may not be raised beyond what the permits were
    /// created for.
    PermitsOptions(std::uint64_t limit) { options_.limit = limit; }

    /// When a lease ends by itself that is neither released nor renewed, 1 ms to
    /// 30 days, in whole milliseconds; a minute unless said otherwise. Choose more
    /// than the work takes, or renew.
    PermitsOptions &lease(Duration time) {
        options_.lease_ns = detail::whole(time, "lease", wrong_);
        return above_zero("lease", options_.lease_ns);
    }
    /// Leases of all keys together, from the limit to 16,777,216; it fixes the
    /// memory. 4,096 unless said otherwise.
    PermitsOptions &max_leases(std::uint64_t count) {
        options_.max_leases = count;
        return above_zero("max_leases", count);
    }

private:
    friend class Region;

    // In C a zero is the default, so one that was asked for is refused here.
    PermitsOptions &above_zero(const char *name, std::uint64_t value) {
        if (value == 0 && !wrong_) {
            wrong_ = detail::invalid(name, "0", "above 0");
        }
        return *this;
    }

    fb_permits_options options_ = fb_permits_options_init();
    std::optional<Error> wrong_;
};

/// Why there is no permit.
enum class Reason : std::uint32_t {
    /// The key has as many leases as it may.
    limit = FB_REASON_LIMIT,
    /// There is no room for another lease: raise max_leases.
    full = FB_REASON_FULL,
    /// A process that is stopped, or that is much at work, has the lock of the
    /// key's shard; or this process found no seat.
    busy = FB_REASON_BUSY,
};

/// A reason in a word, such as "limit".
[[nodiscard]] inline const char *name(Reason reason) noexcept {
    return fb_reason_name(static_cast<std::uint32_t>(reason));
}

/// There is no permit now.
struct Refusal {
    /// Why.
    Reason reason{};
    /// How long until one of the leases in the way has ended, at the latest,
    /// unless it is renewed; most end before, by being released. None when busy.
    std::optional<Duration> retry_after = std::nullopt;
};

/// One permit, for a time. Destroyed, it is released; in a child of fork, whose
/// parent has it still, that does nothing. It must not outlive its Permits.
///
/// A lease whose time is over does not stop its holder: who works on without
/// renewing works beside the next one.
class [[nodiscard]] Lease {
public:
    Lease(Lease &&other) noexcept
        : permits_(std::exchange(other.permits_, nullptr)), raw_(other.raw_) {}
    Lease &operator=(Lease &&other) noexcept {
        if (this != &other) {
            release();
            permits_ = std::exchange(other.permits_, nullptr);
            raw_ = other.raw_;
        }
        return *this;
    }
    Lease(const Lease &) = delete;
    Lease &operator=(const Lease &) = delete;
    ~Lease() { release(); }

    /// Gives the permit back; false if its time was over before, so that somebody
    /// else may have had it meanwhile, or it was released before.
    bool release() noexcept {
        const fb_permits *permits = std::exchange(permits_, nullptr);
        return permits != nullptr && fb_permits_release(permits, &raw_) == FB_OK;
    }

    /// Has it end by itself as late as one that was acquired now; false if its
    /// time was over before, or it was released. Then acquire another.
    bool renew() noexcept {
        return permits_ != nullptr && fb_permits_renew(permits_, &raw_) == FB_OK;
    }

    /// How long until it ends by itself; zero when that is over, or it was
    /// released.
    [[nodiscard]] Duration ends_in() const noexcept {
        std::uint64_t ends_in = 0;
        fb_permits_ends_in(permits_, &raw_, &ends_in);
        return detail::chrono(ends_in);
    }

private:
    friend class Permits;
    Lease(const fb_permits *permits, fb_lease raw) noexcept : permits_(permits), raw_(raw) {}

    const fb_permits *permits_;
    fb_lease raw_;
};

/// What permits counted since they were created, in all processes.
using PermitsStats = fb_permits_stats;

/// Of each key at most so many leases are live at once, over all threads and
/// processes, whichever of them are killed or stopped.
///
///     if (auto lease = exports.acquire(customer)) { ... } // released at its end
class Permits {
public:
    /// A permit for this key; none when there is none now: then `refusal`, if
    /// given, says why and when to try again. Does not wait.
    [[nodiscard]] std::optional<Lease> acquire(std::string_view key,
                                               Refusal *refusal = nullptr) const {
        return try_acquire(key, refusal).value();
    }
    Result<std::optional<Lease>> try_acquire(std::string_view key,
                                             Refusal *refusal = nullptr) const noexcept {
        fb_lease raw;
        fb_refusal why;
        const fb_status status =
            fb_permits_try_acquire(handle_.get(), key.data(), key.size(), &raw, &why);
        if (status < 0) {
            return detail::last_error(status);
        }
        if (status != FB_OK) {
            if (refusal != nullptr) {
                *refusal = {static_cast<Reason>(why.reason), std::nullopt};
                if (why.retry_after_ns != FB_NEVER) {
                    refusal->retry_after = detail::chrono(why.retry_after_ns);
                }
            }
            return std::optional<Lease>();
        }
        return std::optional<Lease>(Lease(handle_.get(), raw));
    }

    /// How many leases the key has, those of dead processes that nobody has
    /// noticed yet among them.
    [[nodiscard]] std::uint64_t in_use(std::string_view key) const {
        return try_in_use(key).value();
    }
    Result<std::uint64_t> try_in_use(std::string_view key) const noexcept {
        std::uint64_t leases = 0;
        return detail::result<std::uint64_t>(
            fb_permits_in_use(handle_.get(), key.data(), key.size(), &leases),
            [&](fb_status) { return leases; });
    }

    /// What they counted, in all processes.
    [[nodiscard]] PermitsStats stats() const { return try_stats().value(); }
    Result<PermitsStats> try_stats() const noexcept {
        PermitsStats stats = fb_permits_stats_init();
        return detail::result<PermitsStats>(fb_permits_get_stats(handle_.get(), &stats),
                                            [&](fb_status) { return stats; });
    }

    /// The sentence for a caller who got no permit. Allocates.
    [[nodiscard]] std::string refusal(const Refusal &refusal) const {
        std::optional<Error> wrong;
        const fb_refusal raw = {static_cast<std::uint32_t>(refusal.reason), 0,
                                refusal.retry_after
                                    ? detail::whole(*refusal.retry_after, "retry_after", wrong)
                                    : FB_NEVER};
        return detail::text([&](char *buf, std::size_t cap) {
            return fb_permits_refusal(handle_.get(), &raw, buf, cap);
        });
    }

    /// The C handle, which stays this object's.
    [[nodiscard]] fb_permits *c_handle() const noexcept { return handle_.get(); }

private:
    friend class Region;
    explicit Permits(fb_permits *handle) : handle_(handle) {}
    detail::Handle<fb_permits, fb_permits_close> handle_;
};

// ------------------------------------------------------------------ Cache

/// How to open a cache. What is not said has its default (see fb_cache_options).
class CacheOptions {
public:
    /// Memory in the region, all included; at least 16 KiB.
    CacheOptions &bytes(std::uint64_t bytes) { return set(&fb_cache_options::bytes, "bytes", bytes); }
    /// The most entries; each takes about 80 bytes beside its key and value.
    CacheOptions &max_entries(std::uint64_t count) {
        return set(&fb_cache_options::max_entries, "max_entries", count);
    }
    /// The largest key and value together; at most about a quarter of a shard.
    CacheOptions &max_item(std::uint64_t bytes) {
        return set(&fb_cache_options::max_item, "max_item", bytes);
    }
    /// How many parts it has, each with a lock of its own for writers; a power of
    /// two.
    CacheOptions &shards(std::uint64_t count) {
        return set(&fb_cache_options::shards, "shards", count);
    }
    /// How long entries live unless a set says otherwise.
    CacheOptions &ttl(Duration ttl) {
        return set(&fb_cache_options::ttl_ns, "ttl", detail::whole(ttl, "ttl", wrong_));
    }

private:
    friend class Region;

    // In C a zero is the default, so one that was asked for is refused here.
    CacheOptions &set(std::uint64_t fb_cache_options::*field, const char *name,
                     std::uint64_t value) {
        if (value == 0 && !wrong_) {
            wrong_ = detail::invalid(name, "0", "above 0");
        }
        options_.*field = value;
        return *this;
    }

    fb_cache_options options_ = fb_cache_options_init();
    std::optional<Error> wrong_;
};

/// How to store a value.
class SetOptions {
public:
    /// How long it lives; 0: it is gone at once.
    SetOptions &ttl(Duration ttl) {
        ttl_ = detail::whole(ttl, "ttl", wrong_);
        gone_ = ttl_ == 0;
        return *this;
    }
    /// Without end, whatever the cache's TTL says.
    SetOptions &never_expires() {
        ttl_ = FB_NEVER;
        gone_ = false;
        return *this;
    }
    /// One of enum fb_codec, or the program's own up to 255.
    SetOptions &codec(std::uint32_t codec) {
        codec_ = codec;
        return *this;
    }

private:
    friend class Cache;
    std::uint64_t ttl_ = 0;
    std::uint32_t codec_ = FB_CODEC_BYTES;
    bool gone_ = false;
    std::optional<Error> wrong_;
};

/// An entry with all that is known of it.
struct Entry {
    std::string value;
    /// One of enum fb_codec, or the program's own.
    std::uint32_t codec;
    /// A number that no other value of this key has had or will have.
    std::uint64_t version;
    /// How long ago it was set.
    Duration age;
    /// How long it will live; none: without end.
    std::optional<Duration> ttl;
};

/// What a cache counted since it was created, in all processes, and what it holds.
using CacheStats = fb_cache_stats;

/// hits / (hits + misses); 0 when there were none.
[[nodiscard]] inline double hit_rate(const CacheStats &stats) noexcept {
    const auto reads = static_cast<double>(stats.hits) + static_cast<double>(stats.misses);
    return reads > 0 ? static_cast<double>(stats.hits) / reads : 0.0;
}

/// Bytes by key.
class Cache {
public:
    /// The key's value: one copy, straight into the string.
    [[nodiscard]] std::optional<std::string> get(std::string_view key) const {
        return try_get(key).value();
    }
    Result<std::optional<std::string>> try_get(std::string_view key) const {
        std::string value;
        Result<bool> found = try_get_into(key, value);
        if (!found) {
            return found.error();
        }
        return *found ? std::optional<std::string>(std::move(value)) : std::nullopt;
    }

    /// The key's value into a string that is used again and again; false: a
    /// miss, and `into` is empty. Allocates only when it must grow.
    [[nodiscard]] bool get_into(std::string_view key, std::string &into) const {
        return try_get_into(key, into).value();
    }
    Result<bool> try_get_into(std::string_view key, std::string &into) const {
        Destination destination{into, false};
        std::size_t length = 0;
        const fb_status status = fb_cache_get_with(handle_.get(), key.data(), key.size(), place,
                                                   &destination, &length);
        return destination.told(status, length);
    }

    /// The key's value with its codec, version, age and time to live.
    [[nodiscard]] std::optional<Entry> entry(std::string_view key) const {
        return try_entry(key).value();
    }
    Result<std::optional<Entry>> try_entry(std::string_view key) const {
        Entry found{};
        fb_entry known = fb_entry_init();
        // The value may grow between two calls, so ask until it fits.
        for (std::size_t room = 256;;) {
            found.value.resize(room);
            const fb_status status = fb_cache_entry(handle_.get(), key.data(), key.size(),
                                                    found.value.data(), room, &room, &known);
            if (status == FB_E_TOO_LARGE && room > found.value.size()) {
                continue;
            }
            if (status < 0) {
                return detail::last_error(status);
            }
            if (status != FB_OK) {
                return std::optional<Entry>();
            }
            found.value.resize(room);
            break;
        }
        found.codec = known.codec;
        found.version = known.version;
        found.age = detail::chrono(known.age_ns);
        if (known.ttl_ns != FB_NEVER) {
            found.ttl = detail::chrono(known.ttl_ns);
        }
        return std::optional<Entry>(std::move(found));
    }

    /// Whether the cache has the key.
    [[nodiscard]] bool contains(std::string_view key) const { return try_contains(key).value(); }
    Result<bool> try_contains(std::string_view key) const noexcept {
        return detail::yes(fb_cache_contains(handle_.get(), key.data(), key.size()));
    }

    /// Stores a value. False: it is too large, or the key's shard was held for
    /// too long; then an older value is not there either.
    bool set(std::string_view key, std::string_view value) const {
        return try_set(key, value).value();
    }
    bool set(std::string_view key, std::string_view value, const SetOptions &options) const {
        return try_set(key, value, options).value();
    }
    Result<bool> try_set(std::string_view key, std::string_view value) const noexcept {
        return detail::yes(
            fb_cache_set(handle_.get(), key.data(), key.size(), value.data(), value.size()));
    }
    Result<bool> try_set(std::string_view key, std::string_view value,
                         const SetOptions &options) const noexcept {
        if (options.wrong_) {
            return *options.wrong_;
        }
        if (options.gone_) {
            const Result<bool> erased = try_erase(key);
            return erased ? Result<bool>(true) : erased;
        }
        return detail::yes(fb_cache_set_with(handle_.get(), key.data(), key.size(), value.data(),
                                             value.size(), options.ttl_, options.codec_));
    }

    /// Removes the key's entry; false if there was none.
    bool erase(std::string_view key) const { return try_erase(key).value(); }
    Result<bool> try_erase(std::string_view key) const noexcept {
        return detail::yes(fb_cache_delete(handle_.get(), key.data(), key.size()));
    }

    /// Removes all entries, for all processes.
    void clear() const { try_clear().value(); }
    Result<void> try_clear() const noexcept {
        return detail::done(fb_cache_clear(handle_.get()));
    }

    /// How many entries it holds, expired ones included until they make room.
    [[nodiscard]] std::uint64_t size() const { return try_size().value(); }
    Result<std::uint64_t> try_size() const noexcept {
        std::uint64_t entries = 0;
        return detail::result<std::uint64_t>(fb_cache_len(handle_.get(), &entries),
                                             [&](fb_status) { return entries; });
    }
    [[nodiscard]] bool empty() const { return size() == 0; }

    /// What it counted, in all processes, and what it holds.
    [[nodiscard]] CacheStats stats() const { return try_stats().value(); }
    Result<CacheStats> try_stats() const noexcept {
        CacheStats stats = fb_cache_stats_init();
        return detail::result<CacheStats>(fb_cache_get_stats(handle_.get(), &stats),
                                          [&](fb_status) { return stats; });
    }

    /// The C handle, which stays this object's.
    [[nodiscard]] fb_cache *c_handle() const noexcept { return handle_.get(); }

private:
    friend class Region;
    explicit Cache(fb_cache *handle) : handle_(handle) {}

    /// The string that a value goes to. C cannot be thrown through, so a string
    /// that cannot grow is remembered and thrown on the other side.
    struct Destination {
        std::string &into;
        bool no_memory;

        Result<bool> told(fb_status status, std::size_t length) {
#ifndef FOREBAY_NO_EXCEPTIONS
            if (no_memory) {
                throw std::bad_alloc();
            }
#endif
            if (status != FB_OK) {
                into.clear();
                return detail::yes(status);
            }
            into.resize(length);
            return true;
        }
    };
    static void *place(void *context, std::size_t length) noexcept {
        auto &destination = *static_cast<Destination *>(context);
#ifdef FOREBAY_NO_EXCEPTIONS
        destination.into.resize(length);
#else
        try {
            destination.into.resize(length);
        } catch (...) {
            destination.no_memory = true;
            return nullptr;
        }
#endif
        return destination.into.data();
    }

    detail::Handle<fb_cache, fb_cache_close> handle_;
};

// ---------------------------------------------------------------- Breaker

/// How to open a breaker. What is not said has its default (see
/// fb_breaker_options).
class BreakerOptions {
public:
    /// Failures in a row that open it; 0: never.
    BreakerOptions &failure_threshold(std::uint32_t failures) {
        options_.failure_threshold = failures == 0 ? FB_NO_THRESHOLD : failures;
        return *this;
    }
    /// Share of failures in the window that opens it (that or more), above 0 and
    /// at most 1, kept to a millionth; nullopt: never.
    BreakerOptions &failure_rate(std::optional<double> rate) {
        options_.failure_rate = rate.value_or(FB_NO_RATE);
        // Zero and FB_NO_RATE have other meanings in C.
        if (rate && (*rate == 0.0 || *rate == FB_NO_RATE)) {
            wrong_ = detail::invalid("failure_rate", *rate == 0.0 ? "0" : "-1",
                                     "above 0, at most 1, or off");
        }
        return *this;
    }
    /// Calls in the window before the rate counts, at most 500,000.
    BreakerOptions &volume_threshold(std::uint32_t calls) {
        return set(&fb_breaker_options::volume_threshold, "volume_threshold", calls);
    }
    /// The window's length, 10 ms to a day.
    BreakerOptions &window(Duration length) {
        return set(&fb_breaker_options::window_ns, "window", detail::whole(length, "window", wrong_));
    }
    /// How long it stays open, 1 ms to 30 days, in whole milliseconds.
    BreakerOptions &open_for(Duration time) {
        return set(&fb_breaker_options::open_for_ns, "open_for",
                   detail::whole(time, "open_for", wrong_));
    }
    /// Probes that must succeed to close it. One that fails opens it again.
    BreakerOptions &success_threshold(std::uint32_t successes) {
        return set(&fb_breaker_options::success_threshold, "success_threshold", successes);
    }
    /// Probes in flight at once when half-open, over all processes, at most 16.
    BreakerOptions &half_open_calls(std::uint32_t calls) {
        return set(&fb_breaker_options::half_open_calls, "half_open_calls", calls);
    }
    /// How long a probe may take before another takes its place, 1 ms to a day.
    BreakerOptions &probe_lease(Duration time) {
        return set(&fb_breaker_options::probe_lease_ns, "probe_lease",
                   detail::whole(time, "probe_lease", wrong_));
    }

private:
    friend class Region;

    // In C a zero is the default, so one that was asked for is refused here.
    template <class T>
    BreakerOptions &set(T fb_breaker_options::*field, const char *name, T value) {
        if (value == 0 && !wrong_) {
            wrong_ = detail::invalid(name, "0", "above 0");
        }
        options_.*field = value;
        return *this;
    }

    fb_breaker_options options_ = fb_breaker_options_init();
    std::optional<Error> wrong_;
};

/// The states of a breaker.
enum class State : std::uint32_t {
    closed = FB_STATE_CLOSED,
    half_open = FB_STATE_HALF_OPEN,
    open = FB_STATE_OPEN,
    forced_open = FB_STATE_FORCED_OPEN,
};

/// A state in words, such as "half-open".
[[nodiscard]] inline const char *name(State state) noexcept {
    return fb_state_name(static_cast<std::uint32_t>(state));
}

/// The breaker is open: the call was not made.
class Rejected : public std::runtime_error {
public:
    Rejected(const std::string &sentence, Duration retry_after)
        : std::runtime_error(sentence), retry_after_(retry_after) {}

    /// How long until it may be worth trying again.
    [[nodiscard]] Duration retry_after() const noexcept { return retry_after_; }

private:
    Duration retry_after_;
};

/// Leave to make one call. Destroyed without a word, it counts as a failure. It
/// must not outlive its Breaker.
class [[nodiscard]] Permit {
public:
    Permit(Permit &&other) noexcept
        : breaker_(std::exchange(other.breaker_, nullptr)), number_(other.number_) {}
    Permit &operator=(Permit &&other) noexcept {
        std::swap(breaker_, other.breaker_);
        std::swap(number_, other.number_);
        return *this;
    }
    Permit(const Permit &) = delete;
    Permit &operator=(const Permit &) = delete;
    ~Permit() { failure(); }

    /// The call succeeded. False: too late to count, or said before.
    bool success() noexcept { return leave(fb_breaker_success); }
    /// The call failed.
    bool failure() noexcept { return leave(fb_breaker_failure); }
    /// It was neither: it was not made after all, or says nothing about the
    /// other side.
    bool ignore() noexcept { return leave(fb_breaker_ignore); }

private:
    friend class Breaker;
    Permit(const fb_breaker *breaker, std::uint64_t number) noexcept
        : breaker_(breaker), number_(number) {}

    bool leave(fb_status (*say)(const fb_breaker *, std::uint64_t)) noexcept {
        const fb_breaker *breaker = std::exchange(breaker_, nullptr);
        return breaker != nullptr && say(breaker, number_) == FB_OK;
    }

    const fb_breaker *breaker_;
    std::uint64_t number_;
};

/// What a breaker counted since it was created, in all processes.
using BreakerStats = fb_breaker_stats;

/// A circuit breaker.
class Breaker {
public:
    /// Leave to make one call; none when it is open: then `retry_after`, if
    /// given, says when it may be worth asking again.
    [[nodiscard]] std::optional<Permit> enter(Duration *retry_after = nullptr) const {
        return try_enter(retry_after).value();
    }
    Result<std::optional<Permit>> try_enter(Duration *retry_after = nullptr) const noexcept {
        std::uint64_t number = 0;
        std::uint64_t wait = 0;
        const fb_status status = fb_breaker_enter(handle_.get(), &number, &wait);
        if (status < 0) {
            return detail::last_error(status);
        }
        if (status != FB_OK) {
            if (retry_after != nullptr) {
                *retry_after = detail::chrono(wait);
            }
            return std::optional<Permit>();
        }
        return std::optional<Permit>(Permit(handle_.get(), number));
    }

#ifndef FOREBAY_NO_EXCEPTIONS
    /// Makes the call if the breaker lets it, and returns what it returns.
    /// Throws Rejected when the breaker is open. An exception is a failure and
    /// passes through; so is a result of which `is_success` says no.
    template <class F> std::invoke_result_t<F> call(F &&function) const {
        Permit permit = permit_or_throw();
        if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
            std::invoke(std::forward<F>(function));
            permit.success();
        } else {
            // Forwarded: a reference stays one, a value moves.
            std::invoke_result_t<F> made = std::invoke(std::forward<F>(function));
            permit.success();
            return std::forward<std::invoke_result_t<F>>(made);
        }
    }
    template <class F, class IsSuccess>
    std::invoke_result_t<F> call(F &&function, IsSuccess &&is_success) const {
        Permit permit = permit_or_throw();
        std::invoke_result_t<F> made = std::invoke(std::forward<F>(function));
        if (std::invoke(std::forward<IsSuccess>(is_success), std::as_const(made))) {
            permit.success();
        }
        return std::forward<std::invoke_result_t<F>>(made);
    }
#endif

    [[nodiscard]] State state() const { return try_state().value(); }
    Result<State> try_state() const noexcept {
        std::uint32_t state = 0;
        return detail::result<State>(fb_breaker_state(handle_.get(), &state),
                                     [&](fb_status) { return static_cast<State>(state); });
    }

    /// What it counted, in all processes.
    [[nodiscard]] BreakerStats stats() const { return try_stats().value(); }
    Result<BreakerStats> try_stats() const noexcept {
        BreakerStats stats = fb_breaker_stats_init();
        return detail::result<BreakerStats>(fb_breaker_get_stats(handle_.get(), &stats),
                                            [&](fb_status) { return stats; });
    }

    /// The sentence for a caller who was rejected.
    [[nodiscard]] std::string rejection(Duration retry_after) const {
        const auto wait = static_cast<std::uint64_t>(retry_after.count());
        return detail::text([&](char *buf, std::size_t cap) {
            return fb_breaker_rejection(handle_.get(), wait, buf, cap);
        });
    }

    /// The C handle, which stays this object's.
    [[nodiscard]] fb_breaker *c_handle() const noexcept { return handle_.get(); }

private:
    friend class Region;
    explicit Breaker(fb_breaker *handle) : handle_(handle) {}

#ifndef FOREBAY_NO_EXCEPTIONS
    Permit permit_or_throw() const {
        Duration retry_after{};
        std::optional<Permit> permit = enter(&retry_after);
        if (!permit) {
            throw Rejected(rejection(retry_after), retry_after);
        }
        return std::move(*permit);
    }
#endif

    detail::Handle<fb_breaker, fb_breaker_close> handle_;
};

// -------------------------------------------------------------- Histogram

/// What a histogram holds at one moment.
struct Snapshot {
    std::uint64_t count;
    Duration sum;
    Duration mean;
    /// None when nothing was recorded.
    std::optional<Duration> min;
    std::optional<Duration> max;
};

/// A bucket: its upper edge in seconds, which belongs to it, and its count.
using Bucket = fb_bucket;

/// A histogram of durations.
class Histogram {
public:
    /// Records a duration; a negative one is an error.
    void record(Duration duration) const { try_record(duration).value(); }
    Result<void> try_record(Duration duration) const noexcept {
        std::optional<Error> wrong;
        const std::uint64_t ns = detail::whole(duration, "duration", wrong);
        if (wrong) {
            return *wrong;
        }
        return detail::done(fb_histogram_record_ns(handle_.get(), ns));
    }

    /// Calls `function`, records how long it took (also when it throws) and
    /// returns what it returns.
    template <class F> std::invoke_result_t<F> time(F &&function) const {
        struct Timer {
            const Histogram &histogram;
            std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
            ~Timer() {
                static_cast<void>(
                    histogram.try_record(std::chrono::steady_clock::now() - started));
            }
        } timer{*this};
        return std::invoke(std::forward<F>(function));
    }

    /// The duration that `percent` (0 to 100) of those recorded do not exceed:
    /// within 1.1 % of it from 1 us to 17 minutes, and never outside the
    /// extremes; none when nothing was recorded.
    [[nodiscard]] std::optional<Duration> percentile(double percent) const {
        return try_percentile(percent).value();
    }
    Result<std::optional<Duration>> try_percentile(double percent) const noexcept {
        std::uint64_t ns = 0;
        const fb_status status = fb_histogram_percentile(handle_.get(), percent, &ns);
        return detail::result<std::optional<Duration>>(status, [&](fb_status answer) {
            return answer == FB_OK ? std::optional<Duration>(detail::chrono(ns)) : std::nullopt;
        });
    }

    [[nodiscard]] Snapshot snapshot() const { return try_snapshot().value(); }
    Result<Snapshot> try_snapshot() const noexcept {
        fb_snapshot held = fb_snapshot_init();
        return detail::result<Snapshot>(
            fb_histogram_snapshot(handle_.get(), &held), [&](fb_status) {
                Snapshot snapshot{held.count, detail::chrono(held.sum_ns),
                                  detail::chrono(held.mean_ns), std::nullopt, std::nullopt};
                if (held.count > 0) {
                    snapshot.min = detail::chrono(held.min_ns);
                    snapshot.max = detail::chrono(held.max_ns);
                }
                return snapshot;
            });
    }

    /// The buckets that are not empty, in ascending order.
    [[nodiscard]] std::vector<Bucket> buckets() const { return try_buckets().value(); }
    Result<std::vector<Bucket>> try_buckets() const {
        std::vector<Bucket> buckets(256);
        for (;;) {
            std::size_t count = 0;
            const fb_status status =
                fb_histogram_buckets(handle_.get(), buckets.data(), buckets.size(), &count);
            if (status == FB_E_TOO_LARGE && count > buckets.size()) {
                buckets.resize(count + 16); // It may grow before the next call.
                continue;
            }
            if (status < 0) {
                return detail::last_error(status);
            }
            buckets.resize(count);
            return buckets;
        }
    }

    /// The C handle, which stays this object's.
    [[nodiscard]] fb_histogram *c_handle() const noexcept { return handle_.get(); }

private:
    friend class Region;
    explicit Histogram(fb_histogram *handle) : handle_(handle) {}
    detail::Handle<fb_histogram, fb_histogram_close> handle_;
};

// ----------------------------------------------------------------- Region

/// How to open a region. What is not said has its default (see
/// fb_region_options).
class RegionOptions {
public:
    /// The size of a region that is created, a multiple of 8; an existing one
    /// keeps its own.
    RegionOptions &bytes(std::uint64_t bytes) {
        if (bytes == 0) {
            wrong_ = detail::invalid("bytes", "0", "above 0");
        }
        options_.bytes = bytes;
        return *this;
    }
    /// The permission bits of a file that is created: 0600, or 0660 to share it
    /// with a group. An existing file that lets in more is refused.
    RegionOptions &mode(std::uint32_t mode) {
        if (mode == 0) {
            wrong_ = detail::invalid("mode", "0", "0600 or 0660");
        }
        options_.mode = mode;
        return *this;
    }
    /// False: attach only.
    RegionOptions &create(bool create) { return flag(FB_REGION_NO_CREATE, !create); }
    /// Start anew unless another live process has the region open.
    RegionOptions &fresh(bool fresh) { return flag(FB_REGION_FRESH, fresh); }
    /// The last process to close the region removes its file. Fixed when the
    /// region is created.
    RegionOptions &ephemeral(bool ephemeral) { return flag(FB_REGION_EPHEMERAL, ephemeral); }
    /// The clock stands still until advance: for tests. Fixed when the region is
    /// created.
    RegionOptions &manual_clock(bool manual) { return flag(FB_REGION_MANUAL_CLOCK, manual); }

private:
    friend class Region;

    RegionOptions &flag(std::uint32_t flag, bool on) {
        options_.flags = on ? options_.flags | flag : options_.flags & ~flag;
        return *this;
    }

    fb_region_options options_ = fb_region_options_init();
    std::optional<Error> wrong_;
};

/// An object of a region.
struct ObjectInfo {
    std::string name;
    /// One of enum fb_kind; there may be new ones.
    std::uint32_t kind;
    std::uint64_t bytes;
};

/// Something that happened in a region.
struct Event {
    std::uint64_t sequence;
    /// Region time.
    Duration time;
    std::uint32_t kind;
    /// The object that it happened to; empty for the region itself.
    std::string object;
    /// A number whose meaning depends on the kind.
    std::uint64_t detail;

    /// What happened, such as "breaker-open".
    [[nodiscard]] const char *name() const noexcept { return fb_event_name(kind); }
};

/// Events, and where to go on.
struct Events {
    std::vector<Event> events;
    /// Pass this as `since` next time.
    std::uint64_t next = 0;
    /// How many of those asked for were overwritten already.
    std::uint64_t lost = 0;
};

/// What a region holds.
using RegionStats = fb_region_stats;

/// A region of memory that holds limiters, window counters, permits, caches,
/// breakers and histograms, by names of 1 to 48 bytes.
class Region {
public:
    /// Opens a shared region by name ([A-Za-z0-9._-], 1 to 48 bytes, not beginning
    /// with '.') or by path (with a '/'): creates it or attaches to it.
    [[nodiscard]] static Region open(std::string_view name_or_path,
                                     const RegionOptions &options = RegionOptions()) {
        return try_open(name_or_path, options).value();
    }
    static Result<Region> try_open(std::string_view name_or_path,
                                   const RegionOptions &options = RegionOptions()) {
        Result<std::string> name = detail::name(name_or_path, "name_or_path");
        if (!name) {
            return name.error();
        }
        return make(name->c_str(), options);
    }

    /// A region of this process alone.
    [[nodiscard]] static Region open_private(const RegionOptions &options = RegionOptions()) {
        return try_open_private(options).value();
    }
    static Result<Region> try_open_private(const RegionOptions &options = RegionOptions()) {
        return make(nullptr, options);
    }

    /// Creates a limiter or attaches to it; without options, attaches only.
    [[nodiscard]] Limiter limiter(std::string_view name) const { return try_limiter(name).value(); }
    [[nodiscard]] Limiter limiter(std::string_view name, const LimiterOptions &options) const {
        return try_limiter(name, options).value();
    }
    Result<Limiter> try_limiter(std::string_view name) const {
        return object<Limiter, fb_limiter_options>(fb_limiter_open, name, nullptr);
    }
    Result<Limiter> try_limiter(std::string_view name, const LimiterOptions &options) const {
        std::optional<Error> wrong;
        fb_limiter_options raw = fb_limiter_options_init();
        std::vector<fb_rate> rates;
        for (const Rate &rate : options.rates_) {
            rates.push_back(rate.raw(wrong));
        }
        std::vector<fb_tier> tiers;
        for (const auto &[tier, rates_of_tier] : options.tiers_) {
            for (const Rate &rate : rates_of_tier) {
                tiers.push_back({tier.c_str(), rate.raw(wrong)});
            }
            if (rates_of_tier.empty()) {
                wrong = detail::invalid("rate", "0 rates", "1 to 4 rates");
            }
            if (tier.find('\0') != std::string::npos) {
                wrong = detail::invalid("tier", "a text with NUL inside", "a text without");
            }
        }
        raw.rates = rates.data();
        raw.rate_count = rates.size();
        if (rates.empty()) {
            wrong = detail::invalid("rate", "0 rates", "1 to 4 rates");
        }
        raw.tiers = tiers.data();
        raw.tier_count = tiers.size();
        // In C a zero is the default, so one that was asked for is refused here.
        const auto above_zero = [&](const char *option, std::optional<std::uint64_t> value) {
            if (value == std::uint64_t{0}) {
                wrong = detail::invalid(option, "0", "above 0");
            }
            return value.value_or(0);
        };
        const auto number = [&](const char *option, auto choice) {
            std::optional<std::uint64_t> value;
            if (choice) {
                value = static_cast<std::uint32_t>(*choice);
            }
            return static_cast<std::uint32_t>(above_zero(option, value));
        };
        raw.max_keys = above_zero("max_keys", options.max_keys_);
        raw.algorithm = number("algorithm", options.algorithm_);
        raw.on_full = number("on_full", options.on_full_);
        raw.on_error = number("on_error", std::optional(options.on_error_));
        raw.flags = options.flags_;
        if (wrong) {
            return *wrong;
        }
        return object<Limiter>(fb_limiter_open, name, &raw);
    }

    /// Creates a window counter or attaches to it; `attach_window` attaches only.
    [[nodiscard]] WindowCounter window(std::string_view name,
                                       const WindowOptions &options = WindowOptions()) const {
        return try_window(name, options).value();
    }
    Result<WindowCounter> try_window(std::string_view name,
                                     const WindowOptions &options = WindowOptions()) const {
        if (options.wrong_) {
            return *options.wrong_;
        }
        return object<WindowCounter>(fb_window_open, name, &options.options_);
    }
    [[nodiscard]] WindowCounter attach_window(std::string_view name) const {
        return try_attach_window(name).value();
    }
    Result<WindowCounter> try_attach_window(std::string_view name) const {
        return object<WindowCounter, fb_window_options>(fb_window_open, name, nullptr);
    }

    /// Creates permits or attaches to them; without options, attaches only.
    [[nodiscard]] Permits permits(std::string_view name) const { return try_permits(name).value(); }
    [[nodiscard]] Permits permits(std::string_view name, const PermitsOptions &options) const {
        return try_permits(name, options).value();
    }
    Result<Permits> try_permits(std::string_view name) const {
        return object<Permits, fb_permits_options>(fb_permits_open, name, nullptr);
    }
    Result<Permits> try_permits(std::string_view name, const PermitsOptions &options) const {
        if (options.wrong_) {
            return *options.wrong_;
        }
        return object<Permits>(fb_permits_open, name, &options.options_);
    }

    /// Creates a cache or attaches to it; `attach_cache` attaches only.
    [[nodiscard]] Cache cache(std::string_view name,
                              const CacheOptions &options = CacheOptions()) const {
        return try_cache(name, options).value();
    }
    Result<Cache> try_cache(std::string_view name,
                            const CacheOptions &options = CacheOptions()) const {
        if (options.wrong_) {
            return *options.wrong_;
        }
        return object<Cache>(fb_cache_open, name, &options.options_);
    }
    [[nodiscard]] Cache attach_cache(std::string_view name) const {
        return try_attach_cache(name).value();
    }
    Result<Cache> try_attach_cache(std::string_view name) const {
        return object<Cache, fb_cache_options>(fb_cache_open, name, nullptr);
    }

    /// Creates a breaker or attaches to it; `attach_breaker` attaches only.
    [[nodiscard]] Breaker breaker(std::string_view name,
                                  const BreakerOptions &options = BreakerOptions()) const {
        return try_breaker(name, options).value();
    }
    Result<Breaker> try_breaker(std::string_view name,
                                const BreakerOptions &options = BreakerOptions()) const {
        if (options.wrong_) {
            return *options.wrong_;
        }
        return object<Breaker>(fb_breaker_open, name, &options.options_);
    }
    [[nodiscard]] Breaker attach_breaker(std::string_view name) const {
        return try_attach_breaker(name).value();
    }
    Result<Breaker> try_attach_breaker(std::string_view name) const {
        return object<Breaker, fb_breaker_options>(fb_breaker_open, name, nullptr);
    }

    /// Creates a histogram or attaches to it.
    [[nodiscard]] Histogram histogram(std::string_view name) const {
        return try_histogram(name).value();
    }
    Result<Histogram> try_histogram(std::string_view name) const {
        return object<Histogram, fb_histogram_options>(fb_histogram_open, name, nullptr);
    }

    /// Region time: since the region's epoch, the same for all processes.
    [[nodiscard]] Duration now() const { return try_now().value(); }
    Result<Duration> try_now() const noexcept {
        std::uint64_t now = 0;
        return detail::result<Duration>(fb_region_now(handle_.get(), &now),
                                        [&](fb_status) { return detail::chrono(now); });
    }

    /// Moves a manual clock forward.
    void advance(Duration by) const { try_advance(by).value(); }
    Result<void> try_advance(Duration by) const noexcept {
        std::optional<Error> wrong;
        const std::uint64_t ns = detail::whole(by, "by", wrong);
        if (wrong) {
            return *wrong;
        }
        return detail::done(fb_region_advance(handle_.get(), ns));
    }

    /// The path of a shared region's file; none if it is private.
    [[nodiscard]] std::optional<std::string> path() const { return try_path().value(); }
    Result<std::optional<std::string>> try_path() const {
        std::string path(256, '\0');
        for (;;) {
            std::size_t length = 0;
            const fb_status status =
                fb_region_path(handle_.get(), path.data(), path.size(), &length);
            if (status == FB_E_TOO_LARGE && length >= path.size()) {
                path.resize(length + 1);
                continue;
            }
            if (status < 0) {
                return detail::last_error(status);
            }
            if (status != FB_OK) {
                return std::optional<std::string>();
            }
            path.resize(length);
            return std::optional<std::string>(std::move(path));
        }
    }

    /// What it holds.
    [[nodiscard]] RegionStats stats() const { return try_stats().value(); }
    Result<RegionStats> try_stats() const noexcept {
        RegionStats stats = fb_region_stats_init();
        return detail::result<RegionStats>(fb_region_get_stats(handle_.get(), &stats),
                                           [&](fb_status) { return stats; });
    }

    /// All objects.
    [[nodiscard]] std::vector<ObjectInfo> objects() const { return try_objects().value(); }
    Result<std::vector<ObjectInfo>> try_objects() const {
        std::vector<fb_object> found(16);
        for (;;) {
            std::size_t count = 0;
            const fb_status status =
                fb_region_objects(handle_.get(), found.data(), found.size(), &count);
            if (status == FB_E_TOO_LARGE && count > found.size()) {
                found.resize(count);
                continue;
            }
            if (status < 0) {
                return detail::last_error(status);
            }
            found.resize(count);
            break;
        }
        std::vector<ObjectInfo> objects;
        for (const fb_object &object : found) {
            objects.push_back({object.name, object.kind, object.bytes});
        }
        return objects;
    }

    /// What happened since an event's number, in any process; begin with 0.
    [[nodiscard]] Events events(std::uint64_t since) const { return try_events(since).value(); }
    Result<Events> try_events(std::uint64_t since) const {
        Events told;
        told.next = since;
        for (;;) {
            fb_event found[64];
            std::size_t count = 0;
            std::uint64_t lost = 0;
            const fb_status status = fb_region_events(handle_.get(), told.next, found, 64, &count,
                                                      &told.next, &lost);
            if (status < 0) {
                return detail::last_error(status);
            }
            told.lost += lost;
            for (std::size_t i = 0; i < count; i++) {
                told.events.push_back({found[i].sequence, detail::chrono(found[i].time_ns),
                                       found[i].kind, found[i].object, found[i].detail});
            }
            if (count < 64) {
                return told;
            }
        }
    }

    /// The C handle, which stays this object's.
    [[nodiscard]] fb_region *c_handle() const noexcept { return handle_.get(); }

private:
    explicit Region(fb_region *handle) : handle_(handle) {}

    static Result<Region> make(const char *name_or_path, const RegionOptions &options) {
        if (options.wrong_) {
            return *options.wrong_;
        }
        fb_region_options raw = options.options_;
        raw.name_or_path = name_or_path;
        fb_region *handle = nullptr;
        const fb_status status = fb_region_open(&raw, &handle);
        if (status < 0) {
            return detail::last_error(status);
        }
        return Region(handle);
    }

    template <class Object, class Options, class Raw>
    Result<Object> object(fb_status (*call)(const fb_region *, const char *, const Options *,
                                            Raw **),
                          std::string_view name, const Options *options) const {
        Result<std::string> checked = detail::name(name);
        if (!checked) {
            return checked.error();
        }
        Raw *handle = nullptr;
        const fb_status status = call(handle_.get(), checked->c_str(), options, &handle);
        if (status < 0) {
            return detail::last_error(status);
        }
        return Object(handle);
    }

    detail::Handle<fb_region, fb_region_close> handle_;
};

static_assert(sizeof(Region) == sizeof(void *) && sizeof(Limiter) == sizeof(void *) &&
                  sizeof(Cache) == sizeof(void *) && sizeof(Breaker) == sizeof(void *) &&
                  sizeof(Histogram) == sizeof(void *) && sizeof(WindowCounter) == sizeof(void *) &&
                  sizeof(Permits) == sizeof(void *),
              "a handle is a pointer");
static_assert(std::is_nothrow_move_constructible_v<Region> && !std::is_copy_constructible_v<Region>,
              "handles move and are not copied");
static_assert(std::is_nothrow_move_assignable_v<Lease> && !std::is_copy_constructible_v<Lease>,
              "leases move and are not copied");

} // namespace forebay

#endif // FOREBAY_HPP
