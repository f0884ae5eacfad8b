/*
 * ack_subject.h - the reply subject of a message that a consumer delivered: where its
 * acknowledgement goes and, for clients, all there is to know about the delivery.
 *
 *     v1, exactly 9 tokens:
 *         $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
 *     v2, 11 tokens and more:
 *         $JS.ACK.<domain or _>.<account hash>.<stream>.<consumer>. the same five [.<anything>...]
 *
 * Both are read; a subject of 10 tokens is neither. The five numbers are decimal, at most 20
 * digits; one that is empty, has another byte or does not fit is no ack subject (the reference
 * server reads such a number as -1 and ignores the ack later).
 *
 * Pure functions over views; nothing allocates.
 */
#ifndef WIRE_ACK_SUBJECT_H
#define WIRE_ACK_SUBJECT_H

#include "lib/base/fmt.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ack_info {
    uint64_t delivered; /* how many times this message was delivered, from 1 */
    uint64_t stream_seq;
    uint64_t consumer_seq;
    int64_t time_ns;  /* of the message, since 1970; not negative */
    uint64_t pending; /* messages the consumer has still to deliver */
};

struct ack_subject {
    struct str domain;       /* v2; n == 0 in v1 and for "_" */
    struct str account_hash; /* v2; n == 0 in v1 */
    struct str stream;
    struct str consumer;
    struct ack_info info;
};

/* Bytes of the prefix "$JS.ACK.<stream>.<consumer>." and of the v2 one. */
static inline size_t ack_prefix_len(size_t stream_n, size_t consumer_n)
{
    return 8 + stream_n + 1 + consumer_n + 1;
}

static inline size_t ack_prefix_v2_len(size_t domain_n, size_t hash_n, size_t stream_n,
                                       size_t consumer_n)
{
    return 8 + (domain_n != 0 ? domain_n : 1) + 1 + hash_n + 1 + stream_n + 1 + consumer_n + 1;
}

/* Bytes that the numbers behind the prefix may need. */
#define ACK_NUMBERS_MAX (5u * FMT_U64_MAX + 4u)

/* Writes the prefix, made once per consumer; returns its length as above. */
size_t ack_prefix_write(char *out, struct str stream, struct str consumer);
size_t ack_prefix_v2_write(char *out, const struct ack_subject *names);

/* Writes prefix and numbers into out, which has room for prefix.n + ACK_NUMBERS_MAX bytes; returns
 * the length. out may be where the prefix already lies (out == prefix.p): then only the numbers are
 * written. */
size_t ack_subject_write(char *out, struct str prefix, const struct ack_info *info);

#define ACK_TAIL_TOKENS 5u
/* Tokens of the subject from byte `from` on: ACK_TAIL_TOKENS behind the consumer's name in the
 * first form. 0 when it is too short for any. */
unsigned ack_tail_tokens(struct str subject, size_t from);

/* False when the subject is none of the two forms; *out is then unspecified. Views point into
 * subject. */
bool ack_subject_parse(struct str subject, struct ack_subject *out);

#endif
