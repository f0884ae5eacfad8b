/* test_list.c - the intrusive list against an array, under random operations. */
#include "lib/base/list.h"
#include "lib/base/prng.h"
#include "tests/lib/runner.h"

#include <string.h>

#define NODES 32

struct item {
    int id;
    struct list link;
};

static struct item items[NODES];

/* A list and what it should hold. */
struct twin {
    struct list head;
    int ids[NODES];
    size_t n;
};

static void check_twin(const struct twin *t)
{
    size_t k = 0;

    LIST_FOREACH(link, &t->head)
    {
        MUST(k < t->n);
        MUST(LIST_ENTRY(link, struct item, link)->id == t->ids[k]);
        MUST(link->next->prev == link);
        k++;
    }
    MUST(k == t->n);
    MUST(list_empty(&t->head) == (t->n == 0));
    struct list *first = list_first(&t->head);
    MUST((first != NULL ? LIST_ENTRY(first, struct item, link)->id : -1) ==
         (t->n > 0 ? t->ids[0] : -1));
}

static void drop_id(struct twin *t, int id)
{
    for (size_t k = 0; k < t->n; k++) {
        if (t->ids[k] == id) {
            memmove(&t->ids[k], &t->ids[k + 1], (t->n - k - 1) * sizeof(int));
            t->n--;
            return;
        }
    }
}

static void splice(struct twin *to, struct twin *from)
{
    memcpy(&to->ids[to->n], from->ids, from->n * sizeof(int));
    to->n += from->n;
    from->n = 0;
    list_splice(&to->head, &from->head);
}

static void step(struct twin t[2], struct prng *r)
{
    struct item *x = &items[prng_below(r, NODES)];
    struct twin *one = &t[prng_below(r, 2)];

    switch (prng_below(r, 6)) {
    case 0:
    case 1:
        list_remove(&x->link);
        drop_id(&t[0], x->id);
        drop_id(&t[1], x->id);
        ck_assert(!list_linked(&x->link));
        list_push_back(&one->head, &x->link);
        one->ids[one->n++] = x->id;
        ck_assert(list_linked(&x->link));
        break;
    case 2:
        if (list_linked(&x->link))
            break;
        list_push_front(&one->head, &x->link);
        memmove(&one->ids[1], &one->ids[0], one->n++ * sizeof(int));
        one->ids[0] = x->id;
        break;
    case 3:
        list_remove(&x->link);
        list_remove(&x->link);
        drop_id(&t[0], x->id);
        drop_id(&t[1], x->id);
        break;
    case 4:
        if (one->n > 0) {
            struct list *link = list_pop_front(&one->head);
            ck_assert_int_eq(LIST_ENTRY(link, struct item, link)->id, one->ids[0]);
            ck_assert(!list_linked(link));
            drop_id(one, one->ids[0]);
        } else {
            ck_assert_ptr_null(list_pop_front(&one->head));
        }
        break;
    default:
        if (prng_below(r, 8) == 0)
            splice(one, one == t ? t + 1 : t);
    }
}

TEST(agrees_with_an_array)
{
    struct twin t[2] = {0};
    struct prng r;

    prng_init(&r, 1);
    list_init(&t[0].head);
    list_init(&t[1].head);
    for (int k = 0; k < NODES; k++) {
        items[k].id = k;
        list_init(&items[k].link);
    }
    for (int k = 0; k < 50000; k++) {
        step(t, &r);
        check_twin(&t[0]);
        check_twin(&t[1]);
    }
}

TEST(may_remove_while_walking)
{
    struct list head;
    int seen = 0;

    list_init(&head);
    for (int k = 0; k < NODES; k++) {
        items[k].id = k;
        list_push_back(&head, &items[k].link);
    }
    LIST_FOREACH_SAFE(it, next, &head)
    {
        ck_assert_int_eq(LIST_ENTRY(it, struct item, link)->id, seen++);
        if (seen % 2)
            list_remove(it);
    }
    ck_assert_int_eq(seen, NODES);
    seen = 0;
    LIST_FOREACH(it, &head)
    seen++;
    ck_assert_int_eq(seen, NODES / 2);
}

static const struct runner_case cases[] = {
    RUN(agrees_with_an_array),
    RUN(may_remove_while_walking),
};

RUNNER_MAIN("base/list", cases)
