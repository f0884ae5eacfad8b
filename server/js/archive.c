/* archive.c - entries of archive.h. */
#include "server/js/archive.h"

#include "lib/base/varint.h"

void archive_put_start(struct buf *out)
{
    buf_puts(out, ARCHIVE_MAGIC);
}

void archive_put(struct buf *out, const struct archive_entry *e)
{
    varint_put_buf(out, e->name.n);
    varint_put_buf(out, zigzag(e->time));
    varint_put_buf(out, e->seq);
    varint_put_buf(out, e->header.n);
    varint_put_buf(out, e->payload.n);
    buf_put_str(out, e->name);
    buf_put_str(out, e->header);
    buf_put_str(out, e->payload);
}

void archive_put_end(struct buf *out)
{
    archive_put(out, &(struct archive_entry){0});
}

bool archive_is_end(const struct archive_entry *e)
{
    return e->name.n == 0 && e->seq == 0 && e->time == 0 && e->header.n == 0 && e->payload.n == 0;
}

/* A number that is cut off: more may come, but none has more than VARINT_MAX bytes. */
static enum archive_got take_number(struct str *in, uint64_t *v)
{
    if (varint_take(in, v))
        return ARCHIVE_ENTRY;
    return in->n < VARINT_MAX ? ARCHIVE_MORE : ARCHIVE_BAD;
}

static struct str take_bytes(struct str *in, size_t n)
{
    struct str s = str_take(*in, n);

    *in = str_skip(*in, n);
    return s;
}

enum archive_got archive_take(struct str *in, struct archive_entry *out)
{
    struct str at = *in;
    uint64_t number[5]; /* name, time, sequence, header, payload */

    for (unsigned i = 0; i < 5; i++) {
        enum archive_got got = take_number(&at, &number[i]);
        if (got != ARCHIVE_ENTRY)
            return got;
    }
    if (number[0] > ARCHIVE_NAME_MAX || number[3] > ARCHIVE_BODY_MAX ||
        number[4] > ARCHIVE_BODY_MAX - number[3])
        return ARCHIVE_BAD;
    if (at.n < number[0] + number[3] + number[4])
        return ARCHIVE_MORE;
    out->time = unzigzag(number[1]);
    out->seq = number[2];
    out->name = take_bytes(&at, number[0]);
    out->header = take_bytes(&at, number[3]);
    out->payload = take_bytes(&at, number[4]);
    *in = at;
    return ARCHIVE_ENTRY;
}
