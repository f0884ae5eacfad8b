#!/usr/bin/env bash
# test_wire: more than a thousand byte streams of clients (verbs, sizes, limits, CONNECT, errors,
# permissions, the ends of connections), answered as nats-server 2.15.1 answered them, a table for
# each part of the protocol. With MIDGE_PEER (a nats-server) first whether it still answers so.
set -uo pipefail
cd "$MIDGE_SRCDIR/tests/compat" || exit 1
if [ -n "${MIDGE_PEER:-}" ]; then
    timeout -k 5 900 python3 wire.py --peer --server "$MIDGE_PEER" wire/*.def || exit 1
fi
exec timeout -k 5 600 python3 wire.py --server "$MIDGE_BUILDDIR/bin/midge-server" wire/*.def
