#!/usr/bin/env python3
"""Runs the commands of a table with the nats tool against this server and against nats-server, and
compares what each says and how it ends.

    side_by_side.py --tool NATS --server PROGRAM --peer PROGRAM [--only TEXT] [--show] TABLE

Lines of the table:
    == title            a new group: fresh servers, fresh directories
    conf TEXT           a line of both servers' configuration (before the first command)
    with ARGUMENTS      go before those of each command that follows in the group (--user a)
    $ COMMAND           of the shell, in the directory of the group, the same on both sides
    & ARGUMENTS         starts the tool; it is ended with the group, and nothing is compared
    ~ ARGUMENTS         again and again until it succeeds: waits for what was started
    ? ARGUMENTS         only how it ends is compared
    % ARGUMENTS         the words are compared, in any order
    < TEXT | ARGUMENTS  TEXT is its input
    ! REASON | ARGUMENTS    differs, and why: an error when it no longer does
    ARGUMENTS           the tool's; $PORT is the server's port
Ids, times, durations, versions and names are replaced before the comparison (SAME).
"""
import argparse
import difflib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = 30
DURATION = r"(?:\d+(?:\.\d+)?(?:ns|µs|ms|s|m|h|d|y|w|M))+"
SAME = [(re.compile(a), b) for a, b in [
    (r"\x1b\[[0-9;]*[A-Za-z]", ""),
    (r"\b[NAUXVSO][A-Z2-7]{55}\b", "KEY"),
    (r"0001-01-01[T ]00:00:00(?:Z| UTC)?", "NEVER"),
    (r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z| [+-]\d{4}(?: \w+)?|[+-]\d\d:\d\d)?",
     "TIME"),
    (r"\b\d\d:\d\d:\d\d(?:\.\d+)?\b", "TIME"),
    (r"\b[A-Za-z0-9]{22}\b", "ID"),
    (r"\b" + DURATION + r"(?=[\s,;).\]\"]|$)", "DURATION"),
    (r"\b2\.15\.[01]\b", "VERSION"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"_INBOX\.[A-Za-z0-9.]+", "_INBOX.X"),
    (r"(\$JS\.ACK\.\S+?\.\d+\.\d+\.\d+)\.\d{15,}", r"\1.TIME"),
    (r"(?<=[ \":=])\d{16,}\b", "NUMBER"),
    (r"(cid:|Client ID: +|Handler: +|processing_time\": )\d+", r"\1NUMBER"),
    (r"(time=|time\": |age=|rtt=|\"value\": |_time\S* |_rtt\S* )[\d.e-]+s?", r"\1NUMBER"),
    (r"[\d.]+[KM]?/s", "RATE"),
    (r"\b(mem|cpu|subscriptions)=[\d.]+", r"\1=NUMBER"),
    (r"\"seq\":\d+,\"time\"", "\"seq\":NUMBER,\"time\""),
    (r"│ +\d+ B(?= +│)", "│ SIZE"),
    (r"│ +\d+ +│ NATS CLI", "│ NUMBER │ NATS CLI"),
    (r"\b[\d.]+ [KM]?i?B\b(?=.* data|.* uncompressed|.*ytes)", "SIZE"),
    (r"Last Seen: .*", "Last Seen: X"),
]]


