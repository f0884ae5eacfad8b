/*
 * partition.c - see partition.h.
 *
 * Producers are read back from the last READ_BACK bytes of the stream: what a producer sends again
 * after a crash of the server is what it had not heard of, its last five batches at most. One whose
 * last batch lies further back is unknown, and may begin with any number, as Kafka's that have
 * expired.
 *
 * Where a request removes messages (deletion, purge, DeleteRecords), the producers' numbers are
 * first added to the stream's memo (stream_memo.h), which is durable before the removal is. What it
 * says is taken first at a start, and the batches behind it are read. Batches of which it does not
 * speak have not been removed by a request: limits take the oldest ones, compaction leaves each
 * producer's last.
 */
#include "server/kafka/partition.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/wire/kafka_batch.h"
#include "server/js/stream_memo.h"

#include <string.h>

#define READ_BACK (32u << 20)

static void tell(struct list *jobs, bool ok)
{
    struct list now, *l;

    list_init(&now);
    list_splice(&now, jobs);
    while ((l = list_pop_front(&now)) != NULL) {
        struct partition_job *j = LIST_ENTRY(l, struct partition_job, link);
        j->wake(j, ok);
    }
}

/* ---- what the stream tells ------------------------------------------------------------------- */

void partition_bounds(const struct partition *p, uint64_t *first, uint64_t *last)
{
    struct store_state state;

    store_stream_state(p->store, &state);
    *first = state.first_seq;
    *last = state.last_seq;
}

static void committed(struct stream_follower *f)
{
    struct partition *p = CONTAINER_OF(f, struct partition, follower);
    uint64_t first, last;
    struct list *l;

    partition_bounds(p, &first, &last);
    partition_txns_committed(p, last);
    while ((l = list_first(&p->waits)) != NULL) {
        struct partition_job *j = LIST_ENTRY(l, struct partition_job, link);
        if (j->seq > last)
            break;
        list_remove(&j->link);
        j->wake(j, true);
    }
    tell(&p->watches, true);
}

static void refused(struct stream_follower *f)
{
    struct partition *p = CONTAINER_OF(f, struct partition, follower);
    uint64_t first, last;

    partition_bounds(p, &first, &last);
    producers_forget(&p->producers, last);
    partition_txns_refused(p, last);
    tell(&p->waits, false);
}

static void removed(struct stream_follower *f)
{
    partition_txns_removed(CONTAINER_OF(f, struct partition, follower));
}

static void end_jobs(struct list *jobs)
{
    struct list *l;

    while ((l = list_pop_front(jobs)) != NULL) {
        struct partition_job *j = LIST_ENTRY(l, struct partition_job, link);
        j->gone(j);
    }
}

static void partition_free(struct partition *p)
{
    hmap_remove(&p->realm->partitions, &p->node);
    end_jobs(&p->waits);
    end_jobs(&p->watches);
    end_jobs(&p->parked);
    end_jobs(&p->txns.parked);
    end_jobs(&p->busy);
    if (p->known == PRODUCERS_READING)
        store_reader_deinit(&p->reader);
    else if (p->known == PRODUCERS_READY)
        stream_memo_own(p->stream, NULL, NULL);
    producers_deinit(&p->producers);
    partition_txns_deinit(p);
    mem_free(p);
}

static void gone(struct stream_follower *f)
{
    partition_free(CONTAINER_OF(f, struct partition, follower));
}

/* ---- finding --------------------------------------------------------------------------------- */

static uint64_t hash_of(struct str name)
{
    return hash_bytes(name.p, name.n, 0);
}

static struct partition *partition_new(struct realm *realm, struct str name)
{
    struct partition *p = mem_zalloc(sizeof(*p) + name.n + 1);

    memcpy(p->name, name.p, name.n);
    p->kafka = realm->kafka;
    p->realm = realm;
    p->follower = (struct stream_follower){
        .committed = committed, .refused = refused, .removed = removed, .gone = gone};
    list_init(&p->follower.link);
    list_init(&p->waits);
    list_init(&p->watches);
    list_init(&p->parked);
    list_init(&p->busy);
    p->stream = stream_follow(realm->kafka->env, realm->account, name, &p->follower);
    if (p->stream == NULL) {
        mem_free(p);
        return NULL;
    }
    p->store = stream_store(p->stream);
    producers_init(&p->producers);
    partition_txns_init(p);
    hmap_insert(&realm->partitions, &p->node, hash_of(name));
    return p;
}

struct partition *partition_known(const struct realm *realm, struct str stream_name)
{
    uint64_t h = hash_of(stream_name);

    for (struct hmap_node *n = hmap_first(&realm->partitions, h); n != NULL; n = hmap_next(n, h)) {
        struct partition *p = CONTAINER_OF(n, struct partition, node);
        if (str_eq(str_of(p->name), stream_name))
            return p;
    }
    return NULL;
}

bool partition_env_stops(const struct env *env)
{
    return env->kafka == NULL || env->kafka->stopping;
}

struct partition *partition_get(struct realm *realm, struct str stream_name)
{
    struct partition *p = partition_known(realm, stream_name);

    return p != NULL ? p : partition_new(realm, stream_name);
}

void partitions_close(struct realm *realm)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&realm->partitions, &it)) != NULL) {
        struct partition *p = CONTAINER_OF(n, struct partition, node);
        stream_unfollow(&p->follower);
        partition_free(p);
    }
    hmap_deinit(&realm->partitions);
}

