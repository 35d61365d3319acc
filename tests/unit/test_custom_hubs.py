"""Hubs whose class overrides a part: how it runs, polls, adds timers or switches.

Each runs in an OS thread of its own, because a hub belongs to one.
"""

import contextlib
import heapq
import os
import select
import sys
import threading
import time

import eventlet
import pytest
from eventlet import event, hubs, queue, semaphore
from eventlet.green import socket
from eventlet.hubs import hub as hub_module, poll
from eventlet.lock import Lock
from greenlet import getcurrent

READ, WRITE = hub_module.READ, hub_module.WRITE


class Available:
    @staticmethod
    def is_available():
        return True


class Polling(Available, hub_module.BaseHub):
    """As hubs of third parties are written: a poll object of its own, kept by `add` and `remove`."""

    def __init__(self):
        super().__init__()
        self.poller = select.poll()

    def add(self, evtype, fileno, cb, tb, mark_as_closed):
        listener = super().add(evtype, fileno, cb, tb, mark_as_closed)
        self.register(fileno)
        return listener

    def remove(self, listener):
        super().remove(listener)
        self.register(listener.fileno)

    def register(self, fileno):
        mask = select.POLLIN if fileno in self.listeners[READ] else 0
        mask |= select.POLLOUT if fileno in self.listeners[WRITE] else 0
        if mask:
            self.poller.register(fileno, mask)
        else:
            with contextlib.suppress(KeyError):
                self.poller.unregister(fileno)

    def wait(self, seconds=None):
        limit = None if seconds is None else seconds * 1000
        for fileno, happened in self.poller.poll(limit):
            for evtype, bits in ((READ, select.POLLIN), (WRITE, select.POLLOUT)):
                if happened & (bits | select.POLLERR | select.POLLHUP):
                    listener = self.listeners[evtype].get(fileno, hub_module.noop)
                    try:
                        listener.cb(fileno)
                    except self.SYSTEM_EXCEPTIONS:
                        raise
                    except BaseException:
                        self.squelch_exception(fileno, sys.exc_info())


class Selecting(Available, hub_module.BaseHub):
    """Overrides nothing but `wait`, which looks at the listeners."""

    def wait(self, seconds=None):
        readers, writers = self.listeners[READ], self.listeners[WRITE]
        read, write, _ = select.select(list(readers), list(writers), [], seconds)
        for fileno in read:
            readers.get(fileno, hub_module.noop).cb(fileno)
        for fileno in write:
            writers.get(fileno, hub_module.noop).cb(fileno)


class Watched(Available, hub_module.BaseHub):
    """Takes note of each step, and goes on to the native one."""

    def __init__(self):
        super().__init__()
        self.steps = set()

    def run(self, *args, **kwargs):
        self.steps.add("run")
        return super().run(*args, **kwargs)

    def wait(self, seconds=None):
        assert seconds is None or seconds >= 0
        self.steps.add("wait")
        return super().wait(seconds)

    def fire_timers(self, when):
        self.steps.add("fire_timers")
        return super().fire_timers(when)

    def prepare_timers(self):
        self.steps.add("prepare_timers")
        return super().prepare_timers()

    def sleep_until(self):
        self.steps.add("sleep_until")
        return super().sleep_until()

    def switch(self):
        self.steps.add("switch")
        return super().switch()

    def add_timer(self, timer):
        self.steps.add("add_timer")
        return super().add_timer(timer)

    def add(self, *args):
        self.steps.add("add")
        return super().add(*args)

    def remove(self, listener):
        self.steps.add("remove")
        return super().remove(listener)


class Looping(Available, hub_module.BaseHub):
    """Has a loop of its own, out of the native steps, and switches by hand."""

    def run(self):
        while not self.stopping:
            self.prepare_timers()
            self.fire_timers(self.clock())
            if self.stopping:
                return
            due = self.sleep_until()
            self.wait(60.0 if due is None else max(0.0, due - self.clock()))

    def switch(self):
        assert getcurrent() is not self.greenlet
        return self.greenlet.switch()


