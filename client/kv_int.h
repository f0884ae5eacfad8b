/* kv_int.h - what the files of key-value buckets share. */
#ifndef CLIENT_KV_INT_H
#define CLIENT_KV_INT_H

#include "client/bucket.h"
#include "client/js_int.h"
#include "client/midge_kv.h"

#define KV_STREAM "KV_"

struct midge_kv {
    struct midge *m;
    char *bucket, *stream;
    char *prefix;     /* "$KV.<bucket>.": what subjects of the stream begin with */
    char *put_prefix; /* where values are published to: of the bucket that this one mirrors */
    bool direct;      /* the stream has direct get */
};

bool kv_key_valid(const char *key);
bool kv_pattern_valid(const char *pattern);
/* What a message of the stream says. False when its subject is none of the bucket's. */
bool kv_read_entry(const struct midge_kv *kv, struct midge_text subject, struct midge_text header,
                   struct midge_text payload, struct midge_kv_entry *out);

#endif
