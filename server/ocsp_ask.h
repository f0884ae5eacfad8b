/*
 * ocsp_ask.h - asking responders about a certificate, one after the other, until one of them gives
 * an answer that can be read and is signed as it has to be. Main thread.
 */
#ifndef SERVER_OCSP_ASK_H
#define SERVER_OCSP_ASK_H

#include "lib/base/buf.h"
#include "lib/json/json.h"
#include "lib/tls/ocsp.h"
#include "server/url_fetch.h"

struct ocsp_ask;

/* What is asked about; the certificates are counted up. */
struct ocsp_about {
    struct x509_st *cert, *issuer;
    const struct str_list *urls; /* instead of the certificate's; NULL or empty = those; borrowed
                                    for the call */
    bool get_only;               /* no POST */
};

struct ocsp_asked {
    struct str der; /* borrowed; empty = no answer, and why says why */
    struct ocsp_answer answer;
    const char *why;
    bool reached; /* without an answer: somebody answered, but it was of no use */
};
/* Once. */
typedef void ocsp_done(void *ctx, const struct ocsp_asked *what);

/* done comes later, never within this call. Of the way post is ours. */
struct ocsp_ask *ocsp_ask_start(const struct url_way *way, const struct ocsp_about *about,
                                ocsp_done *done, void *ctx);
/* Unix seconds, of this turn of the loop. */
int64_t ocsp_clock(const struct url_way *way);
/* Without a call of done; NULL is nothing. */
void ocsp_ask_stop(struct ocsp_ask *a);
/* Waits for it, at a start: done is called before this returns. */
void ocsp_ask_now(const struct url_way *way, const struct ocsp_about *about, ocsp_done *done,
                  void *ctx);

#endif
