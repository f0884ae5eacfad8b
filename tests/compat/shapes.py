#!/usr/bin/env python3
"""Compares the documents of a server with those of nats-server: every field, and its JSON type.

    shapes.py [--server PROGRAM] [--record] TABLE

One server with three accounts and some traffic is asked for all documents over HTTP, as requests in
the system account and in an ordinary one, and made to say all events. Each line of the table is a
document: {"name": ..., "shape": [...]}: its fields as "path:type", lists by all their elements,
keys that are names (of accounts, paths, subjects) as *. Answers that are errors are compared as
they are ("text"). --record writes the table from the server, which is then nats-server 2.15.1. LESS
and MORE say what midge has not, and has besides, wherever a field ends so.
"""
import argparse
import json
import os
import re
import socket
import sys
import time
import urllib.error
import urllib.request

import compat

CONF = """
listen: "127.0.0.1:-1"
http: "127.0.0.1:-1"
server_name: shapes
accounts {
  A { users: [ {user: a, password: a, permissions: {publish: {allow: [">"], deny: ["no.*"]},
                subscribe: [">", "q.> g"], allow_responses: true}} ]
      jetstream: enabled
      exports: [ {stream: "out.>"}, {service: "svc", response: stream} ]
      mappings: { from: to } }
  B { users: [ {user: b, password: b} ]
      imports: [ {stream: {account: A, subject: "out.>"}, prefix: x}
                 {service: {account: A, subject: svc}} ] }
  SYS { users: [ {user: s, password: s} ] }
}
system_account: SYS
"""

LESS = {
    "limits.default_max_consumers:number": "there is no such limit here",
    "config.consumer_limits:object": "nor is it in STREAM.INFO, when it is empty",
}
MORE = {
    "io_backend:text": "ours",
    "io_backend_reason:text": "ours",
    "limits:object": "empty without the limit above",
}
NAMES = {"mappings", "http_req_stats", "responses"}


class Client(compat.Client):
    def __init__(self, port, user=None, password=None):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.f = self.s.makefile("rb")
        self.n = 0
        self.info = json.loads(self.f.readline()[5:])
        login = f'"user":"{user}","pass":"{password or user}",' if user else ""
        self.send(f'CONNECT {{{login}"verbose":false,"headers":true,"no_responders":true,'
                  f'"protocol":1,"name":"n","lang":"py","version":"1"}}\r\n'
                  f"SUB in.> 1\r\nPING\r\n".encode())
        self.refused = None
        while True:
            line = self.f.readline()
            if line == b"PONG\r\n":
                break
            if line.startswith(b"-ERR") or line == b"":
                self.refused = line
                break

    def next(self, want):
        """The first message whose subject ends so."""
        while True:
            line = self.f.readline().decode().split()
            if not line:
                return None
            if line[0] in ("MSG", "HMSG"):
                data = self.f.read(int(line[-1]) + 2)[:-2]
                if line[1].endswith(want):
                    return data[int(line[-2]) if line[0] == "HMSG" else 0:].decode()
            elif line[0] == "PING":
                self.send(b"PONG\r\n")


class Server(compat.Server):
    """With a configuration; also the port of HTTP."""

    def __init__(self, program):
        self.http = None
        self.conf = path = f"/tmp/midge-shapes-{os.getpid()}.conf"
        with open(path, "w") as f:
            f.write(CONF)
        popen = compat.subprocess.Popen

        def start(args, **more):
            at = args.index("-a")
            return popen([args[0], "-c", path] + args[at + 4:], **more)

        compat.subprocess.Popen = start
        try:
            super().__init__(program)
        finally:
            compat.subprocess.Popen = popen
        for name in os.listdir(self.dir):
            if name.endswith(".ports"):
                text = open(os.path.join(self.dir, name)).read()
                self.http = int(re.search(r"http://127\.0\.0\.1:(\d+)", text).group(1))

    def stop(self):
        super().stop()
        os.unlink(self.conf)


def type_of(v):
    if isinstance(v, bool):
        return "bool"
    if isinstance(v, (int, float)):
        return "number"
    return "text" if isinstance(v, str) else "null"


def shape(v, path="", out=None):
    out = set() if out is None else out
    if isinstance(v, dict):
        if not v or path.endswith("memstats"):  # a Go program's
            out.add(path + ":object")
            return out
        for k, x in v.items():
            name = "*" if path.split(".")[-1] in NAMES else k
            shape(x, f"{path}.{name}" if path else name, out)
    elif isinstance(v, list):
        if not v:
            out.add(path + ":list")
        for x in v:
            shape(x, path + "[]", out)
    else:
        out.add(f"{path}:{type_of(v)}")
    return out


