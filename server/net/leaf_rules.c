/*
 * leaf_rules.c - what may cross a leaf connection.
 *
 * A user's permissions: publish is what the leaf node may send, subscribe what it may hear; of
 * rules that name a queue group those count that deny. It may ask for a pattern that is wider. Both
 * sides keep them: who accepted refuses what comes against them, whichever side the other says it
 * is, and the spoke does not send it in the first place. The spoke adds what its options deny; the
 * hub adds what CONNECT asks not to be sent (deny_pub). Both keep JetStream's own subjects apart,
 * because both may have streams: requests cross under
 * "$JS.<domain>.API." only, and those of a server's own domain do not leave it.
 */
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/auth/permissions.h"
#include "server/config/options.h"
#include "server/net/leaf_int.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* ---- a user's, and our own ------------------------------------------------------------------- */

static void add_queue_rule(struct subject_rules *to, const char *subject, const char *queue)
{
    to->rules = mem_realloc(to->rules, (to->n + 1) * sizeof(*to->rules));
    to->rules[to->n++] = (struct subject_rule){
        .subject = mem_strdup(subject),
        .queue = queue != NULL ? mem_strdup(queue) : NULL,
    };
    to->set = true;
}

static void add_rule(struct subject_rules *to, const char *subject)
{
    add_queue_rule(to, subject, NULL);
}

static void copy_rules(struct subject_rules *to, const struct subject_rules *from)
{
    for (size_t i = 0; i < from->n; i++)
        add_queue_rule(to, from->rules[i].subject, from->rules[i].queue);
    to->set |= from->set;
}

/* Only a rule without a queue lets a subject across, for every group that is not denied. */
bool leaf_may_hear(const struct conn_leaf *l, struct str subject, struct str queue)
{
    const struct permissions *p = l->accepts;

    return p == NULL || ((!p->sub_allow.set || p->sub_allow.n > 0) &&
                         permissions_may_subscribe(p, subject, STR_NONE) &&
                         !permissions_deny_delivery(p, subject, queue));
}

/* Of a pattern that is wider than a rule what the rule has will come. */
static bool overlaps_rule(const struct subject_rules *r, struct str pattern)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->rules[i].queue == NULL && subject_overlap(pattern, str_of(r->rules[i].subject)))
            return true;
    return false;
}

bool leaf_may_want(const struct conn_leaf *l, struct str subject, struct str queue)
{
    const struct permissions *p = l->may;

    if (p == NULL)
        return true;
    if (permissions_deny_delivery(p, subject, STR_NONE) ||
        permissions_deny_delivery(p, subject, queue))
        return false;
    return permissions_may_subscribe(p, subject, STR_NONE) ||
           (subject_has_wildcard(subject) && overlaps_rule(&p->sub_allow, subject));
}

struct permissions *leaf_own_rules(struct conn_leaf *l)
{
    if (l->may == NULL)
        l->may = mem_zalloc(sizeof(*l->may));
    return l->may;
}

/* JetStream's own subjects stay on their side, and so do requests for our own domain. */
void leaf_deny_jetstream(struct conn_leaf *l)
{
    static const char *const own[] = {"$JS.API.>", "$KV.>", "$OBJ.>", "$JSC.>", "$NRG.>"};
    const struct env *env = l->conn->net->env;
    const char *domain = env->options->domain;
    bool system = l->conn->account == env->system_account;
    struct permissions *p = leaf_own_rules(l);
    char text[CONN_TEXT_MAX];

    for (unsigned i = 0; i < (system ? 5u : 3u); i++) {
        add_rule(&p->pub_deny, own[i]);
        add_rule(&p->sub_deny, own[i]);
    }
    LOG_INF(env->log, "%s - JetStream using domains: local \"%s\", remote \"%s\"",
            conn_text(l->conn, text), domain != NULL ? domain : "",
            l->domain != NULL ? l->domain : "");
    if (domain == NULL || !env->options->jetstream)
        return;
    snprintf(text, sizeof(text), "$JS.%.100s.API.>", domain);
    add_rule(&p->pub_deny, text);
}

/* Accepted: the user's lists; what it may publish is what we ask for. */
void leaf_take_user(struct conn *c)
{
    struct conn_leaf *l = c->leaf;
    const struct permissions *user = c->may;

    c->may = NULL; /* subscriptions of this connection are looked at here */
    l->user = c->login;
    c->login = NULL;
    if (user == NULL)
        return;
    l->accepts = mem_zalloc(sizeof(*l->accepts));
    copy_rules(&l->accepts->pub_allow, &user->pub_allow);
    copy_rules(&l->accepts->pub_deny, &user->pub_deny);
    copy_rules(&l->accepts->sub_allow, &user->sub_allow);
    copy_rules(&l->accepts->sub_deny, &user->sub_deny);
    copy_rules(&leaf_own_rules(l)->sub_allow, &user->pub_allow);
    copy_rules(&leaf_own_rules(l)->sub_deny, &user->pub_deny);
}

/* ---- what the other side says ---------------------------------------------------------------- */

/* A subject, or a subject and a queue with a blank between. */
static void add_text(struct subject_rules *to, const char *text)
{
    struct str queue, subject = str_cut(str_of(text), ' ', &queue);
    struct buf s = {0}, q = {0};

    buf_put_str(&s, subject);
    buf_put_str(&q, queue);
    add_queue_rule(to, buf_cstr(&s), queue.n > 0 ? buf_cstr(&q) : NULL);
    buf_free(&s);
    buf_free(&q);
}

/* False: the list is longer than one may be, and is not kept in part: what is left out of it might
 * be what it forbids. */
bool leaf_add_rules(const json_t *list, struct subject_rules *to)
{
    size_t i;
    const json_t *item;

    if (json_array_size(list) > SUBJECT_RULES_MAX)
        return false;
    json_array_foreach(list, i, item)
    {
        if (json_is_string(item))
            add_text(to, json_string_value(item));
    }
    return true;
}

static bool take_permission(const json_t *p, struct subject_rules *allow,
                            struct subject_rules *deny)
{
    return leaf_add_rules(json_object_get(p, "allow"), allow) &&
           leaf_add_rules(json_object_get(p, "deny"), deny);
}

/* What the hub lets us, and what our own options deny. */
bool leaf_take_permissions(struct conn_leaf *l, const json_t *o)
{
    const struct leaf_remote_options *r = l->remote->options;
    struct permissions *may = leaf_own_rules(l);

    if (!take_permission(json_object_get(o, "export"), &may->pub_allow, &may->pub_deny) ||
        !take_permission(json_object_get(o, "import"), &may->sub_allow, &may->sub_deny))
        return false;
    if (r->deny_exports.n > 0)
        copy_rules(&leaf_own_rules(l)->pub_deny, &r->deny_exports);
    if (r->deny_imports.n > 0)
        copy_rules(&leaf_own_rules(l)->sub_deny, &r->deny_imports);
    return true;
}
