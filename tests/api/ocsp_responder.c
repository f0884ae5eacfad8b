/* ocsp_responder.c - see ocsp_responder.h. One connection at a time, one request in each. */
#include "tests/api/ocsp_responder.h"

#include "lib/base/base64.h"
#include "lib/base/buf.h"
#include "tests/lib/runner.h"

#include <netinet/in.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- answers --------------------------------------------------------------------------------- */

static FILE *file_of(const struct ocsp_responder *r, const char *name, const char *ending)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s.%s", r->dir, name, ending);
    f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    return f;
}

static X509 *certificate(const struct ocsp_responder *r, const char *name)
{
    FILE *f = file_of(r, name, "pem");
    X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);

    fclose(f);
    return cert;
}

static EVP_PKEY *key_of(const struct ocsp_responder *r, const char *name)
{
    FILE *f = file_of(r, name, "key");
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);

    fclose(f);
    return key;
}

static void add_status(const struct ocsp_responder *r, OCSP_BASICRESP *basic, OCSP_CERTID *id)
{
    ASN1_TIME *since = X509_gmtime_adj(NULL, r->since);
    ASN1_TIME *until = r->until != 0 ? X509_gmtime_adj(NULL, r->until) : NULL;
    ASN1_TIME *revoked = X509_gmtime_adj(NULL, -60);
    int status = r->status;
    int is_revoked = status == V_OCSP_CERTSTATUS_REVOKED;

    OCSP_basic_add1_status(basic, id, status, is_revoked ? OCSP_REVOKED_STATUS_KEYCOMPROMISE : 0,
                           is_revoked ? revoked : NULL, since, until);
    ASN1_TIME_free(since);
    ASN1_TIME_free(until);
    ASN1_TIME_free(revoked);
}

static void make_answer(const struct ocsp_responder *r, const struct buf *question, struct buf *out)
{
    const unsigned char *at = (const unsigned char *) question->p;
    OCSP_REQUEST *request = d2i_OCSP_REQUEST(NULL, &at, (long) question->n);
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    X509 *cert = certificate(r, r->signer);
    EVP_PKEY *key = key_of(r, r->signer);
    OCSP_RESPONSE *response;
    unsigned char *der = NULL;
    int n;

    ck_assert(request != NULL && OCSP_request_onereq_count(request) == 1);
    add_status(r, basic, OCSP_onereq_get0_id(OCSP_request_onereq_get0(request, 0)));
    ck_assert_int_eq(OCSP_basic_sign(basic, cert, key, EVP_sha256(), NULL, 0), 1);
    response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    n = i2d_OCSP_RESPONSE(response, &der);
    ck_assert_int_gt(n, 0);
    buf_put(out, der, (size_t) n);
    OPENSSL_free(der);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    OCSP_REQUEST_free(request);
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* ---- HTTP ------------------------------------------------------------------------------------ */

/* A whole request; false when the other side ends first. */
static bool read_request(int fd, struct buf *in)
{
    for (;;) {
        const char *text = buf_cstr(in), *end = strstr(text, "\r\n\r\n");
        const char *length = strcasestr(text, "content-length:");
        size_t body = length != NULL && length < end ? strtoul(length + 15, NULL, 10) : 0;
        ssize_t n;
        if (end != NULL && in->n >= (size_t) (end + 4 - text) + body)
            return true;
        n = recv(fd, buf_reserve(in, 4096), 4096, 0);
        if (n <= 0)
            return false;
        in->n += (size_t) n;
    }
}

static void unescape(const char *from, const char *end, struct buf *out)
{
    for (; from < end; from++) {
        unsigned c;
        if (*from == '%' && sscanf(from + 1, "%2x", &c) == 1) {
            buf_putc(out, (char) c);
            from += 2;
        } else {
            buf_putc(out, *from);
        }
    }
}

static bool question_of(struct buf *in, struct buf *out)
{
    const char *text = buf_cstr(in), *body = strstr(text, "\r\n\r\n") + 4;
    struct buf base64 = {0};
    bool ok;

    if (strncmp(text, "POST ", 5) == 0) {
        ck_assert_ptr_nonnull(strcasestr(text, "content-type: application/ocsp-request\r\n"));
        buf_put(out, body, in->n - (size_t) (body - text));
        return true;
    }
    unescape(text + 5, strchr(text + 5, ' '), &base64);
    ok = base64_decode(out, buf_str(&base64));
    buf_free(&base64);
    return ok;
}

static void send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        p += sent;
        n -= (size_t) sent;
    }
}

static void serve(struct ocsp_responder *r, int fd)
{
    struct buf in = {0}, question = {0}, body = {0}, out = {0};
    int manner = r->manner;
    const char *status = "200 OK";

    if (manner != OCSP_HANGS_UP && read_request(fd, &in)) {
        bool post = strncmp(buf_cstr(&in), "POST ", 5) == 0;
        r->questions++;
        if (manner == OCSP_NOT_FOUND)
            status = "404 Not Found";
        else if (manner == OCSP_GET_ALONE && post)
            status = "405 Method Not Allowed";
        else if (manner == OCSP_GARBAGE || !question_of(&in, &question))
            buf_puts(&body, "no answer");
        else
            make_answer(r, &question, &body);
        buf_printf(&out, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
                   body.n);
        buf_put_str(&out, buf_str(&body));
        send_all(fd, out.p, out.n);
    }
    buf_free(&in);
    buf_free(&question);
    buf_free(&body);
    buf_free(&out);
    close(fd);
}

static void *run(void *ctx)
{
    struct ocsp_responder *r = ctx;
    int fd;

    while ((fd = accept4(r->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        serve(r, fd);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

void ocsp_responder_open(struct ocsp_responder *r, const char *dir)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    pthread_t thread;

    *r = (struct ocsp_responder){.since = -60, .until = 3600, .signer = "ca"};
    snprintf(r->dir, sizeof(r->dir), "%s", dir);
    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(r->fd, 0);
    ck_assert_int_eq(bind(r->fd, (struct sockaddr *) &a, sizeof(a)), 0);
    ck_assert_int_eq(listen(r->fd, 64), 0);
    ck_assert_int_eq(getsockname(r->fd, (struct sockaddr *) &a, &n), 0);
    r->port = ntohs(a.sin_port);
    ck_assert_int_eq(pthread_create(&thread, NULL, run, r), 0);
    r->thread = thread;
}

void ocsp_responder_close(struct ocsp_responder *r)
{
    shutdown(r->fd, SHUT_RDWR);
    pthread_join(r->thread, NULL);
    close(r->fd);
}
