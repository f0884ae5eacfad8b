/*
 * upstream.h - mirrors and sources of a stream: the driver around upstream_core.h. One struct
 * upstream per mirror or source, on the stream's worker; everything here is called there.
 */
#ifndef JS_UPSTREAM_H
#define JS_UPSTREAM_H

#include "server/core/transform.h"
#include "server/js/source_config.h"
#include "server/js/source_positions.h"
#include "server/js/stream_int.h"
#include "server/js/upstream_core.h"

/* What a commit in flight carries of a source; applied when it is durable. */
struct upstream_commit {
    struct list link;
    uint64_t last; /* of the stream */
    uint64_t sseq; /* of the origin */
};

struct upstream {
    struct list link; /* s->upstreams */
    struct stream *s;
    struct source_config config;
    struct buf name; /* index name */
    bool mirror;
    struct transform **transforms; /* one per mapping; NULL = it only filters */
    struct upstream_core core;
    struct wheel_timer timer;

    /* The request under way and the consumer: made anew for every attempt. */
    char consumer[48], reply[48];
    char *deliver;
    struct sink answers, messages;
    struct interest_sub *answers_interest, *messages_interest;
    bool plain; /* the origin's server is an older one, which knows no consumers of sources */
    struct interest_sub *direct[2]; /* mirror_direct: while it is close behind its origin */
    char *flow_reply;               /* flow control: answered when `flow_after` is durable, with */
    uint64_t flow_after;            /* what had come before it was asked */
    uint64_t flow_seen, flow_dseq;

    char identity[SOURCE_HASH_LEN + 8]; /* of the origin, "" = not known */
    uint64_t begun, durable;            /* position of the last commit that began, and that is
                                           durable */
    struct list commits;                /* struct upstream_commit, oldest first */
    struct js_error error;              /* why the last attempt failed; kind JS_OK = it did not */
    char *error_text;                   /* as the origin has said it, as JSON */
};

/* ---- a stream's upstreams (upstream.c) */

/* The stream is there and listens: begins what its configuration asks for. */
void stream_upstreams_start(struct stream *s);
/* Its configuration has changed. */
void stream_upstreams_change(struct stream *s);
void stream_upstreams_stop(struct stream *s);
/* The stream is being deleted: so are the consumers at its origins. */
void stream_upstreams_leave(struct stream *s);
/* From the store's callbacks, in this order. */
void stream_upstreams_begun(struct stream *s);
void stream_upstreams_committed(struct stream *s);
void stream_upstreams_refused(struct stream *s);
/* ,"mirror":{...} or ,"sources":[...] of a stream info. */
void stream_upstreams_info(struct stream *s, struct buf *out);
/* One message that came from upstream: stored, or why not. A mirror gives its time; seq is what it
 * must get. */
bool stream_take_upstream(struct stream *s, const struct msg *m, int64_t time, bool mirror,
                          struct js_error *err);

/* ---- positions (upstream_positions.c) */

/* A recovered store object. */
void stream_positions_recover(struct stream *s, const struct store_object_view *v);
/* Calls stream_positions_loaded when positions are known; may do so at once. */
void stream_positions_load(struct stream *s);
void stream_positions_loaded(struct stream *s);
void stream_positions_free(struct stream *s);
/* Positions through sequence `through` of the stream: changed entries, written with the next
 * commit. */
void stream_positions_save(struct stream *s, uint64_t through,
                           const struct upstream *const *changed, size_t n);
/* Much was committed since, none of it from a source: the next start should not have to look at it.
 */
bool stream_positions_behind(const struct stream *s);
/* Sets what u has taken (u->durable) and from whom (u->identity), if that is known. */
void stream_positions_of(struct stream *s, struct upstream *u);

#endif
