/* options.c - the command line. */
#include "tools/kafka-bench/bench.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option names[] = {
    {"broker", required_argument, NULL, 'b'},
    {"topic", required_argument, NULL, 't'},
    {"partitions", required_argument, NULL, 'p'},
    {"size", required_argument, NULL, 's'},
    {"count", required_argument, NULL, 'n'},
    {"rate", required_argument, NULL, 'r'},
    {"seconds", required_argument, NULL, 'd'},
    {"acks", required_argument, NULL, 'a'},
    {"linger", required_argument, NULL, 'l'},
    {"batch", required_argument, NULL, 'B'},
    {"codec", required_argument, NULL, 'z'},
    {"idempotent", no_argument, NULL, 'i'},
    {"pid", required_argument, NULL, 'P'},
    {"json", no_argument, NULL, 'j'},
    {NULL, 0, NULL, 0},
};

void options_print_help(void)
{
    puts("kafka-bench produce|drain --broker HOST:PORT [option...]\n"
         "  --topic T         default bench; it has to be there\n"
         "  --partitions N    that it has (1)\n"
         "  --count N         messages (1000000); at a rate instead --seconds S\n"
         "  --size N          bytes of a value (1024)\n"
         "  --rate N          messages a second from a fixed schedule; without it as fast as can "
         "be\n"
         "  --acks A          all, 1 or 0 (all)\n"
         "  --linger MS       how long the client waits for more of a batch (5)\n"
         "  --batch N         bytes of a batch (1000000)\n"
         "  --codec C         none, gzip, snappy, lz4, zstd (none)\n"
         "  --idempotent      an idempotent producer\n"
         "  --pid N           the broker's process: its processor time is told\n"
         "  --json            one line of JSON instead of text");
}

static bool number(const char *text, uint64_t *out)
{
    char *end;

    *out = strtoull(text, &end, 10);
    return *text != '\0' && *end == '\0' && *text != '-';
}

static bool take(struct options *o, int c, const char *arg)
{
    uint64_t n = 0;

    switch (c) {
    case 'b':
        o->broker = arg;
        return true;
    case 't':
        o->topic = arg;
        return true;
    case 'a':
        o->acks = arg;
        return true;
    case 'l':
        o->linger_ms = arg;
        return true;
    case 'B':
        o->batch_bytes = arg;
        return true;
    case 'z':
        o->codec = arg;
        return true;
    case 'i':
        return o->idempotent = true;
    case 'j':
        return o->json = true;
    case 's':
        return number(arg, &o->size) && o->size >= 1 && o->size <= 1u << 20;
    case 'n':
        return number(arg, &o->count) && o->count > 0;
    case 'r':
        return number(arg, &o->rate) && o->rate > 0;
    case 'd':
        return number(arg, &o->seconds) && o->seconds > 0;
    case 'p':
        o->partitions = number(arg, &n) && n <= 10000 ? (int) n : 0;
        return o->partitions > 0;
    case 'P':
        o->pid = number(arg, &n) && n <= INT32_MAX ? (int) n : 0;
        return o->pid > 0;
    default:
        return false;
    }
}

bool options_parse(struct options *o, int argc, char **argv, char err[256])
{
    int c;

    *o = (struct options){.topic = "bench",
                          .acks = "all",
                          .linger_ms = "5",
                          .batch_bytes = "1000000",
                          .codec = "none",
                          .partitions = 1,
                          .size = 1024};
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (!take(o, c, optarg)) {
            snprintf(err, 256, "%s: see --help", c == '?' ? "unknown option" : argv[optind - 1]);
            return false;
        }
    }
    if (optind != argc - 1 ||
        (strcmp(argv[optind], "produce") != 0 && strcmp(argv[optind], "drain") != 0)) {
        snprintf(err, 256, "produce or drain?");
        return false;
    }
    o->mode = strcmp(argv[optind], "drain") == 0 ? MODE_DRAIN : MODE_PRODUCE;
    if (o->broker == NULL) {
        snprintf(err, 256, "--broker is needed");
        return false;
    }
    if (o->count == 0)
        o->count = o->rate > 0 && o->seconds > 0 ? o->rate * o->seconds : 1000000;
    return true;
}
