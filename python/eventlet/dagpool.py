"""`DAGPool`: green threads that need one another's results, started in any order.

Each has a key. It gets the results of the keys that it depends on, in the order in which they come
in, and its own result is kept under its key. Whoever waits for keys has a queue, registered under
each of them until its result is there: a result wakes only those who asked for it. Invariant: a key
is in `values` or in `coros` or in neither, never in both but for the moment in which its green
thread, having posted a result itself, comes to its end.
"""

from collections import namedtuple

from greenlet import getcurrent

from eventlet import greenthread
from eventlet.event import Event
from eventlet.queue import LightQueue

__all__ = ["Collision", "DAGPool", "PropagateError"]

_MISSING = object()

#: A green thread of the pool, and the set of keys whose results it has not got yet.
_Coro = namedtuple("_Coro", ("greenthread", "pending"))


class Collision(Exception):
    """The key is in use already: it has a result, or a green thread that works on one."""


class PropagateError(Exception):
    """Stands for the result of a green thread that ended with an exception; raised in who asks for it.

    *key* is the green thread's key, *exc* its exception: perhaps a `PropagateError` in turn, if it
    failed for want of another's result. `msg` is the text. It can be pickled if its parts can.

    >>> PropagateError("tea", ValueError("cold"))
    PropagateError('tea', ValueError('cold'))
    >>> print(_)
    PropagateError(tea): ValueError: cold
    """

    def __init__(self, key, exc):
        super().__init__(key, exc)
        self.key = key
        self.exc = exc
        text = str(exc)
        self.msg = f"PropagateError({key}): {type(exc).__name__}" + (f": {text}" if text else "")
        if isinstance(exc, BaseException):
            self.__cause__ = exc

    def __str__(self):
        return self.msg


