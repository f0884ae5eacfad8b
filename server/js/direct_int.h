/*
 * direct_int.h - a direct get on its way, for the files that carry it out: api_direct.c reads the
 * request and finds where it begins, direct_batch.c and direct_multi.c select and read messages,
 * direct_send.c sends them. All of it on the stream's worker.
 */
#ifndef JS_DIRECT_INT_H
#define JS_DIRECT_INT_H

#include "server/js/stream_int.h"

/* Messages sent in one go; then others have their turn. */
#define DIRECT_SLICE 256u

/* What was asked for. */
struct direct_request {
    uint64_t seq, batch, max_bytes, up_to_seq;
    char *last_by_subj, *next_by_subj;
    int64_t start_time, up_to_time;
    bool no_hdr;
    struct str_list multi_last;
};

/* A subject whose last message came behind up_to: which one was it then? */
struct late {
    char *subject;
    uint64_t seq;
};

struct direct_get {
    struct list link;  /* js->gets */
    struct list waits; /* s->gets_behind */
    uint64_t behind;   /* ... for that message */
    struct js *js;
    struct direct_request q;
    struct store_reader reader;
    struct store_req req;
    struct wheel_timer next; /* goes on in the next turn */
    void (*step)(struct direct_get *g);
    bool in_store;  /* req is under way: it is freed when that completes */
    bool in_memory; /* the stream is */
    bool ended;
    char *reply, *stream;
    struct str filter; /* next_by_subj */
    struct str *filters;
    uint64_t sent, bytes, max_bytes;
    uint64_t pending, last; /* Nats-Num-Pending, Nats-Last-Sequence */
    uint64_t counted_to;    /* last sequence that `pending` knows of */
    uint64_t up_to;         /* multi */
    uint64_t *seqs;         /* multi: what is to be sent */
    size_t nseqs, at;       /* at: of the filters, then of seqs */
    size_t looked;          /* subjects, in this turn */
    struct late *late;
    size_t nlate;
};

/* ---- api_direct.c */

/* Ends it, whatever it was waiting for: g is not valid any more. */
void direct_get_end(struct direct_get *g);
/* What `end` leaves when the store still has g->req: its completion calls this. */
void direct_get_release(struct direct_get *g);
/* The last sequence of its stream. */
uint64_t direct_get_last_of(const struct direct_get *g);
/* The first sequence at that time or later, then direct_get_start_reading or
 * direct_get_multi_up_to. */
void direct_get_find_time(struct direct_get *g, int64_t ts);
/* A reader's callback: the current step again. */
void direct_get_ready(struct store_reader *r);
/* The current step again, in the next turn; or when the receiver may have taken something. */
void direct_get_go_on_later(struct direct_get *g);
void direct_get_go_on_when_drained(struct direct_get *g);
static inline bool direct_get_is_multi(const struct direct_get *g)
{
    return g->q.multi_last.n > 0;
}

/* ---- direct_batch.c */

/* One message or a batch, from g->q.seq on. */
void direct_get_start_reading(struct direct_get *g);

/* ---- direct_multi.c */

void direct_get_begin_multi(struct direct_get *g);
/* The time of up_to_time has this sequence, or comes before it. */
void direct_get_multi_up_to(struct direct_get *g, uint64_t seq);

/* ---- direct_send.c */

/* One message to the requester; false when the receiver is nearly full. What was sent is the
 * router's until direct_get_unpin, which every step calls before it ends. */
bool direct_get_send(struct direct_get *g, const struct store_msg *m);
void direct_get_unpin(struct direct_get *g);
/* A status alone: "404 Message Not Found". */
void direct_get_status(struct js *js, struct str to, const char *line);
/* Sends the status, or that of a batch's end, and ends it. */
void direct_get_end_with(struct direct_get *g, const char *line);
void direct_get_end_of_batch(struct direct_get *g);
void direct_get_out_free(struct js *js);

#endif
