/*
 * test_jetstream.c - JetStream on a whole server's workers, on the simulator: what needs a disk
 * that fails, or a store that another version has written.
 */
#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "server/config/options.h"
#include "server/core/account.h"
#include "server/parts.h"
#include "tests/lib/runner.h"
#include "tests/lib/sink_probe.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define STEPS_MAX 2000000u

/* ---- the server ------------------------------------------------------------------------------ */

struct machine {
    struct sim *sim;
    struct options options;
    struct server_parts parts;
    unsigned workers;
    bool stopped;
    struct sink_probe in; /* on worker 0: "in.*" */
    unsigned asked;
};

static int open_io(void *ctx, unsigned worker, struct io **out)
{
    (void) worker;
    *out = sim_io_open(((struct machine *) ctx)->sim, NULL);
    return 0;
}

static void boot(struct machine *m, unsigned workers)
{
    struct server_parts_options o = {
        .options = &m->options,
        .log = sim_log(m->sim),
        .server_id = "NTEST",
        .version = "2.15.0",
        .workers = workers,
        .seed = 1,
        .workers_seed = 2,
        .open_io = open_io,
        .ctx = m,
        .store_seed = 3,
    };
    char why[256];

    json_set_alloc_funcs(mem_alloc, mem_free);
    m->workers = workers;
    m->stopped = false;
    m->asked = 0;
    memset(&m->parts, 0, sizeof(m->parts));
    options_init(&m->options);
    m->options.jetstream = true;
    m->options.spread = true;
    m->options.pool_bytes = 0;
    io_config_init(&o.io);
    ck_assert_msg(parts_open_workers(&m->parts, &o, why), "%s", why);
    ck_assert_msg(parts_open_jetstream(&m->parts, "/data", why), "%s", why);
    sink_probe_open(&m->in, &(struct sink_probe_options){
                                .router = worker_group_get(m->parts.workers, 0)->env.router,
                                .account = m->parts.account,
                                .pattern = "in.*",
                            });
}

static void step(struct machine *m)
{
    struct io *io = sim_next(m->sim, 1000000);

    for (unsigned i = 0; i < m->workers; i++) {
        struct worker *w = worker_group_get(m->parts.workers, i);
        if (io == NULL || w->env.io == io)
            worker_step(w, 0);
        if (w->busy)
            sim_want(w->env.io);
    }
    ask_all_reap(m->parts.workers);
}

static void all_stopped(struct server_parts *p)
{
    CONTAINER_OF(p, struct machine, parts)->stopped = true;
}

static void halt(struct machine *m)
{
    sink_probe_free(&m->in);
    parts_stop(&m->parts, all_stopped);
    for (unsigned i = 0; !m->stopped; i++) {
        ck_assert_msg(i < STEPS_MAX, "the server does not stop");
        step(m);
    }
    parts_close(&m->parts);
    options_free(&m->options);
}

/* Publishes with the reply subject in.<n>. */
static void publish(struct machine *m, const char *subject, const char *body)
{
    struct worker *w = worker_group_get(m->parts.workers, 0);
    char reply[32];
    struct msg msg = {.subject = str_of(subject), .payload = str_of(body)};

    snprintf(reply, sizeof(reply), "in.%u", ++m->asked);
    msg.reply = str_of(reply);
    route_publish(w->env.router, m->parts.account, &msg);
    route_flush(w->env.router);
}

/* Waits for the answer number n and checks it. */
static void answered(struct machine *m, unsigned n, const char *want)
{
    char begin[32];
    const char *at = NULL, *end;

    snprintf(begin, sizeof(begin), "in.%u ", n);
    for (unsigned i = 0; at == NULL || strchr(at, '\n') == NULL; i++) {
        ck_assert_msg(i < STEPS_MAX, "no answer %u: %s", n, sink_probe_log(&m->in));
        step(m);
        at = strstr(sink_probe_log(&m->in), begin);
    }
    end = strchr(at, '\n');
    ck_assert_msg(strstr(at, want) != NULL && strstr(at, want) < end, "wanted %s, got %.*s", want,
                  (int) (end - at), at);
}

static void ask(struct machine *m, const char *subject, const char *body, const char *want)
{
    publish(m, subject, body);
    answered(m, m->asked, want);
}

/* ---- a disk that fails ----------------------------------------------------------------------- */

