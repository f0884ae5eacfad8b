/* ws_client.c - see ws_client.h. Heads are written and read by hand, not by the code under test. */
#include "tests/lib/ws_client.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};

void ws_ask(struct ws_client *w, uint16_t port, const char *path, const char *fields)
{
    char request[4096];

    memset(w, 0, sizeof(*w));
    raw_open(&w->raw, port);
    snprintf(request, sizeof(request),
             "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: websocket\r\n"
             "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
             "Sec-WebSocket-Version: 13\r\n%s\r\n",
             path, port, fields);
    raw_send(&w->raw, request);
}

char *ws_open(struct ws_client *w, uint16_t port, const char *fields)
{
    char *all = NULL, *line;
    size_t n = 0;

    ws_ask(w, port, "/", fields);
    do {
        line = raw_line(&w->raw);
        all = realloc(all, n + strlen(line) + 3);
        n += (size_t) snprintf(all + n, strlen(line) + 3, "%s\r\n", line);
        free(line);
    } while (n < 4 || strcmp(all + n - 4, "\r\n\r\n") != 0);
    ck_assert_msg(strncmp(all, "HTTP/1.1 101 ", 13) == 0, "%s", all);
    return all;
}

void ws_close(struct ws_client *w)
{
    raw_close(&w->raw);
    free(w->text);
    w->text = NULL;
}

void ws_send_frame(struct ws_client *w, unsigned first, const void *payload, size_t n)
{
    uint8_t *frame = malloc(n + 14);
    size_t at = 2;

    frame[0] = (uint8_t) first;
    frame[1] = (uint8_t) ((w->no_mask ? 0 : 0x80) | (n < 126 ? n : n < 65536 ? 126 : 127));
    for (int shift = n < 126 ? -8 : n < 65536 ? 8 : 56; shift >= 0; shift -= 8)
        frame[at++] = (uint8_t) ((uint64_t) n >> shift);
    if (!w->no_mask) {
        memcpy(frame + at, key, 4);
        at += 4;
    }
    for (size_t k = 0; k < n; k++)
        frame[at + k] = (uint8_t) (((const uint8_t *) payload)[k] ^ (w->no_mask ? 0 : key[k % 4]));
    raw_send_bytes(&w->raw, (const char *) frame, at + n);
    free(frame);
}

void ws_say(struct ws_client *w, const char *text)
{
    ws_send_frame(w, 0x82, text, strlen(text));
}

/* A server's frames have no mask. */
static char *take(struct ws_client *w, unsigned *first, size_t *n)
{
    char *head = raw_take(&w->raw, 2), *more;
    unsigned length = (unsigned char) head[1], extra;

    *first = (unsigned char) head[0];
    free(head);
    ck_assert_uint_eq(length & 0x80, 0);
    extra = length == 126 ? 2 : length == 127 ? 8 : 0;
    *n = length;
    if (extra > 0) {
        more = raw_take(&w->raw, extra);
        *n = 0;
        for (unsigned k = 0; k < extra; k++)
            *n = *n << 8 | (unsigned char) more[k];
        free(more);
    }
    return raw_take(&w->raw, *n);
}

char *ws_take_frame(struct ws_client *w, unsigned first, size_t *n)
{
    unsigned got;
    char *payload = take(w, &got, n);

    ck_assert_msg(got == first, "frame %02x \"%s\", wanted %02x", got, payload, first);
    return payload;
}

static void add(struct ws_client *w, const char *payload, size_t n)
{
    w->text = realloc(w->text, w->n + n + 1);
    memcpy(w->text + w->n, payload, n);
    w->n += n;
    w->text[w->n] = '\0';
    w->frames++;
    w->longest = n > w->longest ? n : w->longest;
}

static char *cut(struct ws_client *w, const char *text)
{
    char *at = w->n > 0 ? memmem(w->text, w->n, text, strlen(text)) : NULL, *out;
    size_t n;

    if (at == NULL)
        return NULL;
    n = (size_t) (at - w->text) + strlen(text);
    out = malloc(n + 1);
    memcpy(out, w->text, n);
    out[n] = '\0';
    memmove(w->text, w->text + n, w->n - n + 1);
    w->n -= n;
    return out;
}

char *ws_hear(struct ws_client *w, const char *text)
{
    unsigned first;
    char *out, *payload;
    size_t n;

    while ((out = cut(w, text)) == NULL) {
        payload = take(w, &first, &n);
        ck_assert_msg((first & 0x0f) <= 2, "wanted \"%s\", got frame %02x \"%s\" after \"%s\"",
                      text, first, payload, w->n > 0 ? w->text : "");
        w->packed |= (first & 0x40) != 0;
        add(w, payload, n);
        if (strcmp(payload, "PING\r\n") == 0)
            ws_say(w, "PONG\r\n");
        free(payload);
    }
    return out;
}

void ws_expect_close(struct ws_client *w, unsigned code, const char *text)
{
    unsigned first, got;
    char *payload;
    size_t n;

    for (;;) {
        payload = take(w, &first, &n);
        if (first == 0x88)
            break;
        ck_assert_msg((first & 0x0f) <= 2, "frame %02x", first);
        free(payload);
    }
    got = n >= 2 ? (unsigned) ((unsigned char) payload[0] << 8 | (unsigned char) payload[1]) : 0;
    ck_assert_msg(got == code && strcmp(n >= 2 ? payload + 2 : "", text) == 0,
                  "closed with %u \"%s\", wanted %u \"%s\"", got, n >= 2 ? payload + 2 : "", code,
                  text);
    free(payload);
    raw_expect_end(&w->raw);
}
