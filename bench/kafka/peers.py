"""Who is measured, how each is built, and the command that runs it."""

import json
import os
import shutil
import subprocess
import sys

import harness

HERE = harness.HERE / "kafka"
HOME = harness.CACHE / "kafka"
STREAMS = "4.1.1"
MAVEN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
# Name, what runs, what shall come out, what is promised. The pairs that are compared stand together.
VARIANTS = {
    "headwater": ("headwater", "filter", "atLeastOnce"),
    "loop": ("loop", "copy", "atLeastOnce"),
    "loop-filter": ("loop", "filter", "atLeastOnce"),
    "streams": ("streams", "filter", "atLeastOnce"),
    "bytewax": ("bytewax", "filter", "atLeastOnce"),
    "headwater-once": ("headwater", "filter", "exactlyOnce"),
    "loop-once": ("loop", "copy", "exactlyOnce"),
    "loop-filter-once": ("loop", "filter", "exactlyOnce"),
    "streams-once": ("streams", "filter", "exactlyOnce"),
}


def build(kinds):
    """The programs, by kind."""
    HOME.mkdir(parents=True, exist_ok=True)
    makers = {"headwater": harness.headwater, "loop": loop, "streams": streams, "bytewax": lambda: sys.executable}
    return {kind: makers[kind]() for kind in kinds}


def run(*command, folder):
    subprocess.run([str(word) for word in command], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def loop():
    """The bare loop, with the librdkafka that Headwater is built with, from cargo's own copy of its source."""
    told = subprocess.run(["cargo", "metadata", "--locked", "--format-version=1"], cwd=harness.REPOSITORY, check=True, capture_output=True)
    [package] = [package for package in json.loads(told.stdout)["packages"] if package["name"] == "rdkafka-sys"]
    library = HOME / f"librdkafka-{package['version']}"
    archive = library / "src" / "librdkafka.a"
    if not archive.exists():
        shutil.rmtree(library, ignore_errors=True)
        shutil.copytree(os.path.join(os.path.dirname(package["manifest_path"]), "librdkafka"), library)
        run("./configure", "--disable-ssl", "--disable-gssapi", "--disable-curl", "--disable-zstd", folder=library)
        run("make", "-s", f"-j{os.cpu_count()}", "libs", folder=library)
    (library / "include").mkdir(exist_ok=True)
    if not (library / "include" / "librdkafka").exists():
        (library / "include" / "librdkafka").symlink_to("../src")
    program = HOME / "loop"
    run("cc", "-O2", "-Wall", "-o", program, f"-isystem{library / 'include'}", HERE / "loop" / "loop.c", archive,
        "-lm", "-lz", "-ldl", "-lpthread", folder=HOME)
    return str(program)


def streams():
    """The class path of the Kafka Streams program."""
    home = HOME / f"streams-{STREAMS}"
    if not (home / "lib" / f"kafka-streams-{STREAMS}.jar").exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        shutil.copy(HERE / "streams" / "pom.xml", home)
        run("mvn", "--quiet", "--batch-mode", MAVEN, "-DincludeScope=runtime", "-DoutputDirectory=lib", folder=home)
    run("javac", "-cp", home / "lib" / "*", "-d", home / "classes", HERE / "streams" / "Filter.java", folder=home)
    return f"{home / 'classes'}:{home / 'lib' / '*'}"


def command(name, programs, brokers, names, quick, folder):
    """A command and its environment; `names` are the topics and the group. `quick` asks for the least latency, otherwise each is as it comes."""
    source, sink, group = names
    kind, work, delivery = VARIANTS[name]
    program = programs[kind]
    if kind == "headwater":
        document = folder / "filter.yaml"
        document.write_text((HERE / "filter.yaml").read_text().replace("kafka-filter", group))
        given = {"brokers": brokers, "input": source, "output": sink, "delivery": delivery}
        return [program, "run", "--quiet", document, *(word for pair in given.items() for word in ["--set", "=".join(pair)])], {}
    if kind == "loop":
        return [program, brokers, source, sink, group, work, delivery, "0" if quick else "5"], {}
    if kind == "streams":
        linger = "0" if quick else "default"
        return ["java", "-cp", program, "Filter", brokers, source, sink, group, delivery, linger, folder / "state"], {}
    # Without recovery it keeps no position, and nothing would be promised at all.
    run(program, "-m", "bytewax.recovery", folder, "1", folder=folder)
    environment = {"BROKERS": brokers, "INPUT": source, "OUTPUT": sink, "LINGER_MS": "0" if quick else "5"}
    return [program, "-m", "bytewax.run", f"{HERE / 'bytewax_filter.py'}:flow", "-r", folder, "-s", "1", "-b", "0"], environment
