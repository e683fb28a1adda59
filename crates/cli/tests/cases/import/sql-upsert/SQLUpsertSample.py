from edna.core.factories import SQLTupleFactory
from edna.emit import SQLUpsertEmit
from edna.ingest.streaming import SimulatedIngest
from edna.process.map import JsonToObject, ObjectToSQL

rows = ['{"star_id": 1, "name": "canary-1618033988"}']
factory = SQLTupleFactory(tuple_fields=context.getVariable("sql_fields"),
                          upsert_fields=context.getVariable("upsert_fields"))
ingest = SimulatedIngest(stream_list=rows)
process = ObjectToSQL(process=JsonToObject(), tuple_factory=factory)
emit = SQLUpsertEmit(host="db", user="canary-user-1", password="canary-5772156649", database="sky", table="stars",
                     tuple_factory=factory)
