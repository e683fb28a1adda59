"""The comparison itself: each variant is started, fed, watched, stopped; its output is compared."""

import argparse
import json
import os
import shutil
import signal
import sys
import time

import broker
import group
import harness
import latency
import peers

PARTITIONS, MANY_PARTITIONS = 4, 100
WARM_UP = 200_000
QUIET_SECONDS = 3
RESULTS = harness.HERE / "results" / "kafka.json"


class Bench:
    """One run: its topics on the broker, the programs, and what was found."""

    def __init__(self, programs, messages):
        self.broker, self.programs, self.messages = broker.Broker(f"bench-{os.getpid()}-{int(time.time())}"), programs, messages
        self.filled = {}

    def input(self, partitions, records):
        """A topic with bids, made once, and what shall come out of it."""
        if (partitions, records) not in self.filled:
            topic = self.broker.topic("bids", partitions)
            self.filled[partitions, records] = topic, self.broker.fill(topic, partitions, records)
        return self.filled[partitions, records]

    def start(self, name, source, sink, quick):
        folder = harness.fresh(self.broker.run)
        # Named after the output, which is new each time: what an earlier start recorded is not gone on with.
        names = (source, sink, f"{sink}-{name}")
        return group.Group(*peers.command(name, self.programs, self.broker.brokers, names, quick, folder), folder)

    def drain(self, name, partitions, records):
        """Starts a variant on a full topic: the rate, processor seconds until all is out, and the peak of memory."""
        source, expected = self.input(partitions, records)
        wanted = expected[peers.VARIANTS[name][1]]
        sink = self.broker.topic("out", partitions)
        started = time.monotonic()
        with self.start(name, source, sink, quick=False) as running:
            seen, wall, cpu, first = 0, 0.0, 0.0, None
            # Marks of transactions count as messages, so only silence tells that it was the last one.
            while seen < wanted[0] or time.monotonic() - started - wall < QUIET_SECONDS:
                now_cpu, end = running.look(), self.broker.ends(sink, partitions)
                if end != seen:
                    seen, wall, cpu = end, time.monotonic() - started, now_cpu
                    first = first or (seen, wall)
                if time.monotonic() - started - wall > 90:
                    raise SystemExit(f"{name} stopped at {seen} of {wanted[0]} messages:\n{running.log.read_text()[-2000:]}")
                time.sleep(0.05)
            peak = running.peak_mib()
        found = self.broker.read(sink, partitions)
        self.broker.delete(sink)
        if found != wanted:
            raise SystemExit(f"{name}: {found} came out, not {wanted} (messages, sum of digests)")
        # From the first look that saw something, so that the start isn't in it.
        rate = records * (1 - first[0] / seen) / (wall - first[1]) if wall > first[1] else None
        return {"rate": rate, "cpu": cpu, "mib": peak}

    def throughput(self, name):
        """What the messages behind the warm-up cost: a run with them less a run of the warm-up alone."""
        warm = self.drain(name, PARTITIONS, WARM_UP)
        whole = self.drain(name, PARTITIONS, WARM_UP + self.messages)
        cpu = whole["cpu"] - warm["cpu"]
        return {"perSecond": whole["rate"] and round(whole["rate"]), "perCpuSecond": round(self.messages / cpu),
                "cpuSeconds": round(cpu, 2), "warmUpCpuSeconds": round(warm["cpu"], 2), "peakMib": round(whole["mib"])}

    def latency(self, name):
        source, sink = self.broker.topic("now", PARTITIONS), self.broker.topic("out", PARTITIONS)
        if name == "direct":
            return latency.measure(self.broker.brokers, source, source, PARTITIONS, lambda: None)
        with self.start(name, source, sink, quick=True) as running:
            return latency.measure(self.broker.brokers, source, sink, PARTITIONS, running.look)

    def memory(self, name):
        return round(self.drain(name, MANY_PARTITIONS, WARM_UP + self.messages)["mib"])


def keep(name, found):
    """Adds to results/kafka.json."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    mine = results.setdefault(name, {})
    mine.update(found, at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), commit=harness.commit(), machine=harness.machine())
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    return results


def table(results):
    """The results as the table of README.md."""
    print("| variant | messages per second | per CPU-second | p50, p99 at 10,000 a second | p50, p99 at 1 a second | peak, 4 partitions | peak, 100 partitions |")
    print("|---|---|---|---|---|---|---|")
    for name in ["direct", *peers.VARIANTS]:
        row = results.get(name, {})
        rates = row.get("throughput", {})
        ages = row.get("latency", {})
        shown = [f"{rates[key] / 1000:,.0f} k" if rates.get(key) else "-" for key in ["perSecond", "perCpuSecond"]]
        for rate in map(str, latency.RATES):
            shown.append(f"{ages[rate]['p50']:.1f}, {ages[rate]['p99']:.1f} ms" if rate in ages else "-")
        for mib in [rates.get("peakMib"), row.get("peakMibManyPartitions")]:
            shown.append(f"{mib} MiB" if mib else "-")
        print(f"| `{name}` | " + " | ".join(shown) + " |")


def goals(results):
    """What is asked of Headwater, for what was measured."""
    try:
        ours, loop, streams = results["headwater"], results["loop"], results["streams"]
        late = ours["latency"]["10000"]["p99"] - loop["latency"]["10000"]["p99"]
        ratio = ours["throughput"]["perCpuSecond"] / streams["throughput"]["perCpuSecond"]
        peak = ours["peakMibManyPartitions"]
    except KeyError as missing:
        print(f"the goals can't be told yet: no {missing}")
        return
    print(f"p99 at least once, beyond the bare loop's: {late:.1f} ms (at most 2)")
    print(f"per CPU-second, to Kafka Streams: {ratio:.1f} (at least 2)")
    print(f"peak with {MANY_PARTITIONS} partitions: {peak} MiB (at most 256)")


def main(words):
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2_000_000)
    parser.add_argument("--skip", action="append", default=[], choices=["throughput", "latency", "memory"])
    parser.add_argument("variants", nargs="*", help=", ".join(["direct", *peers.VARIANTS]))
    asked = parser.parse_args()
    names = asked.variants or ["direct", *peers.VARIANTS]
    if unknown := set(names) - {"direct", *peers.VARIANTS}:
        parser.error(f"no variant {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench(peers.build({peers.VARIANTS[name][0] for name in names if name != "direct"}), asked.messages)
    results = {}
    try:
        for name in names:
            kinds = {"throughput": bench.throughput, "latency": bench.latency, "peakMibManyPartitions": bench.memory}
            for key, measure in kinds.items():
                skipped = ("memory" if key == "peakMibManyPartitions" else key) in asked.skip
                if skipped or (name == "direct" and key != "latency"):
                    continue
                found = {key: measure(name)}
                print(name, json.dumps(found), flush=True)
                results = keep(name, found)
    finally:
        shutil.rmtree(harness.CACHE / "work" / bench.broker.run, ignore_errors=True)
        bench.broker.close()
    table(results)
    goals(results)
