/*
 * str.h - a view of bytes that somebody else owns.
 *
 * A str is two words and is passed by value. It says nothing about lifetime: the function that
 * hands one out says how long it may be used. It is not NUL-terminated; p may be NULL when n is 0.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};

/* printf("%.*s", STR_ARG(s)) */
#define STR_ARG(s) (int) (s).n, (s).p
/* A str of a string literal, usable as an initialiser. */
#define STR_LIT(literal)                                                                           \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }
#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_NONE ((struct str){NULL, 0})

static inline struct str str_of(const char *text)
{
    return (struct str){text, text != NULL ? strlen(text) : 0};
}

static inline struct str str_from(const void *p, size_t n)
{
    return (struct str){(const char *) p, n};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

/* s without its first n bytes (n <= s.n). */
static inline struct str str_skip(struct str s, size_t n)
{
    /* NULL + 0 is undefined in C11. */
    return (struct str){n != 0 ? s.p + n : s.p, s.n - n};
}

static inline struct str str_take(struct str s, size_t n)
{
    return (struct str){s.p, n < s.n ? n : s.n};
}

/* Byte order, shorter first when one is a prefix of the other: <0, 0, >0. */
int str_cmp(struct str a, struct str b);
/* ASCII letters compare without case. */
bool str_eq_nocase(struct str a, struct str b);
/* Without blanks, tabs, CR and LF at both ends. */
struct str str_trim(struct str s);
/* Cuts s at the first `sep`: returns what is before it and leaves what is after it in *rest.
 * Without a separator returns all of s and leaves an empty str with p == NULL. */
struct str str_cut(struct str s, char sep, struct str *rest);
/* Index of the first byte c, or s.n. */
size_t str_index(struct str s, char c);
/* Whole of s as a decimal number; false when empty, when another byte occurs, or on overflow. */
bool str_to_u64(struct str s, uint64_t *out);
bool str_to_i64(struct str s, int64_t *out);

#endif
