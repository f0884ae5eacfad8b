/*
 * fetch.c - Fetch: rounds of reading, and long polls between them.
 *
 *     READING    every partition is read on its worker (fetch_read.c)
 *     PARKED     there was too little: every partition says once when more is there; nothing is
 * held CALLING_OFF   one has said so, or the time is up, or the client has gone: they are told to
 * say nothing any more, and when all have heard it the next round begins, or the end
 *
 * What is answered is of one round, records and offsets together, so that the end of a partition is
 * never older than its records. Between two workers tasks go in order: what a partition has said is
 * here before its word that it will say nothing more.
 *
 * What is asked for comes from the request or from the session that it goes on with
 * (fetch_session.h); then partitions of which there is nothing new are left out of the answer.
 * However often a request names a partition, it is read once.
 */
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/wire/kafka_compress.h"
#include "lib/wire/kafka_set.h"
#include "server/kafka/access.h"
#include "server/kafka/fetch_read.h"
#include "server/kafka/fetch_session.h"

#include <string.h>

struct fetch;

struct part {
    struct hmap_node node; /* while the request is taken in */
    struct fetch *fetch;
    struct str topic; /* as it was asked for */
    struct kafka_uuid id;
    bool told; /* it is in the answer */
    const struct kafka_fetch_request_partitions *asked;
    struct kafka_fetch_response_partitions *answer;
    struct topic_place place;
    struct str stream;
    int16_t error; /* found before anybody was asked */
    /* The partition's worker's, while it is asked. */
    struct fetch_read read;
    struct partition_job watch;
    uint64_t counted; /* in the partition's out_bytes, by the last round */
    struct env *env;
};

enum phase { READING, PARKED, CALLING_OFF };

struct fetch {
    struct kafka_request *request;
    struct kafka *home;
    struct part *parts, *nobody; /* nobody: for what is no partition's */
    uint32_t nparts, left;
    uint64_t min_bytes;
    struct fetch_room room;
    bool committed; /* read_committed */
    bool in_file;   /* the connection can send from files */
    enum phase phase;
    struct wheel_timer timer;
    bool timed, final;
    /* What becomes of a session: one is to be made, or it is one of this id; 0: neither. */
    bool makes_session;
    int32_t session;
};

/* One word between the two workers. */
struct word {
    struct env_task task;
    struct part *part;
};

static void say(struct env *env, uint32_t worker, struct part *part,
                void (*run)(struct env_task *task, struct env *env))
{
    struct word *w = mem_zalloc(sizeof(*w));

    w->task.run = run;
    w->part = part;
    env->post(env, worker, &w->task);
}

static struct part *heard(struct env_task *task)
{
    struct word *w = CONTAINER_OF(task, struct word, task);
    struct part *part = w->part;

    mem_free(w);
    return part;
}

static void say_home(struct part *part, void (*run)(struct env_task *task, struct env *env))
{
    say(part->env, part->fetch->home->env->worker, part, run);
}

static void say_all(struct fetch *f, void (*run)(struct env_task *task, struct env *env))
{
    for (uint32_t i = 0; i < f->nparts; i++)
        if (f->parts[i].error == KAFKA_NONE)
            say(f->home->env, f->parts[i].place.worker, &f->parts[i], run);
}

/* ---- at the partition ------------------------------------------------------------------------ */

static void on_read(struct env_task *task, struct env *env);
static void on_woken(struct env_task *task, struct env *env);
static void on_called_off(struct env_task *task, struct env *env);

static void read_done(struct fetch_read *read)
{
    struct part *part = CONTAINER_OF(read, struct part, read);

    part->counted = read->bytes;
    say_home(part, on_read);
}

static struct partition *partition_at(struct part *part, struct env *env)
{
    struct realm *realm = realm_here(env, part->fetch->request->realm);

    part->env = env;
    return realm != NULL ? partition_get(realm, part->stream) : NULL;
}

