"""Many green threads alive at once: time to start and to end one, and memory of one.

They wait for one event each batch, so that ending them is a wake-up and a return each.

Invariant: all are parked before the clock or the memory is read, and all have ended afterwards.
"""

import time

import eventlet
import meter
from eventlet.event import Event
from memory_of import occupied


def fill(kept, event):
    """Spawns as many as `kept` has places and lets all of them park."""
    spawn, wait = eventlet.spawn, event.wait
    for index in range(len(kept)):
        kept[index] = spawn(wait)
    eventlet.sleep(0)


def drain(kept, event):
    """Ends them all."""
    event.send()
    kept[-1].wait()
    eventlet.sleep(0)
    assert all(thread.dead for thread in kept)
    kept[:] = [None] * len(kept)


def timed(count, part):
    """CPU nanoseconds for each of `count` in one part of their life: 0 the start, 1 the end."""

    def prepare():
        def run(_):
            kept, event = [None] * count, Event()
            spent = []
            for step in (fill, drain):
                start = time.process_time_ns()
                step(kept, event)
                spent.append((time.process_time_ns() - start) / count)
            return spent[part]

        return run

    return prepare


def memory(count):
    """Bytes for each of `count` that wait."""

    def prepare():
        def run(_):
            kept, event = [None] * count, Event()
            eventlet.spawn(len, "").wait()
            before = occupied()
            fill(kept, event)
            grown = occupied() - before
            drain(kept, event)
            return grown / count

        return run

    return prepare


meter.main(
    {
        "start_100k": meter.Work(timed(100_000, 0), direct=True),
        "stop_100k": meter.Work(timed(100_000, 1), direct=True),
        "start_1m": meter.Work(timed(1_000_000, 0), direct=True),
        "stop_1m": meter.Work(timed(1_000_000, 1), direct=True),
        "memory_100k": meter.Work(memory(100_000), direct=True),
        "memory_1m": meter.Work(memory(1_000_000), direct=True),
    }
)
