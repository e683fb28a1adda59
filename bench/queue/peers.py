"""The peers: how each is installed, fed, and made to work. All keep their jobs in Redis."""

import json
import os
import shutil
import subprocess

import harness

HERE = harness.HERE / "queue"
PACKAGES = ["celery[redis]==5.7.0", "rq==2.12.0"]
# Name: its program, jobs that are worked off in the measurement, and how Redis counts those that have ended.
PEERS = {
    "rq": ("rq_load.py", 1_000, ["ZCARD", "rq:finished:bench"]),
    "rq-simple": ("rq_load.py", 3_000, ["ZCARD", "rq:finished:bench"]),
    "celery": ("celery_load.py", 5_000, None),
    "bullmq": ("bullmq", 20_000, ["ZCARD", "bull:bench:completed"]),
}


def bullmq():
    """The folder with the program and its modules."""
    home = harness.CACHE / "queue" / "bullmq"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "bullmq" / "load.mjs", home)
    wanted = (HERE / "bullmq" / "package.json").read_text()
    if not (home / "package.json").exists() or (home / "package.json").read_text() != wanted:
        (home / "package.json").write_text(wanted)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=home, check=True)
    return home


class Peer:
    """One of them, with a Redis."""

    def __init__(self, name, redis):
        self.name, self.redis = name, redis
        program, self.jobs, self.count = PEERS[name]
        if name == "bullmq":
            self.program = ["node", bullmq() / "load.mjs"]
        else:
            self.program = [harness.python("venv-queue", PACKAGES), HERE / program]
        self.environment = {"REDIS_PORT": str(redis.port), "REDIS_URL": redis.url, "PYTHONPATH": str(HERE)}

    def load(self, *words):
        """Calls its load program, which prints as ours does."""
        told = subprocess.run([str(word) for word in [*self.program, *words]], env={**os.environ, **self.environment},
                              stdout=subprocess.PIPE, check=True)
        return json.loads(told.stdout)

    def has_bulk(self):
        return self.name != "celery"

    def workers(self):
        """The command that works off the queue."""
        if self.name == "bullmq":
            return [*self.program, "worker"]
        folder = os.path.dirname(self.program[0])
        if self.name == "celery":
            # Two processes, and its own habits otherwise.
            return [f"{folder}/celery", "--app", "celery_load", "worker", "--concurrency", "2", "--loglevel", "error"]
        kind = "rq.worker.SimpleWorker" if self.name == "rq-simple" else "rq.worker.Worker"
        return [f"{folder}/rq", "worker-pool", "bench", "--num-workers", "2", "--url", self.redis.url,
                "--worker-class", kind, "--logging-level", "ERROR"]

    def ended(self):
        """Jobs whose result is stored."""
        if self.count:
            return int(self.redis.ask(*self.count))
        # Redis has one key for each result, and some few others.
        return int(self.redis.ask("DBSIZE"))
