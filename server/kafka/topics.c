/*
 * topics.c - the table of topics.
 *
 * Streams come and go in any order (a start recovers them by worker), so an entry exists as soon as
 * any of its partitions' streams does, and is a topic as long as partition 0's does. That one says
 * how many partitions there are.
 */
#include "server/kafka/topics.h"

#include "lib/base/hash.h"
#include "lib/base/hmap.h"
#include "lib/base/lock.h"
#include "lib/base/mem.h"
#include "server/js/stream_config.h"
#include "server/kafka/topic_turn.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_PREFIX "kafka.config."

struct entry {
    struct hmap_node node, id_node; /* id_node: while it is there */
    char *name;
    bool there; /* partition 0 is */
    bool writable, plain, compact;
    struct kafka_uuid id;
    int32_t partitions;
    uint32_t *workers; /* of nworkers partitions */
    int32_t nworkers;
    int64_t max_age_ns, max_bytes, max_msg_size, max_msgs_per_subject, replicas;
    int64_t before_max_ms, after_max_ms;
    bool append_time;
    char **configs; /* name, value, name, ... */
    size_t nconfigs;
};

struct topics {
    struct topic_turns turns;
    struct rwlock lock;
    struct hmap map, by_id;
    uint64_t version;
};

/* ---- names ----------------------------------------------------------------------------------- */

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

bool topic_name_valid(struct str name)
{
    if (name.n == 0 || name.n > TOPIC_NAME_MAX || str_eq(name, STR(".")) || str_eq(name, STR("..")))
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (!name_char(name.p[i]))
            return false;
    return true;
}

bool topic_name_reserved(struct str name)
{
    return str_eq(name, STR("__consumer_offsets")) || str_eq(name, STR("__transaction_state"));
}

void topic_stream_name(struct buf *out, struct str topic, int32_t partition)
{
    for (size_t i = 0; i < topic.n; i++)
        if (topic.p[i] == '.')
            buf_puts(out, "=2E");
        else
            buf_putc(out, topic.p[i]);
    if (partition > 0)
        buf_printf(out, "=p%d", (int) partition);
}

/* Dots at the ends or beside each other make no subject. */
static bool is_subject(struct str topic)
{
    if (topic.p[0] == '.' || topic.p[topic.n - 1] == '.')
        return false;
    return memmem(topic.p, topic.n, "..", 2) == NULL;
}

void topic_subject(struct buf *out, struct str topic, int32_t partition, int32_t partitions)
{
    if (is_subject(topic))
        buf_put_str(out, topic);
    else
        topic_stream_name(out, topic, 0);
    if (partitions > 1)
        buf_printf(out, ".%d", (int) partition);
}

/* The topic and partition that a stream's name stands for; false: none. */
static bool parse_stream_name(struct str stream, struct buf *topic, int32_t *partition)
{
    uint64_t n;

    *partition = 0;
    for (size_t i = 0; i < stream.n; i++) {
        struct str rest = str_skip(stream, i);
        if (str_starts(rest, STR("=2E"))) {
            buf_putc(topic, '.');
            i += 2;
        } else if (str_starts(rest, STR("=p"))) {
            if (!str_to_u64(str_skip(rest, 2), &n) || n == 0 || n >= TOPIC_PARTITIONS_MAX)
                return false;
            *partition = (int32_t) n;
            break;
        } else if (name_char(stream.p[i]) && stream.p[i] != '.') {
            buf_putc(topic, stream.p[i]);
        } else {
            return false;
        }
    }
    return topic_name_valid(buf_str(topic));
}

/* ---- entries --------------------------------------------------------------------------------- */

static struct entry *find(const struct topics *t, struct str name)
{
    uint64_t h = hash_bytes(name.p, name.n, 0);

    for (struct hmap_node *n = hmap_first(&t->map, h); n != NULL; n = hmap_next(n, h)) {
        struct entry *e = CONTAINER_OF(n, struct entry, node);
        if (str_eq(str_of(e->name), name))
            return e;
    }
    return NULL;
}

