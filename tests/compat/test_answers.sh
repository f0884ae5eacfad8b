#!/usr/bin/env bash
# test_answers: hundreds of questions, answered as nats-server 2.15.1 answered them: configurations
# of streams, mirrors and sources, batches, counters, schedules in batches. With MIDGE_PEER (a
# nats-server) first whether it still answers so.
set -uo pipefail
cd "$MIDGE_SRCDIR/tests/compat" || exit 1
tables=(stream_configs.def batches.def counters.def schedules.def upstreams.def requests.def)
if [ -n "${MIDGE_PEER:-}" ]; then
    timeout -k 5 900 python3 compat.py --peer --server "$MIDGE_PEER" "${tables[@]}" || exit 1
fi
exec timeout -k 5 600 python3 compat.py --server "$MIDGE_BUILDDIR/bin/midge-server" "${tables[@]}"
