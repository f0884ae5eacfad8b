/*
 * upstream.c - mirrors and sources: asks an origin for a consumer, stores what it sends, and knows
 * what has become durable.
 *
 * Everything goes through subjects, as if the origin were elsewhere: a request to its API (with the
 * prefix of `external`), a push consumer without acknowledgements (`direct`: not listed, not
 * stored) to a subject of ours, heartbeats each second, flow control. So it makes no difference on
 * which worker the origin lives.
 *
 * What is asked for: a mirror asks for what is behind its last sequence, a source for what is
 * behind its position (upstream_positions.c). An origin with interest or work-queue retention would
 * lose what it has sent to a consumer without acknowledgements, so there the consumer has policy
 * `all` from the first message on: what was taken before is recognised by its sequence, and
 * acknowledged.
 *
 * Nothing is confirmed upwards before it is durable: an answer to flow control and an
 * acknowledgement wait for the commit that carries what came before them. So an origin that sends
 * faster than the disk takes is slowed down by its own window.
 *
 * A mirror keeps sequences: what the origin does not have, or filters out, is a skip. A source
 * writes Nats-Stream-Source into each message. Both leave out Nats-Expected-* and Nats-Batch-*,
 * which were about the publish at the origin.
 *
 * An origin that was deleted and made anew has another identity (a hash of its time of creation,
 * Nats-Stream-Identity): a source begins at its first message again. A mirror, whose sequences are
 * the origin's, waits until the new one has come past them.
 */
#include "server/js/upstream.h"

#include "lib/base/fmt.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/wire/ack_subject.h"

#include <stdio.h>
#include <string.h>

#define INACTIVE_NS 10000000000ll
#define ACK_WAIT_NS (22ll * 3600 * 1000000000)
/* While the stream reads its duplicate window or its positions back. */
#define LOADING_NS 20000000u
/* A mirror answers direct gets in its origin's name when fewer messages than that are to come. */
#define DIRECT_LAG 10u
/* Sequences that one store_skip takes. */
#define SKIP_STEP (1u << 30)

static uint64_t now_of(const struct upstream *u)
{
    return io_now(u->s->js->env->io);
}

static void arm(struct upstream *u)
{
    io_timer_start(u->s->js->env->io, &u->timer, u->core.due);
}

static bool send(struct upstream *u, struct str subject, struct str reply, struct str header,
                 struct str payload)
{
    struct env *env = u->s->js->env;
    struct msg m = {.subject = subject,
                    .reply = reply,
                    .header = header,
                    .payload = payload,
                    .flags = MSG_F_SYSTEM};
    struct route_result res = route_publish(env->router, u->s->js->account, &m);

    route_flush(env->router);
    return res.receivers > 0;
}

static struct interest_sub *listen_on(struct upstream *u, struct sink *sink, struct str subject)
{
    struct env *env = u->s->js->env;

    return interest_add(u->s->js->account->interest, &(struct interest_spec){.pattern = subject,
                                                                             .worker = env->worker,
                                                                             .sink = sink->self,
                                                                             .internal = true});
}

