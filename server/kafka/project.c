/* project.c - see project.h. */
#include "server/kafka/project.h"

#include "lib/base/base64.h"
#include "lib/base/header.h"
#include "lib/base/varint.h"
#include "lib/wire/kafka_compress.h"

/* ---- a record as a message ------------------------------------------------------------------- */

/* Can be a header's value as it is: readers take blanks off both ends. */
static bool is_text(struct str s)
{
    if (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t' || s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0')
            return false;
    return true;
}

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == ':')
            return false;
    return s.n > 0;
}

/* Ours, and those that would make JetStream do something. */
static bool is_taken(struct str name)
{
    return str_starts(name, STR("Kafka-")) || str_starts(name, STR("Nats-"));
}

static bool plain_headers(struct str headers)
{
    struct str name, value;

    while (kafka_header_next(&headers, &name, &value))
        if (!is_name(name) || is_taken(name) || value.p == NULL || !is_text(value))
            return false;
    return true;
}

static void line(struct buf *out, struct str name, struct str value)
{
    if (out->n == 0)
        buf_puts(out, "NATS/1.0\r\n");
    buf_put_str(out, name);
    buf_puts(out, ": ");
    buf_put_str(out, value);
    buf_puts(out, "\r\n");
}

static void line_b64(struct buf *out, struct str name, struct str value)
{
    struct buf text = {0};

    base64_encode(&text, value);
    line(out, name, buf_str(&text));
    buf_free(&text);
}

static void put_headers(const struct kafka_record *r, struct buf *out)
{
    struct str left = r->headers, name, value;
    struct buf exact = {0};

    if (plain_headers(left)) {
        while (kafka_header_next(&left, &name, &value))
            line(out, name, value);
        return;
    }
    varint_put_buf(&exact, zigzag(r->nheaders));
    buf_put_str(&exact, r->headers);
    line_b64(out, STR("Kafka-Headers-B64"), buf_str(&exact));
    buf_free(&exact);
}

void project_header(const struct kafka_record *r, struct buf *out)
{
    size_t before = out->n;

    if (r->key.p != NULL && is_text(r->key))
        line(out, STR("Kafka-Key"), r->key);
    else if (r->key.p != NULL)
        line_b64(out, STR("Kafka-Key-B64"), r->key);
    if (r->value.p == NULL)
        line(out, STR("Kafka-Null-Value"), STR("1"));
    struct buf number = {0};
    buf_put_i64(&number, r->time);
    line(out, STR("Kafka-Timestamp"), buf_str(&number));
    buf_free(&number);
    if (r->nheaders > 0)
        put_headers(r, out);
    if (out->n > before)
        buf_puts(out, "\r\n");
}

static const char undecodable[] = "NATS/1.0\r\nKafka-Undecodable: 1\r\n\r\n";

bool project_batch(struct str subject, struct str batch, uint64_t first_seq, uint32_t messages,
                   store_kafka_put_fn put, void *to)
{
    struct kafka_batch b;
    struct kafka_room room = {0};
    struct kafka_record_iter it = {0};
    struct kafka_record r;
    struct buf header = {0};
    struct str records;
    uint32_t next = 0;
    bool room_left = true;

    (void) subject;
    (void) first_seq;
    enum err err = ERR_CORRUPT;
    if (kafka_batch_open(batch, &b) == KAFKA_BATCH_OK)
        err = kafka_batch_records(&b, KAFKA_PLAIN_MAX, &room, &records);
    if (err == ERR_NO_MEMORY) {
        kafka_room_free(&room);
        return false;
    }
    if (err == ERR_OK)
        kafka_record_iter_init(&it, &b, records);
    while (room_left && next < messages && kafka_record_iter_next(&it, &r)) {
        if (r.offset < b.base_offset + next || r.offset >= b.base_offset + messages)
            break;
        header.n = 0;
        project_header(&r, &header);
        next = (uint32_t) (r.offset - b.base_offset);
        room_left = put(to, next++, buf_str(&header), r.value);
    }
    for (; room_left && next < messages; next++)
        room_left = put(to, next, STR(undecodable), STR_NONE);
    buf_free(&header);
    kafka_room_free(&room);
    return true;
}

