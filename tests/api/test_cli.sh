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
check 'the log file is not for everybody' [ "$(stat -c 0%a "$work/log")" = 0640 ]
check 'the ports file has the name of the program' [ -s "$work/nats-server_$pid.ports" ]
check 'with a log file nothing is said on stderr' [ ! -s "$work/err" ]
ends 1 "in use by process $pid" -a 127.0.0.1 -p -1 -js -sd "$work/late"
stop INT 0
check 'the log says that it ends' has "$work/log" '[INF] Initiating Shutdown...'
check 'the log file says the end' has "$work/log" 'Server Exiting..'

rm -f "$work/log"

# --- a configuration file, all doors, IPv6 --------------------------------------------------------

cat >"$work/doors" <<EOF
host: 0.0.0.0
websocket { port: -1, no_tls: true }
leafnodes { port: -1 }
EOF
start "$server" -c "$work/doors" -a 0.0.0.0 -DV --profile 6060 --ports_file_dir "$work"
ports=$work/midge-server_$pid.ports
check 'the log names the file' has "$work/err" \
    "[INF] Using configuration file: $work/doors (sha256:"
leaf=$(sed -n 's/.*Listening for leafnode connections on 0\.0\.0\.0:\([0-9]*\)$/\1/p' "$work/err")
check 'the log names the port of leaf nodes' [ -n "$leaf" ]
check 'the log names what has no effect' has "$work/err" 'not active in this server: prof_port'
check 'the ports file has the door of leaf nodes' has "$ports" \
    '"leafnodes":["nats-leaf://127.0.0.1:'"$leaf\""
check 'and the others' grep -q '^{"nats":\["nats://.*,"websocket":\["ws://' "$ports"
if grep -q '^0*1 ' /proc/net/if_inet6 2>/dev/null; then
    port=$(sed 's/.*"nats:..127.0.0.1:\([0-9]*\)".*/\1/' "$ports")
    check 'the ports file has the addresses of one interface together' has "$ports" \
        "\"nats://127.0.0.1:$port\",\"nats://[::1]:$port\""
    exec 3<>"/dev/tcp/::1/$port"
    read -r -u 3 _
    exec 3>&-
    check 'an IPv6 client is logged in brackets' grep -qE \
        '\[DBG\] \[::1\]:[0-9]+ - cid:[0-9]+ - Client connection created' "$work/err"
fi
stop TERM 0
check 'the ports file of all doors is removed' gone "$ports"
start "$server" -a localhost -p -1 --ports_file_dir "$work"
check 'a listener on a name is listed by its address' grep -qE \
    '^\{"nats":\["nats://(127\.0\.0\.1|\[::1\]):[0-9]+"\]\}$' "$work/midge-server_$pid.ports"
stop TERM 0

# --- signals by the name of the program: a name of our own, others may run beside this ------------

mine=nats-server-$$
ln -s "$server" "$work/$mine"
said() { # status, text with the name of nats-server, argument
    local rc
    "$work/$mine" -sl "$3" >"$work/out" 2>"$work/said"
    rc=$?
    check "-sl $3: status $rc, wanted $1" [ "$rc" = "$1" ]
    check "-sl $3: $2" [ "$(head -1 "$work/said")" = "${2//nats-server/$mine}" ]
}
ended() { # process
    local rc
    wait "$1"
    rc=$?
    [ "$rc" = 0 ]
}
said 1 'nats-server: no nats-server processes running' quit
start "$work/$mine"
first=$pid
start "$work/$mine"
said 1 'nats-server: multiple nats-server processes running:' term
check 'each of them is named' [ "$(sed 1d "$work/said" | sort)" = \
    "$(printf '%s\n' "$first" "$pid" | sort)" ]
said 0 '' "term=$first"
check 'term ends that one' ended "$first"
said 0 '' quit
check 'quit ends the other one' ended "$pid"
pid=''

# --- nats-bench on a server with nothing in it --------------------------------------------------

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
