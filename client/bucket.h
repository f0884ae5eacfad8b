/*
 * bucket.h - what key-value buckets and object stores have in common: a bucket is a stream, named
 * by a prefix and the bucket's name.
 */
#ifndef CLIENT_BUCKET_H
#define CLIENT_BUCKET_H

#include "client/js_int.h"

#define BUCKET_NAME_MAX 200

bool name_character(char c, const char *more); /* a letter, a digit, or one of `more` */
/* Letters, digits, "_" and "-"; 1 to BUCKET_NAME_MAX of them. */
bool bucket_valid(const char *bucket);
/* The stream's name. MIDGE_INVALID with a text when the bucket has none. */
int bucket_stream(struct midge *m, const char *prefix, const char *bucket, char name[256]);
/* *info is to be freed whatever the result. */
int bucket_info(struct midge *m, const char *prefix, const char *bucket,
                struct midge_stream_info *info);
int bucket_destroy(struct midge *m, const char *prefix, const char *bucket);

#endif
