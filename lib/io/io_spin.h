/*
 * io_spin.h - whether it pays to spin before sleeping, learned from how long the waits lasted.
 *
 * A wait that ends by itself within the limit is cheaper spun than slept: waking a thread costs the waker 2-5 us
 * and the sleeper 20-25 us here (why the average is compared with twice the limit). The average of the last waits (each cut at four limits, so that one long
 * pause is forgotten after about a dozen short waits) decides; a thread whose waits are long never spins.
 * One owner thread.
 */
#ifndef IO_IO_SPIN_H
#define IO_IO_SPIN_H

#include <stdbool.h>
#include <stdint.h>

struct io_spin {
    uint64_t limit_ns; /* 0 = never */
    uint64_t average_ns;
};

static inline void io_spin_init(struct io_spin *spin, uint64_t limit_ns)
{
    spin->limit_ns = limit_ns;
    spin->average_ns = 4 * limit_ns;
}

/* How long to spin this time. */
static inline uint64_t io_spin_ns(const struct io_spin *spin)
{
    return spin->average_ns <= 2 * spin->limit_ns ? spin->limit_ns : 0;
}

static inline void io_spin_learn(struct io_spin *spin, uint64_t waited_ns)
{
    uint64_t cut = 4 * spin->limit_ns;
    uint64_t w = waited_ns < cut ? waited_ns : cut;

    spin->average_ns = (7 * spin->average_ns + w) / 8;
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
