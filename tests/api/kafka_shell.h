/* kafka_shell.h - command lines of Kafka clients (kcat, Python's) against the rig's server. */
#ifndef API_KAFKA_SHELL_H
#define API_KAFKA_SHELL_H

#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdlib.h>

/* What the command says, to be freed; one that fails fails the test. $K in it is -b host:port. It
 * sets its own time limit. */
char *kafka_shell(struct js_rig *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define KAFKA_EXPECT(r, want, ...)                                                                 \
    do {                                                                                           \
        char *said = kafka_shell(r, __VA_ARGS__);                                                  \
        ck_assert_str_eq(said, want);                                                              \
        free(said);                                                                                \
    } while (0)

#endif
