/*
 * group_offsets.c - OffsetCommit, OffsetFetch, OffsetDelete.
 *
 * A commit is messages appended to the offsets stream, all of one request together; when they are
 * durable they are what OffsetFetch tells, and the answer leaves. So what was answered survives a
 * crash, and what was not may be there or not, as with Kafka.
 *
 * OffsetFetch tells of a group once, however often it is asked for, and of no more than an answer
 * may hold: a partition takes four bytes to ask for, and its metadata are up to 4 KiB.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/kafka/access.h"
#include "server/kafka/coordinator.h"
#include "server/kafka/once.h"
#include "server/kafka/txn_pending.h"

/* ---- OffsetCommit ---------------------------------------------------------------------------- */

/* One request's commit on its way to the disk. */
struct committing {
    struct partition_job job;
    struct errand *errand;
    struct group_entry *group;
    struct committed_offset *offsets; /* n of them; strings are the request's */
    size_t n;
    size_t held; /* of their metadata, what is more than there was */
};

typedef struct kafka_offset_commit_request_partitions asked_partition;
typedef struct kafka_offset_commit_response_partitions told_partition;

/* The answer has a place for each partition; all of them get this error if they have none yet. */
static void commit_failed(struct errand *e, int16_t error)
{
    struct kafka_offset_commit_response *a = e->request->answer;

    for (int32_t i = 0; i < a->topics_n; i++)
        for (int32_t k = 0; k < a->topics[i].partitions_n; k++)
            if (a->topics[i].partitions[k].error_code == KAFKA_NONE)
                a->topics[i].partitions[k].error_code = error;
}

static void end_commit(struct committing *x, int16_t error)
{
    struct errand *e = x->errand;
    struct group_entry *g = x->group;

    g->writing--;
    held_set(&g->coordinator->offsets_held, &x->held, 0);
    commit_failed(e, error);
    mem_free(x);
    coordinator_touch(g);
    errand_done(e);
}

static void durable(struct partition_job *j, bool ok)
{
    struct committing *x = CONTAINER_OF(j, struct committing, job);

    for (size_t i = 0; ok && i < x->n; i++)
        committed_put(&x->group->offsets, &x->offsets[i]);
    end_commit(x, ok ? KAFKA_NONE : KAFKA_COORDINATOR_NOT_AVAILABLE);
}

static void stream_gone(struct partition_job *j)
{
    end_commit(CONTAINER_OF(j, struct committing, job), KAFKA_NOT_COORDINATOR);
}

static int16_t error_of(enum err err)
{
    switch (err) {
    case ERR_OK:
        return KAFKA_NONE;
    case ERR_LIMIT:
        return KAFKA_COORDINATOR_LOAD_IN_PROGRESS; /* clients come again */
    case ERR_TOO_LARGE:
        return KAFKA_INVALID_COMMIT_OFFSET_SIZE;
    default:
        return KAFKA_COORDINATOR_NOT_AVAILABLE;
    }
}

/* Appends them all; their sequences. */
static int16_t append(struct coordinator *c, struct committing *x)
{
    struct stream_own_message *messages = mem_array(x->n, sizeof(*messages));
    struct buf *texts = mem_array(3 * x->n, sizeof(*texts));
    uint64_t first = 0;
    enum err err;

    for (size_t i = 0; i < x->n; i++) {
        struct buf *b = &texts[3 * i];
        b[0] = b[1] = b[2] = (struct buf){0};
        committed_render(x->group->name, &x->offsets[i], &b[0], &b[1], &b[2]);
        messages[i] = (struct stream_own_message){buf_str(&b[0]), buf_str(&b[1]), buf_str(&b[2])};
    }
    err = stream_append_own(c->partition->stream, messages, x->n, &first);
    for (size_t i = 0; i < x->n; i++)
        x->offsets[i].seq = first + i;
    for (size_t i = 0; i < 3 * x->n; i++)
        buf_free(&texts[i]);
    mem_free(texts);
    mem_free(messages);
    x->job.seq = first + x->n - 1;
    return error_of(err);
}

/* What can be said of one partition's at once. */
static int16_t check_partition(struct kafka_request *r, struct str topic, const asked_partition *p,
                               struct kafka_uuid *id)
{
    struct topic_place place;

    if (p->committed_metadata.n > COMMITTED_METADATA_MAX)
        return KAFKA_OFFSET_METADATA_TOO_LARGE;
    if (!topics_partition(r->realm->topics, topic, p->partition_index, &place))
        return KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    *id = place.id;
    return KAFKA_NONE;
}

