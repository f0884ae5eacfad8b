/*
 * judge_erased.c - a message whose erasure was answered is in no file of its stream: no batch holds
 * its sequence, or, in a segment where erasing writes over the record, that is zeros; and there is
 * no file of the stream but those it says. When the commit logs say that they were washed since,
 * no file of the directory has its text.
 */
#include "store/store_impl.h"
#include "tests/sim/sim_disk_int.h"
#include "tests/sim/world.h"

#include <stdlib.h>
#include <string.h>

#define ULL(x) ((unsigned long long) (x))

/* So many bytes of a payload in a row are in no other message. */
enum { TELLING = 16 };

/* Is a piece of the message's payload there? */
static bool has_text(const struct model_stream *s, uint64_t seq, const uint8_t *bytes, size_t n)
{
    const struct model_msg *m = model_msg(s, seq);
    char *text = sim_alloc(model_msg_size(m));
    struct store_append a;
    bool found = false;

    model_msg_render(s, m, text, &a);
    for (size_t i = 0; i + TELLING <= a.payload.n && !found; i++)
        found = memmem(bytes, n, a.payload.p + i, TELLING) != NULL;
    free(text);
    return found;
}

/* Reads the batch from the disk: is the record zeros there? What decayed may not say where it is;
 * then its text must not be anywhere in the batch. */
static bool is_written_over(struct world *w, const struct model_stream *s,
                            const struct segment *seg, const struct segment_batch *b, uint64_t seq)
{
    struct sim_inode *ino;
    struct batch_view v;
    uint32_t i;
    char path[STORE_PATH + 1];

    snprintf(path, sizeof(path), "/%s", seg->path);
    if (sim_disk_lookup(sim_disk(w->sim), path, &ino) < 0)
        return false;
    uint8_t *bytes = sim_alloc(b->bytes);
    size_t got = sim_disk_read(ino, bytes, b->bytes, b->offset);
    sim_disk_release(sim_disk(w->sim), ino);
    bool opens = batch_view_open(bytes, got, seg->salt, &v) == ERR_OK;
    bool erased = opens && batch_view_decode(&v, NULL) == ERR_OK && batch_find(&v, seq, &i) &&
                  batch_record_verify(&v, i, seg->salt) == BATCH_RECORD_ERASED;
    if (!opens && w->decay.segment)
        erased = !has_text(s, seq, bytes, got);
    free(bytes);
    return erased;
}

static void judge_message(struct world *w, const struct model_stream *s, uint64_t seq)
{
    const struct segment *seg = stream_segment_of(s->handle, seq);
    uint32_t entry, i;

    if (seg == NULL || !segment_find(seg, seq, &entry) ||
        !entry_find(seg, &seg->entries[entry], seq, &i))
        return;
    const struct segment_batch *b = &seg->entries[entry].b;
    /* The segment's key says nothing here: one whose header page is damaged has the current one. */
    bool in_place = seg->generation == 0 && (b->flags & BATCH_ENCRYPTED) == 0 &&
                    b->kind == BATCH_NATIVE;
    if (!in_place || !is_written_over(w, s, seg, b, seq))
        world_fail(w, "stream %u: message %llu was erased, and %s has it", s->key, ULL(seq),
                   seg->path);
}

static void count_segment(void *ctx, const char *name)
{
    size_t n = strlen(name);

    *(unsigned *) ctx += n > 4 && strcmp(name + n - 4, ".seg") == 0;
}

void judge_erased(struct world *w, const struct model_stream *s)
{
    const struct store_stream *h = s->handle;
    unsigned files = 0, erased = 0;
    char path[STORE_PATH + 1];

    if (h == NULL || s->failed || s->level == STORE_MEMORY || w->model->faults || w->model->full ||
        world_full(w))
        return;
    if (w->decay.kind == DECAY_MISDIRECTED) /* it may have brought the bytes from the log */
        return;
    for (uint64_t i = 0; i < s->n; i++) {
        if (!s->msgs[i].erased)
            continue;
        judge_message(w, s, s->first + i);
        erased++;
    }
    snprintf(path, sizeof(path), "/%s", h->dir);
    sim_disk_list(sim_disk(w->sim), path, count_segment, &files);
    if (erased > 0 && files > h->nindex + (h->next != NULL))
        world_fail(w, "stream %u has %u segments and %u files", s->key, h->nindex, files);
}

/* ---- the commit logs ------------------------------------------------------------------------- */

/* So many are looked for each time: others the next time. */
enum { SOUGHT = 4 };

struct wash {
    char text[SOUGHT][TELLING];
    const struct model_stream *of[SOUGHT];
    uint64_t seq[SOUGHT];
    unsigned n, seen, from;
    bool marked;
    int found; /* index, -1: none */
    char path[STORE_PATH];
};

static void find_mark(void *ctx, const char *path, struct sim_inode *ino)
{
    (void) ino;
    ((struct wash *) ctx)->marked |= strstr(path, ".erased") != NULL;
}

static void find_texts(void *ctx, const char *path, struct sim_inode *ino)
{
    struct wash *x = ctx;
    size_t n = sim_disk_size(ino);

    if (strstr(path, "/quarantine/") != NULL || x->found >= 0)
        return;
    char *bytes = sim_alloc(n + 1);
    n = sim_disk_read(ino, bytes, n, 0);
    for (unsigned i = 0; i < x->n && x->found < 0; i++)
        if (memmem(bytes, n, x->text[i], TELLING) != NULL)
            x->found = (int) i;
    if (x->found >= 0)
        snprintf(x->path, sizeof(x->path), "%s", path);
    free(bytes);
}

static void seek(struct wash *x, const struct model_stream *s, uint64_t seq)
{
    const struct model_msg *m = model_msg(s, seq);
    struct store_append a;

    if (m->payload < TELLING || x->n == SOUGHT || x->seen++ < x->from)
        return;
    char *text = sim_alloc(model_msg_size(m));
    model_msg_render(s, m, text, &a);
    memcpy(x->text[x->n], a.payload.p, TELLING);
    x->of[x->n] = s;
    x->seq[x->n++] = seq;
    free(text);
}

/* Those of one stream, from the from-th on. */
static void seek_some(struct wash *x, const struct model_stream *s)
{
    for (uint64_t i = 0; i < s->n; i++)
        if (s->msgs[i].erased)
            seek(x, s, s->first + i);
}

void judge_washed(struct world *w)
{
    struct wash x = {.from = (unsigned) (w->cuts % 16), .found = -1};

    if (w->model->faults || w->model->full || world_full(w) || w->log_lost ||
        w->decay.kind != DECAY_NONE)
        return;
    sim_disk_walk(sim_disk(w->sim), find_mark, &x);
    for (unsigned i = 0; i < w->model->nstreams && !x.marked; i++)
        if (w->model->streams[i]->handle != NULL && !w->model->streams[i]->failed)
            seek_some(&x, w->model->streams[i]);
    if (x.n == 0)
        return;
    sim_disk_walk(sim_disk(w->sim), find_texts, &x);
    if (x.found >= 0)
        world_fail(w, "stream %u: message %llu was erased, no log is to be washed, and %s has it",
                   x.of[x.found]->key, ULL(x.seq[x.found]), x.path);
}
