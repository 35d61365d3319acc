"""Calls in a pool of OS threads: for code that blocks and cannot be made green.

Only the green thread that calls waits. The pool is native (`ext/src/tpool.rs`): its threads start
when there is work for them, and a finished call wakes its green thread through the inbox of the
hub. Look-ups of names and files have a pool of their own.
"""

import atexit
import copy
import os
import queue
import traceback
import warnings

from greenlet import GreenletExit, _core
from greenlet._core import tpool_execute as execute

from eventlet import greenthread, patcher, timeout

__all__ = ["Proxy", "execute", "killall", "set_num_threads"]

#: If false, exceptions of calls are printed where they are waited for, besides being raised there.
QUIET = True

#: What a call may raise, and what upstream's threads ended by; all of it reaches the caller here.
EXC_CLASSES = (Exception, timeout.Timeout)
SYS_EXCS = (GreenletExit, KeyboardInterrupt, SystemExit)

#: Seconds that calls under way have to end when the interpreter exits.
EXIT_PATIENCE = 1.0

_nthreads = int(os.environ.get("EVENTLET_THREADPOOL_SIZE", 20))
_threads = []  # of the pool, in the order in which they were started
_reqq = _rspq = None  # made by `setup`: calls that wait, and (always empty) results that do


def setup():
    """Open the pool, which `execute` does by itself. *May switch: no.*

    Its size is that of `set_num_threads`, or of the environment variable EVENTLET_THREADPOOL_SIZE
    at the import, or 20. Without threads there is a RuntimeWarning, and calls are made in place.
    Raises AssertionError for a negative size.

    >>> from eventlet import tpool
    >>> tpool.setup()
    """
    global _reqq, _rspq
    if _core.thread_pool() is not None:
        return
    assert _nthreads >= 0, "Can't specify negative number of threads"
    if _nthreads == 0:
        warnings.warn(
            "Zero threads in tpool. All tpool.execute calls will execute in main thread."
            " Check the value of the environment variable EVENTLET_THREADPOOL_SIZE.",
            RuntimeWarning,
            stacklevel=2,
        )
    _rspq = queue.SimpleQueue()
    _reqq = _core.open_thread_pool(_nthreads)


def _start_thread(pool, system):
    """Start a thread that *pool* has asked for. Called natively."""
    threading = patcher.original("threading")
    kind = "tpool" if not system else "eventlet"
    thread = threading.Thread(
        target=pool.serve,
        args=(True,),
        name=f"{kind}_thread_{pool.threads - 1}",
        daemon=True,
    )
    thread.start()
    if not system:
        _threads.append(thread)


def _report(error):
    traceback.print_exception(type(error), error, error.__traceback__)
    traceback.print_stack()


def killall():
    """End the pool's threads: each when the calls that were made so far are done. *May switch: yes.*

    Returns when they have ended; the next `execute` opens a new pool. From a thread of the pool it
    does not wait. Run at exit, where calls have `EXIT_PATIENCE` seconds to end.

    >>> from eventlet import tpool
    >>> tpool.execute(len, "tea")
    3
    >>> tpool.killall()
    """
    _end(None)


def _end(patience):
    pool = _core.close_thread_pool()
    if pool is None:
        return
    threads = _threads[:]
    del _threads[:]
    if pool.stop(patience):
        for thread in threads:
            thread.join()  # they have nothing left to do


def _forget_threads():
    del _threads[:]


atexit.register(lambda: _end(EXIT_PATIENCE))
os.register_at_fork(after_in_child=_forget_threads)


def set_num_threads(nthreads):
    """Set the most threads that the pool may have; holds from the next `setup` on. *May switch: no.*

    Call it before the first `execute`, or after `killall`.

    >>> from eventlet import tpool
    >>> tpool.set_num_threads(20)
    """
    global _nthreads
    _nthreads = nthreads


def tworker():
    """Make calls of the pool in the calling OS thread, until `killall`. *May switch: no.*"""
    setup()
    _core.thread_pool().serve()


