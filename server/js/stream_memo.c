/* stream_memo.c - see stream_memo.h; how a start finds it, and who waits before a removal. */
#include "server/js/stream_memo.h"

#include "lib/base/mem.h"
#include "server/js/api_int.h"
#include "server/js/stream_parts.h"

struct stream_memo {
    struct stream *s;
    store_object_id id; /* 0 = no object yet */
    struct buf text;    /* while nobody owns it */
    stream_memo_fn render;
    void *ctx;
};

static struct stream_memo *memo_of(struct stream *s)
{
    if (s->memo == NULL) {
        s->memo = mem_zalloc(sizeof(*s->memo));
        s->memo->s = s;
    }
    return s->memo;
}

static void render(void *ctx, store_object_id id, struct buf *out)
{
    const struct stream_memo *m = ctx;

    (void) id;
    if (m->render != NULL)
        m->render(m->ctx, m->s->durable, out);
    else
        buf_put_str(out, buf_str(&m->text));
}

void stream_memo_recover(struct stream *s, const struct store_object_view *v)
{
    struct stream_memo *m = memo_of(s);

    buf_put_str(&m->text, v->full);
    for (unsigned i = 0; i < v->ndeltas; i++)
        buf_put_str(&m->text, v->deltas[i]);
    m->id = v->id;
    store_object_attach(s->js->store, v->id, render, m);
}

void stream_memo_free(struct stream *s)
{
    if (s->memo == NULL)
        return;
    buf_free(&s->memo->text);
    mem_free(s->memo);
    s->memo = NULL;
}

struct str stream_memo_text(const struct stream *s)
{
    return s->memo != NULL ? buf_str(&s->memo->text) : STR_NONE;
}

void stream_memo_own(struct stream *s, stream_memo_fn owner, void *ctx)
{
    struct stream_memo *m = memo_of(s);

    if (owner == m->render)
        return;
    buf_free(&m->text);
    if (owner == NULL)
        m->render(m->ctx, s->durable, &m->text);
    m->render = owner;
    m->ctx = ctx;
}

void stream_memo_add(struct stream *s, struct str text)
{
    struct stream_memo *m = memo_of(s);

    if (s->config.storage == STORAGE_MEMORY || s->config.persist_mode != 0 || s->failed)
        return;
    if (m->id != 0)
        store_object_delta(s->js->store, m->id, text, NULL);
    else
        m->id = store_object_create(s->js->store, JS_KIND_MEMO, s->id, text, render, m, NULL);
}

/* ---- before a removal ------------------------------------------------------------------------ */

static void go_on(void *ctx)
{
    struct api_request *r = ctx;

    if (!r->js->stopping)
        api_go_to(r, r->js->env->worker, api_run_here);
}

bool stream_memo_is_written(struct stream *s, struct api_request *r)
{
    const struct env *env = s->js->env;

    return env->before_removal == NULL ||
           env->before_removal(s->js->env, s->js->account, str_of(s->config.name), go_on, r);
}
