/*
 * peer_checks.c - see peer_checks.h.
 *
 * A chain is good when each of its certificates but the last that names a responder is. They are
 * looked at in order, from the one that was shown:
 *
 *     next certificate -> in the cache, and of now -> its status counts
 *                     \-> asked (once for all who wait for it) -> an answer of now: cached, counts
 *                                                            \-> none: the rules say
 *
 * A connection that waits is in the list of the question it waits for. Its owner does not free it
 * before it was told.
 */
#include "server/peer_checks.h"

#include "lib/base/base64.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "server/config/ocsp_options.h"
#include "server/ocsp_ask.h"
#include "server/peer_cache.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ll

struct peer_checks {
    struct peer_checks_host host;
    struct peer_cache *cache;
    struct list questions;
    unsigned waiting;
    bool stopped;

    pthread_mutex_t lock; /* guards asked alone */
    struct peer_check *asked;
};

/* One certificate that is being asked about. */
struct question {
    struct list link;
    struct peer_checks *checks;
    uint8_t key[OCSP_FINGERPRINT_BYTES];
    struct ocsp_ask *ask;
    struct peer_check *waiting;
};

/* ---- telling --------------------------------------------------------------------------------- */

static void run_done(struct env_task *task, struct env *env)
{
    struct peer_check *c = CONTAINER_OF(task, struct peer_check, task);

    (void) env;
    c->done(c);
}

static void tell(struct peer_checks *p, struct peer_check *c, bool good)
{
    p->waiting--;
    c->good = good;
    c->task.run = run_done;
    p->host.post(p->host.ctx, c->worker, &c->task);
}

static void refuse(struct peer_checks *p, struct peer_check *c, const char *why)
{
    c->at = c->link;
    snprintf(c->reason, sizeof(c->reason), "%s", why);
    LOG_DBG(p->host.log, "%s", why);
    tell(p, c, false);
}

/* ---- one certificate ------------------------------------------------------------------------- */

/* Of the certificate it is at, for logs. */
static const char *subject(const struct peer_check *c, struct buf *out)
{
    ocsp_put_name(ocsp_chain_at(c->chain, c->link), false, out);
    return buf_cstr(out);
}

static bool is_of_now(const struct peer_checks *p, const struct peer_check *c,
                      const struct ocsp_answer *a)
{
    const struct ocsp_peer_options *r = c->rules;

    return ocsp_answer_is_current(a, ocsp_clock(&p->host.way), r->skew_ns / SECOND,
                                  r->ttl_ns > SECOND ? r->ttl_ns / SECOND : 1);
}

/* What a status means; NULL = go on. */
static const char *judge_status(struct peer_checks *p, const struct peer_check *c,
                                enum ocsp_says says, char text[64])
{
    struct buf who = {0};
    bool bad = says == OCSP_SAYS_REVOKED ||
               (says == OCSP_SAYS_UNKNOWN && !c->rules->unknown_is_good);
    const char *why = NULL;

    subject(c, &who);
    if (!bad) {
        LOG_DBG(p->host.log, "OCSP verify pass for [%s]", buf_cstr(&who));
    } else {
        LOG_WRN(p->host.log, "OCSP verify fail for [%s] with CA status [%s]", buf_cstr(&who),
                ocsp_says_text(says));
        snprintf(text, 64, "Invalid OCSP response status: %s", ocsp_says_text(says));
        why = text;
    }
    buf_free(&who);
    return why;
}

/* A reason not to let it in, if the rules do not say otherwise. */
static const char *unless_warning(struct peer_checks *p, const struct peer_check *c,
                                  const char *why)
{
    struct buf who = {0};

    if (why == NULL || !c->rules->warn_only)
        return why;
    LOG_WRN(p->host.log, "OCSP verify fail for [%s] but WarnOnly is true so allowing",
            subject(c, &who));
    buf_free(&who);
    return NULL;
}

