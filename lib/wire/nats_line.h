/*
 * nats_line.h - the grammar of one control line; the inside of nats_parse, not for others.
 */
#ifndef WIRE_NATS_LINE_H
#define WIRE_NATS_LINE_H

#include "lib/wire/nats_parse.h"

/* Longest verb, "CONNECT". */
#define NATS_VERB_TEXT_MAX 7u

enum nats_line {
    NATS_LINE_OK,    /* a whole line that keeps the rules */
    NATS_LINE_CUT,   /* no end of line yet, and nothing wrong so far */
    NATS_LINE_ERROR, /* *error says what */
};

/* How far to look for a line's end: a line that has none within so many bytes is too long. */
static inline size_t nats_line_max(const struct nats_parser *p)
{
    return NATS_VERB_TEXT_MAX + 1 + (size_t) p->max_control_line + 2;
}

bool nats_verb_has_body(enum nats_verb verb);

/*
 * Reads the line at the front of s, of which the first `searched` bytes are known to hold no LF.
 * With OK, *line_n is its length with its end, and op is complete but for body.p and collected;
 * body.n is what must follow the line (0 for verbs without a body, see nats_verb_has_body). With
 * ERROR, op->args is what the log shows.
 */
enum nats_line nats_line_read(const struct nats_parser *p, struct str s, size_t searched,
                              struct nats_op *op, size_t *line_n, enum nats_error *error);

/* A size as the protocol has it: 1 to 9 digits and nothing else. */
bool nats_read_size(struct str digits, uint32_t *out);

#endif
