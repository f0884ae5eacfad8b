/*
 * leaf_rig.h - two servers for the tests of leaf connections: a hub that listens, and an edge.
 */
#ifndef API_LEAF_RIG_H
#define API_LEAF_RIG_H

#include "tests/lib/server_process.h"

extern struct server_process hub, edge;

#define LISTEN "listen: \"127.0.0.1:-1\""

/* With one worker or two (way even or odd) and this configuration. */
void leaf_start(struct server_process *s, int way, const char *config);
/* The hub; certificates for it are in its directory (tls_certs.h). */
void leaf_start_hub(int way, const char *config);

#endif
