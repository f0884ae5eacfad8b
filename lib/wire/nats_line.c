/*
 * nats_line.c - the grammar of one control line, all of it and at any speed.
 *
 *     line  = verb [blanks args] end          blanks: a run of ' ' and TAB; end: CR LF or LF
 *     args  = token {blanks token} [blanks]   of verbs that take arguments
 *           | bytes but LF                    of CONNECT, INFO, -ERR, which hand them on,
 *                                             and of PING, PONG, +OK, which ignore them
 *
 * Verbs match in any case. A verb of the other role, or one that only servers say to each other, is
 * as unknown as any other word. nats_verbs.def says which verbs exist and nats_parse.h what their
 * arguments mean.
 *
 * What is wrong is found as early as the bytes allow it, so that a peer that speaks HTTP or sends
 * an endless line is answered at once and not when the line ends:
 *
 *  - first byte: NOT_CONNECT
 *  - verb: UNKNOWN_OP at the first byte that fits no verb, also when the blank behind it is missing
 *  - while the line grows: CONTROL_LINE, when there are more than max_control_line bytes behind the
 *    verb and one blank; a last CR, which may belong to the end, is not counted
 *  - at its end: CONTROL_LINE, HEADERS_OFF, then the number of arguments, then sizes, then PAYLOAD
 *
 * None of these depends on how the bytes were cut: each looks at a prefix of the line only.
 *
 * A CR elsewhere than before LF is refused where tokens are expected: passed on in a subject it
 * would end the MSG line of whoever receives it. (The reference server drops or passes such bytes,
 * depending on the place.)
 */
#include "lib/wire/nats_line.h"

#include "lib/base/assert.h"

#define FROM_C 1u
#define FROM_S 2u
#define FROM_L 4u
#define FROM_CL (FROM_C | FROM_L)
#define FROM_A (FROM_C | FROM_S | FROM_L)
#define AFTER_BLANK true
#define AFTER_ANY false
#define BODY_YES true
#define BODY_NO false

struct verb_rule {
    char text[NATS_VERB_TEXT_MAX + 1];
    uint8_t n;
    uint8_t from;
    bool blank;
    bool body;
};

static const struct verb_rule rules[NATS_VERBS] = {
#define NATS_VERB(name, text, from, after, body)                                                   \
    {text, sizeof(text) - 1, FROM_##from, AFTER_##after, BODY_##body},
#include "lib/wire/nats_verbs.def"
#undef NATS_VERB
};

/* More than any verb takes, so that a surplus shows. */
#define TOKENS_MAX 6u
/* What the log shows of bytes that were not understood. */
#define SNIPPET_MAX 32u

bool nats_verb_has_body(enum nats_verb verb)
{
    return rules[verb].body;
}

const char *nats_verb_name(enum nats_verb verb)
{
    return rules[verb].text;
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char) (c - 'a' + 'A') : c;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* How s and the rule's verb fit, the blank included: OK, CUT (s is a prefix), or ERROR (they
 * differ). */
static enum nats_line match_verb(const struct verb_rule *rule, struct str s)
{
    for (size_t i = 0; i < rule->n; i++) {
        if (i == s.n)
            return NATS_LINE_CUT;
        if (upper(s.p[i]) != rule->text[i])
            return NATS_LINE_ERROR;
    }
    if (!rule->blank)
        return NATS_LINE_OK;
    if (s.n == rule->n)
        return NATS_LINE_CUT;
    return is_blank(s.p[rule->n]) ? NATS_LINE_OK : NATS_LINE_ERROR;
}

/* No verb with its blank is the beginning of another, so at most one rule says OK. */
static enum nats_line find_verb(struct str s, enum nats_role role, enum nats_verb *verb)
{
    unsigned from = role == NATS_ROLE_SERVER ? FROM_C : role == NATS_ROLE_CLIENT ? FROM_S : FROM_L;
    enum nats_line best = NATS_LINE_ERROR;
    for (unsigned i = 0; i < NATS_VERBS; i++) {
        if ((rules[i].from & from) == 0)
            continue;
        enum nats_line found = match_verb(&rules[i], s);
        if (found == NATS_LINE_OK) {
            *verb = (enum nats_verb) i;
            return NATS_LINE_OK;
        }
        if (found == NATS_LINE_CUT)
            best = NATS_LINE_CUT;
    }
    return best;
}

