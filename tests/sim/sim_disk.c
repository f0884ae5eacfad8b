/*
 * sim_disk.c - contents of simulated files, syncs and power cuts. See sim_disk.h and
 * docs/internals/sim.md.
 *
 * A file is two images of 4 KiB pages. `seen` is what programs read. `durable` is what a power cut
 * leaves at the least. A write changes `seen` and is remembered as a sim_change; a sync moves the
 * changes up to its mark into `durable` and forgets them. Pages are shared between the two images,
 * and between disks after a crash, until one of them writes (copy on write), so that trying a power
 * cut costs no copy of the disk.
 *
 * Invariant: seen == durable with all changes applied in order (sim_disk_check compares them). Only
 * a sync that failed breaks it: the file is `diverged` from then on.
 *
 * A power cut starts from `durable` and applies, sector by sector, what its mode chooses of the
 * changes. The length of a file is chosen with its change: a sector that is kept behind a length
 * that is not is lost, and a length that is kept over sectors that are not shows what was there
 * before, or zeros.
 */
#include "tests/sim/sim_disk.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "lib/base/hash.h"
#include "tests/sim/sim_disk_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- memory ---------------------------------------------------------------------------------- */

void *sim_alloc(size_t n)
{
    void *p = calloc(1, n);
    ASSERT(p != NULL);
    return p;
}

void *sim_grow(void *p, size_t n)
{
    void *q = realloc(p, n);
    ASSERT(q != NULL);
    return q;
}

char *sim_strdup(const char *text)
{
    size_t n = strlen(text) + 1;
    char *p = sim_alloc(n);
    memcpy(p, text, n);
    return p;
}

/* ---- pages and images ------------------------------------------------------------------------ */

static struct sim_page *page_alloc(void)
{
    struct sim_page *p = malloc(sizeof(*p));
    ASSERT(p != NULL);
    p->refs = 1;
    return p;
}

static struct sim_page *page_new(const struct sim_page *like)
{
    struct sim_page *p = page_alloc();
    if (like != NULL)
        memcpy(p->data, like->data, SIM_PAGE);
    else
        memset(p->data, 0, SIM_PAGE);
    return p;
}

static struct sim_page *page_get(struct sim_page *p)
{
    if (p != NULL)
        p->refs++;
    return p;
}

static void page_put(struct sim_page *p)
{
    if (p != NULL && --p->refs == 0)
        free(p);
}

static void image_grow(struct sim_image *m, size_t npages)
{
    if (npages <= m->npages)
        return;
    m->pages = sim_grow(m->pages, npages * sizeof(*m->pages));
    memset(m->pages + m->npages, 0, (npages - m->npages) * sizeof(*m->pages));
    m->npages = npages;
}

static void image_free(struct sim_image *m)
{
    for (size_t i = 0; i < m->npages; i++)
        page_put(m->pages[i]);
    free(m->pages);
    *m = (struct sim_image){0};
}

static void image_share(struct sim_image *to, const struct sim_image *from)
{
    image_grow(to, from->npages);
    for (size_t i = 0; i < to->npages; i++) {
        struct sim_page *p = i < from->npages ? page_get(from->pages[i]) : NULL;
        page_put(to->pages[i]);
        to->pages[i] = p;
    }
    to->size = from->size;
}

/* The page for writing: its own copy. */
static uint8_t *image_page(struct sim_image *m, size_t index)
{
    image_grow(m, index + 1);
    struct sim_page *p = m->pages[index];
    if (p == NULL || p->refs > 1) {
        m->pages[index] = page_new(p);
        page_put(p);
    }
    return m->pages[index]->data;
}

/* The page, to be written whole: what is in it does not matter. */
static uint8_t *image_new_page(struct sim_image *m, size_t index)
{
    image_grow(m, index + 1);
    struct sim_page *p = m->pages[index];
    if (p == NULL || p->refs > 1) {
        m->pages[index] = page_alloc();
        page_put(p);
    }
    return m->pages[index]->data;
}

static void image_write(struct sim_image *m, const uint8_t *bytes, size_t n, uint64_t offset)
{
    while (n > 0) {
        size_t in = (size_t) (offset % SIM_PAGE);
        size_t part = SIM_PAGE - in < n ? SIM_PAGE - in : n;
        size_t index = (size_t) (offset / SIM_PAGE);
        memcpy(part == SIM_PAGE ? image_new_page(m, index) : image_page(m, index) + in, bytes,
               part);
        bytes += part;
        offset += part;
        n -= part;
    }
}

