/*
 * stream_commit.c - what the store says about a stream: its commits carry answers out, its removals
 * reach the consumers, its failures turn what was promised into errors.
 *
 * A hold belongs to the commit whose state it was computed from (stream_ingest.c): commit_begun
 * closes it, committed releases it. What a rollup replaces is removed after that, so that a crash
 * leaves either the old messages or the new one with them, never neither.
 */
#include "lib/base/mem.h"
#include "server/js/api_int.h"
#include "server/js/backup.h"
#include "server/js/consumer_int.h"
#include "server/js/ingest.h"
#include "server/js/stream_parts.h"
#include "server/js/upstream.h"

#include <string.h>

void ingest_plan_rollup(struct stream *s, struct str subject, enum rollup_kind how, uint64_t seq)
{
    struct rollup *r;

    if (how == ROLLUP_NONE)
        return;
    r = mem_zalloc(sizeof(*r) + subject.n);
    r->seq = seq;
    r->subject_len = how == ROLLUP_SUB ? subject.n : 0;
    memcpy(r->subject, subject.p, r->subject_len);
    list_push_back(&s->rollups, &r->link);
}

static void commit_begun(void *ctx, uint64_t last_seq)
{
    struct stream *s = ctx;
    struct held *h;

    stream_upstreams_begun(s);
    if (s->open_hold == NULL)
        return;
    h = mem_zalloc(sizeof(*h));
    h->hold = s->open_hold;
    /* Not last_seq: a commit may carry less than what has been appended, and the hold answers for
     * all of it. */
    h->last_seq = s->assigned > last_seq ? s->assigned : last_seq;
    s->open_hold = NULL;
    s->open_assigned = s->open_depends = false;
    list_push_back(&s->held, &h->link);
}

static void release_held(struct stream *s)
{
    struct list *l;

    while ((l = list_first(&s->held)) != NULL) {
        struct held *h = LIST_ENTRY(l, struct held, link);
        if (h->last_seq > s->durable)
            return;
        list_remove(&h->link);
        hold_release(h->hold);
        mem_free(h);
    }
}

/* Replies without a sequence of their own, when nothing is on its way that they could depend on. */
static void release_idle(struct stream *s)
{
    if (s->open_hold == NULL || s->open_assigned || s->assigned != s->durable)
        return;
    hold_release(s->open_hold);
    s->open_hold = NULL;
    s->open_depends = false;
}

static void run_rollups(struct stream *s)
{
    struct list *l;

    while ((l = list_first(&s->rollups)) != NULL) {
        struct rollup *r = LIST_ENTRY(l, struct rollup, link);
        if (r->seq > s->durable)
            return;
        list_remove(&r->link);
        store_purge(s->store,
                    &(struct store_purge){.filter = str_from(r->subject, r->subject_len),
                                          .before_seq = r->seq},
                    NULL);
        mem_free(r);
    }
}

static void committed(void *ctx, uint64_t first_seq, uint64_t last_seq)
{
    struct stream *s = ctx;

    s->durable = last_seq;
    stream_count_usage(s);
    release_held(s);
    release_idle(s);
    stream_announce(s, first_seq, last_seq);
    stream_republish_committed(s);
    stream_batches_committed(s);
    run_rollups(s);
    stream_expiry_committed(s);
    stream_schedules_committed(s);
    stream_upstreams_committed(s);
    stream_restore_committed(s);
    stream_followers_committed(s);
    stream_caught_up(s);
}

static void removed(void *ctx, uint64_t first_seq, uint64_t last_seq, uint64_t msgs,
                    enum store_reason reason)
{
    struct stream *s = ctx;

    (void) msgs;
    stream_count_usage(s);
    stream_expiry_removed(s, first_seq, last_seq);
    stream_schedules_removed(s, first_seq, last_seq);
    stream_followers_removed(s);
    LIST_FOREACH(l, &s->consumers)
    consumer_note_removed(LIST_ENTRY(l, struct consumer, stream_link), first_seq, last_seq,
                          reason == STORE_BY_PURGE);
}

struct refusal {
    const struct stream *s;
    struct buf error;
};

/* A hold may have been begun before its first messages became durable: their acknowledgements stay.
 * An error may have been computed from what does not come true ("wrong last sequence: 54"). */
static struct str refuse_untrue(void *ctx, struct str payload)
{
    const struct refusal *r = ctx;
    const struct stream *s = r->s;
    struct str prefix = str_from(s->ack_prefix, s->ack_prefix_len);
    uint64_t seq = 0;

    if (!str_starts(payload, prefix))
        return buf_str(&r->error);
    for (size_t i = prefix.n; i < payload.n && payload.p[i] >= '0' && payload.p[i] <= '9'; i++)
        seq = seq * 10 + (uint64_t) (payload.p[i] - '0');
    return seq <= s->durable ? payload : buf_str(&r->error);
}

/* Nothing that is on its way will become true: the waiting publishers hear that, with the answer a
 * failed append gets. */
static void refuse_held(struct stream *s, enum err err)
{
    struct verdict v = {0};
    struct refusal r = {.s = s};
    struct list *l;

    ingest_store_failed(&v, err);
    ingest_put_error(s, &v.error, &r.error);
    while ((l = list_pop_front(&s->held)) != NULL) {
        struct held *h = LIST_ENTRY(l, struct held, link);
        hold_release_instead(h->hold, refuse_untrue, &r);
        mem_free(h);
    }
    if (s->open_hold != NULL && (s->open_assigned || s->open_depends)) {
        hold_release_instead(s->open_hold, refuse_untrue, &r);
        s->open_hold = NULL;
    }
    s->open_assigned = s->open_depends = false;
    buf_free(&r.error);
}

/* As if nothing behind the durable end had ever been appended. */
static void forget_assigned(struct stream *s, enum err err)
{
    struct list *l;

    refuse_held(s, err);
    while ((l = list_pop_front(&s->rollups)) != NULL)
        mem_free(LIST_ENTRY(l, struct rollup, link));
    s->assigned = s->durable;
    dedup_forget_above(&s->dedup, s->durable);
    stream_expiry_forget(s);
    stream_republish_forget(s);
    stream_batches_forget(s);
    stream_counters_forget(s);
    stream_schedules_forget(s);
    stream_followers_refused(s);
    stream_behind_end(s);
}

static void refused(void *ctx, enum err err)
{
    struct stream *s = ctx;

    forget_assigned(s, err);
    release_idle(s);
    stream_upstreams_refused(s);
    stream_restore_refused(s, err);
}

static void failed(void *ctx, enum err err, const char *why)
{
    struct stream *s = ctx;

    LOG_ERR(s->js->env->log, "JetStream stream '%s > %s' has failed and is read-only: %s (%s)",
            s->js->account->name, s->config.name, why, err_text(err));
    s->failed = true;
    s->fail_reason = why;
    forget_assigned(s, err);
    stream_restore_refused(s, err);
}

static void render_config(void *ctx, struct buf *out)
{
    js_stream_render(ctx, out);
}

const struct store_stream_ops stream_store_ops = {
    .commit_begun = commit_begun,
    .committed = committed,
    .removed = removed,
    .failed = failed,
    .refused = refused,
    .render_config = render_config,
};

void stream_settle(struct stream *s)
{
    list_remove(&s->dirty_link);
    release_idle(s);
}
