/* headers.c - header blocks for programs: building and looking up. */
#include "client/client_int.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"

static const char first_line[] = "NATS/1.0\r\n";

static bool has_line_end(struct str s)
{
    return str_index(s, '\r') < s.n || str_index(s, '\n') < s.n;
}

int midge_headers_add(struct midge_headers *h, const char *key, struct midge_text value)
{
    struct buf b = {h->p, h->n, h->cap};
    struct str k = str_of(key);

    if (k.n == 0 || str_index(k, ':') < k.n || str_index(k, ' ') < k.n || has_line_end(k) ||
        has_line_end(client_str(value)))
        return MIDGE_INVALID;
    if (b.n == 0)
        buf_puts(&b, first_line);
    else
        b.n -= 2;
    buf_put_str(&b, k);
    buf_puts(&b, ": ");
    buf_put(&b, value.p, value.n);
    buf_puts(&b, "\r\n\r\n");
    *h = (struct midge_headers){b.p, b.n, b.cap};
    return MIDGE_OK;
}

void midge_headers_free(struct midge_headers *h)
{
    mem_free(h->p);
    *h = (struct midge_headers){NULL, 0, 0};
}

struct midge_text midge_header_get(struct midge_text header, const char *key)
{
    return client_text(str_trim(header_get(client_str(header), str_of(key))));
}

bool midge_header_next(struct midge_text header, size_t *at, struct midge_text *key,
                       struct midge_text *value)
{
    struct str k, v;

    if (!header_next(client_str(header), at, &k, &v))
        return false;
    *key = client_text(k);
    *value = client_text(str_trim(v));
    return true;
}
