/*
 * model.h - what a store promised: streams, messages, objects, and for each of them what is
 * certain, what is asked for and not answered, and what is gone.
 *
 * A message's bytes are made from a seed, so that the model needs 40 bytes for it and no sequence
 * that is used twice (after a crash lost its first use) can be mistaken. Objects and stream
 * configurations are counters with filling: a full record says "I am version 7", a delta "from 7 to
 * 9", so that a chain of records shows at once whether one is missing, doubled or risen from the
 * dead.
 *
 * The model is plain data and can be copied: every tried power cut gets a copy to judge and to
 * change.
 */
#ifndef TESTS_SIM_MODEL_H
#define TESTS_SIM_MODEL_H

#include "lib/base/prng.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    MSG_COMMITTED = 1, /* said so by committed(), or seen by a reader */
    MSG_SKIP = 2,      /* a sequence without a message */
    MSG_ASKED = 4,     /* its removal was accepted */
    MSG_PURGE = 8,     /* a purge that runs may or may not mean it */
    MSG_REMOVED = 16,  /* its removal was acknowledged: never comes back */
    MSG_LIMIT = 32,    /* a limit took it; may come back after a crash, until a removal or change of
                          limits that was asked for later is acknowledged */
    MSG_TOLD = 64,     /* removed() has named it */
    MSG_PURGED = 256,  /* a purge meant it: its acknowledgement is this message's */
    MSG_MISSED = 128,  /* a reader passed it by: must turn out to be removed */
};
#define MSG_GONE (MSG_SKIP | MSG_ASKED | MSG_PURGE | MSG_REMOVED | MSG_LIMIT)

struct world;

struct model_msg {
    uint64_t seed;
    int64_t ts;
    uint32_t payload;
    uint16_t header;
    uint16_t subject;
    uint16_t flags;
    bool erased;       /* its erasure was answered */
    uint32_t share;    /* of a Kafka batch: what it counts for; 0 = not of one */
    uint32_t limit_at; /* MSG_LIMIT: the stream's `asked` when it was learned of */
    uint64_t behind;   /* MSG_ASKED: the configuration that was under way then; 0 = none */
};

/* A counter whose changes are submitted, then acknowledged. Versions that a crash lost are never
 * used again: what is valid is `acked`, or anything from `lineage` to `submitted`. */
struct model_value {
    uint64_t acked, submitted, lineage;
    uint64_t current; /* what the running store was told last */
};

enum model_life { LIFE_ASKED, LIFE_SURE, LIFE_DYING, LIFE_DEAD };

struct model_stream {
    unsigned key;
    store_object_id id;
    enum store_level level;
    enum model_life life;
    bool failed;
    bool stillborn;    /* its creation was refused: it only waits to be deleted */
    unsigned subjects; /* how many different ones it gets */
    struct model_value config;
    struct store_limits *limits; /* by version of the configuration */
    uint64_t first;              /* sequence of msgs[0] */
    struct model_msg *msgs;
    uint64_t n, cap;    /* assigned */
    uint64_t committed; /* last sequence that is */
    uint64_t floor;     /* ASYNC: what must survive a crash */
    int64_t last_ts;
    uint64_t begun;      /* of commit_begun */
    unsigned removals;   /* single ones and purges in flight */
    uint32_t asked;      /* removals and changes of limits asked for so far */
    uint64_t lost;       /* messages, to decay */
    uint64_t lost_maybe; /* so many more may be counted (judge.c) */
    unsigned erases;     /* removals that erase, asked for so far */
    unsigned unasked;    /* single ones that nobody waits for, since the opening */
    struct world *world;
    /* The running store's; NULL in a copy. */
    struct store_stream *handle;
    unsigned worker;
};

enum { MODEL_OBJECT_KEY = 1000 }; /* keys of objects start here */

struct model_object {
    unsigned key;
    store_object_id id;
    unsigned parent; /* key of the stream + 1; 0 = none */
    unsigned kind;
    enum model_life life;
    struct model_value value;
    bool claimed; /* else it is never attached after a recovery and must stay as it is */
    bool open;    /* the running store has its render function */
    unsigned worker;
};

struct model {
    struct model_stream **streams;
    unsigned nstreams;
    struct model_object **objects;
    unsigned nobjects;
    bool faults;  /* errors were injected since the opening: operations may fail */
    bool full;    /* the disk is full: commits may wait */
    unsigned key; /* number of the encryption key; 0 = none yet */
};

struct model *model_new(void);
struct model *model_copy(const struct model *m);
void model_free(struct model *m);
struct model_stream *model_stream_add(struct model *m, enum store_level level, uint64_t first);
struct model_stream *model_stream_by_id(struct model *m, store_object_id id);
struct model_object *model_object_add(struct model *m);
struct model_object *model_object_by_id(struct model *m, store_object_id id);
/* Is the object below this stream? */
bool model_object_below(const struct model_object *o, const struct model_stream *s);

/* ---- messages -------------------------------------------------------------------------------- */

static inline uint64_t model_last(const struct model_stream *s)
{
    return s->first + s->n - 1;
}
/* NULL when the sequence was never assigned. */
struct model_msg *model_msg(const struct model_stream *s, uint64_t seq);
struct model_msg *model_msg_add(struct model_stream *s);
/* Forgets what was assigned behind last. */
void model_cut(struct model_stream *s, uint64_t last);
bool model_live(const struct model_msg *m);
/* The first live message at or after seq whose subject matches; 0 = none. */
uint64_t model_next_live(const struct model_stream *s, uint64_t seq, struct str filter);

enum { MODEL_SUBJECT = 64 };
/* Text of subject number i of this stream. */
struct str model_subject(const struct model_stream *s, unsigned i, char out[MODEL_SUBJECT]);
/* The bytes that make the message, for an append or a comparison; out has model_msg_size bytes. */
size_t model_msg_size(const struct model_msg *m);
void model_msg_render(const struct model_stream *s, const struct model_msg *m, char *out,
                      struct store_append *a);
/* NULL, or what differs. */
const char *model_msg_differs(const struct model_stream *s, uint64_t seq,
                              const struct store_msg *got);
uint64_t model_msg_bytes(const struct model_stream *s, const struct model_msg *m);

/* Which messages may a limit have taken? allowed[i] for msgs[i], given that those with live[i] are
 * there. */
void model_limits_allow(const struct model_stream *s, const struct store_limits *l, int64_t wall,
                        const bool *live, bool *allowed);
/* NULL, or which limit is exceeded by what is live. */
const char *model_limits_exceeded(const struct model_stream *s, const struct store_limits *l,
                                  const bool *live);

/* ---- values ---------------------------------------------------------------------------------- */

/* Appends a record of the value's version; `delta` from `previous`. */
void model_full(struct buf *out, unsigned key, uint64_t version);
void model_delta(struct buf *out, unsigned key, uint64_t previous, uint64_t version);
/* Follows a full record and its deltas to *version; NULL, or what is wrong. */
const char *model_value_read(unsigned key, struct str full, const struct str *deltas,
                             unsigned ndeltas, uint64_t *version);
bool model_value_valid(const struct model_value *v, uint64_t version);
/* A new version is submitted. */
uint64_t model_value_next(struct model_value *v);
/* Recovery settled on this version. */
void model_value_adopt(struct model_value *v, uint64_t version);

#endif
