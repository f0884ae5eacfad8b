/*
 * http_head.h - the head of an HTTP/1 request or answer: its first line and its fields, as views of
 * the bytes. For the upgrade to WebSocket, in both directions; the monitoring port has libevent's
 * server.
 *
 * Pure and bounded: the caller gathers what arrives, HTTP_HEAD_MAX bytes at most, and asks again
 * when there is more. Nothing is allocated.
 */
#ifndef WIRE_HTTP_HEAD_H
#define WIRE_HTTP_HEAD_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>

#define HTTP_HEAD_MAX 16384u
#define HTTP_FIELDS_MAX 64u

struct http_field {
    struct str name, value; /* value without blanks around it */
};

struct http_head {
    struct str method, target; /* of a request */
    unsigned status;           /* of an answer */
    struct http_field fields[HTTP_FIELDS_MAX];
    unsigned n;
    size_t length; /* of the head with its empty line: what is behind it is something else */
};

enum http_answer {
    HTTP_OK,
    HTTP_MORE,     /* its end has not arrived */
    HTTP_BAD,      /* 400 */
    HTTP_TOO_LONG, /* 431: more than HTTP_HEAD_MAX bytes or HTTP_FIELDS_MAX fields */
};

enum http_answer http_request_parse(struct str in, struct http_head *out);
enum http_answer http_response_parse(struct str in, struct http_head *out);

/* The first field of that name, in any case; p == NULL: there is none. */
struct str http_field(const struct http_head *h, const char *name);
/* Is the word, in any case, one of the list in a field of that name? Lists have commas. */
bool http_field_lists(const struct http_head *h, const char *name, const char *word);
/* The value of a cookie, without its quotes; p == NULL: there is none. */
struct str http_cookie(const struct http_head *h, const char *name);

#endif
