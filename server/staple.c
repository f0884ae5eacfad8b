/*
 * staple.c - see staple.h.
 *
 *     open -> disk, or the responder (waiting) -> handshakes have it
 *       \--> timer (half of the time that the answer still holds; a day without an end)
 *              -> asked -> an answer: disk, handshakes, timer
 *                      \-> none: the old one stays until its end; timer
 *
 * Answers lie in <store_dir>/ocsp under the SHA-256 of the certificate, as DER. One that can not be
 * read, or is not of now, counts as none. An answer that is not "good" is sent as any other: it is
 * what clients want to know; in the modes "always" and "must" it ends the server.
 */
#include "server/staple.h"

#include "lib/base/fmt.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/net/tls.h"
#include "server/ocsp_ask.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ll
#define ASK_NS (30 * SECOND)
#define DAY_S (24 * 3600)
#define LATE_S 120
#define ANSWER_MAX (1 << 20)
#define KIND "Client"

struct staple {
    struct staple_host host;
    struct tls_context *context;
    struct tls_own own;
    struct str_list urls;
    char *cert_file, *path; /* path: of the answer on the disk, or NULL */
    bool ends_server;       /* when it is not good */
    bool has;               /* answer is one */
    struct ocsp_answer answer;
    struct buf der;
    struct ocsp_ask *ask;
    struct event *timer;
    struct event *end; /* of the answer */
    struct buf why;    /* of a question that was waited for */
};

static bool is_of_now(const struct staple *s, const struct ocsp_answer *a)
{
    return ocsp_answer_is_current(a, ocsp_clock(&s->host.way), 0, 0);
}

/* ---- on the disk ----------------------------------------------------------------------------- */

static bool make_dir(struct io_fs *fs, const char *path, char why[256])
{
    int rc = fs_mkdir(fs, path);

    if (rc == 0 || rc == -EEXIST)
        return true;
    snprintf(why, 256, "could not create OCSP storage directory - mkdir %.150s: %s", path,
             strerror(-rc));
    return false;
}

static bool find_place(struct staple *s, const char *store_dir, char why[256])
{
    uint8_t sum[OCSP_FINGERPRINT_BYTES];
    struct buf path = {0};
    bool ok;

    if (store_dir == NULL)
        return true;
    buf_printf(&path, "%s/ocsp", store_dir);
    ok = make_dir(s->host.fs, store_dir, why) && make_dir(s->host.fs, buf_cstr(&path), why) &&
         ocsp_fingerprint(s->own.cert, sum);
    buf_putc(&path, '/');
    for (size_t i = 0; ok && i < sizeof(sum); i++)
        buf_printf(&path, "%02x", sum[i]);
    s->path = ok ? mem_strdup(buf_cstr(&path)) : NULL;
    buf_free(&path);
    return ok;
}

static bool read_kept(const struct staple *s, struct buf *out)
{
    struct io_fs *fs = s->host.fs;
    fs_fd fd = s->path != NULL ? fs_open(fs, s->path, IO_FILE_READ) : -1;
    int64_t size, n = -1;

    if (fd < 0)
        return false;
    size = fs_size(fs, fd);
    if (size > 0 && size <= ANSWER_MAX)
        n = fs_read(fs, fd, buf_reserve(out, (size_t) size), (size_t) size, 0);
    fs_close(fs, fd);
    if (n > 0)
        out->n += (size_t) n;
    return n > 0;
}

static void keep(const struct staple *s, struct str der)
{
    int rc = s->path != NULL ? fs_replace(s->host.fs, s->path, der.p, der.n) : 0;

    if (rc < 0)
        LOG_WRN(s->host.log, "failed to write ocsp status: %s", strerror(-rc));
}

/* ---- an answer ------------------------------------------------------------------------------- */

