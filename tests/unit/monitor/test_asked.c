/* What is asked of a document: parameters of HTTP and bodies of requests. */
#include "lib/base/mem.h"
#include "server/monitor/monitor_int.h"
#include "tests/lib/runner.h"

#include <string.h>

static const struct document *connz(void)
{
    return document_at("/connz");
}

static const struct param *param(const char *name)
{
    const struct document *d = connz();

    for (size_t i = 0; i < d->nparams; i++)
        if (strcmp(d->params[i].name, name) == 0)
            return &d->params[i];
    ck_abort_msg("no parameter %s", name);
}

TEST(finds_documents)
{
    ck_assert(document_at("/varz") == document_find(STR("VARZ")));
    ck_assert(document_at("/statsz") == NULL);
    ck_assert(document_find(STR("STATSZ")) != NULL);
    ck_assert(document_find(STR("STATZ")) == NULL);
    ck_assert(document_of_account(STR("STATZ")) == document_at("/accstatz"));
    ck_assert(document_of_account(STR("VARZ")) == NULL);
    ck_assert(document_find(STR("")) == NULL);
}

TEST(reads_parameters)
{
    static const struct {
        const char *name, *value;
        size_t at;
        bool is_bool;
        int64_t want;
    } table[] = {
        {"auth", "1", ASKED(auth), true, 1},
        {"auth", "TRUE", ASKED(auth), true, 1},
        {"auth", "F", ASKED(auth), true, 0},
        {"auth", "", ASKED(auth), true, 0},
        {"subs", "true", ASKED(subs), true, 1},
        {"subs", "Detail", ASKED(subs_detail), true, 1},
        {"limit", "17", ASKED(limit), false, 17},
        {"offset", "-3", ASKED(offset), false, -3},
        {"cid", "18446744073709551615", ASKED(cid), false, -1},
        {"state", "CLOSED", ASKED(state), false, ASKED_CLOSED},
        {"state", "any", ASKED(state), false, ASKED_ALL},
        {"state", "all", ASKED(state), false, ASKED_ALL},
        {"state", "open", ASKED(state), false, ASKED_OPEN},
    };

    for (size_t k = 0; k < ARRAY_LEN(table); k++) {
        struct asked a = {0};
        char err[256] = "";
        const void *at = (const char *) &a + table[k].at;
        ck_assert_msg(asked_param(&a, param(table[k].name), table[k].value, err), "%s", err);
        if (table[k].is_bool)
            ck_assert_int_eq(*(const bool *) at, table[k].want);
        else
            ck_assert_int_eq(*(const int64_t *) at, table[k].want);
        asked_free(&a);
    }
}

TEST(refuses_parameters)
{
    static const struct {
        const char *name, *value, *want;
    } table[] = {
        {"auth", "yes",
         "Error decoding boolean for 'auth': strconv.ParseBool: parsing \"yes\": invalid syntax"},
        {"subs", "2",
         "Error decoding boolean for 'subs': strconv.ParseBool: parsing \"2\": invalid syntax"},
        {"limit", "x",
         "Error decoding int for 'limit': strconv.Atoi: parsing \"x\": invalid syntax"},
        {"cid", "-1",
         "Error decoding uint64 for 'cid': strconv.ParseUint: parsing \"-1\": invalid syntax"},
        {"state", "shut", "Error decoding state for shut"},
    };

    for (size_t k = 0; k < ARRAY_LEN(table); k++) {
        struct asked a = {0};
        char err[256] = "";
        ck_assert(!asked_param(&a, param(table[k].name), table[k].value, err));
        ck_assert_str_eq(err, table[k].want);
        asked_free(&a);
    }
}

TEST(reads_bodies)
{
    struct asked a = {0};
    struct buf err = {0};

    ck_assert(asked_read(&a, connz(), STR_NONE, &err));
    ck_assert(asked_read(&a, connz(), STR("null"), &err));
    ck_assert(asked_read(&a, connz(),
                         STR("{\"Subscriptions\":true,\"limit\":3,\"acc\":\"A\",\"state\":2,"
                             "\"server_name\":\"s\",\"tags\":[\"x\",\"y\"],\"unknown\":[1],"
                             "\"cid\":null}"),
                         &err));
    ck_assert(a.subs && !a.subs_detail);
    ck_assert_int_eq(a.limit, 3);
    ck_assert_int_eq(a.state, ASKED_ALL);
    ck_assert_str_eq(a.account, "A");
    ck_assert_str_eq(a.server_name, "s");
    ck_assert_uint_eq(a.tags.n, 2);
    ck_assert_uint_eq(err.n, 0);
    asked_free(&a);
    ck_assert(a.account == NULL && a.tags.n == 0);
    buf_free(&err);
}

TEST(refuses_bodies)
{
    static const struct {
        const char *body, *want;
    } table[] = {
        {"{", "unexpected end of JSON input"},
        {"x", "invalid character 'x' looking for beginning of value"},
        {"  ]", "invalid character ']' looking for beginning of value"},
        {"[]", "json: cannot unmarshal array into Go value of type server.EventFilterOptions"},
        {"\"a\"", "json: cannot unmarshal string into Go value of type server.EventFilterOptions"},
        {"7", "json: cannot unmarshal number into Go value of type server.EventFilterOptions"},
        {"{\"limit\":\"x\"}", "json: cannot unmarshal value into field limit"},
        {"{\"tags\":7}", "json: cannot unmarshal value into field tags"},
        {"{\"cid\":-1}", "json: cannot unmarshal value into field cid"},
    };

    for (size_t k = 0; k < ARRAY_LEN(table); k++) {
        struct asked a = {0};
        struct buf err = {0};
        ck_assert(!asked_read(&a, connz(), str_of(table[k].body), &err));
        ck_assert_str_eq(buf_cstr(&err), table[k].want);
        asked_free(&a);
        buf_free(&err);
    }
}

static const struct runner_case cases[] = {
    RUN(finds_documents), RUN(reads_parameters), RUN(refuses_parameters),
    RUN(reads_bodies),    RUN(refuses_bodies),
};

RUNNER_MAIN("monitor/asked", cases)
