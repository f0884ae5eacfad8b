/*
 * world_stream.h - a stream of three segments in a world (world.h), and what a recovered one
 * contains.
 */
#ifndef TESTS_WORLD_STREAM_H
#define TESTS_WORLD_STREAM_H

#include "tests/unit/store/world.h"

static inline struct recovered_stream *stream(struct world *w)
{
    ck_assert_uint_eq(w->dir->workers[0].nstreams, 1);
    return &w->dir->workers[0].streams[0];
}

/* Sequences that the recovered indexes show and the record does not remove; each is read and
 * compared. */
struct content {
    unsigned messages, damaged; /* damaged: found so when it is read, in sealed segments */
    uint64_t first, last;
};

/* False: it is damaged. */
static inline bool read_message(struct world *w, const struct recovered_stream *s,
                                const struct recovered_segment *seg, const struct segment_index *x,
                                uint64_t seq)
{
    char path[STORE_PATH], text[64];
    struct batch_view v;
    struct batch_record r;
    uint32_t k;

    for (uint64_t b = 0; b < x->summary.batches; b++) {
        const struct segment_batch *at = &x->batches[b];
        if (seq < at->first_seq || seq >= at->first_seq + at->span)
            continue;
        store_path_segment(w->dir, path, s->uuid, seg->number, seg->generation);
        uint8_t *bytes = malloc(at->bytes);
        fs_fd fd = fs_open(w->fs, path, IO_FILE_READ);
        ck_assert_int_eq(fs_read(w->fs, fd, bytes, at->bytes, at->offset), at->bytes);
        fs_close(w->fs, fd);
        bool good = batch_view_open(bytes, at->bytes, seg->salt, &v) == ERR_OK ||
                    (batch_repair(bytes, at->bytes, seg->salt) &&
                     batch_view_open(bytes, at->bytes, seg->salt, &v) == ERR_OK);
        good = good && batch_find(&v, seq, &k) &&
               batch_record_verify(&v, k, seg->salt) == BATCH_RECORD_OK;
        if (good) {
            batch_record_get(&v, k, &r);
            ck_assert(str_eq(r.payload, fixture_payload(seq, text)));
        }
        free(bytes);
        return good;
    }
    ck_abort_msg("message %llu is in no batch", (unsigned long long) seq);
    return false;
}

static inline struct content content(struct world *w, struct recovered_stream *s)
{
    struct content c = {0};
    uint64_t seq, expected = 0;
    uint32_t bytes;

    stream_record_check(&s->rec);
    for (size_t k = 0; k < s->nsegments; k++) {
        struct segment_index x;
        struct size_iter it;
        struct recovered_segment *seg = &s->segments[k];
        enum recovered_state state = seg->state;
        ck_assert_int_eq(recovered_segment_load(w->dir, s, seg, &x), ERR_OK);
        ck_assert(k + 1 == s->nsegments || state == RECOVERED_SEALED);
        ck_assert(expected == 0 || seg->base_seq >= expected);
        expected = seg->next_seq;
        size_iter_init(&it, x.sizes, seg->base_seq);
        while (size_iter_next(&it, &seq, &bytes)) {
            if (seq < s->rec.first_seq || seqset_has(&s->rec.removed, seq))
                continue;
            if (!read_message(w, s, seg, &x, seq)) {
                c.damaged++;
                continue;
            }
            c.first = c.messages++ == 0 ? seq : c.first;
            c.last = seq;
        }
        if (state == RECOVERED_ACTIVE)
            seg->index = x;
        else
            segment_index_deinit(&x);
    }
    return c;
}

/* A stream of three segments: 1 sealed, 2 and 3 as a crash left them; 34 messages, 1 to 34. */
static inline void put_stream(struct world *w, struct fixture f[3])
{
    struct stream_record r;

    world_stream_record(5, &r);
    world_segment(w, &f[0], 5, 1, 1);
    fixture_batch(&f[0], 6, 0, 0);
    fixture_batch(&f[0], 4, 6, 0);
    fixture_seal(&f[0], 0);
    world_segment(w, &f[1], 5, 2, 11);
    fixture_batch(&f[1], 7, 10, 0);
    fixture_pad(&f[1], SEGMENT_PAGE);
    fixture_batch(&f[1], 3, 17, 0);
    world_segment(w, &f[2], 5, 3, 21);
    fixture_batch(&f[2], 5, 20, 0);
    fixture_batch(&f[2], 5, 25, 0);
    fixture_pad(&f[2], SEGMENT_PAGE);
    fixture_batch(&f[2], 4, 30, 0);
    for (unsigned k = 0; k < 3; k++) {
        world_put_segment(w, &f[k], k == 0 ? 0 : 20000);
        stream_record_add_segment(&r, k + 1, f[k].header.base_seq);
    }
    world_stream(w, 7, &r);
    world_start(w);
    stream_record_deinit(&r);
}

static inline void put_world(struct world *w, struct fixture f[3])
{
    world_init(w);
    put_stream(w, f);
    world_put_log(w, 0);
    world_drop_first_generation(w);
}

static inline void end_world(struct world *w, struct fixture f[3])
{
    for (unsigned k = 0; k < 3; k++)
        fixture_free(&f[k]);
    world_free(w);
}

#endif
