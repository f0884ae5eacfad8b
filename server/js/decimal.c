/* decimal.c - by hand as at school; counters have few digits, and nothing else is done with them.
 */
#include "server/js/decimal.h"

#include <string.h>

struct number {
    bool negative;
    struct str digits; /* without zeros in front; none = 0 */
};

bool decimal_valid(struct str text)
{
    if (text.n > 0 && (text.p[0] == '-' || text.p[0] == '+'))
        text = str_skip(text, 1);
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
    return text.n > 0;
}

static struct number number_of(struct str text)
{
    struct number n = {0};

    if (!decimal_valid(text))
        return n;
    n.negative = text.p[0] == '-';
    n.digits = text.p[0] == '-' || text.p[0] == '+' ? str_skip(text, 1) : text;
    while (n.digits.n > 0 && n.digits.p[0] == '0')
        n.digits = str_skip(n.digits, 1);
    return n;
}

/* The digit of 10^place. */
static int digit(struct str digits, size_t place)
{
    return place < digits.n ? digits.p[digits.n - 1 - place] - '0' : 0;
}

/* Of the digits alone. */
static bool is_less(struct str a, struct str b)
{
    return a.n != b.n ? a.n < b.n : str_cmp(a, b) < 0;
}

/* large + small, or large - small, as digits; large is not less than small when it is taken off. */
static void put_digits(struct buf *out, struct str large, struct str small, int sign)
{
    size_t n = (large.n > small.n ? large.n : small.n) + 1;
    char *to = buf_reserve(out, n);
    int carry = 0;
    size_t skip = 0;

    for (size_t place = 0; place < n; place++) {
        int d = digit(large, place) + sign * digit(small, place) + carry;
        carry = d < 0 ? -1 : d / 10;
        to[n - 1 - place] = (char) ('0' + (d + 10) % 10);
    }
    while (skip + 1 < n && to[skip] == '0')
        skip++;
    memmove(to, to + skip, n - skip);
    out->n += n - skip;
}

static void put_sum(struct buf *out, struct number a, struct number b)
{
    if (a.negative == b.negative) {
        if (a.negative && a.digits.n + b.digits.n > 0)
            buf_putc(out, '-');
        put_digits(out, a.digits, b.digits, 1);
        return;
    }
    if (is_less(a.digits, b.digits)) {
        struct number swap = a;
        a = b;
        b = swap;
    }
    if (a.negative && !str_eq(a.digits, b.digits))
        buf_putc(out, '-');
    put_digits(out, a.digits, b.digits, -1);
}

void decimal_add(struct buf *out, struct str a, struct str b)
{
    put_sum(out, number_of(a), number_of(b));
}

void decimal_subtract(struct buf *out, struct str a, struct str b)
{
    struct number minus = number_of(b);

    minus.negative = !minus.negative;
    put_sum(out, number_of(a), minus);
}
