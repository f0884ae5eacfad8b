#!/usr/bin/env python3
"""features.py: what `./dev bench --features` runs. What JetStream does beside publishing.

A server on a fresh directory, on one core, its clients on the other. Rows (--only picks some):
    consumers   --consumers durable consumers on one stream: making them, memory, idle processor
    filters     a million subjects, a thousand consumers with a filter each, all drained
    queue       a work queue and a hundred workers; then a tenth of them dies with what they had
    kv          a bucket: puts, gets, a watch of all keys
    objects     128 KiB chunks in and out
    reads       ordered consumer, batches of direct gets, last messages of many subjects
    fast        a fast-ingest batch
With --peer the same follows for the other server, row by row. Microseconds are of the server's
processor, all threads, a message; on a busy machine they hold, the rates say little.

usage: features.py [--peer PATH] [--server PATH] [--bench PATH] [--consumers N] [--only ROW]...
"""
import argparse
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

from store import TOP, Client
from streams import Server, windowed

PAYLOAD = b"x" * 128
MANY = 100


def pinned(cpu, args):
    return ["taskset", "-c", str(cpu)] + args if (os.cpu_count() or 1) > 1 else args


class One(Server):
    """The server under test, on the first core, with a client."""

    def __init__(self, program, a):
        super().__init__(program, tempfile.mkdtemp(prefix="features-", dir=a.dir))
        self.bench = a.bench
        self.start(None)
        if (os.cpu_count() or 1) > 1:
            subprocess.run(["taskset", "-apc", "0", str(self.process.pid)], check=True,
                           stdout=subprocess.DEVNULL)
        self.client = self.connect()

    def connect(self):
        c = Client(self.port)
        c.sock.sendall(b"SUB _W.* 2\r\n")
        return c

    def create(self, stream, **config):
        config = {"name": stream, **config}
        if b'"error"' in self.client.ask("$JS.API.STREAM.CREATE." + stream,
                                         json.dumps(config).encode()):
            raise SystemExit("no stream " + stream)

    def consumer(self, stream, name, **config):
        config = {"durable_name": name, "ack_policy": "explicit", **config}
        body = json.dumps({"stream_name": stream, "config": config}).encode()
        if b'"error"' in self.client.ask("$JS.API.CONSUMER.CREATE.%s.%s" % (stream, name), body):
            raise SystemExit("no consumer " + name)

    def run(self, *args):
        """nats-bench; what it says of the first role, and the server's CPU."""
        before = self.cpu()
        out = subprocess.run(
            pinned(1, [self.bench, *args, "--server", "nats://127.0.0.1:%d" % self.port,
                       "--congestion", "cubic", "--json", "--quiet"]),
            check=True, stdout=subprocess.PIPE, text=True, timeout=170).stdout
        r = json.loads(out)["roles"][0]
        r["us"] = (self.cpu() - before) * 1e6 / r["messages"]
        return r

    def end(self):
        self.client.close()
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.directory)


def send_counting(client, blobs, mark, window):
    """Sends blobs of (bytes, answers), and counts the answers by a mark in them."""
    sent = got = 0
    rest = b""
    sock = client.sock
    blobs = iter(blobs)
    more = True
    while more or got < sent:
        while more and sent - got < window:
            blob = next(blobs, None)
            if blob is None:
                more = False
                break
            sock.sendall(blob[0])
            sent += blob[1]
        if got >= sent:
            continue
        data = rest + sock.recv(1 << 20)
        if data == rest:
            raise ConnectionError("the server has gone")
        got += data.count(mark)
        at = data.rfind(mark)
        rest = data[max(at + len(mark), len(data) - len(mark) + 1):]
        if b"PING\r\n" in data:
            sock.sendall(b"PONG\r\n")
    return sent


def publishes(n, subject, body, step=MANY):
    """n publishes with answers, made before the clock starts: subject(i) gives the i-th subject."""
    return [(b"".join(b"PUB %s _W.1 %d\r\n%s\r\n" % (subject(i), len(body), body)
                      for i in range(first, min(first + step, n))), min(step, n - first))
            for first in range(0, n, step)]


