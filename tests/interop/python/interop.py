"""nats-py against the server whose URL is the argument. Prints a line per case that held."""
import asyncio
import os
import sys

import nats
import nats.errors
import nats.js.errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, KeyValueConfig, StreamConfig
from nats.micro import add_service

MESSAGES = 2000


def check(what, condition):
    if not condition:
        print(f"interop.py: {what}", file=sys.stderr, flush=True)
        os._exit(1)


async def core(nc):
    sub = await nc.subscribe("core.*")
    await nc.publish("core.a", b"1", headers={"X": "y"})
    m = await sub.next_msg(10)
    check("message", (m.subject, m.data, m.headers) == ("core.a", b"1", {"X": "y"}))

    got = []
    members = []
    for k in range(2):
        async def member(msg, k=k):
            got.append(k)
            await msg.respond(msg.data.upper())
        members.append(await nc.subscribe("core.queue", queue="q", cb=member))
    for _ in range(50):
        answer = await nc.request("core.queue", b"hello", timeout=10)
        check("answer", answer.data == b"HELLO")
    check("each member was asked", set(got) == {0, 1} and len(got) == 50)
    try:
        await nc.request("core2.nobody", b"", timeout=10)
        check("no responders", False)
    except nats.errors.NoRespondersError:
        pass


async def publish(js):
    await js.add_stream(StreamConfig(name="ORDERS", subjects=["orders.>"]))
    acks = [await js.publish_async(f"orders.{k % 4}", str(k).encode()) for k in range(MESSAGES)]
    await js.publish_async_completed()
    check("sequences", [(await a).seq for a in acks] == list(range(1, MESSAGES + 1)))

    first = await js.publish("orders.id", b"", headers={"Nats-Msg-Id": "one"})
    again = await js.publish("orders.id", b"", headers={"Nats-Msg-Id": "one"})
    check("duplicate", again.duplicate and again.seq == first.seq)
    try:
        await js.publish("orders.x", b"", headers={"Nats-Expected-Last-Sequence": "5"})
        check("expected sequence", False)
    except nats.js.errors.APIError as e:
        check("10071", e.err_code == 10071)
    info = await js.stream_info("ORDERS", subjects_filter="orders.>")
    check("state", info.state.messages == MESSAGES + 1)
    check("subjects", info.state.subjects["orders.1"] == MESSAGES // 4)
    m = await js.get_last_msg("ORDERS", "orders.3")
    check("last", m.data == str(MESSAGES - 1).encode())


async def pull(js):
    sub = await js.pull_subscribe("orders.1", "puller")
    seen = 0
    while seen < MESSAGES // 4:
        for m in await sub.fetch(100, timeout=10):
            check("order", m.data == str(seen * 4 + 1).encode())
            check("numbers", m.metadata.sequence.consumer == seen + 1)
            await m.ack()
            seen += 1
    try:
        await sub.fetch(1, timeout=0.2)
        check("end", False)
    except nats.errors.TimeoutError:
        pass

    sub = await js.pull_subscribe("orders.2", "naks", config=ConsumerConfig(max_ack_pending=1))
    m = (await sub.fetch(1, timeout=10))[0]
    await m.nak()
    m = (await sub.fetch(1, timeout=10))[0]
    check("again", m.data == b"2" and m.metadata.num_delivered == 2)
    await m.ack_sync(timeout=10)
    check("floor", (await sub.consumer_info()).ack_floor.consumer_seq == 2)


async def push(js):
    done = asyncio.get_running_loop().create_future()
    seen = []

    async def take(m):
        seen.append(int(m.data))
        if len(seen) == MESSAGES // 4:
            done.set_result(True)
    await js.subscribe("orders.3", durable="pusher", cb=take, manual_ack=True,
                       config=ConsumerConfig(ack_policy=AckPolicy.NONE))
    await asyncio.wait_for(done, 30)
    check("all in order", seen == list(range(3, MESSAGES, 4)))


async def ordered(js):
    sub = await js.subscribe("orders.>", ordered_consumer=True,
                             config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL))
    for k in range(MESSAGES):
        m = await sub.next_msg(10)
        check("ordered", m.data == str(k).encode())
    await sub.unsubscribe()


async def kv(js):
    bucket = await js.create_key_value(KeyValueConfig(bucket="conf", history=5))
    watcher = await bucket.watchall()
    check("empty", await watcher.updates(timeout=10) is None)
    first = await bucket.put("a.b", b"1")
    check("update", await bucket.update("a.b", b"2", first) == first + 1)
    try:
        await bucket.update("a.b", b"3", first)
        check("wrong revision", False)
    except nats.js.errors.KeyWrongLastSequenceError:
        pass
    await bucket.create("c", b"x")
    try:
        await bucket.create("c", b"x")
        check("exists", False)
    except nats.js.errors.KeyWrongLastSequenceError:
        pass
    await bucket.delete("c")
    check("value", (await bucket.get("a.b")).value == b"2")
    check("old value", (await bucket.get("a.b", revision=first)).value == b"1")
    try:
        await bucket.get("c")
        check("deleted", False)
    except nats.js.errors.KeyNotFoundError:
        pass
    seen = [await watcher.updates(timeout=10) for _ in range(4)]
    check("watched", [(e.key, e.value or b"", e.operation) for e in seen] == [
        ("a.b", b"1", None), ("a.b", b"2", None), ("c", b"x", None), ("c", b"", "DEL")])
    check("history", [e.value for e in await bucket.history("a.b")] == [b"1", b"2"])
    check("keys", await bucket.keys() == ["a.b"])
    check("status", (await bucket.status()).values == 4)


async def objects(js):
    store = await js.create_object_store("files")
    body = bytes(k % 251 for k in range(300_000))
    info = await store.put("big", body)
    check("chunks", info.chunks == 3 and info.size == len(body))
    await store.put("small", b"x")
    check("body", (await store.get("big")).data == body)
    check("list", sorted(o.name for o in await store.list()) == ["big", "small"])
    await store.delete("small")
    try:
        await store.get("small")
        check("deleted", False)
    except nats.js.errors.ObjectNotFoundError:
        pass
    await store.seal()
    check("sealed", (await store.status()).sealed)


async def service(nc):
    async def double(request):
        await request.respond(request.data * 2)
    s = await add_service(nc, name="doubler", version="1.0.0")
    await s.add_endpoint(name="double", handler=double)
    check("answer", (await nc.request("double", b"ab", timeout=10)).data == b"abab")
    check("ping", b'"doubler"' in (await nc.request("$SRV.PING.doubler", b"", timeout=10)).data)
    check("stats", b'"num_requests": 1' in
          (await nc.request("$SRV.STATS.doubler", b"", timeout=10)).data.replace(b'":1', b'": 1'))
    await s.stop()


async def main():
    nc = await nats.connect(sys.argv[1])
    js = nc.jetstream()
    for name, case, on in (("core", core, nc), ("publish", publish, js), ("pull", pull, js),
                           ("push", push, js), ("ordered", ordered, js), ("kv", kv, js),
                           ("objects", objects, js), ("service", service, nc)):
        try:
            await asyncio.wait_for(case(on), 60)
        except Exception as e:  # a client's task would keep the loop alive
            check(f"{name}: {e!r}", False)
        print(f"ok {name}", flush=True)
    await nc.close()


asyncio.run(main())
