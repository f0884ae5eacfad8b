/*
 * api_int.h - a request on its way through the API, from the subject it came on to its answer, and
 * the handlers of all requests. A request is worked on where its handler has taken it (api_go_to)
 * and lives until it was answered.
 */
#ifndef JS_API_INT_H
#define JS_API_INT_H

#include "lib/json/json.h"
#include "server/js/js_int.h"
#include "server/js/request_shapes.h"

struct consumer;
struct stream;
struct stream_change;
struct stream_config;

#define API_TOKENS 4
/* Subjects in one stream info. */
#define SUBJECTS_PAGE 100000u

/* One request on its way; lives until it was answered. It may move between workers (api_go_to):
 * then it is worked on there. */
struct api_request {
    struct env_task task;
    struct account *account;   /* whose */
    struct js *js;             /* where it is being worked on */
    uint64_t behind;           /* the message that it has waited for; 0 = none */
    uint64_t patience;         /* no wait for a sync begins from then on; 0 = there was none */
    struct list link;          /* js->requests */
    struct js_server *counted; /* there; NULL = nowhere */
    char *subject, *reply;
    struct buf body;
    struct buf header;
    handle client;  /* who asks, on a worker that is known at the beginning */
    struct buf who; /* that, as JSON, when somebody wants to know */
    const struct api_handler *handler;
    struct str tokens[API_TOKENS]; /* what the handler's wildcards matched: views into subject */
    unsigned ntokens;
    struct buf out;               /* fields of the answer, each preceded by a comma */
    struct buf out_header;        /* of the answer; mostly empty */
    struct buf extra;             /* scratch of handlers: a second part of the answer */
    struct js_error error;        /* the answer instead, where it is given later (api_release) */
    struct stream_change *change; /* of a create or update; freed with the request */
    uint64_t sum[8];              /* scratch of handlers that visit all workers */
    uint64_t offset;              /* of a list */
    struct str_list names;
    size_t at; /* scratch */
};

struct api_handler {
    const char *subject; /* behind $JS.API., with * and a last > */
    const char *type;    /* io.nats.jetstream.api.v1.<type>_response */
    bool registrar;      /* runs on worker 0; else on the worker of the stream in tokens[0] */
    void (*run)(struct api_request *r);
    const char *failed; /* fields that answers have also when they are errors, or NULL */
};

extern const struct sink_ops api_sink_ops;
void api_listen(struct js *js);
void api_stop(struct js *js);
void api_request_free(struct api_request *r);
/* Answers with the collected fields, or with an error; frees the request. */
void api_reply(struct api_request *r);
void api_error(struct api_request *r, const struct js_error *err);
void api_error_kind(struct api_request *r, enum js_error_kind kind);
/* Goes on with `run` on another worker (or here, later). */
void api_go_to(struct api_request *r, uint32_t worker,
               void (*run)(struct env_task *task, struct env *env));
/* What a posted request begins with: NULL when JetStream is ending here, and the request was freed.
 */
struct api_request *api_request_of(struct env_task *task, struct env *env);
/* A stream that is not durable yet is not spoken of: true, and `run` will be called when it is, or
 * has failed. */
/* A request that asks for subjects which are not known yet runs again when they are. */
bool api_waits_for_index(struct api_request *r, struct stream *s);
bool api_waits_for_subjects(struct api_request *r, struct stream *s, const struct str *subjects,
                            unsigned n);
bool api_waits_for_stream(struct api_request *r, struct stream *s,
                          void (*run)(struct env_task *task, struct env *env));
/* The stream exists durably, or never will: requests that waited for that run again. */
void api_created(struct stream *s);
/* Runs the handler of a request that was posted, on the worker of its stream. */
void api_run_here(struct env_task *task, struct env *env);
/* api_catch_up.c: as api_stream; NULL also when the request has to wait, and comes again. */
struct stream *api_stream_caught_up(struct api_request *r);
/* Does it have to wait for what is on its way to this stream? Then `run` comes in due time. Once,
 * unless `behind` is set back to 0. */
bool api_waits_for_sync(struct api_request *r, struct stream *s,
                        void (*run)(struct env_task *task, struct env *env));
void stream_behind_init(struct stream *s);
/* Somebody is about to wait: no longer than a moment. */
void stream_behind_wait(struct stream *s);
/* More is durable, or nothing is on its way any more. */
void stream_caught_up(struct stream *s);
void stream_behind_end(struct stream *s);
/* Is the stream in tokens[0], or that consumer of it, offline? Then it has been answered. */
bool api_is_offline(struct api_request *r, struct str consumer);
/* The configuration that a create or update carries. */
void api_change_free(struct stream_change *ch);
/* Ends the claims of the stream in tokens[0] on worker 0 and answers there: with r->error, or with
 * the collected fields. Creations that waited for that begin. */
