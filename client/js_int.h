/* js_int.h - what the JetStream files of libmidge share. */
#ifndef CLIENT_JS_INT_H
#define CLIENT_JS_INT_H

#include "client/client_int.h"
#include "client/midge_js.h"

#define JS_ERR_STREAM_EXISTS 10058u
#define JS_ERR_NO_STREAM 10059u
#define JS_ERR_NO_CONSUMER 10014u
#define JS_ERR_NO_MESSAGE 10037u
#define JS_ERR_WRONG_LAST 10071u
#define JS_ERR_WRONG_LAST_BARE 10164u

/* Reads an answer. MIDGE_OK with the object in *out (json_decref it); else the error, and *out is
 * NULL. Sets the connection's error text. */
int js_answer(struct midge *m, struct str text, json_t **out);
/* "<prefix>" and the formatted rest. */
void js_subject(struct midge *m, struct buf *b, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Asks and waits. body may be NULL; subject is behind the prefix. out as above, may be NULL. */
int js_call(struct midge *m, const char *subject, struct buf *body, json_t **out);
/* js_call with a subject in printf form; frees body. */
int js_callf(struct midge *m, struct buf *body, json_t **out, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A name that may stand in a subject as one token: not empty, none of " .*>\\/" and no control
 * character. */
bool js_name_valid(const char *name);
/* As client_error: MIDGE_INVALID, "<what> <name> is not a name". */
int js_bad_name(struct midge *m, const char *what, const char *name);

#define JS_FIELDS(t) (t), sizeof(t) / sizeof((t)[0])

/* Reads the fields of an object; MIDGE_REFUSED with a text when it is not as it should be. */
int js_read(struct midge *m, json_t *object, const struct json_field *fields, size_t n, void *out);
/* The list under the key, page after page: each is called with the items. body: fields of the
 * request without braces, may be NULL. */
int js_pages(struct midge *m, const char *subject, const char *body, const char *key,
             void (*each)(void *ctx, json_t *item), void *ctx);

void js_put_stream_config(struct buf *b, const struct midge_stream_config *config);
int js_read_stream_info(struct midge *m, json_t *answer, struct midge_stream_info *info);
void js_put_consumer_config(struct buf *b, const struct midge_consumer_config *config);
int js_read_consumer_info(struct midge *m, json_t *answer, struct midge_consumer_info *info);

/* What an acknowledgement of a publish says; rc, error_code, error as in struct midge_ack. error
 * points into text. */
struct js_ack {
    struct midge_puback ack;
    int rc;
    unsigned error_code;
    char error[200];
};
void js_read_ack(struct str json, struct js_ack *out);
/* Reads a direct get's answer; false when a header is missing or wrong. */
bool js_read_stored(const struct midge_msg *msg, struct midge_stored *out);

/* Polls until *done, until the ordered consumer ends (MIDGE_NOT_FOUND), or until nothing has come
 * for timeout_ms. */
int js_ordered_run(struct midge_ordered *o, const bool *done);

/* Answers flow control, and says whether the message was a status. */
bool js_take_flow(struct midge *m, const struct midge_msg *msg);
/* False when the reply is no ack subject. */
bool js_describe(const struct midge_msg *msg, struct midge_delivery *d);

#endif