/* What is refused for its metadata may be committed with less of them. */
static bool hold(struct committing *x, struct str topic, const asked_partition *p)
{
    struct held *held = &x->group->coordinator->offsets_held;
    const struct committed_offset *o = committed_find(&x->group->offsets, topic,
                                                      p->partition_index);
    size_t from = o != NULL ? o->metadata.n : 0, to = p->committed_metadata.n;

    if (!held_may(held, from, to))
        return false;
    if (to > from)
        held_set(held, &x->held, x->held + to - from);
    return true;
}

/* Those that are to be written, in memory of the request. */
static size_t collect(struct committing *x)
{
    struct errand *e = x->errand;
    struct kafka_request *r = e->request;
    const struct kafka_offset_commit_request *q = r->body;
    struct kafka_offset_commit_response *a = r->answer;
    struct committed_offset *offsets;
    size_t room = 0, n = 0;

    for (int32_t i = 0; i < a->topics_n; i++)
        room += (size_t) a->topics[i].partitions_n;
    x->offsets = offsets = kafka_arena_alloc(&r->arena, room * sizeof(*offsets));
    for (int32_t i = 0; i < a->topics_n; i++)
        for (int32_t k = 0; k < a->topics[i].partitions_n; k++) {
            const asked_partition *p = &q->topics[i].partitions[k];
            told_partition *to = &a->topics[i].partitions[k];
            struct committed_offset *o = &offsets[n];
            if (to->error_code == KAFKA_NONE)
                to->error_code = check_partition(r, q->topics[i].name, p, &o->topic_id);
            if (to->error_code == KAFKA_NONE && !hold(x, q->topics[i].name, p))
                to->error_code = KAFKA_OFFSET_METADATA_TOO_LARGE;
            if (to->error_code != KAFKA_NONE)
                continue;
            o->topic = q->topics[i].name;
            o->partition = p->partition_index;
            o->offset = p->committed_offset;
            o->epoch = p->committed_leader_epoch;
            o->metadata = p->committed_metadata;
            o->time_ms = io_wall(e->env->io) / 1000000;
            n++;
        }
    return n;
}

/* The group that may be committed to by this request; NULL: *error says why not. A group that
 * nobody has joined is made by its first commit. */
static struct group_entry *group_of(struct coordinator *c, struct errand *e, int16_t *error)
{
    const struct kafka_offset_commit_request *q = e->request->body;
    int32_t generation = q->generation_id_or_member_epoch;
    struct group_entry *g = generation < 0 ? coordinator_get(c, q->group_id)
                                           : coordinator_find(c, q->group_id);

    if (g == NULL) {
        *error = generation < 0                    ? KAFKA_GROUP_MAX_SIZE_REACHED
                 : e->request->header.version >= 9 ? KAFKA_UNKNOWN_MEMBER_ID
                                                   : KAFKA_ILLEGAL_GENERATION;
        return NULL;
    }
    /* What an epoch is has been said since version 9. */
    if (g->consumer != NULL && generation >= 0 && e->request->header.version < 9)
        *error = KAFKA_UNSUPPORTED_VERSION;
    else if (g->consumer != NULL)
        *error = consumer_group_may_commit(g->consumer, q->member_id, generation);
    else
        *error = group_may_commit(&g->core, q->member_id, q->group_instance_id, generation, false,
                                  io_now(e->env->io));
    if (*error == KAFKA_NONE)
        return g;
    coordinator_touch(g);
    return NULL;
}

static void commit(struct coordinator *c, struct errand *e)
{
    int16_t error;
    struct group_entry *g = group_of(c, e, &error);
    struct committing *x;

    if (g == NULL) {
        errand_failed(e, error);
        return;
    }
    x = mem_zalloc(sizeof(*x));
    x->errand = e;
    x->group = g;
    x->job.wake = durable;
    x->job.gone = stream_gone;
    list_init(&x->job.link);
    g->writing++;
    x->n = collect(x);
    error = x->n > 0 ? append(c, x) : KAFKA_NONE;
    if (error != KAFKA_NONE || x->n == 0)
        end_commit(x, error);
    else if (partition_wait(c->partition, &x->job))
        durable(&x->job, true);
}