class Side:
    """One server and what was started beside it."""

    def __init__(self, tool, program, conf):
        self.tool = tool
        self.dir = tempfile.mkdtemp(prefix="nats-side-")
        self.home = self.dir + "/home"
        os.mkdir(self.home)
        self.started = []
        with open(self.dir + "/conf", "w") as f:
            f.write("\n".join(conf + ["lame_duck_grace_period: 1s"]).replace("$DIR", self.dir))
        self.log = open(self.dir + "/log", "w")
        self.server = subprocess.Popen(
            [program, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", self.dir + "/store", "-n", "one",
             "--ports_file_dir", self.dir, "-c", self.dir + "/conf"],
            stdout=self.log, stderr=self.log)
        self.port = self.wait_for_port()

    def wait_for_port(self):
        end = time.time() + PATIENCE
        while time.time() < end and self.server.poll() is None:
            for name in os.listdir(self.dir):
                if name.endswith(".ports"):
                    with open(os.path.join(self.dir, name)) as f:
                        m = re.search(r"nats://127\.0\.0\.1:(\d+)", f.read())
                    if m:
                        return m.group(1)
            time.sleep(0.01)
        with open(self.dir + "/log") as f:
            raise SystemExit("a server did not start\n" + f.read()[-2000:])

    def command(self, arguments):
        words = [w.replace("$PORT", self.port) for w in shlex.split(arguments)]
        return [self.tool, "-s", "nats://127.0.0.1:" + self.port] + words

    def environment(self):
        return {**os.environ, "HOME": self.home, "XDG_CONFIG_HOME": self.home, "NO_COLOR": "1",
                "XDG_DATA_HOME": self.home, "COLUMNS": "200", "TZ": "UTC", "TERM": "dumb"}

    def start(self, arguments):
        self.started.append(subprocess.Popen(
            self.command(arguments), cwd=self.home, env=self.environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def run(self, command, text=""):
        try:
            p = subprocess.run(command, cwd=self.home, env=self.environment(), input=text,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               timeout=PATIENCE, errors="replace")
            return p.returncode, p.stdout
        except subprocess.TimeoutExpired as e:
            out = e.stdout or b""
            return "no end", out.decode(errors="replace") if isinstance(out, bytes) else out

    def until_success(self, arguments):
        end = time.time() + PATIENCE
        while True:
            code, out = self.run(self.command(arguments))
            if code == 0 or time.time() > end:
                return code, ""

    def step(self, verb, arguments, text):
        if verb == "$":
            return self.run(["bash", "-c", arguments])
        if verb == "&":
            return self.start(arguments), ""
        if verb == "~":
            return self.until_success(arguments)
        code, out = self.run(self.command(arguments), text)
        if verb == "%":
            out = "\n".join(sorted(out.split()))
        return code, "" if verb == "?" else out.replace(self.dir, "DIR")

    def stop(self):
        for p in self.started + [self.server]:
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
        for p in self.started + [self.server]:
            try:
                p.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                p.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


def clean(text):
    for pattern, with_what in SAME:
        text = pattern.sub(with_what, text)
    # What is aligned to a value that was replaced moves with it.
    lines = [re.sub(r"[ ─╭╮╰╯├┤┬┴┼═-]{2,}", " ", line).rstrip() for line in text.splitlines()]
    return [line for line in lines if line.strip()]


def parse(line):
    """verb, arguments, input, reason"""
    verb, rest = (line[0], line[1:].strip()) if line[0] in "$&~?%<!" else ("", line)
    if verb == "<":
        text, rest = rest.split("|", 1)
        return "", rest.strip(), text.strip() + "\n", None
    if verb == "!":
        reason, rest = rest.split("|", 1)
        return "", rest.strip(), "", reason.strip()
    return verb, rest, "", None


def groups(path):
    found = []
    with open(path) as f:
        for line in (raw.strip() for raw in f):
            if line.startswith("=="):
                found.append({"title": line[2:].strip(), "conf": [], "lines": []})
            elif line.startswith("conf "):
                found[-1]["conf"].append(line[5:])
            elif line and not line.startswith("#"):
                found[-1]["lines"].append(line)
    return found


def both(sides, step):
    answers = [None, None]

    def one(k):
        answers[k] = sides[k].step(*step)
    threads = [threading.Thread(target=one, args=(k,)) for k in (0, 1)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return answers


def compare(group, line, answers, reason, show):
    """True when it is as it should be."""
    (ours, said), (theirs, peer_said) = answers
    a, b = clean(peer_said), clean(said)
    same = ours == theirs and a == b
    if show:
        print(f"--- {line}: {ours}\n{said}")
    if same == (reason is None):
        return True
    print(f"{group['title']}: {line}")
    if same:
        print("    is the same now")
    elif ours != theirs:
        print(f"    ended with {ours}, there with {theirs}")
    for text in list(difflib.unified_diff(a, b, "nats-server", "midge", lineterm="", n=0))[2:40]:
        print("    " + text)
    return False


def run_group(a, group):
    sides = []
    passed = failed = 0
    before = ""
    try:
        for program in (a.server, a.peer):
            sides.append(Side(a.tool, program, group["conf"]))
        for line in group["lines"]:
            if line.startswith("with "):
                before = line[5:] + " "
                continue
            verb, arguments, text, reason = parse(line)
            step = (verb, arguments if verb == "$" else before + arguments, text)
            if compare(group, line, both(sides, step), reason, a.show):
                passed += 1
            else:
                failed += 1
    finally:
        for side in sides:
            side.stop()
    return passed, failed


def main():
    p = argparse.ArgumentParser()
    for name in ("--tool", "--server", "--peer"):
        p.add_argument(name, required=True)
    p.add_argument("--only", default="")
    p.add_argument("--show", action="store_true")
    p.add_argument("table")
    a = p.parse_args()
    passed = failed = 0
    for group in groups(a.table):
        if a.only in group["title"]:
            ok, bad = run_group(a, group)
            passed, failed = passed + ok, failed + bad
            if bad == 0:
                print(f"ok {group['title']}")
            sys.stdout.flush()
    print(f"commands: {passed} passed, {failed} failed")
    sys.exit(failed > 0 or passed == 0)


main()
