/*
 * test_store_lend.c - Kafka batches that are lent where they lie in a file: which, how often, their
 * bytes, and what happens to the file meanwhile: removal, erasing, the stream's end.
 */
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "store/store_impl.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/rig.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT (1u << 20)
#define BATCHES 40u
#define MESSAGES 10u
#define BYTES 100000u
#define FIRST(k) (1 + (uint64_t) (k) *MESSAGES)

struct bench {
    struct rig r;
    struct rig_stream t;
};

/* Without those that are gone: the first 12 bytes, and the number of messages that are left. */
static enum err trim(struct str batch, uint32_t messages, const uint64_t *keep, struct buf *out)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < messages; i++)
        n += (keep[i / 64] >> (i % 64) & 1) != 0;
    uint8_t left = (uint8_t) n;
    buf_put(out, batch.p, 12);
    buf_put(out, &left, 1);
    return ERR_OK;
}

static uint64_t pool_bytes; /* of the next one */

static void open_bench(struct bench *b, const char *key, uint32_t pages_min, size_t size)
{
    struct rig_options o = {.log_file_bytes = 1 << 20,
                            .segment_min = SEGMENT,
                            .segment_max = SEGMENT,
                            .kafka_decode = rig_kafka_decode,
                            .kafka_trim = trim,
                            .kafka_pages_min = pages_min,
                            .pool_bytes = pool_bytes,
                            .key = key};

    rig_init(&b->r, &o);
    rig_create(&b->r, &b->t, "s", STORE_DURABLE, NULL);
    for (unsigned k = 0; k < BATCHES; k++)
        ck_assert_int_eq(rig_append_kafka(&b->t, "k", MESSAGES, size), ERR_OK);
    rig_flush(&b->t);
    rig_settle(&b->r);
    ck_assert_uint_gt(b->t.s->nindex, 3);
}

static void start_reader(struct bench *b, struct store_reader *r, uint64_t seq)
{
    store_reader_init(r, b->t.s, seq, NULL, 0, rig_on_ready, NULL);
}

static enum store_read next_entry(struct bench *b, struct store_reader *r, struct store_entry *e)
{
    for (;;) {
        bool ready = false;
        r->ctx = &ready;
        enum store_read result = store_reader_entry(r, e);
        if (result != STORE_READ_WAIT)
            return result;
        rig_wait(&b->r, &ready);
    }
}

static void check_bytes(uint64_t first, const char *bytes, size_t n)
{
    char *want = mem_alloc(n);

    ck_assert(get_u64(bytes) == first && get_u32(bytes + 8) == 7);
    rig_payload(first, want, n);
    ck_assert_mem_eq(bytes + 12, want + 12, n - 12);
    mem_free(want);
}

static void read_done(struct io_op *op)
{
    (void) op;
}

/* What is there in the file. */
static void check_lent(struct bench *b, const struct store_lent *l)
{
    char *bytes = mem_alloc(l->bytes);
    struct io_op op;

    ck_assert_uint_eq(l->messages, MESSAGES);
    io_op_init(&op, read_done);
    io_read(b->r.io, &op, l->file, bytes, l->bytes, l->offset);
    while (io_op_busy(&op))
        rig_step(&b->r);
    ck_assert_int_eq(op.res, l->bytes);
    check_bytes(l->first_seq, bytes, l->bytes);
    mem_free(bytes);
}

/* Reads all batches from the disk, whichever way; how many were lent. */
static unsigned drain(struct bench *b)
{
    struct store_reader r;
    struct store_entry e;
    struct store_lent l;
    uint64_t seq = 1;
    unsigned lent = 0;

    store_shed_cache(b->r.store);
    start_reader(b, &r, 1);
    for (unsigned k = 0; k < BATCHES; k++, seq += MESSAGES) {
        if (store_reader_in_file(&r, &l)) {
            ck_assert_uint_eq(l.first_seq, seq);
            store_reader_lend(&r, &l);
            check_lent(b, &l);
            store_lent_return(&l);
            lent++;
        } else {
            ck_assert_int_eq(next_entry(b, &r, &e), STORE_READ_MSG);
            ck_assert_uint_eq(e.first_seq, seq);
            check_bytes(seq, e.batch.p, e.batch.n);
        }
        ck_assert_uint_eq(r.seq, seq + MESSAGES);
    }
    ck_assert_int_eq(next_entry(b, &r, &e), STORE_READ_END);
    ck_assert(!store_reader_in_file(&r, &l));
    store_reader_deinit(&r);
    return lent;
}

