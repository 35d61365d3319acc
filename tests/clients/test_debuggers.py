"""Debuggers and coverage.py, as a user has them, in patched processes: debugpy by its protocol, ipdb by its prompt."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest
import servers
from dap import Client

PATH = servers.PROGRAMS / "debugged.py"
LINES = PATH.read_text().splitlines()
ANSWER = [("_thread", 6), ("main", 1), ("one", 8), ("other", 8), ("pool", 5)]
ANSWER += [("spawn", 3), ("spawn_n", 4), ("thread", 2), ("tpool", 7)]
ANSWER = str([(name, cups * 9) for name, cups in ANSWER])


def needs(package):
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason=f"{package} is not installed"
    )


def line(marked):
    (number,) = [n for n, text in enumerate(LINES, 1) if text.endswith("# " + marked)]
    return number


class Session:
    """The program, debugged."""

    def __init__(self, process, client):
        self.process = process
        self.client = client

    def attach(self, *marked):
        """Begin, with breakpoints at the lines that are *marked* so."""
        self.client.attach({PATH: [line(each) for each in marked]}, justMyCode=False)

    def name_of(self, stop):
        """Return the name of the thread that has stopped."""
        return self.client.threads()[stop.thread]

    def ends(self):
        """Return whether the program ends as it would without a debugger."""
        # The adapter, which may outlive the program, has the same output: so not to its end.
        return self.process.stdout.readline().strip() == ANSWER and self.process.wait(30) == 0


@pytest.fixture(params=["before", "after", "listen"])
def session(request):
    """A `Session` with each order of imports."""
    how = request.param
    command = [str(PATH), how]
    if how == "listen":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = ["-m", "debugpy", "--listen", str(port), *command]
    environment = {**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, text=True, env=environment
        )
        stack.callback(process.stdout.close)
        stack.callback(process.wait)
        stack.callback(process.kill)
        if how == "listen":
            client = Client.when_open(port)
        else:
            client = Client(int(process.stdout.readline().split()[1]))
        stack.callback(client.close)
        yield Session(process, client)


@needs("debugpy")
def test_breakpoints_in_every_kind_of_thread(session):
    session.attach("in work", "after the switch")
    seen = {}
    for _ in range(18):
        stop = session.client.stopped()
        assert (stop.reason, stop.function) == ("breakpoint", "work")
        variables = stop.variables()
        name, cups = variables["name"].strip("'"), int(variables["cups"])
        if stop.line == line("after the switch"):
            assert variables["secret"] == str(cups * 7)
        seen.setdefault(name, []).append((session.name_of(stop), stop.line))
        stop.go("continue")
    threads = {}
    for name, stops in seen.items():
        (first, first_line), (second, second_line) = stops
        assert (first_line, second_line) == (line("in work"), line("after the switch"))
        assert first == second
        threads[name] = first
    assert threads["main"] == "MainThread"
    assert threads["thread"] == "cook"
    assert threads["tpool"].startswith("tpool_thread_")
    green = {threads[name] for name in ("spawn", "spawn_n", "pool", "_thread", "one", "other")}
    assert len(green) == 6 and all(name.startswith("GreenThread-") for name in green)
    assert session.ends()


@needs("debugpy")
def test_steps_stay_in_their_green_thread(session):
    session.attach("in work")
    stop = session.client.stopped()
    for _ in range(2):  # in the spawned one, after main and thread
        stop = stop.step("continue")
    name, begun = session.name_of(stop), stop.line
    assert name.startswith("GreenThread-")
    places = []
    for command in ("next", "next", "stepIn", "next", "stepOut"):
        stop = stop.step(command)
        assert (session.name_of(stop), stop.reason) == (name, "step")
        places.append((stop.function, stop.line - begun))
    assert places[:2] == [("work", 1), ("work", 2)]
    assert [function for function, _ in places[2:]] == ["inner", "inner", "work"]
    assert stop.variables()["cups"] == "3"
    session.client.set_breakpoints(PATH, [])
    stop.go("continue")
    assert session.ends()


@needs("debugpy")
def test_nobody_runs_while_the_program_is_stopped(session):
    session.attach("in work")
    stop = session.client.stopped()
    before = stop.evaluate("beats")
    # Questions are answered by the debugger's own threads and by the stopped one.
    for _ in range(50):
        session.client.threads()
    assert stop.evaluate("beats") == before
    # An expression that waits lets others run, for as long as it takes.
    stop.evaluate("eventlet.sleep(0.05)")
    assert int(stop.evaluate("beats")) > int(before)
    assert stop.evaluate("eventlet.spawn(inner, 21).wait()") == "42"
    session.client.set_breakpoints(PATH, [])
    stop.go("continue")
    assert session.ends()


@needs("debugpy")
def test_stacks_of_suspended_green_threads(session):
    session.attach("in work")
    stop = session.client.stopped()
    while stop.variables()["name"] != "'other'":
        stop = stop.step("continue")
    found = {}
    for thread, name in session.client.threads().items():
        stack = session.client.ask("stackTrace", threadId=thread)["stackFrames"]
        # On 3.10 the frames of `python -m`, which are not frozen there, are below.
        stack = [frame for frame in stack if not frame["source"]["path"].endswith("runpy.py")]
        found.setdefault(stack[0]["name"], []).append((name, stack[0]["line"], len(stack)))
    assert {at for _, at, _ in found["work"]} == {line("in work"), line("let others run")}
    assert len(found["work"]) == 2 and len(found["beat"]) == 1
    assert found["together"][0][0] == "MainThread" and found["together"][0][2] == 2
    session.client.set_breakpoints(PATH, [])
    stop.go("continue")
    assert session.ends()


@needs("debugpy")
def test_a_breakpoint_set_while_green_threads_are_suspended(session):
    session.attach("in work")
    stop = session.client.stopped()
    while stop.variables()["name"] != "'other'":
        stop = stop.step("continue")
    session.client.set_breakpoints(PATH, [line("after the switch")])
    names = set()
    for _ in range(2):
        stop = stop.step("continue")
        assert stop.line == line("after the switch")
        names.add(stop.variables()["name"])
    assert names == {"'one'", "'other'"}
    stop.go("continue")
    assert session.ends()


@needs("debugpy")
def test_pause(session):
    session.attach("in work")
    stop = session.client.stopped()
    session.client.set_breakpoints(PATH, [])
    stop.go("continue")
    session.client.ask("pause", threadId=stop.thread)
    stop = session.client.stopped()
    assert stop.reason == "pause"
    stop.go("continue")
    assert session.ends()


@needs("debugpy")
def test_disconnect_lets_a_stopped_program_go_on(session):
    session.attach("in work")
    stop = session.client.stopped()
    while not session.name_of(stop).startswith("GreenThread-"):
        stop = stop.step("continue")
    session.client.ask("disconnect", terminateDebuggee=False)
    assert session.ends()


ATTACHED = servers.PROGRAMS / "attached.py"


def gdb_attaches():
    """Return whether there is a gdb that may attach to a process here."""
    if shutil.which("gdb") is None:
        return False
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        command = ["gdb", "--nx", "--batch", "--pid", str(process.pid), "-ex", "call (int)getpid()"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        process.kill()
    return f"= {process.pid}" in done.stdout


@contextlib.contextmanager
def running(how):
    """The program that is debugged while it runs, once green threads do so: the process and a `Client`."""
    environment = {**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    environment["PYDEVD_GDB_SCAN_SHARED_LIBRARIES"] = "libc.so.6,libdl"
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            [sys.executable, ATTACHED, how], stdout=subprocess.PIPE, text=True, env=environment
        )
        stack.callback(process.stdout.close)
        stack.callback(process.wait)
        stack.callback(process.kill)
        lines = iter(process.stdout.readline, "")
        assert next(lines) == "ready\n"
        if how in ("signal", "green"):
            if how == "signal":
                process.send_signal(signal.SIGUSR1)
            port = int(next(lines).split()[1])
        else:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            command = [sys.executable, "-m", "debugpy", "--listen", str(port)]
            if how == "gdb" and hasattr(sys, "remote_exec"):
                command.append("--disable-sys-remote-exec")
            command += ["--pid", str(process.pid)]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, done.stdout + done.stderr
        client = Client.when_open(port)
        stack.callback(client.close)
        yield process, client


@needs("debugpy")
@pytest.mark.parametrize("how", ["signal", "green", "gdb", "remote_exec"])
def test_a_program_that_runs_already(how):
    """Breakpoints hold for green threads from before and after the debugger came."""
    if how == "remote_exec" and not hasattr(sys, "remote_exec"):
        pytest.skip("sys.remote_exec is new in 3.14")
    if how == "gdb" and not gdb_attaches():
        pytest.skip("there is no gdb that may attach to a process")
    text = ATTACHED.read_text().splitlines()
    lines = [
        n for n, each in enumerate(text, 1) if each.endswith(("# in work", "# after the switch"))
    ]
    with running(how) as (process, client):
        client.attach({ATTACHED: lines}, justMyCode=False)
        stop, seen = client.stopped(), set()

        def stops_of(*names):
            nonlocal stop
            for _ in range(40):
                name = stop.variables()["name"].strip("'")
                seen.add((name, stop.line, client.threads()[stop.thread]))
                if all({at for n, at, _ in seen if n == each} == set(lines) for each in names):
                    return {thread for n, _, thread in seen if n in names}
                stop = stop.step("continue")
            raise AssertionError(seen)

        threads = stops_of("thread", "spawned")
        assert len(threads) == 2 and "thread" in threads
        assert any(each.startswith("GreenThread-") for each in threads)
        stop.evaluate("begin('later', 3)")
        assert stops_of("later") == {"later"}
        client.set_breakpoints(ATTACHED, [])
        stop.evaluate("globals().update(over=True)")
        stop.go("continue")
        answer = process.stdout.readline().strip()
        assert answer == "[('later', 22), ('spawned', 15), ('thread', 8)]"
        assert process.wait(30) == 0


IPDB = """
import eventlet
eventlet.monkey_patch()
import ipdb

