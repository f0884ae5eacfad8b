/* users.c - looking up and freeing; config_auth.c makes them. */
#include "server/config/users.h"

#include "lib/base/mem.h"

#include <sodium.h>
#include <string.h>

static void free_rules(struct subject_rules *r)
{
    for (size_t i = 0; i < r->n; i++) {
        mem_free(r->rules[i].subject);
        mem_free(r->rules[i].queue);
    }
    mem_free(r->rules);
}

void permissions_free(struct permissions *p)
{
    if (p == NULL)
        return;
    free_rules(&p->pub_allow);
    free_rules(&p->pub_deny);
    free_rules(&p->sub_allow);
    free_rules(&p->sub_deny);
    mem_free(p);
}

static void copy_rules(struct subject_rules *to, const struct subject_rules *from)
{
    *to = (struct subject_rules){.n = from->n, .set = from->set};
    to->rules = mem_zalloc((from->n + 1) * sizeof(*to->rules));
    for (size_t i = 0; i < from->n; i++) {
        const struct subject_rule *r = &from->rules[i];
        to->rules[i].subject = mem_strdup(r->subject);
        to->rules[i].queue = r->queue != NULL ? mem_strdup(r->queue) : NULL;
    }
}

struct permissions *permissions_copy(const struct permissions *p)
{
    struct permissions *to = mem_zalloc(sizeof(*to));

    if (p == NULL)
        return to;
    *to = *p;
    copy_rules(&to->pub_allow, &p->pub_allow);
    copy_rules(&to->pub_deny, &p->pub_deny);
    copy_rules(&to->sub_allow, &p->sub_allow);
    copy_rules(&to->sub_deny, &p->sub_deny);
    return to;
}

void permissions_deny_publish(struct permissions *p, const char *subject)
{
    struct subject_rules *r = &p->pub_deny;

    r->rules = mem_realloc(r->rules, (r->n + 1) * sizeof(*r->rules));
    r->rules[r->n++] = (struct subject_rule){.subject = mem_strdup(subject)};
}

void users_free(struct users *u)
{
    for (size_t i = 0; i < u->n; i++) {
        mem_free(u->list[i].name);
        if (u->list[i].pass != NULL)
            sodium_memzero(u->list[i].pass, strlen(u->list[i].pass));
        mem_free(u->list[i].pass);
        mem_free(u->list[i].nkey);
        mem_free(u->list[i].account);
        permissions_free(u->list[i].may);
    }
    mem_free(u->list);
    permissions_free(u->otherwise);
    memset(u, 0, sizeof(*u));
}

static bool same(const char *text, const char *other, size_t n)
{
    return text != NULL && strlen(text) == n && memcmp(text, other, n) == 0;
}

const struct user *users_find(const struct users *u, const char *name, size_t n)
{
    for (size_t i = 0; i < u->n; i++)
        if (same(u->list[i].name, name, n))
            return &u->list[i];
    return NULL;
}

const struct user *users_find_nkey(const struct users *u, const char *key, size_t n)
{
    for (size_t i = 0; i < u->n; i++)
        if (same(u->list[i].nkey, key, n))
            return &u->list[i];
    return NULL;
}

const struct permissions *users_may(const struct users *u, const struct user *user)
{
    if (user->may != NULL)
        return user->may;
    return user->account != NULL ? user->otherwise : u->otherwise;
}
