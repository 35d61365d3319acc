"""Greenlet switch round trips: shallow and under 50 nested C calls, parent-child and siblings.

A round trip is two switches.  Depth comes from nested ``sorted(key=...)``: every level is a real
frame of list.sort on the C stack of the suspended greenlet.

Invariant: the loops hold nothing but the switches; both sides bind their method beforehand.
"""

import meter
from greenlet import getcurrent, greenlet

DEPTH = 50


def nested(levels, bottom):
    """Calls ``bottom()`` below that many nested calls of ``sorted``."""
    if levels == 0:
        return bottom()
    return sorted([0], key=lambda _: nested(levels - 1, bottom))


def parent_and_child(levels):
    """The current greenlet switches to a child that is suspended below ``levels`` C calls."""

    def prepare():
        back = getcurrent().switch

        def bottom():
            while True:
                back()

        switch = greenlet(lambda: nested(levels, bottom)).switch
        switch()

        def run(n):
            for _ in range(n):
                switch()

        return run

    return prepare


def siblings(levels):
    """Two children switch to each other, both below ``levels`` C calls."""

    def prepare():
        main = getcurrent()
        todo = 0

        def ping():
            to_pong = second.switch
            while True:
                for _ in range(todo):
                    to_pong()
                main.switch()

        def pong():
            to_ping = first.switch
            main.switch()
            while True:
                to_ping()

        first = greenlet(lambda: nested(levels, ping))
        second = greenlet(lambda: nested(levels, pong))
        second.switch()
        first.switch()

        def run(n):
            nonlocal todo
            todo = n
            first.switch()

        return run

    return prepare


meter.main(
    {
        "shallow": meter.Work(parent_and_child(0)),
        "deep": meter.Work(parent_and_child(DEPTH)),
        "siblings": meter.Work(siblings(0)),
        "siblings_deep": meter.Work(siblings(DEPTH)),
    }
)
