#!/usr/bin/env bash
# test_nats_bench: what nats-bench says to command lines, good and bad.
set -uo pipefail
bench=$MIDGE_BUILDDIR/bin/nats-bench
passed=0 failed=0

wants() { # status, text that must occur in the output, arguments...
    local status=$1 text=$2 out rc
    shift 2
    out=$("$bench" "$@" 2>&1)
    rc=$?
    case $out in *"$text"*) ;; *) rc="$rc and no \"$text\"" ;; esac
    if [ "$rc" = "$status" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'nats-bench %s: status %s\n%s\n' "$*" "$rc" "$out"
    fi
}

# Port 1 refuses connections: what gets that far has passed the parser.
nobody=nats://127.0.0.1:1
wants 2 'which mode?'
wants 2 'unknown mode "js"' js
wants 2 'unknown mode "pub sub"' pub sub
wants 2 'did you mean --size?' pub --sise 10
wants 2 'unknown option --frobnicate' pub --frobnicate
wants 2 '--size needs a value' pub --size
wants 2 'not a number' pub --size ten
wants 2 'not a number' pub --size -5
wants 2 'not a number' pub --count 99999999999999999999999
wants 2 'must be 1 to 4096' pub --clients 0
wants 2 'must be 1 to 4096' pub --clients 1g
wants 2 'not a duration' pub --duration soon
wants 2 'not a duration' pub --duration 0
wants 2 'not nats://' pub --server nats://127.0.0.1:99999
wants 2 'not nats://' pub --server nats://
wants 2 'takes no value' js pub --sync=1
wants 2 'must be file or memory' js pub --storage tape
wants 2 'must be explicit or none' js pull --ack sometimes
wants 2 'modes that publish' sub --rate 5
wants 2 '--size 8 or more' pubsub --size 4
wants 2 'less than one message' pub --count 3 --clients 4
wants 0 'usage: nats-bench MODE' --help
wants 0 'js ordered' -help
wants 1 'nats-bench: publish 0: Connection refused' pub --server "$nobody" --count 1
wants 1 'Connection refused' -server=$nobody -size=1k -count=1k js pub
wants 1 'no such process' pub --server "$nobody" --server-pid 1000000000
wants 1 'Connection refused' pub --server tls://127.0.0.1:1 --count 1
wants 1 'Connection refused' pub --server wss://u:p@127.0.0.1:1/path --count 1
wants 2 'not nats://' pub --server wss://
wants 1 'Connection refused' pub --server "$nobody" --count 1 --creds /none --tls-ca /none --ws
printf 'cases: %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