def rate(n, begin, unit="/s"):
    v = n / (time.monotonic() - begin)
    return "%.2f M%s" % (v / 1e6, unit) if v >= 1e6 else "%.1f k%s" % (v / 1e3, unit)


def row_consumers(s, a):
    s.create("S", subjects=["s.>"], max_consumers=a.consumers)
    before, begin, cpu = s.rss(), time.monotonic(), s.cpu()
    windowed(s.client, ((b"$JS.API.CONSUMER.CREATE.S.C%d" % i,
                         b'{"stream_name":"S","config":{"durable_name":"C%d","ack_policy":'
                         b'"explicit"}}' % i) for i in range(a.consumers)), b'"created"')
    yield "made", "%.1f s" % (time.monotonic() - begin)
    yield "CPU each", "%.0f us" % ((s.cpu() - cpu) * 1e6 / a.consumers)
    time.sleep(2)
    yield "memory each", "%.2f KiB" % ((s.rss() - before) * 1024 / a.consumers)
    cpu = s.cpu()
    time.sleep(10)
    yield "idle", "%.2f %% of a core" % ((s.cpu() - cpu) * 10)
    blobs = publishes(1000, lambda i: b"s.%d" % i, PAYLOAD)
    begin = time.monotonic()
    send_counting(s.client, blobs, b'"seq":', 100)
    yield "1,000 publishes, 100 under way", rate(1000, begin)
    s.client.close()
    s.stop(signal.SIGKILL)
    begin = time.monotonic()
    s.start("S")
    s.client = s.connect()
    while b'"created"' not in s.client.ask("$JS.API.CONSUMER.INFO.S.C%d" % (a.consumers - 1)):
        time.sleep(0.005)
    yield "start after SIGKILL", "%.2f s" % (time.monotonic() - begin)


def row_filters(s, a):
    n, filters = 1000000, 1000
    s.create("F", subjects=["f.>"], max_consumers=filters)
    windowed(s.client, ((b"$JS.API.CONSUMER.CREATE.F.C%d" % i,
                         b'{"stream_name":"F","config":{"durable_name":"C%d","ack_policy":"none",'
                         b'"filter_subject":"f.%d.*","max_waiting":10}}' % (i, i))
                        for i in range(filters)), b'"created"')
    blobs = publishes(n, lambda i: b"f.%d.%d" % (i % filters, i), PAYLOAD)
    begin, cpu = time.monotonic(), s.cpu()
    send_counting(s.client, blobs, b'"seq":', 8000)
    blobs = None
    yield "published", "%s, %.1f us" % (rate(n, begin), (s.cpu() - cpu) * 1e6 / n)
    yield "memory with the messages", "%.0f MiB" % s.rss()
    each = n // filters
    body = b'{"batch":%d,"expires":60000000000}' % each
    begin, cpu = time.monotonic(), s.cpu()
    send_counting(s.client, ((b"PUB $JS.API.CONSUMER.MSG.NEXT.F.C%d _W.1 %d\r\n%s\r\n" %
                              (i, len(body), body), each) for i in range(filters)),
                  b"$JS.ACK.", 10 * each)
    yield "drained", "%s, %.1f us" % (rate(n, begin), (s.cpu() - cpu) * 1e6 / n)
    yield "memory after it", "%.0f MiB" % s.rss()


