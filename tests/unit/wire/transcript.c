#include "tests/unit/wire/transcript.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"

#include <stdlib.h>

void transcript_init(struct transcript *t, enum nats_role role, struct nats_limits limits)
{
    *t = (struct transcript){0};
    nats_parser_init(&t->parser, role, limits);
    t->parser.headers = true;
}

void transcript_deinit(struct transcript *t)
{
    nats_parser_deinit(&t->parser);
    mem_free(t->memory);
    buf_free(&t->text);
}

static void put_view(struct buf *b, const char *name, struct str view)
{
    buf_printf(b, " %s=", name);
    buf_put_str(b, view);
}

static void put_body(struct buf *b, const struct nats_op *op)
{
    ASSERT(op->header_n <= op->body.n);
    ASSERT(op->body.p[op->body.n] == '\r' && op->body.p[op->body.n + 1] == '\n');
    put_view(b, "reply", op->reply);
    put_view(b, "header", nats_op_header(op));
    put_view(b, "payload", nats_op_payload(op));
}

static void put_op(struct buf *b, const struct nats_op *op)
{
    buf_puts(b, nats_verb_name((enum nats_verb) op->verb));
    put_view(b, "args", op->args);
    switch ((enum nats_verb) op->verb) {
    case NATS_VERB_LSUB:
    case NATS_VERB_LUNSUB:
        put_view(b, "subject", op->subject);
        put_view(b, "queue", op->queue);
        buf_printf(b, " weight=%u", op->max);
        break;
    case NATS_VERB_LMSG:
    case NATS_VERB_LHMSG:
        put_view(b, "subject", op->subject);
        put_view(b, "queues", op->queue);
        put_body(b, op);
        break;
    case NATS_VERB_PUB:
    case NATS_VERB_HPUB:
        put_view(b, "subject", op->subject);
        put_body(b, op);
        break;
    case NATS_VERB_MSG:
    case NATS_VERB_HMSG:
        put_view(b, "subject", op->subject);
        put_view(b, "sid", op->sid);
        put_body(b, op);
        break;
    case NATS_VERB_SUB:
        put_view(b, "subject", op->subject);
        put_view(b, "queue", op->queue);
        put_view(b, "sid", op->sid);
        break;
    case NATS_VERB_UNSUB:
        put_view(b, "sid", op->sid);
        buf_printf(b, " max=%u", op->max);
        break;
    case NATS_VERB_CONNECT:
    case NATS_VERB_INFO:
    case NATS_VERB_PING:
    case NATS_VERB_PONG:
    case NATS_VERB_OK:
    case NATS_VERB_ERR:
    case NATS_VERBS:
        break;
    }
    buf_putc(b, '\n');
}

static void collect(struct transcript *t, const struct nats_op *op)
{
    ASSERT(op->body.n >= NATS_COLLECT_MIN && op->collected);
    mem_free(t->memory);
    t->memory = mem_alloc(op->body.n + 2);
    t->collects++;
    nats_parse_collect(&t->parser, t->memory);
}

static bool run(struct transcript *t, struct str in)
{
    struct nats_op op;
    for (;;) {
        enum nats_parse said = nats_parse(&t->parser, &in, &op);
        nats_parser_check(&t->parser);
        switch (said) {
        case NATS_PARSE_OP:
            t->ops++;
            put_op(&t->text, &op);
            break;
        case NATS_PARSE_COLLECT:
            collect(t, &op);
            break;
        case NATS_PARSE_MORE:
            ASSERT(in.n == 0);
            return true;
        case NATS_PARSE_ERROR:
            ASSERT(t->parser.error != NATS_ERROR_NONE);
            return false;
        }
    }
}

bool transcript_feed(struct transcript *t, const char *bytes, size_t n)
{
    if (t->parser.error != NATS_ERROR_NONE)
        return false;
    char *piece = mem_alloc(n + (n == 0));
    memcpy(piece, bytes, n);
    bool good = run(t, str_from(piece, n));
    memset(piece, 0xee, n);
    mem_free(piece);
    if (nats_parser_bytes(&t->parser) > t->most_bytes)
        t->most_bytes = nats_parser_bytes(&t->parser);
    return good;
}

void transcript_end(struct transcript *t)
{
    if (t->parser.error != NATS_ERROR_NONE)
        buf_printf(&t->text, "error: %s\n", nats_error_log((enum nats_error) t->parser.error));
    else if (nats_parse_is_cut(&t->parser))
        buf_puts(&t->text, "cut\n");
}
