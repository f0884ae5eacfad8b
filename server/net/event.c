/*
 * event.c - events about connections, and what all events begin with.
 *
 * A connection may end within a delivery, or while all connections are walked through. So what is
 * to be said waits for the end of the iteration (events_say): publishing it may end other
 * connections.
 */
#include "server/net/event.h"

#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "server/auth/login.h"
#include "server/config/options.h"
#include "server/core/account_wiring.h"
#include "server/net/conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JETSTREAM_ENABLED 1
#define BINARY_STREAM_SNAPSHOT 2
#define ACCOUNT_NRG 4

void event_put_time(json_t *o, const char *key, int64_t unix_ns)
{
    char text[FMT_TIME_MAX];

    fmt_time_rfc3339(text, unix_ns);
    json_object_set_new(o, key, json_string(text));
}

static void put_text(json_t *o, const char *key, const char *value)
{
    json_t *text = value != NULL && value[0] != '\0' ? json_string(value) : NULL;

    if (text != NULL)
        json_object_set_new(o, key, text);
}

static json_t *feature_flags(const struct options *options)
{
    json_t *o = json_object();

    for (unsigned k = 0; k < OPTIONS_FLAGS; k++)
        json_object_set_new(o, options_flag_name(k), json_boolean(options->flags[k]));
    return o;
}

void event_put_tags(json_t *o, const struct options *options)
{
    json_t *tags = json_array(), *metadata = json_object();

    for (size_t i = 0; i < options->tags.n; i++)
        json_array_append_new(tags, json_string(options->tags.items[i]));
    for (size_t i = 0; i + 1 < options->metadata.n; i += 2)
        json_object_set_new(metadata, options->metadata.items[i],
                            json_string(options->metadata.items[i + 1]));
    if (options->tags.n > 0)
        json_object_set(o, "tags", tags);
    if (options->metadata.n > 0)
        json_object_set(o, "metadata", metadata);
    json_decref(tags);
    json_decref(metadata);
    json_object_set_new(o, "feature_flags", feature_flags(options));
}

json_t *event_server(const struct event_source *source, const struct options *options)
{
    json_t *o = json_object();

    json_object_set_new(o, "name", json_string(source->name));
    json_object_set_new(o, "host", json_string(options->host));
    json_object_set_new(o, "id", json_string(source->id));
    put_text(o, "domain", options->domain);
    json_object_set_new(o, "ver", json_string(source->version));
    event_put_tags(o, options);
    json_object_set_new(o, "jetstream", json_boolean(options->jetstream));
    json_object_set_new(o, "flags",
                        json_integer(options->jetstream
                                         ? JETSTREAM_ENABLED | BINARY_STREAM_SNAPSHOT | ACCOUNT_NRG
                                         : 0));
    json_object_set_new(o, "seq",
                        json_integer((json_int_t) (atomic_fetch_add(source->seq, 1) + 1)));
    event_put_time(o, "time", source->wall_ns);
    return o;
}

json_t *event_begin(const char *type, const char *id, int64_t wall_ns)
{
    json_t *o = json_object();

    json_object_set_new(o, "type", json_string(type));
    json_object_set_new(o, "id", json_string(id));
    event_put_time(o, "timestamp", wall_ns);
    return o;
}

bool event_wanted(const struct env *env, struct str subject)
{
    return env->event_seq != NULL && account_interest_any(env->system_account, subject);
}

static void publish(struct env *env, struct account *in, struct msg m)
{
    m.flags = MSG_F_SYSTEM;
    m.origin_worker = env->worker;
    route_publish(env->router, in, &m);
    route_flush(env->router);
}

void event_publish(struct env *env, struct str subject, struct str reply, struct str payload)
{
    publish(env, env->system_account,
            (struct msg){.subject = subject, .reply = reply, .payload = payload});
}

void event_publish_headed(struct env *env, struct str subject, struct str header,
                          struct str payload)
{
    publish(env, env->system_account,
            (struct msg){.subject = subject, .header = header, .payload = payload});
}

struct said {
    struct list link;
    struct account *in;
    char *text; /* jansson's */
    char subject[];
};

static void say_later(struct net *net, struct account *in, const char *subject, json_t *what)
{
    size_t n = strlen(subject) + 1;
    struct said *s = mem_zalloc(sizeof(*s) + n);

    memcpy(s->subject, subject, n);
    s->in = in;
    s->text = json_dumps(what, JSON_COMPACT);
    list_push_back(&net->said, &s->link);
    json_decref(what);
}

void event_say_later(struct net *net, const char *subject, json_t *what)
{
    say_later(net, net->env->system_account, subject, what);
}

static void free_said(struct said *s)
{
    mem_free(s->text);
    mem_free(s);
}

void events_say(struct net *net)
{
    struct list *l;

    while ((l = list_pop_front(&net->said)) != NULL) {
        struct said *s = LIST_ENTRY(l, struct said, link);
        if (s->text != NULL)
            publish(net->env, s->in,
                    (struct msg){.subject = str_of(s->subject), .payload = str_of(s->text)});
        free_said(s);
    }
}

void events_drop(struct net *net)
{
    struct list *l;

    while ((l = list_pop_front(&net->said)) != NULL)
        free_said(LIST_ENTRY(l, struct said, link));
}

