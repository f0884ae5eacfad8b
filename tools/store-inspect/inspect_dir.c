/*
 * A whole directory. Objects and data records are read by the store's own recovery code (which
 * writes nothing until it comes to segments); data that the log holds for a segment is laid over
 * the segment in memory, as a start would write it, before the segment is looked at.
 *
 * What must agree: segments and their stream's record (none missing), neighbouring segments (no gap
 * but what was removed), footers and batches, parents and children of objects.
 */
#include "lib/base/mem.h"
#include "tools/store-inspect/inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct tree {
    struct inspect *in;
    struct store_dir dir;
    struct recovery recovery;
    char why[256];
};

/* ---- logs ---------------------------------------------------------------------------------- */

/* Those of log/, or of twin/. */
static void inspect_logs(struct tree *t, const char *which,
                         bool (*parse)(const char *name, uint64_t *generation, uint32_t *worker,
                                       uint64_t *number))
{
    char path[STORE_PATH];
    struct rec_names names;
    struct buf at = {0};

    store_path(&t->dir, path, which);
    if (rec_list(t->in->fs, path, &names) != ERR_OK)
        return;
    for (size_t i = 0; i < names.n; i++) {
        struct inspect_bytes bytes;
        uint64_t generation, number;
        uint32_t worker;
        buf_clear(&at);
        buf_printf(&at, "%s/%s", path, names.names[i]);
        if (inspect_mark(t->in, buf_cstr(&at)))
            continue;
        if (!parse(names.names[i], &generation, &worker, &number)) {
            inspect_say(t->in, "%s: not a commit log, nor a twin of one\n", buf_cstr(&at));
            continue;
        }
        if (!inspect_load(t->in, buf_cstr(&at), &bytes))
            continue;
        inspect_log(t->in, buf_cstr(&at), &bytes);
        inspect_unload(&bytes);
    }
    buf_free(&at);
    rec_names_free(&names);
}

static void check_objects(struct tree *t)
{
    struct recovery *r = &t->recovery;
    char path[STORE_PATH];

    store_path(&t->dir, path, "log");
    if (r->generation == 0)
        inspect_damage(t->in, path, 0, "no generation of the commit log is complete");
    for (size_t i = 0; i < r->nlist; i++) {
        const struct rec_object *o = r->list[i];
        if (o->deleted)
            continue;
        if (!o->full_seen)
            inspect_damage(t->in, path, 0, "object %" PRIx64 " has changes, but no full record",
                           o->id);
        const struct rec_object *parent = o->parent != 0 ? rec_object_find(r, o->parent) : NULL;
        if (o->parent != 0 && parent == NULL)
            inspect_damage(t->in, path, 0, "object %" PRIx64 ": its parent %" PRIx64 " is missing",
                           o->id, o->parent);
    }
}

/* ---- streams ------------------------------------------------------------------------------- */

/* What the log holds for this segment, where the file has nothing that verifies. */
static void overlay(struct tree *t, uint64_t stream, uint64_t number, uint32_t salt,
                    struct inspect_bytes *bytes)
{
    struct recovery *r = &t->recovery;
    char path[STORE_PATH];
    struct batch_view v, there;

    for (size_t i = 0; i < r->ndata; i++) {
        const struct rec_data *d = &r->data[i];
        if (d->stream != stream || d->segment != number || d->offset + d->bytes > bytes->n)
            continue;
        uint8_t *data = mem_alloc(d->bytes + 1);
        rec_log_path(r, &r->files[d->file], path);
        fs_fd fd = fs_open(t->in->fs, path, IO_FILE_READ);
        int64_t got = fd >= 0 ? fs_read(t->in->fs, fd, data, d->bytes, d->log_offset) : -1;
        if (fd >= 0)
            fs_close(t->in->fs, fd);
        for (uint64_t at = 0; got == d->bytes && at + BATCH_HEADER <= d->bytes; at += BATCH_ALIGN) {
            uint8_t *to = bytes->p + d->offset + at;
            if (batch_view_open(data + at, d->bytes - at, salt, &v) != ERR_OK)
                continue;
            if (batch_view_open(to, d->bytes - at, salt, &there) != ERR_OK ||
                there.h.first_seq != v.h.first_seq || batch_verify(&there, salt, NULL) != 0)
                memcpy(to, data + at, v.h.bytes);
            at += v.h.bytes - BATCH_ALIGN;
        }
        mem_free(data);
    }
}

