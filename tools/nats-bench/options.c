/* options.c - one table describes every option: its name, kind, place and help text. */
#include "tools/nats-bench/options.h"

#include "lib/base/fmt.h"

#include <stdio.h>
#include <string.h>

enum kind { KIND_COUNT, KIND_SIZE, KIND_DURATION, KIND_TEXT, KIND_FLAG, KIND_SERVER };

struct option {
    const char *name;
    enum kind kind;
    size_t at;    /* offset in struct options */
    uint64_t min; /* least value of a number */
    uint64_t max;
    const char *help;
};

#define AT(field) offsetof(struct options, field)
#define MANY 1000000000000ull

static const struct option table[] = {
    {"server", KIND_SERVER, 0, 0, 0,
     "nats://[user:password@]host:port (nats://127.0.0.1:4222); tls://, ws://, wss://"},
    {"user", KIND_TEXT, AT(login), 0, 0, "user name"},
    {"password", KIND_TEXT, AT(password), 0, 0, "the user's"},
    {"token", KIND_TEXT, AT(token), 0, 0, "instead of a user"},
    {"creds", KIND_TEXT, AT(creds), 0, 0, "file with a user's token and seed"},
    {"nkey", KIND_TEXT, AT(nkey), 0, 0, "file with a user's seed"},
    {"tls", KIND_FLAG, AT(tls), 0, 0, "insist on TLS"},
    {"tls-first", KIND_FLAG, AT(tls_first), 0, 0, "begin with the handshake"},
    {"tls-insecure", KIND_FLAG, AT(tls_insecure), 0, 0, "take any certificate"},
    {"tls-ca", KIND_TEXT, AT(tls_ca), 0, 0, "file of authorities (the system's)"},
    {"tls-cert", KIND_TEXT, AT(tls_cert), 0, 0, "file of our certificate"},
    {"tls-key", KIND_TEXT, AT(tls_key), 0, 0, "file of its key"},
    {"ws", KIND_FLAG, AT(ws), 0, 0, "over WebSocket; with --tls: wss"},
    {"count", KIND_COUNT, AT(count), 1, MANY, "messages over all clients"},
    {"duration", KIND_DURATION, AT(duration_ns), 1, 0, "how long instead of how many (5s)"},
    {"size", KIND_SIZE, AT(size), 0, 64u << 20, "payload bytes (128)"},
    {"clients", KIND_COUNT, AT(clients), 1, 4096, "connections, one thread each (1)"},
    {"receivers", KIND_COUNT, AT(receivers), 0, 4096,
     "pubsub: subscribers, request: responders (1); request with 0: somebody else answers"},
    {"subject", KIND_TEXT, AT(subject), 0, 0, "subject (bench)"},
    {"subjects", KIND_COUNT, AT(subjects), 1, 10000000, "SUBJECT.0 to SUBJECT.n-1 in turn (1)"},
    {"queue", KIND_TEXT, AT(queue), 0, 0, "sub, pubsub: queue group of the subscribers"},
    {"rate", KIND_COUNT, AT(rate), 1, MANY,
     "messages a second over all clients; latency counts from the intended send time"},
    {"window", KIND_COUNT, AT(window), 1, 1u << 24, "js pub: unacknowledged publishes (4096)"},
    {"sync", KIND_FLAG, AT(sync), 0, 0, "js pub: wait for each acknowledgement"},
    {"fast", KIND_FLAG, AT(fast), 0, 0, "js pub: one fast-ingest batch per client"},
    {"purge", KIND_FLAG, AT(purge), 0, 0, "js pub: empty the stream first"},
    {"stream", KIND_TEXT, AT(stream), 0, 0, "stream (BENCH), created when missing"},
    {"storage", KIND_TEXT, AT(storage), 0, 0, "of a created stream: file or memory (file)"},
    {"consumer", KIND_TEXT, AT(consumer), 0, 0, "durable consumer (a temporary one)"},
    {"batch", KIND_COUNT, AT(batch), 1, 1u << 20, "js pull: messages on order (500)"},
    {"ack", KIND_TEXT, AT(ack), 0, 0, "js pull, js push: explicit or none (explicit)"},
    {"server-pid", KIND_COUNT, AT(server_pid), 1, 1u << 30, "measure this process's CPU"},
    {"spin", KIND_COUNT, AT(spin_us), 0, 1000000, "microseconds to look before sleeping (0)"},
    {"congestion", KIND_TEXT, AT(congestion), 0, 0, "TCP congestion control of our side"},
    {"json", KIND_FLAG, AT(json), 0, 0, "results as one JSON object"},
    {"quiet", KIND_FLAG, AT(quiet), 0, 0, "no progress line"},
    {"help", KIND_FLAG, AT(help), 0, 0, "this text"},
};
#define OPTIONS (sizeof(table) / sizeof(table[0]))

