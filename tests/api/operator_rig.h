/*
 * operator_rig.h - a server in operator mode for tests over the wire: keys that all cases use,
 * claims made of them, and clients that come with claims. One server a case; everything fails the
 * test that runs when it does not work.
 */
#ifndef MIDGE_TESTS_API_OPERATOR_RIG_H
#define MIDGE_TESTS_API_OPERATOR_RIG_H

#include "lib/base/buf.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/server_process.h"
#include "tests/lib/token.h"

/* Made by operator_make_keys. */
extern struct signer op, op_key, sys, sys_user, acc_a, acc_b, key_a, user_1, user_2;

void operator_make_keys(void);

struct operator_world {
    struct server_process s;
    char config[256];
    struct buf text;
};

/* Keys, the operator with these fields, and the system account's name; preloads follow, then ready.
 */
void operator_begin(struct operator_world *w, const char *operator_fields);
/* A resolver in memory and its preloads: the system account; the caller adds others and a brace. */
void operator_preloads(struct operator_world *w);
/* One of the preloads; takes the token over. */
void operator_put_preload(struct operator_world *w, const struct signer *a, char *token);
/* What was put into w->text becomes the server's file, and it starts. */
void operator_ready(struct operator_world *w);
void operator_end(struct operator_world *w);
/* Operator, system account and account A with these fields: started. */
void operator_start(struct operator_world *w, const char *fields_of_a);
/* Claims of an account, without limits but those of `more`; the caller frees the token. */
char *operator_account(const struct signer *a, const char *name, const char *more);
/* Claims of a user, by an account or one of its keys; likewise. */
char *operator_user(const struct signer *by, const struct signer *u, const char *fields);
/* A user of a signing key of A. */
char *operator_user_of_key(const struct signer *u, const char *fields);
/* Opens, and sends CONNECT with a token and a signature of the nonce, and PING. */
void operator_connect(struct raw_client *r, const struct operator_world *w,
                      const struct signer *user, const char *token, const char *more);
/* ... that is good: the token is taken over. */
void operator_let_in(struct raw_client *r, const struct operator_world *w,
                     const struct signer *user, char *token);
/* ... that is refused; likewise. */
void operator_kept_out(const struct operator_world *w, const struct signer *user, char *token);
/* A request whose answer has that text. */
void operator_ask(struct raw_client *r, const char *subject, const char *body, const char *wanted);

#endif
