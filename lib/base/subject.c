/*
 * All functions walk bytes once, without a token array. A cursor stands at the start of a token; a
 * token ends at a dot or at the end. In a valid subject a token that begins with '*' or '>' and has
 * length 1 is a wildcard, any other is a literal.
 */
#include "lib/base/subject.h"

#include <stdint.h>
#include <string.h>

enum { BYTE_BAD = 1, BYTE_DOT = 2, BYTE_FULL = 4, BYTE_STAR = 8 };

static const unsigned char byte_class[256] = {
    ['\0'] = BYTE_BAD, ['\t'] = BYTE_BAD, ['\n'] = BYTE_BAD, ['\f'] = BYTE_BAD, ['\r'] = BYTE_BAD,
    [' '] = BYTE_BAD,  ['.'] = BYTE_DOT,  ['>'] = BYTE_FULL, ['*'] = BYTE_STAR,
};

static unsigned class_at(const char *p)
{
    return byte_class[(unsigned char) *p];
}

/* Is the byte at p, inside [start, end), a token of its own? */
static bool alone(const char *p, const char *start, const char *end)
{
    return (p == start || p[-1] == '.') && (p + 1 == end || p[1] == '.');
}

/* Byte by byte, for whatever has a byte that plain_valid does not judge. */
static bool valid(struct str s, bool wildcards)
{
    const char *start = s.p, *end = s.p + s.n;

    if (s.n == 0 || *start == '.' || end[-1] == '.')
        return false;
    for (const char *p = start; p < end; p++) {
        unsigned kind = class_at(p);
        if (__builtin_expect(kind == 0, 1))
            continue;
        if (kind == BYTE_BAD)
            return false;
        if (kind == BYTE_DOT) {
            /* The last byte is no dot, so p[1] exists. */
            if (p[1] == '.')
                return false;
        } else if (alone(p, start, end) && (!wildcards || (kind == BYTE_FULL && p + 1 != end))) {
            return false;
        }
    }
    return true;
}

#define EACH_BYTE(c) (0x0101010101010101u * (uint64_t) (c))

/* Bit 7 of every byte that is 0, and possibly of bytes above such a one. */
static uint64_t zero_bytes(uint64_t v)
{
    return (v - EACH_BYTE(1)) & ~v & EACH_BYTE(0x80);
}

/* Bit 7 of exactly the bytes that are dots. */
static uint64_t dots_in(uint64_t v)
{
    v ^= EACH_BYTE('.');
    return ~(((v & EACH_BYTE(0x7f)) + EACH_BYTE(0x7f)) | v | EACH_BYTE(0x7f));
}

/* Is there a blank, a control byte or a wildcard in it? Wrongly yes is possible only beside a right
 * one. */
static bool has_special(uint64_t v)
{
    uint64_t small = (v - EACH_BYTE(' ' + 1)) & ~v & EACH_BYTE(0x80);
    return (small | zero_bytes(v ^ EACH_BYTE('*')) | zero_bytes(v ^ EACH_BYTE('>'))) != 0;
}

static uint64_t load_8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* n < 8 bytes, filled up with letters. */
static uint64_t load_short(const char *p, size_t n)
{
    uint64_t v = EACH_BYTE('x') << n * 8;

    if (n >= 4) {
        uint32_t low, high;
        memcpy(&low, p, 4);
        memcpy(&high, p + n - 4, 4);
        return v | low | (uint64_t) high << (n - 4) * 8;
    }
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t) (unsigned char) p[i] << i * 8;
    return v;
}

enum verdict { NO, YES, UNKNOWN };

/* Judges eight bytes. `before`: bit 7 when the byte before them is a dot; takes their last one's
 * place. */
static inline enum verdict judge(uint64_t v, uint64_t *before)
{
    uint64_t dots;

    if (has_special(v))
        return UNKNOWN;
    dots = dots_in(v);
    if ((dots & (dots << 8 | *before)) != 0)
        return NO;
    *before = dots >> 56;
    return YES;
}

/* A subject of ordinary bytes and dots is decided here in steps of eight bytes, all others are
 * UNKNOWN. */
static enum verdict plain_valid(struct str s)
{
    uint64_t before = 0x80; /* an empty token is one between two dots, also at the start */
    const char *p = s.p, *end;

