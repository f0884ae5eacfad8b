/*
 * model.c - see model.h.
 */
#include "tests/sim/model.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/fmt.h"
#include "lib/base/hash.h"
#include "lib/base/subject.h"
#include "tests/sim/sim_disk_int.h"

#include <stdlib.h>
#include <string.h>

/* ---- life ------------------------------------------------------------------------------------ */

struct model *model_new(void)
{
    return sim_alloc(sizeof(struct model));
}

static void *copy_of(const void *p, size_t n)
{
    void *q = sim_alloc(n > 0 ? n : 1);
    if (n > 0)
        memcpy(q, p, n);
    return q;
}

static struct model_stream *stream_copy(const struct model_stream *s)
{
    struct model_stream *c = copy_of(s, sizeof(*s));
    c->limits = copy_of(s->limits, (s->config.submitted + 1) * sizeof(*s->limits));
    c->msgs = copy_of(s->msgs, s->n * sizeof(*s->msgs));
    c->cap = s->n;
    c->handle = NULL;
    return c;
}

struct model *model_copy(const struct model *from)
{
    struct model *m = copy_of(from, sizeof(*from));
    m->streams = sim_alloc((from->nstreams + 1) * sizeof(struct model_stream *));
    m->objects = sim_alloc((from->nobjects + 1) * sizeof(struct model_object *));
    for (unsigned i = 0; i < from->nstreams; i++)
        m->streams[i] = stream_copy(from->streams[i]);
    for (unsigned i = 0; i < from->nobjects; i++) {
        m->objects[i] = copy_of(from->objects[i], sizeof(struct model_object));
        m->objects[i]->open = false;
    }
    return m;
}

void model_free(struct model *m)
{
    for (unsigned i = 0; i < m->nstreams; i++) {
        free(m->streams[i]->limits);
        free(m->streams[i]->msgs);
        free(m->streams[i]);
    }
    for (unsigned i = 0; i < m->nobjects; i++)
        free(m->objects[i]);
    free(m->streams);
    free(m->objects);
    free(m);
}

struct model_stream *model_stream_add(struct model *m, enum store_level level, uint64_t first)
{
    struct model_stream *s = sim_alloc(sizeof(*s));
    s->key = m->nstreams;
    s->level = level;
    s->first = first;
    s->committed = first - 1;
    s->floor = first - 1;
    s->limits = sim_alloc(sizeof(*s->limits));
    m->streams = sim_grow(m->streams, (m->nstreams + 1) * sizeof(struct model_stream *));
    m->streams[m->nstreams++] = s;
    return s;
}

struct model_stream *model_stream_by_id(struct model *m, store_object_id id)
{
    for (unsigned i = 0; i < m->nstreams; i++) {
        if (m->streams[i]->id == id)
            return m->streams[i];
    }
    return NULL;
}

struct model_object *model_object_add(struct model *m)
{
    struct model_object *o = sim_alloc(sizeof(*o));
    o->key = MODEL_OBJECT_KEY + m->nobjects;
    m->objects = sim_grow(m->objects, (m->nobjects + 1) * sizeof(struct model_object *));
    m->objects[m->nobjects++] = o;
    return o;
}

struct model_object *model_object_by_id(struct model *m, store_object_id id)
{
    for (unsigned i = 0; i < m->nobjects; i++) {
        if (m->objects[i]->id == id)
            return m->objects[i];
    }
    return NULL;
}

bool model_object_below(const struct model_object *o, const struct model_stream *s)
{
    return o->parent == s->key + 1;
}

/* ---- messages -------------------------------------------------------------------------------- */

struct model_msg *model_msg(const struct model_stream *s, uint64_t seq)
{
    return seq >= s->first && seq - s->first < s->n ? &s->msgs[seq - s->first] : NULL;
}

struct model_msg *model_msg_add(struct model_stream *s)
{
    if (s->n == s->cap) {
        s->cap = s->cap == 0 ? 64 : 2 * s->cap;
        s->msgs = sim_grow(s->msgs, s->cap * sizeof(*s->msgs));
    }
    struct model_msg *m = &s->msgs[s->n++];
    *m = (struct model_msg){0};
    return m;
}