/* Of all of it; 0: it may go to the group. */
static int16_t check_commit(const struct kafka_offset_commit_request *q)
{
    size_t n = 0;

    for (int32_t i = 0; i < q->topics_n; i++)
        n += q->topics[i].partitions_n > 0 ? (size_t) q->topics[i].partitions_n : 0;
    if (n > STORE_GROUP_MSGS_MAX)
        return KAFKA_INVALID_COMMIT_OFFSET_SIZE;
    return coordinator_name_valid(q->group_id) ? KAFKA_NONE : KAFKA_INVALID_GROUP_ID;
}

void kafka_run_offset_commit(struct kafka_request *r)
{
    const struct kafka_offset_commit_request *q = r->body;
    struct kafka_offset_commit_response *a = r->answer;
    int16_t error = check_commit(q);

    a->topics_n = q->topics_n > 0 ? q->topics_n : 0;
    a->topics = KAFKA_NEW(&r->arena, offset_commit_response_topics, a->topics_n);
    for (int32_t i = 0; i < a->topics_n; i++) {
        int32_t n = q->topics[i].partitions_n > 0 ? q->topics[i].partitions_n : 0;
        a->topics[i].name = q->topics[i].name;
        a->topics[i].partitions_n = n;
        a->topics[i].partitions = KAFKA_NEW(&r->arena, offset_commit_response_partitions, n);
        for (int32_t k = 0; k < n; k++) {
            a->topics[i].partitions[k].partition_index = q->topics[i].partitions[k].partition_index;
            a->topics[i].partitions[k].error_code = error;
            if (error == KAFKA_NONE &&
                !access_may_read(r, q->topics[i].name, q->topics[i].partitions[k].partition_index))
                a->topics[i].partitions[k].error_code = KAFKA_TOPIC_AUTHORIZATION_FAILED;
        }
    }
    if (error == KAFKA_NONE)
        errand_start(r, q->group_id, commit, commit_failed, NULL);
    else
        kafka_reply(r);
}

/* ---- OffsetFetch ----------------------------------------------------------------------------- */

/* One group's part of a request and its answer, in the form of version 8. */
typedef struct kafka_offset_fetch_request_groups asked_group;
typedef struct kafka_offset_fetch_response_groups told_group;
typedef struct kafka_offset_fetch_response_groups_topics told_topic;
typedef struct kafka_offset_fetch_response_groups_topics_partitions told_offset;

static void put_offset(struct kafka_request *r, int32_t partition, const struct committed_offset *o,
                       told_offset *to)
{
    to->partition_index = partition;
    to->committed_offset = -1;
    to->committed_leader_epoch = -1;
    to->metadata = STR("");
    if (o == NULL)
        return;
    to->committed_offset = o->offset;
    to->committed_leader_epoch = o->epoch;
    to->metadata = kafka_arena_str(&r->arena, o->metadata);
}

/* Committed for the topic that is called so now? */
static bool is_of_topic(struct kafka_request *r, const struct committed_offset *o)
{
    struct topic_place place;

    return o != NULL && (!topics_partition(r->realm->topics, o->topic, o->partition, &place) ||
                         memcmp(&place.id, &o->topic_id, sizeof(place.id)) == 0);
}

/* unstable: what is not told; NULL: all is. False: it is all of them, or more than an answer may
 * hold. */
static bool put_asked(struct kafka_request *r, const struct txn_pending *unstable,
                      const struct group_entry *g, const asked_group *q, told_group *a)
{
    if (q->topics_n < 0 || !kafka_has_room(r, (size_t) q->topics_n * sizeof(*a->topics)))
        return false;
    a->topics_n = q->topics_n;
    a->topics = KAFKA_NEW(&r->arena, offset_fetch_response_groups_topics, q->topics_n);
    for (int32_t i = 0; i < q->topics_n; i++) {
        const struct kafka_offset_fetch_request_groups_topics *t = &q->topics[i];
        int32_t n = t->partition_indexes_n > 0 ? t->partition_indexes_n : 0;
        if (!kafka_has_room(r, (size_t) n * sizeof(*a->topics[i].partitions)))
            return false;
        a->topics[i].name = t->name;
        a->topics[i].partitions_n = n;
        a->topics[i].partitions = KAFKA_NEW(&r->arena,
                                            offset_fetch_response_groups_topics_partitions, n);
        for (int32_t k = 0; k < n; k++) {
            const struct committed_offset *o =
                g != NULL ? committed_find(&g->offsets, t->name, t->partition_indexes[k]) : NULL;
            bool pending = unstable != NULL &&
                           txn_pending_has(unstable, q->group_id, t->name, t->partition_indexes[k]);
            if (o != NULL && !kafka_has_room(r, o->metadata.n))
                return false;
            put_offset(r, t->partition_indexes[k], is_of_topic(r, o) && !pending ? o : NULL,
                       &a->topics[i].partitions[k]);
            if (pending)
                a->topics[i].partitions[k].error_code = KAFKA_UNSTABLE_OFFSET_COMMIT;
        }
    }
    return true;
}

