/* auth.c - one user or one token, compared in constant time over hashes of equal length. */
#include "server/auth/auth.h"

#include "server/config/options.h"

#include <sodium.h>

bool auth_required(const struct options *options)
{
    return options->user != NULL || options->token != NULL;
}

/* Comparing hashes hides the length of the secret as well. */
static bool same_secret(struct str given, const char *wanted)
{
    unsigned char a[crypto_generichash_BYTES];
    unsigned char b[crypto_generichash_BYTES];
    struct str want = str_of(wanted);

    crypto_generichash(a, sizeof(a), (const unsigned char *) given.p, given.n, NULL, 0);
    crypto_generichash(b, sizeof(b), (const unsigned char *) want.p, want.n, NULL, 0);
    return sodium_memcmp(a, b, sizeof(a)) == 0 && given.p != NULL;
}

bool auth_check(const struct options *options, const struct auth_claim *claim)
{
    bool user, pass;

    if (options->user != NULL) {
        user = same_secret(claim->user, options->user);
        pass = same_secret(claim->pass, options->pass != NULL ? options->pass : "");
        return user && pass;
    }
    if (options->token != NULL)
        return same_secret(claim->token, options->token);
    return true;
}
