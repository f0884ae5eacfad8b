/*
 * syslog_out.h - log lines to the system's logger, or to one elsewhere. Main thread, or whoever has
 * the logger's lock.
 */
#ifndef SERVER_SYSLOG_OUT_H
#define SERVER_SYSLOG_OUT_H

#include "lib/base/log.h"

#include <time.h>

struct syslog_out;

/* remote: NULL = the system's own; else "udp://host:514", "tcp://host:port" or "unix:///path". NULL
 * with a text in why. May block (names, connecting): at a start and at a reload. */
struct syslog_out *syslog_out_open(const char *remote, const char *tag, char why[256]);
void syslog_out_close(struct syslog_out *s);
/* Never waits: what the other side does not take is lost. */
void syslog_out_line(struct syslog_out *s, enum log_level level, const struct timespec *when,
                     const char *text);

#endif
