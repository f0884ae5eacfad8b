#!/usr/bin/env python3
"""Histories of requests, messages and answers, compared with those that a table keeps.

    flows.py [--server PROGRAM] [--peer] [--record] [--only N] TABLE...

A line of a table is a case: {"about": id and subject of the feature map, "steps": [...],
"answers": [...]}. Each step has one answer: what came until the step was over, by the name of the
subscription. Steps:
    ["ask", subject, body, {header: value}]  a request; an object as body is sent as JSON
    ["stream", {config}]  ["consumer", stream, {config}]    short for the requests that create them
    ["pub", subject, body, headers, reply]   a publish without a subscription for answers
    ["sub", name, subject, queue]  ["unsub", name]
    ["pull", name, stream, consumer, body]   MSG.NEXT with an inbox of this name
    ["ack", name, k, body]                   answers the k-th message that `name` has got
    ["wait", seconds]                        what comes by itself
    ["await", subject, body, path, value]    asks until path ("state.messages") has the value
    ["snapshot", name, stream, {request}]    the answer, and the status that ends the archive
    ["restore", name, stream, {changes}]     of what was taken as `name`, or as "peer:name" of what
                                             nats-server gave when the table was recorded; changes:
                                             fields of the configuration ("config"), and "cut": so
                                             many bytes are left out at the end
    ["restart"]  ["kill"]                    the server ends and starts again on what it stored
    ["as", user, step...]                    the step on a connection of this user's
A line {"server": {"conf": text, "user": name}} starts another server for the cases behind it; users
have their names for passwords. Before each case all streams are deleted. Times, ids and what else
no two runs have in common are replaced (clean_*). --record writes the answers of the server (the
peer, nats-server 2.15) into the table, and archives of its snapshots. Where midge differs on
purpose a case has "midge": {step: answer} and "why".
"""
import argparse
import base64
import json
import os
import re
import select
import socket
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from compat import Server, expand, shorten  # noqa: E402

QUIET = 0.15  # recording: so long nothing may come
DEADLINE = 5.0
PATIENCE = 40.0  # await: nats-server asks a lost origin again after 10 s and more

# Values that differ from run to run; what they are replaced by tells their kind.
TIMES = {"created", "ts", "timestamp", "time", "first_ts", "last_ts", "last_active", "leader_since",
         "start", "stop", "end", "pinned_ts", "pause_until"}
NUMBERS = {"pause_remaining", "ack_time", "rtt", "active", "storage_max", "api_total"}
NAMES = {"id", "server", "server_id", "host", "leader", "raft_group", "pinned_client_id",
         "pinned_id", "_nats.ver", "client_id", "ver"}
ZERO_TIME = "0001-01-01T00:00:00Z"


def clean_text(text, inbox):
    text = re.sub(r"\$JS\.ACK\.(\S+)\.(\d+)\.(\d+)\.(\d+)\.\d{15,}\.(\d+)",
                  r"$JS.ACK.\1.\2.\3.\4.T.\5", text)
    text = re.sub(r"\$JS\.FC\.([^. ]+)\.([^. ]+)\.\S+", r"$JS.FC.\1.\2.X", text)
    text = re.sub(r"\$JS\.SNAPSHOT\.(ACK|RESTORE)\.([^. ]+)\.[^. ]+", r"$JS.SNAPSHOT.\1.\2.X", text)
    text = re.sub(r"\b2\d\d\d-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d)", "T", text)
    text = re.sub(r"(CONSUMER\.(CREATED|DELETED)\.[^. ]+)\.[A-Za-z0-9]{8}$", r"\1.X", text)
    text = re.sub(r"(Nats-Stream-Source:( [^ \r\n]+){5}) [^ \r\n]+", r"\1 X", text)
    text = text.replace(inbox, "in.")
    return text


def clean_json(key, value, inbox):
    if isinstance(value, dict):
        return {k: clean_json(k, v, inbox) for k, v in sorted(value.items())}
    if isinstance(value, list):
        value = [clean_json(key, v, inbox) for v in value]
        if key == "sources":  # in no order
            value.sort(key=lambda v: json.dumps([v.get("name"), v.get("filter_subject"), v]))
        return value
    if key == "hdrs":
        text = base64.b64decode(value).decode("utf-8", "replace")
        if "Nats-Stream-Source" not in text:
            return value
        return sorted(clean_text(line, inbox) for line in text.split("\r\n") if line)
    if key == "active":
        return "N"  # -1 until the origin was heard
    if key in TIMES and isinstance(value, str):
        return value if value == ZERO_TIME else "T"
    if key == "id" and isinstance(value, int):
        return "N"
    if key in NUMBERS and isinstance(value, (int, float)):
        return "N" if value > 0 else value
    if key in NAMES and isinstance(value, str):
        return "X" if value else value
    return clean_text(value, inbox) if isinstance(value, str) else value


