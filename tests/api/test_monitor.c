/* Monitoring over HTTP and HTTPS: paths, queries, errors, numbers for Prometheus. (Which fields the
 * documents have is compared by tests/compat/shapes.py.) */
#include "lib/base/buf.h"
#include "tests/api/tls_certs.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <fcntl.h>
#include <ftw.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const workers[] = {"1", "2", "4"};

static void start(struct server_process *s, int w, const char *conf)
{
    static char path[200];
    FILE *f;

    server_process_init(s);
    snprintf(path, sizeof(path), "%s/conf", s->dir);
    f = fopen(path, "we");
    ck_assert(f != NULL);
    fputs(conf[0] != '\0' ? conf : "debug: false\n", f); /* one without a value is refused */
    fclose(f);
    s->args[0] = "--workers";
    s->args[1] = workers[w];
    s->args[2] = "-c";
    s->args[3] = path;
    if (strstr(conf, "https:") != NULL) { /* one of both */
        s->args[4] = "-m";
        s->args[5] = "0";
    }
    server_process_start(s);
}

/* The whole answer, which the caller frees. */
static char *get(const struct server_process *s, const char *path)
{
    struct raw_client c;
    struct buf all = {0};
    char text[400];
    ssize_t n;

    raw_open(&c, s->http_port);
    snprintf(text, sizeof(text), "GET %s HTTP/1.0\r\nHost: here\r\n\r\n", path);
    raw_send(&c, text);
    do {
        char *at = buf_reserve(&all, 65536);
        n = read(c.fd, at, 65536);
        ck_assert_int_ge(n, 0);
        all.n += (size_t) n;
    } while (n > 0);
    raw_close(&c);
    buf_cstr(&all);
    return all.p;
}

static void gets(const struct server_process *s, const char *path, const char *const *wants)
{
    char *got = get(s, path);

    for (; *wants != NULL; wants++)
        ck_assert_msg(strstr(got, *wants) != NULL, "%s: %s\nwanted %s", path, got, *wants);
    free(got);
}
#define GETS(s, path, ...) gets(s, path, (const char *const[]){__VA_ARGS__, NULL})

TEST(paths)
{
    static const char *const documents[] = {
        "varz",       "connz",   "subsz",    "subscriptionsz", "routez",  "gatewayz",
        "leafz",      "jsz",     "accountz", "accstatz",       "healthz", "ipqueuesz",
        "debug/vars", "metrics", "stacksz",  "kafkaz",
    };
    struct server_process s;
    char path[64];

    start(&s, i, "http_base_path: \"/base\"\n");
    for (size_t k = 0; k < sizeof(documents) / sizeof(documents[0]); k++) {
        snprintf(path, sizeof(path), "/base/%s", documents[k]);
        GETS(&s, path, "HTTP/1.0 200", "Access-Control-Allow-Origin: *");
        snprintf(path, sizeof(path), "/%s", documents[k]);
        GETS(&s, path, "HTTP/1.0 404");
    }
    GETS(&s, "/base", "HTTP/1.0 200", "text/html", "/base/varz");
    GETS(&s, "/base/", "HTTP/1.0 200");
    GETS(&s, "/basement/varz", "HTTP/1.0 404");
    GETS(&s, "/base/stacksz", "\r\n\r\nthreads: main, ", " worker");
    GETS(&s, "/base/raftz", "HTTP/1.0 404", "No Raft nodes registered");
    GETS(&s, "/base/varz", "Content-Type: application/json", "\"/varz\": 2",
         "\"http_base_path\": \"/base\"", "\"/\": 2");
    GETS(&s, "/base/healthz?callback=a.b", "Content-Type: application/javascript",
         "a.b({\"status\":\"ok\"})");
    GETS(&s, "/base/healthz?callback=alert(1)", "Content-Type: application/json");
    GETS(&s, "//base//varz?a=//", "HTTP/1.0 301", "Location: /base/varz?a=//\r\n");
    GETS(&s, "//", "HTTP/1.0 301", "Location: /\r\n");
    server_process_deinit(&s);
}

