/*
 * jwt_dir.h - a directory of account tokens: one file each, <key>.jwt, the token and nothing else,
 * as other servers of the operator keep them. Main thread.
 *
 * A file is written beside its place, synced, renamed, and the directory synced: a crash leaves the
 * old token or the new one. What is deleted softly is called <key>.jwt.deleted, where a start does
 * not see it.
 *
 * A cache has a limit beyond which what was used least goes, and a time after which what was not
 * used goes; else a full directory refuses what is new ("jwt store is full"), and files go when
 * their claims expire.
 */
#ifndef SERVER_JWT_DIR_H
#define SERVER_JWT_DIR_H

#include "lib/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct io_fs;
struct jwt_dir;

#define JWT_DIR_HASH 32u

struct jwt_dir_options {
    struct io_fs *fs;
    const char *path;
    bool cache;
    bool soft_delete;
    int64_t limit;  /* 0 = none */
    int64_t ttl_ns; /* 0 = until the claims expire */
};

/* Makes the directory when it is not there, and reads what is in it. now: unix ns, as everywhere
 * here. NULL with a text. */
struct jwt_dir *jwt_dir_open(const struct jwt_dir_options *o, int64_t now, char why[256]);
void jwt_dir_close(struct jwt_dir *d);
/* Reads again what is in it; calls changed for keys whose token is new or another. */
void jwt_dir_reload(struct jwt_dir *d, int64_t now, void (*changed)(void *ctx, const char *key),
                    void *ctx);

/* Appends the token; false when there is none. */
bool jwt_dir_load(struct jwt_dir *d, const char *key, int64_t now, struct buf *out);
enum jwt_dir_saved { JWT_DIR_SAVED, JWT_DIR_SAME, JWT_DIR_FAILED };
/* The key is one of an account. Failed: with a text in err. */
enum jwt_dir_saved jwt_dir_save(struct jwt_dir *d, const char *key, struct str token, int64_t now,
                                struct buf *err);
/* True when it is not there any more; *was: it was there. */
bool jwt_dir_delete(struct jwt_dir *d, const char *key, bool *was, struct buf *err);
/* Removes what has had its time. */
void jwt_dir_expire(struct jwt_dir *d, int64_t now);

/* Of all tokens, in no order: equal directories have equal hashes. */
void jwt_dir_hash(const struct jwt_dir *d, uint8_t out[JWT_DIR_HASH]);
/* Those whose claims have not expired, by key. */
void jwt_dir_each(struct jwt_dir *d, int64_t now,
                  void (*each)(void *ctx, const char *key, struct str token), void *ctx);

#endif