static void take(struct staple *s, struct str der, const struct ocsp_answer *a)
{
    s->answer = *a;
    s->has = true;
    buf_clear(&s->der);
    buf_put_str(&s->der, der);
    tls_context_staple(s->context, der);
    if (a->next_update != 0)
        event_add(s->end,
                  &(struct timeval){.tv_sec = a->next_update - ocsp_clock(&s->host.way) + 1});
    else
        event_del(s->end);
}

static bool take_kept(struct staple *s)
{
    struct buf der = {0};
    struct ocsp_answer a;
    char why[160];
    bool ok = read_kept(s, &der) &&
              ocsp_read_answer(buf_str(&der), s->own.cert, s->own.issuer, &a, why) &&
              is_of_now(s, &a);

    if (ok)
        take(s, buf_str(&der), &a);
    buf_free(&der);
    return ok;
}

/* What was known before a reload, about the same certificate. */
static bool take_known(struct staple *s, const struct staple *before)
{
    if (before == NULL || !before->has || !ocsp_cert_same(before->own.cert, s->own.cert) ||
        !is_of_now(s, &before->answer))
        return false;
    take(s, buf_str(&before->der), &before->answer);
    return true;
}

/* False with a text in s->why. */
static bool take_asked(struct staple *s, const struct ocsp_asked *what)
{
    buf_clear(&s->why);
    if (what->der.n == 0) {
        buf_puts(&s->why, what->why);
        return false;
    }
    if (!is_of_now(s, &what->answer)) {
        buf_puts(&s->why, "invalid ocsp answer: out of date, or of the future");
        return false;
    }
    keep(s, what->der);
    take(s, what->der, &what->answer);
    return true;
}

/* ---- when to ask again ----------------------------------------------------------------------- */

static int64_t pause_s(const struct staple *s)
{
    int64_t left = s->answer.next_update - ocsp_clock(&s->host.way);

    if (!s->has)
        return LATE_S;
    if (s->answer.next_update == 0)
        return DAY_S;
    return left < 0 ? LATE_S : left < 2 ? 1 : left / 2;
}

static void say_good(const struct staple *s, const char *how)
{
    char until[FMT_TIME_MAX], pause[FMT_TIME_MAX];
    int64_t end = s->answer.next_update;

    fmt_time_rfc3339(until, end != 0 ? end * SECOND : FMT_TIME_GO_ZERO);
    fmt_go_duration(pause, pause_s(s) * SECOND);
    LOG_INF(s->host.log, "%s '%s': good, next update %s, checking again in %s", how, s->cert_file,
            until, pause);
}

static void rest(struct staple *s, int64_t seconds)
{
    event_add(s->timer, &(struct timeval){.tv_sec = seconds});
}

static void asked(void *ctx, const struct ocsp_asked *what)
{
    struct staple *s = ctx;
    char pause[FMT_TIME_MAX];

    s->ask = NULL;
    if (!take_asked(s, what)) {
        fmt_go_duration(pause, pause_s(s) * SECOND);
        LOG_ERR(s->host.log, "Bad OCSP status update for certificate '%s': %s, trying again in %s",
                s->cert_file, buf_cstr(&s->why), pause);
    } else if (s->answer.says == OCSP_SAYS_GOOD) {
        say_good(s, "Received OCSP status for " KIND " certificate");
    } else {
        LOG_ERR(s->host.log, "Received OCSP status for " KIND " certificate '%s': %s", s->cert_file,
                ocsp_says_text(s->answer.says));
        if (s->ends_server)
            s->host.revoked(s->host.ctx);
    }
    rest(s, pause_s(s));
}

static struct url_way way_of(const struct staple *s)
{
    struct url_way way = s->host.way;

    way.timeout_ns = ASK_NS;
    return way;
}

static void ask(evutil_socket_t fd, short what, void *ctx)
{
    struct staple *s = ctx;
    struct url_way way = way_of(s);

    (void) fd;
    (void) what;
    s->ask = ocsp_ask_start(
        &way, &(struct ocsp_about){.cert = s->own.cert, .issuer = s->own.issuer, .urls = &s->urls},
        asked, s);
}

