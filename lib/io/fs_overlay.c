/*
 * fs_overlay.c - nodes: names that were touched.
 *
 * A node stands for one name, from the first time it is opened for writing, created, renamed or
 * removed. `below` is the name of what lies under it, or NULL; a name that was removed, or renamed
 * to another one, has a node that is gone and hides what is below. A directory that was renamed has
 * a node, too, and names in it are found below its old name. A file's node has its size, the pages
 * that were written, and how much of the file below still shows.
 */
#include "lib/io/fs_overlay.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "lib/io/io_backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096u

struct page {
    uint64_t index;
    uint8_t *bytes;
};

struct node {
    char *path;
    char *below; /* NULL: nothing */
    bool gone, directory, written;
    uint64_t size;
    uint64_t shows;     /* bytes of the file below that still count */
    struct page *pages; /* by index */
    size_t npages, pages_cap;
};

struct handle {
    struct node *node;
    char *path; /* without a node: of the file below */
    fs_fd fd;   /* below; -1 = none */
    bool used;
};

struct fs_overlay {
    struct io_fs door;
    struct io_fs *below;
    struct node **nodes;
    size_t n, cap;
    struct handle *handles;
    size_t nhandles;
};

static struct fs_overlay *overlay_of(struct io_fs *fs)
{
    return (struct fs_overlay *) fs;
}

/* ---- names ----------------------------------------------------------------------------------- */

static struct node *find(const struct fs_overlay *o, const char *path)
{
    for (size_t i = 0; i < o->n; i++)
        if (strcmp(o->nodes[i]->path, path) == 0)
            return o->nodes[i];
    return NULL;
}

static bool is_in(const char *path, const char *directory)
{
    size_t n = strlen(directory);

    return strncmp(path, directory, n) == 0 && path[n] == '/';
}

/* The name of what lies under a path without a node of its own; NULL: nothing, it is hidden. */
static char *below_of(const struct fs_overlay *o, const char *path)
{
    const struct node *nearest = NULL;

    for (size_t i = 0; i < o->n; i++)
        if (is_in(path, o->nodes[i]->path) &&
            (nearest == NULL || strlen(o->nodes[i]->path) > strlen(nearest->path)))
            nearest = o->nodes[i];
    if (nearest == NULL)
        return mem_strdup(path);
    if (nearest->gone || nearest->below == NULL)
        return NULL;
    size_t head = strlen(nearest->below), skip = strlen(nearest->path), tail = strlen(path) - skip;
    char *out = mem_alloc(head + tail + 1);
    memcpy(out, nearest->below, head);
    memcpy(out + head, path + skip, tail + 1);
    return out;
}

static struct node *add(struct fs_overlay *o, const char *path, char *below)
{
    struct node *x = mem_zalloc(sizeof(*x));

    if (o->n == o->cap) {
        o->cap = o->cap * 2 + 16;
        o->nodes = mem_realloc(o->nodes, o->cap * sizeof(struct node *));
    }
    x->path = mem_strdup(path);
    x->below = below;
    o->nodes[o->n++] = x;
    return x;
}

static int64_t size_below(struct fs_overlay *o, const char *path)
{
    fs_fd fd = path != NULL ? fs_open(o->below, path, IO_FILE_READ) : -ENOENT;
    int64_t size = fd < 0 ? fd : fs_size(o->below, fd);

    if (fd >= 0)
        fs_close(o->below, fd);
    return size;
}

static void count_name(void *ctx, const char *name)
{
    (void) name;
    ++*(size_t *) ctx;
}

static bool directory_below(struct fs_overlay *o, const char *path)
{
    size_t n = 0;

    return path != NULL && fs_list(o->below, path, count_name, &n) == 0;
}

/* The node of what the path names now, made if there is none; NULL with *error when there is
 * nothing of that name. */
static struct node *touch(struct fs_overlay *o, const char *path, int *error)
{
    struct node *x = find(o, path);

    *error = -ENOENT;
    if (x != NULL)
        return x->gone ? NULL : x;
    char *below = below_of(o, path);
    int64_t size = size_below(o, below);
    bool directory = size < 0 && directory_below(o, below);
    if (size < 0 && !directory) {
        *error = below != NULL ? (int) size : -ENOENT;
        mem_free(below);
        return NULL;
    }
    x = add(o, path, below);
    x->directory = directory;
    x->size = x->shows = size > 0 ? (uint64_t) size : 0;
    return x;
}

/* ---- files ----------------------------------------------------------------------------------- */

static fs_fd new_handle(struct fs_overlay *o, struct handle h)
{
    size_t i = 0;

    while (i < o->nhandles && o->handles[i].used)
        i++;
    if (i == o->nhandles)
        o->handles = mem_realloc(o->handles, ++o->nhandles * sizeof(*o->handles));
    h.used = true;
    o->handles[i] = h;
    return (fs_fd) i;
}

