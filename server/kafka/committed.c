/* committed.c - see committed.h. */
#include "server/kafka/committed.h"

#include "lib/base/base64.h"
#include "lib/base/hash.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/wire/kafka_bytes.h"

#include <stdlib.h>

#define PREFIX "$KAFKA.OFFSETS."

/* ---- table ----------------------------------------------------------------------------------- */

void committed_init(struct committed *c, struct held *held)
{
    c->held = held;
    hmap_init(&c->map);
    list_init(&c->all);
}

void committed_deinit(struct committed *c)
{
    struct list *l;

    while ((l = list_first(&c->all)) != NULL)
        committed_drop(c, LIST_ENTRY(l, struct committed_offset, link));
    hmap_deinit(&c->map);
}

static uint64_t hash_of(struct str topic, int32_t partition)
{
    return hash_bytes(topic.p, topic.n, (uint64_t) (uint32_t) partition);
}

struct committed_offset *committed_find(const struct committed *c, struct str topic,
                                        int32_t partition)
{
    uint64_t h = hash_of(topic, partition);

    for (struct hmap_node *n = hmap_first(&c->map, h); n != NULL; n = hmap_next(n, h)) {
        struct committed_offset *o = CONTAINER_OF(n, struct committed_offset, node);
        if (o->partition == partition && str_eq(o->topic, topic))
            return o;
    }
    return NULL;
}

static struct str own(struct str s)
{
    return str_from(mem_strndup(s.n > 0 ? s.p : "", s.n), s.n);
}

static void disown(struct str s)
{
    mem_free((char *) (uintptr_t) s.p);
}

static void count_metadata(const struct committed *c, const struct committed_offset *o, size_t n)
{
    size_t now = o->metadata.n;

    held_set(c->held, &now, n);
}

void committed_put(struct committed *c, const struct committed_offset *o)
{
    struct committed_offset *to = committed_find(c, o->topic, o->partition);

    if (to == NULL) {
        to = mem_zalloc(sizeof(*to));
        to->topic = own(o->topic);
        to->partition = o->partition;
        hmap_insert(&c->map, &to->node, hash_of(to->topic, to->partition));
        list_push_back(&c->all, &to->link);
    }
    count_metadata(c, to, o->metadata.n);
    disown(to->metadata);
    to->metadata = own(o->metadata);
    to->epoch = o->epoch;
    to->offset = o->offset;
    to->time_ms = o->time_ms;
    to->topic_id = o->topic_id;
    to->seq = o->seq;
}

void committed_drop(struct committed *c, struct committed_offset *o)
{
    hmap_remove(&c->map, &o->node);
    list_remove(&o->link);
    count_metadata(c, o, 0);
    disown(o->topic);
    disown(o->metadata);
    mem_free(o);
}

static int by_place(const void *a, const void *b)
{
    const struct committed_offset *const *x = a, *const *y = b;
    int order = str_cmp((*x)->topic, (*y)->topic);

    return order != 0 ? order
                      : ((*x)->partition > (*y)->partition) - ((*x)->partition < (*y)->partition);
}

struct committed_offset **committed_sorted(const struct committed *c)
{
    struct committed_offset **all = mem_array(c->map.count + 1, sizeof(*all));
    size_t n = 0;

    LIST_FOREACH(l, &c->all)
    all[n++] = LIST_ENTRY(l, struct committed_offset, link);
    qsort(all, n, sizeof(*all), by_place);
    all[n] = NULL;
    return all;
}

/* ---- names in subjects ----------------------------------------------------------------------- */

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

void committed_put_name(struct buf *out, struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (is_plain(name.p[i]))
            buf_putc(out, name.p[i]);
        else
            buf_printf(out, "=%02X", (unsigned char) name.p[i]);
}

