/*
 * consumer_pattern.c - see consumer_pattern.h.
 *
 * The program is a list of steps: a set of characters, a split into two ways, a jump, the two
 * anchors, the end. Jumps are relative, so that a part of it can be moved. All ways are followed at
 * once: the places where the program can be, for each character of the name.
 *
 * A counted repetition reads its atom's text so many times.
 */
#include "server/kafka/consumer_pattern.h"

#include "lib/base/mem.h"

#include <string.h>

enum step_kind { STEP_SET, STEP_SPLIT, STEP_JUMP, STEP_BEGIN, STEP_END, STEP_MATCH };

struct step {
    enum step_kind kind;
    int a, b;        /* ways, from here */
    uint8_t set[32]; /* bits */
};

struct pattern {
    int n;
    struct step steps[PATTERN_STEPS_MAX];
};

struct compiler {
    struct pattern *p;
    struct str in;
    size_t at;
    int depth, work;
    bool bad;
    struct step nowhere; /* where steps go that there is no room for */
};

/* Most atoms read, with those of repetitions: empty groups make no steps. */
#define WORK_MAX 20000

/* ---- sets ------------------------------------------------------------------------------------ */

static void set_add(uint8_t set[32], unsigned from, unsigned to)
{
    for (unsigned c = from; c <= to; c++)
        set[c / 8] |= (uint8_t) (1u << (c % 8));
}

static bool set_has(const uint8_t set[32], unsigned c)
{
    return (set[c / 8] >> (c % 8) & 1) != 0;
}

static void set_invert(uint8_t set[32])
{
    for (int i = 0; i < 32; i++)
        set[i] = (uint8_t) ~set[i];
}

/* The class of \d and the like, added. False: it is none. */
static bool set_class(uint8_t set[32], char c)
{
    uint8_t own[32] = {0};

    switch (c | 0x20) {
    case 'd':
        set_add(own, '0', '9');
        break;
    case 'w':
        set_add(own, '0', '9');
        set_add(own, 'A', 'Z');
        set_add(own, 'a', 'z');
        set_add(own, '_', '_');
        break;
    case 's':
        set_add(own, '\t', '\r');
        set_add(own, ' ', ' ');
        break;
    default:
        return false;
    }
    if ((c & 0x20) == 0)
        set_invert(own);
    for (int i = 0; i < 32; i++)
        set[i] |= own[i];
    return true;
}

/* ---- compiling ------------------------------------------------------------------------------- */

static int peek(const struct compiler *c)
{
    return c->at < c->in.n ? (unsigned char) c->in.p[c->at] : -1;
}

static bool take(struct compiler *c, char what)
{
    if (peek(c) != what)
        return false;
    c->at++;
    return true;
}

/* Before the step `at`; what lies behind moves. */
static struct step *insert(struct compiler *c, int at, enum step_kind kind)
{
    struct pattern *p = c->p;

    if (p->n == PATTERN_STEPS_MAX) {
        c->bad = true;
        return &c->nowhere;
    }
    memmove(&p->steps[at + 1], &p->steps[at], (size_t) (p->n - at) * sizeof(p->steps[0]));
    p->n++;
    p->steps[at] = (struct step){.kind = kind};
    return &p->steps[at];
}

static struct step *emit(struct compiler *c, enum step_kind kind)
{
    return insert(c, c->p->n, kind);
}

