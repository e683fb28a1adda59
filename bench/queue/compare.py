"""The comparison itself: each variant has an empty store, is fed, worked off and counted."""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import group
import harness
import peers
import servers

CLIENTS, SECONDS = 64, 10
BULK_CLIENTS = 2
# Jobs that are worked off, and jobs that are queued.
SQLITE_JOBS, POSTGRES_JOBS = (60_000, 1_000_000), (20_000, 200_000)
IDLE_ROUNDS = 300
DEPTHS, STEP_ROUNDS = [10_000, 1_000_000], 300
CHURN_JOBS = 10_000_000
RESULTS = harness.HERE / "results" / "queue.json"


class Bench:
    """One run: its programs, and a folder that is empty before each variant."""

    def __init__(self):
        self.folder = f"queue-{os.getpid()}"
        self.programs = {}

    def fresh(self):
        return harness.fresh(self.folder)

    def close(self):
        shutil.rmtree(harness.CACHE / "work" / self.folder, ignore_errors=True)

    def headwater(self):
        if "headwater" not in self.programs:
            self.programs["headwater"] = harness.headwater()
        return self.programs["headwater"]

    def load(self, *words):
        """Calls the load program: its last line."""
        return json.loads(self.load_lines(*words)[-1])

    def load_lines(self, *words, each=lambda line: None):
        if "load" not in self.programs:
            self.programs["load"] = load()
        command = [str(word) for word in [self.programs["load"], *words]]
        lines = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                for line in process.stdout:
                    lines.append(line)
                    each(line)
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            raise SystemExit(f"{command} ended with {process.returncode}")
        return lines

    def sqlite(self):
        """A loop on a SQLite file, without a server."""
        return {"raw": self.load("sqlite", self.fresh() / "raw.sqlite", SECONDS // 2)}

    def postgres(self):
        url = servers.postgres()
        try:
            return {"raw": self.load("postgres", url, CLIENTS, SECONDS // 2)}
        finally:
            servers.forget_postgres(url)

    def over_sqlite(self):
        # The disk is not the same from one minute to the next, so the bare commit is timed before and after.
        commits = [self.commit()]
        found = self.over(lambda folder: {"sqlite": {"path": str(folder / "jobs.sqlite")}}, *SQLITE_JOBS)
        commits.append(self.commit())
        folder = self.fresh()
        store = {"sqlite": {"path": str(folder / "jobs.sqlite")}}
        with servers.Headwater(self.headwater(), folder, store, environment=servers.no_sync()) as server:
            found["unsynced"] = {"enqueue": self.enqueue(server, 1), "enqueueMany": self.enqueue(server, CLIENTS)}
        found["commitMillis"] = commits
        return found

    def commit(self):
        raw = self.load("sqlite", self.fresh() / "raw.sqlite", 3)
        return raw["enqueue"]["millis"]["p50"]

    def over_postgres(self):
        url = servers.postgres()
        try:
            return self.over(lambda _: {"postgres": {"url": servers.postgres()}}, *POSTGRES_JOBS)
        finally:
            servers.forget_postgres(url)

    def over(self, store, work_jobs, jobs):
        """What the API is over a store: so many jobs are worked off, and so many are queued."""
        folder = self.fresh()
        with servers.Headwater(self.headwater(), folder, store(folder)) as server:
            found = {"idleMib": server.resident_mib(), "idleOwnMib": server.resident_mib("RssAnon")}
            found["idle"] = self.load("idle", server.address, servers.QUEUE, IDLE_ROUNDS)
            found["enqueue"] = self.enqueue(server, 1)
            found["enqueueMany"] = self.enqueue(server, CLIENTS)
        folder = self.fresh()
        with servers.Headwater(self.headwater(), folder, store(folder)) as server:
            self.bulk(server, work_jobs)
            before = server.look()
            found["work"] = self.work_off(server)
            found["work"]["serverMicrosEach"] = round((server.look() - before) * 1e6 / work_jobs)
        folder = self.fresh()
        with servers.Headwater(self.headwater(), folder, store(folder)) as server:
            found["bulk"] = self.bulk(server, jobs)
            found["queued"] = {"jobs": jobs, "mib": server.resident_mib(), "ownMib": server.resident_mib("RssAnon")}
        return found

    def enqueue(self, server, clients):
        """Puts jobs, and counts those that are there."""
        before = server.stats().get("ready", 0)
        found = self.load("enqueue", server.address, servers.QUEUE, clients, SECONDS)
        expect("jobs put", server.stats()["ready"] - before, found["operations"])
        return found

    def bulk(self, server, jobs):
        found = self.load("bulk", server.address, servers.QUEUE, BULK_CLIENTS, jobs)
        expect("jobs put in bulk", server.stats().get("ready"), jobs)
        return found

    def work_off(self, server):
        before = server.stats()
        found = self.load("work", server.address, servers.QUEUE, CLIENTS)
        after = server.stats()
        ended = after.get("succeeded", 0) - before.get("succeeded", 0)
        expect("jobs worked off", (found["operations"], ended), (before["ready"], before["ready"]))
        return found

    def peer(self, name):
        folder = self.fresh()
        found = {}
        with servers.Redis(folder) as redis:
            peer = peers.Peer(name, redis)
            found["idleMib"], found["idleOwnMib"] = redis.resident_mib(), redis.resident_mib("RssAnon")
            found["enqueue"] = peer.load("enqueue", 1, SECONDS)
            found["enqueueMany"] = peer.load("enqueue", CLIENTS, SECONDS)
            jobs = sum(run["operations"] + run.pop("warmUp") for run in (found["enqueue"], found["enqueueMany"]))
            if peer.has_bulk():
                redis.ask("FLUSHALL")
                jobs = 100_000 if name == "bullmq" else 30_000
                found["bulk"] = peer.load("bulk", jobs)
            found["queued"] = {"jobs": jobs, "mib": redis.resident_mib(), "ownMib": redis.resident_mib("RssAnon")}
        with servers.Redis(self.fresh()) as redis:
            peer = peers.Peer(name, redis)
            peer.load("fill", peer.jobs)
            found["work"] = self.drain(peer)
        with servers.Redis(self.fresh()) as redis:
            peer = peers.Peer(name, redis)
            with self.workers(peer):
                peer.load("idle", 20)  # They are there, and warm.
                found["idle"] = peer.load("idle", IDLE_ROUNDS)
        return found

    def workers(self, peer):
        folder = harness.fresh(f"{self.folder}/workers")
        return group.Group(peer.workers(), peer.environment, folder)

    def drain(self, peer):
        """The rate at which jobs end, once the first tenth has, so that the start isn't in it."""
        begun = None
        with self.workers(peer) as running:
            while (ended := peer.ended()) < peer.jobs:
                if begun is None and ended >= peer.jobs // 10:
                    begun = ended, time.monotonic()
                running.look()
                time.sleep(0.02)
            rate = (peer.jobs - begun[0]) / (time.monotonic() - begun[1])
            return {"operations": peer.jobs, "perSecond": round(rate), "workersMib": running.resident_mib()}

    def depth(self):
        """What a page of the list, a lease and a finish take with few and with many jobs queued."""
        return {str(jobs): self.at_depth(jobs) for jobs in DEPTHS}

    def at_depth(self, jobs):
        folder = self.fresh()
        store = {"sqlite": {"path": str(folder / "jobs.sqlite")}}
        queues = ("ready", "parked")
        found = {}
        with servers.Headwater(self.headwater(), folder, store, queues=queues) as server:
            self.load("bulk", server.address, "ready", BULK_CLIENTS, jobs)
            found["readyMib"] = server.resident_mib()
            found["ready"] = self.load("steps", server.address, "ready", STEP_ROUNDS)
        with servers.Headwater(self.headwater(), folder, store, queues=queues) as server:
            self.load("bulk", server.address, "parked", BULK_CLIENTS, jobs, "one")
            found["parkedMib"] = server.resident_mib()
            found["parked"] = self.load("steps", server.address, "parked", STEP_ROUNDS)
        environment = servers.no_sync()
        with servers.Headwater(self.headwater(), folder, store, queues=queues, environment=environment) as server:
            found["startSeconds"] = round(server.start_seconds, 2)
            found["startMib"] = server.resident_mib()
            for queue in queues:
                found[f"{queue}Unsynced"] = self.load("steps", server.address, queue, STEP_ROUNDS)
        return found

    def churn(self, jobs):
        """Jobs come, are leased, finished and forgotten a minute later."""
        folder = self.fresh()
        store = {"sqlite": {"path": str(folder / "jobs.sqlite")}}
        lines = []
        with servers.Headwater(self.headwater(), folder, store, {**servers.SETTINGS, "retention": "1m"}) as server:
            def note(line):
                sizes = [sum(path.stat().st_size for path in folder.glob(f"jobs.sqlite{end}")) for end in ["", "-wal"]]
                file, wal = (round(size / 2**20) for size in sizes)
                told = {**json.loads(line), "mib": server.resident_mib(), "fileMib": file, "walMib": wal}
                lines.append(told)
                print(json.dumps(told), flush=True)

            self.load_lines("churn", server.address, servers.QUEUE, jobs, each=note)
            found = {"lines": lines, "cpuSeconds": round(server.look()), "peakMib": round(server.peak_mib(), 1)}
            expect("jobs left", {key: server.stats().get(key, 0) for key in ["ready", "running", "failed"]},
                   {"ready": 0, "running": 0, "failed": 0})
        return found


def load():
    """The load program: `HEADWATER_LOAD`, or the release build."""
    if "HEADWATER_LOAD" in os.environ:
        return os.environ["HEADWATER_LOAD"]
    subprocess.run(["cargo", "build", "--release", "--locked", "--package", "load"], cwd=harness.REPOSITORY, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", harness.REPOSITORY / "target"))
    return str(target / "release" / "load")


def expect(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"{what}: {found}, not {wanted}")


VARIANTS = {
    "sqlite": Bench.sqlite,
    "headwater": Bench.over_sqlite,
    "depth": Bench.depth,
    "postgres": Bench.postgres,
    "headwater-postgres": Bench.over_postgres,
    **{name: lambda bench, name=name: bench.peer(name) for name in peers.PEERS},
}


def keep(name, found):
    """Replaces the variant in results/queue.json."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    results[name] = {**found, "at": at, "commit": harness.commit(), "machine": harness.machine()}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    return results


def main(words):
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=CHURN_JOBS, help="jobs of `churn`")
    parser.add_argument("variants", nargs="*", help=", ".join([*VARIANTS, "churn"]))
    asked = parser.parse_args()
    names = asked.variants or list(VARIANTS)
    if unknown := set(names) - {*VARIANTS, "churn"}:
        parser.error(f"no variant {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    try:
        for name in names:
            found = bench.churn(asked.jobs) if name == "churn" else VARIANTS[name](bench)
            print(name, json.dumps(found), flush=True)
            results = keep(name, found)
    finally:
        bench.close()
    import table

    table.show(results)