TEST(connections)
{
    struct server_process s;
    struct raw_client c[4];
    char *got;

    start(&s, i, "");
    for (int k = 0; k < 4; k++) {
        raw_hello(&c[k], s.port, k == 2 ? "\"name\":\"third\"" : "\"name\":\"other\"");
        for (int n = 0; n <= k; n++)
            raw_send(&c[k], "SUB a.b 1\r\nSUB c q 2\r\nPUB x 1\r\nx\r\n");
        raw_fence(&c[k]);
    }
    GETS(&s, "/connz", "\"num_connections\": 4", "\"total\": 4", "\"limit\": 1024");
    GETS(&s, "/connz?limit=1&offset=2", "\"num_connections\": 1", "\"total\": 4", "third");
    GETS(&s, "/connz?offset=9", "\"num_connections\": 0", "\"connections\": []");
    GETS(&s, "/connz?sort=msgs_from&limit=1", "\"in_msgs\": 4");
    GETS(&s, "/connz?subs=1&limit=1", "\"subscriptions_list\": [");
    GETS(&s, "/connz?subs=detail&limit=1", "\"subscriptions_list_detail\": [", "\"qgroup\": \"q\"");
    GETS(&s, "/connz?cid=3", "\"num_connections\": 1", "\"cid\": 3");
    GETS(&s, "/subsz?subs=1&test=a.b", "\"total\": 4");
    GETS(&s, "/connz?user=nobody", "\"num_connections\": 0", "\"total\": 4");
    raw_close(&c[2]);
    /* The server notices in its own time. */
    do {
        got = get(&s, "/connz?state=closed&sort=stop");
        if (strstr(got, "\"total\": 1") != NULL)
            break;
        free(got);
    } while (true);
    ck_assert_msg(strstr(got, "\"reason\": \"Client Closed\"") != NULL, "%s", got);
    ck_assert_msg(strstr(got, "third") != NULL, "%s", got);
    free(got);
    GETS(&s, "/connz?state=any", "\"total\": 4", "\"num_connections\": 4");
    GETS(&s, "/connz?state=closed&sort=reason", "\"num_connections\": 1");
    GETS(&s, "/connz?sort=stop", "HTTP/1.0 400", "sort by stop only valid on closed connections");
    GETS(&s, "/connz?limit=few", "HTTP/1.0 400", "Error decoding int for 'limit'");
    raw_close(&c[0]);
    raw_close(&c[1]);
    raw_close(&c[3]);
    server_process_deinit(&s);
}

TEST(jetstream_and_health)
{
    struct server_process s;
    struct raw_client c;

    start(&s, i, "");
    raw_hello(&c, s.port, "\"headers\":true");
    free(raw_ask(&c, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"]}"));
    free(raw_ask(&c, "$JS.API.CONSUMER.CREATE.S.C",
                 "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":"
                 "\"explicit\"}}"));
    free(raw_ask(&c, "s", "hello"));
    GETS(&s, "/jsz", "\"streams\": 1", "\"consumers\": 1", "\"messages\": 1", "\"total\": 1");
    GETS(&s, "/jsz?consumers=1", "\"account_details\": [", "\"stream_detail\": [",
         "\"consumer_detail\": [", "\"num_pending\": 1");
    GETS(&s, "/jsz?acc=NOPE&streams=1", "\"streams\": 1");
    GETS(&s, "/healthz?account=$G&stream=S&consumer=C", "HTTP/1.0 200", "{\"status\":\"ok\"}");
    GETS(&s, "/healthz?account=$G&stream=S&consumer=X", "HTTP/1.0 404",
         "JetStream consumer \\\"X\\\" not found for stream \\\"S\\\" on account \\\"$G\\\"");
    GETS(&s, "/healthz?account=$G&stream=X&details=1", "HTTP/1.0 404", "\"type\":\"STREAM\"",
         "\"status\":\"error\"");
    GETS(&s, "/healthz?stream=S", "HTTP/1.0 400");
    GETS(&s, "/metrics", "Content-Type: text/plain; version=0.0.4",
         "# TYPE gnatsd_varz_in_msgs counter\ngnatsd_varz_in_msgs{server_id=\"N",
         "\ngnatsd_connz_num_connections{", "# TYPE gnatsd_varz_connections gauge\n",
         "\njetstream_server_total_streams{server_id=\"N", ",account=\"$G\",stream_name=\"S\"} 1\n",
         ",stream_name=\"S\",consumer_name=\"C\"} 1\n", "gnatsd_varz_version{");
    raw_close(&c);
    server_process_deinit(&s);
}

