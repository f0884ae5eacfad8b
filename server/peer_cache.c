/*
 * peer_cache.c - see peer_cache.h.
 *
 * The file is <local_store>/cache.json, an object with a member for each certificate, named by its
 * SHA-256 in base64:
 *
 *     { "<hash>": { "subject": "CN=...", "cached_at": "...", "resp_status": "good",
 *                   "resp_expires": "...", "resp": "<the answer, S2, base64>" } }
 *
 * What can not be read of it is left out. Answers are verified again whenever they are used, so a
 * file that somebody has changed makes nothing good.
 */
#include "server/peer_cache.h"

#include "lib/base/base64.h"
#include "lib/base/fmt.h"
#include "lib/base/hash.h"
#include "lib/base/hmap.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/json/json.h"
#include "lib/wire/s2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000ll
#define FILE_MAX (64 << 20)
#define ANSWER_MAX (1u << 20)

struct entry {
    struct hmap_node node;
    uint8_t key[OCSP_FINGERPRINT_BYTES];
    char *subject;
    int64_t cached_at, expires; /* unix seconds; expires 0 = not said */
    enum ocsp_says says;
    struct buf der;
};

struct peer_cache {
    struct io_fs *fs;
    struct log *log;
    char *dir;
    bool preserve, dirty;
    struct hmap map;
    struct peer_cache_stats stats;
};

/* ---- entries --------------------------------------------------------------------------------- */

/* The key is a hash already. */
static uint64_t hash_of(const uint8_t *key)
{
    uint64_t h;

    memcpy(&h, key, sizeof(h));
    return h;
}

static struct entry *find(const struct peer_cache *c, const uint8_t *key)
{
    struct hmap_node *n = hmap_first(&c->map, hash_of(key));

    for (; n != NULL; n = hmap_next(n, hash_of(key))) {
        struct entry *e = CONTAINER_OF(n, struct entry, node);
        if (memcmp(e->key, key, sizeof(e->key)) == 0)
            return e;
    }
    return NULL;
}

static void free_entry(struct peer_cache *c, struct entry *e)
{
    hmap_remove(&c->map, &e->node);
    c->stats.responses--;
    c->stats.by_status[e->says]--;
    mem_free(e->subject);
    buf_free(&e->der);
    mem_free(e);
}

static struct entry *add(struct peer_cache *c, const uint8_t *key, enum ocsp_says says)
{
    struct entry *e = mem_zalloc(sizeof(*e));

    memcpy(e->key, key, sizeof(e->key));
    e->says = says;
    hmap_insert(&c->map, &e->node, hash_of(key));
    c->stats.responses++;
    c->stats.by_status[says]++;
    return e;
}

struct str peer_cache_find(struct peer_cache *c, const uint8_t key[OCSP_FINGERPRINT_BYTES])
{
    struct entry *e = find(c, key);

    if (e == NULL) {
        c->stats.misses++;
        return STR_NONE;
    }
    c->stats.hits++;
    return buf_str(&e->der);
}

void peer_cache_drop(struct peer_cache *c, const uint8_t key[OCSP_FINGERPRINT_BYTES])
{
    struct entry *e = find(c, key);

    if (e == NULL)
        return;
    c->stats.hits--;
    c->stats.misses++;
    if (e->says == OCSP_SAYS_REVOKED && c->preserve)
        return;
    free_entry(c, e);
    c->dirty = true;
}

void peer_cache_put(struct peer_cache *c, const uint8_t key[OCSP_FINGERPRINT_BYTES],
                    struct str subject, struct str der, const struct ocsp_answer *a, int64_t now)
{
    struct entry *e = find(c, key);

    if (e != NULL)
        free_entry(c, e);
    if (c->map.count >= PEER_CACHE_MAX)
        return;
    e = add(c, key, a->says);
    e->subject = mem_strndup(subject.n > 0 ? subject.p : "", subject.n);
    e->cached_at = now;
    e->expires = a->next_update;
    buf_put_str(&e->der, der);
    c->dirty = true;
}

void peer_cache_stats(const struct peer_cache *c, struct peer_cache_stats *out)
{
    *out = c->stats;
}

/* ---- the file -------------------------------------------------------------------------------- */

static void put_time(json_t *o, const char *name, int64_t seconds)
{
    char text[FMT_TIME_MAX];

    fmt_time_rfc3339(text, seconds != 0 ? seconds * SECOND : FMT_TIME_GO_ZERO);
    json_object_set_new(o, name, json_string(text));
}

static json_t *entry_json(const struct entry *e, struct s2_table *table)
{
    struct buf packed = {0}, text = {0};
    json_t *o = json_object();

    s2_put_start(&packed);
    s2_put_packed(&packed, buf_str(&e->der), table);
    base64_encode(&text, buf_str(&packed));
    if (e->subject[0] != '\0')
        json_object_set_new(o, "subject", json_string(e->subject));
    put_time(o, "cached_at", e->cached_at);
    json_object_set_new(o, "resp_status", json_string(ocsp_says_text(e->says)));
    put_time(o, "resp_expires", e->expires);
    json_object_set_new(o, "resp", json_string(buf_cstr(&text)));
    buf_free(&packed);
    buf_free(&text);
    return o;
}

