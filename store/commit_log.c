/*
 * commit_log.c - the worker's commit log: what is queued, how a frame is made of it, when it is
 * durable.
 *
 * One frame is one write and one sync for everything that waits on this worker: records of objects
 * (queued by clog_put), small data commits of any number of streams, and full records rendered anew
 * for objects whose deltas have outgrown them or whose log file is to be freed (log_files.c). At
 * most two frames are in flight.
 *
 * Order: frames become durable in order of their numbers; a later one that is through first waits.
 * A record refers only to what is durable or comes earlier in the log; so a start may cut the log
 * at any frame.
 *
 * Urgency: a record somebody waits for (a request), or a data commit, begins a frame at the next
 * store_step. Records nobody waits for ride: with the next frame, or after ride_ns.
 *
 * Failure: a frame that could not be written ends this log. All streams of the worker fail, all
 * requests complete with an error, nothing is written to the log again; the server goes on with
 * what is durable.
 */
#include "store/commit_log.h"

#include "lib/base/mem.h"
#include "store/store_impl.h"

#include <string.h>

/* A second frame begins while one is in flight when so many bytes wait. */
#define LOG_PIPELINE_MIN (64u << 10)
/* Rendered anew per frame, at most about; a part of the file when that is small. */
#define REFRESH_BYTES (256u << 10)
#define REFRESH_PART 16u

/* A record in the queue; its bytes follow, padded to 8. */
struct queued {
    struct log_record r;
    uint64_t bytes;
    struct clog_file *home; /* DELETE: of the object's full record; pinned until this is taken */
};

static void commit_done(struct io_op *op);

static void ride_fire(struct wheel_timer *timer)
{
    CONTAINER_OF(timer, struct clog, ride)->urgent = true;
}

void clog_init(struct store *st)
{
    struct clog *l = &st->clog;

    *l = (struct clog){.store = st};
    crypt_file_log(&l->crypt, &st->dir->ring, st->dir->ring.current, st->generation, st->worker);
    list_init(&l->files);
    list_init(&l->reqs);
    list_init(&l->refresh);
    list_init(&l->inflight);
    wheel_timer_init(&l->ride, ride_fire);
    wash_init(st);
    for (unsigned i = 0; i < LOG_INFLIGHT; i++) {
        l->slots[i].store = st;
        list_init(&l->slots[i].link);
        list_init(&l->slots[i].data);
        list_init(&l->slots[i].reqs);
    }
}

void clog_deinit(struct store *st)
{
    struct clog *l = &st->clog;

    ASSERT(l->ninflight == 0 && list_empty(&l->reqs));
    io_timer_stop(st->io, &l->ride);
    wash_deinit(st);
    for (unsigned i = 0; i < LOG_INFLIGHT; i++) {
        log_frame_free(&l->slots[i].frame);
        mem_free(l->slots[i].header);
    }
    clog_files_close(st);
    buf_free(&l->queue);
    buf_free(&l->scratch);
    buf_free(&l->sealed);
    crypt_file_wipe(&l->crypt);
}

/* ---- queueing -------------------------------------------------------------------------------- */

static void wait_for_queue(struct clog *l, struct store_req *req)
{
    if (req == NULL) {
        if (!wheel_pending(&l->ride))
            io_timer_start(l->store->io, &l->ride,
                           io_now(l->store->io) + l->store->options.ride_ns);
        return;
    }
    list_init(&req->link);
    list_push_back(&l->reqs, &req->link);
    l->urgent = true;
}

static void account(struct clog *l, enum log_type type, struct object *o, uint64_t bytes)
{
    o->version++;
    if (type == LOG_FULL) {
        o->full_bytes = bytes;
        o->delta_bytes = 0;
        list_remove(&o->refresh);
    } else if (type == LOG_DELTA) {
        o->delta_bytes += bytes;
        if (o->delta_bytes > 4096 && o->delta_bytes > o->full_bytes && !list_linked(&o->refresh))
            list_push_back(&l->refresh, &o->refresh);
    }
}

