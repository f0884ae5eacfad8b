/* bench.c - threads and phases of a run. */
#include "tools/nats-bench/bench.h"

#include "lib/base/buf.h"
#include "lib/base/mem.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS (200 * MS)

void bench_fail(struct client *c, const char *format, ...)
{
    va_list args;

    if (c->error[0] == '\0') {
        va_start(args, format);
        vsnprintf(c->error, sizeof(c->error), format, args);
        va_end(args);
    }
    atomic_store(&c->b->stop, true);
}

void bench_fail_connection(struct client *c)
{
    bench_fail(c, "%s", midge_error(c->m));
}

void bench_pattern(const struct bench *b, char out[256])
{
    snprintf(out, 256, b->o.subjects > 1 ? "%s.>" : "%s", b->o.subject);
}

/* utime and stime of all threads, in steps of 10 ms; false when the process is not there. */
static bool process_cpu(uint64_t pid, uint64_t *ns)
{
    char path[64], line[1024];
    char *at;
    FILE *f;
    uint64_t user, system;

    snprintf(path, sizeof(path), "/proc/%llu/stat", (unsigned long long) pid);
    f = fopen(path, "r");
    if (f == NULL)
        return false;
    at = fgets(line, sizeof(line), f) != NULL ? strrchr(line, ')') : NULL;
    fclose(f);
    /* Behind the name: state is field 3, utime 14, stime 15. */
    for (int field = 2; at != NULL && field < 14; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return false;
    user = strtoull(at, &at, 10);
    system = strtoull(at, NULL, 10);
    *ns = (user + system) * (SECOND / (uint64_t) sysconf(_SC_CLK_TCK));
    return true;
}

/* ---- a client's thread ----------------------------------------------------------------------- */

static void connect_client(struct client *c)
{
    const struct options *o = &c->b->o;
    struct midge_options mo;

    options_connection(o, &mo);
    mo.name = "nats-bench";
    mo.spin_ns = o->spin_us * 1000;
    mo.congestion = o->congestion;
    c->m = midge_connect(&mo, c->error);
    if (c->m == NULL) {
        atomic_store(&c->b->stop, true);
        return;
    }
    c->error[0] = '\0';
    if (o->size > midge_max_payload(c->m))
        bench_fail(c, "--size %llu is more than the server's max_payload %llu",
                   (unsigned long long) o->size, (unsigned long long) midge_max_payload(c->m));
    else if (c->role->setup(c) && midge_flush(c->m, 5000) != MIDGE_OK)
        bench_fail(c, "no answer to PING: %s", midge_error(c->m));
}

static void wait_for_start(struct client *c)
{
    struct bench *b = c->b;

    pthread_mutex_lock(&b->lock);
    b->ready++;
    pthread_cond_broadcast(&b->changed);
    while (!b->started)
        pthread_cond_wait(&b->changed, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

/* The last client that ends by itself lets the others drain; the last of all wakes the main thread.
 */
static void ended(struct client *c)
{
    struct bench *b = c->b;

    pthread_mutex_lock(&b->lock);
    b->ended++;
    if (!c->role->waits && --b->active == 0) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < b->nclients; i++)
            if (!b->clients[i].role->waits)
                sum += atomic_load(&b->clients[i].progress);
        atomic_store(&b->expected, sum);
        atomic_store(&b->drain, true);
    }
    if (b->ended == b->nclients)
        pthread_kill(b->main, SIGUSR1);
    pthread_mutex_unlock(&b->lock);
}

static void *client_thread(void *arg)
{
    struct client *c = arg;

    connect_client(c);
    wait_for_start(c);
    c->first = c->last = c->b->start;
    if (!atomic_load(&c->b->stop))
        c->role->run(c);
    bench_progress(c);
    ended(c);
    return NULL;
}

/* ---- the main thread ------------------------------------------------------------------------- */

static uint64_t share(uint64_t whole, uint64_t parts, uint64_t index)
{
    return whole / parts + (index < whole % parts ? 1 : 0);
}

static void add_clients(struct bench *b, const struct role *role, uint64_t n)
{
    b->clients = mem_realloc(b->clients, (b->nclients + n) * sizeof(*b->clients));
    for (uint64_t i = 0; i < n; i++) {
        struct client *c = &b->clients[b->nclients++];
        memset(c, 0, sizeof(*c));
        c->b = b;
        c->role = role;
        c->index = (unsigned) i;
        c->target = b->o.count > 0 && role->bounded ? share(b->o.count, n, i) : UINT64_MAX;
        c->latency = mem_zalloc(sizeof(*c->latency));
        c->payload = mem_alloc(b->o.size + 1);
        for (uint64_t at = 0; at < b->o.size; at++)
            c->payload[at] = (char) ('a' + (at + i) % 26);
        c->next_subject = i % b->o.subjects;
    }
    if (!role->waits)
        b->active += (unsigned) n;
}

static void choose_roles(struct bench *b)
{
    const struct options *o = &b->o;

    switch (o->mode) {
    case MODE_PUB:
        add_clients(b, &role_publish, o->clients);
        break;
    case MODE_SUB:
        add_clients(b, &role_subscribe, o->clients);
        break;
    case MODE_PUBSUB:
        add_clients(b, &role_publish, o->clients);
        add_clients(b, &role_subscribe, o->receivers);
        break;
    case MODE_REQUEST:
        add_clients(b, &role_request, o->clients);
        add_clients(b, &role_respond, o->receivers);
        break;
    case MODE_JS_PUB:
        add_clients(b, o->fast ? &role_js_fast : &role_js_publish, o->clients);
        break;
    case MODE_JS_PULL:
        add_clients(b, &role_pull, o->clients);
        break;
    case MODE_JS_PUSH:
        add_clients(b, &role_push, o->clients);
        break;
    case MODE_JS_ORDERED:
        add_clients(b, &role_ordered, o->clients);
        break;
    }
}

static void make_subjects(struct bench *b)
{
    struct buf text = {0};

    b->subjects = mem_array(b->o.subjects, sizeof(*b->subjects));
    for (uint64_t i = 0; i < b->o.subjects; i++) {
        buf_clear(&text);
        buf_puts(&text, b->o.subject);
        if (b->o.subjects > 1)
            buf_printf(&text, ".%llu", (unsigned long long) i);
        b->subjects[i] = (struct midge_text){mem_strndup(text.p, text.n), text.n};
    }
    buf_free(&text);
}

/* Waits until a signal of the set arrives or a tick has passed. */
static int next_signal(const sigset_t *signals)
{
    struct timespec tick = {.tv_nsec = TICK_NS};
    return sigtimedwait(signals, NULL, &tick);
}

static void start_line(struct bench *b)
{
    struct timespec wall;

    pthread_mutex_lock(&b->lock);
    while (b->ready < b->nclients)
        pthread_cond_wait(&b->changed, &b->lock);
    process_cpu(b->o.server_pid, &b->cpu_before);
    clock_gettime(CLOCK_REALTIME, &wall);
    b->wall_start = (int64_t) wall.tv_sec * (int64_t) SECOND + wall.tv_nsec;
    b->start = midge_now();
    b->deadline = b->o.duration_ns > 0 ? b->start + b->o.duration_ns : UINT64_MAX;
    b->started = true;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

static bool all_ended(struct bench *b)
{
    bool all;

    pthread_mutex_lock(&b->lock);
    all = b->ended == b->nclients;
    pthread_mutex_unlock(&b->lock);
    return all;
}

static bool check_server_pid(struct bench *b)
{
    if (b->o.server_pid == 0 || process_cpu(b->o.server_pid, &b->cpu_before))
        return true;
    fprintf(stderr, "nats-bench: --server-pid %llu: no such process\n",
            (unsigned long long) b->o.server_pid);
    return false;
}

static bool clients_well(const struct bench *b)
{
    bool well = true;

    for (unsigned i = 0; i < b->nclients && well; i++) {
        const struct client *c = &b->clients[i];
        if (c->error[0] != '\0') {
            fprintf(stderr, "nats-bench: %s %u: %s\n", c->role->name, c->index, c->error);
            well = false;
        }
    }
    return well;
}

bool bench_run(struct bench *b)
{
    sigset_t signals;
    char err[256] = "";
    bool progress = !b->o.quiet && isatty(STDERR_FILENO);

    b->main = pthread_self();
    b->goal = UINT64_MAX;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, NULL);
    if (!check_server_pid(b))
        return false;
    if (options_is_js(&b->o) && !jetstream_prepare(b, err)) {
        fprintf(stderr, "nats-bench: %s\n", err);
        return false;
    }
    make_subjects(b);
    choose_roles(b);
    /* Blocked in every thread: an interrupt is read here, and ends the run with its results. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    for (unsigned i = 0; i < b->nclients; i++) {
        if (pthread_create(&b->clients[i].thread, NULL, client_thread, &b->clients[i]) != 0) {
            fprintf(stderr, "nats-bench: can not start %u threads\n", b->nclients);
            exit(1);
        }
    }
    start_line(b);
    while (!all_ended(b)) {
        int signal = next_signal(&signals);
        if (signal == SIGINT || signal == SIGTERM)
            atomic_store(&b->stop, true);
        if (progress)
            report_progress(b, false);
    }
    process_cpu(b->o.server_pid, &b->cpu_after);
    b->end = midge_now();
    if (progress)
        report_progress(b, true);
    for (unsigned i = 0; i < b->nclients; i++)
        pthread_join(b->clients[i].thread, NULL);
    if (options_is_js(&b->o))
        jetstream_cleanup(b);
    return clients_well(b);
}

void bench_free(struct bench *b)
{
    for (unsigned i = 0; i < b->nclients; i++) {
        struct client *c = &b->clients[i];
        if (c->m != NULL)
            midge_close(c->m);
        mem_free(c->latency);
        mem_free(c->payload);
        mem_free(c->own);
    }
    mem_free(b->clients);
    for (uint64_t i = 0; b->subjects != NULL && i < b->o.subjects; i++)
        midge_free((void *) (uintptr_t) b->subjects[i].p);
    mem_free(b->subjects);
    if (b->control != NULL)
        midge_close(b->control);
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
}