/* How many from i on are of the same topic. */
static size_t of_one_topic(struct committed_offset *const *all, size_t i, size_t n)
{
    size_t to = i;

    while (to < n && str_eq(all[to]->topic, all[i]->topic))
        to++;
    return to - i;
}

static void put_all(struct kafka_request *r, const struct group_entry *g, told_group *a)
{
    size_t n = g != NULL ? g->offsets.map.count : 0;
    struct committed_offset **all;

    a->topics = KAFKA_NEW(&r->arena, offset_fetch_response_groups_topics, n);
    if (n == 0)
        return;
    all = committed_sorted(&g->offsets);
    for (size_t i = 0; i < n; i++) {
        told_topic *t = a->topics_n > 0 ? &a->topics[a->topics_n - 1] : NULL;
        if (!is_of_topic(r, all[i]))
            continue;
        if (t == NULL || !str_eq(t->name, all[i]->topic)) {
            t = &a->topics[a->topics_n++];
            t->name = kafka_arena_str(&r->arena, all[i]->topic);
            t->partitions = KAFKA_NEW(&r->arena, offset_fetch_response_groups_topics_partitions,
                                      of_one_topic(all, i, n));
        }
        put_offset(r, all[i]->partition, all[i], &t->partitions[t->partitions_n++]);
    }
    mem_free(all);
}

/* A member says who it is since version 9, in groups where that says something. */
static int16_t check_asker(const struct group_entry *g, const asked_group *q)
{
    if (q->member_id.p == NULL || q->member_id.n == 0 || q->member_epoch < 0)
        return KAFKA_NONE;
    if (g == NULL)
        return KAFKA_UNKNOWN_MEMBER_ID;
    return g->consumer != NULL
               ? consumer_group_may_commit(g->consumer, q->member_id, q->member_epoch)
               : KAFKA_NONE;
}

static void fetch_group(struct coordinator *c, const struct txn_pending *unstable,
                        struct kafka_request *r, const asked_group *q, told_group *a)
{
    const struct group_entry *g = coordinator_find(c, q->group_id);

    a->group_id = q->group_id;
    if (!coordinator_name_valid(q->group_id)) {
        a->error_code = KAFKA_INVALID_GROUP_ID;
    } else if ((a->error_code = check_asker(g, q)) != KAFKA_NONE) {
        return;
    } else if (q->topics_n < 0) {
        put_all(r, g, a);
    } else if (!put_asked(r, unstable, g, q, a)) {
        a->topics_n = 0;
        a->error_code = KAFKA_INVALID_REQUEST;
    }
}

/* The one group of versions before 8, as one of many. */
static void ask_old(struct kafka_request *r, asked_group *to)
{
    const struct kafka_offset_fetch_request *q = r->body;

    *to = (asked_group){.group_id = q->group_id, .topics_n = q->topics_n};
    to->topics = KAFKA_NEW(&r->arena, offset_fetch_request_groups_topics,
                           q->topics_n > 0 ? q->topics_n : 0);
    for (int32_t i = 0; i < q->topics_n; i++) {
        to->topics[i].name = q->topics[i].name;
        to->topics[i].partition_indexes = q->topics[i].partition_indexes;
        to->topics[i].partition_indexes_n = q->topics[i].partition_indexes_n;
    }
}

static void tell_old(struct kafka_request *r, const told_group *from)
{
    struct kafka_offset_fetch_response *a = r->answer;

    a->error_code = from->error_code;
    a->topics_n = from->topics_n;
    a->topics = KAFKA_NEW(&r->arena, offset_fetch_response_topics, from->topics_n);
    for (int32_t i = 0; i < from->topics_n; i++) {
        const told_topic *t = &from->topics[i];
        a->topics[i].name = t->name;
        a->topics[i].partitions_n = t->partitions_n;
        a->topics[i].partitions = KAFKA_NEW(&r->arena, offset_fetch_response_partitions,
                                            t->partitions_n);
        for (int32_t k = 0; k < t->partitions_n; k++) {
            struct kafka_offset_fetch_response_partitions *to = &a->topics[i].partitions[k];
            to->partition_index = t->partitions[k].partition_index;
            to->committed_offset = t->partitions[k].committed_offset;
            to->committed_leader_epoch = t->partitions[k].committed_leader_epoch;
            to->metadata = t->partitions[k].metadata;
            to->error_code = t->partitions[k].error_code;
        }
    }
}

