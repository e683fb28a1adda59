"""A process and all it starts: its processor time, its peak of memory, its end."""

import ctypes
import os
import pathlib
import signal
import subprocess

TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1


class Group:
    """Runs a command in a session of its own, and nothing of it is left after the `with`."""

    def __init__(self, command, environment, folder):
        def dies_with_us():
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

        self.command, self.cpus, self.peaks = command, {}, {}
        self.log = folder / "log.txt"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command], cwd=folder, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, preexec_fn=dies_with_us)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        self.signal(signal.SIGKILL)
        self.process.wait()

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def look(self):
        """User and system seconds so far. Fails where the process has ended, since it never should by itself."""
        if self.process.poll() is not None:
            raise SystemExit(f"{self.command} ended with {self.process.returncode}:\n{self.log.read_text()[-2000:]}")
        for process in pathlib.Path("/proc").iterdir():
            if process.name.isdigit():
                self.look_at(process)
        return sum(self.cpus.values())

    def look_at(self, process):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) != self.process.pid:
                return
            self.cpus[process.name] = (int(fields[11]) + int(fields[12])) / TICKS
            for line in (process / "status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    self.peaks[process.name] = int(line.split()[1]) / 1024
        except OSError:
            pass  # It ended meanwhile.

    def resident_mib(self, field="VmRSS"):
        """What its processes have resident now, each by itself, added up. `RssAnon`: without the pages of files, which
        are mostly the program's own and go where memory is short."""
        self.look()
        kib = 0
        for process in self.cpus:
            try:
                lines = pathlib.Path("/proc", process, "status").read_text().splitlines()
            except OSError:
                continue  # It ended meanwhile.
            kib += sum(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
        return round(kib / 1024, 1)

    def peak_mib(self):
        """The most resident memory that its processes had, each by itself, added up."""
        return sum(self.peaks.values())
