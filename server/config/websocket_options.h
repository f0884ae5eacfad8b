/*
 * websocket_options.h - what a websocket block says. Texts are owned by the snapshot of options.
 */
#ifndef CONFIG_WEBSOCKET_OPTIONS_H
#define CONFIG_WEBSOCKET_OPTIONS_H

#include "lib/base/str.h"
#include "server/config/tls_options.h"

#include <stdbool.h>
#include <stdint.h>

struct websocket_options {
    char *host; /* NULL = that of the clients' listener */
    int port;   /* 0 = no listener, -1 = any */
    char *advertise;
    bool no_tls;
    struct tls_options tls;
    bool same_origin;
    char *origins; /* "https://example.org:8443,http://..."; NULL = any */
    bool compression;
    int64_t handshake_timeout_ns; /* for the upgrade; 0 = not said */
    int64_t ping_interval_ns;     /* 0 = that of clients */
    char *headers;                /* "Name: value\r\n"... of the answer; NULL = none */

    /* Credentials may come in cookies of these names; NULL = not. */
    char *jwt_cookie, *user_cookie, *pass_cookie, *token_cookie;

    /* With a user, a token or a no_auth_user these stand in place of the ones at top level. */
    char *user, *pass, *token, *no_auth_user;
    int64_t auth_timeout_ns; /* 0 = that at top level */
};

/* Do they stand in place of those at top level? */
static inline bool websocket_has_auth(const struct websocket_options *w)
{
    return w->user != NULL || w->token != NULL || w->no_auth_user != NULL;
}

/* "scheme://host[:port]" into its parts; without a port that of the scheme. A host may be a
 * bracketed address. False when it is no origin. */
bool websocket_origin(struct str text, struct str *scheme, struct str *host, uint16_t *port);
/* "host[:port]" likewise. */
bool websocket_host(struct str text, bool tls, struct str *host, uint16_t *port);

void websocket_options_free(struct websocket_options *w);

#endif