/* It is not sent any more. */
static void ended(evutil_socket_t fd, short what, void *ctx)
{
    struct staple *s = ctx;

    (void) fd;
    (void) what;
    tls_context_staple(s->context, STR_NONE);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void answered_now(void *ctx, const struct ocsp_asked *what)
{
    take_asked(ctx, what);
}

static bool first_answer(struct staple *s, const struct staple_want *want, char why[256])
{
    struct url_way way = way_of(s);

    if (take_known(s, want->before) || take_kept(s) || !want->wait)
        return true;
    ocsp_ask_now(
        &way, &(struct ocsp_about){.cert = s->own.cert, .issuer = s->own.issuer, .urls = &s->urls},
        answered_now, s);
    if (!s->has)
        snprintf(why, 256, "bad OCSP status update for certificate at '%.80s': %.110s",
                 s->cert_file, buf_cstr(&s->why));
    return s->has;
}

static bool begin(struct staple *s, const struct staple_want *want, char why[256])
{
    if (!tls_context_own(want->context, want->tls, &s->own, why) ||
        !find_place(s, want->store_dir, why) || !first_answer(s, want, why))
        return false;
    if (s->has && s->answer.says != OCSP_SAYS_GOOD && s->ends_server) {
        snprintf(why, 256, "found existing OCSP status for certificate at '%.120s': %s",
                 s->cert_file, ocsp_says_text(s->answer.says));
        return false;
    }
    LOG_INF(s->host.log, "OCSP Stapling enabled for " KIND " connections");
    if (s->has && s->answer.says == OCSP_SAYS_GOOD)
        say_good(s, "Found OCSP status for " KIND " certificate at");
    rest(s, s->has ? pause_s(s) : 0);
    return true;
}

static const char *file_of(const struct tls_options *o)
{
    const char *file = o->ncerts > 0 ? o->certs[0].cert_file : o->cert_file;

    return file != NULL ? file : "";
}

static bool is_wanted(const struct staple_host *host, const struct staple_want *want)
{
    struct x509_st *cert = tls_context_certificate(want->context);
    bool must = cert != NULL && ocsp_must_staple(cert);

    if (must && want->ocsp->mode == OCSP_MODE_NEVER)
        LOG_WRN(host->log, "Certificate at '%s' has MustStaple but OCSP is disabled",
                file_of(want->tls));
    return cert != NULL && want->ocsp->mode != OCSP_MODE_NEVER &&
           (must || want->ocsp->mode == OCSP_MODE_ALWAYS);
}

bool staple_open(const struct staple_host *host, const struct staple_want *want,
                 struct staple **out, char why[256])
{
    struct staple *s;

    *out = NULL;
    if (!is_wanted(host, want))
        return true;
    s = mem_zalloc(sizeof(*s));
    s->host = *host;
    s->context = tls_context_get(want->context);
    s->cert_file = mem_strdup(file_of(want->tls));
    s->ends_server = want->ocsp->mode == OCSP_MODE_ALWAYS || want->ocsp->mode == OCSP_MODE_MUST;
    str_list_copy(&s->urls, &want->ocsp->urls);
    s->timer = evtimer_new(host->way.base, ask, s);
    s->end = evtimer_new(host->way.base, ended, s);
    if (!begin(s, want, why)) {
        staple_close(s);
        return false;
    }
    *out = s;
    return true;
}

void staple_close(struct staple *s)
{
    if (s == NULL)
        return;
    ocsp_ask_stop(s->ask);
    event_free(s->timer);
    event_free(s->end);
    tls_own_free(&s->own);
    tls_context_put(s->context);
    str_list_free(&s->urls);
    buf_free(&s->why);
    buf_free(&s->der);
    mem_free(s->cert_file);
    mem_free(s->path);
    mem_free(s);
}
