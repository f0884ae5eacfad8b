/*
 * inspect_store.c - a store directory as a start would find it: its streams, their subjects, their
 * messages, and what the start would change.
 *
 * All of them run the start itself, over a file system that keeps changes in memory
 * (fs_overlay.h). So what is said here is what a server would say, damage included, and nothing is
 * written. Only `repair` without -n does the same over the real files; that is what the next start
 * of a server would do anyway. A directory that a server has open is refused.
 */
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "lib/io/fs_overlay.h"
#include "store/store_impl.h"
#include "tools/store-inspect/inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct opened {
    struct inspect *in;
    struct fs_overlay *overlay; /* NULL: the real files */
    struct io_fs *fs;
    struct store_dir *dir;
    struct log log;
};

static void on_line(struct log *log, enum log_level level, const char *text)
{
    (void) log;
    fprintf(stderr, "%s%s\n", level <= LOG_WARN ? "" : "  ", text);
}

static bool open_store(struct opened *x, struct inspect *in, const char *path, bool for_real,
                       bool talk)
{
    char why[256] = "";

    *x = (struct opened){.in = in, .fs = in->fs};
    x->log.line = on_line;
    x->log.enabled = talk ? 1u << LOG_FATAL | 1u << LOG_ERROR | 1u << LOG_WARN | 1u << LOG_INFO : 0;
    if (!for_real) {
        x->overlay = fs_overlay_open(in->fs);
        x->fs = fs_overlay_door(x->overlay);
    }
    struct store_dir_options options = {.fs = x->fs,
                                        .path = path,
                                        .log = &x->log,
                                        .workers = 1,
                                        .log_file_bytes = for_real ? 0 : 8u << 20,
                                        .index_lazy_bytes = (uint64_t) 1 << 40,
                                        .key = buf_str(&in->key)};
    if (store_dir_open(&options, &x->dir, why) == ERR_OK)
        return true;
    fprintf(stderr, "store-inspect: %s\n", why);
    if (x->overlay != NULL)
        fs_overlay_close(x->overlay);
    return false;
}

static void close_store(struct opened *x)
{
    store_dir_close(x->dir);
    if (x->overlay != NULL)
        fs_overlay_close(x->overlay);
}

/* ---- streams --------------------------------------------------------------------------------- */

static const char *level_name(enum store_level level)
{
    return level == STORE_DURABLE ? "file" : level == STORE_ASYNC ? "file, async" : "memory";
}

static uint64_t messages_of(const struct recovered_stream *s)
{
    uint64_t gone;

    if (s->last_seq < s->rec.first_seq)
        return 0;
    gone = seqset_count_in(&s->rec.removed, s->rec.first_seq, s->last_seq);
    return s->last_seq - s->rec.first_seq + 1 - gone;
}

static void say_stream(const struct recovered_stream *s)
{
    char uuid[33];

    store_uuid_text(s->uuid, uuid);
    printf("%.*s: %s, %s, sequences %" PRIu64 " to %" PRIu64 ", %" PRIu64 " messages, %" PRIu64
           " lost, %zu segments",
           STR_ARG(buf_str(&s->rec.name)), uuid, level_name(s->rec.level), s->rec.first_seq,
           s->last_seq, messages_of(s), s->rec.lost_msgs, s->nsegments);
    if (s->failed)
        printf(", can not be served: %s", s->why);
    if (s->adopted)
        printf(", its record was lost");
    printf("\n");
}

int inspect_streams(struct inspect *in, const char *path)
{
    struct opened x;

    if (!open_store(&x, in, path, false, false))
        return 2;
    for (size_t i = 0; i < x.dir->workers[0].nstreams; i++)
        say_stream(&x.dir->workers[0].streams[i]);
    close_store(&x);
    return 0;
}

static struct recovered_stream *find_stream(struct opened *x, const char *name)
{
    struct recovered_worker *w = &x->dir->workers[0];

    for (size_t i = 0; i < w->nstreams; i++)
        if (str_eq(buf_str(&w->streams[i].rec.name), str_of(name)))
            return &w->streams[i];
    fprintf(stderr, "store-inspect: no stream '%s'\n", name);
    return NULL;
}

/* ---- messages -------------------------------------------------------------------------------- */

struct walk {
    struct opened *x;
    struct recovered_stream *s;
    struct codec_room bytes, raw;
    struct str filter; /* STR_NONE: all */
    uint64_t from, to, unreadable;
    void (*each)(struct walk *w, const struct batch_record *r, uint32_t messages);
    struct subjects counts;
};

static bool is_there(const struct walk *w, uint64_t seq)
{
    return seq >= w->s->rec.first_seq && seq >= w->from && seq <= w->to &&
           !seqset_has(&w->s->rec.removed, seq);
}

static void walk_view(struct walk *w, const struct batch_view *v, uint32_t salt)
{
    struct batch_record r;

    for (uint32_t i = 0; i < v->h.count; i++) {
        enum batch_record_state state = batch_record_verify(v, i, salt);
        if (state == BATCH_RECORD_BAD)
            w->unreadable++;
        if (state != BATCH_RECORD_OK)
            continue;
        batch_record_get(v, i, &r);
        if (w->filter.n > 0 && !subject_matches(r.subject, w->filter))
            continue;
        if (v->h.kind == BATCH_KAFKA) {
            uint32_t n = 0;
            for (uint32_t k = 0; k < v->h.span; k++)
                n += is_there(w, v->h.first_seq + k);
            r.seq = v->h.first_seq;
            if (n > 0)
                w->each(w, &r, n);
        } else if (is_there(w, r.seq)) {
            w->each(w, &r, 1);
        }
    }
}

