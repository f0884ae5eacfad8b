/*
 * io_net.c - addresses and options of sockets.
 *
 * Sending never raises SIGPIPE: the backends pass MSG_NOSIGNAL, and sendfile, which has no such
 * flag, runs on pool threads that block all signals.
 */
#include "lib/io/io_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int from_resolver(int rc)
{
    switch (rc) {
    case EAI_SYSTEM:
        return -errno;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_AGAIN:
        return -EAGAIN;
    default:
        return -EHOSTUNREACH;
    }
}

static int look_up(const char *host, uint16_t port, int flags, struct net_addr *out, int room)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *list;
    char service[8];
    int n = 0;
    int rc;

    snprintf(service, sizeof(service), "%u", (unsigned) port);
    rc = getaddrinfo(host, service, &hints, &list);
    if (rc != 0)
        return from_resolver(rc);
    for (const struct addrinfo *ai = list; ai != NULL && n < room; ai = ai->ai_next) {
        memcpy(&out[n].sa, ai->ai_addr, ai->ai_addrlen);
        out[n++].len = ai->ai_addrlen;
    }
    freeaddrinfo(list);
    return n;
}

bool net_parse(const char *host, uint16_t port, struct net_addr *out)
{
    return look_up(host, port, AI_NUMERICHOST, out, 1) == 1;
}

int net_resolve(const char *host, uint16_t port, bool passive, struct net_addr *out)
{
    return look_up(host, port, passive ? AI_PASSIVE : 0, out, NET_ADDRS_MAX);
}

void net_format(const struct sockaddr_storage *sa, struct io_addr *out)
{
    memset(out, 0, sizeof(*out));
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *) sa;
        inet_ntop(AF_INET, &in->sin_addr, out->host, sizeof(out->host));
        out->port = ntohs(in->sin_port);
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *) sa;
        if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr)) /* through a listener for both */
            inet_ntop(AF_INET, in->sin6_addr.s6_addr + 12, out->host, sizeof(out->host));
        else
            inet_ntop(AF_INET6, &in->sin6_addr, out->host, sizeof(out->host));
        out->port = ntohs(in->sin6_port);
    }
}

void net_addr_of(int fd, bool peer, struct io_addr *out)
{
    struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(sa);

    if (peer)
        getpeername(fd, (struct sockaddr *) &sa, &len);
    else
        getsockname(fd, (struct sockaddr *) &sa, &len);
    net_format(&sa, out);
}

int net_socket(const struct io_config *config, int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    net_tune(config, fd);
    return fd;
}

/* None of these can fail in a way that matters: an unknown congestion control leaves the system's.
 */
void net_tune(const struct io_config *config, int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (config->congestion != NULL && config->congestion[0] != '\0')
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, config->congestion,
                   (socklen_t) strlen(config->congestion));
}

static int listen_on(const struct net_addr *addr, int backlog)
{
    int fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1, zero = 0;
    int rc;

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (addr->sa.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    if (bind(fd, (const struct sockaddr *) &addr->sa, addr->len) == 0 && listen(fd, backlog) == 0)
        return fd;
    rc = -errno;
    close(fd);
    return rc;
}

/* All addresses of IPv4 are all addresses, as they are for the peer, where the machine has IPv6. */
static int listen_at(const struct net_addr *addr, int backlog)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *) &addr->sa;
    struct net_addr both = {.len = sizeof(struct sockaddr_in6)};
    struct sockaddr_in6 *six = (struct sockaddr_in6 *) &both.sa;
    int rc;

    if (addr->sa.ss_family != AF_INET || in->sin_addr.s_addr != htonl(INADDR_ANY))
        return listen_on(addr, backlog);
    six->sin6_family = AF_INET6;
    six->sin6_port = in->sin_port;
    rc = listen_on(&both, backlog);
    return rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL ? listen_on(addr, backlog) : rc;
}

static void name_bound(int fd, const char *host, struct io_addr *bound)
{
    static const char any[] = "0.0.0.0";

    net_addr_of(fd, false, bound);
    if (strcmp(host, any) == 0)
        memcpy(bound->host, any, sizeof(any));
}

/* A name may mean several addresses; the first that can be bound is taken. */
int io_net_listen(const char *host, uint16_t port, int backlog, struct io_addr *bound)
{
    struct net_addr addrs[NET_ADDRS_MAX];
    int n = net_resolve(host, port, true, addrs);
    int rc = n;

    for (int i = 0; i < n; i++) {
        rc = listen_at(&addrs[i], backlog);
        if (rc >= 0)
            break;
    }
    if (rc >= 0 && bound != NULL)
        name_bound(rc, host, bound);
    return rc;
}

/* A quarter of the process's descriptors, at most so many, is not for connections. */
#define KEPT_FOR_FILES 64u

/* The lowest number that is free says how many are in use, more or less. */
static bool few_are_left(int listener)
{
    struct rlimit limit;
    int probe = fcntl(listener, F_DUPFD_CLOEXEC, 0);

    if (probe < 0)
        return true;
    close(probe);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return false;
    uint64_t kept = limit.rlim_cur / 4 < KEPT_FOR_FILES ? limit.rlim_cur / 4 : KEPT_FOR_FILES;
    return (uint64_t) probe >= limit.rlim_cur - kept;
}

int net_accept(const struct io_config *config, int listener)
{
    int fd = few_are_left(listener) ? -EMFILE
                                    : accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd == -1)
        return -errno;
    if (fd >= 0)
        net_tune(config, fd);
    return fd;
}
