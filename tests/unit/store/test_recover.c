/* Opening and recovering a store directory on the simulated disk. */
#include "store/dir.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"

TEST(fresh_directory)
{
    struct sim *sim = sim_open(1, NULL);
    struct store_dir_options o = {.fs = sim_fs(sim),
                                  .path = "/a/b/data",
                                  .log = sim_log(sim),
                                  .workers = 2,
                                  .log_file_bytes = 1 << 20,
                                  .seed = 5};
    struct store_dir *dir;
    char why[256];

    for (unsigned k = 0; k < 3; k++) {
        ck_assert_msg(store_dir_open(&o, &dir, why) == ERR_OK, "%s", why);
        ck_assert_uint_eq(dir->generation, k + 1);
        ck_assert_uint_eq(store_dir_recovery(dir)->streams, 0);
        store_dir_close(dir);
    }
    sim_close(sim);
}

static const struct runner_case cases[] = {
    RUN(fresh_directory),
};

RUNNER_MAIN("store/recover", cases)
