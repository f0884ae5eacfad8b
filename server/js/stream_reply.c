/* stream_reply.c - PubAcks and errors, into the hold of the commit that makes them true. */
#include "lib/base/fmt.h"
#include "server/js/ingest.h"
#include "server/js/stream_int.h"

#include <string.h>

/* Room for a prefix, 20 digits and `,"duplicate": true}`: a name or a domain of 255 bytes, each six
 * bytes as \\u00XX. */
#define ACK_MAX 3200u

struct hold *ingest_hold(struct stream *s)
{
    if (s->open_hold == NULL)
        s->open_hold = hold_open(s->js->env->router, s->js->account);
    js_queue(s->js, &s->js->dirty_streams, &s->dirty_link);
    return s->open_hold;
}

void ingest_ack(struct stream *s, struct str to, uint64_t seq, bool duplicate)
{
    static const char mark[] = ",\"duplicate\": true}";
    char text[ACK_MAX];
    size_t n = s->ack_prefix_len;

    ASSERT(n + FMT_U64_MAX + sizeof(mark) <= sizeof(text));
    memcpy(text, s->ack_prefix, n);
    n += fmt_u64(text + n, seq);
    if (duplicate) {
        memcpy(text + n, mark, sizeof(mark) - 1);
        n += sizeof(mark) - 1;
    } else {
        text[n++] = '}';
    }
    hold_add(ingest_hold(s), to, STR_NONE, str_from(text, n));
}

void ingest_ack_value(struct stream *s, struct str to, uint64_t seq, struct str value)
{
    struct buf b = {0};

    buf_put(&b, s->ack_prefix, s->ack_prefix_len);
    buf_put_u64(&b, seq);
    buf_puts(&b, ",\"val\":\"");
    buf_put_str(&b, value);
    buf_puts(&b, "\"}");
    hold_add(ingest_hold(s), to, STR_NONE, buf_str(&b));
    buf_free(&b);
}

void ingest_put_error(struct stream *s, const struct js_error *err, struct buf *b)
{
    buf_putc(b, '{');
    js_error_put(b, err);
    buf_puts(b, ",\"stream\":");
    jput_string(b, str_of(s->config.name));
    buf_puts(b, ",\"seq\":0}");
}

void ingest_error(struct stream *s, struct str to, const struct js_error *err)
{
    struct buf b = {0};

    ingest_put_error(s, err, &b);
    hold_add(ingest_hold(s), to, STR_NONE, buf_str(&b));
    buf_free(&b);
}

void ingest_text(struct stream *s, struct str to, struct str text)
{
    hold_add(ingest_hold(s), to, STR_NONE, text);
    s->open_depends = s->open_depends || s->assigned != s->durable;
}

static void batch_ack(struct stream *s, struct str to, uint64_t seq, bool duplicate, struct str id,
                      uint64_t count)
{
    struct buf b = {0};

    buf_put(&b, s->ack_prefix, s->ack_prefix_len);
    buf_put_u64(&b, seq);
    if (duplicate)
        buf_puts(&b, ",\"duplicate\": true");
    buf_puts(&b, ",\"batch\":");
    jput_string(&b, id);
    buf_puts(&b, ",\"count\":");
    buf_put_u64(&b, count);
    buf_putc(&b, '}');
    ingest_text(s, to, buf_str(&b));
    buf_free(&b);
}

void ingest_batch_ack(struct stream *s, struct str to, uint64_t seq, struct str id, uint64_t count)
{
    batch_ack(s, to, seq, false, id, count);
}

void ingest_batch_duplicate(struct stream *s, struct str to, uint64_t seq, struct str id,
                            uint64_t count)
{
    batch_ack(s, to, seq, true, id, count);
}
