/* A GET that fails at once: the caller is told later, and once. */
#include "lib/base/buf.h"
#include "server/url_fetch.h"
#include "tests/lib/runner.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>

/* Connecting to it fails within the call. */
#define NOWHERE "http://255.255.255.255/x"
#define SECOND 1000000000ll

struct seen {
    struct url_fetch *fetch;
    unsigned calls;
    bool started, early, empty;
    char err[160];
};

static void came(void *ctx, struct str body, const char *err)
{
    struct seen *s = ctx;

    s->calls++;
    s->early = !s->started;
    s->empty = body.n == 0;
    snprintf(s->err, sizeof(s->err), "%s", err);
}

TEST(told_after_the_start)
{
    struct event_base *base = event_base_new();
    struct seen s = {0};
    struct buf err = {0};

    s.fetch = url_fetch_start(&(struct url_way){.base = base, .timeout_ns = 5 * SECOND}, NOWHERE,
                              came, &s, &err);
    ck_assert_ptr_nonnull(s.fetch);
    ck_assert_uint_eq(s.calls, 0);
    s.started = true;
    ck_assert_int_ge(event_base_dispatch(base), 0);
    ck_assert_uint_eq(s.calls, 1);
    ck_assert(!s.early && s.empty);
    ck_assert_str_eq(s.err, "could not fetch <\"" NOWHERE "\">: no response");
    ck_assert_uint_eq(err.n, 0);
    event_base_free(base);
}

TEST(stopped_before_it_is_told)
{
    struct event_base *base = event_base_new();
    struct seen s = {0};
    struct buf err = {0};

    s.fetch = url_fetch_start(&(struct url_way){.base = base, .timeout_ns = 5 * SECOND}, NOWHERE,
                              came, &s, &err);
    ck_assert_ptr_nonnull(s.fetch);
    url_fetch_stop(s.fetch);
    ck_assert_int_ge(event_base_dispatch(base), 0);
    ck_assert_uint_eq(s.calls, 0);
    event_base_free(base);
}

TEST(waits_for_a_failure)
{
    struct buf body = {0}, err = {0};

    ck_assert(!url_fetch_now(&(struct url_way){.timeout_ns = 5 * SECOND}, NOWHERE, &body, &err));
    ck_assert_str_eq(buf_cstr(&err), "could not fetch <\"" NOWHERE "\">: no response");
    buf_free(&body);
    buf_free(&err);
}

TEST(what_stands_before_the_host_is_not_told)
{
    static const char *const urls[] = {"http://u:s3cret@255.255.255.255/x",
                                       "http://s3cret@255.255.255.255/a@b", "ftp://u:s3cret@a/x",
                                       "http://u:s3cret@a@255.255.255.255/x"};

    for (unsigned k = 0; k < 4; k++) {
        struct buf body = {0}, err = {0};
        ck_assert(
            !url_fetch_now(&(struct url_way){.timeout_ns = 5 * SECOND}, urls[k], &body, &err));
        ck_assert_msg(strstr(buf_cstr(&err), "s3cret") == NULL, "%s", buf_cstr(&err));
        ck_assert_ptr_nonnull(strstr(buf_cstr(&err), k == 2 ? "ftp://a/x" : "255.255.255.255"));
        buf_free(&body);
        buf_free(&err);
    }
}

static const struct runner_case cases[] = {
    RUN(told_after_the_start),
    RUN(stopped_before_it_is_told),
    RUN(waits_for_a_failure),
    RUN(what_stands_before_the_host_is_not_told),
};

RUNNER_MAIN("server/url_fetch", cases)
