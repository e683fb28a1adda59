import logging
from edna.core.execution.context import StreamingContext
from edna.api import StreamBuilder
from edna.ingest.streaming import TwitterFilteredIngest
from edna.process.filter import KeyedFilter
from edna.process.map import JsonToObject, Map
from edna.emit import StdoutEmit, RecordCounterEmit


class Shout(Map):
    def map(self, record):
        return record["text"].upper()


context = StreamingContext()
stream = StreamBuilder.build(
    TwitterFilteredIngest(
        bearer_token=context.getVariable("twitter_token"),
        filters=context.getVariable("wanted"),
        tweet_fields=context.getVariable("tweet_fields"),
        place_fields=["id"],
    ),
    streaming_context=context,
)
stream = stream.map(JsonToObject()).filter(KeyedFilter(lambda lang: lang == "en", key="lang")).map(Shout())
context.addStream(stream.emit(StdoutEmit()))
context.addStream(stream.emit(RecordCounterEmit(record_print=60)))
context.execute()
