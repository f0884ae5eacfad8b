/*
 * sim_disk_int.h - what sim_disk.c (contents, power cuts) and sim_names.c (the tree) share.
 */
#ifndef TESTS_SIM_DISK_INT_H
#define TESTS_SIM_DISK_INT_H

#include "lib/base/list.h"
#include "tests/sim/sim_disk.h"

struct sim_page {
    uint8_t data[SIM_PAGE]; /* first: copies of aligned pages are several times as fast */
    uint32_t refs;          /* images that show it; of several disks after a crash or clone */
};

/* Contents of a file. pages[i] == NULL is a hole; past size all bytes of the last page are zero. */
struct sim_image {
    struct sim_page **pages;
    size_t npages;
    uint64_t size;
};

enum sim_change_kind { SIM_WRITE, SIM_TRUNCATE, SIM_ALLOCATE };

/* A change of contents that was not synced. A write holds whole sectors as programs saw them after
 * it, so that one that is kept while an earlier one is dropped still is a state that a real cache
 * could have written. */
struct sim_change {
    struct list link; /* of its inode, oldest first */
    uint64_t seq;
    enum sim_change_kind kind;
    uint64_t size;   /* WRITE: end of the bytes; TRUNCATE, ALLOCATE: the size asked for */
    uint64_t offset; /* WRITE: of the first sector */
    size_t n;        /* WRITE: bytes of whole sectors */
    uint8_t data[];
};

struct sim_name {
    char *name;
    struct sim_inode *ino; /* one reference */
};

/* Sorted by bytes. */
struct sim_names {
    struct sim_name *at;
    size_t n;
    size_t cap;
};

struct sim_inode {
    struct list link; /* of the disk, by id */
    unsigned id;
    bool dir;
    bool locked;
    bool diverged;   /* a sync failed: seen has what durable never gets */
    uint64_t failed; /* of what was written up to this mark */
    bool marked;     /* scratch of the closures in sim_names.c */
    unsigned refs;   /* names in both tables, open files, name changes */
    unsigned links;  /* names that programs see */
    unsigned opens;
    struct sim_image seen, durable;
    struct list changes;
    struct sim_names seen_names, durable_names;
};

enum sim_renaming { SIM_LINK, SIM_UNLINK, SIM_RENAME };

/* A change of names that was not synced. It touches dir and, when not NULL, dir2. */
struct sim_name_change {
    struct list link; /* of the disk, oldest first */
    uint64_t seq;
    enum sim_renaming kind;
    bool chosen;
    struct sim_inode *dir, *dir2, *ino; /* a reference each */
    char *name, *name2;
};

struct sim_disk {
    struct list inodes;
    struct sim_inode *root;
    struct sim_page *zero; /* what allocate puts into holes */
    struct list renames;
    uint64_t seq; /* of the last change */
    unsigned last_id;
    uint64_t capacity, used; /* pages; used: by files with links or opens */
    sim_durable_fn told;
    void *told_ctx;
};

/* Never NULL; not from mem.h, whose memory vanishes with a crash (sim_mem.h). */
void *sim_alloc(size_t n);
void *sim_grow(void *p, size_t n);
char *sim_strdup(const char *text);

/* sim_disk.c */
struct sim_inode *sim_inode_new(struct sim_disk *d, bool dir);
void sim_inode_hold(struct sim_inode *ino);
void sim_inode_drop(struct sim_disk *d, struct sim_inode *ino);
/* Pages go back when nobody can reach the contents any more. */
void sim_inode_unused(struct sim_disk *d, struct sim_inode *ino);

/* sim_names.c */
void sim_names_free(struct sim_disk *d, struct sim_names *t);
void sim_names_set(struct sim_disk *d, struct sim_names *t, const char *name,
                   struct sim_inode *ino);
void sim_renames_free(struct sim_disk *d);
/* Chooses which unsynced name changes a crash of `from` keeps; they are marked `chosen`. */
void sim_renames_choose(const struct sim_disk *from, enum sim_crash mode, uint64_t cut,
                        struct prng *rng);
/* Queues the same changes on the copy; by_id[id] = its inode with that id. */
void sim_renames_copy(struct sim_disk *d, const struct sim_disk *from, struct sim_inode **by_id);
/* Applies a change to the durable tables. */
void sim_rename_apply(struct sim_disk *d, const struct sim_name_change *c);
/* Makes what programs see the durable tables of every directory. */
void sim_names_adopt(struct sim_disk *d);

#endif
