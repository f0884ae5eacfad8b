/*
 * kafka_tls.h - TLS between a Kafka client's socket and its frames, over the sessions of NATS
 * clients (server/net/tls.h), with the certificates and rules of the server's tls block.
 *
 *     receive --records--> plain bytes --> frames          answers in out --> records in wire
 */
#ifndef KAFKA_KAFKA_TLS_H
#define KAFKA_KAFKA_TLS_H

#include "lib/base/str.h"

#include <stdbool.h>

struct kafka_conn;

/* When the listener has TLS. */
void kafka_tls_begin(struct kafka_conn *c);
void kafka_tls_free(struct kafka_conn *c);
/* Bytes from the socket; plain ones go to kafka_conn_take. */
void kafka_tls_take(struct kafka_conn *c, struct str bytes);
/* What is in out becomes records in wire. False: it can not be sent. */
bool kafka_tls_encrypt(struct kafka_conn *c);

#endif