static void image_read(const struct sim_image *m, uint8_t *into, size_t n, uint64_t offset)
{
    while (n > 0) {
        size_t index = (size_t) (offset / SIM_PAGE);
        size_t in = (size_t) (offset % SIM_PAGE);
        size_t part = SIM_PAGE - in < n ? SIM_PAGE - in : n;
        const struct sim_page *p = index < m->npages ? m->pages[index] : NULL;
        if (p != NULL)
            memcpy(into, p->data + in, part);
        else
            memset(into, 0, part);
        into += part;
        offset += part;
        n -= part;
    }
}

/* Sets the size; everything behind it becomes holes and zeros. */
static void image_cut(struct sim_image *m, uint64_t size)
{
    size_t keep = (size_t) ((size + SIM_PAGE - 1) / SIM_PAGE);
    for (size_t i = keep; i < m->npages; i++) {
        page_put(m->pages[i]);
        m->pages[i] = NULL;
    }
    size_t in = (size_t) (size % SIM_PAGE);
    if (in != 0 && keep <= m->npages && m->pages[keep - 1] != NULL)
        memset(image_page(m, keep - 1) + in, 0, SIM_PAGE - in);
    m->size = size;
}

static void image_fill_holes(struct sim_image *m, uint64_t size, struct sim_page *zero)
{
    size_t n = (size_t) ((size + SIM_PAGE - 1) / SIM_PAGE);
    image_grow(m, n);
    for (size_t i = 0; i < n; i++) {
        if (m->pages[i] == NULL)
            m->pages[i] = page_get(zero);
    }
    if (m->size < size)
        m->size = size;
}

static uint64_t image_used(const struct sim_image *m)
{
    uint64_t n = 0;
    for (size_t i = 0; i < m->npages; i++)
        n += m->pages[i] != NULL;
    return n;
}

/* How many of the pages that hold [offset, offset + n) are holes. */
static uint64_t image_holes(const struct sim_image *m, uint64_t offset, size_t n)
{
    uint64_t holes = 0;
    uint64_t end = (offset + n + SIM_PAGE - 1) / SIM_PAGE;
    for (uint64_t i = offset / SIM_PAGE; i < end; i++)
        holes += i >= m->npages || m->pages[i] == NULL;
    return holes;
}

static bool image_equal(const struct sim_image *a, const struct sim_image *b)
{
    static const uint8_t hole[SIM_PAGE];
    if (a->size != b->size)
        return false;
    for (size_t i = 0; i * SIM_PAGE < a->size; i++) {
        const struct sim_page *x = i < a->npages ? a->pages[i] : NULL;
        const struct sim_page *y = i < b->npages ? b->pages[i] : NULL;
        if (x == y)
            continue;
        if (memcmp(x != NULL ? x->data : hole, y != NULL ? y->data : hole, SIM_PAGE) != 0)
            return false;
    }
    return true;
}

/* ---- inodes ---------------------------------------------------------------------------------- */

struct sim_inode *sim_inode_new(struct sim_disk *d, bool dir)
{
    struct sim_inode *ino = sim_alloc(sizeof(*ino));
    ino->id = ++d->last_id;
    ino->dir = dir;
    ino->refs = 1;
    list_init(&ino->changes);
    list_push_back(&d->inodes, &ino->link);
    return ino;
}

void sim_inode_hold(struct sim_inode *ino)
{
    ino->refs++;
}

static void change_free(struct sim_change *c)
{
    list_remove(&c->link);
    free(c);
}

void sim_inode_drop(struct sim_disk *d, struct sim_inode *ino)
{
    ASSERT(ino->refs > 0);
    if (--ino->refs > 0)
        return;
    LIST_FOREACH_SAFE(it, tmp, &ino->changes)
    change_free(LIST_ENTRY(it, struct sim_change, link));
    image_free(&ino->seen);
    image_free(&ino->durable);
    list_remove(&ino->link);
    sim_names_free(d, &ino->seen_names);
    sim_names_free(d, &ino->durable_names);
    free(ino);
}

void sim_inode_unused(struct sim_disk *d, struct sim_inode *ino)
{
    if (ino->links != 0 || ino->opens != 0 || ino->dir)
        return;
    uint64_t used = image_used(&ino->seen);
    ASSERT(d->used >= used);
    d->used -= used;
}

