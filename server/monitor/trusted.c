/* trusted.c - what /varz says of those whose word counts: operators, with what their claims say;
 * proxies; and when the server's own certificates end. */
#include "server/monitor/monitor_int.h"

static void put_operators(json_t *o, const struct operators *all)
{
    json_t *tokens = json_array(), *claims = json_array();

    for (size_t i = 0; i < all->tokens.n; i++) {
        json_array_append_new(tokens, json_string(all->tokens.items[i]));
        json_array_append_new(claims, jwt_claims_json(str_of(all->tokens.items[i])));
    }
    json_object_set_new(o, "trusted_operators_jwt", tokens);
    json_object_set_new(o, "trusted_operators_claim", claims);
}

static void put_proxies(json_t *o, const struct str_list *keys)
{
    json_t *proxies = json_object(), *trusted = json_array();

    for (size_t i = 0; i < keys->n; i++)
        json_array_append_new(trusted, json_pack("{s:s}", "key", keys->items[i]));
    if (keys->n > 0)
        json_object_set(proxies, "trusted", trusted);
    json_decref(trusted);
    json_object_set_new(o, "proxies", proxies);
}

void put_trusted(json_t *o, const struct options *options)
{
    if (options->operators.tokens.n > 0)
        put_operators(o, &options->operators);
    if (options->proxies.set)
        put_proxies(o, &options->proxies.trusted);
}

void put_cert_end(json_t *o, const struct monitor_host *h, enum monitor_door door)
{
    int64_t at = h->cert_ends != NULL ? h->cert_ends(h->ctx, door) : 0;

    if (at != 0)
        put_time(o, "tls_cert_not_after", at);
}
