/*
 * js_directory.c - two levels of hash maps under one lock. Listing sorts a copy of the names: lists
 * are rare, lookups are not.
 */
#include "server/js/js_directory.h"

#include "lib/base/hash.h"
#include "lib/base/hmap.h"
#include "lib/base/list.h"
#include "lib/base/lock.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct directory {
    struct rwlock lock;
    _Atomic uint64_t version; /* of what directory_consumer answers */
    uint64_t seed;
    struct hmap streams;
    struct hmap plain; /* struct plain: every subject without a wildcard that a stream has */
    struct list wild;  /* struct entry that has others, too */
};

struct plain {
    struct hmap_node node;
    struct entry *entry;
    const char *subject; /* the entry's */
};

struct entry {
    struct hmap_node node;
    char *name;
    size_t name_len;
    uint32_t worker;
    bool retired; /* being deleted */
    bool offline;
    bool described;
    struct str_list subjects;
    struct plain *plain; /* room for as many as subjects */
    size_t nplain;
    struct list wild_link;
    struct stream_outline outline;
    struct hmap consumers;
};

struct member {
    struct hmap_node node;
    struct route_target target;
    bool acks;
    size_t name_len;
    char name[];
};

struct directory *directory_open(uint64_t seed)
{
    struct directory *d = mem_zalloc(sizeof(*d));

    rwlock_init(&d->lock);
    d->seed = seed;
    hmap_init(&d->streams);
    hmap_init(&d->plain);
    list_init(&d->wild);
    return d;
}

/* With the write lock. */
static void consumers_changed(struct directory *d)
{
    atomic_fetch_add_explicit(&d->version, 1, memory_order_release);
}

static uint64_t hash_of(const struct directory *d, struct str name)
{
    return hash_bytes(name.p, name.n, d->seed);
}

static struct entry *find(const struct directory *d, struct str name)
{
    uint64_t h = hash_of(d, name);

    for (struct hmap_node *n = hmap_first(&d->streams, h); n != NULL; n = hmap_next(n, h)) {
        struct entry *e = CONTAINER_OF(n, struct entry, node);
        if (str_eq(str_from(e->name, e->name_len), name))
            return e;
    }
    return NULL;
}

static struct member *find_member(const struct directory *d, const struct entry *e, struct str name)
{
    uint64_t h = hash_of(d, name);

    for (struct hmap_node *n = hmap_first(&e->consumers, h); n != NULL; n = hmap_next(n, h)) {
        struct member *m = CONTAINER_OF(n, struct member, node);
        if (str_eq(str_from(m->name, m->name_len), name))
            return m;
    }
    return NULL;
}

static void forget_subjects(struct directory *d, struct entry *e)
{
    while (e->nplain > 0)
        hmap_remove(&d->plain, &e->plain[--e->nplain].node);
    mem_free(e->plain);
    e->plain = NULL;
    list_remove(&e->wild_link);
    str_list_free(&e->subjects);
}

static void set_subjects(struct directory *d, struct entry *e, const struct str_list *subjects)
{
    forget_subjects(d, e);
    str_list_copy(&e->subjects, subjects);
    e->plain = mem_array(subjects->n + 1, sizeof(*e->plain));
    for (size_t i = 0; i < e->subjects.n; i++) {
        struct str s = str_of(e->subjects.items[i]);
        struct plain *x = &e->plain[e->nplain];
        if (subject_has_wildcard(s)) {
            if (!list_linked(&e->wild_link))
                list_push_back(&d->wild, &e->wild_link);
            continue;
        }
        *x = (struct plain){.entry = e, .subject = e->subjects.items[i]};
        hmap_insert(&d->plain, &x->node, hash_of(d, s));
        e->nplain++;
    }
}

static void free_entry(struct directory *d, struct entry *e)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&e->consumers, &it)) != NULL) {
        hmap_remove(&e->consumers, n);
        mem_free(CONTAINER_OF(n, struct member, node));
    }
    hmap_deinit(&e->consumers);
    forget_subjects(d, e);
    stream_outline_free(&e->outline);
    mem_free(e->name);
    mem_free(e);
}

void directory_close(struct directory *d)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&d->streams, &it)) != NULL) {
        hmap_remove(&d->streams, n);
        free_entry(d, CONTAINER_OF(n, struct entry, node));
    }
    hmap_deinit(&d->streams);
    hmap_deinit(&d->plain);
    rwlock_deinit(&d->lock);
    mem_free(d);
}

/* ---- claims ---------------------------------------------------------------------------------- */

static bool lists_overlap(const struct str_list *a, const struct str_list *b)
{
    for (size_t i = 0; i < a->n; i++)
        for (size_t k = 0; k < b->n; k++)
            if (subject_overlap(str_of(a->items[i]), str_of(b->items[k])))
                return true;
    return false;
}

