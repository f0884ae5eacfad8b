/* segment_fixture.h - segments made in memory, for the tests of footer, scanner and recovery. */
#ifndef TESTS_SEGMENT_FIXTURE_H
#define TESTS_SEGMENT_FIXTURE_H

#include "lib/base/buf.h"
#include "store/segment_format.h"
#include "store/store.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>

struct fixture {
    struct segment_header header;
    struct buf file; /* header page and what was added */
    struct segment_batch *batches;
    size_t nbatches;
    struct segment_message *messages;
    size_t nmessages;
    struct str subjects[8];
    uint64_t next_seq;
    uint32_t epoch;
    int64_t time;
};

static inline void fixture_init(struct fixture *f, uint64_t base_seq)
{
    *f = (struct fixture){.header = {.number = 1,
                                     .base_seq = base_seq,
                                     .file_bytes = 1 << 20,
                                     .created = 1,
                                     .name_len = 4,
                                     .name = "TEST"},
                          .next_seq = base_seq,
                          .epoch = 1,
                          .time = 1000};
    static const char *const names[8] = {"b.one",        "a", "a.b.c", "orders.new", "orders.old",
                                         "orders.older", "z", "a.b"};
    memset(f->header.store, 1, 16);
    memset(f->header.stream, 2, 16);
    for (unsigned i = 0; i < 8; i++)
        f->subjects[i] = str_of(names[i]);
    char *page = buf_reserve(&f->file, SEGMENT_HEADER);
    segment_header_encode(&f->header, (uint8_t *) page);
    f->file.n = SEGMENT_HEADER;
    f->batches = calloc(256, sizeof(*f->batches));
    f->messages = calloc(4096, sizeof(*f->messages));
}

static inline void fixture_free(struct fixture *f)
{
    buf_free(&f->file);
    free(f->batches);
    free(f->messages);
}

/* What message seq looks like: a pure function of it. */
static inline struct str fixture_payload(uint64_t seq, char out[64])
{
    int n = snprintf(out, 64, "message %llu %.*s", (unsigned long long) seq, (int) (seq % 20),
                     "....................");
    return str_from(out, (size_t) n);
}
static inline unsigned fixture_subject(uint64_t seq)
{
    return (unsigned) ((seq * 5 + seq / 3) % 8);
}

static inline void fixture_pad(struct fixture *f, uint64_t to)
{
    while (f->file.n % to != 0)
        buf_putc(&f->file, '\0');
}

static inline void fixture_note(struct fixture *f, const uint8_t *header)
{
    struct batch_header h;
    ck_assert_int_eq(batch_header_decode(header, &h), ERR_OK);
    segment_batch_of(&h, f->file.n, &f->batches[f->nbatches++]);
}

/* A batch of n messages; durable: the durable_seq it carries; flags: BATCH_*. */
static inline void fixture_batch(struct fixture *f, unsigned n, uint64_t durable, unsigned flags)
{
    static uint8_t meta[BATCH_META], body[BATCH_BODY];
    struct batch_builder b;
    char text[64];

    batch_open(&b, meta, sizeof(meta), body, sizeof(body), f->header.salt, f->next_seq);
    for (unsigned i = 0; i < n; i++, f->next_seq++, f->time += 7) {
        struct str payload = fixture_payload(f->next_seq, text),
                   subject = f->subjects[fixture_subject(f->next_seq)];
        ck_assert(batch_append(&b, subject, STR_NONE, payload, f->time, flags));
        f->messages[f->nmessages++] = (struct segment_message){
            (uint32_t) (f->next_seq - f->header.base_seq), fixture_subject(f->next_seq),
            (uint32_t) store_msg_bytes(STORE_DURABLE, subject.n, 0, payload.n)};
    }
    batch_seal(&b, durable, f->epoch);
    fixture_note(f, meta);
    buf_put(&f->file, meta, batch_meta_bytes(&b));
    buf_put(&f->file, body, batch_body_bytes(&b));
}

static inline void fixture_skip(struct fixture *f, uint32_t span, uint64_t durable)
{
    uint8_t bytes[BATCH_HEADER];

    batch_encode_skip(bytes, f->header.salt, f->next_seq, span, f->time, durable, f->epoch);
    fixture_note(f, bytes);
    buf_put(&f->file, bytes, sizeof(bytes));
    f->next_seq += span;
}

/* The footer as of now, behind the data. */
static inline void fixture_seal(struct fixture *f, uint32_t flags)
{
    struct footer_input in = {.header = f->header,
                              .batches = f->batches,
                              .nbatches = f->nbatches,
                              .messages = f->messages,
                              .nmessages = f->nmessages,
                              .next_seq = f->next_seq,
                              .subjects = f->subjects,
                              .nsubjects = 8,
                              .data_end = f->file.n,
                              .flags = flags};
    fixture_pad(f, SEGMENT_PAGE);
    in.footer_offset = f->file.n;
    ck_assert_int_eq(footer_build(&in, &f->file), ERR_OK);
}

#endif