void api_release(struct api_request *r);
/* The stream in tokens[0], or NULL after having answered 10059, or 10194 when it is offline. */
struct stream *api_stream(struct api_request *r);
/* The consumer in tokens[1], or NULL: answered, or to be run again (api_waits_for_consumer). */
struct consumer *api_consumer(struct api_request *r, struct stream *s);
/* A consumer that is not durable yet is not spoken of: the request runs again when it is, or has
 * failed. */
bool api_waits_for_consumer(struct api_request *r, struct consumer *c);
/* Its info, as fields behind others. */
void api_put_consumer(struct api_request *r, struct consumer *c);
/* True when the body is empty; else answers 10038. */
bool api_expect_empty(struct api_request *r);
/* The body as a JSON object into out by the table; empty bodies leave it alone. Answers 10025 and
 * returns false otherwise. */
bool api_read_body(struct api_request *r, const struct json_shape *shape,
                   const struct json_field *fields, size_t n, void *out);
/* ... and unknown fields are nothing, whatever the configuration says. */
bool api_read_body_lax(struct api_request *r, const struct json_shape *shape,
                       const struct json_field *fields, size_t n, void *out);
/* The same for requests that may do without: a body that is no JSON object or array is ignored. */
bool api_read_options(struct api_request *r, const struct json_shape *shape,
                      const struct json_field *fields, size_t n, void *out);
/* Are the values in the body of the right kinds? A text in err else; an empty body is right. */
bool api_check_kinds(struct api_request *r, const struct json_shape *shape, struct js_error *err);
/* Does the header ask for no higher API level than ours? */
bool api_level_ok(struct str header);
/* What is left when the worker ends. */
void direct_free_all(struct js *js);
/* Direct gets that waited for a message up to that one go on. */
void direct_let_go(struct stream *s, uint64_t up_to);
/* Nothing, or an object without members? */
bool api_body_empty(const struct api_request *r);
/* {"offset":N} of lists. */
bool api_read_offset(struct api_request *r);

/* Worker 0: what other streams' rules may ask of this configuration. */
void api_describe(struct js *js, const struct stream_config *config);
/* Worker 0: the rules that need other streams; may set config->mirror_direct. */
bool api_check_origins(struct js *js, struct stream_config *config, struct js_error *err);
/* Worker 0: a name or subjects are free: creations that waited for that begin. */
void api_retry_parked(struct js *js);
/* A stream like this, new in the store: s->store is set when it is ERR_OK. It exists when req
 * completes. */
enum err api_make_stream(struct stream *s, struct store_req *req);
enum js_error_kind api_no_room(const struct stream_config *c);
/* The stream's name in the subject, before its configuration is looked at. */
bool api_check_separators(const struct api_request *r, struct js_error *err);
/* Worker 0: may the account have one more stream, and this one? */
bool api_fits_account(const struct js *js, const struct stream_config *c, struct js_error *err);
/* What is asked inside of the server, of this account on this worker; nobody hears the answer. */
void api_ask_inside(struct js *js, struct str subject);

void api_info(struct api_request *r);
/* Of the system account. */
void api_account_purge(struct api_request *r);
void api_stream_create(struct api_request *r);
void api_stream_update(struct api_request *r);
void api_stream_names(struct api_request *r);
void api_stream_list(struct api_request *r);
void api_stream_info(struct api_request *r);
void api_stream_delete(struct api_request *r);
void api_stream_purge(struct api_request *r);
void api_msg_get(struct api_request *r);
void api_msg_delete(struct api_request *r);
void api_consumer_create(struct api_request *r);
void api_consumer_create_named(struct api_request *r);
void api_consumer_create_durable(struct api_request *r);
void api_consumer_names(struct api_request *r);
void api_consumer_list(struct api_request *r);
void api_consumer_info(struct api_request *r);
void api_consumer_delete(struct api_request *r);
void api_consumer_pause(struct api_request *r);
void api_consumer_unpin(struct api_request *r);
void api_consumer_reset(struct api_request *r);
void api_stream_snapshot(struct api_request *r);
void api_stream_restore(struct api_request *r);
void api_needs_cluster(struct api_request *r);

#endif
