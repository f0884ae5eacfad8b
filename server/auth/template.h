/*
 * template.h - permissions of a scoped signing key, filled in for one user.
 *
 *     {{name()}} {{subject()}} {{account-name()}} {{account-subject()}}     one text each
 *     {{tag(x)}} {{account-tag(x)}}     what stands behind "x:" in the tags; several make several
 *                                       subjects, all combinations
 *
 * A subject that comes out as none (a tag that is not there, a name with a blank) is left out of
 * what is allowed, and refuses the user where something is denied. Lists that were not empty and
 * are now allow nothing. At most 4,096 subjects come of one list.
 */
#ifndef AUTH_TEMPLATE_H
#define AUTH_TEMPLATE_H

#include "lib/jwt/claims.h"

struct template_user {
    const char *name, *subject, *account_name, *account_subject;
    const struct str_list *tags, *account_tags;
};

/* Into out, which is empty. False with a text: nobody gets in with this. */
bool template_fill(const struct jwt_permissions *scope, const struct template_user *u,
                   struct jwt_permissions *out, struct buf *err);

#endif
