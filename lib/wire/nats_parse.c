/*
 * nats_parse.c - a received range of bytes to operations, one a call, however the bytes were cut.
 *
 * Three ways lead to the same operation:
 *
 *  1. parse_fast: a PUB, HPUB, MSG or HMSG in the form that every client library and server writes
 *     (verb, single blanks, CRLF) that lies whole in the input. It reads tokens from a bit mask
 *     (scan.h) and gives up at anything unusual without having decided anything: what is wrong
 *     is always said by nats_line.c, so the two can not differ in what they refuse.
 *  2. parse_whole: any operation that lies whole in the input, by nats_line.c.
 *  3. resume: what the end of an earlier input cut, the partial operation.
 *
 * A partial operation is one heap block, made when an input ends inside an operation and freed by
 * the call that follows the one that returned the operation (whose views point into the block).
 *
 *     LINE   `bytes` holds the beginning of a line: never more than nats_line_max
 *     ASK    `bytes` holds the line; COLLECT was returned, nats_parse_collect was not yet called
 *     BODY   `bytes` holds the line; `memory` the beginning of the body: it is the room behind the
 *            line for a body below NATS_COLLECT_MIN, else what nats_parse_collect gave
 *     DONE   the operation was returned
 *
 *     cut in a line: LINE -> BODY -> DONE -> freed      cut in a body: BODY or ASK, and on as there
 *                    LINE -> ASK -> BODY
 *                    LINE -> DONE (no body, or the body lies whole in the next input)
 *
 * Behind LINE the line was read and accepted: limits that change later do not touch it, because
 * `op` is kept and not read again. After an error the block stays until deinit, since the views of
 * the error point into it.
 */
#include "lib/wire/nats_parse.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/wire/nats_line.h"
#include "lib/wire/scan.h"

enum partial_state { PARTIAL_LINE, PARTIAL_ASK, PARTIAL_BODY, PARTIAL_DONE };

struct nats_partial {
    enum partial_state state;
    size_t cap;        /* of bytes */
    size_t n;          /* bytes of the line (or of its beginning) in `bytes` */
    char *memory;      /* BODY: where the body goes */
    size_t got;        /* BODY: bytes of body and CRLF in memory */
    struct nats_op op; /* ASK, BODY: what the line says */
    char bytes[];
};

/* The first fragment of a line gets this much more room: most lines then need one block. */
#define LINE_ROOM 192u
/* CRLF behind a body. */
#define END_N 2u

void nats_parser_init(struct nats_parser *p, enum nats_role role, struct nats_limits limits)
{
    *p = (struct nats_parser){
        .max_payload = limits.max_payload,
        .max_control_line = limits.max_control_line,
        .role = (uint8_t) role,
    };
}

static void drop_partial(struct nats_parser *p)
{
    mem_free(p->partial);
    p->partial = NULL;
}

void nats_parser_deinit(struct nats_parser *p)
{
    drop_partial(p);
}

size_t nats_parser_bytes(const struct nats_parser *p)
{
    return p->partial != NULL ? sizeof(*p->partial) + p->partial->cap : 0;
}

void nats_parser_check(const struct nats_parser *p)
{
    const struct nats_partial *part = p->partial;
    ASSERT(p->role <= NATS_ROLE_LEAF);
    ASSERT(p->error < NATS_ERRORS);
    if (part == NULL)
        return;
    ASSERT(part->n > 0 && part->n <= part->cap);
    ASSERT(part->state <= PARTIAL_DONE);
    if (part->state == PARTIAL_BODY) {
        bool inside = part->memory == part->bytes + part->n;
        ASSERT(inside == (part->op.body.n < NATS_COLLECT_MIN));
        ASSERT(inside != part->op.collected);
        ASSERT(!inside || part->cap == part->n + part->op.body.n + END_N);
        ASSERT(part->got < part->op.body.n + END_N || p->error != NATS_ERROR_NONE);
    }
}

static enum nats_parse fail(struct nats_parser *p, enum nats_error error)
{
    p->error = (uint8_t) error;
    return NATS_PARSE_ERROR;
}

/* A block with room for cap bytes; NULL when memory is short. */
static struct nats_partial *new_partial(size_t cap, struct str bytes)
{
    struct nats_partial *part = mem_try_alloc(sizeof(*part) + cap);
    if (part == NULL)
        return NULL;
    part->state = PARTIAL_LINE;
    part->cap = cap;
    part->n = bytes.n;
    memcpy(part->bytes, bytes.p, bytes.n);
    return part;
}

