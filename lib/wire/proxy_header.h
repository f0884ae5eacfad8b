/*
 * proxy_header.h - the PROXY protocol, versions 1 (text) and 2 (binary): what a load balancer puts
 * before the bytes of a client, to say whose they are. Pure.
 */
#ifndef WIRE_PROXY_HEADER_H
#define WIRE_PROXY_HEADER_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that say everything: more need not be gathered. */
#define PROXY_HEADER_MAX 107u
#define PROXY_HOST_MAX 48u

enum proxy_answer {
    PROXY_OK,
    PROXY_MORE, /* what is there may become a header */
    PROXY_NONE, /* it is none: the bytes are the client's own */
    PROXY_BAD   /* it began as one; `error` says what is wrong */
};

struct proxy_header {
    char host[PROXY_HOST_MAX]; /* "": not said (a health check): the address is the proxy's own */
    uint16_t port;
    size_t length; /* of the whole header, of which the end need not be there yet */
    const char *error;
};

/* in: everything that has arrived, from the first byte on. */
enum proxy_answer proxy_header_parse(struct str in, struct proxy_header *out);

#endif
