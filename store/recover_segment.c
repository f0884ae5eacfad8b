/*
 * One segment file: is it ours, is it sealed, and if not, what do its batches say.
 *
 * A file without a valid header page is one of three: never used (it was put in place, and the
 * power went before its header was durable), damaged in its header page only, or damaged
 * throughout. The salt comes from its path, so that batches of its own verify in the second case;
 * the first and the third can not be told apart here, the caller asks the stream's record.
 */
#include "lib/base/crc32c.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "store/footer.h"
#include "store/recover_impl.h"

#include <string.h>

/* ---- opening ------------------------------------------------------------------------------- */

static void take_footer(struct rec_segment *seg, const struct footer *f)
{
    seg->sealed = true;
    seg->index.summary = f->summary;
    seg->base_seq = f->summary.base_seq;
    seg->next_seq = f->summary.next_seq;
    seg->data_end = f->summary.data_end;
}

/* What can not be read is neither empty nor damaged: nobody knows what it is, and the next start
 * may find it well. */
static enum err read_at(struct recovery *r, const struct rec_segment *seg, fs_fd fd, void *into,
                        size_t n, uint64_t offset)
{
    int64_t got = fs_read(r->fs, fd, into, n, offset);

    if (got == (int64_t) n)
        return ERR_OK;
    if (got >= 0)
        return ERR_CORRUPT; /* shorter than it says */
    LOG_ERR(r->log, "%s: offset %llu: %s", seg->path, (unsigned long long) offset,
            err_text(err_from_errno((int) got)));
    return ERR_IO;
}

/* One section, checked; p is NULL without memory. */
static enum err read_section(struct recovery *r, struct rec_segment *seg, fs_fd fd,
                             const struct segment_trailer *t, const struct footer_place *place,
                             struct str *out)
{
    uint8_t *p = mem_try_alloc(place->bytes + 1);

    *out = str_from(p, place->bytes);
    if (p == NULL)
        return ERR_NO_MEMORY;
    enum err err = read_at(r, seg, fd, p, place->bytes, t->footer_offset + place->offset);
    if (err != ERR_OK)
        return err;
    return crc32c(seg->salt, p, place->bytes) == place->crc ? ERR_OK : ERR_CORRUPT;
}

/* The batches of a footer that was opened; false: some are sparse, and their sequences are in
 * SIZES. */
static bool take_batches(struct rec_segment *seg, const struct footer *f)
{
    uint64_t n = f->summary.batches;
    bool sparse = false;

    seg->index.batches = mem_array(n + 1, sizeof(*seg->index.batches));
    for (uint64_t i = 0; i < n; i++) {
        footer_batch(f, i, &seg->index.batches[i]);
        sparse = sparse || (seg->index.batches[i].flags & BATCH_SPARSE) != 0;
    }
    return !sparse;
}

static enum err take_sizes(struct recovery *r, struct rec_segment *seg, fs_fd fd,
                           const struct segment_trailer *t, const struct footer_place *place,
                           struct footer *f)
{
    struct str sizes = STR_NONE;
    enum err err = read_section(r, seg, fd, t, place, &sizes);

    f->section[SECTION_SIZES] = sizes;
    if (err == ERR_OK && !footer_sizes_sound(f))
        err = ERR_CORRUPT;
    if (err == ERR_OK) {
        buf_put_str(&seg->index.owned, sizes);
        seg->index.sizes = buf_str(&seg->index.owned);
    }
    mem_free((void *) (uintptr_t) sizes.p);
    return err;
}

/* Of a large footer only what a start needs: summary and batches; where they are sparse SIZES, too.
 * The rest is read, and checked, when somebody asks for subjects. */
