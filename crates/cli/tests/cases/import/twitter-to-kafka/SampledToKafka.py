from edna.core.execution.context import SimpleStreamingContext
from edna.emit import KafkaEmit
from edna.ingest.streaming import TwitterStreamingIngest
from edna.process import BaseProcess
from edna.serializers.EmptySerializer import EmptyStringSerializer

if __name__ == "__main__":
    job = SimpleStreamingContext()
    posts = TwitterStreamingIngest(
        serializer=EmptyStringSerializer(),
        bearer_token=job.getVariable("bearer_token"),
        tweet_fields=job.getVariable("tweet_fields"),
        user_fields=job.getVariable("user_fields"),
    )
    topic = KafkaEmit(
        serializer=EmptyStringSerializer(),
        kafka_topic=job.getVariable("kafka_topic"),
        bootstrap_server=job.getVariable("bootstrap_server"),
        bootstrap_port=job.getVariable("bootstrap_port"),
        emit_buffer_batch_size=100,
        topic_retention_ms=3600000,
    )
    job.addIngest(posts)
    job.addProcess(BaseProcess())
    job.addEmit(topic)
    job.execute()
