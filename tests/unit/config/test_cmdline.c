/*
 * test_cmdline.c - flags as tables: what each sets, what is said about wrong ones and with which
 * exit code.
 */
#include "lib/base/assert.h"
#include "server/config/cmdline.h"
#include "tests/lib/runner.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARGS_MAX 24

/* What parsing printed, by stream; cases run in a process of their own, so nothing is put back. */
struct said {
    char out[8192], err[1024];
};

static int temporary(void)
{
    char path[] = "/tmp/midge-cmdline-XXXXXX";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    unlink(path);
    return fd;
}

static void read_back(int fd, char *to, size_t size)
{
    ssize_t n;

    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    n = read(fd, to, size - 1);
    ck_assert_int_ge(n, 0);
    to[n] = '\0';
}

/* Splits the line at blanks; the first word is argv[0]. */
static struct cmdline_result parse(const char *line, struct options *o, struct said *said)
{
    char *copy = strdup(line), *argv[ARGS_MAX + 1] = {NULL};
    int argc = 0, out = temporary(), err = temporary();
    struct cmdline_result r;

    for (char *word = copy; word != NULL && *word != '\0'; argc++) {
        char *blank = strchr(word, ' ');
        ck_assert_int_lt(argc, ARGS_MAX);
        if (blank != NULL)
            *blank++ = '\0';
        argv[argc] = strcmp(word, "''") == 0 ? word + 2 : word;
        word = blank;
    }
    fflush(stdout);
    int old_out = dup(STDOUT_FILENO), old_err = dup(STDERR_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    options_init(o);
    r = cmdline_parse(argc, argv, "2.15.0", "0.1.0", o, NULL);
    fflush(stdout);
    dup2(old_out, STDOUT_FILENO);
    dup2(old_err, STDERR_FILENO);
    close(old_out);
    close(old_err);
    read_back(out, said->out, sizeof(said->out));
    read_back(err, said->err, sizeof(said->err));
    close(out);
    close(err);
    free(copy);
    return r;
}

/* ---- what is set ----------------------------------------------------------------------------- */

TEST(flags_set_options)
{
    struct options o;
    struct said said;
    struct cmdline_result r =
        parse("midge-server -a 127.0.0.1 --port=-1 -n edge -P /p -m 8222 -l /log -T=false "
              "-logtime_utc",
              &o, &said);

    ck_assert(r.run);
    ck_assert_str_eq(said.err, "");
    ck_assert_str_eq(o.host, "127.0.0.1");
    ck_assert_int_eq(o.port, -1);
    ck_assert_str_eq(o.server_name, "edge");
    ck_assert_str_eq(o.pid_file, "/p");
    ck_assert_int_eq(o.http_port, 8222);
    ck_assert_str_eq(o.log_file, "/log");
    ck_assert(!o.logtime && o.logtime_utc && !o.debug && !o.trace);
    options_free(&o);
    r = parse("midge-server -DV -js -sd /d --user u --pass p --workers 3 --io event --pool 0 "
              "--cache=1",
              &o, &said);
    ck_assert(r.run && o.debug && o.trace && o.jetstream);
    ck_assert_str_eq(o.store_dir, "/d");
    ck_assert_str_eq(o.user, "u");
    ck_assert_str_eq(o.pass, "p");
    ck_assert_uint_eq(o.workers, 3);
    ck_assert_str_eq(o.io_backend, "event");
    ck_assert_uint_eq(o.pool_bytes, 0);
    ck_assert_uint_eq(o.cache_bytes, 1);
    options_free(&o);
    /* The last one counts; "--" ends the flags. */
    r = parse("midge-server -p 1 -p 2 -js=true -js=false -- -x", &o, &said);
    ck_assert(r.run && o.port == 2 && !o.jetstream);
    options_free(&o);
}

/* The value of --kafka may be missing. */
TEST(kafka_flag)
{
    static const struct {
        const char *line, *host;
        int port;
    } rows[] = {
        {"x -js", "127.0.0.1", 0},
        {"x -js --kafka", "127.0.0.1", 9092},
        {"x --kafka -js", "127.0.0.1", 9092},
        {"x --kafka -1 -js", "127.0.0.1", -1},
        {"x --kafka 0.0.0.0:7 -js", "0.0.0.0", 7},
        {"x -js --kafka=:8", "127.0.0.1", 8},
        {"x -js --kafka=9", "127.0.0.1", 9},
    };
    struct options o;
    struct said said;

    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        ck_assert_msg(parse(rows[k].line, &o, &said).run, "%s: %s", rows[k].line, said.err);
        ck_assert_str_eq(o.kafka_host, rows[k].host);
        ck_assert_int_eq(o.kafka_port, rows[k].port);
        options_free(&o);
    }
    ck_assert(!parse("x -js --kafka=here", &o, &said).run);
    options_free(&o);
    ck_assert(!parse("x -js --kafka=h:70000", &o, &said).run);
    options_free(&o);
}

