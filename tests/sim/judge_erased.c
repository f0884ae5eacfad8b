/*
 * judge_erased.c - a message whose erasure was answered is in no file of its stream: no batch holds
 * its sequence, or, in a segment where erasing writes over the record, that is zeros; and there is
 * no file of the stream but those it says.
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
    bool in_place = seg->generation == 0 && seg->crypt == NULL && b->kind == BATCH_NATIVE;
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
