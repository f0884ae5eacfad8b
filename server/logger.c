/*
 * logger.c - the ring of lines and the file behind it.
 *
 * The ring is a plain array under a mutex that is held for a pointer's worth of work; lines are
 * allocated by who logs and freed by who writes. Logging is never on a hot path (levels are tested
 * before a line is built), so nothing cleverer is needed.
 */
#include "server/logger.h"

#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "server/syslog_out.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct line {
    char *text;
    enum log_level level;
    struct timespec when;
};

struct logger {
    struct log log; /* first: what everybody holds */
    struct logger_options options;
    char *path;
    int fd;
    bool colour;
    uint64_t written;          /* bytes in the current file */
    struct syslog_out *syslog; /* where lines go instead; NULL = to fd */
    char *remote;              /* what was asked for when it was opened */

    pthread_mutex_t lock; /* guards all below */
    struct line ring[LOGGER_RING];
    uint32_t head, count;
    uint64_t dropped;
    bool queueing;
    void (*notify)(void *ctx);
    void *ctx;
};

static const char *const labels[] = {"FTL", "ERR", "WRN", "INF", "DBG", "TRC"};
static const char *const colours[] = {"31", "31", "33", "32", "36", "35"};

/* ---- writing --------------------------------------------------------------------------------- */

static void put_time(struct buf *b, const struct logger *l, const struct timespec *when)
{
    struct tm tm;
    char stamp[32];

    if (!l->options.time)
        return;
    if (l->options.utc)
        gmtime_r(&when->tv_sec, &tm);
    else
        localtime_r(&when->tv_sec, &tm);
    strftime(stamp, sizeof(stamp), "%Y/%m/%d %H:%M:%S", &tm);
    buf_printf(b, "%s.%06ld ", stamp, when->tv_nsec / 1000);
}

static void write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return; /* nowhere left to say it */
        p += k;
        n -= (size_t) k;
    }
}

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

/* Deletes the oldest rotated files beyond max_num. glob sorts, and the names sort by time. */
static void prune(const struct logger *l)
{
    struct buf pattern = {0};
    glob_t found;

    if (l->options.max_num == 0)
        return;
    buf_printf(&pattern, "%s.[0-9][0-9][0-9][0-9].*", l->path);
    if (glob(buf_cstr(&pattern), 0, NULL, &found) == 0) {
        for (size_t i = 0; i + l->options.max_num < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
        globfree(&found);
    }
    buf_free(&pattern);
}

static void rotate(struct logger *l)
{
    struct timespec now;
    struct tm tm;
    char stamp[32];
    struct buf name = {0};

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    strftime(stamp, sizeof(stamp), "%Y.%m.%d.%H.%M.%S", &tm);
    buf_printf(&name, "%s.%s.%09ld", l->path, stamp, now.tv_nsec);
    if (rename(l->path, buf_cstr(&name)) == 0) {
        close(l->fd);
        l->fd = open_file(l->path);
        if (l->fd < 0)
            l->fd = STDERR_FILENO;
        l->written = 0;
        prune(l);
    }
    buf_free(&name);
}

static void write_line(struct logger *l, const struct line *line)
{
    struct buf b = {0};

    if (l->syslog != NULL) {
        syslog_out_line(l->syslog, line->level, &line->when, line->text);
        return;
    }
    buf_printf(&b, "[%d] ", (int) getpid());
    put_time(&b, l, &line->when);
    if (l->colour)
        buf_printf(&b, "[\033[%sm%s\033[0m] ", colours[line->level], labels[line->level]);
    else
        buf_printf(&b, "[%s] ", labels[line->level]);
    buf_puts(&b, line->text);
    buf_putc(&b, '\n');
    write_all(l->fd, b.p, b.n);
    l->written += b.n;
    buf_free(&b);
    if (l->path != NULL && l->options.size_limit > 0 && l->written > l->options.size_limit)
        rotate(l);
}

/* ---- the ring -------------------------------------------------------------------------------- */

static bool enqueue(struct logger *l, const struct line *line)
{
    if (l->count == LOGGER_RING) {
        l->dropped++;
        return false;
    }
    l->ring[(l->head + l->count) % LOGGER_RING] = *line;
    l->count++;
    return true;
}

static void log_line(struct log *log, enum log_level level, const char *text)
{
    struct logger *l = CONTAINER_OF(log, struct logger, log);
    struct line line = {.text = mem_strdup(text), .level = level};
    bool queued = false;
    bool first = false;

    clock_gettime(CLOCK_REALTIME, &line.when);
    pthread_mutex_lock(&l->lock);
    if (l->queueing) {
        first = l->count == 0;
        queued = true;
        if (!enqueue(l, &line))
            mem_free(line.text);
    } else {
        write_line(l, &line);
        mem_free(line.text);
    }
    pthread_mutex_unlock(&l->lock);
    if (queued && first && l->notify != NULL)
        l->notify(l->ctx);
}

static bool dequeue(struct logger *l, struct line *out, uint64_t *dropped)
{
    bool some;

    pthread_mutex_lock(&l->lock);
    some = l->count > 0;
    if (some) {
        *out = l->ring[l->head];
        l->head = (l->head + 1) % LOGGER_RING;
        l->count--;
    }
    *dropped = l->dropped;
    l->dropped = 0;
    pthread_mutex_unlock(&l->lock);
    return some;
}

void logger_drain(struct logger *l)
{
    struct line line;
    uint64_t dropped;

    while (dequeue(l, &line, &dropped)) {
        write_line(l, &line);
        mem_free(line.text);
        if (dropped > 0) {
            char text[64];
            struct line note = {.text = text, .level = LOG_WARN, .when = line.when};
            snprintf(text, sizeof(text), "%llu log lines were dropped",
                     (unsigned long long) dropped);
            write_line(l, &note);
        }
    }
}

void logger_start(struct logger *l, void (*notify)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&l->lock);
    l->notify = notify;
    l->ctx = ctx;
    l->queueing = true;
    pthread_mutex_unlock(&l->lock);
}

