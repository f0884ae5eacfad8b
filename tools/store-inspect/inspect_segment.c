/*
 * One segment: header page, every batch and record, footer; and whether the footer says what the
 * batches say.
 */
#include "lib/base/bytes.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "tools/store-inspect/inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct seg {
    struct inspect *in;
    const char *path;
    struct inspect_bytes *bytes;
    struct inspect_context *context;
    struct segment_header header;
    bool header_ok;
    uint32_t salt;
    bool sealed;
    uint64_t footer_offset;
    struct footer footer;
    uint64_t batch;              /* which one comes next in the footer's index */
    struct size_iter sizes;      /* what comes next in its SIZES */
    uint64_t messages, readable; /* records in batches; those that verify */
};

/* ---- header -------------------------------------------------------------------------------- */

/* Number and stream by the path: streams/<uuid>/<number>.seg. */
static bool identity_of_path(const char *path, uint8_t stream[16], uint64_t *number,
                             uint32_t *generation)
{
    const char *name = strrchr(path, '/');

    if (name == NULL || name - path < 32 || !segment_name_parse(name + 1, number, generation))
        return false;
    return store_uuid_parse(name - 32, 32, stream);
}

/* Without a header of its own a file is damaged, or was never used: then no batch verifies either.
 */
static bool never_used(const struct seg *s)
{
    struct scan_options options = {.salt = s->salt, .file_bytes = s->bytes->n, .sealed = true};
    struct scan scan;
    struct scan_event e;
    enum scan_verdict v;

    scan_init(&scan, &options);
    while ((v = scan_next(&scan, &e)) != SCAN_DONE && scan.batches == 0)
        if (v == SCAN_NEED)
            scan_feed(&scan, e.offset, s->bytes->p + e.offset, s->bytes->n - e.offset);
    bool used = scan.batches != 0;
    scan_deinit(&scan);
    return !used;
}

/* False: there is nothing to be looked at. */
static bool without_header(struct seg *s, bool named, const uint8_t stream[16], uint64_t number,
                           uint32_t generation, const char *why)
{
    uint8_t store[16];
    bool known = named && inspect_find_uuid(s->in, s->path, 2, store);

    if (known)
        s->salt = store_salt_segment(store, stream, number, generation);
    if (known && never_used(s)) {
        inspect_say(s->in, "%s: not used yet (%s)\n", s->path, why);
        return false;
    }
    inspect_damage(s->in, s->path, 0, "%s", why);
    return known;
}

static bool open_header(struct seg *s)
{
    char why[160] = "cut off", uuid[33];
    uint8_t stream[16];
    uint64_t number;
    uint32_t generation = 0;
    enum err err = s->bytes->n < SEGMENT_HEADER
                       ? ERR_CORRUPT
                       : segment_header_decode(s->bytes->p, &s->header, why);
    bool named = identity_of_path(s->path, stream, &number, &generation);

    s->header_ok = err == ERR_OK &&
                   (!named || (memcmp(stream, s->header.stream, 16) == 0 &&
                               number == s->header.number && generation == s->header.generation));
    s->salt = s->header.salt;
    if (!s->header_ok)
        return without_header(s, named, stream, number, generation,
                              err == ERR_OK ? "header of another segment" : why);
    store_uuid_text(s->header.stream, uuid);
    inspect_say(s->in,
                "%s: segment %" PRIu64 " of stream '%s' %s, base sequence %" PRIu64
                ", generation %u, salt %08x, %" PRIu64 " bytes allocated%s\n",
                s->path, s->header.number, s->header.name, uuid, s->header.base_seq,
                s->header.generation, s->salt, s->header.file_bytes,
                s->header.covers != 0 ? ", with those behind it" : "");
    if (s->header.object != 0)
        inspect_say(s->in, "  copy of the record of object %" PRIx64 ": %zu bytes%s\n",
                    s->header.object, s->header.copy.n, s->header.key_id != 0 ? ", sealed" : "");
    return true;
}

/* ---- footer -------------------------------------------------------------------------------- */

static void open_footer(struct seg *s)
{
    struct segment_trailer t;
    size_t n = s->bytes->n;

    if (n < SEGMENT_HEADER + SEGMENT_TRAILER)
        return;
    enum err err = segment_trailer_decode(s->bytes->p + n - SEGMENT_TRAILER, n, s->salt, &t);
    if (err == ERR_NOT_FOUND)
        return;
    s->footer_offset = err == ERR_OK ? t.footer_offset : n - SEGMENT_TRAILER;
    if (err == ERR_OK)
        err = footer_open(s->bytes->p + t.footer_offset, n - t.footer_offset, n, s->salt,
                          &s->footer);
    s->sealed = err == ERR_OK;
    if (err != ERR_OK)
        inspect_damage(s->in, s->path, s->footer_offset, "footer: %s", err_text(err));
    else
        size_iter_init(&s->sizes, s->footer.section[SECTION_SIZES], s->footer.summary.base_seq);
}

