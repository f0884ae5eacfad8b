/* stream_follow.c - see stream_follow.h. */
#include "server/js/stream_follow.h"

#include "lib/base/mem.h"
#include "server/js/batches.h"
#include "server/js/ingest.h"
#include "server/js/stream_parts.h"

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

bool stream_limits_subjects(const struct stream *s)
{
    return s->config.max_msgs_per_subject > 0;
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

void stream_followers_removed(struct stream *s)
{
    LIST_FOREACH_SAFE(l, tmp, &s->followers)
    {
        struct stream_follower *f = LIST_ENTRY(l, struct stream_follower, link);
        f->removed(f);
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

/* What stops any message: bytes of the largest one, and of all. */
static enum err check_stream(struct stream *s, struct str subject, size_t largest, size_t bytes,
                             uint32_t messages)
{
    struct msg m = {.subject = subject};
    struct js_error error;
    struct verdict v = {0};

    if (s->failed)
        return ERR_FAILED;
    if (s->config.sealed)
        return ERR_SEALED;
    if (s->config.max_msg_size > 0 && largest > (uint64_t) s->config.max_msg_size)
        return ERR_TOO_LARGE;
    if (!batch_check_stream(s, &m, &error) || !ingest_check_account(s, bytes, &v))
        return ERR_LIMIT;
    return check_full(s, bytes, messages);
}

static void appended(struct stream *s, uint64_t last)
{
    s->assigned = last;
    mem_free(s->last_id);
    s->last_id = NULL;
}

static enum err append_kafka(struct stream *s, struct store_kafka_append *a, uint64_t *first_seq,
                             uint8_t **stored)
{
    enum err err;

    a->ts = ingest_time(s);
    err = store_append_kafka(s->store, a, first_seq, stored);
    if (err == ERR_OK)
        appended(s, *first_seq + a->messages - 1);
    return err;
}

enum err stream_append_kafka_as(struct stream *s, struct str subject, struct str batch,
                                uint32_t messages, uint64_t *first_seq, uint8_t **stored)
{
    struct store_kafka_append a = {.subject = subject, .batch = batch, .messages = messages};
    enum err err = check_stream(s, a.subject, batch.n, batch.n, messages);

    return err == ERR_OK ? append_kafka(s, &a, first_seq, stored) : err;
}

enum err stream_append_kafka_end(struct stream *s, struct str subject, struct str batch,
                                 uint64_t *seq, uint8_t **stored)
{
    struct store_kafka_append a = {.subject = subject, .batch = batch, .messages = 1};

    return s->failed ? ERR_FAILED : append_kafka(s, &a, seq, stored);
}

enum err stream_append_kafka(struct stream *s, struct str batch, uint32_t messages,
                             uint64_t *first_seq, uint8_t **stored)
{
    return stream_append_kafka_as(s, stream_kafka_subject(s), batch, messages, first_seq, stored);
}

enum err stream_append_own(struct stream *s, const struct stream_own_message *m, size_t n,
                           uint64_t *first_seq)
{
    struct store_append *a = mem_array(n, sizeof(*a));
    size_t largest = 0, bytes = 0;
    int64_t ts = ingest_time(s);
    enum err err;

    for (size_t i = 0; i < n; i++) {
        size_t one = m[i].header.n + m[i].payload.n;
        a[i] = (struct store_append){
            .subject = m[i].subject, .header = m[i].header, .payload = m[i].payload, .ts = ts};
        bytes += one;
        largest = one > largest ? one : largest;
    }
    err = check_stream(s, m[0].subject, largest, bytes, (uint32_t) n);
    if (err == ERR_OK)
        err = store_append_group(s->store, a, n, first_seq);
    if (err == ERR_OK)
        appended(s, *first_seq + n - 1);
    mem_free(a);
    return err;
}
