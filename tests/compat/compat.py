#!/usr/bin/env python3
"""Asks a server the questions of a table and compares its answers with those that the table keeps.

    compat.py [--server PROGRAM] [--peer] [--record] TABLE...

A line of the table is a case: {"steps": [[verb, ...], ...], "answers": [...]}. Verbs:
    ["create", {config}]  ["update", {config}]     streams; the name is S unless the config has one
    ["pub", subject, {header: value} or null, body]
    ["api", subject, body]
    ["told", subject, body]      a request that is refused: its whole text is kept, where others
                                 keep only the code of malformed JSON
    ["fast", flow, gap, [[batch, seq, op, subject, headers or null, body], ...]]
        messages of fast-ingest batches one by one; the answer is the list of what came for each
    ["pubs", count, subject, {header: value with %d}, body]      the last answer counts
{"$repeat": [text, n]} stands for a long text. Before each case the stream S is deleted. A success
is kept as what is not in the answer to an empty configuration. --record writes the answers of the
server (the peer, nats-server 2.15) into the table. Where midge differs on purpose a case has
"midge": [...] and "why".
"""
import argparse
import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

DROPPED = { "created", "ts", "timestamp", "time", "id", "cluster", "state", "did_create"}


class Client:
    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.f = self.s.makefile("rb")
        self.n = 0
        self.f.readline()
        self.send(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n'
                  b"SUB in.> 1\r\nPING\r\n")
        while self.f.readline() != b"PONG\r\n":
            pass

    def send(self, data):
        self.s.sendall(data)

    def publish(self, subject, headers, body, reply):
        block = ""
        if headers:
            block = "NATS/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        sizes = f"{len(block)} {len(block) + len(body.encode())}" if block else len(body.encode())
        verb = "HPUB" if block else "PUB"
        self.send(f"{verb} {subject} {reply} {sizes}\r\n{block}{body}\r\n".encode())

    def ask(self, subject, headers, body):
        self.n += 1
        inbox = f"in.{self.n}"
        self.publish(subject, headers, body, inbox)
        while True:
            line = self.f.readline().decode().split()
            if line[0] in ("MSG", "HMSG"):
                data = self.f.read(int(line[-1]) + 2)[:-2]
                if line[1] == inbox:
                    skip = int(line[-2]) if line[0] == "HMSG" else 0
                    return data[skip:].decode() if len(data) > skip else data.decode().strip()
            elif line[0] == "-ERR":
                return " ".join(line)
            elif line[0] == "PING":
                self.send(b"PONG\r\n")


    def collect(self, want):
        """The payloads that come: as many as wanted, or (None) until it is quiet."""
        got = []
        self.s.settimeout(0.3 if want is None else 20)
        try:
            while want is None or len(got) < want:
                line = self.f.readline().decode().split()
                if line[0] == "PING":
                    self.send(b"PONG\r\n")
                    continue
                data = self.f.read(int(line[-1]) + 2)[:-2]
                got.append(data[int(line[-2]) if line[0] == "HMSG" else 0:].decode())
        except OSError:
            self.f = self.s.makefile("rb")
        self.s.settimeout(20)
        return got


class Server:
    """A server in a directory of its own, with a configuration file if there is a text for it."""

    def __init__(self, program, conf=None):
        self.dir = tempfile.mkdtemp(prefix="midge-compat-")
        self.args = [program, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", self.dir + "/store",
                     "--ports_file_dir", self.dir]
        if conf is not None:
            with open(self.dir + "/conf", "w") as f:
                f.write(conf.replace("$DIR", self.dir))
            self.args += ["-c", self.dir + "/conf"]
        self.log = open(self.dir + "/log", "w")
        self.start()

    def start(self):
        for name in os.listdir(self.dir):
            if name.endswith(".ports"):
                os.unlink(os.path.join(self.dir, name))
        self.p = subprocess.Popen(self.args, stdout=self.log, stderr=self.log)
        self.port = None
        end = time.time() + 60
        while self.port is None and time.time() < end and self.p.poll() is None:
            for name in os.listdir(self.dir):
                if name.endswith(".ports"):
                    text = open(os.path.join(self.dir, name)).read()
                    m = re.search(r"nats://127\.0\.0\.1:(\d+)", text)
                    if m and text.rstrip().endswith("}"):
                        self.port = int(m.group(1))
            time.sleep(0.02)
        if self.port is None:
            text = open(self.dir + "/log").read()[-2000:]
            self.stop()
            raise SystemExit(f"{self.args[0]} did not start\n{text}")

    def restart(self, kill=False):
        if kill:
            self.p.kill()
        else:
            self.p.terminate()
        self.p.wait(30)
        self.start()

    def stop(self):
        if self.p.poll() is None:
            self.p.terminate()
            self.p.wait(30)
        shutil.rmtree(self.dir, ignore_errors=True)


def expand(value):
    if isinstance(value, dict):
        if "$repeat" in value:
            return value["$repeat"][0] * value["$repeat"][1]
        return {k: expand(v) for k, v in value.items()}
    return [expand(v) for v in value] if isinstance(value, list) else value


