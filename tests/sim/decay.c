/*
 * decay.c - see decay.h.
 *
 * Three of four damages hit segments, at a place where something was written: most of a file is
 * prepared and empty.
 */
#include "tests/sim/decay.h"

#include "lib/base/prng.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_disk_int.h"

#include <stdio.h>
#include <string.h>

enum { FILES_MAX = 400, TRIES = 16 };

struct files {
    char path[FILES_MAX][120];
    unsigned n;
    bool logs;
};

static bool is_segment(const char *path)
{
    return strstr(path, ".seg") != NULL && strstr(path, "streams/") != NULL;
}

static void note(void *ctx, const char *path, struct sim_inode *ino)
{
    struct files *f = ctx;
    bool log = strstr(path, "/log/") != NULL || strstr(path, "/twin/") != NULL;

    if (f->n == FILES_MAX || sim_disk_size(ino) == 0 || (log && !f->logs))
        return;
    snprintf(f->path[f->n++], sizeof(f->path[0]), "/%s", path + (path[0] == '/'));
}

static const char *draw_path(const struct files *f, bool segment, struct prng *rng)
{
    for (unsigned i = 0; i < TRIES; i++) {
        const char *path = f->path[prng_below(rng, f->n)];
        if (is_segment(path) == segment)
            return path;
    }
    return f->path[prng_below(rng, f->n)];
}

static bool read_page(struct sim *sim, const char *path, uint8_t page[SIM_PAGE], uint64_t *at,
                      struct prng *rng)
{
    static const uint8_t empty[SIM_PAGE];
    struct sim_inode *ino;
    bool written = false;

    memset(page, 0, SIM_PAGE);
    if (sim_disk_lookup(sim_disk(sim), path, &ino) < 0)
        return false;
    for (unsigned i = 0; i < TRIES && !written; i++) {
        *at = prng_below(rng, sim_disk_size(ino)) / SIM_PAGE * SIM_PAGE;
        sim_disk_read(ino, page, SIM_PAGE, *at);
        written = memcmp(page, empty, SIM_PAGE) != 0;
    }
    sim_disk_release(sim_disk(sim), ino);
    return written;
}

static void write_page(struct sim *sim, const char *path, const uint8_t page[SIM_PAGE], uint64_t at)
{
    struct sim_disk *d = sim_disk(sim);
    struct sim_inode *ino;

    if (sim_disk_lookup(d, path, &ino) < 0)
        return;
    uint64_t size = sim_disk_size(ino);
    sim_disk_write(d, ino, page, size - at < SIM_PAGE ? (size_t) (size - at) : SIM_PAGE, at);
    sim_disk_harden(d, ino, sim_disk_mark(d));
    sim_disk_release(d, ino);
}

void decay_draw(struct decay *d, struct sim *sim, bool logs, struct prng *rng)
{
    struct files f = {.logs = logs};
    uint8_t page[SIM_PAGE], other[SIM_PAGE];
    uint64_t at, from;

    *d = (struct decay){DECAY_NONE};
    sim_disk_walk(sim_disk(sim), note, &f);
    if (f.n == 0)
        return;
    const char *path = draw_path(&f, prng_below(rng, 4) != 0, rng);
    if (!read_page(sim, path, page, &at, rng))
        return;
    enum decay_kind kind = (enum decay_kind)(1 + prng_below(rng, DECAY_MISDIRECTED));
    size_t byte = prng_below(rng, SIM_PAGE);
    if (kind == DECAY_BYTE) {
        page[byte] ^= (uint8_t) (1 + prng_below(rng, 255));
    } else if (kind == DECAY_PAGE) {
        memset(page, 0, SIM_PAGE);
    } else {
        const char *source = draw_path(&f, prng_below(rng, 2) != 0, rng);
        read_page(sim, source, other, &from, rng);
        memcpy(page, other, SIM_PAGE);
    }
    write_page(sim, path, page, at);
    *d = (struct decay){.kind = kind, .segment = is_segment(path)};
    sim_trace(sim, "decay %u of %s at %llu", (unsigned) kind, path,
              (unsigned long long) (kind == DECAY_BYTE ? at + byte : at));
}
