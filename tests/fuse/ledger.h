/*
 * ledger.h - what a server promised its clients about one stream: messages that it acknowledged or
 * showed, and removals that it confirmed. After a power cut all of it must be true.
 *
 * A message is known by its number, which its payload begins with and its payload's bytes follow
 * from.
 */
#ifndef TESTS_FUSE_LEDGER_H
#define TESTS_FUSE_LEDGER_H

#include "client/midge_js.h"

#define LEDGER_SEQS 600000u
#define LEDGER_KEYS 20u
#define BODY_MAX (400u << 10)

enum fate { FATE_STAYS, FATE_ASKED, FATE_GONE };

struct ledger {
    const char *stream;
    unsigned per_subject;             /* the stream's limit; 0 = none */
    uint32_t number_of[LEDGER_SEQS];  /* by sequence; 0 = nothing was promised */
    uint8_t fate[LEDGER_SEQS];        /* enum fate of the message */
    uint8_t settled[LEDGER_SEQS];     /* enum fate of its place in the consumer */
    uint32_t seen[LEDGER_SEQS];       /* in which reading it was there last */
    uint64_t last;                    /* largest sequence that was promised */
    uint64_t floor_asked, floor_gone; /* purged below: asked for, confirmed */
    uint32_t reading;
    uint64_t live, after; /* of the last reading: messages; first sequence behind it */
};

/* The payload of a message; out holds BODY_MAX bytes. */
size_t body_of(uint32_t number, char *out);
/* The number of a payload, whose every byte is checked. */
uint32_t number_of_body(struct midge_text body);
/* Which key it has in a stream that is limited per subject. */
unsigned key_of(uint32_t number);

/* The server said, or showed, that this sequence is this message. */
void ledger_saw(struct ledger *l, uint64_t seq, uint32_t number);
/* Reads the whole stream and compares; fails the running test where a promise is broken. */
void ledger_verify(struct ledger *l, struct midge *m);
/* Must it be there? */
bool ledger_promised(const struct ledger *l, uint64_t seq);

#endif