static bool is_punctuation(int c)
{
    return c > ' ' && c < 0x7f && !(c >= '0' && c <= '9') &&
           !((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* Behind a backslash: a character; or a class, which is added to the set (-1). */
static int take_escape(struct compiler *c, uint8_t set[32])
{
    int ch = peek(c);

    c->at++;
    if (is_punctuation(ch))
        return ch;
    if (ch == 't')
        return '\t';
    if (ch < 0 || !set_class(set, (char) ch))
        c->bad = true;
    return -1;
}

/* One character of a class in brackets, or -1. */
static int take_class_char(struct compiler *c, uint8_t set[32])
{
    int ch = peek(c);

    c->at++;
    if (ch == '\\')
        return take_escape(c, set);
    if (ch < 0 || ch == '[')
        c->bad = true;
    return ch;
}

static void class_in_brackets(struct compiler *c)
{
    uint8_t set[32] = {0};
    bool inverted = take(c, '^');

    do {
        int from = take_class_char(c, set), to = from;
        if (from >= 0 && peek(c) == '-' && c->at + 1 < c->in.n && c->in.p[c->at + 1] != ']') {
            c->at++;
            to = take_class_char(c, set);
        }
        if (to < from)
            c->bad = true;
        if (!c->bad && from >= 0)
            set_add(set, (unsigned) from, (unsigned) to);
    } while (!c->bad && peek(c) != ']');
    c->at++;
    if (inverted)
        set_invert(set);
    memcpy(emit(c, STEP_SET)->set, set, sizeof(set));
}

static void alternatives(struct compiler *c);

static void group(struct compiler *c)
{
    if (take(c, '?') && !take(c, ':'))
        c->bad = true;
    if (++c->depth > PATTERN_DEPTH_MAX)
        c->bad = true;
    else
        alternatives(c);
    c->depth--;
    if (!take(c, ')'))
        c->bad = true;
}

static void escaped(struct compiler *c)
{
    uint8_t set[32] = {0};
    int ch;

    if (take(c, 'A')) {
        emit(c, STEP_BEGIN);
    } else if (take(c, 'z')) {
        emit(c, STEP_END);
    } else {
        ch = take_escape(c, set);
        if (ch >= 0)
            set_add(set, (unsigned) ch, (unsigned) ch);
        memcpy(emit(c, STEP_SET)->set, set, sizeof(set));
    }
}

static void atom(struct compiler *c)
{
    int ch = peek(c);

    c->at++;
    if (++c->work > WORK_MAX)
        c->bad = true;
    if (c->bad)
        return;
    switch (ch) {
    case '(':
        group(c);
        break;
    case '[':
        class_in_brackets(c);
        break;
    case '\\':
        escaped(c);
        break;
    case '^':
        emit(c, STEP_BEGIN);
        break;
    case '$':
        emit(c, STEP_END);
        break;
    case '.':
        memset(emit(c, STEP_SET)->set, 0xff, 32);
        break;
    case '*':
    case '+':
    case '?':
    case '{':
        c->bad = true;
        break;
    default:
        set_add(emit(c, STEP_SET)->set, (unsigned) ch, (unsigned) ch);
    }
}

static void make_optional(struct compiler *c, int from)
{
    struct step *s = insert(c, from, STEP_SPLIT);

    s->a = 1;
    s->b = c->p->n - from;
}

static void make_loop(struct compiler *c, int from)
{
    struct step *s;

    make_optional(c, from);
    s = emit(c, STEP_JUMP);
    s->a = from - (c->p->n - 1);
    if (!c->bad)
        c->p->steps[from].b = c->p->n - from;
}

static void atom_again(struct compiler *c, size_t text)
{
    size_t at = c->at;

    c->at = text;
    atom(c);
    c->at = at;
}

static int take_number(struct compiler *c)
{
    int n = 0, digits = 0;

    for (; peek(c) >= '0' && peek(c) <= '9' && digits < 4; digits++, c->at++)
        n = 10 * n + (peek(c) - '0');
    if (digits == 0 || n > PATTERN_STEPS_MAX)
        c->bad = true;
    return n;
}

/* {n}, {n,}, {n,m}: the atom is there once already. */
static void counted(struct compiler *c, size_t text, int from)
{
    int least = take_number(c), most = least;
    bool open = false;

    if (take(c, ',')) {
        open = peek(c) == '}';
        most = open ? least : take_number(c);
    }
    if (!take(c, '}') || most < least)
        c->bad = true;
    c->p->n = from;
    for (int i = 0; !c->bad && i < least; i++)
        atom_again(c, text);
    for (int i = least; !c->bad && (i < most || (open && i == least)); i++) {
        int at = c->p->n;
        atom_again(c, text);
        if (open)
            make_loop(c, at);
        else
            make_optional(c, at);
    }
}

static void repeated(struct compiler *c)
{
    size_t text = c->at;
    int from = c->p->n, ch;

    atom(c);
    ch = peek(c);
    if (c->bad || (ch != '*' && ch != '+' && ch != '?' && ch != '{'))
        return;
    c->at++;
    if (ch == '{') {
        counted(c, text, from);
    } else if (ch == '?') {
        make_optional(c, from);
    } else if (ch == '*') {
        make_loop(c, from);
    } else {
        int at = c->p->n;
        atom_again(c, text);
        make_loop(c, at);
    }
    take(c, '?');
    ch = peek(c);
    if (ch == '*' || ch == '+' || ch == '?' || ch == '{')
        c->bad = true;
}

static void alternatives(struct compiler *c)
{
    int from = c->p->n, jump;

    while (!c->bad && peek(c) >= 0 && peek(c) != '|' && peek(c) != ')')
        repeated(c);
    if (c->bad || !take(c, '|'))
        return;
    emit(c, STEP_JUMP);
    make_optional(c, from); /* this one, or what follows the jump */
    jump = c->p->n - 1;
    alternatives(c);
    if (!c->bad)
        c->p->steps[jump].a = c->p->n - jump;
}

struct pattern *pattern_compile(struct str text)
{
    struct compiler c = {.in = text};

    if (text.n == 0 || text.n > PATTERN_TEXT_MAX)
        return NULL;
    c.p = mem_zalloc(sizeof(*c.p));
    alternatives(&c);
    if (!c.bad && c.at == text.n)
        emit(&c, STEP_MATCH);
    if (!c.bad && c.at == text.n)
        return c.p;
    mem_free(c.p);
    return NULL;
}

void pattern_free(struct pattern *p)
{
    mem_free(p);
}

/* ---- matching -------------------------------------------------------------------------------- */

struct places {
    int n;
    int at[PATTERN_STEPS_MAX]; /* sets, and the end */
    bool seen[PATTERN_STEPS_MAX];
};

/* Where the program can be at `step` without a character; the stack holds each step once. */
static void reach(const struct pattern *p, int step, bool begin, bool end, struct places *to)
{
    int stack[2 * PATTERN_STEPS_MAX], depth = 0;

    stack[depth++] = step;
    while (depth > 0) {
        int i = stack[--depth];
        const struct step *s = &p->steps[i];
        if (to->seen[i])
            continue;
        to->seen[i] = true;
        if (s->kind == STEP_SPLIT)
            stack[depth++] = i + s->b;
        if (s->kind == STEP_SPLIT || s->kind == STEP_JUMP)
            stack[depth++] = i + s->a;
        else if (s->kind == STEP_SET || s->kind == STEP_MATCH)
            to->at[to->n++] = i;
        else if (s->kind == STEP_BEGIN ? begin : end)
            stack[depth++] = i + 1;
    }
}

bool pattern_matches(const struct pattern *p, struct str name)
{
    struct places now = {0}, next;

    reach(p, 0, true, name.n == 0, &now);
    for (size_t k = 0; k < name.n && now.n > 0; k++) {
        next.n = 0;
        memset(next.seen, 0, (size_t) p->n * sizeof(next.seen[0]));
        for (int i = 0; i < now.n; i++) {
            const struct step *s = &p->steps[now.at[i]];
            if (s->kind == STEP_SET && set_has(s->set, (unsigned char) name.p[k]))
                reach(p, now.at[i] + 1, false, k + 1 == name.n, &next);
        }
        now = next;
    }
    for (int i = 0; i < now.n; i++)
        if (p->steps[now.at[i]].kind == STEP_MATCH)
            return true;
    return false;
}