/* Nobody gave an answer that can be used. */
static const char *without_answer(struct peer_checks *p, const struct peer_check *c,
                                  const struct ocsp_asked *what)
{
    struct buf who = {0};
    const char *why = "Failed OCSP response fetch";

    subject(c, &who);
    if (what->reached) {
        LOG_ERR(p->host.log, "Could not parse OCSP CA response for [%s]: %s", buf_cstr(&who),
                what->why);
        why = "Failed OCSP response parse";
    } else {
        LOG_WRN(p->host.log,
                "Attempt to obtain OCSP response from CA responder for [%s] failed: %s",
                buf_cstr(&who), what->why);
    }
    if (!what->reached && c->rules->allow_when_ca_unreachable && !c->rules->warn_only) {
        LOG_WRN(p->host.log,
                "Failed to obtain OCSP CA response for [%s] but AllowWhenCAUnreachable set; %s",
                buf_cstr(&who),
                c->was_revoked ? "cached revocation exists so rejecting"
                               : "no cached revocation so allowing");
        why = c->was_revoked ? why : NULL;
    }
    buf_free(&who);
    return why;
}

/* What the question brought, for one who waited for it; text is where it may be written. */
static const char *judge_asked(struct peer_checks *p, const struct peer_check *c,
                               const struct ocsp_asked *what, char text[64])
{
    struct buf who = {0};

    if (what->der.n == 0)
        return without_answer(p, c, what);
    if (is_of_now(p, c, &what->answer))
        return judge_status(p, c, what->answer.says, text);
    LOG_WRN(p->host.log, "New OCSP CA response obtained for [%s] but not current",
            subject(c, &who));
    buf_free(&who);
    return "OCSP response not in effectivity window";
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void go_on(struct peer_checks *p, struct peer_check *c);

static void answered(void *ctx, const struct ocsp_asked *what)
{
    struct question *q = ctx;
    struct peer_checks *p = q->checks;
    struct peer_check *c = q->waiting, *next;
    struct buf who = {0};
    char text[64];
    const char *why;

    list_remove(&q->link);
    if (what->der.n > 0 && is_of_now(p, c, &what->answer) && p->cache != NULL) {
        subject(c, &who);
        peer_cache_put(p->cache, q->key, buf_str(&who), what->der, &what->answer,
                       ocsp_clock(&p->host.way));
        buf_free(&who);
    }
    for (; c != NULL; c = next) {
        next = c->next;
        why = unless_warning(p, c, judge_asked(p, c, what, text));
        if (why != NULL) {
            refuse(p, c, why);
        } else {
            c->link++;
            go_on(p, c);
        }
    }
    mem_free(q);
}

static struct question *find_question(struct peer_checks *p, const uint8_t *key)
{
    LIST_FOREACH(it, &p->questions)
    {
        struct question *q = LIST_ENTRY(it, struct question, link);
        if (memcmp(q->key, key, sizeof(q->key)) == 0)
            return q;
    }
    return NULL;
}

static void ask(struct peer_checks *p, struct peer_check *c, const uint8_t *key)
{
    struct question *q = find_question(p, key);
    struct url_way way = p->host.way;

    if (q != NULL) {
        c->next = q->waiting;
        q->waiting = c;
        return;
    }
    q = mem_zalloc(sizeof(*q));
    q->checks = p;
    memcpy(q->key, key, sizeof(q->key));
    c->next = NULL;
    q->waiting = c;
    list_push_back(&p->questions, &q->link);
    way.timeout_ns = c->rules->timeout_ns;
    q->ask = ocsp_ask_start(&way,
                            &(struct ocsp_about){.cert = ocsp_chain_at(c->chain, c->link),
                                                 .issuer = ocsp_chain_at(c->chain, c->link + 1),
                                                 .get_only = true},
                            answered, q);
}

/* An answer of the cache that counts; false: there is none. */
static bool look(struct peer_checks *p, struct peer_check *c, const uint8_t *key,
                 struct ocsp_answer *out)
{
    struct str der = p->cache != NULL ? peer_cache_find(p->cache, key) : STR_NONE;
    struct buf who = {0};
    char why[160];

    if (der.n == 0)
        return false;
    if (!ocsp_read_answer(der, ocsp_chain_at(c->chain, c->link),
                          ocsp_chain_at(c->chain, c->link + 1), out, why)) {
        LOG_DBG(p->host.log, "Invalid cached OCSP response for [%s]", subject(c, &who));
        buf_free(&who);
        peer_cache_drop(p->cache, key);
        return false;
    }
    c->was_revoked |= out->says == OCSP_SAYS_REVOKED;
    if (is_of_now(p, c, out))
        return true;
    peer_cache_drop(p->cache, key);
    return false;
}

static void go_on(struct peer_checks *p, struct peer_check *c)
{
    uint8_t key[OCSP_FINGERPRINT_BYTES];
    struct ocsp_answer a;
    char text[64];
    const char *why;

    for (; c->link + 1 < ocsp_chain_length(c->chain); c->link++) {
        struct x509_st *cert = ocsp_chain_at(c->chain, c->link);
        c->was_revoked = false;
        if (ocsp_each_url(cert, NULL, NULL) == 0)
            continue;
        if (!ocsp_fingerprint(cert, key)) {
            refuse(p, c, "Empty chainlink found");
            return;
        }
        if (!look(p, c, key, &a)) {
            ask(p, c, key);
            return;
        }
        why = unless_warning(p, c, judge_status(p, c, a.says, text));
        if (why != NULL) {
            refuse(p, c, why);
            return;
        }
    }
    tell(p, c, true);
}

/* ---- what workers ask for -------------------------------------------------------------------- */

void peer_checks_judge(struct env *env, struct peer_check *check)
{
    struct peer_checks *p = env->judge_ctx;

    check->worker = env->worker;
    check->link = 0;
    check->at = -1;
    check->reason[0] = '\0';
    pthread_mutex_lock(&p->lock);
    check->next = p->asked;
    p->asked = check;
    pthread_mutex_unlock(&p->lock);
    p->host.wake(p->host.ctx);
}

static void begin(struct peer_checks *p, struct peer_check *c)
{
    p->waiting++;
    if (ocsp_chain_length(c->chain) == 0) {
        LOG_ERR(p->host.log, "Peer certificate is nil, rejecting OCSP peer");
        tell(p, c, false);
    } else if (p->stopped || p->waiting > PEER_CHECKS_MAX) {
        refuse(p, c, "Failed OCSP response fetch");
    } else {
        go_on(p, c);
    }
}

void peer_checks_take(struct peer_checks *p)
{
    struct peer_check *c, *next;

    pthread_mutex_lock(&p->lock);
    c = p->asked;
    p->asked = NULL;
    pthread_mutex_unlock(&p->lock);
    for (; c != NULL; c = next) {
        next = c->next;
        begin(p, c);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

struct peer_checks *peer_checks_open(const struct peer_checks_host *host)
{
    struct peer_checks *p = mem_zalloc(sizeof(*p));

    p->host = *host;
    list_init(&p->questions);
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void peer_checks_cache(struct peer_checks *p, struct peer_cache *cache)
{
    p->cache = cache;
}

void peer_checks_stop(struct peer_checks *p)
{
    struct list *it;

    p->stopped = true;
    while ((it = list_pop_front(&p->questions)) != NULL) {
        struct question *q = LIST_ENTRY(it, struct question, link);
        struct peer_check *c = q->waiting, *next;
        ocsp_ask_stop(q->ask);
        for (; c != NULL; c = next) {
            next = c->next;
            refuse(p, c, "Failed OCSP response fetch");
        }
        mem_free(q);
    }
}

void peer_checks_close(struct peer_checks *p)
{
    if (p == NULL)
        return;
    peer_checks_stop(p);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}