/* Streams are made until somebody who asks meanwhile sees a request that is not answered yet. */
TEST(requests_under_way)
{
    struct server_process s;
    struct raw_client c;
    char text[200], *got = NULL;
    unsigned made = 0;
    bool seen = false;

    start(&s, i, "");
    raw_hello(&c, s.port, "");
    raw_send(&c, "SUB answers 1\r\n");
    for (time_t end = time(NULL) + 50; !seen;) {
        for (unsigned k = 0; k < 20; k++) {
            snprintf(text, sizeof(text),
                     "PUB $JS.API.STREAM.CREATE.S%06u answers 18\r\n{\"name\":\"S%06u\"}\r\n",
                     made + k, made + k);
            raw_send(&c, text);
        }
        made += 20;
        got = get(&s, "/ipqueuesz");
        seen = strstr(got, "\"in_progress\": ") != NULL;
        ck_assert_msg(strstr(got, seen ? "\"JetStream API queue\": {" : "{}") != NULL, "%s", got);
        ck_assert_int_lt(time(NULL), end);
        free(got);
    }
    for (unsigned k = 0; k < made; k++)
        raw_skip(&c, "MSG answers 1 ");
    /* The answer goes out before the request is done with. */
    do {
        got = get(&s, "/ipqueuesz");
        seen = strstr(got, "in_progress") != NULL;
        free(got);
    } while (seen);
    raw_close(&c);
    server_process_deinit(&s);
}

/* ---- a message that is damaged --------------------------------------------------------------- */

static unsigned damaged;

/* Overwrites this in a segment. */
#define VICTIM "the message that goes"

static int damage(const char *path, const struct stat *st, int type, struct FTW *where)
{
    size_t n = strlen(path);
    char *bytes, *at;
    int fd;

    (void) where;
    if (type != FTW_F || n < 4 || strcmp(path + n - 4, ".seg") != 0)
        return 0;
    fd = open(path, O_RDWR | O_CLOEXEC);
    bytes = malloc((size_t) st->st_size);
    ck_assert(fd >= 0 && bytes != NULL);
    ck_assert_int_eq(pread(fd, bytes, (size_t) st->st_size, 0), st->st_size);
    at = memmem(bytes, (size_t) st->st_size, VICTIM, strlen(VICTIM));
    if (at != NULL) {
        ck_assert_int_eq(pwrite(fd, "noise", 5, at - bytes), 5);
        damaged++;
    }
    free(bytes);
    close(fd);
    return 0;
}

/* Probes ask with this, whether there is to be JetStream or not. */
TEST(health_without_jetstream)
{
    struct server_process s;

    server_process_init(&s);
    s.args[0] = "-js=false";
    server_process_start(&s);
    GETS(&s, "/healthz?js-enabled-only=true", "HTTP/1.0 200", "{\"status\":\"ok\"}");
    GETS(&s, "/healthz?js-enabled=true&details=1", "HTTP/1.0 200", "{\"status\":\"ok\"}");
    server_process_stop(&s);
    server_process_deinit(&s);
}

#define LOST "JetStream stream '$G > S' has lost 1 message to damage"

/* It is named until somebody says that he has seen it; the server is not taken out of service for
 * it, and questions that are narrower have their usual answer. */
