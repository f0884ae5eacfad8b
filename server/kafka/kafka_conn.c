/*
 * kafka_conn.c - one Kafka client: frames in, answers out, one request at a time.
 *
 *     length[4] -> frame -> request (kafka_api.c) -> answer in out -> sent -> the next frame
 *
 * Produce behind Produce is the exception: while requests wait for the disk the next ones are
 * taken, PRODUCE_AHEAD of them and PRODUCE_AHEAD_BYTES, because clients send everything for one
 * server over one connection and would wait for a sync per batch. They start in the order in which
 * they came, and between two workers tasks go in order, so batches for one partition keep it (one
 * that has to ask something first holds those behind it: kafka_conn_hold). An
 * answer that is ready waits in its request until those before it are out. A frame of another kind
 * that was collected meanwhile is `held` until all of them are answered.
 *
 * A client that does not read its answers gets no more of them: while more than UNSENT_MOST waits
 * to be sent no request begins.
 *
 * A client that sends big frames (the last one was) sends more: of those the length is received by
 * itself, the rest straight into a chunk of the frame's size. Otherwise bytes come in a lent buffer
 * and are copied into the frame: 256 KiB at a time, and twice for what came before it had to grow.
 *
 * While nothing may be taken one receive may be in flight, to hear of the client's end; what
 * arrives goes to `rest`, and nothing more is received until then. A connection that closes
 * lives until its requests have been answered (nobody hears that) and no operation is in flight.
 *
 * Who shakes no hands, or does not say who it is, is closed after the times that NATS clients have
 * for these: `patience` runs from the start of each until its end.
 *
 * Output is chunks: an answer is copied into them, its records are there by reference. What is lent
 * from a file is sent from there: out is what is in front of the first such batch, and each has its
 * own `after`, which becomes out when it is sent. The deadline is that of NATS clients
 * (write_deadline), per megabyte.
 */
#include "lib/base/mem.h"
#include "lib/wire/kafka_bytes.h"
#include "server/kafka/kafka_int.h"
#include "server/kafka/kafka_tls.h"
#include "server/kafka/lent.h"
#include "server/kafka/sasl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SEND_BYTES (1u << 20)
#define SEND_VECTORS 64u
#define CLOSE_NS 2000000000u
#define SHAKE_NS 2000000000
/* A frame's chunk begins with this much at most, or as much as the last frame, and grows by four as
 * its bytes arrive. */
#define FRAME_FIRST (256u << 10)
#define USUAL_MAX (2u << 20)
/* What is received into the frame itself: the rest of it, when it is so much. */
#define INTO_FRAME_MIN (64u << 10)
#define PRODUCE_AHEAD 32u
#define PRODUCE_AHEAD_BYTES (16u << 20)
/* While more than this waits to be sent no request begins. */
#define UNSENT_MOST (1u << 20)

static void wake(struct kafka_conn *c)
{
    if (!list_linked(&c->dirty_link))
        list_push_back(&c->kafka->dirty, &c->dirty_link);
}

/* ---- output ---------------------------------------------------------------------------------- */

/* The first one is sent, or will not be. */
static void end_lent(struct kafka_conn *c)
{
    struct kafka_lent *l = LIST_ENTRY(list_pop_front(&c->lent), struct kafka_lent, link);

    c->lent_bytes -= l->of.bytes + l->after.bytes;
    c->lent_sent = 0;
    outbuf_splice(&c->out, &l->after);
    kafka_lent_return(l, c->kafka->env);
}

static void drop_output(struct kafka_conn *c)
{
    while (!list_empty(&c->lent))
        end_lent(c);
    outbuf_free(&c->out, c->kafka->env->chunks);
    outbuf_free(&c->wire, c->kafka->env->chunks);
    outbuf_free(&c->sending, c->kafka->env->chunks);
    mem_free(c->iov);
    c->iov = NULL;
}

static bool has_output(const struct kafka_conn *c)
{
    return c->out.head != NULL || c->wire.head != NULL || !list_empty(&c->lent);
}