static void drop_pages(struct node *x)
{
    while (x->npages > 0)
        mem_free(x->pages[--x->npages].bytes);
}

static fs_fd overlay_open(struct io_fs *fs, const char *path, unsigned flags)
{
    struct fs_overlay *o = overlay_of(fs);
    struct node *x = find(o, path);
    int error;

    if ((flags & (IO_FILE_WRITE | IO_FILE_CREATE)) == 0 && x == NULL) {
        char *below = below_of(o, path);
        fs_fd fd = below != NULL ? fs_open(o->below, below, IO_FILE_READ) : -ENOENT;
        mem_free(below);
        return fd < 0 ? fd : new_handle(o, (struct handle){.fd = fd});
    }
    x = touch(o, path, &error);
    if ((flags & IO_FILE_CREATE) != 0) {
        if (x != NULL)
            return -EEXIST;
        x = find(o, path);
        if (x == NULL)
            x = add(o, path, NULL);
        drop_pages(x); /* of another file that had the name */
        x->gone = x->directory = false;
        x->written = true;
        x->size = x->shows = 0;
    }
    if (x == NULL || x->directory)
        return x == NULL ? error : -EISDIR;
    fs_fd fd = x->below != NULL ? fs_open(o->below, x->below, IO_FILE_READ) : -1;
    return new_handle(o, (struct handle){.node = x, .fd = fd < 0 ? -1 : fd});
}

static void overlay_close(struct io_fs *fs, fs_fd fd)
{
    struct fs_overlay *o = overlay_of(fs);

    if (o->handles[fd].fd >= 0)
        fs_close(o->below, o->handles[fd].fd);
    o->handles[fd].used = false;
}