TEST(flags_win_over_the_file)
{
    char path[] = "/tmp/midge-conf-XXXXXX", line[128];
    static const char text[] = "port: 5000\nhttp: 6000\nserver_name: file\n";
    int fd = mkstemp(path);
    struct options o;
    struct said said;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, sizeof(text) - 1), (ssize_t) sizeof(text) - 1);
    close(fd);
    snprintf(line, sizeof(line), "midge-server -p 7000 -c %s -n flag", path);
    ck_assert(parse(line, &o, &said).run);
    ck_assert_int_eq(o.port, 7000);
    ck_assert_int_eq(o.http_port, 6000);
    ck_assert_str_eq(o.server_name, "flag");
    ck_assert_str_eq(o.config_file, path);
    options_free(&o);
    unlink(path);
}

/* ---- what is said ---------------------------------------------------------------------------- */

static const struct {
    const char *line;
    int exit_code;
    const char *err; /* all of it */
    const char *out; /* its beginning */
} rows[] = {
    /* As Go's flag package: the line, then the usage, and 0. */
    {"x -x", 0, "flag provided but not defined: -x\n", "Usage: x [options]\n"},
    {"x --no-such=1", 0, "flag provided but not defined: -no-such\n", "Usage: x"},
    {"x -p", 0, "flag needs an argument: -p\n", "Usage: x"},
    {"x -p abc", 0, "invalid value \"abc\" for flag -p: parse error\n", "Usage: x"},
    {"x -p 99999999999", 0, "invalid value \"99999999999\" for flag -p: parse error\n", "Usage: x"},
    {"x -p 1.5", 0, "invalid value \"1.5\" for flag -p: parse error\n", "Usage: x"},
    {"x -p ''", 0, "invalid value \"\" for flag -p: parse error\n", "Usage: x"},
    {"x --workers -1", 0, "invalid value \"-1\" for flag -workers: parse error\n", "Usage: x"},
    {"x --pool -1", 0, "invalid value \"-1\" for flag -pool: parse error\n", "Usage: x"},
    {"x -js=maybe", 0, "invalid boolean value \"maybe\" for -js: parse error\n", "Usage: x"},
    {"x -D=", 0, "invalid boolean value \"\" for -D: parse error\n", "Usage: x"},
    /* What no server can run with. */
    {"x foo", 1, "x: unrecognized command: \"foo\"\n", ""},
    {"x -js foo", 1, "x: unrecognized command: \"foo\"\n", ""},
    {"x -", 1, "x: unrecognized command: \"-\"\n", ""},
    {"x -p 65536", 1, "x: port 65536 is not between -1 and 65535\n", ""},
    {"x -p -2", 1, "x: port -2 is not between -1 and 65535\n", ""},
    {"x -m 70000", 1, "x: monitoring port 70000 is not between -1 and 65535\n", ""},
    {"x --io ring", 1, "x: unknown I/O backend \"ring\": expected auto, uring or event\n", ""},
    {"x --workers 65", 1, "x: 65 workers are more than 64\n", ""},
    {"x --tls", 1, "x: TLS Server certificate must be present and valid\n", ""},
    {"x --tlsverify --tlscert a", 1, "x: TLS Server private key must be present and valid\n", ""},
    {"x --user u --auth t", 1, "x: Cannot have a user/pass and token\n", ""},
    {"x -c /none.conf", 1,
     "x: error opening config file: open /none.conf: No such file or directory\n", ""},
    {"x -c /tmp", 1, "x: error reading config file: read /tmp: Is a directory\n", ""},
    {"x -t", 1, "x: must specify [-c, --config] option to check configuration file syntax\n", ""},
    /* What is taken without effect is right or wrong as at the peer. */
    {"x --profile x", 0, "invalid value \"x\" for flag -profile: parse error\n", "Usage: x"},
    {"x --profile 70000", 1, "x: error starting profiler: invalid port\n", ""},
    {"x --connect_retries=a", 0, "invalid value \"a\" for flag -connect_retries: parse error\n",
     "Usage: x"},
    {"x --no_advertise=a", 0, "invalid boolean value \"a\" for -no_advertise: parse error\n",
     "Usage: x"},
    {"x --cluster x", 1, "x: missing port in address\n", ""},
    {"x --cluster_listen nats://host", 1, "x: missing port in address\n", ""},
    {"x --routes nats://a:1", 1,
     "x: solicited routes require cluster capabilities, e.g. --cluster\n", ""},
    {"x --cluster '' --routes nats://a:1", 1,
     "x: solicited routes require cluster capabilities, e.g. --cluster\n", ""},
    /* What is only asked. */
    {"x --help_tls", 0, "", "How clients connect with TLS says the tls block of the conf"},
    {"midge-server -v", 0, "", "midge-server: v0.1.0 (nats-server v2.15.0)\n"},
    {"/usr/bin/nats-server -v", 0, "", "nats-server: v2.15.0\n"},
    {"nats-server --version", 0, "", "nats-server: v2.15.0\n"},
    {"nats-server version", 0, "", "nats-server: v2.15.0\n"},
    {"nats-server -js -v", 0, "", "nats-server: v2.15.0\n"},
    {"x -h", 0, "", "Usage: x [options]\n"},
    {"x --help", 0, "", "Usage: x [options]\n"},
    {"x help", 0, "", "Usage: x [options]\n"},
};