void model_cut(struct model_stream *s, uint64_t last)
{
    ASSERT(last + 1 >= s->first && last <= model_last(s));
    s->n = last + 1 - s->first;
}

bool model_live(const struct model_msg *m)
{
    return (m->flags & (MSG_COMMITTED | MSG_GONE)) == MSG_COMMITTED;
}

uint64_t model_next_live(const struct model_stream *s, uint64_t seq, struct str filter)
{
    char text[MODEL_SUBJECT];
    for (seq = seq < s->first ? s->first : seq; seq <= model_last(s); seq++) {
        const struct model_msg *m = model_msg(s, seq);
        if (model_live(m) &&
            (filter.n == 0 || subject_matches(model_subject(s, m->subject, text), filter)))
            return seq;
    }
    return 0;
}

/* "s3.1.x14": streams differ in the first token, filters can bind the second or the third. */
struct str model_subject(const struct model_stream *s, unsigned i, char out[MODEL_SUBJECT])
{
    char *p = out;

    *p++ = 's';
    p += fmt_u64(p, s->key);
    *p++ = '.';
    *p++ = (char) ('0' + i % 3);
    *p++ = '.';
    *p++ = 'x';
    p += fmt_u64(p, i);
    return str_from(out, (size_t) (p - out));
}

static void fill(char *out, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = hash_mix(seed + i, 0x9e3779b97f4a7c15u);
        memcpy(out + i, &word, n - i < 8 ? n - i : 8);
    }
}

size_t model_msg_size(const struct model_msg *m)
{
    return MODEL_SUBJECT + (size_t) m->header + m->payload;
}

void model_msg_render(const struct model_stream *s, const struct model_msg *m, char *out,
                      struct store_append *a)
{
    a->subject = model_subject(s, m->subject, out);
    a->header = str_from(out + MODEL_SUBJECT, m->header);
    a->payload = str_from(out + MODEL_SUBJECT + m->header, m->payload);
    a->ts = m->ts;
    a->flags = 0;
    fill(out + MODEL_SUBJECT, m->header, m->seed);
    fill(out + MODEL_SUBJECT + m->header, m->payload, m->seed + 77);
}

const char *model_msg_differs(const struct model_stream *s, uint64_t seq,
                              const struct store_msg *got)
{
    const struct model_msg *m = model_msg(s, seq);
    const char *why = NULL;
    struct store_append want;
    if (got->seq != seq)
        return "another sequence";
    if (m == NULL)
        return "a sequence that was never assigned";
    if ((m->flags & MSG_SKIP) != 0)
        return "a sequence that was skipped";
    char *bytes = sim_alloc(model_msg_size(m));
    model_msg_render(s, m, bytes, &want);
    if (!str_eq(want.subject, got->subject))
        why = "another subject";
    else if (!str_eq(want.header, got->header))
        why = "another header";
    else if (!str_eq(want.payload, got->payload))
        why = "another payload";
    else if (want.ts != got->ts)
        why = "another time";
    free(bytes);
    return why;
}

uint64_t model_msg_bytes(const struct model_stream *s, const struct model_msg *m)
{
    if (m->share != 0)
        return m->share;
    size_t subject = strlen("s.0.x") + fmt_u64_len(s->key) + fmt_u64_len(m->subject);

    return store_msg_bytes(s->level, subject, m->header, m->payload);
}

/* ---- limits ---------------------------------------------------------------------------------- */

void model_limits_allow(const struct model_stream *s, const struct store_limits *l, int64_t wall,
                        const bool *live, bool *allowed)
{
    uint64_t count = 0, bytes = 0;
    uint64_t *per_subject = sim_alloc((s->subjects + 1) * sizeof(*per_subject));
    for (uint64_t i = s->n; i-- > 0;) {
        const struct model_msg *m = &s->msgs[i];
        uint64_t size = (m->flags & MSG_SKIP) != 0 ? 0 : model_msg_bytes(s, m);
        allowed[i] = (l->max_msgs != 0 && count >= l->max_msgs) ||
                     (l->max_bytes != 0 && bytes + size > l->max_bytes) ||
                     (l->max_msgs_per_subject != 0 &&
                      per_subject[m->subject] >= l->max_msgs_per_subject) ||
                     (l->max_age_ns != 0 && m->ts + l->max_age_ns <= wall);
        if (live[i]) {
            count++;
            bytes += size;
            per_subject[m->subject]++;
        }
    }
    free(per_subject);
}

