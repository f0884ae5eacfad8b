/* ledger.c - see ledger.h. */
#include "tests/fuse/ledger.h"

#include "lib/base/hash.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 500u

/* Most are small; some make a commit of their own, and some one of several. */
static size_t body_size(uint32_t number)
{
    uint64_t h = hash_mix(number, 0x9e3779b97f4a7c15u);
    unsigned kind = (unsigned) (h & 63);

    h >>= 6;
    if (kind == 0)
        return 150000 + h % (BODY_MAX - 150000);
    return kind < 4 ? 4000 + h % 16000 : 20 + h % 300;
}

size_t body_of(uint32_t number, char *out)
{
    size_t size = body_size(number), n = (size_t) snprintf(out, 16, "%u ", number);

    for (size_t i = n; i < size; i++)
        out[i] = (char) ('a' + (i * 7 + number * 13u + i / 251) % 26);
    return size;
}

uint32_t number_of_body(struct midge_text body)
{
    static char want[BODY_MAX];
    uint32_t number = body.n > 0 ? (uint32_t) strtoul(body.p, NULL, 10) : 0;

    ck_assert_msg(number > 0 && body_of(number, want) == body.n &&
                      memcmp(want, body.p, body.n) == 0,
                  "a message with other bytes: %.*s", (int) (body.n < 60 ? body.n : 60), body.p);
    return number;
}

unsigned key_of(uint32_t number)
{
    return (unsigned) (hash_mix(number, 77) % LEDGER_KEYS);
}

void ledger_saw(struct ledger *l, uint64_t seq, uint32_t number)
{
    ck_assert_msg(seq > 0 && seq < LEDGER_SEQS, "sequence %llu", (unsigned long long) seq);
    ck_assert_msg(l->number_of[seq] == 0 || l->number_of[seq] == number,
                  "%s: sequence %llu was message %u and is %u", l->stream, (unsigned long long) seq,
                  l->number_of[seq], number);
    l->number_of[seq] = number;
    l->last = seq > l->last ? seq : l->last;
}

bool ledger_promised(const struct ledger *l, uint64_t seq)
{
    return l->number_of[seq] != 0 && l->fate[seq] == FATE_STAYS && seq >= l->floor_asked;
}

static void on_stored(void *ctx, const struct midge_stored *stored)
{
    struct ledger *l = ctx;

    ck_assert_uint_ge(stored->seq, l->after);
    l->after = stored->seq + 1;
    l->live++;
    ledger_saw(l, stored->seq, number_of_body(stored->payload));
    l->seen[stored->seq] = l->reading;
    ck_assert_msg(l->fate[stored->seq] != FATE_GONE && stored->seq >= l->floor_gone,
                  "%s: sequence %llu was removed and is there", l->stream,
                  (unsigned long long) stored->seq);
}

static void check_promises(struct ledger *l)
{
    unsigned newer[LEDGER_KEYS] = {0};

    for (uint64_t seq = l->last; seq > 0; seq--) {
        unsigned key = key_of(l->number_of[seq]);
        bool there = l->seen[seq] == l->reading;
        ck_assert_msg(there || !ledger_promised(l, seq) ||
                          (l->per_subject != 0 && newer[key] >= l->per_subject),
                      "%s: sequence %llu (message %u) was promised and is gone; %llu are there, "
                      "the last promised one is %llu",
                      l->stream, (unsigned long long) seq, l->number_of[seq],
                      (unsigned long long) l->live, (unsigned long long) l->last);
        newer[key] += there;
        ck_assert(l->per_subject == 0 || newer[key] <= l->per_subject || !there);
    }
}

static void check_state(const struct ledger *l, struct midge *m)
{
    char subject[64], *answer = NULL;

    snprintf(subject, sizeof(subject), "STREAM.INFO.%s", l->stream);
    ck_assert_msg(midge_js_api(m, subject, NULL, 20000, &answer) == MIDGE_OK, "%s: %s", l->stream,
                  midge_error(m));
    ck_assert_msg(strstr(answer, "\"lost\"") == NULL, "a power cut is no damage: %s", answer);
    midge_free(answer);
}

void ledger_verify(struct ledger *l, struct midge *m)
{
    uint64_t from;

    check_state(l, m);
    l->reading++;
    l->live = 0;
    l->after = 1;
    do {
        from = l->after;
        int rc = midge_get(m, l->stream,
                           &(struct midge_get){.seq = from, .next_of = ">", .batch = BATCH},
                           on_stored, l);
        ck_assert_msg(rc == MIDGE_OK || rc == MIDGE_NOT_FOUND, "%s: %d %s", l->stream, rc,
                      midge_error(m));
    } while (l->after > from);
    check_promises(l);
}
