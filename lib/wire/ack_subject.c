/*
 * ack_subject.c - see the header for the two forms.
 *
 * Reading finds the dots first, as a bit mask, so that the numbers do not wait for each other: each
 * is read from where its token ends. Exactly 8 dots are v1; of v2 only the first 11 tokens are
 * looked at.
 *
 * A subject of 66 bytes takes 33 ns to read and 32 ns to write (tests/bench/bench_parse.c); with a
 * loop over the bytes and with fmt_u64 it took 41 and 38.
 */
#include "lib/wire/ack_subject.h"

#include "lib/wire/digits.h"
#include "lib/wire/scan.h"

#define PREFIX STR("$JS.ACK.")

static char *put(char *out, struct str s)
{
    memcpy(out, s.p, s.n);
    return out + s.n;
}

static char *put_token(char *out, struct str s)
{
    out = put(out, s);
    *out = '.';
    return out + 1;
}

size_t ack_prefix_write(char *out, struct str stream, struct str consumer)
{
    char *at = put(out, PREFIX);
    at = put_token(put_token(at, stream), consumer);
    return (size_t) (at - out);
}

size_t ack_prefix_v2_write(char *out, const struct ack_subject *names)
{
    char *at = put(out, PREFIX);
    at = put_token(at, names->domain.n != 0 ? names->domain : STR("_"));
    at = put_token(at, names->account_hash);
    at = put_token(put_token(at, names->stream), names->consumer);
    return (size_t) (at - out);
}

static inline char *put_number(char *out, uint64_t v)
{
    out += digits_put(out, v);
    *out = '.';
    return out + 1;
}

size_t ack_subject_write(char *out, struct str prefix, const struct ack_info *info)
{
    if (out != prefix.p)
        memcpy(out, prefix.p, prefix.n);
    char *at = put_number(out + prefix.n, info->delivered);
    at = put_number(at, info->stream_seq);
    at = put_number(at, info->consumer_seq);
    at = put_number(at, (uint64_t) info->time_ns);
    at += digits_put(at, info->pending);
    return (size_t) (at - out);
}

#define PREFIX_N 8u
/* Tokens behind the prefix: 2 names and 5 numbers, 4 names and 5 numbers. */
#define V1_TOKENS 7u
#define V2_TOKENS 9u
/* The prefix and seven tokens of one byte; so there are 16 bytes for a scan. */
#define SUBJECT_MIN (PREFIX_N + 2 * V1_TOKENS - 1)

/* Where the first tokens behind the prefix end: at[0] is before the first. The last may be the end
 * of the subject. */
struct ends {
    const char *at[V2_TOKENS + 1];
    unsigned n; /* tokens */
};

/* Bit i is set when p[i] is a dot, i < n <= 64. Reads back to 16 bytes before p + n. */
static inline uint64_t dots_of(const char *p, size_t n)
{
    uint64_t dots = 0;
    size_t at = 0;
    for (; at + SCAN_EQUAL_WIDTH <= n; at += SCAN_EQUAL_WIDTH)
        dots |= (uint64_t) scan_equal(p + at, '.') << at;
    if (at < n) {
        size_t old = SCAN_EQUAL_WIDTH - (n - at); /* bytes of the last scan that were seen */
        dots |= (uint64_t) (scan_equal(p + at - old, '.') >> old) << at;
    }
    return dots;
}

static inline void find_ends(struct str rest, struct ends *ends)
{
    ends->at[0] = rest.p - 1;
    ends->n = 0;
    for (size_t from = 0; from < rest.n; from += 64) {
        uint64_t dots = dots_of(rest.p + from, rest.n - from < 64 ? rest.n - from : 64);
        for (; dots != 0; dots &= dots - 1) {
            ends->at[++ends->n] = rest.p + from + __builtin_ctzll(dots);
            if (ends->n == V2_TOKENS)
                return;
        }
    }
    ends->at[++ends->n] = rest.p + rest.n;
}

static inline struct str token(const struct ends *ends, unsigned i)
{
    return str_from(ends->at[i] + 1, (size_t) (ends->at[i + 1] - ends->at[i]) - 1);
}

static inline __attribute__((always_inline)) bool number(const struct ends *ends, unsigned i,
                                                         uint64_t *out)
{
    return digits_read(ends->at[i + 1], token(ends, i).n, out);
}

bool ack_subject_parse(struct str subject, struct ack_subject *out)
{
    struct ends ends;
    uint64_t time;
    if (subject.n < SUBJECT_MIN || !str_starts(subject, PREFIX))
        return false;
    find_ends(str_skip(subject, PREFIX_N), &ends);
    unsigned at = 0;
    out->domain = out->account_hash = STR_NONE;
    if (ends.n == V2_TOKENS) {
        out->domain = token(&ends, 0);
        out->account_hash = token(&ends, 1);
        if (out->domain.n == 0 || out->account_hash.n == 0)
            return false;
        if (out->domain.n == 1 && out->domain.p[0] == '_')
            out->domain = STR_NONE;
        at = 2;
    } else if (ends.n != V1_TOKENS) {
        return false;
    }
    out->stream = token(&ends, at);
    out->consumer = token(&ends, at + 1);
    if (out->stream.n == 0 || out->consumer.n == 0)
        return false;
    struct ack_info *info = &out->info;
    if (!number(&ends, at + 2, &info->delivered) || !number(&ends, at + 3, &info->stream_seq) ||
        !number(&ends, at + 4, &info->consumer_seq) || !number(&ends, at + 5, &time) ||
        !number(&ends, at + 6, &info->pending))
        return false;
    info->time_ns = (int64_t) time;
    return time <= INT64_MAX;
}

unsigned ack_tail_tokens(struct str subject, size_t from)
{
    struct str tail = str_skip(subject, from);
    unsigned n = 1;

    if (subject.n < SUBJECT_MIN)
        return 0;
    for (size_t at = 0; at < tail.n; at += 64)
        n += (unsigned) __builtin_popcountll(
            dots_of(tail.p + at, tail.n - at < 64 ? tail.n - at : 64));
    return n;
}