static const struct {
    const char *name;
    const char *help;
} modes[] = {
    [MODE_PUB] = {"pub", "publish"},
    [MODE_SUB] = {"sub", "subscribe and count what others publish"},
    [MODE_PUBSUB] = {"pubsub", "publish to our own subscribers; latency of each message"},
    [MODE_REQUEST] = {"request", "requests, one at a time per client; round-trip latency"},
    [MODE_JS_PUB] = {"js pub", "publish to a stream, latency until the acknowledgement"},
    [MODE_JS_PULL] = {"js pull", "consume a stream by pulling"},
    [MODE_JS_PUSH] = {"js push", "consume a stream by a push consumer with flow control"},
    [MODE_JS_ORDERED] = {"js ordered", "read a stream in order without acknowledgements"},
};
#define MODES (sizeof(modes) / sizeof(modes[0]))

const char *options_mode_name(enum mode mode)
{
    return modes[mode].name;
}

bool options_is_js(const struct options *o)
{
    return o->mode >= MODE_JS_PUB;
}

void options_print_help(void)
{
    printf("usage: nats-bench MODE [--option value]...\n\nmodes:\n");
    for (size_t i = 0; i < MODES; i++)
        printf("  %-12s %s\n", modes[i].name, modes[i].help);
    printf("\noptions:\n");
    for (size_t i = 0; i < OPTIONS; i++)
        printf("  --%-12s %s\n", table[i].name, table[i].help);
    printf("\nexample: nats-bench js pub --count 1m --window 32k --server-pid $(pidof "
           "midge-server)\n");
}

/* ---- values ---------------------------------------------------------------------------------- */

static uint64_t multiplier(char letter, uint64_t kilo)
{
    switch (letter) {
    case 'k':
    case 'K':
        return kilo;
    case 'm':
    case 'M':
        return kilo * kilo;
    case 'g':
    case 'G':
        return kilo * kilo * kilo;
    default:
        return 1;
    }
}

static bool read_number(struct str text, uint64_t kilo, uint64_t *out)
{
    uint64_t times = text.n > 0 ? multiplier(text.p[text.n - 1], kilo) : 1;

    if (times > 1)
        text.n--;
    return str_to_u64(text, out) && !__builtin_mul_overflow(*out, times, out);
}

static bool read_duration(struct str text, uint64_t *out)
{
    int64_t ns;

    if (str_to_u64(text, out))
        return !__builtin_mul_overflow(*out, 1000000000u, out);
    if (!fmt_parse_go_duration(text, &ns) || ns < 0)
        return false;
    *out = (uint64_t) ns;
    return true;
}

static bool copy_part(char *out, size_t room, struct str s)
{
    if (s.n >= room)
        return false;
    if (s.n > 0) /* an empty text may have no address */
        memcpy(out, s.p, s.n);
    out[s.n] = '\0';
    return true;
}

/* Cuts the scheme off, and notes what it means; the port that goes without saying. */
static uint64_t read_scheme(struct options *o, struct str *url)
{
    static const struct {
        const char *name;
        bool tls, ws;
        uint16_t port;
    } schemes[] = {{"nats://", false, false, 4222},
                   {"tls://", true, false, 4222},
                   {"ws://", false, true, 80},
                   {"wss://", true, true, 443}};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (!str_starts(*url, str_of(schemes[i].name)))
            continue;
        *url = str_skip(*url, strlen(schemes[i].name));
        o->tls |= schemes[i].tls;
        o->ws |= schemes[i].ws;
        return schemes[i].port;
    }
    return 4222;
}