static void read_there(struct env_task *task, struct env *env)
{
    struct part *part = heard(task);
    struct partition *p = partition_at(part, env);
    struct fetch_read *read = &part->read;

    if (p != NULL)
        p->out_bytes -= part->counted < p->out_bytes ? part->counted : p->out_bytes;
    part->counted = 0;
    *read = (struct fetch_read){
        .offset = part->asked->fetch_offset, .room = &part->fetch->room, .done = read_done};
    read->max_bytes = part->asked->partition_max_bytes > 0
                          ? (uint64_t) part->asked->partition_max_bytes
                          : 0;
    list_init(&read->job.link);
    read->high = read->start = read->stable = -1;
    read->committed = part->fetch->committed;
    read->compacted = part->place.compact;
    read->in_file = part->fetch->in_file;
    read->error = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    if (p != NULL)
        fetch_read_start(read, p);
    else
        read_done(read);
}

static void watch_wake(struct partition_job *j, bool ok)
{
    (void) ok;
    say_home(CONTAINER_OF(j, struct part, watch), on_woken);
}

static void watch_gone(struct partition_job *j)
{
    watch_wake(j, false);
}

static void watch_there(struct env_task *task, struct env *env)
{
    struct part *part = heard(task);
    struct partition *p = partition_at(part, env);
    uint64_t first, last = 0;

    list_init(&part->watch.link);
    part->watch.wake = watch_wake;
    part->watch.gone = watch_gone;
    if (p != NULL)
        partition_bounds(p, &first, &last);
    if (p == NULL || (int64_t) last != part->read.high || (int64_t) first - 1 != part->read.start ||
        partition_stable(p) != part->read.stable)
        say_home(part, on_woken);
    else
        list_push_back(&p->watches, &part->watch.link);
}

