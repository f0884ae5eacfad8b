// @platformatic/kafka against our Kafka listener: flexible versions alone. platformatic.mjs BROKER
import assert from 'node:assert/strict';
import { Admin, Consumer, Producer, stringDeserializers, stringSerializers, MessagesStreamModes,
  ListOffsetTimestamps } from '@platformatic/kafka';

const base = { clientId: 'interop', bootstrapBrokers: [process.argv[2]], strict: true };
const ok = (what) => console.log(`ok ${what}`);
const admin = new Admin(base);

await admin.createTopics({ topics: ['flex.one'], partitions: 1, replicas: 1 });
await admin.createTopics({ topics: ['flex.three'], partitions: 3, replicas: 1 });
const metadata = await admin.metadata({ topics: ['flex.one', 'flex.three'] });
assert.equal(metadata.topics.get('flex.three').partitionsCount, 3);
assert.ok((await admin.listTopics()).includes('flex.three'));
ok('admin: create, metadata, list');

const two = (key) => [
  { topic: 'flex.one', key, value: 'v', headers: { a: 'b' }, timestamp: 1700000000123n },
  { topic: 'flex.one', key, value: 'w' },
];
for (const idempotent of [false, true]) {
  const producer = new Producer({ ...base, serializers: stringSerializers, idempotent });
  for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
    try {
      await producer.send({ compression, messages: two(compression) });
    } catch (e) {
      // Some codecs need a newer Node's zlib; what the client can not do itself is no case of ours.
      const all = [e, e.cause, ...(e.errors ?? [])].map((x) => x?.message).join(' ');
      if (!/nsupported|not supported|zstd|not available/i.test(all)) throw e;
      await producer.send({ messages: two(compression) });
    }
  }
  await producer.close();
}
const consumer = new Consumer({ ...base, groupId: 'flex.group', deserializers: stringDeserializers,
  autocommit: false });
const stream = await consumer.consume({ topics: ['flex.one'], mode: MessagesStreamModes.EARLIEST,
  sessionTimeout: 10000, rebalanceTimeout: 10000, heartbeatInterval: 500 });
const seen = [];
for await (const m of stream) {
  seen.push(m);
  if (seen.length === 20) {
    await m.commit();
    break;
  }
}
assert.deepEqual(seen.map((m) => Number(m.offset)), [...Array(20).keys()]);
assert.equal(seen[0].headers.get('a'), 'b');
assert.equal(seen[0].timestamp, 1700000000123n);
assert.deepEqual(seen.map((m) => m.value), Array(10).fill(['v', 'w']).flat());
ok('produce and consume by a group: codecs, headers, times, idempotent');

const ends = await consumer.listOffsets({ topics: ['flex.one'],
  timestamp: ListOffsetTimestamps.LATEST });
assert.equal(Number(ends.get('flex.one')[0]), 20);
const commits = await consumer.listCommittedOffsets({
  topics: [{ topic: 'flex.one', partitions: [0] }] });
assert.equal(Number(commits.get('flex.one')[0]), 20);
await stream.close().catch(() => {});
await consumer.close(true);
const groups = await admin.listGroups();
assert.ok([...groups.keys()].includes('flex.group'));
const described = await admin.describeGroups({ groups: ['flex.group'] });
assert.equal(described.get('flex.group').state, 'EMPTY');
await admin.deleteGroups({ groups: ['flex.group'] });
ok('offsets, groups');

await admin.deleteTopics({ topics: ['flex.one', 'flex.three'] });
assert.ok(!(await admin.listTopics()).some((t) => t.startsWith('flex.')));
await admin.close();
ok('topics deleted');
process.exit(0);
