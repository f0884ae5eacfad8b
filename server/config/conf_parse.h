/*
 * conf_parse.h - the configuration grammar of NATS: text to a tree of values. Pure: files
 * come through a callback.
 *
 *     document  = { key [ ":" | "=" ] value ( newline | "," | ";" ) }
 *     value     = "{" document "}" | "[" values "]" | text | block | bare word
 *     text      = 'as it is' | "with \x41 \t \n \r \" \\"
 *     block     = "(" lines ")" with the closing parenthesis alone on its line
 *     bare word = bool (true yes on, false no off) | integer with k kb ki kib m g t p e
 *               | float | date-time | $variable | text
 *     comment   = "#" or "//" to the end of the line
 *     include 'file'   in place of a key, at any level, relative to the including file
 *
 * JSON is a subset. Keys keep their case; looking up ignores it. A variable is looked for outward
 * through the enclosing maps (keys defined before), then in the environment, whose text is parsed
 * as a value.
 *
 * A value is, as nats-server has it, where its key is; in a list where it begins, a map there
 * where its first key is. Columns count from 1, in the first line from 0.
 *
 * Errors are "file:line:col: text". Limits: 64 levels, 16 nested includes, 16 MiB of text per file,
 * 1,000,000 values in all (a variable that names a list copies it).
 */
#ifndef CONFIG_CONF_PARSE_H
#define CONFIG_CONF_PARSE_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conf_kind { CONF_TEXT, CONF_INT, CONF_FLOAT, CONF_BOOL, CONF_TIME, CONF_LIST, CONF_MAP };

struct conf_value {
    enum conf_kind kind;
    const char *file;   /* owned by the tree's root */
    unsigned line, col; /* from 1; columns of line 1 from 0, as nats-server counts them */
    char *text;         /* CONF_TEXT; else the source text of a scalar */
    int64_t integer;    /* CONF_INT; CONF_BOOL as 0 or 1; CONF_TIME as unix ns */
    double real;        /* CONF_FLOAT */
    /* CONF_LIST and CONF_MAP */
    struct conf_value **items;
    char **keys; /* CONF_MAP; parallel to items */
    size_t n;
    bool used; /* this key of a map was used as a variable, which is what it may be there for */
};

struct conf_source {
    /* Reads a file whole into out; false with a text in err. */
    bool (*read)(void *ctx, const char *path, struct buf *out, struct buf *err);
    /* The value of an environment variable or NULL. */
    const char *(*environment)(void *ctx, const char *name);
    void *ctx;
};

struct conf_tree {
    struct conf_value *root; /* a map */
    char **files;            /* names of all files read */
    size_t nfiles;
};

/* Parses the file; false with "file:line:col: text" in err. */
bool conf_parse(const struct conf_source *source, const char *path, struct conf_tree *out,
                struct buf *err);
void conf_tree_free(struct conf_tree *tree);
/* The last value with this key, without case, or NULL. */
const struct conf_value *conf_get(const struct conf_value *map, const char *key);

#endif