static void queue_record(struct clog *l, const struct log_record *r, struct clog_file *home,
                         struct store_req *req)
{
    struct queued q = {.r = *r, .bytes = r->bytes.n, .home = home};
    size_t padded = round_up(q.bytes, 8);

    if (home != NULL)
        home->pins++;
    buf_put(&l->queue, &q, sizeof(q));
    char *at = buf_reserve(&l->queue, padded);
    memset(at, 0, padded);
    if (q.bytes > 0)
        memcpy(at, r->bytes.p, q.bytes);
    l->queue.n += padded;
    l->queued_n++;
    l->queued_bytes += LOG_ENTRY + log_record_bytes(q.bytes);
    wait_for_queue(l, req);
}

/* What is secret in it is sealed from here on. */
static void seal_record(struct clog *l, struct log_record *r)
{
    if (crypt_file_on(&l->crypt))
        log_record_seal(r, &l->crypt, &l->store->nonces, &l->sealed);
}

static bool fits(const struct clog *l, size_t bytes)
{
    if (crypt_file_on(&l->crypt))
        bytes += CRYPT_PIECE;
    return LOG_HEADER + LOG_PAGE + log_record_bytes(bytes) <= l->file_bytes / 2 &&
           log_record_bytes(bytes) <= LOG_RECORD_MAX;
}

void clog_put(struct store *st, enum log_type type, struct object *o, struct str bytes,
              struct store_req *req)
{
    struct clog *l = &st->clog;

    if (o->in_memory || l->failed) {
        store_defer(st, req, l->failed ? ERR_FAILED : ERR_OK);
        return;
    }
    if (o->as_found && type != LOG_DELETE) {
        store_defer(st, req, ERR_FAILED);
        return;
    }
    if (!fits(l, bytes.n)) {
        store_defer(st, req, ERR_TOO_LARGE);
        return;
    }
    account(l, type, o, bytes.n);
    struct log_record r = {.type = (uint8_t) type,
                           .kind = (uint16_t) o->kind,
                           .id = o->id,
                           .version = o->version,
                           .parent = o->parent,
                           .bytes = bytes};
    seal_record(l, &r);
    queue_record(l, &r, type == LOG_DELETE ? o->home : NULL, req);
}

bool clog_put_image(struct store *st, const struct object *o, uint64_t segment, uint64_t offset,
                    struct str bytes, struct store_req *req)
{
    struct log_record r = {.type = LOG_DATA,
                           .flags = LOG_IMAGE,
                           .kind = STORE_KIND_STREAM,
                           .id = o->id,
                           .segment = segment,
                           .offset = offset,
                           .bytes = bytes};

    if (!fits(&st->clog, bytes.n))
        return false;
    if (st->clog.failed)
        store_defer(st, req, ERR_FAILED);
    else
        queue_record(&st->clog, &r, NULL, req);
    return true;
}

void clog_put_start(struct store *st)
{
    const struct log_start start = {.workers = st->dir->options.workers};
    uint8_t bytes[LOG_START_BYTES];
    struct log_record r = {.type = LOG_START, .bytes = str_from(bytes, sizeof(bytes))};

    log_start_encode(&start, bytes);
    queue_record(&st->clog, &r, NULL, NULL);
}

void clog_put_close(struct store *st, struct store_req *req)
{
    struct log_record r = {.type = LOG_CLOSE};

    queue_record(&st->clog, &r, NULL, req);
}

void clog_barrier(struct store *st, struct store_req *req)
{
    struct clog *l = &st->clog;

    if (l->failed) {
        store_defer(st, req, ERR_FAILED);
    } else if (l->queued_n > 0) {
        wait_for_queue(l, req);
    } else if (!list_empty(&l->inflight)) {
        list_init(&req->link);
        list_push_back(&LIST_ENTRY(l->inflight.prev, struct log_commit, link)->reqs, &req->link);
    } else {
        store_defer(st, req, ERR_OK);
    }
}

