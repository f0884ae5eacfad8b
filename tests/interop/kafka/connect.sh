#!/usr/bin/env bash
# connect.sh: Kafka Connect against our listener: a file's lines into a topic and out again.
#
#   connect.sh BROKER CLASSPATH       prints "ok <case>" per case
set -euo pipefail
work=$(mktemp -d)
export CLASSPATH=$2
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; rm -rf "$work"' EXIT
port=$(python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
rest=http://127.0.0.1:$port
file=org.apache.kafka.connect.file
common="bootstrap.servers=$1
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.flush.interval.ms=500
listeners=$rest
plugin.discovery=service_load"

same() { # lines: are those in the file that comes out
    for _ in $(seq 300); do
        [ -f "$work/out" ] && [ "$(wc -l <"$work/out")" -ge "$1" ] && break
        sleep 0.2
    done
    cmp "$work/in" "$work/out" || { tail -30 "$work/log"; return 1; }
}
start() { # class, argument...
    java -Xmx400m -XX:TieredStopAtLevel=1 "org.apache.kafka.connect.cli.$1" "${@:2}" \
        >"$work/log" 2>&1 &
    pid=$!
}
stop() {
    kill "$pid"
    wait "$pid" || true
    pid=
}

seq 500 >"$work/in"
printf '%s\noffset.storage.file.filename=%s\n' "$common" "$work/offsets" >"$work/worker"
printf 'name=source\nconnector.class=%s\nfile=%s\ntopic=java.connect\n' \
    $file.FileStreamSourceConnector "$work/in" >"$work/source"
printf 'name=sink\nconnector.class=%s\nfile=%s\ntopics=java.connect\n' \
    $file.FileStreamSinkConnector "$work/out" >"$work/sink"
start ConnectStandalone "$work/worker" "$work/source" "$work/sink"
same 500
seq 501 700 >>"$work/in"
same 700
stop
echo "ok connect: standalone"

rm "$work/out"
{
    printf '%s\ngroup.id=java.connect\nexactly.once.source.support=enabled\n' "$common"
    for what in config offset status; do
        printf '%s.storage.topic=java.connect.%s\n' $what $what
        printf '%s.storage.replication.factor=1\n' $what
    done
} >"$work/worker"
start ConnectDistributed "$work/worker"
put() { # name, class, properties
    curl -sf -X POST -H 'Content-Type: application/json' $rest/connectors -d \
        '{"name": "'"$1"'", "config": {"connector.class": "'$file.$2'", '"$3"'}}' >"$work/answer"
}
for _ in $(seq 150); do
    curl -sf $rest/connectors >"$work/answer" && break
    sleep 0.4
done
put source FileStreamSourceConnector '"file": "'"$work/in"'", "topic": "java.connected"'
put sink FileStreamSinkConnector '"file": "'"$work/out"'", "topics": "java.connected"'
same 700
echo "ok connect: distributed, exactly once"
stop
seq 701 900 >>"$work/in"
start ConnectDistributed "$work/worker"
same 900
echo "ok connect: goes on after a restart"
