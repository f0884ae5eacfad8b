/*
 * transform.c - a transform made and applied; transform_parse.c reads the single tokens.
 *
 * It is a list of parts, one for each token of the destination, that are written one behind the
 * other with dots between; the part ">" writes what the source's ">" stood for. Tokens of the
 * subject are found in one walk, as many as the source has; the rest stays one piece.
 *
 * A function can make a token empty (split of nothing but delimiters), and tokens can grow without
 * a bound: what is no valid subject, or one longer than TRANSFORM_BYTES_MAX, is no result at all.
 */
#include "server/core/transform.h"

#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/core/transform_int.h"

#define ERROR_START "invalid mapping destination: "

/* What the parts take from a subject. */
struct cut {
    struct str whole;
    unsigned n;
    struct str tokens[TRANSFORM_TOKENS_MAX];
    struct str rest; /* from the place of the source's last token on */
};

/* ---- making ---------------------------------------------------------------------------------- */

static bool bad_token(struct buf *err, const char *why, struct str token)
{
    if (err != NULL)
        buf_printf(err, ERROR_START "%s in %.*s", why, STR_ARG(token));
    return false;
}

static bool bad_index(struct buf *err, struct str token, int64_t index)
{
    if (err != NULL)
        buf_printf(err, ERROR_START "wildcard index out of range in %.*s: [%lld]", STR_ARG(token),
                   (long long) index);
    return false;
}

static bool in_braces(struct str token)
{
    return token.n > 4 && str_starts(token, STR("{{")) &&
           memcmp(token.p + token.n - 2, "}}", 2) == 0;
}

static bool plain(struct str token)
{
    for (size_t i = 0; i < token.n; i++)
        if ((unsigned char) token.p[i] <= ' ')
            return false;
    return true;
}

/* Tokens may hold blanks inside of braces, elsewhere they are no part of a subject. */
static bool dest_valid(struct str dest)
{
    if (dest.n > TRANSFORM_BYTES_MAX)
        return false;
    for (struct str rest = dest; rest.p != NULL;) {
        struct str token = str_cut(rest, '.', &rest);
        if (token.n == 0 || str_eq(token, STR("*")) || (str_eq(token, STR(">")) && rest.p != NULL))
            return false;
        if (!in_braces(token) && !plain(token))
            return false;
    }
    return true;
}

static bool ends_in_rest(struct str pattern)
{
    return str_eq(pattern, STR(">")) ||
           (pattern.n > 2 && memcmp(pattern.p + pattern.n - 2, ".>", 2) == 0);
}

/* The places of the source's stars. */
static unsigned find_stars(const struct transform *t, unsigned places[TRANSFORM_TOKENS_MAX])
{
    unsigned n = 0, place = 0;

    for (struct str rest = t->source_str; rest.p != NULL; place++)
        if (str_eq(str_cut(rest, '.', &rest), STR("*")))
            places[n++] = place;
    return n;
}

struct making {
    struct transform *t;
    enum transform_kind kind;
    unsigned stars[TRANSFORM_TOKENS_MAX];
    bool used[TRANSFORM_TOKENS_MAX]; /* places */
    unsigned nstars;
    bool literal; /* the source has no wildcards */
};

static void add_part(struct making *m, const struct transform_call *c)
{
    struct transform_part *p = &m->t->parts[m->t->nparts++];

    *p = (struct transform_part){.op = c->op, .text = c->text, .number = c->number};
    if (c->op == OP_LITERAL && str_eq(c->text, STR(">")))
        p->op = OP_REST;
    if (c->n == 0 || m->literal)
        return;
    p->ntokens = c->n;
    p->tokens = mem_array(c->n, sizeof(*p->tokens));
    for (unsigned i = 0; i < c->n; i++) {
        p->tokens[i] = c->wildcards[i] > 0 ? m->stars[c->wildcards[i] - 1] : 0;
        m->used[p->tokens[i]] = true;
    }
}

