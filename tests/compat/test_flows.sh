#!/usr/bin/env bash
# test_flows: hundreds of histories (requests, deliveries, acknowledgements, status messages,
# advisories), answered as nats-server 2.15.1 answered them, a table for each part of the API. With
# MIDGE_PEER (a nats-server) first whether it still answers so.
set -uo pipefail
cd "$MIDGE_SRCDIR/tests/compat" || exit 1
if [ -n "${MIDGE_PEER:-}" ]; then
    timeout -k 5 1800 python3 flows.py --peer --server "$MIDGE_PEER" flows/*.def || exit 1
fi
exec timeout -k 5 600 python3 flows.py --server "$MIDGE_BUILDDIR/bin/midge-server" flows/*.def
