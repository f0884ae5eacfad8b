/*
 * fuzz_twin.c - what a start makes of commit logs and their twins that say different things.
 *
 * Byte 0: bit 0 two workers; bit 1 the twin is of a later start than the log; bit 2 the log's START
 * is missing. Then operations of three bytes, which write records, frames and files of log and twin
 * with checksums that are right, leave out commits and files, and damage bytes (enum below).
 * Objects 1 and 2 are streams, 3 to 6 lie below the first. What a record says is made of its
 * version.
 *
 * Whatever it was: the store opens; an object's record and its changes are of ascending versions
 * and say so; with the twins there is each object that there is without them, in the same version
 * or a later one, unless a twin deletes it or what it lies below, or is of a later start (then its
 * base has everything); a second start finds the same.
 */
#include "lib/base/assert.h"
#include "store/dir.h"
#include "store/log_format.h"
#include "store/recover.h"
#include "store/stream_record.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OP_FULL,
    OP_DELTA,
    OP_DELETE,
    OP_MARK, /* or END */
    OP_FRAME,
    OP_FILE, /* the next one; with bit 7 of b the one behind it */
    OP_CLOSE,
    OP_DAMAGE,
    OPS
};
enum { IN_TWIN = 8, OF_WORKER_1 = 16, IN_BOTH = 32, LEAVE_OUT = 64 }; /* bits of an operation */
enum { OBJECTS = 6, STREAMS = 2, KIND = 9, GENERATION = 2, LOG_BYTES = 64 << 10, DAMAGES = 8 };

struct place {
    bool twin;
    uint32_t worker;
    uint64_t generation, number, commit;
    uint32_t prev;
    struct log_frame frame;
    struct log_header header;
    struct buf file;
    bool absent; /* the file is not written */
    struct {
        uint32_t at;
        uint8_t pattern;
    } damage[DAMAGES];
    unsigned ndamage;
};

struct world {
    struct sim *sim;
    uint8_t uuid[16];
    unsigned workers;
    struct place places[2][2]; /* log, twin; by worker */
    bool deleted[OBJECTS + 1]; /* by a twin */
};

/* ---- writing --------------------------------------------------------------------------------- */

static void begin_file(struct world *w, struct place *p)
{
    p->header = (struct log_header){.twin = p->twin,
                                    .generation = p->generation,
                                    .worker = p->worker,
                                    .workers = w->workers,
                                    .number = p->number,
                                    .first_commit = p->commit,
                                    .file_bytes = LOG_BYTES};
    memcpy(p->header.store, w->uuid, 16);
    buf_clear(&p->file);
    log_header_encode(&p->header, (uint8_t *) buf_reserve(&p->file, LOG_HEADER));
    p->file.n = LOG_HEADER;
    log_frame_begin(&p->frame, p->header.salt, p->commit);
}

static void end_frame(struct place *p)
{
    if (p->frame.count == 0)
        return;
    p->prev = log_frame_seal(&p->frame, p->commit - 1, p->prev, 0);
    if (p->file.n + log_frame_bytes(&p->frame) <= LOG_BYTES) {
        buf_put_str(&p->file, buf_str(&p->frame.meta));
        buf_put_str(&p->file, buf_str(&p->frame.body));
    }
    log_frame_begin(&p->frame, p->header.salt, ++p->commit);
}

static void end_file(struct world *w, struct place *p)
{
    struct store_dir shell = {.path = (char[]){"/data"}};
    struct io_fs *fs = sim_fs(w->sim);
    char path[STORE_PATH];

    end_frame(p);
    while (p->file.n < LOG_BYTES && !p->twin)
        buf_putc(&p->file, '\0');
    for (unsigned i = 0; i < p->ndamage; i++)
        p->file.p[p->damage[i].at % p->file.n] ^= (char) p->damage[i].pattern;
    (p->twin ? store_path_twin : store_path_log)(&shell, path, p->generation, p->worker, p->number);
    if (!p->absent) {
        fs_fd fd = fs_open(fs, path, IO_FILE_WRITE | IO_FILE_CREATE);
        ASSERT(fd >= 0 && fs_write(fs, fd, p->file.p, p->file.n, 0) == 0);
        fs_close(fs, fd);
    }
    p->absent = false;
    p->ndamage = 0;
}

