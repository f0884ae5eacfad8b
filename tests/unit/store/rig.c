/* rig.c - see rig.h. */
#include "tests/unit/store/rig.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEADLINE_NS 30000000000ull

/* ---- loop and store -------------------------------------------------------------------------- */

static void on_line(struct log *log, enum log_level level, const char *text)
{
    struct rig *r = CONTAINER_OF(log, struct rig, log);

    if (level <= LOG_WARN) {
        r->warnings++;
        snprintf(r->last_warning, sizeof(r->last_warning), "%s", text);
    }
    if (getenv("RIG_VERBOSE") != NULL)
        fprintf(stderr, "%s\n", text);
}

void rig_init(struct rig *r, const struct rig_options *options)
{
    const char *tmp = getenv("TMPDIR");

    memset(r, 0, sizeof(*r));
    if (options != NULL)
        r->options = *options;
    r->log.line = on_line;
    r->log.enabled = (1u << LOG_FATAL) | (1u << LOG_ERROR) | (1u << LOG_WARN) | (1u << LOG_INFO);
    if (r->options.sim != NULL) {
        snprintf(r->path, sizeof(r->path), "/data");
    } else {
        snprintf(r->path, sizeof(r->path), "%s/midge-store-XXXXXX", tmp != NULL ? tmp : "/tmp");
        ck_assert_ptr_nonnull(mkdtemp(r->path));
    }
    rig_start(r);
}

static struct io *open_loop(struct rig *r)
{
    struct io_config config;
    struct io *io;

    io_config_init(&config);
    config.log = &r->log;
    if (r->options.sim != NULL)
        return sim_io_open(r->options.sim, &config);
    config.backend = IO_BACKEND_EVENT;
    if (r->options.commit_threads != 0)
        config.commit_threads = r->options.commit_threads;
    ck_assert_int_eq(io_open(&config, &io), 0);
    return io;
}

enum err rig_try_start(struct rig *r, char why[256])
{
    struct io *io = open_loop(r);
    struct store_dir_options dir = {
        .fs = io_fs(io),
        .path = r->path,
        .log = &r->log,
        .workers = r->options.workers != 0 ? r->options.workers : 1,
        .pool_bytes = r->options.pool_bytes,
        .index_lazy_bytes = r->options.index_lazy_bytes,
        .drop_bytes = r->options.drop_bytes,
        .seal_bytes = r->options.seal_bytes,
        .log_file_bytes = r->options.log_file_bytes,
        .segment_bytes_min = r->options.segment_min,
        .segment_bytes_max = r->options.segment_max,
        .kafka = r->options.kafka_decode != NULL,
        .seed = 4711,
        .key = str_of(r->options.key != NULL ? r->options.key : ""),
        .prev_key = str_of(r->options.prev_key != NULL ? r->options.prev_key : ""),
        .cipher = r->options.cipher,
    };
    enum err err = store_dir_open(&dir, &r->dir, why);

    if (err != ERR_OK) {
        io_close(io);
        return err;
    }
    r->io = io;
    r->chunks = chunk_pool_open();
    struct store_options options = {
        .io = r->io,
        .chunks = r->chunks,
        .log = &r->log,
        .cache_bytes = r->options.cache_bytes,
        .staging_bytes = r->options.staging_bytes,
        .ride_ns = r->options.ride_ns,
        .kafka_decode = r->options.kafka_decode,
        .kafka_trim = r->options.kafka_trim,
        .kafka_pages_min = r->options.kafka_pages_min,
    };
    ck_assert_int_eq(store_open(r->dir, 0, &options, &r->store), ERR_OK);
    r->closed = false;
    return ERR_OK;
}

void rig_start(struct rig *r)
{
    char why[256];
    enum err err = rig_try_start(r, why);

    ck_assert_msg(err == ERR_OK, "store_dir_open: %s", why);
}

static void on_closed(void *ctx)
{
    ((struct rig *) ctx)->closed = true;
}

void rig_stop(struct rig *r)
{
    store_check(r->store);
    rig_close(r);
}

