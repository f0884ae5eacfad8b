/*
 * demo_client.c - the client's side of `./dev demo`; tests/demo/demo starts and restarts the
 * server.
 *
 *     demo_client fill    PORT LEDGER COUNT          publish COUNT messages, wait for every
 * acknowledgement demo_client consume PORT LEDGER                pull, check and acknowledge
 * everything demo_client kill    PORT LEDGER COUNT PID      publish COUNT more; SIGKILL the server
 * when half is acknowledged demo_client verify  PORT LEDGER                every acknowledged
 * message is there
 *
 * Messages are numbered over both runs, and a message's payload follows from its number. The ledger
 * is a file of pairs of 64-bit numbers, (message, stream sequence), one for every acknowledgement
 * the client got, in the order in which they came: what the server has promised, kept outside of
 * the server. verify reads the whole stream and compares: each pair's sequence must hold that
 * message, byte for byte; no message may be there twice; what is there beyond the ledger must have
 * been sent. Exit status 0 only when all of that holds.
 */
#include "client/midge_js.h"
#include "lib/base/mem.h"
#include "lib/base/prng.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAYLOAD 128
#define WINDOW 8192
#define BURST 256
#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)
#define SILENCE (30 * SECOND)
/* More messages than a demonstration has any use for. */
#define COUNT_MAX UINT64_C(100000000)

struct pair {
    uint64_t message;
    uint64_t sequence;
};

struct demo {
    struct midge *m;
    const char *path;
    FILE *ledger;
    uint64_t first; /* number of this run's first message */
    uint64_t count, sent, acked, received;
    uint64_t *expected;           /* verify: by sequence, message + 1, 0 = not promised */
    unsigned char *seen;          /* by message */
    uint64_t sequences, messages; /* sizes of the two */
    uint64_t promised, found, extra;
    uint64_t last_event, last_drawn, started;
    bool checks_ledger;
    char bad[256];
};