def clean_body(body, inbox):
    text = body.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except ValueError:
        return clean_text(text, inbox)
    if not isinstance(value, dict):
        return text
    value = clean_json("", value, inbox)
    kind = value.get("type", "")
    if kind.startswith("io.nats.jetstream.api.v1."):
        value["type"] = kind[25:]
    if kind.endswith("account_info_response"):
        value.pop("api", None)
        for name in ("memory", "storage", "reserved_memory", "reserved_storage"):
            value.pop(name, None)
    if kind.endswith("api_audit"):
        for name in ("request", "response"):
            if name in value:
                value[name] = clean_body(value[name].encode(), inbox)
    # The text behind it is that of a library.
    error = value.get("error")
    if isinstance(error, dict) and error.get("err_code") == 10025:
        error.pop("description", None)
    # A consumer without a name gets one.
    if kind.endswith("consumer_action") and re.fullmatch("[A-Za-z0-9]{8}", value["consumer"]):
        value["consumer"] = "X"
    # Whether the origin was heard before the answer depends on the machine.
    if kind.endswith(("stream_create_response", "stream_update_response")):
        for source in [value.get("mirror") or {}, *(value.get("sources") or [])]:
            if "lag" in source:
                source["lag"] = "N"
    config = value.get("config")
    if isinstance(config, dict) and "stream_name" in value and "durable_name" not in config:
        name = value.get("name", "")
        if re.fullmatch(r"[A-Za-z0-9]{8}|[A-Za-z0-9]{22}", name):
            value["name"] = "X"
            config["name"] = "X"
    return value


class Link:
    """A connection."""

    def __init__(self, port, user):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""
        self.line()
        who = f'"user":"{user}","pass":"{user}",' if user else ""
        self.s.sendall(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,'
                       b'"no_responders":true,"name":"flow","lang":"python",' + who.encode() +
                       b'"version":"1"}\r\nPING\r\n')
        line = self.line()
        while line != "PONG":
            if line.startswith("-ERR"):
                raise SystemExit(f"{user}: {line}")
            line = self.line()

    def fill(self):
        data = self.s.recv(1 << 20)
        if not data:
            raise SystemExit("the server closed the connection")
        self.buf += data

    def line(self):
        while b"\r\n" not in self.buf:
            self.fill()
        line, self.buf = self.buf.split(b"\r\n", 1)
        return line.decode("utf-8", "replace")

    def payload(self, n):
        while len(self.buf) < n + 2:
            self.fill()
        data, self.buf = self.buf[:n], self.buf[n + 2:]
        return data