/* Puts bytes behind the fragment of a line; false when memory is short. */
static bool append_line(struct nats_parser *p, struct str bytes)
{
    struct nats_partial *part = p->partial;
    if (bytes.n > part->cap - part->n) {
        size_t cap = 2 * part->cap + bytes.n;
        part = new_partial(cap, str_from(part->bytes, part->n));
        if (part == NULL)
            return false;
        drop_partial(p);
        p->partial = part;
    }
    memcpy(part->bytes + part->n, bytes.p, bytes.n);
    part->n += bytes.n;
    return true;
}

static enum nats_parse keep_line(struct nats_parser *p, struct str *in)
{
    p->partial = new_partial(in->n + LINE_ROOM, *in);
    if (p->partial == NULL)
        return fail(p, NATS_ERROR_NO_MEMORY);
    *in = str_skip(*in, in->n);
    return NATS_PARSE_MORE;
}

/* What is there of a body of n bytes and its CRLF: is the part of it that has arrived right? */
static bool body_ends(struct str bytes, size_t n)
{
    return (bytes.n <= n || bytes.p[n] == '\r') && (bytes.n <= n + 1 || bytes.p[n + 1] == '\n');
}

static enum nats_parse fail_body(struct nats_parser *p, struct str bytes, struct nats_op *op)
{
    op->args = str_from(bytes.p + op->body.n, bytes.n - op->body.n);
    return fail(p, NATS_ERROR_BODY_END);
}

/* More of the body at the front of *in. */
static enum nats_parse resume_body(struct nats_parser *p, struct str *in, struct nats_op *op)
{
    struct nats_partial *part = p->partial;
    size_t need = part->op.body.n + END_N;
    struct str piece = str_take(*in, need - part->got);
    memcpy(part->memory + part->got, piece.p, piece.n);
    part->got += piece.n;
    *in = str_skip(*in, piece.n);
    struct str there = str_from(part->memory, part->got);
    if (!body_ends(there, part->op.body.n)) {
        *op = part->op;
        return fail_body(p, there, op);
    }
    if (part->got < need)
        return NATS_PARSE_MORE;
    *op = part->op;
    op->body.p = part->memory;
    part->state = PARTIAL_DONE;
    return NATS_PARSE_OP;
}

/* The same bytes elsewhere. */
static void move_view(struct str *view, const char *from, const char *to)
{
    if (view->n > 0)
        view->p = to + (view->p - from);
}

/* The line is accepted, its body is not whole in *in, which begins with it. */
static enum nats_parse keep_body(struct nats_parser *p, struct str line, struct str *in,
                                 struct nats_op *op)
{
    bool inside = op->body.n < NATS_COLLECT_MIN;
    struct nats_partial *part = new_partial(inside ? line.n + op->body.n + END_N : line.n, line);
    if (part == NULL)
        return fail(p, NATS_ERROR_NO_MEMORY);
    op->collected = !inside;
    move_view(&op->subject, line.p, part->bytes);
    move_view(&op->reply, line.p, part->bytes);
    move_view(&op->sid, line.p, part->bytes);
    if (p->role == NATS_ROLE_LEAF)
        move_view(&op->queue, line.p, part->bytes);
    move_view(&op->args, line.p, part->bytes);
    part->op = *op;
    part->got = 0;
    part->memory = inside ? part->bytes + line.n : NULL;
    part->state = inside ? PARTIAL_BODY : PARTIAL_ASK;
    drop_partial(p);
    p->partial = part;
    return inside ? resume_body(p, in, op) : NATS_PARSE_COLLECT;
}

/* *in begins behind the line, which lies there or in the partial block. */
static enum nats_parse take_body(struct nats_parser *p, struct str line, struct str *in,
                                 struct nats_op *op)
{
    size_t need = op->body.n + END_N;
    struct str there = str_take(*in, need);
    if (!body_ends(there, op->body.n))
        return fail_body(p, there, op);
    if (there.n < need)
        return keep_body(p, line, in, op);
    op->body.p = there.p;
    *in = str_skip(*in, need);
    return NATS_PARSE_OP;
}

static enum nats_parse parse_whole(struct nats_parser *p, struct str *in, struct nats_op *op)
{
    enum nats_error error;
    size_t line_n;
    op->collected = false;
    switch (nats_line_read(p, *in, 0, op, &line_n, &error)) {
    case NATS_LINE_CUT:
        return keep_line(p, in);
    case NATS_LINE_ERROR:
        return fail(p, error);
    case NATS_LINE_OK:
        break;
    }
    struct str line = str_take(*in, line_n);
    *in = str_skip(*in, line_n);
    return nats_verb_has_body((enum nats_verb) op->verb) ? take_body(p, line, in, op)
                                                         : NATS_PARSE_OP;
}