void sim_disk_release(struct sim_disk *d, struct sim_inode *ino)
{
    ASSERT(ino->opens > 0);
    ino->opens--;
    sim_inode_unused(d, ino);
    sim_inode_drop(d, ino);
}

unsigned sim_disk_id(const struct sim_inode *ino)
{
    return ino->id;
}

bool sim_disk_lock(struct sim_inode *ino)
{
    if (ino->locked)
        return false;
    ino->locked = true;
    return true;
}

void sim_disk_unlock(struct sim_inode *ino)
{
    ino->locked = false;
}

/* ---- changes --------------------------------------------------------------------------------- */

static struct sim_change *change_new(struct sim_disk *d, struct sim_inode *ino,
                                     enum sim_change_kind kind, uint64_t size, size_t n)
{
    struct sim_change *c = malloc(sizeof(*c) + n);
    ASSERT(c != NULL);
    c->seq = ++d->seq;
    c->kind = kind;
    c->size = size;
    c->offset = 0;
    c->n = n;
    list_push_back(&ino->changes, &c->link);
    return c;
}

uint64_t sim_disk_size(const struct sim_inode *ino)
{
    return ino->seen.size;
}

size_t sim_disk_read(const struct sim_inode *ino, void *into, size_t n, uint64_t offset)
{
    uint64_t size = ino->seen.size;
    if (offset >= size)
        return 0;
    if (n > size - offset)
        n = (size_t) (size - offset);
    image_read(&ino->seen, into, n, offset);
    return n;
}

size_t sim_disk_read_durable(const struct sim_inode *ino, void *into, size_t n, uint64_t offset)
{
    uint64_t size = ino->durable.size;
    if (offset >= size)
        return 0;
    if (n > size - offset)
        n = (size_t) (size - offset);
    image_read(&ino->durable, into, n, offset);
    return n;
}

int sim_disk_write(struct sim_disk *d, struct sim_inode *ino, const void *bytes, size_t n,
                   uint64_t offset)
{
    if (n == 0)
        return 0;
    uint64_t holes = image_holes(&ino->seen, offset, n);
    if (holes > 0 && d->used + holes > d->capacity)
        return -ENOSPC;
    d->used += holes;
    image_write(&ino->seen, bytes, n, offset);
    if (ino->seen.size < offset + n)
        ino->seen.size = offset + n;

    uint64_t first = offset / SIM_SECTOR * SIM_SECTOR;
    uint64_t end = round_up(offset + n, SIM_SECTOR);
    struct sim_change *c = change_new(d, ino, SIM_WRITE, offset + n, (size_t) (end - first));
    c->offset = first;
    image_read(&ino->seen, c->data, c->n, first);
    return 0;
}

int sim_disk_truncate(struct sim_disk *d, struct sim_inode *ino, uint64_t size)
{
    uint64_t before = image_used(&ino->seen);
    image_cut(&ino->seen, size);
    d->used -= before - image_used(&ino->seen);
    change_new(d, ino, SIM_TRUNCATE, size, 0);
    return 0;
}

int sim_disk_allocate(struct sim_disk *d, struct sim_inode *ino, uint64_t size)
{
    uint64_t holes = image_holes(&ino->seen, 0, (size_t) size);
    if (holes > 0 && d->used + holes > d->capacity)
        return -ENOSPC;
    d->used += holes;
    image_fill_holes(&ino->seen, size, d->zero);
    change_new(d, ino, SIM_ALLOCATE, size, 0);
    return 0;
}

static void change_apply(struct sim_image *m, const struct sim_change *c, struct sim_page *zero)
{
    switch (c->kind) {
    case SIM_WRITE:
        image_write(m, c->data, c->n, c->offset);
        if (m->size < c->size)
            m->size = c->size;
        break;
    case SIM_TRUNCATE:
        image_cut(m, c->size);
        break;
    case SIM_ALLOCATE:
        image_fill_holes(m, c->size, zero);
        break;
    }
}

uint64_t sim_disk_mark(const struct sim_disk *d)
{
    return d->seq;
}

