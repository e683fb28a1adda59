"""What was found, as the tables of README.md, and the goals."""


def at(found, *path):
    """What stands there, or nothing."""
    for key in path:
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


def number(value, unit=""):
    return "-" if value is None else f"{value:,.0f}{unit}"


def show(results):
    variants(results)
    depths(at(results, "depth") or {})
    goals(at(results, "headwater"))


def variants(results):
    print("| variant | enqueue, 1 client | enqueue, 64 clients | bulk | one by one | idle, p50 and p99 | memory idle: resident, own | own, a queued job |")
    print("|---|---|---|---|---|---|---|---|")
    for name, found in results.items():
        if name in ["depth", "churn"]:
            continue
        raw = at(found, "raw")
        own = raw or found
        many = at(own, "enqueueMany", "perSecond") or at(own, "groupPerSecond")
        bulk = at(own, "bulk", "perSecond") or at(own, "bulkPerSecond")
        idle = at(own, "idle")
        idle = f"{idle['p50']:.1f}, {idle['p99']:.1f} ms" if idle else "-"
        cells = [number(at(own, "enqueue", "perSecond")), number(many), number(bulk), number(at(own, "work", "perSecond")), idle,
                 memory(own), each(own)]
        print(f"| `{name}` | " + " | ".join(cells) + " |")


def memory(found):
    return f"{found['idleMib']:.0f}, {found['idleOwnMib']:.0f} MiB" if "idleMib" in found else "-"


def each(found):
    """What a queued job takes of the memory of its server."""
    if "queued" not in found:
        return "-"
    return f"{(found['queued']['ownMib'] - found['idleOwnMib']) * 2**20 / found['queued']['jobs']:,.0f} bytes"


def depths(found):
    found = {jobs: depth for jobs, depth in found.items() if jobs.isdigit()}
    if not found:
        return
    print("| | " + " | ".join(f"{int(jobs):,} jobs" for jobs in found) + " | ratio |")
    print("|---|" + "---|" * (len(found) + 1))
    for kind in ["ready", "parked", "readyUnsynced", "parkedUnsynced"]:
        for step in ["list", "lease", "leaseAgain", "finish"]:
            row(f"{kind} {step}, p50", [at(depth, kind, step, "p50") for depth in found.values()], "ms")
    for key, unit in [("readyMib", "MiB"), ("parkedMib", "MiB"), ("startMib", "MiB"), ("startSeconds", "s")]:
        row(key, [at(depth, key) for depth in found.values()], unit)


def row(name, values, unit):
    if None not in values:
        print(f"| {name} | " + " | ".join(f"{value:.2f} {unit}" for value in values) + f" | {values[-1] / values[0]:.2f} |")


def goals(found):
    """What is asked of Headwater on SQLite."""
    if not found:
        return
    commit = sum(found["commitMillis"]) / len(found["commitMillis"])
    alone, among = (found["unsynced"][key]["millis"]["p50"] for key in ["enqueue", "enqueueMany"])
    print(f"C {commit:.3f} ms, R {alone:.3f} ms with one client, {among:.3f} ms with 64")
    asked = [("enqueue", 1000 / (commit + alone) * 0.8), ("enqueueMany", 64_000 / (2 * commit + among) * 0.8),
             ("bulk", 50_000), ("work", 5_000)]
    for name, goal in asked:
        rate = found[name]["perSecond"]
        print(f"{name}: {rate:,.0f} a second of {goal:,.0f} ({rate / goal:.0%})")
    print(f"memory idle: {found['idleMib']} MiB resident, {found['idleOwnMib']} MiB of it its own (at most 20)")
