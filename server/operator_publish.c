/*
 * operator_publish.c - what has changed, made anew and exchanged in one go: the objects that follow
 * from claims are made, pointers are exchanged, every worker looks at the accounts' connections,
 * and then the old objects are freed, and who waited for an account is answered.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/js.h"
#include "server/kafka/kafka.h"
#include "server/net/net.h"
#include "server/operator_int.h"
#include "server/parts.h"
#include "server/surplus.h"

#include <stdio.h>
#include <string.h>

/* ---- making the objects ---------------------------------------------------------------------- */

static const struct trust *trust_of(void *ctx, const char *name)
{
    struct known *k = claimed_find(ctx, name);

    return k != NULL ? k->trust : NULL;
}

static void say(struct claimed *op, struct known *k)
{
    accounts_free(&k->said);
    accounts_add(&k->said, k->name);
    if (k->trust != NULL)
        trust_options(k->trust, &k->said.list[0], operator_now(op) / SECOND, trust_of, op);
    else
        k->said.list[0].limits = (struct account_limits){0};
    op->all.list[k->index] = k->said.list[0];
}

static void free_import(struct account_import *im)
{
    mem_free(im->account);
    mem_free(im->subject);
    mem_free(im->to);
    mem_free(im->prefix);
}

static bool import_holds(struct claimed *op, const struct known *k, const struct account_import *im)
{
    const struct account_options *of = accounts_find(&op->all, im->account);
    const char *kind = im->service ? "service" : "stream", *why;

    if (of == NULL) {
        LOG_ERR(op->host.log,
                "Can't locate account [%s] for import of [%s] %s (err=account missing)",
                im->account, im->subject, kind);
        return false;
    }
    why = account_import_error(&op->all, &k->said.list[0], im, of);
    if (why != NULL)
        LOG_DBG(op->host.log, "Error adding %s import to account [%s]: %s", kind, k->name, why);
    return why == NULL;
}

/* Only imports that hold are left. */
static void drop_imports(struct claimed *op, struct known *k)
{
    struct account_options *a = &k->said.list[0];
    bool *hold = mem_zalloc(a->nimports + 1);
    size_t n = 0;

    for (size_t i = 0; i < a->nimports; i++)
        hold[i] = import_holds(op, k, &a->imports[i]);
    for (size_t i = 0; i < a->nimports; i++) {
        if (hold[i])
            a->imports[n++] = a->imports[i];
        else
            free_import(&a->imports[i]);
    }
    a->nimports = n;
    op->all.list[k->index] = *a;
    mem_free(hold);
}

static void make_dirty(struct claimed *op)
{
    LIST_FOREACH(first, &op->touched)
    {
        if (LIST_ENTRY(first, struct known, link)->dirty)
            say(op, LIST_ENTRY(first, struct known, link));
    }
    LIST_FOREACH(second, &op->touched)
    {
        if (LIST_ENTRY(second, struct known, link)->dirty)
            drop_imports(op, LIST_ENTRY(second, struct known, link));
    }
    LIST_FOREACH(third, &op->touched)
    {
        struct known *k = LIST_ENTRY(third, struct known, link);
        if (k->dirty)
            wiring_apply_one(op->host.parts->accounts, op->options, &op->all, k->account,
                             op->before, op->host.log);
        k->dirty = false;
    }
}

static void tell_jetstream(struct claimed *op, const struct known *k)
{
    const struct server_parts *parts = op->host.parts;

    if (parts->js_server == NULL || k->account == parts->system_account)
        return;
    js_server_account(parts->js_server, k->account, &k->said.list[0].js);
    if (parts->kafka_shared != NULL)
        kafka_shared_account(parts->kafka_shared, parts->js_server, parts->accounts, k->account);
}

static void collect_changes(struct claimed *op)
{
    struct list *l;

    while ((l = list_pop_front(&op->touched)) != NULL) {
        struct known *k = LIST_ENTRY(l, struct known, link);
        if (!k->changed)
            continue;
        k->changed = false;
        op->changes = mem_realloc(op->changes, (op->nchanges + 1) * sizeof(*op->changes));
        op->changes[op->nchanges++] = (struct change){k, k->published, k->trust};
        k->published = k->trust;
        atomic_store(&k->account->trust, k->trust);
        tell_jetstream(op, k);
    }
}

/* ---- publishing ------------------------------------------------------------------------------ */

static void answer_here(struct env_task *task, struct env *env)
{
    struct account_lookup *l = CONTAINER_OF(task, struct account_lookup, task);

    (void) env;
    l->done(l);
}

bool claimed_holds(const struct claimed *op, const char *name)
{
    const struct known *k = claimed_find(op, name);

    return k != NULL && k->published != NULL && !atomic_load(&k->account->expired);
}

static void answer(struct claimed *op, struct account_lookup *list)
{
    while (list != NULL) {
        struct account_lookup *l = list;
        list = l->next;
        l->found = claimed_holds(op, l->name);
        l->task.run = answer_here;
        worker_post(worker_group_get(op->host.parts->workers, l->worker), &l->task);
    }
}

static void look(struct ask_all *ask, struct worker *w)
{
    const struct claimed *op = CONTAINER_OF(ask, struct claimed, ask);

    for (size_t i = 0; i < op->nchanges; i++) {
        const struct change *c = &op->changes[i];
        if (w->env.jetstream != NULL)
            jetstream_account(w->env.jetstream, c->known->account);
        if (w->env.net != NULL)
            net_account_changed(w->env.net, c->known->account, c->before, c->now);
        if (w->env.kafka != NULL)
            kafka_account_changed(w->env.kafka, c->known->account, c->before, c->now);
    }
    ask_all_stepped(ask);
}

static void published(struct claimed *op)
{
    struct account_lookup *list = op->answering;

    wiring_free(op->before);
    op->before = NULL;
    for (size_t i = 0; i < op->nchanges; i++)
        if (op->changes[i].before != op->changes[i].now)
            trust_close(op->changes[i].before);
    mem_free(op->changes);
    op->changes = NULL;
    op->nchanges = 0;
    op->publishing = false;
    op->answering = NULL;
    answer(op, list);
    if (op->again)
        claimed_publish(op);
}

static void surplus_closed(void *ctx)
{
    struct claimed *op = ctx;

    surplus_free(op->surplus);
    op->surplus = NULL;
    published(op);
}

static void all_looked(struct ask_all *ask)
{
    struct claimed *op = CONTAINER_OF(ask, struct claimed, ask);

    op->surplus = surplus_new(op->host.parts);
    if (op->surplus != NULL)
        surplus_close(op->surplus, surplus_closed, op);
    else
        published(op);
}

void claimed_publish(struct claimed *op)
{
    op->again = op->publishing;
    if (op->publishing)
        return;
    op->publishing = true;
    op->answering = op->waiting;
    op->waiting = NULL;
    op->before = wiring_new();
    make_dirty(op);
    collect_changes(op);
    if (!op->running) {
        published(op);
        return;
    }
    op->ask = (struct ask_all){.step = look, .done = all_looked};
    ask_all_start(op->host.parts->workers, &op->ask);
}
