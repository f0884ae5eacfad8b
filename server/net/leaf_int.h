/*
 * leaf_int.h - what the files about leaf connections share before one is bound: conn_leaf.c (its
 * life), leaf_connect.c and leaf_info.c (what is said), leaf_rules.c (what may cross). On the
 * worker that has them all.
 */
#ifndef NET_LEAF_INT_H
#define NET_LEAF_INT_H

#include "server/net/leaf.h"

struct json_t;

/* Who was refused for what it is comes back after that time. */
#define LEAF_REFUSED_NS 30000000000

/* ---- conn_leaf.c ----------------------------------------------------------------------------- */

/* The connection's timer; not when it is closing. */
void leaf_start_timer(struct conn *c, int64_t ns);
/* It is bound: both sides know account and permissions. */
void leaf_start(struct conn *c);

static inline const char *leaf_or_empty(const char *text)
{
    return text != NULL ? text : "";
}

/* ---- leaf_rules.c ---------------------------------------------------------------------------- */

/* What the connection keeps to by itself; made when there is nothing yet. */
struct permissions *leaf_own_rules(struct conn_leaf *l);
void leaf_deny_jetstream(struct conn_leaf *l);
/* Accepted: those of the user that it was bound to. */
void leaf_take_user(struct conn *c);
/* A list of texts as JSON. False: it is longer than one may be. */
bool leaf_add_rules(const struct json_t *list, struct subject_rules *to);
/* Solicited: those of the hub's INFO, and what our own options deny. False as above. */
bool leaf_take_permissions(struct conn_leaf *l, const struct json_t *o);

/* ---- leaf_info.c ----------------------------------------------------------------------------- */

/* A field of an object under way, with its comma. */
void leaf_put_string(struct buf *b, const char *key, const char *value);
void leaf_put_list(struct buf *b, const char *key, const struct subject_rules *r);
void leaf_put_mode(struct buf *b, const char *key, enum leaf_mode mode);
/* About compression, with what the other side says of it. Who dialled says so before it packs, who
 * was dialled packed. False: it is closing. */
bool leaf_agree(struct conn *c, const char *theirs);

#endif
