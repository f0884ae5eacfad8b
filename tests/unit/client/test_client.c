/* test_client.c - libmidge against a scripted server: what it sends, and what it makes of what
 * comes. */
#include "client/midge_js.h"
#include "tests/lib/runner.h"
#include "tests/unit/client/script_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_NS 100000000u
#define TURNS 100 /* times WAIT_NS: ten seconds */

static const struct midge_text none = {NULL, 0};

static struct script_server *new_server(void (*script)(struct script_server *s))
{
    struct script_server *s = calloc(1, sizeof(*s));

    ck_assert_ptr_nonnull(s);
    script_start(s, script);
    return s;
}

static struct midge *meet(const struct script_server *s)
{
    struct midge_options o;
    struct midge *m;
    char err[256] = "";

    midge_options_init(&o);
    o.port = s->port;
    o.user = "ann\"a";
    o.pass = "secret";
    m = midge_connect(&o, err);
    ck_assert_msg(m != NULL, "%s", err);
    return m;
}

static void part(struct midge *m, struct script_server *s)
{
    midge_close(m);
    script_join(s);
    free(s);
}

static void poll_until(struct midge *m, const unsigned *counter, unsigned want)
{
    for (int turn = 0; turn < TURNS && *counter < want; turn++)
        ck_assert_int_eq(midge_poll(m, WAIT_NS), MIDGE_OK);
    ck_assert_uint_eq(*counter, want);
}

/* What a callback saw. */
struct seen {
    struct midge *m;
    unsigned n;
    char subject[64], reply[64], payload[64], header[64];
    unsigned errors, duplicates;
    uint64_t sum, last;
    char error[64];
};

static void see(void *ctx, const struct midge_msg *msg)
{
    struct seen *k = ctx;

    k->n++;
    snprintf(k->subject, sizeof(k->subject), "%.*s", (int) msg->subject.n, msg->subject.p);
    snprintf(k->reply, sizeof(k->reply), "%.*s", (int) msg->reply.n, msg->reply.p);
    snprintf(k->header, sizeof(k->header), "%.*s", (int) msg->header.n, msg->header.p);
    snprintf(k->payload, sizeof(k->payload), "%.*s", (int) msg->payload.n, msg->payload.p);
}

/* ---- connecting
 * ----------------------------------------------------------------------------------- */

TEST(connect_says_who_it_is)
{
    struct script_server *s = new_server(script_until_closed);
    struct midge *m = meet(s);

    ck_assert_uint_eq(midge_max_payload(m), 4096);
    ck_assert_ptr_nonnull(strstr(s->connect, "\"user\":\"ann\\\"a\""));
    ck_assert_ptr_nonnull(strstr(s->connect, "\"pass\":\"secret\""));
    ck_assert_ptr_nonnull(strstr(s->connect, "\"no_responders\":true"));
    ck_assert_ptr_nonnull(strstr(s->connect, "\"verbose\":false"));
    part(m, s);
}

TEST(refused_login_gives_the_servers_reason)
{
    struct script_server *s = calloc(1, sizeof(*s));
    struct midge_options o;
    char err[256] = "";

    s->refuses = true;
    script_start(s, script_until_closed);
    midge_options_init(&o);
    o.port = s->port;
    ck_assert_ptr_null(midge_connect(&o, err));
    ck_assert_str_eq(err, "Authorization Violation");
    script_join(s);
    free(s);
}

static void at_once(struct script_server *s)
{
    (void) s;
}

TEST(end_of_connection_is_an_error_with_a_text)
{
    struct script_server *s = new_server(at_once);
    struct midge *m = meet(s);
    int rc = MIDGE_OK;

    for (int turn = 0; turn < TURNS && rc == MIDGE_OK; turn++)
        rc = midge_poll(m, WAIT_NS);
    ck_assert_int_eq(rc, MIDGE_CLOSED);
    ck_assert_str_eq(midge_error(m), "the server closed the connection");
    ck_assert_int_eq(midge_publish(m, &(struct midge_msg){.subject = MIDGE_TEXT("a")}),
                     MIDGE_CLOSED);
    ck_assert_ptr_null(midge_subscribe(m, (struct midge_text) MIDGE_TEXT("a"), none, see, NULL));
    part(m, s);
}

static void nonsense(struct script_server *s)
{
    script_want(s, "SUB x");
    script_say(s, "HELLO\r\n");
}

TEST(nonsense_ends_the_connection)
{
    struct script_server *s = new_server(nonsense);
    struct midge *m = meet(s);
    int rc = MIDGE_OK;

    midge_subscribe(m, (struct midge_text) MIDGE_TEXT("x"), none, see, NULL);
    for (int turn = 0; turn < TURNS && rc == MIDGE_OK; turn++)
        rc = midge_poll(m, WAIT_NS);
    ck_assert_int_eq(rc, MIDGE_CLOSED);
    ck_assert_ptr_nonnull(strstr(midge_error(m), "not NATS"));
    part(m, s);
}

