/*
 * backup_consumer.c - a consumer as an entry of a backup.
 *
 * The state is nats-server's: pairs `delivered` and `ack_floor`; `pending`: stream sequence to
 * {"Sequence": consumer sequence, "Timestamp": when it was delivered}; `redelivered`: stream
 * sequence to the number of deliveries behind the first.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/backup.h"
#include "server/js/consumer_int.h"
#include "server/js/consumer_state.h"

#include <stdlib.h>
#include <string.h>

/* ---- out ------------------------------------------------------------------------------------- */

/* A sequence behind the last one would be taken for delivered when it comes. */
static void put_pair(struct buf *out, const char *name, struct seq_pair pair, uint64_t last)
{
    buf_printf(out, "\"%s\":{\"consumer_seq\":%llu,\"stream_seq\":%llu}", name,
               (unsigned long long) pair.consumer,
               (unsigned long long) (pair.stream < last ? pair.stream : last));
}

static void put_pending(const struct consumer *c, uint64_t last, struct buf *out)
{
    int64_t now = io_wall(c->js->env->io);
    const char *sep = ",\"pending\":{";

    LIST_FOREACH(l, &c->core.pending.order)
    {
        const struct pend *p = LIST_ENTRY(l, struct pend, order);
        if (p->sseq > last)
            break;
        buf_printf(out, "%s\"%llu\":{\"Sequence\":%llu,\"Timestamp\":%lld}", sep,
                   (unsigned long long) p->sseq, (unsigned long long) p->dseq, (long long) now);
        sep = ",";
    }
    if (sep[1] == '\0')
        buf_putc(out, '}');
}

static void put_redelivered(const struct consumer *c, uint64_t last, struct buf *out)
{
    const char *sep = ",\"redelivered\":{";

    LIST_FOREACH(l, &c->core.pending.order)
    {
        const struct pend *p = LIST_ENTRY(l, struct pend, order);
        if (p->sseq > last)
            break;
        if (p->deliveries < 2)
            continue;
        buf_printf(out, "%s\"%llu\":%llu", sep, (unsigned long long) p->sseq,
                   (unsigned long long) p->deliveries - 1);
        sep = ",";
    }
    if (sep[1] == '\0')
        buf_putc(out, '}');
}

void backup_consumer_put(const struct consumer *c, uint64_t last, struct buf *out)
{
    buf_puts(out, "{\"config\":");
    consumer_config_write(out, &c->config);
    buf_puts(out, ",\"state\":{");
    put_pair(out, "delivered", c->core.delivered, last);
    buf_putc(out, ',');
    put_pair(out, "ack_floor", c->core.floor, last);
    put_pending(c, last, out);
    put_redelivered(c, last, out);
    buf_puts(out, "}}");
}

/* ---- in -------------------------------------------------------------------------------------- */

static void put_refusal(const struct backup_consumer *b, const struct js_error *e, struct buf *err)
{
    buf_printf(err, "failed to add consumer \"%s\": ", b->name);
    js_error_text(err, e);
    buf_printf(err, " (%u)", js_error_code(e->kind));
}

/* As a request for it would be, but that its name is settled; nobody is to be told of a value that
 * is changed. */
static bool check_config(const struct stream *s, struct backup_consumer *b, struct buf *err)
{
    struct consumer_bounds bounds;
    struct js_error e = {0};

    consumer_bounds_of(s, false, &bounds);
    if (b->config.name == NULL)
        b->config.name = mem_strdup(b->name);
    if (strcmp(b->config.name, b->name) != 0)
        js_fail(&e, JS_ERR_CONSUMER_CREATE_DURABLE_AND_NAME_MISMATCH, NULL);
    else if (consumer_config_check(&b->config, &bounds, &e))
        consumer_config_threshold(&b->config, NULL);
    if (e.kind != JS_OK)
        put_refusal(b, &e, err);
    return e.kind == JS_OK;
}

static bool read_config(json_t *config, struct backup_consumer *b, struct buf *err)
{
    struct js_error e = {0};
    struct buf text = {0};
    bool ok;

    jput_raw(&text, config);
    ok = consumer_config_read(buf_str(&text), &b->config, &e);
    if (!ok)
        buf_printf(err, "failed to decode consumer \"%s\" state: %s", b->name, e.detail);
    buf_free(&text);
    return ok;
}

static uint64_t number(const json_t *object, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(object, key));

    return v > 0 ? (uint64_t) v : 0;
}

static struct seq_pair read_pair(const json_t *state, const char *key)
{
    const json_t *o = json_object_get(state, key);

    return (struct seq_pair){.consumer = number(o, "consumer_seq"),
                             .stream = number(o, "stream_seq")};
}

static int by_sequence(const void *a, const void *b)
{
    uint64_t x = ((const struct backup_pending *) a)->sseq;
    uint64_t y = ((const struct backup_pending *) b)->sseq;

    return x < y ? -1 : x > y;
}

