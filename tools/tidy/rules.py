"""The house rules as data; tidy.py applies them. See CONTRIBUTING.md for the reasons.

To allow something: add the one file (or directory, with a slash at the end) to the list beside the rule,
in the same change that needs it, so that a reviewer sees the exception.
"""

LINE_COLUMNS = 100
FILE_LINES = 1000
FUNCTION_LINES = 120

# Directories that are looked at; anything else in the tree is generated or not ours to judge.
TOPS = ("lib", "store", "server", "client", "tools", "tests", "conf", "docs")
# Data, not text: no rules apply inside.
DATA = ("tests/fuzz/corpus/", "tests/sim/seeds/", "tests/data/")
# Files that no fragment has to list.
UNLISTED = ("Makefile.inc", ".gitignore")

# --- Layers -----------------------------------------------------------------------------------------------
# (layer, where its files are, layers it may include beside itself). The first match counts; the sources of
# libjscore in server/js/Makefile.inc are layer "jscore" whatever their names.
# The linker holds the same table: USE_X in Makefile.am.

ALL = ("base", "json", "jwt", "wire", "tls", "io", "store", "core", "auth", "config", "net", "jscore", "js", "kafka", "monitor",
       "sys", "server", "client", "testlib", "sim")

LAYERS = (
    ("base", "lib/base/", ()),
    ("json", "lib/json/", ("base",)),
    ("jwt", "lib/jwt/", ("base", "json")),
    ("wire", "lib/wire/", ("base",)),
    ("tls", "lib/tls/", ("base",)),
    ("io", "lib/io/", ("base",)),
    ("store", "store/", ("base", "io")),
    ("core", "server/core/", ("base", "wire")),
    ("auth", "server/auth/", ("base", "json", "jwt", "wire", "config")),
    ("config", "server/config/", ("base", "json", "jwt", "wire")),
    ("net", "server/net/", ("base", "json", "jwt", "wire", "tls", "io", "core", "auth", "config")),
    ("js", "server/js/", ("base", "json", "wire", "io", "core", "jscore", "store", "config")),
    ("monitor", "server/monitor/", ("base", "json", "wire", "io", "core", "js", "config")),
    ("kafka", "server/kafka/", ("base", "json", "wire", "tls", "io", "core", "auth", "net", "js", "store", "config")),
    ("sys", "server/sys/", ("base", "json", "wire", "io", "core", "config", "monitor")),
    ("server", "server/", ALL[:16]),
    ("client", "client/", ("base", "json", "jwt", "wire", "tls", "io")),
    ("kafka-bench", "tools/kafka-bench/", ("base",)),
    ("nats-bench", "tools/nats-bench/", ("base", "wire", "io", "client")),
    ("store-inspect", "tools/store-inspect/", ("base", "io", "store")),
    ("testlib", "tests/lib/", ALL),
    ("sim", "tests/sim/", ALL),
    ("tests", "tests/", ALL),
)
JSCORE_MAY = ("base", "wire")
# A unit test may include what its layer may, the layer itself, and the helpers.
UNIT_TESTS = "tests/unit/"
UNIT_HELPERS = ("testlib", "sim")

# Single files that may include one header their layer may not: (file, header).
INCLUDE_EXCEPTIONS = (
    ("server/monitor/monitor_int.h", "server/net/net.h"),
    ("server/monitor/varz.c", "server/net/event.h"),
    ("server/sys/sys.c", "server/net/event.h"),
    ("server/sys/sys.c", "server/net/net.h"),
    ("server/sys/request.c", "server/net/net.h"),
    ("server/sys/periodic.c", "server/net/event.h"),
)

# Installed headers find each other by name alone, from the folder they are installed to.
INSTALLED = "client/midge"