static void stop_listening(struct upstream *u, struct interest_sub **sub)
{
    if (*sub != NULL)
        interest_remove(u->s->js->account->interest, *sub);
    *sub = NULL;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void put_filters(struct upstream *u, struct buf *b)
{
    const struct source_config *c = &u->config;

    if (c->filter_subject != NULL) {
        buf_puts(b, ",\"filter_subject\":");
        jput_string(b, str_of(c->filter_subject));
    } else if (c->nmappings > 0) {
        buf_puts(b, ",\"filter_subjects\":[");
        for (size_t i = 0; i < c->nmappings; i++) {
            if (i > 0)
                buf_putc(b, ',');
            jput_string(b, c->mappings[i].src != NULL ? str_of(c->mappings[i].src) : STR(">"));
        }
        buf_putc(b, ']');
    }
}

/* Nothing was taken yet: where the configuration says. */
static void put_first_start(const struct source_config *c, struct buf *b)
{
    if (c->opt_start_seq > 0) {
        buf_printf(b, "\"by_start_sequence\",\"opt_start_seq\":%llu",
                   (unsigned long long) c->opt_start_seq);
    } else if (c->opt_start_time != 0) {
        buf_puts(b, "\"by_start_time\",\"opt_start_time\":");
        jput_time(b, c->opt_start_time);
    } else {
        buf_puts(b, "\"all\"");
    }
}

static void put_start(struct upstream *u, struct buf *b)
{
    buf_puts(b, ",\"deliver_policy\":");
    if (u->core.sseq == 0)
        put_first_start(&u->config, b);
    else if (u->acks)
        buf_puts(b, "\"all\"");
    else
        buf_printf(b, "\"by_start_sequence\",\"opt_start_seq\":%llu",
                   (unsigned long long) u->core.sseq + 1);
}

static void put_request(struct upstream *u, struct buf *b)
{
    struct stream *s = u->s;

    buf_puts(b, "{\"stream_name\":");
    jput_string(b, str_of(u->config.name));
    buf_printf(b, ",\"config\":{\"name\":\"%s\",\"deliver_subject\":", u->consumer);
    jput_string(b, str_of(u->deliver));
    put_start(u, b);
    put_filters(u, b);
    if (u->acks)
        buf_puts(b, ",\"ack_policy\":\"all\"");
    else
        buf_puts(b, ",\"ack_policy\":\"none\",\"max_deliver\":1");
    buf_printf(b,
               ",\"ack_wait\":%lld,\"replay_policy\":\"instant\",\"flow_control\":true,"
               "\"idle_heartbeat\":%llu,\"inactive_threshold\":%lld,\"direct\":true,"
               "\"num_replicas\":0,\"metadata\":{\"_nats.%s.stream\":",
               ACK_WAIT_NS, (unsigned long long) UPSTREAM_HEARTBEAT_NS, INACTIVE_NS,
               u->mirror ? "mirror" : "src");
    jput_string(b, str_of(s->config.name));
    buf_printf(b, ",\"_nats.%s.acc\":", u->mirror ? "mirror" : "src");
    jput_string(b, str_of(s->js->account->name));
    buf_puts(b, "}}}");
}

static void request_subject(const struct upstream *u, struct buf *out)
{
    const struct source_config *c = &u->config;
    struct buf plain = {0};

    if (c->has_consumer)
        buf_printf(&plain, "$JS.API.CONSUMER.RESET.%s.%s", c->name, c->consumer_name);
    else if (c->filter_subject != NULL)
        buf_printf(&plain, "$JS.API.CONSUMER.CREATE.%s.%s.%s", c->name, u->consumer,
                   c->filter_subject);
    else
        buf_printf(&plain, "$JS.API.CONSUMER.CREATE.%s.%s", c->name, u->consumer);
    source_config_api(c, buf_cstr(&plain), out);
    buf_free(&plain);
}

/* A name and subjects that were never used: what the last consumer still sends goes nowhere. */
static void make_names(struct upstream *u)
{
    struct js *js = u->s->js;
    const char *prefix = u->config.deliver_prefix;
    char id[NUID_LEN + 1];
    struct buf b = {0};

    nuid_next(&js->nuid, id);
    snprintf(u->consumer, sizeof(u->consumer), "JS_%s_%s", u->mirror ? "MIRROR" : "SRC", id);
    nuid_next(&js->nuid, id);
    snprintf(u->reply, sizeof(u->reply), "$JS.%s.%s", u->mirror ? "MA" : "SA", id);
    nuid_next(&js->nuid, id);
    buf_puts(&b, prefix != NULL ? prefix : "$JS.");
    if (b.p[b.n - 1] != '.')
        buf_putc(&b, '.');
    buf_printf(&b, "%s.%s", u->mirror ? "M" : "S", id);
    mem_free(u->deliver);
    u->deliver = mem_strdup(u->config.has_consumer ? u->config.consumer_deliver : buf_cstr(&b));
    buf_free(&b);
}

static bool origin_consumes(struct upstream *u)
{
    struct stream_outline o;
    bool consumes;

    if (u->config.external || u->config.has_consumer ||
        !directory_outline(u->s->js->shared->directory, str_of(u->config.name), &o))
        return false;
    consumes = o.consumes;
    stream_outline_free(&o);
    return consumes;
}

static void failed(struct upstream *u, enum js_error_kind kind, const char *text);

static void ask(struct upstream *u)
{
    struct buf subject = {0}, body = {0}, header = {0};
    bool sent;

    make_names(u);
    u->acks = origin_consumes(u);
    request_subject(u, &subject);
    if (!u->config.has_consumer)
        put_request(u, &body);
    if (!u->mirror)
        header_append(&header, STR_NONE, STR("Nats-Stream-Identity"), str_of(u->identity));
    u->answers_interest = listen_on(u, &u->answers, str_of(u->reply));
    sent = send(u, buf_str(&subject), str_of(u->reply), buf_str(&header), buf_str(&body));
    buf_free(&subject);
    buf_free(&body);
    buf_free(&header);
    if (!sent)
        failed(u,
               u->mirror ? JS_ERR_MIRROR_CONSUMER_SETUP_FAILED
                         : JS_ERR_SOURCE_CONSUMER_SETUP_FAILED,
               "no responders");
    else
        arm(u);
}

/* ---- direct gets of a mirror's origin ---------------------------------------------------------
 */

static void stop_direct(struct upstream *u)
{
    stop_listening(u, &u->direct[0]);
    stop_listening(u, &u->direct[1]);
}

static struct interest_sub *listen_direct(struct upstream *u, const char *below)
{
    struct env *env = u->s->js->env;
    struct buf subject = {0};
    struct interest_sub *sub;

    buf_printf(&subject, "$JS.API.DIRECT.GET.%s%s", u->config.name, below);
    sub = interest_add(u->s->js->account->interest,
                       &(struct interest_spec){.pattern = buf_str(&subject),
                                               .queue = STR("_sys_"),
                                               .worker = env->worker,
                                               .sink = u->s->direct.self,
                                               .internal = true});
    buf_free(&subject);
    return sub;
}

static void maybe_direct(struct upstream *u)
{
    struct stream *s = u->s;

    if (!u->mirror || !s->config.mirror_direct || u->direct[0] != NULL || u->core.lag >= DIRECT_LAG)
        return;
    if (s->direct.self == 0)
        router_sink_add(s->js->env->router, &s->direct);
    u->direct[0] = listen_direct(u, "");
    u->direct[1] = listen_direct(u, ".>");
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void clear_error(struct upstream *u)
{
    u->error = (struct js_error){0};
    mem_free(u->error_text);
    u->error_text = NULL;
}

/* The consumer is not heard any more; nor what is said about it. */
static void hang_up(struct upstream *u)
{
    stop_listening(u, &u->answers_interest);
    stop_listening(u, &u->messages_interest);
    stop_direct(u);
    mem_free(u->flow_reply);
    u->flow_reply = NULL;
    buf_clear(&u->last_reply);
}

/* Best effort: without us it ends by itself. */
static void delete_consumer(struct upstream *u)
{
    struct buf plain = {0}, subject = {0};

    if (u->config.has_consumer || u->core.state == UPSTREAM_IDLE || u->s->js->stopping)
        return;
    buf_printf(&plain, "$JS.API.CONSUMER.DELETE.%s.%s", u->config.name, u->consumer);
    source_config_api(&u->config, buf_cstr(&plain), &subject);
    /* Only requests with a reply are heard. */
    send(u, buf_str(&subject), str_of(u->reply), STR_NONE, STR_NONE);
    buf_free(&plain);
    buf_free(&subject);
}

static void failed(struct upstream *u, enum js_error_kind kind, const char *text)
{
    hang_up(u);
    clear_error(u);
    js_fail(&u->error, kind, "%s", text);
    upstream_core_failed(&u->core, now_of(u));
    arm(u);
}

/* Something was lost, or could not be taken: the core is idle already. */
static void begin_again(struct upstream *u)
{
    hang_up(u);
    arm(u);
}

/* ---- the answer ------------------------------------------------------------------------------ */

struct created {
    uint64_t delivered, pending;
    const char *deliver, *ack_policy, *name;
};

static uint64_t number_at(const json_t *object, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(object, key));

    return v > 0 ? (uint64_t) v : 0;
}

static bool read_created(const json_t *answer, struct created *out)
{
    const json_t *config = json_object_get(answer, "config");

    out->name = json_string_value(json_object_get(answer, "name"));
    out->deliver = json_string_value(json_object_get(config, "deliver_subject"));
    out->ack_policy = json_string_value(json_object_get(config, "ack_policy"));
    out->delivered = number_at(json_object_get(answer, "delivered"), "stream_seq");
    out->pending = number_at(answer, "num_pending");
    return json_is_object(config) && out->name != NULL && out->deliver != NULL &&
           strlen(out->name) < sizeof(((struct upstream *) NULL)->consumer);
}

/* The origin's own error is what our info shows. */
static void answered_error(struct upstream *u, const json_t *error)
{
    struct buf b = {0};

    if (number_at(error, "err_code") == js_error_code(JS_ERR_CONSUMER_STREAM_IDENTITY_MISMATCH)) {
        LOG_WRN(u->s->js->env->log,
                "JetStream source stream '%s' for stream '%s > %s' was recreated, resetting source "
                "state",
                u->config.name, u->s->js->account->name, u->s->config.name);
        u->identity[0] = '\0';
        u->begun = u->durable = 0;
        hang_up(u);
        upstream_core_restart(&u->core, now_of(u));
        arm(u);
        return;
    }
    failed(u, JS_OK, "");
    jput_raw(&b, error);
    u->error_text = mem_strdup(buf_cstr(&b));
    buf_free(&b);
}

/* A mirror's first message comes behind what the origin does not have any more. */
static bool skip_to(struct stream *s, uint64_t last)
{
    uint64_t seq;

    while (s->assigned < last) {
        uint64_t n = last - s->assigned;
        if (store_skip(s->store, n < SKIP_STEP ? n : SKIP_STEP, &seq) != ERR_OK)
            return false;
        s->assigned = seq;
    }
    return true;
}

static void set_identity(struct upstream *u, struct str identity)
{
    size_t n = identity.n < sizeof(u->identity) ? identity.n : 0;

    memcpy(u->identity, n > 0 ? identity.p : "", n);
    u->identity[n] = '\0';
}

static void connected(struct upstream *u, const struct created *k, struct str identity)
{
    bool flow = k->ack_policy != NULL && strcmp(k->ack_policy, "flow_control") == 0;

    if (u->config.has_consumer && !flow) {
        failed(u,
               u->mirror ? JS_ERR_MIRROR_CONSUMER_REQUIRES_ACK_FC
                         : JS_ERR_SOURCE_CONSUMER_REQUIRES_ACK_FC,
               "");
        return;
    }
    if (u->mirror && !skip_to(u->s, k->delivered)) {
        failed(u, JS_ERR_MIRROR_CONSUMER_SETUP_FAILED, "can not skip messages");
        return;
    }
    clear_error(u);
    stop_listening(u, &u->answers_interest);
    set_identity(u, identity);
    snprintf(u->consumer, sizeof(u->consumer), "%s", k->name);
    upstream_core_created(&u->core, now_of(u), k->delivered, k->pending,
                          !u->mirror && !u->acks && !u->config.has_consumer);
    mem_free(u->deliver);
    u->deliver = mem_strdup(k->deliver);
    u->messages_interest = listen_on(u, &u->messages, str_of(u->deliver));
    maybe_direct(u);
    arm(u);
}

static void take_answer(struct upstream *u, const struct msg *m)
{
    struct buf err = {0};
    struct created k;
    json_t *answer;

    if (u->core.state != UPSTREAM_ASKING || !str_eq(m->subject, str_of(u->reply)))
        return;
    answer = json_parse_object(m->payload, &err);
    if (answer != NULL && json_is_object(json_object_get(answer, "error")))
        answered_error(u, json_object_get(answer, "error"));
    else if (answer != NULL && read_created(answer, &k))
        connected(u, &k, header_get(m->header, STR("Nats-Stream-Identity")));
    else
        failed(u,
               u->mirror ? JS_ERR_MIRROR_CONSUMER_SETUP_FAILED
                         : JS_ERR_SOURCE_CONSUMER_SETUP_FAILED,
               "invalid consumer create response");
    json_decref(answer);
    buf_free(&err);
}

static unsigned deliver_answers(struct sink *sink, const struct msg *run, unsigned n)
{
    struct upstream *u = CONTAINER_OF(sink, struct upstream, answers);

    for (unsigned i = 0; i < n && !u->s->js->stopping; i++)
        take_answer(u, &run[i]);
    return n;
}

static const struct sink_ops answers_ops = {.deliver = deliver_answers, .kind = "upstream"};

/* ---- confirming upwards ---------------------------------------------------------------------- */

/* What has been seen, not what is known: a consumer that repeats what it was not told about is not
 * told of more than it has sent. */
static void answer_flow(struct upstream *u)
{
    struct buf h = {0};

    if (u->flow_reply == NULL || u->s->durable < u->flow_after)
        return;
    buf_printf(&h, "NATS/1.0\r\nNats-Last-Consumer: %llu\r\nNats-Last-Stream: %llu\r\n\r\n",
               (unsigned long long) u->core.dseq, (unsigned long long) u->core.seen);
    send(u, str_of(u->flow_reply), STR_NONE, buf_str(&h), STR_NONE);
    mem_free(u->flow_reply);
    u->flow_reply = NULL;
    buf_free(&h);
}

static void acknowledge(struct upstream *u, struct str reply)
{
    send(u, reply, STR_NONE, STR_NONE, STR("+ACK"));
}

/* ---- messages -------------------------------------------------------------------------------- */

static bool is_control(const struct msg *m)
{
    return m->payload.n == 0 && str_starts(m->header, STR("NATS/1.0 100 "));
}

static void take_control(struct upstream *u, const struct msg *m)
{
    struct str text = header_get(m->header, STR("Nats-Last-Consumer"));
    uint64_t dseq = 0;

    if (m->reply.n > 0) {
        mem_free(u->flow_reply);
        u->flow_reply = mem_strndup(m->reply.p, m->reply.n);
        u->flow_after = u->s->assigned;
        u->core.heard = now_of(u);
        answer_flow(u);
        return;
    }
    if (text.p != NULL && !str_to_u64(text, &dseq))
        dseq = 0;
    if (!upstream_core_heartbeat(&u->core, now_of(u), dseq)) {
        begin_again(u);
        return;
    }
    text = header_get(m->header, STR("Nats-Consumer-Stalled"));
    if (text.n > 0 && u->flow_reply == NULL)
        send(u, text, STR_NONE, STR_NONE, STR_NONE);
}

/* The stream can not take it: asked for again later, from here. */
static void give_back(struct upstream *u, uint64_t before, const struct js_error *err)
{
    hang_up(u);
    clear_error(u);
    u->error = *err;
    upstream_core_refused(&u->core, now_of(u), before);
    arm(u);
}

/* The first mapping whose source matches decides; a subject that none matches stays. */
static struct str map_subject(struct upstream *u, struct str subject, struct buf *out)
{
    for (size_t i = 0; i < u->config.nmappings; i++)
        if (u->transforms[i] != NULL &&
            transform_subject(u->transforms[i], subject, u->s->js->env->prng, out))
            return buf_str(out);
    return subject;
}

static void store_one(struct upstream *u, const struct msg *m, const struct ack_subject *from,
                      uint64_t before)
{
    struct buf value = {0}, header = {0}, subject = {0};
    struct msg out = *m;
    struct js_error err = {0};

    out.reply = STR_NONE;
    out.subject = map_subject(u, m->subject, &subject);
    if (!u->mirror)
        source_mark_put(&value, buf_str(&u->name), from->info.stream_seq, m->subject,
                        str_of(u->identity));
    if (source_header_make(&header, m->header, buf_str(&value)))
        out.header = buf_str(&header);
    if (u->mirror && !skip_to(u->s, from->info.stream_seq - 1))
        js_fail(&err, JS_ERR_MIRROR_CONSUMER_SETUP_FAILED, "can not skip messages");
    else
        stream_take_upstream(u->s, &out, from->info.time_ns, u->mirror, &err);
    if (err.kind != JS_OK)
        give_back(u, u->mirror ? u->s->assigned : before, &err);
    buf_free(&value);
    buf_free(&header);
    buf_free(&subject);
}

static void take_message(struct upstream *u, const struct msg *m)
{
    struct ack_subject from;
    uint64_t before = u->core.sseq, skipped;

    if (!ack_subject_parse(m->reply, &from) || !str_eq(from.consumer, str_of(u->consumer)))
        return;
    switch (upstream_core_message(&u->core, now_of(u), from.info.stream_seq, from.info.consumer_seq,
                                  from.info.pending, &skipped)) {
    case UPSTREAM_TAKE:
        if (u->acks) {
            buf_clear(&u->last_reply);
            buf_put_str(&u->last_reply, m->reply);
        }
        store_one(u, m, &from, before);
        maybe_direct(u);
        break;
    case UPSTREAM_OLD:
        if (u->acks && list_empty(&u->commits) && u->s->assigned == u->s->durable)
            acknowledge(u, m->reply);
        break;
    case UPSTREAM_LOST:
        begin_again(u);
        break;
    default:
        break;
    }
}

static unsigned deliver_messages(struct sink *sink, const struct msg *run, unsigned n)
{
    struct upstream *u = CONTAINER_OF(sink, struct upstream, messages);

    for (unsigned i = 0; i < n; i++) {
        if (u->core.state != UPSTREAM_ACTIVE || u->s->js->stopping)
            break;
        if (is_control(&run[i]))
            take_control(u, &run[i]);
        else
            take_message(u, &run[i]);
    }
    return n;
}

static const struct sink_ops messages_ops = {.deliver = deliver_messages, .kind = "upstream"};

/* ---- one upstream's life --------------------------------------------------------------------- */

static void fire(struct wheel_timer *t)
{
    struct upstream *u = CONTAINER_OF(t, struct upstream, timer);
    struct stream *s = u->s;

    if (s->failed || s->js->stopping)
        return;
    if (s->load != NULL && u->core.state == UPSTREAM_IDLE) {
        u->core.due = now_of(u) + LOADING_NS;
        arm(u);
        return;
    }
    switch (upstream_core_timer(&u->core, now_of(u))) {
    case UPSTREAM_ASK:
        ask(u);
        break;
    case UPSTREAM_DROP:
        hang_up(u);
        arm(u);
        break;
    default:
        arm(u);
        break;
    }
}

static struct upstream *upstream_new(struct stream *s, json_t *object, bool mirror)
{
    struct upstream *u = mem_zalloc(sizeof(*u));
    struct buf err = {0};

    u->s = s;
    u->mirror = mirror;
    source_config_read(object, false, &u->config, &err);
    source_config_index_name(&u->config, &u->name);
    u->transforms = mem_array(u->config.nmappings + 1, sizeof(struct transform *));
    for (size_t i = 0; i < u->config.nmappings; i++) {
        const struct source_mapping *m = &u->config.mappings[i];
        u->transforms[i] = m->dest != NULL
                               ? transform_new(str_of(m->src), str_of(m->dest), TRANSFORM_ANY, NULL)
                               : NULL;
    }
    buf_free(&err);
    list_init(&u->commits);
    wheel_timer_init(&u->timer, fire);
    u->answers.ops = &answers_ops;
    u->messages.ops = &messages_ops;
    router_sink_add(s->js->env->router, &u->answers);
    router_sink_add(s->js->env->router, &u->messages);
    list_push_back(&s->upstreams, &u->link);
    return u;
}

static void forget_commit(struct upstream_commit *c)
{
    list_remove(&c->link);
    mem_free(c->acknowledge);
    mem_free(c);
}

static void forget_commits(struct upstream *u)
{
    struct list *l;

    while ((l = list_first(&u->commits)) != NULL)
        forget_commit(LIST_ENTRY(l, struct upstream_commit, link));
}

static void upstream_free(struct upstream *u)
{
    struct env *env = u->s->js->env;

    hang_up(u);
    forget_commits(u);
    io_timer_stop(env->io, &u->timer);
    router_sink_remove(env->router, &u->answers);
    router_sink_remove(env->router, &u->messages);
    list_remove(&u->link);
    clear_error(u);
    buf_free(&u->last_reply);
    buf_free(&u->name);
    mem_free(u->deliver);
    for (size_t i = 0; i < u->config.nmappings; i++)
        transform_free(u->transforms[i]);
    mem_free(u->transforms);
    source_config_release(&u->config);
    mem_free(u);
}

/* Positions are known. */
static void upstream_start(struct upstream *u)
{
    if (u->mirror)
        u->durable = u->s->assigned;
    else
        stream_positions_of(u->s, u);
    u->begun = u->durable;
    upstream_core_init(&u->core, now_of(u), u->durable);
    arm(u);
}

/* ---- all of a stream ------------------------------------------------------------------------- */

static struct upstream *find(struct stream *s, struct str name, bool mirror)
{
    LIST_FOREACH(l, &s->upstreams)
    {
        struct upstream *u = LIST_ENTRY(l, struct upstream, link);
        if (u->mirror == mirror && str_eq(buf_str(&u->name), name))
            return u;
    }
    return NULL;
}

static void index_name(json_t *object, struct buf *out)
{
    struct source_config c;
    struct buf err = {0};

    buf_clear(out);
    if (source_config_read(object, false, &c, &err)) {
        source_config_index_name(&c, out);
        source_config_release(&c);
    }
    buf_free(&err);
}

static bool wanted(const struct stream *s, const struct upstream *u)
{
    struct buf name = {0};
    bool is = false;
    size_t i;
    json_t *item;

    if (u->mirror)
        return json_is_object(s->config.mirror);
    json_array_foreach(s->config.sources, i, item)
    {
        index_name(item, &name);
        is |= str_eq(buf_str(&name), buf_str(&u->name));
    }
    buf_free(&name);
    return is;
}

static void add_missing(struct stream *s)
{
    struct buf name = {0};
    size_t i;
    json_t *item;

    if (json_is_object(s->config.mirror)) {
        index_name(s->config.mirror, &name);
        if (find(s, buf_str(&name), true) == NULL)
            upstream_start(upstream_new(s, s->config.mirror, true));
    }
    json_array_foreach(s->config.sources, i, item)
    {
        index_name(item, &name);
        if (find(s, buf_str(&name), false) == NULL)
            upstream_start(upstream_new(s, item, false));
    }
    buf_free(&name);
}

void stream_positions_loaded(struct stream *s)
{
    add_missing(s);
}

void stream_upstreams_start(struct stream *s)
{
    if (s->failed)
        return;
    if (json_array_size(s->config.sources) > 0)
        stream_positions_load(s);
    else
        add_missing(s);
}

void stream_upstreams_change(struct stream *s)
{
    LIST_FOREACH_SAFE(l, next, &s->upstreams)
    {
        struct upstream *u = LIST_ENTRY(l, struct upstream, link);
        if (!wanted(s, u)) {
            delete_consumer(u);
            upstream_free(u);
        } else {
            stop_direct(u);
            if (u->core.state == UPSTREAM_ACTIVE)
                maybe_direct(u);
        }
    }
    stream_upstreams_start(s);
}

void stream_upstreams_stop(struct stream *s)
{
    struct list *l;

    while ((l = list_first(&s->upstreams)) != NULL)
        upstream_free(LIST_ENTRY(l, struct upstream, link));
    stream_positions_free(s);
}

/* ---- commits --------------------------------------------------------------------------------- */

void stream_upstreams_begun(struct stream *s)
{
    LIST_FOREACH(l, &s->upstreams)
    {
        struct upstream *u = LIST_ENTRY(l, struct upstream, link);
        struct upstream_commit *c;
        if (u->core.sseq == u->begun)
            continue;
        c = mem_zalloc(sizeof(*c));
        c->last = s->assigned;
        c->sseq = u->begun = u->core.sseq;
        if (u->last_reply.n > 0)
            c->acknowledge = mem_strndup(u->last_reply.p, u->last_reply.n);
        list_push_back(&u->commits, &c->link);
    }
}

/* Applies what is durable now; true when something was. *through: the stream's sequence up to which
 * that accounts for everything. */
static bool settle(struct upstream *u, uint64_t *through)
{
    struct list *l;
    bool any = false;

    while ((l = list_first(&u->commits)) != NULL) {
        struct upstream_commit *c = LIST_ENTRY(l, struct upstream_commit, link);
        if (c->last > u->s->durable)
            break;
        any = true;
        u->durable = c->sseq;
        *through = c->last > *through ? c->last : *through;
        if (c->acknowledge != NULL)
            acknowledge(u, str_of(c->acknowledge));
        forget_commit(c);
    }
    return any;
}

void stream_upstreams_committed(struct stream *s)
{
    const struct upstream *changed[16];
    uint64_t through = 0;
    size_t n = 0;

    LIST_FOREACH(l, &s->upstreams)
    {
        struct upstream *u = LIST_ENTRY(l, struct upstream, link);
        answer_flow(u);
        if (!settle(u, &through) || u->mirror)
            continue;
        if (n == ARRAY_LEN(changed)) {
            stream_positions_save(s, 0, changed, n);
            n = 0;
        }
        changed[n++] = u;
    }
    if (n > 0 || stream_positions_behind(s))
        stream_positions_save(s, n > 0 ? through : s->durable, changed, n);
}

/* What was not durable has never been: everything behind is asked for again. */
void stream_upstreams_refused(struct stream *s)
{
    struct js_error err = {0};

    js_fail(&err, JS_ERR_STREAM_STORE_FAILED, "no space left on device");
    LIST_FOREACH(l, &s->upstreams)
    {
        struct upstream *u = LIST_ENTRY(l, struct upstream, link);
        forget_commits(u);
        u->begun = u->mirror ? s->assigned : u->durable;
        give_back(u, u->begun, &err);
    }
}

/* ---- info ------------------------------------------------------------------------------------ */

static void put_mappings(const struct source_config *c, struct buf *out)
{
    buf_puts(out, ",\"subject_transforms\":[");
    for (size_t i = 0; i < c->nmappings; i++) {
        buf_puts(out, i > 0 ? ",{\"src\":" : "{\"src\":");
        jput_string(out, str_of(c->mappings[i].src));
        buf_puts(out, ",\"dest\":");
        jput_string(out, str_of(c->mappings[i].dest));
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

static void put_external(const struct source_config *c, struct buf *out)
{
    buf_puts(out, ",\"external\":{\"api\":");
    jput_string(out, str_of(c->api_prefix));
    buf_puts(out, ",\"deliver\":");
    jput_string(out, str_of(c->deliver_prefix));
    buf_putc(out, '}');
}

static void put_one(const struct upstream *u, struct buf *out)
{
    uint64_t now = now_of(u);

    buf_puts(out, "{\"name\":");
    jput_string(out, str_of(u->config.name));
    if (u->config.external)
        put_external(&u->config, out);
    buf_printf(out, ",\"lag\":%llu,\"active\":%lld", (unsigned long long) u->core.lag,
               u->core.heard == 0 ? -1ll : (long long) (now - u->core.heard));
    if (u->error_text != NULL) {
        buf_printf(out, ",\"error\":%s", u->error_text);
    } else if (u->error.kind != JS_OK) {
        buf_putc(out, ',');
        js_error_put(out, &u->error);
    }
    if (u->config.filter_subject != NULL) {
        buf_puts(out, ",\"filter_subject\":");
        jput_string(out, str_of(u->config.filter_subject));
    }
    if (u->config.nmappings > 0)
        put_mappings(&u->config, out);
    buf_putc(out, '}');
}

void stream_upstreams_info(struct stream *s, struct buf *out)
{
    bool first = true;

    LIST_FOREACH(l, &s->upstreams)
    {
        const struct upstream *u = LIST_ENTRY(l, struct upstream, link);
        if (u->mirror)
            buf_puts(out, ",\"mirror\":");
        else
            buf_puts(out, first ? ",\"sources\":[" : ",");
        put_one(u, out);
        first = false;
    }
    if (!first && !LIST_ENTRY(list_first(&s->upstreams), struct upstream, link)->mirror)
        buf_putc(out, ']');
}
