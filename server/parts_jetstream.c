/*
 * parts_jetstream.c - JetStream of a server: with its store, at a start or later, and its end, with
 * the server's or alone.
 *
 * Open: store directory (recovery) -> per worker: store -> per worker: js. No worker runs
 * meanwhile: they have not begun, or pause (worker_pause.h).
 *
 * A worker's end: js_shutdown (consumer states saved) -> store_close (commits done) -> js freed.
 *
 * Alone, while clients stay: nothing new comes in, and waiting pulls are told; behind a fence,
 * which what was on its way has passed, each worker's end; then two more fences, behind which no
 * task of one worker for another is left that knows of it; then what they shared.
 */
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "server/config/options.h"
#include "server/js/js.h"
#include "server/kafka/kafka.h"
#include "server/kafka/project.h"
#include "server/kafka/trim.h"
#include "server/parts.h"
#include "store/crypt.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

/* ---- opening --------------------------------------------------------------------------------- */

/* Of what is recovered nobody knows the load yet: workers share it by id. New streams go where
 * placement.h says. */
static unsigned place_stream(void *ctx, store_object_id stream, struct str name)
{
    struct server_parts *p = ctx;

    (void) name;
    return (unsigned) (stream % worker_group_count(p->workers));
}

static uint64_t clock_now(void *ctx)
{
    struct server_parts *p = ctx;
    struct io *io = worker_group_get(p->workers, 0)->env.io;

    io_clock_update(io);
    return io_now(io);
}

_Static_assert((unsigned) OPTIONS_CHACHA == CRYPT_CHACHA && (unsigned) OPTIONS_AES == CRYPT_AES,
               "ciphers have the same numbers");

static enum err open_store_at(struct server_parts *p, const char *path, uint64_t patience_ns,
                              char why[256])
{
    const struct options *o = p->options;

    return store_dir_open(
        &(struct store_dir_options){
            .fs = io_fs(worker_group_get(p->workers, 0)->env.io),
            .path = path,
            .log = p->log,
            .workers = worker_group_count(p->workers),
            .pool_bytes = p->options->pool_bytes,
            .log_file_bytes = p->log_file_bytes,
            .segment_bytes_min = p->segment_bytes_min,
            .segment_bytes_max = p->segment_bytes_max,
            .index_lazy_bytes = p->index_lazy_bytes,
            .seal_bytes = p->seal_bytes,
            .place = place_stream,
            .clock = clock_now,
            .ctx = p,
            .seed = p->store_seed,
            .key = str_of(o->js_key != NULL ? o->js_key : ""),
            .prev_key = str_of(o->js_prev_key != NULL ? o->js_prev_key : ""),
            .cipher = o->js_cipher,
            .kafka = p->options->kafka_port != 0,
            .lock_patience_ns = patience_ns,
        },
        &p->store_dir, why);
}

/* The directory that nobody has named is where every server of the machine begins that was told no
 * better. A moment for one that is about to end, none for the places beside. */
#define UNNAMED_PATIENCE_NS 1000000000u
#define PLACES_BESIDE 99u

static enum err open_store_beside(struct server_parts *p, const char *path, char why[256])
{
    struct buf beside = {0};
    char first[256];
    enum err err = ERR_BUSY;

    memcpy(first, why, sizeof(first));
    for (unsigned k = 1; err == ERR_BUSY && k <= PLACES_BESIDE; k++) {
        buf_clear(&beside);
        buf_printf(&beside, "%s.%u", path, k);
        err = open_store_at(p, buf_cstr(&beside), 1, why);
    }
    if (err == ERR_OK)
        LOG_WRN(p->log, "%s: JetStream keeps its data in %s (store_dir names a place for it)",
                first, buf_cstr(&beside));
    buf_free(&beside);
    return err;
}

static bool open_store_dir(struct server_parts *p, const char *path, char why[256])
{
    bool named = p->options->store_dir != NULL;
    char text[200];
    enum err err = open_store_at(p, path, named ? 0 : UNNAMED_PATIENCE_NS, why);

    if (err == ERR_BUSY && !named)
        err = open_store_beside(p, path, why);
    if (err != ERR_OK) {
        snprintf(text, sizeof(text), "%s", why);
        snprintf(why, 256, "Can't start JetStream: %s", text);
    }
    return err == ERR_OK;
}

static uint64_t disk_free(struct server_parts *p)
{
    int64_t n = fs_free_bytes(io_fs(worker_group_get(p->workers, 0)->env.io),
                              store_dir_path(p->store_dir));

    return n > 0 ? (uint64_t) n : 0;
}

