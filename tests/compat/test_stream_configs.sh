#!/usr/bin/env bash
# test_stream_configs: the answers to hundreds of stream configurations, as nats-server 2.15.1 gave
# them. With MIDGE_PEER (a nats-server) also whether it still gives them.
set -uo pipefail
here=$MIDGE_SRCDIR/tests/compat
if [ -n "${MIDGE_PEER:-}" ]; then
    timeout -k 5 300 python3 "$here/compat.py" --peer --server "$MIDGE_PEER" \
        "$here/stream_configs.def"
fi
exec timeout -k 5 300 python3 "$here/compat.py" "$here/stream_configs.def"