/* ---- messages
 * ------------------------------------------------------------------------------------- */

static void echo(struct script_server *s)
{
    const char hmsg[] = "HMSG a.b 1 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n";

    ck_assert_str_eq(script_want(s, "SUB "), "a.* q 1");
    script_want_pub(s, "a.b", NULL);
    script_say(s, "MSG a.b 1 5\r\n%s\r\n", s->line);
    /* Every cut of a message gives the same message. */
    for (size_t i = 0; i < sizeof(hmsg) - 1; i++)
        script_say(s, "%c", hmsg[i]);
    script_want(s, "UNSUB 1");
    script_until_closed(s);
}

TEST(publish_and_receive)
{
    struct script_server *s = new_server(echo);
    struct midge *m = meet(s);
    struct seen k = {0};
    struct midge_sub *sub = midge_subscribe(m, (struct midge_text) MIDGE_TEXT("a.*"),
                                            (struct midge_text) MIDGE_TEXT("q"), see, &k);

    ck_assert_int_eq(midge_publish(m, &(struct midge_msg){.subject = MIDGE_TEXT("a.b"),
                                                          .payload = MIDGE_TEXT("hello")}),
                     MIDGE_OK);
    poll_until(m, &k.n, 1);
    ck_assert_str_eq(k.payload, "hello");
    poll_until(m, &k.n, 2);
    ck_assert_str_eq(k.subject, "a.b");
    ck_assert_str_eq(k.reply, "r");
    ck_assert_str_eq(k.header, "NATS/1.0\r\n\r\n");
    ck_assert_str_eq(k.payload, "hi");
    midge_unsubscribe(m, sub);
    ck_assert_int_eq(midge_poll(m, 0), MIDGE_OK);
    part(m, s);
}

TEST(too_large_a_payload_is_refused_here)
{
    struct script_server *s = new_server(script_until_closed);
    struct midge *m = meet(s);
    static const char big[4097];

    ck_assert_int_eq(
        midge_publish(m, &(struct midge_msg){.subject = MIDGE_TEXT("a"), .payload = {big, 4097}}),
        MIDGE_INVALID);
    ck_assert_int_eq(
        midge_publish(m, &(struct midge_msg){.subject = MIDGE_TEXT("a"), .payload = {big, 4096}}),
        MIDGE_OK);
    part(m, s);
}

static void late_message(struct script_server *s)
{
    char old[32], new[32];

    snprintf(old, sizeof(old), "%s", script_want(s, "SUB x "));
    script_want(s, "UNSUB ");
    snprintf(new, sizeof(new), "%s", script_want(s, "SUB y "));
    script_say(s, "MSG x %s 3\r\nold\r\nMSG y %s 3\r\nnew\r\n", old, new);
    script_until_closed(s);
}

TEST(late_message_does_not_reach_the_next_subscription)
{
    struct script_server *s = new_server(late_message);
    struct midge *m = meet(s);
    struct seen k = {0};

    midge_unsubscribe(m, midge_subscribe(m, (struct midge_text) MIDGE_TEXT("x"), none, see, &k));
    ck_assert_ptr_nonnull(midge_subscribe(m, (struct midge_text) MIDGE_TEXT("y"), none, see, &k));
    poll_until(m, &k.n, 1);
    ck_assert_str_eq(k.payload, "new");
    part(m, s);
}

/* ---- requests
 * ------------------------------------------------------------------------------------- */

/* A message that is nothing but a header. */
static void say_status(struct script_server *s, const char *to, const char *header)
{
    script_say(s, "HMSG %s %zu %zu\r\n%s\r\n", to, strlen(header), strlen(header), header);
}

static void three_requests(struct script_server *s)
{
    char first[128], second[128], third[128];

    script_want(s, "SUB _INBOX.");
    script_want_pub(s, "svc", first);
    script_want_pub(s, "svc", second);
    script_say(s, "MSG %s 1 4\r\nlate\r\nMSG %s 1 2\r\nok\r\n", first, second);
    script_want_pub(s, "svc", third);
    snprintf(first, sizeof(first), "%.100s 1", third);
    say_status(s, first, "NATS/1.0 503\r\n\r\n");
    script_until_closed(s);
}