static void record(struct place *p, enum log_type type, uint64_t id, uint64_t version)
{
    struct log_record r = {.type = (uint8_t) type, .id = id, .version = version};
    struct stream_record s = {.first_seq = 1, .next_segment = 1};
    struct buf text = {0}, bytes = {0};

    buf_printf(&text, "%c%u", type == LOG_FULL ? 'v' : 'd', (unsigned) version);
    r.kind = id <= STREAMS ? STORE_KIND_STREAM : KIND;
    r.parent = id > STREAMS ? 1 : 0;
    r.bytes = buf_str(&text);
    if (type == LOG_DELETE || type == LOG_CLOSE || type == LOG_MARK || type == LOG_END) {
        r.bytes = STR_NONE;
    } else if (id <= STREAMS && type == LOG_FULL) {
        memset(s.uuid, (int) id, sizeof(s.uuid));
        buf_puts(&s.name, id == 1 ? "one" : "two");
        buf_put_str(&s.config, buf_str(&text));
        stream_record_encode(&s, &bytes);
        r.bytes = buf_str(&bytes);
    } else if (id <= STREAMS) {
        stream_delta_config(&bytes, buf_str(&text));
        r.bytes = buf_str(&bytes);
    }
    if (log_frame_fits(&p->frame, r.bytes.n) && p->frame.count < 64)
        log_frame_add(&p->frame, &r);
    stream_record_deinit(&s);
    buf_free(&text);
    buf_free(&bytes);
}

static void start(struct place *p, uint32_t workers)
{
    uint8_t bytes[LOG_START_BYTES];
    struct log_start s = {.workers = workers};
    struct log_record r = {.type = LOG_START, .bytes = str_from((char *) bytes, sizeof(bytes))};

    log_start_encode(&s, bytes);
    log_frame_add(&p->frame, &r);
    end_frame(p);
}

/* ---- the input ------------------------------------------------------------------------------- */

static void operate(struct world *w, struct place *p, unsigned op, unsigned a, unsigned b)
{
    uint64_t id = 1 + a % OBJECTS, version = 1 + b % 16;

    switch (op % OPS) {
    case OP_FULL:
    case OP_DELTA:
        record(p, op % OPS == OP_FULL ? LOG_FULL : LOG_DELTA, id, version);
        break;
    case OP_DELETE:
        record(p, LOG_DELETE, id, version);
        w->deleted[id] |= p->twin;
        break;
    case OP_MARK:
        if (p->twin)
            record(p, (a & 1) != 0 ? LOG_END : LOG_MARK, (a & 1) != 0 ? 1 + (a >> 1) % STREAMS : 0,
                   b % 32);
        break;
    case OP_FRAME:
        end_frame(p);
        p->commit += (op & LEAVE_OUT) != 0;
        break;
    case OP_FILE:
        p->absent = (op & LEAVE_OUT) != 0;
        end_file(w, p);
        p->number += 1 + (b >> 7);
        begin_file(w, p);
        break;
    case OP_CLOSE:
        if ((op & LEAVE_OUT) != 0)
            record(p, LOG_CLOSE, 0, 0);
        break;
    default:
        if (p->ndamage < DAMAGES && b != 0) {
            p->damage[p->ndamage].at = a * 64 + b % 64;
            p->damage[p->ndamage++].pattern = (uint8_t) b;
        }
    }
}

static void build(struct world *w, const uint8_t *data, size_t size)
{
    for (unsigned t = 0; t < 2; t++) {
        for (uint32_t k = 0; k < w->workers; k++) {
            struct place *p = &w->places[t][k];
            *p = (struct place){.twin = t == 1, .worker = k, .commit = 1};
            p->generation = GENERATION + (t == 1 && (data[0] & 2) != 0);
            begin_file(w, p);
        }
    }
    if ((data[0] & 4) == 0)
        start(&w->places[0][0], w->workers);
    for (size_t i = 1; i + 3 <= size; i += 3) {
        unsigned op = data[i], worker = (op & OF_WORKER_1) != 0 ? w->workers - 1 : 0;
        bool twin = (op & IN_TWIN) != 0, both = (op & IN_BOTH) != 0;
        for (unsigned t = 0; t < 2; t++)
            if (both || twin == (t == 1))
                operate(w, &w->places[t][worker], op, data[i + 1], data[i + 2]);
    }
    for (unsigned t = 0; t < 2; t++) {
        for (uint32_t k = 0; k < w->workers; k++) {
            struct place *p = &w->places[t][k];
            end_file(w, p);
            log_frame_free(&p->frame);
            buf_free(&p->file);
        }
    }
}

