/*
 * log.h - how code of every layer says something to the operator.
 *
 * A struct log is a level mask and a function that takes one finished line; the server's sends
 * lines to a bounded ring that the main thread writes (server/logger.h), tests collect them. Never
 * blocks. Lines carry no time stamp or level text: the receiver adds them. Secrets never reach a
 * log line.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>

enum log_level { LOG_FATAL, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

struct log {
    /* One line without a newline; any thread that was given this log. */
    void (*line)(struct log *log, enum log_level level, const char *text);
    _Atomic unsigned enabled; /* bit (1 << level); may change at any time */
};

static inline bool log_on(const struct log *log, enum log_level level)
{
    return log != 0 &&
           (atomic_load_explicit(&log->enabled, memory_order_relaxed) & (1u << level)) != 0;
}

/* Lines over 8 KiB are cut. A NULL log drops everything. */
void log_print(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define LOG_INF(log, ...) log_print(log, LOG_INFO, __VA_ARGS__)
#define LOG_WRN(log, ...) log_print(log, LOG_WARN, __VA_ARGS__)
#define LOG_ERR(log, ...) log_print(log, LOG_ERROR, __VA_ARGS__)
#define LOG_DBG(log, ...)                                                                          \
    do {                                                                                           \
        if (log_on(log, LOG_DEBUG))                                                                \
            log_print(log, LOG_DEBUG, __VA_ARGS__);                                                \
    } while (0)
#define LOG_TRC(log, ...)                                                                          \
    do {                                                                                           \
        if (log_on(log, LOG_TRACE))                                                                \
            log_print(log, LOG_TRACE, __VA_ARGS__);                                                \
    } while (0)

#endif
