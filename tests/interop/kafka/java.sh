#!/usr/bin/env bash
# java.sh: the tools that come with Kafka (its own Java clients) against our listener.
#
#   java.sh BROKER CLASSPATH       prints "ok <case>" per case
set -euo pipefail
broker=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CLASSPATH=$2
p=org.apache.kafka.tools

# The producer of the console moved between 3.9 and 4.x.
classes=$(for j in ${CLASSPATH//:/ }; do
    case $j in */kafka-tools-* | */kafka_2*) unzip -l "$j" ;; esac
done)
producer=$p.ConsoleProducer
grep -q org/apache/kafka/tools/ConsoleProducer.class <<<"$classes" ||
    producer=kafka.tools.ConsoleProducer

run() { # class, argument...: output in $work/out
    if ! timeout 100 java -Xmx256m -XX:TieredStopAtLevel=1 "$@" >"$work/out" 2>"$work/err"; then
        echo "FAILED: $*"
        grep -v -E 'log4j|SLF4J' "$work/err" | tail -20
        tail -20 "$work/out"
        exit 1
    fi
}

holds() { # regular expression over the output
    grep -qE -- "$1" "$work/out" || {
        echo "not there: $1"
        cat "$work/out"
        grep -v -E 'log4j|SLF4J' "$work/err" | tail -20
        exit 1
    }
}

topics() { run $p.TopicCommand --bootstrap-server "$broker" "$@"; }
groups() { run $p.consumer.group.ConsumerGroupCommand --bootstrap-server "$broker" "$@"; }
configs() { run kafka.admin.ConfigCommand --bootstrap-server "$broker" "$@"; }
consume() {
    run $p.consumer.ConsoleConsumer --bootstrap-server "$broker" --timeout-ms 30000 "$@"
}

topics --create --topic java.three --partitions 3 --config retention.ms=3600000
topics --list
holds '^java\.three$'
topics --describe --topic java.three
holds 'PartitionCount: 3.*ReplicationFactor: 1.*retention.ms=3600000'
holds 'Partition: 2.*Leader: 1'
topics --alter --topic java.three --partitions 4
topics --describe --topic java.three
holds 'PartitionCount: 4'
echo "ok topics: create, list, describe, add partitions"

topics --create --topic java.gone
topics --delete --topic java.gone
topics --list
! grep -q java.gone "$work/out"
echo "ok topics: delete"

configs --alter --entity-type topics --entity-name java.three --add-config max.message.bytes=500000
configs --describe --entity-type topics --entity-name java.three
holds 'max.message.bytes=500000'
configs --alter --entity-type topics --entity-name java.three --delete-config max.message.bytes
configs --describe --entity-type topics --entity-name java.three
! grep -q 'max.message.bytes=500000' "$work/out"
configs --describe --all --entity-type topics --entity-name java.three
holds 'cleanup.policy=delete'
configs --describe --all --entity-type brokers --entity-name 1
echo "ok configs: alter, describe, delete"

topics --create --topic java.console
for codec in none gzip snappy lz4 zstd; do
    printf 'a:1\tkey-%s\tvalue of %s\n' "$codec" "$codec" >"$work/in"
    run $producer --bootstrap-server "$broker" --topic java.console --compression-codec "$codec" \
        --property parse.key=true --property parse.headers=true <"$work/in"
done
consume --topic java.console --from-beginning --max-messages 5 --property print.key=true \
    --property print.headers=true --property print.offset=true
[ "$(wc -l <"$work/out")" = 5 ]
holds $'^Offset:0\ta:1\tkey-none\tvalue of none$'
holds $'^Offset:4\ta:1\tkey-zstd\tvalue of zstd$'
echo "ok console: every codec, keys, headers"

consume --topic java.console --group java.group --from-beginning --max-messages 3
groups --list
holds '^java\.group$'
groups --describe --group java.group
holds 'java\.console +0 +3 +5 +2'
groups --describe --group java.group --state
holds 'Empty'
groups --describe --group java.group --members
groups --reset-offsets --group java.group --topic java.console --to-offset 1 --execute
groups --describe --group java.group
holds 'java\.console +0 +1 +5 +4'
groups --reset-offsets --group java.group --topic java.console --to-earliest --execute
groups --delete-offsets --group java.group --topic java.console
groups --delete --group java.group
groups --list
! grep -q java.group "$work/out"
echo "ok consumer-groups: list, describe, reset, delete"

run $p.GetOffsetShell --bootstrap-server "$broker" --topic java.console
holds '^java\.console:0:5$'
run $p.GetOffsetShell --bootstrap-server "$broker" --topic java.console --time -3
holds '^java\.console:0:4$'
echo '{"version":1,"partitions":[{"topic":"java.console","partition":0,"offset":2}]}' >"$work/del"
run $p.DeleteRecordsCommand --bootstrap-server "$broker" --offset-json-file "$work/del"
holds 'low_watermark: 2'
consume --topic java.console --from-beginning --max-messages 3 --property print.offset=true
holds '^Offset:2'
run $p.LogDirsCommand --bootstrap-server "$broker" --describe --topic-list java.console
holds '"java.console-0"'
echo "ok offsets, delete-records, log-dirs"

run $p.ProducerPerformance --topic java.three --num-records 50000 --record-size 200 \
    --throughput -1 --producer-props bootstrap.servers="$broker"
holds '^50000 records sent'
run $p.ConsumerPerformance --bootstrap-server "$broker" --topic java.three --messages 50000 \
    --timeout 60000
run $p.GetOffsetShell --bootstrap-server "$broker" --topic java.three
[ "$(awk -F: '{ n += $3 } END { print n }' "$work/out")" = 50000 ]
echo "ok perf-test: produce, consume"

topics --create --topic java.verify
run $p.VerifiableProducer --bootstrap-server "$broker" --topic java.verify --max-messages 1000 \
    --acks -1
holds '"acked":1000'
run $p.VerifiableConsumer --bootstrap-server "$broker" --topic java.verify --max-messages 1000 \
    --group-id java.verify --reset-policy earliest
holds '"success":true'
echo "ok verifiable producer and consumer"

cat >"$work/txn" <<END
bootstrap.servers=$broker
END
topics --create --topic java.copy
run $p.TransactionalMessageCopier --broker-list "$broker" --input-topic java.verify \
    --input-partition 0 --output-topic java.copy --consumer-group java.copier \
    --transactional-id java.txn \
    --transaction-size 50 --max-messages 200
run $p.GetOffsetShell --bootstrap-server "$broker" --topic java.copy
consume --topic java.copy --from-beginning --max-messages 200 --isolation-level read_committed
[ "$(wc -l <"$work/out")" = 200 ]
run $p.TransactionsCommand --bootstrap-server "$broker" list
holds 'java\.txn'
echo "ok transactions: copied, read committed, listed"

run $p.ClientCompatibilityTest --bootstrap-server "$broker" --topic java.compat \
    --offsets-for-times-supported true --cluster-id-supported true \
    --expect-record-too-large-exception false \
    --num-cluster-nodes 1 --create-topics-supported true --describe-acls-supported true \
    --describe-configs-supported true --idempotent-producer-supported true
echo "ok client compatibility test"
