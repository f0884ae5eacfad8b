/*
 * recover_impl.h - what the parts of recovery share: recover.c (order of the steps), recover_log.c
 * (reading the commit logs), recover_replay.c (log data into segments), recover_segment.c (one
 * segment file), recover_stream.c (the segments of a stream), recover_write.c (the new generation).
 *
 * Everything blocks and runs on the thread that opens the directory.
 */
#ifndef STORE_RECOVER_IMPL_H
#define STORE_RECOVER_IMPL_H

#include "lib/base/hmap.h"
#include "store/dir.h"
#include "store/log_format.h"
#include "store/plant.h"
#include "store/scan.h"

#include <stdio.h>

/* Names in a directory. */
struct rec_names {
    char **names;
    size_t n, cap;
};
/* Sorted by bytes; a directory that is not there is empty. */
enum err rec_list(struct io_fs *fs, const char *path, struct rec_names *out);
void rec_names_free(struct rec_names *names);

/* ---- objects as the log has them ----------------------------------------------------------- */

struct rec_stream;

struct rec_delta {
    uint64_t version;
    struct buf bytes;
};

struct rec_object {
    struct hmap_node node; /* recovery->objects */
    uint64_t id, parent, version;
    unsigned kind;
    bool full_seen; /* else only changes of it were found */
    bool orphan;    /* a change came before any full record: damage, unless one follows */
    uint32_t orphan_file;
    uint64_t orphan_offset, orphan_version; /* of the first one, of the last one */
    bool adopted;                           /* a stream whose full record is made of a copy */
    bool deleted;
    uint8_t deleted_uuid[16]; /* of a deleted stream */
    bool has_deleted_uuid;
    uint64_t full_version;
    struct buf full;
    struct rec_delta *deltas; /* by version */
    unsigned ndeltas, deltas_cap;
    struct seqset erased;      /* of a stream: all that any record in the log wants erased */
    struct rec_stream *stream; /* kind STORE_KIND_STREAM, after rec_streams_decode */
    unsigned depth;            /* below a root */
    unsigned found;            /* where it was: the worker + 1; 0 = not known */
    unsigned worker;           /* where it goes */
};

struct rec_log_file {
    bool twin; /* of the directory twin/ */
    uint64_t generation, number;
    uint32_t worker;
    uint64_t bytes;      /* of the file */
    uint64_t read;       /* of them, in recovery->cache: all, or up to a clean close */
    bool closed;         /* it ends with one */
    bool used;           /* has a header or a frame of its own: not a spare */
    bool damaged;        /* goes to quarantine instead of away */
    bool taken;          /* an unused one that serves the new generation */
    uint64_t first;      /* its first commit by its header; 0 = not known */
    uint64_t first_seen; /* by its first frame */
    uint64_t durable;    /* highest commit that it proves */
    uint64_t end;        /* behind its last good frame */
    uint32_t workers;    /* by its header */
};

/* Batches in the log, for a segment. */
struct rec_data {
    uint64_t stream, segment, offset;
    uint64_t log_offset; /* of the bytes, in the file */
    uint32_t bytes;
    uint32_t file; /* index of the rec_log_file */
    uint64_t order;
    bool image;
};

/* A twin says that the stream was durable up to here. */
struct rec_end {
    uint64_t stream, seq;
    int64_t ts;
};

struct recovery {
    struct store_dir *dir;
    struct io_fs *fs;
    struct log *log;
    char *why; /* 256 bytes: the reason of a failure */

    struct rec_log_file *files; /* by generation, worker, number */
    size_t nfiles, files_cap;
    struct rec_log_file *twins; /* the same order */
    size_t ntwins, twins_cap;
    bool log_lost;      /* the generation that counts is known by its twin alone */
    uint64_t *log_next; /* per worker, the commit that would have been next */
    uint32_t workers;   /* of the generation that counts, as far as names tell */
    struct rec_end *ends;
    size_t nends, ends_cap;
    const struct rec_log_file *cached; /* whose bytes are in cache; NULL = nobody's */
    uint8_t *cache;
    uint64_t cache_cap, cache_n;
    uint8_t *window; /* what a scan of a segment sees: the same memory for all of them */
    uint64_t window_cap;
    struct buf opened; /* a sealed record's bytes */
    struct crypt_nonces nonces;
    uint64_t newest;     /* generation in any name */
    uint64_t generation; /* the one that counts; 0 = none */
    bool clean;
    bool erased;         /* messages were: their copies may be in any of the old files */
    bool moved;          /* streams do not stay where they were */
    bool all_synced;     /* everything that was written before the streams are read is durable */
    bool orphans_unread; /* the copy of a stream's record may be where reading failed */

    struct hmap objects;
    struct rec_object **list; /* in order of first appearance, later by depth and id */
    size_t nlist, list_cap;
    struct rec_data *data;
    size_t ndata, data_cap;
};