static void fetch_groups(struct coordinator *c, const struct txn_pending *unstable,
                         struct kafka_request *r)
{
    const struct kafka_offset_fetch_request *q = r->body;
    struct kafka_offset_fetch_response *a = r->answer;

    if (r->header.version < 8) {
        asked_group asked;
        told_group *told = KAFKA_NEW(&r->arena, offset_fetch_response_groups, 1);
        ask_old(r, &asked);
        fetch_group(c, unstable, r, &asked, told);
        tell_old(r, told);
    } else {
        for (int32_t i = 0; i < a->groups_n; i++)
            if (a->groups[i].error_code == KAFKA_NONE)
                fetch_group(c, unstable, r, &q->groups[i], &a->groups[i]);
    }
}

static void fetch(struct coordinator *c, struct errand *e)
{
    const struct kafka_offset_fetch_request *q = e->request->body;
    struct txn_pending unstable;

    if (q->require_stable) {
        txn_pending_init(&unstable, &c->txns);
        fetch_groups(c, &unstable, e->request);
        txn_pending_deinit(&unstable);
    } else {
        fetch_groups(c, NULL, e->request);
    }
    errand_done(e);
}

/* Before version 2 an error has its place with each partition only. */
static void fetch_failed(struct errand *e, int16_t error)
{
    struct kafka_request *r = e->request;
    struct kafka_offset_fetch_response *a = r->answer;
    asked_group asked;
    told_group *told;

    for (int32_t i = 0; i < a->groups_n; i++)
        a->groups[i].error_code = error;
    if (r->header.version >= 8)
        return;
    told = KAFKA_NEW(&r->arena, offset_fetch_response_groups, 1);
    ask_old(r, &asked);
    told->error_code = error;
    if (!put_asked(r, NULL, NULL, &asked, told))
        told->topics_n = 0;
    for (int32_t i = 0; i < told->topics_n; i++)
        for (int32_t k = 0; k < told->topics[i].partitions_n; k++)
            told->topics[i].partitions[k].error_code = error;
    tell_old(r, told);
}

/* The request with each of its groups once. */
static const struct kafka_offset_fetch_request *each_once(struct kafka_request *r)
{
    const struct kafka_offset_fetch_request *q = r->body;
    struct kafka_offset_fetch_request *own = KAFKA_NEW(&r->arena, offset_fetch_request, 1);
    struct once groups;

    *own = *q;
    own->groups_n = 0;
    own->groups = KAFKA_NEW(&r->arena, offset_fetch_request_groups,
                            q->groups_n > 0 ? q->groups_n : 0);
    once_init(&groups, &r->arena, kafka_seed(r));
    for (int32_t i = 0; i < q->groups_n; i++)
        if (once_take(&groups, q->groups[i].group_id))
            own->groups[own->groups_n++] = q->groups[i];
    once_deinit(&groups);
    return own;
}

void kafka_run_offset_fetch(struct kafka_request *r)
{
    const struct kafka_offset_fetch_request *q = r->body;
    struct kafka_offset_fetch_response *a = r->answer;

    if (r->header.version >= 8) {
        r->body = q = each_once(r);
        a->groups_n = q->groups_n > 0 ? q->groups_n : 0;
        a->groups = KAFKA_NEW(&r->arena, offset_fetch_response_groups, a->groups_n);
        for (int32_t i = 0; i < a->groups_n; i++) {
            a->groups[i].group_id = q->groups[i].group_id;
            if (!access_may_group(r, q->groups[i].group_id))
                a->groups[i].error_code = KAFKA_GROUP_AUTHORIZATION_FAILED;
        }
    }
    errand_start(r, r->header.version < 8 ? q->group_id : STR_NONE, fetch, fetch_failed, NULL);
}

/* ---- OffsetDelete ---------------------------------------------------------------------------- */