static enum err read_footer_head(struct recovery *r, struct rec_segment *seg, fs_fd fd,
                                 const struct segment_trailer *t)
{
    struct footer_place places[SECTION_MAX + 1];
    struct str summary = STR_NONE, batches = STR_NONE;
    size_t n = (size_t) t->sections * FOOTER_TABLE_ENTRY;
    uint8_t *table = mem_alloc(n + 1);
    struct footer f;
    enum err err = read_at(r, seg, fd, table, n, t->table_offset);

    if (err == ERR_OK)
        err = footer_places(table, t, seg->salt, places);
    if (err == ERR_OK)
        err = read_section(r, seg, fd, t, &places[SECTION_SUMMARY], &summary);
    if (err == ERR_OK)
        err = read_section(r, seg, fd, t, &places[SECTION_BATCHES], &batches);
    if (err == ERR_OK)
        err = footer_open_head(summary, batches, t->footer_offset, &f);
    if (err == ERR_OK && !take_batches(seg, &f))
        err = take_sizes(r, seg, fd, t, &places[SECTION_SIZES], &f);
    if (err == ERR_OK) {
        take_footer(seg, &f);
        seg->lazy = true;
    } else {
        segment_index_deinit(&seg->index);
    }
    mem_free(table);
    mem_free((void *) (uintptr_t) summary.p);
    mem_free((void *) (uintptr_t) batches.p);
    return err;
}

/* The footer: a start knows then that what it read verifies. */
static enum err read_footer(struct recovery *r, struct rec_segment *seg, fs_fd fd)
{
    uint8_t bytes[SEGMENT_TRAILER];
    struct segment_trailer t;
    struct footer f;
    struct buf room = {0};

    if (seg->file_bytes < SEGMENT_HEADER + SEGMENT_TRAILER)
        return ERR_NOT_FOUND;
    enum err err = read_at(r, seg, fd, bytes, sizeof(bytes), seg->file_bytes - sizeof(bytes));
    if (err == ERR_OK)
        err = segment_trailer_decode(bytes, seg->file_bytes, seg->salt, &t);
    if (err != ERR_OK)
        return err;
    seg->cut = (t.flags & SEGMENT_CUT) != 0;
    if (t.footer_bytes > r->dir->options.index_lazy_bytes && (t.incompat & STORE_ENCRYPTED) == 0)
        return read_footer_head(r, seg, fd, &t);
    uint8_t *whole = mem_try_alloc(t.footer_bytes);
    if (whole == NULL)
        return ERR_NO_MEMORY;
    err = read_at(r, seg, fd, whole, t.footer_bytes, t.footer_offset);
    if (err == ERR_OK)
        err = footer_open_sealed(whole, t.footer_bytes, seg->file_bytes, seg->salt, &seg->crypt,
                                 &room, &f);
    if (err == ERR_OK)
        take_footer(seg, &f);
    buf_free(&room);
    mem_free(whole);
    return err;
}

static bool same_identity(const struct recovery *r, const struct rec_stream *s,
                          const struct rec_segment *seg, const struct segment_header *h)
{
    return memcmp(h->store, r->dir->uuid, 16) == 0 && memcmp(h->stream, s->rec.uuid, 16) == 0 &&
           h->number == seg->number && h->salt == seg->salt;
}

static enum err read_header(struct recovery *r, const struct rec_stream *s, struct rec_segment *seg,
                            fs_fd fd)
{
    uint8_t *page = mem_alloc(SEGMENT_HEADER);
    char why[160];
    enum err err = read_at(r, seg, fd, page, SEGMENT_HEADER, 0);

    if (err == ERR_OK) {
        seg->blank = page[0] == 0 && memcmp(page, page + 1, SEGMENT_HEADER - 1) == 0;
        err = segment_header_decode(page, &seg->header, why);
    }
    seg->header.copy = STR_NONE; /* it lies in the page */
    mem_free(page);
    if (err == ERR_VERSION)
        LOG_WRN(r->log, "%s: %s", seg->path, why);
    if (err == ERR_OK && same_identity(r, s, seg, &seg->header)) {
        seg->header_ok = true;
        seg->base_seq = seg->next_seq = seg->header.base_seq;
    }
    return err == ERR_CORRUPT ? ERR_OK : err;
}

