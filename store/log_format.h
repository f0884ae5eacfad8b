/*
 * log_format.h - commit log files: header page, frames, records. Byte layout:
 * docs/internals/store-format.md.
 *
 *     header page 4 KiB | frame | zero padding to 4 KiB | frame | ...
 *     frame   header 64 B | table: per record { u32 bytes, u32 crc32c } | body: records, each
 * padded to 8 record  u8 type, u8 flags, u16 kind, u32 0, u64 id, u64 version or segment, u64
 * parent or offset, bytes
 *
 * One frame is one log commit. Frames of a worker are numbered without gaps across its files. A
 * page that a sync has declared durable is never written again, so frames do not share pages. Pure
 * code.
 */
#ifndef STORE_LOG_FORMAT_H
#define STORE_LOG_FORMAT_H

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/str.h"
#include "store/crypt.h"
#include "store/superblock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_FRAME_MAGIC 0x4d52464du /* "MFRM" */

enum {
    LOG_HEADER = 4096,
    LOG_PAGE = 4096,
    LOG_FRAME_HEADER = 64,
    LOG_ENTRY = 8,
    LOG_RECORD_HEADER = 32,
    LOG_RECORD_ALIGN = 8,
    LOG_FRAME_RECORDS = 65535, /* at most, in one frame */
};
#define LOG_RECORD_MAX (32u << 20) /* header included */
#define LOG_FRAME_MAX (48u << 20)  /* padding included; a log file is at least LOG_HEADER + this */

/* ---- file header --------------------------------------------------------------------------- */

struct log_header {
    bool twin; /* the file is a copy of what log files say of objects (twin.c) */
    uint32_t version;
    struct store_features features;
    uint8_t store[16];
    uint64_t generation; /* of the server's start, from 1 */
    uint32_t worker;
    uint32_t workers;      /* how many logs this generation has */
    uint64_t number;       /* of the file, per generation and worker, from 0 */
    uint64_t first_commit; /* number of its first frame */
    uint32_t salt;
    uint32_t key_id; /* 0 = not encrypted */
    uint64_t file_bytes;
    int64_t created;
};
/* Fills in salt and version itself. */
void log_header_encode(struct log_header *h, uint8_t out[LOG_HEADER]);
enum err log_header_decode(const uint8_t bytes[LOG_HEADER], struct log_header *out, char why[160]);

/* "<generation>-<worker>-<number>.log" in 10, 4 and 10 digits at least; twins end in ".twin". */
void log_name(char out[64], uint64_t generation, uint32_t worker, uint64_t number);
bool log_name_parse(const char *name, uint64_t *generation, uint32_t *worker, uint64_t *number);
/* The mark in log/: copies of erased messages may be in the files of this worker (log_wash.c). */
void log_mark_name(char out[64], uint32_t worker);
bool log_mark_parse(const char *name, uint32_t *worker);
void twin_name(char out[64], uint64_t generation, uint32_t worker, uint64_t number);
bool twin_name_parse(const char *name, uint64_t *generation, uint32_t *worker, uint64_t *number);

/* ---- records ------------------------------------------------------------------------------- */

enum log_type {
    LOG_FULL = 1,   /* an object's whole state: kind, id, version, parent, bytes */
    LOG_DELTA = 2,  /* a change to it: kind, id, version, bytes */
    LOG_DELETE = 3, /* it and its children are gone: id, version */
    LOG_DATA = 4,   /* whole batches of a segment: id of the stream, segment, offset, bytes */
    LOG_START = 5,  /* in worker 0's first file, last of all: this generation is complete; bytes:
                       struct log_start */
    LOG_CLOSE = 6,  /* all segments are synced, no data follows in this worker's log: a clean
                       close */
    LOG_MARK = 7,   /* in a twin: version = the log's commit up to which it has the records */
    LOG_END = 8, /* in a twin: the stream (id) is durable up to sequence `version`, which has time
                    `parent` */
};

/* Of DATA: bytes that are written over what stands there, which may be torn. They go before all
 * other DATA of the segment, and are written whatever is there. */
#define LOG_IMAGE 1u
/* The bytes are a sealed piece (crypt.h), authenticated with the record's header. FULL, DELTA and
 * DELETE only: batches in DATA are sealed themselves. */
#define LOG_SEALED 2u

struct log_record {
    uint8_t type;
    uint8_t flags; /* LOG_SEALED; DATA: LOG_IMAGE */
    uint16_t kind;
    uint64_t id;
    union {
        uint64_t version; /* of the object: its first full record has 1, each later full or delta
                             one more */
        uint64_t segment;
    };
    union {
        uint64_t parent;
        uint64_t offset;
    };
    struct str bytes;
};

/* Bytes that a record with n bytes takes in a frame's body (its table entry not counted). */
static inline size_t log_record_bytes(size_t n)
{
    return LOG_RECORD_HEADER + ((n + LOG_RECORD_ALIGN - 1) & ~(size_t) (LOG_RECORD_ALIGN - 1));
}

/* Seals the bytes into room, which is overwritten, and points to them. */
void log_record_seal(struct log_record *r, const struct crypt_file *f, struct crypt_nonces *nonces,
                     struct buf *room);
/* A sealed record's bytes are opened into room. False: they do not verify; true also for one that
 * is not sealed. */
bool log_record_open(struct log_record *r, const struct crypt_file *f, struct buf *room);