TEST(says_and_leaves)
{
    struct options o;
    struct said said;
    struct cmdline_result r = parse(rows[i].line, &o, &said);

    ck_assert_msg(!r.run, "%s would run", rows[i].line);
    ck_assert_str_eq(said.err, rows[i].err);
    ck_assert_int_eq(r.exit_code, rows[i].exit_code);
    if (rows[i].out[0] == '\0')
        ck_assert_str_eq(said.out, "");
    else
        ck_assert_msg(strncmp(said.out, rows[i].out, strlen(rows[i].out)) == 0, "%s", said.out);
    options_free(&o);
}

/* -t reads everything, says "valid" with the digest, and does not run. */
TEST(checks_a_file)
{
    static const struct {
        const char *text, *flags, *err;
        int exit_code;
    } files[] = {
        {"port: 4333\n", "", " is valid (sha256:", 0},
        {"port: 4333\nnonsense: 1\n", "", ":2:1: unknown field \"nonsense\"\n", 1},
        {"port: 4333\n", "-p 70000", "x: port 70000 is not between -1 and 65535\n", 1},
        {"max_payload: 2mb\nmax_pending: 1mb\n", "",
         "x: max_payload (2097152) cannot be higher than max_pending (1048576)\n", 1},
        {"port: 1\n", "--kafka", "x: a Kafka listener needs JetStream\n", 1},
        {"kafka { advertise: nowhere }\n", "-js",
         "x: Kafka is to be advertised as host:port, not as \"nowhere\"\n", 1},
        {"kafka { node_id: 2147483648 }\n", "-js",
         "x: node_id 2147483648 is more than 2147483647\n", 1},
        {"kafka { num_partitions: 1025 }\n", "-js", "x: 1025 partitions are more than 1024\n", 1},
        {"server_name: 'a b'\n", "", ":1:0: server name cannot contain spaces\n", 1},
    };

    for (size_t k = 0; k < ARRAY_LEN(files); k++) {
        char path[] = "/tmp/midge-conf-XXXXXX", line[128];
        int fd = mkstemp(path);
        struct options o;
        struct said said;
        struct cmdline_result r;

        ck_assert_int_ge(fd, 0);
        ck_assert_int_ge(write(fd, files[k].text, strlen(files[k].text)), 1);
        close(fd);
        snprintf(line, sizeof(line), "x -t -c %s %s", path, files[k].flags);
        r = parse(line, &o, &said);
        ck_assert_msg(!r.run && r.exit_code == files[k].exit_code, "%s: %d", files[k].text,
                      r.exit_code);
        ck_assert_msg(strstr(said.err, files[k].err) != NULL, "%s: %s", files[k].text, said.err);
        options_free(&o);
        unlink(path);
    }
}