TEST(requests_get_their_own_replies)
{
    struct script_server *s = new_server(three_requests);
    struct midge *m = meet(s);
    struct midge_msg msg = {.subject = MIDGE_TEXT("svc"), .payload = MIDGE_TEXT("?")};
    struct seen k = {0};

    ck_assert_int_eq(midge_request(m, &msg, 1, see, &k), MIDGE_TIMEOUT);
    ck_assert_int_eq(midge_request(m, &msg, 10000, see, &k), MIDGE_OK);
    ck_assert_uint_eq(k.n, 1);
    ck_assert_str_eq(k.payload, "ok");
    ck_assert_int_eq(midge_request(m, &msg, 10000, see, &k), MIDGE_NO_RESPONDERS);
    ck_assert_uint_eq(k.n, 1);
    part(m, s);
}

static void api_error(struct script_server *s)
{
    static const char text[] =
        "{\"error\":{\"code\":404,\"err_code\":10059,\"description\":\"stream not found\"}}";
    char reply[128];

    script_want(s, "SUB _INBOX.");
    script_want_pub(s, "$JS.API.STREAM.INFO.X", reply);
    script_say(s, "MSG %s 1 %zu\r\n%s\r\n", reply, strlen(text), text);
    script_until_closed(s);
}

TEST(api_errors_have_their_text)
{
    struct script_server *s = new_server(api_error);
    struct midge *m = meet(s);
    char *answer = NULL;

    ck_assert_int_eq(midge_js_api(m, "STREAM.INFO.X", NULL, 10000, &answer), MIDGE_NOT_FOUND);
    ck_assert_uint_eq(midge_error_code(m), 10059);
    ck_assert_str_eq(midge_error(m), "stream not found");
    ck_assert_ptr_nonnull(strstr(answer, "10059"));
    midge_free(answer);
    part(m, s);
}

/* ---- asynchronous publishing
 * ------------------------------------------------------------------------ */

static void see_ack(void *ctx, const struct midge_ack *ack)
{
    struct seen *k = ctx;

    k->n++;
    k->sum += ack->stream_seq;
    k->last = ack->number;
    k->duplicates += ack->duplicate;
    if (ack->error != NULL) {
        k->errors++;
        snprintf(k->error, sizeof(k->error), "%.60s", ack->error);
    }
}

static void say_ack(struct script_server *s, const char *reply, const char *json)
{
    script_say(s, "MSG %s 1 %zu\r\n%s\r\n", reply, strlen(json), json);
}

static void acks_out_of_order(struct script_server *s)
{
    char reply[3][128];

    script_want(s, "SUB _INBOX.");
    for (int i = 0; i < 3; i++)
        script_want_pub(s, "orders", reply[i]);
    say_ack(
        s, reply[2],
        "{\"stream\":\"A_STREAM_WITH_A_NAME_THAT_IS_LONG_ENOUGH\",\"seq\":7,\"duplicate\":true}");
    say_ack(s, reply[0], "{\"stream\":\"A\",\"seq\":100}");
    /* Twice the same acknowledgement, and one of a publish that never was. */
    say_ack(s, reply[0], "{\"stream\":\"A\",\"seq\":100}");
    script_say(s, "MSG %.*s9999 1 2\r\n{}\r\n", (int) strlen(reply[0]) - 1, reply[0]);
    say_ack(
        s, reply[1],
        "{\"error\":{\"code\":503,\"err_code\":10077,\"description\":\"maximum bytes exceeded\"}}");
    script_until_closed(s);
}

TEST(acknowledgements_find_their_publish)
{
    struct script_server *s = new_server(acks_out_of_order);
    struct midge *m = meet(s);
    struct seen k = {0};
    struct midge_publisher *p = midge_publisher_open(m, 3, see_ack, &k);
    struct midge_text subject = MIDGE_TEXT("orders"), payload = MIDGE_TEXT("x");

    for (int n = 0; n < 3; n++)
        ck_assert_int_eq(midge_publisher_send(p, subject, none, payload, NULL), MIDGE_OK);
    ck_assert_int_eq(midge_publisher_send(p, subject, none, payload, NULL), MIDGE_FULL);
    ck_assert_uint_eq(midge_publisher_pending(p), 3);
    ck_assert_int_eq(midge_publisher_wait(p, 10000), MIDGE_OK);
    ck_assert_uint_eq(k.n, 3);
    ck_assert_uint_eq(k.sum, 107);
    ck_assert_uint_eq(k.last, 1);
    ck_assert_uint_eq(k.duplicates, 1);
    ck_assert_uint_eq(k.errors, 1);
    ck_assert_str_eq(k.error, "maximum bytes exceeded");
    midge_publisher_close(p);
    part(m, s);
}

/* ---- consumers
 * -------------------------------------------------------------------------------------- */

