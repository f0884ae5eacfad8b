/*
 * Reading the commit logs of the last run: objects as their records say, and where the log holds
 * data for segments.
 *
 * Which generation. A start writes the logs of generation G + 1 and its START record last of all;
 * then it deletes those of G. So the newest generation with a START counts; newer ones are
 * unfinished starts. The START record is in a first file (number 0, or a few behind it when there
 * are many objects): once worker 0's file 0 has been freed, the generation has been running, and
 * was complete.
 *
 * Which files. Files are freed oldest first, a freed one may lie ready under the next number before
 * it is used (it then has neither header nor frame that verifies under that name). Read are the
 * used files of the unbroken series that ends with the highest number.
 *
 * Which records. Versions of an object count up, so that a full record or delta that is seen twice
 * changes nothing and a missing one is noticed. A log file may begin with changes of an object
 * whose full record lay in a file that was freed: a newer full record follows then. Where none
 * does, that is reported; the log file goes to quarantine, as does every file in which something
 * was damaged.
 */
#include "lib/base/bytes.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "store/recover_impl.h"

#include <string.h>

/* Read at a time, of a file that may hold little. */
#define READ_STEP (256u << 10)
/* The last frame is mended up to this size only. */
#define LAST_FRAME_MAX (8u << 20)
/* More than twice what a frame's header and table take. */
#define WINDOW (2u << 20)

/* ---- the files ----------------------------------------------------------------------------- */

void rec_log_path(const struct recovery *r, const struct rec_log_file *f, char out[STORE_PATH])
{
    if (f->twin)
        store_path_twin(r->dir, out, f->generation, f->worker, f->number);
    else
        store_path_log(r->dir, out, f->generation, f->worker, f->number);
}

static enum err list_files(struct recovery *r)
{
    char path[STORE_PATH];
    struct rec_names names;

    store_path(r->dir, path, "log");
    enum err err = rec_list(r->fs, path, &names);
    if (err != ERR_OK)
        return rec_fail(r, err, "%s: %s", path, err_text(err));
    for (size_t i = 0; i < names.n; i++) {
        struct rec_log_file f = {0};
        if (!log_name_parse(names.names[i], &f.generation, &f.worker, &f.number)) {
            LOG_WRN(r->log, "%s/%s: not a commit log, left alone", path, names.names[i]);
            continue;
        }
        if (r->nfiles == r->files_cap) {
            r->files_cap = r->files_cap * 2 + 8;
            r->files = mem_realloc(r->files, r->files_cap * sizeof(*r->files));
        }
        r->files[r->nfiles++] = f;
        if (f.generation > r->newest)
            r->newest = f.generation;
    }
    rec_names_free(&names);
    return ERR_OK;
}

static uint32_t salt_of(const struct recovery *r, const struct rec_log_file *f)
{
    return f->twin ? store_salt_twin(r->dir->uuid, f->generation, f->worker, f->number)
                   : store_salt_log(r->dir->uuid, f->generation, f->worker, f->number);
}

static bool is_own(const struct recovery *r, const struct rec_log_file *f,
                   const struct log_header *h)
{
    return h->twin == f->twin && h->salt == salt_of(r, f) && h->generation == f->generation &&
           h->worker == f->worker && h->number == f->number;
}

/* Room for n bytes of the next file, as many as it may ever need: what is not read into takes no
 * memory, and nothing is copied as more of the file is read. */
static bool make_room(struct recovery *r, uint64_t n)
{
    if (n + 1 <= r->cache_cap)
        return true;
    mem_free(r->cache);
    r->cache = mem_try_alloc(n + 1);
    r->cache_cap = r->cache != NULL ? n + 1 : 0;
    return r->cache != NULL;
}

/* Reads on, up to n bytes of the file. */
static enum err read_up_to(struct recovery *r, const struct rec_log_file *f, fs_fd fd, uint64_t n)
{
    char path[STORE_PATH];

