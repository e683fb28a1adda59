"""What all comparisons share: the peer's environment, documents, measured runs, a line for the record."""

import json
import multiprocessing
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
import venv

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent
CACHE = pathlib.Path(os.environ.get("HEADWATER_CACHE", pathlib.Path.home() / ".cache" / "headwater")) / "bench"
PACKAGES = ["bytewax==0.21.1", "confluent-kafka==2.16.1", "fastavro==1.13.1", "orjson==3.11.4", "pyarrow==26.0.1"]


def python(name="venv", packages=PACKAGES):
    """The interpreter of an environment that has the peers."""
    folder = CACHE / name
    stamp = folder / "packages.txt"
    if not stamp.exists() or stamp.read_text() != "\n".join(packages):
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *packages], check=True)
        stamp.write_text("\n".join(packages))
    return str(folder / "bin" / "python")


def in_environment():
    """Starts the script again in the environment with the peers, where it isn't there yet."""
    wanted = python()
    if pathlib.Path(sys.executable).parent != pathlib.Path(wanted).parent:
        os.execv(wanted, [wanted, *sys.argv])


def headwater():
    """The program: `HEADWATER`, or the release build."""
    if "HEADWATER" in os.environ:
        return os.environ["HEADWATER"]
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=REPOSITORY, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return str(target / "release" / "headwater")


def fresh(name):
    """An empty folder outside of the repository."""
    folder = CACHE / "work" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def document(folder, name, spec, kind="Stream"):
    """Writes a document; JSON is YAML."""
    path = folder / f"{name}.json"
    whole = {"apiVersion": "headwater.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    path.write_text(json.dumps(whole, indent=1))
    return path


def measure(command, **options):
    """Runs a command to its end: processor seconds (user and system), wall seconds, peak resident MiB."""
    started = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], cwd=CACHE / "work", **options)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command} ended with {process.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return {"cpu": cpu, "wall": time.monotonic() - started, "mib": usage.ru_maxrss / 1024}


def best(times, command, before=lambda: None):
    """The run with the fewest processor seconds; every other is noise of the machine."""
    runs = []
    for _ in range(times):
        before()
        runs.append(measure(command))
    return min(runs, key=lambda run: run["cpu"])


def apart(function, *arguments):
    """Calls a function in a process of its own: what is in our memory counts as a child's peak, as Linux keeps it."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode != 0:
        raise SystemExit("the comparison of outputs failed")


def first_row_ms(command, times=7):
    """The median time from the start of a command to its first byte of output."""
    taken = []
    for _ in range(times):
        started = time.monotonic()
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, cwd=CACHE / "work")
        if not process.stdout.read(1):
            raise SystemExit(f"{command} put nothing out")
        taken.append((time.monotonic() - started) * 1000)
        process.stdout.read()
        process.wait()
    return statistics.median(taken)


def machine():
    """The processor and how many there are of it."""
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"cores": os.cpu_count(), "model": model}


def report(name, records, goal, ours, peer, **more):
    """Prints a comparison and keeps it in results/."""
    ours_rate, peer_rate = records / ours["cpu"], (more.get("peer_records") or records) / peer["cpu"]
    print(f"{name}: {records:,} records")
    print(f"  headwater {ours_rate:>12,.0f} records per CPU-second  {ours['wall']:6.2f} s wall  {ours['mib']:6.0f} MiB")
    print(f"  peer      {peer_rate:>12,.0f} records per CPU-second  {peer['wall']:6.2f} s wall  {peer['mib']:6.0f} MiB")
    reached = "reached" if ours_rate >= goal else f"{ours_rate / goal:.0%} of it"
    print(f"  ratio {ours_rate / peer_rate:.1f}, goal {goal:,} ({reached})")
    for key, value in more.items():
        print(f"  {key}: {value}")
    line = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "machine": machine(),
        "records": records,
        "goal": goal,
        "headwater": {"perCpuSecond": round(ours_rate), **rounded(ours)},
        "peer": {"perCpuSecond": round(peer_rate), **rounded(peer)},
        "ratio": round(ours_rate / peer_rate, 1),
        **more,
    }
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    with open(results / f"{name}.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")


def rounded(run):
    return {key: round(value, 3) for key, value in run.items()}


def commit():
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True)
    return told.stdout.strip()
