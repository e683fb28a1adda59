"""Flat records in one Avro container -> Arrow IPC, file to file, beside fastavro and pyarrow.

usage: avro.py [RECORDS]
"""

import shutil
import sys

import harness
import ndjson


def main():
    harness.in_environment()
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 4_000_000
    program, folder = harness.headwater(), harness.fresh("avro")
    sink = {"from": "bids", "files": {"url": str(folder / "in"), "roll": {"bytes": "100GiB"}}, "format": {"avro": {"compression": "null"}}}
    made = {"sources": {"bids": ndjson.bids(records)}, "sinks": {"out": sink}}
    harness.measure([program, "run", "--quiet", harness.document(folder, "make", made)])
    [bids_file] = (folder / "in").glob("*.avro")
    out = folder / "out"

    def stream(name, sink):
        spec = {"sources": {"bids": {"files": {"path": str(bids_file)}, "format": "avro"}}, "sinks": {"out": {"from": "bids", **sink}}}
        return harness.document(folder, name, spec)

    written = {"files": {"url": str(out), "roll": {"bytes": "100GiB"}}, "format": "arrow"}
    run = [program, "run", "--quiet", stream("bids", written)]
    ours = harness.best(5, run, lambda: shutil.rmtree(out, ignore_errors=True))
    dropped = harness.best(5, [program, "run", "--quiet", "--fresh", stream("drop", {"blackhole": {}})])
    peer_out = folder / "peer.arrow"
    peer = harness.measure([harness.python(), harness.HERE / "peers" / "bids_fastavro.py", bids_file, peer_out])
    harness.apart(same, out, peer_out, records)
    shown = stream("first", {"stdout": {}, "format": "json"})
    start = harness.first_row_ms([program, "run", "--quiet", "--fresh", shown], times=3)
    harness.report("avro", records, 4_000_000, ours, peer, first_row_ms=round(start, 1),
                   blackhole_per_cpu_second=round(records / dropped["cpu"]))


def same(ours, peer, records):
    import pyarrow.ipc

    [file] = ours.glob("*.arrow")
    found = pyarrow.ipc.open_file(str(file)).read_all()
    expected = pyarrow.ipc.open_file(str(peer)).read_all()
    for name in expected.column_names:
        if not found[name].cast(expected[name].type).combine_chunks().equals(expected[name].combine_chunks()):
            raise SystemExit(f"column {name} differs")
    if found.num_rows != records:
        raise SystemExit(f"{found.num_rows} rows of {records}")


if __name__ == "__main__":
    main()
