/*
 * scan.h - the recovery scanner: bytes of a segment in, verdicts out. Pure; the caller does the
 * reading.
 *
 *     scan_init(&s, &options);
 *     while ((e = scan_next(&s, &event)) != SCAN_DONE)
 *         SCAN_NEED: read [event.offset, event.offset + event.bytes) and scan_feed it (short only
 * at the end of file) SCAN_BATCH, SCAN_RECORD, SCAN_CORRUPT, SCAN_TORN: take note
 *
 * What is torn and what is damaged. Expected is the sequence after the last good batch (at first
 * base_seq). Where no valid batch stands, the scanner looks on for a later one. If one is found
 * whose durable_seq is at or above the expected sequence, or if the caller knows from elsewhere
 * (durable_seq below) that the expected one was durable, the range between is damaged and its
 * sequences are lost; the scan goes on behind it. Otherwise everything from there on was never
 * acknowledged: the tail is torn and will be cut. A whole batch with a damaged record is good but
 * for that record when it is proven durable, and torn when it is not.
 */
#ifndef STORE_SCAN_H
#define STORE_SCAN_H

#include "store/batch.h"
#include "store/segment_format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum scan_verdict {
    SCAN_DONE,  /* end; struct scan has the summary */
    SCAN_NEED,  /* bytes are missing */
    SCAN_BATCH, /* a good batch: offset, batch, view (valid until the next call) and its bad records
                 */
    SCAN_CORRUPT, /* a damaged range: [offset, offset + bytes); sequences [first_seq, first_seq +
                   * span) are lost; bytes 0: at the end of the data, extent unknown */
    SCAN_TORN, /* cut here: [offset, offset + bytes) was written but never acknowledged; SCAN_DONE
                  follows */
};

struct scan_event {
    uint64_t offset, bytes;
    struct segment_batch batch; /* SCAN_BATCH */
    struct batch_view view;     /* SCAN_BATCH */
    uint64_t first_seq, span;   /* SCAN_CORRUPT */
    /* SCAN_BATCH: damaged records, each lost: bit i of bad (NULL when nbad and nerased are 0).
     * Erased ones have their bit set too. */
    uint32_t nbad, nerased;
    const uint64_t *bad;
    bool repaired; /* SCAN_BATCH: a damaged byte of header or table was mended in the bytes fed:
                      write them back */
};

struct scan_options {
    uint32_t salt;
    const struct crypt_file *crypt; /* NULL: no batch can be opened that is sealed */
    uint64_t base_seq;   /* of the header page; 0 = unknown (damaged): the first batch tells */
    uint64_t file_bytes; /* where to stop at the latest (sealed: the footer's offset or data_end) */
    uint64_t durable_seq; /* known from elsewhere (commit log, next segment's base_seq - 1); 0 =
                             nothing */
    bool sealed;          /* no torn tail possible: whatever is bad is damaged */
    uint64_t window;      /* how much to ask for at least; 0 = 1 MiB */
    /* How far behind the first missing batch to look for a later one; 0 = to the end of the file.
     * Two commits can be in flight at a crash, so nothing is found further away than they reach. */
    uint64_t search_bytes;
};
#define SCAN_SEARCH_BYTES (16ull << 20) /* two commits of 4 MiB, and as much again */

struct scan {
    struct scan_options o;
    /* Result so far. Batches reported at or behind the offset of SCAN_TORN are void; the counts
     * know it. */
    uint64_t base_seq; /* the options', or the first batch's */
    uint64_t next_seq; /* expected sequence; 0 = still unknown */
    uint64_t data_end; /* behind the last good batch */
    uint64_t batches, records;
    uint64_t lost_seqs;  /* in corrupt ranges and bad records */
    uint64_t torn_bytes; /* of SCAN_TORN */
    uint64_t found_end; /* behind the last recognisable batch, good or cut: where a footer may go */
    uint64_t durable_seq; /* highest that any batch proves, or the options' */
    uint32_t epoch;       /* of the last good batch; older ones behind it are leftovers */
    bool tail_lost;       /* sequences known durable are missing at the end */
    /* Private. */
    uint8_t *window;
    uint64_t window_offset;
    size_t window_bytes;
    uint64_t asked;
    bool fed;
    uint64_t limit;      /* end of the file, or of what is to be scanned */
    uint64_t at;         /* where to look for the next batch */
    uint64_t probe;      /* where to look for proof */
    uint64_t looked_end; /* proof was looked for up to here */
    uint64_t mended_at;  /* where a damaged byte was mended last; 0 = nowhere */
    unsigned step;
    uint64_t *bad;
    size_t bad_words;
    struct codec_room room; /* the decoded body of the last batch */
    struct {                /* counts at the start of an open atomic group */
        bool open;
        uint64_t offset, next_seq, data_end, batches, records, lost_seqs;
    } group;
};

void scan_init(struct scan *s, const struct scan_options *options);
void scan_deinit(struct scan *s);
/* The bytes must stay until the next scan_feed or scan_deinit; a damaged byte may be mended in
 * them. */
void scan_feed(struct scan *s, uint64_t offset, uint8_t *bytes, size_t n);
enum scan_verdict scan_next(struct scan *s, struct scan_event *event);

#endif
