/*
 * accounts.c - looking up, freeing, and the rules that need all accounts at once; config_accounts.c
 * makes them.
 *
 * An import is allowed by the export of exactly its subject or, when there is none, by the first
 * export that covers it. Circles are looked for along the imports whose subjects meet, as the peer
 * does: a message that could come back to the account it started in is refused before there are
 * messages.
 */
#include "server/config/accounts.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/config/users.h"

#include <string.h>

#define CYCLE_DEPTH_MAX 1024u
#define NAME_SEED 0x616363u /* names are the operator's: nobody attacks this table */
#define SLOTS_MIN 16u

/* ---- life ------------------------------------------------------------------------------------ */

static void free_export(struct account_export *e)
{
    mem_free(e->subject);
    mem_free(e->latency.subject);
    for (size_t i = 0; i < e->naccounts; i++)
        mem_free(e->accounts[i]);
    mem_free(e->accounts);
}

static void free_import(struct account_import *i)
{
    mem_free(i->account);
    mem_free(i->subject);
    mem_free(i->to);
    mem_free(i->prefix);
    mem_free(i->at);
}

static void free_mapping(struct account_mapping *m)
{
    mem_free(m->source);
    mem_free(m->at);
    for (size_t i = 0; i < m->n; i++)
        mem_free(m->dests[i].subject);
    mem_free(m->dests);
}

static void free_account(struct account_options *a)
{
    mem_free(a->name);
    mem_free(a->nkey);
    mem_free(a->trace_dest);
    for (size_t i = 0; i < a->nexports; i++)
        free_export(&a->exports[i]);
    for (size_t i = 0; i < a->nimports; i++)
        free_import(&a->imports[i]);
    for (size_t i = 0; i < a->nmappings; i++)
        free_mapping(&a->mappings[i]);
    mem_free(a->exports);
    mem_free(a->imports);
    mem_free(a->mappings);
    permissions_free(a->otherwise);
}

void accounts_free(struct accounts *a)
{
    for (size_t i = 0; i < a->n; i++)
        free_account(&a->list[i]);
    accounts_free_shallow(a);
}