/* All changes are meant: shares pages instead of copying bytes. */
static void harden_all(struct sim_inode *ino)
{
    bool whole = false;
    image_grow(&ino->durable, ino->seen.npages);
    LIST_FOREACH_SAFE(it, tmp, &ino->changes)
    {
        struct sim_change *c = LIST_ENTRY(it, struct sim_change, link);
        whole |= c->kind != SIM_WRITE;
        size_t end = (size_t) ((c->offset + c->n + SIM_PAGE - 1) / SIM_PAGE);
        for (size_t i = (size_t) (c->offset / SIM_PAGE); !whole && i < end; i++) {
            page_put(ino->durable.pages[i]);
            ino->durable.pages[i] = page_get(ino->seen.pages[i]);
        }
        change_free(c);
    }
    if (whole)
        image_share(&ino->durable, &ino->seen);
    ino->durable.size = ino->seen.size;
}

void sim_disk_on_durable(struct sim_disk *d, sim_durable_fn told, void *ctx)
{
    d->told = told;
    d->told_ctx = ctx;
}

static void harden(struct sim_disk *d, struct sim_inode *ino, uint64_t mark)
{
    if (!ino->diverged && LIST_ENTRY(ino->changes.prev, struct sim_change, link)->seq <= mark) {
        harden_all(ino);
        return;
    }
    LIST_FOREACH_SAFE(it, tmp, &ino->changes)
    {
        struct sim_change *c = LIST_ENTRY(it, struct sim_change, link);
        if (c->seq > mark)
            break;
        change_apply(&ino->durable, c, d->zero);
        change_free(c);
    }
}

void sim_disk_harden(struct sim_disk *d, struct sim_inode *ino, uint64_t mark)
{
    size_t n = 0, cap = 0;
    struct range {
        uint64_t offset;
        size_t n;
    } *ranges = NULL;

    if (list_empty(&ino->changes))
        return;
    LIST_FOREACH(it, &ino->changes)
    {
        const struct sim_change *c = LIST_ENTRY(it, struct sim_change, link);
        if (d->told == NULL || c->seq > mark)
            break;
        if (c->kind != SIM_WRITE)
            continue;
        if (n == cap) {
            cap = cap == 0 ? 16 : 2 * cap;
            ranges = sim_grow(ranges, cap * sizeof(*ranges));
        }
        ranges[n++] = (struct range){c->offset, c->n};
    }
    harden(d, ino, mark);
    for (size_t i = 0; i < n; i++)
        d->told(d->told_ctx, ino, ranges[i].offset, ranges[i].n);
    free(ranges);
}

static bool only_writes(const struct sim_inode *ino, uint64_t mark)
{
    LIST_FOREACH(it, &ino->changes)
    {
        const struct sim_change *c = LIST_ENTRY(it, struct sim_change, link);
        if (c->seq <= mark && c->kind != SIM_WRITE)
            return false;
    }
    return true;
}

void sim_disk_harden_range(struct sim_disk *d, struct sim_inode *ino, uint64_t mark,
                           uint64_t offset, uint64_t n)
{
    if (!only_writes(ino, mark)) {
        sim_disk_harden(d, ino, mark);
        return;
    }
    LIST_FOREACH_SAFE(it, tmp, &ino->changes)
    {
        struct sim_change *c = LIST_ENTRY(it, struct sim_change, link);
        if (c->seq > mark)
            break;
        if (c->offset >= offset + n || c->offset + c->n <= offset)
            continue;
        change_apply(&ino->durable, c, d->zero);
        if (d->told != NULL)
            d->told(d->told_ctx, ino, c->offset, c->n);
        change_free(c);
    }
}

struct cut {
    enum sim_crash mode;
    uint64_t seq;  /* PREFIX: changes before it are kept, it itself in part */
    unsigned keep; /* SUBSET: of 100 */
    struct prng *rng;
};

static bool chance(struct prng *rng, unsigned percent)
{
    return prng_below(rng, 100) < percent;
}

/* The sectors of a write that the cut keeps. */
static void cut_write(struct sim_image *m, const struct sim_change *c, const struct cut *cut)
{
    size_t sectors = c->n / SIM_SECTOR;
    size_t whole = sectors;
    if (cut->mode == SIM_CRASH_PREFIX)
        whole = (size_t) prng_below(cut->rng, sectors + 1);
    bool scatter = cut->mode == SIM_CRASH_SUBSET || cut->mode == SIM_CRASH_GARBAGE;
    for (size_t i = 0; i < whole; i++) {
        uint8_t noise[SIM_SECTOR];
        const uint8_t *from = c->data + i * SIM_SECTOR;
        if (scatter && !chance(cut->rng, cut->keep)) {
            if (cut->mode != SIM_CRASH_GARBAGE || !chance(cut->rng, 10))
                continue;
            prng_fill(cut->rng, noise, sizeof(noise));
            from = noise;
        }
        image_write(m, from, SIM_SECTOR, c->offset + i * SIM_SECTOR);
    }
    if (m->size < c->size && (!scatter || chance(cut->rng, 50)))
        m->size = c->size;
}

