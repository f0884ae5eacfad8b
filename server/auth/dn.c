/* dn.c - one pass over the text: dn.h. */
#include "server/auth/dn.h"

#include "lib/base/assert.h"

#include <string.h>

void dn_free(struct dn *d)
{
    for (size_t i = 0; i < d->n; i++)
        for (size_t k = 0; k < d->parts[i].n; k++) {
            buf_free(&d->parts[i].list[k].type);
            buf_free(&d->parts[i].list[k].value);
        }
    d->n = 0;
}

static bool type_known(struct str type)
{
    static const char *const known[] = {"CN", "SERIALNUMBER", "C",  "L",         "ST", "STREET",
                                        "O",  "OU",           "DC", "POSTALCODE"};

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (str_eq_nocase(type, str_of(known[i])))
            return true;
    return false;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* What stands behind a backslash: one of the special characters, or an octet in hex. */
static bool unescape(struct str *in, struct buf *out)
{
    if (in->n == 0)
        return false;
    if (in->p[0] != '\0' && strchr(" \"#+,;<=>\\", in->p[0]) != NULL) {
        buf_putc(out, in->p[0]);
        *in = str_skip(*in, 1);
        return true;
    }
    if (in->n < 2 || hex(in->p[0]) < 0 || hex(in->p[1]) < 0)
        return false;
    buf_putc(out, (char) (hex(in->p[0]) << 4 | hex(in->p[1])));
    *in = str_skip(*in, 2);
    return true;
}

/* Takes up to one of the ends, which stays; blanks around it do not count, escaped ones do. */
static bool take(struct str *in, const char *ends, struct buf *out)
{
    size_t kept = 0;

    while (in->n > 0 && (in->p[0] == '\0' || strchr(ends, in->p[0]) == NULL)) {
        char c = in->p[0];
        *in = str_skip(*in, 1);
        if (c == '\\') {
            if (!unescape(in, out))
                return false;
            kept = out->n;
        } else if (c != ' ' || out->n > 0) {
            buf_putc(out, c);
            kept = c != ' ' ? out->n : kept;
        }
    }
    out->n = kept;
    return true;
}

static bool take_attribute(struct str *in, struct dn_attribute *a)
{
    if (!take(in, "=,+", &a->type) || in->n == 0 || in->p[0] != '=' ||
        !type_known(buf_str(&a->type)))
        return false;
    *in = str_skip(*in, 1);
    return (in->n == 0 || in->p[0] != '#') && take(in, ",+", &a->value);
}

/* Attributes with "+" between. */
static bool take_part(struct str *in, struct dn_part *p)
{
    p->n = 0;
    for (;;) {
        struct dn_attribute *a = &p->list[p->n];
        if (p->n == DN_ATTRIBUTES_MAX)
            return false;
        *a = (struct dn_attribute){{0}, {0}};
        p->n++;
        if (!take_attribute(in, a))
            return false;
        if (in->n == 0 || in->p[0] != '+')
            return true;
        *in = str_skip(*in, 1);
    }
}

bool dn_parse(struct str text, struct dn *out)
{
    bool ok = text.n > 0, more = ok;

    out->n = 0;
    while (ok && more) {
        if (out->n == DN_PARTS_MAX) {
            ok = false;
            break;
        }
        out->n++;
        ok = take_part(&text, &out->parts[out->n - 1]);
        more = ok && text.n > 0;
        if (more)
            text = str_skip(text, 1);
    }
    if (!ok)
        dn_free(out);
    return ok;
}

static bool has_attribute(const struct dn_part *p, const struct dn_attribute *a)
{
    for (size_t i = 0; i < p->n; i++)
        if (str_eq_nocase(buf_str(&p->list[i].type), buf_str(&a->type)) &&
            str_eq(buf_str(&p->list[i].value), buf_str(&a->value)))
            return true;
    return false;
}

static bool same_part(const struct dn_part *a, const struct dn_part *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!has_attribute(a, &b->list[i]) || !has_attribute(b, &a->list[i]))
            return false;
    return true;
}

bool dn_same(const struct dn *a, const struct dn *b, bool in_order)
{
    bool taken[DN_PARTS_MAX] = {false};

    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        size_t k = in_order ? i : 0;
        if (in_order && !same_part(&a->parts[i], &b->parts[i]))
            return false;
        while (!in_order && k < b->n && (taken[k] || !same_part(&a->parts[i], &b->parts[k])))
            k++;
        if (k == b->n)
            return false;
        taken[k] = true;
    }
    return true;
}
