/*
 * trace_lines.c - what the log shows of operations at trace level, as people search for it:
 *
 *     <<- [PUB foo 2]                      came in
 *     <<- MSG_PAYLOAD: ["hi"]
 *     ->> [MSG foo 1 2]                    goes out
 *     <-> [DELSUB 1]                       has happened
 *
 * Payloads are quoted as Go quotes bytes, so that a line stays a line, and cut at
 * max_traced_msg_len. Of a CONNECT those values are shown that are known to be no secret, whatever
 * the others are called; one that is no JSON object is not shown at all. A user without a password
 * may be a token.
 */
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/wire/nats_write.h"
#include "server/config/options.h"
#include "server/net/conn.h"

#include <jansson.h>
#include <string.h>

#define REDACTED "[REDACTED]"
#define SHOWN_MAX 6000u /* bytes of a payload: a line of the log has 8 KiB */

/* ---- quoting --------------------------------------------------------------------------------- */

static void put_quoted(struct buf *out, struct str s)
{
    static const char plain[] = "\a\b\f\n\r\t\v", names[] = "abfnrtv";

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        const char *at = c != '\0' ? strchr(plain, c) : NULL;
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (at != NULL)
            buf_printf(out, "\\%c", names[at - plain]);
        else if (c >= ' ' && c <= '~')
            buf_putc(out, c);
        else
            buf_printf(out, "\\x%02x", (unsigned) (unsigned char) c);
    }
}

void conn_trace_payload(struct conn *c, const char *way, struct str header, struct str payload)
{
    const struct options *o = c->net->env->options;
    size_t most = o->max_traced_msg_len > 0 && (size_t) o->max_traced_msg_len < SHOWN_MAX
                      ? (size_t) o->max_traced_msg_len
                      : SHOWN_MAX;
    struct buf all = {0}, text = {0};
    char who[CONN_TEXT_MAX];
    bool cut;

    buf_put_str(&all, header);
    if (o->trace_headers) /* without the line ends that close it */
        all.n = all.n > 4 ? all.n - 4 : 0;
    else
        buf_put_str(&all, str_take(payload, SHOWN_MAX + 1));
    cut = all.n > most;
    put_quoted(&text, str_take(buf_str(&all), most));
    if (all.n > 0)
        log_print(c->net->env->log, LOG_TRACE, "%s - %s MSG_PAYLOAD: [\"%s%s\"]", conn_text(c, who),
                  way, buf_cstr(&text), cut ? "..." : "");
    buf_free(&all);
    buf_free(&text);
}

/* ---- CONNECT --------------------------------------------------------------------------------- */

static bool is_harmless(const json_t *all, const char *name)
{
    static const char *const names[] = {
        "verbose",  "pedantic", "tls_required",  "name",    "lang",   "version",
        "protocol", "echo",     "headers",       "account", "hub",    "no_responders",
        "server",   "cluster",  "domain",        "isolate", "remote", "compression",
        "pub",      "sub",      "remote_account"};

    if (strcmp(name, "user") == 0)
        return json_object_get(all, "pass") != NULL;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* The caller frees it; NULL: it is no object. */
static char *harmless(struct str args)
{
    json_t *all = json_loadb(args.p, args.n, 0, NULL), *shown, *value;
    bool wide = memmem(args.p, args.n, "\": ", 3) != NULL;
    const char *name;
    char *text;

    if (!json_is_object(all)) {
        json_decref(all);
        return NULL;
    }
    shown = json_object();
    json_object_foreach(all, name, value)
    {
        if (is_harmless(all, name))
            json_object_set(shown, name, value);
        else
            json_object_set_new(shown, name, json_string(REDACTED));
    }
    text = json_dumps(shown, wide ? 0 : JSON_COMPACT);
    json_decref(shown);
    json_decref(all);
    return text;
}

static void trace_connect(struct conn *c, const char *way, struct str args)
{
    char who[CONN_TEXT_MAX], *text = harmless(args);

    log_print(c->net->env->log, LOG_TRACE, "%s - %s [CONNECT %s]", conn_text(c, who), way,
              text != NULL ? text : "{...}");
    mem_free(text);
}

/* ---- operations ------------------------------------------------------------------------------ */

/* What a client says of these means nothing. */
static bool is_a_servers(unsigned verb)
{
    return verb == NATS_VERB_INFO || verb == NATS_VERB_OK || verb == NATS_VERB_ERR;
}

void conn_trace_in(struct conn *c, const struct nats_op *op)
{
    struct log *log = c->net->env->log;
    const char *verb = nats_verb_name((enum nats_verb) op->verb);
    char who[CONN_TEXT_MAX];

    if (op->verb == NATS_VERB_CONNECT)
        trace_connect(c, "<<-", op->args);
    else if (op->verb == NATS_VERB_PING || op->verb == NATS_VERB_PONG)
        log_print(log, LOG_TRACE, "%s - <<- [%s]", conn_text(c, who), verb);
    else if (c->leaf != NULL || !is_a_servers(op->verb))
        log_print(log, LOG_TRACE, "%s - <<- [%s %.*s]", conn_text(c, who), verb, STR_ARG(op->args));
    if (op->verb == NATS_VERB_PUB || op->verb == NATS_VERB_HPUB || op->verb == NATS_VERB_LMSG ||
        op->verb == NATS_VERB_LHMSG)
        conn_trace_payload(c, "<<-", str_take(op->body, op->header_n),
                           str_skip(op->body, op->header_n));
}

/* -ERR 'text' is shown without quotes, +OK without its plus. */
void conn_trace_out(struct conn *c, struct str bytes)
{
    struct str line = str_take(bytes, str_index(bytes, '\r'));
    char who[CONN_TEXT_MAX];

    if (str_starts(line, STR("CONNECT "))) {
        trace_connect(c, "->>", str_skip(line, 8));
        return;
    }
    if (str_starts(line, STR("INFO ")))
        return;
    if (str_starts(line, STR("-ERR '")) && line.p[line.n - 1] == '\'')
        log_print(c->net->env->log, LOG_TRACE, "%s - ->> [-ERR %.*s]", conn_text(c, who),
                  (int) (line.n - 7), line.p + 6);
    else
        log_print(c->net->env->log, LOG_TRACE, "%s - ->> [%.*s]", conn_text(c, who),
                  (int) (line.n - (line.p[0] == '+')), line.p + (line.p[0] == '+'));
}
