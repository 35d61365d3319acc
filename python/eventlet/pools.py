"""`Pool`: a bounded number of things (connections, tokens) that green threads take and give back.

Who must wait for an item waits in `channel`, a native queue of size 0. What goes through it is only a
chance: the item itself stays in `free_items` until the woken green thread runs and takes it. So an
item cannot be lost with a green thread that is killed meanwhile, and the queue passes the chance on.
Invariant: as many chances are under way (`_chances`) as green threads were woken; who comes later
does not overtake them.
"""

import contextlib
from collections import deque

from eventlet.queue import Full, LightQueue

__all__ = ["Pool", "TokenPool"]

_CHANCE = object()


class Pool:
    """Things of one kind to be taken by `get` and given back by `put`; made when they are needed.

    *min_size* of them are made at once, and never more than *max_size* exist. *order_as_stack*: the
    one that was given back last is taken first, so that a pool in little use wears out few of them.
    *create* (a function without arguments) makes one; without it a subclass overrides `create`. *May
    switch: if `create` does.*

    >>> pool = Pool(max_size=2, create=dict)
    >>> pool.free()
    2
    >>> with pool.item() as item:
    ...     item["tea"] = 1
    ...     pool.free()
    1
    """

    def __init__(self, min_size=0, max_size=4, order_as_stack=False, create=None):
        self.min_size = min_size
        self.max_size = max_size
        self.order_as_stack = order_as_stack
        if create is not None:
            self.create = create
        #: How many exist, taken or free, those that are being made included.
        self.current_size = 0
        #: Where green threads wait.
        self.channel = LightQueue(0)
        #: Those that can be taken.
        self.free_items = deque()
        self._chances = 0
        for _ in range(min_size):
            self.current_size += 1
            self.free_items.append(self.create())

    def get(self):
        """Return an item: a free one, a new one, or, when all are taken, the next that is given back.

        Whoever waits longest is served first. What `create` raises is passed on, and the pool is as
        before. *May switch: yes.*

        >>> Pool(create=list).get()
        []
        """
        if len(self.free_items) > self._chances:
            return self.free_items.popleft()
        if self._available() <= self._chances:
            while True:
                item = self.channel.get()
                if item is not _CHANCE:
                    return item
                self._chances -= 1
                if self._available():
                    break
        if self.free_items:
            return self.free_items.popleft()
        self.current_size += 1
        try:
            return self.create()
        except BaseException:
            self.current_size -= 1
            self._offer()
            raise

    @contextlib.contextmanager
    def item(self):
        """Return a context manager that takes an item and gives it back. *May switch: on entry.*

        >>> pool = Pool(create=list)
        >>> with pool.item() as item:
        ...     item.append("tea")
        >>> pool.get()
        ['tea']
        """
        item = self.get()
        try:
            yield item
        finally:
            self.put(item)

    def put(self, item):
        """Give *item* back; a pool that has become too large forgets it. *May switch: no.*

        >>> pool = Pool(max_size=1, create=list)
        >>> item = pool.get()
        >>> pool.put(item)
        >>> pool.get() is item
        True
        """
        if self.current_size > self.max_size:
            self.current_size -= 1
            return
        if self.order_as_stack:
            self.free_items.appendleft(item)
        else:
            self.free_items.append(item)
        if self.channel.getting():
            self._offer()

    def resize(self, new_size):
        """Change how many items may exist. *May switch: no.*

        A larger pool serves who waits. A smaller one takes no item away: it forgets those that are
        put back until it fits.

        >>> pool = Pool(max_size=1, create=list)
        >>> pool.resize(3)
        >>> pool.free()
        3
        """
        self.max_size = new_size
        while self._available() > self._chances and self._offer():
            pass

    def free(self):
        """Return how many items can be taken without waiting; negative after `resize` to less than are out.

        *May switch: no.*

        >>> Pool(max_size=3).free()
        3
        """
        return len(self.free_items) + self.max_size - self.current_size

    def waiting(self):
        """Return how many green threads wait in `get`. *May switch: no.*

        >>> Pool(max_size=3).waiting()
        0
        """
        return self.channel.getting()

    def create(self):
        """Return a new item; a subclass overrides this, or passes *create*. *May switch: as it does.*

        Raises NotImplementedError here.

        >>> class Cups(Pool):
        ...     def create(self):
        ...         return "cup"
        >>> Cups().get()
        'cup'
        """
        raise NotImplementedError("Implement in subclass")

    def _available(self):
        # What get() can have at once: a free item, or room to make one.
        return len(self.free_items) + max(0, self.max_size - self.current_size)

    def _offer(self):
        # Gives a chance to who waits longest; False if nobody waits.
        if not self.channel.getting():
            return False
        self._chances += 1
        try:
            self.channel.put_nowait(_CHANCE)
        except Full:  # it was not waiting any more
            self._chances -= 1
            return False
        return True


class Token:
    """What a `TokenPool` is made of: it stands for the right to do something."""


class TokenPool(Pool):
    """A pool of tokens: a limit on how many green threads do something at a time.

    >>> pool = TokenPool(max_size=1)
    >>> with pool.item() as token:
    ...     pool.free()
    0
    """

    def create(self):
        """Return a new `Token`. *May switch: no.*"""
        return Token()
