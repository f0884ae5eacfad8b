/*
 * trust.h - an account's claims in operator mode, as the server uses them: who may sign users for
 * it, and what the account is in the terms of a configuration. Made once from a token, immutable,
 * looked at by all workers.
 */
#ifndef AUTH_TRUST_H
#define AUTH_TRUST_H

#include "lib/jwt/claims.h"
#include "server/config/accounts.h"
#include "server/config/users.h"

#include <stdbool.h>
#include <stdint.h>

struct options;

struct trust {
    struct account_claims claims;
    struct permissions *otherwise; /* of users without own ones; NULL = everything */
    bool strict;                   /* the account's own key signs no users */
};

/* The claims of a token that an operator of the options signed, valid at `now` (unix seconds). NULL
 * with a text in err. */
struct trust *trust_open(const struct options *o, struct str token, int64_t now, struct buf *err);
void trust_close(struct trust *t);

/* May that key sign users of the account? *scope: what its users get, or NULL. */
bool trust_signs(const struct trust *t, const char *key, const struct jwt_user_limits **scope);
/* Has the account taken that user back, or its token of then? */
bool trust_revoked(const struct trust *t, const char *user, int64_t issued_at);
bool trust_is_auth_user(const struct trust *t, const char *user);

/* The account as a configuration would say it: owned by the caller (accounts_free of a list it was
 * added to). Imports are taken over without a look at who exports; activated says whether the
 * import's own token holds for the exporter, whose trust `find` gives (NULL = not there). */
void trust_options(const struct trust *t, struct account_options *out, int64_t now,
                   const struct trust *(*find)(void *ctx, const char *account), void *ctx);
/* The first time after now at which an activation of an import expires; 0 = never. */
int64_t trust_next_change(const struct trust *t, int64_t now);

/*
 * NULL: they say nothing. What is no subject allows nothing, and an allow list with nothing else
 * allows nothing at all. A list that is too long (SUBJECT_RULES_MAX) would have to be kept in part:
 * then nothing is allowed.
 */
struct permissions *permissions_of_jwt(const struct jwt_permissions *p);
/* Is no list too long? */
bool permissions_of_jwt_fit(const struct jwt_permissions *p);

#endif
