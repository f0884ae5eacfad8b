// The JavaScript clients for Node (or in a browser: browser/run.mjs) against the server whose URL
// is the argument. Prints a line per case that held.
import { connect, headers, wsconnect } from "@nats-io/transport-node";
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { Objm } from "@nats-io/obj";
import { Svcm } from "@nats-io/services";

const messages = 2000;

function check(what, condition) {
  if (condition) return;
  console.error(`interop.mjs: ${what}`);
  process.exit(1);
}

async function refused(what, promise, code) {
  try {
    await promise;
  } catch (e) {
    if (code !== undefined) check(`${what}: ${e}`, e.code === code);
    return;
  }
  check(what, false);
}

async function core(nc) {
  const sub = nc.subscribe("core.*", { max: 1 });
  const h = headers();
  h.set("X", "y");
  nc.publish("core.a", "1", { headers: h });
  for await (const m of sub)
    check("message", m.subject === "core.a" && m.string() === "1" && m.headers.get("X") === "y");

  const got = [0, 0];
  for (const k of [0, 1])
    nc.subscribe("core.queue", {
      queue: "q",
      callback: (_, m) => {
        got[k]++;
        m.respond(m.string().toUpperCase());
      },
    });
  for (let k = 0; k < 50; k++)
    check("answer",
      (await nc.request("core.queue", "hello", { timeout: 10000 })).string() === "HELLO");
  check("each member was asked", got[0] > 0 && got[1] > 0 && got[0] + got[1] === 50);
  await refused("no responders", nc.request("core2.nobody", "", { timeout: 10000 }));
}

async function publish(nc) {
  const js = jetstream(nc);
  const jsm = await jetstreamManager(nc);
  await jsm.streams.add({ name: "ORDERS", subjects: ["orders.>"] });
  const acks = [];
  for (let k = 0; k < messages; k++) acks.push(js.publish(`orders.${k % 4}`, `${k}`));
  (await Promise.all(acks)).forEach((a, k) => check("sequences", a.seq === k + 1));
  const first = await js.publish("orders.id", "", { msgID: "one" });
  const again = await js.publish("orders.id", "", { msgID: "one" });
  check("duplicate", again.duplicate && again.seq === first.seq);
  await refused("expected", js.publish("orders.x", "", { expect: { lastSequence: 5 } }), 10071);
  const info = await jsm.streams.info("ORDERS", { subjects_filter: ">" });
  check("state", info.state.messages === messages + 1);
  check("subjects", info.state.subjects["orders.1"] === messages / 4);
  const m = await jsm.streams.getMessage("ORDERS", { last_by_subj: "orders.3" });
  check("last", m.string() === `${messages - 1}`);
  const names = [];
  for await (const s of jsm.streams.list()) names.push(s.config.name);
  check("list", names.length === 1 && names[0] === "ORDERS");
}

async function pull(nc) {
  const js = jetstream(nc);
  const jsm = await jetstreamManager(nc);
  await jsm.consumers.add("ORDERS", { durable_name: "puller", ack_policy: AckPolicy.Explicit,
    filter_subject: "orders.1" });
  const c = await js.consumers.get("ORDERS", "puller");
  let seen = 0;
  while (seen < messages / 8)
    for await (const m of await c.fetch({ max_messages: 50, expires: 10000 })) {
      check("order", m.string() === `${seen * 4 + 1}`);
      seen++;
      m.ack();
    }
  for await (const m of await c.consume({ max_messages: 100 })) {
    check("order", m.string() === `${seen * 4 + 1}`);
    m.ack();
    if (++seen === messages / 4) break;
  }
  check("end", (await c.next({ expires: 1000 })) === null);

  await jsm.consumers.add("ORDERS", { durable_name: "naks", ack_policy: AckPolicy.Explicit,
    filter_subject: "orders.2", max_ack_pending: 1 });
  const n = await js.consumers.get("ORDERS", "naks");
  (await n.next({ expires: 10000 })).nak();
  const m = await n.next({ expires: 10000 });
  check("again", m.string() === "2" && m.info.deliveryCount === 2);
  check("double ack", await m.ackAck({ timeout: 10000 }));
  check("floor", (await n.info()).ack_floor.consumer_seq === 2);
  const later = new Date(Date.now() + 3600000);
  check("paused", (await jsm.consumers.pause("ORDERS", "naks", later)).paused);
  check("resumed", !(await jsm.consumers.resume("ORDERS", "naks")).paused);
}