void accounts_free_shallow(struct accounts *a)
{
    mem_free(a->list);
    mem_free(a->slots);
    memset(a, 0, sizeof(*a));
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Where the name is, or the free slot where it belongs. There are slots. */
static size_t slot_of(const struct accounts *a, const char *name)
{
    size_t at = (size_t) hash_bytes(name, strlen(name), NAME_SEED) & (a->nslots - 1);

    while (a->slots[at] != 0 && strcmp(a->list[a->slots[at] - 1].name, name) != 0)
        at = (at + 1) & (a->nslots - 1);
    return at;
}

static void note_slot(struct accounts *a, size_t i)
{
    size_t at = slot_of(a, a->list[i].name);

    if (a->slots[at] == 0) /* of two with one name the first is found */
        a->slots[at] = (uint32_t) i + 1;
}

static void index_last(struct accounts *a)
{
    if (2 * a->n <= a->nslots) {
        note_slot(a, a->n - 1);
        return;
    }
    mem_free(a->slots);
    a->nslots = a->nslots == 0 ? SLOTS_MIN : 2 * a->nslots;
    a->slots = mem_zalloc(a->nslots * sizeof(*a->slots));
    for (size_t i = 0; i < a->n; i++)
        note_slot(a, i);
}

void accounts_add_shallow(struct accounts *a, const struct account_options *o)
{
    a->list = mem_realloc(a->list, (a->n + 1) * sizeof(*a->list));
    a->list[a->n++] = *o;
    index_last(a);
}

struct account_options *accounts_add(struct accounts *a, const char *name)
{
    struct account_options n = {
        .name = mem_strdup(name),
        .limits = {-1, -1, -1, -1},
        .js = {.max_memory = -1,
               .max_store = -1,
               .max_streams = -1,
               .max_consumers = -1,
               .max_ack_pending = -1,
               .memory_max_stream_bytes = -1,
               .disk_max_stream_bytes = -1},
    };

    accounts_add_shallow(a, &n);
    return &a->list[a->n - 1];
}

struct account_options *accounts_find(const struct accounts *a, const char *name)
{
    uint32_t at = a->nslots > 0 ? a->slots[slot_of(a, name)] : 0;

    return at != 0 ? &a->list[at - 1] : NULL;
}

/* ---- who may import -------------------------------------------------------------------------- */

static bool names(const struct account_export *e, const char *importer)
{
    for (size_t i = 0; i < e->naccounts; i++)
        if (strcmp(e->accounts[i], importer) == 0)
            return true;
    return false;
}

static bool open_to(const struct account_export *e, const char *subject, bool activated,
                    const char *importer)
{
    if (e->token_position > 0)
        return str_eq(subject_token(str_of(subject), e->token_position - 1), str_of(importer));
    if (e->token_required)
        return activated;
    return e->accounts == NULL || names(e, importer);
}

const struct account_export *account_export_of(const struct account_options *of, bool service,
                                               const char *subject)
{
    for (size_t i = 0; i < of->nexports; i++)
        if (of->exports[i].service == service && strcmp(of->exports[i].subject, subject) == 0)
            return &of->exports[i];
    for (size_t i = 0; i < of->nexports; i++)
        if (of->exports[i].service == service &&
            subject_subset(str_of(subject), str_of(of->exports[i].subject)))
            return &of->exports[i];
    return NULL;
}

bool account_export_allows(const struct account_options *of, bool service, const char *subject,
                           const char *importer)
{
    const struct account_export *e = account_export_of(of, service, subject);

    return e != NULL && open_to(e, subject, false, importer);
}

static bool allowed(const struct account_options *of, const struct account_import *i,
                    const char *importer)
{
    const struct account_export *e = account_export_of(of, i->service, i->subject);

    return e != NULL && open_to(e, i->subject, i->activated, importer);
}

void account_import_local(const struct account_import *i, struct buf *out)
{
    if (i->prefix != NULL) {
        buf_puts(out, i->prefix);
        if (i->prefix[0] != '\0' && i->prefix[strlen(i->prefix) - 1] != '.')
            buf_putc(out, '.');
        buf_puts(out, i->subject);
    } else {
        buf_puts(out, i->to != NULL ? i->to : i->subject);
    }
}

/* ---- circles --------------------------------------------------------------------------------- */

/* The pattern of what an import is here: "$1" and functions are stars. */
static char *local_pattern(const struct account_import *i)
{
    struct buf b = {0}, out = {0};
    struct str rest, token;
    bool first = true;
    char *p;

    account_import_local(i, &b);
    rest = buf_str(&b);
    do {
        token = str_cut(rest, '.', &rest);
        if (!first)
            buf_putc(&out, '.');
        first = false;
        if (token.n > 0 && (token.p[0] == '$' || str_starts(token, STR("{{"))) && token.n > 1)
            buf_putc(&out, '*');
        else
            buf_put_str(&out, token);
    } while (rest.p != NULL);
    p = mem_strdup(buf_cstr(&out));
    buf_free(&b);
    buf_free(&out);
    return p;
}

struct walk {
    const struct accounts *all;
    const struct account_options *start;
    bool service;
    unsigned depth;
};

static bool comes_back(struct walk *w, const struct account_options *at, const char *subject);

/* Follows one import of `at`: a message with that subject may go through it. */
static bool follow(struct walk *w, const struct account_import *i, const char *subject)
{
    const struct account_options *of = accounts_find(w->all, i->account);
    char *local = local_pattern(i);
    bool back = false;

    /* A service's message leaves by its subject here; a stream's comes by its subject there. */
    const char *meets = w->service ? i->subject : local;
    if (of != NULL && subject_overlap(str_of(subject), str_of(meets)))
        back = of == w->start ||
               comes_back(w, of, subject_subset(str_of(local), str_of(subject)) ? local : subject);
    mem_free(local);
    return back;
}

static bool exports_some(const struct account_options *a, const char *subject)
{
    for (size_t i = 0; i < a->nexports; i++)
        if (!a->exports[i].service &&
            subject_overlap(str_of(subject), str_of(a->exports[i].subject)))
            return true;
    return false;
}

static bool comes_back(struct walk *w, const struct account_options *at, const char *subject)
{
    if (!w->service && !exports_some(at, subject))
        return false;
    if (++w->depth > CYCLE_DEPTH_MAX)
        return true;
    for (size_t i = 0; i < at->nimports; i++)
        if (at->imports[i].service == w->service && follow(w, &at->imports[i], subject))
            return true;
    return false;
}

static bool closes_circle(const struct accounts *all, const struct account_options *a,
                          const struct account_import *i, const struct account_options *of)
{
    struct walk w = {.all = all, .start = a, .service = i->service};
    char *local = local_pattern(i);
    bool back = comes_back(&w, of, local) || (!i->service && comes_back(&w, of, i->subject));

    mem_free(local);
    return back;
}

/* ---- the check ------------------------------------------------------------------------------- */

static bool check_export(const struct accounts *all, const struct account_export *e,
                         struct buf *why)
{
    const char *kind = e->service ? "service" : "stream";

    for (size_t i = 0; i < e->naccounts; i++)
        if (accounts_find(all, e->accounts[i]) == NULL) {
            buf_printf(why, "\"%s\" account not defined for %s export", e->accounts[i], kind);
            return false;
        }
    if (e->token_position > 0 &&
        (e->naccounts > 0 ||
         !str_eq(subject_token(str_of(e->subject), e->token_position - 1), STR("*")))) {
        buf_printf(why,
                   "Error adding %s export \"%s\": invalid account token position: not a wildcard",
                   kind, e->subject);
        return false;
    }
    return true;
}

const char *account_import_error(const struct accounts *all, const struct account_options *a,
                                 const struct account_import *i, const struct account_options *of)
{
    if (i->prefix != NULL && strpbrk(i->prefix, "*>") != NULL)
        return "stream import prefix can not contain wildcard tokens";
    if (!allowed(of, i, a->name))
        return i->service ? "service import not authorized" : "stream import not authorized";
    if (closes_circle(all, a, i, of))
        return "import forms a cycle";
    for (const struct account_import *o = a->imports; o < i; o++)
        if (!i->service && !o->service && strcmp(o->account, i->account) == 0 &&
            strcmp(o->subject, i->subject) == 0)
            return "stream import already exists";
    return NULL;
}

static bool check_import(const struct accounts *all, const struct account_options *a,
                         const struct account_import *i, struct buf *why)
{
    const struct account_options *of = accounts_find(all, i->account);
    const char *kind = i->service ? "service" : "stream";
    const char *error;

    if (of == NULL) {
        buf_printf(why, "\"%s\" account not defined for %s import", i->account, kind);
        return false;
    }
    error = account_import_error(all, a, i, of);
    if (error != NULL)
        buf_printf(why, "Error adding %s import \"%s\": %s", kind, i->subject, error);
    return error == NULL;
}

bool accounts_check(const struct accounts *all, struct buf *why, const struct conf_value **place)
{
    for (size_t k = 0; k < all->n; k++) {
        const struct account_options *a = &all->list[k];
        for (size_t i = 0; i < a->nexports; i++) {
            *place = a->exports[i].place;
            if (!check_export(all, &a->exports[i], why))
                return false;
        }
        for (size_t i = 0; i < a->nimports; i++) {
            *place = a->imports[i].place;
            if (!check_import(all, a, &a->imports[i], why))
                return false;
        }
    }
    return true;
}