/* The key that the header page names; without it pieces say what opens them, and what is written is
 * written with the current one. */
static bool find_key(struct recovery *r, const struct rec_stream *s, struct rec_segment *seg)
{
    struct store_dir *dir = r->dir;
    uint32_t id = seg->header_ok ? seg->header.key_id : dir->ring.current;

    if (!seg->header_ok)
        dir->keys_unknown = true;
    for (unsigned i = 0; i < dir->ring.n; i++)
        if (dir->ring.keys[i].id == id)
            dir->keys_used |= (uint64_t) 1 << i;
    return crypt_file_segment(&seg->crypt, &dir->ring, id, s->rec.uuid, seg->number,
                              seg->generation);
}

/* Behind a close marker the record names every segment that was begun: what has no header page and
 * is none of these was put in place and not used. To look for batches would be to read all of it.
 */
static bool never_used(const struct recovery *r, const struct rec_stream *s,
                       const struct rec_segment *seg)
{
    if (!r->clean || !seg->blank || seg->generation > 0 || s->object->adopted)
        return false;
    for (size_t i = 0; i < s->rec.nsegments; i++)
        if (s->rec.segments[i].number >= seg->number)
            return false;
    return s->rec.nsegments > 0;
}

enum err rec_segment_open(struct recovery *r, struct rec_stream *s, struct rec_segment *seg)
{
    fs_fd fd = fs_open(r->fs, seg->path, IO_FILE_READ);
    if (fd < 0)
        return err_from_errno(fd);
    int64_t size = fs_size(r->fs, fd);
    seg->file_bytes = size > 0 ? (uint64_t) size : 0;
    seg->salt = store_salt_segment(r->dir->uuid, s->rec.uuid, seg->number, seg->generation);
    seg->data_end = seg->found_end = SEGMENT_HEADER;
    enum err err = size < 0 ? ERR_IO : read_header(r, s, seg, fd);
    if (err == ERR_OK && !find_key(r, s, seg))
        err = ERR_KEY;
    enum err footer = err == ERR_OK ? read_footer(r, seg, fd) : ERR_NOT_FOUND;
    fs_close(r->fs, fd);
    if (err != ERR_OK || footer == ERR_OK)
        return err;
    if (footer == ERR_VERSION || footer == ERR_NO_MEMORY || footer == ERR_IO)
        return footer;
    seg->bad_footer = footer != ERR_NOT_FOUND;
    seg->complete = seg->bad_footer && !seg->cut;
    if (seg->header_ok)
        return ERR_OK;
    if (footer == ERR_NOT_FOUND && never_used(r, s, seg))
        return ERR_NOT_FOUND;
    /* Is there a batch of its own? */
    bool quiet = seg->quiet;
    seg->quiet = true;
    err = rec_segment_scan(r, s, seg, 0);
    seg->quiet = quiet;
    if (err == ERR_OK && seg->footer.nbatches == 0)
        err = ERR_NOT_FOUND;
    return err;
}

/* ---- collecting the index ------------------------------------------------------------------ */

struct name_node {
    struct hmap_node node;
    uint32_t id;
    uint32_t n;
    char bytes[];
};

struct collector {
    struct rec_segment *seg;
    struct hmap names;
    uint64_t seed;
    struct str *subjects; /* by id */
    size_t nsubjects, subjects_cap;
    struct segment_batch *batches;
    size_t nbatches, batches_cap;
    struct segment_message *messages;
    size_t nmessages, messages_cap;
    /* Without subjects: only sums, while nothing is odd. */
    bool light, odd;
    uint64_t sum_msgs, sum_bytes;
    uint32_t *sizes; /* per message, where some of them are gone; NULL = nobody will ask */
    bool want_sizes;
    size_t nsizes, sizes_cap;
};

