/*
 * The segment scanner. scan.h says what it decides; this is how.
 *
 * Looking for the next batch goes in steps: at the end of the last good one (EXPECTED); at the next
 * page boundary, where the first batch after a sync stands (PAGE); at every multiple of 8 behind
 * the first (SEARCH). In the first two places one damaged byte in header or table is mended. A
 * batch is acceptable when header and table verify, its first sequence is not below the expected
 * one, and its epoch (generation of the server's start) is not below the last one's: what an
 * earlier run left behind the end of its data is not taken for a continuation.
 *
 * Whether a missing sequence was durable is asked only when one is missing. Then everything
 * recognisable from there on is looked through once for the highest durable_seq (PROVE), and the
 * step before is repeated with that knowledge.
 *
 * Bytes come by SCAN_NEED in windows of at least WINDOW bytes; the scanner holds no bytes of its
 * own.
 */
#include "store/scan.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "store/repair.h"

#define WINDOW (1ull << 20)
/* What a repair wants to see of a batch whose length may be what is damaged. */
#define REPAIR_BYTES (256ull << 10)

enum { EXPECTED, PAGE, SEARCH, PROVE, END };

enum found { FOUND, NOTHING, NEED };

void scan_init(struct scan *s, const struct scan_options *options)
{
    *s = (struct scan){.o = *options,
                       .base_seq = options->base_seq,
                       .next_seq = options->base_seq,
                       .data_end = SEGMENT_HEADER,
                       .found_end = SEGMENT_HEADER,
                       .limit = options->file_bytes,
                       .durable_seq = options->durable_seq,
                       .at = SEGMENT_HEADER,
                       .step = EXPECTED};
}

void scan_deinit(struct scan *s)
{
    mem_free(s->bad);
    s->bad = NULL;
    codec_room_free(&s->room);
}

void scan_feed(struct scan *s, uint64_t offset, uint8_t *bytes, size_t n)
{
    s->window = bytes;
    s->fed = true;
    s->window_offset = offset;
    s->window_bytes = n;
}

/* ---- bytes --------------------------------------------------------------------------------- */

/* [at, at + n), which lies below the limit; NULL: ask for it. */
static uint8_t *bytes_at(const struct scan *s, uint64_t at, uint64_t n)
{
    if (at < s->window_offset || at + n > s->window_offset + s->window_bytes)
        return NULL;
    return s->window + (at - s->window_offset);
}

static enum scan_verdict need(struct scan *s, uint64_t at, uint64_t n, struct scan_event *event)
{
    /* Less came than was asked for: the file is shorter than it was said to be. */
    if (s->fed && at == s->window_offset && s->window_bytes < n && s->window_bytes < s->asked) {
        s->limit = at + s->window_bytes;
        n = s->window_bytes;
    }
    event->offset = at;
    uint64_t window = s->o.window != 0 ? s->o.window : WINDOW;
    event->bytes = n < window ? window : n;
    if (event->bytes > s->limit - at)
        event->bytes = s->limit - at;
    s->asked = event->bytes;
    return SCAN_NEED;
}

/* ---- one place ----------------------------------------------------------------------------- */

static bool acceptable(const struct scan *s, const struct batch_header *h)
{
    return h->first_seq >= s->next_seq && h->epoch >= s->epoch;
}

/* Is there an acceptable batch at `at`? *want: bytes to ask for when NEED. */
static enum found look(const struct scan *s, uint64_t at, struct batch_view *out, uint64_t *want)
{
    struct batch_header h;
    const uint8_t *p;

    *want = BATCH_HEADER;
    if (at + BATCH_HEADER > s->limit)
        return NOTHING;
    if ((p = bytes_at(s, at, BATCH_HEADER)) == NULL)
        return NEED;
    if (batch_header_decode(p, &h) == ERR_CORRUPT || h.bytes > s->limit - at || !acceptable(s, &h))
        return NOTHING;
    *want = h.bytes;
    if ((p = bytes_at(s, at, h.bytes)) == NULL)
        return NEED;
    if (batch_view_open(p, h.bytes, s->o.salt, out) != ERR_OK)
        return NOTHING;
    out->crypt = s->o.crypt;
    return FOUND;
}

/* The same where a batch is expected: one damaged byte is mended. */
static enum found mend(struct scan *s, uint64_t at, struct batch_view *out, uint64_t *want)
{
    uint8_t *p = bytes_at(s, at, BATCH_HEADER);
    struct batch_header h;

    if (at + BATCH_HEADER > s->limit || p == NULL ||
        (get_u32(p) != BATCH_MAGIC && !repair_in_sum(get_u32(p) ^ BATCH_MAGIC)))
        return NOTHING;
    uint64_t room = s->limit - at;
    *want = batch_header_decode(p, &h) != ERR_CORRUPT && h.bytes > REPAIR_BYTES ? h.bytes
                                                                                : REPAIR_BYTES;
    if (*want > room)
        *want = room;
    if ((p = bytes_at(s, at, *want)) == NULL)
        return NEED;
    if (!batch_repair_sealed(p, *want, s->o.salt, s->o.crypt))
        return NOTHING;
    s->mended_at = at;
    enum found found = look(s, at, out, want);
    return found == NEED ? NOTHING : found;
}