    n = n < f->bytes ? n : f->bytes;
    if (n <= r->cache_n)
        return ERR_OK;
    rec_log_path(r, f, path);
    int64_t got = fs_read(r->fs, fd, r->cache + r->cache_n, n - r->cache_n, r->cache_n);
    if (got < 0)
        return rec_fail(r, ERR_IO, "%s: %s", path, err_text(err_from_errno((int) got)));
    r->cache_n += (uint64_t) got;
    return ERR_OK;
}

static bool ends_closed(struct log_frame_view v)
{
    struct log_record record;
    bool closed = false;
    int got;

    while ((got = log_frame_next(&v, &record)) != 0)
        closed = got > 0 && record.type == LOG_CLOSE;
    return closed;
}

/* Reads frame by frame as long as they are whole and follow one another. True when the last one is
 * a clean close: nothing that counts comes behind it. */
static enum err read_frames(struct recovery *r, const struct rec_log_file *f, fs_fd fd,
                            bool *closed, uint64_t *end)
{
    struct log_frame_view v = {0};
    uint64_t at = LOG_HEADER, commit = 0;
    uint32_t crc = 0;
    bool far = false;
    enum err err = read_up_to(r, f, fd, READ_STEP);

    *closed = false;
    while (err == ERR_OK && at + LOG_FRAME_HEADER <= r->cache_n) {
        enum err frame = log_frame_open(r->cache + at, r->cache_n - at, salt_of(r, f), at, &v);
        uint64_t reach = frame != ERR_OK ? at + log_frame_claims(r->cache + at) : 0;
        if (reach > r->cache_n && r->cache_n < f->bytes && !far) {
            far = true; /* once: if it is none then, it is none */
            err = read_up_to(r, f, fd, reach);
            continue;
        }
        far = false;
        if (frame != ERR_OK || (commit != 0 && (v.commit != commit + 1 || v.prev_crc != crc)))
            break;
        commit = v.commit;
        crc = v.header_crc;
        *closed = ends_closed(v);
        at += v.bytes;
        if (at + LOG_FRAME_HEADER > r->cache_n)
            err = read_up_to(r, f, fd, at + READ_STEP);
    }
    *end = at;
    return err;
}

/* Is there any frame of this file from there on? It is looked at through a window, which stays in
 * the processor's cache. */
static enum err find_frame(struct recovery *r, const struct rec_log_file *f, fs_fd fd, uint64_t at,
                           bool *found)
{
    uint64_t room = f->bytes < at ? 0 : f->bytes - at;
    uint8_t *window = mem_alloc(room < WINDOW ? room + 1 : WINDOW);
    struct log_frame_view v;
    enum err err = ERR_OK;

    *found = false;
    while (at < f->bytes && !*found && err == ERR_OK) {
        int64_t got = fs_read(r->fs, fd, window, room < WINDOW ? room : WINDOW, at);
        uint64_t p = 0;
        if (got < 0)
            err = ERR_IO;
        for (; got > 0 && p + LOG_FRAME_HEADER <= (uint64_t) got && !*found; p += LOG_PAGE) {
            if (get_u32(window + p) != LOG_FRAME_MAGIC)
                continue;
            if (p > 0 && (uint64_t) got - p < WINDOW / 2 && at + (uint64_t) got < f->bytes)
                break; /* its table may reach behind the window */
            *found = log_frame_open(window + p, f->bytes - at - p, salt_of(r, f), 0, &v) == ERR_OK;
        }
        if (p == 0)
            break;
        at += p;
    }
    mem_free(window);
    return err;
}

static bool is_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0)
            return false;
    return true;
}

/* Behind its last frame, which is no clean close: how much of the file must be looked at? All of it
 * when there is another frame; else as much as may be a damaged one, or nothing where it was never
 * written. */
static enum err rest_of(struct recovery *r, const struct rec_log_file *f, fs_fd fd, uint64_t end,
                        uint64_t *n)
{
    bool found;
    enum err err = find_frame(r, f, fd, end, &found);

    *n = r->cache_n;
    if (found)
        *n = f->bytes;
    else if (end + LOG_FRAME_HEADER > r->cache_n || !is_zero(r->cache + end, LOG_FRAME_HEADER))
        *n = end + LAST_FRAME_MAX;
    return err;
}

