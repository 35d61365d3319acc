"""Timers: 100k scheduled and fired, 100k scheduled and cancelled, a Timeout that never fires.

Invariant: deadlines are scattered (a fixed permutation), so that the timer queue has to sort, and
the first benchmark checks that every timer has fired.
"""

import eventlet
import meter
from eventlet import hubs

COUNT = 100_000
STRIDE = 61_803  # coprime to COUNT: index * STRIDE % COUNT visits every number once
SCATTERED = [index * STRIDE % COUNT * 0.01 / COUNT for index in range(COUNT)]


def fired():
    """Schedule timers over 10 ms in scattered order and wait until all have fired."""

    def run(n):
        seen = []
        add = seen.append
        schedule = hubs.get_hub().schedule_call_global
        for delay in SCATTERED:
            schedule(delay, add, None)
        eventlet.sleep(0.02)
        assert len(seen) == n, f"{len(seen)} of {n} timers fired"

    return run


def cancelled():
    """Schedule timers far in the future, cancel them all, let the hub take note."""
    delays = [1000 + delay for delay in SCATTERED]

    def run(_):
        hub = hubs.get_hub()
        schedule = hub.schedule_call_global
        timers = [schedule(delay, body) for delay in delays]
        for timer in timers:
            timer.cancel()
        eventlet.sleep(0)

    return run


def body():
    """What the cancelled timers would call."""


def timeout():
    """Enter and leave a Timeout of 10 s; every thousand times the hub gets a turn."""

    def run(n):
        limit = eventlet.Timeout
        for done in range(n):
            with limit(10):
                pass
            if done % 1000 == 999:
                eventlet.sleep(0)

    return run


meter.main(
    {
        "fired": meter.Work(fired, ops=COUNT),
        "cancelled": meter.Work(cancelled, ops=COUNT),
        "timeout": meter.Work(timeout),
    }
)
