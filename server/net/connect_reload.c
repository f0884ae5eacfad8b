/*
 * connect_reload.c - the options changed: does a connection stay who it is?
 *
 * Who would not be let in any more is refused. Who is somebody by signed claims stays as long as
 * they decide; another server's connection is closed when it may do other things than it was told,
 * and comes back for them.
 */
#include "server/auth/auth.h"
#include "server/auth/login.h"
#include "server/config/options.h"
#include "server/net/conn.h"
#include "server/net/connect_int.h"
#include "server/net/leaf.h"

#include <string.h>

static bool same_service(const struct callout_options *a, const struct callout_options *b)
{
    return a->issuer != NULL && b->issuer != NULL && strcmp(a->issuer, b->issuer) == 0 &&
           strcmp(a->account, b->account) == 0;
}

/* What a CONNECT waits for: in operator mode claims decide about it, not the options. */
static void reload_checking(struct checking *k, const struct options *before, uint8_t kind,
                            const struct options *now)
{
    if (k->asked)
        k->refused |= !operators_on(now) && !same_service(&before->callout, &now->callout);
    else
        k->refused |= !auth_still_valid(before, k->user, kind, now, &k->user);
}

/* Another server was told its permissions when it was bound: it comes back for new ones, and for
 * another account. */
static void leaf_user_reload(struct conn *c, const struct options *before,
                             const struct options *now, const struct user *user)
{
    const struct user *was = c->leaf->user;
    const struct permissions *may = user != NULL ? users_may(&now->users, user) : NULL;
    bool same = connect_account_of(c, user) == c->account &&
                permissions_same(was != NULL ? users_may(&before->users, was) : NULL, may);

    c->leaf->user = user;
    if (!same)
        conn_close(c, REASON_AUTH_FAILURE);
}

void connect_reload(struct conn *c, const struct options *old, const struct options *new)
{
    const struct user *user = NULL, *login = c->leaf != NULL ? c->leaf->user : c->login;
    struct options was, is;
    const struct options *before = connect_at_door(c, old, &was),
                         *now = connect_at_door(c, new, &is);

    if (c->proxy_key != NULL && !connect_lists(&now->proxies.trusted, c->proxy_key)) {
        connect_refuse_for(c, REASON_PROXY_NOT_TRUSTED);
        return;
    }
    if (c->checking != NULL)
        reload_checking(c->checking, before, connect_kind(c), now);
    if (c->state == CONN_GREETED && login == NULL) {
        /* Nobody yet: the new options decide when it says who it is. */
        c->parser.connect_only = connect_announced(c) && !c->got_connect;
        return;
    }
    if (c->signed_in != NULL && operators_on(now))
        return; /* its account's claims decide */
    if (c->signed_in != NULL && login == &connect_login(c)->user &&
        same_service(&before->callout, &now->callout)) {
        if (c->leaf == NULL)
            connect_login_reload(c);
        return;
    }
    if (!(c->by_nothing ? auth_nothing_still_valid(before, now, &user)
                        : auth_still_valid(before, login, connect_kind(c), now, &user))) {
        c->login = NULL;
        c->may = NULL;
        connect_refuse(c);
    } else if (c->leaf != NULL) {
        leaf_user_reload(c, old, new, user);
    } else {
        connect_bind(c, user);
    }
}
