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

#include <string.h>

/* ---- out ------------------------------------------------------------------------------------- */

static void put_pair(struct buf *out, const char *name, struct seq_pair pair)
{
    buf_printf(out, "\"%s\":{\"consumer_seq\":%llu,\"stream_seq\":%llu}", name,
               (unsigned long long) pair.consumer, (unsigned long long) pair.stream);
}

static void put_pending(const struct consumer *c, struct buf *out)
{
    int64_t now = io_wall(c->js->env->io);
    const char *sep = ",\"pending\":{";

    LIST_FOREACH(l, &c->core.pending.order)
    {
        const struct pend *p = LIST_ENTRY(l, struct pend, order);
        buf_printf(out, "%s\"%llu\":{\"Sequence\":%llu,\"Timestamp\":%lld}", sep,
                   (unsigned long long) p->sseq, (unsigned long long) p->dseq, (long long) now);
        sep = ",";
    }
    if (sep[1] == '\0')
        buf_putc(out, '}');
}

static void put_redelivered(const struct consumer *c, struct buf *out)
{
    const char *sep = ",\"redelivered\":{";

    LIST_FOREACH(l, &c->core.pending.order)
    {
        const struct pend *p = LIST_ENTRY(l, struct pend, order);
        if (p->deliveries < 2)
            continue;
        buf_printf(out, "%s\"%llu\":%llu", sep, (unsigned long long) p->sseq,
                   (unsigned long long) p->deliveries - 1);
        sep = ",";
    }
    if (sep[1] == '\0')
        buf_putc(out, '}');
}

void backup_consumer_put(const struct consumer *c, struct buf *out)
{
    buf_puts(out, "{\"config\":");
    consumer_config_write(out, &c->config);
    buf_puts(out, ",\"state\":{");
    put_pair(out, "delivered", c->core.delivered);
    buf_putc(out, ',');
    put_pair(out, "ack_floor", c->core.floor);
    put_pending(c, out);
    put_redelivered(c, out);
    buf_puts(out, "}}");
}

/* ---- in -------------------------------------------------------------------------------------- */

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

struct backup_consumer *backup_consumer_read(struct str name, struct str json, struct buf *err)
{
    struct backup_consumer *b;
    json_t *object;

    if (name.n == 0 || name.n > 255) {
        buf_puts(err, "consumer without a name");
        return NULL;
    }
    b = mem_zalloc(sizeof(*b));
    list_init(&b->link);
    b->name = mem_strndup(name.p, name.n);
    object = js_name_valid(b->name) ? json_parse_object(json, err) : NULL;
    b->state = json_incref(json_object_get(object, "state"));
    if (object == NULL)
        buf_printf(err, "failed to decode consumer \"%s\" state", b->name);
    else if (!json_is_object(json_object_get(object, "config")))
        buf_printf(err, "consumer \"%s\" is missing config", b->name);
    else if (!json_is_object(b->state))
        buf_printf(err, "consumer \"%s\" is missing state", b->name);
    else
        read_config(json_object_get(object, "config"), b, err);
    json_decref(object);
    if (err->n > 0) {
        backup_consumer_free(b);
        return NULL;
    }
    return b;
}

void backup_consumer_free(struct backup_consumer *b)
{
    list_remove(&b->link);
    consumer_config_release(&b->config);
    json_decref(b->state);
    mem_free(b->name);
    mem_free(b);
}

static uint64_t number(const json_t *object, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(object, key));

    return v > 0 ? (uint64_t) v : 0;
}

static struct seq_pair read_pair(const json_t *state, const char *key, uint64_t last)
{
    const json_t *o = json_object_get(state, key);
    struct seq_pair pair = {.consumer = number(o, "consumer_seq"),
                            .stream = number(o, "stream_seq")};

    if (pair.stream > last)
        pair.stream = last;
    return pair;
}

static int by_sequence(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return x < y ? -1 : x > y;
}

/* Sequences of the pending messages that can be, in order. */
static size_t pending_of(const json_t *pending, const struct consumer_core *core, uint64_t **out)
{
    json_t *mutable = json_incref((json_t *) (uintptr_t) pending);
    uint64_t *all = mem_array(json_object_size(pending) + 1, sizeof(*all));
    size_t n = 0;
    const char *key;
    json_t *value;

    json_object_foreach(mutable, key, value)
    {
        uint64_t seq;
        if (str_to_u64(str_of(key), &seq) && seq > core->floor.stream &&
            seq <= core->delivered.stream && json_is_object(value))
            all[n++] = seq;
    }
    json_decref(mutable);
    qsort(all, n, sizeof(*all), by_sequence);
    *out = all;
    return n;
}

static void restore_pending(struct consumer_core *core, const json_t *state)
{
    const json_t *pending = json_object_get(state, "pending");
    const json_t *again = json_object_get(state, "redelivered");
    uint64_t *all;
    size_t n = pending_of(pending, core, &all);

    for (size_t i = 0; i < n; i++) {
        char key[32];
        snprintf(key, sizeof(key), "%llu", (unsigned long long) all[i]);
        struct pend *p = pend_add(&core->pending, all[i]);
        p->core = core;
        p->dseq = number(json_object_get(pending, key), "Sequence");
        p->deliveries = number(again, key) + 1;
        wheel_timer_init(&p->due, NULL);
        core->num_redelivered += p->deliveries > 1;
    }
    mem_free(all);
}

struct consumer *backup_consumer_make(struct stream *s, const struct backup_consumer *b)
{
    struct consumer *c;
    struct consumer_core *core;
    struct store_state st;

    if (stream_consumer(s, str_of(b->name)) != NULL)
        return NULL;
    c = consumer_new(s, &b->config, b->name, io_wall(s->js->env->io));
    core = &c->core;
    store_stream_state(s->store, &st);
    core->delivered = read_pair(b->state, "delivered", st.last_seq);
    core->floor = read_pair(b->state, "ack_floor", st.last_seq);
    if (core->floor.stream > core->delivered.stream ||
        core->floor.consumer > core->delivered.consumer) {
        consumer_free(c);
        return NULL;
    }
    core->next_seq = core->delivered.stream + 1;
    if (b->config.ack_policy != ACK_NONE)
        restore_pending(core, b->state);
    consumer_state_resume(core, io_now(s->js->env->io));
    consumer_recount(c);
    return c;
}
