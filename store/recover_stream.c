/*
 * The segments of a stream, put together.
 *
 * From the last to the first, because the later ones prove what was durable in the earlier: a
 * footer proves everything before it (a segment is sealed when it and all before are durable), a
 * batch says it in its header. The header page's base sequence alone proves nothing: it is written
 * when the segment is begun, while commits to the one before may be in flight.
 *
 * From the first to the last, then: each must continue where the one before ended.
 *     it begins later, and the missing sequences are proven      they are lost
 *     it begins later, and they are not                          it and all behind it were never
 * acknowledged: cut. Then every segment but the last is sealed (a large one later, by the running
 * store), and the last too when it was cut or its end is damaged: nothing is ever appended behind
 * bytes of doubt.
 */
#include "lib/base/mem.h"
#include "store/recover_impl.h"

#include <stdlib.h>
#include <string.h>

static enum err stream_failed(struct recovery *r, struct rec_stream *s, const char *what,
                              const char *why)
{
    s->failed = true;
    snprintf(s->why, sizeof(s->why), "%.60s: %.90s", what, why);
    LOG_ERR(r->log, "%s: stream '%.*s' is kept but not served: %s", s->dir,
            STR_ARG(buf_str(&s->rec.name)), s->why);
    return ERR_OK;
}

/* ---- decoding ------------------------------------------------------------------------------ */

static void decode_stream(struct recovery *r, struct rec_object *o)
{
    struct rec_stream *s = mem_zalloc(sizeof(*s));
    char what[40];

    o->stream = s;
    s->object = o;
    enum err err = stream_record_decode(&s->rec, buf_str(&o->full));
    for (unsigned i = 0; i < o->ndeltas && err == ERR_OK; i++)
        err = stream_record_apply(&s->rec, buf_str(&o->deltas[i].bytes));
    store_path_stream(r->dir, s->dir, s->rec.uuid);
    snprintf(what, sizeof(what), "record of object %llx", (unsigned long long) o->id);
    if (err != ERR_OK)
        stream_failed(r, s, what, err_text(err));
}

enum err rec_streams_decode(struct recovery *r)
{
    for (size_t i = 0; i < r->nlist; i++)
        if (r->list[i]->kind == STORE_KIND_STREAM && r->list[i]->full_seen &&
            !r->list[i]->deleted && r->list[i]->stream == NULL)
            decode_stream(r, r->list[i]);
    return ERR_OK;
}

void rec_stream_free(struct rec_stream *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->nsegments; i++)
        segment_index_deinit(&s->segments[i].index);
    mem_free(s->segments);
    stream_record_deinit(&s->rec);
    mem_free(s);
}

#define NAME_BYTES 256

/* ---- its files ----------------------------------------------------------------------------- */

struct files {
    struct rec_segment *seg; /* ascending */
    size_t n;
};

/* Must it have had a header page? It is in the record, and something behind its first sequence is
 * proven durable. The record may name a segment whose header page never was. */
static bool had_header(const struct rec_stream *s, const struct rec_segment *seg, bool later)
{
    uint64_t proof = s->rec.last_seq > s->proven_seq ? s->rec.last_seq : s->proven_seq;

    for (size_t i = 0; i < s->rec.nsegments; i++)
        if (s->rec.segments[i].number == seg->number)
            return later || s->rec.segments[i].base_seq <= proof;
    return false;
}

static void remove_file(struct recovery *r, struct rec_segment *seg, const char *why)
{
    LOG_INF(r->log, "%s: %s, removed", seg->path, why);
    fs_unlink(r->fs, seg->path);
    seg->gone = true;
}

static void quarantine_file(struct recovery *r, struct rec_segment *seg, const char *why)
{
    store_quarantine(r->dir, seg->path, why);
    seg->gone = true;
}

/* ERR_VERSION and I/O errors make the stream fail; everything else is dealt with here. later: a
 * segment behind it is in use. */