class Worker:
    """Pulls ten messages at a time; acknowledges each, or only takes them."""

    def __init__(self, s, k, acks):
        self.c, self.acks, self.buf, self.done = s.connect(), acks, b"", 0
        self.c.sock.sendall(b"SUB w.%d 3\r\n" % k)
        self.reply = b"w.%d" % k
        self.pull()

    def pull(self):
        body = b'{"batch":10,"expires":30000000000}'
        self.c.sock.sendall(b"PUB $JS.API.CONSUMER.MSG.NEXT.W.C %s %d\r\n%s\r\n" %
                            (self.reply, len(body), body))
        self.left = 10

    def take(self):
        self.buf += self.c.sock.recv(1 << 18)
        out = []
        while b"\r\n" in self.buf:
            line, rest = self.buf.split(b"\r\n", 1)
            f = line.split()
            if not f or f[0] not in (b"MSG", b"HMSG"):
                if f and f[0] == b"PING":
                    out.append(b"PONG\r\n")
                self.buf = rest
                continue
            size = int(f[-1])
            if len(rest) < size + 2:
                break
            self.buf = rest[size + 2:]
            if f[0] == b"MSG":
                out.append(b"PUB %s 0\r\n\r\n" % f[3])
                self.done += 1
                self.left -= 1
        if self.acks:
            self.c.sock.sendall(b"".join(out))
            if self.left <= 0:
                self.pull()


def work(workers, want, seconds):
    by_socket = {w.c.sock: w for w in workers}
    end = time.monotonic() + seconds
    while sum(w.done for w in workers) < want and time.monotonic() < end:
        for sock in select.select(list(by_socket), [], [], 1)[0]:
            by_socket[sock].take()
    return sum(w.done for w in workers)


def row_queue(s, a):
    n = 200000
    s.create("W", subjects=["w"], retention="workqueue")
    s.consumer("W", "C", max_ack_pending=100000)
    send_counting(s.client, publishes(n, lambda i: b"w", PAYLOAD), b'"seq":', 4000)
    r = s.run("js", "pull", "--stream", "W", "--consumer", "C", "--subject", "w", "--clients",
              "100", "--batch", "10", "--count", str(n))
    yield "100 workers, acknowledged", "%.1f k/s, %.1f us" % (r["messages_per_second"] / 1e3,
                                                              r["us"])
    n = 20000
    s.client.ask("$JS.API.STREAM.DELETE.W")
    s.create("W", subjects=["w"], retention="workqueue")
    s.consumer("W", "C", ack_wait=2000000000, max_ack_pending=100000)
    send_counting(s.client, publishes(n, lambda i: b"w", PAYLOAD), b'"seq":', 4000)
    begin = time.monotonic()
    dying = [Worker(s, 90 + k, False) for k in range(10)]
    work(dying, 100, 5)
    for w in dying:
        w.c.close()
    died = time.monotonic()
    live = [Worker(s, k, True) for k in range(90)]
    got = work(live, n, 30)
    end = time.monotonic()
    left = json.loads(s.client.ask("$JS.API.STREAM.INFO.W"))["state"]["messages"]
    yield "10 of 100 die with 100 messages", "all %d done %.2f s after that (ack_wait 2 s), %d " \
        "left" % (got, end - died, left)
    for w in live:
        w.c.close()


def row_kv(s, a):
    n = 100000
    s.create("KV_B", subjects=["$KV.B.>"], max_msgs_per_subject=1, discard="new",
             allow_rollup_hdrs=True, deny_delete=True, allow_direct=True)
    for what in ("put", "put again"):
        blobs = publishes(n, lambda i: b"$KV.B.key%d" % i, PAYLOAD)
        begin, cpu = time.monotonic(), s.cpu()
        send_counting(s.client, blobs, b'"seq":', 8000)
        yield what, "%s, %.1f us" % (rate(n, begin), (s.cpu() - cpu) * 1e6 / n)
    blobs = publishes(n, lambda i: b"$JS.API.DIRECT.GET.KV_B.$KV.B.key%d" % i, b"")
    begin, cpu = time.monotonic(), s.cpu()
    send_counting(s.client, blobs, b"Nats-Sequence", 2000)
    yield "get", "%s, %.1f us" % (rate(n, begin), (s.cpu() - cpu) * 1e6 / n)
    s.client.sock.sendall(b"SUB watch 4\r\n")
    body = b'{"stream_name":"KV_B","config":{"deliver_policy":"last_per_subject","ack_policy":' \
           b'"none","deliver_subject":"watch","filter_subject":"$KV.B.>","mem_storage":true}}'
    begin, cpu = time.monotonic(), s.cpu()
    send_counting(s.client, [(b"PUB $JS.API.CONSUMER.CREATE.KV_B _W.1 %d\r\n%s\r\n" %
                              (len(body), body), n)], b"$JS.ACK.", 1)
    yield "watch of all keys", "%s, %.1f us" % (rate(n, begin), (s.cpu() - cpu) * 1e6 / n)


