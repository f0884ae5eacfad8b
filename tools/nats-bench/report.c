/* report.c - the progress line, the table, the JSON object. */
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "tools/nats-bench/bench.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    double percent;
} percentiles[] = {
    {"p50", 50},       {"p90", 90},         {"p99", 99},  {"p99.9", 99.9},
    {"p99.99", 99.99}, {"p99.999", 99.999}, {"max", 100},
};
#define PERCENTILES (sizeof(percentiles) / sizeof(percentiles[0]))

/* The clients of one role, added up. */
struct sum {
    const struct role *role;
    unsigned clients;
    uint64_t messages, bytes, errors, first, last;
    struct hdr *latency;
};

static unsigned add_up(const struct bench *b, struct sum sums[MAX_ROLES])
{
    unsigned n = 0;

    for (unsigned i = 0; i < b->nclients; i++) {
        const struct client *c = &b->clients[i];
        struct sum *s = n > 0 ? &sums[n - 1] : NULL;
        if (s == NULL || s->role != c->role) {
            s = &sums[n++];
            *s = (struct sum){.role = c->role, .first = UINT64_MAX};
            s->latency = mem_zalloc(sizeof(*s->latency));
        }
        s->clients++;
        s->messages += c->messages;
        s->bytes += c->bytes;
        s->errors += c->errors;
        s->first = c->first < s->first ? c->first : s->first;
        s->last = c->last > s->last ? c->last : s->last;
        hdr_merge(s->latency, c->latency);
    }
    return n;
}

static double seconds(const struct sum *s)
{
    return s->last > s->first ? (double) (s->last - s->first) / 1e9 : 0;
}

static double per_second(uint64_t n, const struct sum *s)
{
    return s->last > s->first ? (double) n / seconds(s) : 0;
}

