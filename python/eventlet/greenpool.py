"""`GreenPool`, `GreenPile` and `GreenMap`: many green threads, a bounded number of them at a time.

The pool is native (`ext/src/greenpool.rs`). Piles and maps add the order of results on top of it: a
queue of green threads in the order of their spawning, from which the consumer waits for one after
the other. The helper of a map refers to the map only weakly: it ends when nobody can read further
results, so that a map that is dropped half read leaves nothing behind.
"""

import weakref

import greenlet._core as _core

from eventlet.queue import LightQueue

__all__ = ["GreenPile", "GreenPool"]

#: Whether a pool prints the exceptions of functions that run in it by `spawn_n`.
DEBUG = True


class GreenPool(_core.GreenPool):
    __doc__ = _core.GreenPool.__doc__

    def starmap(self, function, iterable):
        """Return an iterator over `function(*args)` for each *args* of *iterable*, in that order.

        As many calls run at a time as the pool is large, in places of their own: a member of the
        full pool can use it too. A helper green thread takes the arguments from *iterable*, never
        further ahead of the consumer than that. *function* None gives the arguments back. An
        exception, also one of *iterable*, is raised at its item's turn. *May switch: no; the
        iterator does.*

        >>> import eventlet
        >>> list(eventlet.GreenPool(2).starmap(pow, [(2, 3), (3, 2)]))
        [8, 9]
        """
        if function is None:
            function = _arguments
        results = GreenMap(self.size)
        waiters = results.waiters
        reader = weakref.ref(results, lambda _: _let_go(waiters))
        _core.spawn_n(_produce, function, iterable, results.pool, waiters, reader)
        return results

    def imap(self, function, *iterables):
        """Return an iterator over `function` applied to the items of *iterables* in parallel, in their order.

        Like `starmap`, with the arguments from `zip(*iterables)`. *May switch: no; the iterator
        does.*

        >>> import eventlet
        >>> list(eventlet.GreenPool(2).imap(str.upper, "tea"))
        ['T', 'E', 'A']
        """
        return self.starmap(function, zip(*iterables, strict=False))


def _arguments(*args):
    return args


def _produce(function, iterable, pool, waiters, reader):
    # The helper of a map: it ends when the queue is full and there is nobody to empty it.
    def is_stuck():
        return reader() is None and waiters.full()

    def give(function, *args):
        results = reader()
        if results is not None:
            results.counter += 1
        del results
        thread = pool.spawn(function, *args)  # may wait, and the reader be gone after that
        if not is_stuck():
            waiters.put(thread)
        return not is_stuck()

    try:
        for args in iterable:
            if not give(function, *args):
                return
    except BaseException as error:  # it is the consumer's, of whatever kind it is
        give(_raise, error)
    give(StopIteration)


def _let_go(waiters):
    # Nobody reads any more: room for the one result that the helper may be waiting to put.
    if waiters.putting():
        waiters.resize(waiters.maxsize + 1)


def _raise(error):
    raise error


class GreenPile:
    """Jobs in a pool whose results are read in the order of their spawning.

    *size_or_pool* is a `GreenPool` to share or the size of a new one. Iterate in the green thread
    that spawns: the iteration ends when nothing that was spawned is left to be read.

    >>> import eventlet
    >>> pile = eventlet.GreenPile(2)
    >>> for word in ("green", "tea"):
    ...     pile.spawn(len, word)
    >>> list(pile)
    [5, 3]
    """

    def __init__(self, size_or_pool=1000):
        if isinstance(size_or_pool, _core.GreenPool):
            self.pool = size_or_pool
        else:
            self.pool = GreenPool(size_or_pool)
        self.waiters = LightQueue()
        self.counter = 0

    def spawn(self, func, *args, **kw):
        """Run `func(*args, **kw)` in the pool; its result is read by iterating. *May switch: yes.*

        >>> import eventlet
        >>> pile = eventlet.GreenPile()
        >>> pile.spawn(max, 1, 2)
        >>> next(pile)
        2
        """
        self.counter += 1
        try:
            self.waiters.put(self.pool.spawn(func, *args, **kw))
        except BaseException:
            self.counter -= 1
            raise

    def __iter__(self):
        return self

    def next(self):
        """Return the next result or raise its exception; StopIteration if none is left. *May switch: yes.*"""
        if self.counter == 0:
            raise StopIteration
        return self._next()

    __next__ = next

    def _next(self):
        try:
            return self.waiters.get().wait()
        finally:
            self.counter -= 1


class GreenMap(GreenPile):
    """A pile for a producer and a consumer in different green threads.

    `spawn` waits while as many results as the pool is large have not been read; the iteration ends
    after `done_spawning`.
    """

    def __init__(self, size_or_pool):
        super().__init__(size_or_pool)
        self.waiters = LightQueue(maxsize=self.pool.size)

    def done_spawning(self):
        """Say that nothing more will be spawned: the iteration ends after what was. *May switch: yes.*"""
        self.spawn(StopIteration)

    def next(self):
        """Return the next result or raise its exception; StopIteration after the last. *May switch: yes.*"""
        result = self._next()
        if isinstance(result, StopIteration):
            raise result
        return result

    __next__ = next
