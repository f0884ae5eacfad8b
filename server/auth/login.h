/*
 * login.h - a client that says who it is with signed claims: a user token, and a signature of the
 * nonce by the user's key (none with a bearer token). The account's claims say whether it may.
 *
 * A login is what a connection keeps of that: the user as one of a configuration, and what can end
 * it later. Pure; the caller says what time it is.
 */
#ifndef AUTH_LOGIN_H
#define AUTH_LOGIN_H

#include "server/auth/trust.h"

#include <stdbool.h>
#include <stdint.h>

/* What a connection is, for allowed_connection_types. */
enum connection_type {
    CONNECTION_STANDARD,
    CONNECTION_WEBSOCKET,
    CONNECTION_LEAFNODE,
    CONNECTION_LEAFNODE_WS,
    CONNECTION_MQTT,
    CONNECTION_MQTT_WS,
    CONNECTION_IN_PROCESS,
};

struct operators;

struct login {
    struct user user;    /* nkey: the user's key; account; may: own permissions */
    char *name, *issuer; /* of the claims; issuer NULL: the account's own key */
    struct str_list tags;
    int64_t issued_at;
    int64_t until;                  /* unix ns at which it ends; 0 = never */
    int64_t subscriptions, payload; /* negative = no limit */
    bool bearer;
    bool by_default; /* its permissions are the account's default ones */
};

struct login_claim {
    struct str sig, nonce; /* sig: p == NULL when absent */
    const char *address;   /* of the client: "127.0.0.1" */
    enum connection_type type;
    bool proxied;   /* a trusted proxy vouches for the connection */
    int64_t now;    /* unix ns */
    int64_t offset; /* of the machine's time zone from UTC, in seconds */
};

/* The claims of a token that is valid now. False with a text. */
bool login_claims(struct str token, int64_t now, struct user_claims *out, struct buf *err);
/* The account that user is of, by its key. */
const char *login_account(const struct user_claims *u);
/* May users of that account come in at all? */
bool login_account_pinned(const struct operators *o, const char *account);
/* The login, or NULL with a text: why not. u is left empty or as it was. */
struct login *login_open(const struct trust *t, const struct user_claims *u,
                         const struct login_claim *c, struct buf *err);
/* A login of an answer of an authorization service: as above, but for the signatures and the
 * account, which the caller has looked at. scope: of the key that signed, or NULL; account: its
 * name; t: of the account, or NULL. */
struct login *login_of_answer(const struct user_claims *u, const struct jwt_user_limits *scope,
                              const char *account, const struct trust *t,
                              const struct login_claim *c, struct buf *err);
/* In the server's own configuration an account has permissions for users without own ones: they are
 * those of its options, instead of what they were before. Nothing for other accounts: there the
 * claims say it. */
void login_defaults(struct login *l, const struct accounts *accounts);
void login_close(struct login *l);

enum login_end { LOGIN_STAYS, LOGIN_REVOKED, LOGIN_REFUSED, LOGIN_CLOSED };
/* The account's claims have changed to t: what becomes of the login. LOGIN_CLOSED: without a word.
 * One that stays has the new default permissions, when it has those. */
enum login_end login_recheck(struct login *l, const struct trust *before, const struct trust *t);
/* Do the claims t of its account give it other permissions than those before? */
bool login_permissions_changed(const struct login *l, const struct trust *before,
                               const struct trust *t);

#endif
