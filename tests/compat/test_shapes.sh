#!/usr/bin/env bash
# test_shapes: the documents of monitoring and of the system account, and events, have the fields of
# nats-server 2.15.1 with the same types; errors are the same. With MIDGE_PEER (a nats-server) first
# whether it still answers so.
set -uo pipefail
cd "$MIDGE_SRCDIR/tests/compat" || exit 1
if [ -n "${MIDGE_PEER:-}" ]; then
    timeout -k 5 120 python3 shapes.py --server "$MIDGE_PEER" shapes.def || exit 1
fi
exec timeout -k 5 120 python3 shapes.py --server "$MIDGE_BUILDDIR/bin/midge-server" shapes.def
