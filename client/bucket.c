/* bucket.c - see bucket.h. */
#include "client/bucket.h"

#include <stdio.h>
#include <string.h>

bool name_character(char c, const char *more)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr(more, c) != NULL);
}

bool bucket_valid(const char *bucket)
{
    size_t n = 0;

    for (; bucket != NULL && bucket[n] != '\0'; n++)
        if (!name_character(bucket[n], "_-"))
            return false;
    return n > 0 && n <= BUCKET_NAME_MAX;
}

int bucket_stream(struct midge *m, const char *prefix, const char *bucket, char name[256])
{
    if (!bucket_valid(bucket))
        return js_bad_name(m, "bucket", bucket);
    snprintf(name, 256, "%s%s", prefix, bucket);
    return MIDGE_OK;
}

int bucket_info(struct midge *m, const char *prefix, const char *bucket,
                struct midge_stream_info *info)
{
    char name[256];
    int rc = bucket_stream(m, prefix, bucket, name);

    *info = (struct midge_stream_info){0};
    return rc != MIDGE_OK ? rc : midge_stream_info(m, name, info);
}

int bucket_destroy(struct midge *m, const char *prefix, const char *bucket)
{
    char name[256];
    int rc = bucket_stream(m, prefix, bucket, name);

    return rc != MIDGE_OK ? rc : midge_stream_delete(m, name);
}
