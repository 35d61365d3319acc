"""`eventlet.hubs`: timers, listeners, `trampoline`, and the choice of a hub."""

import contextlib
import errno
import os
import subprocess
import sys
import threading
import time

import eventlet
import pytest
from eventlet import debug, hubs, lock
from eventlet.hubs import hub as hub_module, timer
from greenlet import getcurrent, greenlet

HUB = "eventlet.hubs"


@pytest.fixture
def pipe():
    here, there = os.pipe()
    yield here, there
    for fileno in (here, there):
        with contextlib.suppress(OSError):
            os.close(fileno)


def run(code, *args, **env):
    """Run a program; its output."""
    done = subprocess.run(
        [sys.executable, *args, "-c", code],
        env={**os.environ, "EVENTLET_TESTS": "1", **env},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# Timers


def test_a_global_timer():
    log, hub = [], hubs.get_hub()
    made = hub.schedule_call_global(0.001, log.append, "tea")
    assert isinstance(made, timer.Timer) and made.pending and not made.called
    assert made.seconds == 0.001 and made.tpl == (log.append, ("tea",), {})
    assert made.scheduled_time - hub.clock() <= 0.001 if hasattr(made, "scheduled_time") else True
    eventlet.sleep(0.005)
    assert log == ["tea"] and made.called and not made.pending
    assert not hasattr(made, "tpl")


def test_arguments_of_a_timer():
    log = []

    def call(*args, **kwargs):
        log.append((args, kwargs))

    hub = hubs.get_hub()
    hub.schedule_call_global(0, call)
    hub.schedule_call_global(0, call, 1)
    hub.schedule_call_global(0, call, 1, 2, a=3)
    hub.schedule_call_global(0, call, b=4)
    eventlet.sleep(0)
    assert log == [((), {}), ((1,), {}), ((1, 2), {"a": 3}), ((), {"b": 4})]


def test_timers_fire_in_order():
    log, hub = [], hubs.get_hub()
    for number in range(5):
        hub.schedule_call_global(0, log.append, number)
    eventlet.spawn_n(log.append, "spawned")
    hub.schedule_call_global(0, log.append, "last")
    eventlet.sleep(0)
    assert log[5:] == ["spawned", "last"] and sorted(log[:5]) == [0, 1, 2, 3, 4]
    log.clear()
    for delay in (0.003, 0.001, 0.002):
        hub.schedule_call_global(delay, log.append, delay)
    eventlet.sleep(0.01)
    assert log == [0.001, 0.002, 0.003]


@pytest.mark.parametrize("delay", [0, 0.001, 60])
def test_cancel(delay):
    log, hub = [], hubs.get_hub()
    made = hub.schedule_call_global(delay, log.append, 1)
    made.cancel()
    made.cancel()
    assert made.called and not made.pending and not hasattr(made, "tpl")
    eventlet.sleep(0.005)
    assert log == []


def test_a_cancelled_timer_scheduled_again_fires_once():
    log = []
    made = timer.Timer(0, log.append, 1)
    made.schedule()
    made.cancel()
    again = timer.Timer(0.002, log.append, 2)
    assert again.schedule() is again
    eventlet.sleep(0.01)
    assert log == [2]


def test_cancelled_timers_leave_the_hub():
    hub = hubs.get_hub()
    before = hub.get_timers_count()
    for _ in range(2500):
        hub.schedule_call_global(60, len).cancel()
    assert hub.get_timers_count() <= before + 1001


def test_a_local_timer_dies_with_its_greenlet():
    log, hub = [], hubs.get_hub()
    for schedule in (hub.schedule_call_local, hub.schedule_call_global):
        eventlet.spawn(schedule, 0.001, log.append, schedule.__name__).wait()
    mine = hub.schedule_call_local(0.001, log.append, "mine")
    assert mine.greenlet is getcurrent() and mine.pending
    eventlet.sleep(0.01)
    assert sorted(log) == ["mine", "schedule_call_global"]


def test_a_cancelled_local_timer_forgets_its_greenlet():
    made = hubs.get_hub().schedule_call_local(60, len)
    made.cancel()
    assert made.greenlet is None and not made.pending


def test_copy_and_text():
    made = timer.Timer(5, max, 1, 2)
    again = made.copy()
    assert again is not made and (again.seconds, again.tpl) == (5, (max, (1, 2), {}))
    assert repr(made) == f"Timer(5, {max}, *(1, 2), **{{}})"
    assert (made < again) == (id(made) < id(again))
    assert made == made and made != again and len({made, again, made}) == 2


def test_a_timer_is_called_by_hand_once():
    log = []
    made = timer.Timer(5, log.append, 1)
    made()
    made()
    assert log == [1] and made.called


def test_a_subclass_of_timer():
    log = []

    class Loud(timer.Timer):
        def __call__(self, *args):
            log.append("called")
            super().__call__(*args)

    Loud(0, log.append, "tea").schedule()
    eventlet.sleep(0)
    assert log == ["called", "tea"]


def test_add_timer():
    log, hub = [], hubs.get_hub()
    due = hub.add_timer(timer.Timer(0.001, log.append, 1))
    assert abs(due - hub.clock() - 0.001) < 0.5
    eventlet.sleep(0.005)
    assert log == [1]


@pytest.mark.parametrize("wrong", ["soon", None, object()])
def test_seconds_that_are_no_number(wrong):
    with pytest.raises(TypeError):
        hubs.get_hub().schedule_call_global(wrong, len)


def test_an_exception_of_a_timer_is_printed_and_the_hub_goes_on(capsys):
    hub = hubs.get_hub()
    hub.schedule_call_global(0, lambda: 1 // 0)
    eventlet.sleep(0)
    assert "ZeroDivisionError" in capsys.readouterr().err
    debug.hub_exceptions(False)
    try:
        hub.schedule_call_global(0, lambda: 1 // 0)
        eventlet.sleep(0)
        assert capsys.readouterr().err == ""
    finally:
        debug.hub_exceptions(True)


def test_system_exceptions_of_a_timer_reach_the_main_greenlet():
    code = f"""
import eventlet
from {HUB} import get_hub
def stop():
    raise SystemExit(7)
get_hub().schedule_call_global(0, stop)
try:
    eventlet.sleep(5)
except SystemExit as error:
    print(error.code)
"""
    assert run(code) == "7"


def test_a_timer_may_switch_to_a_greenlet_and_goes_on_afterwards():
    log, hub = [], hubs.get_hub()
    thread = eventlet.spawn(lambda: log.append(hub.switch()))
    eventlet.sleep(0)

    def call():
        thread.switch("tea")
        log.append("after")

    hub.schedule_call_global(0, call)
    eventlet.sleep(0)
    assert log == ["tea", "after"]


# The hub


def test_one_hub_for_each_thread():
    mine, other = hubs.get_hub(), []
    assert hubs.get_hub() is mine and isinstance(mine, hub_module.BaseHub)
    thread = threading.Thread(target=lambda: other.append(hubs.get_hub()))
    thread.start()
    thread.join()
    assert other[0] is not mine


def test_attributes():
    hub = hubs.get_hub()
    eventlet.sleep(0.001)
    assert hub.running and not hub.stopping
    assert hub.SYSTEM_EXCEPTIONS == (KeyboardInterrupt, SystemExit)
    assert (hub.READ, hub.WRITE) == ("read", "write") == (hub_module.READ, hub_module.WRITE)
    assert isinstance(hub.greenlet, greenlet) and hub.greenlet is not getcurrent()
    assert hub.clock is time.monotonic  # oslo.service compares them
    assert hub.default_sleep() == 60.0
    hub.ensure_greenlet()


def test_switch_returns_what_is_switched_in():
    hub, me = hubs.get_hub(), getcurrent()
    hub.schedule_call_global(0, me.switch, "tea")
    assert hub.switch() == "tea"


def test_switch_in_the_hub_is_an_assertion_error(capsys):
    hub = hubs.get_hub()
    hub.schedule_call_global(0, hub.switch)
    eventlet.sleep(0)
    assert "AssertionError: Cannot switch to MAINLOOP from MAINLOOP" in capsys.readouterr().err


def test_switch_calls_switch_out():
    log, hub = [], hubs.get_hub()

    class Telling(greenlet):
        def switch_out(self):
            log.append("out")

    hub.schedule_call_global(0, getcurrent().switch)
    telling = Telling(hub.switch)
    telling.switch()
    assert log == ["out"]
    eventlet.kill(telling)


def test_the_hub_is_the_parent_of_who_blocks():
    hub = hubs.get_hub()
    parents = []

    def block():
        eventlet.sleep(0)
        parents.append(getcurrent().parent)

    hub.schedule_call_global(0, getcurrent().switch)
    greenlet(block).switch()
    eventlet.sleep(0)
    eventlet.sleep(0)
    assert parents == [hub.greenlet]


def test_timers_are_listed():
    hub = hubs.get_hub()
    made = hub.schedule_call_global(60, len)
    assert made in [entry[1] for entry in [*hub.timers, *getattr(hub, "next_timers", ())]]
    made.cancel()


def test_abort_ends_the_loop_and_forgets_timers():
    code = f"""
import eventlet
from {HUB} import get_hub
hub, log = get_hub(), []
hub.default_sleep = lambda: 0.0  # upstream's waits for so long even when it was told to stop
hub.schedule_call_global(0, hub.abort)
hub.schedule_call_global(0.001, log.append, 1)
hub.switch()
assert not hub.running
eventlet.sleep(0.01)
assert log == [] and hub.running
hub.abort(wait=True)
assert not hub.running
eventlet.sleep(0.001)
hub.abort()
eventlet.sleep(0)
assert not hub.running
hub.schedule_call_global(0, lambda: (log.append(2), hub.abort()))
hub.switch()
assert log == [2] and not hub.running
print("done")
"""
    assert run(code) == "done"


# Listeners


def test_a_listener_is_called_whenever_its_descriptor_is_ready(pipe):
    here, there = pipe
    log, hub = [], hubs.get_hub()
    listener = hub.add(hub.READ, here, log.append, None, None)
    assert listener.fileno == here and listener.evtype == "read" and not listener.spent
    assert listener in list(hub.get_readers()) and listener not in list(hub.get_writers())
    os.write(there, b"!")
    eventlet.sleep(0.01)
    assert log and set(log) == {here}
    hub.remove(listener)
    count = len(log)
    eventlet.sleep(0.01)
    assert len(log) == count and list(hub.get_readers()) == []


def test_a_write_listener(pipe):
    _here, there = pipe
    log, hub = [], hubs.get_hub()
    listener = hub.add(hub.WRITE, there, log.append, None, None)
    assert listener in list(hub.get_writers())
    eventlet.sleep(0.01)
    hub.remove(listener)
    assert log


def test_a_second_listener_is_refused(pipe):
    here, _there = pipe
    hub = hubs.get_hub()
    first = hub.add(hub.READ, here, print, None, None)
    with pytest.raises(RuntimeError, match=f"Second simultaneous read on fileno {here} detected"):
        hub.add(hub.READ, here, print, None, None)
    hub.remove(first)


def test_a_second_listener_waits_behind_the_first_where_it_is_allowed(pipe):
    here, there = pipe
    log, hub = [], hubs.get_hub()
    debug.hub_prevent_multiple_readers(False)
    try:
        first = hub.add(hub.READ, here, lambda _fd: log.append("first"), None, None)
        second = hub.add(hub.READ, here, lambda _fd: log.append("second"), None, None)
    finally:
        debug.hub_prevent_multiple_readers(True)
    hub.remove(first)
    os.write(there, b"!")
    eventlet.sleep(0.01)
    hub.remove(second)
    assert set(log) == {"second"}


def test_an_exception_of_a_listener_removes_its_descriptor(pipe, capsys):
    here, there = pipe
    hub = hubs.get_hub()

    calls = []

    def fail(_fileno):
        calls.append(1)
        raise KeyError("tea")

    hub.add(hub.READ, here, fail, None, None)
    os.write(there, b"!")
    eventlet.sleep(0.01)
    error = capsys.readouterr().err
    assert "KeyError" in error and f"Removing descriptor: {here}" in error
    assert list(hub.get_readers()) == []


def test_a_reopened_descriptor_tells_its_listeners(pipe):
    here, _there = pipe
    log, hub = [], hubs.get_hub()
    hub.add(hub.READ, here, log.append, log.append, lambda: log.append("closed"))
    hubs.notify_opened(here)
    assert log == ["closed"]
    eventlet.sleep(0.001)
    assert isinstance(log[1], hubs.IOClosed) and log[1].errno == errno.ENOTCONN
    assert list(hub.get_readers()) == []


def test_listeners_remember_where_they_were_made(pipe):
    here, _there = pipe
    debug.hub_listener_stacks(True)
    try:
        listener = hubs.get_hub().add("read", here, print, None, None)
        assert "test_listeners_remember" in repr(listener) and "EndDebug" in repr(listener)
        assert "test_listeners_remember" in debug.format_hub_listeners()
        hubs.get_hub().remove(listener)
    finally:
        debug.hub_listener_stacks(False)


# trampoline


def test_trampoline_returns_when_the_descriptor_is_ready(pipe):
    here, there = pipe
    assert hubs.trampoline(there, write=True) == there
    eventlet.spawn_after(0.001, os.write, there, b"!")
    assert hubs.trampoline(here, read=True) == here

    class File:
        def fileno(self):
            return here

    assert hubs.trampoline(File(), True) == here


@pytest.mark.parametrize("raised", [KeyError, KeyError("tea"), None])
def test_trampoline_times_out(pipe, raised):
    here, _there = pipe
    how = {} if raised is None else {"timeout_exc": raised}
    with pytest.raises(eventlet.Timeout if raised is None else KeyError):
        hubs.trampoline(here, read=True, timeout=0.001, **how)
    assert list(hubs.get_hub().get_readers()) == []


def test_trampoline_asks_for_one_direction(pipe):
    here, _there = pipe
    with pytest.raises(RuntimeError, match="not allowed to trampoline for reading and writing"):
        hubs.trampoline(here, read=True, write=True)


def test_trampoline_in_the_hub(pipe):
    here, there = pipe
    outcome = eventlet.Event()
    hubs.get_hub().schedule_call_global(0, lambda: outcome.send(hubs.trampoline(here, True)))
    eventlet.sleep(0)
    os.write(there, b"x")
    assert outcome.wait() == here


@pytest.mark.parametrize("wrong", ["3", None, object()])
def test_trampoline_wants_a_descriptor(wrong):
    with pytest.raises((TypeError, ValueError)):
        hubs.trampoline(wrong, read=True, timeout=0.001)


def test_a_second_reader_is_refused(pipe):
    here, there = pipe
    first = eventlet.spawn(hubs.trampoline, here, read=True)
    eventlet.sleep(0)
    with pytest.raises(RuntimeError, match=f"Second simultaneous read on fileno {here} detected"):
        hubs.trampoline(here, read=True)
    os.write(there, b"!")
    assert first.wait() == here


def test_who_waits_is_listed(pipe):
    here, there = pipe
    first = eventlet.spawn(hubs.trampoline, here, read=True)
    eventlet.sleep(0)
    (listener,) = hubs.get_hub().get_readers()
    assert listener.fileno == here and listener.greenlet is first
    assert "FdListener('read'" in debug.format_hub_listeners()
    os.write(there, b"!")
    first.wait()


def test_a_reopened_descriptor_ends_the_wait(pipe):
    here, _there = pipe
    log = []

    def wait():
        try:
            hubs.trampoline(here, read=True, mark_as_closed=lambda: log.append("closed"))
        except hubs.IOClosed as error:
            log.append(error.errno)

    thread = eventlet.spawn(wait)
    eventlet.sleep(0)
    hubs.notify_opened(here)
    assert log == ["closed"]
    thread.wait()
    assert log == ["closed", errno.ENOTCONN]


def test_io_closed_is_an_os_error():
    assert issubclass(hubs.IOClosed, OSError) and issubclass(hubs.HubError, Exception)


# The choice of a hub


@pytest.mark.parametrize("name", ["epolls", "poll", "selects"])
def test_hubs_by_name(name):
    code = f"""
import eventlet, os
from eventlet import hubs
hubs.use_hub({name!r})
here, there = os.pipe()
eventlet.spawn_after(0.001, os.write, there, b"!")
assert hubs.trampoline(here, read=True) == here
print(type(hubs.get_hub()).__module__)
"""
    assert run(code) == f"{HUB}.{name}"


def test_hub_by_environment():
    code = "import eventlet; eventlet.sleep(0); print(type(eventlet.hubs.get_hub()).__module__)"
    assert run(code, EVENTLET_HUB="poll") == f"{HUB}.poll"


def test_hub_by_module_class_and_path():
    code = f"""
from {HUB} import poll, selects, use_hub, get_hub
for chosen in (poll, poll.Hub, "{HUB}.poll", "{HUB}.poll:Hub"):
    use_hub(chosen)
    assert type(get_hub()) is poll.Hub, chosen
use_hub()
print(type(get_hub()).__module__)
"""
    assert run(code, "-W", "ignore") == f"{HUB}.epolls"


def test_use_hub_drops_the_old_one():
    code = f"""
import eventlet
from {HUB} import get_hub, use_hub, _threadlocal
assert not hasattr(_threadlocal, "hub")
old, log = get_hub(), []
assert _threadlocal.hub is old
old.schedule_call_global(0, log.append, 1)
use_hub()
assert not hasattr(_threadlocal, "hub")
assert get_hub() is not old
eventlet.sleep(0.001)
print(log)
"""
    assert run(code) == "[]"


def test_bad_hubs():
    with pytest.raises(RuntimeError, match="Need to specify a hub"):
        hubs.use_hub("  ")
    with pytest.raises(ImportError):
        hubs.use_hub("no_such_hub")
    with pytest.raises(Exception, match="selected hub is not available on this system"):
        hubs.use_hub("kqueue")


def test_default_hub():
    assert hubs.get_default_hub().__name__ == f"{HUB}.epolls"
    assert hubs.builtin_hub_names == ("epolls", "kqueue", "poll", "selects")
    assert len(hubs.builtin_hub_modules) == 4


# Other threads


def test_a_timer_scheduled_from_another_thread():
    hub, log = hubs.get_hub(), []
    eventlet.sleep(0)
    thread = threading.Thread(target=hub.schedule_call_global, args=(0.001, log.append, 1))
    thread.start()
    for _ in range(200):
        if log:
            break
        eventlet.sleep(0.005)
    thread.join()
    assert log == [1]


def test_an_event_wakes_a_waiter_of_another_thread():
    evt, log, waiting = eventlet.Event(), [], threading.Event()

    def wait():
        eventlet.spawn(waiting.set)
        log.append(evt.wait())

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(5)
    evt.send("tea")
    thread.join(5)
    assert log == ["tea"]


def test_a_lock_is_handed_over_between_threads():
    mutex, log, waiting = lock.Lock(), [], threading.Event()

    def take():
        eventlet.spawn(waiting.set)
        with mutex:
            log.append("taken")

    mutex.acquire()
    thread = threading.Thread(target=take)
    thread.start()
    assert waiting.wait(5)
    assert log == []
    mutex.release()
    thread.join(5)
    assert log == ["taken"] and not mutex.locked()


def test_a_queue_between_threads():
    there, back = eventlet.Queue(1), eventlet.Queue(0)

    def work():
        for number in iter(there.get, None):
            back.put(number * 2)

    thread = threading.Thread(target=work)
    thread.start()
    log = []
    for number in range(50):
        there.put(number)
        log.append(back.get())
    there.put(None)
    thread.join(5)
    assert log == [number * 2 for number in range(50)]


# eventlet.debug


def test_timers_remember_where_they_were_made():
    debug.hub_timer_stacks(True)
    try:
        made = hubs.get_hub().schedule_call_global(60, len)
        assert "test_timers_remember_where" in made.traceback.getvalue()
        assert "test_timers_remember_where" in repr(made)
        made.cancel()
    finally:
        debug.hub_timer_stacks(False)
    assert not timer._g_debug


def test_format_hub_timers():
    made = hubs.get_hub().schedule_call_global(60, len)
    eventlet.sleep(0)
    text = debug.format_hub_timers()
    assert text.startswith("TIMERS:") and "Timer(60" in text
    made.cancel()


@pytest.mark.slow
def test_blocking_detector():
    code = """
import time, eventlet
from eventlet import debug
debug.hub_exceptions(False)
debug.hub_blocking_detection(True, resolution=0.05)
thread = eventlet.spawn(time.sleep, 1)
try:
    thread.wait()
except RuntimeError as error:
    print(str(error)[:25])
debug.hub_blocking_detection(False)
eventlet.sleep(0.06)
"""
    assert run(code) == "Blocking detector ALARMED"


def test_spew(capsys):
    tracer = debug.Spew(trace_names=[__name__])
    cup = "tea"
    frame = sys._getframe()
    assert tracer(frame, "line", None) is tracer
    shown = capsys.readouterr().out
    assert f"{__name__}:" in shown and cup == "tea"
    assert debug.Spew(trace_names=["elsewhere"])(frame, "line", None)
    assert capsys.readouterr().out == ""


# from another OS thread


def in_another_thread(function):
    """Calls a function in a new OS thread: what it returned, or the exception that it raised."""
    outcome = []

    def target():
        try:
            outcome.append(function())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    return outcome[0]


FOREIGN = {
    "switch": lambda hub, _: hub.switch(),
    "add_timer": lambda hub, _: hub.add_timer(timer.Timer(1, print)),
    "get_timers_count": lambda hub, _: hub.get_timers_count(),
    "timers": lambda hub, _: hub.timers,
    "greenlet": lambda hub, _: hub.greenlet,
    "ensure_greenlet": lambda hub, _: hub.ensure_greenlet(),
    "running": lambda hub, _: hub.running,
    "stopping": lambda hub, _: hub.stopping,
    "abort": lambda hub, _: hub.abort(),
    "debug_blocking": lambda hub, _: hub.debug_blocking,
    "set debug_blocking": lambda hub, _: setattr(hub, "debug_blocking", True),
    "add": lambda hub, fd: hub.add(hub.READ, fd, print, print, None),
    "remove": lambda hub, fd: hub.remove(hub.listeners[hub.READ][fd]),
    "get_readers": lambda hub, _: hub.get_readers(),
    "get_writers": lambda hub, _: hub.get_writers(),
}


@pytest.mark.parametrize("method", FOREIGN)
def test_a_hub_is_not_to_be_used_from_another_os_thread(method, pipe):
    here, there = pipe
    hub, seen = hubs.get_hub(), []
    eventlet.sleep(0)
    listener = None if method == "add" else hub.add(hub.READ, here, seen.append, None, None)
    error = in_another_thread(lambda: FOREIGN[method](hub, here))
    assert isinstance(error, RuntimeError), error
    assert "belongs to another thread" in str(error)
    # and it still works in its own
    if listener is None:
        listener = hub.add(hub.READ, here, seen.append, None, None)
    os.write(there, b"x")
    eventlet.sleep(0.001)
    assert seen
    hub.remove(listener)
    assert eventlet.spawn(len, "tea").wait() == 3


def test_the_hub_greenlet_of_another_os_thread_is_not_to_be_switched_to():
    eventlet.sleep(0)
    own = hubs.get_hub().greenlet
    for act in (own.switch, own.throw):
        error = in_another_thread(act)
        assert isinstance(error, greenlet.error), error
        assert "different thread" in str(error)
    assert eventlet.spawn(len, "tea").wait() == 3


# Crowds


def test_a_crowd_goes_on_in_order():
    """Hundreds that are ready together, of all kinds: what is fetched ahead of them changes nothing."""
    crowd = """
import eventlet
from eventlet import event, hubs
from eventlet.green import socket as green

log, hub, gate = [], hubs.get_hub(), event.Event()
pairs = [green.socketpair() for _ in range(240)]

def echo(number, peer):
    for turn in range(2):
        log.append((turn, number, peer.recv(10)))

def other(number):
    gate.wait()
    log.append(("gate", number))
    with eventlet.Timeout(0.0, False):
        eventlet.sleep(60)
    log.append(("timeout", number))

threads = [eventlet.spawn(echo, *each) for each in enumerate(there for _, there in pairs)]
threads += [eventlet.spawn(other, number) for number in range(40)]
eventlet.sleep(0)
lone = green.socketpair()
gone = eventlet.spawn(echo, -1, lone[0])
eventlet.sleep(0)
for turn in (b"one", b"two"):
    for here, _ in pairs:
        assert here.send(turn) == 3  # does not switch
    if turn == b"one":
        gate.send(None)
        for number in range(40):
            hub.schedule_call_global(0, log.append, ("call", number))
        gone.kill()
        eventlet.spawn(log.append, "new")
    while sum(entry[-1] == turn for entry in log) < 240:
        eventlet.sleep(0.001)
for thread in threads:
    thread.wait()
for turn, data in enumerate((b"one", b"two")):
    assert [entry for entry in log if entry[0] == turn] == [(turn, n, data) for n in range(240)]
for kind in ("call", "gate", "timeout"):
    assert [entry for entry in log if entry[0] == kind] == [(kind, n) for n in range(40)]
assert "new" in log
print("done")
"""
    assert run(crowd) == "done"
