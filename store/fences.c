/* fences.c - see fences.h. */
#include "store/fences.h"

#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "lib/base/varint.h"
#include "store/footer.h"

/* The head is the number of blocks; an entry where one begins, its sum, and where its subject
 * begins among the texts. */
enum { FENCES_HEAD = 8, FENCES_ENTRY = 12 };

/* ---- building -------------------------------------------------------------------------------- */

struct cut {
    size_t at;          /* in SUBJECTS */
    struct str subject; /* the first one */
};

/* The entry at a restart point begins with the whole subject. */
static struct str subject_at(struct str subjects, size_t at)
{
    struct str in = str_skip(subjects, at);
    uint64_t shared, n;

    if (!varint_take(&in, &shared) || !varint_take(&in, &n) || n > in.n)
        return STR_NONE;
    return str_take(in, n);
}

/* The next block behind restart point *i, which moves to where it begins; false at the end. */
static bool next_cut(struct str subjects, uint32_t restarts, uint32_t *i, struct cut *cut)
{
    size_t entries = FENCES_HEAD + (size_t) restarts * 4;
    size_t begin = *i == 0 ? 0 : cut->at;

    for (; *i < restarts; ++*i) {
        size_t at = entries + get_u32(subjects.p + FENCES_HEAD + (size_t) *i * 4);
        if (begin != 0 && at - begin < FENCES_BLOCK)
            continue;
        *cut = (struct cut){at, subject_at(subjects, at)};
        ++*i;
        return true;
    }
    return false;
}

bool fences_build(struct str subjects, uint32_t salt, struct buf *out)
{
    uint32_t restarts = get_u32(subjects.p + 4), blocks = 0, text = 0;
    struct cut cut = {0}, next = {0};

    for (uint32_t i = 0; next_cut(subjects, restarts, &i, &cut);)
        blocks++;
    if (blocks < 2)
        return false;
    size_t head = out->n;
    buf_reserve(out, FENCES_HEAD + (size_t) blocks * FENCES_ENTRY);
    out->n += FENCES_HEAD + (size_t) blocks * FENCES_ENTRY;
    put_u32(out->p + head, blocks);
    put_u32(out->p + head + 4, 0);
    uint32_t i = 0;
    bool more = next_cut(subjects, restarts, &i, &next);
    for (uint32_t k = 0; more; k++) {
        cut = next;
        more = next_cut(subjects, restarts, &i, &next);
        size_t end = more ? next.at : subjects.n;
        char *e = out->p + head + FENCES_HEAD + (size_t) k * FENCES_ENTRY;
        put_u32(e, (uint32_t) cut.at);
        put_u32(e + 4, crc32c(salt, subjects.p + cut.at, end - cut.at));
        put_u32(e + 8, text);
        text += (uint32_t) cut.subject.n;
        buf_put_str(out, cut.subject);
    }
    return true;
}

/* ---- finding --------------------------------------------------------------------------------- */

static const char *entry(const struct fences *f, uint32_t i)
{
    return f->section.p + FENCES_HEAD + (size_t) i * FENCES_ENTRY;
}

static struct str text_of(const struct fences *f, uint32_t i)
{
    struct str texts = str_skip(f->section, FENCES_HEAD + (size_t) f->n * FENCES_ENTRY);
    uint32_t from = get_u32(entry(f, i) + 8);
    uint32_t end = i + 1 < f->n ? get_u32(entry(f, i + 1) + 8) : (uint32_t) texts.n;

    return str_from(texts.p + from, end - from);
}

static uint64_t end_of(const struct fences *f, uint32_t i)
{
    return i + 1 < f->n ? get_u32(entry(f, i + 1)) : f->subjects;
}

enum err fences_open(struct str section, uint64_t subjects, struct fences *out)
{
    uint64_t text = 0, at = 0;

    *out = (struct fences){.section = section, .subjects = subjects};
    if (section.n < FENCES_HEAD)
        return ERR_CORRUPT;
    out->n = get_u32(section.p);
    if (out->n == 0 || (section.n - FENCES_HEAD) / FENCES_ENTRY < out->n)
        return ERR_CORRUPT;
    uint64_t texts = section.n - FENCES_HEAD - (uint64_t) out->n * FENCES_ENTRY;
    for (uint32_t i = 0; i < out->n; i++) {
        uint32_t offset = get_u32(entry(out, i)), from = get_u32(entry(out, i) + 8);
        if (offset <= at || offset >= subjects || from < text || from > texts ||
            (i == 0 && from != 0) || (i > 0 && from == text))
            return ERR_CORRUPT;
        at = offset;
        text = from;
    }
    if (text == texts)
        return ERR_CORRUPT; /* the last one has none */
    for (uint32_t i = 1; i < out->n; i++)
        if (str_cmp(text_of(out, i - 1), text_of(out, i)) >= 0)
            return ERR_CORRUPT;
    return ERR_OK;
}

bool fences_find(const struct fences *f, struct str subject, struct fence *out)
{
    uint32_t low = 0, high = f->n;

    while (low < high) { /* the first fence above the subject */
        uint32_t mid = low + (high - low) / 2;
        if (str_cmp(text_of(f, mid), subject) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0)
        return false;
    out->offset = get_u32(entry(f, low - 1));
    out->crc = get_u32(entry(f, low - 1) + 4);
    out->bytes = (uint32_t) (end_of(f, low - 1) - out->offset);
    return true;
}

bool fence_verify(const struct fence *fence, struct str block, uint32_t salt)
{
    return block.n == fence->bytes && crc32c(salt, block.p, block.n) == fence->crc;
}
