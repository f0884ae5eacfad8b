#!/usr/bin/env python3
"""Is every entry of surface.def found where it says? Prints those that are not, and how many are.

Case means nothing: the names of mapping functions have none.
"""
import os
import re
import sys


def main():
    top = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    texts, good, bad = {}, 0, 0
    with open(os.path.join(top, "compat/surface.def")) as f:
        lines = [x.rstrip("\n") for x in f if not x.startswith("#")]
    for line in lines:
        m = re.match(r"[AC]\d+ (none \([^)]+\)|gap|\S+): (.+)$", line)
        if not m:
            bad += 1
            print(f"not a line: {line}")
            continue
        where, entries = m.groups()
        if where == "gap" or where.startswith("none"):
            good += 1
            continue
        if where not in texts:
            with open(os.path.join(top, where), errors="replace") as f:
                texts[where] = f.read().lower().replace('\\"', '"')  # within C and JSON
        for entry in entries.split(" | "):
            if entry.strip().lower() in texts[where]:
                good += 1
            else:
                bad += 1
                print(f"{where} has no {entry}")
    print(f"entries: {good} found, {bad} not")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
