/* raw_client.c - blocking socket, poll for the deadline. */
#include "tests/lib/raw_client.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 20000

void raw_open(struct raw_client *r, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};

    memset(r, 0, sizeof(*r));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(r->fd, 0);
    setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    ck_assert_int_eq(connect(r->fd, (struct sockaddr *) (void *) &to, sizeof(to)), 0);
}

void raw_close(struct raw_client *r)
{
    close(r->fd);
    free(r->bytes);
    r->bytes = NULL;
}

void raw_send_bytes(struct raw_client *r, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t done = send(r->fd, bytes, n, MSG_NOSIGNAL);
        if (done < 0 && (errno == EPIPE || errno == ECONNRESET))
            return; /* what the server said before it closed is what the test looks at */
        ck_assert_int_gt(done, 0);
        bytes += done;
        n -= (size_t) done;
    }
}

void raw_send(struct raw_client *r, const char *text)
{
    raw_send_bytes(r, text, strlen(text));
}

/* False when the server has closed. */
static bool more(struct raw_client *r)
{
    struct pollfd p = {.fd = r->fd, .events = POLLIN};
    ssize_t n;

    if (r->cap - r->n < 65536) {
        r->cap = r->cap * 2 + 65536;
        r->bytes = realloc(r->bytes, r->cap + 1);
        ck_assert(r->bytes != NULL);
    }
    ck_assert_msg(poll(&p, 1, PATIENCE_MS) == 1, "nothing came; before: \"%.*s\"", (int) r->n,
                  r->bytes);
    n = recv(r->fd, r->bytes + r->n, r->cap - r->n, 0);
    if (n <= 0)
        return false;
    r->n += (size_t) n;
    r->bytes[r->n] = '\0';
    return true;
}

static void consume(struct raw_client *r, size_t n)
{
    memmove(r->bytes, r->bytes + n, r->n - n);
    r->n -= n;
    r->bytes[r->n] = '\0';
}

/* The server's own pings come whenever it likes, between operations. */
static void answer_ping(struct raw_client *r)
{
    while (r->n >= 6 && memcmp(r->bytes, "PING\r\n", 6) == 0) {
        consume(r, 6);
        raw_send(r, "PONG\r\n");
    }
}

static void need(struct raw_client *r, size_t n)
{
    while (r->n < n)
        ck_assert_msg(more(r), "closed after \"%.*s\"", (int) r->n, r->bytes);
}

void raw_expect(struct raw_client *r, const char *text)
{
    size_t n = strlen(text);

    if (n == 0)
        return;
    answer_ping(r);
    while (r->n < n && (r->n == 0 || memcmp(r->bytes, text, r->n) == 0)) {
        ck_assert_msg(more(r), "wanted \"%s\", closed after \"%.*s\"", text, (int) r->n, r->bytes);
        answer_ping(r);
    }
    ck_assert_msg(r->n >= n && memcmp(r->bytes, text, n) == 0, "wanted \"%s\", got \"%.*s\"", text,
                  (int) (r->n < 4000 ? r->n : 4000), r->bytes);
    consume(r, n);
}

void raw_skip(struct raw_client *r, const char *text)
{
    char *at = NULL;

    while (r->n == 0 || (at = memmem(r->bytes, r->n, text, strlen(text))) == NULL)
        ck_assert_msg(more(r), "wanted \"%s\", closed after \"%.*s\"", text, (int) r->n, r->bytes);
    consume(r, (size_t) (at - r->bytes) + strlen(text));
}

char *raw_take(struct raw_client *r, size_t n)
{
    char *out = malloc(n + 1);

    ck_assert(out != NULL);
    need(r, n);
    if (n > 0)
        memcpy(out, r->bytes, n);
    out[n] = '\0';
    if (n > 0)
        consume(r, n);
    return out;
}

char *raw_line(struct raw_client *r)
{
    char *at = NULL, *out;

    answer_ping(r);
    while (r->n == 0 || (at = memmem(r->bytes, r->n, "\r\n", 2)) == NULL) {
        ck_assert_msg(more(r), "wanted a line, closed after \"%.*s\"", (int) r->n, r->bytes);
        answer_ping(r);
    }
    out = raw_take(r, (size_t) (at - r->bytes));
    consume(r, 2);
    return out;
}

void raw_expect_end(struct raw_client *r)
{
    answer_ping(r); /* one that came before what was read last */
    while (more(r))
        answer_ping(r);
    ck_assert_msg(r->n == 0, "wanted the end, got \"%.*s\"", (int) r->n, r->bytes);
}

void raw_fence(struct raw_client *r)
{
    raw_send(r, "PING\r\n");
    raw_expect(r, "PONG\r\n");
}

void raw_hello(struct raw_client *r, uint16_t port, const char *fields)
{
    char text[1024];

    raw_open(r, port);
    raw_expect(r, "INFO {");
    raw_skip(r, "\r\n");
    snprintf(text, sizeof(text), "CONNECT {\"verbose\":false,\"pedantic\":false%s%s}\r\n",
             fields[0] != '\0' ? "," : "", fields);
    raw_send(r, text);
    raw_fence(r);
}

/* The server asks after a while whether we live, sooner than a slow machine is through a test. */
static char *line_of_msg(struct raw_client *r)
{
    char *line = raw_line(r);

    while (strcmp(line, "PING") == 0) {
        free(line);
        raw_send(r, "PONG\r\n");
        line = raw_line(r);
    }
    return line;
}

void raw_msg(struct raw_client *r, struct raw_msg *m)
{
    char *line = line_of_msg(r), *word[8] = {0}, *at = line;
    int n = 0, fixed;

    for (char *w = strsep(&at, " "); w != NULL && n < 8; w = strsep(&at, " "))
        word[n++] = w;
    memset(m, 0, sizeof(*m));
    fixed = strcmp(word[0], "HMSG") == 0 ? 5 : 4;
    ck_assert_msg(strcmp(word[0], "HMSG") == 0 || strcmp(word[0], "MSG") == 0, "not a message: %s",
                  word[0]);
    ck_assert_msg(n == fixed || n == fixed + 1, "%d words in a %s", n, word[0]);
    snprintf(m->subject, sizeof(m->subject), "%s", word[1]);
    snprintf(m->sid, sizeof(m->sid), "%s", word[2]);
    if (n == fixed + 1)
        snprintf(m->reply, sizeof(m->reply), "%s", word[3]);
    m->header_n = fixed == 5 ? strtoul(word[n - 2], NULL, 10) : 0;
    m->n = strtoul(word[n - 1], NULL, 10);
    m->body = raw_take(r, m->n);
    free(line);
    raw_expect(r, "\r\n");
}

char *raw_ask(struct raw_client *r, const char *subject, const char *body)
{
    size_t n = strlen(subject) + strlen(body) + 200;
    char *text = malloc(n), *answer;
    struct raw_msg m;

    ck_assert(text != NULL);
    r->inbox++;
    snprintf(text, n, "SUB _ASK.%u ask%u\r\nUNSUB ask%u 1\r\nPUB %s _ASK.%u %zu\r\n%s\r\n",
             r->inbox, r->inbox, r->inbox, subject, r->inbox, strlen(body), body);
    raw_send(r, text);
    free(text);
    raw_msg(r, &m);
    if (strlen(m.body) == m.header_n)
        return m.body;
    answer = strdup(m.body + m.header_n);
    free(m.body);
    ck_assert(answer != NULL);
    return answer;
}