/* Vectors from memory, or a part of a file. False: there is nothing. */
static bool send_next(struct kafka_conn *c)
{
    struct env *env = c->kafka->env;
    struct outbuf *from = c->tls != NULL ? &c->wire : &c->out;
    unsigned n;

    c->splicing = from->head == NULL && !list_empty(&c->lent);
    if (c->splicing) {
        const struct kafka_lent *l = LIST_ENTRY(c->lent.next, struct kafka_lent, link);
        uint32_t left = l->of.bytes - c->lent_sent;
        io_splice(env->io, &c->send, c->sock, l->of.file, l->of.offset + c->lent_sent,
                  left < SEND_BYTES ? left : SEND_BYTES);
        return true;
    }
    if (from->head == NULL)
        return false;
    n = outbuf_move(&c->sending, from, SEND_VECTORS, SEND_BYTES);
    c->iov = mem_array(n, sizeof(*c->iov));
    n = 0;
    for (struct chunk *k = c->sending.head; k != NULL; k = k->next)
        c->iov[n++] = (struct iovec){k->data, k->len};
    io_send(env->io, &c->send, c->sock, c->iov, n);
    return true;
}

static void flush(struct kafka_conn *c)
{
    struct env *env = c->kafka->env;

    if (io_op_busy(&c->send) || c->drop_output || c->close_submitted)
        return;
    if (c->tls != NULL && !kafka_tls_encrypt(c)) {
        c->drop_output = true;
        kafka_conn_close(c, "TLS write error");
        return;
    }
    if (send_next(c) && c->state != KAFKA_CONN_CLOSING)
        io_timer_start(env->io, &c->deadline,
                       io_now(env->io) + (uint64_t) env->options->write_deadline_ns);
}

/* n bytes of the first one that is lent. */
static void spliced(struct kafka_conn *c, uint32_t n)
{
    c->lent_sent += n;
    if (c->lent_sent == LIST_ENTRY(c->lent.next, struct kafka_lent, link)->of.bytes)
        end_lent(c);
}

static void sent(struct io_op *op)
{
    struct kafka_conn *c = CONTAINER_OF(op, struct kafka_conn, send);

    if (c->state != KAFKA_CONN_CLOSING)
        io_timer_stop(c->kafka->env->io, &c->deadline);
    mem_free(c->iov);
    c->iov = NULL;
    outbuf_free(&c->sending, c->kafka->env->chunks);
    if (c->splicing && op->res > 0)
        spliced(c, (uint32_t) op->res);
    if (op->res < 0) {
        c->drop_output = true;
        kafka_conn_close(c, "write error");
    }
    if (c->drop_output)
        drop_output(c);
    wake(c);
}

static void missed_deadline(struct wheel_timer *t)
{
    struct kafka_conn *c = CONTAINER_OF(t, struct kafka_conn, deadline);

    c->drop_output = true;
    if (c->state != KAFKA_CONN_CLOSING)
        kafka_conn_close(c, "write deadline exceeded");
}

/* ---- answers --------------------------------------------------------------------------------- */

static void end_request(struct kafka_request *r)
{
    struct kafka_conn *c = r->conn;

    c->under_way--;
    c->under_way_bytes -= r->frame_bytes;
    chunk_put(r->frame, r->kafka->env->chunks);
    kafka_arena_free(&r->arena);
    mem_free(r);
    wake(c);
}

/* Where the next bytes go: behind what was lent last. */
static struct outbuf *out_end(struct kafka_conn *c)
{
    return list_empty(&c->lent) ? &c->out
                                : &LIST_ENTRY(c->lent.prev, struct kafka_lent, link)->after;
}

static bool put_bytes(struct kafka_conn *c, const void *bytes, size_t n)
{
    if (!outbuf_put(out_end(c), c->kafka->env->chunks, bytes, n))
        return false;
    c->lent_bytes += list_empty(&c->lent) ? 0 : n;
    return true;
}

static bool put_piece(struct kafka_conn *c, struct kafka_piece *p)
{
    if (p->lent != NULL)
        list_push_back(&c->lent, &p->lent->link);
    else if (!outbuf_put_view(out_end(c), c->kafka->env->chunks, p->chunk, p->bytes, p->n))
        return false;
    c->lent_bytes += list_empty(&c->lent) ? 0 : p->n;
    p->lent = NULL;
    return true;
}

