#include "lib/base/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void fatal_at(const char *file, int line, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fprintf(stderr, "midge: %s:%d: %s\n", file, line, text);
    fflush(stderr);
    abort();
}
