"""The order in which green threads run, and what reaches the main greenlet."""

import os
import signal
import socket
import sys
import threading
import time

import eventlet
import greenlet
import pytest
from eventlet import hubs


@pytest.fixture
def new_hub():
    """For tests that end the hub greenlet: starts the next one, whose stack then is nobody's leak."""
    yield
    eventlet.sleep(0.001)


def test_sleepers_take_turns():
    seen = []

    def run(name):
        for n in range(3):
            seen.append((name, n))
            eventlet.sleep(0)

    threads = [eventlet.spawn(run, name) for name in "abc"]
    for g in threads:
        g.wait()
    assert seen == [(name, n) for n in range(3) for name in "abc"]


def test_what_is_spawned_in_a_turn_waits_for_the_next_one():
    seen = []

    def first():
        eventlet.spawn_n(seen.append, "child")
        seen.append("first")

    eventlet.spawn_n(first)
    eventlet.spawn_n(seen.append, "second")
    eventlet.sleep()
    assert seen == ["first", "second"]
    eventlet.sleep()
    assert seen == ["first", "second", "child"]


def test_equal_deadlines_keep_their_order():
    seen = []
    hub = hubs.get_hub()
    for n in range(20):
        hub.schedule_call_global(0, seen.append, n)
    eventlet.sleep()
    assert seen == list(range(20))


def test_busy_green_threads_do_not_starve_a_socket():
    left, right = socket.socketpair()
    seen = []

    def spin():
        while not seen:
            eventlet.sleep(0)

    def read():
        hubs.trampoline(left.fileno(), read=True)
        seen.append(left.recv(1))

    with left, right:
        spinners = [eventlet.spawn(spin) for _ in range(3)]
        reader = eventlet.spawn(read)
        eventlet.sleep()
        right.send(b"x")
        reader.wait()
        for g in spinners:
            g.wait()
    assert seen == [b"x"]


def test_who_computes_between_yields_does_not_keep_a_socket_waiting():
    """A system call is spread over many short steps, but not over long ones."""
    left, right = socket.socketpair()
    steps, seen = [], []

    def reader():
        for _ in range(5):
            hubs.trampoline(left.fileno(), read=True, timeout=20)
            seen.append((left.recv(1), len(steps)))

    def compute():
        while len(seen) < 5:
            until = time.perf_counter() + 0.001
            while time.perf_counter() < until:
                pass
            steps.append(None)
            if len(steps) % 10 == 0:
                right.send(b"x")
            eventlet.sleep(0)

    threads = [eventlet.spawn(compute) for _ in range(3)]
    threads.append(eventlet.spawn(reader))
    for thread in threads:
        thread.wait()
    left.close()
    right.close()
    assert [data for data, _ in seen] == [b"x"] * 5
    # Each turn of the three takes longer than the kernel may be left alone.
    assert all(count - 10 * number < 7 for number, (_, count) in enumerate(seen, 1)), seen


def test_a_busy_socket_does_not_starve_timers():
    left, right = socket.socketpair()
    done = []

    def ping(one, other):
        while not done:
            hubs.trampoline(one.fileno(), read=True)
            one.recv(1)
            other.send(b"x")

    with left, right:
        left.send(b"x")
        # Each reads what the other's partner sent: one byte goes round for ever.
        a = eventlet.spawn(ping, right, right)
        b = eventlet.spawn(ping, left, left)
        eventlet.spawn_after(0.01, done.append, 1).wait()
        a.kill()
        b.kill()
    assert done == [1]


@pytest.mark.parametrize("start", [eventlet.spawn, lambda f: eventlet.spawn_after(0, f)])
def test_many_busy_sockets_starve_neither_wakes_nor_timers(start):
    count, limit = 100, 2000
    turns, seen = [], []

    def work(number):
        while not seen and len(turns) < limit:
            hubs.trampoline(number, write=True)  # ready at every poll
            turns.append(number)
            if len(turns) == 5 * count:  # all are at it, and the kernel has just been asked
                start(lambda: seen.append(len(turns)))

    left, right = socket.socketpair()
    numbers = [os.dup(left.fileno()) for _ in range(count)]
    with left, right:
        workers = [eventlet.spawn(work, number) for number in numbers]
        for worker in workers:
            worker.wait()
        for number in numbers:
            os.close(number)
    assert seen and seen[0] <= 6 * count