/* The bytes between two cuts, then what belongs there. */
static bool put_answer(struct kafka_conn *c, const struct buf *b, const struct kafka_cuts *cuts)
{
    size_t from = 0;

    for (size_t i = 0; i < cuts->n; i++) {
        const struct kafka_cut *cut = &cuts->cuts[i];
        if (!put_bytes(c, b->p + from, cut->at - from))
            return false;
        from = cut->at;
        for (struct kafka_piece *p = cut->records->elsewhere; p != NULL; p = p->next)
            if (!put_piece(c, p))
                return false;
    }
    return put_bytes(c, b->p + from, b->n - from);
}

static void release_pieces(struct kafka_request *r, const struct kafka_cuts *cuts)
{
    for (size_t i = 0; i < cuts->n; i++)
        for (struct kafka_piece *p = cuts->cuts[i].records->elsewhere; p != NULL; p = p->next) {
            if (p->chunk != NULL)
                chunk_put(p->chunk, r->kafka->env->chunks);
            if (p->lent != NULL)
                kafka_lent_return(p->lent, r->kafka->env);
        }
}

static void put_reply(struct kafka_request *r)
{
    struct kafka_conn *c = r->conn;
    struct kafka_cuts cuts = {0};
    struct buf b = {0};
    uint64_t n;

    buf_reserve(&b, 4);
    b.n = 4;
    kafka_put_response_header(&b, &r->header);
    kafka_encode(r->api->response(), r->header.version,
                 kafka_is_flexible(r->api, r->header.version), r->answer, &b, &cuts);
    n = b.n - 4 + cuts.bytes;
    kafka_put_u32(b.p, (uint32_t) n);
    if (b.n > KAFKA_ANSWER_MAX || n > INT32_MAX) {
        kafka_conn_close(c, "answer too long");
    } else if (c->state == KAFKA_CONN_OPEN && !put_answer(c, &b, &cuts)) {
        c->drop_output = true;
        kafka_conn_close(c, "memory is short");
    }
    release_pieces(r, &cuts);
    mem_free(cuts.cuts);
    buf_free(&b);
}

/* Those at the head that have ended. What ends others meanwhile (a close) leaves them to the loop.
 */
static void settle(struct kafka_conn *c)
{
    if (c->settling)
        return;
    c->settling = true;
    while (!list_empty(&c->requests)) {
        struct kafka_request *r = LIST_ENTRY(c->requests.next, struct kafka_request, link);
        bool failed = r->ending == KAFKA_FAILED;
        if (r->ending == KAFKA_UNDER_WAY)
            break;
        list_remove(&r->link);
        if (r->ending == KAFKA_ANSWERED)
            put_reply(r);
        end_request(r);
        if (failed)
            kafka_conn_close(c, "request failed");
    }
    c->settling = false;
}

static void end_as(struct kafka_request *r, enum kafka_ending ending)
{
    r->cancel = NULL; /* it is answered, though the connection may end by it */
    r->ending = ending;
    settle(r->conn);
}

void kafka_reply(struct kafka_request *r)
{
    end_as(r, KAFKA_ANSWERED);
}

/* It is the only one: nothing is taken ahead of it. */
void kafka_reply_bytes(struct kafka_request *r, struct str bytes)
{
    struct kafka_conn *c = r->conn;
    char length[4];

    kafka_put_u32(length, (uint32_t) bytes.n);
    if (c->state == KAFKA_CONN_OPEN &&
        (!put_bytes(c, length, 4) || !put_bytes(c, bytes.p, bytes.n))) {
        c->drop_output = true;
        kafka_conn_close(c, "memory is short");
    }
    end_as(r, KAFKA_SILENT);
}

void kafka_no_reply(struct kafka_request *r)
{
    end_as(r, KAFKA_SILENT);
}

void kafka_fail(struct kafka_request *r)
{
    end_as(r, KAFKA_FAILED);
}

uint64_t kafka_seed(struct kafka_request *r)
{
    uint64_t seed;

    io_random(r->kafka->env->io, &seed, sizeof(seed));
    return seed;
}

struct str kafka_conn_advertised(struct kafka_request *r, int32_t *port)
{
    const struct kafka_shared *shared = r->kafka->shared;
    const struct options *o = r->kafka->env->options;
    struct io_addr local;

