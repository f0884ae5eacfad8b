/* io_clock.c - see io_clock.h. */
#include "lib/io/io_clock.h"

static bool near(int64_t a, int64_t b)
{
    return a - b < IO_CLOCK_STEP && b - a < IO_CLOCK_STEP;
}

static int64_t believe(struct io_clock *c, int64_t offset, int64_t wall)
{
    c->offset = offset;
    c->started = true;
    c->doubted = false;
    return wall;
}

int64_t io_clock_look(struct io_clock *c, uint64_t now, int64_t wall, uint64_t asleep,
                      enum io_clock_news *news)
{
    int64_t offset = wall - (int64_t) now;

    *news = IO_CLOCK_QUIET;
    c->offset += (int64_t) (asleep - c->asleep);
    c->asleep = asleep;
    if (!c->started)
        return believe(c, offset, wall);
    if (near(offset, c->offset)) {
        *news = c->doubted ? IO_CLOCK_BACK : IO_CLOCK_QUIET;
        return believe(c, offset, wall);
    }
    if (!c->doubted || !near(offset, c->claim)) {
        *news = IO_CLOCK_DOUBTED;
        c->doubted = true;
        c->since = now;
    } else if (now - c->since >= IO_CLOCK_TRUST) {
        *news = IO_CLOCK_BELIEVED;
        return believe(c, offset, wall);
    }
    c->claim = offset;
    return (int64_t) now + c->offset;
}
