#!/usr/bin/env bash
# compare.sh: what `./dev bench` runs. Each row starts a fresh server on its own port and directory,
# pinned to core 0, with nats-bench on core 1; with --peer the same row then runs against the other
# server. Rows are short, so look at ratios on a quiet machine, and at more than one run.
#
# usage: compare.sh [--peer PATH] [--server PATH] [--bench PATH] [--seconds N] [--dir PATH] [row...]
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
server=$top/build/bin/midge-server bench=$top/build/bin/nats-bench
peer='' seconds=4 parent=${TMPDIR:-/tmp}
wanted=()

die() { echo "bench: $*" >&2; exit 1; }
while [ $# -gt 0 ]; do
    case $1 in
    --peer | --server | --bench | --seconds | --dir)
        [ $# -gt 1 ] || die "$1 needs a value"
        case $1 in
        --peer) peer=$2 ;;
        --server) server=$2 ;;
        --bench) bench=$2 ;;
        --seconds) seconds=$2 ;;
        --dir) parent=$2 ;;
        esac
        shift 2 ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) die "unknown option $1; there are --peer, --server, --bench, --seconds, --dir" ;;
    *) wanted+=("$1"); shift ;;
    esac
done
for program in "$server" "$bench" ${peer:+"$peer"}; do
    [ -x "$program" ] || die "$program is not a program"
done
case $seconds in '' | *[!0-9]*) die "--seconds $seconds: not a number" ;; esac

# With one core everything shares it, and the numbers say little.
pin_server=() pin_bench=()
if command -v taskset >/dev/null && [ "$(nproc)" -ge 2 ]; then
    pin_server=(taskset -c 0) pin_bench=(taskset -c 1)
else
    echo "bench: not pinned: fewer than two cores, or no taskset" >&2
fi
# A congestion control made for wide networks throttles the loopback.
congestion=()
! grep -qw cubic /proc/sys/net/ipv4/tcp_available_congestion_control 2>/dev/null ||
    congestion=(--congestion cubic)

work=$(mktemp -d "$parent/midge-bench.XXXXXX")
pid='' port=''
stop_server() {
    [ -n "$pid" ] || return 0
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    pid=''
    rm -rf "$work/data"
}
trap 'stop_server; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

start_server() { # program
    local tries=0
    mkdir -p "$work/data"
    : >"$work/log"
    "${pin_server[@]}" "$1" -a 127.0.0.1 -p -1 -js -sd "$work/data" >"$work/log" 2>&1 &
    pid=$!
    until grep -q 'Server is ready' "$work/log"; do
        if ! kill -0 "$pid" 2>/dev/null || [ $((tries += 1)) -gt 300 ]; then
            cat "$work/log" >&2
            die "$1 did not start"
        fi
        sleep 0.1
    done
    port=$(sed -n 's/.*Listening for client connections on .*:\([0-9]*\)$/\1/p' "$work/log")
}

run() { # nats-bench arguments...; the answer goes to $work/json
    "${pin_bench[@]}" "$bench" "$@" --server "nats://127.0.0.1:$port" --server-pid "$pid" \
        "${congestion[@]}" --json --quiet >"$work/json" ||
        { cat "$work/json" "$work/log" >&2; die "nats-bench $* failed"; }
}

field() { # name: the number of the first role
    sed -n "s/.*\"roles\":\[{[^]]*\"$1\":\([0-9.]*\).*/\1/p" "$work/json" | head -1
}
cpu_per_message() { sed -n 's/.*"server_cpu_ns_per_message":\([0-9]*\).*/\1/p' "$work/json"; }

# Every row: its name, what it measures, and a function that leaves its result in value and cpu.
rows=(core-pub js-pub-4k js-pub-32k js-pub-16B js-pub-1K js-fast js-fast-16B js-pull request
    js-rate-p50 js-rate-tail)