bool parts_open_jetstream(struct server_parts *p, const char *path, char why[256])
{
    unsigned n = worker_group_count(p->workers);

    if (!open_store_dir(p, path, why))
        return false;
    p->js_server = js_server_open(p->options, p->accounts, p->said, p->system_account, p->store_dir,
                                  p->memory_share, disk_free(p) / 4 * 3);
    if (p->options->kafka_port != 0)
        p->kafka_shared = kafka_shared_open(p->options, p->js_server, p->accounts, p->store_dir,
                                            &p->kafka_limits);
    for (unsigned i = 0; i < n; i++) {
        struct worker *w = worker_group_get(p->workers, i);
        enum err err = store_open(p->store_dir, i,
                                  &(struct store_options){
                                      .io = w->env.io,
                                      .chunks = w->env.chunks,
                                      .log = p->log,
                                      .cache_bytes = p->options->cache_bytes / n,
                                      .kafka_decode = project_batch,
                                      .kafka_trim = trim_batch,
                                  },
                                  &w->store);
        if (err != ERR_OK) {
            snprintf(why, 256, "Can't start JetStream: %s", err_text(err));
            return false;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        struct worker *w = worker_group_get(p->workers, i);
        jetstream_open(&w->env, p->js_server, w->store);
    }
    return true;
}

/* ---- a worker's end -------------------------------------------------------------------------- */

/* The worker need not look at its stages any more. */
static void ended(struct worker *w)
{
    struct ask_all *ask = w->stopping;

    w->stopping = NULL;
    ask_all_stepped(ask);
}

static void store_closed(void *ctx)
{
    struct worker *w = ctx;

    /* Not before: until its last commit the store calls streams and renders consumers. */
    w->store = NULL;
    if (w->env.jetstream != NULL)
        jetstream_close(w->env.jetstream);
    ended(w);
}

static void js_stopped(void *ctx)
{
    struct worker *w = ctx;

    if (w->store == NULL)
        ended(w);
    else
        store_close(w->store, store_closed, w);
}

void parts_end_jetstream(struct worker *w)
{
    if (w->env.jetstream != NULL)
        jetstream_shutdown(w->env.jetstream, js_stopped, w);
    else
        js_stopped(w);
}

/* ---- the end alone --------------------------------------------------------------------------- */

struct passing {
    struct env_fence fence;
    struct ask_all *ask;
};

static void passed(struct env_fence *fence)
{
    struct passing *p = CONTAINER_OF(fence, struct passing, fence);

    ask_all_stepped(p->ask);
    mem_free(p);
}

static void pass_fence(struct ask_all *ask, struct worker *w)
{
    struct passing *p = mem_zalloc(sizeof(*p));

    p->ask = ask;
    p->fence.passed = passed;
    w->env.fence(&w->env, &p->fence);
}

static struct server_parts *leaving(struct ask_all *ask)
{
    return CONTAINER_OF(ask, struct server_parts, leaving);
}

static void go_on(struct server_parts *p, void (*step)(struct ask_all *ask, struct worker *w),
                  void (*done)(struct ask_all *ask))
{
    p->leaving = (struct ask_all){.step = step, .done = done};
    ask_all_start(p->workers, &p->leaving);
}

static void nobody_knows(struct ask_all *ask)
{
    struct server_parts *p = leaving(ask);

    if (p->js_server != NULL)
        js_server_close(p->js_server);
    store_dir_close(p->store_dir);
    p->js_server = NULL;
    p->store_dir = NULL;
    p->left(p);
}

static void answered(struct ask_all *ask)
{
    go_on(leaving(ask), pass_fence, nobody_knows);
}

static void all_ended(struct ask_all *ask)
{
    go_on(leaving(ask), pass_fence, answered);
}

static void end_worker(struct ask_all *ask, struct worker *w)
{
    w->stopping = ask;
    parts_end_jetstream(w);
}

static void all_left(struct ask_all *ask)
{
    go_on(leaving(ask), end_worker, all_ended);
}

static void leave(struct ask_all *ask, struct worker *w)
{
    if (w->env.jetstream != NULL)
        jetstream_leave(w->env.jetstream);
    pass_fence(ask, w);
}

void parts_stop_jetstream(struct server_parts *p, void (*left)(struct server_parts *p))
{
    p->left = left;
    go_on(p, leave, all_left);
}
