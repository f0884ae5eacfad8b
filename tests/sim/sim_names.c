/*
 * sim_names.c - the tree of names of a simulated disk, and which of its changes survive a power
 * cut.
 *
 * A change of names (create, mkdir, unlink, rmdir, rename) takes effect at once in the table that
 * programs see, and is queued. sync_dir makes those of one directory durable. The model is that of
 * a journaling file system without a single order for the whole disk: changes that touch a common
 * directory become durable in their order, others in any order. A rename between directories
 * touches both and is atomic; so syncing either of them makes it durable, with whatever came before
 * it in both.
 *
 * Syncing a file does not make its name durable, nor does a name make contents durable. A directory
 * that is not durable in its parent loses everything below it, however durable that is.
 */
#include "lib/base/assert.h"
#include "tests/sim/sim_disk_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- tables ---------------------------------------------------------------------------------- */

/* Where the name is, or where it would go. */
static size_t names_at(const struct sim_names *t, const char *name, bool *found)
{
    size_t low = 0, high = t->n;
    *found = false;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = strcmp(t->at[mid].name, name);
        if (order == 0) {
            *found = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct sim_inode *names_get(const struct sim_names *t, const char *name)
{
    bool found;
    size_t i = names_at(t, name, &found);
    return found ? t->at[i].ino : NULL;
}

void sim_names_set(struct sim_disk *d, struct sim_names *t, const char *name, struct sim_inode *ino)
{
    bool found;
    size_t i = names_at(t, name, &found);
    sim_inode_hold(ino);
    if (found) {
        sim_inode_drop(d, t->at[i].ino);
        t->at[i].ino = ino;
        return;
    }
    if (t->n == t->cap) {
        t->cap = t->cap == 0 ? 8 : t->cap * 2;
        t->at = sim_grow(t->at, t->cap * sizeof(*t->at));
    }
    memmove(t->at + i + 1, t->at + i, (t->n - i) * sizeof(*t->at));
    t->at[i] = (struct sim_name){sim_strdup(name), ino};
    t->n++;
}

static void names_delete(struct sim_disk *d, struct sim_names *t, const char *name)
{
    bool found;
    size_t i = names_at(t, name, &found);
    if (!found)
        return;
    struct sim_name gone = t->at[i];
    t->n--;
    memmove(t->at + i, t->at + i + 1, (t->n - i) * sizeof(*t->at));
    free(gone.name);
    sim_inode_drop(d, gone.ino);
}

void sim_names_free(struct sim_disk *d, struct sim_names *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->at[i].name);
        sim_inode_drop(d, t->at[i].ino);
    }
    free(t->at);
    *t = (struct sim_names){0};
}

static void adopt_names(struct sim_disk *d, struct sim_inode *dir)
{
    for (size_t i = 0; i < dir->durable_names.n; i++) {
        struct sim_name *e = &dir->durable_names.at[i];
        sim_names_set(d, &dir->seen_names, e->name, e->ino);
        e->ino->links++;
        if (e->ino->dir)
            adopt_names(d, e->ino);
    }
}

void sim_names_adopt(struct sim_disk *d)
{
    adopt_names(d, d->root);
}

/* ---- paths ----------------------------------------------------------------------------------- */

/* The directory that holds the last component, which goes to name; "" for the root itself. */
static int walk_parent(struct sim_disk *d, const char *path, struct sim_inode **dir, char name[256])
{
    struct sim_inode *at = d->root;
    name[0] = '\0';
    for (;;) {
        path += strspn(path, "/");
        size_t n = strcspn(path, "/");
        if (n == 0)
            break;
        if (n > 255)
            return -ENAMETOOLONG;
        if (n == 1 && path[0] == '.') {
            path += n;
            continue;
        }
        if (name[0] != '\0') {
            at = names_get(&at->seen_names, name);
            if (at == NULL)
                return -ENOENT;
            if (!at->dir)
                return -ENOTDIR;
        }
        memcpy(name, path, n);
        name[n] = '\0';
        path += n;
    }
    *dir = at;
    return 0;
}

