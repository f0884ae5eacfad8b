/*
 * ocsp_responder.h - a responder on 127.0.0.1 that says what a test wants, in a thread of its own.
 */
#ifndef TESTS_API_OCSP_RESPONDER_H
#define TESTS_API_OCSP_RESPONDER_H

#include <stdint.h>

enum ocsp_manner {
    OCSP_ANSWERS,
    OCSP_GARBAGE,   /* a body that is no answer */
    OCSP_NOT_FOUND, /* 404 */
    OCSP_GET_ALONE, /* 405 for a POST */
    OCSP_HANGS_UP
};

/* All may be changed at any time. */
struct ocsp_responder {
    uint16_t port;
    _Atomic int manner;
    _Atomic int status;         /* V_OCSP_CERTSTATUS_* */
    _Atomic int since;          /* seconds from now: the beginning of the answer's time */
    _Atomic int until;          /* and its end; 0 = none is said */
    _Atomic int questions;      /* that were asked */
    const char *_Atomic signer; /* name of its certificate */
    char dir[128];
    int fd;
    unsigned long thread;
};

/* Listens; certificates are those of dir (tls_certs.h), made before the first question. */
void ocsp_responder_open(struct ocsp_responder *r, const char *dir);
void ocsp_responder_close(struct ocsp_responder *r);

#endif