/* Flags of what one server of this kind does not do: taken, and named as the log will. */
TEST(takes_what_has_no_effect)
{
    static const struct {
        const char *line, *inactive, *cluster_name;
    } lines[] = {
        {"x --profile 6060", "prof_port", NULL},
        {"x --profile -1 --profile=0", "prof_port", NULL},
        {"x --profile 0", "", NULL},
        {"x --cluster nats://127.0.0.1:-1 --routes nats://a:1,nats://b:2", "cluster routes", NULL},
        {"x --cluster_listen nats://u:p@h:1 --routes ''", "cluster_listen routes", NULL},
        {"x --cluster '' --no_advertise=false --connect_retries 3", "no_advertise connect_retries",
         NULL},
        {"x --cluster_name c --cluster_advertise a:1 --no_advertise",
         "cluster_name cluster_advertise no_advertise", "c"},
    };

    for (size_t k = 0; k < ARRAY_LEN(lines); k++) {
        struct options o;
        struct said said;
        char names[128] = "";
        struct cmdline_result r = parse(lines[k].line, &o, &said);
        ck_assert_msg(r.run && said.err[0] == '\0', "%s: %s", lines[k].line, said.err);
        for (size_t n = 0; n < o.inactive.n; n++)
            snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", n > 0 ? " " : "",
                     o.inactive.items[n]);
        ck_assert_str_eq(names, lines[k].inactive);
        ck_assert_pstr_eq(o.cluster_name, lines[k].cluster_name);
        options_free(&o);
    }
}

/* Every other name of a flag is one. */
TEST(knows_all_names)
{
    static const char *const lines[] = {
        "x --addr 127.0.0.1",
        "x --net 127.0.0.1",
        "x --name n",
        "x --server_name n",
        "x --pid /p",
        "x --http_port 8222",
        "x -ms 8443 --tls --tlscert a --tlskey b",
        "x --https_port 8443 --tls --tlscert a --tlskey b",
        "x --client_advertise a:1",
        "x --log /l",
        "x --logtime=false",
        "x --logtime_utc",
        "x --syslog",
        "x --remote_syslog udp://127.0.0.1:1",
        "x --debug",
        "x --trace",
        "x -VV",
        "x --log_size_limit 1000",
        "x --max_traced_msg_len 10",
        "x --jetstream --store_dir /d",
        "x --tls --tlscert a --tlskey b --tlscacert c",
        "x --tlsverify --tlscert a --tlskey b --tlscacert c",
    };
    struct options o;
    struct said said;

    for (size_t k = 0; k < ARRAY_LEN(lines); k++) {
        struct cmdline_result r = parse(lines[k], &o, &said);
        ck_assert_msg(r.run && said.err[0] == '\0', "%s: %s", lines[k], said.err);
        options_free(&o);
    }
}

static const struct runner_case cases[] = {
    RUN(knows_all_names),         RUN(takes_what_has_no_effect),
    RUN(flags_set_options),       RUN(kafka_flag),
    RUN(flags_win_over_the_file), RUN_LOOP(says_and_leaves, 0, (int) ARRAY_LEN(rows)),
    RUN(checks_a_file),
};

RUNNER_MAIN("config/cmdline", cases)