def shorten(value):
    if isinstance(value, str) and len(value) > 1000:
        return {"$repeat": [value[0], len(value)]}
    if isinstance(value, dict):
        return {k: shorten(v) for k, v in value.items()}
    return [shorten(v) for v in value] if isinstance(value, list) else value


def clean(value):
    if isinstance(value, dict):
        value = {k: clean(v) for k, v in sorted(value.items())
                 if k not in DROPPED and not k.startswith("_nats.")}
        if "hdrs" in value:
            value["hdrs"] = sorted(base64.b64decode(value["hdrs"]).decode().split("\r\n"))
        return value
    if isinstance(value, list):
        return [clean(v) for v in value]
    return value


class Asker:
    def __init__(self, port):
        self.c = Client(port)
        self.base = {}
        self.base = self.stream("create", {"name": "B", "subjects": ["base"]})["config"]

    def stream(self, verb, config):
        config = {"name": "S", **config}
        return json.loads(self.c.ask(f"$JS.API.STREAM.{verb.upper()}.{config['name']}", None,
                                     json.dumps(config)))

    def answer(self, text):
        try:
            v = json.loads(text)
            if isinstance(v, dict) and str(v.get("type")).startswith("io.nats."):
                del v["type"]
            v = clean(v)
        except ValueError:
            return text
        if isinstance(v, dict) and "config" in v:
            c = v["config"]
            gone = [k for k in self.base if k not in c]
            v = {k: x for k, x in c.items() if clean(self.base).get(k) != x and k not in ("name",)}
            if gone:
                v["-"] = gone
        elif isinstance(v, dict) and "error" in v and "err_code" in v["error"]:
            v = [v["error"]["err_code"], v["error"]["description"]]
            if v[0] == 10025:  # behind it comes the text of a library
                v = v[:1]
        return v

    @staticmethod
    def refusal(text):
        error = json.loads(text)["error"]
        return [error["err_code"], error["description"]]

    def fast(self, flow, gap, messages, want):
        answers = []
        for k, (batch, seq, op, subject, headers, body) in enumerate(messages):
            self.c.publish(subject, headers, body, f"in.f.{batch}.{flow}.{gap}.{seq}.{op}.$FI")
            n = len(want[k]) if want is not None else None
            answers.append([self.answer(t) for t in self.c.collect(n)])
        return answers

    def step(self, step, want):
        verb, *rest = step
        if verb in ("create", "update"):
            config = {"name": "S", **rest[0]}
            if config["name"] == "":
                del config["name"]
            text = self.c.ask(f"$JS.API.STREAM.{verb.upper()}.S", None, json.dumps(config))
        elif verb in ("api", "told"):
            text = self.c.ask(rest[0], None, rest[1])
            if verb == "told":
                return self.refusal(text)
        elif verb == "pub":
            text = self.c.ask(rest[0], rest[1], rest[2])
        elif verb == "pubs":
            for k in range(1, rest[0] + 1):
                headers = {a: b.replace("%d", str(k)) for a, b in rest[2].items()}
                text = self.c.ask(rest[1], headers, rest[3])
        elif verb == "fast":
            return self.fast(*rest, want)
        else:
            raise SystemExit(f"unknown verb {verb}")
        return self.answer(text)

    def case(self, case, want):
        self.c.ask("$JS.API.STREAM.DELETE.S", None, "")
        n = len(case["steps"])
        return [shorten(self.step(expand(s), w))
                for s, w in zip(case["steps"], want if want is not None else [None] * n)]


def first_seq(answers):
    for v in answers:
        if isinstance(v, dict) and "seq" in v and "stream" in v:
            return v["seq"]
    return 1


def run(a, table):
    """How many cases passed and failed."""
    with open(table) as f:
        cases = [json.loads(line) for line in f if line.strip()]
    server = Server(a.server)
    failed = 0
    try:
        ask = Asker(server.port)
        for number, case in enumerate(cases, 1):
            want = case.get("answers") if a.peer else case.get("midge", case.get("answers"))
            want = None if a.record else want
            got = ask.case(case, want)
            # The peer may need a moment to forget the stream of the case before.
            for _ in range(20 if a.record or a.peer else 0):
                if case.get("seq", 1) == first_seq(got) and (a.record or got == want):
                    break
                time.sleep(0.05)
                got = ask.case(case, want)
            if a.record:
                case["answers"] = got
            elif got != want:
                failed += 1
                print(f"{table}:{number}: {json.dumps(case['steps'])}")
                for g, w in zip(got, want):
                    if g != w:
                        print(f"    got    {json.dumps(g)}\n    wanted {json.dumps(w)}")
    finally:
        server.stop()
    if a.record:
        with open(table, "w") as f:
            for case in cases:
                f.write(json.dumps(case, sort_keys=True) + "\n")
    return len(cases) - failed, failed


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--server", default=os.path.join(os.environ.get("MIDGE_BUILDDIR", "build"),
                                                    "bin/midge-server"))
    a.add_argument("--peer", action="store_true", help="the server is a nats-server")
    a.add_argument("--record", action="store_true")
    a.add_argument("table", nargs="+")
    a = a.parse_args()
    counts = [run(a, table) for table in a.table]
    passed, failed = (sum(n) for n in zip(*counts))
    print(f"cases: {passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
