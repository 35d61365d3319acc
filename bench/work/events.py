"""Ping-pong of two green threads by events that are sent once.

Invariant: an operation is a round trip: two new events, each waited for before it is sent.
"""

import eventlet
import meter
from eventlet.event import Event


def pingpong():
    """One operation: ask by one event, be answered by another."""

    def run(n):
        ask = Event()

        def answer():
            event = ask
            for _ in range(n):
                reply, following = event.wait()
                event = following
                reply.send(None)

        other = eventlet.spawn(answer)
        event = ask
        for _ in range(n):
            reply, following = Event(), Event()
            event.send((reply, following))
            event = following
            reply.wait()
        other.wait()

    return run


meter.main({"pingpong": meter.Work(pingpong)})
