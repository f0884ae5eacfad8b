/*
 * monitor.h - the server's documents over HTTP, and over HTTPS when there is a TLS block, on the
 * main thread's libevent base.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "server/monitor/report.h"

#include <stdint.h>

struct bufferevent;
struct event_base;
struct monitor;

/* How connections are wrapped: NULL = plain. */
struct monitor_tls {
    struct bufferevent *(*wrap)(struct event_base *base, void *ctx);
    void *ctx;
};

/* Listens; *port becomes the bound port. NULL with a text in why. */
struct monitor *monitor_open(struct event_base *base, struct reports *reports,
                             const struct monitor_tls *tls, const char *address, uint16_t *port,
                             char why[256]);
void monitor_close(struct monitor *m);

#endif
