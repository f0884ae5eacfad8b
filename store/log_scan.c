/*
 * Reads a commit log file from front to end and tells unfinished commits from damaged ones.
 *
 * Two log commits can be in flight when the power goes, so the last two frames may be there in part
 * or one without the other. A frame carries the highest commit that was known complete when it
 * began. So when the expected commit does not stand where it should, or a record of it does not
 * verify, it is
 *
 *     damaged   when a later frame, of this file or a later one, proves it complete;
 *     damaged   when one wrong byte of a short record explains it: no torn write looks like that,
 *               unless the byte is the only one of its sector that would not be zero;
 *     torn      else: the log ends before it.
 *
 * One wrong byte in header, table or record is mended (in data it is not: batches have checksums of
 * their own, and messages are never guessed). Worse damage costs the record, in header or table the
 * frame, and the next valid frame goes on. Frames begin at page boundaries, so that looking for one
 * is cheap.
 */
#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "store/log_format.h"
#include "store/repair.h"

#include <string.h>

enum { F_CRC = 4, F_COMMIT = 8, F_COUNT = 24 };

void log_scan_init(struct log_scan *s, uint8_t *bytes, size_t n, uint32_t salt,
                   uint64_t next_commit, uint64_t known_durable)
{
    *s = (struct log_scan){.bytes = bytes,
                           .n = n,
                           .salt = salt,
                           .next_commit = next_commit,
                           .end = LOG_HEADER,
                           .durable_commit = known_durable,
                           .at = LOG_HEADER};
}

/* ---- repair -------------------------------------------------------------------------------- */

static bool any_record(struct log_frame_view v)
{
    struct log_record r;
    int got;

    while ((got = log_frame_next(&v, &r)) != 0)
        if (got > 0)
            return true;
    return false;
}

static bool believable(const uint8_t *bytes, size_t n, uint32_t salt)
{
    struct log_frame_view v;

    return log_frame_open(bytes, n, salt, 0, &v) == ERR_OK && any_record(v);
}

static bool repair_by_sum(uint8_t *bytes, size_t n, uint32_t salt)
{
    uint32_t count = get_u32(bytes + F_COUNT), stored = get_u32(bytes + F_CRC);
    size_t summed = LOG_FRAME_HEADER - F_COMMIT + (size_t) count * LOG_ENTRY, at;
    uint8_t pattern;

    if (count == 0 || count > LOG_FRAME_RECORDS || F_COMMIT + summed > n)
        return false;
    uint32_t actual = crc32c(salt, bytes + F_COMMIT, summed);
    if (repair_in_sum(stored ^ actual)) {
        put_u32(bytes + F_CRC, actual);
        if (believable(bytes, n, salt))
            return true;
        put_u32(bytes + F_CRC, stored);
    }
    if (!repair_find_byte(stored ^ actual, summed, &at, &pattern))
        return false;
    bytes[F_COMMIT + at] ^= pattern;
    if (believable(bytes, n, salt))
        return true;
    bytes[F_COMMIT + at] ^= pattern;
    return false;
}

/* The count decides how much is summed: try all values of its two bytes in use, and of the two that
 * must be 0. */
static bool repair_count(uint8_t *bytes, size_t n, uint32_t salt)
{
    for (unsigned at = F_COUNT; at < F_COUNT + 4; at++) {
        uint8_t was = bytes[at];
        for (unsigned value = 0; value < 256; value++) {
            bytes[at] = (uint8_t) value;
            if (value != was && believable(bytes, n, salt))
                return true;
        }
        bytes[at] = was;
    }
    return false;
}

static bool repair_frame(uint8_t *bytes, size_t n, uint32_t salt)
{
    if (n < LOG_FRAME_HEADER)
        return false;
    uint32_t magic = get_u32(bytes);
    if (magic == LOG_FRAME_MAGIC)
        return repair_by_sum(bytes, n, salt) || repair_count(bytes, n, salt);
    if (!repair_in_sum(magic ^ LOG_FRAME_MAGIC))
        return false;
    put_u32(bytes, LOG_FRAME_MAGIC);
    if (believable(bytes, n, salt))
        return true;
    put_u32(bytes, magic);
    return false;
}

/* ---- scanning ------------------------------------------------------------------------------ */

uint64_t log_scan_durable(const uint8_t *bytes, size_t n, uint32_t salt, uint64_t *first)
{
    struct log_frame_view v;
    uint64_t durable = 0;

    *first = 0;
    for (uint64_t at = LOG_HEADER; at < n;) {
        if (log_frame_open(bytes + at, n - at, salt, at, &v) != ERR_OK) {
            at += LOG_PAGE;
            continue;
        }
        if (*first == 0)
            *first = v.commit;
        if (v.durable_commit > durable)
            durable = v.durable_commit;
        at += v.bytes;
    }
    return durable;
}

/* Is the expected commit known to have been complete? Looks at the rest of the file once. */
static bool proven(struct log_scan *s, uint64_t commit)
{
    uint64_t durable, first;

    if (!s->looked && s->durable_commit < commit) {
        s->looked = true;
        durable = log_scan_durable(s->bytes, s->n, s->salt, &first);
        if (durable > s->durable_commit)
            s->durable_commit = durable;
    }
    return s->durable_commit >= commit;
}