/* ---- making a frame -------------------------------------------------------------------------- */

/* An object's full record goes into this frame. */
static void moves_home(struct clog *l, struct object *o, uint64_t commit)
{
    struct clog_file *current = clog_writing(l);

    if (o->home != NULL && o->home->free_after < commit)
        o->home->free_after = commit;
    list_remove(&o->home_link);
    o->home = current;
    list_push_back(&current->objects, &o->home_link);
}

/* What the frame will take on disk with a record of so many bytes more. */
static uint64_t frame_with(const struct log_commit *lc, uint64_t bytes)
{
    return round_up(lc->frame.meta.n + lc->frame.body.n + LOG_ENTRY + log_record_bytes(bytes),
                    LOG_PAGE);
}

/* Records of the queue, as many as fit below max; how many bytes of the queue they took. */
static size_t add_queue(struct clog *l, struct log_commit *lc, uint64_t max)
{
    size_t at = 0;

    while (at < l->queue.n) {
        struct queued q;
        memcpy(&q, l->queue.p + at, sizeof(q));
        if (lc->frame.count > 0 &&
            (frame_with(lc, q.bytes) > max || !log_frame_fits(&lc->frame, q.bytes)))
            break;
        q.r.bytes = str_from(l->queue.p + at + sizeof(q), q.bytes);
        log_frame_add(&lc->frame, &q.r);
        if (q.r.type == LOG_FULL) {
            struct object *o = object_find(l->store, q.r.id);
            if (o != NULL)
                moves_home(l, o, lc->number);
        }
        if (q.home != NULL) {
            q.home->pins--;
            q.home->free_after = lc->number;
        }
        at += sizeof(q) + round_up(q.bytes, 8);
        l->queued_n--;
        l->queued_bytes -= LOG_ENTRY + log_record_bytes(q.bytes);
    }
    return at;
}

static void take_queue(struct clog *l, struct log_commit *lc, uint64_t max)
{
    size_t taken = add_queue(l, lc, max);

    if (taken < l->queue.n) {
        memmove(l->queue.p, l->queue.p + taken, l->queue.n - taken);
        l->queue.n -= taken;
        return; /* requests wait for the last record */
    }
    buf_clear(&l->queue);
    list_splice(&lc->reqs, &l->reqs);
    l->urgent = false;
    io_timer_stop(l->store->io, &l->ride);
}

static void add_data(struct clog *l, struct log_commit *lc, uint64_t max)
{
    struct store *st = l->store;
    struct clog_file *current = clog_writing(l);

    LIST_FOREACH_SAFE(it, tmp, &st->dirty)
    {
        struct store_stream *s = LIST_ENTRY(it, struct store_stream, dirty_link);
        uint64_t bytes = commit_for_log(s);
        if (bytes == 0)
            continue;
        if (frame_with(lc, bytes) > max || lc->frame.count + 16 > LOG_FRAME_RECORDS)
            break;
        struct commit *c = commit_begin_log(s, COMMIT_LOG_MAX);
        struct str parts[2 * COMMIT_BATCHES];
        struct iovec iov[2];
        unsigned n = 0;
        LIST_FOREACH(b, &c->batches)
        {
            unsigned pieces = segment_iov(iov, LIST_ENTRY(b, struct store_batch, link));
            for (unsigned i = 0; i < pieces; i++)
                parts[n++] = str_from(iov[i].iov_base, iov[i].iov_len);
        }
        struct log_record r = {
            .type = LOG_DATA,
            .kind = STORE_KIND_STREAM,
            .id = s->object->id,
            .segment = c->segment->number,
            .offset = c->offset,
        };
        log_frame_add_parts(&lc->frame, &r, parts, n);
        list_push_back(&lc->data, &c->log_link);
        segment_log_placed(c->segment, current->number);
    }
}

