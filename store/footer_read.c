/*
 * Iterators over a footer's SUBJECTS and SIZES, and the check that lets them go without checks. The
 * iterators stop early instead of running out of their section, so that a section nobody checked is
 * a short read, never a wrong one.
 */
#include "lib/base/bytes.h"
#include "lib/base/varint.h"
#include "store/footer.h"

#include <string.h>

/* ---- subjects ------------------------------------------------------------------------------ */

struct subject_head {
    uint32_t subjects, restarts;
    const char *points;
    struct str entries;
};

static bool open_section(struct str section, struct subject_head *out)
{
    if (section.n < 8)
        return false;
    out->subjects = get_u32(section.p);
    out->restarts = get_u32(section.p + 4);
    out->points = section.p + 8;
    if ((section.n - 8) / 4 < out->restarts)
        return false;
    out->entries = str_skip(section, 8 + (size_t) out->restarts * 4);
    return true;
}

void subject_iter_init(struct subject_iter *it, struct str section, uint64_t base_seq)
{
    struct subject_head head;

    *it = (struct subject_iter){.base_seq = base_seq};
    if (open_section(section, &head))
        it->left = head.entries;
}

void subject_iter_deinit(struct subject_iter *it)
{
    buf_free(&it->subject);
}

bool subject_iter_next(struct subject_iter *it)
{
    struct str in = it->left;
    uint64_t shared, more, run;

    it->run = STR_NONE;
    it->at = it->repeat = 0;
    if (!varint_take(&in, &shared) || !varint_take(&in, &more) || shared > it->subject.n ||
        more > in.n)
        return false;
    it->subject.n = shared;
    buf_put(&it->subject, in.p, more);
    in = str_skip(in, more);
    if (!varint_take(&in, &it->msgs) || !varint_take(&in, &run) || run > in.n)
        return false;
    it->run = str_take(in, run);
    it->left = str_skip(in, run);
    return true;
}

bool subject_run_next(struct subject_iter *it, uint64_t *seq)
{
    uint64_t v;

    if (it->repeat == 0) {
        if (!varint_take(&it->run, &v))
            return false;
        if (v != RUN_REPEAT || it->at == 0) {
            it->distance = v;
            it->repeat = 1;
        } else if (!varint_take(&it->run, &it->repeat) || it->repeat == 0) {
            return false;
        }
    }
    it->repeat--;
    it->at = (it->at != 0 ? it->at : it->base_seq) + it->distance;
    *seq = it->at;
    return true;
}

/* The whole subject at a restart point. */
static struct str restart_subject(const struct subject_head *h, uint32_t i)
{
    uint32_t at = get_u32(h->points + (size_t) i * 4);
    struct str in = at <= h->entries.n ? str_skip(h->entries, at) : STR_NONE;
    uint64_t shared, n;

    if (!varint_take(&in, &shared) || !varint_take(&in, &n) || n > in.n)
        return STR_NONE;
    return str_take(in, n);
}

bool subject_iter_find(struct subject_iter *it, struct str section, uint64_t base_seq,
                       struct str subject)
{
    struct subject_head h;

    *it = (struct subject_iter){.base_seq = base_seq};
    if (!open_section(section, &h) || h.restarts == 0)
        return false;
    /* The last restart point at or below the subject. */
    uint32_t low = 0, high = h.restarts;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (str_cmp(restart_subject(&h, middle), subject) <= 0)
            low = middle;
        else
            high = middle;
    }
    uint32_t at = get_u32(h.points + (size_t) low * 4);
    return subject_iter_find_in(it, at <= h.entries.n ? str_skip(h.entries, at) : STR_NONE,
                                base_seq, subject);
}

bool subject_iter_find_in(struct subject_iter *it, struct str entries, uint64_t base_seq,
                          struct str subject)
{
    *it = (struct subject_iter){.base_seq = base_seq, .left = entries};
    while (subject_iter_next(it)) {
        int order = str_cmp(buf_str(&it->subject), subject);
        if (order >= 0)
            return order == 0;
    }
    return false;
}

void subject_walk_init(struct subject_walk *w, struct str section, uint64_t base_seq)
{
    *w = (struct subject_walk){.section = section};
    subject_iter_init(&w->it, section, base_seq);
}

void subject_walk_deinit(struct subject_walk *w)
{
    subject_iter_deinit(&w->it);
}

/* The last restart point at or below the subject, from `low` on, which is: first in steps that
 * grow, because the next subject is seldom far. */
