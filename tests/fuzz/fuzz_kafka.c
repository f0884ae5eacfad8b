/*
 * fuzz_kafka.c - requests of Kafka clients, each kind a target of its own: fuzz_kafka_<api>, which
 * is this program by another name (the name tells the mutator which requests to make). By its own
 * name it takes all kinds.
 *
 * Input: a frame without its length. The body is read in every version that there is, as a request
 * and as a response: what is accepted is written, read again, and must be the same bytes then; and
 * cut anywhere it must be refused. Then a server on the simulator that has a topic, a group with a
 * member, and an open transaction (kafka_seeds.h: by which names) gets the frame as it is. Its
 * answer is read to the last byte and written again, the same, in the version that was asked for.
 * Requests of SASL go to a server with users; the lowest bits of their correlation say which
 * mechanism was agreed on before.
 *
 * The server gave a few ids before; where the frame has their placeholders they are filled in.
 */
#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/wire/kafka_bytes.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/kafka_seeds.h"
#include "tests/sim/server_stage.h"

#include <string.h>

/* Of a long body some cuts are tried. */
#define CUTS 32u

static const char *const open_conf = STAGE_DOORS;
static const char *const users_conf = STAGE_DOORS
    "accounts { A { jetstream: enabled, users: [ { user: a, password: a } ] } }\n";

/* ---- the codec ------------------------------------------------------------------------------- */

static void check_cuts(const struct kafka_struct *s, int version, bool flexible, struct str taken)
{
    size_t step = taken.n / CUTS + 1;

    for (size_t n = 0; n < taken.n; n += step) {
        struct kafka_arena arena = {0};
        struct str in = str_take(taken, n);
        ASSERT(kafka_decode(s, version, flexible, &in, &arena) == NULL);
        kafka_arena_free(&arena);
    }
}

/* What was read, written: must be the same when it is read and written again. */
static void check_again(const struct kafka_struct *s, int version, bool flexible,
                        const void *message, struct buf *once)
{
    struct kafka_arena arena = {0};
    struct buf twice = {0};
    struct str in;

    kafka_encode(s, version, flexible, message, once, NULL);
    in = buf_str(once);
    message = kafka_decode(s, version, flexible, &in, &arena);
    ASSERT(message != NULL && in.n == 0);
    kafka_encode(s, version, flexible, message, &twice, NULL);
    ASSERT(str_eq(buf_str(once), buf_str(&twice)));
    buf_free(&twice);
    kafka_arena_free(&arena);
}

static void check(const struct kafka_struct *s, int version, bool flexible, struct str body)
{
    struct kafka_arena arena = {0};
    struct buf once = {0};
    struct str in = body;
    const void *message = kafka_decode(s, version, flexible, &in, &arena);

    if (message != NULL) {
        check_again(s, version, flexible, message, &once);
        check_cuts(s, version, flexible, str_take(body, body.n - in.n));
    }
    buf_free(&once);
    kafka_arena_free(&arena);
}

static void check_versions(const struct kafka_api *api, struct str body)
{
    for (int v = api->first; v <= api->last; v++) {
        check(api->request(), v, kafka_is_flexible(api, v), body);
        check(api->response(), v, kafka_is_flexible(api, v), body);
    }
}

/* ---- the server ------------------------------------------------------------------------------ */

/* The bytes of an answer, behind its length, from the front of what was heard. */
static bool take_frame(struct str *heard, struct str *frame)
{
    uint32_t n;

    if (heard->n < 4)
        return false;
    n = kafka_get_u32(heard->p);
    ASSERT(heard->n - 4 >= n);
    *frame = str_take(str_skip(*heard, 4), n);
    *heard = str_skip(*heard, 4 + n);
    return true;
}

/* Views of what was heard. */
static const void *read_answer(const struct kafka_header *h, struct str frame,
                               struct kafka_arena *arena)
{
    const struct kafka_api *api = kafka_api_of(h->key);
    bool unknown = h->version < api->first || h->version > api->last;
    int version = unknown ? 0 : h->version;
    bool flexible = kafka_is_flexible(api, version);
    struct buf header = {0}, once = {0};
    const void *answer;
    struct str in;

    kafka_put_response_header(&header, h);
    ASSERT(str_starts(frame, buf_str(&header)));
    in = frame = str_skip(frame, header.n);
    answer = kafka_decode(api->response(), version, flexible, &in, arena);
    ASSERT(answer != NULL && in.n == 0);
    check_again(api->response(), version, flexible, answer, &once);
    ASSERT(str_eq(buf_str(&once), frame));
    buf_free(&header);
    buf_free(&once);
    return answer;
}

static void say(struct stage *s, struct str frame)
{
    buf_clear(&s->far.in);
    if (stage_can_say(s)) {
        kafka_append_u32(&s->far.out, (uint32_t) frame.n);
        buf_put_str(&s->far.out, frame);
    }
    stage_say(s);
}

/* A request of ours; its answer is there. */
static const void *ask(struct stage *s, int key, int version, const void *body,
                       const struct kafka_given *given, struct kafka_arena *arena)
{
    const struct kafka_api *api = kafka_api_of(key);
    struct buf bytes = {0};
    struct kafka_header h;
    struct str in, frame;
    const void *answer;

    if (body == NULL)
        body = kafka_seed_make(api->request(), version, arena);
    kafka_seed_put(api, version, body, &bytes);
    kafka_seed_settle(&bytes, given);
    in = buf_str(&bytes);
    ASSERT(kafka_take_header(&in, &h));
    say(s, buf_str(&bytes));
    in = kafka_arena_str(arena, buf_str(&s->far.in));
    ASSERT(take_frame(&in, &frame) && in.n == 0);
    answer = read_answer(&h, frame, arena);
    buf_free(&bytes);
    return answer;
}

