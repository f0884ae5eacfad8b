/* stream_follow.c - see stream_follow.h. */
#include "server/js/stream_follow.h"

#include "lib/base/mem.h"
#include "server/js/batches.h"
#include "server/js/ingest.h"

struct stream *stream_follow(struct env *env, const struct account *a, struct str name,
                             struct stream_follower *f)
{
    struct js *js = js_of(env, a);
    struct stream *s = js != NULL ? js_stream_find(js, name) : NULL;

    if (s == NULL || s->store == NULL)
        return NULL;
    list_push_back(&s->followers, &f->link);
    return s;
}

void stream_unfollow(struct stream_follower *f)
{
    list_remove(&f->link);
}

struct store_stream *stream_store(const struct stream *s)
{
    return s->store;
}

struct str stream_kafka_subject(const struct stream *s)
{
    if (s->config.subjects.n == 1 && subject_valid_literal(str_of(s->config.subjects.items[0])))
        return str_of(s->config.subjects.items[0]);
    return str_of(s->config.name);
}

void stream_followers_committed(struct stream *s)
{
    LIST_FOREACH_SAFE(l, tmp, &s->followers)
    {
        struct stream_follower *f = LIST_ENTRY(l, struct stream_follower, link);
        f->committed(f);
    }
}

void stream_followers_refused(struct stream *s)
{
    LIST_FOREACH_SAFE(l, tmp, &s->followers)
    {
        struct stream_follower *f = LIST_ENTRY(l, struct stream_follower, link);
        f->refused(f);
    }
}

void stream_followers_gone(struct stream *s)
{
    struct list *l;

    while ((l = list_pop_front(&s->followers)) != NULL) {
        struct stream_follower *f = LIST_ENTRY(l, struct stream_follower, link);
        f->gone(f);
    }
}

/* A stream that discards new messages takes a batch whole or not at all. */
static enum err check_full(const struct stream *s, size_t bytes, uint32_t messages)
{
    const struct stream_config *c = &s->config;
    uint64_t last, msgs, size;

    if (c->discard != DISCARD_NEW)
        return ERR_OK;
    store_stream_state_assigned(s->store, &last, &msgs, &size);
    if (c->max_msgs > 0 && msgs + messages > (uint64_t) c->max_msgs)
        return ERR_MAX_MSGS;
    if (c->max_bytes > 0 && size + bytes > (uint64_t) c->max_bytes)
        return ERR_MAX_BYTES;
    return ERR_OK;
}

enum err stream_append_kafka(struct stream *s, struct str batch, uint32_t messages,
                             uint64_t *first_seq, uint8_t **stored)
{
    struct store_kafka_append a = {
        .subject = stream_kafka_subject(s), .batch = batch, .messages = messages};
    struct msg m = {.subject = a.subject};
    struct js_error error;
    enum err err;

    if (s->failed)
        return ERR_FAILED;
    if (s->config.sealed)
        return ERR_SEALED;
    if (s->config.max_msg_size > 0 && batch.n > (uint64_t) s->config.max_msg_size)
        return ERR_TOO_LARGE;
    if (!batch_check_stream(s, &m, &error))
        return ERR_LIMIT;
    if ((err = check_full(s, batch.n, messages)) != ERR_OK)
        return err;
    a.ts = ingest_time(s);
    err = store_append_kafka(s->store, &a, first_seq, stored);
    if (err != ERR_OK)
        return err;
    s->assigned = *first_seq + messages - 1;
    mem_free(s->last_id);
    s->last_id = NULL;
    return ERR_OK;
}