def test_a_dying_green_thread_hands_over_to_the_next():
    order = []
    for n in range(5):
        eventlet.spawn_n(order.append, n)
    eventlet.spawn(order.append, "last").wait()
    assert order == [0, 1, 2, 3, 4, "last"]


def test_an_exception_is_reported_and_the_hub_goes_on(capsys):
    def fail():
        raise ValueError("reported once")

    eventlet.spawn_n(fail)
    eventlet.sleep()
    assert capsys.readouterr().err.count("ValueError: reported once") == 1
    assert eventlet.spawn(len, "tea").wait() == 3


def test_an_exception_in_a_callback_is_reported_and_the_hub_goes_on(capsys):
    hubs.get_hub().schedule_call_global(0, int, "x")
    eventlet.sleep()
    assert "ValueError: invalid literal" in capsys.readouterr().err
    assert eventlet.spawn(len, "tea").wait() == 3


def test_reports_can_be_switched_off(capsys):
    hub = hubs.get_hub()
    hub.set_timer_exceptions(False)
    try:
        eventlet.spawn_n(int, "x")
        eventlet.sleep()
    finally:
        hub.set_timer_exceptions(True)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt])
def test_system_exceptions_reach_the_main_greenlet(exception, new_hub):
    def leave():
        raise exception(3)

    eventlet.spawn_n(leave)
    with pytest.raises(exception):
        eventlet.sleep(60)
    assert eventlet.spawn(len, "tea").wait() == 3


def test_ctrl_c_ends_a_wait_of_the_hub_at_once(new_hub):
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            eventlet.sleep(60)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert eventlet.spawn(len, "tea").wait() == 3


def test_a_signal_handler_runs_while_the_hub_waits():
    done = eventlet.Event()
    previous = signal.signal(signal.SIGUSR1, lambda *_: done.send("signal"))
    killer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
    killer.start()
    try:
        # the hub has nothing else to wake up for: a handler that waited for its turn would be late
        assert done.wait(timeout=10) == "signal"
    finally:
        killer.join()  # a signal after the handler is gone would end the process
        signal.signal(signal.SIGUSR1, previous)


def test_killing_the_hub_raises_in_the_main_greenlet_and_a_new_hub_takes_over(new_hub):
    hub = hubs.get_hub()
    eventlet.sleep()
    old = hub.greenlet
    sleeper = eventlet.spawn(eventlet.sleep, 0.01)
    eventlet.sleep()
    with pytest.raises(ZeroDivisionError):
        old.throw(ZeroDivisionError)
    assert old.dead
    assert sleeper.wait() is None
    assert hubs.get_hub().greenlet is not old


def test_each_os_thread_has_a_hub_of_its_own():
    found = []

    def other():
        found.append(hubs.get_hub())
        found.append(eventlet.spawn(len, "tea").wait())
        eventlet.sleep(0.001)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert found[1] == 3
    assert found[0] is not hubs.get_hub()


def test_a_green_thread_of_another_os_thread_cannot_be_switched_to():
    made = []
    ready, done = threading.Event(), threading.Event()

    def other():
        made.append(eventlet.spawn(eventlet.sleep, 60))
        eventlet.sleep()
        ready.set()
        done.wait()
        made[0].kill()

    thread = threading.Thread(target=other)
    thread.start()
    ready.wait()
    with pytest.raises(greenlet.error, match="different thread"):
        made[0].switch()
    done.set()
    thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_can_use_green_threads():
    sleeper = eventlet.spawn(eventlet.sleep, 60)
    eventlet.sleep()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            left, right = socket.socketpair()
            right.send(b"x")
            hubs.trampoline(left.fileno(), read=True, timeout=5)
            status = 0 if eventlet.spawn(len, "tea").wait() == 3 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    eventlet.sleep(0.001)
    sleeper.kill()


def test_recursion_depth_of_the_parker_is_not_inherited():
    depths = []

    def measure():
        depth = 0

        def go():
            nonlocal depth
            depth += 1
            go()

        with pytest.raises(RecursionError):
            go()
        depths.append(depth)

    def park(levels):
        if levels:
            return park(levels - 1)
        eventlet.spawn(measure).wait()

    park(0)
    park(sys.getrecursionlimit() // 2)
    assert abs(depths[0] - depths[1]) < 20
