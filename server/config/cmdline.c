/*
 * cmdline.c - flags by a table.
 *
 * Two passes: the first finds -c (the configuration file is applied before any other flag), the
 * second applies all flags in their order. Go's rules: one or two dashes, "-f=v" or "-f v",
 * booleans alone or "=true|false", "--" ends the flags, bare words "version" and "help". A wrong
 * flag prints its line to stderr and the usage to stdout, and leaves with 0, as the peer does. A
 * value that no server can run with, a bare word, and everything about the file leave with 1.
 */
#include "server/config/cmdline.h"

#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "server/config/config_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum action {
    SET_TEXT,
    SET_INT,
    SET_UNSIGNED,
    SET_SIZE,
    SET_FLAG,
    SET_BOTH_TRACES,
    SET_KAFKA,
    CONFIG,
    CHECK,
    VERSION,
    HELP,
    HELP_TLS,
    /* What one server of this kind does not do is taken, and named in the log (inactive). */
    CLUSTER_NAME,
    CLUSTER_URL,
    CLUSTER_ROUTES,
    CLUSTER_TEXT,
    CLUSTER_FLAG,
    CLUSTER_INT,
    PROFILE
};

struct flag {
    const char *name;
    enum action action;
    size_t offset;
    const char *argument; /* for the usage text; NULL = none */
    const char *help;     /* NULL = another name of the flag above */
};

#define AT(member) offsetof(struct options, member)

