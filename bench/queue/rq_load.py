"""What bench/queue.py puts on RQ, and the job itself."""

import os
import sys
import time

import load_common
import redis
from rq import Queue


def job(payload):
    """Does nothing. How long it took to get here, in nanoseconds, where its client noted when it left."""
    return time.monotonic_ns() - payload["sent"] if "sent" in payload else None


def queue():
    return Queue("bench", connection=redis.Redis.from_url(os.environ["REDIS_URL"]))


def put(own, payload):
    return own.enqueue("rq_load.job", payload, result_ttl=86_400)


def bulk(jobs):
    own = queue()
    for begin in range(0, jobs, 1_000):
        own.enqueue_many([Queue.prepare_data("rq_load.job", ({"client": 0, "n": n},), result_ttl=86_400)
                          for n in range(begin, min(begin + 1_000, jobs))])


def age(own, sent):
    waiting = put(own, {"sent": sent})
    while (result := waiting.return_value(refresh=True)) is None:
        time.sleep(0.005)
    return result


if __name__ == "__main__":
    load_common.main(sys.argv[1:], queue, put, bulk, age)
