"""Idle hubs give back the memory of stacks that were not needed for a while."""

import os
import threading

import eventlet
import greenlet
import pytest
from eventlet import hubs
from greenlet import _core

KEPT = 256  # stacks that stay warm, whatever happens


def resident():
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def in_new_thread(function):
    """Runs a function in an OS thread whose hub gives back what was not needed for 10 ms."""
    outcome = []

    def target():
        before = _core._trim_after(0.01)
        try:
            hubs.get_hub()
        finally:
            _core._trim_after(before)
        outcome.append(function())

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    return outcome[0]


def warm():
    return _core._statistics()["stacks_warm"]


def until(condition):
    with eventlet.Timeout(20):
        while not condition():
            eventlet.sleep(0.005)


def test_the_stacks_of_a_burst_are_given_back():
    def thread():
        pool = eventlet.GreenPool(1000)
        for _ in range(1000):
            pool.spawn_n(eventlet.sleep, 0.001)
        pool.waitall()
        before = warm()
        until(lambda: warm() <= KEPT + 1)
        again = [eventlet.spawn(len, "tea") for _ in range(1000)]
        return before, [thread.wait() for thread in again]

    before, results = in_new_thread(thread)
    assert before > 900
    assert results == [3] * 1000


def test_stacks_that_are_needed_all_the_time_stay():
    def thread():
        lowest = []
        for _ in range(10):
            pool = eventlet.GreenPool(500)
            for _ in range(500):
                pool.spawn_n(eventlet.sleep, 0)
            pool.waitall()
            lowest.append(warm())
            eventlet.sleep(0.002)
        return lowest

    # A loaded machine may let a window pass between two bursts, but not between all of them.
    assert max(in_new_thread(thread)[1:]) >= 499


def deep(levels):
    """Uses some kilobytes of C stack for each level."""
    if levels:
        sorted([1, 2], key=lambda _: deep(levels - 1))
    return 0


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
def test_parked_green_threads_give_back_what_a_deep_call_has_used():
    def thread():
        gate = eventlet.Event()

        def body(number):
            deep(7)
            return gate.wait() + number

        threads = [eventlet.spawn(body, number) for number in range(200)]
        eventlet.sleep(0)
        before = resident()
        until(lambda: resident() < before - 200 * 16384)
        gate.send(1000)
        return [thread.wait() for thread in threads]

    assert in_new_thread(thread) == list(range(1000, 1200))


def test_an_idle_hub_is_not_woken_up_for_ever():
    def thread():
        wakes = []

        def watch():
            gate.wait()

        gate = eventlet.Event()
        parked = [eventlet.spawn(watch) for _ in range(3)]
        eventlet.sleep(0.05)
        usage = _context_switches()
        eventlet.sleep(0.15)  # fifteen windows
        wakes.append(_context_switches() - usage)
        gate.send()
        for each in parked:
            each.wait()
        return wakes[0]

    assert in_new_thread(thread) < 10


def _context_switches():
    with open("/proc/thread-self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines["voluntary_ctxt_switches"])


def test_greenlets_that_wait_for_a_plain_switch_are_left_alone():
    def thread():
        def body():
            deep(5)
            return greenlet.getcurrent().parent.switch("parked")

        plain = greenlet.greenlet(body)
        assert plain.switch() == "parked"
        eventlet.sleep(0.05)
        return plain.switch("tea")

    assert in_new_thread(thread) == "tea"