static void say_subjects(const struct seg *s)
{
    struct subject_iter it;
    uint64_t seq, first, last;

    subject_iter_init(&it, s->footer.section[SECTION_SUBJECTS], s->footer.summary.base_seq);
    while (subject_iter_next(&it)) {
        first = last = 0;
        while (subject_run_next(&it, &seq)) {
            first = first == 0 ? seq : first;
            last = seq;
        }
        inspect_say(s->in, "    subject '%.*s': %" PRIu64 " messages, %" PRIu64 " to %" PRIu64 "\n",
                    STR_ARG(buf_str(&it.subject)), it.msgs, first, last);
    }
    subject_iter_deinit(&it);
}

static void say_footer(const struct seg *s)
{
    const struct segment_summary *m = &s->footer.summary;

    if (!s->sealed)
        return;
    inspect_say(s->in,
                "  %" PRIu64 ": footer: sequences %" PRIu64 " to %" PRIu64 ", %" PRIu64
                " messages of %" PRIu64 " bytes, %" PRIu64 " batches, %" PRIu64
                " subjects, data end %" PRIu64 "%s\n",
                s->footer_offset, m->base_seq, m->next_seq - 1, m->msgs, m->bytes, m->batches,
                m->subjects, m->data_end,
                (m->flags & SEGMENT_CUT) != 0 ? ", an unfinished commit was cut" : "");
    if (s->in->verbose)
        say_subjects(s);
}

/* ---- batches ------------------------------------------------------------------------------- */

static const char *kind_name(unsigned kind)
{
    return kind == BATCH_NATIVE  ? "batch"
           : kind == BATCH_KAFKA ? "Kafka batch"
           : kind == BATCH_SKIP  ? "skip"
                                 : "batch of another kind";
}

static void say_record(const struct seg *s, uint64_t offset, const struct batch_record *r)
{
    char time[FMT_TIME_MAX];

    fmt_time_rfc3339(time, r->ts);
    inspect_say(s->in,
                "    %" PRIu64 ": message %" PRIu64 ", %s, '%.*s', header %zu, payload %zu\n",
                offset, r->seq, time, STR_ARG(r->subject), r->header.n, r->payload.n);
}

/* Is it in the footer's SIZES as it is in the batch? */
static void check_size(struct seg *s, uint64_t offset, uint64_t want_seq, uint64_t want)
{
    uint64_t seq;
    uint32_t bytes;
    struct size_iter before = s->sizes;

    if (!s->sealed)
        return;
    bool found = size_iter_next(&s->sizes, &seq, &bytes);
    if (found && seq > want_seq) /* was damaged or removed when it was sealed */
        s->sizes = before;
    else if (!found || seq != want_seq || bytes != want)
        inspect_damage(s->in, s->path, offset, "message %" PRIu64 " and the footer do not agree",
                       want_seq);
}

/* The stream has it still. */
static bool wanted(const struct seg *s, uint64_t seq)
{
    const struct stream_record *r = s->context->record;
    return r == NULL || (seq >= r->first_seq && !seqset_has(&r->removed, seq));
}

/* One record that is many messages. */
static void inspect_kafka(struct seg *s, const struct scan_event *e)
{
    const struct batch_header *h = &e->view.h;
    uint64_t offset = e->offset + BATCH_HEADER + h->table_bytes;
    struct batch_record r;

    uint32_t n = batch_messages(h);

    s->messages += n;
    if (batch_record_verify(&e->view, 0, s->salt) != BATCH_RECORD_OK) {
        for (uint64_t seq = h->first_seq; seq < h->first_seq + h->span; seq++)
            if (wanted(s, seq))
                inspect_damage(s->in, s->path, offset, "message %" PRIu64 " is damaged", seq);
        return;
    }
    batch_record_get(&e->view, 0, &r);
    uint64_t whole = store_msg_bytes(STORE_DURABLE, r.subject.n, 0, r.payload.n);
    s->readable += n;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t share = batch_kafka_size(&e->view, whole, i);
        uint64_t seq = h->first_seq + batch_kafka_delta(&e->view, i);
        check_size(s, offset, seq, share);
        if (!wanted(s, seq))
            continue;
        s->in->messages++;
        s->in->bytes += share;
    }
    if (s->in->verbose)
        say_record(s, offset, &r);
}

static void inspect_records(struct seg *s, const struct scan_event *e)
{
    uint64_t body = e->offset + (uint64_t) (e->view.body - e->view.table) + BATCH_HEADER;
    struct batch_record r;

    for (uint32_t i = 0; i < e->view.h.count; i++) {
        uint64_t offset = body + batch_record_offset(&e->view, i),
                 seq = batch_record_seq(&e->view, i);
        enum batch_record_state state = batch_record_verify(&e->view, i, s->salt);
        s->messages++;
        if (state == BATCH_RECORD_BAD && wanted(s, seq))
            inspect_damage(s->in, s->path, offset, "message %" PRIu64 " is damaged", seq);
        if (state != BATCH_RECORD_OK && s->in->verbose)
            inspect_say(s->in, "    %" PRIu64 ": message %" PRIu64 ", %s\n", offset, seq,
                        state == BATCH_RECORD_BAD ? "damaged" : "erased");
        if (state != BATCH_RECORD_OK)
            continue;
        s->readable++;
        batch_record_get(&e->view, i, &r);
        uint64_t size = store_msg_bytes(STORE_DURABLE, r.subject.n, r.header.n, r.payload.n);
        check_size(s, offset, seq, size);
        if (wanted(s, seq)) {
            s->in->messages++;
            s->in->bytes += size;
        }
        if (s->in->verbose)
            say_record(s, offset, &r);
    }
}

