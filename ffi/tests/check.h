/* Checks that count, for C11 and C++17 alike. A program ends with
 * `return finish();`, which prints "N passed, N failed". */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <string.h>

#include <forebay.h>

static int passed_, failed_;

static inline int check_(int holds, const char *what, const char *file, int line) {
    if (holds) {
        passed_++;
    } else {
        failed_++;
        fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    }
    return holds;
}

/* The sentence of this thread's last error. */
static inline const char *sentence(void) {
    static char text[1024];
    fb_last_error(text, sizeof text);
    return text;
}

static inline void answers_(fb_status got, fb_status wanted, const char *words, const char *what,
                            const char *file, int line) {
    if (got != wanted) {
        failed_++;
        fprintf(stderr, "%s:%d: %s: got %s (%s), wanted %s\n", file, line, what,
                fb_status_name(got), got < 0 ? sentence() : "no error", fb_status_name(wanted));
    } else if (words != NULL && strcmp(sentence(), words) != 0) {
        failed_++;
        fprintf(stderr, "%s:%d: %s: says \"%s\", wanted \"%s\"\n", file, line, what, sentence(),
                words);
    } else {
        passed_++;
    }
}

#define CHECK(holds) check_((holds) ? 1 : 0, #holds, __FILE__, __LINE__)
/* The call answers this status. */
#define ANSWERS(status, call) answers_((call), (status), NULL, #call, __FILE__, __LINE__)
/* The call fails with this code and just this sentence. */
#define FAILS(code, words, call) answers_((call), (code), (words), #call, __FILE__, __LINE__)

static inline int finish(void) {
    printf("%d passed, %d failed\n", passed_, failed_);
    return failed_ == 0 && passed_ > 0 ? 0 : 1;
}

#endif
