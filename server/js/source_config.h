/*
 * source_config.h - where a stream gets messages from: one entry of `sources`, or `mirror`, of a
 * stream's configuration; and the rules for them.
 *
 * Index name. What tells the sources of a stream apart, and what the messages that came from one
 * carry in Nats-Stream-Source: the origin's name (with a hash of the API prefix when it is
 * external, and of the consumer's name when it brings its own), its filters, its destinations,
 * separated by blanks; several filters are separated by form feeds, "nothing" is ">".
 */
#ifndef JS_SOURCE_CONFIG_H
#define JS_SOURCE_CONFIG_H

#include "lib/json/json.h"
#include "server/js/js_error.h"
#include "server/js/stream_config.h"

#include <stdbool.h>
#include <stdint.h>

struct source_mapping {
    char *src, *dest; /* NULL = everything; unchanged */
};

struct source_config {
    char *name;
    uint64_t opt_start_seq;
    int64_t opt_start_time; /* unix ns; 0 = none */
    char *filter_subject;
    struct source_mapping *mappings;
    size_t nmappings;
    bool external;
    char *api_prefix, *deliver_prefix;
    bool has_consumer;
    char *consumer_name, *consumer_deliver;
};

/* One StreamSource object; NULL or JSON null gives an empty one. False with a text in err. */
bool source_config_read(json_t *object, bool strict, struct source_config *out, struct buf *err);
void source_config_release(struct source_config *c);
/* Is there none: missing, or null? */
bool source_config_none(const json_t *v);
/* Calls each for the mirror and for every source of a valid configuration, until one says false,
 * which it returns then. What each gets ends with the call. */
bool source_configs_each(const struct stream_config *c,
                         bool (*each)(void *ctx, const struct source_config *s, bool mirror),
                         void *ctx);
/* The stream's name, and which server's it is; appended to out. */
void source_config_origin(const struct source_config *c, struct buf *out);
/* The index name, appended to out. */
void source_config_index_name(const struct source_config *c, struct buf *out);
/* "$JS.API." subjects as this source says them: with its API prefix. */
void source_config_api(const struct source_config *c, const char *subject, struct buf *out);

/* Members of the JSON in which it is answered, with a comma in front; nothing when there is none.
 */
void source_config_put_mappings(const struct source_config *c, struct buf *b);
void source_config_put_external(const struct source_config *c, struct buf *b);

/* Are mirror and sources well formed JSON? Text in err else. Brings them into the form in which
 * they are answered. */
bool source_configs_valid(struct stream_config *c, bool strict, struct buf *err);
/* source_rules.c: everything that needs no other stream. */
bool source_configs_check(const struct stream_config *c, struct js_error *err);

/* source_others.c: what the rules want to know of another stream; made of its configuration, kept
 * by the directory.
 */
struct stream_outline {
    int64_t max_msg_size;
    bool allow_direct;
    bool mirror;             /* origins[0] is what it mirrors */
    struct str_list origins; /* of this server, without external ones */
    struct str_list filters; /* of each origin; "" = none */
    struct str_list subjects;
};
void stream_outline_make(const struct stream_config *c, struct stream_outline *out);
void stream_outline_copy(struct stream_outline *to, const struct stream_outline *from);
void stream_outline_free(struct stream_outline *o);

/* The rules that need the others; may set c->mirror_direct. `find` copies an outline; false: there
 * is no such stream. */
bool source_configs_check_others(struct stream_config *c,
                                 bool (*find)(void *ctx, struct str name,
                                              struct stream_outline *out),
                                 void *ctx, struct js_error *err);

/* getHash of the reference server: 8 characters of a SHA-256, for index names and identities. */
#define SOURCE_HASH_LEN 8
void source_hash(struct str text, char out[SOURCE_HASH_LEN + 1]);

#endif
