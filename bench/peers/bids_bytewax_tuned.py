"""The second peer of ndjson.py: Bytewax as quick as it goes, all in one operator, orjson, as C does it."""

import os

import bytewax.operators as op
import orjson
from bytewax.connectors.files import FileSink, FileSource
from bytewax.dataflow import Dataflow


def bid(line):
    row = orjson.loads(line)
    if row["auction"] % 4 == 0 and row["channel"] != "Baidu":
        kept = {
            "auction": row["auction"],
            "bidder": row["bidder"],
            "price": row["price"] * 0.908,
            "channel": row["channel"],
            "dateTime": row["dateTime"],
        }
        return "all", orjson.dumps(kept).decode()
    return None


flow = Dataflow("bids")
lines = op.input("lines", flow, FileSource(os.environ["BIDS"], batch_size=1000))
kept = op.filter_map("bid", lines, bid)
op.output("out", kept, FileSink(os.environ["OUT"]))
