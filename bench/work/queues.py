"""Items through a queue: put and get without waiting, and handed from one green thread to another.

Invariant: every item that is put is taken, by the same number of operations on both sides.
"""

import eventlet
import meter
from eventlet.queue import Queue


def unbounded():
    """One operation: put and get, with one item in the queue and nobody waiting."""

    def run(n):
        queue = Queue()
        put, get = queue.put, queue.get
        for _ in range(n):
            put(1)
            get()

    return run


def handed_over():
    """One operation: an item from a producer to a consumer through a queue of size 1."""

    def run(n):
        queue = Queue(1)

        def produce():
            put = queue.put
            for number in range(n):
                put(number)

        producer = eventlet.spawn(produce)
        get = queue.get
        for _ in range(n):
            get()
        producer.wait()

    return run


meter.main({"unbounded": meter.Work(unbounded), "handed_over": meter.Work(handed_over)})