static void cut_change(struct sim_image *m, const struct sim_change *c, struct sim_page *zero,
                       const struct cut *cut)
{
    bool keep = false;
    switch (cut->mode) {
    case SIM_CRASH_DROP:
        return;
    case SIM_CRASH_KEEP:
        keep = true;
        break;
    case SIM_CRASH_PREFIX:
        if (c->seq > cut->seq)
            return;
        keep = c->seq < cut->seq;
        break;
    default:
        keep = c->kind != SIM_WRITE && chance(cut->rng, cut->keep);
        break;
    }
    if (keep)
        change_apply(m, c, zero);
    else if (c->kind == SIM_WRITE)
        cut_write(m, c, cut);
}

/* As on Linux: what the failed sync should have written counts as clean, readable until the power
 * fails. */
void sim_disk_fail_sync(struct sim_disk *d, struct sim_inode *ino, uint64_t mark, struct prng *rng)
{
    struct cut cut = {SIM_CRASH_SUBSET, 0, 50, rng};
    ino->failed = mark;
    LIST_FOREACH_SAFE(it, tmp, &ino->changes)
    {
        struct sim_change *c = LIST_ENTRY(it, struct sim_change, link);
        if (c->seq > mark)
            break;
        ino->diverged = true;
        cut_change(&ino->durable, c, d->zero, &cut);
        change_free(c);
    }
}

/* ---- the disk -------------------------------------------------------------------------------- */

static struct sim_disk *disk_new(uint64_t capacity_pages)
{
    struct sim_disk *d = sim_alloc(sizeof(*d));
    list_init(&d->inodes);
    list_init(&d->renames);
    d->zero = page_new(NULL);
    d->capacity = capacity_pages;
    return d;
}

struct sim_disk *sim_disk_open(uint64_t capacity)
{
    struct sim_disk *d = disk_new(capacity / SIM_PAGE);
    d->root = sim_inode_new(d, true);
    d->root->links = 1;
    return d;
}

void sim_disk_close(struct sim_disk *d)
{
    sim_renames_free(d);
    sim_inode_drop(d, d->root);
    ASSERT(list_empty(&d->inodes));
    page_put(d->zero);
    free(d);
}

void sim_disk_set_capacity(struct sim_disk *d, uint64_t capacity)
{
    d->capacity = capacity / SIM_PAGE;
}

uint64_t sim_disk_used(const struct sim_disk *d)
{
    return d->used;
}

uint64_t sim_disk_free_bytes(const struct sim_disk *d)
{
    return d->used < d->capacity ? (d->capacity - d->used) * SIM_PAGE : 0;
}

/* ---- power cuts ------------------------------------------------------------------------------ */

static struct sim_inode *cut_inode(struct sim_disk *d, const struct sim_inode *ino,
                                   const struct cut *cut)
{
    struct sim_inode *copy = sim_inode_new(d, ino->dir);
    copy->id = ino->id;
    image_share(&copy->seen, &ino->durable);
    LIST_FOREACH(it, &ino->changes)
    cut_change(&copy->seen, LIST_ENTRY(it, struct sim_change, link), d->zero, cut);
    image_cut(&copy->seen, copy->seen.size);
    image_share(&copy->durable, &copy->seen);
    return copy;
}

/* by_id[id] = the copy of the inode with that id. */
static void copy_names(struct sim_disk *d, const struct sim_names *from, struct sim_names *to,
                       struct sim_inode **by_id)
{
    for (size_t i = 0; i < from->n; i++)
        sim_names_set(d, to, from->at[i].name, by_id[from->at[i].ino->id]);
}

