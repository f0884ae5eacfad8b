/* sys_int.h - the inside of the system account. */
#ifndef SYS_SYS_INT_H
#define SYS_SYS_INT_H

#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "lib/base/nuid.h"
#include "lib/base/prng.h"
#include "server/config/options.h"
#include "server/sys/sys.h"

#include <jansson.h>
#include <pthread.h>

#define SYS_INTERESTS_MAX 64u

/* What workers send to the main thread: a request, or an account whose connections have changed. */
struct sys_item {
    struct list link;
    struct sys *sys;
    struct account *changed; /* NULL: a request */
    char *subject, *reply;
    struct buf header, body;
    size_t counted; /* bytes of a request, while it counts; never 0 then */

    /* While it is answered. */
    struct asked asked;
    uint64_t cid;
};

struct sys {
    struct sys_host host;
    struct env *env; /* of worker 0 */
    unsigned workers;
    _Atomic uint64_t seq; /* of what is said */

    struct sink sink; /* on worker 0 */
    struct interest_sub *interest[SYS_INTERESTS_MAX];
    size_t ninterest;

    pthread_mutex_t lock; /* guards these three; held for a list operation */
    struct list arrived;
    unsigned nrequests; /* that have arrived and were not answered yet, and their bytes */
    size_t request_bytes;

    /* Main thread. */
    struct prng prng;
    struct nuid ids;
    struct event *statsz_timer, *conns_timer;
    int64_t statsz_ns; /* until the next */
};

/* sys.c */
void sys_item_free(struct sys_item *i);
/* Publishes on worker 0, from the main thread. */
void sys_publish(struct sys *s, const char *subject, struct str payload);
/* Takes over what. */
void sys_publish_json(struct sys *s, const char *subject, json_t *what);
json_t *sys_server(struct sys *s);
/* Does anybody listen? */
bool sys_wanted(const struct sys *s, const char *subject);

/* Publishes it as the answer to that request, packed as it wants. */
void sys_publish_answer(struct sys_item *i, json_t *what);

/* pack.c: an answer in the encoding that the request's header asks for, behind what out holds, and
 * the header that says so, empty when nothing was asked for. */
void pack_answer(struct str request_header, struct str text, struct buf *header, struct buf *out);

/* request.c: the patterns that requests come in on; each(ctx, pattern). */
void request_patterns(const struct sys *s, void (*each)(void *ctx, const char *pattern), void *ctx);
/* Answers it, now or later; frees it. */
void request_answer(struct sys_item *i);

/* periodic.c */
void periodic_start(struct sys *s);
void periodic_stop(struct sys *s);
void periodic_account_changed(struct sys *s, struct account *a);
/* The account's numbers to that subject, when it has connections. */
void periodic_say_conns(struct sys *s, const char *account, const char *subject);

#endif
