from edna.emit import RecordCounterEmit
from edna.ingest.streaming import SimulatedIngest

ingest = SimulatedIngest(stream_callback=lambda index: index * index)
emit = RecordCounterEmit(record_print=60)
