/* test_fetch_session.c - sessions of Fetch: what they hold, what is told, limits and eviction. */
#include "lib/base/mem.h"
#include "server/kafka/fetch_session.h"
#include "tests/lib/runner.h"

#define SECOND UINT64_C(1000000000)

static struct fetch_sessions all;
static struct prng prng;
static const struct kafka_uuid no_id;

static void setup(void)
{
    prng_init(&prng, 5);
    fetch_sessions_init(&all, &prng);
}

static bool put(struct fetch_session *s, const char *topic, int32_t partition, int64_t offset)
{
    struct kafka_fetch_request_partitions q = {.partition = partition, .fetch_offset = offset};

    return fetch_session_put(&all, s, str_of(topic), &no_id, &q);
}

static struct fetch_session_part *part(struct fetch_session *s, const char *topic, int32_t n)
{
    return fetch_session_find(s, str_of(topic), &no_id, n);
}

TEST(what_is_asked_for)
{
    struct fetch_session *s;

    setup();
    s = fetch_sessions_make(&all, 3, false, 2, 0);
    ck_assert(s->id > 0 && s->epoch == 1 && s->n == 0);
    ck_assert(put(s, "a", 0, 5) && put(s, "a", 1, 6) && put(s, "b", 0, 7));
    ck_assert(put(s, "a", 1, 60));
    ck_assert_uint_eq(s->n, 3);
    ck_assert_uint_eq(all.parts, 3);
    ck_assert_int_eq(part(s, "a", 1)->asked.fetch_offset, 60);
    fetch_session_forget(&all, s, STR("a"), &no_id, 0);
    fetch_session_forget(&all, s, STR("a"), &no_id, 7);
    ck_assert(part(s, "a", 0) == NULL && part(s, "b", 0) != NULL && s->n == 2);
    /* Only its account finds it. */
    ck_assert_ptr_eq(fetch_sessions_find(&all, s->id, 3, 1), s);
    ck_assert_ptr_null(fetch_sessions_find(&all, s->id, 4, 1));
    ck_assert_ptr_null(fetch_sessions_find(&all, s->id ^ 1, 3, 1));
    s->epoch = INT32_MAX;
    fetch_session_turn(s);
    ck_assert_int_eq(s->epoch, 1);
    fetch_sessions_drop(&all, s);
    ck_assert(all.n == 0 && all.parts == 0);
    fetch_sessions_deinit(&all);
}

/* Ids are another key than names. */
TEST(by_id)
{
    struct kafka_uuid x = {{1}}, y = {{2}};
    struct kafka_fetch_request_partitions q = {.partition = 4};
    struct fetch_session *s;

    setup();
    s = fetch_sessions_make(&all, 0, true, 2, 0);
    ck_assert(fetch_session_put(&all, s, STR(""), &x, &q));
    ck_assert_ptr_nonnull(fetch_session_find(s, STR(""), &x, 4));
    ck_assert_ptr_null(fetch_session_find(s, STR(""), &y, 4));
    fetch_sessions_deinit(&all);
}

TEST(what_is_new_is_told)
{
    struct kafka_fetch_response_partitions a = {.high_watermark = 10, .last_stable_offset = 10};
    struct fetch_session *s;

    setup();
    s = fetch_sessions_make(&all, 0, false, 2, 0);
    put(s, "a", 0, 5);
    put(s, "b", 0, 5);
    ck_assert(fetch_session_tell(s, part(s, "a", 0), &a));
    ck_assert(!fetch_session_tell(s, part(s, "a", 0), &a));
    ck_assert_ptr_eq(list_first(&s->order), &part(s, "a", 0)->link);
    a.high_watermark = 11;
    ck_assert(fetch_session_tell(s, part(s, "a", 0), &a));
    a.log_start_offset = 3;
    ck_assert(fetch_session_tell(s, part(s, "a", 0), &a));
    a.last_stable_offset = 11;
    ck_assert(fetch_session_tell(s, part(s, "a", 0), &a));
    ck_assert(!fetch_session_tell(s, part(s, "a", 0), &a));
    /* An error always, and its end. */
    a.error_code = 1;
    ck_assert(fetch_session_tell(s, part(s, "a", 0), &a));
    ck_assert(fetch_session_tell(s, part(s, "a", 0), &a));
    a.error_code = 0;
    ck_assert(fetch_session_tell(s, part(s, "a", 0), &a));
    ck_assert(!fetch_session_tell(s, part(s, "a", 0), &a));
    /* Who got records comes behind the others. */
    a.records.n = 7;
    ck_assert(fetch_session_tell(s, part(s, "a", 0), &a));
    ck_assert(fetch_session_tell(s, part(s, "a", 0), &a));
    ck_assert_ptr_eq(list_first(&s->order), &part(s, "b", 0)->link);
    fetch_sessions_deinit(&all);
}

