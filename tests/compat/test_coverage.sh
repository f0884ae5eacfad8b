#!/usr/bin/env bash
# test_coverage: every id of the parts A, B, C, E and F has a line in coverage.def, what a line
# names is there, and every table of wire/ and flows/ is named; what surface.def says of each entry.
set -uo pipefail
cd "$MIDGE_SRCDIR/tests" || exit 1
list=compat/coverage.def
passed=0 failed=0

check() {
    if [ "$1" = yes ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$2"
    fi
}

for id in A{1..13} B{1..16} C{1..15} E{1..5} F; do
    check "$(grep -qE "^$id +[^:]+: [^ ]" $list && echo yes)" "$id has no line"
done
while read -r path; do
    check "$([ -e "$path" ] || [ -e "compat/$path" ] && echo yes)" "$path is not there"
done < <(grep -v '^#' $list | grep -oE '[a-z0-9_/]+\.(def|c|sh|go|py)\b')
for table in compat/wire/*.def compat/flows/*.def; do
    name=$(basename "$(dirname "$table")")/$(basename "$table")
    check "$(grep -q "$name" $list && echo yes)" "$table is not named"
done
check "$(python3 compat/surface.py >&2 && echo yes)" "entries of surface.def are not where it says"
echo "cases: $passed passed, $failed failed"
[ $failed -eq 0 ]