    *port = shared->port;
    if (o->kafka_advertise != NULL) {
        const char *colon = strrchr(o->kafka_advertise, ':');
        *port = (int32_t) strtol(colon + 1, NULL, 10);
        return str_from(o->kafka_advertise, (size_t) (colon - o->kafka_advertise));
    }
    if (strcmp(o->kafka_host, "0.0.0.0") != 0 && strcmp(o->kafka_host, "::") != 0)
        return str_of(o->kafka_host);
    io_sock_local(r->conn->sock, &local);
    return kafka_arena_str(&r->arena, str_of(local.host));
}

/* ---- input ----------------------------------------------------------------------------------- */

static void received(struct io_op *op);

static bool is_produce(const struct chunk *frame)
{
    return frame->len >= 2 && kafka_get_u16(frame->data) == KAFKA_PRODUCE;
}

/* The client does not take what it has asked for. */
static bool lags(const struct kafka_conn *c)
{
    return c->out.bytes + c->wire.bytes + c->sending.bytes + c->lent_bytes > UNSENT_MOST;
}

/* Behind those that are under way a frame may be collected. All of them are Produce, if one is. */
static bool may_collect(const struct kafka_conn *c)
{
    const struct kafka_request *first;

    if (c->state != KAFKA_CONN_OPEN || c->held || c->holding || lags(c))
        return false;
    if (c->under_way == 0)
        return true;
    if (list_empty(&c->requests))
        return false;
    first = LIST_ENTRY(c->requests.next, struct kafka_request, link);
    return is_produce(first->frame) && c->realm != NULL && c->under_way < PRODUCE_AHEAD &&
           c->under_way_bytes < PRODUCE_AHEAD_BYTES;
}

void kafka_conn_hold(struct kafka_conn *c, bool hold)
{
    c->holding = hold;
    if (!hold)
        wake(c);
}

static void start_request(struct kafka_conn *c)
{
    struct kafka_request *r = mem_zalloc(sizeof(*r));

    r->kafka = c->kafka;
    r->realm = c->realm;
    r->conn = c;
    r->frame = c->frame;
    r->frame_bytes = c->frame->len;
    c->usual = c->frame->len < USUAL_MAX ? c->frame->len : USUAL_MAX;
    c->frame = NULL;
    c->held = false;
    c->want = c->length_n = 0;
    c->under_way++;
    c->under_way_bytes += r->frame_bytes;
    list_push_back(&c->requests, &r->link);
    if (sasl_wants_token(c))
        sasl_take_token(r);
    else if (!kafka_dispatch(r))
        kafka_fail(r);
}

/* Room for more of the frame. */
static bool grow_frame(struct kafka_conn *c)
{
    struct chunk_pool *pool = c->kafka->env->chunks;
    size_t have = c->frame != NULL ? c->frame->len : 0;
    size_t first = c->usual > FRAME_FIRST ? c->usual + c->usual / 4 : FRAME_FIRST;
    size_t cap = have == 0 ? first : have * 4;
    struct chunk *next = chunk_alloc(pool, cap < c->want ? cap : c->want);

    if (next == NULL)
        return false;
    if (have > 0)
        memcpy(next->data, c->frame->data, have);
    next->len = (uint32_t) have;
    if (c->frame != NULL)
        chunk_put(c->frame, pool);
    c->frame = next;
    return true;
}

/* The length is complete. */
static bool begin_frame(struct kafka_conn *c)
{
    /* A header without a name has ten bytes, of which a broken client may leave some out. */
    uint32_t least = sasl_wants_token(c) ? 1 : 8;
    uint32_t most = c->realm != NULL ? KAFKA_FRAME_MAX : KAFKA_FRAME_STRANGER;

    c->want = kafka_get_u32(c->length);
    return c->want >= least && c->want <= most && grow_frame(c);
}

/* The frame may have all of its bytes now. */
static void end_frame(struct kafka_conn *c)
{
    if (c->frame->len < c->want)
        return;
    c->held = c->under_way > 0 && !is_produce(c->frame);
    if (!c->held)
        start_request(c);
}

