#!/usr/bin/env python3
"""Byte streams of clients, compared with what a table keeps of the server's.

    wire.py [--server PROGRAM] [--peer] [--record] [--differs] [--only N] TABLE...

The first line of a table has the configurations of its servers: {"servers": {name: text}}. Each
further line is a case: {"about": id and subject of the feature map, "on": server, "steps": [...],
"answers": [...]}. Each step has one answer: what every connection got until the step was over, by
its name. A case starts with connection "a" open (its INFO is read) unless "opens" names others
("-a": nothing is read). The server's PINGs are left out but for cases with "pings". "sort": the
order of messages in an answer means nothing, "count": nor who got them. What connections of "mute"
get is not shown. "tries": the
peer often loses its last words with the connection; of so many recordings the longest is kept.
Steps:
    ["open", c]                 the INFO is part of the answer
    ["say", c, part, ...]       the parts are sent one by one; bytes are the characters up to 0xff,
                                {"$repeat": [text, n]} a long text, a list several of these
    ["hello", c, {field: ...}]  a CONNECT (not verbose, not pedantic unless said) and a PING; the
                                value {"$sign": seed} is the signature of the nonce
    ["join", c, {field: ...}]   open and hello, without the INFO
    ["wait", seconds]           what comes by itself
    ["end", c]                  nothing more will be sent, but read
    ["close", c]
    ["knock", c]                open, if the server takes it
    ["signal", name]            to the server, which is the case's own ("own": true)
    ["deaf", c]                 what it gets is not read any more
    ["log", regex]              the lines of the server's log since the last such step that the
                                expression is found in are part of the answer, as "log"; own servers
    ["dial", c, door]           connect to that door of the server: "nats", "websocket"
    ["tls", c, {option: ...}]   begin a handshake (doors.Tls)
    ["notify", c]               the end of TLS
    ["http", c, {name: ...}, {"path": ..., "method": ...}]
                                ask for WebSocket, with these fields of the request
    ["frame", c, {"op": ..., "text": ..., ...}, ...]
                                frames (doors.frame), sent at once
    ["below", c, part]          bytes below all that
    ["get", path, field, ...]   a document of monitoring (doors.monitor), until it is as wanted, as
                                "got"
    ["reload", text]            another configuration, and SIGHUP; the answer has the lines of the
                                log about it
With "json" payloads that are JSON are shown without times, ids and sizes, with "only" as well: no
more of them than these fields. With "frames" those of WebSocket are shown one by one.
Behind the steps each connection sends a PING: the last answer tells who is still there. Ids, times
and addresses are replaced. --record writes the answers of the server (the peer, nats-server 2.15.1)
into the table. Where midge differs on purpose a case has "midge": {step: answer} and "why":
--differs writes the first of the two, for cases named by --only.
"""
import argparse
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import doors  # noqa: E402
from compat import expand  # noqa: E402

QUIET = 0.1       # recording: so long nothing may come
DEADLINE = 30.0   # for what must come
SHARDS = 3        # servers of one configuration, side by side
CLOSED = "<closed>"

# Fields of INFO whose values are one server's own.
OWN = {"server_id", "server_name", "version", "go", "git_commit", "host", "port", "client_id",
       "client_ip", "nonce", "xkey", "ip"}


class Server:
    def __init__(self, program, text, dir):
        self.dir = tempfile.mkdtemp(prefix="midge-wire-")
        self.shared = dir
        self.configure(text)
        self.log = open(self.dir + "/log", "w")
        self.p = subprocess.Popen([program, "-c", self.dir + "/conf", "-a", "127.0.0.1", "-p", "-1",
                                   "--ports_file_dir", self.dir], stdout=self.log, stderr=self.log)
        self.ports = {}
        end = time.time() + 60
        while not self.ports and time.time() < end and self.p.poll() is None:
            for name in os.listdir(self.dir):
                if name.endswith(".ports"):
                    with open(os.path.join(self.dir, name)) as f:
                        said = f.read()
                    if said.rstrip().endswith("}"):
                        self.ports = {door: int(urls[0].rsplit(":", 1)[1])
                                      for door, urls in json.loads(said).items()}
            time.sleep(0.01)
        if not self.ports:
            with open(self.dir + "/log") as f:
                said = f.read()
            self.stop()
            raise SystemExit(f"{program} did not start:\n{text}\n{said}")

    def configure(self, text):
        text = text.replace("~/", self.shared + "/")
        text = re.sub(r"~pin (\w+)~", lambda m: doors.pin(self.shared, m.group(1)), text)
        with open(self.dir + "/conf", "w") as f:
            f.write(text)

    def stop(self):
        """What it said last, if it was not we who ended it; else None."""
        if self.p.poll() is None:
            self.p.terminate()
            try:
                self.p.wait(30)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
        self.log.close()
        crash = None
        if self.p.returncode < 0 and -self.p.returncode not in (signal.SIGTERM, signal.SIGKILL):
            with open(self.dir + "/log") as f:
                crash = f"server: signal {-self.p.returncode}\n{f.read()[-4000:]}"
        shutil.rmtree(self.dir, ignore_errors=True)
        return crash


