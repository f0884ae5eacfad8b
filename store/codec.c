/* codec.c - see codec.h. */
#include "store/codec.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "store/batch.h"

#include <lz4.h>

/* An LZ4 block decodes to at most this many times its size. */
#define LZ4_MOST 255u
/* Smaller bodies are not worth a call. */
#define COMPRESS_MIN 64u

bool codec_plain(const struct batch_header *h)
{
    return h->codec == BATCH_PLAIN && (h->flags & BATCH_ENCRYPTED) == 0;
}

bool codec_lengths(const struct batch_header *h)
{
    uint32_t n = h->body_bytes;

    if ((h->flags & BATCH_ENCRYPTED) != 0) {
        if (n <= BATCH_SEAL)
            return false;
        n -= BATCH_SEAL;
    }
    if (h->codec == BATCH_PLAIN)
        return h->raw_bytes == n;
    return h->codec == BATCH_LZ4 && n != 0 && n < h->raw_bytes && h->raw_bytes / LZ4_MOST <= n;
}

size_t codec_bound(const struct codec *c, size_t raw)
{
    ASSERT(raw <= BATCH_BODY_MAX);
    return c->compression == BATCH_LZ4 ? (size_t) LZ4_compressBound((int) raw) : 0;
}

void codec_encode(const struct codec *c, struct batch_header *h, const uint8_t *raw, uint8_t *room,
                  const uint8_t **out)
{
    int n = 0;

    if (c->compression == BATCH_LZ4 && h->raw_bytes >= COMPRESS_MIN)
        n = LZ4_compress_default((const char *) raw, (char *) room, (int) h->raw_bytes,
                                 (int) codec_bound(c, h->raw_bytes));
    h->codec = BATCH_PLAIN;
    h->body_bytes = h->raw_bytes;
    *out = raw;
    /* An eighth at least: reading costs time, too. */
    if (n <= 0 || (uint32_t) n > h->raw_bytes - h->raw_bytes / 8)
        return;
    h->codec = BATCH_LZ4;
    h->body_bytes = (uint32_t) n;
    *out = room;
}

enum err codec_decode(const struct batch_header *h, const uint8_t *stored, uint8_t *raw)
{
    if (h->codec != BATCH_LZ4)
        return ERR_UNSUPPORTED;
    int n = LZ4_decompress_safe((const char *) stored, (char *) raw, (int) h->body_bytes,
                                (int) h->raw_bytes);
    return n >= 0 && (uint32_t) n == h->raw_bytes ? ERR_OK : ERR_CORRUPT;
}

bool codec_room_reserve(struct codec_room *room, size_t n)
{
    if (n <= room->cap)
        return true;
    mem_free(room->p);
    room->p = mem_try_alloc(n);
    room->cap = room->p != NULL ? n : 0;
    return room->p != NULL;
}

void codec_room_free(struct codec_room *room)
{
    mem_free(room->p);
    *room = (struct codec_room){0};
}