static enum err open_file(struct recovery *r, struct rec_stream *s, struct rec_segment *seg,
                          bool later)
{
    enum err err = rec_segment_open(r, s, seg);

    if (err == ERR_NOT_FOUND && had_header(s, seg, later)) {
        quarantine_file(r, seg, "neither header nor any batch verifies");
        return ERR_OK;
    }
    if (err == ERR_NOT_FOUND) {
        remove_file(r, seg, "never used");
        return ERR_OK;
    }
    if (err == ERR_OK && seg->bad_footer)
        LOG_WRN(r->log, "%s: footer damaged, the segment is scanned", seg->path);
    if (err == ERR_OK && !seg->header_ok)
        LOG_WRN(r->log, "%s: offset 0: header damaged, its contents are read all the same",
                seg->path);
    return err;
}

static int order_segments(const void *a, const void *b)
{
    const struct rec_segment *x = a, *y = b;

    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->generation < y->generation ? -1 : x->generation > y->generation;
}

/* A rewritten segment that was not finished goes; nothing was let go for it yet. */
static void other_name(struct recovery *r, const struct rec_stream *s, const char *name)
{
    char path[STORE_PATH + NAME_BYTES];

    snprintf(path, sizeof(path), "%s/%.*s", s->dir, NAME_BYTES - 2, name);
    if (segment_name_unfinished(name))
        fs_unlink(r->fs, path);
    else
        LOG_WRN(r->log, "%s: not a segment, left alone", path);
}

/* Does `by` say that it stands for seg, too? By its header it was written to; and its footer, that
 * it was finished. */
static bool stands_for(const struct rec_segment *by, const struct rec_segment *seg)
{
    if (by == seg || by->gone || !by->sealed)
        return false;
    if (by->number == seg->number)
        return by->generation > seg->generation;
    return by->header_ok && by->generation > 0 && seg->number > by->number &&
           seg->number - by->number <= by->header.covers;
}

/* The generations of a segment: the newest one that is whole. What is whole was synced before it
 * got its name, and the older ones go only when the name is durable. */
static enum err choose_generations(struct recovery *r, const struct rec_stream *s, struct files *f)
{
    bool synced = false;

    for (size_t i = 0; i < f->n; i++) {
        struct rec_segment *seg = &f->seg[i];
        for (size_t k = 0; k < f->n && !seg->gone; k++) {
            if (!stands_for(&f->seg[k], seg))
                continue;
            /* Whoever wrote it anew may have been killed before its name was durable. */
            if (!synced && fs_sync_dir(r->fs, s->dir) < 0)
                return ERR_IO;
            synced = true;
            remove_file(r, seg, "written anew");
        }
    }
    for (size_t i = 1; i < f->n; i++)
        if (!f->seg[i].gone && !f->seg[i - 1].gone && f->seg[i].number == f->seg[i - 1].number)
            quarantine_file(r, &f->seg[i], "damaged, and the one before it is still there");
    return ERR_OK;
}

static enum err open_files(struct recovery *r, struct rec_stream *s, struct files *f)
{
    struct rec_names names;
    enum err err = rec_list(r->fs, s->dir, &names);

    if (err != ERR_OK)
        return err;
    f->seg = mem_zalloc((names.n + 1) * sizeof(*f->seg));
    for (size_t i = 0; i < names.n; i++) {
        struct rec_segment *seg = &f->seg[f->n];
        if (!segment_name_parse(names.names[i], &seg->number, &seg->generation)) {
            other_name(r, s, names.names[i]);
            continue;
        }
        store_path_segment(r->dir, seg->path, s->rec.uuid, seg->number, seg->generation);
        f->n++;
    }
    rec_names_free(&names);
    if (f->n > 0)
        qsort(f->seg, f->n, sizeof(*f->seg), order_segments);
    bool later = false;
    for (size_t i = f->n; i-- > 0 && err == ERR_OK;) {
        err = open_file(r, s, &f->seg[i], later);
        later = later || !f->seg[i].gone;
    }
    return err == ERR_OK ? choose_generations(r, s, f) : err;
}

