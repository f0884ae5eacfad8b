/*
 * stream_counter.c - streams whose subjects are counters: each message adds to the one before.
 *
 * A publish carries Nats-Incr and no payload; what is stored is the new value, {"val":"12"}, a
 * whole number of any size. The value before is that of the subject's last *assigned* message: what
 * is on its way counts already, so that increments in one commit add up. If that commit is refused,
 * its acknowledgements, which carry values, become errors, and the values are forgotten.
 *
 * So there is nothing to recover: a value is in the message that is durable, or was never there. An
 * increment is not repeated by a start; a client that repeats one uses Nats-Msg-Id.
 *
 * Values are kept for the subjects that were last counted, all of what is not durable and CACHE_MAX
 * others. A value that is not kept is read from the store; when that needs the disk the stream is
 * held up (stream_park.c) until it is there, so increments keep their order.
 *
 * In an atomic batch an increment is added to the one before it in the batch (ingest_before).
 *
 * Of streams that sum up others: a sourced message carries its origin's value, not an increment.
 * Nats-Counter-Sources says, in the last message of a subject, which value of which origin is in
 * the sum: {"ORIGIN":{"subject":"5"}}; the difference is what is added, and becomes its Nats-Incr.
 */
#include "lib/base/hash.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "server/js/decimal.h"
#include "server/js/ingest.h"
#include "server/js/stream_parts.h"

#include <string.h>

#define CACHE_MAX 4096u
#define SOURCES STR("Nats-Counter-Sources")

struct counter {
    struct hmap_node node;
    struct list link; /* counters->order: the last one counted is last */
    uint64_t seq;
    struct buf value, sources; /* sources: empty = none */
    size_t subject_len;
    char subject[];
};

struct counters {
    struct hmap by_subject;
    struct list order;
    struct store_reader reader;
    bool waiting;
};

/* ---- what is kept ---------------------------------------------------------------------------- */

static uint64_t hash_of(struct str subject)
{
    return hash_bytes(subject.p, subject.n, 0);
}

static struct counter *find(const struct counters *c, struct str subject)
{
    uint64_t h = hash_of(subject);

    for (struct hmap_node *n = hmap_first(&c->by_subject, h); n != NULL; n = hmap_next(n, h)) {
        struct counter *one = CONTAINER_OF(n, struct counter, node);
        if (str_eq(str_from(one->subject, one->subject_len), subject))
            return one;
    }
    return NULL;
}

static void drop(struct counters *c, struct counter *one)
{
    hmap_remove(&c->by_subject, &one->node);
    list_remove(&one->link);
    buf_free(&one->value);
    buf_free(&one->sources);
    mem_free(one);
}

static void trim(struct stream *s)
{
    struct counters *c = s->counters;

    while (c->by_subject.count > CACHE_MAX) {
        struct counter *oldest = LIST_ENTRY(list_first(&c->order), struct counter, link);
        if (oldest->seq > s->durable)
            return;
        drop(c, oldest);
    }
}

static struct counter *remember(struct stream *s, struct str subject, uint64_t seq,
                                struct str value, struct str sources)
{
    struct counters *c = s->counters;
    struct counter *one = find(c, subject);

    if (one == NULL) {
        one = mem_zalloc(sizeof(*one) + subject.n);
        one->subject_len = subject.n;
        memcpy(one->subject, subject.p, subject.n);
        hmap_insert(&c->by_subject, &one->node, hash_of(subject));
    } else {
        list_remove(&one->link);
    }
    list_push_back(&c->order, &one->link);
    one->seq = seq;
    buf_clear(&one->value);
    buf_put_str(&one->value, value);
    buf_clear(&one->sources);
    buf_put_str(&one->sources, sources);
    trim(s);
    return one;
}

static void ready(struct store_reader *r)
{
    struct stream *s = r->ctx;

    s->counters->waiting = false;
    stream_go_on(s);
}

static void open_counters(struct stream *s)
{
    s->counters = mem_zalloc(sizeof(*s->counters));
    hmap_init(&s->counters->by_subject);
    list_init(&s->counters->order);
    store_reader_init(&s->counters->reader, s->store, 1, NULL, 0, ready, s);
}

