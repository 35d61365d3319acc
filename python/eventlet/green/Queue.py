"""The `queue` module for green threads: `eventlet.queue` with the standard library's reading of *maxsize*.

There 0 means a queue without bound, and in `eventlet.queue` a rendezvous. `monkey_patch` leaves the
classes of the standard module alone: over green locks they are green as they are.
"""

import queue as _stdlib
import types

from eventlet import queue as _queue
from eventlet.lock import Lock
from eventlet.patcher import slurp_properties

# What monkey_patch puts into the standard module; importers of this one get all of it.
__patched__ = ["SimpleQueue"]

slurp_properties(
    _stdlib,
    globals(),
    ignore=["LifoQueue", "PriorityQueue", "Queue", "SimpleQueue"],
    srckeys=dir(_stdlib),
)

Empty = _queue.Empty
Full = _queue.Full


def _bound(maxsize):
    return None if maxsize <= 0 else maxsize


class _WithMutex:
    # Programs that use the standard class clear it by `with q.mutex: q.queue.clear()`. Between two
    # switches a green thread is alone anyhow; the lock keeps two such programs apart.

    def __init__(self, maxsize=0):
        super().__init__(_bound(maxsize))
        self.mutex = Lock()


class Queue(_WithMutex, _queue.Queue):
    """A green first-in first-out queue. *maxsize*: items it holds at most; 0 or less: any number.

    >>> q = Queue()
    >>> q.put('tea')
    >>> q.get()
    'tea'
    """


class PriorityQueue(_WithMutex, _queue.PriorityQueue):
    """A green queue that gives the smallest item first; *maxsize* as for `Queue`."""


class LifoQueue(_WithMutex, _queue.LifoQueue):
    """A green queue that gives the newest item first; *maxsize* as for `Queue`."""


class SimpleQueue:
    """A green queue without bound and without `join`, with the methods of `queue.SimpleQueue`.

    >>> q = SimpleQueue()
    >>> q.put('tea')
    >>> q.get_nowait(), q.empty()
    ('tea', True)
    """

    def __init__(self):
        self._queue = _queue.LightQueue()

    def put(self, item, block=True, timeout=None):
        """Add *item*; the other arguments change nothing. May switch: no."""
        self._queue.put_nowait(item)

    def put_nowait(self, item):
        """Add *item*. May switch: no."""
        self._queue.put_nowait(item)

    def get(self, block=True, timeout=None):
        """Take the oldest item; wait for one if *block*, at most *timeout* seconds (None: for ever).

        May switch: yes. Raises Empty, ValueError for a negative timeout.
        """
        if block and timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        return self._queue.get(block, timeout)

    def get_nowait(self):
        """Take the oldest item. May switch: no. Raises Empty."""
        return self._queue.get(False)

    def empty(self):
        """Return whether there is no item."""
        return self._queue.empty()

    def qsize(self):
        """Return the number of items."""
        return self._queue.qsize()

    def __class_getitem__(cls, item):
        """Return ``SimpleQueue[item]``, for annotations."""
        return types.GenericAlias(cls, item)
