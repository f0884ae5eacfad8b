#!/usr/bin/env python3
"""kafka.py: what `./dev bench --kafka` runs. Produce and drain over the Kafka listener.

For 1 and for 16 partitions a server is started on a fresh directory; kafka-bench (librdkafka)
produces --count messages of --size bytes, acknowledged after sync, and drains them: behind the
produce (direct writes leave nothing in the page cache), and after a restart with the pages of the
store's files dropped. Each line is kafka-bench's own, with
the server's processor time. With --rate instead: messages of --size bytes from a fixed schedule for
--seconds, with linger 1 ms, latencies from the moment at which each was due; several --rate are
several rows. On a busy machine they say little.

usage: kafka.py [--server PATH] [--bench PATH] [--count N] [--size N] [--dir PATH] [--partitions N]
                [--rate N [--rate N]... [--seconds N]]
"""
import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, program, directory):
        self.port, self.kafka = free_port(), free_port()
        self.process = subprocess.Popen(
            [program, "-js", "-a", "127.0.0.1", "-p", str(self.port), "-sd", directory,
             "--kafka", "127.0.0.1:%d" % self.kafka],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.kafka), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    sys.exit("kafka.py: the server does not start")
                time.sleep(0.02)

    def ask(self, subject, body):
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as s:
            f = s.makefile("rb")
            f.readline()
            body = json.dumps(body).encode()
            s.sendall(b'CONNECT {"verbose":false}\r\nSUB _R 1\r\nPUB %s _R %d\r\n%s\r\n'
                      % (subject.encode(), len(body), body))
            while True:
                line = f.readline().split()
                if line and line[0] == b"MSG":
                    answer = json.loads(f.read(int(line[-1])))
                    if "error" in answer:
                        sys.exit("kafka.py: %s: %s" % (subject, answer["error"]))
                    return

    def make_topic(self, partitions):
        """The first partition's stream last: it decides that there is a topic."""
        for n in reversed(range(partitions)):
            name = "bench" if n == 0 else "bench=p%d" % n
            subject = "bench" if partitions == 1 else "bench.%d" % n
            about = {"kafka.partitions": str(partitions)} if n == 0 else {"kafka.partition": str(n)}
            self.ask("$JS.API.STREAM.CREATE." + name,
                     {"name": name, "subjects": [subject], "metadata": about})

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def drop_pages(directory):
    os.sync()
    for where, _, files in os.walk(directory):
        for name in files:
            fd = os.open(os.path.join(where, name), os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def run(o, server, what, partitions, label, rate=None):
    amount = (["--count", str(o.count)] if rate is None else
              ["--rate", str(rate), "--seconds", str(o.seconds), "--linger", "1"])
    command = [o.bench, what, "--broker", "127.0.0.1:%d" % server.kafka, "--partitions",
               str(partitions), "--size", str(o.size), "--pid", str(server.process.pid)] + amount
    said = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    print("%2d partitions, %s: %s" % (partitions, label, " | ".join(said.stdout.split("\n")[:-1])),
          flush=True)
    if said.returncode != 0:
        sys.exit("kafka.py: %s" % said.stderr)


def measure(o, partitions):
    directory = tempfile.mkdtemp(prefix="midge-bench-", dir=o.dir)
    server = Server(o.server, directory)
    try:
        server.make_topic(partitions)
        run(o, server, "produce", partitions, "produce")
        run(o, server, "drain", partitions, "drain")
        server.stop()
        drop_pages(directory)
        server = Server(o.server, directory)
        run(o, server, "drain", partitions, "drain after a restart")
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def measure_rate(o, partitions, rate):
    directory = tempfile.mkdtemp(prefix="midge-bench-", dir=o.dir)
    server = Server(o.server, directory)
    try:
        server.make_topic(partitions)
        run(o, server, "produce", partitions, "%d a second" % rate, rate)
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def need(program, otherwise):
    if not os.access(program, os.X_OK):
        sys.exit("kafka.py: there is no %s: %s" % (program, otherwise))


def main():
    p = argparse.ArgumentParser(description="produce and drain over the Kafka listener")
    p.add_argument("--server", default=os.path.join(TOP, "build/bin/midge-server"))
    p.add_argument("--bench", default=os.path.join(TOP, "build/bin/kafka-bench"))
    p.add_argument("--count", type=int, default=2000000)
    p.add_argument("--size", type=int, default=1024)
    p.add_argument("--partitions", type=int, action="append")
    p.add_argument("--rate", type=int, action="append")
    p.add_argument("--seconds", type=int, default=20)
    p.add_argument("--dir", default=None)
    o = p.parse_args()
    need(o.server, "./dev build makes it")
    need(o.bench, "it needs librdkafka-dev; then rm build/Makefile; ./dev build")
    for partitions in o.partitions or (1, 16):
        for rate in o.rate or []:
            measure_rate(o, partitions, rate)
        if not o.rate:
            measure(o, partitions)


if __name__ == "__main__":
    main()