static void see_delivery(void *ctx, const struct midge_delivery *d)
{
    struct seen *k = ctx;

    k->n++;
    k->sum += d->stream_seq;
    k->last = d->pending;
    if (k->m != NULL)
        ck_assert_int_eq(midge_ack(k->m, d->msg.reply), MIDGE_OK);
}

static void say_delivery(struct script_server *s, unsigned sequence)
{
    script_say(s, "MSG s 1 $JS.ACK.ORDERS.c.1.%u.%u.1700000000000000000.%u 1\r\nx\r\n", sequence,
               sequence, 100 - sequence);
}

static void pull_script(struct script_server *s)
{
    char inbox[128], again[128], ack[128];

    script_want(s, "SUB _INBOX.");
    script_want_pub(s, "$JS.API.CONSUMER.MSG.NEXT.ORDERS.c", inbox);
    ck_assert_ptr_nonnull(strstr(s->line, "\"batch\":4,"));
    for (unsigned i = 1; i <= 2; i++)
        say_delivery(s, i);
    for (unsigned i = 1; i <= 2; i++) {
        snprintf(ack, sizeof(ack), "$JS.ACK.ORDERS.c.1.%u.%u.1700000000000000000.%u", i, i,
                 100 - i);
        script_want_pub(s, ack, NULL);
    }
    script_want_pub(s, "$JS.API.CONSUMER.MSG.NEXT.ORDERS.c", again);
    ck_assert_str_eq(inbox, again);
    ck_assert_ptr_nonnull(strstr(s->line, "\"batch\":2,"));
    /* One of the two requests ends three messages short: they are asked for again. */
    say_status(s, "s 1",
               "NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 3\r\nNats-Pending-Bytes: "
               "0\r\n\r\n");
    script_want_pub(s, "$JS.API.CONSUMER.MSG.NEXT.ORDERS.c", again);
    ck_assert_ptr_nonnull(strstr(s->line, "\"batch\":3,"));
    say_status(s, "s 1", "NATS/1.0 409 Consumer Deleted\r\n\r\n");
    script_until_closed(s);
}

TEST(pull_keeps_messages_on_order)
{
    struct script_server *s = new_server(pull_script);
    struct midge *m = meet(s);
    struct seen k = {.m = m};
    struct midge_pull *p = midge_pull_open(m, "ORDERS", "c", 4, see_delivery, &k);

    ck_assert_ptr_null(midge_pull_error(p));
    poll_until(m, &k.n, 2);
    ck_assert_uint_eq(k.sum, 3);
    ck_assert_uint_eq(k.last, 98);
    for (int turn = 0; turn < TURNS && midge_pull_error(p) == NULL; turn++)
        ck_assert_int_eq(midge_poll(m, WAIT_NS), MIDGE_OK);
    ck_assert_str_eq(midge_pull_error(p), "Consumer Deleted");
    midge_pull_close(p);
    part(m, s);
}

static void push_script(struct script_server *s)
{
    ck_assert_str_eq(script_want(s, "SUB "), "deliver.here g 1");
    say_delivery(s, 5);
    say_status(s, "d 1 $JS.FC.ORDERS.c.abc", "NATS/1.0 100 FlowControl Request\r\n\r\n");
    script_want_pub(s, "$JS.FC.ORDERS.c.abc", NULL);
    say_status(s, "d 1",
               "NATS/1.0 100 Idle Heartbeat\r\nNats-Consumer-Stalled: $JS.FC.x.y.z\r\n\r\n");
    script_want_pub(s, "$JS.FC.x.y.z", NULL);
    say_delivery(s, 6);
    script_until_closed(s);
}

TEST(push_answers_flow_control)
{
    struct script_server *s = new_server(push_script);
    struct midge *m = meet(s);
    struct seen k = {0};
    struct midge_push *p = midge_push_open(m, (struct midge_text) MIDGE_TEXT("deliver.here"),
                                           (struct midge_text) MIDGE_TEXT("g"), see_delivery, &k);

    poll_until(m, &k.n, 2);
    ck_assert_uint_eq(k.sum, 11);
    midge_push_close(p);
    part(m, s);
}

static const struct runner_case cases[] = {
    RUN(connect_says_who_it_is),
    RUN(refused_login_gives_the_servers_reason),
    RUN(end_of_connection_is_an_error_with_a_text),
    RUN(nonsense_ends_the_connection),
    RUN(publish_and_receive),
    RUN(too_large_a_payload_is_refused_here),
    RUN(late_message_does_not_reach_the_next_subscription),
    RUN(requests_get_their_own_replies),
    RUN(api_errors_have_their_text),
    RUN(acknowledgements_find_their_publish),
    RUN(pull_keeps_messages_on_order),
    RUN(push_answers_flow_control),
};

RUNNER_MAIN("client/client", cases)
