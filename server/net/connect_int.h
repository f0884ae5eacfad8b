/*
 * connect_int.h - what the files behind CONNECT share (connect.c, connect_user.c, connect_wait.c,
 * connect_reload.c); everybody else finds them in conn.h. All on the connection's worker.
 */
#ifndef MIDGE_SERVER_NET_CONNECT_INT_H
#define MIDGE_SERVER_NET_CONNECT_INT_H

#include "server/net/conn.h"

#include <stdbool.h>
#include <stdint.h>

struct auth_verdict;
struct str_list;

/* A text of the connection's becomes a copy of s, cut to 255 bytes; NULL for an empty one. */
void connect_keep(char **at, struct str s);

/* connect_user.c: o, or a copy in *copy with what the connection's door has of its own. */
const struct options *connect_at_door(const struct conn *c, const struct options *o,
                                      struct options *copy);
/* The kind of connection (USER_STANDARD and so on) as allowed_connection_types names it. */
uint8_t connect_kind(const struct conn *c);
/* Where that user lives (NULL: nobody of a list). NULL: an account of the options that is not there
 * yet, or was never made. */
struct account *connect_account_of(const struct conn *c, const struct user *user);
/* Let in by the options: what an earlier CONNECT's claims said is over. */
void connect_listed(struct conn *c, const struct user *user);

/* connect_wait.c: compares a password with a slow hash on a pool thread; lets in or refuses. */
void connect_slowly(struct conn *c, const struct auth_verdict *v);

/* connect.c: is text one of them? */
bool connect_lists(const struct str_list *l, const char *text);

#endif
