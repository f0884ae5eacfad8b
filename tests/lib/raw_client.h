/*
 * raw_client.h - a socket that says exactly what a test wants and compares exactly what comes back.
 * Every wait has a deadline of 20 s and fails the running test when it passes.
 */
#ifndef TESTS_RAW_CLIENT_H
#define TESTS_RAW_CLIENT_H

#include <stddef.h>
#include <stdint.h>

struct raw_client {
    int fd;
    char *bytes; /* received and not yet consumed */
    size_t n, cap;
    unsigned inbox; /* of raw_ask */
};

/* Connects and consumes nothing. */
void raw_open(struct raw_client *r, uint16_t port);
/* Connects, takes INFO, sends CONNECT with these fields (without braces; verbose and pedantic are
 * false), waits for the PONG. */
void raw_hello(struct raw_client *r, uint16_t port, const char *fields);
void raw_close(struct raw_client *r);
void raw_send(struct raw_client *r, const char *text);
void raw_send_bytes(struct raw_client *r, const char *bytes, size_t n);
/* The next bytes are these. */
void raw_expect(struct raw_client *r, const char *text);
/* Consumes up to and with the text, whatever comes before. */
void raw_skip(struct raw_client *r, const char *text);
/* The next line, without its end; the caller frees it. */
char *raw_line(struct raw_client *r);
/* n bytes; the caller frees them (a NUL follows). */
char *raw_take(struct raw_client *r, size_t n);
/* Nothing comes any more and the server has closed. */
void raw_expect_end(struct raw_client *r);
/* PING, and nothing but the PONG: all before has been answered. */
void raw_fence(struct raw_client *r);
/* A request; the answer's payload, which the caller frees. A status (a header without payload)
 * comes as its header. A PING of the server that comes first is answered. */
char *raw_ask(struct raw_client *r, const char *subject, const char *body);
/* The next message: its subject, reply ("" = none) and header with payload behind, which the caller
 * frees. A PING of the server that comes first is answered. */
struct raw_msg {
    char subject[600], sid[32], reply[700];
    size_t header_n, n; /* of the header, and with the payload */
    char *body;
};
void raw_msg(struct raw_client *r, struct raw_msg *m);

#endif
