/*
 * conn_pack.c - leaf connections that are compressed: what both sides agreed on, and the bytes.
 *
 *     out  --chunks of S2--> framed --socket, or records of TLS--> the other server
 *
 * Each side says in its INFO which mode it has; what comes of two modes is a table (agree). Who
 * dialled sends an INFO with what it chose, as it is, and packs all that follows; who was dialled
 * packs from its answer on, another INFO, and expects packed bytes behind the one that it got. So
 * in each direction there is one moment, and nothing may stand behind the INFO that is before it.
 *
 * How well it packs depends on the mode: s2_uncompressed makes chunks with the bytes as they are,
 * the others pack, all in the same way; s2_auto is one of them by the time a round trip takes,
 * looked at anew for each flush. Over WebSocket nothing is packed: frames have a compression of
 * their own.
 *
 * Who has not said who it is may send chunks of 64 KiB at most, so that it can not make us take
 * more.
 */
#include "lib/base/mem.h"
#include "lib/wire/s2.h"
#include "server/config/options.h"
#include "server/net/leaf.h"

#include <string.h>

#define STRANGERS_CHUNK 65536u
/* So much is packed ahead of the socket at most. */
#define AHEAD_BYTES (1u << 20)
#define GATHER_BYTES 65536u

static const char *const names[LEAF_MODES] = {
    [LEAF_NOT_SUPPORTED] = "not supported",
    [LEAF_OFF] = "off",
    [LEAF_ACCEPT] = "accept",
    [LEAF_S2_AUTO] = "s2_auto",
    [LEAF_S2_UNCOMPRESSED] = "s2_uncompressed",
    [LEAF_S2_FAST] = "s2_fast",
    [LEAF_S2_BETTER] = "s2_better",
    [LEAF_S2_BEST] = "s2_best",
};

struct conn_pack {
    bool began; /* our stream: not before there is something in it */
    struct s2_reader in;
    struct buf got;      /* the data of a chunk */
    struct buf gathered; /* to be packed */
    struct buf packed;
    struct s2_table table;
};

/* ---- what is agreed on ----------------------------------------------------------------------- */

const char *leaf_mode_name(enum leaf_mode mode)
{
    return names[mode];
}

enum leaf_mode leaf_mode_agree(enum leaf_mode ours, const char *theirs)
{
    unsigned m = LEAF_NOT_SUPPORTED;

    if (ours <= LEAF_OFF || theirs[0] == '\0')
        return ours <= LEAF_OFF && theirs[0] != '\0' ? ours : LEAF_NOT_SUPPORTED;
    while (m < LEAF_MODES && strcmp(names[m], theirs) != 0)
        m++;
    if (m == LEAF_NOT_SUPPORTED || m == LEAF_OFF || m == LEAF_MODES)
        return (enum leaf_mode) m;
    if (ours != LEAF_ACCEPT)
        return ours;
    if (m == LEAF_ACCEPT)
        return LEAF_OFF;
    return m == LEAF_S2_AUTO ? LEAF_S2_FAST : (enum leaf_mode) m;
}

static const struct leaf_compression *wanted(const struct conn *c)
{
    const struct leaf_remote *r = c->leaf->remote;

    return r != NULL ? &r->options->compression : &c->net->env->options->leaf.compression;
}

enum leaf_mode conn_pack_wanted(const struct conn *c)
{
    return c->ws != NULL ? LEAF_OFF : wanted(c)->mode;
}

/* Up to each time the mode in its place serves; beyond the last one the next. */
static enum leaf_mode by_rtt(const struct leaf_compression *o, int64_t rtt_ns)
{
    static const struct leaf_compression usual = {.rtt_ns = {10000000, 50000000, 100000000},
                                                  .nrtts = 3};
    unsigned i = 0, last = 0;