TEST(a_failed_commit_answers_its_publishers)
{
    struct machine m = {.sim = sim_open(4711, NULL)};

    boot(&m, i == 0 ? 1 : 2);
    ask(&m, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"]}", "did_create");
    ask(&m, "$JS.API.STREAM.CREATE.T", "{\"name\":\"T\",\"subjects\":[\"t\"]}", "did_create");
    ask(&m, "s", "x", "{\"stream\":\"S\",\"seq\":1}");
    ask(&m, "t", "x", "{\"stream\":\"T\",\"seq\":1}");
    sim_fault_chance(m.sim, SIM_FAULT_WRITE, 1000000);
    sim_fault_chance(m.sim, SIM_FAULT_SYNC, 1000000);
    for (int k = 0; k < 3; k++)
        publish(&m, "s", "lost");
    publish(&m, "t", "lost");
    for (unsigned n = m.asked - 3; n <= m.asked; n++)
        answered(&m, n, "{\"error\":{\"code\":503,\"err_code\":10077,\"description\":\"");
    sim_fault_chance(m.sim, SIM_FAULT_WRITE, 0);
    sim_fault_chance(m.sim, SIM_FAULT_SYNC, 0);
    ask(&m, "s", "x", "\"err_code\":10077");
    ask(&m, "$JS.API.STREAM.INFO.S", "", "\"messages\":1,");
    halt(&m);
    /* Parts of what failed may be on the disk: nobody was told that it is, or that it is not. */
    boot(&m, 1);
    ask(&m, "$JS.API.STREAM.MSG.GET.S", "{\"seq\":1}", "\"data\":\"eA==\"");
    ask(&m, "s", "x", "{\"stream\":\"S\",\"seq\":");
    halt(&m);
    sim_close(m.sim);
}

/* ---- on its way ------------------------------------------------------------------------------ */

/* What was published before a direct get is part of its answer, as of any question, although
 * nobody has waited for its acknowledgement: a mirror's messages never have one. */
TEST(a_direct_get_sees_what_was_published_before_it)
{
    static const char *const gets[][3] = {
        {"$JS.API.DIRECT.GET.S.s.1", "", " new\n"},
        {"$JS.API.DIRECT.GET.S", "{\"last_by_subj\":\"s.1\"}", " new\n"},
        {"$JS.API.DIRECT.GET.S", "{\"last_by_subj\":\"s.*\"}", " new\n"},
        {"$JS.API.DIRECT.GET.S", "{\"seq\":3}", " new\n"},
        {"$JS.API.DIRECT.GET.S", "{\"seq\":3,\"batch\":2}", " new\n"},
        {"$JS.API.DIRECT.GET.S", "{\"multi_last\":[\"s.1\"]}", " new\n"},
        {"$JS.API.DIRECT.GET.S.s.2", "", " other\n"},
        {"$JS.API.DIRECT.GET.S", "{\"seq\":1}", " old\n"},
    };
    struct machine m = {.sim = sim_open(4711, NULL)};

    boot(&m, 1);
    ask(&m, "$JS.API.STREAM.CREATE.S",
        "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"allow_direct\":true}", "did_create");
    ask(&m, "s.1", "old", "\"seq\":1}");
    ask(&m, "s.2", "other", "\"seq\":2}");
    publish(&m, "s.1", "new");
    publish(&m, gets[i][0], gets[i][1]);
    answered(&m, m.asked, gets[i][2]);
    halt(&m);
    sim_close(m.sim);
}

/* Nothing is left of those who wait when the stream goes, or the server. */
TEST(a_direct_get_that_waits_when_its_stream_goes)
{
    struct machine m = {.sim = sim_open(4711, NULL)};

    boot(&m, 1);
    ask(&m, "$JS.API.STREAM.CREATE.S",
        "{\"name\":\"S\",\"subjects\":[\"s\"],\"allow_direct\":true}", "did_create");
    publish(&m, "s", "new");
    publish(&m, "$JS.API.DIRECT.GET.S.s", "");
    if (i == 0) {
        publish(&m, "$JS.API.STREAM.DELETE.S", "");
        answered(&m, m.asked, "\"success\":true");
        answered(&m, m.asked - 1, "in.3");
    }
    halt(&m);
    sim_close(m.sim);
}

/* ---- a directory in use ---------------------------------------------------------------------- */

static fs_fd hold(struct sim *sim, const char *dir)
{
    char path[32];
    fs_fd fd;

    snprintf(path, sizeof(path), "%s/LOCK", dir);
    fd = fs_open(sim_fs(sim), path, IO_FILE_WRITE);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fs_lock(sim_fs(sim), fd, 0), 0);
    return fd;
}