void rig_close(struct rig *r)
{
    uint64_t begin = io_now(r->io);

    store_close(r->store, on_closed, r);
    while (!r->closed) {
        store_step(r->store);
        if (r->closed)
            break;
        rig_turn(r, 1000000);
        ck_assert_msg(io_now(r->io) - begin < DEADLINE_NS, "store_close does not end");
    }
    for (int i = 0; i < 20; i++)
        rig_turn(r, 1000000);
    store_dir_close(r->dir);
    io_close(r->io);
    chunk_pool_close(r->chunks);
    r->store = NULL;
}

void rig_deinit(struct rig *r)
{
    char command[256];

    if (r->store != NULL)
        rig_stop(r);
    if (r->options.sim != NULL)
        return;
    snprintf(command, sizeof(command), "rm -rf %s", r->path);
    ck_assert_int_eq(system(command), 0);
}

void rig_turn(struct rig *r, uint64_t max_ns)
{
    if (r->options.sim == NULL) {
        io_poll(r->io, max_ns);
        return;
    }
    if (max_ns == 0)
        sim_want(r->io);
    if (sim_next(r->options.sim, max_ns) != NULL)
        io_poll(r->io, 0);
}

void rig_step(struct rig *r)
{
    bool soon = store_step(r->store);

    rig_turn(r, soon ? 0 : 1000000);
}

void rig_sleep(struct rig *r, uint64_t ns)
{
    uint64_t end = io_now(r->io) + ns;

    while (io_now(r->io) < end) {
        bool soon = store_step(r->store);
        uint64_t left = end - io_now(r->io);
        rig_turn(r, soon ? 0 : left);
        io_clock_update(r->io);
    }
    store_step(r->store);
}

void rig_wait(struct rig *r, const bool *flag)
{
    uint64_t begin = io_now(r->io);

    while (!*flag) {
        rig_step(r);
        ck_assert_msg(io_now(r->io) - begin < DEADLINE_NS, "waited in vain");
    }
}

void rig_wait_u64(struct rig *r, const uint64_t *value, uint64_t at_least)
{
    uint64_t begin = io_now(r->io);

    while (*value < at_least) {
        rig_step(r);
        ck_assert_msg(io_now(r->io) - begin < DEADLINE_NS, "waited in vain: %llu of %llu",
                      (unsigned long long) *value, (unsigned long long) at_least);
    }
}