/* The whole file, or all of it up to a clean close, or to where nothing more is in it. The bytes
 * stay until another file is read: a start looks at the same one up to three times, and a read of
 * 64 MiB into fresh memory takes 60 ms, more when it is not in the page cache. */
static enum err read_file(struct recovery *r, struct rec_log_file *f, uint8_t **bytes)
{
    char path[STORE_PATH];

    *bytes = r->cache;
    if (r->cached == f)
        return ERR_OK;
    rec_log_path(r, f, path);
    fs_fd fd = fs_open(r->fs, path, IO_FILE_READ);
    if (fd < 0)
        return rec_fail(r, err_from_errno(fd), "%s: %s", path, err_text(err_from_errno(fd)));
    int64_t n = fs_size(r->fs, fd);
    enum err err = n < 0 ? rec_fail(r, ERR_IO, "%s: %s", path, err_text(err_from_errno((int) n)))
                         : ERR_OK;
    r->cached = NULL;
    r->cache_n = 0;
    f->bytes = n < 0 ? 0 : (uint64_t) n;
    uint64_t end = 0, rest = 0;
    if (err == ERR_OK && !make_room(r, f->bytes))
        err = rec_fail(r, ERR_NO_MEMORY, "%s: no memory to read it", path);
    if (err == ERR_OK)
        err = read_frames(r, f, fd, &f->closed, &end);
    if (err == ERR_OK && !f->closed)
        err = rest_of(r, f, fd, end, &rest);
    if (err == ERR_OK && rest > r->cache_n)
        err = read_up_to(r, f, fd, rest);
    fs_close(r->fs, fd);
    if (err != ERR_OK)
        return err;
    f->read = r->cache_n;
    *bytes = r->cache;
    r->cached = f;
    return ERR_OK;
}

enum err rec_log_read_header(struct recovery *r, struct rec_log_file *f, struct log_header *h)
{
    char why[160];
    uint8_t *bytes;
    enum err err = read_file(r, f, &bytes);

    if (err == ERR_OK)
        err = f->read < LOG_HEADER ? ERR_CORRUPT : log_header_decode(bytes, h, why);
    return err == ERR_OK && !is_own(r, f, h) ? ERR_CORRUPT : err;
}

/* The file before it ends with a clean close: then this one needs no look behind its header page.
 */
static bool is_behind_close(const struct recovery *r, const struct rec_log_file *f)
{
    const struct rec_log_file *before = f - 1;

    return f > r->files && before->generation == f->generation && before->worker == f->worker &&
           before->number + 1 == f->number && before->used && before->closed;
}

/* Has it neither a header page nor a frame of its own? That is found without reading all of it into
 * memory, and what is there of another file stays there. */
static bool is_unused(struct recovery *r, struct rec_log_file *f)
{
    char path[STORE_PATH], why[160];
    uint8_t *page = mem_alloc(LOG_HEADER);
    struct log_header h;
    bool used = true;

    rec_log_path(r, f, path);
    fs_fd fd = fs_open(r->fs, path, IO_FILE_READ);
    int64_t n = fd >= 0 ? fs_size(r->fs, fd) : -1;
    if (n >= LOG_HEADER && fs_read(r->fs, fd, page, LOG_HEADER, 0) == LOG_HEADER) {
        enum err err = log_header_decode(page, &h, why);
        f->bytes = (uint64_t) n;
        used = err == ERR_VERSION || (err == ERR_OK && is_own(r, f, &h));
        if (!used && !is_behind_close(r, f) && find_frame(r, f, fd, LOG_HEADER, &used) != ERR_OK)
            used = true;
    }
    if (fd >= 0)
        fs_close(r->fs, fd);
    mem_free(page);
    return !used;
}

/* Is it in use, where does it begin, what does it prove? */
static enum err examine(struct recovery *r, struct rec_log_file *f)
{
    char path[STORE_PATH], why[160];
    struct log_header h;
    uint8_t *bytes;
    enum err err = read_file(r, f, &bytes);

