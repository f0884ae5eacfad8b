/* test_log.c - lines to whom they concern: levels, long lines, line breaks inside. */
#include "lib/base/assert.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "tests/lib/runner.h"

#include <string.h>

struct probe {
    struct log log;
    unsigned lines;
    enum log_level level;
    char text[10000];
};

static void collect(struct log *log, enum log_level level, const char *text)
{
    struct probe *p = CONTAINER_OF(log, struct probe, log);

    p->lines++;
    p->level = level;
    ck_assert_uint_lt(strlen(text), sizeof(p->text));
    memcpy(p->text, text, strlen(text) + 1);
}

TEST(keeps_to_enabled_levels)
{
    static struct probe p = {.log = {.line = collect}};

    for (unsigned enabled = 0; enabled < 64; enabled++) {
        p.log.enabled = enabled;
        for (int level = LOG_FATAL; level <= LOG_TRACE; level++) {
            p.lines = 0;
            log_print(&p.log, (enum log_level) level, "x %d", level);
            ck_assert_uint_eq(p.lines, enabled >> level & 1);
            if (p.lines > 0)
                ck_assert_int_eq(p.level, level);
        }
    }
    log_print(NULL, LOG_ERROR, "dropped");
    ck_assert(!log_on(NULL, LOG_ERROR));
}

TEST(does_not_evaluate_what_is_off)
{
    static struct probe p = {.log = {.line = collect, .enabled = 1u << LOG_TRACE}};
    int n = 0;

    LOG_DBG(&p.log, "%d", ++n);
    ck_assert_int_eq(n, 0);
    LOG_TRC(&p.log, "%d", ++n);
    ck_assert_int_eq(n, 1);
    ck_assert_str_eq(p.text, "1");
}

TEST(stays_one_line)
{
    static struct probe p = {.log = {.line = collect, .enabled = 1u << LOG_INFO}};

    LOG_INF(&p.log, "name %s end", "a\r\nb\nc");
    ck_assert_str_eq(p.text, "name a  b c end");
}

TEST(cuts_long_lines)
{
    static struct probe p = {.log = {.line = collect, .enabled = 1u << LOG_WARN}};
    char *text = mem_alloc(20001);

    memset(text, 'y', 20000);
    text[20000] = '\0';
    LOG_WRN(&p.log, "%s", text);
    ck_assert_uint_eq(strlen(p.text), 8192);
    text[8192] = '\0';
    LOG_WRN(&p.log, "%s", text);
    ck_assert_str_eq(p.text, text);
    mem_free(text);
}

static const struct runner_case cases[] = {
    RUN(keeps_to_enabled_levels),
    RUN(does_not_evaluate_what_is_off),
    RUN(stays_one_line),
    RUN(cuts_long_lines),
};

RUNNER_MAIN("base/log", cases)
