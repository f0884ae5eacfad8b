#include "tests/unit/wire/guard.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void guard_init(struct guard *g, size_t n)
{
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    size_t inner = (n + page - 1) / page * page;
    g->map_n = inner + 2 * page;
    g->map = mmap(NULL, g->map_n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g->map == MAP_FAILED || mprotect(g->map + page, inner, PROT_READ | PROT_WRITE) != 0)
        abort();
    g->start = g->map + page;
    g->end = g->start + inner;
}

void guard_deinit(struct guard *g)
{
    munmap(g->map, g->map_n);
}
