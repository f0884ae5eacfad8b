/* test_mem.c - the door to the heap: contents, alignment, the failure aid, and that control
 * allocations abort. */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "tests/lib/runner.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The sanitizers' allocators stop the program at sizes that malloc answers with NULL, unless told.
 */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

TEST(allocates_and_copies)
{
    unsigned char *z = mem_zalloc(100);
    char *a = mem_array(10, 10), *s = mem_strdup("abc"), *n = mem_strndup("abcdef", 2);

    for (int k = 0; k < 100; k++)
        ck_assert_uint_eq(z[k], 0);
    memset(a, 'x', 100);
    a = mem_realloc(a, 100000);
    ck_assert(a[0] == 'x' && a[99] == 'x');
    ck_assert_str_eq(s, "abc");
    ck_assert_str_eq(n, "ab");
    mem_free(z);
    mem_free(a);
    mem_free(s);
    mem_free(n);
    mem_free(NULL);
}

TEST(gives_memory_for_zero_bytes)
{
    void *all[] = {mem_alloc(0),        mem_zalloc(0),    mem_realloc(NULL, 0),
                   mem_array(0, 8),     mem_try_alloc(0), mem_try_alloc_aligned(64, 0),
                   mem_strndup(NULL, 0)};

    for (size_t k = 0; k < ARRAY_LEN(all); k++) {
        ck_assert_ptr_nonnull(all[k]);
        mem_free(all[k]);
    }
}

TEST(aligns)
{
    for (size_t alignment = 1; alignment <= 1 << 16; alignment *= 2) {
        void *p = mem_try_alloc_aligned(alignment, 100);
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t) p % alignment, 0);
        memset(p, 1, 100);
        mem_free(p);
    }
}

TEST(fails_the_nth_try_once)
{
    for (unsigned n = 1; n < 6; n++) {
        mem_fail_after(n);
        for (unsigned k = 1; k < 10; k++) {
            void *p = k % 2 ? mem_try_alloc(8) : mem_try_alloc_aligned(16, 8);
            ck_assert_int_eq(p == NULL, k == n);
            mem_free(p);
            /* What can not fail does not count. */
            mem_free(mem_alloc(8));
        }
    }
    mem_fail_after(1);
    mem_fail_after(0);
    mem_free(mem_try_alloc(8));
    mem_fail_after(0);
}

TEST(refuses_what_the_machine_does_not_have)
{
    volatile size_t huge = SIZE_MAX / 2;

    ck_assert_ptr_null(mem_try_alloc(huge));
    ck_assert_ptr_null(mem_try_alloc_aligned(4096, huge));
}

/* Runs body in a child; it must abort with `text` on standard error. */
static void must_abort(void (*body)(void), const char *text)
{
    int fds[2], status;
    char out[512];
    size_t n = 0;
    ssize_t got;
    pid_t pid;

    ck_assert_int_eq(pipe(fds), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(fds[1], 2);
        body();
        _exit(0);
    }
    close(fds[1]);
    while ((got = read(fds[0], out + n, sizeof(out) - 1 - n)) > 0)
        n += (size_t) got;
    out[n] = '\0';
    close(fds[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_msg(strstr(out, text) != NULL, "%s", out);
}

static void overflow_array(void)
{
    volatile size_t count = SIZE_MAX / 4;
    mem_free(mem_array(count, 5));
}

static void exhaust(void)
{
    volatile size_t huge = SIZE_MAX / 2;
    mem_free(mem_alloc(huge));
}

static void break_promise(void)
{
    volatile int two = 2;
    ASSERT(two == 3);
}

TEST(aborts_with_a_message)
{
    must_abort(overflow_array, "too large");
    must_abort(exhaust, "out of memory for ");
    must_abort(break_promise, "assertion failed: two == 3");
    must_abort(break_promise, "midge: ");
}

static const struct runner_case cases[] = {
    RUN(allocates_and_copies),
    RUN(gives_memory_for_zero_bytes),
    RUN(aligns),
    RUN(fails_the_nth_try_once),
    RUN(refuses_what_the_machine_does_not_have),
    RUN(aborts_with_a_message),
};

RUNNER_MAIN("base/mem", cases)
