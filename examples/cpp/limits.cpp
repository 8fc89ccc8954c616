// forebay from C++: a login that is held against two limits, tells its client about
// them, mails that wait for their turn, and exports of which few run at once.
//
//     c++ -std=c++17 limits.cpp -lforebay -o limits && ./limits
#include <forebay.hpp>

#include <iostream>

using namespace std::chrono_literals;

int main() {
    const forebay::Region region = forebay::Region::open_private();
    const forebay::Limiter each = region.limiter("each", "3/min");
    const forebay::Limiter all = region.limiter("all", "1000/min");
    const forebay::Limiter mails = region.limiter("mails", "100/s burst 1");

    // Who asks: our one proxy, at 10.0.0.7, says whom it saw.
    const std::string client = forebay::client_address("10.0.0.7", "6.6.6.6, 203.0.113.9", 1);
    std::cout << "client " << client << '\n';

    // Both limits admit a login, or neither is charged.
    for (int login = 1; login <= 5; login++) {
        const forebay::TakenAll taken = forebay::take_all({{each, client}, {all, ""}});
        std::cout << "login " << login << ": " << (taken ? 200 : 429) << '\n';
        for (const auto &[name, value] : forebay::headers(
                 {{"each", taken.verdicts[0]}, {"all", taken.verdicts[1]}}, {"draft-10"})) {
            std::cout << name << ": " << value << '\n';
        }
        if (login == 1) {
            each.refund(client); // The password was right: it does not count.
        }
    }
    // Where a refusal is an exception, it says what the response should.
    try {
        each.enforce(client);
    } catch (const forebay::Limited &limited) {
        std::cout << limited.what() << '\n';
        for (const auto &[name, value] : limited.verdict().headers(limited.limiter())) {
            std::cout << name << ": " << value << '\n';
        }
    }
    each.block(client, 1h); // Enough of this one.

    // A mail each 10 ms: this thread sleeps until it is its turn.
    for (int mail = 1; mail <= 3; mail++) {
        if (mails.acquire("a@example.org", 1s)) {
            std::cout << "mail " << mail << " sent\n";
        }
    }
    // Or it keeps its place, and does something else meanwhile.
    if (std::optional<forebay::Reservation> mail = mails.reserve("a@example.org", 1s)) {
        std::cout << "mail 4 may go in a while: " << (mail->wait() > 0s) << '\n';
        mail->cancel(); // Not needed after all.
    }

    // Two exports of one customer at once, over all processes of a shared region;
    // each has 30 s, should it never be released.
    const forebay::Permits exports = region.permits("exports", forebay::PermitsOptions(2).lease(30s));
    const std::optional<forebay::Lease> first = exports.acquire("ada");
    if (const std::optional<forebay::Lease> second = exports.acquire("ada")) {
        forebay::Refusal refusal;
        if (!exports.acquire("ada", &refusal)) {
            std::cout << exports.refusal(refusal) << '\n';
        }
    } // The second is released here.
    std::cout << exports.in_use("ada") << " export is at work\n";
}