static void check_index(struct seg *s, const struct scan_event *e)
{
    struct segment_batch b;

    if (!s->sealed)
        return;
    if (s->batch >= s->footer.summary.batches) {
        inspect_damage(s->in, s->path, e->offset, "a batch that the footer does not know");
        return;
    }
    footer_batch(&s->footer, s->batch++, &b);
    if (memcmp(&b, &e->batch, sizeof(b)) != 0)
        inspect_damage(s->in, s->path, e->offset,
                       "this batch and the footer's entry %" PRIu64 " do not agree", s->batch - 1);
}

static void inspect_batch(struct seg *s, const struct scan_event *e)
{
    const struct batch_header *h = &e->view.h;

    inspect_say(s->in,
                "  %" PRIu64 ": %s: sequences %" PRIu64 " to %" PRIu64
                ", %u records, %u bytes, durable %" PRIu64 ", epoch %u, flags 0x%x\n",
                e->offset, kind_name(h->kind), h->first_seq, h->first_seq + h->span - 1, h->count,
                h->bytes, h->durable_seq, h->epoch, h->flags);
    if (e->repaired)
        inspect_damage(s->in, s->path, e->offset,
                       "a byte of this batch's header is damaged, can be mended");
    if (h->kind == BATCH_KAFKA)
        inspect_kafka(s, e);
    else
        inspect_records(s, e);
    check_index(s, e);
}

/* Does the stream still want any of a damaged range? */
static bool any_wanted(const struct seg *s, uint64_t first, uint64_t span)
{
    const struct stream_record *r = s->context->record;
    uint64_t last = first + span - 1;

    if (r == NULL)
        return true;
    first = first < r->first_seq ? r->first_seq : first;
    return first <= last && seqset_count_in(&r->removed, first, last) != last - first + 1;
}

static void inspect_event(struct seg *s, enum scan_verdict v, const struct scan_event *e)
{
    if (v == SCAN_BATCH)
        inspect_batch(s, e);
    else if (v == SCAN_TORN)
        inspect_say(s->in, "  %" PRIu64 ": %" PRIu64 " bytes of unfinished commits\n", e->offset,
                    e->bytes);
    else if (any_wanted(s, e->first_seq, e->span))
        inspect_damage(s->in, s->path, e->offset,
                       "%" PRIu64 " bytes damaged, sequences %" PRIu64 " to %" PRIu64 " are lost",
                       e->bytes, e->first_seq, e->first_seq + e->span - 1);
}

static void scan_batches(struct seg *s)
{
    struct scan_options options = {
        .salt = s->salt,
        .base_seq = s->header_ok ? s->header.base_seq : 0,
        .file_bytes = s->sealed ? s->footer.summary.data_end : s->bytes->n,
        .durable_seq = s->sealed ? s->footer.summary.next_seq - 1 : s->context->durable_seq,
        .sealed = s->sealed || s->footer_offset != 0,
    };
    struct scan scan;
    struct scan_event e;
    enum scan_verdict v;

    scan_init(&scan, &options);
    while ((v = scan_next(&scan, &e)) != SCAN_DONE) {
        if (v == SCAN_NEED)
            scan_feed(&scan, e.offset, s->bytes->p + e.offset, s->bytes->n - e.offset);
        else
            inspect_event(s, v, &e);
    }
    s->context->base_seq = s->header_ok ? s->header.base_seq : scan.base_seq;
    s->context->next_seq = s->sealed ? s->footer.summary.next_seq : scan.next_seq;
    s->context->proof = s->sealed ? s->footer.summary.next_seq - 1 : scan.durable_seq;
    inspect_say(s->in, "  %" PRIu64 ": data end\n", scan.data_end);
    scan_deinit(&scan);
}

void inspect_segment(struct inspect *in, const char *path, struct inspect_bytes *bytes,
                     struct inspect_context *context)
{
    struct seg s = {.in = in, .path = path, .bytes = bytes, .context = context};
    uint64_t seq;
    uint32_t size;

    if (!open_header(&s))
        return;
    open_footer(&s);
    scan_batches(&s);
    if (s.sealed && s.batch != s.footer.summary.batches)
        inspect_damage(in, path, s.footer_offset,
                       "the footer has %" PRIu64 " batches, the file %" PRIu64,
                       s.footer.summary.batches, s.batch);
    while (s.sealed && size_iter_next(&s.sizes, &seq, &size))
        if (wanted(&s, seq))
            inspect_damage(in, path, s.footer_offset, "message %" PRIu64 " is in the footer only",
                           seq);
    say_footer(&s);
}
