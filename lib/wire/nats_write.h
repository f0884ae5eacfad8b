/*
 * nats_write.h - NATS operations to bytes, into memory of the caller.
 *
 * Every nats_write_x returns the number of bytes written and writes at most the bytes of its
 * nats_x_max with the same lengths, some of them scratch behind the result (WRITE_SLACK: short
 * strings are stored 16 bytes at a time). Nothing is checked: subjects, sids and texts are what the
 * caller validated or owns. No NUL is added. A body is not copied: the caller puts header block,
 * payload and CRLF behind the line, or sends them as slices.
 */
#ifndef WIRE_NATS_WRITE_H
#define WIRE_NATS_WRITE_H

#include "lib/base/fmt.h"
#include "lib/base/str.h"

#include <stddef.h>
#include <stdint.h>

#define NATS_WRITE_SLACK 16u
#define NATS_SIZE_DIGITS 10u /* of a 32-bit size */

#define NATS_PING STR("PING\r\n")
#define NATS_PONG STR("PONG\r\n")
#define NATS_OK STR("+OK\r\n")
#define NATS_CRLF STR("\r\n")

static inline size_t nats_msg_max(size_t subject_n, size_t sid_n, size_t reply_n)
{
    return sizeof("HMSG     \r\n") + subject_n + sid_n + reply_n + 2 * NATS_SIZE_DIGITS +
           NATS_WRITE_SLACK;
}

static inline size_t nats_pub_max(size_t subject_n, size_t reply_n)
{
    return nats_msg_max(subject_n, 0, reply_n);
}

static inline size_t nats_sub_max(size_t subject_n, size_t queue_n, size_t sid_n)
{
    return nats_msg_max(subject_n, sid_n, queue_n);
}

static inline size_t nats_unsub_max(size_t sid_n)
{
    return nats_msg_max(0, sid_n, FMT_U64_MAX);
}

/* Of -ERR, INFO and CONNECT lines around a text of n bytes. */
static inline size_t nats_text_max(size_t n)
{
    return sizeof("CONNECT \r\n") + n + NATS_WRITE_SLACK;
}

struct nats_to {
    struct str subject;
    struct str sid;   /* MSG, HMSG */
    struct str reply; /* n == 0: none */
};

/* "MSG subject sid [reply] size\r\n" */
size_t nats_write_msg(char *out, const struct nats_to *to, uint32_t size);
/* "HMSG subject sid [reply] header total\r\n" */
size_t nats_write_hmsg(char *out, const struct nats_to *to, uint32_t header, uint32_t total);
/* "PUB subject [reply] size\r\n"; to->sid is not used */
size_t nats_write_pub(char *out, const struct nats_to *to, uint32_t size);
/* "HPUB subject [reply] header total\r\n"; to->sid is not used */
size_t nats_write_hpub(char *out, const struct nats_to *to, uint32_t header, uint32_t total);
/* "SUB subject [queue] sid\r\n" */
size_t nats_write_sub(char *out, struct str subject, struct str queue, struct str sid);
/* "UNSUB sid[ max]\r\n"; max 0: none */
size_t nats_write_unsub(char *out, struct str sid, uint64_t max);
/* Between servers: "LMSG subject [reply] size\r\n", and with queues, which have blanks between
 * them, "LMSG subject + reply queues size\r\n" or "LMSG subject | queues size\r\n". With a header
 * of that many bytes: "HMSG subject ... header total\r\n". */
struct nats_leaf_to {
    struct str subject, reply, queues;
};
static inline size_t nats_leaf_msg_max(const struct nats_leaf_to *to)
{
    return nats_msg_max(to->subject.n, to->queues.n, to->reply.n) + 4;
}
size_t nats_write_lmsg(char *out, const struct nats_leaf_to *to, uint32_t header, uint32_t total);
/* "-ERR 'text'\r\n" */
size_t nats_write_err(char *out, struct str text);
/* "INFO json\r\n" and "CONNECT json\r\n" */
size_t nats_write_info(char *out, struct str json);
size_t nats_write_connect(char *out, struct str json);

/*
 * Header blocks that carry a status and no payload are put together from these:
 *
 *     n = nats_write_status(out, 100, STR("Idle Heartbeat"));
 *     n += nats_write_pair_u64(out + n, STR("Nats-Last-Consumer"), seq);
 *     n += nats_write_pairs_end(out + n);
 *
 * The block is n bytes long: header = total = n in the HMSG line, then CRLF once more.
 */
#define NATS_STATUS_MAX(text_n) (sizeof("NATS/1.0 999 \r\n\r\n") + (text_n) + NATS_WRITE_SLACK)
#define NATS_PAIR_MAX(key_n, value_n)                                                              \
    (sizeof(": \r\n\r\n") + (key_n) + (value_n) + NATS_WRITE_SLACK)
/* "NATS/1.0 code[ text]\r\n" (no blank behind the code when the text is empty); 100 <= code <= 999
 */
size_t nats_write_status(char *out, unsigned code, struct str text);
/* "NATS/1.0\r\n" */
size_t nats_write_no_status(char *out);
/* "key: value\r\n" */
size_t nats_write_pair(char *out, struct str key, struct str value);
size_t nats_write_pair_u64(char *out, struct str key, uint64_t value);
/* "\r\n" */
size_t nats_write_pairs_end(char *out);

/* The whole answer to a request nobody takes:
 * "HMSG <reply> <sid> N N\r\nNATS/1.0 503\r\nNats-Subject: <subject>\r\n\r\n\r\n". */
size_t nats_write_no_responders(char *out, struct str reply, struct str sid, struct str subject);

static inline size_t nats_no_responders_max(size_t reply_n, size_t sid_n, size_t subject_n)
{
    return nats_msg_max(reply_n, sid_n, 0) + NATS_STATUS_MAX(0) + NATS_PAIR_MAX(12, subject_n) + 4;
}

#endif
