/*
 * Directories of streams that no record of the log owns.
 *
 * Nothing is written to a stream before its record is durable, so
 *
 *     nothing in it                 its creation was not finished: it goes, unless the log is
 *                                   damaged
 *     the log says it was deleted   it goes
 *     else                          the log has lost the record
 *
 * In the last case a header page of its segments may have a copy of what says which stream it is
 * and how it is set up (segment_format.h). The youngest copy stands for the record then, with the
 * changes that the log still has for the object: the stream is adopted, before anything of the log
 * goes to segments. A copy may be old. So it brings no limits, which could delete what a later
 * configuration keeps; and what the log alone knew as removed is there again. Without a copy the
 * directory goes to quarantine as it is.
 */
#include "lib/base/mem.h"
#include "store/recover_impl.h"

#include <stdlib.h>
#include <string.h>

/* ---- whose it is --------------------------------------------------------------------------- */

/* The UUIDs of all streams that are known, in order. */
struct live {
    uint8_t (*uuid)[16];
    size_t n;
    bool any; /* the record of one can not be read, so that any directory may be its */
};

static int order_uuids(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

static void live_init(struct live *l, const struct recovery *r)
{
    static const uint8_t none[16];

    *l = (struct live){.uuid = mem_array(r->nlist + 1, 16)};
    for (size_t i = 0; i < r->nlist; i++)
        if (r->list[i]->stream != NULL)
            memcpy(l->uuid[l->n++], r->list[i]->stream->rec.uuid, 16);
    if (l->n > 0)
        qsort(l->uuid, l->n, 16, order_uuids);
    l->any = l->n > 0 && memcmp(l->uuid[0], none, 16) == 0;
}

static bool is_live(const struct live *l, const uint8_t uuid[16])
{
    return l->any || (l->n > 0 && bsearch(uuid, l->uuid, l->n, 16, order_uuids) != NULL);
}

static bool is_deleted(const struct recovery *r, const uint8_t uuid[16])
{
    for (size_t i = 0; i < r->nlist; i++)
        if (r->list[i]->has_deleted_uuid && memcmp(r->list[i]->deleted_uuid, uuid, 16) == 0)
            return true;
    return false;
}

/* A deleted stream whose full record is still in the log, from before deletions named the UUID. */
static bool was_deleted(const struct recovery *r, const uint8_t uuid[16])
{
    bool found = false;

    for (size_t i = 0; i < r->nlist && !found; i++) {
        const struct rec_object *o = r->list[i];
        struct stream_record rec = {0};
        if (!o->deleted || !o->full_seen || o->kind != STORE_KIND_STREAM)
            continue;
        if (stream_record_decode(&rec, buf_str(&o->full)) == ERR_OK)
            found = memcmp(rec.uuid, uuid, 16) == 0;
        stream_record_deinit(&rec);
    }
    return found;
}

enum orphan { ORPHAN_EMPTY, ORPHAN_DOUBTFUL, ORPHAN_UNREADABLE };

/* What one of its files says. */
static enum orphan judge_file(struct recovery *r, struct rec_stream *s, const char *name)
{
    struct rec_segment seg = {.quiet = true};
    enum orphan orphan = ORPHAN_DOUBTFUL;

    if (!segment_name_parse(name, &seg.number, &seg.generation))
        return segment_name_unfinished(name) ? ORPHAN_EMPTY : ORPHAN_DOUBTFUL;
    store_path_segment(r->dir, seg.path, s->rec.uuid, seg.number, seg.generation);
    enum err err = rec_segment_open(r, s, &seg);
    if (err == ERR_OK && !seg.sealed)
        err = rec_segment_scan(r, s, &seg, 0);
    if (err == ERR_NOT_FOUND || (err == ERR_OK && seg.next_seq == seg.base_seq && !seg.torn))
        orphan = ORPHAN_EMPTY;
    if (err == ERR_IO || err == ERR_LIMIT || err == ERR_NO_MEMORY)
        orphan = ORPHAN_UNREADABLE;
    rec_segment_deinit(&seg);
    return orphan;
}

/* A stream that no record knows. Nothing is written to a stream before its record is durable: one
 * that holds anything had a record, and the log has lost it. */
static enum orphan judge_orphan(struct recovery *r, const uint8_t uuid[16], const char *dir)
{
    struct rec_stream s = {0};
    struct rec_names names;
    enum orphan worst = ORPHAN_EMPTY;

    memcpy(s.rec.uuid, uuid, 16);
    snprintf(s.dir, sizeof(s.dir), "%s", dir);
    if (rec_list(r->fs, dir, &names) != ERR_OK)
        return ORPHAN_UNREADABLE;
    for (size_t i = 0; i < names.n; i++) {
        enum orphan orphan = judge_file(r, &s, names.names[i]);
        worst = orphan > worst ? orphan : worst;
    }
    rec_names_free(&names);
    return worst;
}

/* ---- adopting ------------------------------------------------------------------------------ */

struct copy {
    uint64_t object;
    uint64_t number; /* of the segment that has it */
    int64_t created;
    struct buf record;
    uint64_t last_number; /* that any segment stands for */
};

static bool open_copy(struct recovery *r, const struct segment_header *h, struct buf *out)
{
    struct crypt_file crypt;
    uint8_t ad[8];

    buf_clear(out);
    if (h->key_id == 0) {
        buf_put_str(out, h->copy);
        return true;
    }
    if (!crypt_file_segment(&crypt, &r->dir->ring, h->key_id, h->stream, h->number, h->generation))
        return false;
    put_u64(ad, h->object);
    buf_reserve(out, h->copy.n);
    bool ok = crypt_open_piece(&crypt, ad, sizeof(ad), (const uint8_t *) h->copy.p, h->copy.n,
                               (uint8_t *) out->p);
    out->n = ok ? h->copy.n - CRYPT_PIECE : 0;
    crypt_file_wipe(&crypt);
    return ok;
}

/* Takes the copy of this file if it is younger. */
static void look_at(struct recovery *r, const uint8_t uuid[16], const char *dir, const char *name,
                    struct copy *best)
{
    uint8_t *page = mem_alloc(SEGMENT_HEADER);
    char path[STORE_PATH + 300], why[160];
    struct segment_header h;
    uint64_t number;
    uint32_t generation;
    struct buf record = {0};

    snprintf(path, sizeof(path), "%s/%.255s", dir, name);
    fs_fd fd = segment_name_parse(name, &number, &generation) ? fs_open(r->fs, path, IO_FILE_READ)
                                                              : -1;
    int64_t got = fd >= 0 ? fs_read(r->fs, fd, page, SEGMENT_HEADER, 0) : 0;
    if (got < 0) {
        LOG_ERR(r->log, "%s: offset 0: %s", path, err_text(err_from_errno((int) got)));
        r->orphans_unread = true;
    }
    bool own = got == SEGMENT_HEADER && segment_header_decode(page, &h, why) == ERR_OK &&
               memcmp(h.store, r->dir->uuid, 16) == 0 && memcmp(h.stream, uuid, 16) == 0 &&
               h.number == number && h.generation == generation;
    if (own && h.copy.n > 0 && (best->object == 0 || h.created >= best->created) &&
        open_copy(r, &h, &record)) {
        buf_clear(&best->record);
        buf_put_str(&best->record, buf_str(&record));
        best->object = h.object;
        best->number = number;
        best->created = h.created;
    }
    uint64_t last = own ? number + h.covers : number;
    if (fd >= 0 && last > best->last_number)
        best->last_number = last;
    buf_free(&record);
    if (fd >= 0)
        fs_close(r->fs, fd);
    mem_free(page);
}

/* The full record that the copy stands for. */
static bool make_record(const struct copy *c, const uint8_t uuid[16], struct buf *full)
{
    struct stream_record rec = {0};
    bool ok = stream_record_decode(&rec, buf_str(&c->record)) == ERR_OK &&
              memcmp(rec.uuid, uuid, 16) == 0;

    rec.limits = (struct store_limits){0};
    rec.next_segment = c->last_number + 1;
    if (ok)
        stream_record_encode(&rec, full);
    stream_record_deinit(&rec);
    return ok;
}

static void adopt(struct recovery *r, const uint8_t uuid[16], const char *dir, const struct copy *c)
{
    struct rec_object *o = rec_object_find(r, c->object);
    struct buf full = {0};

    if ((o != NULL && (o->full_seen || o->deleted)) || !make_record(c, uuid, &full)) {
        buf_free(&full);
        return;
    }
    o = rec_object_add(r, c->object);
    o->kind = STORE_KIND_STREAM;
    o->full_seen = o->adopted = true;
    o->version = o->orphan ? o->orphan_version : 1;
    buf_free(&o->full);
    o->full = full;
    LOG_WRN(r->log,
            "%s: the commit log has lost the record of this stream; it is taken from the copy in "
            "segment %llu: without limits until they are set again, and what was removed may be "
            "back",
            dir, (unsigned long long) c->number);
}

/* Of a log in which something is missing one can not say whether the creation was finished. */
static bool log_is_doubtful(const struct recovery *r)
{
    bool damaged = r->generation == 0 || r->log_lost;

    for (size_t i = 0; i < r->nfiles; i++)
        damaged = damaged || r->files[i].damaged;
    return damaged;
}

static void adopt_one(struct recovery *r, const uint8_t uuid[16], const char *dir)
{
    struct copy best = {0};
    struct rec_names names;

    if (rec_list(r->fs, dir, &names) != ERR_OK)
        return;
    for (size_t i = 0; i < names.n; i++)
        look_at(r, uuid, dir, names.names[i], &best);
    rec_names_free(&names);
    if (best.object != 0 && (log_is_doubtful(r) || judge_orphan(r, uuid, dir) != ORPHAN_EMPTY))
        adopt(r, uuid, dir, &best);
    buf_free(&best.record);
}

void rec_streams_adopt(struct recovery *r)
{
    char path[STORE_PATH];
    struct rec_names names;
    struct buf dir = {0};
    struct live live;
    uint8_t uuid[16];

    store_path(r->dir, path, "streams");
    if (rec_list(r->fs, path, &names) != ERR_OK)
        return; /* said later */
    live_init(&live, r);
    for (size_t i = 0; i < names.n; i++) {
        if (!store_uuid_parse(names.names[i], strlen(names.names[i]), uuid) ||
            is_live(&live, uuid) || is_deleted(r, uuid) || was_deleted(r, uuid))
            continue;
        buf_clear(&dir);
        buf_printf(&dir, "%s/%s", path, names.names[i]);
        adopt_one(r, uuid, buf_cstr(&dir));
    }
    buf_free(&dir);
    mem_free(live.uuid);
    rec_names_free(&names);
}

/* ---- removing ------------------------------------------------------------------------------ */

static void remove_dir(struct recovery *r, const char *dir)
{
    struct rec_names names;
    struct buf path = {0};

    if (rec_list(r->fs, dir, &names) != ERR_OK)
        return;
    for (size_t i = 0; i < names.n; i++) {
        buf_clear(&path);
        buf_printf(&path, "%s/%s", dir, names.names[i]);
        fs_unlink(r->fs, buf_cstr(&path));
    }
    fs_rmdir(r->fs, dir);
    buf_free(&path);
    rec_names_free(&names);
}

static void clean_one(struct recovery *r, const struct live *live, const char *dir,
                      const char *name)
{
    uint8_t uuid[16];

    if (!store_uuid_parse(name, strlen(name), uuid)) {
        LOG_WRN(r->log, "%s: not a stream, left alone", dir);
        return;
    }
    if (is_live(live, uuid))
        return;
    if (is_deleted(r, uuid) || was_deleted(r, uuid)) {
        LOG_INF(r->log, "%s: belongs to a deleted stream, removed", dir);
        remove_dir(r, dir);
        return;
    }
    enum orphan orphan = judge_orphan(r, uuid, dir);
    if (orphan == ORPHAN_UNREADABLE || (orphan == ORPHAN_DOUBTFUL && r->orphans_unread)) {
        LOG_ERR(r->log, "%s: no stream is known to own it, and it can not be read; left alone",
                dir);
        return;
    }
    if (orphan != ORPHAN_EMPTY) {
        store_quarantine(r->dir, dir, "holds messages, but no stream is known to own it");
        return;
    }
    LOG_INF(r->log, "%s: belongs to a stream whose creation was not finished, removed", dir);
    remove_dir(r, dir);
}

enum err rec_streams_clean(struct recovery *r)
{
    char path[STORE_PATH];
    struct rec_names names;
    struct buf dir = {0};
    struct live live;

    store_path(r->dir, path, "streams");
    enum err err = rec_list(r->fs, path, &names);
    if (err != ERR_OK)
        return rec_fail(r, err, "%s: %s", path, err_text(err));
    live_init(&live, r);
    for (size_t i = 0; i < names.n; i++) {
        buf_clear(&dir);
        buf_printf(&dir, "%s/%s", path, names.names[i]);
        clean_one(r, &live, buf_cstr(&dir), names.names[i]);
    }
    buf_free(&dir);
    mem_free(live.uuid);
    rec_names_free(&names);
    int res = fs_sync_dir(r->fs, path);
    return res < 0 ? rec_fail(r, ERR_IO, "%s: sync: %s", path, err_text(err_from_errno(res)))
                   : ERR_OK;
}
