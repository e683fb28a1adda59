"""How old a message is when a reader of committed messages gets it: a producer and a consumer, each its own process."""

import multiprocessing
import queue
import time

import broker
from confluent_kafka import Consumer, Producer, TopicPartition

RATES = [10_000, 1]
SECONDS, WARM_UP_SECONDS = 20, 5
PRICE, EXTRA = 9_000_000, "x" * 25
WARM_UP = 999


def produce(brokers, topic, partitions, arrived):
    """A message each 100 ms until one has come out, then the warm-up, then each rate; `auction` says which it is."""
    # Idempotence allows five requests in flight; without, each message would be a request of its own and fill the queues.
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 0, "enable.idempotence": True, "compression.type": "lz4"})
    sent = 0

    def send(phase):
        nonlocal sent
        now = time.time_ns() // 1000
        producer.produce(topic, broker.bid(phase, 1000 + sent % 4000, PRICE, now, EXTRA), partition=sent % partitions)
        producer.poll(0)
        sent += 1

    def pace(phase, rate, seconds):
        begun = time.monotonic()
        for i in range(rate * seconds):
            while (ahead := begun + i / rate - time.monotonic()) > 0:
                time.sleep(max(ahead, 0.0005))
            send(phase)

    until = time.monotonic() + 60
    while not arrived.is_set() and time.monotonic() < until:
        send(WARM_UP)
        time.sleep(0.1)
    pace(WARM_UP, RATES[0], WARM_UP_SECONDS)
    for phase, rate in enumerate(RATES):
        time.sleep(1)
        pace(phase, rate, SECONDS)
    producer.flush(30)


def consume(brokers, topic, partitions, arrived, results):
    """Collects ages in microseconds until all have come, or none came for 30 s."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": f"{topic}-latency", "enable.auto.commit": False,
                         "isolation.level": "read_committed", "fetch.wait.max.ms": 10, "fetch.min.bytes": 1})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    ages = [[] for _ in RATES]
    last = time.monotonic()
    while any(len(found) < rate * SECONDS for found, rate in zip(ages, RATES)) and time.monotonic() - last < 30:
        message = consumer.poll(1)
        now = time.time_ns() // 1000
        if message is None or message.error():
            continue
        last = time.monotonic()
        arrived.set()
        row = broker.orjson.loads(message.value())
        if row["auction"] != WARM_UP:
            ages[row["auction"]].append(now - row["dateTime"])
    consumer.close()
    results.put(ages)


def measure(brokers, source, sink, partitions, alive):
    """Milliseconds by rate: `{"10000": {"p50": .., "p99": ..}}`. `alive` is called now and then, and may raise."""
    context = multiprocessing.get_context("spawn")
    arrived, results = context.Event(), context.Queue()
    workers = [context.Process(target=produce, args=(brokers, source, partitions, arrived), daemon=True),
               context.Process(target=consume, args=(brokers, sink, partitions, arrived, results), daemon=True)]
    try:
        for worker in workers:
            worker.start()
        return {str(rate): quantiles(found, rate * SECONDS) for rate, found in zip(RATES, wait(results, alive))}
    finally:
        for worker in workers:
            worker.terminate()


def wait(results, alive):
    until = time.monotonic() + 240
    while time.monotonic() < until:
        alive()
        try:
            return results.get(timeout=0.5)
        except queue.Empty:
            continue
    raise SystemExit("no latencies within 240 s")


def quantiles(ages, wanted):
    if len(ages) != wanted:
        raise SystemExit(f"{len(ages)} messages of {wanted} came out")
    ages.sort()

    def at(share):
        return round(ages[min(len(ages) - 1, int(len(ages) * share))] / 1000, 2)

    return {"p50": at(0.5), "p99": at(0.99), "max": round(ages[-1] / 1000, 2)}