/* ---- proof --------------------------------------------------------------------------------- */

/* What is known to be durable and missing is looked for everywhere. */
static uint64_t search_end(const struct scan *s, uint64_t from)
{
    bool missed = s->next_seq != 0 && s->durable_seq >= s->next_seq && s->durable_seq != UINT64_MAX;
    uint64_t reach = missed ? 0 : s->o.search_bytes;

    return reach == 0 || s->limit - from < reach ? s->limit : from + reach;
}

static bool proven(const struct scan *s, uint64_t seq)
{
    return s->o.sealed || s->durable_seq >= seq;
}

/* A header that verifies with its table: enough for proof. */
static enum found look_header(const struct scan *s, uint64_t at, struct batch_header *h,
                              uint64_t *want)
{
    const uint8_t *p = bytes_at(s, at, BATCH_HEADER);

    *want = BATCH_HEADER;
    if (p == NULL)
        return NEED;
    if (get_u32(p) != BATCH_MAGIC || batch_header_decode(p, h) == ERR_CORRUPT || !acceptable(s, h))
        return NOTHING;
    *want = BATCH_HEADER + h->table_bytes;
    if (*want > s->limit - at)
        return NOTHING;
    if ((p = bytes_at(s, at, *want)) == NULL)
        return NEED;
    return batch_header_crc(s->o.salt, p, p + BATCH_HEADER, h->table_bytes) == h->crc ? FOUND
                                                                                      : NOTHING;
}

/* The next place at or behind `at`, below end, that may be one: passes over what has no magic, as
 * far as the bytes are here. */
static uint64_t skip_blank(const struct scan *s, uint64_t at, uint64_t end)
{
    uint64_t here = s->window_offset + s->window_bytes;

    end = here < end ? here : end;
    if (at < s->window_offset)
        return at;
    for (const uint8_t *p = s->window + (at - s->window_offset);
         at + BATCH_HEADER <= end && get_u32(p) != BATCH_MAGIC; p += BATCH_ALIGN)
        at += BATCH_ALIGN;
    return at;
}

/* From s->probe on: the highest durable_seq, and the end of what is recognisable. */
static enum found prove(struct scan *s, uint64_t *want)
{
    uint64_t end = search_end(s, s->data_end);
    struct batch_header h;

    for (;;) {
        s->probe = skip_blank(s, s->probe, end);
        if (s->probe + BATCH_HEADER > end)
            break;
        enum found found = look_header(s, s->probe, &h, want);
        if (found == NEED)
            return NEED;
        if (found == NOTHING) {
            s->probe += BATCH_ALIGN;
            continue;
        }
        if (h.durable_seq > s->durable_seq)
            s->durable_seq = h.durable_seq;
        s->probe += h.bytes;
        uint64_t behind = s->probe < s->limit ? s->probe : s->limit;
        if (behind > s->found_end)
            s->found_end = behind;
    }
    s->looked_end = end;
    return FOUND;
}

/* ---- verdicts ------------------------------------------------------------------------------ */

static enum scan_verdict torn(struct scan *s, struct scan_event *event)
{
    if (s->group.open) {
        s->next_seq = s->group.next_seq;
        s->data_end = s->group.data_end;
        s->batches = s->group.batches;
        s->records = s->group.records;
        s->lost_seqs = s->group.lost_seqs;
    }
    event->offset = s->group.open ? s->group.offset : s->data_end;
    event->bytes = s->found_end > event->offset ? s->found_end - event->offset : 0;
    s->torn_bytes = event->bytes;
    s->step = END;
    s->group.open = false;
    return SCAN_TORN;
}

static enum scan_verdict corrupt(struct scan *s, uint64_t bytes, uint64_t next_seq,
                                 struct scan_event *event)
{
    event->offset = s->data_end;
    event->bytes = bytes;
    event->first_seq = s->next_seq;
    event->span = next_seq - s->next_seq;
    s->lost_seqs += event->span;
    s->next_seq = next_seq;
    return SCAN_CORRUPT;
}

/* Nothing more was found. */
static enum scan_verdict finish(struct scan *s, struct scan_event *event)
{
    if (s->next_seq != 0 && s->durable_seq >= s->next_seq && s->durable_seq != UINT64_MAX) {
        s->tail_lost = true;
        s->step = END;
        return corrupt(s, 0, s->durable_seq + 1, event);
    }
    if (s->group.open && !s->o.sealed)
        return torn(s, event);
    s->step = END;
    return SCAN_DONE;
}

static void note_group(struct scan *s, const struct batch_header *h, uint64_t offset)
{
    if ((h->flags & BATCH_GROUP_FIRST) != 0) {
        s->group.open = true;
        s->group.offset = offset;
        s->group.next_seq = s->next_seq;
        s->group.data_end = s->data_end;
        s->group.batches = s->batches;
        s->group.records = s->records;
        s->group.lost_seqs = s->lost_seqs;
    }
    if ((h->flags & (BATCH_GROUP | BATCH_GROUP_LAST)) != BATCH_GROUP)
        s->group.open = false;
}