static void call_off_there(struct env_task *task, struct env *env)
{
    struct part *part = heard(task);

    (void) env;
    list_remove(&part->watch.link);
    say_home(part, on_called_off);
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* Moves what the pieces hold into the answer while there is room. */
static void put_pieces(struct fetch *f, struct part *part, uint64_t *room, bool *any)
{
    struct kafka_request *r = f->request;
    struct kafka_records *records = &part->answer->records;
    struct kafka_piece **end = (struct kafka_piece **) &records->elsewhere;
    struct kafka_piece *last = NULL;

    for (size_t i = 0; i < part->read.npieces; i++) {
        struct fetch_piece *from = &part->read.pieces[i];
        if (*any && from->n > *room) {
            *room = 0;
            break;
        }
        struct kafka_piece *p = kafka_arena_alloc(&r->arena, sizeof(*p));
        *p = (struct kafka_piece){
            .chunk = from->chunk, .bytes = from->bytes, .n = from->n, .lent = from->lent};
        from->chunk = NULL;
        from->lent = NULL;
        if (last == NULL)
            *end = p;
        else
            last->next = p;
        last = p;
        records->n += from->n;
        *room -= from->n < *room ? from->n : *room;
        *any = true;
    }
}

/* The batch's records from the offset that was asked for on, as messages, while there is room; the
 * first one always fits. False: there is no room for more. */
static bool put_old_batch(struct part *part, struct str bytes, int magic, uint64_t room, bool any,
                          struct buf *out)
{
    struct kafka_room plain = {0};
    struct kafka_record_iter it;
    struct kafka_record r;
    struct kafka_batch b;
    struct str records;
    bool fits = true;

    if (kafka_batch_open(bytes, &b) == KAFKA_BATCH_OK && (b.attributes & KAFKA_CONTROL) == 0 &&
        kafka_batch_records(&b, KAFKA_PLAIN_MAX, &plain, &records) == ERR_OK) {
        kafka_record_iter_init(&it, &b, records);
        while (fits && kafka_record_iter_next(&it, &r)) {
            if (r.offset < part->asked->fetch_offset)
                continue;
            fits = (!any && out->n == 0) || out->n + kafka_set_bytes(magic, &r) <= room;
            if (fits)
                kafka_set_put(out, magic, &r);
        }
    }
    kafka_room_free(&plain);
    return fits;
}

/* For clients from before record batches: versions 0 and 1 get magic 0, 2 and 3 magic 1. Control
 * batches are nothing to them, nor are headers. */
static void put_old(struct fetch *f, struct part *part, uint64_t *room, bool *any)
{
    struct kafka_records *records = &part->answer->records;
    int magic = f->request->header.version < 2 ? 0 : 1;
    uint64_t most = part->asked->partition_max_bytes > 0
                        ? (uint64_t) part->asked->partition_max_bytes
                        : 0;
    struct buf out = {0};
    bool fits = true;

    if (most > *room)
        most = *room;
    for (size_t i = 0; fits && i < part->read.npieces; i++)
        fits = put_old_batch(part, str_from(part->read.pieces[i].bytes, part->read.pieces[i].n),
                             magic, most, *any, &out);
    if (out.n > 0) {
        struct str kept = kafka_arena_str(&f->request->arena, buf_str(&out));
        records->p = (const uint8_t *) kept.p;
        records->n = (uint32_t) kept.n;
        *room -= kept.n < *room ? kept.n : *room;
        *any = true;
    }
    buf_free(&out);
}

static void put_aborted(struct fetch *f, struct part *part)
{
    struct kafka_fetch_response_partitions *a = part->answer;
    size_t n = part->read.naborted;

    a->aborted_transactions_n = f->committed ? (int32_t) n : -1;
    if (n == 0)
        return;
    a->aborted_transactions = KAFKA_NEW(&f->request->arena, fetch_response_aborted_transactions, n);
    for (size_t i = 0; i < n; i++) {
        a->aborted_transactions[i].producer_id = part->read.aborted[i].producer;
        a->aborted_transactions[i].first_offset = (int64_t) part->read.aborted[i].first - 1;
    }
}

/* Which partitions the client is told of. */
static void choose_told(struct fetch *f)
{
    struct kafka_fetch_response *a = f->request->answer;
    struct fetch_sessions *all = &f->home->sessions;
    struct fetch_session *s = NULL;
    uint64_t now = io_now(f->home->env->io);

    if (f->makes_session)
        s = fetch_sessions_make(all, f->request->realm->index, f->request->header.version >= 13,
                                f->nparts, now);
    else if (f->session != 0)
        s = fetch_sessions_find(all, f->session, f->request->realm->index, now);
    if (f->session != 0 && s == NULL) { /* it had to make room */
        a->error_code = KAFKA_FETCH_SESSION_ID_NOT_FOUND;
        return;
    }
    a->session_id = s != NULL ? s->id : 0;
    for (uint32_t i = 0; i < f->nparts; i++) {
        struct part *part = &f->parts[i];
        struct fetch_session_part *p = NULL;
        if (s != NULL && f->makes_session)
            (void) fetch_session_put(all, s, part->topic, &part->id, part->asked);
        if (s != NULL)
            p = fetch_session_find(s, part->topic, &part->id, part->asked->partition);
        bool news = p == NULL || fetch_session_tell(s, p, part->answer);
        part->told = news || f->session == 0;
    }
}

static bool same_topic(const struct part *a, const struct part *b)
{
    return str_eq(a->topic, b->topic) && memcmp(&a->id, &b->id, sizeof(a->id)) == 0;
}

/* Neighbours of one topic go together. */
static void put_told(struct fetch *f)
{
    struct kafka_arena *arena = &f->request->arena;
    struct kafka_fetch_response *a = f->request->answer;
    struct kafka_fetch_response_responses *t = NULL;
    const struct part *last = NULL;
    uint32_t left = 0;

    for (uint32_t i = 0; i < f->nparts; i++)
        left += f->parts[i].told;
    a->responses = KAFKA_NEW(arena, fetch_response_responses, left);
    struct kafka_fetch_response_partitions *all = KAFKA_NEW(arena, fetch_response_partitions, left);
    for (uint32_t i = 0; i < f->nparts; i++) {
        const struct part *part = &f->parts[i];
        if (!part->told)
            continue;
        if (last == NULL || !same_topic(last, part)) {
            t = &a->responses[a->responses_n++];
            t->topic = part->topic;
            t->topic_id = part->id;
            t->partitions = all;
        }
        t->partitions_n++;
        *all++ = *part->answer;
        last = part;
    }
}

static void answer(struct fetch *f)
{
    static const uint8_t none[1];
    uint64_t room = f->room.bytes;
    bool any = false;

    for (uint32_t i = 0; i < f->nparts; i++) {
        struct part *part = &f->parts[i];
        struct kafka_fetch_response_partitions *a = part->answer;
        a->error_code = part->error != KAFKA_NONE ? part->error : part->read.error;
        a->high_watermark = part->read.high;
        a->last_stable_offset = part->read.stable;
        put_aborted(f, part);
        a->log_start_offset = part->read.start;
        a->records = (struct kafka_records){.p = none};
        if (f->request->header.version < 4)
            put_old(f, part, &room, &any);
        else
            put_pieces(f, part, &room, &any);
        fetch_read_release(&part->read, f->home->env);
    }
    if (f->timed)
        io_timer_stop(f->home->env->io, &f->timer);
    choose_told(f);
    put_told(f);
    kafka_reply(f->request);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static uint32_t asked_parts(const struct fetch *f)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < f->nparts; i++)
        n += f->parts[i].error == KAFKA_NONE;
    return n;
}

