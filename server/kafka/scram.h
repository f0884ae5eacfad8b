/*
 * scram.h - the server's side of SCRAM (RFC 5802, 7677) with SHA-256 or SHA-512: texts in, texts
 * out. Pure but for the time that scram_derive takes (some ms), which is for io_work.
 *
 *     client-first  ->  scram_begin     the user's name
 *                       scram_challenge server-first
 *     client-final  ->  scram_finish    nonce and proof are looked at; server-final
 *
 * Only without channel binding; an authorization id that is given has to be the user's name.
 */
#ifndef KAFKA_SCRAM_H
#define KAFKA_SCRAM_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define SCRAM_ITERATIONS 4096
#define SCRAM_SALT 16u
#define SCRAM_HASH_MAX 64u
/* Longest text of a client. */
#define SCRAM_TEXT_MAX 4096u

struct scram {
    bool sha512;
    struct buf bare;  /* client-first without its first part */
    struct buf first; /* server-first */
    struct buf bind;  /* the first part, in base64: what client-final has to repeat */
    struct buf nonce; /* the client's, then also ours */
    uint8_t salt[SCRAM_SALT];
};

void scram_init(struct scram *s, bool sha512);
void scram_free(struct scram *s);
/* False: malformed. The name is appended. */
bool scram_begin(struct scram *s, struct str client_first, struct buf *name);
/* random: printable, without a comma. The text lives as s. */
struct str scram_challenge(struct scram *s, struct str random, const uint8_t salt[SCRAM_SALT]);
/* The password with the salt; how long it is by the hash. */
void scram_derive(const struct scram *s, struct str password, uint8_t out[SCRAM_HASH_MAX]);
/* False: malformed, or not the one who knows the password. server-final is appended. */
bool scram_finish(const struct scram *s, struct str client_final,
                  const uint8_t derived[SCRAM_HASH_MAX], struct buf *server_final);

#endif
