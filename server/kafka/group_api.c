/* group_api.c - JoinGroup, SyncGroup, Heartbeat, LeaveGroup: requests to a group's machine. */
#include "lib/io/io.h"
#include "server/kafka/coordinator.h"

static uint64_t now_of(const struct coordinator *c)
{
    return io_now(c->kafka->env->io);
}

static void *array(struct errand *e, size_t n, size_t bytes_each)
{
    return kafka_arena_alloc(&e->request->arena, n * bytes_each);
}

/* What the machine says lives until it is asked again. */
static struct str keep(struct errand *e, struct str s)
{
    return s.p != NULL ? kafka_arena_str(&e->request->arena, s) : STR_NONE;
}

/* ---- JoinGroup ------------------------------------------------------------------------------- */

static void put_members(struct errand *e, const struct group *g,
                        struct kafka_join_group_response *a)
{
    a->members = KAFKA_NEW(&e->request->arena, join_group_response_members, g->nmembers);
    LIST_FOREACH(l, &g->members)
    {
        const struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        struct kafka_join_group_response_members *to = &a->members[a->members_n++];
        to->member_id = keep(e, m->id);
        to->group_instance_id = keep(e, m->instance);
        to->metadata = keep(e, group_metadata(g, m));
    }
}

static void joined(void *who, const struct group_joined *j)
{
    struct errand *e = who;
    struct kafka_join_group_response *a = e->request->answer;

    a->error_code = j->error;
    a->generation_id = j->generation;
    a->protocol_type = keep(e, j->protocol_type);
    a->protocol_name = keep(e, j->protocol);
    a->leader = keep(e, j->leader);
    a->member_id = keep(e, j->member_id);
    a->skip_assignment = j->skip_assignment;
    if (j->group != NULL)
        put_members(e, j->group, a);
    errand_done(e);
}

static void join_failed(struct errand *e, int16_t error)
{
    const struct kafka_join_group_request *q = e->request->body;
    struct kafka_join_group_response *a = e->request->answer;

    a->error_code = error;
    a->generation_id = -1;
    a->member_id = q->member_id;
}

static void join(struct coordinator *c, struct errand *e)
{
    struct kafka_request *r = e->request;
    const struct kafka_join_group_request *q = r->body;
    uint32_t n = q->protocols_n > 0 ? (uint32_t) q->protocols_n : 0;
    struct group_protocol *protocols = array(e, n, sizeof(*protocols));
    struct group_entry *g = q->member_id.n == 0 ? coordinator_get(c, q->group_id)
                                                : coordinator_find(c, q->group_id);

    if (g == NULL) {
        errand_failed(e,
                      q->member_id.n == 0 ? KAFKA_GROUP_MAX_SIZE_REACHED : KAFKA_UNKNOWN_MEMBER_ID);
        return;
    }
    if (g->consumer != NULL && g->consumer->nmembers > 0) {
        errand_failed(e, KAFKA_INCONSISTENT_GROUP_PROTOCOL);
        return;
    }
    coordinator_make_classic(g);
    for (uint32_t i = 0; i < n; i++)
        protocols[i] = (struct group_protocol){q->protocols[i].name, q->protocols[i].metadata};
    e->waits = g;
    group_join(&g->core,
               &(struct group_join){.member_id = q->member_id,
                                    .instance = q->group_instance_id,
                                    .client_id = r->header.client_id,
                                    .client_host = str_of(r->conn->peer.host),
                                    .protocol_type = q->protocol_type,
                                    .session_ms = q->session_timeout_ms,
                                    .rebalance_ms = q->rebalance_timeout_ms,
                                    .protocols = protocols,
                                    .nprotocols = n,
                                    .need_id = r->header.version >= 4,
                                    .can_skip = r->header.version >= 9,
                                    .who = e},
               now_of(c));
    coordinator_touch(g);
}

void kafka_run_join_group(struct kafka_request *r)
{
    const struct kafka_join_group_request *q = r->body;
    struct kafka_join_group_response *a = r->answer;

    if (coordinator_name_valid(q->group_id)) {
        errand_start(r, q->group_id, join, join_failed, NULL);
        return;
    }
    a->error_code = KAFKA_INVALID_GROUP_ID;
    a->member_id = q->member_id;
    kafka_reply(r);
}

/* ---- SyncGroup ------------------------------------------------------------------------------- */