static int walk(struct sim_disk *d, const char *path, struct sim_inode **out)
{
    char name[256];
    struct sim_inode *dir;
    int rc = walk_parent(d, path, &dir, name);
    if (rc < 0)
        return rc;
    *out = name[0] == '\0' ? dir : names_get(&dir->seen_names, name);
    return *out != NULL ? 0 : -ENOENT;
}

/* ---- changes --------------------------------------------------------------------------------- */

static struct sim_name_change *renaming(struct sim_disk *d, enum sim_renaming kind,
                                        struct sim_inode *dir, const char *name,
                                        struct sim_inode *ino)
{
    struct sim_name_change *c = sim_alloc(sizeof(*c));
    c->seq = ++d->seq;
    c->kind = kind;
    c->dir = dir;
    c->ino = ino;
    c->name = sim_strdup(name);
    sim_inode_hold(dir);
    sim_inode_hold(ino);
    list_push_back(&d->renames, &c->link);
    return c;
}

static void touches(struct sim_name_change *c, struct sim_inode *dir2, const char *name2)
{
    sim_inode_hold(dir2);
    c->dir2 = dir2;
    c->name2 = name2 != NULL ? sim_strdup(name2) : NULL;
}

static void renaming_free(struct sim_disk *d, struct sim_name_change *c)
{
    list_remove(&c->link);
    sim_inode_drop(d, c->dir);
    if (c->dir2 != NULL)
        sim_inode_drop(d, c->dir2);
    sim_inode_drop(d, c->ino);
    free(c->name);
    free(c->name2);
    free(c);
}

void sim_renames_free(struct sim_disk *d)
{
    LIST_FOREACH_SAFE(it, tmp, &d->renames)
    renaming_free(d, LIST_ENTRY(it, struct sim_name_change, link));
}

static struct sim_inode *held(struct sim_inode *ino)
{
    if (ino != NULL)
        sim_inode_hold(ino);
    return ino;
}

void sim_renames_copy(struct sim_disk *d, const struct sim_disk *from, struct sim_inode **by_id)
{
    LIST_FOREACH(it, &from->renames)
    {
        const struct sim_name_change *c = LIST_ENTRY(it, struct sim_name_change, link);
        struct sim_name_change *copy = sim_alloc(sizeof(*copy));
        copy->seq = c->seq;
        copy->kind = c->kind;
        copy->dir = held(by_id[c->dir->id]);
        copy->dir2 = c->dir2 != NULL ? held(by_id[c->dir2->id]) : NULL;
        copy->ino = held(by_id[c->ino->id]);
        copy->name = sim_strdup(c->name);
        copy->name2 = c->name2 != NULL ? sim_strdup(c->name2) : NULL;
        list_push_back(&d->renames, &copy->link);
    }
}

void sim_rename_apply(struct sim_disk *d, const struct sim_name_change *c)
{
    switch (c->kind) {
    case SIM_LINK:
        sim_names_set(d, &c->dir->durable_names, c->name, c->ino);
        break;
    case SIM_UNLINK:
        names_delete(d, &c->dir->durable_names, c->name);
        break;
    case SIM_RENAME:
        names_delete(d, &c->dir->durable_names, c->name);
        sim_names_set(d, &c->dir2->durable_names, c->name2, c->ino);
        break;
    }
}

static void link_name(struct sim_disk *d, struct sim_inode *dir, const char *name,
                      struct sim_inode *ino)
{
    sim_names_set(d, &dir->seen_names, name, ino);
    ino->links++;
}

static void unlink_name(struct sim_disk *d, struct sim_inode *dir, const char *name)
{
    struct sim_inode *ino = names_get(&dir->seen_names, name);
    sim_inode_hold(ino);
    names_delete(d, &dir->seen_names, name);
    ino->links--;
    sim_inode_unused(d, ino);
    sim_inode_drop(d, ino);
}

int sim_disk_lookup(struct sim_disk *d, const char *path, struct sim_inode **out)
{
    int rc = walk(d, path, out);
    if (rc < 0)
        return rc;
    if ((*out)->dir)
        return -EISDIR;
    sim_inode_hold(*out);
    (*out)->opens++;
    return 0;
}