def flat(part):
    if isinstance(part, list):
        return "".join(flat(x) for x in part)
    return part


def clean_info(m):
    try:
        info = json.loads(m.group(1))
    except ValueError:
        return m.group(0)
    # Who made the program is left out by a program that does not say so.
    for name in ("go", "git_commit"):
        info.pop(name, None)
    info = {k: "X" if k in OWN else v for k, v in sorted(info.items())}
    if "connect_urls" in info:
        info["connect_urls"] = len(info["connect_urls"])
    return "INFO " + json.dumps(info) + "\r\n"


def clean(data):
    text = data.decode("latin-1")
    text = re.sub(r"Date: [^\r]*\r\n", "", text)
    text = re.sub(r"INFO (\{.*?\}) ?\r\n", clean_info, text)
    return re.sub(r"((.)\2{199,})", lambda m: f"<{m.group(2)}*{len(m.group(1))}>", text,
                  flags=re.S)


# Of events and traces: what is another thing each time, or says which program it is.
PASSING = {"ts", "time", "start", "stop", "id", "timestamp", "host", "cid", "rtt", "server", "seq",
           "ver", "lang", "client_ip", "bytes", "name_tag"}


def without(value, names):
    if isinstance(value, dict):
        return {k: without(v, names) for k, v in sorted(value.items()) if k not in names}
    if isinstance(value, list):
        return [without(v, names) for v in value]
    return value


def clean_json(line, only):
    try:
        value = json.loads(line)
    except ValueError:
        return line
    if not isinstance(value, dict):
        return line
    if only:
        value = {k: v for k, v in value.items() if k in only}
    return json.dumps(without(value, PASSING))


RELOAD = r"[Rr]eload"


def in_order(lines):
    """What a reload says, whatever comes first; without what the peer says of each, and without
    its pictures of structures, which have ports in them."""
    lines = re.sub(r"(Websocket: old=).*", r"\1...", lines)
    return "\n".join(sorted(x for x in lines.split("\n") if not re.search(
        r"Reloaded: (authorization users|accounts)$|^(authorization users|accounts)$", x)))


def clean_log(line):
    """The level and the text, without who and when."""
    line = re.sub(r"^\[\d+\] \S+ \S+ ", "", line.rstrip("\n"))
    line = re.sub(r'127\.0\.0\.1:\d+ - [cw]id:\d+', "CLIENT", line)
    line = re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", line)
    line = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", line)
    line = re.sub(r"(SHA-256|key id): [0-9a-f]{64}", r"\1: SUM", line)
    line = re.sub(r"sha256:[0-9a-f]{64}", "SUM", line)
    line = re.sub(r"\d+ chunks of \d+ total bytes", "N chunks of N total bytes", line)
    line = re.sub(r'"server_id":"\w+"', '"server_id":"X"', line)
    return re.sub(r"((.)\2{199,})", lambda m: f"<{m.group(2)}*{len(m.group(1))}>", line)


class Conn:
    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.new = b""
        self.over = False
        self.deaf = False
        self.nonce = ""
        self.out = b""
        self.layers = []  # the one next to the socket first

    def read(self):
        try:
            data = self.s.recv(1 << 20)
        except OSError:
            data = b""
        if not data and not self.over:
            self.over = True
            self.new += CLOSED.encode()
        if data:
            self.take(data, 0)

    def take(self, data, at):
        for k in range(at, len(self.layers)):
            data, answer = self.layers[k].take(data)
            self.say(answer, k)
        self.new += data
        said = re.search(rb'^INFO .*"nonce":"([^"]*)"', data)
        if said:
            self.nonce = said.group(1).decode()

    def say(self, data, below=None):
        for layer in reversed(self.layers[:below]):
            data = layer.seal(data) if data else b""
        self.out += data

    def write(self):
        try:
            n = self.s.send(self.out)
        except OSError:
            n = len(self.out)  # the other end is closed: reading tells so
        self.out = self.out[n:]


