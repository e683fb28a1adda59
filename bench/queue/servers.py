"""What is measured: Headwater, Redis and PostgreSQL as processes of ours, each with an empty store."""

import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

import group
import harness

QUEUE = "bench"
# More than any run puts, and long enough that nothing is forgotten while it is counted.
SETTINGS = {"depthMax": 1_000_000_000, "retention": "1d"}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, is_so, seconds=60):
    """Asks until it is so. Gives back what it was."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := is_so():
            return found
        time.sleep(0.002)
    raise SystemExit(f"{what}: not within {seconds} s")


class Headwater(group.Group):
    """`headwater run` with a document without workers."""

    def __init__(self, program, folder, store, settings=SETTINGS, environment=None, queues=(QUEUE,)):
        self.address = f"127.0.0.1:{free_port()}"
        spec = {"store": store, "listen": self.address, "queues": {name: settings for name in queues}}
        path = harness.document(folder, "bench", spec, kind="Queue")
        super().__init__([program, "run", "--quiet", path], environment or {}, folder)

    def __enter__(self):
        started = time.monotonic()
        try:
            until("the server answers", self.is_ready)
        except BaseException:
            self.__exit__()
            raise
        self.start_seconds = time.monotonic() - started
        return self

    def is_ready(self):
        self.look()
        try:
            return self.ask("/readyz") is not None
        except (urllib.error.URLError, ConnectionError):
            return None

    def ask(self, path):
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=60) as reply:
            return reply.read()

    def stats(self, queue=QUEUE):
        """Jobs by state."""
        return {state["state"]: state["jobs"] for state in json.loads(self.ask(f"/v1/queues/{queue}/stats"))}


class Redis(group.Group):
    """Debian's Redis, with each command on disk before it is answered."""

    def __init__(self, folder):
        self.port = free_port()
        super().__init__(
            ["redis-server", "--bind", "127.0.0.1", "--port", self.port, "--dir", folder, "--save", "",
             "--appendonly", "yes", "--appendfsync", "always"], {}, folder)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self):
        until("Redis answers", self.is_ready)
        return self

    def is_ready(self):
        try:
            return self.ask("PING") == "PONG"
        except OSError:
            return False

    def ask(self, *words):
        """One command, by hand: its reply is a word or a number."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall((" ".join(words) + "\r\n").encode())
            return connection.makefile().readline().strip()[1:]


def postgres():
    """The service `postgres`, with an empty schema."""
    cache = pathlib.Path(os.environ.get("HEADWATER_CACHE", pathlib.Path.home() / ".cache" / "headwater"))
    service = pathlib.Path(os.environ.get("HEADWATER_SERVICES", cache / "services")) / "postgres" / "service.json"
    if not service.exists() or not json.loads(service.read_text())["ready"]:
        raise SystemExit("no PostgreSQL: cargo xtask services up postgres")
    url = f"postgres://headwater@{json.loads(service.read_text())['listeners']['tcp']}/postgres"
    forget_postgres(url)
    sql("CREATE SCHEMA bench", url)
    return f"{url}?options=-csearch_path%3Dbench"


def forget_postgres(url):
    """Leaves nothing of ours."""
    sql("DROP SCHEMA IF EXISTS bench CASCADE", url)


def sql(statement, url):
    subprocess.run(["psql", "--quiet", "--no-psqlrc", "--command", f"SET client_min_messages = warning; {statement}", url],
                   check=True)


def no_sync():
    """The environment of a program whose fsync does nothing."""
    library = harness.CACHE / "queue" / "nosync.so"
    library.parent.mkdir(parents=True, exist_ok=True)
    source = harness.HERE / "queue" / "nosync.c"
    subprocess.run(["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library)}