# Headers of other projects: prefix -> layers. Anything not named here is the C library's or the kernel's.
LIBRARIES = {
    "isa-l": ("base",),
    "liburing": ("io",),
    "event2/": ("io", "monitor", "sys", "server"),
    "jansson": ("json", "jwt", "js", "net", "auth", "monitor", "kafka", "sys"),
    "sodium": ("client", "jwt", "net", "auth", "config", "store", "server", "io", "js"),
    "lz4": ("store", "wire"),
    "openssl/": ("tls", "client", "net", "kafka"),
    "zlib": ("net", "wire"),
    "snappy": ("wire",),
    "zstd": ("wire",),
    "crypt.h": ("auth",),
    "check.h": ("testlib",),
    "nats": (),
}
# Tests may use any of them.
LIBRARIES_EVERYWHERE = ("tests/",)

# --- Calls ------------------------------------------------------------------------------------------------
# (names, what to use instead, files and directories that may).

CALLS = (
    ("strcpy strncpy strcat strncat sprintf vsprintf gets strtok strtok_r alloca",
     "unbounded or surprising; use struct str, struct buf, snprintf", ()),
    ("atoi atol atoll atof", "no error is seen; use lib/base/fmt.h or strtol", ()),
    ("sscanf", "unbounded results; use lib/base/fmt.h", ("tests/",)),
    ("malloc calloc realloc free strdup strndup asprintf vasprintf aligned_alloc posix_memalign",
     "use lib/base/mem.h",
     ("lib/base/mem.c", "tests/",
      "server/monitor/monitor.c", "server/sys/sys.c", "server/net/event.c",
      "server/net/net_info.c", "server/net/trace.c", "server/net/latency.c")),  # the text that json_dumps made
    ("pthread_create pthread_exit pthread_cancel thrd_create fork vfork clone",
     "threads belong to lib/io", ("lib/io/", "tests/", "tools/", "server/worker.c")),
    ("open openat creat read pread preadv write pwrite pwritev readv writev close fsync fdatasync "
     "sync_file_range fallocate posix_fallocate ftruncate truncate rename renameat renameat2 link unlink "
     "unlinkat mkdir mkdirat rmdir opendir fdopendir readdir scandir stat fstat lstat fstatat statvfs mmap "
     "munmap fopen fdopen popen flock sendfile splice copy_file_range",
     "files belong to lib/io",
     # The main thread, beside or before the workers: log and configuration files, pid and ports
     # files, the signal pipe, /proc.
     ("lib/io/", "tests/", "tools/", "server/logger.c", "server/files.c", "server/server.c",
      "server/config/config_file.c", "server/monitor/process.c", "server/signal_command.c", "server/syslog_out.c")),
    ("socket socketpair bind listen accept accept4 connect recv recvmsg recvfrom send sendmsg sendto shutdown "
     "setsockopt getsockopt poll ppoll select epoll_create1 epoll_ctl epoll_wait eventfd pipe pipe2 "
     "getaddrinfo getnameinfo gethostbyname",
     "sockets belong to lib/io", ("lib/io/", "tests/", "tools/", "server/server.c",
                                  "server/syslog_out.c")),
    ("time clock_gettime gettimeofday clock", "time comes from io_now (lib/io/io.h)",
     ("lib/io/", "tests/lib/", "tests/api/", "tests/crash/", "tests/fuse/", "tests/interop/", "tests/demo/", "tests/bench/",
      "tests/unit/io/", "tools/",
      "server/logger.c", "server/server.c", "server/monitor/report.c", "client/client.c")),
    ("localtime gmtime ctime asctime", "not reentrant; use lib/base/fmt.h or localtime_r", ()),
    ("sleep usleep nanosleep clock_nanosleep", "wait for an event, never for time",
     # Another process gives no event when it has written its ports file.
     ("lib/io/", "tests/lib/server_process.c")),
    ("rand srand random srandom drand48 rand_r getrandom getentropy arc4random randombytes_buf",
     "randomness comes from a struct prng", ("lib/io/", "server/server.c", "store/dir.c", "store/crypt.c")),
)

# --- Words and globals ------------------------------------------------------------------------------------
# Notes to oneself (spelled apart so that this file passes).
WORDS = ("FIX" "ME", "TO" "DO", "XX" "X")
# Static variables that are not const: none, except in these files (mem.c counts faults for tests; of
# chunk.c's only the address matters).
GLOBALS = ("lib/base/mem.c", "lib/base/chunk.c", "tests/")