bool partition_find(struct realm *realm, struct kafka_arena *arena, struct str topic, int32_t index,
                    struct topic_place *place, struct str *stream_name)
{
    struct buf name = {0};

    if (!topics_partition(realm->topics, topic, index, place) || place->worker == TOPIC_NOWHERE)
        return false;
    topic_stream_name(&name, topic, index);
    *stream_name = kafka_arena_str(arena, buf_str(&name));
    buf_free(&name);
    return true;
}

/* ---- waiting --------------------------------------------------------------------------------- */

bool partition_wait(struct partition *p, struct partition_job *j)
{
    uint64_t first, last;
    struct list *at = p->waits.prev;

    partition_bounds(p, &first, &last);
    if (j->seq <= last)
        return true;
    /* A duplicate waits for an earlier one. */
    while (at != &p->waits && LIST_ENTRY(at, struct partition_job, link)->seq > j->seq)
        at = at->prev;
    list_push_front(at, &j->link);
    return false;
}

/* ---- producers ------------------------------------------------------------------------------- */

static void note(struct partition *p, const struct store_entry *e)
{
    struct kafka_batch b;

    if (!e->kafka || kafka_batch_open(e->batch, &b) != KAFKA_BATCH_OK || b.producer_id < 0)
        return;
    if ((b.attributes & KAFKA_CONTROL) != 0) {
        producers_fence(&p->producers, b.producer_id, b.producer_epoch);
        return;
    }
    producers_note(&p->producers, &(struct producer_batch){.producer = b.producer_id,
                                                           .epoch = b.producer_epoch,
                                                           .first = b.base_sequence,
                                                           .count = b.last_offset_delta + 1,
                                                           .seq = e->first_seq,
                                                           .read_back = true});
}

static void render(void *ctx, uint64_t durable, struct buf *out)
{
    struct partition *p = ctx;

    producers_put(&p->producers, durable, true, out);
}

static void are_known(struct partition *p)
{
    uint64_t first, last;

    partition_bounds(p, &first, &last);
    producers_doubt(&p->producers, first, p->memo_through);
    p->known = PRODUCERS_READY;
    stream_memo_own(p->stream, render, p);
    tell(&p->parked, true);
}

static void read_back(struct store_reader *r)
{
    struct partition *p = r->ctx;
    struct store_entry e;
    enum store_read got;

    while ((got = store_reader_entry(r, &e)) == STORE_READ_MSG)
        note(p, &e);
    if (got == STORE_READ_WAIT)
        return;
    store_reader_deinit(r);
    are_known(p);
}

/* Takes what the memo says, and returns where reading begins; 0: there is nothing to be read. */
static uint64_t take_memo(struct partition *p)
{
    uint64_t tail = store_stream_tail(p->store, READ_BACK), next;
    struct str memo = stream_memo_text(p->stream);

    if (!producers_take(&p->producers, memo, &p->memo_through))
        LOG_ERR(p->kafka->env->log, "Kafka: what was written down of producers of '%s' is damaged",
                p->name);
    next = store_seq_of_kafka(p->store, p->memo_through + 1);
    if (next == 0 || next >= tail)
        return next;
    /* Not all that it does not tell of is read: then it is as if it were not there. */
    producers_deinit(&p->producers);
    producers_init(&p->producers);
    return store_seq_of_kafka(p->store, tail);
}

static void begin_reading(struct partition *p)
{
    uint64_t from = take_memo(p);

    if (from == 0) {
        are_known(p);
        return;
    }
    p->known = PRODUCERS_READING;
    store_reader_init(&p->reader, p->store, from, NULL, 0, read_back, p);
    read_back(&p->reader);
}

bool partition_know_producers(struct partition *p, struct partition_job *j)
{
    if (p->known == PRODUCERS_READY)
        return true;
    if (p->known == PRODUCERS_UNREAD)
        begin_reading(p);
    if (p->known == PRODUCERS_READY)
        return true;
    list_push_back(&p->parked, &j->link);
    return false;
}

/* ---- before a removal ------------------------------------------------------------------------ */

struct removal {
    struct partition_job job;
    void (*go_on)(void *ctx);
    void *ctx;
};

static void write_down(struct partition *p)
{
    struct buf out = {0};
    uint64_t first, last;

    partition_bounds(p, &first, &last);
    if (producers_put(&p->producers, last, false, &out))
        stream_memo_add(p->stream, buf_str(&out));
    buf_free(&out);
}

static void removal_goes_on(struct partition_job *j)
{
    struct removal *x = CONTAINER_OF(j, struct removal, job);

    x->go_on(x->ctx);
    mem_free(x);
}

static void removal_known(struct partition_job *j, bool ok)
{
    (void) ok;
    removal_goes_on(j);
}

/* Who waited comes here again. */
bool partition_before_removal(struct env *env, const struct account *a, struct str stream,
                              void (*go_on)(void *ctx), void *ctx)
{
    struct realm *realm = env->kafka->stopping ? NULL : realm_of(env->kafka, a);
    struct partition *p = realm != NULL ? partition_get(realm, stream) : NULL;
    struct removal *x;

    if (p == NULL)
        return true;
    x = mem_zalloc(sizeof(*x));
    *x = (struct removal){
        .job = {.wake = removal_known, .gone = removal_goes_on}, .go_on = go_on, .ctx = ctx};
    list_init(&x->job.link);
    if (!partition_know_producers(p, &x->job))
        return false;
    mem_free(x);
    write_down(p);
    return true;
}
