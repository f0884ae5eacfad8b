/*
 * codec.h - what happens to the body of a batch between memory and disk.
 *
 *     records, as the table describes them  --compress-->  --encrypt-->  body as stored
 *
 * Header and table are never transformed: a scan finds, orders and judges batches without decoding
 * one. h.codec says how the body is stored, h.body_bytes and h.raw_bytes how long it is, stored and
 * decoded. The records' checksums are of the decoded ones, so whatever a damaged stored body
 * decodes to, no record is believed that is not as it was written.
 *
 * Compression is the LZ4 block format, one block for the whole body, without a frame around it: its
 * lengths are in the header. It is decoded with a decoder that trusts neither lengths nor offsets.
 *
 * This is the one place where bytes are transformed. Who writes a batch calls codec_encode, who
 * reads one calls batch_view_decode (batch.h), which calls codec_decode.
 *
 * Pure code; the buffers are the caller's.
 */
#ifndef STORE_CODEC_H
#define STORE_CODEC_H

#include "lib/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct batch_header;

/* How the batches of a segment are stored. */
struct codec {
    uint8_t compression; /* enum batch_codec: what codec_encode tries */
};

/* Is the stored body the decoded one? Then there is nothing to decode, and views point into it. */
bool codec_plain(const struct batch_header *h);
/* Do the lengths of the header fit the codec? */
bool codec_lengths(const struct batch_header *h);
/* Room that codec_encode needs for a body of raw bytes. */
size_t codec_bound(const struct codec *c, size_t raw);
/* Stores the h->raw_bytes at raw; fills in h->codec and h->body_bytes. A body that does not become
 * smaller stays plain, and then *out is raw itself; else it is room, which has codec_bound bytes.
 */
void codec_encode(const struct codec *c, struct batch_header *h, const uint8_t *raw, uint8_t *room,
                  const uint8_t **out);
/* Decodes h->body_bytes at stored into h->raw_bytes at raw. ERR_CORRUPT when they do not decode to
 * exactly that many; what raw holds then means nothing. */
enum err codec_decode(const struct batch_header *h, const uint8_t *stored, uint8_t *raw);

/* A buffer that grows with what is decoded into it; all zero is empty. */
struct codec_room {
    uint8_t *p;
    size_t cap;
};
/* False without memory. */
bool codec_room_reserve(struct codec_room *room, size_t n);
void codec_room_free(struct codec_room *room);

#endif