    if (err != ERR_OK)
        return err;
    enum err header = f->read < LOG_HEADER ? ERR_CORRUPT : log_header_decode(bytes, &h, why);
    if (header == ERR_VERSION) {
        rec_log_path(r, f, path);
        return rec_fail(r, ERR_VERSION, "%s: %s", path, why);
    }
    f->durable = log_scan_durable(bytes, f->read, salt_of(r, f), &f->first_seen);
    bool own = header == ERR_OK && is_own(r, f, &h);
    f->used = own || f->first_seen != 0;
    f->first = own ? h.first_commit : 0;
    f->workers = own ? h.workers : 0;
    return ERR_OK;
}

/* The header page is written together with the file's first frame: without it the file is damaged
 * when that commit is proven complete, and else it was the last one, and torn. */
static void judge_headers(struct recovery *r)
{
    uint64_t durable = 0;
    char path[STORE_PATH];

    for (size_t i = r->nfiles; i-- > 0;) {
        struct rec_log_file *f = &r->files[i];
        if (f->generation != r->generation)
            continue;
        if (i + 1 == r->nfiles || r->files[i + 1].worker != f->worker)
            durable = 0;
        durable = f->durable > durable ? f->durable : durable;
        if (!f->used || f->workers != 0)
            continue;
        rec_log_path(r, f, path);
        f->damaged = durable >= f->first_seen;
        if (f->damaged)
            LOG_WRN(r->log, "%s: offset 0: header damaged, its frames are read all the same", path);
        else
            LOG_INF(r->log, "%s: offset 0: header never finished, the first commit is read", path);
    }
}

/* ---- which generation ---------------------------------------------------------------------- */

static enum err has_start(struct recovery *r, struct rec_log_file *f, bool *found)
{
    struct log_scan s;
    struct log_scan_event e;
    struct log_record record;
    enum log_verdict v;
    uint8_t *bytes;
    int got;
    enum err err = read_file(r, f, &bytes);

    if (err != ERR_OK)
        return err;
    log_scan_init(&s, bytes, f->read, salt_of(r, f), 0, 0);
    while ((v = log_scan_next(&s, &e)) != LOG_SCAN_DONE)
        while (v == LOG_SCAN_FRAME && (got = log_frame_next(&e.frame, &record)) != 0)
            *found |= got > 0 && record.type == LOG_START;
    return ERR_OK;
}

static enum err is_complete(struct recovery *r, uint64_t generation, bool *complete)
{
    bool first_file = false, any = false;
    enum err err = ERR_OK;

    *complete = false;
    for (size_t i = 0; i < r->nfiles; i++) {
        struct rec_log_file *f = &r->files[i];
        if (f->generation == generation && f->worker == 0) {
            any = true;
            first_file |= f->number == 0;
        }
    }
    if (any && !first_file)
        *complete = true;
    for (size_t i = 0; i < r->nfiles && !*complete && err == ERR_OK; i++)
        if (r->files[i].generation == generation && r->files[i].worker == 0)
            err = has_start(r, &r->files[i], complete);
    return err;
}

static enum err choose_generation(struct recovery *r)
{
    uint64_t below = UINT64_MAX;

    while (r->generation == 0) {
        uint64_t next = 0;
        bool complete;
        for (size_t i = 0; i < r->nfiles; i++)
            if (r->files[i].generation < below && r->files[i].generation > next)
                next = r->files[i].generation;
        if (next == 0)
            return ERR_OK;
        enum err err = is_complete(r, next, &complete);
        if (err != ERR_OK)
            return err;
        if (complete)
            r->generation = next;
        else
            LOG_INF(r->log, "%s/log: generation %llu is an unfinished start, ignored", r->dir->path,
                    (unsigned long long) next);
        below = next;
    }
    return ERR_OK;
}

/* ---- records ------------------------------------------------------------------------------- */