static void walk_batch(struct walk *w, fs_fd fd, const struct segment_batch *b, uint32_t salt,
                       const struct crypt_file *crypt)
{
    struct batch_view v;

    if (b->kind == BATCH_SKIP || b->first_seq + b->span <= w->from || b->first_seq > w->to ||
        b->first_seq + b->span <= w->s->rec.first_seq)
        return;
    if (!codec_room_reserve(&w->bytes, b->bytes) ||
        fs_read(w->x->fs, fd, w->bytes.p, b->bytes, b->offset) != (int64_t) b->bytes ||
        batch_view_open(w->bytes.p, b->bytes, salt, &v) != ERR_OK) {
        w->unreadable += b->count;
        return;
    }
    v.crypt = crypt;
    if (batch_view_decode_room(&v, &w->raw) == ERR_OK)
        walk_view(w, &v, salt);
    else
        w->unreadable += b->count;
}

static void walk_segment(struct walk *w, struct recovered_segment *seg)
{
    struct store_dir *dir = w->x->dir;
    struct segment_index index = {0};
    struct crypt_file crypt = {0};
    char path[STORE_PATH];

    if (recovered_segment_load(dir, w->s, seg, &index) != ERR_OK)
        return;
    bool sealed = seg->key_id != 0 && crypt_file_segment(&crypt, &dir->ring, seg->key_id,
                                                         w->s->uuid, seg->number, seg->generation);
    store_path_segment(dir, path, w->s->uuid, seg->number, seg->generation);
    fs_fd fd = fs_open(w->x->fs, path, IO_FILE_READ);
    for (uint64_t i = 0; fd >= 0 && i < index.summary.batches; i++)
        walk_batch(w, fd, &index.batches[i], seg->salt, sealed ? &crypt : NULL);
    if (fd >= 0)
        fs_close(w->x->fs, fd);
    segment_index_deinit(&index);
}

static int walk_stream(struct walk *w, const char *name)
{
    w->s = find_stream(w->x, name);
    if (w->s == NULL)
        return 2;
    for (size_t i = 0; i < w->s->nsegments; i++)
        walk_segment(w, &w->s->segments[i]);
    codec_room_free(&w->bytes);
    codec_room_free(&w->raw);
    if (w->unreadable > 0)
        fprintf(stderr, "store-inspect: %" PRIu64 " messages can not be read\n", w->unreadable);
    return w->unreadable > 0 ? 1 : 0;
}

/* A line with the lengths of header and payload, then both as they are, then a newline. */
static void extract(struct walk *w, const struct batch_record *r, uint32_t messages)
{
    (void) w;
    printf("%" PRIu64 " %" PRIi64 " %.*s %zu %zu", r->seq, r->ts, STR_ARG(r->subject), r->header.n,
           r->payload.n);
    if (messages > 1)
        printf(" kafka %" PRIu32, messages);
    printf("\n");
    fwrite(r->header.p, 1, r->header.n, stdout);
    fwrite(r->payload.p, 1, r->payload.n, stdout);
    printf("\n");
}

int inspect_messages(struct inspect *in, const char *path, const char *stream, const char *filter,
                     uint64_t from, uint64_t to)
{
    struct opened x;
    struct walk w = {.x = &x, .from = from, .to = to, .each = extract};

    if (filter != NULL)
        w.filter = str_of(filter);
    if (!open_store(&x, in, path, false, false))
        return 2;
    int status = walk_stream(&w, stream);
    close_store(&x);
    return status;
}

static void count(struct walk *w, const struct batch_record *r, uint32_t messages)
{
    uint32_t id = subjects_intern(&w->counts, r->subject);

    subjects_by_id(&w->counts, id)->msgs += messages;
}

int inspect_subjects(struct inspect *in, const char *path, const char *stream, const char *filter)
{
    struct opened x;
    struct walk w = {.x = &x, .to = UINT64_MAX, .each = count};
    struct subject_cursor c;

    if (filter != NULL)
        w.filter = str_of(filter);
    if (!open_store(&x, in, path, false, false))
        return 2;
    subjects_init(&w.counts, 1);
    int status = walk_stream(&w, stream);
    subject_cursor_init(&c, &w.counts.tree);
    for (subject_cursor_seek(&c, STR(""), false); c.subject != 0; subject_cursor_next(&c)) {
        const struct subject *sub = subjects_by_id(&w.counts, c.subject);
        printf("%" PRIu64 " %.*s\n", sub->msgs, STR_ARG(subject_text(sub)));
    }
    subject_cursor_deinit(&c);
    subjects_deinit(&w.counts);
    close_store(&x);
    return status;
}

/* ---- repair ---------------------------------------------------------------------------------- */

static void say_change(void *ctx, enum fs_change change, const char *path, const char *from)
{
    static const char *const verbs[] = {"made", "changed", "removed", "renamed"};

    (void) ctx;
    if (from != NULL)
        printf("would be renamed: %s to %s\n", from, path);
    else
        printf("would be %s: %s\n", verbs[change], path);
}

int inspect_repair(struct inspect *in, const char *path, bool dry)
{
    struct opened x;

    if (!open_store(&x, in, path, !dry, true))
        return 2;
    const struct store_recovery *r = &x.dir->recovery;
    printf("%" PRIu64 " streams, %" PRIu64 " messages, %" PRIu64 " lost now, %" PRIu64
           " bytes of unfinished commits, %" PRIu64 " files into quarantine\n",
           (uint64_t) r->streams, (uint64_t) r->messages, (uint64_t) r->lost_messages,
           (uint64_t) r->bytes_cut, (uint64_t) r->quarantined_files);
    if (dry)
        fs_overlay_changes(x.overlay, say_change, NULL);
    int status = r->lost_messages > 0 || r->quarantined_files > 0 ? 1 : 0;
    close_store(&x);
    return status;
}
