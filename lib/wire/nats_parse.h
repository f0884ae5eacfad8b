/*
 * nats_parse.h - received bytes to NATS operations, for both ends of a connection.
 *
 *     struct str in = {bytes, n};
 *     for (;;) {
 *         switch (nats_parse(parser, &in, &op)) {
 *         case NATS_PARSE_OP:
 *             act on op; break;
 *         case NATS_PARSE_COLLECT:
 *             nats_parse_collect(parser, memory for op.body.n + 2 bytes); break;
 *         case NATS_PARSE_MORE:
 *             return; (the input is used up)
 *         case NATS_PARSE_ERROR:
 *             close, saying nats_error_wire(parser->error); return;
 *         }
 *     }
 *
 * The operation's views point into the input when it lies there as a whole, which is the rule and
 * costs no copy. Otherwise the parser keeps the piece at the end of the input in a buffer of its
 * own, which exists only between two receives that cut an operation: an idle connection owns none.
 * A body of NATS_COLLECT_MIN bytes and more that is cut goes straight to memory of the caller,
 * once, instead. The operation that comes out looks the same in all three cases, and every way of
 * cutting the input gives the same operations.
 *
 * Limits are checked before anything is allocated: max_control_line bounds what is kept of a line,
 * max_payload what is collected. Sizes have at most 9 digits, as at the reference server.
 *
 * One parser per connection and direction; any thread, one at a time. Nothing here blocks.
 */
#ifndef WIRE_NATS_PARSE_H
#define WIRE_NATS_PARSE_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A cut body of this size or more is collected by the caller; a smaller one is copied into the
 * parser's buffer, and again into wherever it goes: 16 KiB cost 0.3 us each time. */
#define NATS_COLLECT_MIN 16384u
/* max_payload of "no limit". */
#define NATS_NO_LIMIT UINT32_MAX

enum nats_verb {
#define NATS_VERB(name, text, from, after, body) NATS_VERB_##name,
#include "lib/wire/nats_verbs.def"
#undef NATS_VERB
    NATS_VERBS
};

enum nats_error {
#define NATS_ERROR(name, wire, log) NATS_ERROR_##name,
#include "lib/wire/nats_errors.def"
#undef NATS_ERROR
    NATS_ERRORS
};

enum nats_role {
    NATS_ROLE_SERVER, /* reads what clients send */
    NATS_ROLE_CLIENT, /* reads what servers send */
    NATS_ROLE_LEAF,   /* reads what the server at the other end of a leaf connection sends */
};

enum nats_parse {
    NATS_PARSE_OP,      /* op is complete */
    NATS_PARSE_MORE,    /* the input is used up */
    NATS_PARSE_COLLECT, /* a body of op->body.n bytes begins: call nats_parse_collect next */
    NATS_PARSE_ERROR,   /* see parser->error; the parser stays in this state */
};

/*
 * One operation. Views are valid until the next nats_parse on this parser, and not longer than the
 * input. A verb sets the fields named for it and args; the others are undefined:
 *
 *     CONNECT INFO ERR   args (the JSON text; the error text with its quotes)
 *     PING PONG OK       -
 *     PUB HPUB           subject reply header_n body
 *     SUB                subject queue sid
 *     UNSUB              sid max
 *     MSG HMSG           subject sid reply header_n body
 *     LSUB LUNSUB        subject queue max (LSUB with a queue: its weight, at least 1)
 *     LMSG LHMSG         subject reply queue header_n body; queue: the names of the queue groups it
 * is for, with blanks between them
 *
 * An absent reply or queue has n == 0. The subject is any bytes but blank, tab, CR and LF: whether
 * it is a valid one is for the layer above.
 */
struct nats_op {
    uint8_t verb;      /* enum nats_verb */
    bool collected;    /* body lies in the memory given to nats_parse_collect */
    uint32_t header_n; /* bytes of body that are the header block; 0 without one */
    uint32_t max;      /* UNSUB: ends after so many messages; 0 (absent, unreadable): at once */
    struct str subject;
    struct str reply;
    struct str sid;
    struct str queue;
    struct str body; /* header block and payload, CRLF behind it; with COLLECT only its size */
    struct str args; /* the line behind the verb and its blanks, without its end: for the log */
};

struct nats_partial;

/* Embedded by the connection. The first three fields may be changed between two calls (reload,
 * CONNECT). */
struct nats_parser {
    uint32_t max_payload;      /* bytes of a body, or NATS_NO_LIMIT */
    uint32_t max_control_line; /* bytes of a line's arguments (behind the verb and one blank) */
    bool headers;              /* HPUB is allowed; false after init */
    bool connect_only; /* only CONNECT is allowed, anything else is NOT_CONNECT; false after init */
    uint8_t role;      /* enum nats_role */
    uint8_t error;     /* enum nats_error once NATS_PARSE_ERROR was returned */
    struct nats_partial *partial; /* the beginning of a cut operation, else NULL */
};

struct nats_limits {
    uint32_t max_control_line;
    uint32_t max_payload;
};

void nats_parser_init(struct nats_parser *p, enum nats_role role, struct nats_limits limits);
/* Frees the partial operation if there is one. What was given to nats_parse_collect stays the
 * caller's. */
void nats_parser_deinit(struct nats_parser *p);

/* Takes one operation off the front of *in. With NATS_PARSE_ERROR op->args holds what the log
 * shows: the arguments of the line, or the first bytes of what was not understood; *in is then
 * unspecified. */
enum nats_parse nats_parse(struct nats_parser *p, struct str *in, struct nats_op *op);

/* Answers NATS_PARSE_COLLECT: `memory` has room for op->body.n + 2 bytes (CRLF is collected too)
 * and stays valid until the operation was returned or the parser is deinitialised. When there is no
 * memory: close the connection. */
void nats_parse_collect(struct nats_parser *p, char *memory);

/* True while a part of an operation has arrived and the rest has not. */
static inline bool nats_parse_is_cut(const struct nats_parser *p)
{
    return p->partial != NULL;
}

/* Heap bytes held by the parser now, without collected memory. */
size_t nats_parser_bytes(const struct nats_parser *p);

/* Whole-object check; aborts when the parser's state contradicts itself. */
void nats_parser_check(const struct nats_parser *p);

static inline struct str nats_op_header(const struct nats_op *op)
{
    return (struct str){op->body.p, op->header_n};
}

static inline struct str nats_op_payload(const struct nats_op *op)
{
    return str_skip(op->body, op->header_n);
}

/* "PUB", "+OK" ...: as in traces. */
const char *nats_verb_name(enum nats_verb verb);
/* Text between the quotes of the -ERR line; "" when the connection is closed without one. */
const char *nats_error_wire(enum nats_error error);
/* Text for the log, without the arguments. */
const char *nats_error_log(enum nats_error error);
/* args of -ERR without the quotes around it. */
struct str nats_err_text(struct str args);

#endif
