/*
 * callout.h - asking a service about a client (auth_callout, or external authorization of an
 * account in operator mode).
 *
 *     CONNECT -> request on $SYS.REQ.USER.AUTH in the service's account, signed by this server:
 *                who the client is and what it said, and a key that was made for this question
 *             <- answer, signed by the account: claims of a user with that key, or an error
 *
 * With a curve key the request is sealed for it, the server's own key goes along in the header
 * Nats-Server-Xkey, and the answer may be sealed too. No answer within authorization.timeout is no.
 */
#ifndef NET_CALLOUT_H
#define NET_CALLOUT_H

#include "lib/jwt/nkey.h"

struct account;
struct conn;
struct login;
struct trust;

/* What this server signs and seals with, new with every start. */
struct server_keys {
    uint8_t secret[NKEY_SECRET_BYTES]; /* of its id */
    uint8_t curve[NKEY_KEY_BYTES];
    char xkey[NKEY_LEN + 1]; /* its public part */
};

#define CALLOUT_SUBJECT "$SYS.REQ.USER.AUTH"

struct callout_ask {
    struct account *account;   /* where the service listens */
    const struct trust *trust; /* of that account in operator mode, else NULL */
    const struct login *login; /* operator mode: what the client came with; else NULL */
    struct str connect_opts;   /* what it said, as JSON fields */
    bool proxy_required;       /* the user must have come through a trusted proxy */
};

/* Its settings have been taken; it waits until there is an answer. */
void callout_start(struct conn *c, const struct callout_ask *ask);

#endif