struct rec_object *rec_object_find(const struct recovery *r, uint64_t id)
{
    uint64_t h = hash_mix(id, 0x9e3779b97f4a7c15u);

    for (struct hmap_node *n = hmap_first(&r->objects, h); n != NULL; n = hmap_next(n, h)) {
        struct rec_object *o = CONTAINER_OF(n, struct rec_object, node);
        if (o->id == id)
            return o;
    }
    return NULL;
}

struct rec_object *rec_object_add(struct recovery *r, uint64_t id)
{
    struct rec_object *o = rec_object_find(r, id);

    if (o != NULL)
        return o;
    o = mem_zalloc(sizeof(*o));
    o->id = id;
    hmap_insert(&r->objects, &o->node, hash_mix(id, 0x9e3779b97f4a7c15u));
    if (r->nlist == r->list_cap) {
        r->list_cap = r->list_cap * 2 + 16;
        r->list = mem_realloc(r->list, r->list_cap * sizeof(struct rec_object *));
    }
    r->list[r->nlist++] = o;
    return o;
}

/* Those that are part of a full record of this version. */
static void drop_deltas(struct rec_object *o, uint64_t version)
{
    unsigned n = 0, kept = 0;

    for (; n < o->ndeltas; n++) {
        if (o->deltas[n].version <= version)
            buf_free(&o->deltas[n].bytes);
        else
            o->deltas[kept++] = o->deltas[n];
    }
    o->ndeltas = kept;
}

/* Full records do not say any more what is done, and the log still has the data from before. */
static void note_intents(struct rec_object *o, const struct log_record *record)
{
    if (record->kind == STORE_KIND_STREAM)
        stream_record_intents(record->bytes, record->type == LOG_FULL, &o->erased);
}

static void apply_full(struct recovery *r, const struct log_record *record)
{
    struct rec_object *o = rec_object_add(r, record->id);

    note_intents(o, record);
    if (o->deleted || (o->full_seen && record->version <= o->full_version))
        return;
    drop_deltas(o, record->version);
    o->full_seen = true;
    o->orphan = false;
    o->kind = record->kind;
    o->parent = record->parent;
    o->full_version = record->version;
    o->version = o->ndeltas > 0 ? o->deltas[o->ndeltas - 1].version : record->version;
    buf_clear(&o->full);
    buf_put_str(&o->full, record->bytes);
}

/* In the order of versions; nearly always it is the last one. False: it is there. */
static bool keep_delta(struct rec_object *o, uint64_t version, struct str bytes)
{
    unsigned at = o->ndeltas;

    while (at > 0 && o->deltas[at - 1].version > version)
        at--;
    if (at > 0 && o->deltas[at - 1].version == version)
        return false;
    if (o->ndeltas == o->deltas_cap) {
        o->deltas_cap = o->deltas_cap * 2 + 4;
        o->deltas = mem_realloc(o->deltas, o->deltas_cap * sizeof(*o->deltas));
    }
    memmove(o->deltas + at + 1, o->deltas + at, (o->ndeltas - at) * sizeof(*o->deltas));
    o->deltas[at] = (struct rec_delta){.version = version};
    buf_put_str(&o->deltas[at].bytes, bytes);
    o->ndeltas++;
    return true;
}

/* False when it does not fit to what was read before. */
static bool apply_delta(struct recovery *r, const struct log_record *record, uint32_t file,
                        uint64_t offset)
{
    struct rec_object *o = rec_object_add(r, record->id);

    note_intents(o, record);
    if (o->deleted || (o->full_seen && record->version <= o->full_version))
        return true;
    if (!o->full_seen) {
        if (!o->orphan) {
            o->orphan_file = file;
            o->orphan_offset = offset;
        }
        o->orphan = true;
        if (record->version > o->orphan_version)
            o->orphan_version = record->version;
        keep_delta(o, record->version, record->bytes);
        return true;
    }
    bool fits = record->version <= o->version + 1;
    keep_delta(o, record->version, record->bytes);
    if (record->version > o->version)
        o->version = record->version;
    return fits;
}