class Flow:
    def __init__(self, server, user=""):
        self.server = server
        self.main = user
        self.links = {}
        self.user = user
        self.sids = {}
        self.names = {}
        self.next_sid = 1
        self.case_number = 0
        self.archives = {}
        self.got = {}
        self.new = {}
        self.link()

    def link(self):
        """The connection of the user whose turn it is."""
        if self.user not in self.links:
            self.links[self.user] = Link(self.server.port, self.user)
        return self.links[self.user]

    def send(self, data):
        self.link().s.sendall(data)

    def ready(self, seconds):
        """The connections on which something has come."""
        links = [k for k in self.links.values() if b"\r\n" in k.buf]
        if links:
            return links
        by_socket = {k.s: k for k in self.links.values()}
        return [by_socket[s] for s in select.select(list(by_socket), [], [], max(seconds, 0))[0]]

    # ---- protocol

    def subscribe(self, name, subject, queue=None):
        sid = str(self.next_sid)
        self.next_sid += 1
        self.sids[name] = sid
        self.names[sid] = (name, subject, self.user, queue)
        self.send(f"SUB {subject} {queue + ' ' if queue else ''}{sid}\r\n".encode())

    def unsubscribe(self, name):
        sid = self.sids.pop(name, None)
        if sid is not None:
            self.links[self.names[sid][2]].s.sendall(f"UNSUB {sid}\r\n".encode())

    def publish(self, subject, body="", headers=None, reply=""):
        if not isinstance(body, (str, bytes)):
            body = json.dumps(expand(body))
        data = body.encode() if isinstance(body, str) else body
        if headers:
            block = "NATS/1.0\r\n" + "".join(
                f"{k}: {x}\r\n" for k, v in headers.items()
                for x in (v if isinstance(v, list) else [v])) + "\r\n"
            head = expand(block).encode()
            self.send(f"HPUB {subject} {reply} {len(head)} {len(head) + len(data)}\r\n".encode()
                      + head + data + b"\r\n")
        else:
            self.send(f"PUB {subject} {reply} {len(data)}\r\n".encode() + data + b"\r\n")

    def take(self, link):
        """One line of the server's, with what belongs to it. True: a PONG."""
        line = link.line()
        verb, *args = line.split()
        if verb == "PONG":
            return True
        if verb == "PING":
            link.s.sendall(b"PONG\r\n")
        elif verb == "-ERR":
            self.note("-ERR", line)
        elif verb in ("MSG", "HMSG"):
            data = link.payload(int(args[-1]))
            nheader = int(args[-2]) if verb == "HMSG" else 0
            reply = args[2] if len(args) == (5 if verb == "HMSG" else 4) else ""
            self.message(args[1], args[0], reply, data[:nheader], data[nheader:])
        return False

    def message(self, sid, subject, reply, header, body):
        name, pattern = self.names.get(sid, ("?", ""))[:2]
        if self.sids.get(name) != sid:
            return  # of a step that did not wait for it
        out = {}
        if subject != pattern or "*" in pattern or ">" in pattern:
            out["subject"] = clean_text(subject, self.inbox())
        if reply:
            out["reply"] = clean_text(reply, self.inbox())
        if header:
            lines = header.decode("utf-8", "replace").rstrip("\r\n").split("\r\n")
            fields = sorted(self.clean_header(x) for x in lines[1:])
            out["header"] = [lines[0]] + fields
        if body or not header:
            out["body"] = clean_body(body, self.inbox())
        self.got.setdefault(name, []).append((reply, header, body))
        self.note(name, out)

    def clean_header(self, line):
        key, _, value = line.partition(":")
        if key in ("Nats-Pin-Id", "Nats-Stream-Identity"):
            value = " X"
        return clean_text(f"{key}:{value}", self.inbox())

    def note(self, name, what):
        self.new.setdefault(name, []).append(what)

    def inbox(self):
        return f"in.{self.case_number}."

    # ---- what comes

    def until_pong(self):
        for link in list(self.links.values()):
            link.s.sendall(b"PING\r\n")
            while not self.take(link):
                pass

    def until_quiet(self, seconds):
        end = time.time() + seconds
        while time.time() < end:
            for link in self.ready(end - time.time()):
                self.take(link)
                end = max(end, time.time() + min(seconds, QUIET))

    def collect(self, want, seconds, asked):
        """want: how many must come by name; None: until it is quiet."""
        if want is None:
            end = time.time() + 1
            while asked and "answer" not in self.new and time.time() < end:
                self.until_quiet(0.005)
            self.until_pong()
            self.until_quiet(seconds or (QUIET if len(self.sids) > 1 else QUIET / 10))
        else:
            end = time.time() + DEADLINE
            while any(len(self.new.get(k, [])) < len(v) for k, v in want.items()):
                if time.time() > end:
                    break
                for link in self.ready(end - time.time()):
                    self.take(link)
            self.until_pong()
        out, self.new = self.new, {}
        if want is not None and asked and "answer" not in want:
            out.pop("answer", None)  # the peer said nothing: whatever is said comes when it comes
        # Advisories are made side by side; an archive is what its reader makes of it.
        if "adv" in out:
            out["adv"].sort(key=lambda m: m["subject"])
        if "chunks" in out:
            out["chunks"] = [m.get("header", ["bytes"])[0] for m in out["chunks"]]
        return shorten(out)

    def request(self, subject, body=""):
        """Outside of the record: the body of the answer."""
        self.subscribe("private", f"private.{self.next_sid}")
        inbox = self.names[self.sids["private"]][1]
        self.publish(subject, body, None, inbox)
        while "private" not in self.got:
            self.take(self.link())
        answer = self.got.pop("private")[0][2]
        self.unsubscribe("private")
        self.new.pop("private", None)
        try:
            return json.loads(answer) if answer else {}
        except ValueError:
            return {}

    # ---- steps

    def step_ask(self, subject, body="", headers=None):
        self.asks += 1
        inbox = f"{self.inbox()}{self.asks}"
        name = "answer"
        self.unsubscribe(name)
        self.subscribe(name, inbox)
        self.publish(subject, body, headers, inbox)

    def step_stream(self, config):
        config = {"name": "S", "subjects": ["s.>"], **config}
        self.step_ask(f"$JS.API.STREAM.CREATE.{config['name']}", config)

    def step_consumer(self, stream, config):
        name = config.get("durable_name") or config.get("name")
        subject = f"$JS.API.CONSUMER.CREATE.{stream}" + (f".{name}" if name else "")
        self.step_ask(subject, {"stream_name": stream, "config": config})

    def step_pub(self, subject, body="", headers=None, reply=""):
        self.publish(subject, body, headers, reply)

    def step_sub(self, name, subject, queue=None):
        self.unsubscribe(name)
        self.subscribe(name, subject, queue)

    def step_unsub(self, name):
        self.unsubscribe(name)

    def step_pull(self, name, stream, consumer, body="", headers=None):
        inbox = f"{self.inbox()}{name}"
        if name not in self.sids:
            self.subscribe(name, inbox)
        self.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", body, headers, inbox)

    def step_ack(self, name, k, body="", answer=False):
        reply = [r for r, h, b in self.got.get(name, []) if r.startswith("$JS.")]
        if k >= len(reply):
            self.note("-", "there is no such message")
        elif answer:
            self.step_ask(reply[k], body)
        else:
            self.publish(reply[k], body)

    def step_wait(self, seconds):
        time.sleep(seconds)

    def step_await(self, subject, body, path, value):
        end = time.time() + PATIENCE
        while True:
            answer = found = self.request(subject, body)
            for key in path.split("."):
                found = found[int(key)] if isinstance(found, list) else found.get(key)
                if found is None:
                    break
            if found == value or time.time() > end:
                break
            time.sleep(0.05)
        self.note("answer", {"body": clean_body(json.dumps(answer).encode(), self.inbox())})

    def step_restart(self, kill=False):
        for link in self.links.values():
            link.s.close()
        users, self.links, user = list(self.links), {}, self.user
        self.server.restart(kill)
        for self.user in users:
            self.link()
        for sid in self.sids.values():
            _, subject, self.user, queue = self.names[sid]
            self.send(f"SUB {subject} {queue + ' ' if queue else ''}{sid}\r\n".encode())
        self.user = user

    def step_kill(self):
        self.step_restart(True)

    def step_as(self, user, verb, *args):
        before, self.user = self.user, user
        getattr(self, f"step_{verb}")(*args)
        self.user = before

    def step_snapshot(self, name, stream, request):
        """The archive is kept; what differs between servers is its form alone."""
        deliver = f"{self.inbox()}archive"
        self.subscribe("private", deliver)
        self.step_ask(f"$JS.API.STREAM.SNAPSHOT.{stream}", {"deliver_subject": deliver, **request})
        data, end, answered = b"", None, None
        until = time.time() + DEADLINE
        while end is None and answered is not False and time.time() < until:
            for link in self.ready(0.05):
                self.take(link)
            if answered is None and "answer" in self.new:
                answer = json.loads(self.got["answer"][-1][2])
                answered = "error" not in answer
            for reply, header, body in self.got.pop("private", []):
                data += body
                if reply:
                    self.publish(reply)
                else:
                    end = header.decode().rstrip()
        self.unsubscribe("private")
        self.new.pop("private", None)
        if answered:
            self.note("end", end)
            self.archives[name] = {"config": answer["config"], "state": answer["state"],
                                   "data": base64.b64encode(data).decode()}

    def step_restore(self, name, stream, changes):
        kept = self.recorded if name.startswith("peer:") else self.archives
        archive = kept.get(name.removeprefix("peer:"))
        if archive is None:
            self.note("answer", "there is no such archive")
            return
        data = base64.b64decode(archive["data"])
        data = data[:len(data) - changes.get("cut", 0)]
        config = {**archive["config"], "name": stream, **changes.get("config", {})}
        answer = self.request(f"$JS.API.STREAM.RESTORE.{stream}",
                              {"config": config, "state": archive["state"]})
        self.note("answer", {"body": clean_body(json.dumps(answer).encode(), self.inbox())})
        to = answer.get("deliver_subject")
        for at in range(0, len(data) if to else 0, 65536):
            self.request(to, data[at:at + 65536])
        if to:
            answer = self.request(to, "")
            self.note("answer", {"body": clean_body(json.dumps(answer).encode(), self.inbox())})

    def forget(self):
        """All streams, of all users."""
        for name in list(self.sids):
            self.unsubscribe(name)
        self.until_pong()
        for self.user in list(self.links):
            names = self.request("$JS.API.STREAM.NAMES").get("streams") or []
            for name in names:
                self.request(f"$JS.API.STREAM.DELETE.{name}")
        self.user = self.main
        self.until_pong()

    def case(self, case, want):
        """want: an answer per step, or None to wait for what comes."""
        self.forget()
        self.case_number += 1
        self.asks = 0
        self.got, self.new = {}, {}
        self.archives = {}
        self.recorded = case.get("archives") or self.archives
        answers = []
        for k, (verb, *args) in enumerate(case["steps"]):
            getattr(self, f"step_{verb}")(*args)
            seconds = args[0] if verb == "wait" else None
            answers.append(self.collect(None if want is None else want[k], seconds,
                                        asking((verb, *args))))
        return answers


