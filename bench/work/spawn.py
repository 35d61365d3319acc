"""Spawning green threads: one and wait, many and wait, one and kill, spawn_n and a GreenPool drained.

Invariant: every green thread has run to its end before the round ends; the collector is on.
"""

import eventlet
import meter

BATCH = 10_000


def body():
    """What the spawned green threads do."""


def one_by_one():
    """spawn one, wait for it, again."""

    def run(n):
        spawn = eventlet.spawn
        for _ in range(n):
            spawn(body).wait()

    return run


def together():
    """spawn a batch, then wait for each of it."""

    def run(n):
        spawn = eventlet.spawn
        for thread in [spawn(body) for _ in range(n)]:
            thread.wait()

    return run


def spawn_n():
    """spawn_n a batch and let it drain."""

    def run(n):
        drained = False

        def last():
            nonlocal drained
            drained = True

        spawn = eventlet.spawn_n
        for _ in range(n - 1):
            spawn(body)
        spawn(last)
        while not drained:
            eventlet.sleep(0)

    return run


def pool():
    """GreenPool(1000).spawn_n a batch, then waitall."""

    def run(n):
        pool = eventlet.GreenPool(1000)
        spawn = pool.spawn_n
        for _ in range(n):
            spawn(body)
        pool.waitall()

    return run


def kill():
    """spawn one, let it park, kill it."""

    def run(n):
        spawn, sleep = eventlet.spawn, eventlet.sleep
        for _ in range(n):
            parked = spawn(sleep, 3600)
            sleep(0)
            parked.kill()

    return run


meter.main(
    {
        "one_by_one": meter.Work(one_by_one),
        "together": meter.Work(together, ops=BATCH),
        "spawn_n": meter.Work(spawn_n, ops=BATCH),
        "pool": meter.Work(pool, ops=BATCH),
        "kill": meter.Work(kill),
    }
)