class Play:
    """One case on one server."""

    def __init__(self, server, patience):
        self.server = server
        self.patience = patience
        self.conns = {}
        self.case = {}
        self.looking = None  # for lines of the log
        self.asking = None   # for a document: path and fields
        self.seen = 0        # of the log

    def poll(self, seconds):
        """What comes and goes within that time, or the first of it."""
        reads = [c for c in self.conns.values() if not c.over]
        writes = [c for c in reads if c.out]
        if not reads:
            time.sleep(seconds)
            return False
        ears = [c.s for c in reads if not c.deaf]
        r, w, _ = select.select(ears, [c.s for c in writes], [], seconds)
        for c in reads:
            if c.s in w:
                c.write()
            if c.s in r:
                c.read()
        return bool(r or w)

    def answer(self):
        said = {name: self.view(clean(c.new)) for name, c in sorted(self.conns.items()) if c.new}
        said = {name: text for name, text in said.items()
                if text and name not in self.case.get("mute", [])}
        if self.looking:
            said["log"] = self.log_lines()
        if self.looking == RELOAD:
            said["log"] = in_order(said["log"])
        if self.asking:
            said["got"] = doors.monitor(self.server.ports["monitoring"], *self.asking)
        return said

    def log_lines(self):
        with open(self.server.dir + "/log", errors="replace") as f:
            lines = f.readlines()[self.seen:]
        own = re.compile(f"{self.server.dir}|{self.server.shared}")
        lines = [clean_log(own.sub("~", x)) for x in lines if re.search(self.looking, x)]
        # Not those of the peer's own senders, nor the PING that comes when it wants to, nor what it
        # says of a connection that it has closed.
        return "\n".join(x for x in lines if not re.search(
            r"^\[...\] (ACCOUNT|SYSTEM) |->> \[PING\]$|CLIENT - read error: (auth|max)",
            x))

    def log_read(self):
        """What was shown is not shown again."""
        if self.looking:
            with open(self.server.dir + "/log", errors="replace") as f:
                self.seen = len(f.readlines())
        self.looking = None

    def view(self, text):
        if "pings" not in self.case:
            text = re.sub(r"(?m)^(<binary 6>)?PING\r\n", "", text)
        if "json" in self.case:
            text = re.sub(r"\bN[A-Z2-7]{55}\b", "ID", text)
            text = re.sub(r"(?m)^(H?MSG .*?)(?: +\d+)+\r$", r"\1 N\r", text)
            only = self.case.get("only")
            text = "\r\n".join(clean_json(x, only) for x in text.split("\r\n"))
        if "count" in self.case:
            text = re.sub(r"(MSG \S+) \S+", r"\1 N", text)
        if "sort" in self.case:
            text = "".join(sorted(re.split(r"(?<=\n)(?=MSG)", text)))
        return text

    def collect(self, want, seconds, quiet):
        end = time.time() + self.patience
        if want is not None:
            while self.answer() != want and time.time() < end:
                got = self.answer()
                if any(len(got[k]) > len(want.get(k, "")) for k in got if k != "got"):
                    break  # more than wanted
                self.poll(0.05)
            quiet = seconds or 0.002
        last = time.time()
        while time.time() < last + quiet or any(c.out and not c.over for c in self.conns.values()):
            if self.poll(max(0.001, last + quiet - time.time())):
                last = max(last, time.time() if not seconds else last)
            if time.time() > end + quiet:
                break
        out = self.answer()
        self.log_read()
        self.asking = None
        for c in self.conns.values():
            c.new = b""
        return out

    # ---- steps

    def step_open(self, c):
        self.step_dial(c, "nats")

    def step_dial(self, c, door):
        ports = self.server.ports
        if door == "leafnodes" and door not in ports:  # the peer names it in no file
            ports[door] = doors.monitor(ports["monitoring"], "/varz", ["leaf.port"])["leaf.port"]
        self.conns[c] = Conn(ports[door])

    def flush(self, c):
        end = time.time() + DEADLINE
        while self.conns[c].out and not self.conns[c].over and time.time() < end:
            self.poll(0.05)

    def step_say(self, c, *parts):
        for k, part in enumerate(parts):
            if k:
                self.poll(0.004)
            self.conns[c].say(flat(part).encode("latin-1"))
            self.flush(c)

    def step_below(self, c, part):
        self.conns[c].out += flat(part).encode("latin-1")
        self.flush(c)

    def step_tls(self, c, options=None):
        tls = doors.Tls(self.server.shared, **(options or {}))
        self.conns[c].layers.append(tls)
        self.conns[c].out += tls.begin()
        end = time.time() + DEADLINE
        while not (tls.ready or tls.dead or self.conns[c].over) and time.time() < end:
            self.poll(0.05)

    def step_notify(self, c):
        self.conns[c].out += self.conns[c].layers[0].end()

    def step_http(self, c, headers=None, line=None):
        conn = self.conns[c]
        conn.say(doors.request(headers, **(line or {})).encode("latin-1"))
        conn.layers.append(doors.WebSocket("frames" in self.case))

    def step_frame(self, c, *frames):
        conn = self.conns[c]
        data = b""
        for options in frames:
            text = flat(options.pop("text", "")).encode("latin-1")
            data += doors.frame(payload=text, **options)
        conn.say(data, len(conn.layers) - 1)

    def step_reload(self, text):
        self.server.configure(text)
        self.server.p.send_signal(signal.SIGHUP)
        end = time.time() + DEADLINE
        self.looking = RELOAD
        while not re.search(r"Reloaded server|Failed to reload", self.log_lines()):
            self.poll(0.01)
            if time.time() > end:
                break

    def step_hello(self, c, fields=None):
        fields = {"verbose": False, "pedantic": False, **(fields or {})}
        signs = [k for k, v in fields.items() if isinstance(v, dict)]
        conn, end = self.conns[c], time.time() + DEADLINE
        while signs and not conn.nonce and not conn.over and time.time() < end:
            self.poll(0.05)
        fields.update({k: doors.sign(fields[k]["$sign"], conn.nonce) for k in signs})
        self.step_say(c, "CONNECT " + json.dumps(fields) + "\r\nPING\r\n")

    def step_join(self, c, fields=None):
        self.silent_open(c)
        self.step_hello(c, fields)

    def step_wait(self, seconds):
        pass

    def step_end(self, c):
        try:
            self.conns[c].s.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def step_close(self, c):
        self.drop(self.conns.pop(c))

    def step_deaf(self, c):
        self.conns[c].deaf = True

    def step_log(self, pattern):
        self.looking = pattern

    def step_get(self, path, *fields):
        self.asking = (path, fields)

    def step_knock(self, c):
        try:
            self.step_dial(c, "nats")
        except OSError:
            self.conns.pop(c, None)

    def step_signal(self, name):
        self.server.p.send_signal(getattr(signal, "SIG" + name))

    # ----

    def silent_open(self, c):
        self.step_dial(c, "nats")
        conn = self.conns[c]
        end = time.time() + DEADLINE
        while not conn.new.endswith(b"\r\n") and not conn.over and time.time() < end:
            self.poll(0.1)
        conn.new = b""

    def drop(self, conn):
        """Closed, and the server knows it."""
        try:
            conn.s.shutdown(socket.SHUT_WR)
            conn.s.settimeout(DEADLINE)
            while not conn.over and conn.s.recv(1 << 20):
                pass
        except OSError:
            pass
        conn.s.close()

    def run(self, case, want):
        self.case = case
        quiet = case.get("quiet", QUIET)
        for c in case.get("opens", ["a"]):
            if c[0] == "-":
                self.step_dial(c[1:], "nats")
            else:
                self.silent_open(c)
        answers = []
        steps = [*case["steps"], None]
        for k, step in enumerate(steps):
            if step is None:
                for conn in self.conns.values():
                    conn.say(b"" if conn.over or conn.deaf else b"PING\r\n")
            else:
                getattr(self, f"step_{step[0]}")(*expand(step[1:]))
            seconds = step[1] if step is not None and step[0] == "wait" else 0
            answers.append(self.collect(None if want is None else want[k], seconds,
                                        max(quiet, seconds)))
        for conn in self.conns.values():
            self.drop(conn)
        self.conns = {}
        return answers


