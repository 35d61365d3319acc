"""`Timeout` and what belongs to it.

The class is native (`ext/src/timeout.rs`). `with_timeout` runs a function under one; `is_timeout`
and `wrap_is_timeout` let exceptions of other libraries count as timeouts.
"""

import builtins
import functools
import inspect

from greenlet._core import Timeout

__all__ = ["Timeout", "is_timeout", "with_timeout", "wrap_is_timeout"]

_NOTHING = object()


def with_timeout(seconds, function, *args, **kwds):
    """Return `function(*args, **kwds)`, broken off by a `Timeout` after *seconds*.

    With the keyword *timeout_value* that value is returned instead of raising, but only for this
    timeout: one set around the call still passes through. *seconds* None never breaks off. *May
    switch: if the function does.*

    >>> import eventlet
    >>> eventlet.with_timeout(0.001, eventlet.sleep, 1, timeout_value="late")
    'late'
    """
    timeout_value = kwds.pop("timeout_value", _NOTHING)
    timeout = Timeout(seconds)
    try:
        return function(*args, **kwds)
    except Timeout as raised:
        if raised is timeout and timeout_value is not _NOTHING:
            return timeout_value
        raise
    finally:
        timeout.cancel()


def wrap_is_timeout(base):
    """Make the exceptions of *base* answer True to `is_timeout`.

    A class gets a property and is returned. Any other callable is wrapped: what it returns gets the
    attribute. *May switch: no.*

    >>> @wrap_is_timeout
    ... class Late(Exception):
    ...     pass
    >>> Late().is_timeout
    True
    """
    if inspect.isclass(base):
        base.is_timeout = property(lambda _self: True)
        return base

    @functools.wraps(base)
    def make(*args, **kwargs):
        error = base(*args, **kwargs)
        error.is_timeout = True
        return error

    return make


def is_timeout(obj):
    """Return whether *obj* is a timeout: ours, the built-in `TimeoutError`, or one that says so itself.

    *May switch: no.*

    >>> is_timeout(TimeoutError()), is_timeout(ValueError())
    (True, False)
    """
    return bool(getattr(obj, "is_timeout", False)) or isinstance(obj, builtins.TimeoutError)
