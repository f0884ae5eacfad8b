#include "tests/lib/child_server.h"

#include <check.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t child_server_start(void (*one)(void *ctx, int fd), void *ctx, uint16_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pid_t pid;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (struct sockaddr *) (void *) &at, sizeof(at)), 0);
    ck_assert_int_eq(listen(fd, 16), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *) (void *) &at, &len), 0);
    *port = ntohs(at.sin_port);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    while (pid == 0) {
        int c = accept(fd, NULL, NULL);
        if (c < 0)
            _exit(0);
        one(ctx, c);
    }
    close(fd);
    return pid;
}

void child_server_kill(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