struct seen {
    uint64_t number;
    uint32_t generation;
    struct inspect_context context;
};

static void inspect_one(struct tree *t, const struct rec_stream *s, struct seen *seen)
{
    char path[STORE_PATH];
    struct inspect_bytes bytes;

    store_path_segment(&t->dir, path, s->rec.uuid, seen->number, seen->generation);
    if (!inspect_load(t->in, path, &bytes))
        return;
    if (seen->generation == 0)
        overlay(t, s->object->id, seen->number,
                store_salt_segment(t->dir.uuid, s->rec.uuid, seen->number, 0), &bytes);
    inspect_segment(t->in, path, &bytes, &seen->context);
    inspect_unload(&bytes);
}

static void check_gap(struct tree *t, const struct rec_stream *s, uint64_t first, uint64_t last)
{
    const struct stream_record *r = &s->rec;

    first = first < r->first_seq ? r->first_seq : first;
    if (first <= last && seqset_count_in(&r->removed, first, last) != last - first + 1)
        inspect_damage(t->in, s->dir, 0, "sequences %" PRIu64 " to %" PRIu64 " are in no segment",
                       first, last);
}

/* Neighbours, and the record's list of segments. */
static void check_segments(struct tree *t, const struct rec_stream *s, const struct seen *seen,
                           size_t n)
{
    uint64_t next = s->rec.first_seq;

    for (size_t i = 0; i < s->rec.nsegments; i++) {
        bool found = false;
        for (size_t k = 0; k < n; k++)
            found |= seen[k].number == s->rec.segments[i].number;
        if (!found)
            inspect_damage(t->in, s->dir, 0, "segment %" PRIu64 " is missing",
                           s->rec.segments[i].number);
    }
    for (size_t k = 0; k < n; k++) {
        const struct inspect_context *c = &seen[k].context;
        if (c->base_seq > next && c->proof >= next)
            check_gap(t, s, next, c->base_seq - 1);
        next = c->next_seq > next ? c->next_seq : next;
    }
    if (s->rec.last_seq >= next)
        check_gap(t, s, next, s->rec.last_seq);
}

/* Numbers of the stream's segments, ascending; the caller frees. */
static struct seen *list_segments(struct tree *t, const struct rec_stream *s, size_t *n)
{
    struct rec_names names;

    *n = 0;
    if (rec_list(t->in->fs, s->dir, &names) != ERR_OK)
        return NULL;
    struct seen *seen = mem_zalloc((names.n + 1) * sizeof(*seen));
    for (size_t i = 0; i < names.n; i++) {
        if (segment_name_parse(names.names[i], &seen[*n].number, &seen[*n].generation))
            ++*n;
        else
            inspect_say(t->in, "%s/%s: not a segment\n", s->dir, names.names[i]);
    }
    rec_names_free(&names);
    return seen;
}

/* Verified from the last to the first, for what the later ones prove; printed in order. */
static void inspect_segments(struct tree *t, const struct rec_stream *s, struct seen *seen,
                             size_t n)
{
    uint64_t proof = s->rec.last_seq, next_base = 0;

    for (size_t i = 0; i < n; i++) {
        struct seen *at = &seen[t->in->print ? i : n - 1 - i];
        at->context.record = &s->rec;
        at->context.durable_seq = t->in->print ? 0 : proof;
        if (next_base != 0 && next_base - 1 < at->context.durable_seq)
            at->context.durable_seq = next_base - 1;
        inspect_one(t, s, at);
        proof = at->context.proof > proof ? at->context.proof : proof;
        at->context.proof = proof;
        next_base = at->context.base_seq != 0 ? at->context.base_seq : next_base;
    }
    check_segments(t, s, seen, n);
}

