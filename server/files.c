/*
 * files.c - pid file: the number alone. Ports file: <program>_<pid>.ports in ports_file_dir, JSON
 * with the URLs of every listener; a listener on all addresses is listed with each address of this
 * machine, interface by interface, one on a name with the first address of that.
 */
#include "server/files.h"

#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/io/io_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- directories ----------------------------------------------------------------------------- */

static bool make_dirs(struct buf *path, char why[256])
{
    char *text = mem_strdup(buf_cstr(path));
    bool ok = true;

    for (char *p = text + 1; ok; p++) {
        char c = *p;
        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        ok = mkdir(text, 0755) == 0 || errno == EEXIST;
        *p = c;
        if (c == '\0')
            break;
    }
    if (!ok)
        snprintf(why, 256, "could not create storage directory \"%s\": %s", buf_cstr(path),
                 strerror(errno));
    mem_free(text);
    return ok;
}

bool files_make_store_dir(const char *store_dir, struct buf *out, char why[256])
{
    const char *temp = getenv("TMPDIR");

    if (store_dir != NULL)
        buf_printf(out, "%s/jetstream", store_dir);
    else
        buf_printf(out, "%s/nats/jetstream", temp != NULL ? temp : "/tmp");
    return make_dirs(out, why);
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool write_file(const char *path, const struct buf *text)
{
    FILE *f = fopen(path, "we");
    bool ok;

    if (f == NULL)
        return false;
    ok = fwrite(text->p, 1, text->n, f) == text->n;
    return (fclose(f) == 0) && ok;
}

static void put_url(struct buf *b, const char *scheme, const char *host, uint16_t port, bool *first)
{
    char text[FMT_HOST_PORT_MAX];

    buf_printf(b, "%s\"%s://%s\"", *first ? "" : ",", scheme, fmt_host_port(text, host, port));
    *first = false;
}

static bool address_text(const struct sockaddr *sa, char text[INET6_ADDRSTRLEN])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *) (const void *) sa;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *) (const void *) sa;
    const void *address = sa == NULL                  ? NULL
                          : sa->sa_family == AF_INET  ? (const void *) &v4->sin_addr
                          : sa->sa_family == AF_INET6 ? (const void *) &v6->sin6_addr
                                                      : NULL;

    return address != NULL && inet_ntop(sa->sa_family, address, text, INET6_ADDRSTRLEN) != NULL;
}

/* The addresses of this interface, if it was not named before. */
static void put_interface(struct buf *b, const struct ifaddrs *list, const struct ifaddrs *one,
                          const char *scheme, uint16_t port, bool *first)
{
    char text[INET6_ADDRSTRLEN];

    for (const struct ifaddrs *a = list; a != one; a = a->ifa_next)
        if (strcmp(a->ifa_name, one->ifa_name) == 0)
            return;
    for (const struct ifaddrs *a = one; a != NULL; a = a->ifa_next)
        if (strcmp(a->ifa_name, one->ifa_name) == 0 && address_text(a->ifa_addr, text))
            put_url(b, scheme, text, port, first);
}

static void put_all_addresses(struct buf *b, const char *scheme, uint16_t port, bool *first)
{
    struct ifaddrs *list;

    if (getifaddrs(&list) != 0)
        return;
    for (const struct ifaddrs *a = list; a != NULL; a = a->ifa_next)
        put_interface(b, list, a, scheme, port, first);
    freeifaddrs(list);
}

static void put_listener(struct buf *b, const char *key, const char *scheme, const char *host,
                         uint16_t port)
{
    struct net_addr addresses[NET_ADDRS_MAX];
    char text[INET6_ADDRSTRLEN];
    bool first = true;

    buf_printf(b, "%s\"%s\":[", b->n > 1 ? "," : "", key);
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
        put_all_addresses(b, scheme, port, &first);
    else if (net_resolve(host, port, true, addresses) > 0 &&
             address_text((const struct sockaddr *) &addresses[0].sa, text))
        put_url(b, scheme, text, port, &first);
    else
        put_url(b, scheme, host, port, &first);
    buf_puts(b, "]");
}

static bool write_ports(struct files *f, const struct options *o, const char *program,
                        const struct files_ports *ports)
{
    struct buf b = {0};
    struct buf path = {0};
    bool ok;

    buf_putc(&b, '{');
    put_listener(&b, "nats", ports->scheme, ports->host, ports->port);
    if (ports->http_port != 0)
        put_listener(&b, "monitoring", o->https_port != 0 ? "https" : "http",
                     o->http_host != NULL ? o->http_host : o->host, ports->http_port);
    if (ports->ws_port != 0)
        put_listener(&b, "websocket", ports->ws_scheme, ports->ws_host, ports->ws_port);
    if (ports->leaf_port != 0)
        put_listener(&b, "leafnodes", "nats-leaf", ports->leaf_host, ports->leaf_port);
    if (ports->kafka_port != 0)
        put_listener(&b, "kafka", "kafka", o->kafka_host, ports->kafka_port);
    buf_putc(&b, '}');
    buf_printf(&path, "%s/%s_%d.ports", o->ports_file_dir, program, (int) getpid());
    ok = write_file(buf_cstr(&path), &b);
    if (ok)
        f->ports_file = mem_strdup(buf_cstr(&path));
    buf_free(&b);
    buf_free(&path);
    return ok;
}

static bool write_pid(struct files *f, const char *path)
{
    struct buf b = {0};
    bool ok;

    buf_printf(&b, "%d", (int) getpid());
    ok = write_file(path, &b);
    if (ok)
        f->pid_file = mem_strdup(path);
    buf_free(&b);
    return ok;
}

bool files_write_pid(struct files *f, const struct options *o, struct log *log)
{
    if (o->pid_file == NULL || f->pid_file != NULL || write_pid(f, o->pid_file))
        return true;
    log_print(log, LOG_FATAL, "Could not write pidfile: open %s: %s", o->pid_file, strerror(errno));
    return false;
}

bool files_write(struct files *f, const struct options *o, const char *program, struct log *log,
                 const struct files_ports *ports)
{
    if (!files_write_pid(f, o, log))
        return false;
    if (o->ports_file_dir != NULL && !write_ports(f, o, program, ports))
        LOG_ERR(log, "Error writing ports file into %s: %s", o->ports_file_dir, strerror(errno));
    return true;
}

static void remove_one(char **path)
{
    if (*path == NULL)
        return;
    unlink(*path);
    mem_free(*path);
    *path = NULL;
}

void files_remove(struct files *f)
{
    remove_one(&f->pid_file);
    remove_one(&f->ports_file);
}