static uint32_t intern(struct collector *c, struct str subject)
{
    uint64_t h = hash_bytes(subject.p, subject.n, c->seed);

    for (struct hmap_node *n = hmap_first(&c->names, h); n != NULL; n = hmap_next(n, h)) {
        struct name_node *name = CONTAINER_OF(n, struct name_node, node);
        if (str_eq(str_from(name->bytes, name->n), subject))
            return name->id;
    }
    struct name_node *name = mem_alloc(sizeof(*name) + subject.n);
    name->id = (uint32_t) c->nsubjects;
    name->n = (uint32_t) subject.n;
    memcpy(name->bytes, subject.p, subject.n);
    hmap_insert(&c->names, &name->node, h);
    if (c->nsubjects == c->subjects_cap) {
        c->subjects_cap = c->subjects_cap * 2 + 16;
        c->subjects = mem_realloc(c->subjects, c->subjects_cap * sizeof(*c->subjects));
    }
    c->subjects[c->nsubjects++] = str_from(name->bytes, name->n);
    return name->id;
}

static void put_message(struct collector *c, uint32_t delta, uint32_t subject, uint32_t bytes)
{
    if (c->nmessages == c->messages_cap) {
        c->messages_cap = c->messages_cap * 2 + 256;
        c->messages = mem_realloc(c->messages, c->messages_cap * sizeof(*c->messages));
    }
    c->messages[c->nmessages++] = (struct segment_message){delta, subject, bytes};
}

static void collect_record(struct collector *c, uint64_t base, const struct batch_record *r)
{
    put_message(c, (uint32_t) (r->seq - base), intern(c, r->subject),
                (uint32_t) store_msg_bytes(STORE_DURABLE, r->subject.n, r->header.n, r->payload.n));
}

/* The producer's batch is not opened: its messages count for even shares of it. */
static void collect_kafka(struct collector *c, uint64_t base, const struct batch_view *v)
{
    struct batch_record r;

    batch_record_get(v, 0, &r);
    uint64_t whole = store_msg_bytes(STORE_DURABLE, r.subject.n, 0, r.payload.n);
    uint32_t id = intern(c, r.subject);
    for (uint32_t i = 0; i < batch_messages(&v->h); i++)
        put_message(c, (uint32_t) (v->h.first_seq + batch_kafka_delta(v, i) - base), id,
                    batch_kafka_size(v, whole, i));
}

static void sum_message(struct collector *c, uint64_t bytes)
{
    c->sum_msgs++;
    c->sum_bytes += bytes;
    if (!c->want_sizes)
        return;
    if (c->nsizes == c->sizes_cap) {
        c->sizes_cap = c->sizes_cap * 2 + 4096;
        c->sizes = mem_realloc(c->sizes, c->sizes_cap * sizeof(*c->sizes));
    }
    c->sizes[c->nsizes++] = (uint32_t) bytes;
}

static void sum_kafka(struct collector *c, const struct batch_view *v)
{
    struct batch_record r;

    batch_record_get(v, 0, &r);
    uint64_t whole = store_msg_bytes(STORE_DURABLE, r.subject.n, 0, r.payload.n);
    for (uint32_t i = 0; i < v->h.span; i++)
        sum_message(c, batch_kafka_share(whole, v->h.span, i));
}

static void sum_batch(struct collector *c, const struct scan_event *e)
{
    struct batch_record r;

    c->odd = c->odd || e->bad != NULL || (e->view.h.flags & BATCH_SPARSE) != 0;
    if (!c->odd && e->view.h.kind == BATCH_KAFKA) {
        sum_kafka(c, &e->view);
        return;
    }
    for (uint32_t i = 0; i < e->view.h.count && !c->odd; i++) {
        batch_record_get(&e->view, i, &r);
        sum_message(c, store_msg_bytes(STORE_DURABLE, r.subject.n, r.header.n, r.payload.n));
    }
}

