/* test_hmap.c - the hash map against an array, through all stages of growth; iteration with
 * removal; the hash. */
#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/base/hmap.h"
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "tests/lib/runner.h"

#include <stdbool.h>
#include <string.h>

#define ITEMS 3000

struct item {
    uint64_t hash;
    bool in;
    unsigned seen;
    struct hmap_node node;
};

static struct item items[ITEMS];

static bool finds(const struct hmap *m, const struct item *x)
{
    for (struct hmap_node *n = hmap_first(m, x->hash); n != NULL; n = hmap_next(n, x->hash)) {
        MUST(n->hash == x->hash);
        if (CONTAINER_OF(n, struct item, node) == x)
            return true;
    }
    return false;
}

/* mask makes hashes collide: 0 gives one chain, UINT64_MAX none. */
static void fill_items(struct prng *r, uint64_t mask)
{
    memset(items, 0, sizeof(items));
    for (size_t k = 0; k < ITEMS; k++)
        items[k].hash = prng_u64(r) & mask;
}

static void count_all(const struct hmap *m)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;
    size_t total = 0;

    for (size_t k = 0; k < ITEMS; k++)
        items[k].seen = 0;
    while ((n = hmap_each(m, &it)) != NULL) {
        CONTAINER_OF(n, struct item, node)->seen++;
        total++;
    }
    MUST((hmap_each(m, &it)) == NULL);
    MUST(total == m->count);
    for (size_t k = 0; k < ITEMS; k++)
        MUST(items[k].seen == items[k].in);
}

static const uint64_t masks[] = {UINT64_MAX, 0xfff, 0xff, 0xffff000000000000u, 0x3};

TEST(agrees_with_an_array)
{
    struct hmap m;
    struct prng r;

    prng_init(&r, (uint64_t) i);
    fill_items(&r, masks[i]);
    hmap_init(&m);
    count_all(&m);
    hmap_check(&m);
    MUST((hmap_first(&m, 5)) == NULL);
    for (int k = 0; k < 30000; k++) {
        /* Grows for a while, then shrinks, and so on. */
        bool growing = k / 5000 % 2 == 0;
        struct item *x = &items[prng_below(&r, ITEMS)];
        MUST(finds(&m, x) == x->in);
        if (!x->in && (growing || prng_below(&r, 4) == 0)) {
            hmap_insert(&m, &x->node, x->hash);
            x->in = true;
        } else if (x->in && (!growing || prng_below(&r, 4) == 0)) {
            hmap_remove(&m, &x->node);
            x->in = false;
        }
        MUST(finds(&m, x) == x->in);
        if (k % 97 == 0)
            hmap_check(&m);
        if (k % 1009 == 0)
            count_all(&m);
    }
    hmap_deinit(&m);
}

/* Every size from 0 to some, so that iteration meets every stage of a move. */
TEST(walks_at_every_size)
{
    struct hmap m;
    struct prng r;
    unsigned moving = 0;

    prng_init(&r, 3);
    fill_items(&r, UINT64_MAX);
    hmap_init(&m);
    for (size_t k = 0; k < 600; k++) {
        hmap_insert(&m, &items[k].node, items[k].hash);
        items[k].in = true;
        moving += m.old_buckets != NULL;
        hmap_check(&m);
        count_all(&m);
    }
    ck_assert_uint_gt(moving, 50);
    hmap_deinit(&m);
}

TEST(may_remove_while_walking)
{
    for (size_t size = 0; size < 300; size++) {
        struct hmap_iter it = {0};
        struct hmap_node *n;
        struct hmap m;
        struct prng r;
        size_t seen = 0;

        prng_init(&r, size);
        fill_items(&r, 0x3f);
        hmap_init(&m);
        for (size_t k = 0; k < size; k++)
            hmap_insert(&m, &items[k].node, items[k].hash);
        while ((n = hmap_each(&m, &it)) != NULL) {
            if (seen++ % 3 != 0)
                hmap_remove(&m, n);
        }
        ck_assert_uint_eq(seen, size);
        ck_assert_uint_eq(m.count, (size + 2) / 3);
        hmap_check(&m);
        hmap_deinit(&m);
    }
}

