/*
 * tls_certs.h - certificates for tests, made when they are needed: P-256, valid from a day ago to a
 * day from now.
 *
 *     ca.pem       signs all but the last two
 *     server.*     localhost and 127.0.0.1
 *     second.*     another one of a server, whose subject is "second", and second.test a name
 *     client.*     derek@nats.io as mail address, dns.nats.io, CN=subject
 *     stranger.*   signs itself
 *     impostor.*   signed by somebody else who has the name of ca.pem
 */
#ifndef TESTS_API_TLS_CERTS_H
#define TESTS_API_TLS_CERTS_H

/* <dir>/<name>.pem and <dir>/<name>.key. */
void certs_make(const char *dir);
/* More of them in the same directory, for tests of the state of certificates; the responder of
 * those that name one is http://127.0.0.1:<port>.
 *
 *     ca.pem       signs all
 *     server.*     localhost and 127.0.0.1; wants its state in every handshake, names the responder
 *     plain.*      the same without both
 *     client.*     names the responder
 *     nobody.*     a client without a responder
 *     signer.*     may sign answers for ca.pem
 *     other.*      may not
 */
void certs_make_ocsp(const char *dir, unsigned port);
/* Lower case hex SHA-256 of the public key in a certificate file. */
void certs_pin(const char *path, char out[65]);

#endif
