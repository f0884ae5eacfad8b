"""What test_kafka_sasl runs: clients for Python that say who they are. Arguments: client,
host:port, mechanism, user, password, topic. Says what becomes of it: a number of messages, or why
not."""
import sys


def confluent(servers, mechanism, user, password, topic):
    from confluent_kafka import Consumer, Producer

    config = {"bootstrap.servers": servers, "security.protocol": "sasl_plaintext",
              "sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password,
              "log_level": 0}
    told = []
    producer = Producer(dict(config, error_cb=lambda e: told.append(e.name())))
    producer.produce(topic, b"v", on_delivery=lambda e, m: told.append(e.name() if e else "stored"))
    while not told or told == ["_ALL_BROKERS_DOWN"]:
        producer.poll(0.1)
    if "stored" not in told:
        return told[0]
    consumer = Consumer(dict(config, **{"group.id": "g", "auto.offset.reset": "earliest"}))
    consumer.subscribe([topic])
    m = None
    while m is None:
        m = consumer.poll(0.1)
    if m.error():
        return m.error().name()
    assert m.value() == b"v"
    consumer.commit(m, asynchronous=False)
    consumer.close()
    return "read"


def old(servers, mechanism, user, password, topic):
    """kafka-python 2.0.2: tokens without requests around them."""
    from kafka import KafkaConsumer, KafkaProducer
    from kafka.errors import KafkaError

    config = {"bootstrap_servers": servers, "security_protocol": "SASL_PLAINTEXT",
              "sasl_mechanism": mechanism, "sasl_plain_username": user,
              "sasl_plain_password": password, "api_version": (2, 0)}
    try:
        producer = KafkaProducer(max_block_ms=5000, **config)
        producer.send(topic, b"v").get(30)
    except KafkaError as e:
        return type(e).__name__
    consumer = KafkaConsumer(topic, group_id="g", auto_offset_reset="earliest", **config)
    assert next(consumer).value == b"v"
    consumer.close()
    return "read"


print({"confluent": confluent, "old": old}[sys.argv[1]](*sys.argv[2:]))