static bool make_part(struct making *m, struct str token, struct buf *err)
{
    struct transform_call c;
    const char *why;

    if (!transform_read_token(token, &c, &why))
        return bad_token(err, why, token);
    if (m->literal && c.op != OP_LITERAL && c.op != OP_RANDOM && c.op != OP_PARTITION)
        return bad_token(err, "wildcard index out of range", token);
    if (m->kind == TRANSFORM_REVERSIBLE && !m->literal && c.op != OP_LITERAL && c.op != OP_WILDCARD)
        return bad_token(
            err, "the only mapping function allowed for import transforms is {{Wildcard()}}",
            token);
    for (unsigned i = 0; !m->literal && i < c.n; i++)
        if (c.wildcards[i] > (int64_t) m->nstars)
            return bad_index(err, token, c.wildcards[i]);
    add_part(m, &c);
    return true;
}

static bool all_used(const struct making *m)
{
    for (unsigned i = 0; i < m->nstars; i++)
        if (!m->used[m->stars[i]])
            return false;
    return true;
}

static bool make_parts(struct transform *t, enum transform_kind kind, struct buf *err)
{
    struct making m = {.t = t, .kind = kind};

    m.nstars = find_stars(t, m.stars);
    m.literal = m.nstars == 0 && !ends_in_rest(t->source_str);
    t->parts = mem_array(subject_count_tokens(t->dest_str), sizeof(*t->parts));
    for (struct str rest = t->dest_str; rest.p != NULL;)
        if (!make_part(&m, str_cut(rest, '.', &rest), err))
            return false;
    if (kind == TRANSFORM_REVERSIBLE && !all_used(&m))
        return bad_token(err, "not using all of the token wildcard(s)", t->dest_str);
    return true;
}

struct transform *transform_new(struct str source, struct str dest, enum transform_kind kind,
                                struct buf *err)
{
    struct transform *t;

    if (source.n == 0)
        source = STR(">");
    if (!subject_valid(source) || subject_count_tokens(source) > TRANSFORM_TOKENS_MAX ||
        dest.n == 0 || !dest_valid(dest) || ends_in_rest(source) != ends_in_rest(dest)) {
        if (err != NULL)
            buf_puts(err, "invalid subject");
        return NULL;
    }
    t = mem_zalloc(sizeof(*t));
    t->source = mem_strndup(source.p, source.n);
    t->dest = mem_strndup(dest.p, dest.n);
    t->source_str = str_from(t->source, source.n);
    t->dest_str = str_from(t->dest, dest.n);
    t->nsource = subject_count_tokens(source);
    t->identity = str_eq(source, STR(">")) && str_eq(dest, STR(">"));
    if (make_parts(t, kind, err))
        return t;
    transform_free(t);
    return NULL;
}

/* A token that no destination can have gets a text of its own. */
static bool check_shape(struct str dest, struct buf *err)
{
    bool ended = false;

    for (struct str rest = dest; rest.p != NULL;) {
        struct str token = str_cut(rest, '.', &rest);
        if (ended && token.n > 0)
            return bad_token(err, "invalid transform", token);
        if (token.n == 0 || ended || (!in_braces(token) && !plain(token))) {
            buf_puts(err, ERROR_START "invalid transform");
            return false;
        }
        ended = str_eq(token, STR(">"));
    }
    return true;
}

bool transform_check(struct str source, struct str dest, struct buf *err)
{
    struct transform *t;

    if (dest.n == 0)
        return true;
    if (!check_shape(dest, err))
        return false;
    t = transform_new(source, dest, TRANSFORM_ANY, err);
    transform_free(t);
    return t != NULL;
}

void transform_free(struct transform *t)
{
    if (t == NULL)
        return;
    for (unsigned i = 0; i < t->nparts; i++)
        mem_free(t->parts[i].tokens);
    mem_free(t->parts);
    mem_free(t->source);
    mem_free(t->dest);
    mem_free(t);
}

struct str transform_source(const struct transform *t)
{
    return t->source_str;
}

struct str transform_dest(const struct transform *t)
{
    return t->dest_str;
}

/* ---- applying -------------------------------------------------------------------------------- */

