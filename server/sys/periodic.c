/*
 * periodic.c - what is said without being asked: $SYS.SERVER.<id>.STATSZ, soon after the start and
 * then every ten seconds, and the number of connections of each account but the default one, when
 * it changes and every thirty seconds. Main thread; nothing is collected that nobody hears.
 */
#include "lib/base/mem.h"
#include "server/net/event.h"
#include "server/sys/sys_int.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#define STATSZ_FIRST_NS 250000000ll
#define STATSZ_NS 10000000000ll
#define CONNS_SECONDS 30

/* ---- statsz ---------------------------------------------------------------------------------- */

static void statsz_subject(const struct sys *s, char out[128])
{
    snprintf(out, 128, "$SYS.SERVER.%s.STATSZ", s->env->server_id);
}

static void made_statsz(void *ctx, const struct report *r)
{
    struct sys *s = ctx;
    json_t *o = json_object();
    char subject[128];

    statsz_subject(s, subject);
    json_object_set_new(o, "server", sys_server(s));
    json_object_set(o, "statsz", r->json);
    sys_publish_json(s, subject, o);
}

static void set_timer(struct event *timer, int64_t ns)
{
    struct timeval tv = {.tv_sec = ns / 1000000000, .tv_usec = ns % 1000000000 / 1000};

    event_add(timer, &tv);
}

static void say_statsz(evutil_socket_t fd, short what, void *ctx)
{
    struct sys *s = ctx;
    struct asked nothing = {0};
    char subject[128];

    (void) fd;
    (void) what;
    statsz_subject(s, subject);
    if (sys_wanted(s, subject))
        report_start(s->host.reports, document_find(STR("STATSZ")), &nothing, made_statsz, s);
    s->statsz_ns = s->statsz_ns * 2 < STATSZ_NS ? s->statsz_ns * 2 : STATSZ_NS;
    set_timer(s->statsz_timer, s->statsz_ns);
}

/* ---- connections of an account --------------------------------------------------------------- */

struct saying {
    struct sys *sys;
    char *subjects[2]; /* the second may be NULL */
    bool even_none;    /* also when it has no connections */
};

static void say_to(struct saying *y, json_t *stat)
{
    struct sys *s = y->sys;
    char id[NUID_LEN + 1];
    json_t *o;

    for (size_t i = 0; i < ARRAY_LEN(y->subjects) && y->subjects[i] != NULL; i++) {
        nuid_next(&s->ids, id);
        o = event_begin("io.nats.server.advisory.v1.account_connections", id, monitor_wall());
        json_object_set_new(o, "server", sys_server(s));
        json_object_update(o, stat);
        sys_publish_json(s, y->subjects[i], o);
    }
}

static void made_conns(void *ctx, const struct report *r)
{
    struct saying *y = ctx;
    json_t *stat = json_array_get(json_object_get(r->json, "account_statz"), 0);

    if (stat != NULL &&
        (y->even_none || json_integer_value(json_object_get(stat, "total_conns")) > 0))
        say_to(y, stat);
    mem_free(y->subjects[0]);
    mem_free(y->subjects[1]);
    mem_free(y);
}

static void ask(struct saying *y, const char *account)
{
    struct asked a = {.unused = true};

    str_list_add(&a.only, str_of(account));
    report_start(y->sys->host.reports, document_of_account(STR("STATZ")), &a, made_conns, y);
}

void periodic_say_conns(struct sys *s, const char *account, const char *subject)
{
    struct saying *y = mem_zalloc(sizeof(*y));

    y->sys = s;
    y->subjects[0] = mem_strdup(subject);
    ask(y, account);
}

static void say_conns(struct sys *s, const struct account *a, bool even_none)
{
    char now[300], before[300];
    struct saying *y;

    snprintf(now, sizeof(now), "$SYS.ACCOUNT.%.256s.SERVER.CONNS", a->name);
    snprintf(before, sizeof(before), "$SYS.SERVER.ACCOUNT.%.256s.CONNS", a->name);
    if (!sys_wanted(s, now) && !sys_wanted(s, before))
        return;
    y = mem_zalloc(sizeof(*y));
    y->sys = s;
    y->even_none = even_none;
    y->subjects[0] = mem_strdup(before);
    y->subjects[1] = mem_strdup(now);
    ask(y, a->name);
}

void periodic_account_changed(struct sys *s, struct account *a)
{
    atomic_store(&a->changed, false);
    say_conns(s, a, true);
}

static void say_all_conns(evutil_socket_t fd, short what, void *ctx)
{
    struct sys *s = ctx;
    const struct account *a;

    (void) fd;
    (void) what;
    for (uint32_t i = 0; (a = account_set_get(s->env->accounts, i)) != NULL; i++)
        if (a != s->env->account && atomic_load(&a->connections) > 0)
            say_conns(s, a, false);
}

/* ---- life ------------------------------------------------------------------------------------ */

void periodic_start(struct sys *s)
{
    struct timeval every = {.tv_sec = CONNS_SECONDS};

    s->statsz_ns = STATSZ_FIRST_NS;
    s->statsz_timer = evtimer_new(s->host.base, say_statsz, s);
    s->conns_timer = event_new(s->host.base, -1, EV_PERSIST, say_all_conns, s);
    set_timer(s->statsz_timer, s->statsz_ns);
    event_add(s->conns_timer, &every);
}

void periodic_stop(struct sys *s)
{
    if (s->statsz_timer != NULL)
        event_free(s->statsz_timer);
    if (s->conns_timer != NULL)
        event_free(s->conns_timer);
    s->statsz_timer = s->conns_timer = NULL;
}