def asking(step):
    return asking(step[2:]) if step[0] == "as" else step[0] in ("ask", "stream", "consumer")


def timed(case):
    return any(step[0] in ("wait", "await") for step in case["steps"])


def wanted(case, peer):
    want = list(case.get("answers") or [])
    if not peer:
        for k, answer in case.get("midge", {}).items():
            want[int(k)] = answer
    return want


def differences(path, g, w, out):
    if isinstance(g, dict) and isinstance(w, dict):
        for k in sorted(set(g) | set(w)):
            if k not in g:
                out.append((f"{path}.{k}", "nothing", w[k]))
            elif k not in w:
                out.append((f"{path}.{k}", g[k], "nothing"))
            else:
                differences(f"{path}.{k}", g[k], w[k], out)
    elif isinstance(g, list) and isinstance(w, list) and len(g) == len(w):
        for k, (a, b) in enumerate(zip(g, w)):
            differences(f"{path}[{k}]", a, b, out)
    elif g != w:
        out.append((path, g, w))


def report(table, number, case, got, want):
    print(f"{table}:{number}: {case.get('about', '')}")
    for k, (g, w) in enumerate(zip(got, want)):
        out = []
        differences("", g, w, out)
        if out:
            print(f"  step {k}: {json.dumps(case['steps'][k])[:400]}")
        for path, a, b in out:
            print(f"    {path}\n      got    {json.dumps(a)[:1500]}\n"
                  f"      wanted {json.dumps(b)[:1500]}")


