/*
 * transform_parse.c - one token of a destination: is it text or a function, and which?
 *
 * "$" and a number is a wildcard; a token in double braces is a function whose name has the case of
 * its inner words free ("SplitFromLeft", "splitfromleft", not "SPLIT"); everything else is text,
 * "$" and something else as well. Arguments are separated by a comma and any blanks; blanks around
 * numbers do not count. The order in which faults are found, and their texts, are the peer's: users
 * see them.
 */
#include "server/core/transform_int.h"

#include <string.h>

#define NOT_ENOUGH "not enough arguments passed to the function"
#define TOO_MANY "too many arguments passed to the function"
#define BAD_ARGUMENT "function argument is invalid or in the wrong format"

/* In the order in which they are tried. Capitals: either case. */
static const struct {
    const char *name;
    enum transform_op op;
} functions[] = {
    {"Wildcard", OP_WILDCARD},
    {"Partition", OP_PARTITION},
    {"SplitFromLeft", OP_SPLIT_FROM_LEFT},
    {"SplitFromRight", OP_SPLIT_FROM_RIGHT},
    {"SliceFromLeft", OP_SLICE_FROM_LEFT},
    {"SliceFromRight", OP_SLICE_FROM_RIGHT},
    {"Right", OP_RIGHT},
    {"Left", OP_LEFT},
    {"Split", OP_SPLIT},
    {"Random", OP_RANDOM},
};

static bool wrong(const char **why, const char *text)
{
    *why = text;
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static struct str skip_blanks(struct str s)
{
    while (s.n > 0 && is_blank(s.p[0]))
        s = str_skip(s, 1);
    return s;
}

/* A sign is allowed: plus as well. */
static bool read_number(struct str s, int64_t *out)
{
    while (s.n > 0 && s.p[0] == ' ')
        s = str_skip(s, 1);
    while (s.n > 0 && s.p[s.n - 1] == ' ')
        s.n--;
    if (s.n > 1 && s.p[0] == '+' && s.p[1] != '-' && s.p[1] != '+')
        s = str_skip(s, 1);
    return str_to_i64(s, out);
}

/* Behind the name, up to and with the "(". */
static bool skip_name(struct str *s, const char *name)
{
    size_t n = strlen(name);

    if (s->n < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        bool either = name[i] >= 'A' && name[i] <= 'Z';
        if (s->p[i] != name[i] && !(either && s->p[i] == name[i] + ('a' - 'A')))
            return false;
    }
    *s = skip_blanks(str_skip(*s, n));
    if (s->n == 0 || s->p[0] != '(')
        return false;
    *s = str_skip(*s, 1);
    return true;
}

/* Up to the last ")" that only blanks and "}}" follow. */
static bool take_arguments(struct str s, struct str *out)
{
    for (size_t i = s.n; i-- > 0;) {
        struct str rest = skip_blanks(str_skip(s, i + 1));
        if (s.p[i] != ')' || !str_starts(rest, STR("}}")))
            continue;
        *out = str_from(s.p, i);
        return true;
    }
    return false;
}

/* The arguments of this function, if the token calls it. */
static bool find_call(struct str token, const char *name, struct str *args)
{
    for (size_t i = 0; i + 2 <= token.n; i++) {
        struct str s = str_skip(token, i);
        if (!str_starts(s, STR("{{")))
            continue;
        s = skip_blanks(str_skip(s, 2));
        if (skip_name(&s, name) && take_arguments(s, args))
            return true;
    }
    return false;
}

/* Takes the next argument off; *more says whether another one follows. */
static struct str next_argument(struct str *args, bool *more)
{
    struct str rest, one = str_cut(*args, ',', &rest);

    *more = rest.p != NULL;
    *args = *more ? skip_blanks(rest) : STR_NONE;
    return one;
}

static unsigned count_arguments(struct str args)
{
    unsigned n = 1;

    for (size_t i = 0; i < args.n; i++)
        n += args.p[i] == ',';
    return n;
}

static bool read_wildcard(struct str args, struct transform_call *out, const char **why)
{
    if (args.n == 0)
        return wrong(why, NOT_ENOUGH);
    if (count_arguments(args) > 1)
        return wrong(why, TOO_MANY);
    out->n = 1;
    return read_number(args, &out->wildcards[0]) || wrong(why, BAD_ARGUMENT);
}

/* Below the least 32-bit number only the low half of the bits counts. */
static bool read_count(struct str arg, struct transform_call *out)
{
    int64_t n;

    if (!read_number(arg, &n) || n > INT32_MAX)
        return false;
    out->number = (int32_t) (uint32_t) (uint64_t) n;
    return true;
}

static bool read_partition(struct str args, struct transform_call *out, const char **why)
{
    bool more;

    if (!read_count(next_argument(&args, &more), out))
        return wrong(why, BAD_ARGUMENT);
    while (more) {
        if (out->n == TRANSFORM_TOKENS_MAX)
            return wrong(why, TOO_MANY);
        if (!read_number(next_argument(&args, &more), &out->wildcards[out->n]))
            return wrong(why, BAD_ARGUMENT);
        out->n++;
    }
    return true;
}

static bool read_random(struct str args, struct transform_call *out, const char **why)
{
    if (count_arguments(args) != 1)
        return wrong(why, NOT_ENOUGH);
    return read_count(args, out) || wrong(why, BAD_ARGUMENT);
}

/* A wildcard and a number, or for split() a delimiter. */
static bool read_pair(struct str args, struct transform_call *out, const char **why)
{
    unsigned n = count_arguments(args);
    struct str second;
    int64_t number;
    bool more;

    if (n != 2)
        return wrong(why, n < 2 ? NOT_ENOUGH : TOO_MANY);
    out->n = 1;
    if (!read_number(next_argument(&args, &more), &out->wildcards[0]))
        return wrong(why, BAD_ARGUMENT);
    second = next_argument(&args, &more);
    if (out->op == OP_SPLIT) {
        out->text = second;
        return str_index(second, ' ') == second.n || wrong(why, BAD_ARGUMENT);
    }
    if (!read_number(second, &number) || number > INT32_MAX || number < INT32_MIN)
        return wrong(why, BAD_ARGUMENT);
    out->number = (int32_t) number;
    return true;
}

static bool read_arguments(struct str args, struct transform_call *out, const char **why)
{
    switch (out->op) {
    case OP_WILDCARD:
        return read_wildcard(args, out, why);
    case OP_PARTITION:
        return read_partition(args, out, why);
    case OP_RANDOM:
        return read_random(args, out, why);
    default:
        return read_pair(args, out, why);
    }
}

static bool in_braces(struct str token)
{
    return token.n > 4 && str_starts(token, STR("{{")) &&
           memcmp(token.p + token.n - 2, "}}", 2) == 0;
}

bool transform_read_token(struct str token, struct transform_call *out, const char **why)
{
    struct str args;

    out->op = OP_LITERAL;
    out->text = token;
    out->n = 0;
    out->number = 0;
    if (token.n > 1 && token.p[0] == '$') {
        /* No blank is left out here. */
        if (str_index(token, ' ') == token.n &&
            read_number(str_skip(token, 1), &out->wildcards[0])) {
            out->op = OP_WILDCARD;
            out->n = 1;
        }
        return true;
    }
    if (!in_braces(token))
        return true;
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        if (!find_call(token, functions[i].name, &args))
            continue;
        out->op = functions[i].op;
        return read_arguments(args, out, why);
    }
    return wrong(why, "unknown function");
}
