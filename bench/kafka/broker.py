"""The broker of the services, by Confluent's client: topics, bids, and what is in an output."""

import json
import os
import pathlib
import random
import time
import zlib

import orjson
from confluent_kafka import Consumer, IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

PRICE_ABOVE = 5_000_000
CHANNELS = ["Google", "Facebook", "Baidu", "Apple"]


def address():
    """Where the service `kafka` listens."""
    cache = pathlib.Path(os.environ.get("HEADWATER_CACHE", pathlib.Path.home() / ".cache" / "headwater"))
    service = pathlib.Path(os.environ.get("HEADWATER_SERVICES", cache / "services")) / "kafka" / "service.json"
    if not service.exists() or not json.loads(service.read_text())["ready"]:
        raise SystemExit("no broker: cargo xtask services up kafka")
    return json.loads(service.read_text())["listeners"]["plaintext"]


def bid(auction, bidder, price, when_micros, extra):
    """A bid of some 170 bytes, by hand: it is quicker than any encoder."""
    channel = CHANNELS[bidder & 3]
    return (f'{{"auction":{auction},"bidder":{bidder},"price":{price},"channel":"{channel}",'
            f'"url":"https://www.example.org/item/{auction:012d}","dateTime":{when_micros},"extra":"{extra}"}}').encode()


def digest(value):
    """A bid's fingerprint, whatever the order of its fields and the space between them."""
    row = orjson.loads(value)
    return zlib.crc32(orjson.dumps(row, option=orjson.OPT_SORT_KEYS))


class Broker:
    """Topics of this run only, which `close` deletes with the groups that read them."""

    def __init__(self, run):
        self.brokers, self.run = address(), run
        self.admin = self.client()
        try:
            self.admin.list_topics(timeout=10)
        except KafkaException:
            raise SystemExit(f"no broker answers at {self.brokers}: cargo xtask services up kafka") from None
        self.count = 0

    def client(self):
        return AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})

    def topic(self, what, partitions):
        """A new topic."""
        self.count += 1
        name = f"{self.run}-{self.count}-{what}"
        self.admin.create_topics([NewTopic(name, partitions)])[name].result(30)
        # A client that saw a topic of many partitions go never finds the leaders of the next.
        self.admin = self.client()
        return name

    def ours(self, names):
        return [name for name in names if self.run in name]

    def delete(self, *topics):
        for future in self.admin.delete_topics(list(topics)).values():
            future.result(30)

    def close(self):
        """Leaves nothing of this run."""
        if topics := self.ours(self.admin.list_topics(timeout=30).topics):
            self.delete(*topics)
        # Kafka Streams never leaves its group, which can go only when the broker misses it, after 10 s.
        for _ in range(30):
            groups = self.ours(group.group_id for group in self.admin.list_consumer_groups().result(30).valid)
            if not groups:
                return
            for future in self.admin.delete_consumer_groups(groups).values():
                future.exception(30)
            time.sleep(1)

    def fill(self, topic, partitions, records):
        """Writes bids. Returns how many and their digests' sum: of all, and of those that the filter keeps."""
        producer = Producer({"bootstrap.servers": self.brokers, "compression.type": "lz4", "linger.ms": 50,
                             "batch.size": 1_000_000, "queue.buffering.max.messages": 1_000_000})
        rng = random.Random(1)
        extras = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(10, 40))) for _ in range(1000)]
        counts = {"copy": [0, 0], "filter": [0, 0]}
        for i in range(records):
            price = int(rng.random() * 10_000_000)
            value = bid(i, 1000 + i % 4000, price, 1_766_000_000_000_000 + i, extras[i % 1000])
            add(counts["copy"], value)
            if price > PRICE_ABOVE:
                add(counts["filter"], value)
            producer.produce(topic, value, partition=i % partitions)
            if i % 1000 == 0:
                producer.poll(0)
                while len(producer) > 500_000:
                    producer.poll(0.1)
        if producer.flush(120):
            raise SystemExit(f"{topic} could not be filled")
        return counts

    def ends(self, topic, partitions):
        """Up to which offset readers of committed messages see, summed up. Marks of transactions count as messages."""
        asked = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(partitions)}
        for attempt in range(300):
            try:
                told = self.admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)
                return sum(future.result(30).offset for future in told.values())
            except KafkaException:
                if attempt == 299:
                    raise
                time.sleep(0.1)  # A new topic isn't known everywhere at once.

    def read(self, topic, partitions):
        """How many committed messages there are, and their digests' sum."""
        consumer = Consumer({"bootstrap.servers": self.brokers, "group.id": f"{self.run}-read", "enable.auto.commit": False,
                             "isolation.level": "read_committed", "enable.partition.eof": True})
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        found, open_partitions = [0, 0], set(range(partitions))
        while open_partitions:
            for message in consumer.consume(10_000, 0.2):
                if message.error():
                    open_partitions.discard(message.partition())
                else:
                    add(found, message.value())
        consumer.close()
        return found


def add(count, value):
    count[0] += 1
    count[1] = (count[1] + digest(value)) & 0xFFFF_FFFF_FFFF_FFFF
