"""A million messages each way between NATS and Kafka clients.

    million.py NATS_URL BROKER [COUNT]

Published over NATS, read by a Kafka group in which members join and leave: every message once, in
order per partition. Produced by a Kafka client, pulled and acknowledged over NATS: keys, headers
and values as they were.
"""
import json
import socket
import sys
import threading

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

nats_url, broker = sys.argv[1:3]
COUNT = int(sys.argv[3]) if len(sys.argv) > 3 else 1000000
PARTS = 4
EACH = COUNT // PARTS


class Nats:
    def __init__(self):
        host, port = nats_url.split('//')[1].split(':')
        self.sock = socket.create_connection((host, int(port)))
        self.file = self.sock.makefile('rb', 1 << 20)
        self.file.readline()
        self.sock.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB in 1\r\n')

    def message(self):
        """Header and payload of the next one; None behind a PONG."""
        while True:
            words = self.file.readline().split()
            if not words:
                raise EOFError
            if words[0] == b'PONG':
                return None
            if words[0] in (b'MSG', b'HMSG'):
                head = int(words[-2]) if words[0] == b'HMSG' else 0
                body = self.file.read(int(words[-1]) + 2)[:-2]
                return words, body[:head], body[head:]

    def publish(self, lines):
        self.sock.sendall(lines + b'PING\r\n')
        while self.message() is not None:
            pass

    def request(self, subject, body=b''):
        self.sock.sendall(b'PUB %s in %d\r\n%s\r\n' % (subject.encode(), len(body), body))
        return json.loads(self.message()[2])


class Member(threading.Thread):
    """Reads until it is told to leave, or nothing is left; commits what it has seen when partitions
    are taken from it."""

    def __init__(self, seen, done):
        super().__init__()
        self.seen, self.done, self.leave = seen, done, threading.Event()
        self.at = {}

    def commit(self, consumer, parts):
        gone = [TopicPartition('in.kafka', p.partition, self.at.pop(p.partition))
                for p in parts if p.partition in self.at]
        if gone:
            consumer.commit(offsets=gone, asynchronous=False)

    def run(self):
        consumer = Consumer({'bootstrap.servers': broker, 'group.id': 'million',
                             'enable.auto.commit': False, 'auto.offset.reset': 'earliest',
                             'session.timeout.ms': 10000})
        consumer.subscribe(['in.kafka'], on_revoke=self.commit)
        while not self.leave.is_set() and not self.done.is_set():
            for m in consumer.consume(5000, 0.2):
                if m.error():
                    assert m.error().code() == KafkaError._PARTITION_EOF, m.error()
                    continue
                self.seen[m.partition()].append(int(m.value()))
                self.at[m.partition()] = m.offset() + 1
            if sum(map(len, self.seen)) >= COUNT:
                self.done.set()
        self.commit(consumer, consumer.assignment())
        consumer.close()


def wait_for(seen, count, done):
    while sum(map(len, seen)) < count and not done.wait(0.05):
        pass


def from_nats(nats, admin):
    admin.create_topics([NewTopic('in.kafka', PARTS, 1)])['in.kafka'].result(30)
    seen, done = [[] for _ in range(PARTS)], threading.Event()
    members = [Member(seen, done) for _ in range(2)]
    for m in members:
        m.start()
    for first in range(0, EACH, 5000):
        lines = bytearray()
        for i in range(first, min(first + 5000, EACH)):
            for p in range(PARTS):
                body = b'%d' % i
                lines += b'PUB in.kafka.%d %d\r\n%s\r\n' % (p, len(body), body)
        nats.publish(lines)
        if first == EACH // 4 // 5000 * 5000:
            members.append(Member(seen, done))
            members[-1].start()
        if first == EACH // 2 // 5000 * 5000:
            members[0].leave.set()
            members[0].join()
    wait_for(seen, COUNT, done)
    for m in members:
        m.leave.set()
        m.join()
    for p in range(PARTS):
        assert seen[p] == list(range(EACH)), (p, len(seen[p]))
    print('ok', COUNT, 'published over NATS, read by a group: each once, in order', flush=True)


def expected(i):
    return b'k%d' % (i % 100), b'value %d' % i


def from_kafka(nats, admin):
    failed = []
    admin.create_topics([NewTopic('out.kafka', 1, 1)])['out.kafka'].result(30)
    producer = Producer({'bootstrap.servers': broker, 'linger.ms': 20, 'enable.idempotence': True,
                         'compression.codec': 'lz4', 'queue.buffering.max.messages': 200000})

    def told(err, _):
        if err:
            failed.append(err)

    for i in range(COUNT):
        key, value = expected(i)
        while True:
            try:
                producer.produce('out.kafka', value, key, headers=[('n', b'%d' % i)],
                                 on_delivery=told)
                break
            except BufferError:
                producer.poll(0.1)
        if i % 1000 == 0:
            producer.poll(0)
    producer.flush()
    assert not failed, failed[0]
    stream = 'out=2Ekafka'
    info = nats.request('$JS.API.STREAM.INFO.' + stream)
    assert info['state']['messages'] == COUNT, info
    made = nats.request('$JS.API.CONSUMER.DURABLE.CREATE.' + stream + '.c', json.dumps({
        'stream_name': stream, 'config': {'durable_name': 'c', 'ack_policy': 'explicit',
                                          'max_ack_pending': 20000}}).encode())
    assert 'error' not in made, made
    at = 0
    while at < COUNT:
        ask = b'{"batch":5000,"expires":20000000000}'
        acks = bytearray()
        nats.sock.sendall(b'PUB $JS.API.CONSUMER.MSG.NEXT.%s.c in %d\r\n%s\r\n'
                          % (stream.encode(), len(ask), ask))
        for _ in range(min(5000, COUNT - at)):
            words, header, value = nats.message()
            key, want = expected(at)
            assert value == want, (at, header, value)
            assert b'\r\nKafka-Key: ' + key + b'\r\n' in header, header
            assert b'\r\nn: %d\r\n' % at in header, header
            acks += b'PUB %s 4\r\n+ACK\r\n' % words[3]
            at += 1
        nats.publish(acks)
    left = nats.request('$JS.API.CONSUMER.INFO.' + stream + '.c')
    assert (left['num_pending'], left['num_ack_pending']) == (0, 0), left
    print('ok', COUNT, 'produced by Kafka, pulled and acknowledged over NATS', flush=True)


from_nats(Nats(), AdminClient({'bootstrap.servers': broker}))
from_kafka(Nats(), AdminClient({'bootstrap.servers': broker}))
