#include "tests/api/kafka_shell.h"

#include <stdarg.h>
#include <stdio.h>

#define SAID_MAX (1 << 20)

char *kafka_shell(struct js_rig *r, const char *format, ...)
{
    char command[2048], *out = calloc(1, SAID_MAX);
    size_t at, n = 0;
    va_list args;

    at = (size_t) snprintf(command, sizeof(command), "K='-b 127.0.0.1:%u'; ", r->server.kafka_port);
    va_start(args, format);
    vsnprintf(command + at, sizeof(command) - at, format, args);
    va_end(args);
    FILE *f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    n = fread(out, 1, SAID_MAX - 1, f);
    out[n] = '\0';
    int status = pclose(f);
    ck_assert_msg(status == 0, "%s: status %d, said %s", command, status, out);
    return out;
}
