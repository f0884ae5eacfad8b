/* template.c - places in a subject, values for each, all combinations. */
#include "server/auth/template.h"

#include "lib/base/mem.h"
#include "lib/base/subject.h"

#include <string.h>

#define SUBJECTS_MAX 4096u
#define PLACES_MAX 32u

struct place {
    struct str text; /* with its braces */
    struct str_list values;
    bool tags;
};

struct places {
    struct place list[PLACES_MAX];
    size_t n;
    bool tags;
};

static void free_places(struct places *p)
{
    for (size_t i = 0; i < p->n; i++)
        str_list_free(&p->list[i].values);
}

/* The next "{{...}}" of s with something but braces inside; empty when there is none. */
static struct str next_place(struct str s)
{
    for (size_t i = 0; i + 4 < s.n; i++) {
        size_t end = i + 2;
        if (s.p[i] != '{' || s.p[i + 1] != '{')
            continue;
        while (end < s.n && s.p[end] != '}')
            end++;
        if (end > i + 2 && end + 1 < s.n && s.p[end + 1] == '}')
            return str_from(s.p + i, end + 2 - i);
    }
    return STR_NONE;
}

static bool calls(struct str op, const char *name, struct str *argument)
{
    size_t n = strlen(name);

    if (op.n < n + 2 || !str_eq_nocase(str_take(op, n), str_of(name)) || op.p[n] != '(' ||
        op.p[op.n - 1] != ')')
        return false;
    *argument = str_from(op.p + n + 1, op.n - n - 2);
    return true;
}

/* What tags have behind "x:"; tags are lower case, and so is x taken. */
static void tag_values(const struct str_list *tags, struct str x, struct str_list *out)
{
    for (size_t i = 0; i < tags->n; i++) {
        struct str rest, head = str_cut(str_of(tags->items[i]), ':', &rest);
        if (rest.p != NULL && str_eq_nocase(head, x))
            str_list_add(out, rest);
    }
}

static bool fill_place(struct place *p, const struct template_user *u, bool strict,
                       const char *subject, struct buf *err)
{
    struct str op = str_trim(str_from(p->text.p + 2, p->text.n - 4)), x;
    const char *value = NULL;

    if (calls(op, "tag", &x) || calls(op, "account-tag", &x)) {
        p->tags = true;
        tag_values(op.p[0] == 'a' || op.p[0] == 'A' ? u->account_tags : u->tags, x, &p->values);
        if (p->values.n == 0 && strict) {
            buf_printf(err, "generated invalid subject \"%s\": \"%.*s\" is not defined", subject,
                       STR_ARG(x));
            return false;
        }
        if (p->values.n == 0)
            str_list_add(&p->values, STR(" "));
        return true;
    }
    if (calls(op, "name", &x) && x.n == 0)
        value = u->name;
    else if (calls(op, "subject", &x) && x.n == 0)
        value = u->subject;
    else if (calls(op, "account-name", &x) && x.n == 0)
        value = u->account_name;
    else if (calls(op, "account-subject", &x) && x.n == 0)
        value = u->account_subject;
    if (value == NULL) {
        buf_printf(err, "template operation in \"%s\": \"%.*s\" is not defined", subject,
                   STR_ARG(op));
        return false;
    }
    str_list_add(&p->values, str_of(value));
    return true;
}

/* The subject with the values that `at` names for each place. */
static void put_subject(struct buf *out, struct str subject, const struct places *p,
                        const size_t *at)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct place *place = &p->list[i];
        buf_put(out, subject.p, (size_t) (place->text.p - subject.p));
        buf_puts(out, place->values.items[at[i]]);
        subject = str_skip(subject, (size_t) (place->text.p + place->text.n - subject.p));
    }
    buf_put_str(out, subject);
}

/* The last place runs fastest. False: all have been there. */
static bool next_values(const struct places *p, size_t *at)
{
    for (size_t i = p->n; i > 0; i--) {
        if (++at[i - 1] < p->list[i - 1].values.n)
            return true;
        at[i - 1] = 0;
    }
    return false;
}

static bool combinations_fit(const struct places *p, size_t have)
{
    size_t n = 1;

    for (size_t i = 0; i < p->n; i++) {
        if (n > SUBJECTS_MAX / p->list[i].values.n)
            return false;
        n *= p->list[i].values.n;
    }
    return !p->tags || have + n <= SUBJECTS_MAX;
}

static bool combine(struct str subject, const struct places *p, bool strict, struct str_list *out,
                    struct buf *err)
{
    size_t at[PLACES_MAX] = {0};
    struct buf b = {0};
    bool ok = combinations_fit(p, out->n);

    if (!ok)
        buf_printf(err, "template expansion exceeds limit: %u", SUBJECTS_MAX);
    while (ok) {
        buf_clear(&b);
        put_subject(&b, subject, p, at);
        if (subject_valid(buf_str(&b))) {
            str_list_add(out, buf_str(&b));
        } else if (strict) {
            buf_puts(err, "generated invalid subject");
            ok = false;
        }
        if (!next_values(p, at))
            break;
    }
    buf_free(&b);
    return ok;
}

static bool fill_subject(const char *subject, const struct template_user *u, bool strict,
                         struct str_list *out, struct buf *err)
{
    struct places p = {0};
    struct str rest = str_of(subject), found;
    bool ok = true;

    while (ok && (found = next_place(rest)).n > 0) {
        if (p.n == PLACES_MAX) {
            buf_printf(err, "template expansion exceeds limit: %u", PLACES_MAX);
            ok = false;
            break;
        }
        p.list[p.n].text = found;
        ok = fill_place(&p.list[p.n], u, strict, subject, err);
        p.tags |= p.list[p.n].tags;
        p.n++;
        rest = str_skip(rest, (size_t) (found.p + found.n - rest.p));
    }
    ok = ok && combine(str_of(subject), &p, strict, out, err);
    free_places(&p);
    return ok;
}

/* A list without places stays as it is, with its queues; in one that has some, every entry has to
 * be a subject. */
static bool fill_list(const struct str_list *in, const struct template_user *u, bool strict,
                      struct str_list *out, struct buf *err)
{
    bool any = false;

    for (size_t i = 0; i < in->n; i++)
        any |= next_place(str_of(in->items[i])).n > 0;
    if (!any)
        str_list_copy(out, in);
    for (size_t i = 0; any && i < in->n; i++)
        if (!fill_subject(in->items[i], u, strict, out, err))
            return false;
    return true;
}

static void deny_all(const struct str_list *was, const struct str_list *allow,
                     struct str_list *deny)
{
    if (was->n > 0 && allow->n == 0)
        str_list_add(deny, STR(">"));
}

bool template_fill(const struct jwt_permissions *scope, const struct template_user *u,
                   struct jwt_permissions *out, struct buf *err)
{
    out->responses = scope->responses;
    out->responses_max = scope->responses_max;
    out->responses_ns = scope->responses_ns;
    if (!fill_list(&scope->sub_allow, u, false, &out->sub_allow, err) ||
        !fill_list(&scope->sub_deny, u, true, &out->sub_deny, err) ||
        !fill_list(&scope->pub_allow, u, false, &out->pub_allow, err) ||
        !fill_list(&scope->pub_deny, u, true, &out->pub_deny, err))
        return false;
    deny_all(&scope->sub_allow, &out->sub_allow, &out->sub_deny);
    deny_all(&scope->pub_allow, &out->pub_allow, &out->pub_deny);
    return true;
}
