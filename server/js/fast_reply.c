/* fast_reply.c - tokens from the end; the prefix may have any number of them, at least one. */
#include "server/js/fast_reply.h"

#include "lib/base/fmt.h"

#define TAIL ".1.$FI"

enum { OP_START, OP_APPEND, OP_COMMIT, OP_COMMIT_EOB, OP_PING, OPS };

/* Takes the last token off; false when nothing would be left in front of it. */
static bool last_token(struct str *s, struct str *token)
{
    for (size_t i = s->n; i-- > 0;)
        if (s->p[i] == '.') {
            *token = str_skip(*s, i + 1);
            s->n = i;
            return true;
        }
    return false;
}

static bool read_op(struct str token, struct fast_reply *out)
{
    uint64_t op;

    if (!str_to_u64(token, &op) || op >= OPS)
        return false;
    out->ping = op == OP_PING;
    out->eob = op == OP_COMMIT_EOB;
    out->commit = out->eob || op == OP_COMMIT;
    if (op == OP_START)
        return out->seq == 1;
    return op == OP_APPEND || out->eob ? out->seq > 1 : true;
}

/* What is no number, or 0, stands for the default. */
static uint16_t read_flow(struct str token)
{
    uint64_t flow;

    if (!str_to_u64(token, &flow) || flow == 0)
        return FAST_FLOW_DEFAULT;
    return flow < UINT16_MAX ? (uint16_t) flow : UINT16_MAX;
}

bool fast_reply_parse(struct str reply, struct fast_reply *out)
{
    struct str rest = str_take(reply, reply.n - 4), op, seq, gap, flow;

    *out = (struct fast_reply){0};
    if (!last_token(&rest, &op) || !last_token(&rest, &seq))
        return false;
    out->head_n = rest.n + 1;
    if (!last_token(&rest, &gap) || !last_token(&rest, &flow) || !last_token(&rest, &out->id))
        return false;
    if (!str_to_u64(seq, &out->seq) || out->seq == 0 || out->seq == UINT64_MAX || !read_op(op, out))
        return false;
    out->gap_ok = str_eq(gap, STR("ok"));
    out->flow = read_flow(flow);
    return out->gap_ok || str_eq(gap, STR("fail"));
}

static void put_tail(struct fast_next *next)
{
    size_t at = next->digits_at + (size_t) next->digits_n;

    memcpy(next->text + at, TAIL, sizeof(TAIL) - 1);
    next->n = (uint16_t) (at + sizeof(TAIL) - 1);
}

void fast_next_set(struct fast_next *next, struct str reply, const struct fast_reply *f)
{
    next->n = 0;
    if (f->head_n + FMT_U64_MAX + sizeof(TAIL) > sizeof(next->text))
        return;
    memcpy(next->text, reply.p, f->head_n);
    next->digits_at = (uint16_t) f->head_n;
    next->digits_n = (uint16_t) fmt_u64(next->text + f->head_n, f->seq + 1);
    put_tail(next);
}

/* Adds one to the digits where they stand. */
void fast_next_step(struct fast_next *next)
{
    char *first = next->text + next->digits_at;

    for (char *p = first + next->digits_n; p > first;) {
        if (*--p != '9') {
            ++*p;
            return;
        }
        *p = '0';
    }
    *first = '1';
    first[next->digits_n++] = '0';
    put_tail(next);
}
