"""The load that the peers in Python share, with the words and the output of `load`."""

import json
import random
import threading
import time


def main(words, connect, put, bulk, age):
    if words[0] == "enqueue":
        found = enqueue(connect, put, int(words[1]), int(words[2]))
    elif words[0] == "bulk":
        started = time.monotonic()
        bulk(int(words[1]))
        found = {"operations": int(words[1]), "perSecond": round(int(words[1]) / (time.monotonic() - started))}
    elif words[0] == "fill":
        own = connect()
        for n in range(int(words[1])):
            put(own, {"client": 0, "n": n})
        found = {}
    else:
        found = idle(connect, age, int(words[1]))
    print(json.dumps(found))


def enqueue(connect, put, clients, seconds):
    """Each client, a thread, puts one job after the other."""
    times, failures = [], []

    def client(number):
        try:
            own = connect()
            put(own, {"client": number, "n": 0})  # Its connection is made.
            ready.wait()
            until = time.monotonic() + seconds
            while (before := time.monotonic()) < until:
                put(own, {"client": number, "n": len(times)})
                times.append(time.monotonic() - before)
        except Exception as error:
            failures.append(error)
            ready.abort()

    ready = threading.Barrier(clients + 1)
    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.monotonic()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return {"operations": len(times), "warmUp": clients, "perSecond": round(len(times) / (time.monotonic() - started)),
            "millis": quantiles(times)}


def idle(connect, age, rounds):
    own = connect()
    times = []
    for _ in range(rounds):
        time.sleep(random.uniform(0.01, 0.02))
        times.append(age(own, time.monotonic_ns()) / 1e9)
    return quantiles(times)


def quantiles(seconds):
    ordered = sorted(seconds)

    def at(hundredths):
        return round(ordered[min(len(ordered) - 1, len(ordered) * hundredths // 100)] * 1000, 3)

    return {"p50": at(50), "p99": at(99), "max": at(100)}
