/*
 * empty.c - documents about what one server alone does not have (routes, gateways, Raft groups),
 * and what a Go program has and this one does not: queues, stacks, memory statistics, profiles.
 */
#include "server/monitor/monitor_int.h"

#include <stdio.h>
#include <string.h>

#define SUBS_PARAMS                                                                                \
    {                                                                                              \
        "subs", PARAM_SUBS, ASKED(subs)                                                            \
    }

/* ---- routes, gateways ------------------------------------------------------------------------ */

static const struct param routez_params[] = {SUBS_PARAMS};
static const struct json_field routez_fields[] = {
    {"subscriptions", JSON_BOOL_FIELD, ASKED(subs), 0, NULL},
    {"subscriptions_detail", JSON_BOOL_FIELD, ASKED(subs_detail), 0, NULL},
};

static json_t *routez(struct query *q)
{
    json_t *o = json_object();

    put_str(o, "server_id", q->reports->host.server_id);
    put_str(o, "server_name", q->reports->host.server_name);
    put_time(o, "now", monitor_wall());
    put_int(o, "num_routes", 0);
    json_object_set_new(o, "routes", json_array());
    return o;
}

const struct document routez_document = {
    .path = "/routez",
    .name = "ROUTEZ",
    .params = routez_params,
    .nparams = ARRAY_LEN(routez_params),
    .fields = routez_fields,
    .nfields = ARRAY_LEN(routez_fields),
    .finish = routez,
};

static const struct param gatewayz_params[] = {
    SUBS_PARAMS,
    {"accs", PARAM_BOOL, ASKED(accounts)},
    {"gw_name", PARAM_TEXT, ASKED(name)},
    {"acc_name", PARAM_TEXT, ASKED(account)},
};
static const struct json_field gatewayz_fields[] = {
    {"name", JSON_STRING_FIELD, ASKED(name), 0, NULL},
    {"accounts", JSON_BOOL_FIELD, ASKED(accounts), 0, NULL},
    {"account_name", JSON_STRING_FIELD, ASKED(account), 0, NULL},
    {"subscriptions", JSON_BOOL_FIELD, ASKED(subs), 0, NULL},
    {"subscriptions_detail", JSON_BOOL_FIELD, ASKED(subs_detail), 0, NULL},
};

static json_t *gatewayz(struct query *q)
{
    json_t *o = json_object();

    put_identity_and_now(o, q);
    json_object_set_new(o, "outbound_gateways", json_object());
    json_object_set_new(o, "inbound_gateways", json_object());
    return o;
}

const struct document gatewayz_document = {
    .path = "/gatewayz",
    .name = "GATEWAYZ",
    .params = gatewayz_params,
    .nparams = ARRAY_LEN(gatewayz_params),
    .fields = gatewayz_fields,
    .nfields = ARRAY_LEN(gatewayz_fields),
    .finish = gatewayz,
};

/* ---- Raft, queues, stacks -------------------------------------------------------------------- */

static const struct param raftz_params[] = {
    {"acc", PARAM_TEXT, ASKED(account)},
    {"group", PARAM_TEXT, ASKED(group)},
};
static const struct json_field raftz_fields[] = {
    {"account", JSON_STRING_FIELD, ASKED(account), 0, NULL},
    {"group", JSON_STRING_FIELD, ASKED(group), 0, NULL},
};

static json_t *raftz(struct query *q)
{
    return query_fail(q, 404, "No Raft nodes registered");
}

const struct document raftz_document = {
    .path = "/raftz",
    .name = "RAFTZ",
    .params = raftz_params,
    .nparams = ARRAY_LEN(raftz_params),
    .fields = raftz_fields,
    .nfields = ARRAY_LEN(raftz_fields),
    .finish = raftz,
};

static const struct param ipqueuesz_params[] = {
    {"all", PARAM_BOOL, ASKED(all)},
    {"queues", PARAM_TEXT, ASKED(name)},
};
static const struct json_field ipqueuesz_fields[] = {
    {"all", JSON_BOOL_FIELD, ASKED(all), 0, NULL},
    {"filter", JSON_STRING_FIELD, ASKED(name), 0, NULL},
};

