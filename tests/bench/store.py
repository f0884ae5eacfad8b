#!/usr/bin/env python3
"""store.py: what `./dev bench --store` runs. One large stream, then what a store is asked for.

A server is started on a fresh directory and filled by nats-bench: --count messages over
--subjects subjects. Then, in this order: memory, a start after a clean stop, one after SIGKILL and
one after SIGKILL while somebody publishes under a limit per subject (until STREAM.INFO is answered
with all messages; and until a last message of a subject is), gets, consumers, a purge of one
subject, and a limit lowered to one message while somebody publishes. With --peer the same follows
for the other server. Times in milliseconds. On a busy machine they say little.

usage: store.py [--peer PATH] [--server PATH] [--bench PATH] [--count N] [--subjects N] [--dir PATH]
"""
import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Client:
    """One connection; one request at a time."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")
        self.file.readline()
        self.sock.sendall(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n'
                          b'SUB _R 1\r\n')

    def ask(self, subject, body=b""):
        self.sock.sendall(b"PUB %s _R %d\r\n%s\r\n" % (subject.encode(), len(body), body))
        while True:
            line = self.file.readline().split()
            if not line:
                raise ConnectionError("the server has gone")
            if line[0] == b"PING":
                self.sock.sendall(b"PONG\r\n")
            elif line[0] in (b"MSG", b"HMSG"):
                return self.file.read(int(line[-1]) + 2)[:-2]

    def close(self):
        self.file.close()
        self.sock.close()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, program, directory):
        self.program, self.directory, self.process = program, directory, None

    def start(self):
        self.port = free_port()
        self.process = subprocess.Popen(
            [self.program, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", self.directory],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def connect(self):
        while True:
            try:
                return Client(self.port)
            except ConnectionRefusedError:
                if self.process.poll() is not None:
                    sys.exit(f"store.py: {self.program} has ended")
                time.sleep(0.001)

    def end(self, sig):
        self.process.send_signal(sig)
        self.process.wait()

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) // 1024 for line in f if line.startswith("VmRSS"))


def ms(call):
    begin = time.monotonic()
    call()
    return (time.monotonic() - begin) * 1000


def until_there(server, count):
    """From the start of the process to the stream with all its messages, and to a subject of it."""
    begin = time.monotonic()
    server.start()
    client = server.connect()
    while True:
        info = json.loads(client.ask("$JS.API.STREAM.INFO.BENCH") or b"{}")
        if info.get("state", {}).get("messages") == count:
            break
        time.sleep(0.001)
    there = (time.monotonic() - begin) * 1000
    client.ask("$JS.API.STREAM.MSG.GET.BENCH", b'{"last_by_subj":"bench.7"}')
    subject = (time.monotonic() - begin) * 1000
    client.close()
    return there, subject


def longest_stall(server, change):
    """The slowest acknowledgement of somebody who publishes all the time while `change` happens."""
    slowest, stop = [0.0], threading.Event()

    def publish():
        client = server.connect()
        while not stop.is_set():
            slowest[0] = max(slowest[0], ms(lambda: client.ask("bench.0", b"x")))
        client.close()

    thread = threading.Thread(target=publish)
    thread.start()
    time.sleep(0.2)
    took = ms(change)
    time.sleep(1)
    stop.set()
    thread.join()
    return took, slowest[0]


def gets(client, bodies):
    return ms(lambda: [client.ask("$JS.API.STREAM.MSG.GET.BENCH", b) for b in bodies]) / len(bodies)


def create(client, name, **config):
    config.update(durable_name=name, ack_policy="none")
    body = json.dumps({"stream_name": "BENCH", "config": config}).encode()
    answer = {}
    took = ms(lambda: answer.update(
        json.loads(client.ask(f"$JS.API.CONSUMER.DURABLE.CREATE.BENCH.{name}", body))))
    if "error" in answer:
        sys.exit(f"store.py: consumer {name}: {answer['error']}")
    return took


def killed_while_written(server, bench, subjects, per_subject, count):
    """A bucket: the stream with a limit per subject, killed while somebody changes its values."""
    client = server.connect()
    # Answered when its index is there.
    info = client.ask("$JS.API.STREAM.INFO.BENCH", b'{"subjects_filter":"*.7"}')
    config = json.loads(info)["config"]
    config["max_msgs_per_subject"] = per_subject
    client.ask("$JS.API.STREAM.UPDATE.BENCH", json.dumps(config).encode())
    client.close()
    writer = subprocess.Popen(
        [bench, "js", "pub", "--server", f"nats://127.0.0.1:{server.port}", "--rate", "20000",
         "--duration", "60s", "--subjects", str(subjects), "--quiet"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(10)
    server.end(signal.SIGKILL)
    writer.kill()
    writer.wait()
    return until_there(server, count)


def measure(program, bench, count, subjects, parent):
    directory = tempfile.mkdtemp(prefix="midge-bench.", dir=parent)
    server, rows = Server(program, directory), []
    try:
        server.start()
        server.connect().close()
        fill = ms(lambda: subprocess.run(
            [bench, "js", "pub", "--server", f"nats://127.0.0.1:{server.port}",
             "--count", str(count), "--subjects", str(subjects), "--window", "8192", "--quiet"],
            check=True, stdout=subprocess.DEVNULL))
        rows.append(("fill, s", fill / 1000))
        rows.append(("memory when filled, MiB", server.resident()))
        for what, sig in (("clean stop", signal.SIGTERM), ("SIGKILL", signal.SIGKILL)):
            server.end(sig)
            there, subject = until_there(server, count)
            rows.append((f"start after {what}", there))
            rows.append((f"... a subject's last message", subject))
        there, subject = killed_while_written(server, bench, subjects, count // subjects, count)
        rows.append(("start of a bucket killed while written to", there))
        rows.append(("... a subject's last message", subject))
        rows.append(("memory after a start, MiB", server.resident()))
        client, dice = server.connect(), random.Random(1)
        rows.append(("get by sequence", gets(client, [
            b'{"seq":%d}' % dice.randint(1, count) for _ in range(2000)])))
        rows.append(("get by last of a subject", gets(client, [
            b'{"last_by_subj":"bench.%d"}' % dice.randrange(subjects) for _ in range(2000)])))
        rows.append(("consumer, one subject, from the middle", create(
            client, "A", filter_subject="bench.77", deliver_policy="by_start_sequence",
            opt_start_seq=count // 2)))
        rows.append(("consumer, last per subject", create(
            client, "B", deliver_policy="last_per_subject", filter_subject="bench.>")))
        rows.append(("purge of a subject", ms(lambda: client.ask(
            "$JS.API.STREAM.PURGE.BENCH", b'{"filter":"bench.5"}'))))
        config = json.loads(client.ask("$JS.API.STREAM.INFO.BENCH"))["config"]
        config["max_msgs"] = 1
        rows.append(("slowest publish of a second", longest_stall(server, lambda: None)[1]))
        took, stall = longest_stall(server, lambda: client.ask(
            "$JS.API.STREAM.UPDATE.BENCH", json.dumps(config).encode()))
        rows.append(("max_msgs becomes 1: the request", took))
        rows.append(("... slowest publish meanwhile", stall))
        client.close()
    finally:
        if server.process is not None and server.process.poll() is None:
            server.end(signal.SIGTERM)
        shutil.rmtree(directory, ignore_errors=True)
    return rows


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1])
    parser.add_argument("--peer")
    parser.add_argument("--server", default=f"{TOP}/build/bin/midge-server")
    parser.add_argument("--bench", default=f"{TOP}/build/bin/nats-bench")
    parser.add_argument("--count", type=int, default=5000000)
    parser.add_argument("--subjects", type=int, default=1000000)
    parser.add_argument("--dir")
    a = parser.parse_args()
    columns = [measure(p, a.bench, a.count, a.subjects, a.dir)
               for p in [a.server] + ([a.peer] if a.peer else [])]
    print(f"{a.count} messages over {a.subjects} subjects; ms where nothing else is said")
    for cells in zip(*columns):
        print(f"{cells[0][0]:42}" + "".join(f"{c[1]:12.2f}" for c in cells))


if __name__ == "__main__":
    main()