static void bad(struct demo *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void bad(struct demo *d, const char *format, ...)
{
    va_list args;

    if (d->bad[0] != '\0')
        return;
    va_start(args, format);
    vsnprintf(d->bad, sizeof(d->bad), format, args);
    va_end(args);
}

static int finish(struct demo *d)
{
    if (d->bad[0] == '\0')
        return 0;
    fprintf(stderr, "\ndemo: %s\n", d->bad);
    return 1;
}

static const char *grouped(uint64_t v, char out[32])
{
    char digits[24];
    size_t n = (size_t) snprintf(digits, sizeof(digits), "%" PRIu64, v), at = 0;

    for (size_t i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

/* Number, blank, then letters that a generator seeded with the number draws. */
static void make_payload(uint64_t number, char out[PAYLOAD])
{
    struct prng prng;
    int n = snprintf(out, PAYLOAD, "%" PRIu64 " ", number);

    prng_init(&prng, number);
    for (size_t i = (size_t) n; i < PAYLOAD;)
        for (uint64_t bits = prng_u64(&prng), k = 0; k < 12 && i < PAYLOAD; k++, bits >>= 5)
            out[i++] = (char) ('A' + (bits & 31) % 26);
}

/* The number of a message whose every byte is right; false for anything else. */
static bool read_payload(const struct midge_text *p, uint64_t *number)
{
    char want[PAYLOAD];

    if (p->n != PAYLOAD || p->p[0] < '0' || p->p[0] > '9')
        return false;
    *number = strtoull(p->p, NULL, 10);
    make_payload(*number, want);
    return memcmp(want, p->p, PAYLOAD) == 0;
}

/* ---- the line that moves
 * -------------------------------------------------------------------------- */

static void draw(struct demo *d, const char *what, uint64_t done, uint64_t whole)
{
    uint64_t now = midge_now();
    char bar[31], a[32];
    size_t full = whole > 0 ? (size_t) (done * 30 / whole) : 0;

    if (!isatty(STDERR_FILENO) || now < d->last_drawn + 100 * MS)
        return;
    d->last_drawn = now;
    memset(bar, '.', 30);
    memset(bar, '#', full < 30 ? full : 30);
    bar[30] = '\0';
    fprintf(stderr, "\r     %-9s [%s] %s, %.2f M/s\033[K", what, bar, grouped(done, a),
            (double) done * 1e3 / (double) (now - d->started + 1));
}

static void wipe(void)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
}

static double seconds(const struct demo *d)
{
    return (double) (d->last_event - d->started) / 1e9;
}

static void print_rate(const struct demo *d, uint64_t n)
{
    printf(" in %.2f s, %.2f M/s\n", seconds(d), (double) n / 1e6 / (seconds(d) + 1e-9));
}

/* ---- publishing
 * ----------------------------------------------------------------------------------- */

static void acked(void *ctx, const struct midge_ack *ack)
{
    struct demo *d = ctx;
    struct pair pair = {d->first + ack->number, ack->stream_seq};

    if (ack->rc == MIDGE_LOST) /* the server was killed: nothing is said about this one */
        return;
    if (ack->error != NULL) {
        bad(d, "message %" PRIu64 " was refused: %s", pair.message, ack->error);
        return;
    }
    if (fwrite(&pair, sizeof(pair), 1, d->ledger) != 1)
        bad(d, "writing the ledger: %s", strerror(errno));
    d->acked++;
    d->last_event = midge_now();
}

static bool send_burst(struct demo *d, struct midge_publisher *p)
{
    struct midge_text subject = MIDGE_TEXT("orders.new"), nothing = {NULL, 0};
    char payload[PAYLOAD];

    for (unsigned i = 0; i < BURST && d->sent < d->count; i++) {
        if (midge_publisher_pending(p) == WINDOW)
            return false;
        make_payload(d->first + d->sent, payload);
        if (midge_publisher_send(p, subject, nothing, (struct midge_text){payload, PAYLOAD},
                                 NULL) != MIDGE_OK)
            return false;
        d->sent++;
    }
    return true;
}

/* Publishes until all is acknowledged, or until the victim that is killed on the way has gone. */
static int publish(struct demo *d, pid_t victim)
{
    struct midge_publisher *p = midge_publisher_open(d->m, WINDOW, acked, d);
    bool killed = false;
    int rc = MIDGE_OK;

    d->started = d->last_event = midge_now();
    while (rc == MIDGE_OK && d->acked < d->count && d->bad[0] == '\0') {
        bool room = !killed && send_burst(d, p) && d->sent < d->count;
        rc = midge_poll(d->m, room ? 0 : 100 * MS);
        draw(d, "publish", d->acked, d->count);
        if (victim != 0 && !killed && d->acked >= d->count / 2) {
            killed = true;
            if (kill(victim, SIGKILL) != 0)
                bad(d, "kill %d: %s", (int) victim, strerror(errno));
        }
        if (midge_now() > d->last_event + SILENCE)
            bad(d, "no acknowledgement for 30 s; %" PRIu64 " of %" PRIu64 " have come", d->acked,
                d->sent);
    }
    wipe();
    if (victim == 0 && rc != MIDGE_OK)
        bad(d, "publishing: %s", midge_error(d->m));
    if (victim != 0 && rc == MIDGE_OK)
        bad(d, "the server outlived its SIGKILL or all messages were acknowledged before it");
    midge_publisher_close(p);
    return rc;
}

/* How many pairs the ledger has; the file stays open for more. */
static uint64_t open_ledger(struct demo *d, const char *mode)
{
    long bytes;

    d->ledger = fopen(d->path, mode);
    if (d->ledger == NULL || fseek(d->ledger, 0, SEEK_END) != 0 || (bytes = ftell(d->ledger)) < 0) {
        bad(d, "%s: %s", d->path, strerror(errno));
        return 0;
    }
    return (uint64_t) bytes / sizeof(struct pair);
}

static void close_ledger(struct demo *d)
{
    if (d->ledger != NULL && fclose(d->ledger) != 0)
        bad(d, "writing the ledger: %s", strerror(errno));
    d->ledger = NULL;
}

static int do_fill(struct demo *d)
{
    char a[32];

    open_ledger(d, "wb");
    if (midge_js_api(d->m, "STREAM.CREATE.ORDERS",
                     "{\"name\":\"ORDERS\",\"subjects\":[\"orders.>\"],\"storage\":\"file\","
                     "\"retention\":\"limits\",\"num_replicas\":1}",
                     10000, NULL) != MIDGE_OK)
        bad(d, "creating the stream: %s", midge_error(d->m));
    if (d->bad[0] == '\0')
        publish(d, 0);
    close_ledger(d);
    if (d->bad[0] == '\0') {
        printf("     %s published and acknowledged", grouped(d->acked, a));
        print_rate(d, d->acked);
    }
    return finish(d);
}

static int do_kill(struct demo *d, pid_t victim)
{
    char a[32], b[32];

    d->first = open_ledger(d, "ab");
    if (d->bad[0] == '\0')
        publish(d, victim);
    close_ledger(d);
    if (d->bad[0] == '\0')
        printf("     killed after %s acknowledgements of this run, with %s messages unanswered\n",
               grouped(d->acked, a), grouped(d->sent - d->acked, b));
    return finish(d);
}

/* ---- reading
 * -------------------------------------------------------------------------------------- */

static void compare(struct demo *d, uint64_t sequence, uint64_t message)
{
    uint64_t want = sequence < d->sequences ? d->expected[sequence] : 0;

    if (want == message + 1) {
        d->found++;
        d->expected[sequence] = 0;
    } else if (want != 0) {
        bad(d, "sequence %" PRIu64 " holds message %" PRIu64 ", %" PRIu64 " was acknowledged there",
            sequence, message, want - 1);
    } else {
        d->extra++;
    }
}

static void delivered(void *ctx, const struct midge_delivery *m)
{
    struct demo *d = ctx;
    uint64_t number;

    d->received++;
    d->last_event = midge_now();
    if (!d->checks_ledger && m->stream_seq != d->received)
        bad(d, "sequence %" PRIu64 " came where %" PRIu64 " was due", m->stream_seq, d->received);
    if (!read_payload(&m->msg.payload, &number)) {
        bad(d, "sequence %" PRIu64 ": the payload is damaged", m->stream_seq);
        return;
    }
    if (d->checks_ledger && number < d->messages) {
        if (d->seen[number]++ != 0)
            bad(d, "message %" PRIu64 " is stored twice", number);
        compare(d, m->stream_seq, number);
    } else if (d->checks_ledger) {
        bad(d, "message %" PRIu64 " was never sent", number);
    } else {
        midge_ack(d->m, m->msg.reply);
    }
}

static uint64_t number_of(const char *json, const char *key)
{
    const char *at = json != NULL ? strstr(json, key) : NULL;

    return at != NULL ? strtoull(at + strlen(key), NULL, 10) : 0;
}

/* Creates a consumer of everything; how much that is. */
static uint64_t create_consumer(struct demo *d, const char *name, const char *ack_policy)
{
    char subject[96], body[256], *answer = NULL;
    uint64_t pending;

    snprintf(subject, sizeof(subject), "CONSUMER.CREATE.ORDERS.%s", name);
    snprintf(body, sizeof(body),
             "{\"stream_name\":\"ORDERS\",\"config\":{\"name\":\"%s\",\"durable_name\":\"%s\","
             "\"deliver_policy\":\"all\",\"ack_policy\":\"%s\",\"max_ack_pending\":%d}}",
             name, name, ack_policy, strcmp(ack_policy, "none") == 0 ? 0 : -1);
    if (midge_js_api(d->m, subject, body, 30000, &answer) != MIDGE_OK)
        bad(d, "creating the consumer %s: %s", name, midge_error(d->m));
    pending = number_of(answer, "\"num_pending\":");
    midge_free(answer);
    return pending;
}

static void read_all(struct demo *d, const char *consumer, const char *what, uint64_t whole)
{
    struct midge_pull *pull = midge_pull_open(d->m, "ORDERS", consumer, 5000, delivered, d);

    d->started = d->last_event = midge_now();
    while (d->received < whole && d->bad[0] == '\0') {
        if (midge_poll(d->m, 100 * MS) != MIDGE_OK)
            bad(d, "reading: %s", midge_error(d->m));
        if (midge_pull_error(pull) != NULL)
            bad(d, "reading: %s", midge_pull_error(pull));
        if (midge_now() > d->last_event + SILENCE)
            bad(d, "nothing came for 30 s, %" PRIu64 " messages before the end",
                whole - d->received);
        draw(d, what, d->received, whole);
    }
    wipe();
    midge_pull_close(pull);
}

static int do_consume(struct demo *d)
{
    uint64_t promised = open_ledger(d, "rb");
    uint64_t whole = create_consumer(d, "billing", "explicit");
    char a[32], b[32], *answer = NULL;

    close_ledger(d);
    if (whole != promised)
        bad(d, "the stream holds %" PRIu64 " messages, %" PRIu64 " were acknowledged", whole,
            promised);
    if (d->bad[0] == '\0')
        read_all(d, "billing", "consume", whole);
    if (d->bad[0] == '\0' && midge_flush(d->m, 30000) != MIDGE_OK)
        bad(d, "acknowledging: %s", midge_error(d->m));
    d->last_event = midge_now();
    if (d->bad[0] == '\0' &&
        midge_js_api(d->m, "CONSUMER.INFO.ORDERS.billing", NULL, 10000, &answer) == MIDGE_OK &&
        number_of(answer, "\"num_ack_pending\":") != 0)
        bad(d, "%s acknowledgements did not arrive",
            grouped(number_of(answer, "\"num_ack_pending\":"), b));
    midge_free(answer);
    if (d->bad[0] == '\0') {
        printf("     %s delivered in order and acknowledged", grouped(d->received, a));
        print_rate(d, d->received);
    }
    return finish(d);
}

/* What was promised, by sequence. Sequences and messages are bounded by what a run can have sent.
 */
static void load_ledger(struct demo *d)
{
    struct pair pair;

    d->promised = open_ledger(d, "rb");
    if (d->ledger == NULL)
        return;
    d->messages = d->promised * 2 + 2 * WINDOW + 1;
    d->sequences = d->messages + 1;
    d->expected = mem_zalloc(d->sequences * sizeof(*d->expected));
    d->seen = mem_zalloc(d->messages);
    rewind(d->ledger);
    while (fread(&pair, sizeof(pair), 1, d->ledger) == 1) {
        if (pair.sequence == 0 || pair.sequence >= d->sequences || pair.message >= d->messages)
            bad(d, "message %" PRIu64 " was acknowledged with the sequence %" PRIu64, pair.message,
                pair.sequence);
        else if (d->expected[pair.sequence] != 0)
            bad(d, "sequence %" PRIu64 " was acknowledged twice", pair.sequence);
        else
            d->expected[pair.sequence] = pair.message + 1;
    }
    close_ledger(d);
}

static int do_verify(struct demo *d)
{
    char a[32], auditor[32], *answer = NULL;
    uint64_t whole = 0;

    midge_inbox(d->m, auditor);
    memcpy(auditor, "auditor", strlen("auditor"));
    load_ledger(d);
    d->checks_ledger = true;
    if (d->bad[0] == '\0')
        whole = create_consumer(d, auditor, "none");
    if (d->bad[0] == '\0')
        read_all(d, auditor, "verify", whole);
    if (d->bad[0] == '\0' && d->found != d->promised)
        bad(d, "%" PRIu64 " acknowledged messages are MISSING", d->promised - d->found);
    if (d->bad[0] == '\0') {
        printf("     %s acknowledged messages: all there, at their sequence, byte for byte\n",
               grouped(d->found, a));
        printf("     %s more that were stored before their acknowledgement got out\n",
               grouped(d->extra, a));
        if (midge_js_api(d->m, "CONSUMER.INFO.ORDERS.billing", NULL, 10000, &answer) != MIDGE_OK)
            bad(d, "the consumer of step 2 is gone: %s", midge_error(d->m));
        else
            printf("     the consumer of step 2 goes on behind sequence %s\n",
                   grouped(number_of(strstr(answer, "\"ack_floor\""), "\"stream_seq\":"), a));
        midge_free(answer);
    }
    return finish(d);
}

static int do_delete(struct demo *d, uint64_t sequence)
{
    char body[64];

    snprintf(body, sizeof(body), "{\"seq\":%" PRIu64 "}", sequence);
    if (midge_js_api(d->m, "STREAM.MSG.DELETE.ORDERS", body, 10000, NULL) != MIDGE_OK)
        bad(d, "deleting: %s", midge_error(d->m));
    return finish(d);
}

static bool read_u64(const char *text, uint64_t max, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && text[0] >= '0' && text[0] <= '9' && *out > 0 &&
           *out <= max;
}

static int run(struct demo *d, const char *what, int argc, char **argv)
{
    uint64_t pid;

    if (strcmp(what, "consume") == 0)
        return do_consume(d);
    if (strcmp(what, "verify") == 0)
        return do_verify(d);
    if (argc > 4 && read_u64(argv[4], COUNT_MAX, &d->count)) {
        if (strcmp(what, "fill") == 0)
            return do_fill(d);
        if (strcmp(what, "delete") == 0)
            return do_delete(d, d->count);
        if (strcmp(what, "kill") == 0 && argc > 5 && read_u64(argv[5], INT32_MAX, &pid))
            return do_kill(d, (pid_t) pid);
    }
    fprintf(stderr, "demo_client: see the head of its source\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct demo d = {0};
    struct midge_options o;
    uint64_t port;
    char err[256];
    int status;

    if (argc < 4 || !read_u64(argv[2], 65535, &port)) {
        fprintf(stderr, "usage: demo_client fill|consume|kill|verify PORT LEDGER [COUNT [PID]]\n");
        return 2;
    }
    midge_options_init(&o);
    o.port = (uint16_t) port;
    o.name = "demo";
    d.path = argv[3];
    d.m = midge_connect(&o, err);
    if (d.m == NULL) {
        fprintf(stderr, "demo: %s\n", err);
        return 1;
    }
    status = run(&d, argv[1], argc, argv);
    midge_close(d.m);
    mem_free(d.expected);
    mem_free(d.seen);
    return status;
}