/* The place of the first page at or behind this one. */
static size_t page_place(const struct node *x, uint64_t index)
{
    size_t low = 0, high = x->npages;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (x->pages[mid].index < index)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static int read_page(struct fs_overlay *o, const struct handle *h, uint64_t index,
                     uint8_t out[PAGE])
{
    const struct node *x = h->node;
    size_t at = page_place(x, index);
    uint64_t from = index * PAGE;

    if (at < x->npages && x->pages[at].index == index) {
        memcpy(out, x->pages[at].bytes, PAGE);
        return 0;
    }
    memset(out, 0, PAGE);
    if (h->fd < 0 || from >= x->shows)
        return 0;
    size_t n = x->shows - from < PAGE ? (size_t) (x->shows - from) : PAGE;
    int64_t got = fs_read(o->below, h->fd, out, n, from);
    return got < 0 ? (int) got : 0;
}

static int64_t overlay_read(struct io_fs *fs, fs_fd fd, void *into, size_t n, uint64_t offset)
{
    struct fs_overlay *o = overlay_of(fs);
    const struct handle *h = &o->handles[fd];
    uint8_t page[PAGE];
    size_t done = 0;

    if (h->node == NULL)
        return fs_read(o->below, h->fd, into, n, offset);
    if (offset >= h->node->size)
        return 0;
    if (n > h->node->size - offset)
        n = (size_t) (h->node->size - offset);
    if (h->node->npages == 0 && h->fd >= 0 && offset + n <= h->node->shows)
        return fs_read(o->below, h->fd, into, n, offset);
    while (done < n) {
        uint64_t at = offset + done;
        size_t in = (size_t) (at % PAGE), part = n - done < PAGE - in ? n - done : PAGE - in;
        int res = read_page(o, h, at / PAGE, page);
        if (res < 0)
            return res;
        memcpy((uint8_t *) into + done, page + in, part);
        done += part;
    }
    return (int64_t) n;
}

static int write_page(struct fs_overlay *o, const struct handle *h, uint64_t index, size_t in,
                      const uint8_t *bytes, size_t n)
{
    struct node *x = h->node;
    size_t at = page_place(x, index);

    if (at == x->npages || x->pages[at].index != index) {
        uint8_t *fresh = mem_alloc(PAGE);
        int res = read_page(o, h, index, fresh);
        if (res < 0) {
            mem_free(fresh);
            return res;
        }
        if (x->npages == x->pages_cap) {
            x->pages_cap = x->pages_cap * 2 + 16;
            x->pages = mem_realloc(x->pages, x->pages_cap * sizeof(*x->pages));
        }
        memmove(x->pages + at + 1, x->pages + at, (x->npages - at) * sizeof(*x->pages));
        x->pages[at] = (struct page){index, fresh};
        x->npages++;
    }
    memcpy(x->pages[at].bytes + in, bytes, n);
    return 0;
}

static int overlay_write(struct io_fs *fs, fs_fd fd, const void *bytes, size_t n, uint64_t offset)
{
    struct fs_overlay *o = overlay_of(fs);
    const struct handle *h = &o->handles[fd];

    if (h->node == NULL)
        return -EBADF;
    for (size_t done = 0; done < n;) {
        uint64_t at = offset + done;
        size_t in = (size_t) (at % PAGE), part = n - done < PAGE - in ? n - done : PAGE - in;
        int res = write_page(o, h, at / PAGE, in, (const uint8_t *) bytes + done, part);
        if (res < 0)
            return res;
        done += part;
    }
    h->node->written = true;
    if (offset + n > h->node->size)
        h->node->size = offset + n;
    return 0;
}

static int overlay_sync(struct io_fs *fs, fs_fd fd)
{
    (void) fs;
    (void) fd;
    return 0;
}

static int64_t overlay_size(struct io_fs *fs, fs_fd fd)
{
    struct fs_overlay *o = overlay_of(fs);
    const struct handle *h = &o->handles[fd];

    return h->node != NULL ? (int64_t) h->node->size : fs_size(o->below, h->fd);
}

static int overlay_truncate(struct io_fs *fs, fs_fd fd, uint64_t size)
{
    struct node *x = overlay_of(fs)->handles[fd].node;

    if (x == NULL)
        return -EBADF;
    x->written = x->written || size != x->size;
    if (size < x->shows)
        x->shows = size;
    for (size_t at = page_place(x, size / PAGE); size < x->size && at < x->npages; at++) {
        uint64_t from = x->pages[at].index * PAGE;
        size_t keep = from < size ? (size_t) (size - from) : 0;
        memset(x->pages[at].bytes + keep, 0, PAGE - keep);
    }
    x->size = size;
    return 0;
}

static int overlay_allocate(struct io_fs *fs, fs_fd fd, uint64_t size)
{
    struct node *x = overlay_of(fs)->handles[fd].node;

    if (x == NULL)
        return -EBADF;
    return size > x->size ? overlay_truncate(fs, fd, size) : 0;
}

/* Whoever has it below has it. */
static int overlay_lock(struct io_fs *fs, fs_fd fd, uint64_t patience_ns)
{
    struct fs_overlay *o = overlay_of(fs);
    const struct handle *h = &o->handles[fd];

    return h->fd < 0 ? 0 : fs_lock(o->below, h->fd, patience_ns);
}

static int64_t overlay_free_bytes(struct io_fs *fs, const char *path)
{
    return fs_free_bytes(overlay_of(fs)->below, path);
}

/* ---- names that change ----------------------------------------------------------------------- */

static int overlay_rename(struct io_fs *fs, const char *from, const char *to)
{
    struct fs_overlay *o = overlay_of(fs);
    struct node *x, *old;
    int error;

    x = touch(o, from, &error);
    if (x == NULL)
        return error;
    old = find(o, to);
    if (old != NULL && !old->gone && old->directory)
        return -EEXIST;
    if (old != NULL) { /* what it was is hidden by x from now on */
        mem_free(old->path);
        old->path = mem_strdup("");
        old->gone = true;
    }
    struct node *hole = add(o, from, NULL);
    hole->gone = true;
    hole->directory = x->directory;
    char *path = hole->path;
    mem_free(x->path);
    x->path = mem_strdup(to);
    for (size_t i = 0; i + 1 < o->n && x->directory; i++) {
        struct node *y = o->nodes[i];
        if (!is_in(y->path, path))
            continue;
        size_t skip = strlen(path), head = strlen(to), tail = strlen(y->path) - skip;
        char *moved = mem_alloc(head + tail + 1);
        memcpy(moved, to, head);
        memcpy(moved + head, y->path + skip, tail + 1);
        mem_free(y->path);
        y->path = moved;
    }
    return 0;
}

static int overlay_unlink(struct io_fs *fs, const char *path)
{
    int error;
    struct node *x = touch(overlay_of(fs), path, &error);

    if (x == NULL)
        return error;
    x->gone = true;
    return 0;
}

static int overlay_mkdir(struct io_fs *fs, const char *path)
{
    struct fs_overlay *o = overlay_of(fs);
    int error;
    struct node *x = touch(o, path, &error);

    if (x != NULL)
        return -EEXIST;
    x = find(o, path);
    if (x == NULL)
        x = add(o, path, NULL);
    x->gone = false;
    x->directory = x->written = true;
    return 0;
}

struct names {
    char **name;
    size_t n, cap;
};

static void put_name(struct names *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->name[i], name) == 0)
            return;
    if (names->n == names->cap) {
        names->cap = names->cap * 2 + 16;
        names->name = mem_realloc(names->name, names->cap * sizeof(char *));
    }
    names->name[names->n++] = mem_strdup(name);
}

