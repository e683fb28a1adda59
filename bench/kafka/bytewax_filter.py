"""The filter in Bytewax: its own Kafka connectors, orjson, one operator between them."""

import os

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow


def dear(message):
    if orjson.loads(message.value)["price"] > 5_000_000:
        return KafkaSinkMessage(message.key, message.value)
    return None


brokers = [os.environ["BROKERS"]]
writes = {"compression.type": "lz4", "enable.idempotence": "true", "linger.ms": os.environ["LINGER_MS"]}
flow = Dataflow("filter")
bids = op.input("bids", flow, KafkaSource(brokers, [os.environ["INPUT"]]))
kept = op.filter_map("dear", bids, dear)
op.output("out", kept, KafkaSink(brokers, os.environ["OUTPUT"], writes))
