"""Across OS threads: a call in the thread pool, and an item handed to another thread and back.

Invariant: of the hand-over the elapsed time is measured, not the processor's: it is waiting that
counts.
"""

import time

import eventlet
import meter
from eventlet import patcher, tpool
from eventlet.queue import Queue

ITEMS = 1000


def pool():
    """One operation: `tpool.execute` of a function that does nothing."""
    tpool.execute(int)

    def run(n):
        execute = tpool.execute
        for _ in range(n):
            execute(int)

    return run


def handed_over():
    """Nanoseconds of a round trip through two queues between two OS threads."""
    if not hasattr(eventlet, "__implementation__"):
        raise SystemExit("an item put by another OS thread never wakes a getter of upstream's")
    there, back = Queue(), Queue()

    def answer():
        while (item := there.get()) is not None:
            back.put(item)

    patcher.original("threading").Thread(target=answer, daemon=True).start()

    def run(_n):
        start = time.perf_counter_ns()
        for number in range(ITEMS):
            there.put(number)
            back.get()
        return (time.perf_counter_ns() - start) / ITEMS

    return run


meter.main({"pool": meter.Work(pool), "handed_over": meter.Work(handed_over, direct=True)})