/* What still waits for a frame among the streams. */
static uint64_t data_waiting(const struct store *st)
{
    uint64_t total = 0;

    LIST_FOREACH(it, &st->dirty)
    {
        uint64_t bytes = commit_for_log(LIST_ENTRY(it, struct store_stream, dirty_link));
        if (bytes > 0)
            total += LOG_ENTRY + log_record_bytes(bytes);
    }
    return total;
}

static uint64_t refresh_bytes(const struct clog *l)
{
    uint64_t part = l->file_bytes / REFRESH_PART;

    return part < REFRESH_BYTES ? part : REFRESH_BYTES;
}

struct raw_copy {
    struct store_req req;
    struct store *store;
    store_object_id id;
    struct clog_file *pinned;
};

static void raw_copied(struct store_req *req, enum err err)
{
    struct raw_copy *copy = CONTAINER_OF(req, struct raw_copy, req);
    struct object *o = object_find(copy->store, copy->id);

    (void) err;
    copy->pinned->pins--;
    if (o != NULL)
        o->raw_coming = false;
    mem_free(copy);
}

/* An object that nobody attached is written again as it was, with the versions it had: full record
 * and deltas may go into several frames, and until the last of them is durable the file with the
 * old ones stays. */
static void queue_raw(struct clog *l, struct object *o)
{
    struct raw_copy *copy = mem_zalloc(sizeof(*copy));
    struct log_record r = {.type = LOG_FULL,
                           .kind = (uint16_t) o->kind,
                           .id = o->id,
                           .version = o->version - o->nraw,
                           .parent = o->parent,
                           .bytes = o->raw_full};

    *copy = (struct raw_copy){
        .req.done = raw_copied, .store = l->store, .id = o->id, .pinned = o->home};
    copy->pinned->pins++;
    o->raw_coming = true;
    seal_record(l, &r);
    queue_record(l, &r, NULL, o->nraw == 0 ? &copy->req : NULL);
    for (unsigned i = 0; i < o->nraw; i++) {
        r = (struct log_record){.type = LOG_DELTA,
                                .kind = (uint16_t) o->kind,
                                .id = o->id,
                                .version = o->version - o->nraw + i + 1,
                                .bytes = o->raw_deltas[i]};
        seal_record(l, &r);
        queue_record(l, &r, NULL, i + 1 == o->nraw ? &copy->req : NULL);
    }
}

/* The object has no room in the current file. Where it has none in any its file stays. */
static void wants_room(struct clog *l, const struct log_commit *lc, struct object *o, size_t bytes)
{
    uint64_t need = frame_with(lc, bytes);

    if (need <= l->file_bytes - LOG_HEADER && log_frame_fits(&lc->frame, bytes)) {
        l->refresh_need = need;
        return;
    }
    LOG_WRN(l->store->log, "log: an object of %zu bytes can not be written anew: %s stays", bytes,
            o->home != NULL ? o->home->path : "its file");
    o->too_large = true;
    list_remove(&o->refresh);
}

static void add_refreshed(struct clog *l, struct log_commit *lc, uint64_t max)
{
    uint64_t rendered = 0;

    while (!list_empty(&l->refresh) && rendered < refresh_bytes(l)) {
        struct object *o = LIST_ENTRY(l->refresh.next, struct object, refresh);
        buf_clear(&l->scratch);
        if (!object_render(o, &l->scratch)) {
            list_remove(&o->refresh);
            rendered += o->full_bytes + o->delta_bytes;
            queue_raw(l, o);
            continue;
        }
        struct log_record r = {.type = LOG_FULL,
                               .kind = (uint16_t) o->kind,
                               .id = o->id,
                               .version = o->version + 1,
                               .parent = o->parent,
                               .bytes = buf_str(&l->scratch)};
        seal_record(l, &r);
        l->refresh_need = 0;
        if (frame_with(lc, r.bytes.n) > max || !log_frame_fits(&lc->frame, r.bytes.n)) {
            if (lc->frame.count == 0)
                wants_room(l, lc, o, r.bytes.n);
            break;
        }
        list_remove(&o->refresh);
        account(l, LOG_FULL, o, l->scratch.n);
        log_frame_add(&lc->frame, &r);
        moves_home(l, o, lc->number);
        rendered += l->scratch.n;
    }
}

