/*
 * rewrite.c - sealed segments are written anew: when, one at a time, and how the new one takes the
 * place of the old.
 *
 * Why: less than half of a segment is live (COMPACT: work queues with stuck messages, key-value
 * buckets; small neighbours are taken along, so that their headers do not outweigh them); the
 * stream wants its sealed segments compressed (COMPRESS); a message is to be erased whose bytes can
 * not be overwritten in place (ERASE). A middle segment without any message is let go without a new
 * one.
 *
 *     1. slices: the loop notes which records of the next batches are wanted (a bit each, at most
 *        16384), a work thread copies those. What is removed later, of what was copied before, is
 *        noted (`late`);
 *     2. all removals so far go into the log, those by limits, too: when the old file is gone there
 *        is nothing left of them that a start could apply limits to; and what was found damaged and
 *        counts as lost. When they are durable
 *     3. a work thread writes the footer, syncs, gives the file its name, syncs the directory. From
 *        here on a start takes the new file and removes the old ones;
 *     4. the loop takes `late` out of the new segment and puts it in the place of the old ones,
 *        which stay until the reads on them are through.
 *
 * A crash before 3 is through leaves the old ones and a file that a start removes. The new file has
 * the number of its first source and a generation one higher, so a salt of its own: what the log
 * still has for the old file does not touch it.
 *
 * A failure costs nothing but the attempt: the old ones stay. So does a damaged segment, for what
 * is in it is kept for inspection; only for an erase it is written anew without what is damaged.
 *
 * A segment with a Kafka batch is a source only where the owner has a function that makes such a
 * batch without some of its messages, and never for the sake of compression: those bytes are sent
 * as they lie. Where that function fails, the segment stays until nothing in it is live.
 *
 * What it costs: a byte is copied again when half of what was copied with it is gone. Neighbours
 * are taken along when they are not much larger than what wants to be rewritten.
 */
#include "store/rewrite.h"

#include "lib/base/mem.h"

#include <errno.h>
#include <string.h>

/* Of a slice. */
#define SLICE_RECORDS 16384u
#define SLICE_BYTES (1u << 20)
/* Late removals above this are not worked off one by one: the attempt is given up. */
#define LATE_MAX 16384u
/* What a segment costs beside its messages: neighbours up to this size are taken along. */
#define SMALL_BYTES (256u << 10)
/* An erasure ends the segment that is written to: so many small ones become one with the next. */
#define ERASE_JOINS (1u << 20)

struct rewrite {
    struct io_work work;
    struct store_req logged;
    struct store_stream *stream;
    struct copy copy;
    struct seqset late;
    uint64_t noted_to; /* sequences below it are copied or left out */
    unsigned why;
    uint64_t damaged; /* of copy.damaged: known of, and left out */
    bool stale, began;
    int result;
};

/* ---- the queue ------------------------------------------------------------------------------- */

void rewrite_want(struct segment *seg, unsigned why)
{
    struct store *st = seg->stream->store;

    if ((why & REWRITE_ERASE) != 0 && (seg->rewrite_why & REWRITE_ERASE) == 0) {
        list_remove(&seg->rewrite_link); /* somebody waits for it */
        list_push_front(&st->rewrites, &seg->rewrite_link);
    } else if (!list_linked(&seg->rewrite_link)) {
        list_push_back(&st->rewrites, &seg->rewrite_link);
    }
    seg->rewrite_why |= why;
}

void rewrite_forget(struct segment *seg)
{
    list_remove(&seg->rewrite_link);
    seg->rewrite_why = 0;
}

/* Is less than half of it live? What lies in front of the stream's first message does not count:
 * that goes with the segment soon, as the head of a stream with limits always does. */
static bool half_dead(const struct segment *seg)
{
    uint64_t first = seg->stream->first_seq, records = seg->records, size = seg->full_size;
    uint32_t entry;

    if (seg->live * 2 >= records && seg->live_size * 2 >= size)
        return false;
    if (first <= seg->base_seq)
        return true;
    if (!segment_find(seg, first, &entry))
        return false;
    const struct segment_entry *e = &seg->entries[entry];
    uint64_t rest = records - e->ordinal - entry_from(seg, e, first);
    return seg->live * 2 < rest || seg->live_size * 2 < size / records * rest;
}

