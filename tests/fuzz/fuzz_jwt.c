/*
 * fuzz_jwt.c - any text as a token, and any JSON as the claims of one that is signed well: read and
 * checked, or refused with a text.
 *
 * Input: when it begins with "{", the fields of "nats" of a token of the kind that the second byte
 * names, signed here; else a token.
 */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/jwt/claims.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/token.h"

#include <string.h>

static void check(const struct jwt_issues *is)
{
    struct buf text = {0};

    jwt_issues_text(is, &text);
    ASSERT(text.n >= 2 && (text.n == 2) == !jwt_issues_block(is, false));
    buf_free(&text);
}

static void read_all(struct str token)
{
    struct account_claims account;
    struct activation_claims activation;
    struct operator_claims operator;
    struct response_claims response;
    struct user_claims user;
    struct buf err = {0};
    struct jwt_issues is = {0};

    if (account_claims_read(token, &account, &err)) {
        account_claims_check(&account, 1, &is);
        account_claims_free(&account);
    }
    if (user_claims_read(token, &user, &err)) {
        user_claims_check(&user, 1, &is);
        (void) jwt_user_limits_empty(&user.limits);
        user_claims_free(&user);
    }
    if (activation_claims_read(token, &activation, &err)) {
        activation_claims_check(&activation, &is);
        activation_claims_free(&activation);
    }
    if (operator_claims_read(token, &operator, & err))
        operator_claims_free(&operator);
    if (response_claims_read(token, &response, &err)) {
        response_claims_check(&response, 1, &is);
        response_claims_free(&response);
    }
    ASSERT(err.n > 0); /* it can not be of all kinds */
    check(&is);
    jwt_issues_free(&is);
    buf_free(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = str_from(data, size);
    static const enum nkey_kind signers[] = {NKEY_OPERATOR, NKEY_ACCOUNT, NKEY_SERVER};
    struct signer by;
    char *fields, *token;

    if (size < 2 || data[0] != '{') {
        read_all(input);
        read_all(jwt_undecorate(input));
        return 0;
    }
    signer_make(&by, signers[data[1] / 8 % 3], 1);
    fields = mem_strndup(input.p + 2, input.n - 2);
    token = token_make(&by, (enum jwt_kind)(1 + data[1] % 6), by.key, "n", fields);
    read_all(str_of(token));
    mem_free(fields);
    mem_free(token);
    return 0;
}
