"""What test_kafka_txn runs: transactions of Debian's confluent-kafka. Arguments: what, servers."""
import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition


def producer(servers, name, **more):
    p = Producer(dict({"bootstrap.servers": servers, "transactional.id": name,
                       "log_level": 0}, **more))
    p.init_transactions(30)
    return p


def put(p, topic, values):
    for i in values:
        p.produce(topic, str(i), partition=i % 4)


def read(servers, topic, isolation):
    """All partitions to their end."""
    c = Consumer({"bootstrap.servers": servers, "group.id": "none", "enable.partition.eof": True,
                  "auto.offset.reset": "earliest", "isolation.level": isolation})
    c.assign([TopicPartition(topic, p, 0) for p in range(4)])
    got, ends = [], 0
    while ends < 4:
        m = c.poll(60)
        assert m is not None, "no end after a minute"
        if m.error():
            assert m.error().name() == "_PARTITION_EOF", m.error()
            ends += 1
        else:
            got.append(int(m.value()))
    c.close()
    return sorted(got)


def both(servers, topic, committed, all_of_them):
    got = read(servers, topic, "read_committed")
    assert got == sorted(committed), got
    got = read(servers, topic, "read_uncommitted")
    assert got == sorted(all_of_them), got


def ends(servers):
    """Commits, aborts, and what is open."""
    p = producer(servers, "ends")
    p.begin_transaction()
    put(p, "ends", range(100))
    p.commit_transaction(30)
    both(servers, "ends", range(100), range(100))
    p.begin_transaction()
    put(p, "ends", range(100, 200))
    p.flush(30)
    both(servers, "ends", range(100), range(200))
    p.abort_transaction(30)
    both(servers, "ends", range(100), range(200))
    p.begin_transaction()
    put(p, "ends", range(200, 300))
    p.commit_transaction(30)
    both(servers, "ends", list(range(100)) + list(range(200, 300)), range(300))
    # Another one's open transaction holds back what is committed behind it.
    q = producer(servers, "other")
    q.begin_transaction()
    put(q, "ends", range(300, 304))
    q.flush(30)
    p.begin_transaction()
    put(p, "ends", range(400, 404))
    p.commit_transaction(30)
    both(servers, "ends", list(range(100)) + list(range(200, 300)),
         list(range(304)) + list(range(400, 404)))
    q.commit_transaction(30)
    both(servers, "ends", list(range(100)) + list(range(200, 304)) + list(range(400, 404)),
         list(range(304)) + list(range(400, 404)))


def after(servers):
    """What `ends` has left is there after a restart."""
    both(servers, "ends", list(range(100)) + list(range(200, 304)) + list(range(400, 404)),
         list(range(304)) + list(range(400, 404)))


def fenced(servers):
    """The second one with a name ends the first one's transaction, and the first one's life."""
    first = producer(servers, "same")
    first.begin_transaction()
    put(first, "fenced", range(10))
    first.flush(30)
    second = producer(servers, "same")
    second.begin_transaction()
    put(second, "fenced", range(10, 20))
    second.commit_transaction(30)
    try:
        put(first, "fenced", range(20, 30))
        first.commit_transaction(30)
        assert False, "it was not fenced"
    except KafkaException as e:
        assert e.args[0].fatal() or e.args[0].txn_requires_abort(), e
    both(servers, "fenced", range(10, 20), range(20))


def times_out(servers):
    q = producer(servers, "next")
    q.begin_transaction()
    put(q, "slow", range(10, 20))
    q.commit_transaction(30)
    p = producer(servers, "slow", **{"transaction.timeout.ms": 3000, "message.timeout.ms": 2900})
    p.begin_transaction()
    put(p, "slow", range(10))
    p.flush(30)
    q.begin_transaction()
    put(q, "slow", range(20, 30))
    q.commit_transaction(30)
    deadline = time.monotonic() + 30
    while read(servers, "slow", "read_committed") != list(range(10, 30)):
        assert time.monotonic() < deadline
    both(servers, "slow", range(10, 30), range(30))


def moves(servers):
    """Reads, writes elsewhere, and commits where it has read to: all or nothing."""
    p = producer(servers, "fill")
    p.begin_transaction()
    put(p, "from", range(100))
    p.commit_transaction(30)
    c = Consumer({"bootstrap.servers": servers, "group.id": "mover",
                  "auto.offset.reset": "earliest", "enable.auto.commit": False})
    c.subscribe(["from"])
    p = producer(servers, "mover")
    parts = [TopicPartition("from", i) for i in range(4)]
    moved = 0
    while moved < 100:
        before = [t.offset for t in c.committed(parts)]
        p.begin_transaction()
        batch = [m for m in c.consume(10, 0.2) if not m.error()]
        for m in batch:
            p.produce("to", m.value(), partition=m.partition())
        p.send_offsets_to_transaction(c.position(c.assignment()), c.consumer_group_metadata(), 30)
        if batch and moved % 20 == 10:
            p.abort_transaction(30)
            assert [t.offset for t in c.committed(parts)] == before
            p.begin_transaction()
            for m in batch:
                p.produce("to", m.value(), partition=m.partition())
            p.send_offsets_to_transaction(c.position(c.assignment()),
                                          c.consumer_group_metadata(), 30)
        p.commit_transaction(30)
        moved += len(batch)
    assert sum(t.offset > 0 for t in c.committed(parts)) == 4
    c.close()
    assert read(servers, "to", "read_committed") == list(range(100))


{f.__name__: f for f in (ends, after, fenced, times_out, moves)}[sys.argv[1]](
    sys.argv[2])
