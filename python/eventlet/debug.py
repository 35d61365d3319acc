"""Tools to look at a running program: what the hub waits for, what exceptions it sees, what lines it runs."""

import inspect
import linecache
import os
import re
import signal
import sys

from greenlet import _core

from eventlet import _census, hubs

__all__ = [
    "dump_on_signal",
    "format_asyncio_info",
    "format_hub_listeners",
    "format_hub_timers",
    "format_threads",
    "format_threads_info",
    "hub_blocking_detection",
    "hub_deadlock_detection",
    "hub_exceptions",
    "hub_listener_stacks",
    "hub_prevent_multiple_readers",
    "hub_timer_stacks",
    "print_threads",
    "spawn_stacks",
    "spew",
    "tpool_exceptions",
    "unspew",
]

_words = re.compile(r"\W+")


class Spew:
    """A trace function that prints each line before it runs, with the values of the names in it.

    *trace_names* limits it to modules of these names; *show_values* false leaves the values out.
    """

    def __init__(self, trace_names=None, show_values=True):
        self.trace_names = trace_names
        self.show_values = show_values

    def __call__(self, frame, event, arg):
        if event == "line":
            name, line = self._where(frame)
            if self.trace_names is None or name in self.trace_names:
                print(f"{name}:{frame.f_lineno}: {line.rstrip()}")
                if self.show_values:
                    self._show(frame, line)
        return self

    def _where(self, frame):
        filename = frame.f_globals.get("__file__")
        if filename is not None:
            if filename.endswith((".pyc", ".pyo")):
                filename = filename[:-1]
            return frame.f_globals["__name__"], linecache.getline(filename, frame.f_lineno)
        try:
            lines, first = inspect.getsourcelines(frame)
            return "[unknown]", lines[frame.f_lineno - max(first, 1)]
        except (OSError, IndexError):
            return (
                "[unknown]",
                f"Unknown code named [{frame.f_code.co_name}].  VM instruction #{frame.f_lasti}",
            )

    def _show(self, frame, line):
        shown = [
            f"{word}={names[word]!r}"
            for word in _words.split(line)
            for names in (frame.f_globals, frame.f_locals)
            if word in names
        ]
        if shown:
            print("\t" + " ".join(shown))


def spew(trace_names=None, show_values=False):
    """Print every line that runs from now on (see `Spew`); very slow. *May switch: no.*"""
    sys.settrace(Spew(trace_names, show_values))


def unspew():
    """End what `spew` began. *May switch: no.*"""
    sys.settrace(None)


def format_hub_listeners():
    """Return a text that lists who waits to read and to write. *May switch: no.*

    >>> format_hub_listeners().splitlines()[0]
    'READERS:'
    """
    hub = hubs.get_hub()
    readers, writers = map(repr, hub.get_readers()), map(repr, hub.get_writers())
    return os.linesep.join(["READERS:", *readers, "WRITERS:", *writers])


def format_hub_timers():
    """Return a text that lists the pending timers. *May switch: no.*

    >>> format_hub_timers().splitlines()[0]
    'TIMERS:'
    """
    return os.linesep.join(["TIMERS:", *map(repr, sorted(hubs.get_hub().timers))])


def format_asyncio_info():
    """Return a text that lists the tasks of the running asyncio loop. *May switch: no.*"""
    import asyncio

    return os.linesep.join(
        ["TASKS:", repr(asyncio.all_tasks()), f"EVENTLOOP: {asyncio.get_event_loop()}"]
    )


def format_threads_info():
    """Return a text that lists what `threading` knows as threads. *May switch: no.*"""
    import threading

    return os.linesep.join(["THREADS:", repr(threading._active)])


def format_threads():
    """Return a text that lists every greenlet of every OS thread: stack, age, what it waits for, who spawned it.

    *May switch: no.*

    >>> "main greenlet" in format_threads()
    True
    """
    return _format(sys._getframe().f_back)


