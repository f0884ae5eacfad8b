/*
 * sasl.h - who a Kafka client is: SASL PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 over the users of the
 * options. A client becomes its user, as a NATS client does by CONNECT, and lives in its account.
 *
 * In operator mode the password is a bearer token (sasl_claims.c).
 *
 * SCRAM needs to know the password: of a user whose password is a bcrypt hash only PLAIN will do.
 * What takes ms (bcrypt, SCRAM's derivation) happens on the pool.
 */
#ifndef KAFKA_SASL_H
#define KAFKA_SASL_H

#include <stdbool.h>
#include <stdint.h>

struct account;
struct kafka_conn;
struct kafka_request;
struct options;
struct permissions;
struct sasl;
struct trust;
struct user;

/* What a connection is before it says anything: a user if none is asked for. */
void sasl_begin(struct kafka_conn *c);
void sasl_free(struct kafka_conn *c);
/* It does not count among the connections of its account any more. */
void sasl_leave(struct kafka_conn *c);
/* The next frame is a token, without a header. */
bool sasl_wants_token(const struct kafka_conn *c);
void sasl_take_token(struct kafka_request *r);
/* After a reload, also of a connection that closes: false when it may not stay. */
bool sasl_still_valid(struct kafka_conn *c, const struct options *before);
/* The account has other claims, which decide about who is in by signed ones; also of a connection
 * that closes. */
void sasl_account_changed(struct kafka_conn *c, const struct account *a, const struct trust *before,
                          const struct trust *now);
/* Most bytes that a record of this client may have, by the claims of its user and the limits of its
 * account; UINT64_MAX: any number. */
uint64_t sasl_payload_most(const struct kafka_conn *c);
/* It is nobody from now on, and what is under way for it may do nothing more: its user and its
 * permissions go with the options that they are of. */
void sasl_revoke(struct kafka_conn *c);

#endif
