#include "lib/base/nuid.h"

#include <string.h>

#define BASE 62
#define SEQ_DIGITS 10
#define SEQ_END 839299365868340224u /* 62^10 */
#define STEP_MIN 33
#define STEP_MAX 333

static const char digits[BASE + 1] =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static void renew(struct nuid *n)
{
    for (size_t i = 0; i < sizeof(n->prefix); i++)
        n->prefix[i] = digits[prng_below(n->prng, BASE)];
    n->seq = prng_below(n->prng, SEQ_END);
    n->step = STEP_MIN + prng_below(n->prng, STEP_MAX - STEP_MIN);
}

void nuid_init(struct nuid *n, struct prng *prng)
{
    n->prng = prng;
    renew(n);
}

void nuid_next(struct nuid *n, char out[NUID_LEN + 1])
{
    uint64_t left;

    n->seq += n->step;
    if (n->seq >= SEQ_END)
        renew(n);
    memcpy(out, n->prefix, sizeof(n->prefix));
    left = n->seq;
    for (unsigned i = SEQ_DIGITS; i > 0; i--) {
        out[sizeof(n->prefix) + i - 1] = digits[left % BASE];
        left /= BASE;
    }
    out[NUID_LEN] = '\0';
}
