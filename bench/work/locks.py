"""A semaphore that is free, and one that two green threads want all the time.

Invariant: a contended semaphore is held across a switch, so that each acquire has to wait.
"""

import eventlet
import meter
from eventlet.semaphore import Semaphore


def free():
    """One operation: a with block, nobody else wants the semaphore."""
    semaphore = Semaphore()

    def run(n):
        for _ in range(n):
            with semaphore:
                pass

    return run


def contended():
    """One operation: a with block for which another green thread has to let go first."""

    def run(n):
        semaphore = Semaphore()

        def work():
            sleep = eventlet.sleep
            for _ in range(n // 2):
                with semaphore:
                    sleep(0)

        other = eventlet.spawn(work)
        work()
        other.wait()

    return run


meter.main({"free": meter.Work(free), "contended": meter.Work(contended)})
