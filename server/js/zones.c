/* zones.c - "UTC" needs no file; "Local" is what /etc/localtime says. */
#include "server/js/zones.h"

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"

#include <string.h>

#define UNKNOWN_MAX 64u

struct entry {
    struct io_work work;
    struct list link;
    struct zones *zones; /* NULL: they have been closed */
    struct list waiting; /* struct zone_wait */
    bool loading;
    struct zone *zone; /* NULL: there is none of that name */
    char *bytes;
    int64_t n;
    char name[ZONE_NAME_MAX + 1];
};

struct zones {
    struct io *io;
    struct list entries;
    unsigned unknown;
};

struct zones *zones_open(struct io *io)
{
    struct zones *z = mem_zalloc(sizeof(*z));

    z->io = io;
    list_init(&z->entries);
    return z;
}

static void entry_free(struct entry *e)
{
    zone_free(e->zone);
    mem_free(e->bytes);
    mem_free(e);
}

/* What is being read is freed when that has ended. */
void zones_close(struct zones *z)
{
    struct list *l;

    while ((l = list_pop_front(&z->entries)) != NULL) {
        struct entry *e = LIST_ENTRY(l, struct entry, link);
        e->zones = NULL;
        while (list_pop_front(&e->waiting) != NULL)
            ;
        if (!e->loading)
            entry_free(e);
    }
    mem_free(z);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int64_t read_file(struct io_fs *fs, const char *path, char *into)
{
    fs_fd fd = fs_open(fs, path, 0);
    int64_t n;

    if (fd < 0)
        return fd;
    n = fs_read(fs, fd, into, ZONE_BYTES_MAX, 0);
    fs_close(fs, fd);
    return n;
}

/* On a pool thread. */
static void run(struct io_work *work)
{
    static const char *const places[] = {"/usr/share/zoneinfo/", "/usr/lib/zoneinfo/",
                                         "/etc/zoneinfo/"};
    struct entry *e = CONTAINER_OF(work, struct entry, work);
    struct buf path = {0};

    e->n = -1;
    if (strcmp(e->name, "Local") == 0)
        e->n = read_file(work->fs, "/etc/localtime", e->bytes);
    for (size_t i = 0; e->n < 0 && i < ARRAY_LEN(places); i++) {
        buf_clear(&path);
        buf_printf(&path, "%s%s", places[i], e->name);
        e->n = read_file(work->fs, buf_cstr(&path), e->bytes);
    }
    buf_free(&path);
}

static void forget_unknown(struct zones *z)
{
    LIST_FOREACH_SAFE(l, next, &z->entries)
    {
        struct entry *e = LIST_ENTRY(l, struct entry, link);
        if (e->loading || e->zone != NULL)
            continue;
        if (z->unknown <= UNKNOWN_MAX)
            return;
        z->unknown--;
        list_remove(&e->link);
        entry_free(e);
    }
}

static void done(struct io_op *op)
{
    struct entry *e = CONTAINER_OF(op, struct entry, work.op);
    struct zones *z = e->zones;
    struct list now, *l;

    e->loading = false;
    if (z == NULL) {
        entry_free(e);
        return;
    }
    if (op->res == 0 && e->n > 0)
        e->zone = zone_parse(str_from(e->bytes, (size_t) e->n));
    mem_free(e->bytes);
    e->bytes = NULL;
    z->unknown += e->zone == NULL;
    list_init(&now);
    list_splice(&now, &e->waiting);
    while ((l = list_pop_front(&now)) != NULL) {
        struct zone_wait *w = LIST_ENTRY(l, struct zone_wait, link);
        w->ready(w);
    }
    forget_unknown(z);
}

static void load(struct zones *z, struct str name, struct zone_wait *w)
{
    struct entry *e = mem_zalloc(sizeof(*e));

    memcpy(e->name, name.p, name.n);
    e->zones = z;
    e->bytes = mem_alloc(ZONE_BYTES_MAX);
    e->loading = true;
    list_init(&e->waiting);
    list_push_back(&e->waiting, &w->link);
    list_push_back(&z->entries, &e->link);
    io_op_init(&e->work.op, done);
    e->work.run = run;
    io_work_submit(z->io, &e->work);
}

/* ---- asking ---------------------------------------------------------------------------------- */

enum zone_found zones_find(struct zones *z, struct str name, const struct zone **out,
                           struct zone_wait *w)
{
    *out = NULL;
    if (str_eq(name, STR("UTC")))
        return ZONE_KNOWN;
    if (!zone_name_valid(name))
        return ZONE_UNKNOWN;
    LIST_FOREACH(l, &z->entries)
    {
        struct entry *e = LIST_ENTRY(l, struct entry, link);
        if (!str_eq(str_of(e->name), name))
            continue;
        *out = e->zone;
        if (!e->loading)
            return e->zone != NULL ? ZONE_KNOWN : ZONE_UNKNOWN;
        list_push_back(&e->waiting, &w->link);
        return ZONE_WAIT;
    }
    load(z, name, w);
    return ZONE_WAIT;
}
