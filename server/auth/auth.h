/*
 * auth.h - is this client who it says it is? A verdict from what CONNECT carries and the options;
 * pure.
 *
 * Today there is one account and at most one user or one token. Secrets are compared in constant
 * time; a missing secret costs the same time as a wrong one.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "lib/base/str.h"

#include <stdbool.h>

struct options;

struct auth_claim {
    struct str user, pass, token; /* p == NULL when absent */
};

/* Does the server ask for anything? */
bool auth_required(const struct options *options);
bool auth_check(const struct options *options, const struct auth_claim *claim);

#endif