static void compact_files(struct files *f)
{
    size_t n = 0;

    for (size_t i = 0; i < f->n; i++) {
        if (f->seg[i].gone)
            rec_segment_deinit(&f->seg[i]);
        else if (n++ != i)
            f->seg[n - 1] = f->seg[i];
    }
    f->n = n;
}

/* ---- backwards: scan, with what is proven -------------------------------------------------- */

static enum err scan_files(struct recovery *r, struct rec_stream *s, struct files *f)
{
    uint64_t proof = s->rec.last_seq > s->proven_seq ? s->rec.last_seq : s->proven_seq;
    uint64_t next_base = 0; /* of the segment behind, 0 = none or not known */
    enum err err = ERR_OK;

    for (size_t i = f->n; i-- > 0 && err == ERR_OK;) {
        struct rec_segment *seg = &f->seg[i];
        if (seg->sealed) {
            proof = seg->next_seq - 1 > proof ? seg->next_seq - 1 : proof;
        } else {
            uint64_t durable = next_base != 0 && next_base - 1 < proof ? next_base - 1 : proof;
            if (seg->bad_footer && next_base != 0) {
                durable = next_base - 1; /* what lies behind that was cut */
                seg->complete = false;
            }
            err = rec_segment_scan(r, s, seg, durable);
            proof = seg->proof > proof ? seg->proof : proof;
        }
        seg->proof = proof;
        next_base = seg->base_seq != 0 ? seg->base_seq : next_base;
    }
    return err;
}

/* ---- forwards: continuity ------------------------------------------------------------------ */

/* Newly lost: what is not already removed. Returns how many. */
static uint64_t lose(struct rec_stream *s, uint64_t first, uint64_t last)
{
    uint64_t from, to, lost = 0;

    if (first < s->rec.first_seq)
        first = s->rec.first_seq;
    while (first <= last) {
        uint64_t end = last;
        bool any = seqset_range_from(&s->rec.removed, first, &from, &to) && from <= last;
        if (any && from <= first) {
            first = to + 1;
            continue;
        }
        if (any)
            end = from - 1;
        stream_record_lose(&s->rec, first, end, 0);
        lost += end - first + 1;
        first = end + 1;
    }
    return lost;
}

static void lose_set(struct recovery *r, struct rec_stream *s, const struct seqset *set)
{
    uint64_t first, last, at = 0;

    while (seqset_range_from(set, at, &first, &last)) {
        r->dir->recovery.lost_messages += lose(s, first, last);
        at = last + 1;
    }
}

static void lose_gap(struct recovery *r, struct rec_stream *s, uint64_t first, uint64_t last,
                     const char *path)
{
    uint64_t lost = lose(s, first, last);

    r->dir->recovery.lost_messages += lost;
    if (lost != 0)
        LOG_WRN(r->log, "%s: %llu messages before it (sequences %llu to %llu) are lost", path,
                (unsigned long long) lost, (unsigned long long) first, (unsigned long long) last);
}

static void cut_whole(struct recovery *r, struct rec_segment *seg)
{
    if (seg->next_seq > seg->base_seq) {
        r->dir->recovery.bytes_cut += seg->data_end - SEGMENT_HEADER;
        quarantine_file(r, seg,
                        "its messages were never acknowledged, and those before them are missing");
    } else {
        remove_file(r, seg, "begun, but what comes before it was never finished");
    }
}

static void report_cut(struct recovery *r, const struct rec_segment *seg)
{
    if (!seg->torn)
        return;
    r->dir->recovery.bytes_cut += seg->torn_bytes;
    LOG_INF(r->log, "%s: offset %llu: %llu bytes of unfinished commits cut behind message %llu",
            seg->path, (unsigned long long) seg->torn_offset, (unsigned long long) seg->torn_bytes,
            (unsigned long long) seg->next_seq - 1);
}

