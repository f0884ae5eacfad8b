/*
 * api_consumer_turn.c - requests that say where a consumer goes on: UNPIN ends the pin of a
 * priority group, RESET moves the next delivery.
 *
 * A reset without a sequence goes back to the message behind the ack floor. One with a sequence is
 * allowed where the deliver policy names a place in the stream, and not before that place. What was
 * pending is forgotten, consumer sequences begin at 1 again. The answer leaves when the new state
 * is durable.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/api_int.h"
#include "server/js/consumer_int.h"

#include <string.h>

/* ---- unpin ----------------------------------------------------------------------------------- */

struct unpin_request {
    char *group;
};

static const struct json_field unpin_fields[] = {
    {"group", JSON_STRING_FIELD, offsetof(struct unpin_request, group), 0, NULL},
};

static bool has_group(const struct consumer *c, const char *group)
{
    for (size_t i = 0; i < c->config.priority_groups.n; i++)
        if (strcmp(c->config.priority_groups.items[i], group) == 0)
            return true;
    return false;
}

static bool check_group(struct api_request *r, const char *group)
{
    struct js_error err = {0};

    if (group == NULL || group[0] == '\0')
        js_fail(&err, JS_ERR_INVALID_JSON, "consumer group not specified");
    else if (!consumer_group_valid(group))
        js_fail(&err, JS_ERR_CONSUMER_INVALID_GROUP_NAME, NULL);
    else
        return true;
    api_error(r, &err);
    return false;
}

void api_consumer_unpin(struct api_request *r)
{
    struct unpin_request q = {0};
    struct stream *s = api_stream(r);
    struct consumer *c;

    if (s == NULL || !api_read_body_lax(r, &shape_consumer_unpin_request, unpin_fields,
                                        ARRAY_LEN(unpin_fields), &q))
        return;
    if (check_group(r, q.group) && (c = api_consumer(r, s)) != NULL) {
        if (has_group(c, q.group)) {
            consumer_core_unpin(&c->core, str_of(q.group));
            consumer_run_effects(c);
            api_reply(r);
        } else {
            api_error_kind(r, JS_ERR_CONSUMER_INVALID_PRIORITY_GROUP);
        }
    }
    fields_release(unpin_fields, ARRAY_LEN(unpin_fields), &q);
}

/* ---- reset ----------------------------------------------------------------------------------- */

struct reset_request {
    uint64_t seq;
};

static const struct json_field reset_fields[] = {
    {"seq", JSON_U64_FIELD, offsetof(struct reset_request, seq), 0, NULL},
};

struct resetting {
    struct store_req req; /* of the start time, then of the record */
    struct api_request *r;
    uint64_t seq, birth;
};

static void refuse(struct resetting *g, const char *why)
{
    struct js_error err = {0};

    js_fail(&err, JS_ERR_CONSUMER_INVALID_RESET, "%s", why);
    api_error(g->r, &err);
    mem_free(g);
}

/* The consumer as it was asked for, or NULL: it has gone while something completed. */
static struct consumer *find_again(const struct resetting *g)
{
    struct stream *s = js_stream_find(g->r->js, g->r->tokens[0]);
    struct consumer *c = s != NULL ? stream_consumer(s, g->r->tokens[1]) : NULL;

    return c != NULL && c->birth == g->birth ? c : NULL;
}

/* To who asks with the header, whatever it says: a source that begins on this consumer. */
static void tell_identity(struct api_request *r, const struct stream *s)
{
    char identity[SOURCE_HASH_LEN + 1];

    if (header_get(buf_str(&r->header), STR("Nats-Stream-Identity")).p == NULL)
        return;
    stream_identity(s, identity);
    header_append(&r->out_header, STR_NONE, STR("Nats-Stream-Identity"), str_of(identity));
}

static void durable(struct store_req *req, enum err err)
{
    struct resetting *g = CONTAINER_OF(req, struct resetting, req);
    struct consumer *c = find_again(g);

    if (err != ERR_OK) {
        refuse(g, err_text(err));
        return;
    }
    if (c == NULL) {
        api_error_kind(g->r, JS_ERR_CONSUMER_NOT_FOUND);
        mem_free(g);
        return;
    }
    tell_identity(g->r, c->stream);
    buf_printf(&g->r->out, ",\"reset_seq\":%llu", (unsigned long long) g->seq);
    api_reply(g->r);
    mem_free(g);
}

/* The answer tells of the consumer as the reset left it: what is delivered while it becomes durable
 * is behind the answer, for a source that begins with it. */
static void carry_out(struct resetting *g, struct consumer *c)
{
    g->req.done = durable;
    consumer_reset(c, g->seq);
    buf_putc(&g->r->out, ',');
    consumer_info(c, INFO_ASKED, &g->r->out);
    if (c->config.mem_storage)
        durable(&g->req, ERR_OK);
    else
        consumer_rewrite(c, &g->req);
}

static void time_known(struct store_req *req, enum err err)
{
    struct resetting *g = CONTAINER_OF(req, struct resetting, req);
    struct consumer *c = find_again(g);

    if (err != ERR_OK || c == NULL)
        refuse(g, err_text(err != ERR_OK ? err : ERR_CANCELED));
    else if (g->seq < req->count)
        refuse(g, "below start time");
    else
        carry_out(g, c);
}

static void compare_with_time(struct resetting *g, struct consumer *c)
{
    enum err err;

    g->req.done = time_known;
    err = store_seq_at(c->stream->store, c->config.opt_start_time, &g->req.count, &g->req);
    if (err != ERR_AGAIN)
        time_known(&g->req, err);
}

void api_consumer_reset(struct api_request *r)
{
    struct reset_request q = {0};
    struct stream *s = api_stream(r);
    struct consumer *c;
    struct resetting *g;

    if (s == NULL ||
        !api_read_body_lax(r, &shape_consumer_reset_request, reset_fields, ARRAY_LEN(reset_fields),
                           &q) ||
        (c = api_consumer(r, s)) == NULL)
        return;
    g = mem_zalloc(sizeof(*g));
    g->r = r;
    g->birth = c->birth;
    g->seq = q.seq > 0 ? q.seq : c->core.floor.stream + 1;
    if (q.seq == 0 || c->config.deliver_policy == DELIVER_ALL)
        carry_out(g, c);
    else if (c->config.deliver_policy == DELIVER_BY_START_SEQUENCE)
        q.seq < c->config.opt_start_seq ? refuse(g, "below start seq") : carry_out(g, c);
    else if (c->config.deliver_policy == DELIVER_BY_START_TIME)
        compare_with_time(g, c);
    else
        refuse(g, "not allowed");
}
