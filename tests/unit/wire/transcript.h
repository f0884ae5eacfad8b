/*
 * transcript.h - what a parser says about bytes, as text, with the bytes handed over in pieces.
 *
 * Two ways of cutting the same bytes must give the same transcript. Every piece is copied to a
 * block of its own size and overwritten afterwards, so that a view kept too long shows. Used by
 * unit tests and by the fuzz target; aborts when the parser breaks its contract.
 */
#ifndef TESTS_TRANSCRIPT_H
#define TESTS_TRANSCRIPT_H

#include "lib/base/buf.h"
#include "lib/wire/nats_parse.h"

struct transcript {
    struct nats_parser parser;
    struct buf text;
    char *memory; /* given to nats_parse_collect */
    unsigned ops;
    unsigned collects;
    size_t most_bytes; /* the most heap the parser held after a piece */
};

void transcript_init(struct transcript *t, enum nats_role role, struct nats_limits limits);
void transcript_deinit(struct transcript *t);
/* One received piece; false once the parser has failed. */
bool transcript_feed(struct transcript *t, const char *bytes, size_t n);
/* Says in the text whether an operation is cut, or which error there was. */
void transcript_end(struct transcript *t);

#endif