const char *model_limits_exceeded(const struct model_stream *s, const struct store_limits *l,
                                  const bool *live)
{
    uint64_t count = 0, bytes = 0;
    const char *why = NULL;
    uint64_t *per_subject = sim_alloc((s->subjects + 1) * sizeof(*per_subject));
    for (uint64_t i = 0; i < s->n; i++) {
        if (!live[i])
            continue;
        count++;
        bytes += model_msg_bytes(s, &s->msgs[i]);
        if (++per_subject[s->msgs[i].subject] > l->max_msgs_per_subject &&
            l->max_msgs_per_subject != 0)
            why = "messages per subject";
    }
    free(per_subject);
    if (l->max_msgs != 0 && count > l->max_msgs)
        why = "messages";
    /* One message may be larger than the limit: then it is alone. */
    if (l->max_bytes != 0 && bytes > l->max_bytes && count > 1)
        why = "bytes";
    return why;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* Record: u64 key, u64 previous version (0 = a full record), u64 version, u32 filling, filling. */
enum { VALUE_HEADER = 28 };

static size_t filling_of(unsigned key, uint64_t version)
{
    uint64_t h = hash_mix(key + 1, version + 0x9e3779b97f4a7c15u);
    return (size_t) (h % 8 == 0 ? h / 8 % 3000 : h / 8 % 60);
}

static void put_value(struct buf *out, unsigned key, uint64_t previous, uint64_t version)
{
    size_t n = filling_of(key, version);
    char *p = buf_reserve(out, VALUE_HEADER + n);
    put_u64(p, key);
    put_u64(p + 8, previous);
    put_u64(p + 16, version);
    put_u32(p + 24, (uint32_t) n);
    fill(p + VALUE_HEADER, n, version ^ key);
    out->n += VALUE_HEADER + n;
}

void model_full(struct buf *out, unsigned key, uint64_t version)
{
    put_value(out, key, 0, version);
}

void model_delta(struct buf *out, unsigned key, uint64_t previous, uint64_t version)
{
    put_value(out, key, previous, version);
}

static const char *read_one(unsigned key, struct str r, uint64_t previous, uint64_t *version)
{
    char want[4096];
    if (r.n < VALUE_HEADER || get_u32(r.p + 24) != r.n - VALUE_HEADER || r.n > sizeof(want))
        return "a record of the wrong length";
    if (get_u64(r.p) != key)
        return "a record of another object";
    if (get_u64(r.p + 8) != previous)
        return "a chain with a missing or doubled record";
    *version = get_u64(r.p + 16);
    fill(want, r.n - VALUE_HEADER, *version ^ key);
    return memcmp(want, r.p + VALUE_HEADER, r.n - VALUE_HEADER) == 0 ? NULL : "damaged bytes";
}

const char *model_value_read(unsigned key, struct str full, const struct str *deltas,
                             unsigned ndeltas, uint64_t *version)
{
    const char *why = read_one(key, full, 0, version);
    for (unsigned i = 0; i < ndeltas && why == NULL; i++)
        why = read_one(key, deltas[i], *version, version);
    return why;
}

bool model_value_valid(const struct model_value *v, uint64_t version)
{
    return version == v->acked ||
           (version >= v->lineage && version > v->acked && version <= v->submitted);
}

uint64_t model_value_next(struct model_value *v)
{
    v->current = ++v->submitted;
    return v->current;
}

void model_value_adopt(struct model_value *v, uint64_t version)
{
    v->acked = v->current = version;
    v->lineage = v->submitted + 1;
}
