"""Measures the echo servers: CPU of the server per request, and p99, under a separate load.

The server and the load generator run on different cores, one server at a time, in turn: ours,
upstream, C.  A window in which other processes kept the server from its core is measured again.

Invariant: every connection was answered within the window, or the measurement is refused.
"""

import json
import subprocess

from . import processes
from .figures import ECHO_CONNECTIONS, ECHO_CPU, ECHO_P99, MICROSECONDS, Figure
from .programs import Samples

MESSAGE = 64  # bytes
WARM_UP, WINDOW = 0.3, 1.0  # seconds
DELAYED = 0.002  # share of the window that the server may wait for its core
ATTEMPTS = 6  # at a window in which it does not wait longer


def figures():
    """The lines of the table that come from here."""
    for count in ECHO_CONNECTIONS:
        for kind, title, limit in (
            ("cpu", "server CPU per request", ECHO_CPU),
            ("p99", "p99", ECHO_P99),
        ):
            title = f"TCP echo, {count} connections, {title}"
            yield Figure(f"echo.{count}.{kind}", title, "echo", str(count), MICROSECONDS, (limit,))


def compile_c(folder, scratch):
    """Compiles the C programs; returns the paths of server and load generator."""
    built = []
    for name in ("echo_server", "echo_load"):
        built.append(scratch / name)
        source = folder / "c" / f"{name}.c"
        subprocess.run(["cc", "-O2", "-o", built[-1], source], check=True)
    return built


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
            [load, port, server.pid, connections, MESSAGE, WARM_UP, WINDOW], cores[-1]
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
    floor, load = compile_c(folder, scratch)
    script = folder / "work" / "echo_server.py"
    commands = {side: [python, script] for side, python in pythons.items()} | {"C": [floor]}
    cores = processes.cores()
    for connections in sorted({int(figure.work) for figure in wanted}):
        for repeat in range(repeats):
            say(f"echo {connections} {repeat + 1}")
            for side, command in commands.items():
                cpu, p99 = (f"echo.{connections}.{kind}" for kind in ("cpu", "p99"))
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