void logger_stop(struct logger *l)
{
    pthread_mutex_lock(&l->lock);
    l->queueing = false;
    l->notify = NULL;
    pthread_mutex_unlock(&l->lock);
    logger_drain(l);
}

/* ---- making and ending ----------------------------------------------------------------------- */

static unsigned level_mask(const struct logger_options *o)
{
    unsigned mask = (1u << LOG_FATAL) | (1u << LOG_ERROR) | (1u << LOG_WARN) | (1u << LOG_INFO);

    if (o->debug)
        mask |= 1u << LOG_DEBUG;
    if (o->trace)
        mask |= 1u << LOG_TRACE;
    return mask;
}

static bool same_file(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The file of these options becomes the one that is written to. */
static bool change_file(struct logger *l, const char *file, char why[256])
{
    int fd = file != NULL ? open_file(file) : STDERR_FILENO;
    struct stat st;

    if (fd < 0) {
        snprintf(why, 256, "error opening log file %s: %s", file, strerror(errno));
        return false;
    }
    if (l->path != NULL)
        close(l->fd);
    mem_free(l->path);
    l->fd = fd;
    l->path = file != NULL ? mem_strdup(file) : NULL;
    l->written = file != NULL && fstat(fd, &st) == 0 ? (uint64_t) st.st_size : 0;
    return true;
}

/* A file goes before everything else. */
static bool change_syslog(struct logger *l, const struct logger_options *o, char why[256])
{
    bool wanted = o->file == NULL && (o->syslog || o->remote != NULL);
    struct syslog_out *next = NULL;

    if (wanted == (l->syslog != NULL) && (!wanted || same_file(l->remote, o->remote)))
        return true;
    if (wanted) {
        next = syslog_out_open(o->remote, o->tag != NULL ? o->tag : "midge-server", why);
        if (next == NULL)
            return false;
    }
    syslog_out_close(l->syslog);
    mem_free(l->remote);
    l->syslog = next;
    l->remote = wanted && o->remote != NULL ? mem_strdup(o->remote) : NULL;
    return true;
}

bool logger_change(struct logger *l, const struct logger_options *options, char why[256])
{
    /* What can fail comes first: a file, or without one, a connection. */
    if (options->file == NULL && !change_syslog(l, options, why))
        return false;
    if (!same_file(l->path, options->file) && !change_file(l, options->file, why))
        return false;
    if (options->file != NULL)
        change_syslog(l, options, why);
    l->options = *options;
    l->options.file = l->path;
    l->options.remote = l->remote;
    l->colour = l->path == NULL && isatty(STDERR_FILENO) != 0;
    atomic_store_explicit(&l->log.enabled, level_mask(options), memory_order_relaxed);
    return true;
}

struct logger *logger_open(const struct logger_options *options, char why[256])
{
    struct logger *l = mem_zalloc(sizeof(*l));

    l->fd = STDERR_FILENO;
    l->log.line = log_line;
    if (!logger_change(l, options, why)) {
        mem_free(l);
        return NULL;
    }
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void logger_close(struct logger *l)
{
    logger_stop(l);
    if (l->path != NULL)
        close(l->fd);
    syslog_out_close(l->syslog);
    pthread_mutex_destroy(&l->lock);
    mem_free(l->remote);
    mem_free(l->path);
    mem_free(l);
}

struct log *logger_log(struct logger *l)
{
    return &l->log;
}

void logger_reopen(struct logger *l)
{
    int fd;

    if (l->path == NULL)
        return;
    fd = open_file(l->path);
    if (fd < 0) {
        LOG_ERR(&l->log, "error opening log file %s: %s", l->path, strerror(errno));
        return;
    }
    close(l->fd);
    l->fd = fd;
    l->written = 0;
    LOG_INF(&l->log, "File log re-opened");
}
