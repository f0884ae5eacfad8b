/* auth.c - verdicts; see auth.h for the order in which credentials are looked at. */
#include "server/auth/auth.h"

#include "lib/base/base64.h"
#include "lib/jwt/nkey.h"
#include "server/config/options.h"

#include <crypt.h>
#include <sodium.h>
#include <string.h>

static const struct auth_verdict no = {.answer = AUTH_NO};

bool auth_required(const struct options *options)
{
    return options->user != NULL || options->token != NULL || options->users.n > 0 ||
           operators_on(options) || options_default_is_open(options);
}

bool auth_announced(const struct options *options)
{
    return auth_required(options) && options->no_auth_user == NULL;
}

bool auth_wants_nonce(const struct options *options)
{
    if (operators_on(options) || options->proxies.trusted.n > 0)
        return true;
    for (size_t i = 0; i < options->users.n; i++)
        if (options->users.list[i].nkey != NULL)
            return true;
    return false;
}

void auth_nonce_text(const uint8_t bytes[AUTH_NONCE_BYTES], char out[AUTH_NONCE_LEN + 1])
{
    sodium_bin2base64(out, AUTH_NONCE_LEN + 1, bytes, AUTH_NONCE_BYTES,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* ---- secrets --------------------------------------------------------------------------------- */

bool auth_is_hash(const char *text)
{
    return strncmp(text, "$2a$", 4) == 0 || strncmp(text, "$2b$", 4) == 0 ||
           strncmp(text, "$2y$", 4) == 0;
}

/* Comparing hashes hides the length of the secret as well. */
static bool same_secret(struct str given, const char *wanted)
{
    unsigned char a[crypto_generichash_BYTES];
    unsigned char b[crypto_generichash_BYTES];
    struct str want = str_of(wanted);

    crypto_generichash(a, sizeof(a), (const unsigned char *) given.p, given.n, NULL, 0);
    crypto_generichash(b, sizeof(b), (const unsigned char *) want.p, want.n, NULL, 0);
    return sodium_memcmp(a, b, sizeof(a)) == 0;
}

bool auth_secret_matches(const char *secret, const char *hash)
{
    struct crypt_data data;
    const char *got;
    bool same;

    memset(&data, 0, sizeof(data));
    got = crypt_r(secret, hash, &data);
    same = got != NULL && strlen(got) == strlen(hash) &&
           sodium_memcmp(got, hash, strlen(hash)) == 0;
    sodium_memzero(&data, sizeof(data));
    return same;
}

static struct auth_verdict compare(struct str given, const char *wanted, const struct user *user)
{
    if (auth_is_hash(wanted))
        return (struct auth_verdict){
            .answer = AUTH_SLOW, .user = user, .given = given, .hash = wanted};
    return (struct auth_verdict){.answer = same_secret(given, wanted) ? AUTH_YES : AUTH_NO,
                                 .user = user};
}

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static struct auth_verdict check_nkey(const struct options *o, const struct auth_claim *claim)
{
    const struct user *user = users_find_nkey(&o->users, claim->nkey.p, claim->nkey.n);

    if (user == NULL || (user->kinds & claim->kind) == 0 ||
        !nkey_verify(claim->nkey, claim->sig, claim->nonce))
        return no;
    return (struct auth_verdict){.answer = AUTH_YES, .user = user};
}

static bool offers_nothing(const struct auth_claim *claim)
{
    return claim->user.n == 0 && claim->pass.n == 0 && claim->token.n == 0 && claim->nkey.n == 0;
}

struct auth_verdict auth_check_nothing(const struct options *options)
{
    const char *name = options->no_auth_user;
    const struct user *user;

    if (!auth_required(options))
        return (struct auth_verdict){.answer = AUTH_YES};
    if (options_default_is_open(options))
        return (struct auth_verdict){.answer = AUTH_YES, .by_nothing = true};
    if (name == NULL)
        return no;
    user = users_find(&options->users, name, strlen(name));
    if (user == NULL)
        user = users_find_nkey(&options->users, name, strlen(name));
    if (user == NULL)
        return no;
    return (struct auth_verdict){.answer = AUTH_YES, .user = user, .by_nothing = true};
}

/* Is a user without a password one that certificates name? Not the one that everybody may be. */
static bool is_for_certificates(const struct options *o, const struct user *user)
{
    return (o->tls.map || o->websocket.tls.map || o->leaf.tls.map) &&
           (o->no_auth_user == NULL || strcmp(o->no_auth_user, user->name) != 0);
}

static struct auth_verdict check_listed(const struct options *o, const struct auth_claim *claim)
{
    const struct user *user = users_find(&o->users, claim->user.p, claim->user.n);

    if (user == NULL) {
        same_secret(claim->pass, ""); /* unknown names take as long as wrong passwords */
        return no;
    }
    if ((user->kinds & claim->kind) == 0)
        return no;
    if (or_empty(user->pass)[0] == '\0' && (claim->needs_password || is_for_certificates(o, user)))
        return no;
    return compare(claim->pass, or_empty(user->pass), user);
}

struct auth_verdict auth_check_named(const struct user *user, struct str pass)
{
    return user != NULL ? compare(pass, or_empty(user->pass), user) : no;
}

struct auth_verdict auth_check(const struct options *o, const struct auth_claim *claim)
{
    bool known;
    struct auth_verdict v;
    bool nothing_will_do = o->no_auth_user != NULL || options_default_is_open(o);

    if (!auth_required(o) || (nothing_will_do && offers_nothing(claim)))
        return auth_check_nothing(o);
    if (claim->nkey.n > 0)
        return check_nkey(o, claim);
    if (o->users.n > 0)
        return claim->user.n > 0 ? check_listed(o, claim) : no;
    if (o->token != NULL)
        return claim->token.p != NULL ? compare(claim->token, o->token, NULL) : no;
    if (o->user == NULL || (claim->needs_password && or_empty(o->pass)[0] == '\0'))
        return no;
    known = same_secret(claim->user, o->user);
    v = compare(claim->pass, or_empty(o->pass), NULL);
    return known && claim->user.p != NULL ? v : no;
}

/* ---- reload ---------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool auth_still_valid(const struct options *before, const struct user *user, uint8_t kind,
                      const struct options *now, const struct user **user_now)
{
    *user_now = NULL;
    if (!auth_required(now))
        return true;
    if (user == NULL)
        return auth_required(before) && now->users.n == 0 && same_text(before->user, now->user) &&
               same_text(before->pass, now->pass) && same_text(before->token, now->token);
    *user_now = user->nkey != NULL ? users_find_nkey(&now->users, user->nkey, strlen(user->nkey))
                                   : users_find(&now->users, user->name, strlen(user->name));
    return *user_now != NULL && ((*user_now)->kinds & kind) != 0 &&
           same_text((*user_now)->pass, user->pass);
}

bool auth_nothing_still_valid(const struct options *before, const struct options *now,
                              const struct user **user_now)
{
    struct auth_verdict v = auth_check_nothing(now);

    *user_now = v.user;
    return v.answer == AUTH_YES &&
           (v.user == NULL || same_text(before->no_auth_user, now->no_auth_user));
}

/* ---- as a client ----------------------------------------------------------------------------- */

bool auth_sign(struct str seed, struct str nonce, char key[AUTH_KEY_LEN + 1], struct buf *sig)
{
    uint8_t bytes[NKEY_KEY_BYTES], public[NKEY_KEY_BYTES], secret[NKEY_SECRET_BYTES];
    uint8_t signature[NKEY_SIG_BYTES];
    enum nkey_kind kind;
    bool ok = nkey_seed_decode(seed, &kind, bytes);

    if (ok) {
        crypto_sign_seed_keypair(public, secret, bytes);
        nkey_encode(kind, public, key);
        nkey_sign(secret, nonce, signature);
        base64url_encode(sig, str_from(signature, sizeof(signature)));
    }
    sodium_memzero(bytes, sizeof(bytes));
    sodium_memzero(secret, sizeof(secret));
    return ok;
}