static int add_name(struct sim_disk *d, const char *path, bool directory, struct sim_inode **out)
{
    char name[256];
    struct sim_inode *dir;
    int rc = walk_parent(d, path, &dir, name);
    if (rc < 0)
        return rc;
    if (name[0] == '\0' || names_get(&dir->seen_names, name) != NULL)
        return -EEXIST;
    struct sim_inode *ino = sim_inode_new(d, directory);
    link_name(d, dir, name, ino);
    renaming(d, SIM_LINK, dir, name, ino);
    *out = ino;
    return 0;
}

int sim_disk_create(struct sim_disk *d, const char *path, struct sim_inode **out)
{
    int rc = add_name(d, path, false, out);
    if (rc == 0)
        (*out)->opens++;
    return rc;
}

int sim_disk_mkdir(struct sim_disk *d, const char *path)
{
    struct sim_inode *ino;
    int rc = add_name(d, path, true, &ino);
    if (rc == 0)
        sim_inode_drop(d, ino);
    return rc;
}

int sim_disk_unlink(struct sim_disk *d, const char *path)
{
    char name[256];
    struct sim_inode *dir;
    int rc = walk_parent(d, path, &dir, name);
    if (rc < 0)
        return rc;
    struct sim_inode *ino = names_get(&dir->seen_names, name);
    if (ino == NULL)
        return -ENOENT;
    if (ino->dir)
        return -EISDIR;
    renaming(d, SIM_UNLINK, dir, name, ino);
    unlink_name(d, dir, name);
    return 0;
}

int sim_disk_rmdir(struct sim_disk *d, const char *path)
{
    char name[256];
    struct sim_inode *dir;
    int rc = walk_parent(d, path, &dir, name);
    if (rc < 0)
        return rc;
    struct sim_inode *ino = names_get(&dir->seen_names, name);
    if (ino == NULL)
        return -ENOENT;
    if (!ino->dir)
        return -ENOTDIR;
    if (ino->seen_names.n > 0)
        return -ENOTEMPTY;
    touches(renaming(d, SIM_UNLINK, dir, name, ino), ino, NULL);
    unlink_name(d, dir, name);
    return 0;
}

int sim_disk_rename(struct sim_disk *d, const char *from, const char *to)
{
    char name[256], name2[256];
    struct sim_inode *dir, *dir2;
    int rc = walk_parent(d, from, &dir, name);
    if (rc == 0)
        rc = walk_parent(d, to, &dir2, name2);
    if (rc < 0)
        return rc;
    struct sim_inode *ino = names_get(&dir->seen_names, name);
    struct sim_inode *old = names_get(&dir2->seen_names, name2);
    if (ino == NULL || name2[0] == '\0')
        return -ENOENT;
    if (old == ino)
        return 0;
    if (old != NULL && (old->dir || ino->dir))
        return old->dir ? -EISDIR : -ENOTDIR;
    if (old != NULL)
        unlink_name(d, dir2, name2);
    touches(renaming(d, SIM_RENAME, dir, name, ino), dir2, name2);
    link_name(d, dir2, name2, ino);
    unlink_name(d, dir, name);
    return 0;
}

/* ---- durability of names --------------------------------------------------------------------- */

/* Forgets an earlier choice, also that of a crash whose copy went its own way. */
static void unmark(const struct sim_disk *d)
{
    LIST_FOREACH(it, &d->inodes)
    LIST_ENTRY(it, struct sim_inode, link)->marked = false;
    LIST_FOREACH(it, &d->renames)
    LIST_ENTRY(it, struct sim_name_change, link)->chosen = false;
}

/* Chooses the change when it touches a marked directory; what is chosen marks its directories, so
 * that going from new to old, everything that a chosen change follows is chosen too. */
static void close_over(struct sim_name_change *c)
{
    if (!c->chosen && !c->dir->marked && (c->dir2 == NULL || !c->dir2->marked))
        return;
    c->chosen = true;
    c->dir->marked = true;
    if (c->dir2 != NULL)
        c->dir2->marked = true;
}

