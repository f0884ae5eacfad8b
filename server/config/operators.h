/*
 * operators.h - operator mode: whose signature makes accounts, and where their claims are kept.
 * Part of a snapshot of options. Clients then say who they are with signed claims alone.
 *
 * A resolver gives the claims of an account by its key: from memory (the preload), from a directory
 * (all of them, or a cache of some), or from an HTTP server.
 */
#ifndef CONFIG_OPERATORS_H
#define CONFIG_OPERATORS_H

#include "lib/jwt/claims.h"
#include "server/config/tls_options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options;

enum resolver_kind {
    RESOLVER_NONE,
    RESOLVER_MEMORY,
    RESOLVER_URL,
    RESOLVER_FULL,
    RESOLVER_CACHE,
};

struct resolver_options {
    enum resolver_kind kind;
    char *url; /* ends with a slash; the account's key goes behind it */
    char *dir;
    bool allow_delete, hard_delete; /* hard: files go at once, else they get another name */
    int64_t limit;                  /* accounts; 0 = none, 1000 in a cache */
    int64_t interval_ns;            /* between two comparisons with other servers; 1 m */
    int64_t ttl_ns;                 /* of what lies in a cache; 0 = until its claims expire */
    int64_t timeout_ns;             /* of a fetch; 2 s */
    struct tls_options tls;         /* of an https URL */
};

struct preload {
    char *account, *token;
};

struct operators {
    struct operator_claims *list;
    size_t n;
    struct str_list tokens;  /* that they were read from */
    struct str_list trusted; /* keys that may sign accounts, once the snapshot is finished */
    struct resolver_options resolver;
    struct preload *preload;
    size_t npreload;
    struct str_list pinned; /* the only accounts that may be used; none = all */
    bool pinned_set;
    char *default_sentinel; /* what clients without claims are taken to have said; NULL = nothing */
};

void operators_free(struct operators *o);
/* Are clients to say who they are with signed claims? */
bool operators_on(const struct options *o);
bool operators_trust(const struct options *o, const char *issuer);
/* Is that a signing key of an operator whose accounts must not sign users themselves? */
bool operators_strict(const struct options *o, const char *issuer);
/* The last steps of making a snapshot: what the operator says where the file does not. */
void operators_finish(struct options *o);
/* False with a text when the options do not go together; version is the server's. */
bool operators_check(const struct options *o, char why[256]);

#endif