static void call_off(struct fetch *f)
{
    f->phase = CALLING_OFF;
    f->left = asked_parts(f) + 1;
    say_all(f, call_off_there);
    say(f->home->env, f->home->env->worker, f->nobody, on_called_off);
}

static void time_up(struct wheel_timer *t)
{
    struct fetch *f = CONTAINER_OF(t, struct fetch, timer);

    f->final = true;
    if (f->phase == PARKED)
        call_off(f);
}

/* Is there enough, or a reason not to wait? */
static bool is_enough(const struct fetch *f)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < f->nparts; i++) {
        const struct part *part = &f->parts[i];
        if (part->error != KAFKA_NONE || part->read.error != KAFKA_NONE || part->read.full)
            return true;
        bytes += part->read.bytes;
    }
    return bytes >= f->min_bytes;
}

static void round_over(struct fetch *f)
{
    const struct kafka_fetch_request *q = f->request->body;

    if (f->final || q->max_wait_ms <= 0 || is_enough(f)) {
        answer(f);
        return;
    }
    for (uint32_t i = 0; i < f->nparts; i++)
        fetch_read_release(&f->parts[i].read, f->home->env);
    f->phase = PARKED;
    if (!f->timed) {
        struct io *io = f->home->env->io;
        f->timed = true;
        io_timer_start(io, &f->timer, io_now(io) + (uint64_t) q->max_wait_ms * 1000000);
    }
    say_all(f, watch_there);
}

static void begin_round(struct fetch *f)
{
    f->phase = READING;
    f->left = asked_parts(f);
    atomic_store_explicit(&f->room.taken, 0, memory_order_relaxed);
    if (f->left == 0)
        round_over(f);
    else
        say_all(f, read_there);
}

static void on_read(struct env_task *task, struct env *env)
{
    struct fetch *f = heard(task)->fetch;

    (void) env;
    if (--f->left == 0)
        round_over(f);
}

static void on_woken(struct env_task *task, struct env *env)
{
    struct fetch *f = heard(task)->fetch;

    (void) env;
    if (f->phase == PARKED)
        call_off(f);
}

static void on_called_off(struct env_task *task, struct env *env)
{
    struct fetch *f = heard(task)->fetch;

    (void) env;
    if (--f->left == 0)
        begin_round(f);
}

/* The client has gone, or the server stops. */
static void cancel(struct kafka_request *r)
{
    struct fetch *f = r->ctx;

    f->final = true;
    if (f->phase == PARKED)
        call_off(f);
}

/* ---- what is asked for ----------------------------------------------------------------------- */

/* What may be read, and where; topic: its name, p == NULL: there is none. */
static void place_part(struct part *part, struct str topic)
{
    struct kafka_request *r = part->fetch->request;
    const struct kafka_fetch_request_partitions *q = part->asked;

    part->error = KAFKA_NONE;
    if (topic.p == NULL)
        part->error = KAFKA_UNKNOWN_TOPIC_ID;
    else if (!partition_find(r->realm, &r->arena, topic, q->partition, &part->place, &part->stream))
        part->error = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    else if (!access_may_read(r, topic, q->partition))
        part->error = KAFKA_TOPIC_AUTHORIZATION_FAILED;
}

/* Of one that is there. */
static void check_epoch(struct part *part)
{
    if (part->error == KAFKA_NONE || part->error == KAFKA_UNKNOWN_LEADER_EPOCH)
        part->error = part->asked->current_leader_epoch > KAFKA_EPOCH ? KAFKA_UNKNOWN_LEADER_EPOCH
                                                                      : KAFKA_NONE;
}

