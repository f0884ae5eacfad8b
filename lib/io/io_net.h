/*
 * io_net.h - what the backends of the kernel share about sockets: addresses, options, listening.
 * Every call returns at once except io_net_listen and net_resolve, which may ask a name server.
 */
#ifndef IO_IO_NET_H
#define IO_IO_NET_H

#include "lib/io/io.h"

#include <sys/socket.h>

#define NET_ADDRS_MAX 8

struct net_addr {
    struct sockaddr_storage sa;
    socklen_t len;
};

/* True when host is a numeric IPv4 or IPv6 address (also with a scope, "fe80::1%eth0"). */
bool net_parse(const char *host, uint16_t port, struct net_addr *out);
/* Up to NET_ADDRS_MAX addresses of a name, in the resolver's order: their number or a negative
 * errno. */
int net_resolve(const char *host, uint16_t port, bool passive, struct net_addr *out);
void net_format(const struct sockaddr_storage *sa, struct io_addr *out);
void net_addr_of(int fd, bool peer, struct io_addr *out);

/* A socket that does not block, closes on exec; with the congestion control of the configuration.
 */
int net_socket(const struct io_config *config, int family);
/* Options of a fresh connection, accepted or connected. */
void net_tune(const struct io_config *config, int fd);
/* A listening descriptor or a negative errno. */
int io_net_listen(const char *host, uint16_t port, int backlog, struct io_addr *bound);

/* Takes a connection, with its options set: a descriptor or a negative errno. -EMFILE also when
 * only those are left that are kept for files: the store must be able to open its own, however many
 * clients there are. */
int net_accept(const struct io_config *config, int listener);

#endif
