"""Compares alerts in Avro containers with the Parquet made of them, value by value.

usage: compare_alerts.py FOLDER_OF_AVRO FOLDER_OF_PARQUET [SCIENCE]

With SCIENCE, only the alerts that pass the quality cut are expected. Prints how many alerts and values agree.
"""
import pathlib
import sys

import fastavro
import pyarrow.parquet


def leaves(value):
    if isinstance(value, dict):
        return sum(map(leaves, value.values()))
    if isinstance(value, list):
        return sum(map(leaves, value))
    return 1


def expected(folder, science):
    alerts = {}
    for path in sorted(pathlib.Path(folder).glob("*.avro")):
        with open(path, "rb") as file:
            for alert in fastavro.reader(file):
                candidate = alert["candidate"]
                if not science or (candidate["nbad"] == 0 and candidate["rb"] >= 0.55):
                    alerts[alert["candid"]] = alert
    return alerts


def found(folder):
    alerts = []
    for path in sorted(pathlib.Path(folder).rglob("*.parquet")):
        if not any(part.startswith(("_", ".")) for part in path.relative_to(folder).parts):
            # One file at a time: the partition is in the path and must not be in the rows.
            alerts += pyarrow.parquet.ParquetFile(path).read().to_pylist()
    return alerts


def main():
    alerts = expected(sys.argv[1], len(sys.argv) > 3)
    rows = found(sys.argv[2])
    assert len(rows) == len(alerts), f"{len(rows)} rows for {len(alerts)} alerts"
    for row in rows:
        alert = alerts.pop(row["candid"])
        assert row == alert, f"alert {row['candid']} differs: " + ", ".join(
            f"{key}: {row.get(key)!r:.200} for {alert[key]!r:.200}" for key in alert if row.get(key) != alert[key]
        )
    assert not alerts, f"missing: {sorted(alerts)}"
    print(f"{len(rows)} alerts, {sum(map(leaves, rows))} values agree")


main()
