/*
 * api_account.c - ACCOUNT.PURGE.<account>, which only the system account may ask: all streams of an
 * account go. Each is deleted as by a request of that account's (with its advisories); the answer
 * says that this has begun. An account that is not there has nothing to purge.
 */
#include "lib/base/mem.h"
#include "server/js/api_int.h"

#include <string.h>

static struct js *find_account(const struct js *js, struct str name)
{
    const struct js_server *server = js->shared->server;

    for (uint32_t i = 0; i < server->n; i++)
        if (server->shared[i] != NULL && str_eq(name, str_of(server->shared[i]->account->name)))
            return js_of(js->env, server->shared[i]->account);
    return NULL;
}

static void purge(struct js *js)
{
    struct str_list names = {0};
    struct buf subject = {0};

    directory_names(js->shared->directory, STR_NONE, &names);
    for (size_t i = 0; i < names.n; i++) {
        buf_clear(&subject);
        buf_printf(&subject, "$JS.API.STREAM.DELETE.%s", names.items[i]);
        api_ask_inside(js, buf_str(&subject));
    }
    LOG_INF(js->env->log, "Purge request for account %s (streams: %zu)", js->account->name,
            names.n);
    buf_free(&subject);
    str_list_free(&names);
}

void api_account_purge(struct api_request *r)
{
    struct str name = r->tokens[0];
    struct js_error err = {0};
    struct js *js;

    if (r->js->account != r->js->shared->server->system) {
        api_error_kind(r, JS_ERR_BAD_REQUEST);
        return;
    }
    if (str_index(name, '/') != name.n || str_index(name, '\\') != name.n) {
        js_fail(&err, JS_ERR_STREAM_GENERAL_ERROR, "account name can not contain path separators");
        api_error(r, &err);
        return;
    }
    js = find_account(r->js, name);
    if (js != NULL)
        purge(js);
    buf_puts(&r->out, ",\"initiated\":true");
    api_reply(r);
}