static uint32_t restart_from(const struct subject_head *h, uint32_t low, struct str subject)
{
    uint32_t step = 1;

    while (step < h->restarts - low && str_cmp(restart_subject(h, low + step), subject) <= 0) {
        low += step;
        step *= 2;
    }
    uint32_t high = step < h->restarts - low ? low + step : h->restarts;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (str_cmp(restart_subject(h, middle), subject) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

bool subject_walk_find(struct subject_walk *w, struct str subject)
{
    struct subject_head h;

    int order = w->stands ? str_cmp(buf_str(&w->it.subject), subject) : -1;
    if (order >= 0)
        return order == 0;
    if (!open_section(w->section, &h) || w->restart >= h.restarts)
        return false;
    uint32_t restart = restart_from(&h, w->restart, subject);
    if (restart != w->restart) {
        uint32_t at = get_u32(h.points + (size_t) restart * 4);
        w->it.left = at <= h.entries.n ? str_skip(h.entries, at) : STR_NONE;
        w->it.subject.n = 0;
        w->restart = restart;
    }
    w->stands = false;
    while (!w->stands && subject_iter_next(&w->it))
        w->stands = str_cmp(buf_str(&w->it.subject), subject) >= 0;
    return w->stands && str_eq(buf_str(&w->it.subject), subject);
}

/* Ascending sequences inside the segment, as many as the entry says. */
static bool run_sound(struct subject_iter *it, const struct segment_summary *s)
{
    struct str run = it->run;
    uint64_t v, times, distance = 0, at = 0, n = 0, span = s->next_seq - s->base_seq;

    while (run.n != 0) {
        times = 1;
        if (!varint_take(&run, &v))
            return false;
        if (n == 0 || v != RUN_REPEAT)
            distance = v;
        else if (!varint_take(&run, &times) || times == 0)
            return false;
        if (n != 0 && distance == 0)
            return false;
        if (at >= span || (distance != 0 && times > (span - 1 - at) / distance))
            return false;
        at += distance * times;
        n += times;
    }
    return n == it->msgs && n != 0;
}

/* One subject: at its restart point if it has one, above the one before. */
static bool entry_sound(const struct subject_head *h, uint32_t i, struct subject_iter *it,
                        struct buf *before, const struct segment_summary *s)
{
    size_t at = (size_t) (it->left.p - h->entries.p);

    if (i % 16 == 0 &&
        (it->left.n == 0 || it->left.p[0] != 0 || get_u32(h->points + (size_t) i / 16 * 4) != at))
        return false;
    if (!subject_iter_next(it) || it->subject.n == 0 || it->subject.n > UINT16_MAX)
        return false;
    if (i != 0 && str_cmp(buf_str(before), buf_str(&it->subject)) >= 0)
        return false;
    buf_clear(before);
    buf_put_str(before, buf_str(&it->subject));
    return run_sound(it, s);
}

bool subjects_sound(struct str section, const struct segment_summary *s)
{
    struct subject_head h;
    struct subject_iter it;
    struct buf before = {0};
    uint64_t msgs = 0;

    if (!open_section(section, &h) || h.subjects != s->subjects ||
        h.restarts != (h.subjects + 15ull) / 16)
        return false;
    subject_iter_init(&it, section, s->base_seq);
    bool sound = true;
    for (uint32_t i = 0; i < h.subjects && sound; i++) {
        sound = entry_sound(&h, i, &it, &before, s);
        msgs += it.msgs;
    }
    sound = sound && it.left.n == 0 && msgs == s->msgs;
    buf_free(&before);
    subject_iter_deinit(&it);
    return sound;
}

/* ---- sizes --------------------------------------------------------------------------------- */

void size_iter_init(struct size_iter *it, struct str section, uint64_t base_seq)
{
    *it = (struct size_iter){.left = section, .seq = base_seq};
}

bool size_iter_next(struct size_iter *it, uint64_t *seq, uint32_t *bytes)
{
    uint64_t v, n;

    while (it->repeat == 0) {
        if (!varint_take(&it->left, &v) || (v < SIZES_LEAST && !varint_take(&it->left, &n)))
            return false;
        if (v == SIZES_GAP) {
            it->seq += n;
        } else if (v == SIZES_REPEAT) {
            it->repeat = n;
        } else {
            it->size = v;
            it->repeat = 1;
        }
    }
    it->repeat--;
    *seq = it->seq++;
    *bytes = (uint32_t) it->size;
    return true;
}
