/*
 * token.h - keys and signed claims for tests: what the tools of an operator make.
 */
#ifndef TESTS_TOKEN_H
#define TESTS_TOKEN_H

#include "lib/jwt/jwt.h"

/* Fields of claims that set no limit: of an account's "limits", all of these, and of a user. */
#define UNLIMITED_FIELDS                                                                           \
    "\"subs\":-1,\"data\":-1,\"payload\":-1,\"imports\":-1,\"exports\":-1,\"wildcards\":true,"     \
    "\"conn\":-1,\"leaf\":-1"
#define UNLIMITED "\"limits\":{" UNLIMITED_FIELDS "}"
#define UNLIMITED_USER "\"subs\":-1,\"data\":-1,\"payload\":-1"

struct signer {
    enum nkey_kind kind;
    uint8_t secret[NKEY_SECRET_BYTES];
    char key[NKEY_LEN + 1];
    char seed[NKEY_SEED_LEN + 1];
};

/* The same key for the same kind and number. */
void signer_make(struct signer *s, enum nkey_kind kind, unsigned number);
/* A token: fields of "nats" without braces, and more of the claims around them ("" = none), such as
 * "\"exp\":17". Valid from now. The caller frees. */
char *token_make(const struct signer *by, enum jwt_kind kind, const char *subject, const char *name,
                 const char *nats_fields);
/* With an end and a time of issue; 0: none, now. */
char *token_make_at(const struct signer *by, enum jwt_kind kind, const char *subject,
                    const char *name, const char *nats_fields, int64_t issued, int64_t expires);
/* Signs a header and claims as they are, in the way of version 1 or 2. */
char *token_sign(const struct signer *by, const char *header, const char *claims, int version);
/* The signature of a nonce, in base64url; the caller frees. */
char *token_sign_nonce(const struct signer *by, const char *nonce);

#endif
