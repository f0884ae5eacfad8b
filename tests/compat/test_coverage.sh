#!/usr/bin/env bash
# test_coverage: every id of the parts A and C has a line in coverage.def, what a line names is
# there, and every table of wire/ is named.
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

for id in A{1..13} C{1..15}; do
    check "$(grep -qE "^$id +[^:]+: [^ ]" $list && echo yes)" "$id has no line"
done
while read -r path; do
    check "$([ -e "$path" ] || [ -e "compat/$path" ] && echo yes)" "$path is not there"
done < <(grep -v '^#' $list | grep -oE '[a-z0-9_/]+\.(def|c|sh)\b')
for table in compat/wire/*.def; do
    check "$(grep -q "wire/$(basename "$table")" $list && echo yes)" "$table is not named"
done
echo "cases: $passed passed, $failed failed"
[ $failed -eq 0 ]
