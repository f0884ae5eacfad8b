#!/usr/bin/env python3
"""tidy: the house rules that a machine can check. `./dev tidy [file...]` runs it; rules.py is its data.

Prints `file:line: text` for every finding and exits 1 if there was one. With file names only those are
looked at (the lists in the fragments are always read).
"""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rules  # noqa: E402

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
findings = []


def report(path, line, text):
    findings.append((path, line, text))


def source_files():
    """All files below the directories of rules.TOPS, relative to the top, sorted."""
    found = []
    for top in rules.TOPS:
        for folder, names, files in os.walk(os.path.join(TOP, top)):
            names[:] = [n for n in names if not n.startswith(".") and n != "__pycache__"]
            for name in files:
                found.append(os.path.relpath(os.path.join(folder, name), TOP))
    generated = re.compile(r"\.(o|a|log|trs|pyc)$|~$|\.dirstamp$")
    return sorted(p for p in found if not generated.search(p) and not p.startswith(rules.DATA))


def in_list(path, allowed):
    return any(path == a or (a.endswith("/") and path.startswith(a)) for a in allowed)


def without_comments(path, text):
    """The text with comments and the contents of literals blanked, line by line the same."""
    out = []
    pattern = re.compile(
        r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    at = 0
    for m in pattern.finditer(text):
        out.append(text[at:m.start()])
        token = m.group()
        if token.startswith("//"):
            report(path, text.count("\n", 0, m.start()) + 1, "// comment: write /* Sentence. */")
        if token[0] == '"':
            out.append('"' + re.sub(r"[^\n]", " ", token[1:-1]) + '"')
        else:
            out.append(re.sub(r"[^\n]", " ", token))
        at = m.end()
    out.append(text[at:])
    return "".join(out)


# --- Rules of any text ------------------------------------------------------------------------------------

def check_text(path, lines):
    if path.endswith(("Makefile.inc", ".go")):  # their own forms want tabs
        return
    for number, line in enumerate(lines, 1):
        if "\t" in line:
            report(path, number, "tab")
        if line != line.rstrip():
            report(path, number, "blank at the end of the line")
        for word in rules.WORDS:
            if re.search(r"\b%s\b" % word, line):
                report(path, number, "%s: open an issue or do it" % word)
    # Markdown tables and links can not be broken, nor the rows of a .def table.
    if not path.endswith((".md", ".def")):
        for number, line in enumerate(lines, 1):
            if len(line) > rules.LINE_COLUMNS and not path.startswith("tools/tidy/"):
                report(path, number, "%d columns, more than %d" % (len(line), rules.LINE_COLUMNS))
                break
    if len(lines) > rules.FILE_LINES and not path.endswith(".md"):
        report(path, len(lines), "%d lines, more than %d" % (len(lines), rules.FILE_LINES))


# --- Rules of C -------------------------------------------------------------------------------------------

def check_functions(path, lines):
    """In the house form only a function has its opening brace alone in column 0."""
    start = 0
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start:
            length = number - start + 1
            if length > rules.FUNCTION_LINES:
                report(path, start, "function of %d lines, more than %d"
                       % (length, rules.FUNCTION_LINES))
            start = 0


CALLS = {name: (why, allowed) for names, why, allowed in rules.CALLS for name in names.split()}
CALL = re.compile(r"(?<![\w.])(?<!->)(%s)\s*\(" % "|".join(sorted(CALLS, key=len, reverse=True)))


def check_calls(path, code):
    """Calls of banned functions. A static function or macro of the same name in this file is not one."""
    own = set(re.findall(r"^static\b[^;{}()=]*?\b(\w+)\(", code, re.M))
    for number, line in enumerate(code.split("\n"), 1):
        for name in CALL.findall(line):
            why, allowed = CALLS[name]
            if name not in own and not in_list(path, allowed):
                report(path, number, "%s(): %s" % (name, why))


def check_globals(path, code):
    for number, line in enumerate(code.split("\n"), 1):
        if re.search(r"\b(_Thread_local|__thread|thread_local)\b", line):
            report(path, number, "thread-local variable")
        if re.match(r"\s*static\b", line) and not re.search(r"\b(const|inline|_Noreturn)\b", line):
            declaration = line.split("=")[0]
            variable = "=" in line or line.rstrip().endswith((";", "{"))
            if variable and "(" not in declaration and not in_list(path, rules.GLOBALS):
                report(path, number, "mutable static variable")


def layer_of(path, jscore):
    if path in jscore:
        return "jscore"
    for layer, where, _ in rules.LAYERS:
        if path.startswith(where):
            return layer
    return None


def may_include(path, layer):
    if layer == "jscore":
        return rules.JSCORE_MAY
    may = {name: allowed for name, _, allowed in rules.LAYERS}
    if path.startswith(rules.UNIT_TESTS):
        under_test = path[len(rules.UNIT_TESTS):].split("/")[0]
        own = (under_test, "jscore") if under_test == "js" else (under_test,)
        return may.get(under_test, ()) + own + rules.UNIT_HELPERS
    return may[layer]


def check_include_layer(path, number, target, layer, jscore):
    if target == "config.h":
        report(path, number, "the build includes config.h by itself (AM_CPPFLAGS)")
        return
    if path.startswith(rules.INSTALLED) and os.path.isfile(
            os.path.join(TOP, os.path.dirname(path), target)):
        return
    if not os.path.isfile(os.path.join(TOP, target)):
        report(path, number, 'no "%s": include our headers by their path from the top' % target)
        return
    other = layer_of(target, jscore)
    # A header of the pure engines is in the folder of the drivers; they may see it, not the other way.
    if other == layer or other in may_include(path, layer):
        return
    if (path, target) not in rules.INCLUDE_EXCEPTIONS:
        report(path, number, "layer %s must not include %s (layer %s)" % (layer, target, other))


def check_includes(path, raw, jscore):
    layer = layer_of(path, jscore)
    own = path[:-2] + ".h" if path.endswith(".c") else None
    own = own if own and os.path.isfile(os.path.join(TOP, own)) else None
    first = True
    for number, line in enumerate(raw, 1):
        m = re.match(r'#\s*include\s+(["<])([^">]+)[">]', line)
        if not m:
            continue
        ours, target = m.group(1) == '"', m.group(2)
        if target.endswith(".def"):
            if layer:
                check_include_layer(path, number, target, layer, jscore)
            continue
        if first and own and target != own:
            report(path, number, "the first include of a .c file is its own header")
        first = False
        if not ours:
            if in_list(path, rules.LIBRARIES_EVERYWHERE):
                continue
            for prefix, layers in rules.LIBRARIES.items():
                if target.startswith(prefix) and layer not in layers:
                    report(path, number, "layer %s must not use <%s>" % (layer, target))
        else:
            check_include_layer(path, number, target, layer, jscore)


def check_c(path, text, lines, jscore):
    # The header of a .c file may speak for it.
    if not text.startswith("/*") and not (path.endswith(".c") and
                                          os.path.isfile(os.path.join(TOP, path[:-2] + ".h"))):
        report(path, 1, "no opening comment that says what this file is")
    code = without_comments(path, text)
    check_functions(path, lines)
    check_calls(path, code)
    check_globals(path, code)
    check_includes(path, lines, jscore)


# --- Rules of the build -----------------------------------------------------------------------------------

def fragment_lists():
    """Everything that Makefile.am and the fragments list: {file: fragment}, and the sources of libjscore."""
    listed, jscore = {}, set()
    fragments = ["Makefile.am"]
    for top in rules.TOPS:
        for folder, _, files in os.walk(os.path.join(TOP, top)):
            if "Makefile.inc" in files:
                fragments.append(os.path.relpath(os.path.join(folder, "Makefile.inc"), TOP))
    with open(os.path.join(TOP, "Makefile.am"), encoding="utf-8") as f:
        included = set(re.findall(r"^include (\S+)", f.read(), re.M))
    for fragment in fragments:
        if fragment != "Makefile.am" and fragment not in included:
            report(fragment, 1, "Makefile.am does not include this fragment")
        with open(os.path.join(TOP, fragment), encoding="utf-8") as f:
            text = re.sub(r"#[^\n]*", "", f.read()).replace("\\\n", " ")
        for name, words in re.findall(r"^(\w+)\s*\+?=(.*)$", text, re.M):
            lists = re.search(r"(_SOURCES|EXTRA_DIST|_HEADERS|_SCRIPTS|TESTS)$", name)
            for word in words.split():
                if lists or re.search(r"/.*\.[ch]$", word):
                    listed[word] = fragment
                if name == "server_js_libjscore_a_SOURCES":
                    jscore.add(word)
    return listed, jscore


def check_lists(files, listed):
    folders = tuple(p + "/" for p in listed if os.path.isdir(os.path.join(TOP, p)))
    for path in files:
        if path in listed or path.startswith(folders) or os.path.basename(path) in rules.UNLISTED:
            continue
        report(path, 1, "no fragment lists this file: neither built nor in the release")
    for path, fragment in listed.items():
        if "$" not in path and not os.path.exists(os.path.join(TOP, path)):
            known = os.path.join(TOP, path + ".c")
            if not os.path.exists(known):
                report(fragment, 1, "lists %s, which does not exist" % path)


# --- Form -------------------------------------------------------------------------------------------------

def check_form(files):
    """clang-format would change nothing. Only version 14 (Debian 12) is asked: others differ in details."""
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if tool is None:
        report(".clang-format", 1, "clang-format is not installed: ./dev deps")
        return
    version = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
    if "version 14." not in version:
        print("tidy: form not checked: clang-format 14 wanted, found: " + version.strip())
        return

    def one(path):
        run = subprocess.run([tool, "--style=file", "--dry-run", path], cwd=TOP,
                             capture_output=True, text=True)
        m = re.search(r"^[^:\n]+:(\d+):\d+: (?:warning|error): code should", run.stderr, re.M)
        return (path, int(m.group(1))) if m else None

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for result in pool.map(one, files):
            if result:
                report(result[0], result[1], "not in house form from here: ./dev fmt " + result[0])


def main(arguments):
    files = source_files()
    listed, jscore = fragment_lists()
    check_lists(files, listed)
    if arguments:
        wanted = {os.path.relpath(os.path.abspath(a), TOP) for a in arguments}
        files = [p for p in files if p in wanted]
    for path in files:
        try:
            with open(os.path.join(TOP, path), encoding="utf-8") as f:
                text = f.read()
        except UnicodeDecodeError:
            report(path, 1, "not UTF-8 text")
            continue
        lines = text.split("\n")
        if text and not text.endswith("\n"):
            report(path, len(lines), "no newline at the end of the file")
        elif text:
            lines.pop()
        check_text(path, lines)
        if path.endswith((".c", ".h")):
            check_c(path, text, lines, jscore)
    check_form([p for p in files if p.endswith((".c", ".h"))])
    # What is not in form is often too wide as well; the formatter mends both.
    unformed = {path for path, _, text in findings if "not in house form" in text}
    shown = sorted(f for f in set(findings) if not (f[0] in unformed and " columns, " in f[2]))
    for path, line, text in shown:
        print("%s:%d: %s" % (path, line, text))
    print("tidy: %d files, %d findings" % (len(files), len(shown)))
    return 1 if shown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
