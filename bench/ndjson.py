"""Bids as JSON lines -> filter -> project -> JSON lines, file to file, beside Bytewax.

usage: ndjson.py [RECORDS]
"""

import json
import os
import shutil
import sys

import harness

SQL = """SELECT auction, bidder, price * 0.908 AS price, channel, dateTime FROM bids
WHERE auction % 4 = 0 AND channel <> 'Baidu'"""
BIDS = {
    "auction": {"int": {"min": 1000, "max": 1999}},
    "bidder": {"int": {"min": 1000, "max": 4999}},
    "price": {"int": {"min": 100, "max": 10000000}},
    "channel": {"choice": ["Google", "Facebook", "Baidu", "Apple"]},
    "url": {"text": {"prefix": "https://www.example.org/item/", "length": 12}},
    "dateTime": {"timestamp": {"start": "2026-01-01T00:00:00Z", "step": "1ms"}},
    "extra": {"text": {"lengthMin": 10, "length": 40}},
}


def bids(total):
    return {"generate": {"total": total, "seed": 1, "columns": BIDS}}


def same(ours, peer):
    """Whether both wrote the same rows in the same order, compared as values."""
    found = [json.loads(line) for path in sorted(ours.glob("*.jsonl")) for line in open(path)]
    expected = [json.loads(line) for line in open(peer)]
    if found != expected or not found:
        raise SystemExit(f"the outputs differ: {len(found)} rows and {len(expected)}")


def main():
    harness.in_environment()
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    program, folder = harness.headwater(), harness.fresh("ndjson")
    made = {"sources": {"bids": bids(records)}, "sinks": {"out": {"from": "bids", "files": {"url": str(folder / "in")}, "format": "json"}}}
    harness.measure([program, "run", "--quiet", harness.document(folder, "make", made)])
    [bids_file] = (folder / "in").glob("*.jsonl")

    def stream(name, source, sink):
        return harness.document(folder, name, {
            "sources": {"bids": {**source, "format": "json"}},
            "steps": {"wanted": {"from": "bids", "sql": SQL}},
            "sinks": {"out": {"from": "wanted", **sink, "format": "json"}},
        })

    out = folder / "out"
    run = stream("bids", {"files": {"path": str(bids_file)}}, {"files": {"url": str(out)}})
    ours = harness.best(5, [program, "run", "--quiet", run], lambda: shutil.rmtree(out, ignore_errors=True))
    peers = []
    for flow in ["bids_bytewax", "bids_bytewax_tuned"]:
        peer_out = folder / f"{flow}.jsonl"
        os.environ.update(BIDS=str(bids_file), OUT=str(peer_out))
        peers.append(harness.measure([harness.python(), "-m", "bytewax.run", f"{harness.HERE / 'peers' / flow}.py:flow"]))
        harness.apart(same, out, peer_out)
    peer, tuned = peers

    few = folder / "few.jsonl"
    few.write_text("".join(line for line, _ in zip(open(bids_file), range(100))))
    shown = stream("first", {"files": {"path": str(few)}}, {"stdout": {}})
    start = harness.first_row_ms([program, "run", "--quiet", "--fresh", shown])
    harness.report("ndjson", records, 2_000_000, ours, peer, first_row_ms=round(start, 1), tuned_peer_per_cpu_second=round(records / tuned["cpu"]),
                   input_mib=round(bids_file.stat().st_size / 2**20))


if __name__ == "__main__":
    main()
