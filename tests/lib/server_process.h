/*
 * server_process.h - a real server as a child process, for black-box tests: on 127.0.0.1, on free
 * ports, in a directory of its own.
 *
 * The executable is bin/midge-server below $MIDGE_BUILDDIR (make check sets it) or below the
 * working directory. Nothing is slept for: the server says where it listens through its ports file,
 * and the test waits for that.
 */
#ifndef TESTS_SERVER_PROCESS_H
#define TESTS_SERVER_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct server_process {
    pid_t pid; /* 0 = not running */
    uint16_t port, http_port, kafka_port, ws_port, leaf_port;
    char dir[128]; /* temporary; the store is in dir/store, the log in dir/log */
    char url[64];
    const char *args[24]; /* more arguments, NULL-terminated */
    bool js_by_config;    /* JetStream is what the configuration says, else there always */
    char conf[160];
};

/* Makes the directory. */
void server_process_init(struct server_process *s);
/* Writes dir/conf, to be given with -c: ~ in the text becomes the directory. Returns its path,
 * which holds until the next call. */
const char *server_process_config(struct server_process *s, const char *text);
/* Starts and waits until it listens; fails the running test when it does not within 20 s. Again
 * after a stop: the same directory. */
void server_process_start(struct server_process *s);
/* The same for one that may end by itself before it listens: false. */
bool server_process_try_start(struct server_process *s);
/* SIGTERM, and waits; fails the test when the exit code is not 0. */
void server_process_stop(struct server_process *s);
/* Waits for its own end; fails the test when it does not come within 30 s or the exit code is not
 * 0.
 */
void server_process_wait(struct server_process *s);
/* SIGKILL, and waits. */
void server_process_kill(struct server_process *s);
/* Stops when running, removes the directory. */
void server_process_deinit(struct server_process *s);
/* Waits until the log contains this text; fails the test when it does not within 20 s. */
void server_process_log_wait(const struct server_process *s, const char *text);
/* Does the log contain this text? */
bool server_process_log_has(const struct server_process *s, const char *text);

#endif