/* The names that the crash leaves: the durable tables with the chosen changes applied. */
static void cut_names(struct sim_disk *d, const struct sim_disk *from, struct sim_inode **by_id)
{
    LIST_FOREACH(it, &from->inodes)
    {
        const struct sim_inode *ino = LIST_ENTRY(it, struct sim_inode, link);
        copy_names(d, &ino->durable_names, &by_id[ino->id]->durable_names, by_id);
    }
    LIST_FOREACH(it, &from->renames)
    {
        struct sim_name_change c = *LIST_ENTRY(it, struct sim_name_change, link);
        if (!c.chosen)
            continue;
        c.dir = by_id[c.dir->id];
        c.dir2 = c.dir2 != NULL ? by_id[c.dir2->id] : NULL;
        c.ino = by_id[c.ino->id];
        sim_rename_apply(d, &c);
    }
    sim_names_adopt(d);
}

/* Drops the references that disk_copy held; what no name leads to goes with them. */
static void finish_copy(struct sim_disk *d, const struct sim_disk *from, struct sim_inode **by_id)
{
    for (unsigned id = 1; id <= from->last_id; id++) {
        if (by_id[id] != NULL && by_id[id] != d->root)
            sim_inode_drop(d, by_id[id]);
    }
    free(by_id);
    d->used = 0;
    LIST_FOREACH(it, &d->inodes)
    {
        const struct sim_inode *ino = LIST_ENTRY(it, struct sim_inode, link);
        d->used += ino->dir ? 0 : image_used(&ino->seen);
    }
    d->last_id = from->last_id;
    d->seq = from->seq;
}

struct sim_disk *sim_disk_crash(const struct sim_disk *from, enum sim_crash mode, struct prng *rng)
{
    static const unsigned keeps[] = {10, 50, 90};
    struct sim_disk *d = disk_new(from->capacity);
    struct sim_inode **by_id = sim_alloc((from->last_id + 1) * sizeof(*by_id));
    uint64_t oldest = from->seq;
    LIST_FOREACH(it, &from->inodes)
    {
        const struct sim_inode *ino = LIST_ENTRY(it, struct sim_inode, link);
        if (!list_empty(&ino->changes)) {
            uint64_t seq = LIST_ENTRY(ino->changes.next, struct sim_change, link)->seq;
            oldest = seq < oldest ? seq : oldest;
        }
    }
    struct cut cut = {mode, oldest + prng_below(rng, from->seq - oldest + 1),
                      keeps[prng_below(rng, ARRAY_LEN(keeps))], rng};
    LIST_FOREACH(it, &from->inodes)
    {
        const struct sim_inode *ino = LIST_ENTRY(it, struct sim_inode, link);
        by_id[ino->id] = cut_inode(d, ino, &cut);
    }
    d->root = by_id[from->root->id];
    d->root->links = 1;
    sim_renames_choose(from, mode, cut.seq, rng);
    cut_names(d, from, by_id);
    finish_copy(d, from, by_id);
    return d;
}

struct sim_disk *sim_disk_clone(const struct sim_disk *from)
{
    struct prng unused;
    prng_init(&unused, 0);
    return sim_disk_crash(from, SIM_CRASH_KEEP, &unused);
}

/* ---- copies ---------------------------------------------------------------------------------- */

static struct sim_inode *copy_inode(struct sim_disk *d, const struct sim_inode *ino)
{
    struct sim_inode *copy = sim_inode_new(d, ino->dir);
    copy->id = ino->id;
    copy->diverged = ino->diverged;
    copy->failed = ino->failed;
    image_share(&copy->seen, &ino->seen);
    image_share(&copy->durable, &ino->durable);
    LIST_FOREACH(it, &ino->changes)
    {
        const struct sim_change *c = LIST_ENTRY(it, struct sim_change, link);
        struct sim_change *same = malloc(sizeof(*same) + c->n);
        ASSERT(same != NULL);
        memcpy(same, c, sizeof(*same) + c->n);
        list_push_back(&copy->changes, &same->link);
    }
    return copy;
}

