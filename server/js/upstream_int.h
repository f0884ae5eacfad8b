/*
 * upstream_int.h - what the parts of upstream.c share; nobody else includes it. All of it on the
 * stream's worker.
 */
#ifndef JS_UPSTREAM_INT_H
#define JS_UPSTREAM_INT_H

#include "server/js/upstream.h"

/* ---- upstream.c */

uint64_t upstream_now(const struct upstream *u);
/* The timer follows the core. */
void upstream_arm(struct upstream *u);
/* false: nobody has received it. */
bool upstream_send(struct upstream *u, struct str subject, struct str reply, struct str header,
                   struct str payload);
struct interest_sub *upstream_listen(struct upstream *u, struct sink *sink, struct str subject);
/* Sets *sub to NULL, which it may be already. */
void upstream_unlisten(struct upstream *u, struct interest_sub **sub);
void upstream_clear_error(struct upstream *u);
/* The consumer is not heard any more; nor what is said about it. */
void upstream_hang_up(struct upstream *u);
/* The attempt has failed: the error is shown, the core knows when to try again. */
void upstream_failed(struct upstream *u, enum js_error_kind kind, const char *text);

/* ---- upstream_ask.c */

extern const struct sink_ops upstream_answers_ops;
/* Asks the origin for a consumer under new names. */
void upstream_ask(struct upstream *u);

/* ---- upstream_take.c */

extern const struct sink_ops upstream_messages_ops;
/* Answers the origin's flow control when what came before it is durable. */
void upstream_answer_flow(struct upstream *u);
/* The stream can not take what came behind `before`: it is asked for again later. */
void upstream_give_back(struct upstream *u, uint64_t before, const struct js_error *err);

/* ---- upstream_direct.c */

void upstream_direct_start(struct upstream *u);
void upstream_direct_stop(struct upstream *u);

#endif