static void apply_delete(struct recovery *r, const struct log_record *record)
{
    struct rec_object *o = rec_object_add(r, record->id);

    o->deleted = true;
    if (record->bytes.n == 16) {
        memcpy(o->deleted_uuid, record->bytes.p, 16);
        o->has_deleted_uuid = true;
    }
}

static void note_data(struct recovery *r, uint32_t file, const uint8_t *base,
                      const struct log_record *record)
{
    if (r->ndata == r->data_cap) {
        r->data_cap = r->data_cap * 2 + 64;
        r->data = mem_realloc(r->data, r->data_cap * sizeof(*r->data));
    }
    r->data[r->ndata] =
        (struct rec_data){.stream = record->id,
                          .segment = record->segment,
                          .offset = record->offset,
                          .log_offset = (uint64_t) ((const uint8_t *) record->bytes.p - base),
                          .bytes = (uint32_t) record->bytes.n,
                          .file = file,
                          .order = r->ndata,
                          .image = (record->flags & LOG_IMAGE) != 0};
    r->ndata++;
}

static void report_missing(struct recovery *r, struct rec_log_file *f, uint64_t offset, uint64_t id)
{
    char path[STORE_PATH];

    rec_log_path(r, f, path);
    LOG_WRN(r->log, "%s: offset %llu: a record of object %llx before this one is missing", path,
            (unsigned long long) offset, (unsigned long long) id);
    f->damaged = true;
}

static void note_end(struct recovery *r, const struct log_record *record)
{
    if (r->nends == r->ends_cap) {
        r->ends_cap = r->ends_cap * 2 + 64;
        r->ends = mem_realloc(r->ends, r->ends_cap * sizeof(*r->ends));
    }
    r->ends[r->nends++] = (struct rec_end){record->id, record->version, (int64_t) record->parent};
}

/* Of a twin: versions sort out what is known already. */
static void apply_twin(struct rec_reading *in, const struct log_record *record)
{
    if (record->type == LOG_MARK && record->version > in->mark)
        in->mark = record->version;
    if (record->type == LOG_END && !in->apply)
        note_end(in->r, record);
    if (!in->apply)
        return;
    if (record->type == LOG_FULL)
        apply_full(in->r, record);
    else if (record->type == LOG_DELTA)
        apply_delta(in->r, record, 0, 0);
    else if (record->type == LOG_DELETE)
        apply_delete(in->r, record);
}

static void apply(struct rec_reading *in, const struct log_record *record, uint64_t offset)
{
    struct recovery *r = in->r;
    bool fits = true;

    if (in->f->twin) {
        apply_twin(in, record);
        return;
    }

    /* Objects may still be rendered anew behind it, but nothing goes into segments. */
    in->closed = record->type == LOG_CLOSE || (in->closed && record->type != LOG_DATA);
    switch (record->type) {
    case LOG_FULL:
        apply_full(r, record);
        break;
    case LOG_DELTA:
        fits = apply_delta(r, record, (uint32_t) (in->f - r->files), offset);
        break;
    case LOG_DELETE:
        apply_delete(r, record);
        break;
    case LOG_DATA:
        note_data(r, (uint32_t) (in->f - r->files), in->bytes, record);
        break;
    case LOG_START:
    case LOG_CLOSE:
        break;
    default:
        fits = false;
    }
    if (fits)
        return;
    report_missing(r, in->f, offset, record->id);
}

static void apply_frame(struct rec_reading *in, struct log_frame_view *frame)
{
    struct log_record record;
    struct crypt_file crypt;
    char path[STORE_PATH];
    int got;

    crypt_file_log(&crypt, &in->r->dir->ring, CRYPT_ANY, in->f->generation, in->f->worker);
    while ((got = log_frame_next(frame, &record)) != 0) {
        uint64_t end = (uint64_t) (frame->body - in->bytes) + frame->body_at;
        if (got > 0 && log_record_open(&record, &crypt, &in->r->opened)) {
            apply(in, &record, end);
            continue;
        }
        if (in->apply)
            continue; /* it was said when the twin was read first */
        rec_log_path(in->r, in->f, path);
        LOG_WRN(in->r->log, "%s: offset %llu: record %u of commit %llu is damaged, lost", path,
                (unsigned long long) end, frame->index - 1, (unsigned long long) frame->commit);
        in->f->damaged = true;
    }
}