bool nats_read_size(struct str digits, uint32_t *out)
{
    uint32_t size = 0;
    if (digits.n == 0 || digits.n > 9)
        return false;
    for (size_t i = 0; i < digits.n; i++) {
        unsigned digit = (unsigned char) digits.p[i] - (unsigned) '0';
        if (digit > 9)
            return false;
        size = size * 10 + digit;
    }
    *out = size;
    return true;
}

/* Number of tokens, at most TOKENS_MAX; 0 also when there is a stray CR. */
static unsigned split(struct str args, struct str tokens[TOKENS_MAX])
{
    unsigned count = 0;
    size_t at = 0;
    while (count < TOKENS_MAX) {
        while (at < args.n && is_blank(args.p[at]))
            at++;
        size_t start = at;
        while (at < args.n && !is_blank(args.p[at])) {
            if (args.p[at] == '\r')
                return 0;
            at++;
        }
        if (at == start)
            break;
        tokens[count++] = (struct str){args.p + start, at - start};
    }
    return count;
}

static enum nats_error read_body_size(const struct nats_parser *p, struct nats_op *op, uint32_t n)
{
    op->body = (struct str){NULL, n};
    if (p->max_payload != NATS_NO_LIMIT && n > p->max_payload)
        return NATS_ERROR_PAYLOAD;
    return NATS_ERROR_NONE;
}

/* <subject> [reply] <size>, with <sid> behind the subject when `sids` is 1. */
static enum nats_error read_message(const struct nats_parser *p, struct nats_op *op, unsigned sids)
{
    struct str tokens[TOKENS_MAX];
    unsigned count = split(op->args, tokens);
    uint32_t size;
    if (count != 2 + sids && count != 3 + sids)
        return sids == 0 ? NATS_ERROR_PUB_ARGS : NATS_ERROR_MSG_ARGS;
    op->subject = tokens[0];
    op->sid = sids == 0 ? STR_NONE : tokens[1];
    op->reply = count == 3 + sids ? tokens[1 + sids] : STR_NONE;
    op->header_n = 0;
    if (!nats_read_size(tokens[count - 1], &size))
        return sids == 0 ? NATS_ERROR_PUB_SIZE : NATS_ERROR_MSG_SIZE;
    return read_body_size(p, op, size);
}

/* <subject> [reply] <header size> <total size>, likewise. */
static enum nats_error read_header_message(const struct nats_parser *p, struct nats_op *op,
                                           unsigned sids)
{
    struct str tokens[TOKENS_MAX];
    unsigned count = split(op->args, tokens);
    uint32_t total;
    if (count != 3 + sids && count != 4 + sids)
        return sids == 0 ? NATS_ERROR_HPUB_ARGS : NATS_ERROR_HMSG_ARGS;
    op->subject = tokens[0];
    op->sid = sids == 0 ? STR_NONE : tokens[1];
    op->reply = count == 4 + sids ? tokens[1 + sids] : STR_NONE;
    if (!nats_read_size(tokens[count - 2], &op->header_n))
        return sids == 0 ? NATS_ERROR_HPUB_HEADER : NATS_ERROR_HMSG_SIZE;
    if (!nats_read_size(tokens[count - 1], &total))
        return sids == 0 ? NATS_ERROR_HPUB_TOTAL : NATS_ERROR_HMSG_SIZE;
    if (op->header_n > total)
        return sids == 0 ? NATS_ERROR_HPUB_ORDER : NATS_ERROR_HMSG_SIZE;
    return read_body_size(p, op, total);
}

