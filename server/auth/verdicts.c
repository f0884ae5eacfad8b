/* verdicts.c - a table with one place per hash; the text is compared, a hash alone lets nobody in.
 */
#include "server/auth/verdicts.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"

#include <string.h>

#define PLACES 64u
#define TEXT_MAX 62u
/* So many rules are compared sooner than hashed. */
#define FEW_RULES 4u

struct verdicts {
    struct {
        uint8_t n; /* 0 = empty */
        bool yes;
        char text[TEXT_MAX];
    } at[PLACES];
};

bool verdicts_may_publish(struct verdicts **v, const struct permissions *p, struct str subject,
                          uint64_t seed)
{
    size_t i;

    if (p->pub_allow.n + p->pub_deny.n <= FEW_RULES || subject.n == 0 || subject.n > TEXT_MAX)
        return permissions_may_publish(p, subject);
    if (*v == NULL)
        *v = mem_zalloc(sizeof(**v));
    i = hash_bytes(subject.p, subject.n, seed) % PLACES;
    if ((*v)->at[i].n != subject.n || memcmp((*v)->at[i].text, subject.p, subject.n) != 0) {
        (*v)->at[i].yes = permissions_may_publish(p, subject);
        (*v)->at[i].n = (uint8_t) subject.n;
        memcpy((*v)->at[i].text, subject.p, subject.n);
    }
    return (*v)->at[i].yes;
}

void verdicts_clear(struct verdicts **v)
{
    mem_free(*v);
    *v = NULL;
}