static void inspect_stream(struct tree *t, struct rec_stream *s)
{
    size_t n;

    inspect_say(t->in, "%s: stream '%.*s', object %" PRIx64 "\n", s->dir,
                STR_ARG(buf_str(&s->rec.name)), s->object->id);
    if (s->failed) {
        inspect_damage(t->in, s->dir, 0, "%s", s->why);
        return;
    }
    if (s->rec.level == STORE_MEMORY)
        return;
    struct seen *seen = list_segments(t, s, &n);
    inspect_segments(t, s, seen, n);
    mem_free(seen);
}

static void inspect_tree(struct tree *t)
{
    struct recovery *r = &t->recovery;
    char path[STORE_PATH];
    struct rec_names names;

    for (size_t i = 0; i < r->nlist; i++)
        if (r->list[i]->stream != NULL)
            inspect_stream(t, r->list[i]->stream);
    store_path(&t->dir, path, "streams");
    if (rec_list(t->in->fs, path, &names) != ERR_OK)
        return;
    for (size_t i = 0; i < names.n; i++) {
        uint8_t uuid[16];
        bool known = false;
        bool valid = store_uuid_parse(names.names[i], strlen(names.names[i]), uuid);
        for (size_t k = 0; k < r->nlist && valid; k++)
            known |= r->list[k]->stream != NULL &&
                     memcmp(r->list[k]->stream->rec.uuid, uuid, 16) == 0;
        if (!known)
            inspect_say(t->in, "%s/%s: belongs to no stream\n", path, names.names[i]);
    }
    rec_names_free(&names);
}

/* ---- the directory ------------------------------------------------------------------------- */

static bool read_meta(struct tree *t)
{
    char path[STORE_PATH], why[160];
    struct inspect_bytes bytes;
    struct superblock sb;

    store_path(&t->dir, path, "store.meta");
    if (!inspect_load(t->in, path, &bytes))
        return false;
    inspect_superblock(t->in, path, &bytes);
    enum err err = superblock_decode(bytes.p, bytes.n, &sb, why);
    inspect_unload(&bytes);
    memcpy(t->dir.uuid, sb.uuid, 16);
    return err == ERR_OK;
}

static void say_lock(struct tree *t)
{
    char path[STORE_PATH], pid[24] = "";

    store_path(&t->dir, path, "LOCK");
    fs_fd fd = fs_open(t->in->fs, path, IO_FILE_READ);
    if (fd < 0)
        return;
    int64_t n = fs_read(t->in->fs, fd, pid, sizeof(pid) - 1, 0);
    pid[n > 0 ? n : 0] = '\0';
    pid[strspn(pid, "0123456789")] = '\0';
    fs_close(t->in->fs, fd);
    inspect_say(t->in, "%s: taken last by process %s\n", path, pid);
}

void inspect_dir(struct inspect *in, const char *path)
{
    struct tree t = {.in = in};
    struct recovery *r = &t.recovery;

    t.dir.options.fs = in->fs;
    t.dir.path = mem_strdup(path);
    *r = (struct recovery){.dir = &t.dir, .fs = in->fs, .why = t.why};
    hmap_init(&r->objects);
    say_lock(&t);
    if (strlen(path) > STORE_PATH - 112) {
        inspect_damage(in, path, 0, "path is too long");
    } else if (read_meta(&t)) {
        inspect_logs(&t, "log", log_name_parse);
        inspect_logs(&t, "twin", twin_name_parse);
        if (rec_logs_read(r) != ERR_OK || rec_streams_decode(r) != ERR_OK) {
            inspect_damage(in, path, 0, "%s", t.why);
        } else {
            check_objects(&t);
            inspect_tree(&t);
        }
    }
    recovery_deinit(r);
    mem_free(t.dir.path);
}