static unsigned sealed_batches(const struct bench *b)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < b->t.s->nindex; i++)
        n += b->t.s->index[i]->state == SEGMENT_SEALED ? b->t.s->index[i]->nentries : 0;
    return n;
}

static void reopen(struct bench *b)
{
    rig_stop(&b->r);
    rig_start(&b->r);
    rig_attach(&b->r, &b->t, "s");
    store_recovered_done(b->r.store);
}

/* Those of sealed segments, behind the first read of each; STORE_LEND_MOST times, then it is read
 * again. */
TEST(what_was_verified_is_lent)
{
    struct bench b;

    open_bench(&b, NULL, i == 0 ? 0 : 40000, BYTES);
    ck_assert_uint_gt(sealed_batches(&b), BATCHES / 2);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned turn = 0; turn < 2; turn++) {
            ck_assert_uint_eq(drain(&b), 0);
            for (unsigned n = 0; n < STORE_LEND_MOST; n++)
                ck_assert_uint_eq(drain(&b), sealed_batches(&b));
        }
        reopen(&b);
    }
    rig_deinit(&b.r);
}

/* What is in memory is read there; what is asked for by a message goes from its batch's start. */
TEST(what_is_in_memory_is_not_lent)
{
    struct bench b;
    struct store_reader r;
    struct store_entry e;
    struct store_lent l;

    open_bench(&b, NULL, 0, BYTES);
    drain(&b);
    start_reader(&b, &r, FIRST(2) + 3);
    ck_assert(!store_reader_in_file(&r, &l));
    store_shed_cache(b.r.store);
    ck_assert(store_reader_in_file(&r, &l));
    ck_assert(l.first_seq == FIRST(2) && r.seq == FIRST(2) + 3);
    ck_assert_int_eq(next_entry(&b, &r, &e), STORE_READ_MSG);
    ck_assert_uint_eq(e.first_seq, FIRST(2));
    store_reader_seek(&r, FIRST(2));
    ck_assert(!store_reader_in_file(&r, &l));
    store_reader_deinit(&r);
    rig_deinit(&b.r);
}

/* Small ones; encrypted ones. */
TEST(what_is_not_lent)
{
    struct bench b;

    if (i == 0)
        open_bench(&b, NULL, 0, STORE_LEND_MIN - 1000);
    else
        open_bench(&b, "a secret key", 0, BYTES);
    for (unsigned n = 0; n < 3; n++)
        ck_assert_uint_eq(drain(&b), 0);
    rig_deinit(&b.r);
}

/* Bytes of the k-th batch of the first segment. */
static void damage(struct bench *b, unsigned k)
{
    const struct segment *seg = b->t.s->index[0];
    FILE *f = fopen(seg->path, "r+");

    ck_assert(f != NULL && fseek(f, (long) seg->entries[k].b.offset + 5000, SEEK_SET) == 0);
    ck_assert_uint_eq(fwrite("damage", 1, 6, f), 6);
    fclose(f);
}

/* Damage that comes behind the verification is seen soon: nobody is given that batch for ever. */
TEST(damage_is_found_again)
{
    struct bench b;
    struct store_reader r;
    struct store_entry e;
    struct store_lent l;
    unsigned n = 0;

    open_bench(&b, NULL, 0, BYTES);
    drain(&b);
    store_shed_cache(b.r.store);
    damage(&b, 1);
    start_reader(&b, &r, FIRST(1));
    for (; store_reader_in_file(&r, &l) && l.first_seq == FIRST(1); n++) {
        store_reader_lend(&r, &l);
        store_lent_return(&l);
        store_reader_seek(&r, FIRST(1));
    }
    ck_assert_uint_eq(n, STORE_LEND_MOST);
    ck_assert_int_eq(next_entry(&b, &r, &e), STORE_READ_MSG);
    ck_assert_uint_eq(e.first_seq, FIRST(2));
    ck_assert_uint_eq(b.t.s->rec.lost_msgs, MESSAGES);
    store_reader_seek(&r, FIRST(1));
    ck_assert(!store_reader_in_file(&r, &l) || l.first_seq == FIRST(2));
    store_reader_deinit(&r);
    rig_deinit(&b.r);
}

/* Lends batch k. */
static struct store_lent lend(struct bench *b, unsigned k)
{
    struct store_reader r;
    struct store_lent l;

    store_shed_cache(b->r.store);
    start_reader(b, &r, FIRST(k));
    ck_assert(store_reader_in_file(&r, &l));
    ck_assert_uint_eq(l.first_seq, FIRST(k));
    store_reader_lend(&r, &l);
    store_reader_deinit(&r);
    return l;
}