static void cut_subject(const struct transform *t, struct str subject, struct cut *c)
{
    struct str rest = subject;

    c->whole = subject;
    c->n = 0;
    c->rest = STR_NONE;
    while (rest.p != NULL && c->n < t->nsource) {
        if (c->n + 1 == t->nsource)
            c->rest = rest;
        c->tokens[c->n++] = str_cut(rest, '.', &rest);
    }
}

static void put_partition(const struct transform_part *p, const struct cut *c, struct buf *out)
{
    const struct str *piece = &c->whole;
    uint32_t h = 2166136261u, n = (uint32_t) p->number;

    for (unsigned i = 0; i < (p->ntokens > 0 ? p->ntokens : 1); i++) {
        if (p->ntokens > 0)
            piece = &c->tokens[p->tokens[i]];
        for (size_t k = 0; k < piece->n; k++)
            h = (h ^ (unsigned char) piece->p[k]) * 16777619u;
    }
    buf_put_u64(out, n != 0 ? h % n : 0);
}

static void put_random(const struct transform_part *p, struct prng *prng, struct buf *out)
{
    int64_t n = p->number < 0 ? -(int64_t) p->number : p->number;

    buf_put_u64(out, n != 0 ? prng_below(prng, (uint64_t) n) : 0);
}

static void put_split_at(struct str token, size_t at, struct buf *out)
{
    buf_put(out, token.p, at);
    buf_putc(out, '.');
    buf_put_str(out, str_skip(token, at));
}

/* Pieces of this size, the first one of `first` bytes. */
static void put_slices(struct str token, size_t first, size_t size, struct buf *out)
{
    buf_put(out, token.p, first);
    for (size_t at = first; at < token.n; at += size) {
        buf_putc(out, '.');
        buf_put_str(out, str_take(str_skip(token, at), size));
    }
}

/* Bytes of the UTF-8 character that the text begins with; what is none counts as one byte. */
static size_t character(struct str s)
{
    unsigned char lead = (unsigned char) s.p[0];
    size_t n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;

    if (n > s.n)
        return 1;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char) s.p[i] & 0xc0) != 0x80)
            return 1;
    return n;
}

/* The length of the first part, and how much to skip for the next one. */
static size_t part_length(struct str s, struct str delimiter, size_t *skip)
{
    if (delimiter.n == 0) {
        *skip = character(s);
        return *skip;
    }
    for (size_t i = 0; i + delimiter.n <= s.n; i++)
        if (memcmp(s.p + i, delimiter.p, delimiter.n) == 0) {
            *skip = i + delimiter.n;
            return i;
        }
    *skip = s.n;
    return s.n;
}

static void put_split(struct str token, struct str delimiter, struct buf *out)
{
    bool any = false;
    size_t skip;

    for (struct str s = token; s.n > 0; s = str_skip(s, skip)) {
        size_t n = part_length(s, delimiter, &skip);
        if (n > 0 && any)
            buf_putc(out, '.');
        buf_put(out, s.p, n);
        any = any || n > 0;
    }
}

/* The functions of a token and a number: a number that is not inside the token leaves it whole. */
static void put_piece(const struct transform_part *p, struct str token, struct buf *out)
{
    size_t n = p->number > 0 ? (size_t) p->number : 0;

    if (n == 0 || n >= token.n) {
        buf_put_str(out, token);
        return;
    }
    switch (p->op) {
    case OP_SPLIT_FROM_LEFT:
        put_split_at(token, n, out);
        break;
    case OP_SPLIT_FROM_RIGHT:
        put_split_at(token, token.n - n, out);
        break;
    case OP_SLICE_FROM_LEFT:
        put_slices(token, n, n, out);
        break;
    case OP_SLICE_FROM_RIGHT:
        put_slices(token, token.n % n > 0 ? token.n % n : n, n, out);
        break;
    case OP_LEFT:
        buf_put(out, token.p, n);
        break;
    default:
        buf_put_str(out, str_skip(token, token.n - n));
        break;
    }
}