static const struct flag flags[] = {
    {"a", SET_TEXT, AT(host), "host", "Bind to this address (default 0.0.0.0)"},
    {"addr", SET_TEXT, AT(host), "host", NULL},
    {"net", SET_TEXT, AT(host), "host", NULL},
    {"p", SET_INT, AT(port), "port",
     "Listen for clients on this port (default 4222; -1 = any free one)"},
    {"port", SET_INT, AT(port), "port", NULL},
    {"n", SET_TEXT, AT(server_name), "name", "Name of this server (default: its id)"},
    {"name", SET_TEXT, AT(server_name), "name", NULL},
    {"server_name", SET_TEXT, AT(server_name), "name", NULL},
    {"P", SET_TEXT, AT(pid_file), "file", "Write the process id to this file"},
    {"pid", SET_TEXT, AT(pid_file), "file", NULL},
    {"m", SET_INT, AT(http_port), "port", "Monitoring over HTTP on this port (-1 = any free one)"},
    {"http_port", SET_INT, AT(http_port), "port", NULL},
    {"ms", SET_INT, AT(https_port), "port", "Monitoring over HTTPS on this port"},
    {"https_port", SET_INT, AT(https_port), "port", NULL},
    {"c", CONFIG, 0, "file", "Configuration file; the other flags win over it"},
    {"config", CONFIG, 0, "file", NULL},
    {"t", CHECK, 0, NULL, "Check the configuration file and exit"},
    {"client_advertise", SET_TEXT, AT(client_advertise), "host:port",
     "Address that clients are told"},
    {"ports_file_dir", SET_TEXT, AT(ports_file_dir), "dir",
     "Write a file with all ports into this directory"},
    {"l", SET_TEXT, AT(log_file), "file", "Log to this file (default: stderr)"},
    {"log", SET_TEXT, AT(log_file), "file", NULL},
    {"T", SET_FLAG, AT(logtime), NULL, "Time stamps in the log (default true)"},
    {"logtime", SET_FLAG, AT(logtime), NULL, NULL},
    {"logtime_utc", SET_FLAG, AT(logtime_utc), NULL, "Time stamps in UTC"},
    {"s", SET_FLAG, AT(syslog), NULL, "Log to the system's logger"},
    {"syslog", SET_FLAG, AT(syslog), NULL, NULL},
    {"r", SET_TEXT, AT(remote_syslog), "url", "Log to the one at udp://, tcp:// or unix://"},
    {"remote_syslog", SET_TEXT, AT(remote_syslog), "url", NULL},
    {"log_size_limit", SET_SIZE, AT(log_size_limit), "bytes",
     "Begin a new log file above this size"},
    {"D", SET_FLAG, AT(debug), NULL, "Log debug messages"},
    {"debug", SET_FLAG, AT(debug), NULL, NULL},
    {"V", SET_FLAG, AT(trace), NULL, "Log the raw protocol"},
    {"trace", SET_FLAG, AT(trace), NULL, NULL},
    {"DV", SET_BOTH_TRACES, 0, NULL, "Both -D and -V"},
    {"VV", SET_FLAG, AT(trace), NULL, "Log the raw protocol, of the system account too"},
    {"DVV", SET_BOTH_TRACES, 0, NULL, "Both -D and -VV"},
    {"max_traced_msg_len", SET_INT, AT(max_traced_msg_len), "bytes",
     "Longest payload in a trace line"},
    {"js", SET_FLAG, AT(jetstream), NULL, "Turn JetStream on"},
    {"jetstream", SET_FLAG, AT(jetstream), NULL, NULL},
    {"sd", SET_TEXT, AT(store_dir), "dir", "Directory for streams"},
    {"store_dir", SET_TEXT, AT(store_dir), "dir", NULL},
    {"user", SET_TEXT, AT(user), "name", "User that clients must give"},
    {"pass", SET_TEXT, AT(pass), "password", "Password that clients must give"},
    {"auth", SET_TEXT, AT(token), "token", "Token that clients must give"},
    {"tls", SET_FLAG, AT(tls.on), NULL, "Clients must use TLS"},
    {"tlsverify", SET_FLAG, AT(tls.verify), NULL, "Clients must have a certificate too"},
    {"tlscert", SET_TEXT, AT(tls.cert_file), "file", "Certificate of the server"},
    {"tlskey", SET_TEXT, AT(tls.key_file), "file", "Its private key"},
    {"tlscacert", SET_TEXT, AT(tls.ca_file), "file", "Certificates that sign those of clients"},
    {"kafka", SET_KAFKA, 0, "[host:port]", "Listen for Kafka clients (default 127.0.0.1:9092)"},
    {"workers", SET_UNSIGNED, AT(workers), "n", "Worker threads (default: cores - 1, at least 1)"},
    {"spread", SET_FLAG, AT(spread), NULL,
     "Give connections and streams to workers in turn, whatever their load"},
    {"io", SET_TEXT, AT(io_backend), "backend", "I/O backend: uring, event or auto (default auto)"},
    {"pool", SET_SIZE, AT(pool_bytes), "bytes",
     "Prewritten store files kept ready (default 512 MiB)"},
    {"cache", SET_SIZE, AT(cache_bytes), "bytes",
     "Messages kept in memory for readers (default 64 MiB)"},
    {"memory", SET_SIZE, AT(memory_bytes), "bytes",
     "Limit of all buffers together (default: three quarters of what there is)"},
    {"congestion", SET_TEXT, AT(congestion), "name",
     "TCP congestion control of connections, as cubic"},
    {"sl", SET_TEXT, AT(signal), "signal",
     "Send ldm, stop, quit, term, reopen or reload[=pid or pid file] to a server and exit"},
    {"signal", SET_TEXT, AT(signal), "signal", NULL},
    {"cluster_name", CLUSTER_NAME, AT(cluster_name), "name",
     "Name of a cluster that clients are shown; there is none"},
    {"cluster", CLUSTER_URL, 0, "url", "Taken, and without effect, as the next ones"},
    {"cluster_listen", CLUSTER_URL, 0, "url", NULL},
    {"routes", CLUSTER_ROUTES, 0, "urls", "Routes of a cluster"},
    {"cluster_advertise", CLUSTER_TEXT, 0, "host:port", "What a cluster is told"},
    {"no_advertise", CLUSTER_FLAG, 0, NULL, "What clients are told of it"},
    {"connect_retries", CLUSTER_INT, 0, "n", "How often routes are tried"},
    {"profile", PROFILE, 0, "port", "Port of a profiler"},
    {"v", VERSION, 0, NULL, "Print the version and exit"},
    {"version", VERSION, 0, NULL, NULL},
    {"h", HELP, 0, NULL, "Print this text and exit"},
    {"help", HELP, 0, NULL, NULL},
    {"help_tls", HELP_TLS, 0, NULL, "Print how TLS is configured and exit"},
};

struct parser {
    int argc;
    char **argv;
    int next;
    const char *program;
    struct options *options;
    const char *config, *routes, *cluster;
    bool check;
    enum { GO_ON, SAID_ALL, FAILED } end;
};