static void drop_above(struct counters *c, uint64_t seq)
{
    LIST_FOREACH_SAFE(l, next, &c->order)
    {
        struct counter *one = LIST_ENTRY(l, struct counter, link);
        if (one->seq > seq)
            drop(c, one);
    }
}

void stream_counters_forget(struct stream *s)
{
    if (s->counters != NULL)
        drop_above(s->counters, s->durable);
}

void stream_counters_free(struct stream *s)
{
    struct counters *c = s->counters;

    s->counters = NULL;
    if (c == NULL)
        return;
    drop_above(c, 0);
    hmap_deinit(&c->by_subject);
    store_reader_deinit(&c->reader);
    mem_free(c);
}

/* ---- what was counted before ----------------------------------------------------------------- */

static bool broken(struct verdict *v)
{
    return js_fail(&v->error, JS_ERR_MESSAGE_COUNTER_BROKEN, NULL);
}

/* The member, whatever its case; NULL when it is not there. */
static const json_t *member(json_t *object, const char *name)
{
    const char *key;
    json_t *value;

    json_object_foreach(object, key,
                        value) if (str_eq_nocase(str_of(key), str_of(name))) return value;
    return NULL;
}

/* {"val":"12"}: the text is put into value, which is left empty when there is none. */
static bool read_value(struct str payload, struct buf *value)
{
    static const char before[] = "{\"val\":\"", after[] = "\"}";
    struct str inner = str_skip(payload, payload.n < 10 ? 0 : sizeof(before) - 1);
    struct buf err = {0};
    const json_t *val;
    json_t *object;
    bool ok;

    if (payload.n >= 10 && str_starts(payload, STR(before)) &&
        memcmp(payload.p + payload.n - 2, after, 2) == 0 &&
        decimal_valid(str_take(inner, inner.n - 2))) {
        buf_put_str(value, str_take(inner, inner.n - 2));
        return true;
    }
    object = json_parse_object(payload, &err);
    val = member(object, "val");
    ok = object != NULL && (val == NULL || json_is_string(val) || json_is_null(val));
    if (ok && json_is_string(val))
        buf_puts(value, json_string_value(val));
    json_decref(object);
    buf_free(&err);
    return ok;
}

/* An object of objects of texts; NULL with *ok = false otherwise. No text: an empty one. */
static json_t *read_sources(struct str text, bool *ok)
{
    struct buf err = {0};
    const char *stream, *subject;
    json_t *object, *subjects, *value;

    object = text.n == 0 ? json_object() : json_parse_object(text, &err);
    *ok = object != NULL;
    json_object_foreach(object, stream, subjects)
    {
        *ok = *ok && json_is_object(subjects);
        json_object_foreach(subjects, subject, value) *ok = *ok && json_is_string(value);
    }
    buf_free(&err);
    if (!*ok) {
        json_decref(object);
        object = NULL;
    }
    return object;
}

static struct counter *keep_read(struct stream *s, const struct store_msg *m, struct verdict *v)
{
    struct str sources = header_get(m->header, SOURCES);
    struct counter *one = NULL;
    struct buf value = {0};

    if (read_value(m->payload, &value))
        one = remember(s, m->subject, m->seq, buf_str(&value), sources);
    else
        broken(v);
    buf_free(&value);
    return one;
}

/* False: v->error, or v->waits. *out NULL: nothing was counted yet. */
static bool find_last(struct stream *s, struct str subject, struct counter **out, struct verdict *v)
{
    struct counters *c = s->counters;
    struct store_msg m;
    uint64_t msgs, last = store_subject_last_assigned(s->store, subject, &msgs);

    *out = last != 0 ? find(c, subject) : NULL;
    if (last == 0 || (*out != NULL && (*out)->seq == last))
        return true;
    if (c->waiting) { /* a source's message, while a client's waits */
        v->waits = true;
        return false;
    }
    switch (store_reader_get(&c->reader, last, &m)) {
    case STORE_READ_MSG:
        *out = keep_read(s, &m, v);
        return *out != NULL;
    case STORE_READ_WAIT:
        c->waiting = true;
        v->waits = true;
        stream_hold_up(s);
        return false;
    default: /* damaged */
        return broken(v);
    }
}

