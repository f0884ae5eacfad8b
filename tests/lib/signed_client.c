#include "tests/lib/signed_client.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

char *signed_open(struct raw_client *r, uint16_t port, const struct signer *by)
{
    char *info, *nonce, *sig = NULL;

    raw_open(r, port);
    info = raw_line(r);
    nonce = strstr(info, "\"nonce\":\"");
    ck_assert_msg(nonce != NULL, "%s", info);
    nonce += strlen("\"nonce\":\"");
    nonce[strcspn(nonce, "\"")] = '\0';
    if (by != NULL)
        sig = token_sign_nonce(by, nonce);
    free(info);
    return sig;
}