def run(a, table):
    with open(table) as f:
        cases = [json.loads(line) for line in f if line.strip()]
    server = flow = None
    needed = {}
    count = failed = late = 0
    try:
        for number, case in enumerate(cases, 1):
            if "server" in case:
                needed = case["server"]
                if server:
                    server.stop()
                server = None
                continue
            count += 1
            if a.only and number not in a.only:
                continue
            if server is None:
                server = Server(a.server, needed.get("conf"))
                flow = Flow(server, needed.get("user", ""))
            want = None if a.record else wanted(case, a.peer)
            got = flow.case(case, want)
            # The peer finishes some things behind its answers. Where a history waits for time to
            # pass, a machine that was away for a while may have answered too late, once.
            again = 0 if a.record else 3 if a.peer else 2 if timed(case) else 0
            for _ in range(again):
                if got == want:
                    break
                late += 1
                report(table, number, case, got, want)
                got = flow.case(case, want)
            if a.record:
                case["answers"] = got
                if flow.archives:
                    case["archives"] = flow.archives
            elif got != want:
                failed += 1
                report(table, number, case, got, want)
    finally:
        if server:
            server.stop()
    if a.record:
        with open(table, "w") as f:
            for case in cases:
                f.write(json.dumps(case, sort_keys=True) + "\n")
    print(f"{table}: {count} cases, {failed} failed" + (f", {late} repeated" if late else ""))
    return failed


def in_memory():
    """Thousands of steps that wait for a disk each: not where there is memory to write to."""
    try:
        room = os.statvfs("/dev/shm")
        if os.access("/dev/shm", os.W_OK) and room.f_bavail * room.f_frsize > 2 << 30:
            tempfile.tempdir = "/dev/shm"
    except OSError:
        pass


def main():
    in_memory()
    p = argparse.ArgumentParser()
    p.add_argument("--server", default=os.environ.get("MIDGE_SERVER", "midge-server"))
    p.add_argument("--peer", action="store_true")
    p.add_argument("--record", action="store_true")
    p.add_argument("--only", type=int, action="append")
    p.add_argument("tables", nargs="+")
    a = p.parse_args()
    sys.exit(1 if sum([run(a, t) for t in a.tables]) else 0)


if __name__ == "__main__":
    main()