/* ---- the outcome ----------------------------------------------------------------------------- */

struct outcome {
    uint64_t version[OBJECTS + 1]; /* 0: not there */
    uint64_t lost;
};

static uint64_t number_of(struct str text, char letter)
{
    char digits[8] = "";

    ASSERT(text.n >= 2 && text.n < sizeof(digits) && (text.p[0] == letter || letter == 0));
    memcpy(digits, text.p + 1, text.n - 1);
    return strtoull(digits, NULL, 10);
}

static void take_stream(struct outcome *o, const struct recovered_stream *s)
{
    ASSERT(s->view.id >= 1 && s->view.id <= STREAMS && o->version[s->view.id] == 0 && !s->failed);
    o->version[s->view.id] = number_of(buf_str(&s->rec.config), 0);
}

static void take_object(struct outcome *o, const struct recovered_object *r)
{
    const struct store_object_view *v = &r->view;
    uint64_t version = number_of(v->full, 'v');

    ASSERT(v->id > STREAMS && v->id <= OBJECTS && o->version[v->id] == 0 && v->kind == KIND);
    for (unsigned i = 0; i < v->ndeltas; i++) {
        uint64_t next = number_of(v->deltas[i], 'd');
        ASSERT(next > version);
        version = next;
    }
    o->version[v->id] = version;
}

static struct outcome open_store(struct sim *sim, unsigned workers, uint8_t uuid[16])
{
    struct log log = {.enabled = 0};
    struct store_dir_options options = {.fs = sim_fs(sim),
                                        .path = "/data",
                                        .log = &log,
                                        .workers = workers,
                                        .log_file_bytes = LOG_BYTES,
                                        .seed = 3};
    struct outcome o = {.lost = 0};
    struct store_dir *dir;
    char why[256];
    enum err err = store_dir_open(&options, &dir, why);

    if (err != ERR_OK)
        fprintf(stderr, "%s\n", why);
    ASSERT(err == ERR_OK);
    for (unsigned k = 0; k < workers; k++) {
        const struct recovered_worker *r = &dir->workers[k];
        for (size_t i = 0; i < r->nstreams; i++)
            take_stream(&o, &r->streams[i]);
        for (size_t i = 0; i < r->nobjects; i++)
            take_object(&o, &r->objects[i]);
    }
    if (uuid != NULL)
        store_dir_uuid(dir, uuid);
    store_dir_close(dir);
    return o;
}

struct names {
    struct io_fs *fs;
    char path[64][128];
    unsigned n;
};

static void note_name(void *ctx, const char *name)
{
    struct names *names = ctx;

    if (names->n < 64)
        snprintf(names->path[names->n++], sizeof(names->path[0]), "/data/twin/%s", name);
}

static struct sim *without_twins(struct sim *sim)
{
    struct sim *fork = sim_fork(sim, SIM_CRASH_KEEP, 1);
    struct names names = {.fs = sim_fs(fork)};

    fs_list(names.fs, "/data/twin", note_name, &names);
    for (unsigned i = 0; i < names.n; i++)
        fs_unlink(names.fs, names.path[i]);
    return fork;
}

static void compare(const struct world *w, const struct outcome *log, const struct outcome *both)
{
    for (unsigned id = 1; id <= OBJECTS; id++) {
        bool may_go = w->deleted[id] || (id > STREAMS && w->deleted[1]);
        ASSERT(both->version[id] >= log->version[id] || (may_go && both->version[id] == 0));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.workers = size > 0 ? 1 + (data[0] & 1) : 1};

    if (size < 1 || size > 600)
        return 0;
    w.sim = sim_open(1, NULL);
    open_store(w.sim, w.workers, w.uuid);
    build(&w, data, size);
    struct sim *alone = without_twins(w.sim);
    struct outcome log = open_store(alone, w.workers, NULL);
    sim_close(alone);
    struct outcome both = open_store(w.sim, w.workers, NULL);
    if ((data[0] & 2) == 0)
        compare(&w, &log, &both);
    struct outcome again = open_store(w.sim, w.workers, NULL);
    ASSERT(memcmp(&again, &both, sizeof(both)) == 0);
    sim_close(w.sim);
    return 0;
}
