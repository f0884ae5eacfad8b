/* compact_core.c - see compact_core.h. */
#include "server/kafka/compact_core.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/wire/kafka_batch.h"
#include "lib/wire/kafka_bytes.h"
#include "lib/wire/kafka_compress.h"
#include "server/kafka/project.h"

#include <openssl/evp.h>
#include <string.h>

#define CAP_MIN 1024u

struct compact_begin {
    int64_t producer;
    uint64_t seq;
};

void compact_pass_init(struct compact_pass *p, uint64_t seed)
{
    *p = (struct compact_pass){.most_keys = COMPACT_KEYS_MAX, .seed = seed};
}

void compact_pass_deinit(struct compact_pass *p)
{
    mem_free(p->slots);
    mem_free(p->begins);
    seqset_free(&p->gone);
}

/* ---- the table ------------------------------------------------------------------------------- */

static void hash_key(struct str key, uint64_t out[2])
{
    uint8_t sum[EVP_MAX_MD_SIZE];
    int ok = EVP_Digest(key.p, key.n, sum, NULL, EVP_sha256(), NULL);

    ASSERT(ok == 1);
    memcpy(out, sum, 16);
}

/* The key's slot, or the free one where it belongs. There is a free one. */
static struct compact_slot *slot_of(const struct compact_pass *p, const uint64_t hash[2])
{
    uint32_t at = (uint32_t) hash_mix(hash[0] ^ p->seed, hash[1] | 1) & (p->cap - 1);

    while (p->slots[at].seq != 0 &&
           (p->slots[at].hash[0] != hash[0] || p->slots[at].hash[1] != hash[1]))
        at = (at + 1) & (p->cap - 1);
    return &p->slots[at];
}

static void grow(struct compact_pass *p)
{
    struct compact_slot *old = p->slots;
    uint32_t n = p->cap;

    p->cap = n == 0 ? CAP_MIN : n * 2;
    p->slots = mem_zalloc(p->cap * sizeof(*p->slots));
    for (uint32_t i = 0; i < n; i++)
        if (old[i].seq != 0)
            *slot_of(p, old[i].hash) = old[i];
    mem_free(old);
}

/* False: the table is full. */
static bool put_key(struct compact_pass *p, struct str key, uint64_t seq)
{
    uint64_t hash[2];
    struct compact_slot *slot;

    if (p->cap == 0 || (uint64_t) p->nkeys * 4 >= (uint64_t) p->cap * 3)
        grow(p);
    hash_key(key, hash);
    slot = slot_of(p, hash);
    if (slot->seq == 0 && p->nkeys >= p->most_keys)
        return false;
    p->nkeys += slot->seq == 0;
    *slot = (struct compact_slot){{hash[0], hash[1]}, seq};
    return true;
}

/* Is there a later message of this key? */
static bool is_superseded(const struct compact_pass *p, struct str key, uint64_t seq)
{
    uint64_t hash[2];

    if (p->nkeys == 0)
        return false;
    hash_key(key, hash);
    return slot_of(p, hash)->seq > seq;
}

/* ---- messages -------------------------------------------------------------------------------- */

struct visit {
    struct compact_pass *p;
    const struct compact_entry *e;
    /* One of its messages; false: stop. */
    bool (*one)(const struct visit *v, uint64_t seq, const struct kafka_record *r);
};

static bool is_hole(const struct compact_entry *e, uint64_t seq)
{
    uint64_t i = seq - e->first_seq;

    return e->holes != NULL && (e->holes[i / 64] >> (i % 64) & 1) != 0;
}

static bool visit_batch(const struct visit *v, const struct kafka_batch *b)
{
    struct kafka_room room = {0};
    struct kafka_record_iter it;
    struct kafka_record r;
    struct str records;
    bool on = true;

    if (kafka_batch_records(b, KAFKA_PLAIN_MAX, &room, &records) == ERR_OK) {
        kafka_record_iter_init(&it, b, records);
        while (on && kafka_record_iter_next(&it, &r)) {
            uint64_t seq = (uint64_t) r.offset + 1;
            if (seq >= v->e->first_seq && seq - v->e->first_seq < v->e->messages &&
                !is_hole(v->e, seq))
                on = v->one(v, seq, &r);
        }
    }
    kafka_room_free(&room);
    return on;
}

