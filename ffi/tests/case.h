/* The types of the table that xtask makes from tests/vectors. */
#ifndef CASE_H
#define CASE_H

#include <stddef.h>
#include <stdint.h>

/* `data` once or more times over; a tuple's parts, each ended by NUL, when
 * `times` is 0; absent when `data` is NULL. */
struct fb_case_bytes {
    const char *data;
    size_t length;
    size_t times;
};

struct fb_case_tier {
    const char *name;
    const char *rate;
};

/* Options that a case does not name are zero. */
struct fb_case_object {
    const char *name;
    const char *kind;
    const char *rate;
    const struct fb_case_tier *tiers;
    size_t tier_count;
    uint64_t max_keys;
    uint64_t bytes;
    uint64_t max_entries;
    uint64_t max_item;
    uint64_t shards;
    uint64_t ttl_ns;
    uint64_t failure_threshold;
    uint64_t volume_threshold;
    uint64_t window_ns;
    uint64_t open_for_ns;
    uint64_t success_threshold;
    uint64_t half_open_calls;
    uint64_t probe_lease_ns;
    uint64_t limit;
    uint64_t lease_ns;
    uint64_t max_leases;
    uint32_t algorithm;
    uint32_t on_full;
    uint32_t on_error;
    int enabled;
    int show_keys;
    double failure_rate;
    /* The case asks for a 0, or a name, that C has no way to say. */
    int cannot_be_said;
};

/* An expected field of an answer; a null is a field without a value. */
struct fb_case_field {
    const char *name;
    int null;
    uint64_t number;
};

/* A part of a step on several limiters: a request, and what its verdict says. */
struct fb_case_part {
    const char *name; /* in headers */
    const char *on;
    struct fb_case_bytes key;
    struct fb_case_bytes tell; /* in headers */
    const char *tier;
    uint64_t cost;
    const struct fb_case_field *fields;
    size_t field_count;
};

enum fb_case_expect {
    EXPECT_NOTHING,
    EXPECT_NULL,
    EXPECT_NUMBER, /* a bool is 0 or 1 */
    EXPECT_BYTES,  /* a word has a retry_after_ns in `number`, or UINT64_MAX;
                      headers, refused keys and tiers are lines */
    EXPECT_FIELDS
};

struct fb_case_step {
    const char *verb;
    const char *on;
    struct fb_case_bytes key;
    struct fb_case_bytes value;
    const char *tier;
    uint64_t cost; /* or hits */
    uint64_t limit; /* UINT64_MAX: none */
    uint64_t ns;
    uint64_t ttl_ns;
    uint32_t codec;
    const char *permit; /* or reservation, or lease */
    double percent;
    uint64_t times;
    enum fb_case_expect expect;
    uint64_t number;
    struct fb_case_bytes bytes;
    const struct fb_case_field *fields;
    size_t field_count;
    const struct fb_case_part *parts;
    size_t part_count;
    const char *styles; /* joined by commas */
    const char *peer;
    const char *forwarded_for;
    uint64_t trusted_hops;
    uint32_t ipv6_prefix;
    /* The error or the refusal that is expected. */
    const char *code;
    const char *message;
};

struct fb_case {
    const char *file;
    const char *name;
    const struct fb_case_object *objects;
    size_t object_count;
    const struct fb_case_step *steps;
    size_t step_count;
    /* With these there are no steps: opening the object fails so. */
    const char *error_code;
    const char *error_message;
};

#endif