TEST(a_lost_message_is_in_health)
{
    struct server_process s;
    struct raw_client c;
    char dir[200];

    start(&s, i, "");
    raw_hello(&c, s.port, "\"headers\":true");
    free(raw_ask(&c, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"]}"));
    free(raw_ask(&c, "$JS.API.STREAM.CREATE.T", "{\"name\":\"T\",\"subjects\":[\"t\"]}"));
    free(raw_ask(&c, "s", "one"));
    free(raw_ask(&c, "s", VICTIM));
    free(raw_ask(&c, "s", "three"));
    GETS(&s, "/healthz", "HTTP/1.0 200", "{\"status\":\"ok\"}");
    raw_close(&c);
    server_process_stop(&s);
    server_process_start(&s); /* from here on the log has no copy of it */
    server_process_stop(&s);
    snprintf(dir, sizeof(dir), "%s/store", s.dir);
    damaged = 0;
    ck_assert_int_eq(nftw(dir, damage, 8, FTW_PHYS), 0);
    ck_assert_uint_eq(damaged, 1);
    server_process_start(&s);
    raw_hello(&c, s.port, "\"headers\":true");
    free(raw_ask(&c, "$JS.API.STREAM.MSG.GET.S", "{\"seq\":2}"));
    for (int again = 0; again < 2; again++) {
        GETS(&s, "/healthz", "HTTP/1.0 200", "\"status\":\"error\",\"error\":\"" LOST "\"");
        GETS(&s, "/healthz?details=1", "HTTP/1.0 200", "\"status\":\"error\"",
             "\"type\":\"STREAM\",\"account\":\"$G\",\"stream\":\"S\",\"error\":\"" LOST "\"");
        GETS(&s, "/healthz?account=$G&stream=T", "HTTP/1.0 200", "{\"status\":\"ok\"}");
        GETS(&s, "/healthz?js-enabled-only=1", "HTTP/1.0 200", "{\"status\":\"ok\"}");
        GETS(&s, "/healthz?js-server-only=1", "HTTP/1.0 200", "{\"status\":\"ok\"}");
        GETS(&s, "/metrics", "\njetstream_stream_lost_messages{",
             ",account=\"$G\",stream_name=\"S\"} 1\n", ",account=\"$G\",stream_name=\"T\"} 0\n");
        raw_close(&c);
        server_process_stop(&s);
        server_process_start(&s);
        raw_hello(&c, s.port, "\"headers\":true");
    }
    free(raw_ask(&c, "$JS.API.STREAM.UPDATE.S",
                 "{\"name\":\"S\",\"subjects\":[\"s\"],\"metadata\":{\"midge.lost_seen\":\"1\"}}"));
    GETS(&s, "/healthz", "HTTP/1.0 200", "{\"status\":\"ok\"}");
    raw_close(&c);
    server_process_stop(&s);
    server_process_deinit(&s);
}

/* ---- damage of whole files ------------------------------------------------------------------- */

enum harm { HARM_LOG_GONE, HARM_SEGMENT_GONE, HARM_SEGMENT_CUT, HARM_PAGE, HARMS };

static enum harm harm;

static int hurt(const char *path, const struct stat *st, int type, struct FTW *where)
{
    static const char zeros[4096];
    size_t n = strlen(path);
    const char *end = harm == HARM_LOG_GONE ? ".log" : ".seg";

    (void) where;
    if (type != FTW_F || n < 4 || strcmp(path + n - 4, end) != 0 || st->st_size < 8192)
        return 0;
    damaged++;
    if (harm == HARM_LOG_GONE || harm == HARM_SEGMENT_GONE) {
        ck_assert_int_eq(unlink(path), 0);
    } else if (harm == HARM_SEGMENT_CUT) {
        ck_assert_int_eq(truncate(path, 4096), 0);
    } else {
        int fd = open(path, O_RDWR | O_CLOEXEC);
        ck_assert_int_eq(pwrite(fd, zeros, sizeof(zeros), 4096), (ssize_t) sizeof(zeros));
        close(fd);
    }
    return 0;
}

/* What is missing after a start is what health says: nothing when the log's files are gone, for
 * there is its twin, and all three messages when the segment that holds them is gone, cut, or zero
 * where they were. */
TEST(health_says_what_is_lost)
{
    struct server_process s;
    struct raw_client c;
    char dir[200], want[120];
    unsigned lost = (unsigned) i / 2 == HARM_LOG_GONE ? 0 : 3;

    harm = (enum harm)(i / 2);
    start(&s, i % 2, "");
    raw_hello(&c, s.port, "\"headers\":true");
    free(raw_ask(&c, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"]}"));
    for (unsigned k = 0; k < 4; k++)
        free(raw_ask(&c, "s", "text"));
    free(raw_ask(&c, "$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":2,\"no_erase\":true}"));
    raw_close(&c);
    server_process_stop(&s);
    server_process_start(&s);
    server_process_stop(&s);
    snprintf(dir, sizeof(dir), "%s/store", s.dir);
    damaged = 0;
    ck_assert_int_eq(nftw(dir, hurt, 8, FTW_PHYS), 0);
    ck_assert_uint_ge(damaged, 1);
    server_process_start(&s);
    raw_hello(&c, s.port, "\"headers\":true");
    snprintf(want, sizeof(want), "\"messages\":%u,", 3 - lost);
    char *info = raw_ask(&c, "$JS.API.STREAM.INFO.S", "");
    ck_assert_msg(strstr(info, want) != NULL, "%s in %s", want, info);
    free(info);
    if (lost == 0)
        GETS(&s, "/healthz", "HTTP/1.0 200", "{\"status\":\"ok\"}");
    else
        GETS(&s, "/healthz", "HTTP/1.0 200",
             "JetStream stream '$G > S' has lost 3 messages to damage");
    raw_close(&c);
    server_process_stop(&s);
    server_process_deinit(&s);
}