def wanted(case, peer):
    want = list(case.get("answers") or [])
    if not peer:
        for k, answer in case.get("midge", {}).items():
            want[int(k)] = answer
    return want


def differing(got, want):
    """Of two documents what is not the same."""
    if not (isinstance(got.get("got"), dict) and isinstance(want.get("got"), dict)):
        return got, want
    same = {k for k, v in want["got"].items() if k in got["got"] and got["got"][k] == v}
    return tuple({**x, "got": {k: v for k, v in x["got"].items() if k not in same}}
                 for x in (got, want))


def report(table, number, case, got, want):
    lines = [f"{table}:{number}: {case.get('about', '')}"]
    for k, (g, w) in enumerate(zip(got, want)):
        if g != w:
            g, w = differing(g, w)
            step = case["steps"][k] if k < len(case["steps"]) else "the PING at the end"
            lines.append(f"  step {k}: {json.dumps(step)[:400]}\n"
                         f"    got    {json.dumps(g)[:1500]}\n"
                         f"    wanted {json.dumps(w)[:1500]}")
    print("\n".join(lines))


def timed(case, text):
    """Time passes in the case, or ends its server's connections. (Other servers' times to log in
    and to shake hands are so long that no case meets them.)"""
    return (any(step[0] == "wait" for step in case["steps"])
            or re.search(r"ping_interval|write_deadline|lame_duck|_limit|timeout: [0-2](\.\d+)?\b"
                         r"|\d+ms|first: auto", text))


