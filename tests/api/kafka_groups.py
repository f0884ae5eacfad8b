"""What test_kafka_groups runs: groups of Debian's Kafka clients for Python, each member in its own
thread. Arguments: what, host:port."""
import sys
import threading
import time

PARTITIONS = 4  # the server makes topics so
DEADLINE = time.monotonic() + 90


def until(what, condition):
    """Waits for something that others bring about."""
    while not condition():
        assert time.monotonic() < DEADLINE, what
        time.sleep(0.02)


class Member(threading.Thread):
    """Reads until it is told to end; keeps what it has read, and commits it when it loses it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.got = []  # (partition, offset, value)
        self.parts = set()
        self.ending = False
        self.error = None
        self.start()

    def run(self):
        try:
            self.read()
        except Exception as error:  # told by the main thread
            self.error = error

    def leave(self):
        self.ending = True
        self.join(60)
        assert not self.is_alive() and self.error is None, self.error


def check(members, n):
    """All messages, each once, in order in its partition at each member."""
    values = sorted(value for m in members for _, _, value in m.got)
    assert values == sorted(b"%d" % i for i in range(n)), (len(values), values[:5], values[-5:])
    for m in members:
        last = {}
        for partition, offset, _ in m.got:
            assert offset > last.get(partition, -1), (partition, offset)
            last[partition] = offset


def scene(new_member, produce):
    """One member reads all; a second one gets half of the partitions; the first one leaves."""
    produce(0, 400)
    a = new_member()
    until("the first reads all", lambda: a.error or len(a.got) == 400)
    assert a.error is None, a.error
    b = new_member()
    until("two share", lambda: len(a.parts) == 2 and len(b.parts) == 2)
    assert not a.parts & b.parts, (a.parts, b.parts)
    produce(400, 400)
    until("both read", lambda: len(a.got) + len(b.got) == 800)
    assert len(a.got) > 400 and b.got, (len(a.got), len(b.got))
    a.leave()
    until("one has all", lambda: len(b.parts) == 4)
    produce(800, 200)
    until("the other reads", lambda: len(a.got) + len(b.got) == 1000)
    b.leave()
    check([a, b], 1000)
    # Who comes later goes on where they ended.
    produce(1000, 100)
    c = new_member()
    until("the last reads", lambda: len(c.got) == 100)
    c.leave()
    check([a, b, c], 1100)


def confluent_producer(servers, topic):
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})

    def produce(first, n):
        for i in range(first, first + n):
            producer.produce(topic, key=str(i), value=str(i), partition=i % PARTITIONS)
        assert producer.flush(60) == 0

    return produce


def commit(consumer):
    from confluent_kafka import KafkaException

    try:
        consumer.commit(asynchronous=False)
    except KafkaException as e:
        assert e.args[0].name() == "_NO_OFFSET", e  # nothing was read since the last time


def confluent(servers, strategy):
    from confluent_kafka import Consumer

    topic = "topic-" + strategy

    class Confluent(Member):
        def lost(self, consumer, parts):
            commit(consumer)
            self.parts = self.parts - {p.partition for p in parts}

        def gained(self, consumer, parts):
            self.parts = self.parts | {p.partition for p in parts}

        def read(self):
            consumer = Consumer({
                "bootstrap.servers": servers, "group.id": "group-" + strategy,
                "auto.offset.reset": "earliest", "enable.auto.commit": False,
                "partition.assignment.strategy": strategy, "heartbeat.interval.ms": 100,
                "topic.metadata.refresh.interval.ms": 1000})
            consumer.subscribe([topic], on_assign=self.gained, on_revoke=self.lost)
            while not self.ending:
                m = consumer.poll(0.05)
                if m is not None:
                    assert m.error() is None, m.error()
                    self.got.append((m.partition(), m.offset(), m.value()))
            commit(consumer)
            consumer.close()

    scene(Confluent, confluent_producer(servers, topic))


def old(servers):
    """kafka-python 2.0.2: JoinGroup 2, no ids first."""
    from kafka import ConsumerRebalanceListener, KafkaConsumer

    class Old(Member, ConsumerRebalanceListener):
        def on_partitions_revoked(self, revoked):
            if self.parts:
                self.consumer.commit()
            self.parts = set()

        def on_partitions_assigned(self, assigned):
            self.parts = {p.partition for p in assigned}

        def read(self):
            self.consumer = KafkaConsumer(
                bootstrap_servers=servers, group_id="group-old", auto_offset_reset="earliest",
                enable_auto_commit=False, heartbeat_interval_ms=100)
            self.consumer.subscribe(["topic-old"], listener=self)
            while not self.ending:
                for messages in self.consumer.poll(50).values():
                    self.got += [(m.partition, m.offset, m.value) for m in messages]
            self.consumer.commit()
            self.consumer.close(autocommit=False)

    scene(Old, confluent_producer(servers, "topic-old"))


def through_a_crash(servers):
    """Reads on when the server has come back; says "half" when it may be killed."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    consumer = Consumer({
        "bootstrap.servers": servers, "group.id": "crash", "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "log_level": 0, "reconnect.backoff.max.ms": 200})
    consumer.subscribe(["crash"])
    got = []
    while len(got) < 200:
        m = consumer.poll(1)
        assert time.monotonic() < DEADLINE, len(got)
        if m is None or m.error():
            continue
        got.append(m.value())
        if len(got) == 100:
            consumer.commit(asynchronous=False)
            print("half", flush=True)
    assert got == [b"%d" % (i + 1) for i in range(200)], got
    while True:
        try:
            consumer.commit(offsets=[TopicPartition("crash", 0, 200)], asynchronous=False)
            break
        except KafkaException as e:  # it has to join again first
            assert e.args[0].name() in ("UNKNOWN_MEMBER_ID", "REBALANCE_IN_PROGRESS"), e
            assert time.monotonic() < DEADLINE
            consumer.poll(0.1)  # what was not committed comes again
    (part,) = consumer.committed([TopicPartition("crash", 0)])
    assert part.offset == 200, part
    consumer.close()
    print("all", flush=True)


def admin(servers):
    """Lists, describes, changes, deletes."""
    from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
    from kafka.structs import OffsetAndMetadata

    confluent_producer(servers, "admin")(0, 100)
    part = TopicPartition("admin", 1)
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id="simple",
                             enable_auto_commit=False)
    consumer.assign([part])
    assert consumer.committed(part) is None
    consumer.commit({part: OffsetAndMetadata(17, "text")})
    assert consumer.committed(part, metadata=True) == OffsetAndMetadata(17, "text")
    consumer.close(autocommit=False)
    asking = KafkaAdminClient(bootstrap_servers=servers)
    assert ("simple", "") in asking.list_consumer_groups(), asking.list_consumer_groups()
    assert asking.list_consumer_group_offsets("simple") == {part: OffsetAndMetadata(17, "text")}
    (described,) = asking.describe_consumer_groups(["simple"])
    assert (described.group, described.state) == ("simple", "Empty"), described
    (described,) = asking.describe_consumer_groups(["other"])
    assert (described.group, described.state) == ("other", "Dead"), described
    deleted = asking.delete_consumer_groups(["simple", "other"])
    assert sorted((g, e.errno) for g, e in deleted) == [("other", 69), ("simple", 0)], deleted
    assert asking.list_consumer_groups() == []
    assert asking.list_consumer_group_offsets("simple") == {}
    asking.close()


{"confluent": confluent, "old": old, "through_a_crash": through_a_crash,
 "admin": admin}[sys.argv[1]](*sys.argv[2:])