struct listing {
    const struct fs_overlay *o;
    const char *path;
    struct names names;
};

/* The node of an entry of the directory. */
static const struct node *entry(const struct fs_overlay *o, const char *path, const char *name)
{
    for (size_t i = 0; i < o->n; i++) {
        const char *p = o->nodes[i]->path;
        if (is_in(p, path) && strcmp(p + strlen(path) + 1, name) == 0)
            return o->nodes[i];
    }
    return NULL;
}

static void from_below(void *ctx, const char *name)
{
    struct listing *l = ctx;

    if (entry(l->o, l->path, name) == NULL)
        put_name(&l->names, name);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

static int overlay_list(struct io_fs *fs, const char *path,
                        void (*each)(void *ctx, const char *name), void *ctx)
{
    struct fs_overlay *o = overlay_of(fs);
    struct listing l = {.o = o, .path = path};
    const struct node *x = find(o, path);
    char *below = x == NULL                     ? below_of(o, path)
                  : x->gone || x->below == NULL ? NULL
                                                : mem_strdup(x->below);
    int res = below != NULL                           ? fs_list(o->below, below, from_below, &l)
              : x != NULL && !x->gone && x->directory ? 0
                                                      : -ENOENT;

    mem_free(below);
    for (size_t i = 0; i < o->n && res == 0; i++) {
        const struct node *y = o->nodes[i];
        const char *name = is_in(y->path, path) ? y->path + strlen(path) + 1 : NULL;
        if (name != NULL && !y->gone && strchr(name, '/') == NULL)
            put_name(&l.names, name);
    }
    if (l.names.n > 0)
        qsort(l.names.name, l.names.n, sizeof(char *), by_bytes);
    for (size_t i = 0; i < l.names.n; i++) {
        if (res == 0)
            each(ctx, l.names.name[i]);
        mem_free(l.names.name[i]);
    }
    mem_free(l.names.name);
    return res;
}

static int overlay_rmdir(struct io_fs *fs, const char *path)
{
    size_t n = 0;
    int res = overlay_list(fs, path, count_name, &n);

    if (res < 0)
        return res;
    return n > 0 ? -ENOTEMPTY : overlay_unlink(fs, path);
}

static int overlay_sync_dir(struct io_fs *fs, const char *path)
{
    (void) fs;
    (void) path;
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static const struct io_fs_ops ops = {
    .open = overlay_open,
    .close = overlay_close,
    .read = overlay_read,
    .write = overlay_write,
    .sync = overlay_sync,
    .size = overlay_size,
    .truncate = overlay_truncate,
    .allocate = overlay_allocate,
    .rename = overlay_rename,
    .unlink = overlay_unlink,
    .mkdir = overlay_mkdir,
    .rmdir = overlay_rmdir,
    .sync_dir = overlay_sync_dir,
    .list = overlay_list,
    .lock = overlay_lock,
    .free_bytes = overlay_free_bytes,
};

struct fs_overlay *fs_overlay_open(struct io_fs *below)
{
    struct fs_overlay *o = mem_zalloc(sizeof(*o));

    o->door.ops = &ops;
    o->below = below;
    return o;
}

struct io_fs *fs_overlay_door(struct fs_overlay *o)
{
    return &o->door;
}

void fs_overlay_close(struct fs_overlay *o)
{
    for (size_t i = 0; i < o->n; i++) {
        struct node *x = o->nodes[i];
        drop_pages(x);
        mem_free(x->pages);
        mem_free(x->path);
        mem_free(x->below);
        mem_free(x);
    }
    for (size_t i = 0; i < o->nhandles; i++)
        ASSERT(!o->handles[i].used);
    mem_free(o->handles);
    mem_free(o->nodes);
    mem_free(o);
}

void fs_overlay_changes(const struct fs_overlay *o,
                        void (*each)(void *ctx, enum fs_change change, const char *path,
                                     const char *from),
                        void *ctx)
{
    for (size_t i = 0; i < o->n; i++) {
        const struct node *x = o->nodes[i];
        bool moved = x->below != NULL && strcmp(x->below, x->path) != 0;
        if (x->gone && x->below != NULL && x->path[0] != '\0')
            each(ctx, FS_REMOVED, x->below, NULL);
        else if (!x->gone && moved)
            each(ctx, FS_RENAMED, x->path, x->below);
        else if (!x->gone && x->written)
            each(ctx, x->below == NULL ? FS_CREATED : FS_WRITTEN, x->path, NULL);
    }
}