/* False: the connection closes. */
static bool make_room(struct kafka_conn *c)
{
    if (c->want == 0 && c->length_n == 4 && !begin_frame(c)) {
        kafka_conn_close(c, "bad frame length");
        return false;
    }
    if (c->want > 0 && c->frame->len == c->frame->cap && !grow_frame(c)) {
        kafka_conn_close(c, "memory is short");
        return false;
    }
    return true;
}

/* Takes bytes until a request begins or nothing is left; what is left stays in *in. */
static void take(struct kafka_conn *c, struct str *in)
{
    while (in->n > 0 && may_collect(c)) {
        size_t n;
        if (!make_room(c))
            return;
        if (c->want == 0) {
            c->length[c->length_n++] = (uint8_t) in->p[0];
            *in = str_skip(*in, 1);
            if (!make_room(c))
                return;
            continue;
        }
        n = c->want - c->frame->len;
        n = n < c->frame->cap - c->frame->len ? n : c->frame->cap - c->frame->len;
        n = n < in->n ? n : in->n;
        memcpy(c->frame->data + c->frame->len, in->p, n);
        c->frame->len += (uint32_t) n;
        *in = str_skip(*in, n);
        end_frame(c);
    }
}

/* Bytes of a big frame go where they are wanted. False: they may be anything. */
static bool receive_into(struct kafka_conn *c)
{
    struct io *io = c->kafka->env->io;

    if (c->tls != NULL || c->usual < FRAME_FIRST)
        return false;
    if (c->want == 0 && c->length_n < 4) {
        io_recv_into(io, &c->recv, c->sock, c->length + c->length_n, 4 - c->length_n);
        return true;
    }
    if (!may_collect(c) || c->want == 0 || c->want - c->frame->len < INTO_FRAME_MIN)
        return false;
    uint32_t room = c->frame->cap - c->frame->len, left = c->want - c->frame->len;
    io_recv_into(io, &c->recv, c->sock, c->frame->data + c->frame->len, left < room ? left : room);
    return true;
}

static void receive(struct kafka_conn *c)
{
    if (c->state != KAFKA_CONN_OPEN || c->ended || c->rest.n > 0)
        return;
    if (may_collect(c) && !make_room(c))
        return;
    if (!io_op_busy(&c->recv) && !receive_into(c))
        io_recv(c->kafka->env->io, &c->recv, c->sock);
}

void kafka_conn_take(struct kafka_conn *c, struct str bytes)
{
    if (c->rest.n == 0)
        take(c, &bytes);
    buf_put_str(&c->rest, bytes);
}

/* n bytes have come where receive_into wanted them. */
static void took_into(struct kafka_conn *c, uint32_t n)
{
    if (c->want == 0) {
        c->length_n += n;
        return;
    }
    c->frame->len += n;
    end_frame(c);
}

static void received(struct io_op *op)
{
    struct kafka_conn *c = CONTAINER_OF(op, struct kafka_conn, recv);
    struct str in;

    if (op->res <= 0) {
        c->ended = true;
        kafka_conn_close(c, "client closed");
        return;
    }
    if (c->state == KAFKA_CONN_CLOSING)
        return;
    if (op->data == NULL) {
        took_into(c, (uint32_t) op->res);
        receive(c);
        return;
    }
    in = str_from(op->data, (size_t) op->res);
    if (c->tls != NULL)
        kafka_tls_take(c, in);
    else
        kafka_conn_take(c, in);
    receive(c);
    if (c->tls != NULL)
        wake(c); /* records of a handshake */
}