static void delete_failed(struct errand *e, int16_t error)
{
    struct kafka_offset_delete_response *a = e->request->answer;

    a->error_code = error;
}

struct removal {
    struct errand *errand;
    uint32_t left; /* not durable yet, and one for who adds them */
    int16_t error;
};

struct removal_of_one {
    struct store_req req;
    struct removal *removal;
};

struct removal *removal_begin(struct errand *e)
{
    struct removal *x = mem_zalloc(sizeof(*x));

    x->errand = e;
    x->left = 1;
    return x;
}

void removal_end(struct removal *x)
{
    struct errand *e = x->errand;
    int16_t error = x->error;

    if (--x->left > 0)
        return;
    mem_free(x);
    if (error != KAFKA_NONE)
        errand_failed(e, error);
    else
        errand_done(e);
}

static void removed(struct store_req *req, enum err err)
{
    struct removal_of_one *one = CONTAINER_OF(req, struct removal_of_one, req);
    struct removal *x = one->removal;

    mem_free(one);
    if (err != ERR_OK)
        x->error = KAFKA_COORDINATOR_NOT_AVAILABLE;
    removal_end(x);
}

void removal_add(struct removal *x, struct group_entry *g, struct committed_offset *o)
{
    struct removal_of_one *one = mem_zalloc(sizeof(*one));

    one->req.done = removed;
    one->removal = x;
    x->left++;
    if (coordinator_remove(g, o, &one->req))
        return;
    mem_free(one);
    x->left--;
}

/* Those of the request's topics that somebody reads; false: that may be all of them. */
static bool find_read(struct group_entry *g, const struct kafka_offset_delete_response *a,
                      struct once *asked, struct once *read)
{
    for (int32_t i = 0; i < a->topics_n; i++)
        once_take(asked, a->topics[i].name);
    if (g->consumer == NULL)
        return group_subscriptions(&g->core, asked, read);
    consumer_group_subscriptions(g->consumer, asked, read);
    return true;
}

static void delete_of_topic(struct removal *x, struct group_entry *g, bool read,
                            const struct kafka_offset_delete_response_topics *t)
{
    for (int32_t k = 0; k < t->partitions_n; k++) {
        struct kafka_offset_delete_response_partitions *p = &t->partitions[k];
        struct committed_offset *o = committed_find(&g->offsets, t->name, p->partition_index);
        if (read)
            p->error_code = KAFKA_GROUP_SUBSCRIBED_TO_TOPIC;
        else if (o != NULL)
            removal_add(x, g, o);
    }
}

static void delete_offsets(struct coordinator *c, struct errand *e)
{
    struct kafka_request *r = e->request;
    const struct kafka_offset_delete_request *q = r->body;
    struct kafka_offset_delete_response *a = r->answer;
    struct group_entry *g = coordinator_find(c, q->group_id);
    struct once asked, read;
    struct removal *x;
    bool all;

    if (g == NULL) {
        errand_failed(e, KAFKA_GROUP_ID_NOT_FOUND);
        return;
    }
    once_init(&asked, &r->arena, c->seed);
    once_init(&read, &r->arena, c->seed);
    all = !find_read(g, a, &asked, &read);
    x = removal_begin(e);
    for (int32_t i = 0; i < a->topics_n; i++)
        delete_of_topic(x, g, all || once_has(&read, a->topics[i].name), &a->topics[i]);
    once_deinit(&asked);
    once_deinit(&read);
    coordinator_touch(g);
    removal_end(x);
}

void kafka_run_offset_delete(struct kafka_request *r)
{
    const struct kafka_offset_delete_request *q = r->body;
    struct kafka_offset_delete_response *a = r->answer;

    a->topics_n = q->topics_n > 0 ? q->topics_n : 0;
    a->topics = KAFKA_NEW(&r->arena, offset_delete_response_topics, a->topics_n);
    for (int32_t i = 0; i < a->topics_n; i++) {
        int32_t n = q->topics[i].partitions_n > 0 ? q->topics[i].partitions_n : 0;
        a->topics[i].name = q->topics[i].name;
        a->topics[i].partitions_n = n;
        a->topics[i].partitions = KAFKA_NEW(&r->arena, offset_delete_response_partitions, n);
        for (int32_t k = 0; k < n; k++)
            a->topics[i].partitions[k].partition_index = q->topics[i].partitions[k].partition_index;
    }
    errand_start(r, q->group_id, delete_offsets, delete_failed, NULL);
}
