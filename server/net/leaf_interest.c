/*
 * leaf_interest.c - what each side of a leaf connection wants, and telling it.
 *
 * Outgoing. A tap (interest.h) hears of every subscription of the account, on the thread that makes
 * or ends it, and puts a record into the connection's box:
 *
 *     size of the record, 4 | there, 1 | zero, 1 | weight, 2 | subject length, 4 | subject | queue
 *
 * The connection's worker empties the box when it comes by, and before each message that it
 * forwards: who subscribed to an inbox and then sent a request has its LS+ on the wire before the
 * request, because the subscription was noted before the request was routed.
 *
 * What is told:
 *     our own subscriptions, those of the server itself included
 *     those of other leaf nodes, unless this one is isolated; those of a hub only to leaf nodes
 *     $LDS subjects of others always: that is how a loop is found
 *     patterns of service links, stream links and mappings of the account: who publishes there is
 *     heard, though nobody subscribes
 * within what the permissions let us ask for. `wants` counts who wants a subject, or a subject in a
 * queue group, so that only the first and the last of them are told; of a group the number of
 * members as well, the weight.
 *
 * Incoming. LS+ makes a subscription (sub.h in conn.h) whose sink forwards; its sid is subject and
 * queue with a blank between, as in LS-.
 */
#include "lib/base/bytes.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/config/options.h"
#include "server/core/account_wiring.h"
#include "server/net/leaf.h"

#include <string.h>

#define RECORD_HEAD 12u
#define WEIGHT_MAX 10000u

struct want {
    struct hmap_node node;
    int64_t count;
    uint32_t subject_n, n;
    char text[]; /* subject, or subject, blank, queue */
};

/* ---- telling --------------------------------------------------------------------------------- */

static bool is_lds(struct str subject)
{
    return str_starts(subject, STR("$LDS."));
}

static void tell(struct conn_leaf *l, const struct want *w)
{
    struct buf b = {0};

    buf_printf(&b, "%s %.*s", w->count > 0 ? "LS+" : "LS-", (int) w->n, w->text);
    if (w->count > 0 && w->n > w->subject_n)
        buf_printf(&b, " %lld", (long long) w->count);
    buf_puts(&b, "\r\n");
    conn_put(l->conn, buf_str(&b));
    buf_free(&b);
}

static struct want *find(struct conn_leaf *l, struct str key, uint64_t hash)
{
    for (struct hmap_node *n = hmap_first(&l->wants, hash); n != NULL; n = hmap_next(n, hash)) {
        struct want *w = CONTAINER_OF(n, struct want, node);
        if (str_eq(str_from(w->text, w->n), key))
            return w;
    }
    return NULL;
}

static struct want *add(struct conn_leaf *l, struct str key, size_t subject_n, uint64_t hash)
{
    struct want *w = mem_alloc(sizeof(*w) + key.n);

    *w = (struct want){.subject_n = (uint32_t) subject_n, .n = (uint32_t) key.n};
    memcpy(w->text, key.p, key.n);
    hmap_insert(&l->wants, &w->node, hash);
    return w;
}

static bool may_ask(const struct conn_leaf *l, struct str subject, struct str queue)
{
    if (is_lds(subject) || str_starts(subject, STR("_R_.")))
        return true;
    if (l->accepts != NULL && l->accepts->pub_allow.set && l->accepts->pub_allow.n == 0)
        return false; /* it may send nothing but answers */
    return leaf_may_want(l, subject, queue);
}

static void count_key(struct conn_leaf *l, struct str key, size_t subject_n, int delta)
{
    uint64_t hash = hash_bytes(key.p, key.n, l->conn->net->seed);
    struct want *w = find(l, key, hash);
    bool queue = key.n > subject_n, was;

    if (w == NULL && delta <= 0)
        return;
    if (w == NULL)
        w = add(l, key, subject_n, hash);
    was = w->count > 0;
    w->count += delta;
    if (queue || was != (w->count > 0))
        tell(l, w);
    if (w->count <= 0) {
        hmap_remove(&l->wants, &w->node);
        mem_free(w);
    }
}

