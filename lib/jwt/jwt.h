/*
 * jwt.h - signed claims as the NATS tools write them: what is common to all, and the signature.
 *
 *     token = base64url(header) "." base64url(claims) "." base64url(signature), without padding
 *     header = {"typ":"JWT","alg":"ed25519-nkey"}
 *     claims = {"jti":..,"iat":..,"iss":key,"name":..,"sub":key,"exp":..,"nbf":..,"aud":..,
 *               "nats":{what the kind has, "tags":[..],"type":kind,"version":2}}
 *
 * The issuer in the claims is the key the token is signed with: verified means "that key said so",
 * whether it is trusted is the caller's question. Version 2 signs header and claims with the dot
 * between; version 1 (algorithm "ed25519", kind, tags and issuer_account beside "nats") the claims
 * alone. Kinds have signers: operators sign operators, operators and accounts sign accounts and
 * activations, accounts sign users and authorization responses, servers sign authorization
 * requests. Tokens are at most 1 MiB.
 *
 * Nothing here looks at a clock: validity in time is jwt_issues' business, with the caller's time.
 */
#ifndef JWT_JWT_H
#define JWT_JWT_H

#include "lib/base/buf.h"
#include "lib/base/str.h"
#include "lib/json/json.h"
#include "lib/jwt/nkey.h"

#include <stdbool.h>
#include <stdint.h>

#define JWT_MAX (1u << 20)
#define JWT_VERSION 2

enum jwt_kind {
    JWT_GENERIC,
    JWT_OPERATOR,
    JWT_ACCOUNT,
    JWT_USER,
    JWT_ACTIVATION,
    JWT_REQUEST,  /* authorization_request */
    JWT_RESPONSE, /* authorization_response */
};

struct jwt {
    enum jwt_kind kind;
    int64_t version;
    char *audience, *id, *issuer, *name, *subject, *issuer_account; /* NULL = not said */
    int64_t expires, issued_at, not_before;                         /* unix seconds; 0 = not said */
    struct str_list tags;
    json_t *nats; /* what the kind has; NULL = nothing */
};

/* Decodes and verifies. False with a text in err, and out empty. Blanks and newlines at both ends
 * of the token do no harm. */
bool jwt_decode(struct str token, struct jwt *out, struct buf *err);
/* Of any kind, with any signer: kind is JWT_GENERIC, and nats is not looked into. */
bool jwt_decode_generic(struct str token, struct jwt *out, struct buf *err);
/* The claims as they are written, not looked into: of a token that was decoded before. NULL when
 * they are no JSON; else the caller's. */
json_t *jwt_claims_json(struct str token);
void jwt_free(struct jwt *j);
/* The token of a creds file or of another decorated one: what is between the first two lines of
 * dashes; the whole when there are none. A view of text. */
struct str jwt_undecorate(struct str text);

/* A text of the claims, "" for NULL. */
static inline const char *jwt_text(const char *text)
{
    return text != NULL ? text : "";
}

/*
 * Appends a token. j says audience, expires, not_before, issuer_account of v1 never, name, subject
 * and tags; nats_fields are the fields of "nats" as JSON text without braces ("" = none), to which
 * tags, type and version are added. issuer, jti and iat are filled in from the arguments.
 */
void jwt_encode(struct buf *out, const struct jwt *j, struct str nats_fields,
                enum nkey_kind issuer_kind, const uint8_t secret[NKEY_SECRET_BYTES], int64_t now);

/* ---- what is wrong with claims --------------------------------------------------------------- */

struct jwt_issue {
    char *text;
    bool blocking, time; /* neither: a warning */
};

struct jwt_issues {
    struct jwt_issue *list;
    size_t n;
};

void jwt_issues_error(struct jwt_issues *is, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void jwt_issues_warning(struct jwt_issues *is, const char *text);
/* Expired, or not valid yet, at that time in unix seconds. */
void jwt_issues_time(struct jwt_issues *is, const struct jwt *j, int64_t now);
bool jwt_issues_block(const struct jwt_issues *is, bool with_time);
/* The texts of the blocking ones, "[a b]". */
void jwt_issues_text(const struct jwt_issues *is, struct buf *out);
void jwt_issues_free(struct jwt_issues *is);

#endif
