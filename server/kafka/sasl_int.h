/*
 * sasl_int.h - the inside of sasl.c, which has the states, and sasl_claims.c.
 */
#ifndef KAFKA_SASL_INT_H
#define KAFKA_SASL_INT_H

#include "lib/io/io.h"
#include "server/kafka/kafka_int.h"
#include "server/kafka/sasl.h"
#include "server/kafka/scram.h"

struct login;

enum sasl_mechanism { MECHANISM_PLAIN, MECHANISM_SCRAM_256, MECHANISM_SCRAM_512 };

enum sasl_state { SASL_NONE, SASL_CHOSEN, SASL_CHALLENGED, SASL_CHECKING, SASL_DONE };

struct sasl {
    struct kafka_conn *conn;
    enum sasl_state state;
    enum sasl_mechanism mechanism;
    bool raw; /* tokens are frames */
    struct scram scram;
    /* Of the user that the client says it is; NULL: a user that is not. */
    struct buf name;
    const struct user *user;
    bool reloaded; /* while it was checked: what it was checked against is not there any more */
    /* What is checked on the pool, and how it came out. */
    struct io_work work;
    struct kafka_request *request;
    char *secret, *hash;
    struct buf final, answer;
    bool nobody; /* it is checked for the time that it takes */
    bool good;
    /* sasl_claims.c's: what user is of, in operator mode, and when it ends. */
    struct login *login;
    struct wheel_timer expiry;
};

/* It is who it says: user. Answers, and is gone when its account takes it not in. */
void sasl_accept(struct sasl *s, struct kafka_request *r);
void sasl_refuse(struct sasl *s, struct kafka_request *r);

/* ---- sasl_claims.c */
/* A token of signed claims, instead of a password: answers, now or later. */
void sasl_take_claims(struct sasl *s, struct kafka_request *r, struct str token);
void sasl_drop_login(struct sasl *s);

#endif
