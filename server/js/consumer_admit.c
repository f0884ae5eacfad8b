/*
 * consumer_admit.c - what a stream says to a consumer that it is to have: the limits that its
 * configuration is checked against, how many there may be, and that a work queue gives each message
 * to one of them. For requests and for restores.
 */
#include "server/js/consumer_int.h"

#include <string.h>

void consumer_bounds_of(const struct stream *s, bool pedantic, struct consumer_bounds *out)
{
    const struct options *o = s->js->env->options;

    *out = (struct consumer_bounds){
        .stream = &s->config,
        .max_ack_pending = o->js_max_ack_pending,
        .account_max_ack_pending = s->js->limits.max_ack_pending,
        .max_batch = o->js_max_request_batch,
        .pedantic = pedantic,
    };
}

static bool filters_overlap(const struct consumer *c, const struct consumer_config *n)
{
    if (n->filter_subject == NULL && n->filter_subjects.n == 0)
        return true;
    if (c->nfilters == 0)
        return true;
    for (unsigned i = 0; i < c->nfilters; i++) {
        if (n->filter_subject != NULL && subject_overlap(c->filters[i], str_of(n->filter_subject)))
            return true;
        for (size_t k = 0; k < n->filter_subjects.n; k++)
            if (subject_overlap(c->filters[i], str_of(n->filter_subjects.items[k])))
                return true;
    }
    return false;
}

/* On a work queue every message has one consumer, beside mirrors and sources. */
static bool overlaps_others(const struct stream *s, const struct consumer_config *config,
                            const char *name)
{
    LIST_FOREACH(l, &s->consumers)
    {
        const struct consumer *c = LIST_ENTRY(l, struct consumer, stream_link);
        if (strcmp(c->name, name) != 0 && !c->config.direct && !c->config.sourcing &&
            filters_overlap(c, config))
            return true;
    }
    return false;
}

static bool is_unfiltered(const struct consumer_config *c)
{
    return c->filter_subject == NULL && c->filter_subjects.n == 0;
}

static bool check_work_queue(const struct stream *s, const struct consumer_config *config,
                             const char *name, struct js_error *err)
{
    if (s->config.retention != RETENTION_WORKQUEUE || config->direct || config->sourcing)
        return true;
    if (!consumer_config_check_work_queue(config, &s->config, err))
        return false;
    return !overlaps_others(s, config, name) ||
           js_fail(err,
                   is_unfiltered(config) ? JS_ERR_CONSUMER_WQ_MULTIPLE_UNFILTERED
                                         : JS_ERR_CONSUMER_WQ_CONSUMER_NOT_UNIQUE,
                   NULL);
}

static bool has_room(const struct stream *s, int64_t most)
{
    return most <= 0 || s->nconsumers - s->nsourcing < (size_t) most;
}

bool consumer_admit(const struct stream *s, const struct consumer_config *config, const char *name,
                    struct js_error *err)
{
    if (!config->direct && !config->sourcing &&
        (!has_room(s, s->config.max_consumers) || !has_room(s, s->js->limits.max_consumers)))
        return js_fail(err, JS_ERR_MAXIMUM_CONSUMERS_LIMIT, NULL);
    return check_work_queue(s, config, name, err);
}

bool consumer_admit_update(const struct stream *s, const struct consumer_config *config,
                           const char *name, struct js_error *err)
{
    return s->config.retention != RETENTION_WORKQUEUE || is_unfiltered(config) ||
           !overlaps_others(s, config, name) ||
           js_fail(err, JS_ERR_CONSUMER_WQ_CONSUMER_NOT_UNIQUE, NULL);
}