static void step_queues(struct query *q, struct env *env, struct part *part)
{
    (void) q;
    part->has_js = env->jetstream != NULL;
    if (part->has_js)
        jetstream_stats(env->jetstream, &part->js);
}

/* The queue that there is: requests of JetStream's API, of which none waits for another. */
static json_t *ipqueuesz(struct query *q)
{
    static const char name[] = "JetStream API queue";
    json_t *o = json_object(), *one;
    struct js_stats js;

    sum_js(q, &js);
    if ((js.api_inflight == 0 && !q->asked.all) || !q->parts[0].has_js ||
        (q->asked.name != NULL && strstr(name, q->asked.name) == NULL))
        return o;
    one = json_object();
    put_int(one, "pending", 0);
    if (js.api_inflight > 0)
        put_int(one, "in_progress", (int64_t) js.api_inflight);
    json_object_set_new(o, name, one);
    return o;
}

const struct document ipqueuesz_document = {
    .path = "/ipqueuesz",
    .name = "IPQUEUESZ",
    .params = ipqueuesz_params,
    .nparams = ARRAY_LEN(ipqueuesz_params),
    .fields = ipqueuesz_fields,
    .nfields = ARRAY_LEN(ipqueuesz_fields),
    .step = step_queues,
    .finish = ipqueuesz,
};

/* What the kernel knows of every thread; there are no goroutines. */
static json_t *stacksz(struct query *q)
{
    const struct monitor_host *h = &q->reports->host;

    buf_printf(&q->text, "threads: main, %u worker%s (%s: %s), pools behind them\n", h->workers,
               h->workers == 1 ? "" : "s", h->io_backend, h->io_reason);
    return NULL;
}

const struct document stacksz_document = {.path = "/stacksz", .finish = stacksz};

/* ---- /debug/vars, profiles ------------------------------------------------------------------- */

/* Arguments that are secrets show up as such at the peer; here they do not. */
static void redact(json_t *list)
{
    static const char *const secret[] = {"-pass", "--pass", "-auth", "--auth", "-user", "--user"};

    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *word = json_string_value(json_array_get(list, i));
        for (size_t k = 0; k < ARRAY_LEN(secret); k++) {
            size_t n = strlen(secret[k]);
            if (strcmp(word, secret[k]) == 0 && i + 1 < json_array_size(list)) {
                json_array_set_new(list, i + 1, json_string("[REDACTED]"));
            } else if (strncmp(word, secret[k], n) == 0 && word[n] == '=') {
                json_array_set_new(list, i, json_string("[REDACTED]"));
                break;
            }
        }
    }
}

static json_t *expvarz(struct query *q)
{
    json_t *o = json_object(), *mem = json_object(), *words = process_arguments();

    (void) q;
    redact(words);
    put_int(mem, "Sys", process_memory());
    put_int(mem, "HeapSys", process_memory());
    json_object_set_new(o, "memstats", mem);
    json_object_set_new(o, "cmdline", words);
    return o;
}

const struct document expvarz_document = {
    .path = "/debug/vars", .name = "EXPVARZ", .finish = expvarz};

static const struct json_field profilez_fields[] = {
    {"name", JSON_STRING_FIELD, ASKED(name), 0, NULL},
    {"debug", JSON_I64_FIELD, ASKED(debug), 0, NULL},
    {"duration", JSON_I64_FIELD, ASKED(duration), 0, NULL},
};

static json_t *profilez(struct query *q)
{
    json_t *o = json_object();
    char text[160];

    if (q->asked.name == NULL)
        snprintf(text, sizeof(text), "Profile name not specified");
    else
        snprintf(text, sizeof(text), "Profile \"%.100s\" not found", q->asked.name);
    json_object_set_new(o, "profile", json_null());
    put_str(o, "error", text);
    return o;
}

const struct document profilez_document = {
    .name = "PROFILEZ",
    .fields = profilez_fields,
    .nfields = ARRAY_LEN(profilez_fields),
    .finish = profilez,
};
