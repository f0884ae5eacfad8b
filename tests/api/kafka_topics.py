"""Administration by Python's Kafka clients: kafka_topics.py BROKER kafka|confluent."""
import sys


def must(ok, what):
    if not ok:
        sys.exit(f"wrong: {what!r}")


def kafka(broker):
    from kafka.admin import (ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions,
                             NewTopic)
    from kafka.errors import TopicAlreadyExistsError
    a = KafkaAdminClient(bootstrap_servers=broker)
    a.create_topics([NewTopic("py.a", 3, 3, topic_configs={"retention.ms": "5000000"}),
                     NewTopic("py-b", 1, 1)])
    must({"py.a", "py-b"} <= set(a.list_topics()), a.list_topics())
    try:
        a.create_topics([NewTopic("py.a", 1, 1)])
        must(False, "created twice")
    except TopicAlreadyExistsError:
        pass
    topic = {t["topic"]: t for t in a.describe_topics(["py.a"])}["py.a"]
    must([p["leader"] for p in topic["partitions"]] == [1, 1, 1], topic)

    def value(name, key):
        r = a.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name, {key: None})])
        return r[0].resources[0][4][0][1]
    must(value("py.a", "retention.ms") == "5000000", "retention.ms")
    a.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "py.a", {"segment.ms": "9000"})])
    must(value("py.a", "segment.ms") == "9000", "segment.ms")
    must(value("py.a", "retention.ms") == "604800000", "the default again")
    a.create_partitions({"py-b": NewPartitions(4)})
    must(len(a.describe_topics(["py-b"])[0]["partitions"]) == 4, "four partitions")
    must(a.describe_cluster()["controller_id"] == 1, "controller")
    a.delete_topics(["py.a", "py-b"])
    must(not {"py.a", "py-b"} & set(a.list_topics()), a.list_topics())
    a.close()


def confluent(broker):
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic
    a = AdminClient({"bootstrap.servers": broker})

    def code(futures):
        try:
            [f.result() for f in futures.values()]
            return None
        except KafkaException as e:
            return e.args[0].name()

    def partitions():
        return {n: len(t.partitions) for n, t in a.list_topics(timeout=20).topics.items()}
    must(code(a.create_topics([NewTopic("c_a", 2, 1, config={"max.message.bytes": "5000"}),
                               NewTopic("c.b", 5, 1)])) is None, "create")
    must(code(a.create_topics([NewTopic("c_a", 2, 1)])) == "TOPIC_ALREADY_EXISTS", "twice")
    must(code(a.create_topics([NewTopic("c/a", 2, 1)])) == "TOPIC_EXCEPTION", "name")
    must(code(a.create_topics([NewTopic("c_n", 2, 1)], validate_only=True)) is None, "validate")
    got = partitions()
    must((got["c_a"], got["c.b"], got.get("c_n")) == (2, 5, None), got)
    must(code(a.create_partitions([NewPartitions("c_a", 7)])) is None, "grow")
    must(partitions()["c_a"] == 7, partitions())
    topic = ConfigResource("topic", "c_a")
    values = {k: v.value for k, v in a.describe_configs([topic])[topic].result().items()}
    must(values["max.message.bytes"] == "5000" and len(values) > 20, values)
    broker_values = a.describe_configs([ConfigResource("broker", "1")])
    must(all(f.result()["num.partitions"].value == "1" for f in broker_values.values()), "broker")
    must(code(a.delete_topics(["c_a", "c.b"])) is None, "delete")
    must(code(a.delete_topics(["c_a"])) == "UNKNOWN_TOPIC_OR_PART", "delete twice")
    must("c.b" not in partitions(), "deleted")


{"kafka": kafka, "confluent": confluent}[sys.argv[2]](sys.argv[1])
print("all right")
