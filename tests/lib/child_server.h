/*
 * child_server.h - another server that a test needs: a child process that accepts on the loopback
 * and serves one connection after the other.
 */
#ifndef TESTS_CHILD_SERVER_H
#define TESTS_CHILD_SERVER_H

#include <stdint.h>
#include <sys/types.h>

/* Starts it on a port of its own. In the child `one` is called for each connection, whose
 * descriptor it closes; ctx is the child's copy. */
pid_t child_server_start(void (*one)(void *ctx, int fd), void *ctx, uint16_t *port);
/* Kills it, and waits until it is gone. */
void child_server_kill(pid_t pid);

#endif
