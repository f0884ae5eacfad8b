/*
 * info.c - what one worker knows of Kafka clients, for monitoring: their software, its partitions
 * with what was written and read, and, where the coordinator is, groups and their offsets.
 */
#include "server/kafka/coordinator.h"
#include "server/kafka/kafka_int.h"

#include <jansson.h>

static json_t *text(struct str s)
{
    json_t *t = json_stringn(s.p != NULL ? s.p : "", s.n);

    return t != NULL ? t : json_string("?"); /* no UTF-8 */
}

static void put_text(json_t *o, const char *key, struct str s)
{
    json_object_set_new(o, key, text(s));
}

static void put_int(json_t *o, const char *key, int64_t n)
{
    json_object_set_new(o, key, json_integer((json_int_t) n));
}

/* ---- connections ----------------------------------------------------------------------------- */

static json_t *connections(const struct kafka *k)
{
    json_t *list = json_array();

    LIST_FOREACH(l, &k->conns)
    {
        const struct kafka_conn *c = LIST_ENTRY(l, struct kafka_conn, link);
        json_t *o = json_object();
        put_text(o, "software", str_of(c->software[0] != '\0' ? c->software : "unknown"));
        put_text(o, "version", str_of(c->software_version));
        json_array_append_new(list, o);
    }
    return list;
}

/* ---- partitions ------------------------------------------------------------------------------ */

static void put_partition(struct realm *realm, const struct topic *t, int32_t index, json_t *list)
{
    struct buf name = {0};
    struct stream_follower look = {0};
    struct store_state st;
    struct stream *s;
    const struct partition *p;
    json_t *o;

    topic_stream_name(&name, t->name, index);
    list_init(&look.link);
    s = stream_follow(realm->kafka->env, realm->account, buf_str(&name), &look);
    if (s != NULL) {
        stream_unfollow(&look);
        store_stream_state(stream_store(s), &st);
        p = partition_known(realm, buf_str(&name));
        o = json_object();
        put_text(o, "account", str_of(realm->account->name));
        put_text(o, "topic", t->name);
        put_int(o, "partition", index);
        put_int(o, "start_offset", (int64_t) st.first_seq - 1);
        put_int(o, "end_offset", (int64_t) st.last_seq);
        put_int(o, "in_records", p != NULL ? (int64_t) p->in_records : 0);
        put_int(o, "in_bytes", p != NULL ? (int64_t) p->in_bytes : 0);
        put_int(o, "out_bytes", p != NULL ? (int64_t) p->out_bytes : 0);
        put_int(o, "out_file_bytes", p != NULL ? (int64_t) p->file_bytes : 0);
        json_array_append_new(list, o);
    }
    buf_free(&name);
}

static void put_partitions(struct realm *realm, json_t *list)
{
    struct kafka_arena arena = {0};
    struct topic *all;
    size_t n = topics_all(realm->topics, &arena, &all);

    for (size_t i = 0; i < n; i++)
        for (int32_t k = 0; k < all[i].partitions; k++)
            if (all[i].workers[k] == realm->kafka->env->worker)
                put_partition(realm, &all[i], k, list);
    kafka_arena_free(&arena);
}

/* ---- groups ---------------------------------------------------------------------------------- */

static json_t *offsets(const struct group_entry *g)
{
    json_t *list = json_array();

    LIST_FOREACH(l, &g->offsets.all)
    {
        const struct committed_offset *c = LIST_ENTRY(l, struct committed_offset, link);
        json_t *o = json_object();
        put_text(o, "topic", c->topic);
        put_int(o, "partition", c->partition);
        put_int(o, "offset", c->offset);
        json_array_append_new(list, o);
    }
    return list;
}

static void put_groups(const struct realm *realm, json_t *list)
{
    LIST_FOREACH(l, &realm->coordinator->all)
    {
        const struct group_entry *g = LIST_ENTRY(l, struct group_entry, link);
        bool classic = g->consumer == NULL;
        json_t *o = json_object();
        put_text(o, "account", str_of(realm->account->name));
        put_text(o, "group", g->name);
        put_text(o, "type", classic ? STR("classic") : STR("consumer"));
        put_text(
            o, "state",
            str_of(classic ? group_state_name(g->core.state) : consumer_group_state(g->consumer)));
        put_int(o, "members", classic ? g->core.nmembers : g->consumer->nmembers);
        put_int(o, "epoch", classic ? g->core.generation : g->consumer->epoch);
        json_object_set_new(o, "offsets", offsets(g));
        json_array_append_new(list, o);
    }
}

json_t *kafka_info(struct env *env)
{
    struct kafka *k = env->kafka;
    json_t *o = json_object(), *partitions = json_array(), *groups = json_array();

    json_object_set_new(o, "connections", connections(k));
    for (uint32_t i = 0; i < k->nrealms; i++) {
        struct realm *realm = k->realms[i];
        if (realm->topics != NULL)
            put_partitions(realm, partitions);
        if (realm->coordinator != NULL && realm->coordinator->ready)
            put_groups(realm, groups);
    }
    json_object_set_new(o, "partitions", partitions);
    json_object_set_new(o, "groups", groups);
    return o;
}
