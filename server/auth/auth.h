/*
 * auth.h - is this client who it says it is? A verdict from what CONNECT carries and the options;
 * pure, but for auth_secret_matches, which may take a tenth of a second.
 *
 * Credentials are, in this order: a public key with a signature of the INFO's nonce, a user of the
 * list with its password, or the one user or token of the options; with nothing of these, the user
 * that no_auth_user names. Passwords and tokens in the configuration may be bcrypt hashes ("$2a$");
 * all others are compared in constant time over hashes of equal length, so that neither contents
 * nor length of the secret show.
 *
 * A user of the list without a password is let in with an empty one, unless certificates name users
 * somewhere (verify_and_map of a listener): then only a certificate can say that one is that user,
 * whichever door it comes through.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct options;
struct user;

/* INFO's nonce: 11 random bytes in base64url without padding. */
#define AUTH_NONCE_BYTES 11u
#define AUTH_NONCE_LEN 15u

struct auth_claim {
    struct str user, pass, token; /* p == NULL when absent */
    struct str nkey, sig;
    struct str nonce;    /* what this connection's INFO said */
    uint8_t kind;        /* of connection: one of USER_STANDARD and so on */
    bool needs_password; /* who has none is not let in with an empty one */
};

enum auth_answer {
    AUTH_NO,
    AUTH_YES,
    AUTH_SLOW, /* yes, if auth_secret_matches(given, hash) */
};

struct auth_verdict {
    enum auth_answer answer;
    const struct user *user; /* of the options' list, or NULL */
    bool by_nothing;         /* it is the one that no_auth_user names: nothing was offered */
    struct str given;        /* AUTH_SLOW: part of the claim */
    const char *hash;        /* AUTH_SLOW: of the options */
};

/* Of a public key. */
#define AUTH_KEY_LEN 56u
/* As a client: signs the nonce with the key of the seed; its public key, and the signature in
 * base64url. False when it is no seed. */
bool auth_sign(struct str seed, struct str nonce, char key[AUTH_KEY_LEN + 1], struct buf *sig);

/* Does the server ask for anything? */
bool auth_required(const struct options *options);
/* Does INFO say so? Not when no_auth_user takes everybody in. */
bool auth_announced(const struct options *options);
/* Does INFO need a nonce? */
bool auth_wants_nonce(const struct options *options);
void auth_nonce_text(const uint8_t bytes[AUTH_NONCE_BYTES], char out[AUTH_NONCE_LEN + 1]);
struct auth_verdict auth_check(const struct options *options, const struct auth_claim *claim);
/* The verdict about a client that sends no CONNECT at all. */
struct auth_verdict auth_check_nothing(const struct options *options);
/* The verdict about one whom a certificate names: a password that the user has is asked for all the
 * same, and one that it has not must not be given. */
struct auth_verdict auth_check_named(const struct user *user, struct str pass);
/* Is a secret of the options a bcrypt hash? */
bool auth_is_hash(const char *text);
/* For io_work: does the secret have this bcrypt hash? */
bool auth_secret_matches(const char *secret, const char *hash);

/*
 * Would a client that was let in by `before` be let in by `now` with the same credentials? user is
 * its user of `before`, or NULL; kind: of its connection; *user_now becomes that of `now`. For
 * reload: no credentials are kept.
 */
bool auth_still_valid(const struct options *before, const struct user *user, uint8_t kind,
                      const struct options *now, const struct user **user_now);
/* The same for one that was let in by nothing. */
bool auth_nothing_still_valid(const struct options *before, const struct options *now,
                              const struct user **user_now);

#endif
