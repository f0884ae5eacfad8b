/* producers.c - see producers.h. */
#include "server/kafka/producers.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"

struct kept {
    int32_t first, last;
    uint64_t seq;
};

struct producer {
    struct hmap_node node;
    struct list link; /* producers->recent */
    int64_t id;
    int16_t epoch;
    bool read_back; /* there may have been batches between and before those that are known */
    bool expects;   /* n == 0: only the batch with the number `next` is new */
    bool written;   /* all that is known of it is in a part of the record */
    int32_t next;
    unsigned n;
    struct kept kept[PRODUCERS_BATCHES]; /* oldest first */
};

void producers_init(struct producers *p)
{
    *p = (struct producers){0};
    hmap_init(&p->map);
    list_init(&p->recent);
}

static void drop(struct producers *p, struct producer *x)
{
    hmap_remove(&p->map, &x->node);
    list_remove(&x->link);
    p->n--;
    mem_free(x);
}

void producers_deinit(struct producers *p)
{
    struct list *l;

    while ((l = list_first(&p->recent)) != NULL)
        drop(p, LIST_ENTRY(l, struct producer, link));
    hmap_deinit(&p->map);
}

static uint64_t hash_of(int64_t id)
{
    return hash_bytes(&id, sizeof(id), 0);
}

static struct producer *find(const struct producers *p, int64_t id)
{
    uint64_t h = hash_of(id);

    for (struct hmap_node *n = hmap_first(&p->map, h); n != NULL; n = hmap_next(n, h))
        if (CONTAINER_OF(n, struct producer, node)->id == id)
            return CONTAINER_OF(n, struct producer, node);
    return NULL;
}

/* The number n behind this one. */
static int32_t behind(int32_t first, int32_t n)
{
    return (int32_t) (((uint32_t) first + (uint32_t) n) & INT32_MAX);
}

/* What a producer has under way is no more than that. */
#define UNDER_WAY_MOST (1 << 20)
static bool is_before(int32_t a, int32_t b)
{
    uint32_t distance = ((uint32_t) b - (uint32_t) a) & INT32_MAX;

    return distance > 0 && distance < UNDER_WAY_MOST;
}

/* Where something was, and nothing is known any more: in front of the rest, or between. */
static bool was_stored(const struct producer *x, int32_t first, int32_t last)
{
    if (!x->read_back)
        return false;
    if (is_before(last, x->kept[0].first))
        return x->kept[0].first != 0 && x->n < PRODUCERS_BATCHES;
    for (unsigned i = 1; i < x->n; i++)
        if (is_before(x->kept[i - 1].last, first) && is_before(last, x->kept[i].first))
            return true;
    return false;
}

enum producers_verdict producers_check(const struct producers *p, struct producer_batch *b)
{
    const struct producer *x = find(p, b->producer);
    int32_t last = behind(b->first, b->count - 1);

    if (x == NULL)
        return PRODUCERS_NEW;
    if (b->epoch < x->epoch)
        return PRODUCERS_OLD_EPOCH;
    if (x->n == 0)
        return x->expects && b->epoch == x->epoch && b->first != x->next ? PRODUCERS_OUT_OF_ORDER
                                                                         : PRODUCERS_NEW;
    if (b->epoch > x->epoch)
        return b->first == 0 ? PRODUCERS_NEW : PRODUCERS_OUT_OF_ORDER;
    for (unsigned i = 0; i < x->n; i++)
        if (x->kept[i].first == b->first && x->kept[i].last == last) {
            b->seq = x->kept[i].seq;
            return PRODUCERS_DUPLICATE;
        }
    b->follows = b->first == behind(x->kept[x->n - 1].last, 1);
    if (b->follows)
        return PRODUCERS_NEW;
    return was_stored(x, b->first, last) ? PRODUCERS_WAS_STORED : PRODUCERS_OUT_OF_ORDER;
}

static struct producer *add(struct producers *p, int64_t id)
{
    struct producer *x = mem_zalloc(sizeof(*x));

    if (p->n == PRODUCERS_MAX)
        drop(p, LIST_ENTRY(p->recent.prev, struct producer, link));
    x->id = id;
    hmap_insert(&p->map, &x->node, hash_of(id));
    list_push_front(&p->recent, &x->link);
    p->n++;
    return x;
}

void producers_note(struct producers *p, const struct producer_batch *b)
{
    struct producer *x = find(p, b->producer);

    if (x == NULL)
        x = add(p, b->producer);
    list_remove(&x->link);
    list_push_front(&p->recent, &x->link);
    if (x->epoch != b->epoch)
        x->n = 0;
    if (x->n == 0)
        x->read_back = b->read_back;
    x->epoch = b->epoch;
    x->expects = x->written = false;
    if (x->n == PRODUCERS_BATCHES) {
        for (unsigned i = 1; i < x->n; i++)
            x->kept[i - 1] = x->kept[i];
        x->n--;
    }
    x->kept[x->n++] = (struct kept){b->first, behind(b->first, b->count - 1), b->seq};
}

/* Nothing is known of it but which batch comes next. */
static void expect(struct producer *x, int16_t epoch, int32_t next)
{
    x->epoch = epoch;
    x->n = 0;
    x->read_back = false;
    x->expects = true;
    x->next = next;
}

void producers_refuse(struct producers *p, const struct producer_batch *b)
{
    struct producer *x = find(p, b->producer);

    if (x == NULL)
        x = add(p, b->producer);
    else if (x->n > 0 || (x->expects && x->epoch == b->epoch))
        return;
    expect(x, b->epoch, b->first);
}

