/*
 * account_wiring.h - how accounts hang together: links, by which messages of one account are also
 * messages of another, and mappings, by which a published subject becomes another one.
 *
 * A *stream* link stands in the account that exports: what is published there on its pattern is
 * published in the importing account too, under the subject the import gives it. A *service* link
 * stands in the account that imports: a request on its pattern is published in the exporting
 * account, and its reply subject there is one of the server's own ("_R_.<worker>.<n>"), which leads
 * the answers back (route_link.c). Either way the router of the publishing worker follows the link
 * once per message; nothing subscribes ahead of time, so "no responders" stays true.
 *
 * A wiring is immutable. account_wire puts it in place of the one before, which may be in use until
 * every worker has been in its loop once: the caller frees it then. Circles are refused when the
 * configuration is read; chains deeper than ACCOUNT_LINKS_MAX end there all the same.
 */
#ifndef CORE_ACCOUNT_WIRING_H
#define CORE_ACCOUNT_WIRING_H

#include "lib/base/buf.h"
#include "lib/base/prng.h"
#include "lib/base/str.h"
#include "server/core/account.h"
#include "server/core/transform.h"

#include <stdbool.h>
#include <stddef.h>

/* Links that one message follows, one behind the other. */
#define ACCOUNT_LINKS_MAX 4u

struct account_link {
    struct account *to;
    char *pattern;               /* of subjects in the account it stands in */
    struct transform *transform; /* to the subject there; NULL = the same */
    bool service;
    bool share;        /* of a service: it may know more of the client than its account */
    bool many;         /* of a service: any number of answers */
    bool allow_trace;  /* what a traced message meets at the other end may be told */
    char *latency;     /* of a service: where its account is told how long answers take; NULL */
    unsigned sampling; /* percent of the requests that are measured; 0 = those whose header asks */
    int64_t patience_ns; /* of a service: how long answers may take; between them when many */
};

struct account_way {
    struct transform *transform;
    unsigned below; /* taken when a number from 0 to 99 is below this one and not below the one
                       before */
};

struct account_map {
    char *pattern;
    struct account_way *ways; /* at most 100; with a gap at the end, messages are lost on purpose */
    size_t n;
};

struct account_wiring {
    struct account_link *links;
    struct account_map *maps;
    size_t nlinks, nmaps;
};

/* Owned texts and transforms are freed with it. NULL is harmless. */
void account_wiring_free(struct account_wiring *w);
/* Both append a zeroed entry and return it; it holds until the next. */
struct account_link *account_wiring_link(struct account_wiring *w);
struct account_map *account_wiring_map(struct account_wiring *w);

/* Puts w (NULL = none) in place; returns the one before. Every cached answer is asked for again. */
struct account_wiring *account_wire(struct account *a, struct account_wiring *w);

/* Does some link match that literal subject? Any thread, as the following. */
bool account_links(const struct account *a, struct str subject);
/* Does a service link, what another account answers? */
bool account_imports(const struct account *a, struct str subject);
/* May a link match a subject that begins with prefix + "."? */
bool account_links_below(const struct account *a, struct str prefix);

/* Calls each(ctx, account, subject) for the account itself and for all that its stream links lead a
 * message of that literal subject to, under the subject it gets there. */
void account_reaches(struct account *a, struct str subject,
                     void (*each)(void *ctx, struct account *a, struct str subject), void *ctx);
/* Would anybody get it, there or in those accounts? */
bool account_interest_any(struct account *a, struct str subject);

enum account_mapped { MAPPED_SAME, MAPPED_OTHER, MAPPED_LOST };
/* What a client's publish to this subject becomes; MAPPED_OTHER: appended to out. */
enum account_mapped account_map_subject(const struct account *a, struct str subject,
                                        struct prng *prng, struct buf *out);

#endif