title() {
    case $1 in
    core-pub) echo "core publish, 128 B" ;;
    js-pub-4k) echo "JetStream publish, 128 B, file, window 4096" ;;
    js-pub-32k) echo "JetStream publish, 128 B, file, window 32768" ;;
    js-pub-16B) echo "JetStream publish, 16 B, file, window 32768" ;;
    js-pub-1K) echo "JetStream publish, 1 KB, file, window 4096" ;;
    js-fast) echo "JetStream fast-ingest batch, 128 B, file, window 32768" ;;
    js-fast-16B) echo "JetStream fast-ingest batch, 16 B, file, window 32768" ;;
    js-pull) echo "JetStream pull, 128 B, explicit acks" ;;
    request) echo "request and reply, 128 B, p50" ;;
    js-rate-p50) echo "JetStream publish, 1 KB at 50 k/s, p50" ;;
    js-rate-tail) echo "JetStream publish, 1 KB at 50 k/s, p99.99" ;;
    *) die "no row $1; there are ${rows[*]}" ;;
    esac
}
arguments() {
    case $1 in
    core-pub) echo "pub --size 128" ;;
    js-pub-4k) echo "js pub --size 128 --window 4096" ;;
    js-pub-32k) echo "js pub --size 128 --window 32768" ;;
    js-pub-16B) echo "js pub --size 16 --window 32768" ;;
    js-pub-1K) echo "js pub --size 1k --window 4096" ;;
    js-fast) echo "js pub --fast --size 128 --window 32768" ;;
    js-fast-16B) echo "js pub --fast --size 16 --window 32768" ;;
    js-pull) echo "js pull --batch 5000" ;;
    request) echo "request --size 128" ;;
    js-rate-p50 | js-rate-tail) echo "js pub --size 1k --rate 50000 --window 16384" ;;
    esac
}
measure() { # program, row
    start_server "$1"
    if [ "$2" = js-pull ]; then
        run js pub --size 128 --window 4096 --duration "$seconds"
        # shellcheck disable=SC2046
        run $(arguments "$2") --duration "$seconds" --count "$(field messages)"
    else
        # shellcheck disable=SC2046
        run $(arguments "$2") --duration "$seconds"
    fi
    value=$(field messages_per_second) cpu=$(cpu_per_message)
    case $2 in
    request | js-rate-p50) value=$(field p50) ;;
    js-rate-tail) value=$(field p99.99) ;;
    esac
    [ -n "$value" ] && [ -n "$cpu" ] ||
        { cat "$work/json" >&2; die "no result in the answer above"; }
    stop_server
}

human() { # row, value
    case $1 in
    request | js-rate-*) awk -v v="$2" 'BEGIN { printf "%.1f us", v / 1000 }' ;;
    *) awk -v v="$2" 'BEGIN { if (v < 1e6) printf "%.1f k/s", v / 1e3
        else printf "%.2f M/s", v / 1e6 }' ;;
    esac
}
ratio() { # row, ours, theirs: above 1 is better
    awk -v r="$1" -v a="$2" -v b="$3" 'BEGIN { if (r ~ /^request|^js-rate/) { t = a; a = b; b = t }
        if (b > 0) printf "%.2f", a / b; else printf "-" }'
}

[ ${#wanted[@]} -gt 0 ] || wanted=("${rows[@]}")
for row in "${wanted[@]}"; do title "$row" >/dev/null; done
model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
load=$(cut -d' ' -f1 /proc/loadavg)
cat <<HEAD
$model, $(nproc) cores, Linux $(uname -r), $(date -u +%Y-%m-%d), load average before: $load
one core for the server, one for nats-bench; $seconds s a row
midge acknowledges after the data is synced to disk${peer:+; the peer, as it is by default, before}

HEAD
line='| %-46s | %12s | %12s | %12s | %12s | %6s |\n'
# shellcheck disable=SC2059
{
    printf "$line" row midge 'server ns' peer 'server ns' ratio
    printf '|---|---:|---:|---:|---:|---:|\n'
    for row in "${wanted[@]}"; do
        measure "$server" "$row"
        ours=$value ours_cpu=$cpu
        if [ -n "$peer" ]; then
            measure "$peer" "$row"
            printf "$line" "$(title "$row")" "$(human "$row" "$ours")" "$ours_cpu" \
                "$(human "$row" "$value")" "$cpu" "$(ratio "$row" "$ours" "$value")"
        else
            printf "$line" "$(title "$row")" "$(human "$row" "$ours")" "$ours_cpu" - - -
        fi
    done
}
echo
echo "server ns: the server's CPU time per message. Rows in turn:"
for row in "${wanted[@]}"; do
    echo "    $row: nats-bench $(arguments "$row") --duration $seconds"
done