static bool read_server(struct options *o, struct str url)
{
    uint64_t number = read_scheme(o, &url);
    struct str host, login, port, path;
    size_t at;

    host = url = str_cut(url, '/', &path);
    if (!copy_part(o->path, sizeof(o->path), path))
        return false;
    at = str_index(url, '@');
    if (at < url.n) {
        login = str_cut(url, '@', &host);
        login = str_cut(login, ':', &port);
        if (!copy_part(o->user, sizeof(o->user), login) ||
            !copy_part(o->pass, sizeof(o->pass), port))
            return false;
    }
    if (str_index(host, ':') < host.n) {
        host = str_cut(host, ':', &port);
        if (!str_to_u64(port, &number) || number == 0 || number > 65535)
            return false;
    }
    o->port = (uint16_t) number;
    return host.n > 0 && copy_part(o->host, sizeof(o->host), host);
}

static bool bad_value(char err[256], const struct option *opt, const char *value, const char *want)
{
    snprintf(err, 256, "--%s %.80s: %s", opt->name, value, want);
    return false;
}

static bool take_number(void *place, const struct option *opt, const char *value, char err[256])
{
    uint64_t v;
    char want[96];

    if (!read_number(str_of(value), opt->kind == KIND_SIZE ? 1024 : 1000, &v))
        return bad_value(err, opt, value, "not a number (digits, then k, m, g or nothing)");
    if (v < opt->min || v > opt->max) {
        snprintf(want, sizeof(want), "must be %llu to %llu", (unsigned long long) opt->min,
                 (unsigned long long) opt->max);
        return bad_value(err, opt, value, want);
    }
    memcpy(place, &v, sizeof(v));
    return true;
}

static bool take_value(struct options *o, const struct option *opt, const char *value,
                       char err[256])
{
    void *place = (char *) o + opt->at;
    uint64_t ns;

    switch (opt->kind) {
    case KIND_COUNT:
    case KIND_SIZE:
        return take_number(place, opt, value, err);
    case KIND_DURATION:
        if (!read_duration(str_of(value), &ns) || ns < opt->min)
            return bad_value(err, opt, value, "not a duration (seconds, or as 1m30s, 500ms)");
        memcpy(place, &ns, sizeof(ns));
        return true;
    case KIND_SERVER:
        return read_server(o, str_of(value)) ||
               bad_value(err, opt, value, "not nats://[user:password@]host:port");
    case KIND_TEXT:
        if (value[0] == '\0' || strpbrk(value, " \t\r\n") != NULL)
            return bad_value(err, opt, value, "must not be empty or hold blanks");
        memcpy(place, &value, sizeof(value));
        return true;
    case KIND_FLAG:
        break;
    }
    return bad_value(err, opt, value, "takes no value");
}

/* ---- names ----------------------------------------------------------------------------------- */

#define LONGEST_NAME 16

/* How many letters must be changed, added or dropped to make b of a. */
static unsigned distance(struct str a, const char *b)
{
    unsigned row[LONGEST_NAME + 1];
    size_t n = strlen(b);

    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; i < a.n; i++) {
        unsigned corner = row[0]++;
        for (size_t j = 0; j < n; j++) {
            unsigned change = corner + (a.p[i] != b[j]);
            unsigned other = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
            corner = row[j + 1];
            row[j + 1] = change < other ? change : other;
        }
    }
    return row[n];
}

static void unknown_option(struct str name, char err[256])
{
    const struct option *best = &table[0];

    for (size_t i = 1; i < OPTIONS; i++)
        if (distance(name, table[i].name) < distance(name, best->name))
            best = &table[i];
    if (distance(name, best->name) <= 2)
        snprintf(err, 256, "unknown option --%.*s; did you mean --%s?", STR_ARG(name), best->name);
    else
        snprintf(err, 256, "unknown option --%.*s; --help lists them", STR_ARG(str_take(name, 60)));
}

static const struct option *find_option(struct str name)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (str_eq(name, str_of(table[i].name)))
            return &table[i];
    return NULL;
}