static void join_files(struct recovery *r, struct rec_stream *s, struct files *f)
{
    uint64_t expected = 0;
    bool cut = false;

    for (size_t i = 0; i < f->n; i++) {
        struct rec_segment *seg = &f->seg[i];
        if (i == 0 && s->object->adopted && s->rec.first_seq < seg->base_seq)
            stream_record_purge(&s->rec, seg->base_seq);
        if (expected == 0)
            expected = s->rec.first_seq < seg->base_seq ? s->rec.first_seq : seg->base_seq;
        cut = cut || (i > 0 && seg->base_seq > expected && seg->proof < expected);
        if (cut) {
            cut_whole(r, seg);
            continue;
        }
        if (seg->next_seq < expected || (seg->base_seq < expected && i > 0)) {
            quarantine_file(r, seg, "its sequences are those of an earlier segment");
            continue;
        }
        if (seg->base_seq > expected)
            lose_gap(r, s, expected, seg->base_seq - 1, seg->path);
        report_cut(r, seg);
        lose_set(r, s, &seg->lost);
        expected = seg->next_seq;
    }
    s->last_seq = expected != 0 ? expected - 1 : s->rec.first_seq - 1;
    if (s->rec.last_seq > s->last_seq) {
        lose_gap(r, s, s->last_seq + 1, s->rec.last_seq, s->dir);
        s->last_seq = s->rec.last_seq;
    }
}

/* ---- the result ---------------------------------------------------------------------------- */

static void take_segment(struct rec_stream *s, struct rec_segment *seg, bool active)
{
    struct recovered_segment *out = &s->segments[s->nsegments++];

    *out = (struct recovered_segment){
        .number = seg->number,
        .generation = seg->generation,
        .covers = seg->header_ok ? seg->header.covers : 0,
        .base_seq = seg->base_seq,
        .next_seq = seg->next_seq,
        .salt = seg->salt,
        .key_id = seg->crypt.key.id,
        .state = active        ? RECOVERED_ACTIVE
                 : seg->sealed ? RECOVERED_SEALED
                               : RECOVERED_FULL,
        .file_bytes = seg->file_bytes,
        .data_end = seg->data_end,
        .write_offset = active ? round_up(seg->data_end, SEGMENT_PAGE) : 0,
        .msgs = seg->index.summary.msgs,
        .bytes = seg->index.summary.bytes,
        .min_time = seg->index.summary.min_time,
        .max_time = seg->index.summary.max_time,
    };
    if (active || seg->lazy) {
        out->index = seg->index;
        seg->index = (struct segment_index){0};
    }
    int64_t last = out->max_time != 0 ? out->max_time : seg->header_ok ? seg->header.last_time : 0;
    s->last_ts = last > s->last_ts ? last : s->last_ts;
    uint64_t removed = out->next_seq > out->base_seq
                           ? seqset_count_in(&s->rec.removed, out->base_seq, out->next_seq - 1)
                           : 0;
    if (out->next_seq > s->rec.first_seq && out->msgs > removed)
        s->messages += out->msgs - removed;
}

/* Only a last segment of which nothing is doubtful goes on, and only with the current key. */
static bool may_go_on(const struct recovery *r, const struct rec_segment *seg)
{
    return seg->crypt.key.id == r->dir->ring.current && !seg->sealed && seg->generation == 0 &&
           !seg->torn && !seg->tail_lost && seg->header_ok && !seg->bad_footer;
}

static enum err seal_now(struct recovery *r, struct rec_stream *s, struct rec_segment *seg)
{
    enum err err = ERR_OK;

    if (seg->lazy) {
        seg->whole = seg->quiet = true; /* it was all said */
        err = rec_segment_scan(r, s, seg, seg->durable);
    }
    return err == ERR_OK ? rec_segment_seal(r, seg) : err;
}

static enum err take_files(struct recovery *r, struct rec_stream *s, struct files *f)
{
    enum err err = ERR_OK;

