/*
 * io_spin.h - whether it pays to spin before sleeping, learned from how long the waits lasted.
 *
 * A wait that ends by itself within the limit is cheaper spun than slept: waking a thread costs the
 * waker 2-5 us and the sleeper 20-40 us here. A wait that does not is spun for nothing. So what is
 * learned is how many of the last waits were short (a moving share, by eighths), and a thread spins
 * while most are. A wait that was spun is short when the spinning was enough; one that was slept
 * through at once is taken for short even with what waking added.
 * One owner thread.
 */
#ifndef IO_IO_SPIN_H
#define IO_IO_SPIN_H

#include <stdbool.h>
#include <stdint.h>

/* What waking from sleep adds to a wait. */
#define IO_SPIN_WAKE_NS 30000
#define IO_SPIN_ALL 256

struct io_spin {
    uint64_t limit_ns; /* 0 = never */
    unsigned share;    /* of short waits, IO_SPIN_ALL = all */
};

static inline void io_spin_init(struct io_spin *spin, uint64_t limit_ns)
{
    spin->limit_ns = limit_ns;
    spin->share = 0;
}

/* How long to spin this time. */
static inline uint64_t io_spin_ns(const struct io_spin *spin)
{
    return spin->share > IO_SPIN_ALL / 2 ? spin->limit_ns : 0;
}

/* waited_ns: how long it took until there was something; spun: io_spin_ns was not 0. */
static inline void io_spin_learn(struct io_spin *spin, uint64_t waited_ns, bool spun, bool slept)
{
    bool was_short = spun ? !slept : waited_ns <= spin->limit_ns + IO_SPIN_WAKE_NS;

    spin->share -= spin->share / 8;
    spin->share += was_short ? IO_SPIN_ALL / 8 : 0;
}

static inline void io_spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

#endif
