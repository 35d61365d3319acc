"""Green threads: `spawn` and its relatives, `sleep`, `kill`, `GreenThread`.

Everything that schedules is native (`ext/src/greenthread.rs`); this module gives it upstream's
address and keeps the deprecated names.
"""

import functools
import warnings

from greenlet import GreenletExit, _core, greenlet
from greenlet._core import (
    GreenThread,
    cancel,
    getcurrent,
    inherit_context,
    kill,
    sleep,
    spawn,
    spawn_after,
    spawn_after_local,
    spawn_n,
)

from eventlet import timeout
from eventlet.hubs import timer

__all__ = [
    "GreenThread",
    "GreenletExit",
    "cancel",
    "getcurrent",
    "inherit_context",
    "kill",
    "sleep",
    "spawn",
    "spawn_after",
    "spawn_after_local",
    "spawn_n",
]


def _deprecated(text):
    warnings.warn(text, DeprecationWarning, stacklevel=3)


def call_after_global(seconds, func, *args, **kwargs):
    """Deprecated: use `spawn_after`. Runs *func* in a greenlet after *seconds*; returns the timer."""
    _deprecated("call_after_global() is deprecated: use spawn_after()")
    hub = _core.get_hub()
    return hub.schedule_call_global(seconds, greenlet(func, hub.greenlet).switch, *args, **kwargs)


def call_after_local(seconds, function, *args, **kwargs):
    """Deprecated: use `spawn_after_local`. As `call_after_global`, unless the caller has ended by then."""
    _deprecated("call_after_local() is deprecated: use spawn_after_local()")
    hub = _core.get_hub()
    return hub.schedule_call_local(
        seconds, greenlet(function, hub.greenlet).switch, *args, **kwargs
    )


call_after = call_after_local


def exc_after(seconds, *throw_args):
    """Deprecated: use `Timeout`. Raises in the caller after *seconds*; returns the timer."""
    _deprecated("exc_after() is deprecated: use Timeout(seconds, exception)")
    if seconds is None:
        return timer.Timer(seconds, lambda: None)
    return _core.get_hub().schedule_call_local(seconds, getcurrent().throw, *throw_args)


class TimeoutError(timeout.Timeout):
    """Deprecated: use `eventlet.Timeout`."""

    def __init__(self, *args, **kwargs):
        _deprecated("greenthread.TimeoutError is deprecated: use Timeout")
        super().__init__(*args, **kwargs)


@functools.wraps(timeout.with_timeout)
def with_timeout(*args, **kwargs):
    _deprecated("greenthread.with_timeout() is deprecated: use eventlet.with_timeout()")
    return timeout.with_timeout(*args, **kwargs)