static void collect_batch(struct collector *c, uint64_t base, const struct scan_event *e)
{
    struct batch_record r;

    if (c->nbatches == c->batches_cap) {
        c->batches_cap = c->batches_cap * 2 + 64;
        c->batches = mem_realloc(c->batches, c->batches_cap * sizeof(*c->batches));
    }
    c->batches[c->nbatches++] = e->batch;
    if (c->light) {
        sum_batch(c, e);
        return;
    }
    for (uint32_t i = 0; i < e->view.h.count; i++) {
        if (e->bad != NULL && (e->bad[i / 64] >> (i % 64) & 1) != 0)
            continue;
        if (e->view.h.kind == BATCH_KAFKA) {
            collect_kafka(c, base, &e->view);
            return;
        }
        batch_record_get(&e->view, i, &r);
        collect_record(c, base, &r);
    }
}

/* What a SCAN_TORN takes back. */
static void drop_behind(struct collector *c, uint64_t base, const struct scan *s)
{
    while (c->nbatches > 0 && c->batches[c->nbatches - 1].offset >= s->data_end)
        c->nbatches--;
    while (c->nmessages > 0 && base + c->messages[c->nmessages - 1].delta >= s->next_seq)
        c->nmessages--;
}

/* Hands the arrays to seg->footer; the subjects' bytes stay in the name nodes, so they are copied.
 */
static void finish_index(struct collector *c, struct buf *names, struct str **subjects)
{
    *subjects = mem_alloc((c->nsubjects + 1) * sizeof(**subjects));
    for (size_t i = 0; i < c->nsubjects; i++)
        buf_put_str(names, c->subjects[i]);
    const char *p = names->p;
    for (size_t i = 0; i < c->nsubjects; i++) {
        (*subjects)[i] = str_from(p, c->subjects[i].n);
        p += c->subjects[i].n;
    }
}

static void free_names(struct collector *c)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&c->names, &it)) != NULL) {
        hmap_remove(&c->names, n);
        mem_free(CONTAINER_OF(n, struct name_node, node));
    }
    hmap_deinit(&c->names);
    mem_free(c->subjects);
}

/* ---- scanning ------------------------------------------------------------------------------ */

static enum err feed(struct recovery *r, const char *path, struct scan *s,
                     const struct scan_event *e, fs_fd fd)
{
    if (e->bytes > r->window_cap) {
        mem_free(r->window);
        r->window = mem_try_alloc(e->bytes);
        r->window_cap = r->window != NULL ? e->bytes : 0;
        if (r->window == NULL)
            return ERR_NO_MEMORY;
    }
    int64_t got = e->bytes != 0 ? fs_read(r->fs, fd, r->window, e->bytes, e->offset) : 0;
    if (got < 0) {
        LOG_ERR(r->log, "%s: offset %llu: %s", path, (unsigned long long) e->offset,
                err_text(err_from_errno((int) got)));
        return ERR_IO;
    }
    r->dir->recovery.bytes_scanned += (uint64_t) got;
    scan_feed(s, e->offset, r->window, (size_t) got);
    return ERR_OK;
}

/* A mended header and table go back to disk, so that readers need not mend them again. */
static enum err write_back(struct recovery *r, struct rec_segment *seg, const struct scan_event *e,
                           fs_fd fd)
{
    const uint8_t *bytes = e->view.table - BATCH_HEADER;
    int res = fs_write(r->fs, fd, bytes, BATCH_HEADER + e->view.h.table_bytes, e->offset);

    LOG_WRN(r->log, "%s: offset %llu: one damaged byte in a batch header mended", seg->path,
            (unsigned long long) e->offset);
    seg->dirty = true;
    return res < 0 ? ERR_IO : ERR_OK;
}

