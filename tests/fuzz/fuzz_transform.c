/*
 * fuzz_transform.c - a transform is refused with a text, or makes valid subjects and nothing else;
 * what is reversible leads back.
 *
 * Input: source, destination and subject with LFs between them.
 */
#include "lib/base/assert.h"
#include "lib/base/subject.h"
#include "server/core/transform.h"
#include "tests/fuzz/fuzz.h"

static void check_way_back(const struct transform *t, struct str subject, struct str made)
{
    struct transform *back = transform_reverse(t);
    struct buf again = {0};

    if (back != NULL && transform_subject(back, made, NULL, &again))
        ASSERT(str_eq(buf_str(&again), subject));
    buf_free(&again);
    transform_free(back);
}

static void check_kind(struct str source, struct str dest, struct str subject,
                       enum transform_kind kind)
{
    struct buf err = {0}, out = {0};
    struct transform *t = transform_new(source, dest, kind, &err);
    struct prng prng;

    prng_init(&prng, 1);
    ASSERT((t == NULL) == (err.n > 0));
    if (t != NULL && subject_valid_literal(subject) && transform_subject(t, subject, &prng, &out)) {
        ASSERT(subject_valid_literal(buf_str(&out)) &&
               subject_matches(subject, transform_source(t)));
        if (kind == TRANSFORM_REVERSIBLE)
            check_way_back(t, subject, buf_str(&out));
    }
    transform_free(t);
    buf_free(&err);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str dest, subject, source = str_cut(str_from(data, size), '\n', &dest);
    struct buf pattern = {0};

    dest = str_cut(dest, '\n', &subject);
    check_kind(source, dest, subject, TRANSFORM_ANY);
    check_kind(source, dest, subject, TRANSFORM_REVERSIBLE);
    transform_dest_pattern(dest, &pattern);
    transform_number_stars(source, &pattern);
    buf_free(&pattern);
    return 0;
}
