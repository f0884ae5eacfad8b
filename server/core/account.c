#include "server/core/account.h"

#include "lib/base/mem.h"

struct account *account_open(const char *name, uint32_t index, uint64_t hash_seed)
{
    struct account *a = mem_alloc(sizeof(*a));

    *a = (struct account){
        .name = mem_strdup(name),
        .index = index,
        .interest = interest_open(hash_seed),
    };
    return a;
}

void account_close(struct account *a)
{
    interest_close(a->interest);
    mem_free(a->name);
    mem_free(a);
}