static struct part *new_part(struct fetch *f, struct str topic, const struct kafka_uuid *id,
                             const struct kafka_fetch_request_partitions *q)
{
    struct part *part = &f->parts[f->nparts++];

    part->fetch = f;
    part->topic = topic;
    part->id = *id;
    part->asked = q;
    part->answer = KAFKA_NEW(&f->request->arena, fetch_response_partitions, 1);
    part->answer->partition_index = q->partition;
    part->read.high = part->read.start = part->read.stable = -1;
    list_init(&part->watch.link);
    return part;
}

/* Since version 13 topics are asked for by their ids. p == NULL: there is none. */
static struct str name_of(struct kafka_request *r, struct str topic, const struct kafka_uuid *id)
{
    struct str name = STR_NONE;

    if (r->header.version < 13)
        return topic;
    topics_name_of(r->realm->topics, id, &r->arena, &name);
    return name;
}

/* Room for n, and one more, for what is nobody's. */
static void make_room(struct fetch *f, uint32_t n)
{
    f->parts = kafka_arena_alloc(&f->request->arena, ((size_t) n + 1) * sizeof(*f->parts));
    f->parts[n].fetch = f;
    f->nobody = &f->parts[n];
}

/* What one takes in the arena. */
#define PART_BYTES                                                                                 \
    (sizeof(struct part) + sizeof(struct kafka_fetch_response_partitions) + TOPIC_NAME_MAX)

static uint32_t count_parts(const struct kafka_fetch_request *q)
{
    uint32_t n = 0;

    for (int32_t i = 0; i < q->topics_n; i++)
        n += (uint32_t) (q->topics[i].partitions_n > 0 ? q->topics[i].partitions_n : 0);
    return n;
}

static uint64_t hash_of(uint64_t seed, const struct kafka_fetch_request_topics *t,
                        int32_t partition)
{
    uint64_t h = hash_bytes(t->topic.p, t->topic.n, seed);

    h = hash_bytes(&t->topic_id, sizeof(t->topic_id), h);
    return hash_bytes(&partition, sizeof(partition), h);
}

/* The partition if it has been asked for already. */
static struct part *asked_before(const struct hmap *map, uint64_t h,
                                 const struct kafka_fetch_request_topics *t, int32_t partition)
{
    for (struct hmap_node *n = hmap_first(map, h); n != NULL; n = hmap_next(n, h)) {
        struct part *part = CONTAINER_OF(n, struct part, node);
        if (part->asked->partition == partition && str_eq(part->topic, t->topic) &&
            memcmp(&part->id, &t->topic_id, sizeof(part->id)) == 0)
            return part;
    }
    return NULL;
}

/* From the request: each once, as it is asked for last. False: they are too many. */
static bool take_parts(struct fetch *f)
{
    struct kafka_request *r = f->request;
    const struct kafka_fetch_request *q = r->body;
    uint64_t seed = kafka_seed(r);
    uint32_t n = count_parts(q);
    struct hmap map;

    if (!kafka_has_room(r, (size_t) n * PART_BYTES))
        return false;
    hmap_init(&map);
    make_room(f, n);
    for (int32_t i = 0; i < q->topics_n; i++) {
        const struct kafka_fetch_request_topics *t = &q->topics[i];
        struct str name = name_of(r, t->topic, &t->topic_id);
        for (int32_t k = 0; k < t->partitions_n; k++) {
            uint64_t h = hash_of(seed, t, t->partitions[k].partition);
            struct part *part = asked_before(&map, h, t, t->partitions[k].partition);
            if (part == NULL) {
                part = new_part(f, t->topic, &t->topic_id, &t->partitions[k]);
                hmap_insert(&map, &part->node, h);
                place_part(part, name);
            }
            part->asked = &t->partitions[k];
            check_epoch(part);
        }
    }
    hmap_deinit(&map);
    return true;
}

/* From the session, in the order of its turns. It may go while the request waits. */
static void take_session(struct fetch *f, const struct fetch_session *s)
{
    struct kafka_arena *arena = &f->request->arena;
    struct str last = STR_NONE, name = STR_NONE;
    struct kafka_uuid last_id = {{0}};

    make_room(f, s->n);
    LIST_FOREACH(l, &s->order)
    {
        const struct fetch_session_part *p = LIST_ENTRY(l, struct fetch_session_part, link);
        struct kafka_fetch_request_partitions *q = KAFKA_NEW(arena, fetch_request_partitions, 1);
        *q = p->asked;
        if (last.p == NULL || !str_eq(last, p->topic) ||
            memcmp(&last_id, &p->id, sizeof(last_id)) != 0) {
            last = kafka_arena_str(arena, p->topic);
            last_id = p->id;
            name = name_of(f->request, last, &last_id);
        }
        struct part *part = new_part(f, last, &last_id, q);
        place_part(part, name);
        check_epoch(part);
    }
}