/* 1234567 as "1,234,567". */
static const char *grouped(uint64_t v, char out[32])
{
    char digits[24];
    size_t n = (size_t) snprintf(digits, sizeof(digits), "%llu", (unsigned long long) v), at = 0;

    for (size_t i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

static const char *human_time(uint64_t ns, char out[32])
{
    double v = (double) ns;

    if (ns < 1000)
        snprintf(out, 32, "%llu ns", (unsigned long long) ns);
    else if (v < 1e6)
        snprintf(out, 32, "%.1f us", v / 1e3);
    else if (v < 1e9)
        snprintf(out, 32, "%.2f ms", v / 1e6);
    else
        snprintf(out, 32, "%.2f s", v / 1e9);
    return out;
}

/* ---- progress -------------------------------------------------------------------------------- */

void report_progress(const struct bench *b, bool last)
{
    const struct role *role = b->clients[0].role;
    uint64_t done = 0, elapsed = midge_now() - b->start;
    uint64_t goal = b->o.count > 0 ? b->o.count : b->goal < UINT64_MAX ? b->goal : 0;
    char number[32], rate[32];

    for (unsigned i = 0; i < b->nclients; i++)
        if (b->clients[i].role == role)
            done += atomic_load_explicit(&b->clients[i].progress, memory_order_relaxed);
    fprintf(stderr, "\r%s %s", role->name, grouped(done, number));
    if (goal > 0)
        fprintf(stderr, " of %s", grouped(goal, number));
    fprintf(stderr, ", %s/s, %.1f s\033[K",
            grouped(elapsed > 0 ? (uint64_t) ((double) done * 1e9 / (double) elapsed) : 0, rate),
            (double) elapsed / 1e9);
    if (last)
        fprintf(stderr, "\r\033[K");
    fflush(stderr);
}

/* ---- text ------------------------------------------------------------------------------------ */

static void print_head(const struct bench *b)
{
    const struct options *o = &b->o;

    printf("nats-bench %s at %s:%u: %llu B, %llu client%s", options_mode_name(o->mode), o->host,
           o->port, (unsigned long long) o->size, (unsigned long long) o->clients,
           o->clients == 1 ? "" : "s");
    if (o->subjects > 1)
        printf(", %llu subjects", (unsigned long long) o->subjects);
    if (b->stream_text[0] != '\0')
        printf(", %s", b->stream_text);
    if (o->mode == MODE_JS_PUB)
        printf(o->window == 1 ? ", each acknowledged before the next" : ", window %llu",
               (unsigned long long) o->window);
    if (o->mode == MODE_JS_PULL)
        printf(", batch %llu", (unsigned long long) o->batch);
    if (o->mode == MODE_JS_PULL || o->mode == MODE_JS_PUSH)
        printf(", acks %s", o->ack);
    if (o->rate > 0)
        printf(", %llu/s", (unsigned long long) o->rate);
    printf("\n\n");
}

static void print_latency(const struct sum *s)
{
    char text[32];

    printf("  %-11s", s->role->name);
    for (size_t i = 0; i < PERCENTILES; i++)
        printf(" %10s", human_time(hdr_percentile(s->latency, percentiles[i].percent), text));
    printf("\n");
}

static void print_cpu(const struct bench *b, const struct sum *s)
{
    double cpu = (double) (b->cpu_after - b->cpu_before);

    if (b->o.server_pid == 0 || b->cpu_after < b->cpu_before)
        return;
    printf("\n  server CPU  %.2f s, %.0f ns a message, %.0f %% of one core\n", cpu / 1e9,
           s->messages > 0 ? cpu / (double) s->messages : 0,
           100 * cpu / (double) (b->end - b->start));
}

static void print_text(const struct bench *b, const struct sum *sums, unsigned n)
{
    char a[32], c[32];
    bool latencies = false;

    print_head(b);
    printf("  %-11s %14s %10s %14s %10s %8s\n", "", "messages", "seconds", "messages/s", "MB/s",
           "errors");
    for (unsigned i = 0; i < n; i++) {
        const struct sum *s = &sums[i];
        printf("  %-11s %14s %10.3f %14s %10.1f %8llu\n", s->role->name, grouped(s->messages, a),
               seconds(s), grouped((uint64_t) per_second(s->messages, s), c),
               per_second(s->bytes, s) / 1e6, (unsigned long long) s->errors);
        latencies |= s->latency->count > 0;
    }
    if (latencies) {
        printf("\n  %-11s", "latency");
        for (size_t i = 0; i < PERCENTILES; i++)
            printf(" %10s", percentiles[i].name);
        printf("\n");
    }
    for (unsigned i = 0; i < n; i++)
        if (sums[i].latency->count > 0)
            print_latency(&sums[i]);
    print_cpu(b, &sums[0]);
    if (b->unacked > 0)
        printf("  %s messages are delivered and not acknowledged\n", grouped(b->unacked, a));
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_text(struct buf *j, const char *key, const char *value)
{
    buf_printf(j, "\"%s\":\"", key);
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            buf_putc(j, '\\');
        if ((unsigned char) *p < ' ')
            buf_printf(j, "\\u%04x", (unsigned) (unsigned char) *p);
        else
            buf_putc(j, *p);
    }
    buf_puts(j, "\",");
}

static void put_number(struct buf *j, const char *key, uint64_t value)
{
    buf_printf(j, "\"%s\":%llu,", key, (unsigned long long) value);
}

/* Replaces the comma behind the last member. */
static void close_object(struct buf *j)
{
    if (j->p[j->n - 1] == ',')
        j->n--;
    buf_putc(j, '}');
}

static void put_role(struct buf *j, const struct sum *s)
{
    buf_putc(j, '{');
    put_text(j, "role", s->role->name);
    put_number(j, "clients", s->clients);
    put_number(j, "messages", s->messages);
    put_number(j, "bytes", s->bytes);
    put_number(j, "errors", s->errors);
    buf_printf(j, "\"seconds\":%.6f,\"messages_per_second\":%.0f,\"bytes_per_second\":%.0f,",
               seconds(s), per_second(s->messages, s), per_second(s->bytes, s));
    if (s->latency->count > 0) {
        buf_puts(j, "\"latency_ns\":{");
        put_number(j, "count", s->latency->count);
        put_number(j, "min", s->latency->min);
        buf_printf(j, "\"mean\":%.0f,", hdr_mean(s->latency));
        for (size_t i = 0; i < PERCENTILES; i++)
            put_number(j, percentiles[i].name, hdr_percentile(s->latency, percentiles[i].percent));
        close_object(j);
    }
    close_object(j);
}

static void print_json(const struct bench *b, const struct sum *sums, unsigned n)
{
    const struct options *o = &b->o;
    struct buf j = {0};

    buf_putc(&j, '{');
    put_text(&j, "mode", options_mode_name(o->mode));
    buf_printf(&j, "\"server\":\"%s:%u\",", o->host, o->port);
    put_number(&j, "size", o->size);
    put_number(&j, "clients", o->clients);
    put_number(&j, "subjects", o->subjects);
    put_number(&j, "rate", o->rate);
    if (options_is_js(o))
        put_text(&j, "stream", b->stream_text);
    if (o->mode == MODE_JS_PUB)
        put_number(&j, "window", o->window);
    if (o->mode == MODE_JS_PULL)
        put_number(&j, "batch", o->batch);
    buf_puts(&j, "\"roles\":[");
    for (unsigned i = 0; i < n; i++) {
        put_role(&j, &sums[i]);
        if (i + 1 < n)
            buf_putc(&j, ',');
    }
    buf_puts(&j, "],");
    put_number(&j, "unacknowledged", b->unacked);
    if (o->server_pid != 0 && b->cpu_after >= b->cpu_before) {
        uint64_t cpu = b->cpu_after - b->cpu_before;
        put_number(&j, "server_cpu_ns", cpu);
        buf_printf(&j, "\"server_cpu_ns_per_message\":%.1f,",
                   sums[0].messages > 0 ? (double) cpu / (double) sums[0].messages : 0);
    }
    close_object(&j);
    puts(buf_cstr(&j));
    buf_free(&j);
}

void report_print(const struct bench *b)
{
    struct sum sums[MAX_ROLES];
    unsigned n = add_up(b, sums);

    if (b->o.json)
        print_json(b, sums, n);
    else
        print_text(b, sums, n);
    for (unsigned i = 0; i < n; i++)
        mem_free(sums[i].latency);
}
