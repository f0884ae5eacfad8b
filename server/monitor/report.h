/*
 * report.h - the server's documents about itself, whoever asks for them: /varz over HTTP and
 * $SYS.REQ.SERVER.PING.VARZ in the system account are one document. Main thread.
 *
 * A document that needs what the workers know is made in two halves: step runs on every worker's
 * thread and copies plain data, done runs on the main thread, merges and answers. The host
 * (server.c) carries the steps there and back.
 */
#ifndef MONITOR_REPORT_H
#define MONITOR_REPORT_H

#include "lib/json/json.h"
#include "server/core/env.h"

#include <stdbool.h>
#include <stdint.h>

struct document;
struct options;
struct reports;

struct monitor_collect {
    /* On each worker's thread, in no order, one worker at a time or several at once: the callee
     * locks or uses env->worker as index. */
    void (*step)(struct monitor_collect *c, struct env *env);
    /* On the main thread, after all steps. */
    void (*done)(struct monitor_collect *c);
};

/* What is known of others' certificates. */
struct monitor_ocsp_cache {
    uint64_t hits, misses, responses, good, revoked, unknown;
};

enum monitor_door { MONITOR_CLIENTS, MONITOR_WEBSOCKET, MONITOR_LEAFS };

struct monitor_host {
    void *ctx;
    unsigned workers;
    void (*collect)(void *ctx, struct monitor_collect *c);
    const struct options *options;
    struct account_set *accounts;
    const struct account *account;        /* the default one */
    const struct account *system_account; /* NULL = none */
    int64_t config_load_wall_ns;
    const char *server_id, *server_name, *version, *git_commit;
    int64_t start_wall_ns;
    const char *io_backend, *io_reason;
    /* Bound address of the client listener. */
    const char *host;
    uint16_t port, http_port, https_port; /* of monitoring: 0 = none */
    /* NULL = healthy, else the text for /healthz. */
    const char *(*unhealthy)(void *ctx);
    /* False: nothing is kept. NULL: likewise. */
    bool (*ocsp_cache)(void *ctx, struct monitor_ocsp_cache *out);
    /* When a listener's first certificate ends, unix ns; 0: it has none. */
    int64_t (*cert_ends)(void *ctx, enum monitor_door door);
    /* The claims that an account has, as a token; NULL: none. Valid until the main loop goes on. */
    const char *(*account_token)(void *ctx, const char *account);
    struct log *log;
};

/* What can be asked of a document: query parameters of HTTP, fields of a request's JSON. Texts are
 * owned; NULL = not given. Each document looks at its own. */
enum { ASKED_OPEN, ASKED_CLOSED, ASKED_ALL };
struct asked {
    char *sort, *user, *account, *filter_subject, *mqtt_client, *test, *name, *stream, *consumer;
    char *group;
    bool auth, subs, subs_detail, unused, accounts, streams, consumers, direct_consumers, config;
    bool leader_only, raft, stream_leader_only, details, all;
    bool js_enabled, js_enabled_only, js_server_only, js_meta_only;
    int64_t offset, limit, state, debug, duration;
    uint64_t cid;
    struct str_list only; /* accounts */

    /* Which servers shall answer; of requests in the system account. */
    char *server_name, *cluster, *host, *domain;
    bool exact_match;
    struct str_list tags;
};

void asked_free(struct asked *a);
/* The body of a request; every document has the same fields, unknown ones are ignored. False with
 * the peer's kind of text in err. */
bool asked_read(struct asked *a, const struct document *d, struct str body, struct buf *err);

/* What became of it. */
struct report {
    const struct document *document;
    json_t *json;      /* borrowed; NULL when there is an error, or a text */
    const char *text;  /* of a document that is none of JSON, else NULL */
    const char *type;  /* of its contents */
    const char *error; /* else NULL */
    int status;        /* of HTTP */
    bool skip;         /* there is nothing to say: no answer at all, where that is possible */
};

struct reports *reports_open(const struct monitor_host *host);
void reports_close(struct reports *r);
/* After a reload; the old ones are not looked at any more. */
void reports_set_options(struct reports *r, const struct options *options);
/* Where monitoring listens, once it does. */
void reports_set_ports(struct reports *r, uint16_t http, uint16_t https);
const struct monitor_host *reports_host(const struct reports *r);

/* By the name that requests have, "VARZ"; NULL when there is none. */
const struct document *document_find(struct str name);
/* Of one account, which asked.account names; SUBSCRIBERS: a number, of asked.test and, when there
 * is one, the queue group asked.name. */
const struct document *document_of_account(struct str name);
/* By the path of HTTP, "/varz". */
const struct document *document_at(const char *path);

/* Makes the document and calls done(ctx, report), now or later. Takes over what *asked owns. */
void report_start(struct reports *r, const struct document *d, struct asked *asked,
                  void (*done)(void *ctx, const struct report *report), void *ctx);

int64_t monitor_wall(void);

#endif
