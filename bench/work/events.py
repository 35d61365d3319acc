"""Ping-pong of two green threads by events that are sent once.

Invariant: an operation is a round trip and two new events; none is kept longer than its round.
"""

import eventlet
import meter
from eventlet.event import Event


def pingpong():
    """One operation: ask by one event, be answered by another."""

    def run(n):
        pair = [Event(), Event()]

        def answer():
            for _ in range(n):
                asked, replied = pair
                asked.wait()
                pair[:] = Event(), Event()  # of the next round
                replied.send(None)

        other = eventlet.spawn(answer)
        for _ in range(n):
            asked, replied = pair
            asked.send(None)
            replied.wait()
        other.wait()

    return run


meter.main({"pingpong": meter.Work(pingpong)})
