/*
 * claims_api.h - requests about claims in the system account: worker 0 hears them, the main thread
 * acts on them and answers.
 *
 *     $SYS.REQ.CLAIMS.UPDATE, $SYS.REQ.ACCOUNT.<account>.CLAIMS.UPDATE, $SYS.ACCOUNT.<account>.
 *     CLAIMS.UPDATE       a token: kept and put in place
 *     $SYS.REQ.ACCOUNT.<account>.CLAIMS.LOOKUP     answered with the token, or with nothing
 *     $SYS.REQ.CLAIMS.LIST     {"data":[keys],"server":{..}}
 *     $SYS.REQ.CLAIMS.PACK     body: a hash of all; answered with "key|token" each, and an empty
 * one $SYS.REQ.CLAIMS.DELETE   claims of the operator about itself: {"nats":{"accounts":[keys]}}
 *
 * Which there are depends on the resolver: a directory has all, but a cache no LOOKUP and no PACK;
 * memory takes new claims of the accounts that are loaded.
 */
#ifndef SERVER_CLAIMS_API_H
#define SERVER_CLAIMS_API_H

#include "server/jwt_dir.h"
#include "server/operator.h"

struct claims_api;

/* Worker 0 does not run yet. */
struct claims_api *claims_api_open(struct claimed *op, struct env *env);
/* It does not run any more. */
void claims_api_close(struct claims_api *api);

/* Keeps a token in the directory unless one is there that is as new. */
enum jwt_dir_saved claims_api_save_newer(struct claimed *op, const char *key, struct str token,
                                         struct buf *err);

#endif