static struct log_commit *free_slot(struct clog *l)
{
    for (unsigned i = 0; i < LOG_INFLIGHT; i++)
        if (!l->slots[i].busy)
            return &l->slots[i];
    return NULL;
}

static void submit(struct clog *l, struct log_commit *lc)
{
    struct store *st = l->store;
    uint64_t offset = l->offset;
    unsigned n = 0;

    l->prev_crc = log_frame_seal(&lc->frame, l->durable_commit, l->prev_crc, io_wall(st->io));
    lc->file = clog_writing(l);
    lc->file->fresh = false;
    if (l->begin_file) {
        clog_file_header(st, lc->file, &lc->header);
        lc->iov[n++] = (struct iovec){lc->header, LOG_HEADER};
        offset = 0;
        l->begin_file = false;
    }
    lc->iov[n++] = (struct iovec){lc->frame.meta.p, lc->frame.meta.n};
    lc->iov[n++] = (struct iovec){lc->frame.body.p, lc->frame.body.n};
    lc->bytes = lc->frame.meta.n + lc->frame.body.n;
    l->offset += lc->bytes;
    ASSERT(l->offset <= lc->file->bytes && l->offset % LOG_PAGE == 0);
    l->next_commit++;
    list_push_back(&l->inflight, &lc->link);
    l->ninflight++;
    st->stats.log_commits++;
    st->stats.log_bytes += lc->bytes;
    st->jobs++;
    io_op_init(&lc->op, commit_done);
    if (PLANTED(PLANT_ACK_EARLY))
        io_write(st->io, &lc->op, lc->file->file, lc->iov, n, offset);
    else
        io_commit(st->io, &lc->op, lc->file->file, lc->iov, n, offset);
}

/* What the first record of the queue needs at least. */
static uint64_t queue_head_bytes(const struct clog *l)
{
    struct queued q;

    if (l->queue.n == 0)
        return 0;
    memcpy(&q, l->queue.p, sizeof(q));
    return round_up(LOG_FRAME_HEADER + LOG_ENTRY + log_record_bytes(q.bytes), LOG_PAGE);
}

/* Is there reason for a frame, and room in flight? Then *bytes is about what it will hold. */
static bool frame_due(struct clog *l, uint64_t *bytes)
{
    uint64_t data = data_waiting(l->store);

    *bytes = l->queued_bytes + data;
    if (l->failed || l->ninflight == LOG_INFLIGHT || list_empty(&l->files))
        return false;
    if (!l->urgent && data == 0 && !l->refresh_now)
        return false;
    return l->ninflight == 0 || *bytes >= LOG_PIPELINE_MIN;
}

bool clog_try(struct store *st)
{
    struct clog *l = &st->clog;
    uint64_t bytes, max = COMMIT_MAX < l->file_bytes / 4 ? COMMIT_MAX : l->file_bytes / 4;
    bool any = false;

    while (frame_due(l, &bytes)) {
        uint64_t need = bytes < max ? bytes : max;
        need = round_up(need + LOG_FRAME_HEADER + refresh_bytes(l), LOG_PAGE);
        if (need < queue_head_bytes(l))
            need = queue_head_bytes(l);
        if (bytes == 0 && need < l->refresh_need)
            need = l->refresh_need;
        if (need > l->file_bytes - LOG_HEADER)
            need = l->file_bytes - LOG_HEADER;
        l->waits_for_file = l->offset + need > clog_writing(l)->bytes && !clog_switch(st);
        if (l->waits_for_file)
            break; /* the next file is being made */
        struct log_commit *lc = free_slot(l);
        uint64_t room = clog_writing(l)->bytes - l->offset;
        lc->busy = true;
        lc->done = false;
        lc->number = l->next_commit;
        log_frame_begin(&lc->frame, clog_writing(l)->salt, lc->number);
        take_queue(l, lc, max);
        add_data(l, lc, max < room ? max : room);
        if (st->close_state == STORE_CLOSE_NONE) /* nothing comes behind a close marker */
            add_refreshed(l, lc, room);
        l->refresh_now = lc->frame.count == 0 && l->refresh_need > 0; /* in the next file */
        if (lc->frame.count == 0) {
            lc->busy = false;
            if (l->refresh_now)
                continue;
            break;
        }
        submit(l, lc);
        any = true;
    }
    return any;
}

