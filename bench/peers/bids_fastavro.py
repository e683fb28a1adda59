"""The peer of avro.py: fastavro and pyarrow, one process, batches of 10,000 records."""

import itertools
import sys

import fastavro
import pyarrow


def main():
    kinds = {"long": pyarrow.int64(), "string": pyarrow.string(), "double": pyarrow.float64()}
    with open(sys.argv[1], "rb") as file:
        reader = fastavro.reader(file)
        fields = []
        for field in reader.writer_schema["fields"]:
            kind = field["type"]
            kind = next(branch for branch in kind if branch != "null") if isinstance(kind, list) else kind
            fields.append((field["name"], pyarrow.timestamp("us", "UTC") if isinstance(kind, dict) else kinds[kind]))
        schema = pyarrow.schema(fields)
        with pyarrow.OSFile(sys.argv[2], "wb") as sink, pyarrow.ipc.new_file(sink, schema) as writer:
            while rows := list(itertools.islice(reader, 10_000)):
                writer.write_batch(pyarrow.RecordBatch.from_pylist(rows, schema=schema))


main()