/* ---- connections ----------------------------------------------------------------------------- */

static void put_rtt(json_t *o, const struct conn *c)
{
    if (c->rtt_ns > 0)
        json_object_set_new(o, "rtt", json_integer(c->rtt_ns));
}

static void put_kind(json_t *o, const struct conn *c)
{
    json_object_set_new(o, "kind", json_string(c->leaf != NULL ? "Leafnode" : "Client"));
    if (c->leaf == NULL)
        json_object_set_new(o, "client_type",
                            json_string(c->door == NET_WEBSOCKET ? "websocket" : "nats"));
}

static void put_names(json_t *o, const struct conn *c)
{
    put_text(o, "user", c->user);
    put_text(o, "name", c->name);
    put_text(o, "lang", c->lang);
    put_text(o, "ver", c->version);
}

/* Of signed claims. */
static void put_claims(json_t *o, const struct conn *c)
{
    const struct login *l = connect_login(c);
    json_t *tags;

    if (l == NULL)
        return;
    put_text(o, "issuer_key", l->issuer != NULL ? l->issuer : l->user.account);
    if (l->tags.n == 0)
        return;
    tags = json_array();
    for (size_t i = 0; i < l->tags.n; i++)
        json_array_append_new(tags, json_string(l->tags.items[i]));
    json_object_set_new(o, "tags", tags);
}

static void put_origin(json_t *o, const struct conn *c)
{
    event_put_time(o, "start", c->start);
    put_text(o, "host", c->peer.host);
    json_object_set_new(o, "id", json_integer((json_int_t) c->cid));
}

json_t *event_client(const struct conn *c, bool detailed)
{
    json_t *o = json_object();

    if (detailed)
        put_origin(o, c);
    json_object_set_new(o, "acc", json_string(c->account->name));
    if (detailed)
        put_names(o, c);
    put_rtt(o, c);
    if (!detailed)
        return o;
    json_object_set_new(o, "server", json_string(c->net->env->server_name));
    put_claims(o, c);
    put_kind(o, c);
    return o;
}

static json_t *client(const struct conn *c, int64_t stop)
{
    json_t *o = json_object();

    put_origin(o, c);
    json_object_set_new(o, "acc", json_string(c->account->name));
    put_names(o, c);
    if (stop != 0)
        put_rtt(o, c);
    if (stop != 0)
        event_put_time(o, "stop", stop);
    put_text(o, "jwt", c->jwt);
    put_claims(o, c);
    put_text(o, "name_tag", connect_account_tag(c->account));
    put_kind(o, c);
    return o;
}

static json_t *counts(uint64_t msgs, uint64_t bytes)
{
    json_t *o = json_object();

    json_object_set_new(o, "msgs", json_integer((json_int_t) msgs));
    json_object_set_new(o, "bytes", json_integer((json_int_t) bytes));
    return o;
}

json_t *event_begin_for(struct conn *c, const char *type)
{
    const struct env *env = c->net->env;
    char id[NUID_LEN + 1];
    int64_t now = io_wall(env->io);
    json_t *o;

    nuid_next(&c->net->event_ids, id);
    o = event_begin(type, id, now);
    json_object_set_new(o, "server",
                        event_server(&(struct event_source){.name = env->server_name,
                                                            .id = env->server_id,
                                                            .version = env->version,
                                                            .seq = env->event_seq,
                                                            .wall_ns = now},
                                     env->options));
    return o;
}

void event_connect(struct conn *c)
{
    struct env *env = c->net->env;
    char subject[300];
    json_t *o;

    snprintf(subject, sizeof(subject), "$SYS.ACCOUNT.%.256s.CONNECT", c->account->name);
    if (!event_wanted(env, str_of(subject)))
        return;
    o = event_begin_for(c, "io.nats.server.advisory.v1.client_connect");
    json_object_set_new(o, "client", client(c, 0));
    event_say_later(c->net, subject, o);
}

static void say_end(struct conn *c, struct account *in, const char *subject, const char *reason)
{
    struct env *env = c->net->env;
    json_t *o;

    if (env->event_seq == NULL || !account_interest_any(in, str_of(subject)))
        return;
    o = event_begin_for(c, "io.nats.server.advisory.v1.client_disconnect");
    json_object_set_new(o, "client", client(c, io_wall(env->io)));
    json_object_set_new(o, "sent", counts(c->in_msgs, c->in_bytes));
    json_object_set_new(o, "received", counts(c->out_msgs, c->out_bytes));
    json_object_set_new(o, "reason", json_string(reason));
    say_later(c->net, in, subject, o);
}

void event_disconnect(struct conn *c, const char *reason)
{
    char subject[300];

    if (!c->in_account)
        return;
    snprintf(subject, sizeof(subject), "$SYS.ACCOUNT.%.256s.DISCONNECT", c->account->name);
    say_end(c, c->net->env->system_account, subject, reason);
}

void event_refused(struct conn *c, struct account *whose, const char *reason)
{
    char subject[160];

    say_end(c, whose, "$SYS.ACCOUNT.CLIENT.AUTH.ERR", reason);
    snprintf(subject, sizeof(subject), "$SYS.SERVER.%s.CLIENT.AUTH.ERR", c->net->env->server_id);
    say_end(c, c->net->env->system_account, subject, reason);
}
