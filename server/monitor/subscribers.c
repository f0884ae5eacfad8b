/*
 * subscribers.c - $SYS.DEBUG.SUBSCRIBERS: how many subscriptions of an account have a subject, or
 * lie within a pattern; in one queue group when one is named. Those of clients and of servers that
 * joined this one count, not the server's own.
 */
#include "lib/base/subject.h"
#include "server/monitor/monitor_int.h"

#include <string.h>

struct counting {
    const struct asked *asked;
    bool wild;
    size_t n;
};

static void count_one(void *ctx, const struct net_sub_info *s)
{
    struct counting *c = ctx;
    struct str subject = str_of(c->asked->test);

    if (c->asked->name != NULL && !str_eq(s->queue, str_of(c->asked->name)))
        return;
    c->n += c->wild ? subject_subset(s->subject, subject) : subject_matches(subject, s->subject);
}

static void count_of(void *ctx, const struct net_conn_info *info, const struct conn *open)
{
    struct counting *c = ctx;

    if (!info->spoke && strcmp(c->asked->account, info->account) == 0)
        net_conn_subs(open, count_one, c);
}

static void step(struct query *q, struct env *env, struct part *part)
{
    struct counting c = {.asked = &q->asked, .wild = subject_has_wildcard(str_of(q->asked.test))};

    if (subject_valid(str_of(q->asked.test)))
        part->more = net_conns_slice(env->net, &part->from, STEP_MOST, count_of, &c);
    part->matching += c.n;
}

static json_t *subscribers(struct query *q)
{
    size_t n = 0;

    for (unsigned i = 0; i < q->workers; i++)
        n += q->parts[i].matching;
    return json_integer((json_int_t) n);
}

const struct document subscribers_document = {.step = step, .finish = subscribers};
