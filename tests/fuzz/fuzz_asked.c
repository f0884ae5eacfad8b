/* fuzz_asked.c - any bytes as the body of a request in the system account, for every document. */
#include "lib/base/assert.h"
#include "server/monitor/monitor_int.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < documents_n; i++) {
        struct asked a = {0};
        struct buf err = {0};
        bool ok = asked_read(&a, documents[i], str_from(data, size), &err);
        ASSERT(ok == (err.n == 0));
        asked_free(&a);
        buf_free(&err);
    }
    return 0;
}
