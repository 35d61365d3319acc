"""`metaphore`: a counter that can be waited for to be zero. `Event` and `Semaphore` have modules of
their own; programs that took them from here are served too.
"""

from eventlet.event import Event
from eventlet.semaphore import BoundedSemaphore, CappedSemaphore, Semaphore

__all__ = ["BoundedSemaphore", "CappedSemaphore", "Event", "Semaphore", "metaphore"]


class metaphore:
    """A counter of things under way, the inverse of a semaphore: it begins at zero, and `wait` waits for zero.

    >>> import eventlet
    >>> under_way = metaphore()
    >>> def work():
    ...     eventlet.sleep(0)
    ...     under_way.dec()
    >>> for _ in range(3):
    ...     under_way.inc()
    ...     _ = eventlet.spawn_n(work)
    >>> under_way.wait()
    >>> under_way.counter
    0
    """

    def __init__(self):
        #: What is under way.
        self.counter = 0
        self.event = Event()
        self.event.send()

    def inc(self, by=1):
        """Add *by* (a positive int). *May switch: no.* Raises AssertionError for what is not positive.

        >>> under_way = metaphore()
        >>> under_way.inc(2)
        >>> under_way.counter
        2
        """
        assert by > 0, f"metaphore.inc() expects by > 0, actual: {by!r}"
        self.counter += by
        if self.event.ready():
            self.event.reset()

    def dec(self, by=1):
        """Take *by* (a positive int) off; at zero, whoever waits goes on. *May switch: no.*

        Raises AssertionError for what is not positive or more than there is.

        >>> under_way = metaphore()
        >>> under_way.inc(2)
        >>> under_way.dec(2)
        >>> under_way.counter
        0
        """
        assert by > 0, f"metaphore.dec() expects by > 0, actual: {by!r}"
        assert by <= self.counter, f"metaphore.dec({by!r}) is more than the counter, {self.counter}"
        self.counter -= by
        if self.counter == 0:
            self.event.send()

    def wait(self):
        """Wait until the counter is zero; return at once if it is. *May switch: yes.*

        >>> metaphore().wait()
        """
        self.event.wait()
