"""The peer of ndjson.py: Bytewax as its guide writes such a flow, one operator a step and the json module."""

import json
import os

import bytewax.operators as op
from bytewax.connectors.files import FileSink, FileSource
from bytewax.dataflow import Dataflow


def project(row):
    return {
        "auction": row["auction"],
        "bidder": row["bidder"],
        "price": row["price"] * 0.908,
        "channel": row["channel"],
        "dateTime": row["dateTime"],
    }


flow = Dataflow("bids")
lines = op.input("lines", flow, FileSource(os.environ["BIDS"]))
bids = op.map("parse", lines, json.loads)
wanted = op.filter("filter", bids, lambda row: row["auction"] % 4 == 0 and row["channel"] != "Baidu")
projected = op.map("project", wanted, project)
keyed = op.map("print", projected, lambda row: ("all", json.dumps(row)))
op.output("out", keyed, FileSink(os.environ["OUT"]))