void committed_put_group_subject(struct buf *out, struct str group)
{
    buf_puts(out, PREFIX);
    committed_put_name(out, group);
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool committed_take_name(struct buf *out, struct str token)
{
    for (size_t i = 0; i < token.n; i++) {
        int hi, lo;
        if (is_plain(token.p[i])) {
            buf_putc(out, token.p[i]);
            continue;
        }
        if (token.p[i] != '=' || token.n - i < 3 || (hi = digit(token.p[i + 1])) < 0 ||
            (lo = digit(token.p[i + 2])) < 0)
            return false;
        buf_putc(out, (char) (hi << 4 | lo));
        i += 2;
    }
    return token.n > 0;
}

/* ---- messages -------------------------------------------------------------------------------- */

static void put_text(struct buf *b, struct str s)
{
    kafka_append_u16(b, (uint16_t) s.n);
    buf_put_str(b, s);
}

static void put_header(struct str group, const struct committed_offset *o, struct buf *header)
{
    struct buf key = {0};

    kafka_append_u16(&key, 1);
    put_text(&key, group);
    put_text(&key, o->topic);
    kafka_append_u32(&key, (uint32_t) o->partition);
    buf_puts(header, "NATS/1.0\r\nKafka-Key-B64: ");
    base64_encode(header, buf_str(&key));
    buf_puts(header, "\r\nKafka-Topic-Id: ");
    for (size_t i = 0; i < 16; i++)
        buf_printf(header, "%02X", o->topic_id.bytes[i]);
    buf_puts(header, "\r\n\r\n");
    buf_free(&key);
}

void committed_render(struct str group, const struct committed_offset *o, struct buf *subject,
                      struct buf *header, struct buf *payload)
{
    buf_puts(subject, PREFIX);
    committed_put_name(subject, group);
    buf_putc(subject, '.');
    committed_put_name(subject, o->topic);
    buf_printf(subject, ".%d", (int) o->partition);
    put_header(group, o, header);
    kafka_append_u16(payload, 3);
    kafka_append_u64(payload, (uint64_t) o->offset);
    kafka_append_u32(payload, (uint32_t) o->epoch);
    put_text(payload, o->metadata);
    kafka_append_u64(payload, (uint64_t) o->time_ms);
}

static bool take_payload(struct str in, struct committed_offset *o)
{
    size_t metadata;

    if (in.n < 24 || kafka_get_u16(in.p) != 3)
        return false;
    o->offset = (int64_t) kafka_get_u64(in.p + 2);
    o->epoch = (int32_t) kafka_get_u32(in.p + 10);
    metadata = kafka_get_u16(in.p + 14);
    if (in.n != 24 + metadata)
        return false;
    o->metadata = str_from(in.p + 16, metadata);
    o->time_ms = (int64_t) kafka_get_u64(in.p + 16 + metadata);
    return true;
}

static bool take_id(struct str text, struct kafka_uuid *id)
{
    if (text.n != 32)
        return false;
    for (size_t i = 0; i < 16; i++) {
        int hi = digit(text.p[2 * i]), lo = digit(text.p[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        id->bytes[i] = (uint8_t) (hi << 4 | lo);
    }
    return true;
}

bool committed_parse(struct str subject, struct str header, struct str payload, struct buf *names,
                     struct str *group, struct committed_offset *o)
{
    struct str group_token, topic_token, left;
    size_t at, middle;
    uint64_t partition;

    if (!str_starts(subject, STR(PREFIX)))
        return false;
    group_token = str_cut(str_skip(subject, sizeof(PREFIX) - 1), '.', &left);
    topic_token = str_cut(left, '.', &left);
    at = names->n;
    if (!committed_take_name(names, group_token))
        return false;
    middle = names->n;
    if (!committed_take_name(names, topic_token) || !str_to_u64(left, &partition) ||
        partition > INT32_MAX)
        return false;
    *group = str_from(names->p + at, middle - at);
    o->topic = str_from(names->p + middle, names->n - middle);
    o->partition = (int32_t) partition;
    return take_payload(payload, o) &&
           take_id(header_get(header, STR("Kafka-Topic-Id")), &o->topic_id);
}
