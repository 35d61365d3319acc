"""Life and death of greenlets: create + run + finish, create + park + kill, throw round trip.

Invariant: every greenlet made by an operation is dead and unreferenced at its end.
"""

import meter
from greenlet import getcurrent, greenlet


class Thrown(Exception):
    """What the throw round trip throws."""


def finish():
    """Create a greenlet, run it, let it finish."""

    def body():
        pass

    def run(n):
        for _ in range(n):
            greenlet(body).switch()

    return run


def kill():
    """Create a greenlet, let it suspend itself, throw GreenletExit into it."""
    back = getcurrent().switch

    def body():
        back()

    def run(n):
        for _ in range(n):
            parked = greenlet(body)
            parked.switch()
            parked.throw()

    return run


def throw():
    """Throw an exception into a suspended greenlet, which catches it and switches back."""
    back = getcurrent().switch

    def body():
        while True:
            try:
                back()
            except Thrown:
                pass

    parked = greenlet(body)
    parked.switch()

    def run(n):
        hurl = parked.throw
        for _ in range(n):
            hurl(Thrown)

    return run


meter.main({"finish": meter.Work(finish), "kill": meter.Work(kill), "throw": meter.Work(throw)})
