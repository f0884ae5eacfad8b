/* server_id.h - the server's public nkey: "N" and 55 more base32 characters, new with every start.
 */
#ifndef SERVER_SERVER_ID_H
#define SERVER_SERVER_ID_H

#define SERVER_ID_LEN 56

struct server_keys;

/* Writes SERVER_ID_LEN characters and a NUL; the secret parts into keys (net/callout.h), with a
 * curve key beside. */
void server_id_make(char out[SERVER_ID_LEN + 1], struct server_keys *keys);
/* Takes them out of memory. */
void server_id_wipe(struct server_keys *keys);

#endif
