/*
 * assert.h - ASSERT for our own invariants, FATAL for what can not be survived.
 *
 * ASSERT stays on in every build: it guards promises between our own functions and is placed where
 * it costs nothing measurable. DEBUG_ASSERT is compiled in only with --enable-debug and by the
 * sanitizer and simulator builds; it is for whole-object checks (x_check) and for inner loops.
 * Input from the network, the disk or the command line is never asserted: it is answered.
 */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#include <stddef.h>

/* Prints "midge: file:line: text" to stderr and aborts. Any thread. */
_Noreturn void fatal_at(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

#define FATAL(...) fatal_at(__FILE__, __LINE__, __VA_ARGS__)

#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            FATAL("assertion failed: %s", #cond);                                                  \
    } while (0)

#ifdef MIDGE_DEBUG
#define DEBUG_ASSERT(cond) ASSERT(cond)
#else
#define DEBUG_ASSERT(cond) ((void) sizeof(cond))
#endif

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define CONTAINER_OF(ptr, type, member) ((type *) ((char *) (ptr) -offsetof(type, member)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