void kafka_conn_step(struct kafka_conn *c)
{
    struct buf b = c->rest;
    struct str in = buf_str(&b);

    if (c->state == KAFKA_CONN_OPEN && c->held && c->under_way == 0 && !lags(c))
        start_request(c);
    if (b.n > 0 && may_collect(c)) {
        c->rest = (struct buf){0};
        take(c, &in);
        buf_put_str(&c->rest, in);
        buf_free(&b);
    }
    receive(c);
    flush(c);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void sock_is_closed(struct io_op *op)
{
    CONTAINER_OF(op, struct kafka_conn, close)->sock_closed = true;
}

static void out_of_patience(struct wheel_timer *t)
{
    struct kafka_conn *c = CONTAINER_OF(t, struct kafka_conn, patience);

    kafka_conn_close(c, c->tls != NULL && !c->shaken ? "TLS handshake timeout"
                                                     : "authentication timeout");
}

void kafka_conn_expect(struct kafka_conn *c)
{
    struct io *io = c->kafka->env->io;
    const struct options *o = c->kafka->env->options;
    int64_t shake = o->tls.timeout_ns > 0 ? o->tls.timeout_ns : SHAKE_NS;

    io_timer_stop(io, &c->patience);
    if (c->tls != NULL && !c->shaken)
        io_timer_start(io, &c->patience, io_now(io) + (uint64_t) shake);
    else if (c->realm == NULL)
        io_timer_start(io, &c->patience, io_now(io) + (uint64_t) o->auth_timeout_ns);
}

void kafka_conn_adopt(struct kafka *k, io_fd fd)
{
    const struct options *o = k->env->options;
    struct kafka_conn *c;
    int64_t open = atomic_fetch_add(&k->shared->connections, 1) + 1;

    if (o->max_connections >= 0 && open > o->max_connections) {
        atomic_fetch_sub(&k->shared->connections, 1);
        io_fd_discard(k->env->io, fd);
        return;
    }
    c = mem_zalloc(sizeof(*c));
    c->kafka = k;
    sasl_begin(c);
    kafka_tls_begin(c);
    c->sock = io_sock_open(k->env->io, fd);
    list_push_back(&k->conns, &c->link);
    list_init(&c->dirty_link);
    list_init(&c->requests);
    list_init(&c->lent);
    io_op_init(&c->recv, received);
    io_op_init(&c->send, sent);
    io_op_init(&c->close, sock_is_closed);
    wheel_timer_init(&c->deadline, missed_deadline);
    wheel_timer_init(&c->patience, out_of_patience);
    io_sock_peer(c->sock, &c->peer);
    LOG_DBG(k->env->log, "%s:%u - Kafka client connected", c->peer.host, c->peer.port);
    kafka_conn_expect(c);
    receive(c);
}

/* A request that is called off may answer at once, and be gone. */
static void call_off(struct kafka_conn *c)
{
    struct list *at = c->requests.next;

    while (at != &c->requests) {
        struct kafka_request *r = LIST_ENTRY(at, struct kafka_request, link);
        void (*cancel)(struct kafka_request *) = r->cancel;
        at = at->next;
        if (cancel == NULL)
            continue;
        r->cancel = NULL;
        cancel(r);
        at = c->requests.next;
    }
}

void kafka_conn_close(struct kafka_conn *c, const char *why)
{
    struct kafka *k = c->kafka;

    if (c->state == KAFKA_CONN_CLOSING)
        return;
    c->state = KAFKA_CONN_CLOSING;
    LOG_DBG(k->env->log, "%s:%u - Kafka client closed: %s", c->peer.host, c->peer.port, why);
    io_timer_start(k->env->io, &c->deadline, io_now(k->env->io) + CLOSE_NS);
    io_timer_stop(k->env->io, &c->patience);
    list_remove(&c->link);
    list_push_back(&k->closing, &c->link);
    atomic_fetch_sub(&k->shared->connections, 1);
    if (c->ended)
        c->drop_output = true;
    call_off(c);
    wake(c);
}

bool kafka_conn_reap(struct kafka_conn *c)
{
    struct env *env = c->kafka->env;

    if (!c->drop_output && (has_output(c) || io_op_busy(&c->send))) {
        flush(c);
        return false;
    }
    if (!c->close_submitted) {
        c->close_submitted = true;
        io_sock_close(env->io, &c->close, c->sock);
    }
    if (!c->sock_closed || io_op_busy(&c->recv) || io_op_busy(&c->send) || c->under_way > 0)
        return false;
    drop_output(c);
    io_timer_stop(env->io, &c->deadline);
    if (c->frame != NULL)
        chunk_put(c->frame, env->chunks);
    list_remove(&c->link);
    list_remove(&c->dirty_link);
    sasl_leave(c);
    sasl_free(c);
    kafka_tls_free(c);
    buf_free(&c->rest);
    mem_free(c);
    return true;
}