#define ALONE "the second copy of the commit log can not be written"

/* The directory of the log's second copy goes away under the server: that is said, and clients are
 * served. */
TEST(a_log_without_its_copy_is_in_health)
{
    struct server_process s;
    struct raw_client c;
    char command[300];

    start(&s, i, "");
    raw_hello(&c, s.port, "\"headers\":true");
    free(raw_ask(&c, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"]}"));
    GETS(&s, "/healthz", "HTTP/1.0 200", "{\"status\":\"ok\"}");
    snprintf(command, sizeof(command), "rm -r $(find %s/store -type d -name twin)", s.dir);
    ck_assert_int_eq(system(command), 0);
    for (time_t end = time(NULL) + 50;;) {
        char *answer = get(&s, "/healthz");
        bool there = strstr(answer, ALONE) != NULL;
        free(answer);
        free(raw_ask(&c, "s", "text"));
        if (there)
            break;
        ck_assert(time(NULL) < end);
    }
    GETS(&s, "/healthz", "HTTP/1.0 200", "\"status\":\"error\",\"error\":\"" ALONE "\"");
    GETS(&s, "/healthz?details=1", "HTTP/1.0 200", "\"type\":\"STORE\"", ALONE);
    GETS(&s, "/healthz?account=$G&stream=S", "HTTP/1.0 200", "{\"status\":\"ok\"}");
    GETS(&s, "/healthz?js-enabled-only=1", "HTTP/1.0 200", "{\"status\":\"ok\"}");
    raw_close(&c);
    server_process_stop(&s);
    server_process_deinit(&s);
}

TEST(leaf_nodes_and_tags)
{
    struct server_process s;
    struct raw_client leaf;
    char *got;

    start(&s, i,
          "leafnodes { listen: \"127.0.0.1:-1\" }\nserver_tags: [\"a:1\", b]\n"
          "server_metadata: { k: v }\n");
    raw_open(&leaf, s.leaf_port);
    free(raw_line(&leaf));
    raw_send(&leaf, "CONNECT {\"name\":\"edge\",\"cluster\":\"edge\",\"headers\":true,"
                    "\"remote_account\":\"$G\"}\r\nLS+ in.> \r\n");
    do {
        got = get(&s, "/leafz?subs=1");
        if (strstr(got, "\"in.>\"") != NULL)
            break;
        free(got);
    } while (true);
    ck_assert_msg(strstr(got, "\"leafnodes\": 1") != NULL, "%s", got);
    ck_assert_msg(strstr(got, "\"name\": \"edge\"") != NULL, "%s", got);
    free(got);
    GETS(&s, "/leafz?acc=NOPE", "\"leafs\": []");
    GETS(&s, "/varz", "\"leafnodes\": 1", "\"connections\": 0", "\"a:1\"", "\"k\": \"v\"");
    GETS(&s, "/connz", "\"kind\": \"Leafnode\"", "\"total\": 1");
    GETS(&s, "/accstatz", "\"leafnodes\": 1", "\"total_conns\": 1");
    raw_close(&leaf);
    server_process_deinit(&s);
}

