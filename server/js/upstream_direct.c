/*
 * upstream_direct.c - a mirror with mirror_direct answers direct gets in its origin's name while it
 * is close behind.
 */
#include "server/js/stream_int.h"
#include "server/js/upstream.h"
#include "server/js/upstream_int.h"

/* A mirror answers direct gets in its origin's name when fewer messages than that are to come. */
#define DIRECT_LAG 10u

void upstream_direct_stop(struct upstream *u)
{
    upstream_unlisten(u, &u->direct[0]);
    upstream_unlisten(u, &u->direct[1]);
}

static struct interest_sub *listen_direct(struct upstream *u, const char *below)
{
    struct env *env = u->s->js->env;
    struct buf subject = {0};
    struct interest_sub *sub;

    buf_printf(&subject, "$JS.API.DIRECT.GET.%s%s", u->config.name, below);
    sub = interest_add(u->s->js->account->interest,
                       &(struct interest_spec){.pattern = buf_str(&subject),
                                               .queue = STR("_sys_"),
                                               .worker = env->worker,
                                               .sink = u->s->direct.self,
                                               .internal = true});
    buf_free(&subject);
    return sub;
}

void upstream_direct_start(struct upstream *u)
{
    struct stream *s = u->s;

    if (!u->mirror || !s->config.mirror_direct || u->direct[0] != NULL || u->core.lag >= DIRECT_LAG)
        return;
    if (s->direct.self == 0)
        router_sink_add(s->js->env->router, &s->direct);
    u->direct[0] = listen_direct(u, "");
    u->direct[1] = listen_direct(u, ".>");
}