static enum nats_error read_sub(struct nats_op *op)
{
    struct str tokens[TOKENS_MAX];
    unsigned count = split(op->args, tokens);
    if (count != 2 && count != 3)
        return NATS_ERROR_SUB_ARGS;
    op->subject = tokens[0];
    op->queue = count == 3 ? tokens[1] : STR_NONE;
    op->sid = tokens[count - 1];
    return NATS_ERROR_NONE;
}

static enum nats_error read_unsub(struct nats_op *op)
{
    struct str tokens[TOKENS_MAX];
    unsigned count = split(op->args, tokens);
    if (count != 1 && count != 2)
        return NATS_ERROR_UNSUB_ARGS;
    op->sid = tokens[0];
    if (count == 1 || !nats_read_size(tokens[1], &op->max))
        op->max = 0;
    return NATS_ERROR_NONE;
}

/* <subject> [<queue> <weight>], and the same without a weight to take it back. */
static enum nats_error read_leaf_sub(struct nats_op *op, bool weight)
{
    struct str tokens[TOKENS_MAX];
    unsigned count = split(op->args, tokens);
    if (count != 1 && count != 2u + weight)
        return NATS_ERROR_LSUB_ARGS;
    op->subject = tokens[0];
    op->queue = count > 1 ? tokens[1] : STR_NONE;
    op->max = 1;
    if (count == 3 && (!nats_read_size(tokens[2], &op->max) || op->max == 0))
        op->max = 1;
    return NATS_ERROR_NONE;
}

static struct str next_token(struct str *left)
{
    size_t n = 0;
    while (left->n > 0 && is_blank(left->p[0]))
        *left = str_skip(*left, 1);
    while (n < left->n && !is_blank(left->p[n]))
        n++;
    struct str token = str_take(*left, n);
    *left = str_skip(*left, n);
    return token;
}

/* Takes the last token off. */
static struct str last_token(struct str *left)
{
    while (left->n > 0 && is_blank(left->p[left->n - 1]))
        left->n--;
    size_t at = left->n;
    while (at > 0 && !is_blank(left->p[at - 1]))
        at--;
    struct str token = str_skip(*left, at);
    left->n = at;
    return token;
}

/* What is between subject and sizes: nothing, a reply, or "+ reply queues" or "| queues". */
static bool read_leaf_reply(struct str middle, struct nats_op *op)
{
    struct str first = next_token(&middle);
    struct str rest = str_trim(middle);
    op->reply = op->queue = STR_NONE;
    if (rest.n == 0) {
        op->reply = first;
        return true;
    }
    if (str_eq(first, STR("+")))
        op->reply = next_token(&rest);
    else if (!str_eq(first, STR("|")))
        return false;
    op->queue = str_trim(rest);
    return true;
}

/* <subject> [reply | + reply queues... | '|' queues...] [header size] <total size> */
static enum nats_error read_leaf_message(const struct nats_parser *p, struct nats_op *op,
                                         bool header)
{
    struct str left = op->args;
    uint32_t total;
    if (memchr(left.p, '\r', left.n) != NULL)
        return NATS_ERROR_LMSG_ARGS;
    op->sid = STR_NONE;
    op->header_n = 0;
    op->subject = next_token(&left);
    if (!nats_read_size(last_token(&left), &total))
        return NATS_ERROR_LMSG_ARGS;
    if (header && (!nats_read_size(last_token(&left), &op->header_n) || op->header_n > total))
        return NATS_ERROR_LMSG_ARGS;
    if (op->subject.n == 0 || !read_leaf_reply(left, op))
        return NATS_ERROR_LMSG_ARGS;
    return read_body_size(p, op, total);
}

