/*
 * js_rig.h - a server with JetStream and two connections, for wire-level tests of streams and
 * consumers: `api` asks and publishes, `in` receives (it has subscribed to "in.>"), so that what
 * comes by itself never gets between a question and its answer.
 */
#ifndef TESTS_JS_RIG_H
#define TESTS_JS_RIG_H

#include "tests/lib/raw_client.h"
#include "tests/lib/server_process.h"

struct js_rig {
    struct server_process server;
    struct raw_client api, in;
};

/* i = 0, 1, 2: with 1, 2 and 4 workers. */
void js_rig_start(struct js_rig *r, int i);
/* The same with a configuration file. */
void js_rig_start_conf(struct js_rig *r, int i, const char *conf);
/* Stops (or kills) the server, starts it again in the same directory, and connects. */
void js_rig_restart(struct js_rig *r);
void js_rig_crash(struct js_rig *r);
void js_rig_end(struct js_rig *r);

/* A request whose answer must contain `want`. */
void js_ask(struct js_rig *r, const char *subject, const char *body, const char *want);
/* A publish with header lines ("Key: value\r\n", maybe several; NULL = none). */
void js_pub(struct js_rig *r, const char *subject, const char *lines, const char *body,
            const char *want);
/* n messages "x" to the subject, from sequence `first` on. */
void js_fill(struct js_rig *r, const char *subject, int first, int n);
/* The stream S with these subjects (a JSON list) and more fields (", ..." or ""). */
void js_stream(struct js_rig *r, const char *subjects, const char *more);
/* The consumer C of S: durable, with more fields. */
void js_consumer(struct js_rig *r, const char *more);
/* STREAM.INFO of S, CONSUMER.INFO of C. */
void js_stream_has(struct js_rig *r, const char *want);
void js_consumer_has(struct js_rig *r, const char *want);
/* Asks until the answer contains it; 20 s. For what becomes true by itself. */
void js_await(struct js_rig *r, const char *subject, const char *body, const char *want);

/* Sends a pull request of C with the reply subject in.1, and is sure that it has been taken. */
void js_pull(struct js_rig *r, const char *body);
/* The next message on `in`. */
void js_next(struct js_rig *r, struct raw_msg *m);
/* It is this message of S: subject, stream sequence and delivery count. */
void js_gets(struct js_rig *r, const char *subject, int seq, int deliveries);
/* As js_gets, and answers it with a double ack of this text. */
void js_takes(struct js_rig *r, const char *subject, int seq, int deliveries, const char *ack);
/* It is a status that begins so, for instance "404 No Messages". */
void js_hears(struct js_rig *r, const char *status);
/* A fence: nothing has come. */
void js_silent(struct js_rig *r);

#endif
