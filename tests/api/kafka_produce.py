"""What test_kafka_produce runs: Debian's Kafka clients for Python. Arguments: what, host:port."""
import sys


def confluent(servers):
    """Idempotent, compressed, keys, nulls, headers; read back in order, to the end."""
    from confluent_kafka import Consumer, Producer, TopicPartition

    acknowledged = []
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True,
                         "compression.type": "lz4"})
    for i in range(5000):
        producer.produce("confluent", key=str(i), value=None if i % 10 == 0 else "v%d" % i,
                         headers=[("a", b"\x00\xff"), ("a", b"")],
                         on_delivery=lambda e, m: acknowledged.append((e, m.offset())))
    producer.flush(60)
    assert acknowledged == [(None, i) for i in range(5000)], acknowledged[:3]
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "unused",
                         "enable.partition.eof": True})
    consumer.assign([TopicPartition("confluent", 0, 0)])
    n = 0
    while True:
        m = consumer.poll(60)
        assert m is not None, "no message for a minute"
        if m.error():
            assert m.error().name() == "_PARTITION_EOF", m.error()
            break
        assert (m.offset(), m.key()) == (n, str(n).encode())
        assert m.value() == (None if n % 10 == 0 else b"v%d" % n)
        assert m.headers() == [("a", b"\x00\xff"), ("a", b"")]
        n += 1
    assert n == 5000, n
    assert consumer.get_watermark_offsets(TopicPartition("confluent", 0)) == (0, 5000)


def older(servers):
    """kafka-python as of brokers 0.8.2, 0.9 and 0.10.0: message sets, both ways."""
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition

    topic = "older"
    part = TopicPartition(topic, 0)
    want = []
    for api in (0, 8, 2), (0, 9), (0, 10, 0):
        for codec in None, "gzip":
            producer = KafkaProducer(bootstrap_servers=servers, api_version=api, acks="all",
                                     compression_type=codec, linger_ms=20)
            futures = []
            for i in range(20):
                key = None if i % 3 == 0 else b"k%d" % i
                value = b"%d %s %d" % (api[1], (codec or "none").encode(), i)
                futures.append(producer.send(topic, value, key=key, timestamp_ms=5000 + i))
                want.append((key, value, 5000 + i if api >= (0, 10) else None))
            assert [f.get(60).offset for f in futures] == list(range(len(want) - 20, len(want)))
            producer.close()
    for api in (0, 8, 2), (0, 9), (0, 10, 0), (2, 5):
        consumer = KafkaConsumer(bootstrap_servers=servers, api_version=api, group_id=None)
        consumer.assign([part])
        consumer.seek_to_beginning(part)
        got = []
        while len(got) < len(want):
            for messages in consumer.poll(60000).values():
                got += messages
        assert [m.offset for m in got] == list(range(len(want)))
        assert [(m.key, m.value) for m in got] == [(k, v) for k, v, t in want]
        for m, (k, v, t) in zip(got, want):
            if api >= (0, 10):
                assert m.timestamp == (t if t is not None else -1), (api, m.timestamp, t)
        # From the middle of a batch, and a small answer at a time.
        consumer.seek(part, len(want) - 5)
        got = []
        while len(got) < 5:
            for messages in consumer.poll(60000).values():
                got += messages
        assert [m.offset for m in got] == list(range(len(want) - 5, len(want)))
        consumer.close()


def old(servers):
    """kafka-python 2.0.2: the oldest versions that are served."""
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition

    producer = KafkaProducer(bootstrap_servers=servers, compression_type="gzip", acks="all")
    futures = [producer.send("old", b"v%d" % i, key=b"k", headers=[("h", b"x")],
                             timestamp_ms=1000000 + 10 * i) for i in range(500)]
    assert [f.get(60).offset for f in futures] == list(range(500))
    consumer = KafkaConsumer(bootstrap_servers=servers)
    part = TopicPartition("old", 0)
    consumer.assign([part])
    assert consumer.beginning_offsets([part]) == {part: 0}
    assert consumer.end_offsets([part]) == {part: 500}
    found = consumer.offsets_for_times({part: 1000000 + 10 * 123 - 5})[part]
    assert (found.offset, found.timestamp) == (123, 1000000 + 10 * 123), found
    assert consumer.offsets_for_times({part: 2000000})[part] is None
    consumer.seek(part, 7)
    got = []
    while len(got) < 493:
        for messages in consumer.poll(60000).values():
            got += messages
    assert [m.offset for m in got] == list(range(7, 500))
    assert got[0].value == b"v7" and got[0].headers == [("h", b"x")]
    assert got[0].timestamp == 1000070


{"confluent": confluent, "old": old, "older": older}[sys.argv[1]](sys.argv[2])