static enum scan_verdict take(struct scan *s, const struct batch_view *v, uint32_t nbad,
                              uint32_t nerased, struct scan_event *event)
{
    note_group(s, &v->h, s->at);
    segment_batch_of(&v->h, s->at, &event->batch);
    event->view = *v;
    event->offset = s->at;
    event->bytes = v->h.bytes;
    event->nbad = nbad;
    event->nerased = nerased;
    event->bad = nbad + nerased != 0 ? s->bad : NULL;
    event->repaired = s->mended_at == s->at;
    if (s->base_seq == 0)
        s->base_seq = v->h.first_seq;
    s->next_seq = v->h.first_seq + v->h.span;
    s->epoch = v->h.epoch;
    s->batches++;
    s->records += batch_messages(&v->h);
    s->lost_seqs += nbad;
    if (v->h.durable_seq > s->durable_seq)
        s->durable_seq = v->h.durable_seq;
    s->at += v->h.bytes;
    s->data_end = s->at;
    if (s->at > s->found_end)
        s->found_end = s->at;
    s->step = EXPECTED;
    return SCAN_BATCH;
}

/* Damaged records of the batch; *torn: some damage is not a single wrong byte. */
static uint32_t verify(struct scan *s, struct batch_view *v, uint32_t *nerased, bool *looks_torn)
{
    size_t words = ((size_t) v->h.count + 63) / 64;

    if (batch_view_decode_room(v, &s->room) == ERR_NO_MEMORY) {
        s->room = (struct codec_room){mem_alloc(v->h.raw_bytes), v->h.raw_bytes};
        batch_view_decode(v, s->room.p);
    }
    *nerased = 0;
    *looks_torn = false;
    if (words > s->bad_words) {
        s->bad = mem_realloc(s->bad, words * sizeof(*s->bad));
        s->bad_words = words;
    }
    uint32_t nbad = batch_verify(v, s->o.salt, s->bad);
    for (size_t w = 0; w < words; w++)
        for (uint64_t bits = s->bad[w]; bits != 0; bits &= bits - 1) {
            uint32_t i = (uint32_t) (w * 64) + (uint32_t) __builtin_ctzll(bits);
            if (batch_record_verify(v, i, s->o.salt) == BATCH_RECORD_ERASED)
                ++*nerased;
            else if (!batch_record_decayed(v, i, s->o.salt, s->at))
                *looks_torn = true;
        }
    return v->h.kind == BATCH_KAFKA ? nbad * batch_messages(&v->h) : nbad;
}

/* An acceptable batch at s->at. Returns false when proof has to be looked for first (the step is
 * then PROVE). */
static bool judge(struct scan *s, struct batch_view *v, struct scan_event *event,
                  enum scan_verdict *verdict)
{
    bool gap = s->next_seq != 0 && v->h.first_seq > s->next_seq, looks_torn;
    uint32_t nerased, nbad = verify(s, v, &nerased, &looks_torn);
    uint64_t doubtful = gap ? s->next_seq : looks_torn ? v->h.first_seq : 0;

    if (doubtful != 0 && !proven(s, doubtful) && s->looked_end < search_end(s, s->data_end)) {
        s->probe = s->at;
        s->step = PROVE;
        return false;
    }
    if (doubtful != 0 && !proven(s, doubtful))
        *verdict = torn(s, event);
    else if (gap)
        *verdict = corrupt(s, s->at - s->data_end, v->h.first_seq, event);
    else
        *verdict = take(s, v, nbad, nerased, event);
    return true;
}

/* Nothing at s->at: where next? */
static void advance(struct scan *s)
{
    uint64_t page = round_up(s->data_end, SEGMENT_PAGE);

    if (s->step == EXPECTED) {
        s->step = PAGE;
        s->at = page;
    } else if (s->step == PAGE) {
        s->step = SEARCH;
        s->at = s->data_end + BATCH_ALIGN;
    } else {
        s->at += BATCH_ALIGN;
    }
}

enum scan_verdict scan_next(struct scan *s, struct scan_event *event)
{
    enum scan_verdict verdict;
    struct batch_view v;
    uint64_t want = 0;

    *event = (struct scan_event){0};
    while (s->step != END) {
        if (s->step == PROVE) {
            if (prove(s, &want) == NEED)
                return need(s, s->probe, want, event);
            s->at = s->data_end;
            s->step = EXPECTED;
        }
        if (s->step == SEARCH) {
            uint64_t end = search_end(s, s->data_end);
            s->at = skip_blank(s, s->at, end);
            if (s->at + BATCH_HEADER > end)
                return finish(s, event);
        }
        enum found found = look(s, s->at, &v, &want);
        if (found == NOTHING && s->step != SEARCH)
            found = mend(s, s->at, &v, &want);
        if (found == NEED)
            return need(s, s->at, want, event);
        if (found == NOTHING)
            advance(s);
        else if (judge(s, &v, event, &verdict))
            return verdict;
    }
    return SCAN_DONE;
}