static void put_part(const struct transform_part *p, const struct cut *c, struct prng *prng,
                     struct buf *out)
{
    switch (p->op) {
    case OP_LITERAL:
        buf_put_str(out, p->text);
        break;
    case OP_REST:
        buf_put_str(out, c->rest);
        break;
    case OP_WILDCARD:
        buf_put_str(out, c->tokens[p->tokens[0]]);
        break;
    case OP_PARTITION:
        put_partition(p, c, out);
        break;
    case OP_RANDOM:
        put_random(p, prng, out);
        break;
    case OP_SPLIT:
        put_split(c->tokens[p->tokens[0]], p->text, out);
        break;
    default:
        put_piece(p, c->tokens[p->tokens[0]], out);
        break;
    }
}

bool transform_subject(const struct transform *t, struct str subject, struct prng *prng,
                       struct buf *out)
{
    size_t start = out->n;

    if (!t->identity && !subject_valid_literal(subject))
        return false;
    if (!transform_published(t, subject, prng, out))
        return false;
    if (t->identity || subject_valid_literal(str_skip(buf_str(out), start)))
        return true;
    out->n = start;
    return false;
}

bool transform_published(const struct transform *t, struct str subject, struct prng *prng,
                         struct buf *out)
{
    size_t start = out->n;
    struct cut c;

    if (t->identity) {
        buf_put_str(out, subject);
        return true;
    }
    if (!subject_valid(subject) || !subject_matches(subject, t->source_str))
        return false;
    cut_subject(t, subject, &c);
    for (unsigned i = 0; i < t->nparts; i++) {
        if (i > 0)
            buf_putc(out, '.');
        put_part(&t->parts[i], &c, prng, out);
    }
    struct str made = str_skip(buf_str(out), start);
    if (made.n <= TRANSFORM_BYTES_MAX && subject_valid(made))
        return true;
    out->n = start;
    return false;
}

/* ---- back ------------------------------------------------------------------------------------ */

void transform_number_stars(struct str pattern, struct buf *out)
{
    bool first = true;
    unsigned n = 0;

    for (struct str rest = pattern; rest.p != NULL; first = false) {
        struct str token = str_cut(rest, '.', &rest);
        if (!first)
            buf_putc(out, '.');
        if (str_eq(token, STR("*")))
            buf_printf(out, "$%u", ++n);
        else
            buf_put_str(out, token);
    }
}

static enum transform_op op_of(struct str token)
{
    struct transform_call c;
    const char *why;

    return transform_read_token(token, &c, &why) ? c.op : OP_RANDOM;
}

void transform_dest_pattern(struct str dest, struct buf *out)
{
    bool first = true;

    for (struct str rest = dest; rest.p != NULL; first = false) {
        struct str token = str_cut(rest, '.', &rest);
        if (!first)
            buf_putc(out, '.');
        buf_put_str(out, op_of(token) == OP_WILDCARD ? STR("*") : token);
    }
}

/* Which star of the destination's pattern stands for this place of the source, from 1. */
static unsigned star_of(const struct transform *t, unsigned place)
{
    unsigned n = 0;

    for (unsigned i = 0; i < t->nparts; i++) {
        n += t->parts[i].op == OP_WILDCARD;
        if (t->parts[i].op == OP_WILDCARD && t->parts[i].tokens[0] == place)
            return n;
    }
    return 0;
}

/* The source with "$n" for its stars, in the order in which the destination names them. False when
 * a token of its own reads like a function. */
static bool put_reverse_dest(const struct transform *t, struct buf *out)
{
    unsigned place = 0;

    for (struct str rest = t->source_str; rest.p != NULL; place++) {
        struct str token = str_cut(rest, '.', &rest);
        if (place > 0)
            buf_putc(out, '.');
        if (str_eq(token, STR("*")))
            buf_printf(out, "$%u", star_of(t, place));
        else if (op_of(token) == OP_LITERAL)
            buf_put_str(out, token);
        else
            return false;
    }
    return true;
}

struct transform *transform_reverse(const struct transform *t)
{
    struct buf source = {0}, dest = {0};
    struct transform *back = NULL;

    transform_dest_pattern(t->dest_str, &source);
    if (put_reverse_dest(t, &dest))
        back = transform_new(buf_str(&source), buf_str(&dest), TRANSFORM_REVERSIBLE, NULL);
    buf_free(&source);
    buf_free(&dest);
    return back;
}
