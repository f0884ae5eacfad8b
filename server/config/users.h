/*
 * users.h - who may connect and what each of them may do: the part of a snapshot of options that an
 * authorization block makes. Plain data, immutable once the snapshot is finished; what it means is
 * decided in server/auth.
 */
#ifndef CONFIG_USERS_H
#define CONFIG_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most users, and subjects in one list: both are looked through one by one. */
#define USERS_MAX 4096u
#define SUBJECT_RULES_MAX 1024u

struct subject_rule {
    char *subject; /* a valid pattern */
    char *queue;   /* NULL, or the pattern of queue groups that the rule is about */
};

struct subject_rules {
    struct subject_rule *rules;
    size_t n;
    bool set; /* an allow list that is set and empty allows nothing */
};

struct permissions {
    struct subject_rules pub_allow, pub_deny, sub_allow, sub_deny;
    bool responses;        /* may answer requests that it got */
    int64_t responses_max; /* answers to one request; negative = any number */
    int64_t responses_ns;  /* how long after it; negative = for ever */
};

enum { USER_STANDARD = 1, USER_WEBSOCKET = 2, USER_LEAFNODE = 4, USER_LEAFNODE_WS = 8 };
#define USER_ANY_KIND 0xffu

struct user {
    char *name, *pass;                   /* NULL for one with a key */
    char *nkey;                          /* public key, U...; else NULL */
    struct permissions *may;             /* NULL = what its account or users.otherwise says */
    char *account;                       /* NULL = the default one */
    const struct permissions *otherwise; /* of its account, which owns it; NULL = everything */
    bool proxy_required;                 /* only through a trusted proxy */
    uint8_t kinds; /* of connections it may have (allowed_connection_types): USER_... */
};

struct users {
    struct user *list;
    size_t n;
    struct permissions *otherwise; /* of users without own permissions; NULL = everything */
};

void users_free(struct users *u);
void permissions_free(struct permissions *p);
/* A copy of its own; of NULL one that allows everything. */
struct permissions *permissions_copy(const struct permissions *p);
void permissions_deny_publish(struct permissions *p, const char *subject);
/* Names and keys are looked up exactly; NULL when there is none. */
const struct user *users_find(const struct users *u, const char *name, size_t n);
const struct user *users_find_nkey(const struct users *u, const char *key, size_t n);
/* What this user may do; NULL = everything. */
const struct permissions *users_may(const struct users *u, const struct user *user);

#endif