/* Every sample has a head, no name comes in two places: what a scraper refuses. */
TEST(metrics_are_well_formed)
{
    struct server_process s;
    char *got, *at, *line, seen[65536] = "", last[200] = "", name[202];

    start(&s, i, "");
    got = get(&s, "/metrics");
    at = strstr(got, "\r\n\r\n") + 4;
    while ((line = strsep(&at, "\n")) != NULL) {
        size_t n = strcspn(line, "{ ");
        if (line[0] == '\0')
            continue;
        if (strncmp(line, "# HELP ", 7) == 0) {
            snprintf(last, sizeof(last), "%.*s", (int) strcspn(line + 7, " "), line + 7);
            snprintf(name, sizeof(name), "<%s>", last);
            ck_assert_msg(strstr(seen, name) == NULL, "%s twice", last);
            ck_assert_uint_lt(strlen(seen) + strlen(name), sizeof(seen));
            memcpy(seen + strlen(seen), name, strlen(name) + 1);
        } else if (line[0] != '#') {
            ck_assert_msg(strlen(last) == n && strncmp(line, last, n) == 0, "%s below %s", line,
                          last);
            ck_assert_msg(line[n] == '{' && strstr(line, "} ") != NULL, "%s", line);
        }
    }
    free(got);
    server_process_deinit(&s);
}

TEST(https)
{
    struct server_process s;
    struct raw_client raw;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl;
    char dir[] = "/tmp/midge-certs-XXXXXX", conf[600], bytes[16384];
    size_t n = 0, more;

    ck_assert(mkdtemp(dir) != NULL);
    certs_make(dir);
    snprintf(conf, sizeof(conf),
             "https: \"127.0.0.1:-1\"\n"
             "tls { cert_file: \"%s/server.pem\", key_file: \"%s/server.key\", ca_file: "
             "\"%s/ca.pem\", verify: true }\n",
             dir, dir, dir);
    start(&s, i, conf);
    ck_assert(server_process_log_has(&s, "Starting https monitor on 127.0.0.1:"));
    raw_open(&raw, s.http_port);
    ssl = SSL_new(ctx);
    SSL_set_fd(ssl, raw.fd);
    ck_assert_int_eq(SSL_connect(ssl), 1);
    ck_assert_int_gt(SSL_write(ssl, "GET /varz HTTP/1.0\r\n\r\n", 22), 0);
    while (n < sizeof(bytes) - 1 && SSL_read_ex(ssl, bytes + n, sizeof(bytes) - 1 - n, &more) == 1)
        n += more;
    bytes[n] = '\0';
    ck_assert_msg(strstr(bytes, "HTTP/1.0 200") != NULL, "%s", bytes);
    ck_assert_msg(strstr(bytes, "\"http_port\": 0") != NULL, "%s", bytes);
    ck_assert_msg(strstr(bytes, "\"tls_verify\": true") != NULL, "%s", bytes);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    raw_close(&raw);
    server_process_deinit(&s);
}

/* More than a worker looks at in one go: each is there once. */
TEST(many_connections)
{
    enum { MANY = 300, SUBS = 9 };
    static struct raw_client c[MANY];
    struct server_process s;
    char text[80], *got, *p;
    unsigned found = 0;

    start(&s, i, "");
    for (unsigned k = 0; k < MANY; k++) {
        snprintf(text, sizeof(text), "\"name\":\"n%u.\"", k);
        raw_hello(&c[k], s.port, text);
        for (unsigned n = 0; n < SUBS; n++)
            raw_send(&c[k], n == 0 ? "SUB many.0 0\r\n" : "SUB many.more q 1\r\n");
        raw_send(&c[k], "SUB many.2 2\r\nSUB many.3 3\r\nSUB many.4 4\r\n");
        raw_fence(&c[k]);
    }
    got = get(&s, "/connz?limit=1000&subs=1");
    ck_assert_ptr_nonnull(strstr(got, "\"num_connections\": 300"));
    for (unsigned k = 0; k < MANY; k++) {
        snprintf(text, sizeof(text), "\"name\": \"n%u.\"", k);
        ck_assert_ptr_nonnull(strstr(got, text));
    }
    for (p = got; (p = strstr(p, "\"many.3\"")) != NULL; p++)
        found++;
    ck_assert_uint_eq(found, MANY);
    free(got);
    got = get(&s, "/subsz?subs=1&limit=10");
    ck_assert_ptr_nonnull(strstr(got, "\"total\": 1500"));
    free(got);
    GETS(&s, "/accountz?acc=$G", "\"client_connections\": 300");
    GETS(&s, "/accstatz", "\"conns\": 300");
    GETS(&s, "/varz", "\"connections\": 300");
    raw_send(&c[0], "SUB r 9\r\nPUB $JS.API.STREAM.CREATE.S r 12\r\n{\"name\":\"S\"}\r\n");
    raw_skip(&c[0], "stream_create_response");
    got = get(&s, "/metrics");
    ck_assert_ptr_nonnull(strstr(got, "gnatsd_connz_total{"));
    p = strstr(got, "\njetstream_stream_total_messages{");
    ck_assert_ptr_nonnull(p);
    ck_assert_ptr_null(strstr(p + 1, "\njetstream_stream_total_messages{"));
    free(got);
    for (unsigned k = 0; k < MANY; k++)
        raw_close(&c[k]);
    server_process_stop(&s);
    server_process_deinit(&s);
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;

    for (; (text = strstr(text, what)) != NULL; text++)
        n++;
    return n;
}