/* The rest of a line, or more of it, is at the front of *in: takes it up to its LF and no further
 * than a line may be long. */
static enum nats_parse resume_line(struct nats_parser *p, struct str *in, struct nats_op *op)
{
    enum nats_error error;
    size_t line_n, searched = p->partial->n, max = nats_line_max(p);
    struct str piece = str_take(*in, max > searched ? max - searched : 0);
    size_t lf = str_index(piece, '\n');
    piece = str_take(piece, lf + 1);
    if (!append_line(p, piece))
        return fail(p, NATS_ERROR_NO_MEMORY);
    *in = str_skip(*in, piece.n);
    struct nats_partial *part = p->partial;
    op->collected = false;
    switch (nats_line_read(p, str_from(part->bytes, part->n), searched, op, &line_n, &error)) {
    case NATS_LINE_CUT:
        return NATS_PARSE_MORE;
    case NATS_LINE_ERROR:
        return fail(p, error);
    case NATS_LINE_OK:
        break;
    }
    part->state = PARTIAL_DONE;
    return nats_verb_has_body((enum nats_verb) op->verb)
               ? take_body(p, str_from(part->bytes, part->n), in, op)
               : NATS_PARSE_OP;
}

static uint32_t load32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* The rare cases: an error, a partial operation, no input. */
static __attribute__((noinline)) enum nats_parse resume(struct nats_parser *p, struct str *in,
                                                        struct nats_op *op)
{
    if (p->error != NATS_ERROR_NONE) {
        op->args = STR_NONE;
        return NATS_PARSE_ERROR;
    }
    if (p->partial != NULL && p->partial->state == PARTIAL_DONE)
        drop_partial(p);
    if (p->partial != NULL)
        ASSERT(p->partial->state != PARTIAL_ASK); /* nats_parse_collect comes first */
    if (in->n == 0)
        return NATS_PARSE_MORE;
    if (p->partial == NULL)
        return parse_whole(p, in, op);
    return p->partial->state == PARTIAL_LINE ? resume_line(p, in, op) : resume_body(p, in, op);
}

void nats_parse_collect(struct nats_parser *p, char *memory)
{
    struct nats_partial *part = p->partial;
    ASSERT(part != NULL && part->state == PARTIAL_ASK && memory != NULL);
    part->memory = memory;
    part->state = PARTIAL_BODY;
}

/*
 * The fast path. In ns per operation, from an input of 64 KiB, this machine, gcc 12 -O2
 * (bench_parse.c):
 *
 *     PUB of 16 / 128 / 1024 B                11 / 12 / 13      (full path: 45)
 *     PUB of 128 B with a reply of 36 bytes   14
 *     HPUB of 128 B                           15
 *     MSG of 128 B, with an ack subject       14, 16
 *     PUB of 16 to 1015 B at random           16
 *
 * With the tokens in an array the first line took 17 (its loads wait for its stores), with scans of
 * 64 bytes 12.5. Predicting that an operation is as long as the one before, so that the next need
 * not wait for this one's digits, saved 1 ns on equal messages and cost 0.7 on others: left out.
 */

/* Bytes an input needs for one scan and the byte behind it. */
#define FAST_MIN (SCAN_STOPS_WIDTH + 1)
#define INLINE static inline __attribute__((always_inline))

/* Four bytes as load32 reads them. */
#define WORD(a, b, c, d)                                                                           \
    ((uint32_t) (a) | (uint32_t) (b) << 8 | (uint32_t) (c) << 16 | (uint32_t) (d) << 24)
/* ANDed to a letter this makes lower case upper, and nothing else a letter. */
#define CASE 0xdf

/* What parse_fast knows of a verb; constants, so that fast_message compiles to one body per verb.
 */
struct fast_verb {
    uint8_t verb;
    uint8_t first;   /* where the arguments begin */
    bool has_sid;    /* a sid behind the subject */
    bool has_header; /* a header size before the total size */
};

/* Where the fast path is in a line. */
struct cursor {
    const char *at;    /* the next token begins here */
    const char *block; /* what stops describes */
    const char *end;   /* of the input */
    uint32_t stops;    /* ends of tokens from at on */
};

/* The token at the cursor and the byte that ended it; 0 when the token is empty or the input too
 * short. */
