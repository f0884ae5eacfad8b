/*
 * Bytes on their way out, in a list of chunks.
 *
 * Every chunk is as big as all before it together, from 1 KiB to 64 KiB. What is reserved lies in
 * one chunk, so the end of a chunk may stay unused; what is put is cut there.
 */
#include "lib/base/assert.h"
#include "server/core/sink.h"

#include <string.h>

#define CHUNK_MIN 1024u
#define CHUNK_MAX 65536u

static uint32_t room(const struct outbuf *o)
{
    return o->tail != NULL ? o->tail->cap - o->tail->len : 0;
}

/* As much as there is already, so that a buffer has few chunks and wastes little; behind a view
 * comes the end of one message and the line of the next. */
static size_t next_size(const struct outbuf *o, size_t n)
{
    bool view = o->tail != NULL && o->tail->of != NULL;
    size_t size = o->bytes < CHUNK_MIN || view ? CHUNK_MIN : o->bytes;

    if (size > CHUNK_MAX)
        size = CHUNK_MAX;
    return size > n ? size : n;
}

static void append(struct outbuf *o, struct chunk *c)
{
    if (o->tail != NULL)
        o->tail->next = c;
    else
        o->head = c;
    o->tail = c;
}

static bool add_chunk(struct outbuf *o, struct chunk_pool *pool, size_t n)
{
    struct chunk *c = chunk_alloc(pool, next_size(o, n));

    if (c == NULL)
        return false;
    c->next = NULL;
    append(o, c);
    return true;
}

uint8_t *outbuf_grow(struct outbuf *o, struct chunk_pool *pool, size_t n)
{
    ASSERT(n <= CHUNK_MAX);
    if (!add_chunk(o, pool, n))
        return NULL;
    return o->tail->data;
}

/* Takes back what was appended behind `tail` (its old length len); NULL tail: everything. */
static void cut_back(struct outbuf *o, struct chunk_pool *pool, struct chunk *tail, uint32_t len)
{
    struct chunk *c = tail != NULL ? tail->next : o->head;

    while (c != NULL) {
        struct chunk *next = c->next;
        o->bytes -= c->len;
        chunk_put(c, pool);
        c = next;
    }
    if (tail == NULL) {
        o->head = o->tail = NULL;
        return;
    }
    o->bytes -= tail->len - len;
    tail->len = len;
    tail->next = NULL;
    o->tail = tail;
}

bool outbuf_put(struct outbuf *o, struct chunk_pool *pool, const void *bytes, size_t n)
{
    struct chunk *tail = o->tail;
    uint32_t len = tail != NULL ? tail->len : 0;
    const uint8_t *from = bytes;

    while (n > 0) {
        uint32_t now = room(o);
        if (now == 0) {
            if (!add_chunk(o, pool, n < CHUNK_MAX ? n : CHUNK_MAX)) {
                cut_back(o, pool, tail, len);
                return false;
            }
            now = room(o);
        }
        if (now > n)
            now = (uint32_t) n;
        memcpy(o->tail->data + o->tail->len, from, now);
        outbuf_commit(o, now);
        from += now;
        n -= now;
    }
    return true;
}

bool outbuf_put_view(struct outbuf *o, struct chunk_pool *pool, struct chunk *of, const void *bytes,
                     size_t n)
{
    struct chunk *c = chunk_view(pool, of, bytes, (uint32_t) n);

    if (c == NULL)
        return false;
    append(o, c);
    o->bytes += n;
    return true;
}

unsigned outbuf_move(struct outbuf *to, struct outbuf *from, unsigned most, uint64_t bytes)
{
    unsigned n = 0;

    while (from->head != NULL && n < most && to->bytes < bytes) {
        struct chunk *k = from->head;
        from->head = k->next;
        if (from->head == NULL)
            from->tail = NULL;
        k->next = NULL;
        from->bytes -= k->len;
        if (to->tail != NULL)
            to->tail->next = k;
        else
            to->head = k;
        to->tail = k;
        to->bytes += k->len;
        n++;
    }
    return n;
}

void outbuf_splice(struct outbuf *to, struct outbuf *from)
{
    if (from->head == NULL)
        return;
    if (to->tail != NULL)
        to->tail->next = from->head;
    else
        to->head = from->head;
    to->tail = from->tail;
    to->bytes += from->bytes;
    *from = (struct outbuf){0};
}

void outbuf_free(struct outbuf *o, struct chunk_pool *pool)
{
    struct chunk *c = o->head;

    while (c != NULL) {
        struct chunk *next = c->next;
        chunk_put(c, pool);
        c = next;
    }
    *o = (struct outbuf){0};
}

void outbuf_check(const struct outbuf *o)
{
    uint64_t bytes = 0;
    const struct chunk *last = NULL;

    for (const struct chunk *c = o->head; c != NULL; c = c->next) {
        ASSERT(c->len <= c->cap);
        bytes += c->len;
        last = c;
    }
    ASSERT(last == o->tail && bytes == o->bytes);
}