static struct entry *make(struct topics *t, struct str name)
{
    struct entry *e = mem_zalloc(sizeof(*e));

    e->name = mem_strndup(name.p, name.n);
    hmap_insert(&t->map, &e->node, hash_bytes(name.p, name.n, 0));
    return e;
}

static void free_configs(struct entry *e)
{
    for (size_t i = 0; i < 2 * e->nconfigs; i++)
        mem_free(e->configs[i]);
    mem_free(e->configs);
    e->configs = NULL;
    e->nconfigs = 0;
}

static void free_entry(struct entry *e)
{
    free_configs(e);
    mem_free(e->name);
    mem_free(e->workers);
    mem_free(e);
}

static void place(struct entry *e, int32_t partition, uint32_t worker)
{
    if (partition >= e->nworkers) {
        e->workers = mem_realloc(e->workers, ((size_t) partition + 1) * sizeof(*e->workers));
        while (e->nworkers <= partition)
            e->workers[e->nworkers++] = TOPIC_NOWHERE;
    }
    e->workers[partition] = worker;
}

/* ---- what streams tell ----------------------------------------------------------------------- */

static const char *text_of(const struct stream_config *c, const char *key)
{
    return json_string_value(json_object_get(c->metadata, key));
}

static int32_t number_of(const struct stream_config *c, const char *key, int32_t otherwise)
{
    const char *text = text_of(c, key);
    uint64_t n;

    if (text == NULL || !str_to_u64(str_of(text), &n) || n == 0 || n > TOPIC_PARTITIONS_MAX)
        return otherwise;
    return (int32_t) n;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_id(const char *text, struct kafka_uuid *out)
{
    if (text == NULL || strlen(text) != 32)
        return false;
    for (size_t i = 0; i < 16; i++) {
        int hi = digit(text[2 * i]), lo = digit(text[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        out->bytes[i] = (uint8_t) (hi << 4 | lo);
    }
    return !kafka_uuid_is_none(out);
}

/* A topic that nobody gave an id has one as long as its stream lives. */
static void make_id(const char *name, int64_t created, struct kafka_uuid *out)
{
    uint64_t a = hash_bytes(name, strlen(name), (uint64_t) created);
    uint64_t b = hash_bytes(name, strlen(name), ~(uint64_t) created);

    memcpy(out->bytes, &a, 8);
    memcpy(out->bytes + 8, &b, 8);
    out->bytes[0] |= 1;
}

static void copy_configs(struct entry *e, json_t *metadata)
{
    const char *key;
    json_t *value;

    free_configs(e);
    json_object_foreach(metadata, key, value)
    {
        size_t n = strlen(CONFIG_PREFIX);
        if (strncmp(key, CONFIG_PREFIX, n) != 0 || !json_is_string(value))
            continue;
        e->configs = mem_realloc(e->configs, 2 * (e->nconfigs + 1) * sizeof(char *));
        e->configs[2 * e->nconfigs] = mem_strdup(key + n);
        e->configs[2 * e->nconfigs + 1] = mem_strdup(json_string_value(value));
        e->nconfigs++;
    }
}

/* NULL: it is not set. */
static const char *config_of(const struct entry *e, const char *name)
{
    for (size_t i = 0; i < e->nconfigs; i++)
        if (strcmp(e->configs[2 * i], name) == 0)
            return e->configs[2 * i + 1];
    return NULL;
}

static bool is_compact(const struct entry *e)
{
    const char *policy = config_of(e, "cleanup.policy");

    return policy != NULL && strstr(policy, "compact") != NULL;
}

/* How far times may be away: the setting, or the one that was for both directions. */
static int64_t distance_of(const struct entry *e, const char *name)
{
    const char *text = config_of(e, name);
    int64_t ms;

    if (text == NULL)
        text = config_of(e, "message.timestamp.difference.max.ms");
    return text != NULL && str_to_i64(str_of(text), &ms) ? ms : INT64_MAX;
}

static bool has_append_time(const struct entry *e)
{
    const char *type = config_of(e, "message.timestamp.type");

    return type != NULL && strcmp(type, "LogAppendTime") == 0;
}

/* Produced records get the stream's subject: it must be one, without a wildcard. */
static bool is_writable(const struct stream_config *c)
{
    return c->subjects.n == 1 && strpbrk(c->subjects.items[0], "*>") == NULL && !c->sealed &&
           c->sources == NULL;
}

static bool is_plain(const struct entry *e, const struct stream_config *c)
{
    struct buf subject = {0};
    bool plain;

    topic_subject(&subject, str_of(e->name), 0, e->partitions);
    plain = c->subjects.n == 1 && str_eq(buf_str(&subject), str_of(c->subjects.items[0]));
    buf_free(&subject);
    return plain;
}

static uint64_t hash_id(const struct kafka_uuid *id)
{
    return hash_bytes(id, sizeof(*id), 0);
}

/* It is not there any more; or not as it was. */
static void unlist(struct topics *t, struct entry *e)
{
    if (e->there)
        hmap_remove(&t->by_id, &e->id_node);
    e->there = false;
}

static void describe(struct topics *t, struct entry *e, const struct stream_config *c,
                     int64_t created)
{
    unlist(t, e);
    e->there = true;
    e->writable = is_writable(c);
    e->partitions = number_of(c, "kafka.partitions", 1);
    e->plain = is_plain(e, c);
    if (!parse_id(text_of(c, "kafka.topic_id"), &e->id))
        make_id(e->name, created, &e->id);
    hmap_insert(&t->by_id, &e->id_node, hash_id(&e->id));
    e->max_age_ns = c->max_age_ns;
    e->max_bytes = c->max_bytes;
    e->max_msg_size = c->max_msg_size;
    e->max_msgs_per_subject = c->max_msgs_per_subject;
    e->replicas = c->num_replicas;
    copy_configs(e, c->metadata);
    e->compact = is_compact(e);
    e->append_time = has_append_time(e);
    e->before_max_ms = distance_of(e, "message.timestamp.before.max.ms");
    e->after_max_ms = distance_of(e, "message.timestamp.after.max.ms");
}

static void forget(struct topics *t, struct str name, int32_t partition)
{
    struct entry *e = find(t, name);

    if (e == NULL || partition >= e->nworkers)
        return;
    e->workers[partition] = TOPIC_NOWHERE;
    if (partition == 0)
        unlist(t, e);
    for (int32_t i = 0; i < e->nworkers; i++)
        if (e->workers[i] != TOPIC_NOWHERE)
            return;
    hmap_remove(&t->map, &e->node);
    free_entry(e);
}

static void stream_there(void *ctx, const struct stream_config *c, int64_t created, uint32_t worker)
{
    struct topics *t = ctx;
    struct buf name = {0};
    int32_t partition;
    bool ok = parse_stream_name(str_of(c->name), &name, &partition) &&
              c->retention == RETENTION_LIMITS && c->mirror == NULL &&
              (partition == 0 || number_of(c, "kafka.partition", 0) == partition);

    rwlock_write(&t->lock);
    t->version++;
    if (ok) {
        struct entry *e = find(t, buf_str(&name));
        if (e == NULL)
            e = make(t, buf_str(&name));
        place(e, partition, worker);
        if (partition == 0)
            describe(t, e, c, created);
    } else if (topic_name_valid(buf_str(&name))) {
        forget(t, buf_str(&name), partition);
    }
    rwlock_unlock(&t->lock);
    buf_free(&name);
}

static void stream_gone(void *ctx, struct str stream)
{
    struct topics *t = ctx;
    struct buf name = {0};
    int32_t partition;

    if (parse_stream_name(stream, &name, &partition)) {
        rwlock_write(&t->lock);
        t->version++;
        forget(t, buf_str(&name), partition);
        rwlock_unlock(&t->lock);
    }
    buf_free(&name);
}

struct js_watch topics_watch(struct topics *t)
{
    return (struct js_watch){.there = stream_there, .gone = stream_gone, .ctx = t};
}

/* ---- looking up ------------------------------------------------------------------------------ */

static void copy_out(const struct entry *e, struct kafka_arena *arena, struct topic *out)
{
    uint32_t *workers = kafka_arena_alloc(arena, (size_t) e->partitions * sizeof(*workers));
    struct topic_config *configs = kafka_arena_alloc(arena, e->nconfigs * sizeof(*configs));

    for (int32_t i = 0; i < e->partitions; i++)
        workers[i] = i < e->nworkers ? e->workers[i] : TOPIC_NOWHERE;
    for (size_t i = 0; i < e->nconfigs; i++) {
        configs[i].name = kafka_arena_str(arena, str_of(e->configs[2 * i]));
        configs[i].value = kafka_arena_str(arena, str_of(e->configs[2 * i + 1]));
    }
    *out = (struct topic){
        .name = kafka_arena_str(arena, str_of(e->name)),
        .id = e->id,
        .partitions = e->partitions,
        .workers = workers,
        .writable = e->writable,
        .plain = e->plain,
        .internal = topic_name_reserved(str_of(e->name)),
        .max_age_ns = e->max_age_ns,
        .max_bytes = e->max_bytes,
        .max_msg_size = e->max_msg_size,
        .max_msgs_per_subject = e->max_msgs_per_subject,
        .replicas = e->replicas,
        .configs = configs,
        .nconfigs = e->nconfigs,
    };
}

bool topics_find(struct topics *t, struct str name, struct kafka_arena *arena, struct topic *out)
{
    const struct entry *e;
    bool found;

    rwlock_read(&t->lock);
    e = find(t, name);
    found = e != NULL && e->there;
    if (found)
        copy_out(e, arena, out);
    rwlock_unlock(&t->lock);
    return found;
}

/* Of those that are there; a copied stream may have the id of another one. */
static const struct entry *find_id(const struct topics *t, const struct kafka_uuid *id)
{
    uint64_t h = hash_id(id);

    for (struct hmap_node *n = hmap_first(&t->by_id, h); n != NULL; n = hmap_next(n, h)) {
        const struct entry *e = CONTAINER_OF(n, struct entry, id_node);
        if (memcmp(&e->id, id, sizeof(*id)) == 0)
            return e;
    }
    return NULL;
}

bool topics_find_id(struct topics *t, const struct kafka_uuid *id, struct kafka_arena *arena,
                    struct topic *out)
{
    const struct entry *e;

    rwlock_read(&t->lock);
    e = find_id(t, id);
    if (e != NULL)
        copy_out(e, arena, out);
    rwlock_unlock(&t->lock);
    return e != NULL;
}

bool topics_name_of(struct topics *t, const struct kafka_uuid *id, struct kafka_arena *arena,
                    struct str *name)
{
    const struct entry *e;

    rwlock_read(&t->lock);
    e = find_id(t, id);
    if (e != NULL)
        *name = kafka_arena_str(arena, str_of(e->name));
    rwlock_unlock(&t->lock);
    return e != NULL;
}

static int by_name(const void *a, const void *b)
{
    return str_cmp(((const struct topic *) a)->name, ((const struct topic *) b)->name);
}

size_t topics_all(struct topics *t, struct kafka_arena *arena, struct topic **out)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;
    size_t count = 0;

    rwlock_read(&t->lock);
    *out = kafka_arena_alloc(arena, t->map.count * sizeof(**out));
    while ((n = hmap_each(&t->map, &it)) != NULL) {
        const struct entry *e = CONTAINER_OF(n, struct entry, node);
        if (e->there)
            copy_out(e, arena, &(*out)[count++]);
    }
    rwlock_unlock(&t->lock);
    qsort(*out, count, sizeof(**out), by_name);
    return count;
}

static size_t pieces_of(const struct entry *e, uint32_t worker, struct kafka_arena *arena,
                        struct topic_piece *out)
{
    int32_t most = e->there && e->compact ? e->partitions : 0;
    struct str name = STR_NONE;
    size_t n = 0;

    for (int32_t i = 0; i < most && i < e->nworkers; i++) {
        if (e->workers[i] != worker)
            continue;
        if (out != NULL && name.p == NULL)
            name = kafka_arena_str(arena, str_of(e->name));
        if (out != NULL)
            out[n] = (struct topic_piece){name, i};
        n++;
    }
    return n;
}

static int by_piece(const void *a, const void *b)
{
    const struct topic_piece *x = a, *y = b;
    int order = str_cmp(x->topic, y->topic);

    return order != 0 ? order : x->partition - y->partition;
}

size_t topics_compacted(struct topics *t, uint32_t worker, struct kafka_arena *arena,
                        struct topic_piece **out)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;
    size_t count = 0, at = 0;

    rwlock_read(&t->lock);
    while ((n = hmap_each(&t->map, &it)) != NULL)
        count += pieces_of(CONTAINER_OF(n, struct entry, node), worker, arena, NULL);
    *out = count > 0 ? kafka_arena_alloc(arena, count * sizeof(**out)) : NULL;
    it = (struct hmap_iter){0};
    while (count > 0 && (n = hmap_each(&t->map, &it)) != NULL)
        at += pieces_of(CONTAINER_OF(n, struct entry, node), worker, arena, *out + at);
    rwlock_unlock(&t->lock);
    if (count > 0)
        qsort(*out, count, sizeof(**out), by_piece);
    return count;
}

uint64_t topics_version(struct topics *t)
{
    uint64_t version;

    rwlock_read(&t->lock);
    version = t->version;
    rwlock_unlock(&t->lock);
    return version;
}

bool topics_partition(struct topics *t, struct str name, int32_t partition, struct topic_place *out)
{
    const struct entry *e;
    bool found;

    rwlock_read(&t->lock);
    e = find(t, name);
    found = e != NULL && e->there && partition >= 0 && partition < e->partitions &&
            partition < e->nworkers && e->workers[partition] != TOPIC_NOWHERE;
    if (found)
        *out = (struct topic_place){.worker = e->workers[partition],
                                    .writable = e->writable,
                                    .plain = e->plain,
                                    .compact = e->compact,
                                    .append_time = e->append_time,
                                    .before_max_ms = e->before_max_ms,
                                    .after_max_ms = e->after_max_ms,
                                    .partitions = e->partitions,
                                    .id = e->id};
    rwlock_unlock(&t->lock);
    return found;
}

int32_t topics_orphan(struct topics *t, struct str name)
{
    const struct entry *e;
    int32_t orphan = 0;

    rwlock_read(&t->lock);
    e = find(t, name);
    for (int32_t i = 1; e != NULL && i < e->nworkers; i++)
        if (e->workers[i] != TOPIC_NOWHERE && (!e->there || i >= e->partitions))
            orphan = i;
    rwlock_unlock(&t->lock);
    return orphan;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct topics *topics_open(void)
{
    struct topics *t = mem_zalloc(sizeof(*t));

    rwlock_init(&t->lock);
    topic_turns_init(&t->turns);
    hmap_init(&t->map);
    hmap_init(&t->by_id);
    return t;
}

struct topic_turns *topics_turns(struct topics *t)
{
    return &t->turns;
}

void topics_close(struct topics *t)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&t->map, &it)) != NULL) {
        hmap_remove(&t->map, n);
        free_entry(CONTAINER_OF(n, struct entry, node));
    }
    hmap_deinit(&t->by_id);
    hmap_deinit(&t->map);
    topic_turns_deinit(&t->turns);
    rwlock_deinit(&t->lock);
    mem_free(t);
}