static bool visit_message(const struct visit *v)
{
    struct store_msg m = {
        .seq = v->e->first_seq, .header = v->e->header, .payload = str_from("", v->e->payload)};
    struct buf scratch = {0};
    struct kafka_record r;
    bool on;

    if (v->e->header.n == 0)
        return true;
    project_message(&m, STR_NONE, &scratch, &r);
    on = v->one(v, m.seq, &r);
    buf_free(&scratch);
    return on;
}

/* ---- first: the last of each key ------------------------------------------------------------- */

static bool note_one(const struct visit *v, uint64_t seq, const struct kafka_record *r)
{
    if (r->key.p == NULL || put_key(v->p, r->key, seq))
        return true;
    v->p->full = seq;
    return false;
}

bool compact_note(struct compact_pass *p, const struct compact_entry *e)
{
    struct visit v = {p, e, note_one};
    struct kafka_batch b;

    if (!e->kafka)
        return visit_message(&v);
    if (e->aborted || kafka_batch_open(e->batch, &b) != KAFKA_BATCH_OK ||
        (b.attributes & KAFKA_CONTROL) != 0)
        return true;
    return visit_batch(&v, &b);
}

/* ---- then: what goes ------------------------------------------------------------------------- */

static bool look_at_one(const struct visit *v, uint64_t seq, const struct kafka_record *r)
{
    struct compact_pass *p = v->p;
    bool goes;

    if (r->key.p == NULL || (v->e->keep_last && seq - v->e->first_seq + 1 == v->e->messages))
        return true;
    goes = is_superseded(p, r->key, seq);
    if (!goes && r->value.p == NULL) {
        goes = seq < p->horizon;
        p->waiting += !goes;
    }
    if (goes)
        seqset_add(&p->gone, seq, seq);
    return true;
}

static void note_begin(struct compact_pass *p, int64_t producer, uint64_t seq)
{
    if (p->nbegins == p->begins_cap) {
        p->begins_cap = p->begins_cap * 2 + 8;
        p->begins = mem_realloc(p->begins, p->begins_cap * sizeof(*p->begins));
    }
    p->begins[p->nbegins++] = (struct compact_begin){producer, seq};
}

/* All of its beginnings are those of one transaction: a new one begins behind the end. */
static void end_begins(struct compact_pass *p, int64_t producer, bool go)
{
    size_t n = 0;

    for (size_t i = 0; i < p->nbegins; i++)
        if (p->begins[i].producer != producer)
            p->begins[n++] = p->begins[i];
        else if (go)
            seqset_add(&p->gone, p->begins[i].seq, p->begins[i].seq);
    p->nbegins = n;
}

/* What a marker says: see partition_txn.c. */
static void look_at_marker(struct compact_pass *p, const struct compact_entry *e,
                           const struct kafka_batch *b)
{
    struct kafka_record_iter it;
    struct kafka_record r;

    kafka_record_iter_init(&it, b, b->records);
    if (e->messages != 1 || is_hole(e, e->first_seq) || !kafka_record_iter_next(&it, &r) ||
        r.value.n < 6)
        return;
    if ((int32_t) kafka_get_u32(r.value.p + 2) > 0) {
        note_begin(p, b->producer_id, e->first_seq);
        return;
    }
    bool go = e->first_seq < p->horizon;
    end_begins(p, b->producer_id, go);
    if (go)
        seqset_add(&p->gone, e->first_seq, e->first_seq);
    p->waiting += !go;
}

void compact_look(struct compact_pass *p, const struct compact_entry *e)
{
    struct visit v = {p, e, look_at_one};
    struct kafka_batch b;

    if (!e->kafka)
        (void) visit_message(&v);
    else if (e->aborted)
        seqset_add(&p->gone, e->first_seq, e->first_seq + e->messages - 1);
    else if (kafka_batch_open(e->batch, &b) != KAFKA_BATCH_OK)
        return;
    else if ((b.attributes & KAFKA_CONTROL) != 0)
        look_at_marker(p, e, &b);
    else
        (void) visit_batch(&v, &b);
}