bool clog_waits_for_step(const struct store *st)
{
    const struct clog *l = &st->clog;

    return l->urgent && l->queued_n > 0 && l->ninflight == 0 && !l->failed && !l->spare_coming &&
           !l->spare_wanted;
}

/* ---- completion ------------------------------------------------------------------------------ */

static void finish(struct clog *l, struct log_commit *lc)
{
    struct list *it;

    list_remove(&lc->link);
    l->ninflight--;
    l->durable_commit = lc->number;
    twin_frame(l->store, lc);
    while ((it = list_pop_front(&lc->data)) != NULL)
        commit_logged(LIST_ENTRY(it, struct commit, log_link), 0);
    while ((it = list_pop_front(&lc->reqs)) != NULL) {
        struct store_req *req = LIST_ENTRY(it, struct store_req, link);
        req->done(req, ERR_OK);
    }
    lc->busy = false;
}

static void commit_done(struct io_op *op)
{
    struct log_commit *lc = CONTAINER_OF(op, struct log_commit, op);
    struct store *st = lc->store;
    struct clog *l = &st->clog;

    st->jobs--;
    lc->done = true;
    lc->result = op->res < 0 ? op->res : 0;
    if (lc->result < 0 && !l->failed)
        clog_fail(st, err_from_errno((int) lc->result), strerror((int) -lc->result));
    while (!list_empty(&l->inflight)) {
        struct log_commit *first = LIST_ENTRY(l->inflight.next, struct log_commit, link);
        if (!first->done)
            break;
        if (l->failed) {
            list_remove(&first->link);
            l->ninflight--;
            first->busy = false;
        } else {
            finish(l, first);
        }
    }
    if (!l->failed)
        clog_maintain(st);
}

static void fail_reqs(struct store *st, struct list *reqs, enum err err)
{
    struct list *it;

    while ((it = list_pop_front(reqs)) != NULL)
        store_defer(st, LIST_ENTRY(it, struct store_req, link), err);
}

static void fail_queue(struct store *st, enum err err)
{
    struct clog *l = &st->clog;

    l->failed = true;
    io_timer_stop(st->io, &l->ride);
    fail_reqs(st, &l->reqs, err);
    buf_clear(&l->queue);
    l->queued_n = 0;
    l->queued_bytes = 0;
}

void clog_give_up(struct store *st)
{
    LOG_WRN(st->log, "commit log %s: closed on a full disk, the last changes are not in it",
            clog_writing(&st->clog)->path);
    fail_queue(st, ERR_NO_SPACE);
}

void clog_fail(struct store *st, enum err err, const char *why)
{
    struct clog *l = &st->clog;
    struct clog_file *current = clog_writing(l);

    l->failed = true;
    LOG_ERR(st->log, "commit log %s: %s; all streams of this worker are read-only now",
            current->path, why);
    LIST_FOREACH(it, &st->streams)
    {
        struct store_stream *s = LIST_ENTRY(it, struct store_stream, link);
        if (stream_in_file(s))
            stream_fail(s, err, "commit log %s: %s", current->path, why);
    }
    for (unsigned i = 0; i < LOG_INFLIGHT; i++)
        fail_reqs(st, &l->slots[i].reqs, ERR_FAILED);
    fail_queue(st, ERR_FAILED);
}