class Reactor(Available, hub_module.BaseHub):
    """Lives in a loop that is not eventlet's: it knows file descriptors and calls at a time."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.number = 0

    def add(self, evtype, fileno, cb, tb, mark_as_closed):
        assert fileno not in self.listeners[evtype]
        listener = self.lclass(evtype, fileno, cb, tb, mark_as_closed)
        self.listeners[evtype][fileno] = listener
        return listener

    def remove(self, listener):
        self.listeners[listener.evtype].pop(listener.fileno, None)

    def add_timer(self, timer):
        due = time.monotonic() + timer.seconds
        self.number += 1
        heapq.heappush(self.calls, (due, self.number, timer))
        return due

    def run(self):
        while not self.stopping:
            while self.calls and self.calls[0][0] <= time.monotonic():
                _, _, timer = heapq.heappop(self.calls)
                try:
                    timer()
                except self.SYSTEM_EXCEPTIONS:
                    raise
                except BaseException:
                    self.squelch_timer_exception(timer, sys.exc_info())
            if self.stopping:
                return
            pause = max(0.0, self.calls[0][0] - time.monotonic()) if self.calls else None
            readers, writers = self.listeners[READ], self.listeners[WRITE]
            read, write, _ = select.select(list(readers), list(writers), [], pause)
            for fileno in read:
                readers.get(fileno, hub_module.noop).cb(fileno)
            for fileno in write:
                writers.get(fileno, hub_module.noop).cb(fileno)


class Counted(Available, poll.Hub):
    """Overrides what derived classes of the poll hub have always overridden."""

    def do_poll(self, seconds):
        self.asked = True
        return super().do_poll(seconds)


CUSTOM = [Polling, Selecting, Watched, Looping, Reactor, Counted]


def under(hubclass, function):
    """The result of `function(hub)` in an OS thread with that hub."""
    outcome = []

    def body():
        hubs.use_hub(hubclass)
        try:
            outcome.append(function(hubs.get_hub()))
        except BaseException as error:
            outcome.append(error)
        finally:
            hubs.use_hub()

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(20)
    assert outcome, f"{function} under {hubclass} did not come back"
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


@pytest.fixture(params=CUSTOM, ids=lambda hubclass: hubclass.__name__)
def hubclass(request):
    return request.param


def test_timers_fire_in_order(hubclass):
    def program(hub):
        log = []
        for delay in (0.004, 0.002, 0, 0.002):
            hub.schedule_call_global(delay, log.append, delay)
        eventlet.sleep(0.006)
        assert type(hub) is hubclass
        return log

    assert under(hubclass, program) == [0, 0.002, 0.002, 0.004]


def test_green_threads_take_turns(hubclass):
    def program(hub):
        log = []

        def count(name):
            for number in range(3):
                log.append((name, number))
                eventlet.sleep(0)

        threads = [eventlet.spawn(count, name) for name in "ab"]
        for thread in threads:
            thread.wait()
        return log

    turns = [(name, number) for number in range(3) for name in "ab"]
    assert under(hubclass, program) == turns


def test_sockets_wait(hubclass):
    def program(hub):
        here, there = socket.socketpair()

        def echo():
            while data := there.recv(10):
                there.sendall(data.upper())

        server = eventlet.spawn(echo)
        answers = []
        for word in (b"tea", b"cup"):
            here.sendall(word)
            answers.append(here.recv(10))
        here.close()
        server.wait()
        there.close()
        return answers

    assert under(hubclass, program) == [b"TEA", b"CUP"]


def test_trampoline_and_its_timeout(hubclass):
    def program(hub):
        here, there = socket.socketpair()
        with contextlib.closing(here), contextlib.closing(there):
            with pytest.raises(eventlet.Timeout):
                hubs.trampoline(here, read=True, timeout=0.002)
            eventlet.spawn_after(0.001, there.send, b"!")
            assert hubs.trampoline(here, read=True) == here.fileno()
            assert hubs.trampoline(here, write=True) == here.fileno()
            return hub.get_readers() == []

    assert under(hubclass, program)


def test_primitives(hubclass):
    def program(hub):
        channel, gate, done = queue.Queue(0), semaphore.Semaphore(0), event.Event()

        def worker():
            done.send([channel.get(), gate.acquire()])

        eventlet.spawn(worker)
        channel.put("tea")
        gate.release()
        with eventlet.Timeout(5):
            return done.wait()

    assert under(hubclass, program) == ["tea", True]


def test_another_os_thread_wakes_it(hubclass):
    def program(hub):
        ready, done = threading.Event(), event.Event()

        def other():
            ready.wait()
            done.send("from outside")

        thread = threading.Thread(target=other)
        thread.start()
        hub.schedule_call_global(0, ready.set)
        value = done.wait(timeout=10)
        thread.join()
        return value

    assert under(hubclass, program) == "from outside"


def test_system_exceptions_reach_the_main_greenlet_and_the_hub_runs_again(hubclass):
    def program(hub):
        def fail():
            raise KeyboardInterrupt("stop")

        hub.schedule_call_global(0, fail)
        with pytest.raises(KeyboardInterrupt, match="stop"):
            eventlet.sleep(5)
        return eventlet.spawn(lambda: eventlet.sleep(0.001) or "again").wait()

    assert under(hubclass, program) == "again"


def test_an_exception_of_a_timer_is_reported_and_the_hub_goes_on(hubclass, capsys):
    def program(hub):
        hub.schedule_call_global(0, int, "tea")
        eventlet.sleep(0.002)
        return "alive"

    assert under(hubclass, program) == "alive"
    assert capsys.readouterr().err.count("ValueError: invalid literal") == 1


def test_abort_ends_the_loop(hubclass):
    def program(hub):
        called = []
        hub.schedule_call_global(0, lambda: (called.append(1), hub.abort()))
        hub.switch()  # comes back because the hub's greenlet ends
        assert called == [1] and not hub.running
        eventlet.sleep(0.001)
        return hub.running

    assert under(hubclass, program)


def test_listeners(hubclass):
    def program(hub):
        here, there = socket.socketpair()
        log = []
        listener = hub.add(READ, here.fileno(), lambda fd: log.append(here.recv(1)), None, None)
        there.send(b"12")
        while len(log) < 2:
            eventlet.sleep(0.001)
        hub.remove(listener)
        there.send(b"3")
        eventlet.sleep(0.002)
        here.close()
        there.close()
        return log

    assert under(hubclass, program) == [b"1", b"2"]


def test_every_step_goes_through_the_override():
    def program(hub):
        here, there = socket.socketpair()
        eventlet.spawn_after(0.001, there.send, b"!")
        here.recv(1)
        hub.schedule_call_global(0.001, int)
        eventlet.sleep(0.002)
        here.close()
        there.close()
        return hub.steps

    steps = {"run", "wait", "fire_timers", "prepare_timers", "sleep_until"}
    assert under(Watched, program) == steps | {"switch", "add_timer", "add", "remove"}


def test_a_poll_hub_with_a_poll_of_its_own():
    def program(hub):
        eventlet.sleep(0.001)
        hub.add(READ, 1_000_000, (log := []).append, None, None)
        eventlet.sleep(0.001)
        assert hub.asked and hub.get_readers() == []
        return log

    assert under(Counted, program) == [1_000_000]
    assert not hasattr(poll.Hub(), "asked") and poll.Hub.wait is hub_module.BaseHub.wait


def test_a_switch_that_takes_many_locks():
    class Busy(Available, hub_module.BaseHub):
        def switch(self):
            until = time.thread_time() + 0.15  # who spins so long lets others run, but not here
            while time.thread_time() < until:
                with lock:
                    pass
            return super().switch()

    def program(_hub):
        event = eventlet.Event()
        eventlet.spawn(event.send, "tea")
        return event.wait()

    lock = Lock()
    assert under(Busy, program) == "tea"


def test_a_switch_that_decides_what_is_returned():
    class Polite(Available, hub_module.BaseHub):
        def switch(self):
            return ("please", super().switch())

    def program(hub):
        thread = eventlet.spawn(hub.switch)
        eventlet.sleep(0)
        hub.schedule_call_global(0, thread.switch, "tea")
        return thread.wait()

    assert under(Polite, program) == ("please", "tea")


def test_what_is_not_overridden_is_native():
    class Plain(Available, hub_module.BaseHub):
        def squelch_timer_exception(self, timer, exc_info):
            raise AssertionError

    def program(hub):
        with pytest.raises(RuntimeError, match="only the loop of a hub"):
            hub.turn()
        return eventlet.spawn(lambda: "tea").wait()

    assert under(Plain, program) == "tea"


def test_steps_outside_of_the_loop_are_refused():
    def program(hub):
        for step in (hub.turn, hub.wait, lambda: hub.fire_timers(0)):
            with pytest.raises(RuntimeError, match="only the loop of a hub may do this"):
                step()
        with pytest.raises(RuntimeError, match="is called by the hub itself"):
            hub_module.BaseHub.run(hub)
        eventlet.sleep(0)
        with pytest.raises(RuntimeError, match="Already running!"):
            hub_module.BaseHub.run(hub)

    under(Watched, program)


@pytest.mark.parametrize("wrong", [float("nan"), "tea"])
def test_times_that_are_none(wrong):
    class Wrong(Available, hub_module.BaseHub):
        def wait(self, seconds=None):
            return super().wait(wrong)

    def program(hub):
        with pytest.raises((ValueError, TypeError)):
            eventlet.sleep(5)

    under(Wrong, program)


def test_blocking_in_a_hub_that_runs_itself_is_an_error(capsys):
    def program(hub):
        hub.schedule_call_global(0, eventlet.sleep, 1)
        eventlet.sleep(0.002)

    under(Selecting, program)
    assert "do not call blocking functions from the mainloop" in capsys.readouterr().err


def test_a_hub_that_cannot_be_made():
    class Broken(Available, hub_module.BaseHub):
        def __init__(self):
            raise OSError("no descriptor left")

        def wait(self, seconds=None):
            raise NotImplementedError

    def body(log):
        hubs.use_hub(Broken)
        for act in (hubs.get_hub, eventlet.sleep):
            try:
                act()
            except OSError as error:
                log.append(str(error))
        hubs.use_hub()
        eventlet.sleep(0)

    log = []
    thread = threading.Thread(target=body, args=(log,))
    thread.start()
    thread.join()
    assert log == ["no descriptor left"] * 2


def test_a_class_of_another_kind():
    class Foreign:
        @staticmethod
        def is_available():
            return True

    def program(hub):
        assert type(hub) is Foreign
        return eventlet.spawn(lambda: eventlet.sleep(0.001) or "tea").wait()

    assert under(Foreign, program) == "tea"


def test_a_class_that_does_not_say_whether_it_is_available():
    class Silent(hub_module.BaseHub):
        pass

    def body(log):
        with pytest.warns(DeprecationWarning, match=r"is_available\(\)"):
            hubs.use_hub(Silent)
        log.append(type(hubs.get_hub()) is Silent)

    log = []
    thread = threading.Thread(target=body, args=(log,))
    thread.start()
    thread.join()
    assert log == [True]


def test_post_initialize_is_called_once():
    class Counting(Available, hub_module.BaseHub):
        count = 0

        def _post_initialize(self):
            assert hubs.get_hub() is self
            Counting.count += 1

    under(Counting, lambda hub: eventlet.sleep(0))
    assert Counting.count == 1


def test_what_makes_no_hub():
    with pytest.raises(TypeError, match="a hub is made by a class"):
        hubs.use_hub(type("module", (), {"is_available": staticmethod(lambda: True), "Hub": 5})())
    with pytest.raises(AttributeError):
        hubs.use_hub("eventlet.hubs.poll:NoSuchHub")
    with pytest.raises(ImportError):
        hubs.use_hub("no.such.module")
    with pytest.raises(ImportError, match="pyevent"):
        hubs.use_hub("pyevent")


def test_the_clock_of_a_hub():
    class Timed(Available, hub_module.BaseHub):
        def __init__(self):
            super().__init__(time.monotonic)

    assert under(Timed, lambda hub: abs(hub.clock() - time.monotonic()) < 1)

    class Mistimed(Available, hub_module.BaseHub):
        def __init__(self):
            super().__init__(clock=time.time)

    with pytest.raises(ValueError, match="timers go by time.monotonic"):
        under(Mistimed, lambda hub: None)


def test_a_fork(hubclass):
    def program(hub):
        here, there = socket.socketpair()
        eventlet.sleep(0.001)
        pid = os.fork()
        if not pid:
            try:
                with eventlet.Timeout(5):
                    eventlet.spawn_after(0.001, there.send, b"!")
                    os._exit(0 if here.recv(1) == b"!" else 2)
            finally:
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        here.close()
        there.close()
        return status, eventlet.spawn(lambda: "tea").wait()

    assert under(hubclass, program) == (0, "tea")


@pytest.mark.parametrize("name", ["poll", "selects"])
def test_a_listener_of_a_descriptor_that_is_not_open_is_called_once_and_forgotten(name):
    def program(hub):
        log = []
        hub.add(READ, 1_000_000, log.append, None, None)
        eventlet.sleep(0.001)
        eventlet.sleep(0.001)
        assert hub.get_readers() == []
        return log

    assert under(name, program) == [1_000_000]
