"""Made-up alerts with distinct cutouts, in Avro containers -> Parquet, beside fastavro and pyarrow.

Four cases: one container an alert (as brokers send them) and containers of many alerts; all columns, and three.

usage: alerts.py [ALERTS [ALERTS OF THE PEER]]
"""

import shutil
import sys

import harness

THREE = "SELECT objectId, candid, candidate.magpsf AS magpsf FROM alerts"


def same(ours, peer, count):
    """Whether both wrote the same rows; a peer that did fewer is compared with as many of ours."""
    import pyarrow.compute
    import pyarrow.parquet

    read = pyarrow.parquet.read_table
    expected = read(peer)
    found = read(ours, partitioning=None)
    found = found.filter(pyarrow.compute.is_in(found["candid"], expected["candid"]))
    found, expected = found.sort_by("candid"), expected.sort_by("candid")
    if found.num_rows != count or expected.num_rows != count:
        raise SystemExit(f"{found.num_rows} rows of ours, {expected.num_rows} of the peer, {count} alerts")
    for name in expected.column_names:
        # Compared by value: whether a field may be null is told apart in the schema alone.
        if not found[name].cast(expected[name].type).combine_chunks().equals(expected[name].combine_chunks()):
            raise SystemExit(f"column {name} differs")


def main():
    harness.in_environment()
    alerts = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    few = int(sys.argv[2]) if len(sys.argv) > 2 else min(alerts, 2_000)
    program, folder = harness.headwater(), harness.fresh("alerts")

    def make(name, total, roll):
        spec = {
            "sources": {"alerts": {"generate": {"total": total, "seed": 1, "alerts": {}}}},
            "sinks": {"out": {"from": "alerts", "files": {"url": str(folder / name), "roll": roll}, "format": {"avro": {"compression": "null"}}}},
        }
        harness.measure([program, "run", "--quiet", harness.document(folder, f"make-{name}", spec)])

    make("each", alerts, {"rows": 1})
    make("each-few", few, {"rows": 1})
    make("many", alerts, {"rows": 1000})
    make("many-few", few, {"rows": 1000})
    for kind in ["each", "many"]:
        for columns in ["all", "three"]:
            compare(program, folder, kind, columns, alerts, few)


def compare(program, folder, kind, columns, alerts, few):
    out = folder / f"out-{kind}-{columns}"
    step = {"steps": {"three": {"from": "alerts", "sql": THREE}}} if columns == "three" else {}
    last = "three" if step else "alerts"

    def spec(files, sink):
        return {"sources": {"alerts": {"files": {"path": str(files)}, "format": "avro"}}, **step, "sinks": {"out": {"from": last, **sink}}}

    parquet = {"files": {"url": str(out)}, "format": {"parquet": {"compression": "snappy"}}}
    run = harness.document(folder, f"{kind}-{columns}", spec(folder / kind / "*.avro", parquet))
    ours = harness.best(3, [program, "run", "--quiet", run], lambda: shutil.rmtree(out, ignore_errors=True))
    peer_out = folder / f"peer-{kind}-{columns}.parquet"
    script = harness.HERE / "peers" / "alerts_fastavro.py"
    peer = harness.measure([harness.python(), script, folder / f"{kind}-few" / "*.avro", peer_out, columns])
    harness.apart(same, out, peer_out, few)

    start = {}
    if columns == "three":
        first = sorted((folder / kind).glob("*.avro"))[0]
        shown = harness.document(folder, f"first-{kind}", spec(first, {"stdout": {}, "format": "json"}))
        start = {"first_row_ms": round(harness.first_row_ms([program, "run", "--quiet", "--fresh", shown]), 1)}
    goal = 150_000 if columns == "three" else 15_000
    harness.report(f"alerts-{kind}-{columns}", alerts, goal, ours, peer, peer_records=few, **start)
    shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    main()
