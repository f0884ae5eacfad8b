/*
 * callout_options.h - who else decides about clients: a service that is asked about each
 * (auth_callout), and proxies that vouch for connections. Part of a snapshot of options.
 */
#ifndef CONFIG_CALLOUT_OPTIONS_H
#define CONFIG_CALLOUT_OPTIONS_H

#include "lib/json/json.h"

struct callout_options {
    char *issuer;            /* the account key that signs answers; NULL = nobody is asked */
    char *account;           /* where the service listens */
    char *xkey;              /* requests are sealed for this key; NULL = they are not */
    struct str_list users;   /* who is let in without: the service itself */
    struct str_list allowed; /* accounts whose users are asked about; none = all */
};

struct proxy_options {
    struct str_list trusted; /* keys that sign nonces for the clients behind a proxy */
    bool set;                /* the file has the block */
    bool required;           /* of clients without a user of a list */
};

#endif