/* ---- texts ----------------------------------------------------------------------------------- */

static void usage(FILE *out, const char *program)
{
    fprintf(out, "Usage: %s [options]\n\n", program);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        char names[96];
        int n;
        if (flags[i].help == NULL)
            continue;
        n = snprintf(names, sizeof(names), "-%s", flags[i].name);
        for (size_t k = i + 1; k < ARRAY_LEN(flags) && flags[k].help == NULL; k++)
            n += snprintf(names + n, sizeof(names) - (size_t) n, ", --%s", flags[k].name);
        if (flags[i].argument != NULL)
            snprintf(names + n, sizeof(names) - (size_t) n, " <%s>", flags[i].argument);
        fprintf(out, "  %-40s %s\n", names, flags[i].help);
    }
}

__attribute__((format(printf, 2, 3))) static void fail(struct parser *p, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    usage(stdout, p->program);
    p->end = SAID_ALL;
}

static void help_tls(void)
{
    puts("How clients connect with TLS says the tls block of the configuration file:\n\n"
         "    tls {\n"
         "        cert_file: \"server.pem\"\n"
         "        key_file: \"server-key.pem\"\n"
         "        ca_file: \"ca.pem\"          # who signs clients' certificates\n"
         "        verify: true                # clients must have one\n"
         "        verify_and_map: false       # and it says which user they are\n"
         "        timeout: 2                  # seconds for the handshake\n"
         "        min_version: \"1.2\"\n"
         "        handshake_first: false      # INFO comes behind the handshake\n"
         "        pinned_certs: [ \"<SHA-256 of a public key, in hex>\" ]\n"
         "        cipher_suites: [ \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\" ]\n"
         "        curve_preferences: [ \"X25519\", \"CurveP256\", \"CurveP384\", \"CurveP521\" ]\n"
         "        ocsp_peer: true             # are clients' certificates revoked?\n"
         "    }\n"
         "    ocsp_cache: true                # and remember the answers\n\n"
         "Suites have their names of the registry (TLS_...), as OpenSSL knows them. With --tls\n"
         "instead of a block: --tlscert, --tlskey, --tlscacert, --tlsverify.");
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool parse_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcmp(text, yes[i]) == 0) {
            *out = true;
            return true;
        }
        if (strcmp(text, no[i]) == 0) {
            *out = false;
            return true;
        }
    }
    return false;
}

static void set_number(struct parser *p, const struct flag *f, const char *text)
{
    char *at = (char *) p->options + f->offset;
    int64_t v;

    if (!str_to_i64(str_of(text), &v) || (f->action != SET_INT && v < 0) ||
        v > INT32_MAX * 4096ll || (f->action != SET_SIZE && v > INT32_MAX)) {
        fail(p, "invalid value \"%s\" for flag -%s: parse error", text, f->name);
        return;
    }
    if (f->action == SET_INT)
        *(int *) (void *) at = (int) v;
    else if (f->action == SET_UNSIGNED)
        *(unsigned *) (void *) at = (unsigned) v;
    else
        *(uint64_t *) (void *) at = (uint64_t) v;
}

static void set_flag(struct parser *p, const struct flag *f, const char *value)
{
    bool on = true;

    if (value != NULL && !parse_bool(value, &on)) {
        fail(p, "invalid boolean value \"%s\" for -%s: parse error", value, f->name);
        return;
    }
    if (f->action == SET_BOTH_TRACES)
        p->options->debug = p->options->trace = on;
    else
        *(bool *) ((char *) p->options + f->offset) = on;
}

static void set_text(struct options *o, size_t offset, const char *value)
{
    char **at = (char **) (void *) ((char *) o + offset);

    mem_free(*at);
    *at = mem_strdup(value);
}

/* "host:port", ":port" or a port; nothing: the default. */
static void set_kafka(struct parser *p, const struct flag *f, const char *value)
{
    const char *colon = value != NULL ? strrchr(value, ':') : NULL;
    const char *port = colon != NULL ? colon + 1 : value;
    int64_t n = OPTIONS_KAFKA_PORT;

    if (value != NULL && (!str_to_i64(str_of(port), &n) || n < -1 || n > OPTIONS_PORT_MAX)) {
        fail(p, "invalid value \"%s\" for flag -%s: parse error", value, f->name);
        return;
    }
    if (colon != NULL && colon > value) {
        mem_free(p->options->kafka_host);
        p->options->kafka_host = mem_strndup(value, (size_t) (colon - value));
    }
    p->options->kafka_port = (int) n;
}