/* More streams and consumers than a worker looks at in one go: each is there once. */
TEST(many_streams)
{
    enum { MANY = 700, CONSUMERS = 300 };
    struct server_process s;
    struct raw_client c;
    char text[300], *got;

    start(&s, i, "");
    raw_hello(&c, s.port, "");
    for (unsigned k = 0; k < MANY; k++) {
        int n = snprintf(text, sizeof(text), "{\"name\":\"N%u\",\"storage\":\"memory\"}", k);
        char line[400];
        snprintf(line, sizeof(line), "PUB $JS.API.STREAM.CREATE.N%u d %d\r\n%s\r\n", k, n, text);
        raw_send(&c, line);
    }
    for (unsigned k = 0; k < CONSUMERS; k++) {
        char line[400];
        int n = snprintf(text, sizeof(text),
                         "{\"stream_name\":\"N7\",\"config\":{\"durable_name\":\"C%u\","
                         "\"ack_policy\":\"explicit\"}}",
                         k);
        snprintf(line, sizeof(line), "PUB $JS.API.CONSUMER.DURABLE.CREATE.N7.C%u d %d\r\n%s\r\n", k,
                 n, text);
        raw_send(&c, line);
    }
    snprintf(text, sizeof(text), "$JS.API.CONSUMER.INFO.N7.C%u", CONSUMERS - 1);
    do {
        got = raw_ask(&c, text, "");
        if (strstr(got, "\"error\"") == NULL)
            break;
        free(got);
    } while (true);
    free(got);
    got = get(&s, "/jsz?consumers=1&config=1");
    ck_assert_uint_eq(count(got, "\"durable_name\": \"C"), CONSUMERS);
    ck_assert_uint_eq(count(got, "\"subjects\": ["), MANY);
    ck_assert_ptr_nonnull(strstr(got, "\"streams\": 700"));
    for (unsigned k = 0; k < MANY; k++) {
        snprintf(text, sizeof(text), "\"N%u\"", k); /* its name twice, its subject */
        ck_assert_msg(k == 7 || count(got, text) == 3, "%s in %.3000s", text, got);
    }
    free(got);
    got = get(&s, "/jsz?acc=$G");
    ck_assert_uint_eq(count(got, "\"stream_detail\""), 0);
    free(got);
    got = get(&s, "/metrics");
    ck_assert_uint_eq(count(got, "\njetstream_stream_total_messages{"), MANY);
    ck_assert_uint_eq(count(got, "\njetstream_consumer_num_pending{"), CONSUMERS);
    free(got);
    raw_close(&c);
    server_process_deinit(&s);
}

static const struct runner_case cases[] = {
    RUN_LOOP(paths, 0, 3),
    RUN_LOOP(connections, 0, 3),
    RUN_LOOP(many_connections, 0, 3),
    RUN_LOOP(many_streams, 0, 3),
    RUN_LOOP(jetstream_and_health, 0, 3),
    RUN_LOOP(requests_under_way, 0, 3),
    RUN(health_without_jetstream),
    RUN_LOOP(a_lost_message_is_in_health, 0, 2),
    RUN_LOOP(health_says_what_is_lost, 0, 2 * HARMS),
    RUN_LOOP(a_log_without_its_copy_is_in_health, 0, 2),
    RUN_LOOP(leaf_nodes_and_tags, 0, 3),
    RUN(metrics_are_well_formed),
    RUN(https),
};

RUNNER_MAIN("api/monitor", cases)