struct sim_disk *sim_disk_copy(const struct sim_disk *from)
{
    struct sim_disk *d = disk_new(from->capacity);
    struct sim_inode **by_id = sim_alloc((from->last_id + 1) * sizeof(*by_id));
    LIST_FOREACH(it, &from->inodes)
    {
        const struct sim_inode *ino = LIST_ENTRY(it, struct sim_inode, link);
        by_id[ino->id] = copy_inode(d, ino);
    }
    d->root = by_id[from->root->id];
    d->root->links = 1;
    LIST_FOREACH(it, &from->inodes)
    {
        const struct sim_inode *ino = LIST_ENTRY(it, struct sim_inode, link);
        struct sim_inode *copy = by_id[ino->id];
        copy_names(d, &ino->durable_names, &copy->durable_names, by_id);
        copy_names(d, &ino->seen_names, &copy->seen_names, by_id);
        copy->links = ino->links;
    }
    sim_renames_copy(d, from, by_id);
    finish_copy(d, from, by_id);
    d->used = 0;
    LIST_FOREACH(it, &d->inodes)
    {
        const struct sim_inode *ino = LIST_ENTRY(it, struct sim_inode, link);
        d->used += ino->dir || ino->links == 0 ? 0 : image_used(&ino->seen);
    }
    return d;
}

/* ---- judges ---------------------------------------------------------------------------------- */

void sim_disk_rot(struct sim_disk *d, struct sim_inode *ino, uint64_t offset, size_t n,
                  struct prng *rng)
{
    sim_disk_harden(d, ino, UINT64_MAX);
    for (size_t i = 0; i < n && offset + i < ino->seen.size; i++) {
        uint8_t b;
        image_read(&ino->seen, &b, 1, offset + i);
        b ^= (uint8_t) (1 + prng_below(rng, 255));
        image_write(&ino->seen, &b, 1, offset + i);
    }
    image_share(&ino->durable, &ino->seen);
}

struct digest {
    uint64_t hash;
    const char *below;
};

static void digest_file(void *ctx, const char *path, struct sim_inode *ino)
{
    struct digest *g = ctx;
    if (g->below != NULL && strncmp(path, g->below, strlen(g->below)) != 0)
        return;
    g->hash = hash_bytes(path, strlen(path), g->hash);
    g->hash = hash_mix(g->hash ^ sim_disk_size(ino), 0x9e3779b97f4a7c15u);
    for (uint64_t at = 0; at < ino->seen.size; at += SIM_PAGE) {
        uint8_t page[SIM_PAGE];
        size_t n = sim_disk_read(ino, page, SIM_PAGE, at);
        g->hash = hash_mix(g->hash ^ crc32c(0, page, n), 0x9e3779b97f4a7c15u);
    }
}

uint64_t sim_disk_digest(struct sim_disk *d, const char *below)
{
    struct digest g = {1, below};
    sim_disk_walk(d, digest_file, &g);
    return g.hash;
}

struct exporter {
    const char *dir;
    int error;
};

/* mkdir -p of everything above the last component. */
static void make_parents(char *path)
{
    for (char *p = path + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        mkdir(path, 0700);
        *p = '/';
    }
}

static void export_file(void *ctx, const char *path, struct sim_inode *ino)
{
    struct exporter *e = ctx;
    char real[4096];
    snprintf(real, sizeof(real), "%s/%s", e->dir, path);
    make_parents(real);
    FILE *f = fopen(real, "w");
    if (f == NULL) {
        e->error = -errno;
        return;
    }
    for (uint64_t at = 0; at < ino->seen.size; at += SIM_PAGE) {
        uint8_t page[SIM_PAGE];
        size_t n = sim_disk_read(ino, page, SIM_PAGE, at);
        fwrite(page, 1, n, f);
    }
    if (fclose(f) != 0)
        e->error = -errno;
}

int sim_disk_export(struct sim_disk *d, const char *real_dir)
{
    struct exporter e = {real_dir, 0};
    sim_disk_walk(d, export_file, &e);
    return e.error;
}

void sim_disk_check(const struct sim_disk *d)
{
    uint64_t used = 0;
    LIST_FOREACH(it, &d->inodes)
    {
        const struct sim_inode *ino = LIST_ENTRY(it, struct sim_inode, link);
        uint64_t last = 0;
        struct sim_image all = {0};
        image_share(&all, &ino->durable);
        LIST_FOREACH(jt, &ino->changes)
        {
            const struct sim_change *c = LIST_ENTRY(jt, struct sim_change, link);
            ASSERT(c->seq > last && c->seq <= d->seq);
            last = c->seq;
            change_apply(&all, c, d->zero);
        }
        ASSERT(ino->diverged || image_equal(&all, &ino->seen));
        image_free(&all);
        if (!ino->dir && (ino->links > 0 || ino->opens > 0))
            used += image_used(&ino->seen);
    }
    ASSERT(used == d->used);
}
