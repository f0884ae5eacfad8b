/* process.c - what the system says about this process. */
#include "server/monitor/monitor_int.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Resident bytes, from the second number of statm. */
int64_t process_memory(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    long long total = 0, pages = 0;

    if (f == NULL)
        return 0;
    if (fscanf(f, "%lld %lld", &total, &pages) != 2)
        pages = 0;
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Per cent of one core over the whole life of the process. */
double process_cpu(int64_t up_ns)
{
    struct rusage u;
    double s;

    if (up_ns <= 0 || getrusage(RUSAGE_SELF, &u) != 0)
        return 0;
    s = (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
        (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    return s / ((double) up_ns / 1e9) * 100;
}

json_t *process_arguments(void)
{
    FILE *f = fopen("/proc/self/cmdline", "re");
    char text[16384];
    size_t n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;
    json_t *list = json_array();

    if (f != NULL)
        fclose(f);
    text[n] = '\0';
    for (size_t at = 0; at < n; at += strlen(text + at) + 1) {
        json_t *word = json_string(text + at);
        if (word != NULL)
            json_array_append_new(list, word);
    }
    return list;
}
