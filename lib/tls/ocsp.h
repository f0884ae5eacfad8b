/*
 * ocsp.h - questions to responders about certificates (RFC 6960) and their answers, as bytes. Pure
 * but for the clock that OpenSSL looks at when it verifies a signer's certificate.
 */
#ifndef TLS_OCSP_H
#define TLS_OCSP_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct x509_st;
struct stack_st_X509;

#define OCSP_FINGERPRINT_BYTES 32u

/* What an answer says of one certificate; times in unix seconds. */
struct ocsp_answer {
    enum ocsp_says { OCSP_SAYS_GOOD, OCSP_SAYS_REVOKED, OCSP_SAYS_UNKNOWN } says;
    int64_t this_update;
    int64_t next_update; /* 0: the responder does not say */
};

const char *ocsp_says_text(enum ocsp_says s); /* "good" */

/* Appends the question, DER. False: the certificates are of no use for it. */
bool ocsp_put_question(struct x509_st *cert, struct x509_st *issuer, struct buf *out);
/* An answer must be about cert, and signed by issuer or by whom it has named for that (extended key
 * usage). Whether it counts now is the caller's business. False with a text in why. */
bool ocsp_read_answer(struct str der, struct x509_st *cert, struct x509_st *issuer,
                      struct ocsp_answer *out, char why[160]);

/* Is it of now? skew: how far clocks may differ; ttl: how long an answer without an end holds, 0 =
 * for ever. Seconds. */
bool ocsp_answer_is_current(const struct ocsp_answer *a, int64_t now, int64_t skew, int64_t ttl);

/* Does the certificate want an answer in every handshake (RFC 7633)? */
bool ocsp_must_staple(struct x509_st *cert);
/* Its responders that speak HTTP; each returns false to stop. The number of those it has. */
size_t ocsp_each_url(struct x509_st *cert, bool (*each)(void *ctx, struct str url), void *ctx);
/* SHA-256 of the whole certificate. */
bool ocsp_fingerprint(struct x509_st *cert, uint8_t out[OCSP_FINGERPRINT_BYTES]);
/* Certificates are counted: one more, one less (NULL is nothing). */
struct x509_st *ocsp_cert_get(struct x509_st *cert);
void ocsp_cert_put(struct x509_st *cert);
bool ocsp_cert_same(const struct x509_st *a, const struct x509_st *b);
/* Of a chain, borrowed; a chain that is NULL has none. */
int ocsp_chain_length(const struct stack_st_X509 *chain);
struct x509_st *ocsp_chain_at(const struct stack_st_X509 *chain, int at);
/* Its subject or its issuer as RFC 2253 writes names; appended. */
void ocsp_put_name(struct x509_st *cert, bool issuer, struct buf *out);

#endif