static void refuse(struct parser *p, const char *why)
{
    fprintf(stderr, "%s: %s\n", p->program, why);
    p->end = FAILED;
}

/* scheme://host:port, that much of it. */
static bool is_cluster_url(const char *url)
{
    const char *host = strstr(url, "://");
    return host != NULL && strchr(host + 3, ':') != NULL;
}

/* Flags of what is not there: right or wrong as at the peer, kept as a name alone. */
static void set_inactive(struct parser *p, const struct flag *f, const char *value)
{
    int64_t n = 0;
    bool on;

    if (f->action >= CLUSTER_INT && !str_to_i64(str_of(value), &n))
        fail(p, "invalid value \"%s\" for flag -%s: parse error", value, f->name);
    if (f->action == CLUSTER_FLAG && value != NULL && !parse_bool(value, &on))
        fail(p, "invalid boolean value \"%s\" for -%s: parse error", value, f->name);
    if (f->action == CLUSTER_NAME)
        set_text(p->options, f->offset, value);
    if (f->action == CLUSTER_ROUTES)
        p->routes = value;
    if (f->action == CLUSTER_URL)
        p->cluster = value;
    if (f->action == CLUSTER_URL && *value != '\0' && !is_cluster_url(value))
        refuse(p, "missing port in address");
    if (f->action == PROFILE && (n < -1 || n > OPTIONS_PORT_MAX))
        refuse(p, "error starting profiler: invalid port");
    if (f->action == PROFILE && n != 0)
        options_note_inactive(p->options, "prof_port");
    if (f->action != PROFILE && (f->action != CLUSTER_URL || *value != '\0'))
        options_note_inactive(p->options, f->name);
}

static void apply(struct parser *p, const struct flag *f, const char *value)
{
    switch (f->action) {
    case SET_TEXT:
        set_text(p->options, f->offset, value);
        break;
    case SET_INT:
    case SET_UNSIGNED:
    case SET_SIZE:
        set_number(p, f, value);
        break;
    case SET_FLAG:
    case SET_BOTH_TRACES:
        set_flag(p, f, value);
        break;
    case SET_KAFKA:
        set_kafka(p, f, value);
        break;
    case CLUSTER_NAME:
    case CLUSTER_URL:
    case CLUSTER_ROUTES:
    case CLUSTER_TEXT:
    case CLUSTER_FLAG:
    case CLUSTER_INT:
    case PROFILE:
        set_inactive(p, f, value);
        break;
    case CONFIG:
        p->config = value;
        break;
    case CHECK:
        p->check = true;
        break;
    default:
        break;
    }
}

/* ---- passes ---------------------------------------------------------------------------------- */

static const struct flag *find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (str_eq(str_of(flags[i].name), name))
            return &flags[i];
    return NULL;
}

/* Of a flag that may do without: is this its value, or the next flag? "-1" is a port. */
static bool is_value(const char *arg)
{
    return arg[0] != '-' || strcmp(arg, "-1") == 0;
}

/* Takes the next argument as a flag with its value; NULL at the end or after an error. */
static const struct flag *next_flag(struct parser *p, const char **value)
{
    const char *arg;
    struct str name, rest;
    const struct flag *f;

    *value = NULL;
    if (p->next >= p->argc)
        return NULL;
    arg = p->argv[p->next++];
    if (strcmp(arg, "version") == 0 || strcmp(arg, "help") == 0)
        return find(str_of(arg));
    if (arg[0] != '-' || arg[1] == '\0') {
        fprintf(stderr, "%s: unrecognized command: \"%s\"\n", p->program, arg);
        p->end = FAILED;
        return NULL;
    }
    if (strcmp(arg, "--") == 0)
        return NULL;
    name = str_cut(str_of(arg + (arg[1] == '-' ? 2 : 1)), '=', &rest);
    f = find(name);
    if (f == NULL) {
        fail(p, "flag provided but not defined: -%.*s", STR_ARG(name));
        return NULL;
    }
    if (rest.p != NULL)
        *value = rest.p;
    else if (f->argument != NULL && p->next < p->argc &&
             (f->action != SET_KAFKA || is_value(p->argv[p->next])))
        *value = p->argv[p->next++];
    if (f->argument != NULL && *value == NULL && f->action != SET_KAFKA) {
        fail(p, "flag needs an argument: -%s", f->name);
        return NULL;
    }
    return f;
}