/* The range [first, last] is damaged; what the stream does not have any more is no loss. */
static void note_range(struct recovery *r, const struct rec_stream *s, struct rec_segment *seg,
                       const struct scan_event *e)
{
    uint64_t last = e->first_seq + e->span - 1;
    uint64_t first = e->first_seq < s->rec.first_seq ? s->rec.first_seq : e->first_seq;

    if (first > last || seqset_count_in(&s->rec.removed, first, last) == last - first + 1)
        return;
    seqset_add(&seg->lost, first, last);
    if (!seg->quiet)
        LOG_WRN(r->log, "%s: offset %llu: %llu bytes damaged, sequences %llu to %llu are lost",
                seg->path, (unsigned long long) e->offset, (unsigned long long) e->bytes,
                (unsigned long long) e->first_seq, (unsigned long long) last);
}

/* All messages of a Kafka batch, but those that the stream does not have any more. */
static void note_kafka(struct recovery *r, const struct rec_stream *s, struct rec_segment *seg,
                       const struct scan_event *e)
{
    const struct batch_header *h = &e->view.h;
    uint64_t lost = 0;

    for (uint64_t seq = h->first_seq; seq < h->first_seq + h->span; seq++) {
        if (seq < s->rec.first_seq || seqset_has(&s->rec.removed, seq))
            continue;
        seqset_add(&seg->lost, seq, seq);
        lost++;
    }
    if (lost > 0 && !seg->quiet)
        LOG_WRN(r->log,
                "%s: offset %llu: a Kafka batch is damaged, sequences %llu to %llu are lost",
                seg->path, (unsigned long long) e->offset, (unsigned long long) h->first_seq,
                (unsigned long long) (h->first_seq + h->span - 1));
}

static void note_records(struct recovery *r, const struct rec_stream *s, struct rec_segment *seg,
                         const struct scan_event *e)
{
    const struct batch_view *v = &e->view;

    if (v->h.kind == BATCH_KAFKA && e->nbad != 0) {
        note_kafka(r, s, seg, e);
        return;
    }
    for (uint32_t i = 0; i < v->h.count && e->nbad != 0; i++) {
        uint64_t seq = batch_record_seq(v, i), at = e->offset;
        if (codec_plain(&v->h))
            at += (uint64_t) (v->stored - v->table) + BATCH_HEADER + batch_record_offset(v, i);
        if (batch_record_verify(v, i, seg->salt) != BATCH_RECORD_BAD || seq < s->rec.first_seq ||
            seqset_has(&s->rec.removed, seq))
            continue;
        seqset_add(&seg->lost, seq, seq);
        if (!seg->quiet)
            LOG_WRN(r->log, "%s: offset %llu: message %llu is damaged, lost", seg->path,
                    (unsigned long long) at, (unsigned long long) seq);
    }
}

static enum err run_scan(struct recovery *r, const struct rec_stream *stream,
                         struct rec_segment *seg, struct scan *s, struct collector *c, fs_fd fd)
{
    struct scan_event e;
    enum scan_verdict v;
    enum err err = ERR_OK;

    while (err == ERR_OK && (v = scan_next(s, &e)) != SCAN_DONE) {
        if (v == SCAN_NEED) {
            err = feed(r, seg->path, s, &e, fd);
        } else if (v == SCAN_BATCH) {
            if (c->nbatches == 0)
                seg->epoch = e.view.h.epoch;
            collect_batch(c, s->base_seq, &e);
            note_records(r, stream, seg, &e);
            if (e.repaired)
                err = write_back(r, seg, &e, fd);
        } else if (v == SCAN_CORRUPT) {
            note_range(r, stream, seg, &e);
        } else {
            seg->torn = true;
            seg->torn_offset = e.offset;
            seg->torn_bytes = e.bytes;
            drop_behind(c, s->base_seq, s);
        }
    }
    return err;
}

static enum err build_index(struct rec_segment *seg, struct collector *c, const struct scan *s)
{
    struct footer_input *in = &seg->footer;
    struct buf sizes = {0};

