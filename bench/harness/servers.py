"""Measures the echo servers: CPU of the server per request, and p99, under a separate load.

The server and the load generator run on different cores, one server at a time, in turn: ours,
upstream, C where there is such a floor, and servers on other Python libraries.  A window in which
other processes kept the server from its core is measured again.

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
        many = f"{count} connection{'s' if count > 1 else ''}"
        yield _figure("echo", count, "cpu", f"TCP echo, {many}, server")
        yield _figure("echo", count, "p99", f"TCP echo, {many},")
    count = limits.ACCEPT_CONNECTIONS
    yield _figure("accept", count, "cpu", f"TCP accept + echo + close, {count} at once, server")
    count = limits.UDP_IN_FLIGHT
    yield _figure("udp", count, "cpu", f"UDP echo, {count} in flight, server")
    count = limits.TLS_CONNECTIONS
    yield _figure("tls", count, "cpu", f"TLS echo, {count} connections, server")


def _figure(kind, count, what, title):
    title = f"{title} {'CPU per request' if what == 'cpu' else what}"
    held_to = limits.SERVER_LIMITS.get((kind, count, what), ())
    return Figure(f"{kind}.{count}.{what}", title, kind, str(count), MICROSECONDS, held_to)


def compile_c(folder, scratch):
    """Compiles the C programs; returns where each is, by its name."""
    built = {}
    for source in sorted((folder / "c").glob("*.c")):
        built[source.stem] = scratch / source.stem
        subprocess.run(["cc", "-O2", "-o", built[source.stem], source], check=True)
    return built


def _peers(kind, work, peers, more):
    """The commands of the peers that can serve this kind."""
    python, absent = peers
    protocol = {"accept": "tcp", "echo": "tcp"}.get(kind, kind)
    for side in limits.PEERS:
        name, _, api = side.partition(" ")
        if name in absent or (kind, api) == ("udp", "streams"):
            continue
        if name == limits.GEVENT:
            yield side, [python, work / "peer_gevent.py", protocol, *more]
        else:
            yield side, [python, work / "peer_asyncio.py", name, api, protocol, *more]


def _programs(kind, pythons, peers, folder, built):
    """The servers of one kind, by side, and its load generator with what follows its arguments."""
    work = folder / "work"
    more, last = [], []
    script = work / ("echo_server.py" if kind in ("echo", "accept") else f"{kind}_echo_server.py")
    floor = built.get(script.stem)
    if kind == "tls":
        tests = folder.parent / "tests" / "unit" / "tls"
        more = [tests / "cert.pem", tests / "key.pem"]
        load = [sys.executable, work / "tls_load.py"]
    else:
        load = [built["udp_load" if kind == "udp" else "echo_load"]]
        last = ["once"] if kind == "accept" else []
    servers = {side: [python, script, *more] for side, python in pythons.items()}
    if floor:
        servers["C"] = [floor]
    return servers | dict(_peers(kind, work, peers, more)), load, last


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


def _window(command, load, last, connections, cores):
    """Runs one server under load; returns the load generator's report."""
    server = processes.start(command, cores[0])
    client = None
    try:
        port = int(processes.read_line(server))
        before = _waited(server)
        arguments = [port, server.pid, connections, MESSAGE, WARM_UP, WINDOW, *last]
        client = processes.start([*load, *arguments], cores[-1])
        report = json.loads(processes.read_line(client))
        report["waited"] = _waited(server) - before
    finally:
        processes.end(server)
        if client:
            processes.end(client)
    if report["served"] < connections or not report["requests"]:
        raise processes.Failed(f"only {report['served']} of {connections} connections answered")
    return report


def measure(wanted, pythons, peers, folder, scratch, repeats, say, samples):
    """Fills ``samples``, by figure name, with a side "C" and the peers.

    ``peers`` is their interpreter and why any of them is absent, by name.
    """
    samples |= {figure.name: Samples() for figure in wanted}
    built = compile_c(folder, scratch)
    cores = processes.cores()
    for kind, connections in dict.fromkeys((f.script, int(f.work)) for f in wanted):
        commands, load, last = _programs(kind, pythons, peers, folder, built)
        for repeat in range(repeats):
            say(f"{kind} {connections} {repeat + 1}")
            for side, command in commands.items():
                cpu, p99 = (f"{kind}.{connections}.{what}" for what in ("cpu", "p99"))
                try:
                    report = _undisturbed(command, load, last, connections, cores)
                except processes.Failed as reason:
                    for name in {cpu, p99} & samples.keys():
                        samples[name].fail(side, reason)
                    continue
                if cpu in samples:
                    samples[cpu].add(side, report["server_ns"] / report["requests"])
                if p99 in samples:
                    samples[p99].add(side, report["p99_ns"])
