"""Spark Structured Streaming over our Kafka listener, while a NATS client publishes.

    spark.py NATS_URL BROKER CLASSPATH      CLASSPATH: Spark's Kafka connector and what it needs

Counts and adds up by key what is published to a stream: as a batch up to the end, and as a
streaming query with an aggregate that goes on while messages come, and over a restart of the query.
"""
import json
import os
import socket
import sys
import tempfile
import threading

import pyspark
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

nats_url, broker, classpath = sys.argv[1:4]
jars = [j for j in classpath.split(':')
        if os.path.basename(j).split('-')[0] not in ('scala', 'slf4j')]
TOTAL, KEYS = 200000, 10


class Nats:
    """Just enough of a client: publish, and one request."""

    def __init__(self, url):
        host, port = url.split('//')[1].split(':')
        self.sock = socket.create_connection((host, int(port)))
        self.file = self.sock.makefile('rb')
        self.file.readline()
        self.sock.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB in 1\r\n')

    def ping(self):
        self.sock.sendall(b'PING\r\n')
        while self.file.readline() != b'PONG\r\n':
            pass

    def request(self, subject, body):
        self.sock.sendall(b'PUB %s in %d\r\n%s\r\n' % (subject.encode(), len(body), body))
        while True:
            words = self.file.readline().split()
            if words and words[0] == b'MSG':
                return json.loads(self.file.read(int(words[-1]) + 2))

    def publish(self, subject, first, last):
        out = bytearray()
        for i in range(first, last):
            body = b'{"key":"k%d","n":%d}' % (i % KEYS, i)
            out += b'PUB %s %d\r\n%s\r\n' % (subject.encode(), len(body), body)
        self.sock.sendall(out)
        self.ping()


def expected(n):
    return {f'k{k}': (len(range(k, n, KEYS)), sum(range(k, n, KEYS))) for k in range(KEYS)}


nats = Nats(nats_url)
made = nats.request('$JS.API.STREAM.CREATE.spark', b'{"name":"spark","subjects":["spark"]}')
assert 'error' not in made, made
spark = (SparkSession.builder.master('local[1]').appName('interop')
         .config('spark.jars', ','.join(jars)).config('spark.ui.enabled', 'false')
         .config('spark.ui.showConsoleProgress', 'false')
         .config('spark.sql.shuffle.partitions', '1').config('spark.driver.memory', '1g')
         .config('spark.driver.host', '127.0.0.1').config('spark.driver.bindAddress', '127.0.0.1')
         .getOrCreate())
spark.sparkContext.setLogLevel('ERROR')


def sums(frame):
    value = F.from_json(F.col('value').cast('string'), 'key string, n bigint')
    parsed = frame.select(value.alias('j'))
    return parsed.groupBy('j.key').agg(F.count('*').alias('count'), F.sum('j.n').alias('sum'))


def rows(frame):
    return {r['key']: (r['count'], r['sum']) for r in frame.collect()}


nats.publish('spark', 0, 20000)
options = {'kafka.bootstrap.servers': broker, 'subscribe': 'spark', 'startingOffsets': 'earliest'}
batch = spark.read.format('kafka').options(**options).load()
assert rows(sums(batch)) == expected(20000)
print('ok batch: everything up to the end')

kept = tempfile.mkdtemp()


def query(name):
    stream = (spark.readStream.format('kafka').options(**options)
              .option('maxOffsetsPerTrigger', '30000').load())
    return (sums(stream).writeStream.outputMode('complete').format('memory').queryName(name)
            .option('checkpointLocation', kept).start())


def publish():
    for first in range(20000, TOTAL, 5000):
        nats.publish('spark', first, min(first + 5000, TOTAL))


publisher = threading.Thread(target=publish)
running = query('while')
publisher.start()
publisher.join()
running.processAllAvailable()
assert rows(spark.table('while')) == expected(TOTAL), rows(spark.table('while'))
running.stop()
print('ok streaming: an aggregate while messages were published')

nats.publish('spark', TOTAL, TOTAL + 1000)
running = query('again')
running.processAllAvailable()
assert rows(spark.table('again')) == expected(TOTAL + 1000), rows(spark.table('again'))
running.stop()
print('ok streaming: on from its checkpoint')

out = spark.range(1000).select(F.col('id').cast('string').alias('key'), F.lit('v').alias('value'))
out.write.format('kafka').option('kafka.bootstrap.servers', broker).option('topic', 'spark').save()
info = nats.request('$JS.API.STREAM.INFO.spark', b'')
assert info['state']['messages'] == TOTAL + 2000, info['state']
print('ok written by Spark, counted by NATS')
print('pyspark', pyspark.__version__)
spark.stop()
