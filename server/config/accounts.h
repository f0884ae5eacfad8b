/*
 * accounts.h - the accounts that a configuration names: what each lets others use, uses of others,
 * maps to other subjects, and may have. Plain data, part of a snapshot of options and immutable
 * once that is finished. What it means for messages is decided in server/core (account_wiring.h).
 *
 * The default account is "$G"; it is in the list when something is said about it (a top-level
 * `mappings`). Users name their account (users.h).
 */
#ifndef CONFIG_ACCOUNTS_H
#define CONFIG_ACCOUNTS_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most accounts, and exports, imports, mappings of one: all are looked through one by one when a
 * configuration is read, and once per new subject when messages are routed. */
#define ACCOUNTS_MAX 4096u
#define ACCOUNT_RULES_MAX 1024u
#define ACCOUNT_DEFAULT "$G"
#define ACCOUNT_SYSTEM "$SYS"

struct conf_value;
struct permissions;

enum account_response { RESPONSE_SINGLE, RESPONSE_STREAM, RESPONSE_CHUNKED };

/* How often answers of a service are measured, and where that is said; subject NULL = never. */
struct account_latency {
    char *subject;
    unsigned sampling; /* percent */
    bool headers;      /* when a header of the request asks for it */
};

struct account_export {
    bool service;
    char *subject;
    char **accounts; /* who may import it; NULL = everybody */
    size_t naccounts;
    unsigned token_position; /* from 1: that token must be the importer's name; 0 = none */
    enum account_response response;
    bool token_required;  /* operator mode: only with an activation by the exporter */
    int64_t threshold_ns; /* how long an answer may take; 0 = 2 minutes */
    struct account_latency latency;
    bool allow_trace;               /* of a service: what happens here may be told the importer */
    const struct conf_value *place; /* while the configuration is read */
};

struct account_import {
    bool service, share;
    bool allow_trace; /* of a stream: what happens here may be told the exporter */
    char *account;    /* that exports it */
    char *subject;    /* its subject there */
    char *to;         /* its subject here; NULL = the same */
    char *prefix;     /* of a stream, in place of `to` */
    bool activated;   /* operator mode: the exporter's activation is there, and holds */
    char *at;         /* its place, "file:line:col: ", or NULL */
    const struct conf_value *place;
};

struct account_dest {
    char *subject;
    unsigned weight; /* percent */
};

struct account_mapping {
    char *source;
    char *at;                   /* its place, "file:line:col: ", or NULL */
    bool plain;                 /* written as one subject, not as a list */
    struct account_dest *dests; /* at most 100 percent; the rest goes to source itself, but for one
                                   that is listed */
    size_t n;
};

/* Negative = no limit. */
struct account_limits {
    int64_t connections, subscriptions, payload, leafnodes;
};

struct account_jetstream {
    bool enabled;
    int64_t max_memory, max_store; /* bytes */
    int64_t max_streams, max_consumers, max_ack_pending;
    int64_t memory_max_stream_bytes, disk_max_stream_bytes; /* of one stream */
    bool max_bytes_required;
    bool tiered;  /* these are the limits of the tier R1, the only one that one server has */
    bool no_tier; /* there are tiers, and that one is not among them: no streams */
};

struct account_options {
    char *name;
    char *nkey; /* A...; NULL = none */
    struct account_export *exports;
    struct account_import *imports;
    struct account_mapping *mappings;
    size_t nexports, nimports, nmappings;
    struct account_limits limits;
    struct account_jetstream js;
    struct permissions *otherwise; /* of its users without own ones; NULL = everything */
    char *trace_dest;        /* where messages with a traceparent are traced to; NULL = nowhere */
    unsigned trace_sampling; /* percent of them */
};

/* slots: places in list plus one by the hash of the name, open addressing; 0 = free. At least half
 * of them are. */
struct accounts {
    struct account_options *list;
    size_t n;
    uint32_t *slots;
    size_t nslots; /* 0, or a power of two */
};

void accounts_free(struct accounts *a);
/* Appends one with defaults; the pointer holds until the next. */
struct account_options *accounts_add(struct accounts *a, const char *name);
/* Appends what somebody else owns; to be freed by accounts_free_shallow. */
void accounts_add_shallow(struct accounts *a, const struct account_options *o);
void accounts_free_shallow(struct accounts *a);
/* NULL when nothing is said about it. */
struct account_options *accounts_find(const struct accounts *a, const char *name);

/* The export that an import of that subject is about: of exactly it, else the first that covers it.
 * NULL: there is none. */
const struct account_export *account_export_of(const struct account_options *of, bool service,
                                               const char *subject);
/* May that account import the subject of this one, without an activation? */
bool account_export_allows(const struct account_options *of, bool service, const char *subject,
                           const char *importer);
/* What is wrong with an import of a, seen from all accounts; NULL: nothing. The texts are those of
 * errors. `of` exports it. */
const char *account_import_error(const struct accounts *all, const struct account_options *a,
                                 const struct account_import *i, const struct account_options *of);
/* The subject that an import has in its own account: to, prefix + subject, or subject. */
void account_import_local(const struct account_import *i, struct buf *out);
/* Every import is of an account that is there, allowed, and closes no circle. False with a text in
 * why and the export or import it is about in *place. */
bool accounts_check(const struct accounts *a, struct buf *why, const struct conf_value **place);

#endif
