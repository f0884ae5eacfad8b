// kafkajs against our Kafka listener: older versions of every request. kafkajs.mjs BROKER
import assert from 'node:assert/strict';
import kafkajs from 'kafkajs';

const { Kafka, logLevel, CompressionTypes, ConfigResourceTypes } = kafkajs;
const kafka = new Kafka({
  clientId: 'interop', brokers: [process.argv[2]], logLevel: logLevel.ERROR,
});
const admin = kafka.admin();
const ok = (what) => console.log(`ok ${what}`);

async function until(what, done) {
  for (let i = 0; i < 600; i++) {
    if (await done()) return;
    await new Promise((r) => setTimeout(r, 50));
  }
  throw new Error(`never came: ${what}`);
}

await admin.connect();
await admin.createTopics({
  topics: [{ topic: 'js.three', numPartitions: 3 }, { topic: 'js.one', numPartitions: 1 }],
});
assert.ok((await admin.listTopics()).includes('js.three'));
await admin.createPartitions({ topicPartitions: [{ topic: 'js.three', count: 4 }] });
const { topics } = await admin.fetchTopicMetadata({ topics: ['js.three'] });
assert.equal(topics[0].partitions.length, 4);
await admin.alterConfigs({
  resources: [{ type: ConfigResourceTypes.TOPIC, name: 'js.one',
    configEntries: [{ name: 'retention.ms', value: '7200000' }] }],
});
const configs = await admin.describeConfigs({
  includeSynonyms: false,
  resources: [{ type: ConfigResourceTypes.TOPIC, name: 'js.one' }],
});
const retention = configs.resources[0].configEntries.find((c) => c.configName === 'retention.ms');
assert.equal(retention.configValue, '7200000');
assert.equal((await admin.describeCluster()).brokers.length, 1);
ok('admin: topics, partitions, configs, cluster');

for (const idempotent of [false, true]) {
  const producer = kafka.producer({ idempotent, maxInFlightRequests: 1 });
  await producer.connect();
  for (const compression of [CompressionTypes.None, CompressionTypes.GZIP]) {
    await producer.send({
      topic: 'js.one', compression, acks: -1,
      messages: [
        { key: 'k', value: 'v', timestamp: '1700000000123',
          headers: { one: Buffer.from([0, 255]), two: ['a', 'b'] } },
        { key: null, value: 'no key' },
        { key: 'gone', value: null },
      ],
    });
  }
  await producer.disconnect();
}
const seen = [];
const consumer = kafka.consumer({ groupId: 'js.group', sessionTimeout: 10000 });
await consumer.connect();
await consumer.subscribe({ topic: 'js.one', fromBeginning: true });
await consumer.run({ eachMessage: async ({ message }) => { seen.push(message); } });
await until('12 messages', () => seen.length === 12);
await consumer.stop();
await consumer.disconnect();
for (let i = 0; i < 12; i += 3) {
  assert.equal(seen[i].offset, String(i));
  assert.equal(seen[i].key.toString(), 'k');
  assert.equal(seen[i].timestamp, '1700000000123');
  assert.deepEqual(seen[i].headers.one, Buffer.from([0, 255]));
  assert.deepEqual(seen[i].headers.two.map(String), ['a', 'b']);
  assert.equal(seen[i + 1].key, null);
  assert.equal(seen[i + 2].value, null);
}
ok('produce and consume: keys, headers, nulls, times, gzip, idempotent');

assert.deepEqual((await admin.fetchTopicOffsets('js.one'))[0],
  { partition: 0, offset: '12', high: '12', low: '0' });
const committed = await admin.fetchOffsets({ groupId: 'js.group', topics: ['js.one'] });
assert.equal(committed[0].partitions[0].offset, '12');
await admin.resetOffsets({ groupId: 'js.group', topic: 'js.one', earliest: true });
assert.ok((await admin.listGroups()).groups.some((g) => g.groupId === 'js.group'));
assert.equal((await admin.describeGroups(['js.group'])).groups[0].state, 'Empty');
await admin.deleteGroups(['js.group']);
await admin.deleteTopicRecords({ topic: 'js.one', partitions: [{ partition: 0, offset: '5' }] });
assert.equal((await admin.fetchTopicOffsets('js.one'))[0].low, '5');
assert.equal((await admin.fetchTopicOffsetsByTimestamp('js.one', 1700000000124))[0].partition, 0);
ok('offsets, groups, deleted records');

const txn = kafka.producer({ transactionalId: 'js.txn', maxInFlightRequests: 1, idempotent: true });
await txn.connect();
for (const end of ['abort', 'commit', 'abort', 'commit']) {
  const t = await txn.transaction();
  for (let i = 0; i < 10; i++)
    await t.send({ topic: 'js.three', messages: [{ key: String(i), value: end }] });
  await t.sendOffsets({ consumerGroupId: 'js.txn.group',
    topics: [{ topic: 'js.one', partitions: [{ partition: 0, offset: '7' }] }] });
  await t[end]();
}
await txn.disconnect();
const good = [];
const reader = kafka.consumer({ groupId: 'js.reader', readUncommitted: false });
await reader.connect();
await reader.subscribe({ topic: 'js.three', fromBeginning: true });
await reader.run({ eachMessage: async ({ message }) => { good.push(message.value.toString()); } });
await until('20 committed records', () => good.length >= 20);
await reader.stop();
await reader.disconnect();
assert.deepEqual(good, Array(20).fill('commit'));
const tx = await admin.fetchOffsets({ groupId: 'js.txn.group', topics: ['js.one'] });
assert.equal(tx[0].partitions[0].offset, '7');
ok('transactions: aborted and committed, offsets in them');

const members = [];
const owned = new Map();
for (let i = 0; i < 3; i++) {
  const m = kafka.consumer({ groupId: 'js.members', rebalanceTimeout: 10000,
    heartbeatInterval: 200 });
  m.on(m.events.GROUP_JOIN, (e) => owned.set(i, e.payload.memberAssignment['js.three'] ?? []));
  await m.connect();
  await m.subscribe({ topic: 'js.three' });
  await m.run({ eachMessage: async () => {} });
  members.push(m);
}
const all = () => [...owned.values()].flat().sort().join();
await until('each partition owned once by three members',
  () => owned.size === 3 && all() === '0,1,2,3');
owned.delete(0);
await members[0].disconnect();
await until('each partition owned once by two members',
  () => owned.size === 2 && all() === '0,1,2,3');
for (const m of members.slice(1)) await m.disconnect();
ok('three members share four partitions, one leaves');

await admin.deleteTopics({ topics: ['js.one', 'js.three'] });
assert.ok(!(await admin.listTopics()).some((t) => t.startsWith('js.')));
await admin.disconnect();
ok('topics deleted');
