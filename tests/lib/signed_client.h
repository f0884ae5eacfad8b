/*
 * signed_client.h - a raw client of a server that asks for a signature of its nonce.
 */
#ifndef TESTS_SIGNED_CLIENT_H
#define TESTS_SIGNED_CLIENT_H

#include "tests/lib/raw_client.h"
#include "tests/lib/token.h"

/* Connects, reads INFO, and signs the nonce in it: base64url, which the caller frees. by == NULL:
 * NULL. */
char *signed_open(struct raw_client *r, uint16_t port, const struct signer *by);

#endif