/* ---- one file, one worker ------------------------------------------------------------------ */

static void report(struct recovery *r, struct rec_log_file *f, enum log_verdict v,
                   const struct log_scan_event *e)
{
    char path[STORE_PATH];

    rec_log_path(r, f, path);
    if (v == LOG_SCAN_TORN) {
        r->dir->recovery.bytes_cut += e->bytes;
        LOG_INF(r->log, "%s: offset %llu: %llu bytes of unfinished commits cut", path,
                (unsigned long long) e->offset, (unsigned long long) e->bytes);
    } else if (v == LOG_SCAN_CORRUPT) {
        f->damaged = true;
        LOG_WRN(r->log, "%s: offset %llu: %llu bytes damaged, %llu commits lost", path,
                (unsigned long long) e->offset, (unsigned long long) e->bytes,
                (unsigned long long) e->commits);
    } else if (e->unproven) {
        LOG_INF(r->log, "%s: offset %llu: a byte of the last commit mended", path,
                (unsigned long long) e->offset);
    } else if (e->repaired) {
        f->damaged = true;
        LOG_WRN(r->log, "%s: offset %llu: a damaged byte in a frame mended", path,
                (unsigned long long) e->offset);
    }
}

/* Reads one file; *next: the expected commit, before and after. *stop: the log ends here. */
enum err rec_log_read_file(struct rec_reading *in, uint64_t known_durable, uint64_t *next,
                           bool *stop)
{
    struct recovery *r = in->r;
    struct log_scan s;
    struct log_scan_event e;
    enum log_verdict v;
    uint8_t *bytes;
    enum err err = read_file(r, in->f, &bytes);

    if (err != ERR_OK)
        return err;
    in->bytes = bytes;
    log_scan_init(&s, bytes, in->f->read, salt_of(r, in->f), *next, known_durable);
    while ((v = log_scan_next(&s, &e)) != LOG_SCAN_DONE) {
        if (!in->apply)
            report(r, in->f, v, &e);
        if (v == LOG_SCAN_FRAME)
            apply_frame(in, &e.frame);
    }
    in->f->end = s.end;
    *next = s.next_commit;
    *stop = s.torn;
    return ERR_OK;
}

/* Between this file and the next one commits are missing. Returns false when they were never
 * finished. */
static bool bridge(struct recovery *r, struct rec_log_file *f, uint64_t *next, uint64_t begins,
                   uint64_t durable)
{
    char path[STORE_PATH];

    if (begins <= *next || *next == 0)
        return true;
    rec_log_path(r, f, path);
    if (durable < *next) {
        LOG_INF(r->log, "%s: commits from %llu on were not finished, cut", path,
                (unsigned long long) *next);
        return false;
    }
    LOG_WRN(r->log, "%s: offset %llu: commits %llu to %llu are missing", path,
            (unsigned long long) f->bytes, (unsigned long long) *next,
            (unsigned long long) begins - 1);
    f->damaged = true;
    *next = begins;
    return true;
}

/* The series of used files of one worker: indices [*first, *end). */
static void find_series(const struct recovery *r, uint32_t worker, size_t *first, size_t *end)
{
    *first = *end = 0;
    for (size_t i = 0; i < r->nfiles; i++) {
        const struct rec_log_file *f = &r->files[i];
        if (f->generation != r->generation || f->worker != worker || !f->used)
            continue;
        bool follows = *end == i && i > 0 && *end > *first &&
                       r->files[i - 1].number + 1 == f->number;
        if (!follows)
            *first = i;
        *end = i + 1;
    }
}

static enum err read_worker(struct recovery *r, uint32_t worker)
{
    size_t first, end;
    bool stop = false;
    struct rec_reading in = {.r = r};