TEST(a_directory_that_nobody_named_has_others_beside)
{
    static const char *const want[] = {"/data", "/data.1", "/data.2"};
    struct machine m = {.sim = sim_open(4711, NULL)};
    fs_fd held[2];

    for (int k = 0; k < 3; k++) {
        boot(&m, 1);
        ck_assert_str_eq(store_dir_path(m.parts.store_dir), want[k]);
        halt(&m);
        if (k < 2)
            held[k] = hold(m.sim, want[k]);
    }
    fs_close(sim_fs(m.sim), held[0]);
    boot(&m, 1);
    ck_assert_str_eq(store_dir_path(m.parts.store_dir), want[0]);
    halt(&m);
    fs_close(sim_fs(m.sim), held[1]);
    sim_close(m.sim);
}

/* ---- what can not be read -------------------------------------------------------------------- */

static const char later[] = "{\"name\":\"S\",\"subjects\":[\"s\"],\"from_the_future\":{\"a\":1}";

/* A stream whose configuration is no JSON of ours, with one message. */
static void write_stream(struct sim *sim)
{
    struct rig r;
    struct rig_stream t;
    struct rig_req q;
    char blob[200] = {0};
    size_t n = 8 + strlen(later);

    rig_init(&r, &(struct rig_options){.sim = sim});
    memset(&t, 0, sizeof(t));
    t.rig = &r;
    memcpy(blob + 8, later, strlen(later));
    rig_req_init(&q);
    ck_assert_int_eq(store_stream_create(r.store,
                                         &(struct store_stream_options){.name = STR("S"),
                                                                        .config = str_from(blob, n),
                                                                        .level = STORE_DURABLE},
                                         rig_ops(), &t, &t.s, &q.req),
                     ERR_OK);
    ck_assert_int_eq(rig_req_wait(&r, &q), ERR_OK);
    rig_append(&t, 1, 100, 1);
    rig_flush(&t);
    rig_stop(&r);
}

struct found {
    struct store *store;
    bool stream, consumer;
};

static void look(void *ctx, const struct store_object_view *v)
{
    struct found *f = ctx;
    struct str name, config;

    if (v->kind == STORE_KIND_STREAM &&
        store_stream_peek(f->store, v->id, &name, &config) == ERR_OK) {
        ck_assert(str_eq(name, STR("S")));
        f->stream = config.n > 8 && str_eq(str_skip(config, 8), str_of(later));
    }
    if (v->kind == STORE_KIND_USER)
        f->consumer = true;
}

TEST(a_stream_that_can_not_be_read_is_offline)
{
    struct machine m = {.sim = sim_open(4711, NULL)};
    struct rig r;
    struct found f = {0};

    write_stream(m.sim);
    boot(&m, i == 0 ? 1 : 2);
    ask(&m, "$JS.API.STREAM.INFO.S", "",
        "\"code\":500,\"err_code\":10194,\"description\":\"stream is offline: its configuration "
        "can not be read\"");
    ask(&m, "$JS.API.STREAM.NAMES", "", "\"streams\":[\"S\"]");
    ask(&m, "$JS.API.STREAM.LIST", "",
        "\"streams\":[],\"offline\":{\"S\":\"its configuration can not be read\"}");
    ask(&m, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"]}", "10194");
    ask(&m, "$JS.API.STREAM.UPDATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"]}", "10194");
    ask(&m, "$JS.API.STREAM.PURGE.S", "", "10194");
    ask(&m, "$JS.API.STREAM.DELETE.S", "", "10194");
    ask(&m, "$JS.API.CONSUMER.DURABLE.CREATE.S.C",
        "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\"}}", "10194");
    ask(&m, "$JS.API.STREAM.CREATE.T", "{\"name\":\"T\",\"subjects\":[\"s\"]}", "did_create");
    ask(&m, "s", "x", "{\"stream\":\"T\",\"seq\":1}");
    ask(&m, "$JS.API.STREAM.DELETE.T", "", "\"success\":true");
    halt(&m);
    boot(&m, 1);
    ask(&m, "$JS.API.STREAM.INFO.S", "", "10194");
    halt(&m);

    /* All of it is still there, for somebody who can read it. */
    rig_init(&r, &(struct rig_options){.sim = m.sim});
    f.store = r.store;
    store_recovered_each(r.store, look, &f);
    ck_assert(f.stream);
    rig_stop(&r);
    sim_close(m.sim);
}

struct parent {
    struct store *store;
    store_object_id id;
};

static void find_parent(void *ctx, const struct store_object_view *v)
{
    if (v->kind == STORE_KIND_STREAM)
        ((struct parent *) ctx)->id = v->id;
}

