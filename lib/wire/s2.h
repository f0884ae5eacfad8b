/*
 * s2.h - the S2 framing format, which is Snappy's with larger blocks and a repeated offset.
 *
 * A stream is chunks: u8 type, u24 length (little-endian), then that many bytes.
 *     ff  stream identifier, "S2sTwO" or "sNaPpY"; first, and may come again
 *     00  compressed: u32 masked CRC-32C of the data, then a block
 *     01  as it is:   u32 masked CRC-32C of the data, then the data
 *     80..fe  to be skipped (padding, an index)
 *     02..7f  not known: an error
 * Masked: rotated right by 15, plus 0xa282ead8. A block holds at most 4 MiB of data.
 *
 * The writer makes chunks of type 01, which every reader of S2 and Snappy takes. The reader takes
 * everything, in pieces of any size. Pure; the reader owns what it has not given out yet.
 */
#ifndef WIRE_S2_H
#define WIRE_S2_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>

#define S2_BLOCK_MAX (4u << 20)

/* The stream identifier. */
void s2_put_start(struct buf *out);
/* Chunks with these bytes; nothing for none. */
void s2_put(struct buf *out, struct str data);

/* Zero-initialised is at the beginning of a stream. */
struct s2_reader {
    struct buf in; /* bytes not taken yet, from `at` on */
    size_t at;
    bool started;
};

/* More of the stream. */
void s2_reader_feed(struct s2_reader *r, struct str bytes);
enum s2_got {
    S2_CHUNK, /* one chunk was taken; its data (at most S2_BLOCK_MAX, maybe none) is appended */
    S2_MORE,  /* no chunk is complete: feed */
    S2_BAD,   /* no such stream, or damaged: the reader is to be thrown away */
};
enum s2_got s2_reader_next(struct s2_reader *r, struct buf *out);
/* Bytes that wait to be taken. */
size_t s2_reader_waiting(const struct s2_reader *r);
void s2_reader_free(struct s2_reader *r);

/* One block: appends its data. False when malformed, or longer than S2_BLOCK_MAX. */
bool s2_block_decode(struct str block, struct buf *out);

#endif
