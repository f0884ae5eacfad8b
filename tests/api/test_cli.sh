#!/usr/bin/env bash
# test_cli: what a started server leaves behind and with what it ends: pid file, ports file, log
# file, exit codes, and starts that fail late. What single flags say is in unit/config.
set -uo pipefail
server=$MIDGE_BUILDDIR/bin/midge-server bench=$MIDGE_BUILDDIR/bin/nats-bench
work=$(mktemp -d "${TMPDIR:-/tmp}/midge-cli.XXXXXX")
passed=0 failed=0 pid=''
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null; rm -rf "$work"' EXIT

check() { # what, condition as a command...
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s\n' "$what"
        tail -5 "$work/err"
    fi
}

gone() { [ ! -e "$1" ]; }

has() { # file, fixed text
    grep -qF -- "$2" "$1"
}

# Runs to the end: exit status, text that must occur in what it says, arguments...
ends() {
    local status=$1 text=$2 rc
    shift 2
    timeout -k 5 60 "$server" "$@" >"$work/out" 2>"$work/err"
    rc=$?
    check "midge-server $*: status $rc, wanted $status" [ "$rc" = "$status" ]
    check "midge-server $*: wanted \"$text\"" has "$work/err" "$text"
}

start() { # program, arguments...
    local program=$1 tries=0
    shift
    : >"$work/err"
    "$program" -a 127.0.0.1 -p -1 "$@" >"$work/out" 2>"$work/err" &
    pid=$!
    until grep -q 'Server is ready' "$work/err" "$work/log" 2>/dev/null; do
        if ! kill -0 "$pid" 2>/dev/null || [ $((tries += 1)) -gt 1200 ]; then
            check "$program $*: it starts" false
            return
        fi
        sleep 0.05
    done
}

stop() { # signal, wanted status
    local rc
    kill "-$1" "$pid"
    wait "$pid"
    rc=$?
    pid=''
    check "SIG$1: status $rc, wanted $2" [ "$rc" = "$2" ]
}

# --- files ------------------------------------------------------------------------------------

start "$server" -m -1 -P "$work/pid" --ports_file_dir "$work"
ports=$work/midge-server_$pid.ports
check 'the pid file is the number' [ "$(cat "$work/pid")" = "$pid" ]
check 'the ports file is the JSON that tools read' grep -qE \
    '^\{"nats":\["nats://127\.0\.0\.1:[0-9]+"\],"monitoring":\["http://127\.0\.0\.1:[0-9]+"\]\}$' \
    "$ports"
port=$(sed 's/.*"nats:..127.0.0.1:\([0-9]*\)".*/\1/' "$ports")
http=$(sed 's/.*"http:..127.0.0.1:\([0-9]*\)".*/\1/' "$ports")
for line in 'Starting nats-server' '  Version:  ' '  Name:     ' '  ID:       N' \
    'Server is ready' "Listening for client connections on 127.0.0.1:$port" \
    "Starting http monitor on 127.0.0.1:$http"; do
    check "the log has \"$line\"" has "$work/err" "[INF] $line"
done
check 'the I/O backend is named once' [ "$(grep -c 'I/O backend' "$work/err")" = 1 ]

# While it runs: the same ports and the same directory are taken, and that is an error, not a crash.
ends 1 "Error listening on port: 127.0.0.1:$port, \"listen tcp 127.0.0.1:$port: bind: Address" \
    -a 127.0.0.1 -p "$port" -js -sd "$work/late" --pool 0
ends 1 'Address already in use' -a 127.0.0.1 -p "$port" --io event --workers 4 -js -sd "$work/late"
ends 1 'Address already in use' -a 127.0.0.1 -p "$port"
ends 1 "Can't listen to the monitor port" -a 127.0.0.1 -p -1 -m "$http" -js -sd "$work/late"
ends 1 "Could not write pidfile: open $work/none/pid: No such file or directory" \
    -a 127.0.0.1 -p -1 -P "$work/none/pid"
stop TERM 0
check 'SIGTERM removes the pid file' gone "$work/pid"
check 'SIGTERM removes the ports file' gone "$ports"
check 'the log says the end' has "$work/err" 'Server Exiting..'

# --- another name, a log file, a store that is in use -----------------------------------------

ln -s "$server" "$work/nats-server"
"$work/nats-server" -v >"$work/out" 2>"$work/err"
check 'nats-server -v' grep -qxE 'nats-server: v2\.[0-9]+\.[0-9]+' "$work/out"
start "$work/nats-server" --ports_file_dir "$work" -l "$work/log" -js -sd "$work/late" --pool 0
for line in 'Starting JetStream' '---------------- JETSTREAM ----------------' \
    '  Max Memory:      ' '  Max Storage:     ' \
    "  Store Directory: \"$work/late/jetstream\"" '  API Level:       5' \
    '  Git:      ' '  Node:     '; do
    check "the log has \"$line\"" has "$work/log" "[INF] $line"
done
check 'the log file is not for everybody' [ "$(stat -c %a "$work/log")" = 640 ]
check 'the ports file has the name of the program' [ -s "$work/nats-server_$pid.ports" ]
check 'with a log file nothing is said on stderr' [ ! -s "$work/err" ]
ends 1 "in use by process $pid" -a 127.0.0.1 -p -1 -js -sd "$work/late"
stop INT 0
check 'the log file says the end' has "$work/log" 'Server Exiting..'

# --- nats-bench on a server with nothing in it --------------------------------------------------

rm -f "$work/log"
start "$server" -js -sd "$work/bench" --pool 0
url=nats://$(sed -n 's/.*Listening for client connections on //p' "$work/err")
bench() {
    "$bench" js "$@" --server "$url" --quiet >"$work/out" 2>"$work/err"
}
check 'js pub makes its stream' bench pub --count 1000
check 'js pub finds its stream' bench pub --count 1000 --purge
check 'js pull makes its consumer' bench pull --count 1000
bench pull --stream NONE --count 1
check 'js pull wants a stream' has "$work/err" 'stream not found'
stop TERM 0

# --- files that are wrong ---------------------------------------------------------------------

printf 'port: -1\nlisten: 127.0.0.1:-1\n\nauthorization {\n  guest: []\n}\n' >"$work/conf"
ends 1 "midge-server: $work/conf:5:3: unknown field \"guest\"" -c "$work/conf"
printf 'port: 1\nclutser { port: 2 }\n' >"$work/conf"
ends 1 "$work/conf:2:1: unknown field \"clutser\"" -c "$work/conf"
printf 'port: 1\n' >"$work/conf"
ends 0 "configuration file $work/conf is valid (sha256:" -c "$work/conf" -t
check 'the example file is valid' "$server" -t -c "$MIDGE_SRCDIR/conf/server.conf"
ends 1 'error opening log file' -a 127.0.0.1 -p -1 -l "$work/none/log"
: >"$work/file"
ends 1 'could not create storage directory' -a 127.0.0.1 -p -1 -js -sd "$work/file"

printf 'cases: %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