static enum nats_error read_args(const struct nats_parser *p, struct nats_op *op)
{
    op->body = STR_NONE;
    switch ((enum nats_verb) op->verb) {
    case NATS_VERB_PUB:
        return read_message(p, op, 0);
    case NATS_VERB_MSG:
        return read_message(p, op, 1);
    case NATS_VERB_HPUB:
        return p->headers ? read_header_message(p, op, 0) : NATS_ERROR_HEADERS_OFF;
    case NATS_VERB_HMSG:
        return read_header_message(p, op, 1);
    case NATS_VERB_SUB:
        return read_sub(op);
    case NATS_VERB_UNSUB:
        return read_unsub(op);
    case NATS_VERB_LSUB:
        return read_leaf_sub(op, true);
    case NATS_VERB_LUNSUB:
        return read_leaf_sub(op, false);
    case NATS_VERB_LMSG:
        return read_leaf_message(p, op, false);
    case NATS_VERB_LHMSG:
        return p->headers ? read_leaf_message(p, op, true) : NATS_ERROR_HEADERS_OFF;
    case NATS_VERB_CONNECT:
    case NATS_VERB_INFO:
    case NATS_VERB_PING:
    case NATS_VERB_PONG:
    case NATS_VERB_OK:
    case NATS_VERB_ERR:
    case NATS_VERBS:
        break;
    }
    return NATS_ERROR_NONE;
}

/* `line` without its end: does it keep max_control_line? */
static bool line_fits(const struct nats_parser *p, const struct verb_rule *rule, struct str line)
{
    size_t n = line.n - rule->n;
    if (n > 0 && is_blank(line.p[rule->n]))
        n--;
    return n <= p->max_control_line;
}

static struct str drop_cr(struct str line)
{
    return line.n > 0 && line.p[line.n - 1] == '\r' ? str_take(line, line.n - 1) : line;
}

static struct str args_of(const struct verb_rule *rule, struct str line)
{
    struct str args = str_skip(line, rule->n);
    while (args.n > 0 && is_blank(args.p[0]))
        args = str_skip(args, 1);
    return args;
}

enum nats_line nats_line_read(const struct nats_parser *p, struct str s, size_t searched,
                              struct nats_op *op, size_t *line_n, enum nats_error *error)
{
    enum nats_verb verb = NATS_VERBS;
    op->args = str_take(s, SNIPPET_MAX);
    /* Another server may speak about compression first. */
    if (p->connect_only && s.n > 0 && upper(s.p[0]) != 'C' &&
        (p->role != NATS_ROLE_LEAF || upper(s.p[0]) != 'I')) {
        *error = NATS_ERROR_NOT_CONNECT;
        return NATS_LINE_ERROR;
    }
    enum nats_line found = find_verb(s, (enum nats_role) p->role, &verb);
    if (found != NATS_LINE_OK) {
        *error = NATS_ERROR_UNKNOWN_OP;
        return found;
    }
    struct str window = str_take(s, nats_line_max(p));
    const char *lf = window.n > searched ? memchr(window.p + searched, '\n', window.n - searched)
                                         : NULL;
    struct str line = drop_cr(lf != NULL ? str_from(s.p, (size_t) (lf - s.p)) : window);
    if (!line_fits(p, &rules[verb], line)) {
        *error = NATS_ERROR_CONTROL_LINE;
        return NATS_LINE_ERROR;
    }
    if (lf == NULL)
        return NATS_LINE_CUT;
    op->verb = (uint8_t) verb;
    op->args = args_of(&rules[verb], line);
    *line_n = (size_t) (lf - s.p) + 1;
    *error = read_args(p, op);
    return *error == NATS_ERROR_NONE ? NATS_LINE_OK : NATS_LINE_ERROR;
}

const char *nats_error_wire(enum nats_error error)
{
    static const char *const texts[NATS_ERRORS] = {
#define NATS_ERROR(name, wire, log) wire,
#include "lib/wire/nats_errors.def"
#undef NATS_ERROR
    };
    ASSERT(error < NATS_ERRORS);
    return texts[error];
}

const char *nats_error_log(enum nats_error error)
{
    static const char *const texts[NATS_ERRORS] = {
#define NATS_ERROR(name, wire, log) log,
#include "lib/wire/nats_errors.def"
#undef NATS_ERROR
    };
    ASSERT(error < NATS_ERRORS);
    return texts[error];
}

struct str nats_err_text(struct str args)
{
    args = str_trim(args);
    if (args.n >= 2 && args.p[0] == '\'' && args.p[args.n - 1] == '\'')
        return (struct str){args.p + 1, args.n - 2};
    return args;
}
