/*
 * main.c - kafka-bench: what it says at the end, and what both modes need.
 *
 * Exit status: 0 all went well, 1 something failed, 2 the command line makes no sense.
 */
#include "lib/base/mem.h"
#include "tools/kafka-bench/bench.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const struct {
    const char *name;
    double percent;
} percentiles[] = {
    {"p50", 50},       {"p90", 90},         {"p99", 99},  {"p99.9", 99.9},
    {"p99.99", 99.99}, {"p99.999", 99.999}, {"max", 100},
};
#define PERCENTILES (sizeof(percentiles) / sizeof(percentiles[0]))

uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[512];

    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK) {
        fprintf(stderr, "kafka-bench: %s\n", text);
        exit(2);
    }
}

/* As nats-bench does: a paced congestion control would be the limit on the loopback. */
static int open_socket(int domain, int type, int protocol, void *opaque)
{
    int s = socket(domain, type | SOCK_CLOEXEC, protocol);

    (void) opaque;
    if (s >= 0)
        setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
    return s;
}

rd_kafka_conf_t *conf_new(const struct bench *b)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    set(conf, "bootstrap.servers", b->o.broker);
    set(conf, "broker.address.family", "v4");
    rd_kafka_conf_set_socket_cb(conf, open_socket);
    return conf;
}

/* Fields 14 and 15 of its line, counted from the end of the name, which is in parentheses. */
uint64_t broker_cpu_ms(const struct bench *b)
{
    char path[64], text[1024], *at;
    uint64_t ticks = 0;
    size_t n;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/stat", b->o.pid);
    f = b->o.pid > 0 ? fopen(path, "r") : NULL;
    if (f == NULL)
        return 0;
    n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 15; field++) {
        at = strchr(at + 1, ' ');
        if (at != NULL && field >= 13)
            ticks += strtoull(at + 1, NULL, 10);
    }
    return ticks * 1000 / (uint64_t) sysconf(_SC_CLK_TCK);
}

static void print(const struct bench *b)
{
    double seconds = (double) (b->ended - b->begun) / 1e9;
    double rate = (double) b->messages / seconds, mb = (double) b->bytes / seconds / 1e6;
    double cpu = (double) (b->cpu_ended_ms - b->cpu_begun_ms) / 1e3;
    double per_gb = b->bytes > 0 ? cpu / ((double) b->bytes / 1e9) : 0;

    if (b->o.json)
        printf("{\"messages\":%llu,\"errors\":%llu,\"seconds\":%.3f,\"rate\":%.0f,\"mb\":%.1f,"
               "\"cpu_s_per_gb\":%.3f",
               (unsigned long long) b->messages, (unsigned long long) b->errors, seconds, rate, mb,
               per_gb);
    else
        printf(
            "%llu messages (%llu errors) in %.2f s: %.0f/s, %.1f MB/s; broker %.2f CPU s per GB\n",
            (unsigned long long) b->messages, (unsigned long long) b->errors, seconds, rate, mb,
            per_gb);
    if (b->o.rate > 0)
        for (size_t i = 0; i < PERCENTILES; i++)
            printf(b->o.json ? ",\"%s_us\":%.1f" : "  %s %.1f us", percentiles[i].name,
                   (double) hdr_percentile(&b->latency, percentiles[i].percent) / 1e3);
    printf(b->o.json ? "}\n" : b->o.rate > 0 ? "\n" : "");
}

int main(int argc, char **argv)
{
    struct bench *b = mem_zalloc(sizeof(*b));
    char err[256];
    bool well;

    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        options_print_help();
        mem_free(b);
        return 0;
    }
    if (!options_parse(&b->o, argc, argv, err)) {
        fprintf(stderr, "kafka-bench: %s\n", err);
        mem_free(b);
        return 2;
    }
    well = b->o.mode == MODE_PRODUCE ? bench_produce(b) : bench_drain(b);
    print(b);
    mem_free(b);
    return well ? 0 : 1;
}
