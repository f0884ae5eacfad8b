#include "lib/base/log.h"

#include <stdio.h>

#define LINE_MAX_BYTES 8192

/* Names that clients choose end up in log lines; a line must stay one line. */
static void blank_newlines(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n' || *text == '\r')
            *text = ' ';
    }
}

void log_print(struct log *log, enum log_level level, const char *format, ...)
{
    char text[LINE_MAX_BYTES + 1];
    va_list args;

    if (!log_on(log, level))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    blank_newlines(text);
    log->line(log, level, text);
}