def tpool_trampoline():
    """Let green threads go on whose calls have ended. *May switch: yes.*

    The hub does so by itself: finished calls come through its inbox. Kept for upstream's programs.
    """
    greenthread.sleep(0)


def proxy_call(autowrap, f, *args, **kwargs):
    """Return ``f(*args, **kwargs)``, called by `execute`; as a `Proxy` if it is an instance of *autowrap*.

    *autowrap* is a class or a tuple of classes. With the keyword argument ``nonblocking=True``,
    which *f* does not get, the call is made in place. *May switch: yes.*

    >>> from eventlet import tpool
    >>> tpool.proxy_call((), len, "tea")
    3
    """
    if kwargs.pop("nonblocking", False):
        result = f(*args, **kwargs)
    else:
        result = execute(f, *args, **kwargs)
    return Proxy(result, autowrap) if isinstance(result, autowrap) else result


class Proxy:
    """An object whose methods are called by `execute`, so that they block only the green thread.

    *obj* is the object. Results (and attributes) that are instances of a class in *autowrap*, or that
    come from a method or attribute named in *autowrap_names*, are proxies, too. The keyword argument
    ``nonblocking=True`` makes one call in place.

    Comparing, hashing, printing, truth value, length and starting an iteration are done in place,
    everything else in the pool.

    >>> from eventlet import tpool
    >>> shelf = tpool.Proxy(["cup"])
    >>> shelf.append("tea")
    >>> shelf[1], len(shelf)
    ('tea', 2)
    """

    def __init__(self, obj, autowrap=(), autowrap_names=()):
        self._obj = obj
        self._autowrap = autowrap
        self._autowrap_names = autowrap_names

    def _wrapped(self, name, value):
        if name in self._autowrap_names and not isinstance(value, Proxy):
            return Proxy(value)
        return value

    def __getattr__(self, attr_name):
        if attr_name in ("_obj", "_autowrap", "_autowrap_names"):
            raise AttributeError(attr_name)  # not set yet: a copy is being made
        value = getattr(self._obj, attr_name)
        if callable(value):

            def method(*args, **kwargs):
                result = proxy_call(self._autowrap, value, *args, **kwargs)
                return self._wrapped(attr_name, result)

            return method
        if isinstance(value, self._autowrap):
            return Proxy(value, self._autowrap)
        return self._wrapped(attr_name, value)

    # In the pool.

    def __getitem__(self, key):
        return proxy_call(self._autowrap, self._obj.__getitem__, key)

    def __setitem__(self, key, value):
        return proxy_call(self._autowrap, self._obj.__setitem__, key, value)

    def __deepcopy__(self, memo=None):
        return self._like(execute(copy.deepcopy, self._obj, memo))

    def __copy__(self):
        return self._like(execute(copy.copy, self._obj))

    def _like(self, obj):
        return type(self)(obj, self._autowrap, self._autowrap_names)

    def __call__(self, *args, **kwargs):
        result = proxy_call(self._autowrap, self._obj, *args, **kwargs)
        return self._wrapped("__call__", result)

    def __enter__(self):
        return proxy_call(self._autowrap, self._obj.__enter__)

    def __exit__(self, *exc):
        return proxy_call(self._autowrap, self._obj.__exit__, *exc)

    def __next__(self):
        return proxy_call(self._autowrap, next, self._obj)

    # In place.

    def __eq__(self, rhs):
        return self._obj == (rhs._obj if isinstance(rhs, Proxy) else rhs)

    def __hash__(self):
        return hash(self._obj)

    def __repr__(self):
        return repr(self._obj)

    def __str__(self):
        return str(self._obj)

    def __len__(self):
        return len(self._obj)

    def __bool__(self):
        return bool(self._obj)

    def __iter__(self):
        iterator = iter(self._obj)
        return self if iterator is self._obj else Proxy(iterator, self._autowrap)