void recovery_deinit(struct recovery *r);
struct rec_object *rec_object_find(const struct recovery *r, uint64_t id);
/* Finds or adds. */
struct rec_object *rec_object_add(struct recovery *r, uint64_t id);
enum err rec_fail(struct recovery *r, enum err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* recover_log.c */
enum err rec_logs_read(struct recovery *r);
void rec_log_path(const struct recovery *r, const struct rec_log_file *f, char out[STORE_PATH]);
/* For a file's frames, one after the other: their records go to the objects; of a twin, when
 * `apply` is set. Damage is reported. */
struct rec_reading {
    struct recovery *r;
    struct rec_log_file *f;
    const uint8_t *bytes;
    bool closed;   /* CLOSE was read, and no data behind it */
    bool apply;    /* what a twin says of objects */
    uint64_t mark; /* the greatest of a twin */
};
enum err rec_log_read_file(struct rec_reading *in, uint64_t known_durable, uint64_t *next,
                           bool *stop);
/* The header page of this file (h->worker and so on), ERR_CORRUPT when it is not its own. */
enum err rec_log_read_header(struct recovery *r, struct rec_log_file *f, struct log_header *h);

/* recover_twin.c, in this order: what twins there are; the generation that counts, when the log's
 * directory does not have it; what the log has lost; which streams reach how far. */
enum err rec_twins_list(struct recovery *r);
void rec_twins_choose(struct recovery *r);
enum err rec_twins_merge(struct recovery *r);
void rec_twins_apply_ends(struct recovery *r);

/* Makes an open file durable that was not written since rec_replay. */
int rec_sync(const struct recovery *r, fs_fd fd);

/* recover_replay.c: writes what the log holds into the segments and syncs them. */
enum err rec_replay(struct recovery *r);

/* ---- streams ------------------------------------------------------------------------------- */

struct rec_stream {
    struct rec_object *object;
    struct stream_record rec;
    char dir[STORE_PATH];
    uint64_t proven_seq; /* highest sequence that batches in the log prove durable */
    struct recovered_segment *segments;
    size_t nsegments;
    uint64_t last_seq;
    int64_t last_ts;
    uint64_t messages;
    bool failed;
    char why[160];
};

/* One segment file while its stream is looked at. */
struct rec_segment {
    uint64_t number;
    uint32_t generation;
    char path[STORE_PATH];
    uint64_t file_bytes;
    uint32_t salt;
    bool blank;       /* its header page is zeros */
    bool header_ok;   /* else base_seq may be 0: not known */
    bool sealed;      /* its footer is valid: summary is filled in */
    bool bad_footer;  /* it had one */
    bool cut;         /* by its trailer: a torn tail lies behind its last message */
    bool complete;    /* a footer that can not be read proves all of it durable */
    bool gone;        /* removed or in quarantine */
    bool dirty;       /* written to: must be synced */
    bool quiet;       /* only probing: say nothing */
    bool lazy;        /* index has no subjects and sizes: there are many */
    bool whole;       /* the scan is to make all of the index */
    uint64_t durable; /* what the last scan was given */
    struct segment_header header;
    struct crypt_file crypt; /* of an encrypted store: also when the segment is not */
    uint64_t base_seq, next_seq;
    uint32_t epoch; /* of the first batch that a scan found */
    uint64_t proof; /* highest sequence that this segment and later ones prove durable */
    struct segment_index index; /* after rec_segment_scan */
    struct footer_input footer; /* the same in the builder's form, pointing to what follows */
    struct segment_message *messages;
    struct str *subjects;
    struct buf names; /* bytes of the subjects */
    uint64_t data_end, found_end;
    bool torn, tail_lost;
    uint64_t torn_offset, torn_bytes;
    struct seqset lost; /* found damaged by the scan */
};

/* Header, and footer when there is one. ERR_NOT_FOUND: never used, has neither header nor batch of
 * its own. */
enum err rec_segment_open(struct recovery *r, struct rec_stream *s, struct rec_segment *seg);
/* Scans the batches: index, footer, lost, torn. durable_seq as in scan_options. */
enum err rec_segment_scan(struct recovery *r, struct rec_stream *s, struct rec_segment *seg,
                          uint64_t durable_seq);
/* Writes the footer behind what was found, and syncs. */
enum err rec_segment_seal(struct recovery *r, struct rec_segment *seg);
void rec_segment_deinit(struct rec_segment *seg);

/* Decodes stream objects, reads and repairs their segments. */
enum err rec_streams_decode(struct recovery *r);
enum err rec_streams_read(struct recovery *r);
/* recover_orphan.c: streams whose record the log has lost, from the copies in their segments; then
 * rec_streams_decode once more. */
void rec_streams_adopt(struct recovery *r);
/* Directories of deleted streams and of streams that nobody knows. */
enum err rec_streams_clean(struct recovery *r);
void rec_stream_free(struct rec_stream *s);

/* recover_write.c: the logs of the new generation; fills in dir->workers. */
enum err rec_write(struct recovery *r);

#endif