class DAGPool:
    """Green threads with keys, which get the results of those they depend on.

    *preload*: a dictionary, or pairs, of results that are known already. The graph of dependencies
    must have no cycle: what waits for itself waits for ever (`waiting_for` tells).

    >>> pool = DAGPool({"water": "hot"})
    >>> def brew(key, upstream):
    ...     return f"{key} of {dict(upstream)}"
    >>> pool.spawn("tea", ["water", "leaves"], brew)
    >>> pool.post("leaves", "green")
    >>> pool["tea"]
    "tea of {'water': 'hot', 'leaves': 'green'}"
    """

    def __init__(self, preload={}):  # noqa: B006 (only read)
        #: Results by key, in the order in which they came in.
        self.values = dict(preload)
        #: What works on results, by key: pairs (green thread, keys it waits for).
        self.coros = {}
        #: Sent at the next result, then replaced.
        self.event = Event()
        self._takers = {}  # key -> queues of those who wait for it

    def waitall(self):
        """Return what `wait` returns without arguments. *May switch: yes.*

        >>> DAGPool({"tea": 1}).waitall()
        {'tea': 1}
        """
        return self.wait()

    def wait(self, keys=_MISSING):
        """Wait for all of *keys* (any iterable; left out: all known now) and return a dictionary of results.

        *May switch: yes.* Raises `PropagateError` as soon as a green thread among them has failed.

        >>> DAGPool({"tea": 1, "cup": 2}).wait(["tea"])
        {'tea': 1}
        """
        return dict(self.wait_each(keys))

    def wait_each(self, keys=_MISSING):
        """Return an iterator over pairs (key, result) of *keys*, each as soon as it is there.

        *keys*: any iterable; left out: all that are known now. *May switch: no; the iterator does.*
        It raises `PropagateError` at the turn of a green thread that has failed.

        >>> sorted(DAGPool({"tea": 1, "cup": 2}).wait_each())
        [('cup', 2), ('tea', 1)]
        """
        return self._checked(self._each(self._known(keys)))

    def wait_each_success(self, keys=_MISSING):
        """As `wait_each`, without those that have failed. *May switch: no; the iterator does.*

        >>> list(DAGPool({"tea": 1, "milk": PropagateError("milk", OSError())}).wait_each_success())
        [('tea', 1)]
        """
        pairs = self._each(self._known(keys))
        return (pair for pair in pairs if not isinstance(pair[1], PropagateError))

    def wait_each_exception(self, keys=_MISSING):
        """As `wait_each`, with only those that have failed and their `PropagateError` as the result.

        *May switch: no; the iterator does.*

        >>> list(DAGPool({"tea": 1, "milk": PropagateError("milk", OSError())}).wait_each_exception())
        [('milk', PropagateError('milk', OSError()))]
        """
        pairs = self._each(self._known(keys))
        return (pair for pair in pairs if isinstance(pair[1], PropagateError))

    def _known(self, keys):
        return {*self.values, *self.coros} if keys is _MISSING else set(keys)

    def _each(self, pending):
        # Yields (key, result) of the keys of the set `pending`, and takes them out of it.
        queue = LightQueue()
        for key in [key for key in self.values if key in pending] if pending else ():
            queue.put(key)
        missing = pending.difference(self.values)
        for key in missing:
            self._takers.setdefault(key, []).append(queue)
        try:
            while pending:
                key = queue.get()
                pending.discard(key)
                missing.discard(key)
                yield key, self.values[key]
        finally:
            for key in missing:  # those that were not waited for to the end
                takers = self._takers.get(key)
                if takers and queue in takers:
                    takers.remove(queue)
                    if not takers:
                        del self._takers[key]

    @staticmethod
    def _checked(pairs):
        try:
            for key, value in pairs:
                yield key, _value(value)
        finally:
            pairs.close()  # not when the traceback of an error goes, which refers to them

    def spawn(self, key, depends, function, *args, **kwds):
        """Run `function(key, upstream, *args, **kwds)` in a green thread; its result is kept under *key*.

        *upstream* is an iterator over pairs (key, result) of the keys *depends* (any iterable), each
        as soon as it is there. An exception is kept as a `PropagateError`. The function may `post`
        its result itself before it ends; what it returns then does not count. *May switch: no.*
        Raises `Collision` if *key* is in use.

        >>> pool = DAGPool()
        >>> pool.spawn("tea", (), lambda key, upstream: "hot")
        >>> pool["tea"]
        'hot'
        """
        if key in self.coros or key in self.values:
            raise Collision(f"{key!r} is in use: it has been spawned or posted before")
        pending = set(depends)
        upstream = self._checked(self._each(pending))
        thread = greenthread.spawn(self._run, function, key, upstream, args, kwds)
        self.coros[key] = _Coro(thread, pending)
        thread.link(self._forget, key)

    def spawn_many(self, depends, function, *args, **kwds):
        """Spawn one green thread per item of *depends*, a dictionary of what each key depends on.

        All run *function*, as `spawn` does. *May switch: no.* Raises `Collision`.

        >>> pool = DAGPool()
        >>> pool.spawn_many({"c": "ab", "a": "", "b": "a"}, lambda key, upstream: len(dict(upstream)))
        >>> pool["c"]
        2
        """
        for key, upstream in dict(depends).items():
            self.spawn(key, upstream, function, *args, **kwds)

    def _run(self, function, key, upstream, args, kwds):
        try:
            result = function(key, upstream, *args, **kwds)
        except Exception as error:
            result = PropagateError(key, error)
        finally:
            upstream.close()
        if key not in self.values:
            self._post(key, result)

    def _forget(self, thread, key):
        # Linked to each green thread, however it ends.
        if key in self.coros and self.coros[key].greenthread is thread:
            del self.coros[key]

    def kill(self, key):
        """Kill the green thread of *key* and forget it: the key can be used again. *May switch: yes.*

        Who waits for the key goes on waiting. Raises KeyError if no green thread works on it.

        >>> pool = DAGPool()
        >>> pool.spawn("tea", (), lambda key, upstream: "cold")
        >>> pool.kill("tea")
        >>> pool.post("tea", "hot")
        """
        self.coros.pop(key).greenthread.kill()

    def post(self, key, value, replace=False):
        """Give *key* the result *value*. *May switch: no.*

        Raises `Collision` if a green thread works on it, unless this is that green thread, or if it
        has a result, unless *replace* is true; who got the old result keeps it. A `PropagateError` as
        value counts as a failure.

        >>> pool = DAGPool()
        >>> pool.post("tea", "hot")
        >>> pool["tea"]
        'hot'
        """
        coro = self.coros.get(key)
        if coro is not None and coro.greenthread is not getcurrent():
            raise Collision(f"{key!r} cannot be posted: a green thread works on it")
        if key in self.values and not replace:
            raise Collision(f"{key!r} has a result already")
        self._post(key, value)

    def _post(self, key, value):
        self.values[key] = value
        for queue in self._takers.pop(key, ()):
            queue.put(key)
        event, self.event = self.event, Event()
        event.send()

    def __getitem__(self, key):
        """Wait for the result of *key* and return it. *May switch: yes.* Raises `PropagateError`."""
        for _, value in self._each({key}):
            return _value(value)

    def get(self, key, default=None):
        """Return the result of *key*, or *default* if it is not there yet. *May switch: no.*

        Raises `PropagateError` if its green thread has failed.

        >>> DAGPool().get("tea", "not yet")
        'not yet'
        """
        return _value(self.values.get(key, default))

    def keys(self):
        """Return a tuple of the keys that have results. *May switch: no.*

        >>> DAGPool({"tea": 1}).keys()
        ('tea',)
        """
        return tuple(self.values)

    def items(self):
        """Return a tuple of pairs (key, result) that are there. *May switch: no.* Raises `PropagateError`.

        >>> DAGPool({"tea": 1}).items()
        (('tea', 1),)
        """
        return tuple((key, _value(value)) for key, value in self.values.items())

    def running(self):
        """Return the number of green threads that have not ended. *May switch: no.*

        >>> DAGPool().running()
        0
        """
        return len(self.coros)

    def running_keys(self):
        """Return a tuple of the keys whose green threads have not ended. *May switch: no.*

        >>> DAGPool().running_keys()
        ()
        """
        return tuple(self.coros)

    def waiting(self):
        """Return the number of green threads that want for results of others. *May switch: no.*

        >>> DAGPool().waiting()
        0
        """
        return sum(1 for coro in self.coros.values() if self._wanting(coro))

    def waiting_for(self, key=_MISSING):
        """Return the set of keys whose results the green thread of *key* wants for. *May switch: no.*

        Without *key*: a dictionary of such sets for all that want for any. Raises KeyError for a key
        that is not known.

        >>> pool = DAGPool()
        >>> pool.spawn("tea", ["water"], lambda key, upstream: list(upstream))
        >>> pool.waiting_for("tea"), pool.waiting_for()
        ({'water'}, {'tea': {'water'}})
        >>> pool.kill("tea")
        """
        if key is _MISSING:
            found = ((name, self._wanting(coro)) for name, coro in self.coros.items())
            return {name: wanting for name, wanting in found if wanting}
        if key in self.coros:
            return self._wanting(self.coros[key])
        if key in self.values:
            return set()
        raise KeyError(key)

    def _wanting(self, coro):
        return coro.pending.difference(self.values)


def _value(value):
    # A result as its consumer sees it. Without the traceback of the consumer before.
    if isinstance(value, PropagateError):
        raise value.with_traceback(None)
    return value