void producers_list(const struct producers *p, struct producer_state *out)
{
    LIST_FOREACH(l, &p->recent)
    {
        const struct producer *x = LIST_ENTRY(l, struct producer, link);
        const struct kept *k = x->n > 0 ? &x->kept[x->n - 1] : NULL;
        *out++ = (struct producer_state){.id = x->id,
                                         .epoch = x->epoch,
                                         .last = k != NULL ? k->last : -1,
                                         .last_seq = k != NULL ? k->seq : 0};
    }
}

bool producers_need(const struct producers *p, int64_t producer, uint64_t seq, uint64_t durable)
{
    const struct producer *x = find(p, producer);

    if (x == NULL || x->n == 0)
        return false;
    for (unsigned i = x->n; i > 0; i--)
        if (x->kept[i - 1].seq <= durable)
            return x->kept[i - 1].seq == seq;
    return true;
}

void producers_fence(struct producers *p, int64_t producer, int16_t epoch)
{
    struct producer *x = find(p, producer);

    if (x == NULL || x->epoch >= epoch)
        return;
    x->epoch = epoch;
    x->n = 0;
    x->expects = x->written = false;
    list_remove(&x->link);
    list_push_front(&p->recent, &x->link);
}

void producers_doubt(struct producers *p, uint64_t first, uint64_t through)
{
    LIST_FOREACH_SAFE(l, tmp, &p->recent)
    {
        struct producer *x = LIST_ENTRY(l, struct producer, link);
        const struct kept *k = &x->kept[x->n > 0 ? x->n - 1 : 0];
        if (x->n > 0 && k->seq + (((uint32_t) k->last - (uint32_t) k->first) & INT32_MAX) < first &&
            (!x->written || through + 1 < first))
            drop(p, x);
    }
}

void producers_forget(struct producers *p, uint64_t last_seq)
{
    LIST_FOREACH_SAFE(l, tmp, &p->recent)
    {
        struct producer *x = LIST_ENTRY(l, struct producer, link);
        while (x->n > 0 && x->kept[x->n - 1].seq > last_seq)
            if (--x->n == 0)
                expect(x, x->epoch, x->kept[0].first);
    }
}

/* ---- the record ------------------------------------------------------------------------------ */

#define PART_HEAD 12u
#define ENTRY 26u

static void put_entry(struct buf *out, const struct producer *x, int32_t first, int32_t count,
                      uint64_t seq)
{
    uint8_t e[ENTRY];

    put_u64(e, (uint64_t) x->id);
    put_u16(e + 8, (uint16_t) x->epoch);
    put_u32(e + 10, (uint32_t) first);
    put_u32(e + 14, (uint32_t) count);
    put_u64(e + 18, seq);
    buf_put(out, e, sizeof(e));
}

/* The number of entries. */
static uint32_t put_producer(struct producer *x, uint64_t durable, struct buf *out)
{
    uint32_t n = 0;

    x->written = true;
    for (unsigned i = 0; i < x->n; i++) {
        const struct kept *k = &x->kept[i];
        uint32_t count = ((uint32_t) k->last - (uint32_t) k->first + 1) & INT32_MAX;
        x->written = k->seq + count - 1 <= durable;
        if (!x->written)
            break;
        put_entry(out, x, k->first, (int32_t) count, k->seq);
        n++;
    }
    if (x->n > 0 || x->expects)
        return n;
    put_entry(out, x, 0, 0, 0);
    return 1;
}

bool producers_put(struct producers *p, uint64_t durable, bool all, struct buf *out)
{
    struct list *l = p->recent.next;
    uint8_t head[PART_HEAD];
    size_t at = out->n;
    uint32_t n = 0;

    while (l != &p->recent && (all || !LIST_ENTRY(l, struct producer, link)->written))
        l = l->next;
    if (l == p->recent.next)
        return false;
    put_u64(head, durable);
    buf_put(out, head, sizeof(head));
    for (l = l->prev; l != &p->recent; l = l->prev)
        n += put_producer(LIST_ENTRY(l, struct producer, link), durable, out);
    put_u32(out->p + at + 8, n);
    return true;
}

static bool is_record(struct str record)
{
    while (record.n > 0) {
        if (record.n < PART_HEAD || (record.n - PART_HEAD) / ENTRY < get_u32(record.p + 8))
            return false;
        struct str entries = str_skip(record, PART_HEAD);
        for (uint32_t n = get_u32(record.p + 8); n > 0; n--, entries = str_skip(entries, ENTRY))
            if ((int64_t) get_u64(entries.p) < 0 || (int32_t) get_u32(entries.p + 10) < 0 ||
                (int32_t) get_u32(entries.p + 14) < 0)
                return false;
        record = entries;
    }
    return true;
}

static void take_entry(struct producers *p, const char *e, bool first)
{
    struct producer_batch b = {.producer = (int64_t) get_u64(e),
                               .epoch = (int16_t) get_u16(e + 8),
                               .first = (int32_t) get_u32(e + 10),
                               .count = (int32_t) get_u32(e + 14),
                               .seq = get_u64(e + 18),
                               .read_back = true};
    struct producer *x = find(p, b.producer);

    if (x == NULL)
        x = add(p, b.producer);
    if (first)
        x->n = 0;
    x->epoch = b.epoch;
    if (b.count > 0)
        producers_note(p, &b);
    x->written = true;
}

bool producers_take(struct producers *p, struct str record, uint64_t *through)
{
    *through = 0;
    if (!is_record(record))
        return false;
    while (record.n > 0) {
        uint32_t n = get_u32(record.p + 8);
        int64_t before = -1;
        *through = get_u64(record.p);
        for (record = str_skip(record, PART_HEAD); n > 0; n--) {
            int64_t id = (int64_t) get_u64(record.p);
            take_entry(p, record.p, id != before);
            before = id;
            record = str_skip(record, ENTRY);
        }
    }
    return true;
}