/* Of a number that is written in two ways one is taken. */
static void sort_pending(struct backup_consumer *b)
{
    size_t n = 0;

    if (b->npending > 0)
        qsort(b->pending, b->npending, sizeof(*b->pending), by_sequence);
    for (size_t i = 0; i < b->npending; i++)
        if (n == 0 || b->pending[n - 1].sseq != b->pending[i].sseq)
            b->pending[n++] = b->pending[i];
    b->npending = n;
}

static struct backup_pending *find_pending(const struct backup_consumer *b, uint64_t sseq)
{
    struct backup_pending key = {.sseq = sseq};

    return b->npending == 0 ? NULL
                            : bsearch(&key, b->pending, b->npending, sizeof(key), by_sequence);
}

static void read_pending(struct backup_consumer *b, const json_t *state)
{
    json_t *pending = json_object_get(state, "pending");
    json_t *again = json_object_get(state, "redelivered"), *value;
    struct backup_pending *p;
    const char *key;
    uint64_t seq;

    b->pending = mem_array(json_object_size(pending) + 1, sizeof(*b->pending));
    json_object_foreach(pending, key, value)
    {
        if (str_to_u64(str_of(key), &seq) && seq > b->floor.stream && seq <= b->delivered.stream &&
            json_is_object(value))
            b->pending[b->npending++] = (struct backup_pending){seq, number(value, "Sequence"), 0};
    }
    sort_pending(b);
    json_object_foreach(again, key, value)
    {
        if (str_to_u64(str_of(key), &seq) && (p = find_pending(b, seq)) != NULL)
            p->again = number(again, key);
    }
}

static bool read_entry(const struct stream *s, json_t *object, struct backup_consumer *b,
                       struct buf *err)
{
    json_t *config = json_object_get(object, "config"), *state = json_object_get(object, "state");

    if (!json_is_object(config)) {
        buf_printf(err, "consumer \"%s\" is missing config", b->name);
        return false;
    }
    if (!json_is_object(state)) {
        buf_printf(err, "consumer \"%s\" is missing state", b->name);
        return false;
    }
    if (!read_config(config, b, err) || !check_config(s, b, err))
        return false;
    b->delivered = read_pair(state, "delivered");
    b->floor = read_pair(state, "ack_floor");
    if (b->floor.stream > b->delivered.stream || b->floor.consumer > b->delivered.consumer) {
        buf_printf(err, "failed to set consumer \"%s\" state: impossible", b->name);
        return false;
    }
    if (b->config.ack_policy != ACK_NONE)
        read_pending(b, state);
    return true;
}

struct backup_consumer *backup_consumer_read(const struct stream *s, struct str name,
                                             struct str json, struct buf *err)
{
    struct backup_consumer *b;
    struct buf why = {0};
    json_t *object;
    bool ok = false;

    if (name.n == 0 || name.n > 255) {
        buf_puts(err, "consumer without a name");
        return NULL;
    }
    b = mem_zalloc(sizeof(*b));
    list_init(&b->link);
    b->name = mem_strndup(name.p, name.n);
    object = js_name_valid(b->name) ? json_parse_object(json, &why) : NULL;
    if (object == NULL)
        buf_printf(err, "failed to decode consumer \"%s\" state", b->name);
    else
        ok = read_entry(s, object, b, err);
    json_decref(object);
    buf_free(&why);
    if (ok)
        return b;
    backup_consumer_free(b);
    return NULL;
}

void backup_consumer_free(struct backup_consumer *b)
{
    list_remove(&b->link);
    consumer_config_release(&b->config);
    mem_free(b->pending);
    mem_free(b->name);
    mem_free(b);
}

/* ---- made ------------------------------------------------------------------------------------ */

static void restore_pending(struct consumer_core *core, const struct backup_consumer *b)
{
    for (size_t i = 0; i < b->npending && b->pending[i].sseq <= core->delivered.stream; i++) {
        struct pend *p = pend_add(&core->pending, b->pending[i].sseq);
        p->core = core;
        p->dseq = b->pending[i].dseq;
        p->deliveries = b->pending[i].again + 1;
        wheel_timer_init(&p->due, NULL);
        core->num_redelivered += p->deliveries > 1;
    }
}

struct consumer *backup_consumer_make(struct stream *s, const struct backup_consumer *b,
                                      struct buf *err)
{
    struct js_error e = {0};
    struct consumer *c;
    struct consumer_core *core;
    struct store_state st;

    if (stream_consumer(s, str_of(b->name)) != NULL)
        js_fail(&e, JS_ERR_CONSUMER_NAME_EXIST, NULL);
    else
        consumer_admit(s, &b->config, b->name, &e);
    if (e.kind != JS_OK) {
        put_refusal(b, &e, err);
        return NULL;
    }
    c = consumer_new(s, &b->config, b->name, io_wall(s->js->env->io));
    core = &c->core;
    store_stream_state(s->store, &st);
    core->delivered = b->delivered;
    core->floor = b->floor;
    if (core->delivered.stream > st.last_seq)
        core->delivered.stream = st.last_seq;
    if (core->floor.stream > st.last_seq)
        core->floor.stream = st.last_seq;
    core->next_seq = core->delivered.stream + 1;
    restore_pending(core, b);
    consumer_state_resume(core, io_now(s->js->env->io));
    consumer_recount(c);
    return c;
}
