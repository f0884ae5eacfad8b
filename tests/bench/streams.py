#!/usr/bin/env python3
"""streams.py: what `./dev bench --streams` runs. Many streams on one directory.

A server on a fresh directory gets --streams streams with ten messages of 128 B each. Then: its
memory, what it does with nobody there, a start after a clean stop and one after SIGKILL (until the
last stream's STREAM.INFO is answered), and --busy streams that each have one message under way, for
--seconds. With --peer the same follows for the other server. On a busy machine it says little.

usage: streams.py [--peer PATH] [--server PATH] [--streams N] [--busy N] [--seconds S] [--dir PATH]
"""
import argparse
import os
import shutil
import signal
import subprocess
import tempfile
import time

from store import TOP, Client, free_port

TICKS = os.sysconf("SC_CLK_TCK")
PAYLOAD = b"x" * 128
WINDOW = 200


class Server:
    def __init__(self, program, directory):
        self.program, self.directory = program, directory
        self.log = open(os.path.join(directory, "log"), "ab")

    def start(self, last):
        """Seconds until the last stream answers."""
        self.port = free_port()
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [self.program, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", self.directory],
            stdout=self.log, stderr=self.log)
        while True:
            try:
                client = Client(self.port)
                break
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit("the server ended; see " + self.log.name)
                time.sleep(0.005)
        while last and b'"messages":' not in client.ask("$JS.API.STREAM.INFO." + last):
            time.sleep(0.005)
        took = time.monotonic() - begin
        client.close()
        return took

    def cpu(self):
        """Seconds of processor time so far."""
        fields = open("/proc/%d/stat" % self.process.pid).read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss(self):
        for line in open("/proc/%d/status" % self.process.pid):
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024
        return 0

    def stop(self, number):
        begin = time.monotonic()
        self.process.send_signal(number)
        self.process.wait()
        return time.monotonic() - begin


def answers(client, want):
    """Takes one answer: the subject it came to. None at a PING."""
    line = client.file.readline().split()
    if not line:
        raise ConnectionError("the server has gone")
    if line[0] == b"PING":
        client.sock.sendall(b"PONG\r\n")
        return None
    body = client.file.read(int(line[-1]) + 2)
    if want not in body:
        raise SystemExit("an answer without %s: %s" % (want, body))
    return line[1]


def windowed(client, requests, want):
    """Sends all requests (subject, body), WINDOW of them under way."""
    waiting = 0
    for i, (subject, body) in enumerate(requests):
        client.sock.sendall(b"PUB %s _W.%d %d\r\n%s\r\n" % (subject, i, len(body), body))
        waiting += 1
        while waiting >= WINDOW:
            waiting -= answers(client, want) is not None
    while waiting > 0:
        waiting -= answers(client, want) is not None


def busy(client, count, seconds):
    """Messages acknowledged in so many seconds, one under way in each of `count` streams."""
    line = b"PUB s.%d _W.%d 128\r\n" + PAYLOAD + b"\r\n"
    client.sock.sendall(b"".join(line % (i, i) for i in range(count)))
    end, done = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        out = []
        for _ in range(min(count, 100)):
            to = answers(client, b'"seq"')
            if to is not None:
                i = int(to[3:])
                out.append(line % (i, i))
        done += len(out)
        client.sock.sendall(b"".join(out))
    return done


def measure(name, program, a):
    directory = tempfile.mkdtemp(prefix="streams-", dir=a.dir)
    try:
        server = Server(program, directory)
        server.start(None)
        client = Client(server.port)
        client.sock.sendall(b"SUB _W.* 2\r\n")
        empty = server.rss()
        begin = time.monotonic()
        windowed(client, ((b"$JS.API.STREAM.CREATE.S%d" % i,
                           b'{"name":"S%d","subjects":["s.%d"]}' % (i, i))
                          for i in range(a.streams)), b'"did_create":true')
        print("%s: %d streams made in %.1f s" % (name, a.streams, time.monotonic() - begin))
        for _ in range(10):
            windowed(client, ((b"s.%d" % i, PAYLOAD) for i in range(a.streams)), b'"seq"')
        print("%s: memory %.0f MB, %.1f KB a stream" %
              (name, server.rss(), (server.rss() - empty) * 1024 / a.streams))
        cpu = server.cpu()
        time.sleep(10)
        print("%s: idle, %.2f %% of a core" % (name, (server.cpu() - cpu) * 10))
        last = "S%d" % (a.streams - 1)
        stop = server.stop(signal.SIGTERM)
        print("%s: stopped in %.2f s, start after it %.2f s" % (name, stop, server.start(last)))
        print("%s: memory after it %.0f MB" % (name, server.rss()))
        server.stop(signal.SIGKILL)
        print("%s: start after SIGKILL %.2f s" % (name, server.start(last)))
        client = Client(server.port)
        client.sock.sendall(b"SUB _W.* 2\r\n")
        cpu = server.cpu()
        done = busy(client, a.busy, a.seconds)
        print("%s: %d busy streams, %.0f messages a second, %.1f us of CPU each" %
              (name, a.busy, done / a.seconds, (server.cpu() - cpu) * 1e6 / max(done, 1)))
        server.stop(signal.SIGTERM)
    finally:
        if server.process.poll() is None:
            server.process.kill()
        shutil.rmtree(directory)


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--peer")
    p.add_argument("--server", default=os.path.join(TOP, "build/bin/midge-server"))
    p.add_argument("--streams", type=int, default=10000)
    p.add_argument("--busy", type=int, default=1000)
    p.add_argument("--seconds", type=float, default=5)
    p.add_argument("--dir")
    a = p.parse_args()
    measure("midge", a.server, a)
    if a.peer:
        measure("peer", a.peer, a)


if __name__ == "__main__":
    main()
