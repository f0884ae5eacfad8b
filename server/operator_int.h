/*
 * operator_int.h - what the files of operator mode share: the table of accounts by their claims
 * (operator.c), how changes reach the workers (operator_publish.c), and where claims come from
 * (operator_fetch.c); operator_start.c opens, reloads and closes. All of it is the main thread's.
 */
#ifndef SERVER_OPERATOR_INT_H
#define SERVER_OPERATOR_INT_H

#include "lib/base/hmap.h"
#include "server/auth/trust.h"
#include "server/operator.h"
#include "server/resolver.h"
#include "server/wiring.h"
#include "server/worker.h"

#include <event2/event.h>
#include <pthread.h>

#define SECOND 1000000000ll

/* An account that somebody has asked for. */
struct known {
    struct hmap_node node;
    struct claimed *op;
    char name[NKEY_LEN + 1];
    struct account *account;
    struct trust *trust;     /* NULL: there was none, or it was removed */
    struct trust *published; /* what the workers have; freed when they have another */
    char *token;
    struct accounts said; /* one: what trust says */
    size_t index;         /* in all */
    struct list link;     /* in touched, when one of the two is set: */
    bool dirty;           /* its objects have to be made anew */
    bool changed;         /* its connections have to be looked at */
    struct edge *edges;   /* one for each import that its claims name */
    size_t nedges;
    struct event *timer; /* the next time at which something of it expires */
};

/* That somebody imports from a name, by the name; it need not be known. */
struct edge {
    struct hmap_node node;
    struct known *importer;
    char exporter[NKEY_LEN + 1];
};

struct change {
    struct known *known;
    struct trust *before, *now;
};

struct claimed {
    struct operator_host host;
    const struct options *options;
    struct hmap known, edges;
    struct list touched; /* known accounts of which something has changed */
    struct accounts all; /* shallow copies of what each says */
    struct resolver *resolver;
    struct claims_api *api;
    bool running; /* workers have threads */

    pthread_mutex_t lock; /* guards the two lists alone */
    struct account_lookup *asked;
    struct main_task *tasks;

    /* a publication under way */
    struct ask_all ask;
    bool publishing, again;
    struct wiring *before;
    struct surplus *surplus; /* NULL: no account is over a limit */
    struct change *changes;
    size_t nchanges;
    struct account_lookup *parked;              /* lookups that wait for a server of tokens */
    struct account_lookup *waiting, *answering; /* lookups that wait for the next one, for this one
                                                 */
};

/* NULL when nobody has asked for it. */
struct known *claimed_find(const struct claimed *op, const char *name);
struct known *claimed_add(struct claimed *op, const char *name);
/* Its claims are there, and hold. */
bool claimed_holds(const struct claimed *op, const char *name);
/* New claims of an account, or none (t NULL); they are its own then. */
void claimed_take(struct claimed *op, struct known *k, struct trust *t, struct str token);
/* The same by a token; false with a text when it can not be. */
bool claimed_update(struct claimed *op, struct known *k, struct str token, struct buf *err);
void claimed_drop_edges(struct known *k);

/* What was taken reaches the workers; while another publication is under way, behind it. */
void claimed_publish(struct claimed *op);

/* Fetches an account that is not known, or does not hold any more, and what it imports from. */
bool claimed_load(struct claimed *op, const char *name, unsigned depth);
/* env.lookup: any worker's thread. */
void claimed_lookup(struct env *env, struct account_lookup *l);

#endif