beats = 0

def beat():
    global beats
    while True:
        eventlet.sleep(0.001)
        beats += 1

def work():
    cups = 6
    ipdb.set_trace()
    eventlet.sleep(0.02)
    cups *= 7
    return cups

eventlet.spawn(beat)
print("answer", eventlet.spawn(work).wait())
"""


@needs("ipdb")
def test_ipdb(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(IPDB)
    done = subprocess.run(
        [sys.executable, path],
        input="n\nn\nn\np ('cups', cups, beats > 0)\nc\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "('cups', 42, True)" in done.stdout
    assert "answer 42" in done.stdout


COVERED = """
import sys
import eventlet
if sys.argv[1] == "patched":
    eventlet.monkey_patch()
import greenlet
from eventlet import GreenPool

def first():
    cups = 1
    eventlet.sleep(0.001)
    cups += 1
    return cups

def second(n):
    cups = n
    eventlet.sleep(0.001 * n)
    return cups

def third():
    cups = 1
    greenlet.getcurrent().parent.switch()
    return cups

def never():
    return 0

plain = greenlet.greenlet(third)
plain.switch()
print(list(GreenPool(2).imap(second, range(3))), eventlet.spawn(first).wait(), plain.switch())
"""


@needs("coverage")
@pytest.mark.parametrize("core", ["ctrace", "sysmon"])
@pytest.mark.parametrize("patched", ["patched", "plain"])
@pytest.mark.parametrize("concurrency", ["eventlet", "greenlet"])
def test_coverage_counts_lines_of_green_threads(tmp_path, core, patched, concurrency):
    if core == "sysmon" and sys.version_info < (3, 12):
        pytest.skip("sys.monitoring is new in 3.12")
    (tmp_path / "program.py").write_text(COVERED)
    environment = {**os.environ, "COVERAGE_CORE": core}

    def coverage(*arguments):
        command = [sys.executable, "-m", "coverage", *arguments]
        subprocess.run(
            command, cwd=tmp_path, env=environment, check=True, timeout=60, capture_output=True
        )

    coverage("run", f"--concurrency={concurrency}", "program.py", patched)
    coverage("json", "-o", "report.json")
    report = json.loads((tmp_path / "report.json").read_text())["files"]["program.py"]
    lines = COVERED.splitlines()
    missing = [lines[number - 1].strip() for number in report["missing_lines"]]
    assert missing == ["eventlet.monkey_patch()", "return 0"][patched == "patched" :]
