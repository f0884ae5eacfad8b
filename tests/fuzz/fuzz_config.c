/*
 * fuzz_config.c - any text as a configuration file: a sound tree, or an error with its place; any
 * tree as options: within their ranges, or an error with its place.
 *
 * Input: the main file, then, behind NULs, what its includes read: "1", "2" and so on name the
 * parts in turn; other names do not exist. Of the environment only E exists.
 */
#include "lib/base/assert.h"
#include "server/config/conf_parse.h"
#include "server/config/config_file.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static bool read_part(void *ctx, const char *path, struct buf *out, struct buf *err)
{
    struct str part, rest = *(const struct str *) ctx;
    unsigned wanted = path[0] >= '0' && path[0] <= '9' ? (unsigned) (path[0] - '0') : 99;

    part = str_cut(rest, '\0', &rest);
    for (unsigned i = 0; i < wanted && rest.p != NULL; i++)
        part = str_cut(rest, '\0', &rest);
    if (wanted > 9 || path[1] != '\0') {
        buf_printf(err, "open %.40s: no such file", path);
        return false;
    }
    buf_put_str(out, part);
    return true;
}

static const char *environment(void *ctx, const char *name)
{
    (void) ctx;
    return strcmp(name, "E") == 0 ? " 42mb " : NULL;
}

/* "name:line:column: text"; only the main file itself has none when it can not be read. */
static void check_place(const struct buf *err)
{
    struct str rest, name = str_cut(buf_str(err), ':', &rest), line, column;
    uint64_t n, at;

    line = str_cut(rest, ':', &rest);
    column = str_cut(rest, ':', &rest);
    ASSERT(name.n == 1 && str_to_u64(line, &n) && n > 0);
    ASSERT(str_to_u64(column, &at) && (at > 0 || n == 1)); /* nats-server counts line 1 from 0 */
    ASSERT(rest.n > 1 && rest.p[0] == ' ');
}

static void check_value(const struct conf_value *v)
{
    ASSERT(v->file != NULL && v->line > 0 && (v->col > 0 || v->line == 1));
    ASSERT((v->kind == CONF_LIST || v->kind == CONF_MAP) == (v->text == NULL));
    ASSERT(v->n == 0 || v->kind == CONF_LIST || v->kind == CONF_MAP);
    for (size_t i = 0; i < v->n; i++) {
        check_value(v->items[i]);
        if (v->kind == CONF_MAP)
            ASSERT(conf_get(v, v->keys[i]) != NULL);
    }
}

static void check_options(const struct conf_tree *tree)
{
    struct options o;
    struct buf err = {0};
    char why[256] = "";

    options_init(&o);
    if (!config_file_apply(tree, &o, &err)) {
        check_place(&err);
    } else {
        options_finish(&o);
        ASSERT(o.port >= -1 && o.port <= OPTIONS_PORT_MAX && o.http_port >= -1 &&
               o.http_port <= OPTIONS_PORT_MAX);
        ASSERT(o.workers <= OPTIONS_WORKERS_MAX && o.ping_interval_ns > 0);
        ASSERT(options_check(&o, why) == (why[0] == '\0'));
    }
    options_free(&o);
    buf_free(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = str_from(data, size);
    struct conf_source source = {read_part, environment, &input};
    struct conf_tree tree;
    struct buf err = {0};

    if (conf_parse(&source, "0", &tree, &err)) {
        check_value(tree.root);
        check_options(&tree);
    } else {
        check_place(&err);
    }
    conf_tree_free(&tree);
    buf_free(&err);
    return 0;
}
