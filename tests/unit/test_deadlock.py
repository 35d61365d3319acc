"""A hub that nothing can wake any more says so once, and names who waits for whom."""

import re
import subprocess
import sys
import textwrap

import pytest
from eventlet import debug
from greenlet import _core

PREAMBLE = """
    import eventlet, os, signal, sys, threading
    from eventlet import debug
    from eventlet.lock import Lock
    debug.hub_deadlock_detection(True, 0.02)

    def end(seconds=0.2):
        "Ends the process although its hub is stuck: by a signal, which is no thread."
        signal.setitimer(signal.ITIMER_REAL, seconds)

    class Report:
        "Where the report goes: the process ends soon afterwards."
        def write(self, text):
            os.write(2, text.encode())
            end(0.1)
        def flush(self):
            pass

    def cross():
        one, two = Lock(), Lock()
        def left():
            with one:
                eventlet.sleep()
                with two: pass
        def right():
            with two:
                eventlet.sleep()
                with one: pass
        return eventlet.spawn(left), eventlet.spawn(right)
"""


def run(program):
    """What the program writes to stderr."""
    source = textwrap.dedent(PREAMBLE) + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == ""
    return done.stderr


def test_cycle_of_locks_is_named_once():
    text = run("sys.stderr = Report(); cross()[0].wait()")
    assert text.count("eventlet: deadlock:") == 1
    first, second = text.splitlines()[1:3]
    number = re.match(
        r"  GreenThread #(\d+) \(.*left\) waits for <locked Lock .*>, taken by GreenThread #(\d+) \(.*right\)",
        first,
    )
    assert f"GreenThread #{number[2]} " in second and f"by GreenThread #{number[1]} " in second
    assert re.search(r"main greenlet #\d+ waits for the end of GreenThread", text)
    assert "with two: pass" in text or "in left" in text


def test_nothing_left_that_could_wake():
    text = run("sys.stderr = Report(); eventlet.Event().wait()")
    assert text.count("eventlet: deadlock:") == 1
    assert "nothing can wake the greenlets of MainThread any more" in text
    assert re.search(r"main greenlet #\d+ waits for <.*Event", text)


def test_joining_each_other():
    text = run(
        """
        sys.stderr = Report()
        threads = []
        threads += [eventlet.spawn(lambda: threads[1].wait()), eventlet.spawn(lambda: threads[0].wait())]
        threads[0].wait()
        """
    )
    assert (
        len(re.findall(r"^  GreenThread #\d+ \S+ waits for the end of GreenThread", text, re.M))
        == 4
    )


@pytest.mark.parametrize(
    "program",
    [
        "debug.hub_deadlock_detection(False); end(); cross()[0].wait()",
        # somebody could still be woken: by a signal handler, a timer, a descriptor, another thread
        "signal.signal(signal.SIGUSR1, lambda *_: None); end(); eventlet.Event().wait()",
        "eventlet.spawn_after(0.2, os._exit, 0); eventlet.Event().wait()",
        """
        end()
        r, w = os.pipe()
        eventlet.spawn(eventlet.hubs.trampoline, r, True)
        eventlet.Event().wait()
        """,
        """
        end()
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        eventlet.Event().wait()
        """,
        # a lock with a timeout is no deadlock
        "one = Lock(); one.acquire(); assert not one.acquire(timeout=0.1)",
    ],
    ids=["off", "signal", "timer", "descriptor", "thread", "timeout"],
)
def test_no_false_alarm(program):
    assert run(program) == ""


def test_cycle_is_reported_beside_other_threads():
    text = run(
        """
        sys.stderr = Report()
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        cross()[0].wait()
        """
    )
    assert text.count("eventlet: deadlock:") == 1


def test_cycle_across_os_threads():
    text = run(
        """
        sys.stderr = Report()
        one, two, both = Lock(), Lock(), threading.Barrier(2)
        def take(first, second):
            with first:
                both.wait()
                with second: pass
        threading.Thread(target=take, args=(one, two), daemon=True).start()
        take(two, one)
        """
    )
    assert re.search(
        r"main greenlet #\d+ waits for <locked Lock .*>, taken by main greenlet #\d+", text
    )


def test_reported_again_after_life_went_on():
    text = run(
        """
        event = eventlet.Event()
        def again(*_):
            if event.ready(): os._exit(0)
            eventlet.spawn_n(event.send)
        signal.signal(signal.SIGALRM, again)
        sys.stderr = Report()
        cross()
        event.wait()
        eventlet.Event().wait()
        """
    )
    assert text.count("eventlet: deadlock:") == 2


def test_patience_is_checked():
    with pytest.raises(ValueError, match="positive"):
        debug.hub_deadlock_detection(True, 0)
    with pytest.raises(ValueError):
        debug.hub_deadlock_detection(True, float("nan"))
    assert _core.deadlock_patience() == 1.0