HTTP = ["/varz", "/connz", "/connz?auth=1&subs=1", "/connz?subs=detail&auth=true",
        "/connz?sort=idle", "/connz?sort=cid", "/connz?sort=start", "/connz?sort=subs",
        "/connz?sort=pending", "/connz?sort=msgs_to", "/connz?sort=bytes_to",
        "/connz?sort=bytes_from", "/connz?sort=last", "/connz?sort=uptime", "/connz?sort=rtt",
        "/connz?state=closed&sort=reason", "/jsz?acc=A&consumers=1&direct-consumers=1",
        "/connz?state=closed&sort=stop", "/connz?state=any&acc=A", "/connz?acc=NOPE",
        "/routez", "/gatewayz", "/leafz?subs=1", "/subsz", "/subsz?subs=1&acc=A", "/subscriptionsz",
        "/accountz", "/accountz?acc=A", "/accountz?acc=B", "/accountz?acc=SYS", "/accstatz",
        "/accstatz?unused=1", "/jsz", "/jsz?accounts=1", "/jsz?streams=1", "/jsz?acc=A",
        "/jsz?consumers=1&config=1&acc=A", "/jsz?consumers=1&raft=1", "/healthz",
        "/healthz?js-enabled-only=true", "/healthz?account=A&stream=S&consumer=C", "/ipqueuesz",
        "/raftz", "/debug/vars", "/jsz?leader-only=1", "/healthz?js-meta-only=1"]
HTTP_ERRORS = ["/connz?sort=nope", "/connz?limit=x", "/connz?offset=x", "/connz?cid=-1",
               "/connz?subs=maybe", "/connz?auth=2", "/connz?state=shut", "/connz?sort=stop",
               "/connz?sort=reason", "/subsz?test=a..b", "/subsz?subs=x", "/accountz?acc=NOPE",
               "/healthz?stream=S", "/healthz?account=A&consumer=C", "/healthz?account=NOPE",
               "/healthz?account=A&stream=NOPE", "/healthz?account=A&stream=S&consumer=NOPE",
               "/healthz?account=A&stream=NOPE&details=1", "/healthz?details=true&stream=S",
               "/healthz?account=A&stream=S&consumer=NOPE&details=1",
               "/healthz?js-server-only=x", "/jsz?streams=x", "/nope"]
SERVER = ["IDZ", "STATSZ", "VARZ", "SUBSZ", "CONNZ", "ROUTEZ", "GATEWAYZ", "LEAFZ", "ACCOUNTZ",
          "JSZ", "HEALTHZ", "EXPVARZ", "PROFILEZ"]
BODIES = [("PING", ""), ("PING.CONNZ", '{"subscriptions":true,"auth":true,"limit":2}'),
          ("PING.CONNZ", '{"acc":"A","filter_subject":"q.x"}'),
          ("PING.CONNZ", '{"acc":"A","filter_subject":"nobody","state":2}'),
          ("PING.SUBSZ", '{"subscriptions":true,"account":"A"}'),
          ("PING.JSZ", '{"account":"A","consumer":true,"config":true}'),
          ("PING.ACCOUNTZ", '{"account":"A"}'),
          ("PING.HEALTHZ", '{"account":"A","stream":"NOPE"}'),
          ("PING.IDZ", '{"server_name":"shap"}'), ("PING.VARZ", '{"server_name":"shap"}'),
          ("PING.ROUTEZ", '{"server_name":"shapes","exact_match":true}')]
ACCOUNT = ["CONNZ", "SUBSZ", "INFO", "LEAFZ", "JSZ", "CONNS", "STATZ"]
ERRORS = [("SERVER.PING.VARZ", "{"), ("SERVER.PING.VARZ", "x"),
          ("SERVER.PING.CONNZ", '{"sort":"no"}'), ("SERVER.PING.CONNZ", '{"filter_subject":"a"}'),
          ("SERVER.PING.ACCOUNTZ", '{"account":"N"}'),
          ("SERVER.PING.STATSZ", "{"), ("ACCOUNT.NOPE.INFO", ""), ("ACCOUNT.NOPE.JSZ", ""),
          ("ACCOUNT.B.JSZ", ""), ("SERVER.{id}.KICK", '{"cid":999999}'),
          ("SERVER.{id}.LDM", '{"cid":999999}'), ("SERVER.PING.SUBSZ", '{"test":"a.*"}'),
          ("SERVER.PING.NOPE", ""), ("ACCOUNT.A.NOPE", ""),
          ("SERVER.PING.PROFILEZ", '{"name":"no"}')]


