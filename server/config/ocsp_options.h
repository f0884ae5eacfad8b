/*
 * ocsp_options.h - what the options say about the state of certificates (OCSP): of our own, which
 * handshakes bring along (ocsp), and of those that others show us (ocsp_peer in a tls block,
 * ocsp_cache). Times in nanoseconds.
 */
#ifndef CONFIG_OCSP_OPTIONS_H
#define CONFIG_OCSP_OPTIONS_H

#include "lib/json/json.h"

#include <stdbool.h>
#include <stdint.h>

enum ocsp_mode {
    OCSP_MODE_AUTO,   /* certificates that want it */
    OCSP_MODE_ALWAYS, /* all; a revoked one ends the server */
    OCSP_MODE_MUST,   /* those that want it; a revoked one ends the server */
    OCSP_MODE_NEVER
};

struct ocsp_options {
    enum ocsp_mode mode;
    struct str_list urls; /* of responders, instead of the certificate's */
};

struct ocsp_cache_options {
    bool none;
    bool preserve_revoked;    /* an answer "revoked" stays when it is out of date */
    char *local_store;        /* directory; NULL = "_rc_" */
    int64_t save_interval_ns; /* 0 = 5 min */
};

/* Zero: certificates are not asked about. Times are those that were said, or the defaults. */
struct ocsp_peer_options {
    bool verify;
    bool warn_only, unknown_is_good, allow_when_ca_unreachable;
    int64_t timeout_ns; /* for a responder: 2 s */
    int64_t skew_ns;    /* 30 s */
    int64_t ttl_ns;     /* of an answer without an end: 1 h */
};

#endif