    *in = (struct footer_input){.header = seg->header,
                                .batches = c->batches,
                                .nbatches = c->nbatches,
                                .messages = c->messages,
                                .nmessages = c->nmessages,
                                .next_seq = seg->next_seq,
                                .data_end = s->data_end};
    in->header.salt = seg->salt;
    in->header.base_seq = seg->base_seq;
    seg->messages = c->messages;
    seg->index.batches = c->batches;
    c->messages = NULL;
    c->batches = NULL;
    finish_index(c, &seg->names, &seg->subjects);
    in->subjects = seg->subjects;
    in->nsubjects = c->nsubjects;
    enum err err = footer_build_index(in, &seg->index.owned, &sizes, &seg->index.summary);
    size_t subjects_bytes = seg->index.owned.n;
    buf_put_str(&seg->index.owned, buf_str(&sizes));
    buf_free(&sizes);
    if (err != ERR_OK)
        return err;
    seg->index.subjects = str_from(seg->index.owned.p, subjects_bytes);
    seg->index.sizes = str_from(seg->index.owned.p + subjects_bytes,
                                seg->index.owned.n - subjects_bytes);
    return ERR_OK;
}

/* The same without subjects and sizes. */
static void light_index(struct rec_segment *seg, struct collector *c, const struct scan *s)
{
    struct segment_summary *sum = &seg->index.summary;

    *sum = (struct segment_summary){.base_seq = seg->base_seq,
                                    .next_seq = seg->next_seq,
                                    .msgs = c->sum_msgs,
                                    .bytes = c->sum_bytes,
                                    .data_end = s->data_end,
                                    .batches = c->nbatches};
    for (size_t i = 0; i < c->nbatches; i++) {
        const struct segment_batch *b = &c->batches[i];
        sum->min_time = i == 0 || b->min_time < sum->min_time ? b->min_time : sum->min_time;
        sum->max_time = i == 0 || b->max_time > sum->max_time ? b->max_time : sum->max_time;
    }
    seg->index.batches = c->batches;
    c->batches = NULL;
    seg->index.record_sizes = c->sizes;
    c->sizes = NULL;
    seg->lazy = true;
}

static void forget_scan(struct rec_segment *seg)
{
    segment_index_deinit(&seg->index); /* owns the batches, too */
    mem_free(seg->messages);
    mem_free(seg->subjects);
    seg->messages = NULL;
    seg->subjects = NULL;
    buf_free(&seg->names);
    seqset_free(&seg->lost);
    seg->footer = (struct footer_input){0};
    seg->torn = seg->lazy = false;
}

void rec_segment_deinit(struct rec_segment *seg)
{
    forget_scan(seg);
}

/* Most streams are small, and behind the end of one there is nothing to be looked for. */
#define CLEAN_WINDOW (32u << 10)

/* How far behind the end to look: what two commits in flight can reach; after a clean close
 * nowhere: the record says where the stream ends, and the scan looks further when it falls short.
 */
static uint64_t search_bytes(const struct recovery *r, const struct rec_segment *seg)
{
    if (seg->bad_footer || !seg->header_ok)
        return 0;
    return r->clean ? SEGMENT_PAGE : SCAN_SEARCH_BYTES;
}

/* A segment that is so much larger is indexed later, too. */
#define LIGHT_FACTOR 16u

