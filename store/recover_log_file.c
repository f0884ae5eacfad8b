/*
 * One file of a commit log, or of its twin, as a start reads it: no further than where something
 * can be, and whether it was used at all. What the frames say: recover_records.c; which files
 * count: recover_log.c.
 */
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "store/recover_log.h"

/* Read at a time, of a file that may hold little. */
#define READ_STEP (256u << 10)
/* The last frame is mended up to this size only. */
#define LAST_FRAME_MAX (8u << 20)
/* More than twice what a frame's header and table take. */
#define WINDOW (2u << 20)

void rec_log_path(const struct recovery *r, const struct rec_log_file *f, char out[STORE_PATH])
{
    if (f->twin)
        store_path_twin(r->dir, out, f->generation, f->worker, f->number);
    else
        store_path_log(r->dir, out, f->generation, f->worker, f->number);
}

uint32_t rec_log_salt(const struct recovery *r, const struct rec_log_file *f)
{
    return f->twin ? store_salt_twin(r->dir->uuid, f->generation, f->worker, f->number)
                   : store_salt_log(r->dir->uuid, f->generation, f->worker, f->number);
}

static bool is_own(const struct recovery *r, const struct rec_log_file *f,
                   const struct log_header *h)
{
    return h->twin == f->twin && h->salt == rec_log_salt(r, f) && h->generation == f->generation &&
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
        enum err frame = log_frame_open(r->cache + at, r->cache_n - at, rec_log_salt(r, f), at, &v);
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
            *found = log_frame_open(window + p, f->bytes - at - p, rec_log_salt(r, f), 0, &v) ==
                     ERR_OK;
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
enum err rec_log_bytes(struct recovery *r, struct rec_log_file *f, uint8_t **bytes)
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
    enum err err = rec_log_bytes(r, f, &bytes);

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
bool rec_log_unused(struct recovery *r, struct rec_log_file *f)
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
enum err rec_log_examine(struct recovery *r, struct rec_log_file *f)
{
    char path[STORE_PATH], why[160];
    struct log_header h;
    uint8_t *bytes;
    enum err err = rec_log_bytes(r, f, &bytes);

    if (err != ERR_OK)
        return err;
    enum err header = f->read < LOG_HEADER ? ERR_CORRUPT : log_header_decode(bytes, &h, why);
    if (header == ERR_VERSION) {
        rec_log_path(r, f, path);
        return rec_fail(r, ERR_VERSION, "%s: %s", path, why);
    }
    f->durable = log_scan_durable(bytes, f->read, rec_log_salt(r, f), &f->first_seen);
    bool own = header == ERR_OK && is_own(r, f, &h);
    f->used = own || f->first_seen != 0;
    f->first = own ? h.first_commit : 0;
    f->workers = own ? h.workers : 0;
    return ERR_OK;
}
