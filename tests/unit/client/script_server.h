/*
 * script_server.h - the other end of a client test: a thread that plays a server's part by a
 * script.
 *
 * A script is a function; it reads the client's lines and says the server's, and ends the
 * connection by returning. The handshake is done before it is called. Any wait that takes longer
 * than ten seconds, and any line that is not as the script wants it, fails the test.
 */
#ifndef TESTS_SCRIPT_SERVER_H
#define TESTS_SCRIPT_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct script_server {
    void (*script)(struct script_server *s);
    bool refuses; /* answers CONNECT with an authorization error */
    uint16_t port;
    int listener, fd;
    pthread_t thread;
    char connect[1024]; /* the client's CONNECT line */
    char in[65536];
    size_t n;
    char line[1024]; /* what script_line read */
};

void script_start(struct script_server *s, void (*script)(struct script_server *s));
/* Waits for the script's end. */
void script_join(struct script_server *s);

/* The client's next line without CR LF, in s->line; PINGs are answered and skipped. */
void script_line(struct script_server *s);
/* A line that must begin with `start`; returns what is behind it. */
const char *script_want(struct script_server *s, const char *start);
/* A PUB with this subject: its reply subject goes to reply (may be NULL), its payload to s->line.
 */
void script_want_pub(struct script_server *s, const char *subject, char reply[128]);
void script_say(struct script_server *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Waits until the client closes. */
void script_until_closed(struct script_server *s);

#endif
