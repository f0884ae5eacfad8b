/*
 * metadata.h - the `metadata` object of streams and consumers: the user's texts, and the `_nats.`
 * keys with which a server says what wrote the asset and what it needs.
 *
 * `_nats.req.level` is stored: the lowest API level that can carry out the configuration.
 * `_nats.ver` and `_nats.level` describe the server that answers; they are in answers only.
 */
#ifndef JS_METADATA_H
#define JS_METADATA_H

#include "lib/base/buf.h"

#include <jansson.h>
#include <stdbool.h>

/* The API level of this server. */
#define JS_API_LEVEL 5

/* An object of texts, or NULL? */
bool metadata_valid(json_t *metadata);
/* Replaces *metadata (an own reference or NULL) by one with this required level and without the
 * keys of answers. What *metadata pointed to is not changed. */
void metadata_set_required(json_t **metadata, unsigned level);
/* The required level that it says, 0 when it says none. */
unsigned metadata_required(const json_t *metadata);
/* A new reference: metadata with the keys of answers. version: of INFO. */
json_t *metadata_for_answer(json_t *metadata, const char *version);

#endif
