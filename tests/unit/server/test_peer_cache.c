/* Answers about others' certificates: found again, told apart, kept in a file. */
#include "lib/io/io.h"
#include "server/peer_cache.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint8_t one[OCSP_FINGERPRINT_BYTES] = {1},
                     two[OCSP_FINGERPRINT_BYTES] = {1, 0, 0, 0, 0, 0, 0, 0, 2};

static struct ocsp_answer says(enum ocsp_says s)
{
    return (struct ocsp_answer){.says = s, .this_update = 1000, .next_update = 2000};
}

TEST(kept_and_read_again)
{
    char dir[] = "/tmp/midge-test-XXXXXX", file[64], text[4096];
    struct ocsp_cache_options o = {.local_store = dir, .preserve_revoked = true};
    struct ocsp_answer good = says(OCSP_SAYS_GOOD), revoked = says(OCSP_SAYS_REVOKED);
    struct peer_cache_stats s;
    struct peer_cache *c;
    struct io_config config;
    struct io *io;
    size_t n;
    FILE *f;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/cache.json", dir);
    io_config_init(&config);
    config.backend = IO_BACKEND_EVENT;
    ck_assert_int_eq(io_open(&config, &io), 0);
    c = peer_cache_open(&o, io_fs(io), NULL);
    ck_assert_uint_eq(peer_cache_find(c, one).n, 0);
    peer_cache_put(c, one, STR("CN=one"), STR("first answer"), &good, 5);
    peer_cache_put(c, two, STR("CN=two"), STR("second answer"), &revoked, 5);
    ck_assert(str_eq(peer_cache_find(c, two), STR("second answer")));
    peer_cache_stats(c, &s);
    ck_assert(s.hits == 1 && s.misses == 1 && s.responses == 2);
    ck_assert(s.by_status[OCSP_SAYS_GOOD] == 1 && s.by_status[OCSP_SAYS_REVOKED] == 1);
    peer_cache_save(c);
    peer_cache_close(c);

    f = fopen(file, "re");
    ck_assert_ptr_nonnull(f);
    n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    fclose(f);
    ck_assert_ptr_nonnull(strstr(text, "\"resp_status\": \"revoked\""));
    ck_assert_ptr_nonnull(strstr(text, "\"resp_expires\": \"1970-01-01T00:33:20Z\""));

    c = peer_cache_open(&o, io_fs(io), NULL);
    ck_assert(str_eq(peer_cache_find(c, one), STR("first answer")));
    peer_cache_drop(c, one);
    ck_assert_uint_eq(peer_cache_find(c, one).n, 0);
    peer_cache_drop(c, two); /* is preserved */
    ck_assert(str_eq(peer_cache_find(c, two), STR("second answer")));
    peer_cache_close(c);

    /* Half a file is none. */
    ck_assert_int_eq(truncate(file, (off_t) n / 2), 0);
    c = peer_cache_open(&o, io_fs(io), NULL);
    peer_cache_stats(c, &s);
    ck_assert_uint_eq(s.responses, 0);
    peer_cache_close(c);
    io_close(io);
    unlink(file);
    rmdir(dir);
}

static const struct runner_case cases[] = {RUN(kept_and_read_again)};

RUNNER_MAIN("server/peer_cache", cases)
