/*
 * tls_options.h - what a tls block says, for any listener. Texts are owned by the block; files are
 * paths, read when the server makes a context of them (server/net/tls.h).
 */
#ifndef CONFIG_TLS_OPTIONS_H
#define CONFIG_TLS_OPTIONS_H

#include "server/config/ocsp_options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_pair {
    char *cert_file, *key_file;
};

struct tls_options {
    bool on; /* there is a block, or a flag asked for it */
    char *cert_file, *key_file, *ca_file;
    struct tls_pair *certs; /* instead of the first two: the client's wishes choose one */
    size_t ncerts;
    bool verify;                /* clients must have a certificate of ca_file */
    bool map;                   /* and it says who they are: a user of the list */
    int64_t timeout_ns;         /* for the handshake; 0 = 2 s */
    char *ciphers;              /* names as in RFCs, with commas; NULL = OpenSSL's choice */
    char *curves;               /* names as in the Go library, with commas */
    char *pinned;               /* lower case hex SHA-256 of public keys (SPKI), with commas */
    bool insecure;              /* as a client: any certificate will do */
    bool allow_insecure_suites; /* they may be in ciphers */
    int min_version;            /* 12 or 13; 0 = 12 */
    int64_t rate_limit;         /* handshakes a second, of clients; 0 = no limit */
    bool first;                 /* the handshake comes before INFO */
    int64_t first_wait_ns; /* with `first`: how long a client may take to begin it before it gets
                              its INFO after all; 0 = for ever */
    struct ocsp_peer_options ocsp_peer; /* what others show us is asked about */
};

void tls_options_free(struct tls_options *t);

#endif
