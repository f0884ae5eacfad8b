/*
 * request_shapes.h - of what kinds the values of a request are, for json_check: a wrong one is told
 * with the names that clients of nats-server know. What is read out of a request is with its
 * reader.
 */
#ifndef MIDGE_SERVER_JS_REQUEST_SHAPES_H
#define MIDGE_SERVER_JS_REQUEST_SHAPES_H

#include "lib/json/json_kinds.h"

extern const struct json_shape shape_stream_config_request;
extern const struct json_shape shape_stream_restore_request;
extern const struct json_shape shape_stream_names_request;
extern const struct json_shape shape_stream_list_request;
extern const struct json_shape shape_stream_info_request;
extern const struct json_shape shape_stream_purge_request;
extern const struct json_shape shape_stream_snapshot_request;
extern const struct json_shape shape_msg_get_request;
extern const struct json_shape shape_msg_delete_request;
extern const struct json_shape shape_consumer_create_request;
extern const struct json_shape shape_consumers_request; /* names and list */
extern const struct json_shape shape_consumer_pause_request;
extern const struct json_shape shape_consumer_unpin_request;
extern const struct json_shape shape_consumer_reset_request;
extern const struct json_shape shape_next_request; /* a pull; its type has no name */

#endif