/* Does the byte lie in a sector that may never have been written? */
static bool in_empty_sector(const struct log_frame_view *frame, const uint8_t *byte)
{
    const uint8_t *begin = frame->table - LOG_FRAME_HEADER;

    return repair_sector_empty(begin, (size_t) (frame->body - begin) + frame->body_bytes,
                               frame->offset, (size_t) (byte - begin));
}

/* Mends records in which one byte is wrong. *torn: there is other damage, as a torn write leaves.
 * Returns whether something was mended. Data is not touched: batches have checksums of their own.
 */
static bool mend_records(struct log_scan *s, const struct log_frame_view *frame, bool *torn)
{
    struct log_frame_view v = *frame;
    struct log_record r;
    bool mended = false;
    int got;

    *torn = false;
    for (;;) {
        const uint8_t *entry = v.table + (size_t) v.index * LOG_ENTRY;
        uint8_t *p = s->bytes + (v.body + v.body_at - s->bytes);
        uint32_t index = v.index;
        size_t at;
        uint8_t pattern;
        got = log_frame_next(&v, &r);
        if (got == 0)
            return mended;
        if (got > 0)
            continue;
        uint32_t seed = v.salt ^ (uint32_t) v.commit ^ index * 0x9e3779b1u, n = get_u32(entry);
        if (!repair_find_byte(crc32c(seed, p, n) ^ get_u32(entry + 4), n, &at, &pattern) ||
            (!proven(s, v.commit) && (n > REPAIR_DOUBTFUL || in_empty_sector(frame, p + at)))) {
            *torn = true;
        } else if (p[0] != LOG_DATA || at == 0) { /* the wrong byte may be the type */
            p[at] ^= pattern;
            mended = true;
        }
    }
}

/* A valid frame at `at` that may be next: not before the expected commit, and linked to the one
 * before. */
static bool frame_at(const struct log_scan *s, uint64_t at, struct log_frame_view *out)
{
    if (log_frame_open(s->bytes + at, s->n - at, s->salt, at, out) != ERR_OK ||
        out->commit < s->next_commit)
        return false;
    return s->prev_crc == 0 || out->commit != s->next_commit || out->prev_crc == s->prev_crc;
}

static enum log_verdict take_frame(struct log_scan *s, const struct log_frame_view *v,
                                   struct log_scan_event *event)
{
    event->frame = *v;
    event->offset = v->offset;
    event->bytes = v->bytes;
    s->next_commit = v->commit + 1;
    s->prev_crc = v->header_crc;
    s->at = s->end = v->offset + v->bytes < s->n ? v->offset + v->bytes : s->n;
    if (v->durable_commit > s->durable_commit)
        s->durable_commit = v->durable_commit;
    return LOG_SCAN_FRAME;
}

/* Everything from `at` to the last thing that is recognisable. */
static enum log_verdict cut(struct log_scan *s, uint64_t at, struct log_scan_event *event)
{
    struct log_frame_view v;
    uint64_t end = at;

    for (uint64_t i = at; i < s->n;) {
        bool frame = log_frame_open(s->bytes + i, s->n - i, s->salt, i, &v) == ERR_OK;
        i += frame ? v.bytes : LOG_PAGE;
        if (frame)
            end = i < s->n ? i : s->n;
    }
    s->torn = true;
    s->at = s->n;
    event->offset = at;
    event->bytes = end - at;
    return LOG_SCAN_TORN;
}

/* Nothing valid at s->at: the next valid frame, or the end. */
static enum log_verdict skip_to_next(struct log_scan *s, struct log_scan_event *event)
{
    struct log_frame_view v;
    uint64_t from = s->at, at = from + LOG_PAGE;

    while (at < s->n && !frame_at(s, at, &v))
        at += LOG_PAGE;
    if (at >= s->n) {
        s->at = s->n;
        return LOG_SCAN_DONE;
    }
    if (s->next_commit != 0 && !proven(s, s->next_commit))
        return cut(s, from, event);
    event->offset = from;
    event->bytes = at - from;
    event->first_commit = s->next_commit;
    event->commits = s->next_commit != 0 ? v.commit - s->next_commit : 0;
    s->next_commit = v.commit;
    s->prev_crc = 0;
    s->at = at;
    return LOG_SCAN_CORRUPT;
}

enum log_verdict log_scan_next(struct log_scan *s, struct log_scan_event *event)
{
    struct log_frame_view v;

    *event = (struct log_scan_event){0};
    if (s->at + LOG_FRAME_HEADER > s->n)
        return LOG_SCAN_DONE;
    bool valid = frame_at(s, s->at, &v);
    if (!valid && repair_frame(s->bytes + s->at, s->n - s->at, s->salt)) {
        valid = frame_at(s, s->at, &v);
        event->repaired = valid;
    }
    if (!valid)
        return skip_to_next(s, event);
    if (s->next_commit != 0 && v.commit != s->next_commit && !proven(s, s->next_commit))
        return cut(s, s->at, event);
    if (s->next_commit != 0 && v.commit != s->next_commit) {
        event->offset = s->at;
        event->first_commit = s->next_commit;
        event->commits = v.commit - s->next_commit;
        s->next_commit = v.commit;
        s->prev_crc = 0;
        return LOG_SCAN_CORRUPT;
    }
    bool torn;
    event->repaired |= mend_records(s, &v, &torn);
    if (torn && !proven(s, v.commit))
        return cut(s, s->at, event);
    event->unproven = event->repaired && !proven(s, v.commit);
    return take_frame(s, &v, event);
}
