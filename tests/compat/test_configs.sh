#!/usr/bin/env bash
# test_configs: some 3,700 configuration files, taken or refused as by nats-server 2.15.1,
# with its words where the table says so. With MIDGE_PEER (a nats-server) first whether it says
# the same.
set -uo pipefail
cd "$MIDGE_SRCDIR/tests/compat" || exit 1
if [ -n "${MIDGE_PEER:-}" ]; then
    timeout -k 5 900 python3 configs.py --peer --server "$MIDGE_PEER" \
        configs.def config_blocks.def config_accounts.def config_deep.def config_names.def || exit 1
fi
exec timeout -k 5 600 python3 configs.py --server "$MIDGE_BUILDDIR/bin/midge-server" \
    configs.def config_blocks.def config_accounts.def config_deep.def config_names.def
