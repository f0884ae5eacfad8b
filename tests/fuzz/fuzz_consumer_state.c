/*
 * fuzz_consumer_state.c - a consumer's durable state from any bytes: malformed, or a sound core
 * that encodes to a record which gives the same core.
 *
 * Input: one byte (bits 0 and 1: the ack policy), two bytes with the length of the full record,
 * the record; the rest are logs, each behind a byte with its length. Runs may be millions long,
 * which is right and slow: what adds up to more than RUNS_MAX is not replayed.
 */
#include "lib/base/assert.h"
#include "lib/base/varint.h"
#include "lib/base/wheel.h"
#include "server/js/consumer_core.h"
#include "server/js/consumer_state.h"
#include "tests/fuzz/fuzz.h"

#define RUNS_MAX 20000u

static bool too_long(struct str log, uint64_t *runs)
{
    uint64_t head, step, count;

    while (log.n > 0 && varint_take(&log, &head) && varint_take(&log, &step)) {
        count = 1;
        if ((head & 1) != 0 && !varint_take(&log, &count))
            break;
        *runs += count < RUNS_MAX ? count : RUNS_MAX;
    }
    return *runs >= RUNS_MAX;
}

static void no_wake(struct consumer_core *core)
{
    (void) core;
}

static void open_core(struct consumer_core *c, struct wheel *wheel, unsigned policy)
{
    struct consumer_rules rules = {
        .ack_policy = (enum ack_policy)(policy % 3),
        .ack_wait_ns = 30000000000,
        .max_deliver = -1,
        .max_ack_pending = 1000,
        .max_waiting = 512,
    };

    consumer_core_init(c, &rules, wheel, no_wake);
}

static void check_round(const struct consumer_core *c, struct wheel *wheel, unsigned policy)
{
    struct consumer_core again;
    struct buf first = {0}, second = {0};

    consumer_state_encode(c, &first);
    open_core(&again, wheel, policy);
    ASSERT(consumer_state_decode(&again, buf_str(&first)));
    consumer_state_encode(&again, &second);
    ASSERT(str_eq(buf_str(&first), buf_str(&second)));
    consumer_state_resume(&again, 0);
    consumer_core_check(&again);
    consumer_core_deinit(&again);
    buf_free(&first);
    buf_free(&second);
}

static bool load(struct consumer_core *c, struct str in)
{
    uint64_t runs = 0;
    size_t n = in.n >= 2 ? (size_t) (uint8_t) in.p[0] | (size_t) (uint8_t) in.p[1] << 8 : 0;

    if (in.n < 2 || !consumer_state_decode(c, str_take(str_skip(in, 2), n)))
        return false;
    for (in = str_skip(in, 2 + n < in.n ? 2 + n : in.n); in.n > 0;) {
        n = (uint8_t) in.p[0];
        in = str_skip(in, 1);
        if (too_long(str_take(in, n), &runs) || !consumer_state_apply(c, str_take(in, n)))
            return false;
        in = str_skip(in, n < in.n ? n : in.n);
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct consumer_core c;
    struct wheel *wheel;

    if (size == 0)
        return 0;
    wheel = wheel_open(0);
    open_core(&c, wheel, data[0] & 3);
    if (load(&c, str_from(data + 1, size - 1))) {
        check_round(&c, wheel, data[0] & 3);
        consumer_state_resume(&c, 0);
        consumer_core_check(&c);
    }
    consumer_core_deinit(&c);
    wheel_close(wheel);
    return 0;
}