async function ordered(nc) {
  const c = await jetstream(nc).consumers.get("ORDERS", { deliver_policy: DeliverPolicy.All });
  let seen = 0;
  for await (const m of await c.consume()) {
    check("ordered", m.string() === `${seen}`);
    if (++seen === messages) break;
  }
}

async function kv(nc) {
  const bucket = await new Kvm(nc).create("conf", { history: 5 });
  const watch = await bucket.watch();
  const first = await bucket.put("a.b", "1");
  check("update", (await bucket.update("a.b", "2", first)) === first + 1);
  await refused("wrong revision", bucket.update("a.b", "3", first));
  await bucket.create("c", "x");
  await refused("exists", bucket.create("c", "x"));
  await bucket.delete("c");
  check("value", (await bucket.get("a.b")).string() === "2");
  check("old value", (await bucket.get("a.b", { revision: first })).string() === "1");
  check("deleted", (await bucket.get("c")).operation === "DEL");
  const seen = [];
  for await (const e of watch) {
    seen.push(`${e.operation} ${e.key} ${e.string()}`);
    if (seen.length === 4) break;
  }
  check(`watched ${seen}`, seen.join() === "PUT a.b 1,PUT a.b 2,PUT c x,DEL c ");
  const history = [];
  for await (const e of await bucket.history({ key: "a.b" })) history.push(e.string());
  check("history", history.join() === "1,2");
  const keys = [];
  for await (const k of await bucket.keys()) keys.push(k);
  check("keys", keys.join() === "a.b");
  await bucket.purge("a.b");
  check("status", (await bucket.status()).values === 3);
}

async function objects(nc) {
  const store = await new Objm(nc).create("files");
  const body = new Uint8Array(300000).map((_, k) => k % 251);
  const info = await store.putBlob({ name: "big" }, body);
  check("chunks", info.chunks === 3 && info.size === body.length);
  await store.putBlob({ name: "small" }, new Uint8Array([1]));
  const back = await store.getBlob("big");
  check("body", back.length === body.length && back.every((b, k) => b === body[k]));
  check("list", (await store.list()).map((o) => o.name).sort().join() === "big,small");
  await store.delete("small");
  check("deleted", (await store.get("small")) === null);
  check("sealed", (await store.seal()).sealed);
}

async function service(nc) {
  const svc = new Svcm(nc);
  const s = await svc.add({ name: "doubler", version: "1.0.0", queue: "q" });
  s.addEndpoint("double", { handler: (_, m) => m.respond(m.string() + m.string()) });
  check("answer", (await nc.request("double", "ab", { timeout: 10000 })).string() === "abab");
  const client = svc.client();
  for (const ask of ["ping", "info", "stats"]) {
    const found = [];
    for await (const answer of await client[ask]("doubler")) found.push(answer);
    check(ask, found.length === 1 && found[0].name === "doubler");
    if (ask === "stats") check("requests", found[0].endpoints[0].num_requests === 1);
  }
  await s.stop();
}

const url = process.argv[2];
if (url.startsWith("ws") && globalThis.WebSocket === undefined) {
  globalThis.WebSocket = (await import("ws")).WebSocket;
}
const nc = await (url.startsWith("ws") ? wsconnect : connect)({ servers: url });
for (const one of [core, publish, pull, ordered, kv, objects, service]) {
  const late = setTimeout(() => check(`${one.name} took too long`, false), 60000);
  try {
    await one(nc);
  } catch (e) {
    check(`${one.name}: ${e.stack}`, false);
  }
  clearTimeout(late);
  console.log(`ok ${one.name}`);
}
await nc.drain();
