/* permissions.c - lists are short and are looked through; subjects compare token by token. */
#include "server/auth/permissions.h"

#include "lib/base/subject.h"

#include <string.h>

/* Does a rule without a queue cover the subject? */
static bool covered(const struct subject_rules *r, struct str subject)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->rules[i].queue == NULL && subject_subset(subject, str_of(r->rules[i].subject)))
            return true;
    return false;
}

/* Rules about queues that cover the subject: is there one, and does one name this group? */
static bool group_named(const struct subject_rules *r, struct str subject, struct str queue,
                        bool *any)
{
    bool named = false;

    *any = false;
    for (size_t i = 0; i < r->n && queue.n > 0; i++) {
        const struct subject_rule *rule = &r->rules[i];
        if (rule->queue == NULL || !subject_subset(subject, str_of(rule->subject)))
            continue;
        *any = true;
        named |= str_eq(queue, str_of(rule->queue)) || subject_subset(queue, str_of(rule->queue));
    }
    return named;
}

bool permissions_may_publish(const struct permissions *p, struct str subject)
{
    if (p->pub_allow.set && !covered(&p->pub_allow, subject))
        return false;
    return !covered(&p->pub_deny, subject);
}

bool permissions_may_subscribe(const struct permissions *p, struct str subject, struct str queue)
{
    bool any, named;

    if (p->sub_allow.n > 0) {
        named = group_named(&p->sub_allow, subject, queue, &any);
        if (any ? !named : !covered(&p->sub_allow, subject))
            return false;
    }
    return !covered(&p->sub_deny, subject) && !group_named(&p->sub_deny, subject, queue, &any);
}

bool permissions_deny_delivery(const struct permissions *p, struct str subject, struct str queue)
{
    bool any;

    return p->sub_deny.n > 0 &&
           (covered(&p->sub_deny, subject) || group_named(&p->sub_deny, subject, queue, &any));
}

/* ---- comparing ------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_rules(const struct subject_rules *a, const struct subject_rules *b)
{
    if (a->n != b->n || a->set != b->set)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!same_text(a->rules[i].subject, b->rules[i].subject) ||
            !same_text(a->rules[i].queue, b->rules[i].queue))
            return false;
    return true;
}

bool permissions_same(const struct permissions *a, const struct permissions *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return same_rules(&a->pub_allow, &b->pub_allow) && same_rules(&a->pub_deny, &b->pub_deny) &&
           same_rules(&a->sub_allow, &b->sub_allow) && same_rules(&a->sub_deny, &b->sub_deny) &&
           a->responses == b->responses && a->responses_max == b->responses_max &&
           a->responses_ns == b->responses_ns;
}
