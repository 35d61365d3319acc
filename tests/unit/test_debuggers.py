"""Debuggers in a patched process: pdb, and what holds the OS thread for pydevd. debugpy is in tests/clients."""

import os
import pty
import re
import subprocess
import sys
import textwrap
import threading

import eventlet
import pytest
from eventlet.support.imports import after_import
from greenlet import _core

PATCHED = """
import eventlet
eventlet.monkey_patch()
import _thread, queue, sys, threading, time, types
from eventlet.event import Event
from eventlet.lock import Lock
from greenlet import _core

beats = 0

def beat():
    global beats
    while True:
        time.sleep(0.001)
        tick()

def tick():
    global beats
    beats += 1  # in tick
"""


def run(program, input=None):
    done = subprocess.run(
        [sys.executable, "-c", PATCHED + textwrap.dedent(program)],
        input=input,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# -- pdb

DEBUGGED = f"""{PATCHED}
noted = []

def inner(value):
    return value * 2

def work():
    cups = 1
    breakpoint()
    noted.append(beats)
    time.sleep(0.02)
    cups += inner(cups)
    return cups

eventlet.spawn(beat)
print("answer", eventlet.spawn(work).wait())
"""
TICK = DEBUGGED[: DEBUGGED.index("# in tick")].count("\n") + 1


@pytest.fixture
def debugged(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(DEBUGGED)
    return path


def session(path, *commands):
    """What pdb prints for each command."""
    done = subprocess.run(
        [sys.executable, path],
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split("(Pdb) ")


def place(answer):
    """The function and the statement that pdb shows."""
    return re.search(r"\)(\w+)\(\)", answer)[1], answer.split("-> ")[-1].strip()


@pytest.mark.slow
@pytest.mark.parametrize("step", ["s", "n"])
def test_pdb_steps_stay_in_the_green_thread(debugged, step):
    answers = session(debugged, "n", *[step] * 3, "p ('others ran', beats > noted[0])", "c")
    places = [place(answer) for answer in answers if "-> " in answer]
    assert all(function in ("work", "inner") for function, _ in places)
    statements = [statement for _, statement in places]
    assert statements[statements.index("time.sleep(0.02)") + 1] == "cups += inner(cups)"
    assert any("('others ran', True)" in answer for answer in answers)
    assert answers[-1].strip() == "answer 3"


@pytest.mark.slow
def test_pdb_stops_all_green_threads(debugged):
    questions = ["p [beats, sum(range(10**5)), beats]"] * 3
    answers = [a for a in session(debugged, *questions, "c") if a.startswith("[")]
    assert len(answers) == 3 and len(set(answers)) == 1


@pytest.mark.slow
def test_pdb_breaks_in_other_green_threads(debugged):
    answers = session(debugged, f"b {TICK}", "c", "p ('at', beats)", "bt", "r", "cl 1", "c")
    places = [place(answer) for answer in answers if "-> " in answer]
    assert ("tick", "beats += 1  # in tick") in places
    backtrace = next(answer for answer in answers if "beat()" in answer)
    assert "work" not in backtrace
    assert answers[-1].strip() == "answer 3"


@pytest.mark.slow
def test_pdb_at_a_terminal(debugged):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, str(debugged)])
    text = b""
    with open(terminal, "r+b", buffering=0) as file:
        for command in (b"n", b"p 40 + cups", b"c"):
            while not text.endswith(b"(Pdb) "):
                text += file.read(1000)
            text += b"\n"
            file.write(command + b"\n")
        with pytest.raises(OSError):  # it has hung up
            while True:
                text += file.read(1000)
    assert os.waitpid(pid, 0)[1] == 0
    assert b"41" in text and b"answer 3" in text


def test_pdb_of_an_unpatched_process_is_as_it_was():
    done = subprocess.run(
        [sys.executable, "-c", "import eventlet, bdb; print(bdb.Bdb.stop_here.__module__)"],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.stdout == "bdb\n"


# -- waits that hold the OS thread

HOLDER = """
HOLDER = '''
def call(function, *args, **kwargs):
    return function(*args, **kwargs)

def enter(lock):
    with lock:
        pass
'''
holder = types.ModuleType("holder_module")
exec(HOLDER, vars(holder))
_core.hold_threads_for("holder_")

def in_os_thread(function, *args, after=0.05):
    native = eventlet.patcher.original("threading")
    sleep = eventlet.patcher.original("time").sleep
    native.Thread(target=lambda: (sleep(after), function(*args))).start()

def others_run():
    before = beats
    while beats == before:
        eventlet.sleep(0.001)

def is_held(function, *args, **kwargs):
    "Whether no other green thread has run during the call; also what it gave."
    others_run()
    before = beats
    value = holder.call(function, *args, **kwargs)
    return beats == before, value

eventlet.spawn(beat)
"""

CASES = {
    "time.sleep": ("", "time.sleep, 0.05", None),
    "eventlet.sleep": ("", "eventlet.sleep, 0.05", None),
    "no time": ("", "eventlet.sleep", None),
    "green lock": ("o = Lock(); o.acquire(); in_os_thread(o.release)", "o.acquire", True),
    "green lock, too late": ("o = Lock(); o.acquire()", "o.acquire, timeout=0.05", False),
    "native lock": (
        "o = eventlet.patcher.original('_thread').allocate_lock(); o.acquire(); in_os_thread(o.release)",
        "o.acquire",
        True,
    ),
    "native lock, too late": (
        "o = eventlet.patcher.original('_thread').allocate_lock(); o.acquire()",
        "o.acquire, True, 0.05",
        False,
    ),
    "threading.Event": ("o = threading.Event(); in_os_thread(o.set)", "o.wait", True),
    "threading.Event, too late": ("o = threading.Event()", "o.wait, 0.05", False),
    "queue": ("o = queue.Queue(); in_os_thread(o.put, 'tea')", "o.get", "tea"),
    "SimpleQueue": ("o = queue.SimpleQueue(); in_os_thread(o.put, 'tea')", "o.get", "tea"),
    "event": ("o = Event(); in_os_thread(o.send, 'tea')", "o.wait", "tea"),
    "tpool": ("from eventlet import tpool", "tpool.execute, len, 'tea'", 3),
    "socket": (
        "import socket; a, o = socket.socketpair(); in_os_thread(a.send, b'tea')",
        "o.recv, 10",
        b"tea",
    ),
    "thread": (
        "o = eventlet.patcher.original('threading').Thread(target=time.sleep, args=(0.05,)); o.start()",
        "o.join",
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_wait_of_a_holder(case):
    prepare, call, value = CASES[case]
    program = f"""{HOLDER}
{prepare}
held, value = is_held({call})
assert value == {value!r}, value
assert held
others_run()  # they have lost nothing
"""
    run(program)


def test_wait_of_others_while_there_is_a_holder():
    run(
        f"""{HOLDER}
def call(function, *args):
    return function(*args)

held, value = is_held(call, eventlet.sleep, 0.02)  # on behalf of the holder, by code that is none
assert not held
event = threading.Event()
eventlet.spawn_after(0.02, event.set)
held, value = is_held(call, event.wait)
assert not held and value
held, value = is_held(eval, "eventlet.sleep(0.02)", globals())
assert not held
"""
    )


def test_wait_of_a_holder_in_the_hub():
    run(
        f"""{HOLDER}
from eventlet import hubs
seen = []
def callback():
    before = beats
    holder.call(time.sleep, 0.02)
    seen.append(beats == before)
hub = hubs.get_hub()
hub.schedule_call_global(0.01, callback)
eventlet.sleep(0.05)
assert seen == [True], seen
assert hubs.get_hub() is hub and hub.running
"""
    )


def test_signal_during_a_wait_of_a_holder():
    run(
        f"""{HOLDER}
import signal
def handler(*args):
    eventlet.sleep(0.01)  # parks, and others run
    seen.append(beats)
    in_os_thread(event.set)
seen = []
others_run()
event = threading.Event()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.03)
before = beats
assert holder.call(event.wait, 5)
assert seen and seen[0] > before

def handler(*args):
    raise KeyError("tea")
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.03)
try:
    holder.call(threading.Event().wait, 5)
except KeyError as error:
    assert error.args == ("tea",)
else:
    raise AssertionError
others_run()
"""
    )


def test_timers_and_descriptors_of_others_wait_for_the_holder():
    run(
        f"""{HOLDER}
import socket
order = []
a, b = socket.socketpair()
go = eventlet.patcher.original("threading").Event()
in_os_thread(lambda: (go.wait(), a.send(b"socket")), after=0)
eventlet.spawn(lambda: order.append(b.recv(10)))
others_run()
eventlet.spawn_after(0.01, order.append, "timer")
late = eventlet.spawn_after(0.01, order.append, "cancelled")
go.set()
holder.call(time.sleep, 0.06)
assert order == [], order
late.cancel()
while len(order) < 2:
    eventlet.sleep(0.001)
assert sorted(map(str, order)) == ["b'socket'", "timer"], order
"""
    )


# -- frames by identity


def test_frames_of_suspended_and_running_green_threads():
    idents = {}

    def cook(name):
        idents[name] = _core.get_ident()
        eventlet.sleep()
        return _core.current_frames()

    waiting = eventlet.spawn(cook, "waiting")
    silent = eventlet.spawn(eventlet.sleep)  # never asked who it is
    running = eventlet.spawn(cook, "running")
    eventlet.sleep()
    waiting_frames, frames = waiting.wait(), running.wait()
    silent.wait()
    me = threading.get_ident()
    assert frames[me].f_code is sys._getframe().f_code
    assert frames[idents["running"]].f_code.co_name == "cook"
    assert idents["waiting"] not in frames  # it has ended
    assert waiting_frames[idents["running"]].f_code.co_name == "cook"
    assert set(waiting_frames) - {me} >= set(idents.values())


# -- imports


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "imported_later.py").write_text("value = 5\nimport inspect\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.meta_path)
    yield "imported_later"
    sys.modules.pop("imported_later", None)
    assert sys.meta_path == before


def test_a_function_is_called_when_the_module_is_complete(module):
    seen = []
    forget = after_import(module, lambda module: seen.append(module.value))
    assert seen == []
    imported = __import__(module)
    assert seen == [5]
    assert type(imported.__loader__).__module__ != "eventlet.support.imports"
    assert imported.__spec__.loader is imported.__loader__
    assert "value = 5" in imported.__loader__.get_source(module)
    __import__(module)
    assert seen == [5]
    forget()


def test_a_function_is_called_at_once_for_a_module_that_is_there(module):
    imported = __import__(module)
    seen = []
    after_import(module, seen.append)()
    assert seen == [imported]


def test_a_forgotten_function_is_not_called(module):
    seen = []
    after_import(module, seen.append)()
    __import__(module)
    assert seen == []


def test_missing_modules_stay_missing(module):
    forget = after_import("there_is_none_such", print)
    with pytest.raises(ModuleNotFoundError):
        __import__("there_is_none_such")
    forget()