/* ---- sessions -------------------------------------------------------------------------------- */

/* What the request adds and forgets. */
static void update_session(struct fetch_sessions *all, struct fetch_session *s,
                           const struct kafka_fetch_request *q)
{
    for (int32_t i = 0; i < q->topics_n; i++)
        for (int32_t k = 0; k < q->topics[i].partitions_n; k++)
            (void) fetch_session_put(all, s, q->topics[i].topic, &q->topics[i].topic_id,
                                     &q->topics[i].partitions[k]);
    for (int32_t i = 0; i < q->forgotten_topics_data_n; i++) {
        const struct kafka_fetch_request_forgotten_topics_data *t = &q->forgotten_topics_data[i];
        for (int32_t k = 0; k < t->partitions_n; k++)
            fetch_session_forget(all, s, t->topic, &t->topic_id, t->partitions[k]);
    }
}

/* The error of the whole answer. */
static int16_t go_on_with_session(struct fetch *f)
{
    struct kafka_request *r = f->request;
    const struct kafka_fetch_request *q = r->body;
    struct fetch_sessions *all = &r->kafka->sessions;
    struct fetch_session *s = fetch_sessions_find(all, q->session_id, r->realm->index,
                                                  io_now(r->kafka->env->io));

    if (s == NULL)
        return KAFKA_FETCH_SESSION_ID_NOT_FOUND;
    if (s->epoch != q->session_epoch)
        return KAFKA_INVALID_FETCH_SESSION_EPOCH;
    if (s->by_id != (r->header.version >= 13))
        return KAFKA_FETCH_SESSION_TOPIC_ID_ERROR;
    update_session(all, s, q);
    if (s->n == 0) { /* it ends, and so does the request */
        fetch_sessions_drop(all, s);
        make_room(f, 0);
        f->final = true;
        return KAFKA_NONE;
    }
    fetch_session_turn(s);
    f->session = s->id;
    take_session(f, s);
    return KAFKA_NONE;
}

/* Epochs 0 and -1 ask for everything, whatever session they end. The error of the whole answer. */
static int16_t begin_anew(struct fetch *f)
{
    struct kafka_request *r = f->request;
    const struct kafka_fetch_request *q = r->body;
    struct fetch_session *s = NULL;

    if (q->session_id != 0)
        s = fetch_sessions_find(&r->kafka->sessions, q->session_id, r->realm->index,
                                io_now(r->kafka->env->io));
    if (s != NULL)
        fetch_sessions_drop(&r->kafka->sessions, s);
    if (!take_parts(f))
        return KAFKA_INVALID_REQUEST;
    f->makes_session = q->session_epoch == 0 && r->header.version >= 7 && f->nparts > 0;
    return KAFKA_NONE;
}

/* ---- the request ----------------------------------------------------------------------------- */

void kafka_run_fetch(struct kafka_request *r)
{
    const struct kafka_fetch_request *q = r->body;
    struct kafka_fetch_response *a = r->answer;
    struct fetch *f = kafka_arena_alloc(&r->arena, sizeof(*f));

    *f = (struct fetch){.request = r, .home = r->kafka};
    a->error_code = q->session_epoch > 0 ? go_on_with_session(f) : begin_anew(f);
    if (a->error_code != KAFKA_NONE) {
        kafka_reply(r);
        return;
    }
    f->committed = q->isolation_level == 1;
    /* Old versions get something else than what lies there. */
    f->in_file = r->conn->tls == NULL && r->header.version >= 4;
    f->min_bytes = q->min_bytes > 0 ? (uint64_t) q->min_bytes : 0;
    f->room.bytes = q->max_bytes > 0 ? (uint64_t) q->max_bytes : 0;
    if (f->room.bytes > KAFKA_FETCH_MAX)
        f->room.bytes = KAFKA_FETCH_MAX;
    wheel_timer_init(&f->timer, time_up);
    r->ctx = f;
    r->cancel = cancel;
    begin_round(f);
}