bool rewrite_possible(const struct segment *seg)
{
    return !seg->kafka || seg->stream->store->options.kafka_trim != NULL;
}

static bool wants_compression(const struct segment *seg)
{
    return !seg->kafka && seg->stream->compression != BATCH_PLAIN && seg->generation == 0;
}

void rewrite_consider(struct segment *seg)
{
    if (seg->state != SEGMENT_SEALED || seg->not_rewritten || !stream_in_file(seg->stream))
        return;
    if (seg->live > 0 && !rewrite_possible(seg))
        return;
    if (seg->live == 0 || half_dead(seg))
        rewrite_want(seg, REWRITE_COMPACT);
    if (wants_compression(seg))
        rewrite_want(seg, REWRITE_COMPRESS);
}

void rewrite_removed(struct segment *seg, uint64_t seq)
{
    struct rewrite *r = seg->rewrite;

    if (seq >= r->noted_to || r->stale)
        return;
    seqset_add(&r->late, seq, seq);
    r->stale = r->late.count > LATE_MAX;
}

void rewrite_stale(struct store_stream *s)
{
    if (s->store->rewriting != NULL && s->store->rewriting->stream == s)
        s->store->rewriting->stale = true;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void free_rewrite(struct rewrite *r)
{
    struct store_stream *s = r->stream;
    struct segment *from[REWRITE_SOURCES];
    uint32_t n = r->copy.nfrom;

    memcpy(from, r->copy.from, n * sizeof(*from));
    s->store->rewriting = NULL;
    for (uint32_t i = 0; i < n; i++) {
        from[i]->rewrite = NULL;
        from[i]->jobs--;
    }
    copy_deinit(&r->copy);
    seqset_free(&r->late);
    mem_free(r);
    for (uint32_t i = 0; i < n; i++)
        segment_advance(from[i]);
    s->jobs--;
    stream_maybe_free(s);
}

static void submit(struct rewrite *r, void (*run)(struct io_work *work),
                   void (*done)(struct io_op *op))
{
    r->work.run = run;
    io_op_init(&r->work.op, done);
    store_work_submit(r->stream->store, &r->work);
}

static void abandon_run(struct io_work *work)
{
    copy_abandon(&CONTAINER_OF(work, struct rewrite, work)->copy);
}

static void abandon_done(struct io_op *op)
{
    struct rewrite *r = CONTAINER_OF(op, struct rewrite, work.op);

    if (store_work_done(r->stream->store, &r->work))
        free_rewrite(r);
}

/* Asked for again: what still waits for it, or would, is looked at when its turn comes. */
static void ask_again(const struct rewrite *r)
{
    for (uint32_t i = 0; i < r->copy.nfrom; i++) {
        struct segment *seg = r->copy.from[i];
        rewrite_consider(seg);
        if (!list_empty(&seg->erasures))
            rewrite_want(seg, REWRITE_ERASE);
    }
}

static void give_up(struct rewrite *r)
{
    struct store *st = r->stream->store;

    if (r->result != 0 && r->result != -ECANCELED) {
        LOG_WRN(st->log, "%s: writing it anew failed, it stays as it is: %s", r->copy.from[0]->path,
                strerror(-r->result));
        st->rewrites_paused = true;
        store_retry_later(st);
    }
    if (r->stream->state == STREAM_ACTIVE)
        ask_again(r);
    if (r->began)
        submit(r, abandon_run, abandon_done);
    else
        free_rewrite(r);
}

/* A store that closes waits for erasures alone. */
static bool going_on(const struct rewrite *r)
{
    return r->result == 0 && !r->stale && r->stream->state == STREAM_ACTIVE &&
           (!r->stream->store->closing || (r->why & REWRITE_ERASE) != 0);
}

/* ---- 4: the place of the old ones ------------------------------------------------------------ */

static void take_late(struct rewrite *r, struct segment *seg)
{
    uint64_t first, last, at = 0;
    uint32_t entry, i;

    while (seqset_range_from(&r->late, at, &first, &last)) {
        for (uint64_t seq = first; seq <= last; seq++) {
            if (!segment_find(seg, seq, &entry) || !entry_find(seg, &seg->entries[entry], seq, &i))
                continue; /* it was gone when its slice was noted */
            struct segment_entry *e = &seg->entries[entry];
            uint32_t size = column_size(&seg->column, e->ordinal + i);
            e->live--;
            e->live_size -= size;
            seg->live--;
            seg->live_size -= size;
        }
        at = last + 1;
    }
}

static struct segment *make_segment(struct rewrite *r)
{
    struct copy *c = &r->copy;
    struct segment *seg = segment_new(r->stream, c->header.number, c->header.generation,
                                      c->file_bytes);

    ASSERT(seg->salt == c->header.salt);
    seg->state = SEGMENT_SEALED;
    seg->base_seq = c->header.base_seq;
    seg->next_seq = c->next_seq;
    seg->covers = c->header.covers;
    seg->end = c->data_end;
    seg->entries = c->entries;
    seg->nentries = seg->entries_cap = c->nentries;
    seg->column = c->packed;
    seg->seqs = c->seqs;
    seg->kafka = c->kafka;
    seg->records = seg->column.n;
    seg->live = seg->column.n;
    seg->live_size = seg->full_size = c->live_size;
    seg->min_time = c->min_time;
    seg->max_time = c->max_time;
    c->entries = NULL;
    c->seqs = NULL;
    c->packed = (struct column){0};
    take_late(r, seg);
    return seg;
}

/* Erasures that waited for this are through; those of messages that were removed since go on with
 * the new one. */
static void hand_over_erasures(struct rewrite *r, struct segment *seg)
{
    for (uint32_t i = 0; i < r->copy.nfrom; i++)
        erasures_rewritten(r->copy.from[i], seg, &r->late);
}

static void replace(struct rewrite *r)
{
    struct copy *c = &r->copy;
    struct store_stream *s = r->stream;
    struct buf delta = {0};

    for (uint32_t i = 0; i < c->nfrom; i++)
        c->from[i]->rewrite = NULL;
    struct segment *seg = make_segment(r);
    s->store->stats.rewrites++;
    s->store->stats.rewritten_bytes += c->bytes_read;
    for (uint32_t i = 1; i < c->nfrom; i++) {
        stream_record_release_segment(&s->rec, c->from[i]->number);
        stream_delta_release_segment(&delta, c->from[i]->number);
    }
    if (delta.n > 0)
        clog_put(s->store, LOG_DELTA, s->object, buf_str(&delta), NULL);
    buf_free(&delta);
    segment_replace(c->from[0], c->nfrom, seg);
    hand_over_erasures(r, seg);
    rewrite_consider(seg);
    stream_settle_first(s);
}

static void finish_run(struct io_work *work)
{
    struct rewrite *r = CONTAINER_OF(work, struct rewrite, work);

    r->result = copy_finish(&r->copy);
}

static void finish_done(struct io_op *op)
{
    struct rewrite *r = CONTAINER_OF(op, struct rewrite, work.op);

    if (!store_work_done(r->stream->store, &r->work))
        return;
    /* A store that closes takes it: it is done. */
    if (r->result != 0 || r->stale || r->stream->state != STREAM_ACTIVE) {
        give_up(r);
        return;
    }
    replace(r);
    free_rewrite(r);
}

/* ---- 2: what was removed is in the log ------------------------------------------------------- */

static void removals_logged(struct store_req *req, enum err err)
{
    struct rewrite *r = CONTAINER_OF(req, struct rewrite, logged);

    if (err != ERR_OK)
        r->result = -ECANCELED;
    if (!going_on(r))
        give_up(r);
    else
        submit(r, finish_run, finish_done);
}

/* What could not be read is lost, and is not in the new segment. */
static void lose_damaged(struct rewrite *r)
{
    struct store_stream *s = r->stream;
    uint64_t first, last, at = 0, msgs = s->msgs, bytes = s->bytes;
    struct buf delta = {0};

    while (seqset_range_from(&r->copy.damaged, at, &first, &last)) {
        for (uint64_t seq = first; seq <= last; seq++) {
            if (!message_exists(s, seq))
                continue;
            uint64_t before = s->bytes;
            remove_one(s, seq);
            stream_delta_lose(&delta, seq, seq, before - s->bytes);
        }
        at = last + 1;
    }
    if (s->msgs == msgs)
        return;
    s->rec.lost_msgs += msgs - s->msgs;
    s->rec.lost_bytes += bytes - s->bytes;
    LOG_WRN(s->store->log, "%s: %llu damaged messages", r->copy.from[0]->path,
            (unsigned long long) (msgs - s->msgs));
    clog_put(s->store, LOG_DELTA, s->object, buf_str(&delta), NULL);
    buf_free(&delta);
}

static void log_removals(struct rewrite *r)
{
    struct store_stream *s = r->stream;
    struct buf delta = {0};

    r->logged.done = removals_logged;
    lose_damaged(r);
    stream_claim_durable(s, &delta);
    stream_claim_limits(s, &delta);
    stream_claim_first(s, &delta);
    clog_put(s->store, LOG_DELTA, s->object, buf_str(&delta), &r->logged);
    buf_free(&delta);
}

/* ---- 1: slices ------------------------------------------------------------------------------- */

/* A bit for each record of the entry that exists. */
static void note_entry(struct rewrite *r, const struct segment *seg, const struct segment_entry *e,
                       uint32_t at, uint64_t *first, uint64_t *last)
{
    const struct store_stream *s = r->stream;

    bool holds = stream_holds_any(s) &&
                 stream_holds(s, e->b.first_seq, e->b.first_seq + e->b.span - 1);

    for (uint32_t i = 0; (e->live > 0 || holds) && i < e->b.count; i++) {
        uint64_t seq = entry_seq(seg, e, i);
        if (holds && stream_holds(s, seq, seq)) { /* for the file only */
            r->copy.wanted[(at + i) / 64] |= (uint64_t) 1 << ((at + i) % 64);
            seqset_add(&r->late, seq, seq);
            continue;
        }
        if (seq < s->first_seq)
            continue;
        if (seq > *last && !seqset_range_from(&s->rec.removed, seq, first, last))
            *first = *last = UINT64_MAX;
        if (seq < *first)
            r->copy.wanted[(at + i) / 64] |= (uint64_t) 1 << ((at + i) % 64);
    }
}

/* The next slice; false at the end. */
static bool next_slice(struct rewrite *r)
{
    struct copy *c = &r->copy;
    uint32_t records = 0, bytes = 0;
    uint64_t first = 0, last = 0;

    c->first_entry = c->end_entry;
    while (c->first_entry == c->from[c->source]->nentries) {
        if (c->source + 1 == c->nfrom)
            return false;
        c->source++;
        c->first_entry = c->end_entry = 0;
    }
    const struct segment *seg = c->from[c->source];
    while (c->end_entry < seg->nentries &&
           (c->end_entry == c->first_entry || (records < SLICE_RECORDS && bytes < SLICE_BYTES))) {
        const struct segment_entry *e = &seg->entries[c->end_entry++];
        records += e->b.count;
        bytes += e->live > 0 ? e->b.bytes : 0;
    }
    mem_free(c->wanted);
    c->wanted = mem_zalloc(((size_t) records / 64 + 1) * sizeof(*c->wanted));
    for (uint32_t i = c->first_entry; i < c->end_entry; i++)
        note_entry(r, seg, &seg->entries[i],
                   seg->entries[i].ordinal - seg->entries[c->first_entry].ordinal, &first, &last);
    const struct segment_batch *b = &seg->entries[c->end_entry - 1].b;
    r->noted_to = b->first_seq + b->span;
    return true;
}

static void slice_run(struct io_work *work)
{
    struct rewrite *r = CONTAINER_OF(work, struct rewrite, work);

    if (!r->began)
        r->result = copy_begin(&r->copy);
    r->began = true;
    if (r->result == 0)
        r->result = copy_slice(&r->copy);
}

/* Damage is kept for inspection, unless something is to be erased beside it. */
static bool has_to_stay(struct rewrite *r)
{
    struct segment *seg = r->copy.from[r->copy.source];
    bool damaged = r->copy.damaged.count > r->damaged;

    r->damaged = r->copy.damaged.count;
    seg->untrimmed = seg->untrimmed || r->copy.untrimmed;
    return r->copy.untrimmed ||
           (damaged && ((r->why & REWRITE_ERASE) == 0 || list_empty(&seg->erasures)));
}

static void slice_done(struct io_op *op)
{
    struct rewrite *r = CONTAINER_OF(op, struct rewrite, work.op);

    if (!store_work_done(r->stream->store, &r->work))
        return;
    if (r->result == 0 && has_to_stay(r))
        r->stale = r->copy.from[r->copy.source]->not_rewritten = true;
    if (!going_on(r))
        give_up(r);
    else if (next_slice(r))
        submit(r, slice_run, slice_done);
    else
        log_removals(r);
}

/* ---- beginning ------------------------------------------------------------------------------- */

static bool may_rewrite(const struct segment *seg)
{
    return seg->state == SEGMENT_SEALED && !seg->not_rewritten && rewrite_possible(seg) &&
           !seg->erasing && seg->rewrite == NULL && seg->column.packed;
}

/* Is the neighbour small enough to be taken along by a group with this much live? */
static bool joins(const struct rewrite *r, const struct segment *seg, uint64_t live_size,
                  const struct segment *first, const struct segment *last)
{
    uint64_t base = seg->base_seq < first->base_seq ? seg->base_seq : first->base_seq;
    uint64_t end = seg->next_seq > last->next_seq ? seg->next_seq : last->next_seq;
    uint64_t most = seg->stream->store->segment_min;

    if ((r->why & REWRITE_COMPACT) == 0 && most > ERASE_JOINS)
        most = ERASE_JOINS;

    return may_rewrite(seg) && seg->live_size <= live_size + SMALL_BYTES &&
           seg->live_size + live_size <= most && end - base < UINT32_MAX &&
           seg->nentries + last->nentries < UINT32_MAX / 2;
}

/* The segment and its small neighbours, in order. */
static void choose(struct rewrite *r, struct segment *seg)
{
    struct store_stream *s = seg->stream;
    struct segment *first = seg, *last = seg;
    uint64_t live_size = seg->live_size;
    uint32_t n = 1;

    if ((r->why & (REWRITE_COMPACT | REWRITE_ERASE)) != 0) {
        while (n < REWRITE_SOURCES && first->link.prev != &s->segments) {
            struct segment *before = LIST_ENTRY(first->link.prev, struct segment, link);
            if (!joins(r, before, live_size, first, last))
                break;
            first = before;
            live_size += before->live_size;
            n++;
        }
        while (n < REWRITE_SOURCES && segment_after(last) != NULL) {
            struct segment *after = segment_after(last);
            if (!joins(r, after, live_size, first, last))
                break;
            last = after;
            live_size += after->live_size;
            n++;
        }
    }
    for (seg = first;; seg = segment_after(seg)) {
        r->copy.from[r->copy.nfrom++] = seg;
        r->why |= seg->rewrite_why | (list_empty(&seg->erasures) ? 0u : REWRITE_ERASE);
        rewrite_forget(seg);
        seg->rewrite = r;
        seg->jobs++;
        if (seg == last)
            break;
    }
}

/* What the sources stood for, too: the removal of those files may not be durable yet. */
static uint32_t covers(const struct copy *c)
{
    uint64_t last = 0;

    for (uint32_t i = 0; i < c->nfrom; i++)
        if (c->from[i]->number + c->from[i]->covers > last)
            last = c->from[i]->number + c->from[i]->covers;
    return (uint32_t) (last - c->from[0]->number);
}

static void set_copy(struct rewrite *r)
{
    struct copy *c = &r->copy;
    struct store_stream *s = r->stream;
    struct store *st = s->store;
    struct segment *first = c->from[0], *last = c->from[c->nfrom - 1];

    c->header = (struct segment_header){
        .number = first->number,
        .generation = first->generation + 1,
        .covers = covers(c),
        .base_seq = first->base_seq,
        .created = io_wall(st->io),
        .last_time = first->min_time,
    };
    memcpy(c->header.store, st->uuid, sizeof(c->header.store));
    memcpy(c->header.stream, s->rec.uuid, sizeof(c->header.stream));
    c->header.salt = store_salt_segment(st->uuid, s->rec.uuid, first->number, c->header.generation);
    c->header.key_id = st->dir->ring.current;
    if (c->header.key_id != 0) {
        c->crypt = mem_zalloc(sizeof(*c->crypt));
        crypt_file_segment(c->crypt, &st->dir->ring, c->header.key_id, s->rec.uuid, first->number,
                           c->header.generation);
        crypt_nonces_init(&c->nonces, &st->dir->ring, &st->prng);
    }
    c->header.name_len = (uint8_t) (strlen(s->name) < SEGMENT_NAME ? strlen(s->name)
                                                                   : SEGMENT_NAME);
    memcpy(c->header.name, s->name, c->header.name_len);
    if (stream_copy(s, c->crypt, &c->nonces, &c->record)) {
        c->header.object = s->object->id;
        c->header.copy = buf_str(&c->record);
    }
    c->fs = st->dir->options.fs;
    c->pool = st->dir->pool;
    c->codec.compression = s->compression;
    c->trim = st->options.kafka_trim;
    c->epoch = (uint32_t) st->generation;
    c->next_seq = last->next_seq;
    store_path_segment(st->dir, c->path, s->rec.uuid, first->number, c->header.generation);
    memcpy(c->unfinished, c->path, sizeof(c->path));
    memcpy(strrchr(c->unfinished, '.'), SEGMENT_UNFINISHED, sizeof(SEGMENT_UNFINISHED));
    memcpy(c->dir, s->dir, strlen(s->dir) + 1);
}

static void begin(struct segment *seg)
{
    struct store_stream *s = seg->stream;
    struct rewrite *r = mem_zalloc(sizeof(*r));

    r->stream = s;
    r->why = seg->rewrite_why;
    s->store->rewriting = r;
    s->jobs++;
    choose(r, seg);
    set_copy(r);
    if (next_slice(r))
        submit(r, slice_run, slice_done);
    else
        log_removals(r);
}

/* What is left to do for it, now that it is its turn. */
static unsigned still_wanted(struct segment *seg)
{
    unsigned why = 0;

    if (seg->live > 0 && half_dead(seg))
        why |= REWRITE_COMPACT;
    if (wants_compression(seg))
        why |= REWRITE_COMPRESS;
    if (erasures_want_rewrite(seg) && !seg->untrimmed)
        why |= REWRITE_ERASE;
    return why & (seg->rewrite_why | REWRITE_ERASE);
}

void rewrites_step(struct store *st)
{
    if (st->rewriting != NULL || st->rewrites_paused || st->clog.failed)
        return;
    LIST_FOREACH_SAFE(it, tmp, &st->rewrites)
    {
        struct segment *seg = LIST_ENTRY(it, struct segment, rewrite_link);
        bool empty = seg->live == 0 && list_empty(&seg->erasures);
        if (seg->stream->state != STREAM_ACTIVE ||
            (seg->state != SEGMENT_SEALED && !(seg->state == SEGMENT_CLOSING && empty)) ||
            (seg->not_rewritten && !empty && list_empty(&seg->erasures)) ||
            (!rewrite_possible(seg) && !empty)) {
            rewrite_forget(seg);
            continue;
        }
        if (seg->erasing || seg->stream->loader != NULL)
            continue; /* comes later */
        if (empty) {
            if (st->close_state == STORE_CLOSE_NONE)
                segment_release_empty(seg);
            continue;
        }
        seg->rewrite_why = still_wanted(seg);
        if (seg->rewrite_why == 0) {
            rewrite_forget(seg);
            continue;
        }
        if (st->closing && (seg->rewrite_why & REWRITE_ERASE) == 0)
            continue;
        begin(seg);
        return;
    }
}
