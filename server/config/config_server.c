/*
 * config_server.c - what tells about the server, and switches of single features.
 *
 *     server_tags: [ "region:eu", "ssd" ]       one text stands for a list of one
 *     server_metadata { rack: "r1" }
 *     feature_flags { js_ack_fc_v2: true }
 *     write_timeout: default | close | retry
 *     trace_headers: true                       also turns tracing on
 *     default_js_domain { ACCOUNT: "domain" }
 */
#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "server/config/config_apply.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool has(const struct str_list *l, struct str s)
{
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(str_of(l->items[i]), s))
            return true;
    return false;
}

/* Without blanks around it, in small letters, once. */
static bool add_tag(struct config_context *c, const struct conf_value *v)
{
    struct buf b = {0};

    if (v->kind != CONF_TEXT)
        return config_fail(c, v, "error parsing tags: unsupported type %s", config_type_name(v));
    buf_put_str(&b, str_trim(str_of(v->text)));
    for (size_t i = 0; i < b.n; i++)
        b.p[i] = (char) tolower((unsigned char) b.p[i]);
    if (b.n > 0 && !has(&c->o->tags, buf_str(&b)))
        str_list_add(&c->o->tags, buf_str(&b));
    buf_free(&b);
    return true;
}

bool config_tags(struct config_context *c, const struct conf_value *v)
{
    bool ok = true;

    str_list_free(&c->o->tags);
    if (v->kind != CONF_LIST)
        return add_tag(c, v);
    for (size_t i = 0; ok && i < v->n; i++)
        ok = add_tag(c, v->items[i]);
    return ok;
}

/* A map of texts into a list of keys and values in turn. */
static bool pairs(struct config_context *c, const struct conf_value *v, const char *what,
                  struct str_list *out)
{
    str_list_free(out);
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "error %s: unsupported type %s", what, config_type_name(v));
    for (size_t i = 0; i < v->n; i++) {
        if (v->items[i]->kind != CONF_TEXT)
            return config_fail(c, v->items[i], "error %s: \"%s\" must be a text", what, v->keys[i]);
        str_list_add(out, str_of(v->keys[i]));
        str_list_add(out, str_of(v->items[i]->text));
    }
    return true;
}

bool config_metadata(struct config_context *c, const struct conf_value *v)
{
    return pairs(c, v, "parsing metadata", &c->o->metadata);
}

bool config_default_domains(struct config_context *c, const struct conf_value *v)
{
    return pairs(c, v, "default_js_domain config", &c->o->default_domains);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Flags that nobody knows are for the log; of the known ones js_ack_fc_v2 does something here. */
bool config_feature_flags(struct config_context *c, const struct conf_value *v)
{
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "error parsing feature flags: unsupported type %s",
                           config_type_name(v));
    for (size_t i = 0; i < v->n; i++) {
        const struct conf_value *f = v->items[i];
        unsigned k = 0;
        if (f->kind != CONF_BOOL)
            return config_fail(c, f, "error parsing feature flag \"%s\": expected bool, got %s",
                               v->keys[i], config_type_name(f));
        while (k < OPTIONS_FLAGS && strcmp(options_flag_name(k), v->keys[i]) != 0)
            k++;
        if (k == OPTIONS_FLAGS) {
            str_list_add(&c->o->unknown_flags, str_of(v->keys[i]));
            continue;
        }
        c->o->flags[k] = f->integer != 0;
        c->o->flags_named[k] = true;
    }
    if (c->o->unknown_flags.n > 1)
        qsort(c->o->unknown_flags.items, c->o->unknown_flags.n, sizeof(char *), by_name);
    return true;
}

bool config_write_timeout(struct config_context *c, const struct conf_value *v)
{
    const char *text = v->kind == CONF_TEXT ? v->text : "";

    if (strcmp(text, "default") == 0 || strcmp(text, "close") == 0)
        c->o->write_retry = false;
    else if (strcmp(text, "retry") == 0)
        c->o->write_retry = true;
    else
        return config_fail(c, v, "write_timeout must be 'default', 'close' or 'retry'");
    config_keep(&c->o->write_timeout, text);
    return true;
}

bool config_trace_verbose(struct config_context *c, const struct conf_value *v)
{
    if (v->kind != CONF_BOOL)
        return config_fail(c, v, "trace_verbose must be true or false");
    c->o->trace = c->o->trace_verbose = v->integer != 0;
    return true;
}

bool config_trace_headers(struct config_context *c, const struct conf_value *v)
{
    if (v->kind != CONF_BOOL)
        return config_fail(c, v, "trace_headers must be true or false");
    c->o->trace = c->o->trace_headers = v->integer != 0;
    return true;
}
