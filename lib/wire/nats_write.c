/*
 * nats_write.c - lines from short pieces.
 *
 * A delivery's line is five or six pieces of 1 to 40 bytes. A call of memcpy for each costs as much
 * as the whole line should, so put() stores 16 bytes at once where the source has them and
 * overlapping words where it has less; nothing is read outside the source, and at most
 * NATS_WRITE_SLACK bytes are written behind the line.
 *
 * A MSG line takes 8 ns, with a reply of 36 bytes 9 ns (tests/bench/bench_parse.c).
 */
#include "lib/wire/nats_write.h"

#include "lib/wire/digits.h"

static inline char *put_lit(char *out, const char *text, size_t n)
{
    memcpy(out, text, n);
    return out + n;
}

#define PUT_LIT(out, literal) put_lit(out, literal, sizeof(literal) - 1)

/* n <= 16: two overlapping words of a size that fits. */
static inline void put_short(char *out, const char *p, size_t n)
{
    if (n >= 8) {
        uint64_t head, tail;
        memcpy(&head, p, 8);
        memcpy(&tail, p + n - 8, 8);
        memcpy(out, &head, 8);
        memcpy(out + n - 8, &tail, 8);
    } else if (n >= 4) {
        uint32_t head, tail;
        memcpy(&head, p, 4);
        memcpy(&tail, p + n - 4, 4);
        memcpy(out, &head, 4);
        memcpy(out + n - 4, &tail, 4);
    } else if (n > 0) {
        out[0] = p[0];
        out[n / 2] = p[n / 2];
        out[n - 1] = p[n - 1];
    }
}

static inline char *put(char *out, struct str s)
{
    if (s.n <= 16) {
        put_short(out, s.p, s.n);
    } else if (s.n <= 64) {
        for (size_t at = 0; at < s.n - 16; at += 16)
            memcpy(out + at, s.p + at, 16);
        memcpy(out + s.n - 16, s.p + s.n - 16, 16);
    } else {
        memcpy(out, s.p, s.n);
    }
    return out + s.n;
}

static inline char *put_char(char *out, char c)
{
    *out = c;
    return out + 1;
}

/* " size" */
static inline char *put_size(char *out, uint32_t size)
{
    *out = ' ';
    return out + 1 + digits_put(out + 1, size);
}

/* " text", or nothing for an empty one. */
static inline char *put_optional(char *out, struct str s)
{
    return s.n == 0 ? out : put(put_char(out, ' '), s);
}

size_t nats_write_msg(char *out, const struct nats_to *to, uint32_t size)
{
    char *at = put(PUT_LIT(out, "MSG "), to->subject);
    at = put(put_char(at, ' '), to->sid);
    at = put_size(put_optional(at, to->reply), size);
    return (size_t) (PUT_LIT(at, "\r\n") - out);
}

size_t nats_write_hmsg(char *out, const struct nats_to *to, uint32_t header, uint32_t total)
{
    char *at = put(PUT_LIT(out, "HMSG "), to->subject);
    at = put(put_char(at, ' '), to->sid);
    at = put_size(put_size(put_optional(at, to->reply), header), total);
    return (size_t) (PUT_LIT(at, "\r\n") - out);
}

size_t nats_write_lmsg(char *out, const struct nats_leaf_to *to, uint32_t header, uint32_t total)
{
    char *at = header > 0 ? PUT_LIT(out, "HMSG ") : PUT_LIT(out, "LMSG ");
    at = put(at, to->subject);
    if (to->queues.n > 0)
        at = to->reply.n > 0 ? PUT_LIT(at, " +") : PUT_LIT(at, " |");
    at = put_optional(put_optional(at, to->reply), to->queues);
    if (header > 0)
        at = put_size(at, header);
    return (size_t) (PUT_LIT(put_size(at, total), "\r\n") - out);
}

size_t nats_write_pub(char *out, const struct nats_to *to, uint32_t size)
{
    char *at = put(PUT_LIT(out, "PUB "), to->subject);
    at = put_size(put_optional(at, to->reply), size);
    return (size_t) (PUT_LIT(at, "\r\n") - out);
}

size_t nats_write_hpub(char *out, const struct nats_to *to, uint32_t header, uint32_t total)
{
    char *at = put(PUT_LIT(out, "HPUB "), to->subject);
    at = put_size(put_size(put_optional(at, to->reply), header), total);
    return (size_t) (PUT_LIT(at, "\r\n") - out);
}

size_t nats_write_sub(char *out, struct str subject, struct str queue, struct str sid)
{
    char *at = put_optional(put(PUT_LIT(out, "SUB "), subject), queue);
    at = put(put_char(at, ' '), sid);
    return (size_t) (PUT_LIT(at, "\r\n") - out);
}

size_t nats_write_unsub(char *out, struct str sid, uint64_t max)
{
    char *at = put(PUT_LIT(out, "UNSUB "), sid);
    if (max != 0) {
        at = put_char(at, ' ');
        at += fmt_u64(at, max);
    }
    return (size_t) (PUT_LIT(at, "\r\n") - out);
}

size_t nats_write_err(char *out, struct str text)
{
    char *at = put(PUT_LIT(out, "-ERR '"), text);
    return (size_t) (PUT_LIT(at, "'\r\n") - out);
}

size_t nats_write_info(char *out, struct str json)
{
    return (size_t) (PUT_LIT(put(PUT_LIT(out, "INFO "), json), "\r\n") - out);
}

size_t nats_write_connect(char *out, struct str json)
{
    return (size_t) (PUT_LIT(put(PUT_LIT(out, "CONNECT "), json), "\r\n") - out);
}

size_t nats_write_status(char *out, unsigned code, struct str text)
{
    char *at = PUT_LIT(out, "NATS/1.0");
    at = put_optional(put_size(at, code), text);
    return (size_t) (PUT_LIT(at, "\r\n") - out);
}

size_t nats_write_no_status(char *out)
{
    return (size_t) (PUT_LIT(out, "NATS/1.0\r\n") - out);
}

size_t nats_write_pair(char *out, struct str key, struct str value)
{
    char *at = put(PUT_LIT(put(out, key), ": "), value);
    return (size_t) (PUT_LIT(at, "\r\n") - out);
}

size_t nats_write_pair_u64(char *out, struct str key, uint64_t value)
{
    char *at = PUT_LIT(put(out, key), ": ");
    at += fmt_u64(at, value);
    return (size_t) (PUT_LIT(at, "\r\n") - out);
}

size_t nats_write_pairs_end(char *out)
{
    return (size_t) (PUT_LIT(out, "\r\n") - out);
}

/* The block is 32 bytes around the subject: 14 of status line, 14 of key, 4 of line ends. */
size_t nats_write_no_responders(char *out, struct str reply, struct str sid, struct str subject)
{
    uint32_t block = 32 + (uint32_t) subject.n;
    struct nats_to to = {.subject = reply, .sid = sid};
    size_t n = nats_write_hmsg(out, &to, block, block);
    n += nats_write_status(out + n, 503, STR_NONE);
    n += nats_write_pair(out + n, STR("Nats-Subject"), subject);
    n += nats_write_pairs_end(out + n);
    return n + nats_write_pairs_end(out + n);
}