void rig_settle(struct rig *r)
{
    unsigned quiet = 0;

    while (quiet < 5) {
        bool soon = store_step(r->store);
        uint64_t begin = io_now(r->io);
        rig_turn(r, soon ? 0 : 10000000);
        io_clock_update(r->io);
        /* Nothing came in all that time. */
        quiet = soon || io_now(r->io) - begin < 10000000 ? 0 : quiet + 1;
    }
    store_check(r->store);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void on_req(struct store_req *req, enum err err)
{
    struct rig_req *q = CONTAINER_OF(req, struct rig_req, req);

    ck_assert_msg(!q->done, "a request completed twice");
    q->done = true;
    q->err = err;
}

void rig_req_init(struct rig_req *q)
{
    memset(q, 0, sizeof(*q));
    q->req.done = on_req;
}

enum err rig_req_wait(struct rig *r, struct rig_req *q)
{
    rig_wait(r, &q->done);
    return q->err;
}

/* ---- streams --------------------------------------------------------------------------------- */

static void on_begun(void *ctx, uint64_t last_seq)
{
    struct rig_stream *t = ctx;

    ck_assert_uint_gt(last_seq, t->begun);
    t->begun = last_seq;
}

static void on_committed(void *ctx, uint64_t first_seq, uint64_t last_seq)
{
    struct rig_stream *t = ctx;

    ck_assert_msg(t->committed == 0 || first_seq == t->committed + 1, "commits out of order");
    ck_assert_uint_le(last_seq, t->begun);
    t->committed = last_seq;
    t->commits++;
}

static void on_removed(void *ctx, uint64_t first_seq, uint64_t last_seq, uint64_t msgs,
                       enum store_reason reason)
{
    struct rig_stream *t = ctx;

    ck_assert_uint_le(first_seq, last_seq);
    t->removed += msgs;
    t->removed_by[reason] += msgs;
    if (last_seq > t->removed_last)
        t->removed_last = last_seq;
}

static void on_failed(void *ctx, enum err err, const char *why)
{
    struct rig_stream *t = ctx;

    ck_assert_ptr_nonnull(why);
    t->failed = true;
    t->failed_err = err;
}

static void on_render(void *ctx, struct buf *out)
{
    buf_puts(out, ((struct rig_stream *) ctx)->config);
}

static const struct store_stream_ops ops = {
    .commit_begun = on_begun,
    .committed = on_committed,
    .removed = on_removed,
    .failed = on_failed,
    .render_config = on_render,
};

const struct store_stream_ops *rig_ops(void)
{
    return &ops;
}

void rig_create(struct rig *r, struct rig_stream *t, const char *name, enum store_level level,
                const struct store_limits *limits)
{
    struct store_stream_options options = {.name = str_of(name), .level = level};
    struct rig_req q;

    memset(t, 0, sizeof(*t));
    t->rig = r;
    snprintf(t->config, sizeof(t->config), "config of %s", name);
    options.config = str_of(t->config);
    if (limits != NULL)
        options.limits = *limits;
    rig_req_init(&q);
    ck_assert_int_eq(store_stream_create(r->store, &options, &ops, t, &t->s, &q.req), ERR_OK);
    ck_assert_int_eq(rig_req_wait(r, &q), ERR_OK);
    t->id = store_stream_id(t->s);
}

struct find_name {
    const char *name;
    struct rig *rig;
    struct rig_stream *t;
};

static void try_attach(void *ctx, const struct store_object_view *v)
{
    struct find_name *f = ctx;
    struct str config;

    if (v->kind != STORE_KIND_STREAM || f->t->s != NULL)
        return;
    char want[64];
    snprintf(want, sizeof(want), "config of %s", f->name);
    if (memmem(v->full.p, v->full.n, want, strlen(want)) == NULL)
        return;
    ck_assert_int_eq(store_stream_attach(f->rig->store, v->id, &ops, f->t, &f->t->s, &config),
                     ERR_OK);
    ck_assert_msg(str_eq(config, str_of(want)), "config came back as %.*s", STR_ARG(config));
    snprintf(f->t->config, sizeof(f->t->config), "%s", want);
    f->t->id = v->id;
}

void rig_attach(struct rig *r, struct rig_stream *t, const char *name)
{
    struct find_name f = {name, r, t};
    struct store_state state;

    memset(t, 0, sizeof(*t));
    t->rig = r;
    store_recovered_each(r->store, try_attach, &f);
    ck_assert_msg(t->s != NULL, "stream %s was not recovered", name);
    store_stream_state(t->s, &state);
    t->begun = t->committed = state.last_seq;
}

/* ---- messages -------------------------------------------------------------------------------- */

void rig_payload(uint64_t seq, char *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (char) ('a' + (seq * 31 + i * 7 + i / 26) % 26);
}

static enum err append(struct rig_stream *t, const char *subject, size_t size)
{
    static char payload[1 << 20];
    uint64_t last, msgs, bytes, seq;
    enum err err;

    store_stream_state_assigned(t->s, &last, &msgs, &bytes);
    rig_payload(last + 1, payload, size);
    struct store_append m = {
        .subject = str_of(subject), .payload = str_from(payload, size), .ts = io_wall(t->rig->io)};
    err = store_append(t->s, &m, &seq);
    if (err == ERR_OK)
        ck_assert_uint_eq(seq, last + 1);
    return err;
}

enum err rig_append(struct rig_stream *t, unsigned n, size_t size, unsigned subjects)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t last, msgs, bytes;
        char subject[32];
        store_stream_state_assigned(t->s, &last, &msgs, &bytes);
        snprintf(subject, sizeof(subject), "s.%llu", (unsigned long long) ((last + 1) % subjects));
        enum err err = append(t, subject, size);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err rig_append_to(struct rig_stream *t, const char *subject, size_t size)
{
    return append(t, subject, size);
}

void rig_flush(struct rig_stream *t)
{
    uint64_t last, msgs, bytes;

    store_stream_state_assigned(t->s, &last, &msgs, &bytes);
    rig_wait_u64(t->rig, &t->committed, last);
}

/* ---- reading --------------------------------------------------------------------------------- */

void rig_on_ready(struct store_reader *r)
{
    *(bool *) r->ctx = true;
}

enum store_read rig_get(struct rig_stream *t, uint64_t seq, struct store_msg *out,
                        struct store_reader *reader)
{
    static bool ready;
    enum store_read result;

    store_reader_init(reader, t->s, seq, NULL, 0, rig_on_ready, &ready);
    for (;;) {
        ready = false;
        result = store_reader_get(reader, seq, out);
        if (result != STORE_READ_WAIT)
            return result;
        rig_wait(t->rig, &ready);
    }
}

bool rig_has(struct rig_stream *t, uint64_t seq)
{
    struct store_reader reader;
    struct store_msg m;
    bool has = rig_get(t, seq, &m, &reader) == STORE_READ_MSG;

    store_reader_deinit(&reader);
    return has;
}

static void check_msg(const struct store_msg *m, size_t size)
{
    static char want[1 << 20];

    rig_payload(m->seq, want, size);
    ck_assert_uint_eq(m->payload.n, size);
    ck_assert_int_eq(memcmp(m->payload.p, want, size), 0);
    ck_assert_int_eq(memcmp(m->payload.p + size, "\r\n", 2), 0);
    ck_assert_ptr_nonnull(m->chunk);
    const uint8_t *p = (const uint8_t *) m->payload.p;
    ck_assert(p >= m->chunk->data && p + size <= m->chunk->data + m->chunk->cap);
}

uint64_t rig_read_all(struct rig_stream *t, uint64_t seq, const char *filter, size_t size)
{
    struct str pattern = str_of(filter != NULL ? filter : "");
    struct store_reader reader;
    struct store_msg m;
    uint64_t n = 0, last = 0;
    bool ready = false;

    store_reader_init(&reader, t->s, seq, &pattern, filter != NULL ? 1 : 0, rig_on_ready, &ready);
    for (;;) {
        enum store_read result = store_reader_next(&reader, &m);
        if (result == STORE_READ_END)
            break;
        if (result == STORE_READ_WAIT) {
            rig_wait(t->rig, &ready);
            ready = false;
            continue;
        }
        ck_assert_int_eq(result, STORE_READ_MSG);
        ck_assert_uint_gt(m.seq, last);
        ck_assert_uint_ge(m.seq, seq);
        last = m.seq;
        n++;
        if (size != 0)
            check_msg(&m, size);
    }
    store_reader_deinit(&reader);
    return n;
}

/* ---- Kafka ----------------------------------------------------------------------------------- */

enum err rig_append_kafka(struct rig_stream *t, const char *subject, uint32_t messages, size_t size)
{
    struct store_kafka_append a = {.subject = str_of(subject), .messages = messages};
    char *bytes = mem_alloc(size);
    uint64_t seq, first, msgs, bytes_now;
    uint8_t *stored;

    store_stream_state_assigned(t->s, &seq, &msgs, &bytes_now);
    rig_payload(seq + 1, bytes, size);
    a.batch = str_from(bytes, size);
    a.ts = io_wall(t->rig->io);
    enum err err = store_append_kafka(t->s, &a, &first, &stored);
    if (err == ERR_OK) {
        ck_assert_uint_eq(first, seq + 1);
        put_u64(stored, first);
        put_u32(stored + 8, 7);
    }
    mem_free(bytes);
    return err;
}

bool rig_kafka_decode(struct str subject, struct str batch, uint64_t first_seq, uint32_t messages,
                      store_kafka_put_fn put, void *to)
{
    char header[64], payload[20];

    ck_assert_uint_gt(subject.n, 0);
    ck_assert_uint_eq(get_u64(batch.p), first_seq);
    for (uint32_t i = 0; i < messages; i++) {
        int n = snprintf(header, sizeof(header), "NATS/1.0\r\nN: %u\r\n\r\n", i);
        rig_payload(first_seq + i, payload, sizeof(payload));
        if (i % 100 != 99 &&
            !put(to, i, str_from(header, (size_t) n), str_from(payload, sizeof(payload))))
            break;
    }
    return true;
}
