/*
 * zones.h - time zones by name, read from the system's database when they are first asked for. One
 * per worker.
 *
 * A file is read by io_work, so the first question for a zone has no answer yet. Zones that are
 * known stay; of names that are none the last ones are kept.
 */
#ifndef JS_ZONES_H
#define JS_ZONES_H

#include "lib/base/list.h"
#include "lib/base/str.h"
#include "server/js/zone.h"

struct io;
struct zones;

/* Somebody who waits for an answer; embedded in its owner, who may take it out of the list. */
struct zone_wait {
    struct list link;
    void (*ready)(struct zone_wait *w); /* once: ask again */
};

enum zone_found { ZONE_KNOWN, ZONE_UNKNOWN, ZONE_WAIT };

struct zones *zones_open(struct io *io);
void zones_close(struct zones *z);
/* *out (NULL = UTC) lives as long as z. ZONE_WAIT: w is waiting now. */
enum zone_found zones_find(struct zones *z, struct str name, const struct zone **out,
                           struct zone_wait *w);

#endif
