"""What bench/queue.py puts on Celery, and the job itself."""

import os
import sys
import time

import load_common
from celery import Celery

app = Celery("celery_load", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
# Acknowledged once they have ended, as all others do: otherwise a job is gone with its worker.
app.conf.update(task_acks_late=True, broker_pool_limit=64, broker_connection_retry_on_startup=True)


@app.task(name="job")
def job(payload):
    """Does nothing. How long it took to get here, in nanoseconds, where its client noted when it left."""
    return time.monotonic_ns() - payload["sent"] if "sent" in payload else None


def put(_, payload):
    # Who puts a job does not wait for its result, so nothing is subscribed for it.
    return job.apply_async((payload,), ignore_result=False)


def age(_, sent):
    return put(None, {"sent": sent}).get()


if __name__ == "__main__":
    load_common.main(sys.argv[1:], lambda: None, put, None, age)
