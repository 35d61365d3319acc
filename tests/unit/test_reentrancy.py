"""Code that interrupts the hub may block: signal handlers, finalizers, timers, listeners, links."""

import gc
import os
import signal
import socket as native_socket
import threading
import weakref

import eventlet
import greenlet
import pytest
from eventlet import hubs
from eventlet.green import socket


class Blocker:
    """A call that blocks, and how somebody else ends it."""

    def __init__(self, kind):
        self.kind = kind
        self.event = eventlet.Event()
        self.semaphore = eventlet.Semaphore(0)
        self.queue = eventlet.Queue()
        self.here, self.there = socket.socketpair()

    def block(self):
        if self.kind == "sleep":
            eventlet.sleep(0.001)
        elif self.kind == "event":
            assert self.event.wait() == "tea"
        elif self.kind == "semaphore":
            assert self.semaphore.acquire()
        elif self.kind == "queue":
            assert self.queue.get() == "tea"
        else:
            assert self.here.recv(3) == b"tea"

    def release(self):
        self.event.send("tea")
        self.semaphore.release()
        self.queue.put("tea")
        self.there.send(b"tea")

    def close(self):
        self.here.close()
        self.there.close()


class Box:
    """Something that weak references can name."""


class Finalized:
    """Calls a function when it is dropped."""

    def __init__(self, function):
        self.function = function

    def __del__(self):
        self.function()


def in_hub_soon(function, *args):
    hubs.get_hub().schedule_call_global(0, function, *args)


def by_signal(function):
    before = signal.signal(signal.SIGALRM, lambda number, frame: function())
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    yield
    signal.signal(signal.SIGALRM, before)


def by_finalizer(function):
    boxes = [Finalized(function)]
    in_hub_soon(boxes.clear)
    yield


def by_weak_reference(function):
    boxes = [Box()]
    reference = weakref.ref(boxes[0], lambda _: function())
    in_hub_soon(boxes.clear)
    yield
    assert reference() is None


def by_collector(function):
    def callback(phase, info):
        gc.callbacks.remove(callback)
        function()

    gc.callbacks.append(callback)
    in_hub_soon(gc.collect)
    yield


def by_timer(function):
    in_hub_soon(function)
    yield


def by_link(function):
    thread = eventlet.spawn(len, "")
    thread.link(lambda _: function())
    yield


def by_listener(function):
    hub = hubs.get_hub()
    here, there = os.pipe()

    def callback(_fd):
        hub.remove(listener)
        function()

    listener = hub.add(hub.READ, here, callback, None, None)
    os.write(there, b"x")
    yield
    os.close(here)
    os.close(there)


SOURCES = {
    "signal": by_signal,
    "finalizer": by_finalizer,
    "weak reference": by_weak_reference,
    "collector": by_collector,
    "timer": by_timer,
    "link": by_link,
    "listener": by_listener,
}


@pytest.mark.parametrize("kind", ["sleep", "event", "semaphore", "queue", "socket"])
@pytest.mark.parametrize("source", SOURCES)
def test_it_may_block(source, kind):
    blocker = Blocker(kind)
    started, done = eventlet.Event(), eventlet.Event()
    in_hub = []

    def interrupt():
        in_hub.append(greenlet.getcurrent() is hubs.get_hub().greenlet)
        started.send()
        blocker.block()
        in_hub.append(greenlet.getcurrent() is hubs.get_hub().greenlet)
        done.send()

    arrangement = SOURCES[source](interrupt)
    next(arrangement)
    started.wait()
    assert not done.ready()
    blocker.release()
    done.wait()
    next(arrangement, None)
    assert in_hub == [source != "link", False]
    assert eventlet.spawn(len, "tea").wait() == 3
    blocker.close()


def block_in_hub(function):
    """Runs a function that may block as a timer; its result."""
    outcome = eventlet.Event()
    in_hub_soon(lambda: outcome.send(function()))
    return outcome.wait()


def test_the_greenlet_stays_the_same_and_another_becomes_the_hub():
    hub = hubs.get_hub()
    eventlet.sleep(0)
    before = hub.greenlet

    def callback():
        me = greenlet.getcurrent()
        eventlet.sleep(0.001)
        return me, greenlet.getcurrent()

    first, second = block_in_hub(callback)
    assert first is second is before
    assert hub.greenlet is not before
    eventlet.sleep(0)
    assert before.dead


