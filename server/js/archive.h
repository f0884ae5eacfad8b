/*
 * archive.h - the contents of a stream backup: entries one behind the other, as nats-server 2.15
 * writes and reads them (inside of S2 chunks). Pure.
 *
 *     "NATSARC1", then per entry:
 *     uvarint length of the name, varint time (unix ns, zigzag), uvarint sequence,
 *     uvarint length of the header, uvarint length of the payload, name, header, payload
 *
 * First "state.json"; then, one for each consumer it counts, "consumers/<name>" with
 * {"config":{...},"state":{...}}; then messages, whose name is the subject, in order of their
 * sequences; at last an entry of which everything is empty or 0: what ends without it was cut off.
 */
#ifndef JS_ARCHIVE_H
#define JS_ARCHIVE_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define ARCHIVE_MAGIC "NATSARC1"
#define ARCHIVE_NAME_MAX (1u << 20)
/* Of header and payload together. */
#define ARCHIVE_BODY_MAX (65u << 20)

struct archive_entry {
    struct str name;
    int64_t time;
    uint64_t seq;
    struct str header, payload;
};

void archive_put_start(struct buf *out);
void archive_put(struct buf *out, const struct archive_entry *e);
void archive_put_end(struct buf *out);
bool archive_is_end(const struct archive_entry *e);

enum archive_got { ARCHIVE_ENTRY, ARCHIVE_MORE, ARCHIVE_BAD };
/* The entry at the front of *in (behind the magic), which it is taken from; views into *in. MORE:
 * it is not all there, *in is as it was. BAD: too long, or malformed. */
enum archive_got archive_take(struct str *in, struct archive_entry *out);

#endif