class Table:
    def __init__(self, path, a, dir):
        self.path, self.a, self.dir = path, a, dir
        with open(path) as f:
            lines = [json.loads(line) for line in f if line.strip()]
        self.servers = lines[0]["servers"]
        self.cases = lines[1:]
        self.failed = []
        self.judged = set()
        self.late = 0

    def play(self, server, text, case, want):
        own = Server(self.a.server, text, self.dir) if case.get("own") else None
        try:
            return Play(own or server, self.a.patience).run(case, want)
        except OSError as e:
            return [{"error": repr(e)}]
        finally:
            if own:
                self.end(own)

    def end(self, server):
        """No repetition makes up for a server that has crashed."""
        crash = server.stop()
        if crash:
            self.failed.append(None)
            print(f"{self.path}: {crash}")

    def one(self, server, text, number, case):
        a = self.a
        want = None if a.record or a.differs else wanted(case, a.peer)
        got = self.play(server, text, case, want)
        # The peer finishes some things behind its answers. Where a case is about time, a machine
        # that was away for a while may have answered too late, once.
        again = case.get("tries", 1) if a.peer else 4 if timed(case, text) else 0
        for _ in range(0 if want is None else again):
            if got == want:
                break
            self.late += 1
            report(self.path, number, case, got, want)
            got = self.play(server, text, case, want)
        if a.record:
            others = [self.play(server, text, case, None) for _ in range(case.get("tries", 0))]
            case["answers"] = max([got, *others], key=lambda x: len(json.dumps(x)))
        elif a.differs:
            case["midge"] = {str(k): g for k, g in enumerate(got) if g != case["answers"][k]}
        elif got != want:
            self.failed.append(number)
            report(self.path, number, case, got, want)
        self.judged.add(number)

    def shard(self, on, cases):
        text = self.servers[on]
        server = None
        try:
            for number, case in cases:
                if not case.get("own"):
                    server = server or Server(self.a.server, text, self.dir)
                self.one(server, text, number, case)
        except (Exception, SystemExit) as e:  # its other cases are not judged, which is counted
            print(f"{self.path}: {e!r}")
        finally:
            if server:
                self.end(server)

    def run(self):
        by = {}
        for number, case in enumerate(self.cases, 2):
            if not self.a.only or number in self.a.only:
                by.setdefault(case.get("on", "plain"), []).append((number, case))
        threads = []
        for on, cases in by.items():
            n = min(SHARDS, 1 + len(cases) // 20)
            for k in range(n):
                threads.append(threading.Thread(target=self.shard, args=(on, cases[k::n])))
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if self.a.record or self.a.differs:
            with open(self.path, "w") as f:
                f.write(json.dumps({"servers": self.servers}, sort_keys=True) + "\n")
                for case in self.cases:
                    f.write(json.dumps(case, sort_keys=True) + "\n")
        ran = sum(len(c) for c in by.values())
        self.failed += {number for c in by.values() for number, _ in c} - self.judged
        print(f"{self.path}: {ran} cases, {len(self.failed)} failed"
              + (f", {self.late} repeated" if self.late else ""), flush=True)
        return len(self.failed)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--server", default=os.path.join(os.environ.get("MIDGE_BUILDDIR", "build"),
                                                    "bin/midge-server"))
    a.add_argument("--peer", action="store_true", help="the server is a nats-server")
    a.add_argument("--record", action="store_true")
    a.add_argument("--differs", action="store_true")
    a.add_argument("--only", type=int, action="append", help="lines of the table")
    a.add_argument("--patience", type=float, default=DEADLINE, help="for what must come")
    a.add_argument("table", nargs="+")
    a = a.parse_args()
    with tempfile.TemporaryDirectory(prefix="midge-wire-") as dir:
        doors.certificates(dir)
        with ThreadPoolExecutor(3) as pool:
            failed = sum(pool.map(lambda path: Table(path, a, dir).run(), a.table))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
