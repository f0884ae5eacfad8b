#!/usr/bin/env bash
# test_demo: the demonstration with few messages; and its verdict is worth something: with one
# acknowledged message deleted behind its back it says so.
set -euo pipefail
exec "$MIDGE_SRCDIR/tests/demo/demo" --count 20000 --server "$MIDGE_BUILDDIR/bin/midge-server" \
    --client "$MIDGE_BUILDDIR/tests/demo/demo_client" --self-test
