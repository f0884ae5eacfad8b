/*
 * Loading files, and the two kinds that stand alone: the superblock and commit logs.
 */
#include "lib/base/bytes.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/base/varint.h"
#include "tools/store-inspect/inspect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- output -------------------------------------------------------------------------------- */

void inspect_say(const struct inspect *in, const char *format, ...)
{
    va_list args;

    if (!in->print)
        return;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
}

void inspect_damage(struct inspect *in, const char *path, uint64_t offset, const char *format, ...)
{
    va_list args;

    in->damage++;
    printf("%s: offset %" PRIu64 ": ", path, offset);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

/* ---- loading ------------------------------------------------------------------------------- */

bool inspect_load(struct inspect *in, const char *path, struct inspect_bytes *out)
{
    fs_fd fd = fs_open(in->fs, path, IO_FILE_READ);
    int64_t n = fd < 0 ? fd : fs_size(in->fs, fd);

    *out = (struct inspect_bytes){0};
    in->files++;
    if (n >= 0 && (out->p = mem_try_alloc((size_t) n + 1)) == NULL)
        n = -ENOMEM;
    if (n >= 0)
        n = fs_read(in->fs, fd, out->p, (size_t) n, 0);
    if (fd >= 0)
        fs_close(in->fs, fd);
    if (n < 0) {
        mem_free(out->p);
        out->p = NULL;
        inspect_damage(in, path, 0, "can not be read: %s", strerror((int) -n));
        return false;
    }
    out->n = (size_t) n;
    return true;
}

void inspect_unload(struct inspect_bytes *bytes)
{
    mem_free(bytes->p);
    *bytes = (struct inspect_bytes){0};
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool is_twin(const struct inspect_bytes *bytes)
{
    return bytes->n >= 8 && memcmp(bytes->p, "MIDGETWN", 8) == 0;
}

enum inspect_kind inspect_kind_of(const char *path, const struct inspect_bytes *bytes)
{
    uint64_t a, b;
    uint32_t c;

    if (bytes->n >= 8 && memcmp(bytes->p, "MIDGESTO", 8) == 0)
        return INSPECT_SUPERBLOCK;
    if (bytes->n >= 8 && (memcmp(bytes->p, "MIDGELOG", 8) == 0 || is_twin(bytes)))
        return INSPECT_LOG;
    if (bytes->n >= 8 && memcmp(bytes->p, "MIDGESEG", 8) == 0)
        return INSPECT_SEGMENT;
    if (strcmp(base_name(path), "store.meta") == 0)
        return INSPECT_SUPERBLOCK;
    if (log_name_parse(base_name(path), &a, &c, &b) || twin_name_parse(base_name(path), &a, &c, &b))
        return INSPECT_LOG;
    return segment_name_parse(base_name(path), &a, &c) ? INSPECT_SEGMENT : INSPECT_UNKNOWN;
}

bool inspect_find_uuid(struct inspect *in, const char *path, unsigned levels, uint8_t uuid[16])
{
    struct buf at = {0};
    struct superblock sb;
    uint8_t bytes[SUPERBLOCK_BYTES];
    char why[160];

    buf_puts(&at, path);
    at.n = (size_t) (base_name(path) - path);
    for (unsigned i = 0; i < levels; i++)
        buf_puts(&at, "../");
    buf_puts(&at, "store.meta");
    fs_fd fd = fs_open(in->fs, buf_cstr(&at), IO_FILE_READ);
    buf_free(&at);
    if (fd < 0)
        return false;
    int64_t n = fs_read(in->fs, fd, bytes, sizeof(bytes), 0);
    fs_close(in->fs, fd);
    if (n < 0 || superblock_decode(bytes, (size_t) n, &sb, why) != ERR_OK)
        return false;
    memcpy(uuid, sb.uuid, 16);
    return true;
}

/* ---- superblock ---------------------------------------------------------------------------- */

void inspect_superblock(struct inspect *in, const char *path, const struct inspect_bytes *bytes)
{
    struct superblock sb;
    char why[160], uuid[33];

    if (superblock_decode(bytes->p, bytes->n, &sb, why) != ERR_OK) {
        inspect_damage(in, path, 0, "%s", why);
        return;
    }
    store_uuid_text(sb.uuid, uuid);
    inspect_say(in, "%s: store %s, format %u, written by %s\n", path, uuid, sb.version, sb.writer);
    inspect_say(
        in, "  features: incompat 0x%" PRIx64 ", readonly 0x%" PRIx64 ", compat 0x%" PRIx64 "\n",
        sb.features.incompat, sb.features.readonly, sb.features.compat);
}

/* ---- commit log ---------------------------------------------------------------------------- */

bool inspect_mark(struct inspect *in, const char *path)
{
    const char *slash = strrchr(path, '/');
    uint32_t worker;

    if (!log_mark_parse(slash != NULL ? slash + 1 : path, &worker))
        return false;
    inspect_say(in, "%s: copies of erased messages may be in the log of worker %u\n", path, worker);
    return true;
}

static const char *type_name(unsigned type)
{
    static const char *const names[] = {"?", "full", "delta", "delete", "data", "start", "close"};
    return type < ARRAY_LEN(names) ? names[type] : "?";
}

static void say_range_set(const struct inspect *in, const char *what, const struct seqset *set)
{
    uint64_t first, last, at = 0;
    unsigned shown = 0;

    if (set->count == 0)
        return;
    inspect_say(in, "        %s: %" PRIu64 " sequences in %" PRIu64 " ranges:", what, set->count,
                set->nranges);
    for (; shown < 20 && seqset_range_from(set, at, &first, &last); shown++, at = last + 1)
        inspect_say(in, first == last ? " %" PRIu64 : " %" PRIu64 "-%" PRIu64, first, last);
    inspect_say(in, "%s\n", shown == 20 ? " ..." : "");
}

static void say_stream(struct inspect *in, const char *path, uint64_t offset, struct str full)
{
    struct stream_record r = {0};
    char uuid[33];
    enum err err = stream_record_decode(&r, full);

    if (err != ERR_OK) {
        inspect_damage(in, path, offset, "stream record: %s", err_text(err));
        stream_record_deinit(&r);
        return;
    }
    store_uuid_text(r.uuid, uuid);
    inspect_say(in,
                "        stream '%.*s' %s, level %u, first %" PRIu64 ", proven last %" PRIu64 "\n",
                STR_ARG(buf_str(&r.name)), uuid, (unsigned) r.level, r.first_seq, r.last_seq);
    inspect_say(in,
                "        limits: %" PRIu64 " messages, %" PRIu64 " bytes, %" PRIu64
                " per subject, %" PRId64 " ns; lost ever %" PRIu64 "\n",
                r.limits.max_msgs, r.limits.max_bytes, r.limits.max_msgs_per_subject,
                r.limits.max_age_ns, r.lost_msgs);
    for (size_t i = 0; i < r.nsegments; i++)
        inspect_say(in, "        segment %" PRIu64 " from %" PRIu64 "\n", r.segments[i].number,
                    r.segments[i].base_seq);
    say_range_set(in, "removed", &r.removed);
    say_range_set(in, "lost", &r.lost);
    stream_record_deinit(&r);
}

/* Tags and lengths of a stream's delta. */
static void say_changes(const struct inspect *in, struct str delta)
{
    static const char *const names[] = {
        "?",     "uuid",    "name",    "config",       "level",    "limits",
        "purge", "durable", "remove",  "remove set",   "lost set", "lost ever",
        "lose",  "segment", "release", "next segment", "erase"};
    uint64_t tag, n, v;

    while (varint_take(&delta, &tag) && varint_take(&delta, &n) && n <= delta.n) {
        struct str s = str_take(delta, n);
        inspect_say(in, "        %s",
                    tag < ARRAY_LEN(names) ? names[tag]
                    : tag == 64            ? "limit applied"
                                           : "?");
        for (unsigned i = 0; tag != 3 && i < 4 && varint_take(&s, &v); i++)
            inspect_say(in, " %" PRIu64, v);
        inspect_say(in, "\n");
        delta = str_skip(delta, n);
    }
}

static void say_record(struct inspect *in, const char *path, uint64_t offset,
                       const struct log_record *r)
{
    in->records++;
    if (in->verbose && r->type == LOG_DATA)
        inspect_say(in,
                    "    %" PRIu64 ": data of stream %" PRIx64 ": segment %" PRIu64
                    ", offset %" PRIu64 ", %zu bytes\n",
                    offset, r->id, r->segment, r->offset, r->bytes.n);
    else if (in->verbose && r->type == LOG_MARK)
        inspect_say(in, "    %" PRIu64 ": everything up to commit %" PRIu64 " of the log is here\n",
                    offset, r->version);
    else if (in->verbose && r->type == LOG_END)
        inspect_say(in, "    %" PRIu64 ": stream %" PRIx64 " is durable up to %" PRIu64 "\n",
                    offset, r->id, r->version);
    else if (in->verbose)
        inspect_say(in,
                    "    %" PRIu64 ": %s of object %" PRIx64 ", kind %u, version %" PRIu64
                    ", parent %" PRIx64 ", %zu bytes\n",
                    offset, type_name(r->type), r->id, r->kind, r->version, r->parent, r->bytes.n);
    if (r->kind != STORE_KIND_STREAM)
        return;
    if (r->type == LOG_FULL && (in->verbose || !in->print))
        say_stream(in, path, offset, r->bytes);
    if (r->type == LOG_DELTA && in->verbose)
        say_changes(in, r->bytes);
}

static void inspect_frame(struct inspect *in, const char *path, const struct inspect_bytes *bytes,
                          const struct log_scan_event *e)
{
    struct log_frame_view v = e->frame;
    struct log_record r;
    int got;

    inspect_say(in,
                "  %" PRIu64 ": commit %" PRIu64 ": %u records, %" PRIu64
                " bytes, complete up to %" PRIu64 "\n",
                e->offset, v.commit, v.count, v.bytes, v.durable_commit);
    while ((got = log_frame_next(&v, &r)) != 0) {
        if (got < 0)
            inspect_damage(in, path, (uint64_t) (v.body - bytes->p) + v.body_at,
                           "record %u of commit %" PRIu64 " ends here and is damaged", v.index - 1,
                           v.commit);
        else
            say_record(in, path,
                       (uint64_t) ((const uint8_t *) r.bytes.p - bytes->p) - LOG_RECORD_HEADER, &r);
    }
}

static void scan_frames(struct inspect *in, const char *path, struct inspect_bytes *bytes,
                        uint32_t salt, uint64_t first)
{
    struct log_scan s;
    struct log_scan_event e;
    enum log_verdict v;

    log_scan_init(&s, bytes->p, bytes->n, salt, first, 0);
    while ((v = log_scan_next(&s, &e)) != LOG_SCAN_DONE) {
        if (v == LOG_SCAN_CORRUPT) {
            inspect_damage(in, path, e.offset,
                           "%" PRIu64 " bytes damaged, %" PRIu64 " commits lost", e.bytes,
                           e.commits);
        } else if (v == LOG_SCAN_TORN) {
            inspect_say(in, "  %" PRIu64 ": %" PRIu64 " bytes of unfinished commits\n", e.offset,
                        e.bytes);
        } else {
            if (e.repaired)
                inspect_damage(in, path, e.offset,
                               "a byte of commit %" PRIu64 " is damaged, can be mended",
                               e.frame.commit);
            inspect_frame(in, path, bytes, &e);
        }
    }
    inspect_say(in, "  %" PRIu64 ": end\n", s.end);
}

void inspect_log(struct inspect *in, const char *path, struct inspect_bytes *bytes)
{
    struct log_header h = {0};
    char why[160] = "cut off";
    uint64_t generation = 0, number = 0, seen;
    uint32_t worker = 0;
    enum err err = bytes->n < LOG_HEADER ? ERR_CORRUPT : log_header_decode(bytes->p, &h, why);
    bool twin = twin_name_parse(base_name(path), &generation, &worker, &number) || is_twin(bytes);
    bool named = twin_name_parse(base_name(path), &generation, &worker, &number) ||
                 log_name_parse(base_name(path), &generation, &worker, &number);

    bool own = err == ERR_OK &&
               (!named || (h.generation == generation && h.worker == worker && h.number == number));
    uint32_t salt = h.salt;
    if (!own && named && inspect_find_uuid(in, path, 1, h.store))
        salt = twin ? store_salt_twin(h.store, generation, worker, number)
                    : store_salt_log(h.store, generation, worker, number);
    log_scan_durable(bytes->p, bytes->n, salt, &seen);
    if (!own && (seen == 0 || !named)) {
        inspect_say(in, "%s: not used yet (%s)\n", path,
                    err == ERR_OK ? "another file's header" : why);
        return;
    }
    if (!own)
        inspect_damage(in, path, 0, "%s", err == ERR_OK ? "header of another file" : why);
    inspect_say(in,
                "%s: %s, generation %" PRIu64 ", worker %u of %u, file %" PRIu64
                ", first commit %" PRIu64 ", salt %08x\n",
                path, twin ? "twin of the commit log" : "commit log",
                own ? h.generation : generation, own ? h.worker : worker, h.workers,
                own ? h.number : number, h.first_commit, salt);
    scan_frames(in, path, bytes, salt, own ? h.first_commit : 0);
}
