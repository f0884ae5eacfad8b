/* server_id.h - the server's public nkey: "N" and 55 more base32 characters, new with every start.
 */
#ifndef SERVER_SERVER_ID_H
#define SERVER_SERVER_ID_H

#define SERVER_ID_LEN 56

/* Writes SERVER_ID_LEN characters and a NUL. The secret key is not kept: nothing is signed with it
 * yet. */
void server_id_make(char out[SERVER_ID_LEN + 1]);

#endif