static void synced(void *who, const struct group_synced *s)
{
    struct errand *e = who;
    struct kafka_sync_group_response *a = e->request->answer;

    a->error_code = s->error;
    a->protocol_type = keep(e, s->protocol_type);
    a->protocol_name = keep(e, s->protocol);
    a->assignment = keep(e, s->assignment);
    errand_done(e);
}

const struct group_out coordinator_group_out = {.joined = joined, .synced = synced};

static void sync_failed(struct errand *e, int16_t error)
{
    struct kafka_sync_group_response *a = e->request->answer;

    a->error_code = error;
}

static void sync_group(struct coordinator *c, struct errand *e)
{
    const struct kafka_sync_group_request *q = e->request->body;
    uint32_t n = q->assignments_n > 0 ? (uint32_t) q->assignments_n : 0;
    struct group_protocol *assignments = array(e, n, sizeof(*assignments));
    struct group_entry *g = coordinator_find(c, q->group_id);

    if (g == NULL) {
        errand_failed(e, KAFKA_UNKNOWN_MEMBER_ID);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        assignments[i] = (struct group_protocol){q->assignments[i].member_id,
                                                 q->assignments[i].assignment};
    e->waits = g;
    group_sync(&g->core,
               &(struct group_sync){.member_id = q->member_id,
                                    .instance = q->group_instance_id,
                                    .generation = q->generation_id,
                                    .protocol_type = q->protocol_type,
                                    .protocol = q->protocol_name,
                                    .assignments = assignments,
                                    .nassignments = n,
                                    .who = e},
               now_of(c));
    coordinator_touch(g);
}

void kafka_run_sync_group(struct kafka_request *r)
{
    const struct kafka_sync_group_request *q = r->body;

    errand_start(r, q->group_id, sync_group, sync_failed, NULL);
}

/* ---- Heartbeat ------------------------------------------------------------------------------- */

static void heartbeat_failed(struct errand *e, int16_t error)
{
    struct kafka_heartbeat_response *a = e->request->answer;

    a->error_code = error;
}

static void heartbeat(struct coordinator *c, struct errand *e)
{
    const struct kafka_heartbeat_request *q = e->request->body;
    struct kafka_heartbeat_response *a = e->request->answer;
    struct group_entry *g = coordinator_find(c, q->group_id);

    a->error_code = KAFKA_UNKNOWN_MEMBER_ID;
    if (g != NULL) {
        a->error_code = group_heartbeat(&g->core, q->member_id, q->group_instance_id,
                                        q->generation_id, now_of(c));
        coordinator_touch(g);
    }
    errand_done(e);
}

void kafka_run_heartbeat(struct kafka_request *r)
{
    const struct kafka_heartbeat_request *q = r->body;

    errand_start(r, q->group_id, heartbeat, heartbeat_failed, NULL);
}

/* ---- LeaveGroup ------------------------------------------------------------------------------ */

static void leave_failed(struct errand *e, int16_t error)
{
    struct kafka_leave_group_response *a = e->request->answer;

    a->error_code = error;
}

static void leave(struct coordinator *c, struct errand *e)
{
    struct kafka_request *r = e->request;
    const struct kafka_leave_group_request *q = r->body;
    struct kafka_leave_group_response *a = r->answer;
    struct group_entry *g = coordinator_find(c, q->group_id);

    if (g == NULL) {
        errand_failed(e, KAFKA_UNKNOWN_MEMBER_ID);
        return;
    }
    if (r->header.version < 3) {
        a->error_code = group_leave(&g->core, q->member_id, STR_NONE, now_of(c));
    } else {
        a->members_n = q->members_n > 0 ? q->members_n : 0;
        a->members = KAFKA_NEW(&r->arena, leave_group_response_members, a->members_n);
        for (int32_t i = 0; i < a->members_n; i++) {
            a->members[i].member_id = q->members[i].member_id;
            a->members[i].group_instance_id = q->members[i].group_instance_id;
            a->members[i].error_code = group_leave(&g->core, q->members[i].member_id,
                                                   q->members[i].group_instance_id, now_of(c));
        }
    }
    coordinator_touch(g);
    errand_done(e);
}

void kafka_run_leave_group(struct kafka_request *r)
{
    const struct kafka_leave_group_request *q = r->body;

    errand_start(r, q->group_id, leave, leave_failed, NULL);
}
