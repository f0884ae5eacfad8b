/*
 * creds.c - what proves who the user is, from files: a creds file, or the seed of an nkey.
 *
 * A creds file has two blocks between lines of dashes: the user's token (a JWT), and the seed of
 * the key that it names. An nkey file has the seed, alone or in such a block. The server's nonce is
 * signed with the seed. Files are read at each try, as they are then; what was read is wiped.
 */
#include "client/client_int.h"
#include "lib/base/assert.h"
#include "lib/base/base64.h"
#include "lib/jwt/nkey.h"

#include <sodium.h>
#include <string.h>

#define FILE_MAX 65536u

static bool read_all(struct midge *m, const char *path, struct buf *out)
{
    struct io_fs *fs = io_fs(m->io);
    fs_fd fd = fs_open(fs, path, IO_FILE_READ);
    int64_t n;

    if (fd < 0) {
        client_error(m, 0, "%.120s: %s", path, strerror(-fd));
        return false;
    }
    n = fs_read(fs, fd, buf_reserve(out, FILE_MAX), FILE_MAX, 0);
    fs_close(fs, fd);
    if (n < 0 || n == FILE_MAX) {
        client_error(m, 0, "%.120s: %s", path, n < 0 ? strerror((int) -n) : "too large");
        return false;
    }
    out->n = (size_t) n;
    return true;
}

/* The line behind one that has dashes and ends in this word and dashes ("BEGIN NATS USER JWT"). */
static struct str block(struct str text, const char *word)
{
    struct str line;

    while (text.n > 0) {
        line = str_cut(text, '\n', &text);
        if (str_starts(line, STR("---")) && memmem(line.p, line.n, "BEGIN", 5) != NULL &&
            memmem(line.p, line.n, word, strlen(word)) != NULL)
            return str_trim(str_cut(text, '\n', &text));
    }
    return STR_NONE;
}

/* The key's name to user (may be NULL), and the signature of the nonce to sig. */
static bool sign(struct str seed_text, struct str nonce, char user[NKEY_LEN + 1], struct buf *sig)
{
    uint8_t seed[NKEY_KEY_BYTES], key[NKEY_KEY_BYTES], secret[NKEY_SECRET_BYTES];
    uint8_t bytes[NKEY_SIG_BYTES];
    enum nkey_kind kind;
    bool good = nkey_seed_decode(seed_text, &kind, seed) && kind == NKEY_USER;

    if (good) {
        crypto_sign_seed_keypair(key, secret, seed);
        nkey_sign(secret, nonce, bytes);
        base64url_encode(sig, str_from((const char *) bytes, sizeof(bytes)));
        nkey_encode(NKEY_USER, key, user);
    }
    sodium_memzero(seed, sizeof(seed));
    sodium_memzero(secret, sizeof(secret));
    return good;
}

static void put_field(struct buf *b, const char *key, struct str value)
{
    buf_printf(b, ",\"%s\":", key);
    jput_string(b, value);
}

static bool put_from(struct midge *m, const char *path, struct str text)
{
    struct str token = m->o.creds != NULL ? block(text, "JWT") : STR_NONE;
    struct str seed = block(text, "SEED");
    struct str nonce = str_of(m->info.nonce != NULL ? m->info.nonce : "");
    char user[NKEY_LEN + 1];
    struct buf sig = {0};

    if (m->o.creds == NULL && nonce.n == 0) {
        client_error(m, 0, "the server does not ask for an nkey");
        return false;
    }
    if (m->o.creds == NULL && seed.n == 0)
        seed = str_trim(text);
    if ((m->o.creds != NULL && token.n == 0) || !sign(seed, nonce, user, &sig)) {
        client_error(m, 0, "%.120s: %s", path,
                     m->o.creds != NULL ? "no creds file" : "no seed of a user");
        return false;
    }
    if (m->o.creds != NULL)
        put_field(&m->out, "jwt", token);
    else
        put_field(&m->out, "nkey", str_of(user));
    put_field(&m->out, "sig", buf_str(&sig));
    buf_free(&sig);
    return true;
}

bool client_put_creds(struct midge *m)
{
    const char *path = m->o.creds != NULL ? m->o.creds : m->o.nkey;
    struct buf text = {0};
    bool good;

    if (path == NULL)
        return true;
    if (sodium_init() < 0)
        FATAL("libsodium can not be initialized");
    good = read_all(m, path, &text) && put_from(m, path, buf_str(&text));
    if (text.p != NULL)
        sodium_memzero(text.p, text.cap);
    buf_free(&text);
    return good;
}