def test_a_lock_with_an_owner_is_held_across_the_wait():
    lock = threading._PyRLock()  # its owner is a greenlet if threading was patched, a thread if not

    def callback():
        with lock:
            eventlet.sleep(0.001)
        return "released"

    assert block_in_hub(callback) == "released"


def test_the_hub_goes_on_meanwhile():
    gate = eventlet.Event()
    seen = []

    def callback():
        seen.append("begin")
        gate.wait()
        seen.append("end")

    in_hub_soon(callback)
    hubs.get_hub().schedule_call_global(0.001, seen.append, "timer")
    eventlet.spawn(seen.append, "green thread").wait()
    eventlet.sleep(0.002)
    assert seen == ["begin", "green thread", "timer"]
    gate.send()
    eventlet.sleep(0)
    assert seen[-1] == "end"


def test_many_callbacks_block_at_once():
    gate, done = eventlet.Event(), eventlet.Queue()

    def callback(number):
        gate.wait()
        done.put(number)

    for number in range(200):
        in_hub_soon(callback, number)
    eventlet.sleep(0)
    assert done.empty()
    gate.send()
    assert [done.get() for _ in range(200)] == list(range(200))


def test_a_green_thread_from_before_ends_in_the_new_hub():
    gate = eventlet.Event()
    children = []

    def callback():
        children.append(eventlet.spawn(gate.wait))
        children.append(greenlet.greenlet(gate.wait))
        children[1].switch()
        eventlet.sleep(0.002)
        return "callback"

    finished = eventlet.spawn(block_in_hub, callback)
    eventlet.sleep(0)
    eventlet.sleep(0)
    assert [child.parent for child in children] == [hubs.get_hub().greenlet] * 2
    gate.send("opened")
    eventlet.sleep(0)
    assert all(child.dead for child in children)
    assert finished.wait() == "callback"


def test_a_greenlet_that_does_not_block_returns_to_the_callback():
    def callback():
        before = greenlet.greenlet(lambda: "before")
        eventlet.sleep(0.001)
        after = greenlet.greenlet(lambda: "after")
        return before.switch(), after.switch(), before.parent is greenlet.getcurrent()

    assert block_in_hub(callback) == ("before", "after", True)


def test_a_greenlet_made_for_the_hub_ends_in_the_present_one():
    gate = eventlet.Event()
    child = greenlet.greenlet(lambda: "lost", parent=hubs.get_hub().greenlet)

    def callback():
        gate.wait()
        return "woken by the gate"

    finished = eventlet.spawn(block_in_hub, callback)
    eventlet.sleep(0)
    eventlet.sleep(0)
    hubs.get_hub().schedule_call_global(0, child.switch)
    eventlet.sleep(0)
    assert child.dead
    assert not finished.dead
    gate.send()
    assert finished.wait() == "woken by the gate"


def test_an_exception_after_a_wait_is_reported_once(capsys):
    def callback():
        eventlet.sleep(0.001)
        raise ZeroDivisionError("in a callback")

    in_hub_soon(callback)
    eventlet.sleep(0.002)
    eventlet.sleep(0)
    assert capsys.readouterr().err.count("ZeroDivisionError: in a callback") == 1


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_reaches_the_main_greenlet_at_once(kind, capsys):
    def callback():
        eventlet.sleep(0.001)
        raise kind("in a callback")

    in_hub_soon(callback)
    with pytest.raises(kind, match="in a callback"):
        eventlet.sleep(60)
    assert capsys.readouterr().err == ""
    assert eventlet.spawn(len, "tea").wait() == 3


def test_an_interrupt_of_the_hub_reaches_the_main_greenlet():
    signal.setitimer(signal.ITIMER_REAL, 0.005)

    def interrupt(number, frame):
        eventlet.sleep(0.001)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            eventlet.sleep(60)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_blocked_callback_can_be_killed(capsys):
    unwound = []

    def callback():
        callbacks.append(greenlet.getcurrent())
        try:
            eventlet.sleep(60)
        finally:
            unwound.append(True)

    callbacks = []
    in_hub_soon(callback)
    eventlet.sleep(0)
    eventlet.kill(callbacks.pop())
    assert unwound == [True]
    assert capsys.readouterr().err == ""