static void join(struct stage *s, struct kafka_given *given, struct kafka_arena *arena)
{
    struct kafka_join_group_request *q = kafka_seed_make(kafka_struct_join_group_request(), 3,
                                                         arena);
    const struct kafka_join_group_response *joined;
    const struct kafka_sync_group_response *synced;

    q->member_id = STR("");
    joined = ask(s, KAFKA_JOIN_GROUP, 3, q, given, arena);
    ASSERT(joined->error_code == 0 && joined->generation_id == 1);
    given->member = joined->member_id;
    synced = ask(s, KAFKA_SYNC_GROUP, 3, NULL, given, arena);
    ASSERT(synced->error_code == 0);
}

static void join_new(struct stage *s, const struct kafka_given *given, struct kafka_arena *arena)
{
    struct kafka_consumer_group_heartbeat_request *q =
        kafka_seed_make(kafka_struct_consumer_group_heartbeat_request(), 0, arena);
    const struct kafka_consumer_group_heartbeat_response *a;

    q->topic_partitions_n = 0;
    a = ask(s, KAFKA_CONSUMER_GROUP_HEARTBEAT, 0, q, given, arena);
    ASSERT(a->error_code == 0);
}

/* A topic with a batch, a group of each protocol, of which one has committed an offset. */
static void furnish(struct stage *s, struct kafka_given *given, struct kafka_arena *arena)
{
    const struct kafka_create_topics_response *a;
    const struct kafka_metadata_response *m;
    const struct kafka_produce_response *p;
    const struct kafka_offset_commit_response *c;

    a = ask(s, KAFKA_CREATE_TOPICS, 1, NULL, given, arena);
    ASSERT(a->topics->error_code == 0);
    m = ask(s, KAFKA_METADATA, 10, NULL, given, arena);
    ASSERT(m->topics_n == 1);
    given->topic_id = m->topics->topic_id;
    p = ask(s, KAFKA_PRODUCE, 7, NULL, given, arena);
    ASSERT(p->responses->partition_responses->error_code == 0);
    ask(s, KAFKA_FIND_COORDINATOR, 1, NULL, given, arena);
    join(s, given, arena);
    join_new(s, given, arena);
    c = ask(s, KAFKA_OFFSET_COMMIT, 6, NULL, given, arena);
    ASSERT(c->topics->partitions->error_code == 0);
}

/* A transaction in that topic. */
static void begin_txn(struct stage *s, struct kafka_given *given, struct kafka_arena *arena)
{
    const struct kafka_init_producer_id_response *i;
    const struct kafka_add_partitions_to_txn_response *t;
    struct kafka_init_producer_id_request *q =
        kafka_seed_make(kafka_struct_init_producer_id_request(), 2, arena);

    i = ask(s, KAFKA_INIT_PRODUCER_ID, 2, q, given, arena);
    ASSERT(i->error_code == 0);
    given->producer = i->producer_id;
    t = ask(s, KAFKA_ADD_PARTITIONS_TO_TXN, 3, NULL, given, arena);
    ASSERT(t->results_by_topic_v3_and_below->results_by_partition->partition_error_code == 0);
}

static void agree_on(struct stage *s, int32_t which, struct kafka_arena *arena)
{
    static const struct str mechanisms[] = {STR_LIT("PLAIN"), STR_LIT("SCRAM-SHA-256"),
                                            STR_LIT("SCRAM-SHA-512")};
    struct kafka_sasl_handshake_request q = {0};
    struct kafka_given none = {0};

    if ((which & 3) == 3)
        return;
    q.mechanism = mechanisms[which & 3];
    ask(s, KAFKA_SASL_HANDSHAKE, 1, &q, &none, arena);
}

static void ask_server(const struct kafka_header *h, struct str input)
{
    bool sasl = h->key == KAFKA_SASL_HANDSHAKE || h->key == KAFKA_SASL_AUTHENTICATE;
    struct kafka_arena arena = {0};
    struct kafka_given given = {0};
    struct buf frame = {0};
    struct stage s = {0};
    struct str heard, answer;

    stage_open(&s, sasl ? users_conf : open_conf);
    stage_connect(&s, STAGE_KAFKA);
    stage_settle(&s);
    if (!sasl) {
        furnish(&s, &given, &arena);
        begin_txn(&s, &given, &arena);
    } else if (h->key == KAFKA_SASL_AUTHENTICATE) {
        agree_on(&s, h->correlation, &arena);
    }
    buf_put_str(&frame, input);
    kafka_seed_settle(&frame, &given);
    say(&s, buf_str(&frame));
    heard = buf_str(&s.far.in);
    if (take_frame(&heard, &answer))
        read_answer(h, answer, &arena);
    ASSERT(heard.n == 0);
    stage_close(&s);
    buf_free(&frame);
    kafka_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = str_from(data, size), in = input;
    struct kafka_header h;
    const struct kafka_api *api;

    if (!kafka_take_header(&in, &h) || (api = kafka_api_of(h.key)) == NULL)
        return 0;
    check_versions(api, in);
    ask_server(&h, input);
    return 0;
}

/* ---- inputs ---------------------------------------------------------------------------------- */

typedef void (*input_fn)(const char *name, const uint8_t *data, size_t size);

static void made(void *ctx, const struct kafka_api *api, const char *name, struct str frame)
{
    struct buf text = {0};

    buf_printf(&text, "%s %s", api->name, name);
    (*(input_fn *) ctx)(buf_cstr(&text), (const uint8_t *) frame.p, frame.n);
    buf_free(&text);
}

void fuzz_made_inputs(input_fn each)
{
    kafka_seeds_each(made, &each);
}
