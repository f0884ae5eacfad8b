#!/usr/bin/env bash
# test_kafka_clients: Kafka clients of others, as Debian has them, see and make topics: kcat and
# python3-confluent-kafka (librdkafka), python3-kafka (the oldest versions of each request).
set -uo pipefail
here=$MIDGE_SRCDIR/tests/api
server=$MIDGE_BUILDDIR/bin/midge-server
python=$([ -x /usr/bin/python3 ] && echo /usr/bin/python3 || echo python3)
work=$(mktemp -d "${TMPDIR:-/tmp}/midge-kafka.XXXXXX")
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
        tail -20 "$work/out" "$work/err"
    fi
}

has() { # file, fixed text
    grep -qF -- "$2" "$1"
}

start() {
    local tries=0
    "$server" -a 127.0.0.1 -p -1 -js -sd "$work/store" --pool 0 --workers 2 --spread \
        --kafka 127.0.0.1:-1 --ports_file_dir "$work" >"$work/log" 2>&1 &
    pid=$!
    until grep -q 'Server is ready' "$work/log"; do
        if ! kill -0 "$pid" 2>/dev/null || [ $((tries += 1)) -gt 1200 ]; then
            check 'the server starts' false
            exit 1
        fi
        sleep 0.05
    done
    broker=127.0.0.1:$(sed -n 's/.*Kafka clients on 127.0.0.1:\([0-9]*\).*/\1/p' "$work/log")
}

say() { # command...: its output in out
    timeout -k 5 60 "$@" >"$work/out" 2>"$work/err"
}

start
check 'kcat asks' say kcat -b "$broker" -L
check 'kcat finds the broker' has "$work/out" "broker 1 at $broker (controller)"
check 'kcat finds no topic' has "$work/out" '0 topics:'
check 'kcat asks for a topic' say kcat -b "$broker" -L -t kcat.made
check 'it was made' has "$work/out" 'topic "kcat.made" with 1 partitions:'
check 'its partition has a leader' has "$work/out" 'partition 0, leader 1, replicas: 1, isrs: 1'
for part in kafka confluent; do
    check "python: $part" say "$python" "$here/kafka_topics.py" "$broker" "$part"
    check "python: $part: all was right" has "$work/out" 'all right'
done
nats=$(grep -ohs 'nats://127.0.0.1:[0-9]*' "$work"/*.ports | head -1)
check 'messages go both ways' say "$python" "$here/../interop/kafka/million.py" "$nats" "$broker" \
    20000
check 'by NATS to a group' has "$work/out" 'ok 20000 published over NATS'
check 'by Kafka to NATS' has "$work/out" 'ok 20000 produced by Kafka'
kill "$pid"
wait "$pid"
check 'the server ends well' [ $? = 0 ]
pid=''
printf 'cases: %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
