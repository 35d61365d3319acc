"""The `_thread` module for green threads: started here, they are scheduled by the hub.

The functions are those of `greenlet._core` (ext/src/thread_module.rs); this file gives them the names
that the running Python has in `_thread`. The main greenlet of an OS thread has that thread's identity.
"""

import _thread as _stdlib
import signal as _signal
import sys

from greenlet import GreenletExit, _core, getcurrent

from eventlet import hubs
from eventlet.greenthread import sleep
from eventlet.lock import Lock
from eventlet.patcher import slurp_properties

_names = [
    "LockType",
    "RLock",
    "_ThreadHandle",
    "_count",
    "_local",
    "_make_thread_handle",
    "_set_sentinel",
    "_shutdown",
    "allocate",
    "allocate_lock",
    "exit",
    "exit_thread",
    "get_ident",
    "interrupt_main",
    "lock",
    "start_joinable_thread",
    "start_new",
    "start_new_thread",
]
__patched__ = [name for name in _names if hasattr(_stdlib, name)]

slurp_properties(_stdlib, globals(), ignore=_names, srckeys=dir(_stdlib))

error = RuntimeError
TIMEOUT_MAX = _stdlib.TIMEOUT_MAX

LockType = lock = allocate_lock = allocate = Lock
RLock = _core.RLock
get_ident = _core.get_ident
start_new_thread = start_new = _core.start_new_thread
_count = _core.thread_count
get_ident.__module__ = "_thread"  # what the standard module exports must say that it is from there

_original_interrupt_main = _stdlib.interrupt_main
_original_set_sentinel = getattr(_stdlib, "_set_sentinel", None)
_original_shutdown = getattr(_stdlib, "_shutdown", None)


class ThreadExit(GreenletExit, SystemExit):
    """Raised by `exit`: ends a green thread as GreenletExit does, and an OS thread as SystemExit does."""


def exit():
    """End the calling green thread (or OS thread) silently. Raises SystemExit, which is a GreenletExit, too.

    >>> exit()
    Traceback (most recent call last):
        ...
    eventlet.green.thread.ThreadExit
    """
    raise ThreadExit


exit_thread = exit


def _interrupt(signum):
    # Python calls the handler when the call returns, in this frame: what it raises ends the hub, which
    # passes KeyboardInterrupt and SystemExit on to the main greenlet.
    _original_interrupt_main(signum)


def interrupt_main(signum=_signal.SIGINT):
    """Have the main thread act as if signal *signum* had arrived; the main greenlet, if a green thread asks.

    Nothing happens if the signal is ignored or has no handler. May switch: yes. Raises ValueError for a
    number that is no signal.
    """
    if getcurrent().parent is None or signum not in _signal.valid_signals():
        _original_interrupt_main(signum)
    elif callable(_signal.getsignal(signum)):
        hubs.get_hub().schedule_call_global(0, _interrupt, signum)
        sleep(0)


if sys.version_info < (3, 13):

    def _set_sentinel():
        """Return a lock that is released when the calling thread ends. May switch: no."""
        if getcurrent().parent is None:
            return _original_set_sentinel()
        return _core.release_at_end(Lock())


if sys.version_info >= (3, 13):
    start_joinable_thread = _core.start_joinable_thread
    _ThreadHandle = _core._ThreadHandle
    _make_thread_handle = _core.make_thread_handle

    def _shutdown():
        """Wait for all threads that are no daemons, green ones first. May switch: yes."""
        _core.join_threads()
        _original_shutdown()


def __getattr__(name):
    if name == "_local":  # made late: few programs that start threads here need it
        from eventlet.corolocal import local

        globals()[name] = local
        return local
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
