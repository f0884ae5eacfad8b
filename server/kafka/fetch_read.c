/* fetch_read.c - see fetch_read.h. */
#include "server/kafka/fetch_read.h"

#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/wire/kafka_compress.h"
#include "server/kafka/lent.h"
#include "server/kafka/project.h"

/* A batch of NATS clients' messages, unless one of them is larger. */
#define BUILD_BYTES (60u << 10)
#define BUILD_RECORDS 1000
/* Of a record beyond what a NATS client sent, about. */
#define RECORD_BYTES 24

static struct chunk_pool *pool_of(const struct fetch_read *f)
{
    return f->partition->kafka->env->chunks;
}

/* Takes what it holds. */
static void put_piece(struct fetch_read *f, struct fetch_piece piece)
{
    if (f->npieces == f->pieces_cap) {
        f->pieces_cap = f->pieces_cap * 2 + 8;
        f->pieces = mem_realloc(f->pieces, f->pieces_cap * sizeof(*f->pieces));
    }
    f->pieces[f->npieces++] = piece;
    f->bytes += piece.n;
}

/* Takes the reference. */
static void add_piece(struct fetch_read *f, struct chunk *chunk, const void *bytes, size_t n)
{
    put_piece(f, (struct fetch_piece){.chunk = chunk, .bytes = bytes, .n = n});
}

/* ---- batches that are built ------------------------------------------------------------------ */

static void end_building(struct fetch_read *f)
{
    struct chunk *chunk = f->building;

    if (chunk == NULL)
        return;
    f->building = NULL;
    size_t n = kafka_builder_finish(&f->builder, KAFKA_EPOCH, NULL);
    chunk->len = (uint32_t) n;
    add_piece(f, chunk, chunk->data, n);
}

static bool begin_building(struct fetch_read *f, int64_t base, size_t need)
{
    struct chunk *chunk = chunk_alloc(pool_of(f), need > BUILD_BYTES ? need : BUILD_BYTES);

    if (chunk == NULL)
        return false;
    f->building = chunk;
    kafka_builder_open(&f->builder, chunk->data, chunk->cap, base);
    return true;
}

/* False: no memory. */
static bool put_message(struct fetch_read *f, const struct store_msg *m)
{
    struct buf scratch = {0};
    struct kafka_record r;
    bool fits;

    project_message(m, stream_kafka_subject(f->partition->stream), &scratch, &r);
    fits = f->building != NULL && f->builder.count < BUILD_RECORDS &&
           kafka_builder_add(&f->builder, &r);
    if (!fits) {
        end_building(f);
        fits = begin_building(f, r.offset, KAFKA_BATCH_HEADER + kafka_record_bytes_max(&r)) &&
               kafka_builder_add(&f->builder, &r);
    }
    buf_free(&scratch);
    return fits;
}

static bool put_filler(struct fetch_read *f, uint64_t first_seq, uint64_t last_seq, int64_t ts)
{
    struct chunk *chunk = chunk_alloc(pool_of(f), KAFKA_FILLER_BYTES);

    if (chunk == NULL)
        return false;
    chunk->len = (uint32_t) kafka_batch_filler(chunk->data, (int64_t) first_seq - 1,
                                               (int64_t) last_seq - 1, ts / 1000000, KAFKA_EPOCH);
    add_piece(f, chunk, chunk->data, chunk->len);
    return true;
}

static void put_whole(struct fetch_read *f, const struct store_entry *e)
{
    chunk_get(e->chunk);
    add_piece(f, e->chunk, e->batch.p, e->batch.n);
}

/* The batch without the records that are removed. One that is too large to be built anew goes out
 * with them: the others are not to be missed. False: no memory. */
