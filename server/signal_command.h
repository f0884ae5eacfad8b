/*
 * signal_command.h - `--signal COMMAND[=PID]`: tells a running server something and ends.
 */
#ifndef SERVER_SIGNAL_COMMAND_H
#define SERVER_SIGNAL_COMMAND_H

/* text: ldm, stop, quit, term, reopen or reload, and behind "=" a process id (which may end with
 * "*"), or the name of a pid file. Without it there must be exactly one server of this program's
 * name on this machine. Returns the exit code; what is wrong goes to stderr. */
int signal_command(const char *text, const char *program);

#endif
