/* fetch_session.c - see fetch_session.h. */
#include "server/kafka/fetch_session.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"

#include <string.h>

void fetch_sessions_init(struct fetch_sessions *all, struct prng *prng)
{
    *all = (struct fetch_sessions){.prng = prng};
    hmap_init(&all->map);
    list_init(&all->recent);
}

void fetch_sessions_deinit(struct fetch_sessions *all)
{
    struct list *l;

    while ((l = list_first(&all->recent)) != NULL)
        fetch_sessions_drop(all, LIST_ENTRY(l, struct fetch_session, link));
    hmap_deinit(&all->map);
}

/* ---- partitions ------------------------------------------------------------------------------ */

static uint64_t hash_part(const struct fetch_session *s, struct str topic,
                          const struct kafka_uuid *id, int32_t partition)
{
    uint64_t h = hash_bytes(topic.p, topic.n, s->seed);

    h = hash_bytes(id, sizeof(*id), h);
    return hash_bytes(&partition, sizeof(partition), h);
}

struct fetch_session_part *fetch_session_find(const struct fetch_session *s, struct str topic,
                                              const struct kafka_uuid *id, int32_t partition)
{
    uint64_t h = hash_part(s, topic, id, partition);

    for (struct hmap_node *n = hmap_first(&s->parts, h); n != NULL; n = hmap_next(n, h)) {
        struct fetch_session_part *p = CONTAINER_OF(n, struct fetch_session_part, node);
        if (p->asked.partition == partition && str_eq(p->topic, topic) &&
            memcmp(&p->id, id, sizeof(*id)) == 0)
            return p;
    }
    return NULL;
}

bool fetch_session_put(struct fetch_sessions *all, struct fetch_session *s, struct str topic,
                       const struct kafka_uuid *id, const struct kafka_fetch_request_partitions *q)
{
    struct fetch_session_part *p = fetch_session_find(s, topic, id, q->partition);

    if (p != NULL) {
        p->asked = *q;
        return true;
    }
    if (all->parts >= FETCH_SESSIONS_PARTS)
        return false;
    p = mem_zalloc(sizeof(*p) + topic.n + 1);
    if (topic.n > 0)
        memcpy(p->name, topic.p, topic.n);
    p->topic = str_from(p->name, topic.n);
    p->id = *id;
    p->asked = *q;
    p->high = p->start = p->stable = -1;
    hmap_insert(&s->parts, &p->node, hash_part(s, topic, id, q->partition));
    list_push_back(&s->order, &p->link);
    s->n++;
    all->parts++;
    return true;
}

static void drop_part(struct fetch_sessions *all, struct fetch_session *s,
                      struct fetch_session_part *p)
{
    hmap_remove(&s->parts, &p->node);
    list_remove(&p->link);
    mem_free(p);
    s->n--;
    all->parts--;
}

void fetch_session_forget(struct fetch_sessions *all, struct fetch_session *s, struct str topic,
                          const struct kafka_uuid *id, int32_t partition)
{
    struct fetch_session_part *p = fetch_session_find(s, topic, id, partition);

    if (p != NULL)
        drop_part(all, s, p);
}

bool fetch_session_tell(struct fetch_session *s, struct fetch_session_part *p,
                        const struct kafka_fetch_response_partitions *a)
{
    bool told = a->records.n > 0 || a->error_code != 0 || p->high != a->high_watermark ||
                p->start != a->log_start_offset || p->stable != a->last_stable_offset;

    p->start = a->log_start_offset;
    p->stable = a->last_stable_offset;
    /* After an error the client is told again that there is none. */
    p->high = a->error_code != 0 ? -1 : a->high_watermark;
    if (a->records.n > 0) {
        list_remove(&p->link);
        list_push_back(&s->order, &p->link);
    }
    return told;
}

/* ---- sessions -------------------------------------------------------------------------------- */

void fetch_sessions_drop(struct fetch_sessions *all, struct fetch_session *s)
{
    struct list *l;

    while ((l = list_first(&s->order)) != NULL)
        drop_part(all, s, LIST_ENTRY(l, struct fetch_session_part, link));
    hmap_deinit(&s->parts);
    hmap_remove(&all->map, &s->node);
    list_remove(&s->link);
    all->n--;
    mem_free(s);
}

static uint64_t hash_id(int32_t id)
{
    return hash_bytes(&id, sizeof(id), 0);
}

static struct fetch_session *look_up(const struct fetch_sessions *all, int32_t id)
{
    uint64_t h = hash_id(id);

    for (struct hmap_node *n = hmap_first(&all->map, h); n != NULL; n = hmap_next(n, h))
        if (CONTAINER_OF(n, struct fetch_session, node)->id == id)
            return CONTAINER_OF(n, struct fetch_session, node);
    return NULL;
}

struct fetch_session *fetch_sessions_find(struct fetch_sessions *all, int32_t id, uint32_t realm,
                                          uint64_t now)
{
    struct fetch_session *s = look_up(all, id);

    if (s == NULL || s->realm != realm)
        return NULL;
    s->used = now;
    list_remove(&s->link);
    list_push_front(&all->recent, &s->link);
    return s;
}

/* One that goes for a newcomer with n partitions; NULL: none does. */
static struct fetch_session *victim(struct fetch_sessions *all, uint32_t n, uint64_t now)
{
    struct fetch_session *smallest = NULL;

    if (list_empty(&all->recent))
        return NULL;
    struct fetch_session *oldest = LIST_ENTRY(all->recent.prev, struct fetch_session, link);
    if (now - oldest->used > FETCH_SESSION_IDLE)
        return oldest;
    LIST_FOREACH(l, &all->recent)
    {
        struct fetch_session *s = LIST_ENTRY(l, struct fetch_session, link);
        if (now - s->made > FETCH_SESSION_IDLE && s->n < n &&
            (smallest == NULL || s->n < smallest->n))
            smallest = s;
    }
    return smallest;
}

struct fetch_session *fetch_sessions_make(struct fetch_sessions *all, uint32_t realm, bool by_id,
                                          uint32_t n, uint64_t now)
{
    struct fetch_session *s;

    if (n > FETCH_SESSIONS_PARTS)
        return NULL;
    while (all->n >= FETCH_SESSIONS_MAX || all->parts + n > FETCH_SESSIONS_PARTS) {
        s = victim(all, n, now);
        if (s == NULL)
            return NULL;
        fetch_sessions_drop(all, s);
    }
    s = mem_zalloc(sizeof(*s));
    do
        s->id = (int32_t) (prng_below(all->prng, INT32_MAX) + 1);
    while (look_up(all, s->id) != NULL);
    s->epoch = 1;
    s->realm = realm;
    s->by_id = by_id;
    s->made = s->used = now;
    s->seed = prng_u64(all->prng);
    hmap_init(&s->parts);
    list_init(&s->order);
    hmap_insert(&all->map, &s->node, hash_id(s->id));
    list_push_front(&all->recent, &s->link);
    all->n++;
    return s;
}

void fetch_session_turn(struct fetch_session *s)
{
    s->epoch = s->epoch == INT32_MAX ? 1 : s->epoch + 1;
}