static enum directory_verdict worse(enum directory_verdict verdict, const struct entry *e)
{
    return !e->retired || verdict == DIRECTORY_OVERLAP ? DIRECTORY_OVERLAP : DIRECTORY_BUSY;
}

/* Of subjects without wildcards: those that are the same, and who has wildcards. */
static enum directory_verdict plain_overlaps(const struct directory *d,
                                             const struct str_list *subjects,
                                             const struct entry *except)
{
    enum directory_verdict verdict = DIRECTORY_OK;

    for (size_t i = 0; i < subjects->n; i++) {
        uint64_t h = hash_of(d, str_of(subjects->items[i]));
        for (struct hmap_node *n = hmap_first(&d->plain, h); n != NULL; n = hmap_next(n, h)) {
            const struct plain *x = CONTAINER_OF(n, struct plain, node);
            if (x->entry != except && strcmp(x->subject, subjects->items[i]) == 0)
                verdict = worse(verdict, x->entry);
        }
    }
    LIST_FOREACH(it, &d->wild)
    {
        const struct entry *e = LIST_ENTRY(it, struct entry, wild_link);
        if (e != except && lists_overlap(&e->subjects, subjects))
            verdict = worse(verdict, e);
    }
    return verdict;
}

/* DIRECTORY_OK when nobody does. A start claims 10,000 streams one after the other: each is not
 * compared with all others when it need not be. */
static enum directory_verdict anyone_overlaps(const struct directory *d,
                                              const struct str_list *subjects,
                                              const struct entry *except)
{
    enum directory_verdict verdict = DIRECTORY_OK;
    struct hmap_iter it = {0};
    struct hmap_node *n;
    bool wild = false;

    for (size_t i = 0; i < subjects->n; i++)
        wild = wild || subject_has_wildcard(str_of(subjects->items[i]));
    if (!wild)
        return plain_overlaps(d, subjects, except);
    while ((n = hmap_each(&d->streams, &it)) != NULL) {
        const struct entry *e = CONTAINER_OF(n, struct entry, node);
        if (e == except || !lists_overlap(&e->subjects, subjects))
            continue;
        if (!e->retired)
            return DIRECTORY_OVERLAP;
        verdict = DIRECTORY_BUSY;
    }
    return verdict;
}

static struct entry *add_entry(struct directory *d, struct str name, uint32_t worker)
{
    struct entry *e = mem_zalloc(sizeof(*e));

    e->name = mem_strndup(name.p, name.n);
    e->name_len = name.n;
    e->worker = worker;
    hmap_init(&e->consumers);
    list_init(&e->wild_link);
    hmap_insert(&d->streams, &e->node, hash_of(d, name));
    return e;
}

enum directory_verdict directory_claim(struct directory *d, struct str name,
                                       const struct str_list *subjects, uint32_t worker)
{
    enum directory_verdict verdict;
    const struct entry *e;

    rwlock_write(&d->lock);
    e = find(d, name);
    if (e != NULL)
        verdict = e->retired ? DIRECTORY_BUSY : DIRECTORY_EXISTS;
    else
        verdict = anyone_overlaps(d, subjects, NULL);
    if (verdict == DIRECTORY_OK)
        set_subjects(d, add_entry(d, name, worker), subjects);
    rwlock_unlock(&d->lock);
    return verdict;
}

void directory_claim_offline(struct directory *d, struct str name, uint32_t worker)
{
    rwlock_write(&d->lock);
    if (find(d, name) == NULL)
        add_entry(d, name, worker)->offline = true;
    rwlock_unlock(&d->lock);
}

bool directory_retire(struct directory *d, struct str name)
{
    struct entry *e;
    bool ok;

    rwlock_write(&d->lock);
    e = find(d, name);
    ok = e != NULL && !e->offline && !e->retired;
    if (ok)
        e->retired = true;
    rwlock_unlock(&d->lock);
    return ok;
}

void directory_show(struct directory *d, struct str name)
{
    struct entry *e;

    rwlock_write(&d->lock);
    e = find(d, name);
    if (e != NULL)
        e->retired = false;
    rwlock_unlock(&d->lock);
}

enum directory_verdict directory_reclaim(struct directory *d, struct str name,
                                         const struct str_list *subjects)
{
    enum directory_verdict verdict = DIRECTORY_OK;
    struct entry *e;

    rwlock_write(&d->lock);
    e = find(d, name);
    if (e == NULL || anyone_overlaps(d, subjects, e) != DIRECTORY_OK) {
        verdict = DIRECTORY_OVERLAP;
    } else if (!e->offline) { /* one that is claims nothing, and the update is refused later */
        set_subjects(d, e, subjects);
    }
    rwlock_unlock(&d->lock);
    return verdict;
}

