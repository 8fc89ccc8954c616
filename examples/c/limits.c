/* forebay from C: a login that is held against two limits, tells its client about
 * them, mails that wait for their turn, and exports of which few run at once.
 *
 *     cc limits.c -lforebay -o limits && ./limits
 */
#include <forebay.h>

#include <stdio.h>
#include <string.h>

static const uint64_t SECOND = UINT64_C(1000000000);

/* Prints why a call failed; a program of yours would log it. */
static int failed(const char *what) {
    char sentence[256];
    fb_last_error(sentence, sizeof sentence);
    fprintf(stderr, "%s: %s\n", what, sentence);
    return 1;
}

int main(void) {
    fb_region *region = NULL;
    fb_limiter *each = NULL, *all = NULL, *mails = NULL;
    fb_limiter_options options = fb_limiter_options_init();
    if (fb_region_open(NULL, &region) < 0) {
        return failed("region");
    }
    options.rate = fb_rate_text("3/min");
    if (fb_limiter_open(region, "each", &options, &each) < 0) {
        return failed("each");
    }
    options.rate = fb_rate_text("1000/min");
    if (fb_limiter_open(region, "all", &options, &all) < 0) {
        return failed("all");
    }
    options.rate = fb_rate_text("100/s burst 1");
    if (fb_limiter_open(region, "mails", &options, &mails) < 0) {
        return failed("mails");
    }

    /* Who asks: our one proxy, at 10.0.0.7, says whom it saw. */
    const char *const forwarded = "6.6.6.6, 203.0.113.9";
    char client[64];
    size_t length = 0;
    if (fb_client_address("10.0.0.7", forwarded, strlen(forwarded), 1, 64, client, sizeof client,
                          &length) < 0) {
        return failed("client");
    }
    printf("client %s\n", client);

    /* Both limits admit a login, or neither is charged. */
    for (int login = 1; login <= 5; login++) {
        const fb_request requests[] = {fb_request_of(each, client, length),
                                       fb_request_of(all, "", 0)};
        fb_verdict verdicts[2];
        const fb_status said = fb_take_all(requests, 2, verdicts);
        if (said < 0) {
            return failed("login");
        }
        const fb_limit limits[] = {{"each", verdicts[0], NULL, 0}, {"all", verdicts[1], NULL, 0}};
        char headers[1024];
        size_t headers_length = 0;
        if (fb_headers(limits, 2, "draft-10", FB_NOW, headers, sizeof headers, &headers_length) < 0) {
            return failed("headers");
        }
        printf("login %d: %s\n%s", login, said == FB_OK ? "200" : "429", headers);
        if (login == 1) {
            /* The password was right: it does not count. */
            fb_limiter_refund(each, client, length, 1, NULL);
        }
    }
    /* Enough of this one, for an hour. */
    fb_limiter_block(each, client, length, 3600 * SECOND);

    /* A mail each 10 ms: this thread sleeps until it is its turn. */
    for (int mail = 1; mail <= 3; mail++) {
        if (fb_limiter_acquire(mails, "a@example.org", 13, SECOND, NULL) != FB_OK) {
            return failed("mail");
        }
        printf("mail %d sent\n", mail);
    }
    /* Or it keeps its place, and does something else meanwhile. */
    uint64_t wait = 0;
    fb_reservation mail;
    if (fb_limiter_reserve(mails, "a@example.org", 13, SECOND, &wait, &mail, NULL) == FB_OK) {
        printf("mail 4 may go in a while: %d\n", wait > 0);
        fb_limiter_cancel(mails, "a@example.org", 13, &mail); /* not needed after all */
    }

    /* Two exports of one customer at once, over all processes of a shared region. */
    fb_permits_options most = fb_permits_options_init();
    most.limit = 2;
    most.lease_ns = 30 * SECOND; /* of one that is never released */
    fb_permits *exports = NULL;
    if (fb_permits_open(region, "exports", &most, &exports) < 0) {
        return failed("exports");
    }
    fb_lease leases[3];
    for (int i = 0; i < 3; i++) {
        fb_refusal refusal;
        const fb_status said = fb_permits_try_acquire(exports, "ada", 3, &leases[i], &refusal);
        if (said < 0) {
            return failed("export");
        }
        printf("export %d: %s\n", i + 1,
               said == FB_OK ? "begins" : fb_reason_name(refusal.reason));
    }
    fb_permits_release(exports, &leases[0]);
    fb_permits_release(exports, &leases[1]);
    fb_permits_close(exports);

    fb_limiter_close(each);
    fb_limiter_close(all);
    fb_limiter_close(mails);
    fb_region_close(region);
    return 0;
}