def _format(frame):
    return "\n".join(_census.Census(frame).format()) + "\n"


def print_threads(file=None):
    """Write what `format_threads` returns to *file*, a text file; None is `sys.stderr`. *May switch: no.*

    >>> print_threads(sys.stdout)  # doctest: +ELLIPSIS
    OS thread MainThread ...
    """
    _census.write(_format(sys._getframe().f_back), file)


def dump_on_signal(signum=signal.SIGUSR1, file=None):
    """Write what `format_threads` returns to *file* whenever the process gets the signal *signum*.

    None is `sys.stderr` of that moment. It also works while a green thread computes and never yields; only C
    code that does not return to the interpreter delays it. Returns the previous handler, for
    `signal.signal`. Raises ValueError outside of the main thread and for what is no signal. *May switch: no.*

    >>> previous = dump_on_signal(signal.SIGUSR2)
    >>> _ = signal.signal(signal.SIGUSR2, previous)
    """

    def dump(signum, frame):
        _census.write(_format(frame), file)

    return signal.signal(signum, dump)


def spawn_stacks(state=True):
    """Let green threads that are spawned from now on remember the stack of their spawner, or not.

    `format_threads` shows it. Costs about a microsecond and a list per spawn. Returns what was set before.
    Counts for the whole process. *May switch: no.*

    >>> spawn_stacks(True)
    False
    >>> spawn_stacks(False)
    True
    """
    return _core.record_spawn_stacks(bool(state))


def hub_listener_stacks(state=False):
    """Let listeners of descriptors remember where they were made, or not. *May switch: no.*"""
    hubs.get_hub().set_debug_listeners(state)


def hub_timer_stacks(state=False):
    """Let timers remember where they were made, or not. *May switch: no.*"""
    from eventlet.hubs import timer

    timer._g_debug = state
    _core.record_timer_stacks(bool(state))


def hub_prevent_multiple_readers(state=True):
    """Refuse a second green thread that waits for the same descriptor and direction, or allow it.

    Who gets what is then a matter of luck; give each green thread its own connection instead.
    Counts for the whole process. Raises RuntimeError where it is to be allowed under the asyncio hub,
    as upstream, whose programs may rely on it. *May switch: no.*
    """
    if not state and not getattr(_core.existing_hub(), "MULTIPLE_READERS", True):
        raise RuntimeError("the asyncio hub does not allow several readers of one descriptor")
    _core.prevent_multiple_readers(bool(state))


def hub_exceptions(state=True):
    """Print the exceptions that green threads and timers end with, or not. *May switch: no.*"""
    hubs.get_hub().set_timer_exceptions(state)
    from eventlet import greenpool

    greenpool.DEBUG = state


def tpool_exceptions(state=False):
    """Print the exceptions of functions that `tpool` runs, or only raise them. *May switch: no.*"""
    from eventlet import tpool

    tpool.QUIET = not state


def hub_deadlock_detection(state=True, after=1.0):
    """Report a hub that nothing can wake any more, or not; it is on at first.

    Once such a hub has waited for *after* seconds, a report goes to `sys.stderr`: who waits for whom, and
    what `format_threads` returns. While other OS threads live or the program handles signals, which may
    wake somebody, only a cycle of locks or of waits for the end of green threads is reported. Counts for
    the whole process. Raises ValueError for an *after* that is not positive. *May switch: no.*

    >>> hub_deadlock_detection(False)
    >>> hub_deadlock_detection(True)
    """
    _core.deadlock_patience(float(after) if state else None)


def hub_blocking_detection(state=False, resolution=1):
    """Raise RuntimeError, by SIGALRM, in code that does not yield for *resolution* seconds; or stop.

    For debugging only: it ends the task that is caught. *May switch: no.*
    """
    assert resolution > 0
    hub = hubs.get_hub()
    hub.debug_blocking = state
    hub.debug_blocking_resolution = resolution
    if not state:
        hub.block_detect_post()