/* Takes the option at argv[*i], and its value; advances *i to the last argument used. */
static bool take_option(struct options *o, int argc, char **argv, int *i, char err[256])
{
    struct str name = str_of(argv[*i]), value = STR_NONE;
    const struct option *opt;
    bool on = true;

    name = str_skip(name, str_starts(name, STR("--")) ? 2 : 1);
    if (str_index(name, '=') < name.n)
        name = str_cut(name, '=', &value);
    opt = find_option(name);
    if (opt == NULL) {
        unknown_option(name, err);
        return false;
    }
    if (opt->kind == KIND_FLAG && value.p == NULL) {
        memcpy((char *) o + opt->at, &on, sizeof(on));
        return true;
    }
    if (value.p == NULL && ++*i == argc) {
        snprintf(err, 256, "--%s needs a value: %s", opt->name, opt->help);
        return false;
    }
    return take_value(o, opt, value.p != NULL ? value.p : argv[*i], err);
}

static bool take_mode(struct options *o, const char *words, char err[256])
{
    for (size_t i = 0; i < MODES; i++) {
        if (strcmp(words, modes[i].name) == 0) {
            o->mode = (enum mode) i;
            return true;
        }
    }
    if (words[0] == '\0')
        snprintf(err, 256, "which mode? pub, sub, pubsub, request, or js pub, pull, push, ordered");
    else
        snprintf(err, 256, "unknown mode \"%s\"; --help lists them", words);
    return false;
}

static bool one_of(const char *option, const char *value, const char *a, const char *b,
                   char err[256])
{
    if (strcmp(value, a) == 0 || strcmp(value, b) == 0)
        return true;
    snprintf(err, 256, "--%s %.80s: must be %s or %s", option, value, a, b);
    return false;
}

static bool complete(struct options *o, char err[256])
{
    if (o->sync)
        o->window = 1;
    if (o->count > 0 && o->count < o->clients) {
        snprintf(err, 256, "--count %llu is less than one message for each of %llu clients",
                 (unsigned long long) o->count, (unsigned long long) o->clients);
        return false;
    }
    if (o->rate > 0 && o->mode != MODE_PUBSUB && o->mode != MODE_REQUEST &&
        o->mode != MODE_JS_PUB && o->mode != MODE_PUB) {
        snprintf(err, 256, "--rate is for modes that publish");
        return false;
    }
    if (o->mode == MODE_PUBSUB && (o->receivers == 0 || o->size < 8)) {
        snprintf(err, 256,
                 "pubsub needs --receivers 1 or more and --size 8 or more (for the time)");
        return false;
    }
    if (o->count == 0 && o->duration_ns == 0 && (o->mode <= MODE_JS_PUB && o->mode != MODE_SUB))
        o->duration_ns = 5000000000u;
    return one_of("storage", o->storage, "file", "memory", err) &&
           one_of("ack", o->ack, "explicit", "none", err);
}

void options_connection(const struct options *o, struct midge_options *out)
{
    midge_options_init(out);
    out->host = o->host;
    out->port = o->port;
    out->user = o->login != NULL ? o->login : o->user[0] != '\0' ? o->user : NULL;
    out->pass = o->password != NULL ? o->password : o->pass[0] != '\0' ? o->pass : NULL;
    out->token = o->token;
    out->creds = o->creds;
    out->nkey = o->nkey;
    out->tls = o->tls || o->tls_first;
    out->tls_first = o->tls_first;
    out->tls_insecure = o->tls_insecure;
    out->tls_ca = o->tls_ca;
    out->tls_cert = o->tls_cert;
    out->tls_key = o->tls_key;
    out->websocket = o->ws;
    out->ws_path = o->path;
}

bool options_parse(struct options *o, int argc, char **argv, char err[256])
{
    char words[64] = "";

    *o = (struct options){.host = "127.0.0.1",
                          .port = 4222,
                          .size = 128,
                          .clients = 1,
                          .receivers = 1,
                          .subjects = 1,
                          .subject = "bench",
                          .batch = 500,
                          .window = 4096,
                          .stream = "BENCH",
                          .storage = "file",
                          .ack = "explicit"};
    for (int i = 1; i < argc; i++) {
        size_t n = strlen(words);
        if (argv[i][0] == '-') {
            if (!take_option(o, argc, argv, &i, err))
                return false;
        } else {
            snprintf(words + n, sizeof(words) - n, "%s%s", n > 0 ? " " : "", argv[i]);
        }
    }
    return o->help || (take_mode(o, words, err) && complete(o, err));
}