    s->last_ts = s->rec.last_ts;
    s->segments = mem_zalloc((f->n + 1) * sizeof(*s->segments));
    for (size_t i = 0; i < f->n && err == ERR_OK; i++) {
        bool active = i + 1 == f->n && may_go_on(r, &f->seg[i]) &&
                      f->seg[i].next_seq == s->last_seq + 1;
        /* A large one of which nothing is doubtful is sealed when it is indexed. */
        bool later = f->seg[i].lazy && i + 1 < f->n && may_go_on(r, &f->seg[i]);
        if (!active && !f->seg[i].sealed && !later)
            err = seal_now(r, s, &f->seg[i]);
        if (err == ERR_OK)
            take_segment(s, &f->seg[i], active);
    }
    return err;
}

/* The record as it will be written: what is there, not what was said to be. */
static void update_record(struct rec_stream *s)
{
    if (s->last_seq + 1 < s->rec.first_seq)
        s->last_seq = s->rec.first_seq - 1;
    stream_record_durable(&s->rec, s->last_seq, s->last_ts);
    /* An async stream's record may speak of messages that did not survive: their sequences will be
     * given to others. */
    seqset_remove(&s->rec.erase, s->last_seq + 1, UINT64_MAX - 1);
    seqset_remove(&s->rec.lost, s->last_seq + 1, UINT64_MAX - 1);
    seqset_remove(&s->rec.removed, s->last_seq + 1, UINT64_MAX - 1);
    while (s->rec.nsegments > 0)
        stream_record_release_segment(&s->rec, s->rec.segments[0].number);
    for (size_t i = 0; i < s->nsegments; i++)
        stream_record_add_segment(&s->rec, s->segments[i].number, s->segments[i].base_seq);
    for (size_t i = 0; i < s->nsegments; i++) {
        uint64_t last = s->segments[i].number + s->segments[i].covers;
        if (s->rec.next_segment <= last)
            s->rec.next_segment = last + 1;
    }
}

/* ---- all of it ----------------------------------------------------------------------------- */

/* Messages in memory are gone with the process; the stream goes on behind the last one known. */
static void restart_memory(struct rec_stream *s)
{
    while (s->rec.nsegments > 0)
        stream_record_release_segment(&s->rec, s->rec.segments[0].number);
    stream_record_purge(&s->rec, s->rec.last_seq + 1);
    s->last_seq = s->rec.last_seq;
    s->last_ts = s->rec.last_ts;
}

static enum err read_stream(struct recovery *r, struct rec_stream *s)
{
    struct files f = {0};
    enum err err = open_files(r, s, &f);

    size_t before = f.n;

    if (err == ERR_OK) {
        compact_files(&f);
        err = scan_files(r, s, &f);
    }
    if (err == ERR_OK) {
        join_files(r, s, &f);
        compact_files(&f);
        /* After a crash names may not be durable either. */
        if ((f.n != before || (f.n > 0 && !r->clean && !r->all_synced)) &&
            fs_sync_dir(r->fs, s->dir) < 0)
            err = ERR_IO;
    }
    if (err == ERR_OK)
        err = take_files(r, s, &f);
    if (err == ERR_OK)
        update_record(s);
    for (size_t i = 0; i < f.n; i++)
        rec_segment_deinit(&f.seg[i]);
    mem_free(f.seg);
    return err;
}

enum err rec_streams_read(struct recovery *r)
{
    for (size_t i = 0; i < r->nlist; i++) {
        struct rec_stream *s = r->list[i]->stream;
        if (s == NULL || s->failed)
            continue;
        r->dir->recovery.streams++;
        if (s->rec.level == STORE_MEMORY) {
            restart_memory(s);
            continue;
        }
        enum err err = read_stream(r, s);
        if (err != ERR_OK)
            stream_failed(r, s, "segments", err_text(err));
        r->dir->recovery.segments += s->nsegments;
        r->dir->recovery.messages += s->messages;
    }
    return ERR_OK;
}