/* From the change at `it` back to the oldest. */
static void close_over_from(const struct sim_disk *d, struct list *it)
{
    for (; it != &d->renames; it = it->prev)
        close_over(LIST_ENTRY(it, struct sim_name_change, link));
}

static void harden_chosen(struct sim_disk *d)
{
    LIST_FOREACH_SAFE(it, tmp, &d->renames)
    {
        struct sim_name_change *c = LIST_ENTRY(it, struct sim_name_change, link);
        if (!c->chosen)
            continue;
        sim_rename_apply(d, c);
        renaming_free(d, c);
    }
}

int sim_disk_sync_dir(struct sim_disk *d, const char *path)
{
    struct sim_inode *dir;
    int rc = walk(d, path, &dir);
    if (rc < 0)
        return rc;
    if (!dir->dir)
        return -ENOTDIR;
    unmark(d);
    dir->marked = true;
    close_over_from(d, d->renames.prev);
    harden_chosen(d);
    return 0;
}

void sim_disk_journal_tick(struct sim_disk *d, struct prng *rng)
{
    uint64_t n = 0;
    LIST_FOREACH(it, &d->renames)
    n++;
    if (n == 0)
        return;
    struct list *it = d->renames.next;
    for (uint64_t skip = prng_below(rng, n); skip > 0; skip--)
        it = it->next;
    unmark(d);
    LIST_ENTRY(it, struct sim_name_change, link)->chosen = true;
    close_over_from(d, it);
    harden_chosen(d);
}

void sim_renames_choose(const struct sim_disk *d, enum sim_crash mode, uint64_t cut,
                        struct prng *rng)
{
    unsigned percent = 25 + 25 * (unsigned) prng_below(rng, 3);
    unmark(d);
    for (struct list *it = d->renames.prev; it != &d->renames; it = it->prev) {
        struct sim_name_change *c = LIST_ENTRY(it, struct sim_name_change, link);
        if (mode == SIM_CRASH_KEEP)
            c->chosen = true;
        else if (mode == SIM_CRASH_PREFIX)
            c->chosen = c->seq <= cut;
        else if (mode != SIM_CRASH_DROP)
            c->chosen = prng_below(rng, 100) < percent;
        close_over(c);
    }
}

/* ---- listing --------------------------------------------------------------------------------- */

int sim_disk_list(struct sim_disk *d, const char *path, void (*each)(void *ctx, const char *name),
                  void *ctx)
{
    struct sim_inode *dir;
    int rc = walk(d, path, &dir);
    if (rc < 0)
        return rc;
    if (!dir->dir)
        return -ENOTDIR;
    /* The callback may change the directory: names are copied first. */
    size_t n = dir->seen_names.n;
    char **names = sim_alloc((n + 1) * sizeof(*names));
    for (size_t i = 0; i < n; i++)
        names[i] = sim_strdup(dir->seen_names.at[i].name);
    for (size_t i = 0; i < n; i++) {
        each(ctx, names[i]);
        free(names[i]);
    }
    free(names);
    return 0;
}

static void walk_dir(struct sim_inode *dir, char *path, size_t n,
                     void (*each)(void *ctx, const char *path, struct sim_inode *ino), void *ctx)
{
    for (size_t i = 0; i < dir->seen_names.n; i++) {
        const struct sim_name *e = &dir->seen_names.at[i];
        size_t m = strlen(e->name);
        ASSERT(n + m + 2 < 4096);
        if (n > 0)
            path[n] = '/';
        size_t at = n > 0 ? n + 1 : 0;
        memcpy(path + at, e->name, m + 1);
        if (e->ino->dir)
            walk_dir(e->ino, path, at + m, each, ctx);
        else
            each(ctx, path, e->ino);
    }
}

void sim_disk_walk(struct sim_disk *d,
                   void (*each)(void *ctx, const char *path, struct sim_inode *ino), void *ctx)
{
    char path[4096];
    walk_dir(d->root, path, 0, each, ctx);
}
