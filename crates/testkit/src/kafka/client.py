"""What tests ask of Kafka through Confluent's client: one request as JSON on standard input, lines of JSON back."""

import json
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

SECONDS_MAX = 60


def main():
    whole = json.load(sys.stdin)
    asked, settings = whole["asked"], whole["settings"]
    actions = {
        "create": create,
        "grow": grow,
        "remove": remove,
        "produce": produce,
        "consume": consume,
        "ends": ends,
        "committed": committed,
    }
    for line in actions[asked["do"]](asked, settings):
        sys.stdout.write(json.dumps(line) + "\n")


def create(asked, settings):
    topic = NewTopic(asked["topic"], asked["partitions"], config=asked["settings"])
    admin = AdminClient(settings)
    done(admin.create_topics([topic]))
    # Brokers hear of it one after another.
    limit = time.monotonic() + SECONDS_MAX
    while time.monotonic() < limit:
        found = admin.list_topics(timeout=SECONDS_MAX).topics.get(asked["topic"])
        leaders = [partition.leader for partition in found.partitions.values()] if found else []
        if len(leaders) == asked["partitions"] and all(leader >= 0 for leader in leaders):
            return []
        time.sleep(0.05)
    raise TimeoutError(f"topic {asked['topic']} has no leaders after {SECONDS_MAX} s")


def grow(asked, settings):
    admin = AdminClient(settings)
    done(admin.create_partitions([NewPartitions(asked["topic"], asked["partitions"])]))
    return []


def remove(asked, settings):
    admin = AdminClient(settings)
    done(admin.delete_topics([asked["topic"]]))
    return []


# The admin client must outlive this: its end is the end of what it was asked for.
def done(futures):
    for future in futures.values():
        future.result(SECONDS_MAX)


def produce(asked, settings):
    producer = Producer({"linger.ms": 5, "enable.idempotence": True, **settings})
    errors = []
    if "transaction" in asked:
        producer.init_transactions(SECONDS_MAX)
        producer.begin_transaction()
    for record in asked["records"]:
        place = {} if record["partition"] is None else {"partition": record["partition"]}
        if record["timestamp"]:
            place["timestamp"] = record["timestamp"]
        headers = [(name, decoded(value)) for name, value in record["headers"]]
        said = lambda error, _: errors.append(error) if error else None
        while True:
            try:
                key, value = decoded(record["key"]), decoded(record["value"])
                producer.produce(asked["topic"], key=key, value=value, headers=headers, on_delivery=said, **place)
                break
            except BufferError:
                producer.poll(0.1)
    left = producer.flush(SECONDS_MAX)
    if left or errors:
        raise RuntimeError(f"{left} records were not acknowledged; {errors[:3]}")
    if asked.get("transaction") == "commit":
        producer.commit_transaction(SECONDS_MAX)
    elif "transaction" in asked:
        producer.abort_transaction(SECONDS_MAX)
    return []


def consume(asked, settings):
    consumer = reader(settings)
    places = partitions(consumer, asked["topic"])
    consumer.assign([TopicPartition(asked["topic"], place, 0) for place in places])
    open_places, records, limit = set(places), [], time.monotonic() + SECONDS_MAX
    while open_places:
        message = consumer.poll(1)
        if message is None:
            if time.monotonic() > limit:
                raise TimeoutError(f"partitions {sorted(open_places)} did not end within {SECONDS_MAX} s")
            continue
        limit = time.monotonic() + SECONDS_MAX
        if message.error() is None:
            records.append(message)
        elif message.error().code() == KafkaError._PARTITION_EOF:
            open_places.discard(message.partition())
        else:
            raise KafkaException(message.error())
    records.sort(key=lambda message: (message.partition(), message.offset()))
    return [
        {
            "partition": message.partition(),
            "offset": message.offset(),
            "key": encoded(message.key()),
            "value": encoded(message.value()),
            "headers": [[name, encoded(value)] for name, value in message.headers() or []],
            "timestamp": message.timestamp()[1],
        }
        for message in records
    ]


def ends(asked, settings):
    consumer = reader(settings)
    places = [TopicPartition(asked["topic"], place) for place in partitions(consumer, asked["topic"])]
    return [consumer.get_watermark_offsets(place, timeout=SECONDS_MAX)[1] for place in places]


def committed(asked, settings):
    consumer = reader({**settings, "group.id": asked["group"]})
    places = [TopicPartition(asked["topic"], place) for place in partitions(consumer, asked["topic"])]
    found = consumer.committed(places, timeout=SECONDS_MAX)
    return [place.offset if place.offset >= 0 else None for place in found]


def reader(settings):
    defaults = {
        "group.id": "testkit",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
    }
    return Consumer({**defaults, **settings})


def partitions(consumer, topic):
    found = consumer.list_topics(topic, timeout=SECONDS_MAX).topics[topic]
    if found.error:
        raise KafkaException(found.error)
    return sorted(found.partitions)


def encoded(value):
    return None if value is None else value.hex()


def decoded(value):
    return None if value is None else bytes.fromhex(value)


main()
