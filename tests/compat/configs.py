#!/usr/bin/env python3
"""Shows a server configuration files and compares what it says of them with what the table keeps.

    configs.py --server PROGRAM [--record] TABLE...

A line of the table is a case: {"conf": text, "ok": bool, "says": text}. The text is what the server
says behind its own name, "" for a file that is valid; lines are sorted, because nats-server looks
at the keys of a map in no order. Where midge says something else a case has
"midge": {"ok": ..., "says": ...}, and "why" where it takes what the peer does not, or the reverse.
--record writes what the peer (nats-server 2.15.1) says into the table, --differs what midge says.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor


def ask(program, dir, number, conf):
    """(accepted, text)"""
    path = os.path.join(dir, f"{number}.conf")
    with open(path, "w") as f:
        f.write(conf.replace("~/", dir + "/"))
    r = subprocess.run([program, "-t", "-c", path], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=60, cwd=dir, check=False)
    text = r.stdout.decode().strip().replace(path, "FILE").replace(dir + "/", "~/")
    text = re.sub(r"^[a-z-]+: ", "", text)
    if r.returncode == 0:
        text = re.sub(r"\(sha256:[0-9a-f]*\)", "", text)
        text = re.sub(r"configuration file FILE is valid ?", "", text)
    return r.returncode == 0, "\n".join(sorted(text.strip().split("\n")))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--server", required=True)
    p.add_argument("--record", action="store_true")
    p.add_argument("--peer", action="store_true")
    p.add_argument("--differs", action="store_true")
    p.add_argument("tables", nargs="+")
    o = p.parse_args()
    bad = good = 0
    with tempfile.TemporaryDirectory(prefix="midge-configs-") as dir:
        for table in o.tables:
            with open(table) as f:
                cases = [json.loads(line) for line in f if line.strip()]
            with ThreadPoolExecutor(2) as pool:
                said = list(pool.map(lambda nc: ask(o.server, dir, nc[0], nc[1]["conf"]),
                                     enumerate(cases)))
            for case, (ok, says) in zip(cases, said):
                if o.record:
                    case["ok"], case["says"] = ok, says
                    continue
                if o.differs:
                    case.pop("midge", None)
                    if (ok, says) != (case["ok"], case["says"]):
                        case["midge"] = {"ok": ok, "says": says}
                    continue
                want = case if o.peer else case.get("midge", case)
                if (ok, says) == (want["ok"], want["says"]):
                    good += 1
                    continue
                bad += 1
                print(f"{table}: {case['conf']!r}\n  want {want['ok']} {want['says']!r}\n"
                      f"  got  {ok} {says!r}")
            if o.record or o.differs:
                with open(table, "w") as f:
                    for case in cases:
                        f.write(json.dumps(case) + "\n")
    print(f"cases: {good} passed, {bad} failed")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