/* ---- a message as a record ------------------------------------------------------------------- */

static bool is_null(const struct store_msg *m)
{
    struct str kv = header_get(m->header, STR("KV-Operation"));

    if (m->payload.n > 0 || m->header.n == 0)
        return false;
    return str_eq(kv, STR("DEL")) || str_eq(kv, STR("PURGE")) ||
           header_get(m->header, STR("Nats-Marker-Reason")).p != NULL ||
           header_get(m->header, STR("Kafka-Null-Value")).p != NULL;
}

static struct str decoded(struct buf *scratch, struct str text)
{
    size_t at = scratch->n;

    if (!base64_decode(scratch, text))
        scratch->n = at;
    return str_from(scratch->p + at, scratch->n - at);
}

/* Offsets until the scratch has stopped growing. */
struct part {
    bool set;
    size_t at, n;
};

static struct part part_of(const struct buf *scratch, struct str s)
{
    return (struct part){true, (size_t) (s.p - scratch->p), s.n};
}

/* The headers but ours; how many. */
static int32_t other_headers(const struct store_msg *m, struct buf *out)
{
    struct str key, value;
    size_t at = 0;
    int32_t n = 0;

    while (header_next(m->header, &at, &key, &value)) {
        if (str_starts(key, STR("Kafka-")) || str_starts(key, STR("Nats-Expected-")))
            continue;
        kafka_header_put(out, key, value);
        n++;
    }
    return n;
}

/* What Kafka-Headers-B64 says, if it says it well. */
static bool exact_headers(const struct store_msg *m, struct buf *scratch, struct part *out,
                          int32_t *count)
{
    struct str text = header_get(m->header, STR("Kafka-Headers-B64")), in, left, name, value;
    uint64_t n;

    if (text.p == NULL)
        return false;
    in = decoded(scratch, text);
    if (!varint_take(&in, &n) || unzigzag(n) < 0 || unzigzag(n) > INT32_MAX)
        return false;
    *count = (int32_t) unzigzag(n);
    left = in;
    for (int32_t i = 0; i < *count; i++)
        if (!kafka_header_next(&left, &name, &value))
            return false;
    *out = part_of(scratch, in);
    return left.n == 0;
}

void project_message(const struct store_msg *m, struct str topic, struct buf *scratch,
                     struct kafka_record *r)
{
    struct part headers = {0}, key = {0};
    struct str text = header_get(m->header, STR("Kafka-Key"));

    scratch->n = 0;
    buf_reserve(scratch, 1); /* so that nothing is a NULL pointer */
    *r = (struct kafka_record){.time = m->ts / 1000000, .offset = (int64_t) m->seq - 1};
    if (!exact_headers(m, scratch, &headers, &r->nheaders)) {
        size_t at = scratch->n;
        r->nheaders = m->header.n > 0 ? other_headers(m, scratch) : 0;
        if (!str_eq(m->subject, topic)) {
            kafka_header_put(scratch, STR("Nats-Subject"), m->subject);
            r->nheaders++;
        }
        headers = (struct part){true, at, scratch->n - at};
    }
    if (text.p != NULL) {
        r->key = text;
    } else if ((text = header_get(m->header, STR("Kafka-Key-B64"))).p != NULL) {
        key = part_of(scratch, decoded(scratch, text));
        r->key = str_from(scratch->p + key.at, key.n);
    }
    r->headers = str_from(scratch->p + headers.at, headers.n);
    r->value = is_null(m) ? STR_NONE : m->payload;
    if (r->value.p == NULL && !is_null(m))
        r->value = STR("");
}
