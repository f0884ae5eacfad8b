/* restore_rig.c - see restore_rig.h. */
#include "tests/lib/restore_rig.h"

#include "lib/base/varint.h"
#include "lib/wire/s2.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void backup(struct js_rig *r, const char *more, const char *status, struct buf *out)
{
    char body[256];
    bool end = false;

    raw_send(&r->in, "SUB to.backup 7\r\n");
    raw_fence(&r->in);
    snprintf(body, sizeof(body), "{\"deliver_subject\":\"to.backup\"%s}", more);
    js_ask(r, "$JS.API.STREAM.SNAPSHOT.S", body, "\"state\":{\"messages\":");
    while (!end) {
        struct raw_msg m;
        char text[1024];
        js_next(r, &m);
        end = m.n == m.header_n;
        if (end && m.n > 0) /* nats-server says nothing when it was one chunk */
            ck_assert_msg(strstr(m.body, status) != NULL, "%s", m.body);
        buf_put(out, m.body + m.header_n, m.n - m.header_n);
        if (m.reply[0] != '\0') {
            snprintf(text, sizeof(text), "PUB %s 0\r\n\r\n", m.reply);
            raw_send(&r->in, text);
        }
        free(m.body);
    }
    raw_send(&r->in, "UNSUB 7\r\n");
}

char *ask_bytes(struct raw_client *c, const char *subject, struct str body)
{
    struct raw_msg m;
    char text[1024];

    snprintf(text, sizeof(text), "SUB rr 9\r\nUNSUB 9 1\r\nPUB %s rr %zu\r\n", subject, body.n);
    raw_send(c, text);
    raw_send_bytes(c, body.p, body.n);
    raw_send(c, "\r\n");
    raw_msg(c, &m);
    return m.body;
}

bool restore_is_begun(struct raw_client *c, const char *config, char subject[256])
{
    char body[1024];
    char *answer;
    const char *at;
    bool is;

    snprintf(body, sizeof(body), "{\"config\":{\"name\":\"S\"%s},\"state\":{}}", config);
    answer = raw_ask(c, "$JS.API.STREAM.RESTORE.S", body);
    at = strstr(answer, "\"deliver_subject\":\"");
    ck_assert_msg(at != NULL, "%s", answer);
    snprintf(subject, 256, "%.*s", (int) strcspn(at + 19, "\""), at + 19);
    is = subject[0] != '\0';
    free(answer);
    return is;
}

void restore_begin(struct raw_client *c, const char *config, char subject[256])
{
    ck_assert(restore_is_begun(c, config, subject));
}

char *restore_send(struct raw_client *c, const char *subject, struct str bytes, size_t step)
{
    char *answer;

    while (bytes.n > 0) {
        answer = ask_bytes(c, subject, str_take(bytes, step));
        if (answer[0] != '\0')
            return answer;
        free(answer);
        bytes = str_skip(bytes, bytes.n < step ? bytes.n : step);
    }
    return ask_bytes(c, subject, STR_NONE);
}

char *restore(struct raw_client *c, const char *config, struct str bytes, size_t step)
{
    char subject[256];

    restore_begin(c, config, subject);
    return restore_send(c, subject, bytes, step);
}

void expect(char *answer, const char *want)
{
    ck_assert_msg(strstr(answer, want) != NULL, "wanted %s, got %s", want, answer);
    free(answer);
}

/* ---- made by hand ---------------------------------------------------------------------------- */

static void put_entry(struct buf *b, struct str name, int64_t time, uint64_t seq, struct str header,
                      struct str payload)
{
    varint_put_buf(b, name.n);
    varint_put_buf(b, zigzag(time));
    varint_put_buf(b, seq);
    varint_put_buf(b, header.n);
    varint_put_buf(b, payload.n);
    buf_put_str(b, name);
    buf_put_str(b, header);
    buf_put_str(b, payload);
}

void archive_begin(struct buf *b, unsigned first, unsigned last, unsigned consumers)
{
    char json[256];

    snprintf(json, sizeof(json),
             "{\"messages\":%u,\"bytes\":0,\"first_seq\":%u,\"last_seq\":%u,\"consumer_count\":%u}",
             last - first + 1, first, last, consumers);
    buf_puts(b, "NATSARC1");
    put_entry(b, STR("state.json"), 1, 0, STR_NONE, str_of(json));
}

void archive_consumer(struct buf *b, const char *name, const char *json)
{
    char path[300];

    snprintf(path, sizeof(path), "consumers/%s", name);
    put_entry(b, str_of(path), 1, 0, STR_NONE, str_of(json));
}

void archive_message(struct buf *b, unsigned seq, int64_t time, const char *subject,
                     const char *header, struct str payload)
{
    struct buf h = {0};

    if (header != NULL)
        buf_printf(&h, "NATS/1.0\r\n%s\r\n", header);
    put_entry(b, str_of(subject), time, seq, buf_str(&h), payload);
    buf_free(&h);
}

void archive_end(struct buf *b)
{
    put_entry(b, STR_NONE, 0, 0, STR_NONE, STR_NONE);
}

void archive_frame(struct buf *plain, struct buf *out)
{
    static struct s2_table table;

    s2_put_start(out);
    s2_put_packed(out, buf_str(plain), &table);
}