TEST(same_history_same_order)
{
    static size_t order[2][ITEMS];

    for (size_t round = 0; round < 2; round++) {
        struct hmap_iter it = {0};
        struct hmap_node *n;
        struct hmap m;
        struct prng r;
        struct item *copy = mem_array(ITEMS, sizeof(*copy));
        size_t k = 0;

        prng_init(&r, 4);
        hmap_init(&m);
        for (size_t j = 0; j < ITEMS; j++)
            hmap_insert(&m, &copy[j].node, prng_u64(&r));
        while ((n = hmap_each(&m, &it)) != NULL)
            order[round][k++] = (size_t) (CONTAINER_OF(n, struct item, node) - copy);
        ck_assert_uint_eq(k, ITEMS);
        hmap_deinit(&m);
        mem_free(copy);
    }
    ck_assert(memcmp(order[0], order[1], sizeof(order[0])) == 0);
}

/* No insertion moves more than a few nodes, whatever the size. */
TEST(moves_a_few_buckets_at_a_time)
{
    struct hmap m;
    struct prng r;
    size_t n = 1 << 17;
    struct hmap_node *nodes = mem_array(n, sizeof(*nodes));

    prng_init(&r, 6);
    hmap_init(&m);
    for (size_t k = 0; k < n; k++) {
        size_t moved = m.moved;
        const void *old = m.old_buckets;
        hmap_insert(&m, &nodes[k], prng_u64(&r));
        if (m.old_buckets == old && old != NULL)
            MUST(m.moved - moved <= 4);
        MUST(m.count <= m.mask + 2);
    }
    hmap_check(&m);
    hmap_deinit(&m);
    mem_free(nodes);
}

/* Strings that differ in one bit or in length differ in the hash, and low bits spread. */
TEST(hash_spreads)
{
    static unsigned buckets[1024];
    unsigned char text[64];
    struct prng r;
    size_t n;

    prng_init(&r, 8);
    for (n = 0; n <= 40; n++) {
        prng_fill(&r, text, sizeof(text));
        uint64_t h = hash_bytes(text, n, 99);
        ck_assert(h == hash_bytes(text, n, 99));
        ck_assert(h != hash_bytes(text, n, 98));
        ck_assert(h != hash_bytes(text, n + 1, 99));
        for (size_t bit = 0; bit < n * 8; bit++) {
            text[bit / 8] ^= (unsigned char) (1 << bit % 8);
            ck_assert(hash_bytes(text, n, 99) != h);
            text[bit / 8] ^= (unsigned char) (1 << bit % 8);
        }
    }
    for (uint32_t k = 0; k < 102400; k++) {
        char name[32];
        memcpy(name, "orders.", 7);
        for (unsigned d = 0, left = k; d < 6; d++, left /= 10)
            name[7 + d] = (char) ('0' + left % 10);
        buckets[hash_bytes(name, 13, 1) & 1023]++;
    }
    /* 100 expected in each, standard deviation 10. */
    for (size_t k = 0; k < ARRAY_LEN(buckets); k++)
        ck_assert(buckets[k] > 40 && buckets[k] < 170);
}

/* Reads exactly n bytes: a longer read is seen by the address sanitizer. */
TEST(hash_stays_inside)
{
    for (size_t n = 0; n < 40; n++) {
        char *text = mem_alloc(n);
        memset(text, 'x', n);
        uint64_t h = hash_bytes(text, n, 5);
        ck_assert(h == hash_bytes("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", n, 5));
        mem_free(text);
    }
}

static const struct runner_case cases[] = {
    RUN_LOOP(agrees_with_an_array, 0, (int) ARRAY_LEN(masks)),
    RUN(walks_at_every_size),
    RUN(may_remove_while_walking),
    RUN(same_history_same_order),
    RUN(moves_a_few_buckets_at_a_time),
    RUN(hash_spreads),
    RUN(hash_stays_inside),
};

RUNNER_MAIN("base/hmap", cases)
