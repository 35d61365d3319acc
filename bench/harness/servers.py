"""Measures the echo servers: CPU of the server per request, and p99, under a separate load.

The server and the load generator run on different cores, one server at a time, in turn: ours,
upstream, and C where there is such a floor.  A window in which other processes kept the server from
its core is measured again.

Invariant: every connection was answered within the window, or the measurement is refused.
"""

import json
import subprocess
import sys

from . import figures as limits, processes
from .figures import MICROSECONDS, Figure
from .programs import Samples

MESSAGE = 64  # bytes
WARM_UP, WINDOW = 0.3, 1.0  # seconds
DELAYED = 0.002  # share of the window that the server may wait for its core
ATTEMPTS = 6  # at a window in which it does not wait longer


def figures():
    """The lines of the table that come from here."""
    for count in limits.ECHO_CONNECTIONS:
        yield _figure(
            "echo", count, "cpu", f"TCP echo, {count} connections, server", limits.ECHO_CPU
        )
        yield _figure("echo", count, "p99", f"TCP echo, {count} connections,", limits.ECHO_P99)
    count = limits.UDP_IN_FLIGHT
    yield _figure("udp", count, "cpu", f"UDP echo, {count} in flight, server", limits.UDP_CPU)
    count = limits.TLS_CONNECTIONS
    yield _figure("tls", count, "cpu", f"TLS echo, {count} connections, server", limits.TLS_CPU)


def _figure(kind, count, what, title, limit):
    title = f"{title} {'CPU per request' if what == 'cpu' else what}"
    return Figure(f"{kind}.{count}.{what}", title, kind, str(count), MICROSECONDS, (limit,))


def compile_c(folder, scratch):
    """Compiles the C programs; returns where each is, by its name."""
    built = {}
    for source in sorted((folder / "c").glob("*.c")):
        built[source.stem] = scratch / source.stem
        subprocess.run(["cc", "-O2", "-o", built[source.stem], source], check=True)
    return built


def _programs(kind, pythons, folder, built):
    """The servers of one kind, by side, and its load generator: commands."""
    work = folder / "work"
    if kind == "echo":
        script, more, floor = work / "echo_server.py", [], built["echo_server"]
        load = [built["echo_load"]]
    else:
        script, more, floor = work / f"{kind}_echo_server.py", [], built.get(f"{kind}_echo_server")
        load = [sys.executable, work / "echo_client.py", kind]
    if kind == "tls":
        tests = folder.parent / "tests" / "unit" / "tls"
        more = [tests / "cert.pem", tests / "key.pem"]
    servers = {side: [python, script, *more] for side, python in pythons.items()}
    return servers | ({"C": [floor]} if floor else {}), load


def _waited(process):
    """Nanoseconds that a process has been ready to run and not run."""
    with open(f"/proc/{process.pid}/schedstat") as file:
        return int(file.read().split()[1])


def _undisturbed(*window):
    """The report of a window in which nothing else kept the server from its core.

    Where there is none among a few, the one with the least disturbance: what other processes of the
    machine do to p99 says nothing about the server.
    """
    best = None
    for _ in range(ATTEMPTS):
        report = _window(*window)
        if best is None or report["waited"] < best["waited"]:
            best = report
        if best["waited"] <= DELAYED * WINDOW * 1e9:
            break
    return best


def _window(command, load, connections, cores):
    """Runs one server under load; returns the load generator's report."""
    server = processes.start(command, cores[0])
    client = None
    try:
        port = int(processes.read_line(server))
        before = _waited(server)
        client = processes.start(
            [*load, port, server.pid, connections, MESSAGE, WARM_UP, WINDOW], cores[-1]
        )
        report = json.loads(processes.read_line(client))
        report["waited"] = _waited(server) - before
    finally:
        processes.end(server)
        if client:
            processes.end(client)
    if report["served"] < connections or not report["requests"]:
        raise processes.Failed(f"only {report['served']} of {connections} connections answered")
    return report


def measure(wanted, pythons, folder, scratch, repeats, say):
    """Samples by figure name, with a third side "C"."""
    samples = {figure.name: Samples() for figure in wanted}
    if not wanted:
        return samples
    built = compile_c(folder, scratch)
    cores = processes.cores()
    for kind, connections in dict.fromkeys((f.script, int(f.work)) for f in wanted):
        commands, load = _programs(kind, pythons, folder, built)
        for repeat in range(repeats):
            say(f"{kind} {connections} {repeat + 1}")
            for side, command in commands.items():
                cpu, p99 = (f"{kind}.{connections}.{what}" for what in ("cpu", "p99"))
                try:
                    report = _undisturbed(command, load, connections, cores)
                except processes.Failed as reason:
                    for name in {cpu, p99} & samples.keys():
                        samples[name].fail(side, reason)
                    continue
                if cpu in samples:
                    samples[cpu].add(side, report["server_ns"] / report["requests"])
                if p99 in samples:
                    samples[p99].add(side, report["p99_ns"])
    return samples
