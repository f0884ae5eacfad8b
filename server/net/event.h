/*
 * event.h - what the server says in the system account about itself and its clients: connected,
 * disconnected, refused. Nothing is made that nobody hears.
 */
#ifndef NET_EVENT_H
#define NET_EVENT_H

#include "server/core/env.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct conn;
struct options;

/* Who speaks. */
struct event_source {
    const char *name, *id, *version;
    _Atomic uint64_t *seq; /* counts what is said */
    int64_t wall_ns;
};

/* The "server" of events and answers. */
json_t *event_server(const struct event_source *source, const struct options *options);
/* "tags", "metadata" (where there are any) and "feature_flags". */
void event_put_tags(json_t *o, const struct options *options);
void event_put_time(json_t *o, const char *key, int64_t unix_ns);
/* type, id, timestamp. */
json_t *event_begin(const char *type, const char *id, int64_t wall_ns);

/* Does anybody listen to that in the system account? Any thread. */
bool event_wanted(const struct env *env, struct str subject);
/* Publishes there, at once. Own thread. */
void event_publish(struct env *env, struct str subject, struct str reply, struct str payload);
/* An answer with a header of its own; empty = none. */
void event_publish_headed(struct env *env, struct str subject, struct str header,
                          struct str payload);
/* A client as services of other accounts and advisories see it; more than its account and its round
 * trip time when detailed. */
json_t *event_client(const struct conn *c, bool detailed);

/* net's own: these come out with events_say. */
/* type, id, timestamp and server of one; and what it has become, taken over. */
json_t *event_begin_for(struct conn *c, const char *type);
struct net;
void event_say_later(struct net *net, const char *subject, json_t *what);
void event_connect(struct conn *c);
/* Before it leaves its account. */
void event_disconnect(struct conn *c, const char *reason);
/* Told to the system account, and to the account whose matter it was. */
void event_refused(struct conn *c, struct account *whose, const char *reason);
void events_say(struct net *net);
void events_drop(struct net *net);

#endif