static json_t *all_json(const struct peer_cache *c)
{
    struct s2_table *table = mem_zalloc(sizeof(*table));
    struct hmap_iter it = {0};
    struct hmap_node *n;
    json_t *all = json_object();

    while ((n = hmap_each(&c->map, &it)) != NULL) {
        const struct entry *e = CONTAINER_OF(n, struct entry, node);
        struct buf key = {0};
        base64_encode(&key, str_from(e->key, sizeof(e->key)));
        json_object_set_new(all, buf_cstr(&key), entry_json(e, table));
        buf_free(&key);
    }
    mem_free(table);
    return all;
}

static void put_path(const struct peer_cache *c, struct buf *out)
{
    buf_printf(out, "%s/cache.json", c->dir);
}

void peer_cache_save(struct peer_cache *c)
{
    struct buf path = {0};
    json_t *all;
    char *text;
    int rc;

    if (c == NULL || !c->dirty)
        return;
    put_path(c, &path);
    all = all_json(c);
    text = json_dumps(all, JSON_INDENT(1) | JSON_SORT_KEYS);
    rc = fs_mkdir(c->fs, c->dir);
    if (rc == 0 || rc == -EEXIST)
        rc = text != NULL ? fs_replace(c->fs, buf_cstr(&path), text, strlen(text)) : -ENOMEM;
    if (rc < 0)
        LOG_ERR(c->log, "Unable to save OCSP peer cache: %s", strerror(-rc));
    else
        c->dirty = false;
    mem_free(text);
    json_decref(all);
    buf_free(&path);
}

static bool unpack(const char *text, struct buf *out)
{
    struct s2_reader reader = {.most = ANSWER_MAX};
    struct buf packed = {0};
    enum s2_got got = S2_BAD;

    if (base64_decode(&packed, str_of(text))) {
        s2_reader_feed(&reader, buf_str(&packed));
        while ((got = s2_reader_next(&reader, out)) == S2_CHUNK && out->n <= ANSWER_MAX)
            continue;
    }
    if (s2_reader_waiting(&reader) > 0)
        got = S2_BAD;
    s2_reader_free(&reader);
    buf_free(&packed);
    return got == S2_MORE && out->n > 0;
}

static int64_t time_of(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));
    int64_t ns;

    return text != NULL && fmt_parse_rfc3339(str_of(text), &ns) && ns != FMT_TIME_GO_ZERO
               ? ns / SECOND
               : 0;
}

static enum ocsp_says says_of(const json_t *o)
{
    const char *text = json_string_value(json_object_get(o, "resp_status"));

    for (enum ocsp_says s = OCSP_SAYS_GOOD; text != NULL && s < OCSP_SAYS_UNKNOWN; s++)
        if (strcmp(text, ocsp_says_text(s)) == 0)
            return s;
    return OCSP_SAYS_UNKNOWN;
}

static void load_entry(struct peer_cache *c, const char *name, const json_t *o)
{
    const char *resp = json_string_value(json_object_get(o, "resp"));
    const char *subject = json_string_value(json_object_get(o, "subject"));
    struct buf key = {0}, der = {0};
    struct entry *e;

    if (resp != NULL && base64_decode(&key, str_of(name)) && key.n == OCSP_FINGERPRINT_BYTES &&
        unpack(resp, &der) && c->map.count < PEER_CACHE_MAX &&
        find(c, (const uint8_t *) key.p) == NULL) {
        e = add(c, (const uint8_t *) key.p, says_of(o));
        e->subject = mem_strdup(subject != NULL ? subject : "");
        e->cached_at = time_of(o, "cached_at");
        e->expires = time_of(o, "resp_expires");
        e->der = der;
        der = (struct buf){0};
    }
    buf_free(&key);
    buf_free(&der);
}

static bool read_file(struct peer_cache *c, const char *path, struct buf *out)
{
    fs_fd fd = fs_open(c->fs, path, IO_FILE_READ);
    int64_t size, n = -1;

    if (fd < 0)
        return false;
    size = fs_size(c->fs, fd);
    if (size > 0 && size <= FILE_MAX)
        n = fs_read(c->fs, fd, buf_reserve(out, (size_t) size), (size_t) size, 0);
    fs_close(c->fs, fd);
    if (n > 0)
        out->n += (size_t) n;
    return n > 0;
}

static void load(struct peer_cache *c)
{
    struct buf path = {0}, text = {0};
    const char *name;
    json_error_t err;
    json_t *all, *o;

    put_path(c, &path);
    if (read_file(c, buf_cstr(&path), &text)) {
        all = json_loadb(text.p, text.n, 0, &err);
        if (!json_is_object(all)) {
            LOG_WRN(c->log, "Unable to load OCSP peer cache: %s",
                    all == NULL ? err.text : "no object");
            c->dirty = true;
        }
        json_object_foreach(all, name, o) load_entry(c, name, o);
        json_decref(all);
    }
    buf_free(&text);
    buf_free(&path);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct peer_cache *peer_cache_open(const struct ocsp_cache_options *o, struct io_fs *fs,
                                   struct log *log)
{
    struct peer_cache *c = mem_zalloc(sizeof(*c));

    c->fs = fs;
    c->log = log;
    c->dir = mem_strdup(o->local_store != NULL && o->local_store[0] != '\0' ? o->local_store
                                                                            : "_rc_");
    c->preserve = o->preserve_revoked;
    hmap_init(&c->map);
    load(c);
    return c;
}

void peer_cache_close(struct peer_cache *c)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    if (c == NULL)
        return;
    while ((n = hmap_each(&c->map, &it)) != NULL)
        free_entry(c, CONTAINER_OF(n, struct entry, node));
    hmap_deinit(&c->map);
    mem_free(c->dir);
    mem_free(c);
}