/* Below the stream: a record with a name and a configuration that nobody knows. */
static void write_consumer(struct sim *sim)
{
    struct buf record = {0};
    struct parent p = {0};
    struct rig_req q;
    struct rig r;
    uint8_t n[4];

    rig_init(&r, &(struct rig_options){.sim = sim});
    store_recovered_each(r.store, find_parent, &p);
    store_recovered_done(r.store);
    buf_put(&record, "\0\0\0\0\0\0\0\0", 8);
    put_u32(n, 1);
    buf_put(&record, n, 4);
    buf_puts(&record, "C");
    put_u32(n, 5);
    buf_put(&record, n, 4);
    buf_puts(&record, "weird");
    put_u32(n, 0);
    buf_put(&record, n, 4);
    rig_req_init(&q);
    store_object_create(r.store, STORE_KIND_USER, p.id, buf_str(&record), NULL, NULL, &q.req);
    ck_assert_int_eq(rig_req_wait(&r, &q), ERR_OK);
    buf_free(&record);
    rig_stop(&r);
}

/* Its stream could not be loaded in one start: where the consumer was is not forgotten. */
TEST(a_consumer_outlives_a_start_without_its_stream)
{
    struct machine m = {.sim = sim_open(4711, NULL)};
    static const char at[] = "\"delivered\":{\"consumer_seq\":2,\"stream_seq\":2";

    boot(&m, 1);
    ask(&m, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"]}", "did_create");
    for (int k = 0; k < 3; k++)
        ask(&m, "s", "x", "{\"stream\":\"S\",\"seq\":");
    ask(&m, "$JS.API.CONSUMER.DURABLE.CREATE.S.C",
        "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\"}}",
        "\"name\":\"C\"");
    publish(&m, "$JS.API.CONSUMER.MSG.NEXT.S.C", "2");
    for (unsigned k = 0; strstr(sink_probe_log(&m.in), "$JS.ACK.S.C.1.2.2.") == NULL; k++) {
        ck_assert_uint_lt(k, STEPS_MAX);
        step(&m);
    }
    ask(&m, "$JS.API.CONSUMER.INFO.S.C", "", at);
    halt(&m);
    sim_fault_only(m.sim, ".seg");
    sim_fault_chance(m.sim, SIM_FAULT_READ, 1000000);
    boot(&m, 1);
    ask(&m, "$JS.API.STREAM.INFO.S", "", "\"messages\":0,");
    ask(&m, "$JS.API.CONSUMER.INFO.S.C", "", "10195");
    halt(&m);
    sim_fault_chance(m.sim, SIM_FAULT_READ, 0);
    boot(&m, 1);
    ask(&m, "$JS.API.STREAM.INFO.S", "", "\"messages\":3,");
    ask(&m, "$JS.API.CONSUMER.INFO.S.C", "", at);
    halt(&m);
    sim_close(m.sim);
}

TEST(a_consumer_that_can_not_be_read_is_offline)
{
    struct machine m = {.sim = sim_open(4711, NULL)};
    struct found f = {0};
    struct rig r;

    boot(&m, 1);
    ask(&m, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"]}", "did_create");
    ask(&m, "s", "x", "{\"stream\":\"S\",\"seq\":1}");
    halt(&m);
    write_consumer(m.sim);
    boot(&m, i == 0 ? 1 : 2);
    ask(&m, "$JS.API.CONSUMER.INFO.S.C", "",
        "\"code\":500,\"err_code\":10195,\"description\":\"consumer is offline: its configuration "
        "can not be read\"");
    ask(&m, "$JS.API.CONSUMER.DURABLE.CREATE.S.C",
        "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\"}}", "10195");
    ask(&m, "$JS.API.CONSUMER.INFO.S.D", "", "10014");
    ask(&m, "$JS.API.STREAM.INFO.S", "", "\"messages\":1,");
    ask(&m, "s", "x", "{\"stream\":\"S\",\"seq\":2}");
    halt(&m);
    rig_init(&r, &(struct rig_options){.sim = m.sim});
    f.store = r.store;
    store_recovered_each(r.store, look, &f);
    ck_assert(f.consumer);
    rig_stop(&r);
    sim_close(m.sim);
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_failed_commit_answers_its_publishers, 0, 2),
    RUN_LOOP(a_direct_get_sees_what_was_published_before_it, 0, 8),
    RUN_LOOP(a_direct_get_that_waits_when_its_stream_goes, 0, 2),
    RUN(a_directory_that_nobody_named_has_others_beside),
    RUN_LOOP(a_stream_that_can_not_be_read_is_offline, 0, 2),
    RUN_LOOP(a_consumer_that_can_not_be_read_is_offline, 0, 2),
    RUN(a_consumer_outlives_a_start_without_its_stream),
};

RUNNER_MAIN("server/jetstream", cases)