class Shapes:
    def __init__(self, server):
        self.server = server
        self.out = []

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.server.http}{path}",
                                        timeout=20) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def add(self, name, text):
        try:
            self.out.append({"name": name, "shape": sorted(shape(json.loads(text)))})
        except ValueError:
            self.out.append({"name": name, "text": text.strip()})

    def add_error(self, name, text):
        try:
            v = json.loads(text)
            v.pop("server", None)
            text = json.dumps(v, sort_keys=True)
        except ValueError:
            pass
        self.out.append({"name": name, "text": text.strip()})

    def work(self):
        port = self.server.port
        a = Client(port, "a")
        a.ask("$JS.API.STREAM.CREATE.S", None,
              '{"name":"S","subjects":["s.>"],"storage":"file"}')
        a.ask("$JS.API.CONSUMER.CREATE.S.C", None,
              '{"stream_name":"S","config":{"durable_name":"C","ack_policy":"explicit"}}')
        for _ in range(3):
            a.ask("s.x", None, "hello")
        a.send(b"SUB q.x g 7\r\nSUB plain 8\r\nUNSUB 8 5\r\nPUB plain 1\r\nx\r\nPING\r\n")
        while a.f.readline() != b"PONG\r\n":
            pass
        gone = Client(port, "b")
        gone.s.close()
        gone.f.close()
        return a

    def events(self):
        s = Client(self.server.port, "s")
        s.send(b"SUB $SYS.ACCOUNT.> 2\r\nSUB $SYS.SERVER.> 3\r\nPING\r\n")
        while s.f.readline() != b"PONG\r\n":
            pass
        b = Client(self.server.port, "b")
        self.add("event CONNECT", s.next(".CONNECT"))
        self.add("event CONNS", s.next("$SYS.ACCOUNT.B.SERVER.CONNS"))
        b.send(b"PING\r\n")
        b.s.close()
        b.f.close()
        self.add("event DISCONNECT", s.next(".DISCONNECT"))
        wrong = Client(self.server.port, "b", "wrong")
        self.out.append({"name": "refused", "text": str(wrong.refused)})
        self.add("event AUTH.ERR", s.next(".CLIENT.AUTH.ERR"))
        self.add("event STATSZ", s.next(".STATSZ"))
        self.server.p.terminate()
        self.add("event SHUTDOWN", s.next(".SHUTDOWN"))

    def run(self):
        a = self.work()
        s = Client(self.server.port, "s")
        me = a.info["server_id"]
        for path in HTTP:
            self.add(f"GET {path}", self.get(path)[1])
        for path in HTTP_ERRORS:
            status, text = self.get(path)
            self.add_error(f"GET {path}", f"{status} {text}")
        for name in SERVER:
            self.add(name, s.ask(f"$SYS.REQ.SERVER.PING.{name}", None, ""))
            self.add(f"<id>.{name}", s.ask(f"$SYS.REQ.SERVER.{me}.{name}", None, ""))
        for name, body in BODIES:
            self.add(f"{name} {body}", s.ask(f"$SYS.REQ.SERVER.{name}", None, body))
        for name in ACCOUNT:
            self.add(f"A.{name}", s.ask(f"$SYS.REQ.ACCOUNT.A.{name}", None, ""))
        self.add("PING.STATZ", s.ask("$SYS.REQ.ACCOUNT.PING.STATZ", None, ""))
        for name, body in ERRORS:
            self.add_error(f"{name} {body}",
                           s.ask("$SYS.REQ." + name.replace("{id}", me), None, body))
        for name in ("USER.INFO", "SERVER.PING.CONNZ", "ACCOUNT.PING.CONNZ", "ACCOUNT.PING.STATZ",
                     "SERVER.PING.VARZ"):
            self.add(f"of an account: {name}", a.ask(f"$SYS.REQ.{name}", None, ""))
        self.add("of the system account: USER.INFO", s.ask("$SYS.REQ.USER.INFO", None, ""))
        self.add_error("reload", s.ask(f"$SYS.REQ.SERVER.{me}.RELOAD", None, ""))
        cid = json.loads(s.ask("$SYS.REQ.SERVER.PING.CONNZ", None, '{"acc":"A"}'))
        cid = cid["data"]["connections"][0]["cid"]
        self.add_error("LDM", s.ask(f"$SYS.REQ.SERVER.{me}.LDM", None, json.dumps({"cid": cid})))
        self.add_error("KICK", s.ask(f"$SYS.REQ.SERVER.{me}.KICK", None, json.dumps({"cid": cid})))
        self.events()
        return self.out


def compare(got, want):
    """What is wrong with it, as lines."""
    name = want["name"]
    if "text" in want or "text" in got:
        expected = want.get("midge", want.get("text"))
        return ([] if got.get("text") == expected else
                [f"{name}\n    got    {got}\n    wanted {want}"])
    shape_wanted, shape_got = set(want["shape"]), set(got["shape"])
    bad = [f"{name}: misses {x}" for x in sorted(shape_wanted - shape_got)
           if not x.endswith(tuple(LESS))]
    bad += [f"{name}: has {x}" for x in sorted(shape_got - shape_wanted)
            if not x.endswith(tuple(MORE))]
    return bad


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--server", default=os.path.join(os.environ.get("MIDGE_BUILDDIR", "build"),
                                                    "bin/midge-server"))
    a.add_argument("--record", action="store_true")
    a.add_argument("table")
    a = a.parse_args()
    server = Server(a.server)
    try:
        got = Shapes(server).run()
    finally:
        server.stop()
    if a.record:
        with open(a.table, "w") as f:
            for one in got:
                f.write(json.dumps(one) + "\n")
        return
    with open(a.table) as f:
        want = [json.loads(line) for line in f if line.strip()]
    bad = [] if len(got) == len(want) else [f"{len(got)} documents instead of {len(want)}"]
    for g, w in zip(got, want):
        bad += compare(g, w)
    print("\n".join(bad))
    failed = sum(1 for g, w in zip(got, want) if compare(g, w)) + abs(len(got) - len(want))
    print(f"cases: {len(want) - failed} passed, {failed} failed")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
