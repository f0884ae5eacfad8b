/*
 * ws_client.h - a WebSocket client for tests, on top of raw_client: says the upgrade and frames
 * exactly as a test wants, and takes apart what comes back.
 *
 * Every wait has a deadline of 20 s and fails the running test when it passes.
 */
#ifndef TESTS_WS_CLIENT_H
#define TESTS_WS_CLIENT_H

#include "tests/lib/raw_client.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ws_client {
    struct raw_client raw;
    bool no_mask;
    char *text; /* operations that arrived and were not looked at yet */
    size_t n, cap;
    unsigned frames; /* data frames that arrived */
    size_t longest;  /* payload of one */
    bool packed;     /* one of them was compressed */
};

/* Connects and asks for the upgrade with these additional fields ("Name: value\r\n"..., or ""). */
void ws_ask(struct ws_client *w, uint16_t port, const char *path, const char *fields);
/* The same, and takes the answer, which must be 101; returns it, the caller frees it. */
char *ws_open(struct ws_client *w, uint16_t port, const char *fields);
void ws_close(struct ws_client *w);

/* A frame: FIN, RSV and opcode in `first`. */
void ws_send_frame(struct ws_client *w, unsigned first, const void *payload, size_t n);
/* One binary message. */
void ws_say(struct ws_client *w, const char *text);
/* Operations up to and with the text; the caller frees them. PINGs of the server are answered. */
char *ws_hear(struct ws_client *w, const char *text);
/* The next frame is one of these; the payload, which the caller frees, has a NUL behind it. */
char *ws_take_frame(struct ws_client *w, unsigned first, size_t *n);
/* Frames up to a close frame, with this code and text; then the connection ends. */
void ws_expect_close(struct ws_client *w, unsigned code, const char *text);

#endif