    if (s.n == 0 || s.p[s.n - 1] == '.')
        return NO;
    end = s.p + s.n;
    if (s.n < 8)
        return judge(load_short(p, s.n), &before);
    for (; end - p >= 8; p += 8) {
        enum verdict v = judge(load_8(p), &before);
        if (v != YES)
            return v;
    }
    if (p == end)
        return YES;
    /* The last eight overlap what is judged already by at least one byte. */
    before = 0;
    return judge(load_8(end - 8), &before);
}

bool subject_valid(struct str s)
{
    enum verdict plain = plain_valid(s);
    return plain != UNKNOWN ? plain == YES : valid(s, true);
}

bool subject_valid_literal(struct str s)
{
    enum verdict plain = plain_valid(s);
    return plain != UNKNOWN ? plain == YES : valid(s, false);
}

bool subject_has_wildcard(struct str s)
{
    const char *start = s.p, *end;

    if (s.n == 0)
        return false;
    end = s.p + s.n;
    for (const char *p = start; p < end; p++) {
        if ((class_at(p) & (BYTE_FULL | BYTE_STAR)) != 0 && alone(p, start, end))
            return true;
    }
    return false;
}

/* Takes the token at the front of *s, with its dot; s->p becomes NULL behind the last one. */
static struct str take_token(struct str *s)
{
    return str_cut(*s, '.', s);
}

static bool token_is(struct str token, char c)
{
    return token.n == 1 && token.p[0] == c;
}

bool subject_matches(struct str literal, struct str pattern)
{
    const char *l = literal.p, *l_end = l + literal.n;
    const char *p = pattern.p, *p_end = p + pattern.n;

    for (;;) {
        /* Both stand at the start of a token. */
        bool single = p + 1 == p_end || p[1] == '.';
        if (*p == '>' && single)
            return true;
        if (*p == '*' && single) {
            p++;
            while (l < l_end && *l != '.')
                l++;
        } else {
            while (l < l_end && p < p_end && *l == *p && *l != '.') {
                l++;
                p++;
            }
        }
        if (l == l_end || p == p_end)
            return l == l_end && p == p_end;
        if (*l++ != '.' || *p++ != '.')
            return false;
    }
}

bool subject_subset(struct str sub, struct str super)
{
    while (sub.p != NULL && super.p != NULL) {
        struct str narrow = take_token(&sub), wide = take_token(&super);
        if (token_is(wide, '>'))
            return true;
        if (token_is(narrow, '>'))
            return false;
        if (!token_is(wide, '*') && !str_eq(narrow, wide))
            return false;
    }
    return sub.p == NULL && super.p == NULL;
}

static bool is_wild(struct str s, size_t at)
{
    return at < s.n && (s.p[at] == '*' || s.p[at] == '>');
}

/* Do they differ in a token that has no wildcard in either? A server with 10,000 streams compares
 * them pair by pair when it starts, and most are the same but for their ends. */
static bool differ_plainly(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n, i = 0, token = 0;

    for (; i < n && a.p[i] == b.p[i]; i++)
        if (a.p[i] == '.')
            token = i + 1;
    if (i == a.n && i == b.n)
        return false;
    for (; token <= i; token++)
        if (is_wild(a, token) || is_wild(b, token))
            return false;
    return true;
}

bool subject_overlap(struct str a, struct str b)
{
    if (differ_plainly(a, b))
        return false;
    while (a.p != NULL && b.p != NULL) {
        struct str x = take_token(&a), y = take_token(&b);
        if (token_is(x, '>') || token_is(y, '>'))
            return true;
        if (!token_is(x, '*') && !token_is(y, '*') && !str_eq(x, y))
            return false;
    }
    return a.p == NULL && b.p == NULL;
}

unsigned subject_split(struct str s, struct str *tokens, unsigned max)
{
    unsigned n = 0;

    while (s.p != NULL && (s.n > 0 || n > 0)) {
        if (n == max)
            return 0;
        tokens[n++] = take_token(&s);
    }
    return n;
}

unsigned subject_count_tokens(struct str s)
{
    unsigned n = s.n != 0 ? 1 : 0;

    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '.';
    return n;
}

struct str subject_token(struct str s, unsigned i)
{
    while (s.p != NULL) {
        struct str token = take_token(&s);
        if (i-- == 0)
            return token;
    }
    return STR_NONE;
}