/* ---- building a frame ---------------------------------------------------------------------- */

/* Two growing buffers; on disk meta, then body, contiguous. Reused from commit to commit
 * (log_frame_begin). */
struct log_frame {
    struct buf meta; /* header + table */
    struct buf body;
    uint32_t salt;
    uint32_t count;
    uint64_t commit;
};
void log_frame_free(struct log_frame *f);
void log_frame_begin(struct log_frame *f, uint32_t salt, uint64_t commit);
/* Would this record still fit? */
bool log_frame_fits(const struct log_frame *f, size_t bytes);
/* Copies the record into the frame; it must fit. */
void log_frame_add(struct log_frame *f, const struct log_record *r);
/* The same with the bytes in n pieces (r->bytes is ignored): a batch's two buffers. */
void log_frame_add_parts(struct log_frame *f, const struct log_record *r, const struct str *parts,
                         unsigned n);
/* What was added at *at (0 at first), whose index is i < f->count; moves *at to the next one. */
struct log_record log_frame_record(const struct log_frame *f, uint32_t i, size_t *at);
/* Writes the header and pads with zeros: meta and body together are a multiple of LOG_PAGE.
 * durable_commit: the highest commit known complete now. prev_crc: header crc of the frame before
 * (0: none). Returns this frame's. */
uint32_t log_frame_seal(struct log_frame *f, uint64_t durable_commit, uint32_t prev_crc,
                        int64_t time);
/* What a frame with this meta and body will take on disk. */
static inline uint64_t log_frame_bytes(const struct log_frame *f)
{
    return (f->meta.n + f->body.n + LOG_PAGE - 1) & ~(uint64_t) (LOG_PAGE - 1);
}

/* The start marker's bytes. */
struct log_start {
    uint32_t workers;
    bool clean_before; /* the generation before was closed */
};
enum { LOG_START_BYTES = 16 };
void log_start_encode(const struct log_start *s, uint8_t out[LOG_START_BYTES]);
bool log_start_decode(struct str bytes, struct log_start *out);

/* ---- reading ------------------------------------------------------------------------------- */

struct log_frame_view {
    uint64_t offset; /* in the file */
    uint64_t bytes;  /* with padding */
    uint64_t commit, durable_commit;
    uint32_t count;
    uint32_t header_crc, prev_crc;
    int64_t time;
    const uint8_t *table, *body;
    uint32_t body_bytes;
    /* Private: where log_frame_next stands. */
    uint32_t index, body_at;
    uint32_t salt;
};

/* How many bytes the frame whose first LOG_FRAME_HEADER bytes these are would take, if it is one;
 * at most about LOG_FRAME_MAX. */
uint64_t log_frame_claims(const uint8_t *header);

/* Record by record in order: 1 = *out filled, 0 = end, -1 = this record is damaged (and skipped).
 */
int log_frame_next(struct log_frame_view *v, struct log_record *out);

enum log_verdict {
    LOG_SCAN_DONE,
    LOG_SCAN_FRAME, /* frame: header and table verified; log_frame_next verifies record by record */
    LOG_SCAN_CORRUPT, /* commits [first_commit, first_commit + commits) at [offset, offset + bytes)
                       * are damaged; both 0: before the first readable frame, how many is not known
                       */
    LOG_SCAN_TORN,    /* unfinished commits at [offset, offset + bytes) end the log; LOG_SCAN_DONE
                         follows */
};

struct log_scan_event {
    struct log_frame_view frame;
    uint64_t offset, bytes;
    uint64_t first_commit, commits;
    bool repaired; /* LOG_SCAN_FRAME: damaged bytes in header, table or records were mended (in the
                      caller's bytes) */
    bool unproven; /* ... of a commit that nothing proves complete: the byte may be that of an older
                      frame at this place, and the write of this one have been torn */
};

struct log_scan {
    uint8_t *bytes;
    size_t n;
    uint32_t salt;
    uint64_t next_commit;    /* expected; 0 = whatever the first frame says */
    uint64_t end;            /* behind the last good frame */
    uint64_t durable_commit; /* proven complete, by this file or by what the caller said */
    uint32_t prev_crc;       /* header crc of the last good frame; 0 = not known */
    bool torn;               /* unfinished commits were cut: later files are not to be read */
    /* Private. */
    uint64_t at;
    bool looked; /* durable_commit takes the whole file into account */
};
/* The whole file's bytes, header page included (not looked at here). next_commit: see above.
 * known_durable: a commit proven complete elsewhere: the greatest log_scan_durable of the later
 * files; 0 = none. */
void log_scan_init(struct log_scan *s, uint8_t *bytes, size_t n, uint32_t salt,
                   uint64_t next_commit, uint64_t known_durable);
enum log_verdict log_scan_next(struct log_scan *s, struct log_scan_event *event);
/* The highest commit that any frame of the file proves complete; *first: the first frame's number,
 * 0 when none. */
uint64_t log_scan_durable(const uint8_t *bytes, size_t n, uint32_t salt, uint64_t *first);

/* The frame at bytes[0]: header and table verified, bounds checked. ERR_CORRUPT. For tools; offset
 * is recorded. */
enum err log_frame_open(const uint8_t *bytes, size_t n, uint32_t salt, uint64_t offset,
                        struct log_frame_view *out);

#endif
