#include "tests/unit/client/script_server.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 10000

/* Check's own assertions belong to the main thread; a failed case is a process that aborts. */
static void must(bool holds, const char *what, const char *detail)
{
    if (holds)
        return;
    fprintf(stderr, "script: %s: %s\n", what, detail);
    abort();
}

/* False at the end of the connection. */
static bool read_more(struct script_server *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    ssize_t got;

    must(s->n < sizeof(s->in), "too much input", "");
    must(poll(&p, 1, PATIENCE_MS) == 1, "the client is silent", s->line);
    got = recv(s->fd, s->in + s->n, sizeof(s->in) - s->n, 0);
    if (got <= 0)
        return false;
    s->n += (size_t) got;
    return true;
}

static void drop(struct script_server *s, size_t n)
{
    memmove(s->in, s->in + n, s->n - n);
    s->n -= n;
}

static void any_line(struct script_server *s)
{
    char *end;
    size_t n;

    while ((end = memmem(s->in, s->n, "\r\n", 2)) == NULL)
        must(read_more(s), "the client closed", s->line);
    n = (size_t) (end - s->in);
    must(n < sizeof(s->line), "a long line", "");
    memcpy(s->line, s->in, n);
    s->line[n] = '\0';
    drop(s, n + 2);
}

void script_line(struct script_server *s)
{
    for (any_line(s); strcmp(s->line, "PING") == 0; any_line(s))
        script_say(s, "PONG\r\n");
}

const char *script_want(struct script_server *s, const char *start)
{
    script_line(s);
    must(strncmp(s->line, start, strlen(start)) == 0, start, s->line);
    return s->line + strlen(start);
}

void script_want_pub(struct script_server *s, const char *subject, char reply[128])
{
    char *rest, *space;
    size_t size;

    script_line(s);
    must(strncmp(s->line, "PUB ", 4) == 0 && strncmp(s->line + 4, subject, strlen(subject)) == 0 &&
             s->line[4 + strlen(subject)] == ' ',
         subject, s->line);
    rest = s->line + 4 + strlen(subject) + 1;
    space = strchr(rest, ' ');
    if (reply != NULL)
        snprintf(reply, 128, "%.*s", space != NULL ? (int) (space - rest) : 0, rest);
    size = strtoul(space != NULL ? space + 1 : rest, NULL, 10);
    must(size < sizeof(s->line), "a large payload", s->line);
    while (s->n < size + 2)
        must(read_more(s), "the client closed in a payload", s->line);
    memcpy(s->line, s->in, size);
    s->line[size] = '\0';
    drop(s, size + 2);
}

void script_say(struct script_server *s, const char *format, ...)
{
    char text[4096];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    must(send(s->fd, text, (size_t) n, MSG_NOSIGNAL) == n, "sending", text);
}

void script_until_closed(struct script_server *s)
{
    while (read_more(s))
        s->n = 0;
}

static void *play(void *arg)
{
    struct script_server *s = arg;
    struct pollfd p = {.fd = s->listener, .events = POLLIN};

    must(poll(&p, 1, PATIENCE_MS) == 1, "nobody connects", "");
    s->fd = accept(s->listener, NULL, NULL);
    must(s->fd >= 0, "accept", "");
    script_say(s, "INFO {\"server_id\":\"S\",\"headers\":true,\"max_payload\":4096}\r\n");
    any_line(s);
    memcpy(s->connect, s->line, sizeof(s->connect));
    if (s->refuses) {
        script_say(s, "-ERR 'Authorization Violation'\r\n");
    } else {
        any_line(s);
        must(strcmp(s->line, "PING") == 0, "PING", s->line);
        script_say(s, "PONG\r\n");
        s->script(s);
    }
    /* Without this, unread input would turn the end into a reset, which may overtake what was said.
     */
    shutdown(s->fd, SHUT_WR);
    script_until_closed(s);
    close(s->fd);
    return NULL;
}

void script_start(struct script_server *s, void (*script)(struct script_server *s))
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(a);

    s->script = script;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(s->listener, 0);
    ck_assert_int_eq(bind(s->listener, (struct sockaddr *) &a, n), 0);
    ck_assert_int_eq(listen(s->listener, 4), 0);
    ck_assert_int_eq(getsockname(s->listener, (struct sockaddr *) &a, &n), 0);
    s->port = ntohs(a.sin_port);
    ck_assert_int_eq(pthread_create(&s->thread, NULL, play, s), 0);
}

void script_join(struct script_server *s)
{
    ck_assert_int_eq(pthread_join(s->thread, NULL), 0);
    close(s->listener);
}
