/* object_int.h - what the files of object stores share. */
#ifndef CLIENT_OBJECT_INT_H
#define CLIENT_OBJECT_INT_H

#include "client/js_int.h"
#include "client/midge_object.h"

#define OBJECT_STREAM "OBJ_"
#define OBJECT_CHUNK_BYTES 131072

struct midge_objects {
    struct midge *m;
    char *bucket, *stream;
    bool direct;
};

/* "$O.<bucket>.M.<name in base64>" and "$O.<bucket>.C.<id>". */
void object_put_meta_subject(struct buf *b, const char *bucket, const char *name);
void object_put_chunk_subject(struct buf *b, const char *bucket, const char *id);
/* Appends the entry's JSON, without a time: that is the message's. */
void object_put_info(struct buf *b, const struct midge_object_info *info);
/* Into *out, zeroed or filled before. False when it is no entry. */
bool object_read_info(struct str json, struct midge_object_info *out);
/* As midge_object_info; also a deleted one, with MIDGE_OK. */
int object_find(struct midge_objects *s, const char *name, struct midge_object_info *info);
/* Stores the entry, in place of the one before. */
int object_publish(struct midge_objects *s, const struct midge_object_info *info);
int object_purge_chunks(struct midge_objects *s, const char *id);
struct midge_object_info object_from_meta(const struct midge_object_meta *meta);
/* A copy of text with an owner. NULL stays NULL. */
const char *object_keep(const char *text);

#endif
