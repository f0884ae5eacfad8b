/*
 * upstream_info.c - mirrors and sources in a stream info.
 */
#include "server/js/stream_int.h"
#include "server/js/upstream.h"
#include "server/js/upstream_int.h"

static void put_one(const struct upstream *u, struct buf *out)
{
    uint64_t now = upstream_now(u);

    buf_puts(out, "{\"name\":");
    jput_string(out, str_of(u->config.name));
    source_config_put_external(&u->config, out);
    buf_printf(out, ",\"lag\":%llu,\"active\":%lld", (unsigned long long) u->core.lag,
               u->core.heard == 0 ? -1ll : (long long) (now - u->core.heard));
    if (!u->mirror && u->core.sseq > 0 && u->core.sseq >= u->config.opt_start_seq) /* of the last
                                                                                      message from
                                                                                      there */
        buf_printf(out, ",\"seq\":%llu", (unsigned long long) u->core.sseq);
    if (u->error_text != NULL) {
        buf_printf(out, ",\"error\":%s", u->error_text);
    } else if (u->error.kind != JS_OK) {
        buf_putc(out, ',');
        js_error_put(out, &u->error);
    }
    if (u->config.filter_subject != NULL) {
        buf_puts(out, ",\"filter_subject\":");
        jput_string(out, str_of(u->config.filter_subject));
    }
    source_config_put_mappings(&u->config, out);
    buf_putc(out, '}');
}

void stream_upstreams_info(struct stream *s, struct buf *out)
{
    bool first = true;

    LIST_FOREACH(l, &s->upstreams)
    {
        const struct upstream *u = LIST_ENTRY(l, struct upstream, link);
        if (u->mirror)
            buf_puts(out, ",\"mirror\":");
        else
            buf_puts(out, first ? ",\"sources\":[" : ",");
        put_one(u, out);
        first = false;
    }
    if (!first && !LIST_ENTRY(list_first(&s->upstreams), struct upstream, link)->mirror)
        buf_putc(out, ']');
}