void leaf_interest_count(struct conn_leaf *l, struct str subject, struct str queue, int delta)
{
    struct buf key = {0};

    if (delta > 0 && !may_ask(l, subject, queue))
        return;
    buf_put_str(&key, subject);
    if (queue.n > 0) {
        buf_putc(&key, ' ');
        buf_put_str(&key, queue);
    }
    count_key(l, buf_str(&key), subject.n, delta);
    buf_free(&key);
}

void leaf_interest_want(struct conn_leaf *l, struct str pattern)
{
    uint64_t hash = hash_bytes(pattern.p, pattern.n, l->conn->net->seed);

    if (find(l, pattern, hash) == NULL)
        leaf_interest_count(l, pattern, STR_NONE, 1);
}

/* ---- the tap --------------------------------------------------------------------------------- */

static bool concerns(const struct conn_leaf *l, const struct interest_spec *spec)
{
    if (spec->leaf == 0)
        return true;
    if (spec->leaf == l->id || l->isolated)
        return false;
    return !spec->of_hub || !l->spoke || is_lds(spec->pattern);
}

static void changed(struct interest_tap *tap, const struct interest_spec *spec, bool there)
{
    struct conn_leaf *l = CONTAINER_OF(tap, struct conn_leaf, tap);
    uint8_t head[RECORD_HEAD] = {0};

    if (!concerns(l, spec))
        return;
    put_u32(head, (uint32_t) (RECORD_HEAD + spec->pattern.n + spec->queue.n));
    head[4] = there;
    put_u16(head + 6, spec->weight);
    put_u32(head + 8, (uint32_t) spec->pattern.n);
    mutex_lock(&l->box_lock);
    buf_put(&l->box, head, sizeof(head));
    buf_put_str(&l->box, spec->pattern);
    buf_put_str(&l->box, spec->queue);
    mutex_unlock(&l->box_lock);
    atomic_store(&l->box_full, true);
    io_wake(l->conn->net->env->io);
}

static void take_records(struct conn_leaf *l, const struct buf *box)
{
    for (size_t at = 0; at < box->n;) {
        const char *p = box->p + at;
        uint32_t size = get_u32(p), subject_n = get_u32(p + 8);
        struct str subject = str_from(p + RECORD_HEAD, subject_n);
        struct str queue = str_from(subject.p + subject_n, size - RECORD_HEAD - subject_n);
        int weight = get_u16(p + 6);
        leaf_interest_count(l, subject, queue, p[4] != 0 ? weight : -weight);
        at += size;
    }
}

void leaf_interest_drain(struct conn_leaf *l)
{
    struct buf box;

    if (LIKELY(!atomic_load_explicit(&l->box_full, memory_order_acquire)))
        return;
    atomic_store(&l->box_full, false);
    mutex_lock(&l->box_lock);
    box = l->box;
    l->box = (struct buf){0};
    mutex_unlock(&l->box_lock);
    if (l->conn->state != CONN_CLOSING)
        take_records(l, &box);
    buf_free(&box);
}

/* ---- links and mappings ---------------------------------------------------------------------- */

static void count_links(struct conn_leaf *l, int delta)
{
    for (size_t at = 0; at < l->links.n;) {
        struct str pattern = str_of(l->links.p + at);
        leaf_interest_count(l, pattern, STR_NONE, delta);
        at += pattern.n + 1;
    }
}

