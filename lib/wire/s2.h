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
 * The writer makes chunks of type 01, or (s2_put_packed) of type 00 with 64 KiB each at most and
 * the elements of Snappy alone: every reader of S2 and Snappy takes them. The reader takes
 * everything, in pieces of any size. Pure; the reader owns what it has not given out yet.
 */
#ifndef WIRE_S2_H
#define WIRE_S2_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define S2_BLOCK_MAX (4u << 20)

/* The stream identifier. */
void s2_put_start(struct buf *out);
/* Snappy's, for readers of that alone; what is behind it is packed (s2_put_packed). */
void s2_put_start_snappy(struct buf *out);
/* Chunks with these bytes; nothing for none. */
void s2_put(struct buf *out, struct str data);

/* What the packer has seen of a chunk; its content before does not matter. */
struct s2_table {
    uint16_t at[1u << 14];
};

/* Chunks with these bytes, packed where that makes them smaller by an eighth. */
void s2_put_packed(struct buf *out, struct str data, struct s2_table *table);
/* One block of at most 65536 bytes; always longer than none. */
void s2_block_encode(struct str data, struct s2_table *table, struct buf *out);

/* Zero-initialised is at the beginning of a stream. */
struct s2_reader {
    size_t most;   /* data in one chunk; more is damage. 0 = S2_BLOCK_MAX */
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
