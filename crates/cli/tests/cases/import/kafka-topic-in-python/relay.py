from edna.ingest.streaming import KafkaIngest
from edna.process.filter import RobustJsonToObject
from edna.process.map import ObjectToJson
from edna.serializers import KafkaStringSerializer, StringSerializer
from edna.emit import KafkaEmit

night = "night-" + tonight()
ingest = KafkaIngest(KafkaStringSerializer(), kafka_topic=night, default_group="g",
                     bootstrap_server=context.getVariable("bootstrap_server"))
process = ObjectToJson(process=RobustJsonToObject())
emit = KafkaEmit(StringSerializer(), kafka_topic="relayed", bootstrap_server=other_broker)