    if (o->nrtts == 0)
        o = &usual;
    for (; i < o->nrtts; i++) {
        if (o->rtt_ns[i] > 0)
            last = i;
        if (o->rtt_ns[i] > 0 && rtt_ns <= o->rtt_ns[i])
            return (enum leaf_mode)(LEAF_S2_UNCOMPRESSED + i);
    }
    return last + 1 < LEAF_RTTS_MAX ? (enum leaf_mode)(LEAF_S2_UNCOMPRESSED + last + 1)
                                    : LEAF_S2_BEST;
}

enum leaf_mode conn_pack_mode(const struct conn *c)
{
    enum leaf_mode m = c->leaf->mode;

    return m == LEAF_S2_AUTO ? by_rtt(wanted(c), c->rtt_ns) : m;
}

/* ---- its life -------------------------------------------------------------------------------- */

void conn_pack_start(struct conn *c)
{
    outbuf_splice(&c->framed, &c->out); /* goes as it is */
    c->pack = mem_zalloc(sizeof(*c->pack));
}

void conn_pack_free(struct conn *c)
{
    struct conn_pack *p = c->pack;

    if (p == NULL)
        return;
    s2_reader_free(&p->in);
    buf_free(&p->got);
    buf_free(&p->gathered);
    buf_free(&p->packed);
    mem_free(p);
    c->pack = NULL;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

void conn_pack_take(struct conn *c, const uint8_t *bytes, size_t n)
{
    struct conn_pack *p = c->pack;
    enum s2_got got = S2_MORE;
    char who[CONN_TEXT_MAX];

    p->in.most = c->leaf->bound ? S2_BLOCK_MAX : STRANGERS_CHUNK;
    s2_reader_feed(&p->in, str_from(bytes, n));
    while (c->state != CONN_CLOSING && (got = s2_reader_next(&p->in, &p->got)) == S2_CHUNK) {
        struct str data = buf_str(&p->got);
        if (data.n > 0 && c->checking != NULL)
            connect_hold(c, data);
        else if (data.n > 0)
            conn_take(c, data);
        buf_clear(&p->got);
        p->in.most = c->leaf->bound ? S2_BLOCK_MAX : STRANGERS_CHUNK;
    }
    if (got == S2_BAD) {
        LOG_ERR(c->net->env->log, "%s - s2: corrupt input", conn_text(c, who));
        conn_close(c, REASON_READ_ERROR);
    }
    conn_receive(c);
}

/* Up to GATHER_BYTES of what waits, or one chunk that is longer. */
static void gather(struct conn *c)
{
    struct conn_pack *p = c->pack;
    struct chunk *k;

    while ((k = c->out.head) != NULL &&
           (p->gathered.n == 0 || p->gathered.n + k->len <= GATHER_BYTES)) {
        buf_put(&p->gathered, k->data, k->len);
        c->out.head = k->next;
        if (c->out.head == NULL)
            c->out.tail = NULL;
        c->out.bytes -= k->len;
        c->pending -= k->len;
        chunk_put(k, c->net->env->chunks);
    }
}

void conn_pack_flush(struct conn *c)
{
    struct conn_pack *p = c->pack;
    bool as_it_is = conn_pack_mode(c) <= LEAF_S2_UNCOMPRESSED, ok = true;

    while (ok && c->out.head != NULL && c->framed.bytes < AHEAD_BYTES) {
        buf_clear(&p->gathered);
        buf_clear(&p->packed);
        if (!p->began)
            s2_put_start(&p->packed);
        p->began = true;
        gather(c);
        if (as_it_is)
            s2_put(&p->packed, buf_str(&p->gathered));
        else
            s2_put_packed(&p->packed, buf_str(&p->gathered), &p->table);
        ok = outbuf_put(&c->framed, c->net->env->chunks, p->packed.p, p->packed.n);
        c->pending += ok ? p->packed.n : 0;
    }
    if (ok)
        return;
    c->drop_output = true;
    conn_close(c, REASON_WRITE_ERROR);
    conn_drop_output(c);
}