TEST(sessions_have_a_limit)
{
    struct fetch_session *s;
    int32_t first = 0, second = 0;

    setup();
    for (uint32_t k = 0; k < FETCH_SESSIONS_MAX; k++) {
        s = fetch_sessions_make(&all, 0, false, 1, 0);
        ck_assert_ptr_nonnull(s);
        put(s, "a", 0, 0);
        first = k == 0 ? s->id : first;
        second = k == 1 ? s->id : second;
    }
    /* Not while all are young, or used and not smaller. */
    ck_assert_ptr_null(fetch_sessions_make(&all, 0, false, 5, FETCH_SESSION_IDLE));
    ck_assert_ptr_nonnull(fetch_sessions_find(&all, first, 0, SECOND));
    /* The one that was used longest ago goes. */
    s = fetch_sessions_make(&all, 0, false, 1, FETCH_SESSION_IDLE + 1);
    ck_assert_ptr_nonnull(s);
    ck_assert_ptr_null(fetch_sessions_find(&all, second, 0, FETCH_SESSION_IDLE + 1));
    ck_assert_ptr_nonnull(fetch_sessions_find(&all, first, 0, FETCH_SESSION_IDLE + 1));
    ck_assert_uint_eq(all.n, FETCH_SESSIONS_MAX);
    /* All are in use: a larger one pushes out an old smaller one, an equal one does not. */
    struct list *l = all.recent.next;
    for (; l != &all.recent; l = l->next)
        LIST_ENTRY(l, struct fetch_session, link)->used = 10 * FETCH_SESSION_IDLE;
    ck_assert_ptr_null(fetch_sessions_make(&all, 0, false, 0, 10 * FETCH_SESSION_IDLE));
    ck_assert_ptr_nonnull(fetch_sessions_make(&all, 0, false, 2, 10 * FETCH_SESSION_IDLE));
    ck_assert_uint_eq(all.n, FETCH_SESSIONS_MAX);
    fetch_sessions_deinit(&all);
}

TEST(partitions_have_a_limit)
{
    struct fetch_session *s;

    setup();
    ck_assert_ptr_null(fetch_sessions_make(&all, 0, false, FETCH_SESSIONS_PARTS + 1, 0));
    s = fetch_sessions_make(&all, 0, false, FETCH_SESSIONS_PARTS, 0);
    for (int32_t k = 0; k < (int32_t) FETCH_SESSIONS_PARTS; k++)
        ck_assert(put(s, "t", k, 0));
    ck_assert(!put(s, "t", FETCH_SESSIONS_PARTS, 0));
    ck_assert(put(s, "t", 7, 1));
    ck_assert_ptr_null(fetch_sessions_make(&all, 0, false, 1, 0));
    ck_assert_ptr_nonnull(fetch_sessions_make(&all, 0, false, 1, FETCH_SESSION_IDLE + 1));
    ck_assert(all.n == 1 && all.parts == 0);
    fetch_sessions_deinit(&all);
}

static const struct runner_case cases[] = {
    RUN(what_is_asked_for),       RUN(by_id), RUN(what_is_new_is_told), RUN(sessions_have_a_limit),
    RUN(partitions_have_a_limit),
};

RUNNER_MAIN("kafka/fetch_session", cases)
