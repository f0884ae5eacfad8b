/* jetstream.c - the stream and consumers of a run, by the control connection. */
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "tools/nats-bench/bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API_MS 30000

static bool say(char err[256], const char *what, const struct bench *b, int rc)
{
    snprintf(err, 256, "%s: %.180s", what,
             rc == MIDGE_NO_RESPONDERS ? "the server has no JetStream"
             : rc == MIDGE_TIMEOUT     ? "no answer"
                                       : midge_error(b->control));
    return false;
}

/* The number behind "key": anywhere in the answer; 0 when it is not there. */
static uint64_t number_of(const char *json, const char *key)
{
    char quoted[64];
    const char *at;

    snprintf(quoted, sizeof(quoted), "\"%s\":", key);
    at = json != NULL ? strstr(json, quoted) : NULL;
    return at != NULL ? strtoull(at + strlen(quoted), NULL, 10) : 0;
}

static int stream_call(struct bench *b, const char *verb, const char *body, char **answer)
{
    char subject[256];

    snprintf(subject, sizeof(subject), "STREAM.%s.%s", verb, b->o.stream);
    return midge_js_api(b->control, subject, body, API_MS, answer);
}

static int create_stream(struct bench *b)
{
    struct buf body = {0};
    int rc;

    buf_printf(&body,
               "{\"name\":\"%s\",\"subjects\":[\"%s\",\"%s.>\"],\"retention\":\"limits\","
               "\"storage\":\"%s\",\"discard\":\"old\",\"num_replicas\":1,\"max_consumers\":-1,"
               "\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0,\"max_msg_size\":-1%s}",
               b->o.stream, b->o.subject, b->o.subject, b->o.storage,
               b->o.fast ? ",\"allow_batched\":true" : "");
    rc = stream_call(b, "CREATE", buf_cstr(&body), NULL);
    buf_free(&body);
    return rc;
}

static bool prepare_stream(struct bench *b, char err[256])
{
    bool publishes = b->o.mode == MODE_JS_PUB, memory;
    char *answer = NULL;
    int rc = stream_call(b, "INFO", NULL, &answer);

    if (rc == MIDGE_NOT_FOUND && publishes) {
        midge_free(answer);
        answer = NULL;
        rc = create_stream(b);
        if (rc != MIDGE_OK)
            return say(err, "creating the stream", b, rc);
        rc = stream_call(b, "INFO", NULL, &answer);
    } else if (rc == MIDGE_OK && publishes && b->o.purge) {
        rc = stream_call(b, "PURGE", NULL, NULL);
        if (rc != MIDGE_OK) {
            midge_free(answer);
            return say(err, "emptying the stream", b, rc);
        }
    }
    if (rc != MIDGE_OK) {
        midge_free(answer);
        return say(err, b->o.stream, b, rc);
    }
    memory = strstr(answer, "\"storage\":\"memory\"") != NULL;
    snprintf(b->stream_text, sizeof(b->stream_text), "stream %.64s (%s)", b->o.stream,
             memory ? "memory" : "file");
    if (!publishes)
        b->goal = number_of(answer, "messages");
    midge_free(answer);
    if (!publishes && b->goal == 0 && b->o.count == 0 && b->o.duration_ns == 0) {
        snprintf(err, 256, "%.64s holds no messages; fill it with js pub", b->o.stream);
        return false;
    }
    return true;
}

int jetstream_create_consumer(struct bench *b, struct midge *m, const char *name,
                              const char *settings, uint64_t *pending)
{
    struct buf body = {0};
    char subject[256];
    char *answer = NULL;
    int rc;

    snprintf(subject, sizeof(subject), "CONSUMER.CREATE.%s.%s", b->o.stream, name);
    buf_printf(&body,
               "{\"stream_name\":\"%s\",\"config\":{\"name\":\"%s\",%s"
               "\"replay_policy\":\"instant\",%s}}",
               b->o.stream, name,
               b->o.consumer != NULL ? "" : "\"inactive_threshold\":60000000000,", settings);
    rc = midge_js_api(m, subject, buf_cstr(&body), API_MS, &answer);
    if (rc == MIDGE_OK && pending != NULL)
        *pending = number_of(answer, "num_pending");
    buf_free(&body);
    midge_free(answer);
    return rc;
}

static bool prepare_pull(struct bench *b, char err[256])
{
    char settings[256], durable[96] = "";
    uint64_t pending = 0;
    int rc;

    if (b->o.consumer != NULL)
        snprintf(durable, sizeof(durable), "\"durable_name\":\"%.60s\",", b->o.consumer);
    snprintf(settings, sizeof(settings),
             "%s\"ack_policy\":\"%s\",\"max_ack_pending\":%d,\"ack_wait\":"
             "30000000000," JETSTREAM_DELIVER_ALL,
             durable, b->o.ack, strcmp(b->o.ack, "none") == 0 ? 0 : -1);
    rc = jetstream_create_consumer(b, b->control, b->consumer, settings, &pending);
    if (rc != MIDGE_OK)
        return say(err, "creating the consumer", b, rc);
    b->consumer_made = true;
    b->goal = pending;
    return true;
}

static bool open_control(struct bench *b, char err[256])
{
    struct midge_options mo;

    options_connection(&b->o, &mo);
    mo.name = "nats-bench control";
    b->control = midge_connect(&mo, err);
    return b->control != NULL;
}

bool jetstream_prepare(struct bench *b, char err[256])
{
    char unique[32];

    if (!open_control(b, err) || !prepare_stream(b, err))
        return false;
    midge_inbox(b->control, unique);
    if (b->o.consumer != NULL)
        snprintf(b->consumer, sizeof(b->consumer), "%.60s", b->o.consumer);
    else
        snprintf(b->consumer, sizeof(b->consumer), "bench-%.22s", unique + strlen("_INBOX."));
    if (b->o.mode == MODE_JS_PULL && !prepare_pull(b, err))
        return false;
    if (b->o.count > 0 || b->o.duration_ns > 0)
        b->goal = b->o.count > 0 ? b->o.count : UINT64_MAX;
    return true;
}

/* What the consumer still waits for, then its end when it was ours. */
void jetstream_cleanup(struct bench *b)
{
    char subject[256];
    char *answer = NULL;

    if (!b->consumer_made)
        return;
    snprintf(subject, sizeof(subject), "CONSUMER.INFO.%s.%s", b->o.stream, b->consumer);
    if (midge_js_api(b->control, subject, NULL, API_MS, &answer) == MIDGE_OK)
        b->unacked = number_of(answer, "num_ack_pending");
    midge_free(answer);
    if (b->o.consumer != NULL)
        return;
    snprintf(subject, sizeof(subject), "CONSUMER.DELETE.%s.%s", b->o.stream, b->consumer);
    midge_js_api(b->control, subject, NULL, API_MS, NULL);
}
