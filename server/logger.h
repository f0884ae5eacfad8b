/*
 * logger.h - where log lines end up: stderr or a file, one line each, in the form that tools parse:
 *
 *     [4711] 2026/01/02 15:04:05.000000 [INF] Listening for client connections on 0.0.0.0:4222
 *
 * Any thread logs through the embedded struct log: the line goes into a bounded ring (LOGGER_RING
 * lines; what does not fit is counted and the count is logged), and the main thread writes it. A
 * worker never touches a file. Before logger_start and after logger_stop lines are written at once
 * by the caller.
 */
#ifndef SERVER_LOGGER_H
#define SERVER_LOGGER_H

#include "lib/base/log.h"

#include <stdbool.h>
#include <stdint.h>

#define LOGGER_RING 8192u

struct logger;

struct logger_options {
    const char *file;   /* NULL = stderr, or one of the next */
    bool syslog;        /* the system's logger */
    const char *remote; /* another one, syslog_out.h; goes before syslog */
    const char *tag;    /* for these two: the program's name */
    bool debug, trace;
    bool time, utc;      /* the time stamp, and in UTC */
    uint64_t size_limit; /* rotate above; 0 = never */
    unsigned max_num;    /* rotated files kept; 0 = all */
};

/* NULL when the file can not be opened; why says it. */
struct logger *logger_open(const struct logger_options *options, char why[256]);
void logger_close(struct logger *l);
struct log *logger_log(struct logger *l);

/* From now on lines are queued; notify (any thread) must make the main thread call logger_drain
 * soon. */
void logger_start(struct logger *l, void (*notify)(void *ctx), void *ctx);
void logger_drain(struct logger *l);
void logger_stop(struct logger *l);
/* Other levels, times, limits or another file from the next line on (reload). False with a text in
 * why when the file can not be opened; then nothing changes. Main thread. */
bool logger_change(struct logger *l, const struct logger_options *options, char why[256]);
/* Closes and opens the file again (SIGUSR1). Main thread. */
void logger_reopen(struct logger *l);

#endif