INLINE char take_token(struct cursor *c, struct str *token)
{
    while (UNLIKELY(c->stops == 0)) {
        c->block += SCAN_STOPS_WIDTH;
        if ((size_t) (c->end - c->block) < FAST_MIN)
            return 0;
        c->stops = scan_stops(c->block);
    }
    const char *stop = c->block + __builtin_ctz(c->stops);
    c->stops &= c->stops - 1;
    *token = (struct str){c->at, (size_t) (stop - c->at)};
    c->at = stop + 1;
    return token->n != 0 ? *stop : 0;
}

/* nats_read_size for a token that is not empty. */
INLINE bool fast_size(struct str digits, uint32_t *out)
{
    uint32_t size = (unsigned char) digits.p[0] - (uint32_t) '0';
    if (size > 9 || digits.n > 9)
        return false;
    for (size_t i = 1; i < digits.n; i++) {
        uint32_t digit = (unsigned char) digits.p[i] - (uint32_t) '0';
        if (digit > 9)
            return false;
        size = size * 10 + digit;
    }
    *out = size;
    return true;
}

/* <subject> [sid] [reply] [header] <total> CRLF; the cursor is then behind the CR. */
INLINE bool fast_line(struct cursor *c, struct fast_verb v, struct nats_op *op, uint32_t *total)
{
    struct str next, header;
    op->reply = STR_NONE;
    if (take_token(c, &op->subject) != ' ')
        return false;
    if (v.has_sid && take_token(c, &op->sid) != ' ')
        return false;
    char stop = take_token(c, &next);
    if (v.has_header) {
        header = next;
        if (stop != ' ')
            return false;
        stop = take_token(c, &next);
    }
    if (stop == ' ') {
        op->reply = v.has_header ? header : next;
        header = next;
        stop = take_token(c, &next);
    }
    if (stop != '\r' || *c->at != '\n')
        return false;
    op->header_n = 0;
    if (v.has_header && !fast_size(header, &op->header_n))
        return false;
    return fast_size(next, total) && op->header_n <= *total;
}

INLINE bool fast_message(const struct nats_parser *p, struct str *in, struct nats_op *op,
                         struct fast_verb v)
{
    const char *s = in->p;
    struct cursor c = {s + v.first, s, s + in->n, scan_stops(s) >> v.first << v.first};
    uint32_t total = 0;
    if (!fast_line(&c, v, op, &total) || total > p->max_payload)
        return false;
    const char *body = c.at + 1;
    size_t args_n = (size_t) (body - s) - v.first - 2;
    if (args_n > p->max_control_line || (size_t) (c.end - body) < (size_t) total + END_N)
        return false;
    if (body[total] != '\r' || body[total + 1] != '\n')
        return false;
    op->verb = v.verb;
    op->collected = false;
    op->body = (struct str){body, total};
    op->args = (struct str){s + v.first, args_n};
    *in = str_skip(*in, (size_t) (body - s) + total + END_N);
    return true;
}

static inline bool parse_fast(const struct nats_parser *p, struct str *in, struct nats_op *op)
{
    const struct fast_verb pub = {NATS_VERB_PUB, 4, false, false};
    const struct fast_verb hpub = {NATS_VERB_HPUB, 5, false, true};
    const struct fast_verb msg = {NATS_VERB_MSG, 4, true, false};
    const struct fast_verb hmsg = {NATS_VERB_HMSG, 5, true, true};
    if (in->n < FAST_MIN)
        return false;
    uint32_t head = load32(in->p);
    uint32_t three = head & WORD(CASE, CASE, CASE, 0xff),
             four = head & WORD(CASE, CASE, CASE, CASE);
    if (p->role == NATS_ROLE_SERVER) {
        if (LIKELY(three == WORD('P', 'U', 'B', ' ')))
            return fast_message(p, in, op, pub);
        if (four == WORD('H', 'P', 'U', 'B') && in->p[4] == ' ' && p->headers)
            return fast_message(p, in, op, hpub);
        return false;
    }
    if (p->role == NATS_ROLE_LEAF)
        return false;
    if (LIKELY(three == WORD('M', 'S', 'G', ' ')))
        return fast_message(p, in, op, msg);
    if (four == WORD('H', 'M', 'S', 'G') && in->p[4] == ' ')
        return fast_message(p, in, op, hmsg);
    return false;
}

enum nats_parse nats_parse(struct nats_parser *p, struct str *in, struct nats_op *op)
{
    if (LIKELY(p->partial == NULL && p->error == NATS_ERROR_NONE && !p->connect_only)) {
        if (LIKELY(parse_fast(p, in, op)))
            return NATS_PARSE_OP;
    }
    return resume(p, in, op);
}
