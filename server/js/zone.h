/*
 * zone.h - a time zone of the system's database: the bytes of a TZif file as offsets over time.
 *
 * Pure: the caller brings the bytes. Versions 1 to 4 are read; times behind the file's last
 * transition follow the rule in its footer. NULL as a zone is UTC everywhere.
 */
#ifndef JS_ZONE_H
#define JS_ZONE_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* The largest file of the database is a tenth of that. */
#define ZONE_BYTES_MAX 65536u
#define ZONE_NAME_MAX 64u

struct zone;

/* Could this be the name of a zone below the database's directory? "Europe/Berlin", "EST5EDT". */
bool zone_name_valid(struct str name);
/* NULL when it is malformed. The caller frees with zone_free. */
struct zone *zone_parse(struct str bytes);
void zone_free(struct zone *z);
/* Seconds east of UTC at that time. */
int32_t zone_offset(const struct zone *z, int64_t unix_seconds);

#endif
