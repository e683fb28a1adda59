"""The peer of alerts.py: fastavro and pyarrow, one process, batches of 500 alerts."""

import glob
import sys

import fastavro
import pyarrow
import pyarrow.parquet

BATCH = 500


def arrow(kind, known):
    """The Arrow type of an Avro type."""
    if isinstance(kind, list):
        return arrow(next(branch for branch in kind if branch != "null"), known)
    if isinstance(kind, str):
        plain = {"string": pyarrow.string(), "int": pyarrow.int32(), "long": pyarrow.int64(), "float": pyarrow.float32(),
                 "double": pyarrow.float64(), "bytes": pyarrow.binary(), "boolean": pyarrow.bool_()}
        return plain.get(kind) or known[kind]
    if kind["type"] == "array":
        return pyarrow.list_(arrow(kind["items"], known))
    if kind["type"] == "record":
        made = pyarrow.struct([(field["name"], arrow(field["type"], known)) for field in kind["fields"]])
        known[kind["name"]] = made
        return made
    if "logicalType" in kind:
        return pyarrow.timestamp("us", "UTC")
    return arrow(kind["type"], known)


def main():
    pattern, out, columns = sys.argv[1], sys.argv[2], sys.argv[3] == "three"
    schema, writer, rows = None, None, []

    def write():
        nonlocal writer, rows
        table = pyarrow.Table.from_pylist(rows, schema=schema)
        if writer is None:
            writer = pyarrow.parquet.ParquetWriter(out, schema, compression="snappy")
        writer.write_table(table)
        rows = []

    for path in sorted(glob.glob(pattern)):
        with open(path, "rb") as file:
            reader = fastavro.reader(file)
            if schema is None:
                schema = pyarrow.schema(list(arrow(reader.writer_schema, {})))
                if columns:
                    schema = pyarrow.schema([("objectId", pyarrow.string()), ("candid", pyarrow.int64()), ("magpsf", pyarrow.float32())])
            for row in reader:
                if columns:
                    row = {"objectId": row["objectId"], "candid": row["candid"], "magpsf": row["candidate"]["magpsf"]}
                rows.append(row)
                if len(rows) >= BATCH:
                    write()
    if rows:
        write()
    writer.close()


main()
