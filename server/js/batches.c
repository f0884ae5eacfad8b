/* batches.c - what both kinds of batches have in common. */
#include "server/js/batches.h"

#include "lib/base/mem.h"
#include "server/js/stream_parts.h"

struct stream_batches *stream_batches(struct stream *s)
{
    if (s->batches == NULL) {
        s->batches = mem_zalloc(sizeof(*s->batches));
        hmap_init(&s->batches->atomic);
        hmap_init(&s->batches->fast);
    }
    return s->batches;
}

void stream_batches_free(struct stream *s)
{
    if (s->batches == NULL)
        return;
    batch_atomic_drop_all(s);
    batch_fast_drop_all(s);
    hmap_deinit(&s->batches->atomic);
    hmap_deinit(&s->batches->fast);
    mem_free(s->batches);
    s->batches = NULL;
}

void stream_batches_configure(struct stream *s)
{
    if (!s->config.allow_atomic)
        batch_atomic_drop_all(s);
    if (!s->config.allow_batched)
        batch_fast_drop_all(s);
}

void stream_batches_forget(struct stream *s)
{
    batch_fast_drop_all(s);
    if (s->batches != NULL)
        s->batches->recheck_first = 0;
}

void stream_batches_committed(struct stream *s)
{
    struct stream_batches *all = s->batches;
    uint64_t first, last;

    if (all == NULL || all->recheck_first == 0 || all->recheck_first > s->durable)
        return;
    first = all->recheck_first;
    last = all->recheck_last < s->durable ? all->recheck_last : s->durable;
    all->recheck_first = last < all->recheck_last ? last + 1 : 0;
    stream_recheck(s, first, last);
}

bool batch_level_met(struct str header, bool *present)
{
    struct str text = header_get(header, STR("Nats-Required-Api-Level"));
    uint64_t level;

    *present = text.n > 0;
    return !*present || (str_to_u64(text, &level) && level <= JS_API_LEVEL);
}