static bool put_rebuilt(struct fetch_read *f, const struct store_entry *e)
{
    struct kafka_batch b;
    struct kafka_room room = {0};
    struct kafka_record_iter it;
    struct kafka_record r;
    struct kafka_builder to;
    struct str records;
    struct chunk *chunk = NULL;
    enum err err = ERR_CORRUPT;

    if (kafka_batch_open(e->batch, &b) == KAFKA_BATCH_OK)
        err = kafka_batch_records(&b, KAFKA_PLAIN_MAX, &room, &records);
    if (err != ERR_OK) {
        kafka_room_free(&room);
        if (err == ERR_NO_MEMORY)
            return false;
        if (err == ERR_TOO_LARGE) {
            put_whole(f, e);
            return true;
        }
        return put_filler(f, e->first_seq, e->first_seq + e->messages - 1, e->ts);
    }
    chunk = chunk_alloc(pool_of(f), KAFKA_BATCH_HEADER + records.n + (size_t) b.count * 16);
    if (chunk != NULL) {
        kafka_builder_open(&to, chunk->data, chunk->cap, b.base_offset);
        kafka_record_iter_init(&it, &b, records);
        while (kafka_record_iter_next(&it, &r))
            if (store_msg_exists(f->partition->store, (uint64_t) r.offset + 1) &&
                (to.count == 0 || r.offset > to.last_offset))
                kafka_builder_add(&to, &r);
        size_t n = kafka_builder_finish(&to, KAFKA_EPOCH, &b);
        chunk->len = (uint32_t) n;
        add_piece(f, chunk, chunk->data, n);
    }
    kafka_room_free(&room);
    return chunk != NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void list_aborted(struct fetch_read *f)
{
    const struct open_txns *x = &f->partition->txns.of;
    size_t from = open_txns_aborted_from(x, (uint64_t) f->offset + 1);

    if (from == x->naborted)
        return;
    f->aborted = mem_array(x->naborted - from, sizeof(*f->aborted));
    for (size_t i = from; i < x->naborted; i++)
        if (x->aborted[i].first < f->next)
            f->aborted[f->naborted++] = x->aborted[i];
}

static void finish(struct fetch_read *f, int16_t error)
{
    uint64_t first, last;

    end_building(f);
    partition_bounds(f->partition, &first, &last);
    f->error = error;
    f->start = (int64_t) first - 1;
    f->high = (int64_t) last;
    f->stable = partition_stable(f->partition);
    if (f->committed && f->npieces > 0)
        list_aborted(f);
    f->partition->out_bytes += f->bytes;
    list_remove(&f->job.link);
    store_reader_deinit(&f->reader);
    f->done(f);
}

static bool is_full(const struct fetch_read *f, uint64_t more)
{
    uint64_t bytes = f->bytes + (f->building != NULL ? f->builder.n : 0);

    return bytes > 0 && bytes + more > f->max_bytes;
}

static bool room_is_gone(const struct fetch_room *room)
{
    uint64_t taken = atomic_load_explicit(&room->taken, memory_order_relaxed);

    return taken > 0 && taken >= room->bytes;
}

static bool room_take(struct fetch_room *room, uint64_t bytes)
{
    uint64_t taken = atomic_load_explicit(&room->taken, memory_order_relaxed);

    do
        if (taken > 0 && taken + bytes > room->bytes)
            return false;
    while (!atomic_compare_exchange_weak_explicit(&room->taken, &taken, taken + bytes,
                                                  memory_order_relaxed, memory_order_relaxed));
    return true;
}

enum put { PUT, FULL, UNDECIDED, NO_MEMORY, WAIT, END };

/* Are there removed records in this batch from the offset on that was asked for? The store tells of
 * those that are not below the stream's first message; below it they are when the reader began in
 * front of it (compaction), or it has moved since. What is in front of the offset is the client's
 * to leave out. */
static bool shows_removed(const struct fetch_read *f, const struct store_entry *e)
{
    uint64_t first, last, from = (uint64_t) f->offset + 1;

    if (e->holes)
        return true;
    partition_bounds(f->partition, &first, &last);
    return first > (from > e->first_seq ? from : e->first_seq);
}

static enum put put_entry(struct fetch_read *f, const struct store_entry *e)
{
    uint64_t bytes = e->kafka ? e->batch.n : e->msg.payload.n + e->msg.header.n + RECORD_BYTES;
    bool put = true;

    if (is_full(f, bytes) || !room_take(f->room, bytes))
        return FULL;
    if (!e->kafka) {
        put = put_message(f, &e->msg);
        f->next = e->msg.seq + 1;
        return put ? PUT : NO_MEMORY;
    }
    end_building(f);
    f->next = e->first_seq + e->messages;
    if (shows_removed(f, e))
        put = put_rebuilt(f, e);
    else
        put_whole(f, e);
    return put ? PUT : NO_MEMORY;
}

/* Behind the stable offset, which is where a transaction begins: with a batch, or with what is left
 * of one. */
static bool is_undecided(const struct fetch_read *f, uint64_t seq)
{
    uint64_t first, last;

    partition_bounds(f->partition, &first, &last);
    return f->committed && (int64_t) (seq < first ? first : seq) > partition_stable(f->partition);
}

/* A batch that stays where it is. What is read ahead of it would be for nothing. */
static enum put put_lent(struct fetch_read *f, const struct store_lent *l)
{
    if (is_undecided(f, l->first_seq))
        return UNDECIDED;
    f->ahead = false;
    if (is_full(f, l->bytes) || !room_take(f->room, l->bytes))
        return FULL;
    end_building(f);
    f->next = l->first_seq + l->messages;
    f->partition->file_bytes += l->bytes;
    put_piece(
        f, (struct fetch_piece){.n = l->bytes,
                                .lent = kafka_lent_take(f->partition->kafka->env, &f->reader, l)});
    return PUT;
}

/* One entry. PUT: go on; END: there is none any more. */
static enum put take_next(struct fetch_read *f)
{
    struct store_entry e;
    struct store_lent l;

    if (room_is_gone(f->room))
        return FULL;
    if (f->in_file && store_reader_in_file(&f->reader, &l))
        return put_lent(f, &l);
    f->ahead = true;
    switch (store_reader_entry(&f->reader, &e)) {
    case STORE_READ_MSG:
        return is_undecided(f, e.kafka ? e.first_seq : e.msg.seq) ? UNDECIDED : put_entry(f, &e);
    case STORE_READ_WAIT:
        return WAIT;
    default:
        return END;
    }
}

/* Behind the last entry, which may not be the end of the partition, or of what is decided. */
static void lead_to_end(struct fetch_read *f)
{
    uint64_t first, last;

    partition_bounds(f->partition, &first, &last);
    end_building(f);
    if (f->committed)
        last = (uint64_t) partition_stable(f->partition);
    if (f->next <= last)
        put_filler(f, f->next, last, io_wall(f->partition->kafka->env->io));
}

static void read_on(struct store_reader *reader)
{
    struct fetch_read *f = reader->ctx;
    enum put put;
    bool nothing;

    do
        put = take_next(f);
    while (put == PUT);
    if (put == WAIT)
        return;
    f->full = put == FULL;
    if (f->full && f->ahead) /* the client comes again when it has this */
        store_reader_ahead(&f->reader, f->bytes);
    if (put == END || put == UNDECIDED)
        lead_to_end(f);
    nothing = f->bytes == 0 && f->building == NULL;
    finish(f, put == NO_MEMORY && nothing ? KAFKA_KAFKA_STORAGE_ERROR : KAFKA_NONE);
}

static void partition_gone(struct partition_job *j)
{
    struct fetch_read *f = CONTAINER_OF(j, struct fetch_read, job);

    finish(f, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
}

static void begin(struct fetch_read *f)
{
    struct partition *p = f->partition;
    uint64_t first, last, from;

    f->pieces = NULL;
    f->npieces = f->pieces_cap = 0;
    f->bytes = 0;
    f->full = f->ahead = false;
    f->building = NULL;
    f->next = from = (uint64_t) f->offset + 1;
    partition_bounds(p, &first, &last);
    /* Compaction moves the first message, which Kafka's log start does not follow: who goes on
     * from an earlier offset has missed nothing but what later messages have replaced. */
    if (f->compacted && f->offset >= 0 && from < first)
        from = first;
    if (f->offset < 0 || from < first || f->next > last + 1) {
        f->error = KAFKA_OFFSET_OUT_OF_RANGE;
        f->start = (int64_t) first - 1;
        f->high = f->stable = (int64_t) last;
        f->done(f);
        return;
    }
    f->job.gone = partition_gone;
    list_push_back(&p->busy, &f->job.link);
    store_reader_init(&f->reader, p->store, from, NULL, 0, read_on, f);
    read_on(&f->reader);
}

static void txns_known(struct partition_job *j, bool ok)
{
    (void) ok;
    begin(CONTAINER_OF(j, struct fetch_read, job));
}

static void not_known(struct partition_job *j)
{
    struct fetch_read *f = CONTAINER_OF(j, struct fetch_read, job);

    f->error = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    f->done(f);
}

void fetch_read_start(struct fetch_read *f, struct partition *p)
{
    f->partition = p;
    f->aborted = NULL;
    f->naborted = 0;
    f->job.wake = txns_known;
    f->job.gone = not_known;
    if (partition_know_txns(p, &f->job))
        begin(f);
}

void fetch_read_release(struct fetch_read *f, struct env *env)
{
    for (size_t i = 0; i < f->npieces; i++) {
        if (f->pieces[i].chunk != NULL)
            chunk_put(f->pieces[i].chunk, env->chunks);
        if (f->pieces[i].lent != NULL)
            kafka_lent_return(f->pieces[i].lent, env);
    }
    mem_free(f->pieces);
    mem_free(f->aborted);
    f->aborted = NULL;
    f->naborted = 0;
    f->pieces = NULL;
    f->npieces = 0;
    f->bytes = 0;
}