def row_objects(s, a):
    n = 4096
    s.create("OBJ_B", subjects=["$O.B.C.>", "$O.B.M.>"], discard="new", allow_rollup_hdrs=True,
             allow_direct=True)
    r = s.run("js", "pub", "--stream", "OBJ_B", "--subject", "$O.B.C.x", "--size", "131072",
              "--count", str(n), "--window", "64")
    yield "put", "%.0f MB/s, %.0f us a chunk" % (r["bytes_per_second"] / 1e6, r["us"])
    r = s.run("js", "ordered", "--stream", "OBJ_B", "--subject", "$O.B.C.x", "--count", str(n))
    yield "get", "%.0f MB/s, %.0f us a chunk" % (r["bytes_per_second"] / 1e6, r["us"])


def row_reads(s, a):
    n = 1000000
    s.run("js", "pub", "--stream", "R", "--subject", "r", "--subjects", "1000", "--count", str(n),
          "--window", "32768")
    config = json.loads(s.client.ask("$JS.API.STREAM.INFO.R"))["config"]
    config["allow_direct"] = True
    s.client.ask("$JS.API.STREAM.UPDATE.R", json.dumps(config).encode())
    r = s.run("js", "ordered", "--stream", "R", "--subject", "r", "--count", str(n))
    yield "ordered consumer", "%.2f M/s, %.2f us" % (r["messages_per_second"] / 1e6, r["us"])

    def batches(bodies, count):
        for body in bodies:
            yield b"PUB $JS.API.DIRECT.GET.R _W.1 %d\r\n%s\r\n" % (len(body), body), count

    begin, cpu = time.monotonic(), s.cpu()
    send_counting(s.client, batches((b'{"seq":%d,"batch":1000}' % (1 + 1000 * k)
                                     for k in range(n // 1000)), 1000), b"Nats-Sequence", 4000)
    yield "direct gets in batches of 1,000", "%s, %.2f us" % (rate(n, begin),
                                                               (s.cpu() - cpu) * 1e6 / n)
    times = 100
    begin, cpu = time.monotonic(), s.cpu()
    send_counting(s.client, batches([b'{"multi_last":["r.>"],"batch":1000}'] * times, 1000),
                  b"Nats-Sequence", 2000)
    yield "last of 1,000 subjects", "%s, %.2f us" % (rate(times * 1000, begin),
                                                     (s.cpu() - cpu) * 1e6 / times / 1000)


def row_fast(s, a):
    s.create("FI", subjects=["fi"], allow_batched=True)
    for size in (16, 128, 1024):
        r = s.run("js", "pub", "--fast", "--stream", "FI", "--subject", "fi", "--size", str(size),
                  "--duration", "4s", "--window", "32768")
        yield "%d B" % size, "%.2f M/s, %.2f us" % (r["messages_per_second"] / 1e6, r["us"])


ROWS = {"consumers": row_consumers, "filters": row_filters, "queue": row_queue, "kv": row_kv,
        "objects": row_objects, "reads": row_reads, "fast": row_fast}


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--peer")
    p.add_argument("--server", default=os.path.join(TOP, "build/bin/midge-server"))
    p.add_argument("--bench", default=os.path.join(TOP, "build/bin/nats-bench"))
    p.add_argument("--consumers", type=int, default=20000)
    p.add_argument("--only", action="append", choices=list(ROWS))
    p.add_argument("--dir")
    a = p.parse_args()
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    for row in a.only or ROWS:
        for name, program in (("midge", a.server), ("peer", a.peer)):
            if program is None:
                continue
            s = One(program, a)
            try:
                for what, value in ROWS[row](s, a):
                    print("%-9s %-6s %-34s %s" % (row, name, what, value), flush=True)
            finally:
                s.end()


if __name__ == "__main__":
    main()