/* ---- counting -------------------------------------------------------------------------------- */

/* Puts the origin's value into the list, and what it has grown by into incr. */
static bool count_source(const struct msg *m, struct str source, struct buf *sources,
                         struct buf *incr, struct verdict *v)
{
    struct str fields[5] = {{0}}, rest = source;
    struct buf value = {0}, zero = {0};
    json_t *all, *of_stream;
    const char *before;
    bool ok;

    for (unsigned i = 0; i < 5 && rest.p != NULL; i++)
        fields[i] = str_cut(rest, ' ', &rest);
    if (fields[4].p == NULL)
        fields[4] = m->subject;
    all = read_sources(buf_str(sources), &ok);
    if (!ok || !read_value(m->payload, &value)) {
        json_decref(all);
        buf_free(&value);
        return broken(v);
    }
    of_stream = json_object_getn(all, fields[0].p, fields[0].n);
    if (of_stream == NULL) {
        of_stream = json_object();
        json_object_setn_new(all, fields[0].p, fields[0].n, of_stream);
    }
    before = json_string_value(json_object_getn(of_stream, fields[4].p, fields[4].n));
    decimal_subtract(incr, buf_str(&value), str_of(before));
    decimal_add(&zero, buf_str(&value), STR("0"));
    json_object_setn_new(of_stream, fields[4].p, fields[4].n, json_stringn(zero.p, zero.n));
    buf_clear(sources);
    jput_raw(sources, all);
    json_decref(all);
    buf_free(&value);
    buf_free(&zero);
    return true;
}

/* A client may have written them. */
static bool check_sources(struct str sources, struct verdict *v)
{
    bool ok = true;

    if (sources.n > 0)
        json_decref(read_sources(sources, &ok));
    return ok || broken(v);
}

static void set_header(struct verdict *v, struct str key, struct str value)
{
    struct buf without = {0}, with = {0};

    header_remove(&without, v->header, key);
    header_append(&with, buf_str(&without), key, value);
    buf_free(&without);
    verdict_set_header(v, &with);
}

bool ingest_count(struct stream *s, const struct msg *m, struct str incr, struct str source,
                  struct verdict *v)
{
    struct buf sources = {0}, grown = {0};
    struct str value = STR_NONE;
    const struct verdict *before = ingest_before(v, m->subject);
    struct counter *last;
    bool ok = true;

    if (incr.n == 0)
        return js_fail(&v->error, JS_ERR_MESSAGE_INCR_MISSING, NULL);
    if (s->counters == NULL)
        open_counters(s);
    if (before != NULL) {
        value = before->value;
        buf_put_str(&sources, header_get(before->header, SOURCES));
    } else if (!find_last(s, m->subject, &last, v)) {
        return false;
    } else if (last != NULL) {
        value = buf_str(&last->value);
        buf_put_str(&sources, buf_str(&last->sources));
    }
    if (source.n == 0) {
        ok = check_sources(buf_str(&sources), v);
    } else {
        ok = count_source(m, source, &sources, &grown, v);
        incr = buf_str(&grown);
        if (ok)
            set_header(v, STR("Nats-Incr"), incr);
    }
    if (ok) {
        if (sources.n > 0)
            set_header(v, SOURCES, buf_str(&sources));
        buf_puts(&v->own_payload, "{\"val\":\"");
        decimal_add(&v->own_payload, value, incr);
        buf_puts(&v->own_payload, "\"}");
        v->payload = buf_str(&v->own_payload);
        v->value = str_skip(str_take(v->payload, v->payload.n - 2), 8);
    }
    buf_free(&sources);
    buf_free(&grown);
    return ok;
}

void ingest_counted(struct stream *s, const struct msg *m, uint64_t seq, const struct verdict *v)
{
    remember(s, m->subject, seq, v->value, header_get(v->header, SOURCES));
}
