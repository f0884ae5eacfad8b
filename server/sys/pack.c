/*
 * pack.c - answers as the request's Accept-Encoding wants them: a stream of Snappy (for "snappy"
 * and "s2"), gzip, or as they are, which is said when something else was asked for.
 */
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/wire/kafka_pack.h"
#include "lib/wire/s2.h"
#include "server/sys/sys_int.h"

#include <string.h>

static bool mentions(struct str accepted, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i + n <= accepted.n; i++)
        if (str_eq_nocase(str_from(accepted.p + i, n), str_from(name, n)))
            return true;
    return false;
}

static void pack_snappy(struct str text, struct buf *out)
{
    struct s2_table *table = mem_alloc(sizeof(*table));

    s2_put_start_snappy(out);
    s2_put_packed(out, text, table);
    mem_free(table);
}

void pack_answer(struct str request_header, struct str text, struct buf *header, struct buf *out)
{
    struct str accepted = header_get(request_header, STR("Accept-Encoding"));
    const char *how = "identity";

    if (mentions(accepted, "snappy") || mentions(accepted, "s2")) {
        pack_snappy(text, out);
        how = "snappy";
    } else if (mentions(accepted, "gzip") && kafka_compress(KAFKA_GZIP, text, out) == ERR_OK) {
        how = "gzip";
    } else {
        buf_put_str(out, text);
    }
    if (accepted.n > 0)
        header_append(header, STR_NONE, STR("Content-Encoding"), str_of(how));
}