enum err rec_segment_scan(struct recovery *r, struct rec_stream *s, struct rec_segment *seg,
                          uint64_t durable_seq)
{
    struct collector c = {.seg = seg, .seed = prng_u64(&r->dir->prng)};
    bool again = false;
    struct scan scan;
    uint64_t base = seg->header_ok ? seg->header.base_seq : 0;
    struct scan_options options = {.salt = seg->salt,
                                   .crypt = &seg->crypt,
                                   .base_seq = base,
                                   .file_bytes = seg->file_bytes,
                                   .durable_seq = durable_seq,
                                   .sealed = seg->complete,
                                   .search_bytes = search_bytes(r, seg),
                                   .window = r->clean ? CLEAN_WINDOW : 0};

    forget_scan(seg);
    seg->durable = durable_seq;
    /* What a lone scan of a large segment would say about damage it says the second time. */
    bool quiet = seg->quiet;
    c.light = !seg->whole && seg->header_ok && !seg->bad_footer && !quiet &&
              seg->crypt.key.id == 0 &&
              seg->file_bytes > LIGHT_FACTOR * r->dir->options.index_lazy_bytes;
    seg->quiet = quiet || c.light;
    c.want_sizes = s->rec.removed.count > 0 || s->rec.first_seq > base;
    fs_fd fd = fs_open(r->fs, seg->path, IO_FILE_WRITE);
    if (fd < 0)
        return err_from_errno(fd);
    hmap_init(&c.names);
    scan_init(&scan, &options);
    enum err err = run_scan(r, s, seg, &scan, &c, fd);
    /* When only the process died, what was found may be in the page cache alone. Readers will see
     * it, so it has to last. */
    if (err == ERR_OK && (seg->dirty || !r->clean) && !PLANTED(PLANT_REPLAY_UNSYNCED) &&
        (seg->dirty ? fs_sync(r->fs, fd) : rec_sync(r, fd)) < 0)
        err = ERR_IO;
    fs_close(r->fs, fd);
    seg->dirty = false;
    seg->base_seq = base != 0 ? base : scan.base_seq;
    seg->next_seq = scan.next_seq != 0 ? scan.next_seq : seg->base_seq;
    seg->data_end = scan.data_end;
    seg->found_end = scan.found_end;
    seg->tail_lost = scan.tail_lost;
    seg->proof = scan.durable_seq;
    if (err == ERR_OK && c.light) {
        again = c.odd || seg->torn || seg->tail_lost || seg->lost.count != 0 ||
                c.nbatches < LIGHT_FACTOR * r->dir->options.index_lazy_bytes / BATCH_BODY;
        if (!again)
            light_index(seg, &c, &scan);
    } else if (err == ERR_OK) {
        err = build_index(seg, &c, &scan);
    }
    mem_free(c.batches);
    mem_free(c.messages);
    mem_free(c.sizes);
    free_names(&c);
    scan_deinit(&scan);
    seg->quiet = quiet;
    if (again) {
        seg->whole = true;
        return rec_segment_scan(r, s, seg, durable_seq);
    }
    return err;
}

/* ---- sealing ------------------------------------------------------------------------------- */

enum err rec_segment_seal(struct recovery *r, struct rec_segment *seg)
{
    struct buf bytes = {0};
    uint64_t behind = seg->found_end > seg->data_end ? seg->found_end : seg->data_end;

    /* What was there and can not be read is kept: nobody knows where it ended. */
    if (seg->tail_lost && seg->file_bytes > behind)
        behind = seg->file_bytes;
    seg->footer.footer_offset = round_up(behind, SEGMENT_PAGE);
    seg->footer.flags = seg->torn ? SEGMENT_CUT : 0;
    seg->footer.crypt = &seg->crypt;
    seg->footer.nonces = &r->nonces;
    enum err err = footer_build(&seg->footer, &bytes);
    if (err != ERR_OK)
        return err;
    fs_fd fd = fs_open(r->fs, seg->path, IO_FILE_WRITE);
    int res = fd < 0 ? fd : fs_write(r->fs, fd, bytes.p, bytes.n, seg->footer.footer_offset);
    if (res == 0)
        res = fs_truncate(r->fs, fd, seg->footer.footer_offset + bytes.n);
    if (res == 0)
        res = fs_sync(r->fs, fd);
    if (fd >= 0)
        fs_close(r->fs, fd);
    seg->file_bytes = seg->footer.footer_offset + bytes.n;
    seg->sealed = res == 0;
    buf_free(&bytes);
    return res < 0 ? err_from_errno(res) : ERR_OK;
}