    find_series(r, worker, &first, &end);
    uint64_t next = end > first ? r->files[first].first : 0;
    for (size_t i = first; i < end && !stop; i++) {
        uint64_t durable = 0;
        for (size_t k = i + 1; k < end; k++)
            durable = r->files[k].durable > durable ? r->files[k].durable : durable;
        in.f = &r->files[i];
        enum err err = rec_log_read_file(&in, durable, &next, &stop);
        if (err != ERR_OK)
            return err;
        if (!stop && i + 1 < end) {
            const struct rec_log_file *after = &r->files[i + 1];
            stop = !bridge(r, in.f, &next, after->first != 0 ? after->first : after->first_seen,
                           durable);
        }
    }
    r->clean = r->clean && in.closed;
    r->log_next[worker] = next;
    return ERR_OK;
}

static enum err sync_file(struct recovery *r, const struct rec_log_file *f)
{
    char path[STORE_PATH];

    rec_log_path(r, f, path);
    fs_fd fd = fs_open(r->fs, path, IO_FILE_WRITE);
    int res = fd < 0 ? fd : fs_sync(r->fs, fd);
    if (fd >= 0)
        fs_close(r->fs, fd);
    return res < 0 ? rec_fail(r, err_from_errno(res), "%s: sync: %s", path,
                              err_text(err_from_errno(res)))
                   : ERR_OK;
}

static enum err sync_dir(struct recovery *r, const char *path)
{
    int res = fs_sync_dir(r->fs, path);

    return res < 0 ? rec_fail(r, ERR_IO, "%s: sync: %s", path, err_text(err_from_errno(res)))
                   : ERR_OK;
}

/* When only the process died, what was read may be in the page cache alone: the name of store.meta,
 * whose UUID is in all that this start makes durable; the START that makes this generation the one
 * that counts; images that are about to be written over their segments. It has to be durable before
 * anything is done because of it. */
static enum err sync_found(struct recovery *r)
{
    char path[STORE_PATH];
    enum err err = r->dir->settled ? sync_dir(r, r->dir->path) : ERR_OK;

    for (size_t i = 0; i < r->nfiles && err == ERR_OK; i++)
        if (r->files[i].generation == r->generation && r->files[i].used)
            err = sync_file(r, &r->files[i]);
    if (err != ERR_OK || r->generation == 0)
        return err;
    store_path(r->dir, path, "log");
    return sync_dir(r, path);
}

enum err rec_logs_read(struct recovery *r)
{
    enum err err = list_files(r);

    if (err == ERR_OK)
        err = rec_twins_list(r);
    if (err == ERR_OK)
        err = choose_generation(r);
    if (err == ERR_OK)
        rec_twins_choose(r);
    if (err != ERR_OK || r->generation == 0)
        return err == ERR_OK ? sync_found(r) : err;
    for (size_t i = 0; i < r->nfiles && err == ERR_OK; i++) {
        struct rec_log_file *f = &r->files[i];
        if (f->generation != r->generation && !(r->log_lost && f->generation < r->generation))
            continue;
        err = is_unused(r, f) ? ERR_OK : examine(r, f);
        f->damaged = r->log_lost && f->used;
        if (f->generation == r->generation && f->worker >= r->workers)
            r->workers = f->worker + 1;
    }
    judge_headers(r);
    r->clean = true;
    r->log_next = mem_array(r->workers + 1, sizeof(*r->log_next));
    for (uint32_t w = 0; w < r->workers && err == ERR_OK; w++)
        err = read_worker(r, w);
    for (size_t i = 0; i < r->nlist; i++) {
        const struct rec_object *o = r->list[i];
        if (o->orphan && !o->deleted)
            report_missing(r, &r->files[o->orphan_file], o->orphan_offset, o->id);
    }
    if (err == ERR_OK)
        err = rec_twins_merge(r);
    return err == ERR_OK && !r->clean && !PLANTED(PLANT_START_BELIEVED) ? sync_found(r) : err;
}