/* Finds -c, -t, -v, -h; flags are applied in the second pass. */
static void first_pass(struct parser *p, const char *nats_version, const char *midge_version)
{
    const struct flag *f;
    const char *value;

    while (p->end == GO_ON && (f = next_flag(p, &value)) != NULL) {
        if (f->action == CONFIG || f->action == CHECK)
            apply(p, f, value);
        if (f->action == VERSION) {
            if (strcmp(p->program, "nats-server") == 0)
                printf("nats-server: v%s\n", nats_version);
            else
                printf("%s: v%s (nats-server v%s)\n", p->program, midge_version, nats_version);
            p->end = SAID_ALL;
        }
        if (f->action == HELP) {
            usage(stdout, p->program);
            p->end = SAID_ALL;
        }
        if (f->action == HELP_TLS) {
            help_tls();
            p->end = SAID_ALL;
        }
    }
}

static bool has_cluster(const struct parser *p)
{
    bool block = options_is_inactive(p->options, "cluster"); /* the file's: see set_inactive */
    return block || (p->cluster != NULL && p->cluster[0] != '\0');
}

static void second_pass(struct parser *p)
{
    const struct flag *f;
    const char *value;

    p->next = 1;
    while (p->end == GO_ON && (f = next_flag(p, &value)) != NULL)
        apply(p, f, value);
    if (p->end == GO_ON && p->routes != NULL && p->routes[0] != '\0' && !has_cluster(p))
        refuse(p, "solicited routes require cluster capabilities, e.g. --cluster");
}

static void use_config(struct parser *p)
{
    struct buf err = {0};

    if (p->check && p->config == NULL) {
        fprintf(stderr,
                "%s: must specify [-c, --config] option to check configuration file syntax\n",
                p->program);
        p->end = FAILED;
        return;
    }
    if (p->config == NULL)
        return;
    if (!config_file_load(p->config, p->options, &err)) {
        fprintf(stderr, "%s: %s\n", p->program, buf_cstr(&err));
        p->end = FAILED;
    }
    buf_free(&err);
}

/* What neither a flag nor a line of the file can see alone; then -t has its answer. */
static void check_all(struct parser *p, cmdline_check *check)
{
    char why[256];

    if (!options_check(p->options, why) || (p->check && check != NULL && !check(p->options, why))) {
        fprintf(stderr, "%s: %s\n", p->program, why);
        p->end = FAILED;
    } else if (p->check) {
        fprintf(stderr, "%s: configuration file %s is valid (%s)\n", p->program, p->config,
                p->options->config_digest);
        p->end = SAID_ALL;
    }
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

struct cmdline_result cmdline_parse(int argc, char **argv, const char *nats_version,
                                    const char *midge_version, struct options *options,
                                    cmdline_check *check)
{
    struct parser p = {
        .argc = argc,
        .argv = argv,
        .next = 1,
        .program = argc > 0 ? base_name(argv[0]) : "midge-server",
        .options = options,
    };

    first_pass(&p, nats_version, midge_version);
    if (p.end == GO_ON)
        use_config(&p);
    if (p.end == GO_ON)
        second_pass(&p);
    options_finish(options);
    if (p.end == GO_ON)
        check_all(&p, check);
    return (struct cmdline_result){
        .run = p.end == GO_ON,
        .exit_code = p.end == FAILED ? EXIT_FAILURE : EXIT_SUCCESS,
    };
}

bool cmdline_reread(int argc, char **argv, struct options *options, struct buf *err)
{
    struct parser p = {.argc = argc, .argv = argv, .next = 1, .program = "", .options = options};
    char why[256];

    /* The flags were right at the start. */
    first_pass(&p, "", "");
    if (p.config == NULL) {
        buf_puts(err, "can only reload config when a file is provided using -c or --config");
        return false;
    }
    if (!config_file_load(p.config, options, err))
        return false;
    second_pass(&p);
    options_finish(options);
    if (options_check(options, why))
        return true;
    buf_puts(err, why);
    return false;
}
