"""Transactions into the compacted topic t: one that is committed, one that is aborted, then plain
messages behind them, the last of which is the head."""

import sys

from confluent_kafka import Producer

BROKER = sys.argv[1]


def transactional(name):
    p = Producer(
        {
            "bootstrap.servers": BROKER,
            "transactional.id": name,
            "transaction.timeout.ms": 30000,
        }
    )
    p.init_transactions(30)
    return p


one = transactional("one")
one.begin_transaction()
for key in "abc":
    one.produce("t", key=key, value="committed")
one.commit_transaction(30)

two = transactional("two")
two.begin_transaction()
for key in "abc":
    two.produce("t", key=key, value="aborted")
two.flush(30)
two.abort_transaction(30)

for key, value in (("a", "last"), ("head", "1")):
    p = Producer({"bootstrap.servers": BROKER})
    p.produce("t", key=key, value=value)
    assert p.flush(30) == 0
