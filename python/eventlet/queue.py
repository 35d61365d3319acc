"""Queues for green threads and OS threads: `Queue`, `PriorityQueue`, `LifoQueue` and `LightQueue`.

The classes are native (`ext/src/queue.rs`). A queue of size 0 is a channel: `put` waits until `get`
takes the item. `Waiter` and `ItemWaiter` are what upstream's queues are made of, for programs that
use them.
"""

import traceback
from queue import Empty, Full

from greenlet import getcurrent
from greenlet._core import LifoQueue, LightQueue, PriorityQueue, Queue, queue_shut_down

from eventlet.hubs import get_hub

__all__ = ["Empty", "Full", "LifoQueue", "LightQueue", "PriorityQueue", "Queue", "ShutDown"]

#: What `put` and `get` raise after `shutdown`: `queue.ShutDown` where the standard library has it (3.13).
ShutDown = queue_shut_down()


class Waiter:
    """One greenlet that waits for a `switch` or `throw` made in the hub.

    >>> from eventlet import hubs
    >>> waiter = Waiter()
    >>> _ = hubs.get_hub().schedule_call_global(0, waiter.switch, "tea")
    >>> waiter.wait()
    'tea'
    """

    __slots__ = ["greenlet"]

    def __init__(self):
        self.greenlet = None

    def __repr__(self):
        waiting = " waiting" if self.waiting else ""
        return f"<{type(self).__name__} at {hex(id(self))}{waiting} greenlet={self.greenlet!r}>"

    def __str__(self):
        waiting = " waiting" if self.waiting else ""
        return f"<{type(self).__name__}{waiting} greenlet={self.greenlet}>"

    def __bool__(self):
        return self.greenlet is not None

    @property
    def waiting(self):
        """Whether a greenlet waits."""
        return self.greenlet is not None

    def switch(self, value=None):
        """Let the greenlet continue with *value*; AssertionError outside of the hub. *May switch: yes.*"""
        self._enter("switch", value)

    def throw(self, *throw_args):
        """Raise an exception in the greenlet; AssertionError outside of the hub. *May switch: yes.*"""
        self._enter("throw", *throw_args)

    def _enter(self, way, *args):
        assert getcurrent() is get_hub().greenlet, (
            "Can only use Waiter.switch method from the mainloop"
        )
        if self.greenlet is not None:
            try:
                getattr(self.greenlet, way)(*args)
            except Exception:
                traceback.print_exc()

    def wait(self):
        """Wait for `switch`, whose value is returned, or `throw`. *May switch: yes.*"""
        assert self.greenlet is None, f"This Waiter is already used by {self.greenlet!r}"
        self.greenlet = getcurrent()
        try:
            return get_hub().switch()
        finally:
            self.greenlet = None


class ItemWaiter(Waiter):
    """A waiter that brings an item."""

    __slots__ = ["block", "item"]

    def __init__(self, item, block):
        super().__init__()
        self.item = item
        self.block = block