void leaf_interest_relink(struct conn_leaf *l)
{
    const struct account_wiring *w = atomic_load(&l->conn->account->wiring);
    struct buf before = l->links;

    l->links = (struct buf){0};
    for (size_t i = 0; w != NULL && i < w->nlinks; i++)
        buf_put(&l->links, w->links[i].pattern, strlen(w->links[i].pattern) + 1);
    for (size_t i = 0; w != NULL && i < w->nmaps; i++)
        buf_put(&l->links, w->maps[i].pattern, strlen(w->maps[i].pattern) + 1);
    /* First the new ones: what stays is not taken back in between. */
    count_links(l, 1);
    struct buf now = l->links;
    l->links = before;
    count_links(l, -1);
    buf_free(&l->links);
    l->links = now;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

/* What this server's JetStream answers to without a subscription: pulls, which the router finds by
 * parsing, and what stands for other subjects. */
static void want_domain(struct conn_leaf *l)
{
    static const char *const below[] = {"CONSUMER.MSG.NEXT.>", "$KV.>", "$OBJ.>"};
    const struct options *o = l->conn->net->env->options;
    struct buf b = {0};

    if (o->domain == NULL || !o->jetstream)
        return;
    for (unsigned i = 0; i < ARRAY_LEN(below); i++) {
        buf_clear(&b);
        buf_printf(&b, "$JS.%s.API.%s", o->domain, below[i]);
        leaf_interest_count(l, buf_str(&b), STR_NONE, 1);
    }
    buf_free(&b);
}

void leaf_interest_start(struct conn_leaf *l)
{
    l->tap.changed = changed;
    interest_tap(l->conn->account->interest, &l->tap);
    leaf_interest_drain(l);
    want_domain(l);
    leaf_interest_relink(l);
    leaf_interest_count(l, str_of(l->lds), STR_NONE, 1);
}

void leaf_interest_stop(struct conn_leaf *l)
{
    interest_untap(l->conn->account->interest, &l->tap);
}

void leaf_interest_free(struct conn_leaf *l)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&l->wants, &it)) != NULL)
        mem_free(CONTAINER_OF(n, struct want, node));
    hmap_deinit(&l->wants);
    buf_free(&l->box);
    buf_free(&l->last_acks);
    buf_free(&l->proxied);
    buf_free(&l->links);
}

/* ---- what the other side wants --------------------------------------------------------------- */

static void put_sid(struct buf *sid, struct str subject, struct str queue)
{
    buf_put_str(sid, subject);
    if (queue.n == 0)
        return;
    buf_putc(sid, ' ');
    buf_put_str(sid, queue);
}

static void refuse_loop(struct conn *c)
{
    struct buf b = {0};

    buf_printf(&b,
               "Loop detected for leafnode account=\"%s\". Delaying attempt to reconnect for 30s",
               c->account->name);
    leaf_refuse(c, REASON_PROTOCOL_VIOLATION, buf_str(&b), 30000000000);
    buf_free(&b);
}

/* A spoke was told what it may ask for; a hub hears no complaint. What a pattern overlaps, and what
 * a group may not hear, is kept from it with each message. */
static bool may_be_asked(struct conn *c, struct str subject)
{
    const struct conn_leaf *l = c->leaf;
    struct buf b = {0};

    if (is_lds(subject) || subject_has_wildcard(subject) || str_starts(subject, STR("_R_.")))
        return true;
    if (leaf_may_hear(l, subject, STR_NONE) &&
        (l->spoke || l->may == NULL || permissions_may_publish(l->may, subject)))
        return true;
    if (l->spoke)
        return false;
    buf_printf(&b, "Permissions Violation for Subscription to \"%.*s\"", STR_ARG(subject));
    leaf_refuse(c, REASON_PROTOCOL_VIOLATION, buf_str(&b), 30000000000);
    buf_free(&b);
    return false;
}

void leaf_take_sub(struct conn *c, struct str subject, struct str queue, uint32_t weight)
{
    struct buf sid = {0};

    if (str_eq(subject, str_of(c->leaf->lds))) {
        refuse_loop(c);
        return;
    }
    if (!subject_valid(subject)) {
        conn_put_err(c, STR("Invalid Subscription"));
        return;
    }
    if (!may_be_asked(c, subject))
        return;
    route_flush(c->net->env->router);
    put_sid(&sid, subject, queue);
    if (queue.n > 0) /* with its new weight */
        sub_remove(c, buf_str(&sid));
    if (sub_add_weighted(c, subject, queue, buf_str(&sid),
                         (uint16_t) (weight < WEIGHT_MAX ? weight : WEIGHT_MAX)) == SUB_TOO_MANY)
        conn_put_err(c, STR("maximum subscriptions exceeded"));
    buf_free(&sid);
}

void leaf_take_unsub(struct conn *c, struct str subject, struct str queue)
{
    struct buf sid = {0};

    put_sid(&sid, subject, queue);
    route_flush(c->net->env->router);
    sub_unsub(c, buf_str(&sid), 0);
    buf_free(&sid);
}