void directory_release(struct directory *d, struct str name)
{
    struct entry *e;

    rwlock_write(&d->lock);
    e = find(d, name);
    if (e != NULL) {
        hmap_remove(&d->streams, &e->node);
        free_entry(d, e);
        consumers_changed(d);
    }
    rwlock_unlock(&d->lock);
}

/* ---- lookups --------------------------------------------------------------------------------- */

bool directory_stream(struct directory *d, struct str name, uint32_t *worker)
{
    const struct entry *e;

    rwlock_read(&d->lock);
    e = find(d, name);
    if (e != NULL && e->retired)
        e = NULL;
    if (e != NULL)
        *worker = e->worker;
    rwlock_unlock(&d->lock);
    return e != NULL;
}

size_t directory_count(struct directory *d)
{
    size_t n;

    rwlock_read(&d->lock);
    n = d->streams.count;
    rwlock_unlock(&d->lock);
    return n;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

static bool claims_overlap(const struct entry *e, struct str filter)
{
    for (size_t i = 0; i < e->subjects.n; i++)
        if (subject_overlap(str_of(e->subjects.items[i]), filter))
            return true;
    return false;
}

void directory_names(struct directory *d, struct str filter, struct str_list *out)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    rwlock_read(&d->lock);
    while ((n = hmap_each(&d->streams, &it)) != NULL) {
        const struct entry *e = CONTAINER_OF(n, struct entry, node);
        if (!e->retired && (filter.n == 0 || claims_overlap(e, filter)))
            str_list_add(out, str_from(e->name, e->name_len));
    }
    rwlock_unlock(&d->lock);
    if (out->n > 1)
        qsort(out->items, out->n, sizeof(char *), by_name);
}

bool directory_overlaps(struct directory *d, struct str subject)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;
    bool any = false;

    rwlock_read(&d->lock);
    while (!any && (n = hmap_each(&d->streams, &it)) != NULL)
        any = claims_overlap(CONTAINER_OF(n, struct entry, node), subject);
    rwlock_unlock(&d->lock);
    return any;
}

/* ---- outlines -------------------------------------------------------------------------------- */

void directory_describe(struct directory *d, struct str name, const struct stream_outline *o)
{
    struct entry *e;

    rwlock_write(&d->lock);
    e = find(d, name);
    if (e != NULL) {
        stream_outline_free(&e->outline);
        stream_outline_copy(&e->outline, o);
        e->described = true;
    }
    rwlock_unlock(&d->lock);
}

bool directory_outline(struct directory *d, struct str name, struct stream_outline *out)
{
    const struct entry *e;
    bool found;

    rwlock_read(&d->lock);
    e = find(d, name);
    found = e != NULL && e->described && !e->retired;
    if (found)
        stream_outline_copy(out, &e->outline);
    rwlock_unlock(&d->lock);
    return found;
}

/* ---- consumers ------------------------------------------------------------------------------- */

void directory_consumer_add(struct directory *d, struct str stream, struct str consumer,
                            struct route_target target, bool acks)
{
    struct entry *e;
    struct member *m;

    rwlock_write(&d->lock);
    e = find(d, stream);
    if (e != NULL) {
        m = mem_zalloc(sizeof(*m) + consumer.n);
        memcpy(m->name, consumer.p, consumer.n);
        m->name_len = consumer.n;
        m->target = target;
        m->acks = acks;
        hmap_insert(&e->consumers, &m->node, hash_of(d, consumer));
        consumers_changed(d);
    }
    rwlock_unlock(&d->lock);
}

void directory_consumer_remove(struct directory *d, struct str stream, struct str consumer)
{
    struct entry *e;
    struct member *m;

    rwlock_write(&d->lock);
    e = find(d, stream);
    m = e != NULL ? find_member(d, e, consumer) : NULL;
    if (m != NULL) {
        hmap_remove(&e->consumers, &m->node);
        mem_free(m);
        consumers_changed(d);
    }
    rwlock_unlock(&d->lock);
}

uint64_t directory_version(const struct directory *d)
{
    return atomic_load_explicit(&d->version, memory_order_acquire);
}

static bool look_up(struct directory *d, struct str stream, struct str consumer, bool acks,
                    struct route_target *out)
{
    const struct entry *e;
    const struct member *m;
    bool found;

    rwlock_read(&d->lock);
    e = find(d, stream);
    m = e != NULL ? find_member(d, e, consumer) : NULL;
    found = m != NULL && (m->acks || !acks);
    if (found)
        *out = m->target;
    rwlock_unlock(&d->lock);
    return found;
}

bool directory_consumer(struct directory *d, struct str stream, struct str consumer,
                        struct route_target *out)
{
    return look_up(d, stream, consumer, false, out);
}

bool directory_acks(struct directory *d, struct str stream, struct str consumer,
                    struct route_target *out)
{
    return look_up(d, stream, consumer, true, out);
}