/* A batch with a hole is not lent, its neighbours are. */
TEST(one_with_holes_is_not_lent)
{
    struct bench b;
    struct store_reader r;
    struct store_lent l;

    open_bench(&b, NULL, 0, BYTES);
    drain(&b);
    store_shed_cache(b.r.store);
    ck_assert_int_eq(store_remove(b.t.s, FIRST(2) + 4, false, NULL), ERR_OK);
    start_reader(&b, &r, FIRST(2));
    ck_assert(!store_reader_in_file(&r, &l));
    store_reader_seek(&r, FIRST(3));
    ck_assert(store_reader_in_file(&r, &l));
    store_reader_deinit(&r);
    rig_deinit(&b.r);
}

/* All of its segment's messages go (i = 0), or one is erased (1), or the stream is deleted (2). The
 * file is there until the batch is returned, and not longer; an erasure is answered then. */
TEST(the_file_stays_while_it_is_lent)
{
    struct bench b;
    struct store_purge p = {.before_seq = FIRST(20)};
    struct rig_req q;
    char path[256];

    open_bench(&b, NULL, 0, BYTES);
    drain(&b);
    struct store_lent l = lend(&b, 2), other = lend(&b, 3);
    snprintf(path, sizeof(path), "%s", l.segment->path);
    rig_req_init(&q);
    if (i == 0)
        store_purge(b.t.s, &p, &q.req);
    else if (i == 1)
        ck_assert_int_eq(store_remove(b.t.s, FIRST(2) + 4, true, &q.req), ERR_OK);
    else
        store_stream_delete(b.t.s, &q.req);
    if (i != 1)
        ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    for (unsigned n = 0; n < 50; n++)
        rig_step(&b.r);
    ck_assert_uint_ge(b.r.store->jobs, 2); /* what its end waits for */
    ck_assert(access(path, F_OK) == 0 && (i != 1 || !q.done));
    check_lent(&b, &l);
    store_lent_return(&l);
    rig_step(&b.r);
    ck_assert(access(path, F_OK) == 0 && (i != 1 || !q.done));
    check_lent(&b, &other);
    store_lent_return(&other);
    while (access(path, F_OK) == 0)
        rig_step(&b.r);
    if (i == 1)
        ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    rig_deinit(&b.r);
}

static ino_t inode_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_ino : 0;
}

static bool in_pool(const struct bench *b, ino_t inode)
{
    char path[600];
    struct dirent *e;
    bool found = false;

    snprintf(path, sizeof(path), "%s/pool", b->r.path);
    DIR *d = opendir(path);
    ck_assert(d != NULL);
    while ((e = readdir(d)) != NULL)
        found = found || e->d_ino == inode;
    closedir(d);
    return found;
}

/* What a socket was given out of it lies in the page cache until the peer has it, which may be long
 * behind the return: whoever wrote into the file then would write into that. Others are used again
 * when their messages are purged (i = 0), or their stream is deleted. */
TEST(what_was_lent_is_not_used_again)
{
    struct bench b;
    struct store_purge p = {.before_seq = FIRST(BATCHES - 1)};
    char path[256], other_path[256];
    ino_t lent, other;
    struct rig_req q;

    pool_bytes = 64 << 20;
    open_bench(&b, NULL, 0, BYTES);
    drain(&b);
    struct store_lent l = lend(&b, BATCHES / 2);
    const struct segment *next = segment_after(l.segment);
    snprintf(path, sizeof(path), "%s", l.segment->path);
    snprintf(other_path, sizeof(other_path), "%s", next->path);
    lent = inode_of(path);
    other = inode_of(other_path);
    ck_assert(lent != 0 && other != 0 && next->capacity == l.segment->capacity);
    store_lent_return(&l);
    rig_req_init(&q);
    if (i == 0)
        store_purge(b.t.s, &p, &q.req);
    else
        store_stream_delete(b.t.s, &q.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    while (inode_of(path) != 0 || inode_of(other_path) != 0)
        rig_step(&b.r);
    ck_assert(in_pool(&b, other));
    ck_assert(!in_pool(&b, lent));
    rig_deinit(&b.r);
    pool_bytes = 0;
}

static const struct runner_case cases[] = {
    RUN_LOOP(what_was_verified_is_lent, 0, 2),
    RUN(what_is_in_memory_is_not_lent),
    RUN_LOOP(what_is_not_lent, 0, 2),
    RUN(damage_is_found_again),
    RUN(one_with_holes_is_not_lent),
    RUN_LOOP(the_file_stays_while_it_is_lent, 0, 3),
    RUN_LOOP(what_was_lent_is_not_used_again, 0, 2),
};

RUNNER_MAIN("store/store_lend", cases)