def test_a_blocked_callback_that_nobody_can_wake_is_unwound(capsys):
    hubs.use_hub()  # children of the old hub greenlet, also dead ones, refer to it: what it calls is not lost then
    unwound = eventlet.Event()

    def callback():
        eventlet.sleep(0.001)
        try:
            hubs.get_hub().switch()
        finally:
            unwound.send()

    in_hub_soon(callback)
    unwound.wait()
    assert capsys.readouterr().err == ""


def test_a_timeout_ends_the_wait_of_a_callback():
    def callback():
        with eventlet.Timeout(0.001, False):
            eventlet.sleep(60)
        with pytest.raises(eventlet.Timeout), eventlet.Timeout(0.001):
            eventlet.Event().wait()
        return "on time"

    assert block_in_hub(callback) == "on time"


def test_one_signal_handler_blocks_while_another_runs():
    seen = eventlet.Queue()
    gate = eventlet.Event()

    def first(number, frame):
        seen.put("first")
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        os.kill(os.getpid(), signal.SIGUSR2)
        gate.wait()
        seen.put("first again")

    def second(number, frame):
        eventlet.sleep(0.001)
        seen.put("second")
        gate.send()

    before = signal.signal(signal.SIGUSR1, first), signal.signal(signal.SIGUSR2, second)
    try:
        threading.Timer(0.005, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        assert [seen.get(), seen.get(), seen.get()] == ["first", "second", "first again"]
    finally:
        signal.signal(signal.SIGUSR1, before[0])
        signal.signal(signal.SIGUSR2, before[1])


def test_what_a_callback_switches_to_comes_back_to_it_first():
    order = []

    def waits():
        order.append("greenlet")
        eventlet.sleep(0)
        order.append("greenlet again")

    def callback():
        eventlet.spawn(order.append, "ready")
        greenlet.greenlet(waits).switch()
        order.append("callback")

    in_hub_soon(callback)
    eventlet.sleep(0)
    eventlet.sleep(0)
    assert order[:2] == ["greenlet", "callback"]
    assert sorted(order[2:]) == ["greenlet again", "ready"]


def test_the_hub_itself_still_refuses_to_switch_to_itself():
    def callback():
        with pytest.raises(AssertionError, match="Cannot switch to MAINLOOP from MAINLOOP"):
            hubs.get_hub().switch()
        assert eventlet.sleep(0) is None
        return greenlet.getcurrent() is hubs.get_hub().greenlet

    assert block_in_hub(callback) is True


def test_callbacks_block_in_the_hub_of_any_os_thread():
    outcome = []

    def thread():
        outcome.append(block_in_hub(lambda: eventlet.spawn(len, "tea").wait()))
        hubs.get_hub().schedule_call_global(0, eventlet.sleep, 60)  # ends with the thread
        eventlet.sleep(0)

    other = threading.Thread(target=thread)
    other.start()
    other.join()
    assert outcome == [3]


def test_the_blocking_detector_does_not_count_the_wait(capsys):
    hub = hubs.get_hub()
    hub.debug_blocking, hub.debug_blocking_resolution = True, 0.02
    try:
        block_in_hub(lambda: eventlet.sleep(0.05))
    finally:
        hub.debug_blocking = False
        del hub.debug_blocking_resolution
        eventlet.sleep(0.001)  # back to the hub, which ends the watch that it began
    assert capsys.readouterr().err == ""


def test_the_pipe_to_a_supervisor_may_be_full():
    """The case of a shutdown handler that writes through a green socket while the hub waits."""
    here, there = native_socket.socketpair()
    there.setblocking(False)
    try:
        while True:
            there.send(bytes(65536))
    except BlockingIOError:
        pass
    green = socket.socket(fileno=there.detach())
    written = eventlet.Event()

    def handler(number, frame):
        green.sendall(b"going down")
        written.send()

    before = signal.signal(signal.SIGALRM, handler)
    # First of all: on a busy machine the handler may come at once.
    reader = eventlet.spawn_after(0.02, drain, here)
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    try:
        written.wait()
    finally:
        signal.signal(signal.SIGALRM, before)
        green.close()
        here.close()
    assert reader.wait() > 0


def drain(sock):
    sock.setblocking(False)
    total = 0
    try:
        while True:
            total += len(sock.recv(1 << 20))
    except BlockingIOError:
        return total
