"""The `select` module with a `select` that lets other green threads run, and a green `poll`.

`monkey_patch` puts only `select` into the standard module and removes what would block the whole
thread there; `poll` is for programs that import it from here.
"""

import select as _select

from greenlet import _core

from eventlet.patcher import original, slurp_properties

__patched__ = ["select"]
__deleted__ = ["devpoll", "poll", "epoll", "kqueue", "kevent"]

_original = original("select")
slurp_properties(_original, globals(), ignore=[*__patched__, *__deleted__], srckeys=dir(_original))
error = _select.error


def get_fileno(obj):
    """Return the descriptor of *obj*, an int or an object with ``fileno()``. Raises TypeError.

    >>> get_fileno(3)
    3
    """
    method = getattr(obj, "fileno", None)
    fileno = obj if method is None else method()
    if not isinstance(fileno, int):
        raise TypeError(f"Expected int or long, got {type(fileno)}")
    return fileno


def _deadline_seconds(timeout):
    if timeout is None:
        return None
    try:
        return float(timeout)
    except ValueError:
        raise TypeError("Expected number for timeout") from None


def select(rlist, wlist, xlist, timeout=None):
    """Wait until any descriptor is ready; return (readable, writable, exceptional) as in the
    standard module.

    *timeout*: seconds, None waits for ever, 0 (or less) only asks. The third list is checked and
    otherwise ignored, as upstream does. May switch: yes. Raises OSError for a closed descriptor,
    TypeError.
    """
    seconds = _deadline_seconds(timeout)
    readers = [(get_fileno(obj), obj) for obj in rlist]
    writers = [(get_fileno(obj), obj) for obj in wlist]
    for obj in xlist:
        get_fileno(obj)
    wanted = [(fd, 1) for fd, _ in readers] + [(fd, 4) for fd, _ in writers]
    ready = _core.wait_any(wanted, seconds)
    count = len(readers)
    readable = [obj for (_, obj), events in zip(readers, ready[:count], strict=True) if events & ~4]
    writable = [obj for (_, obj), events in zip(writers, ready[count:], strict=True) if events & ~1]
    return readable, writable, []


class poll:
    """A polling object with the methods of ``select.poll()``, whose `poll` lets other green threads
    run.

    >>> import os
    >>> r, w = os.pipe()
    >>> p = poll(); p.register(w, POLLOUT); p.poll() == [(w, POLLOUT)]
    True
    """

    def __init__(self):
        self._events = {}

    def register(self, fd, eventmask=_original.POLLIN | _original.POLLPRI | _original.POLLOUT):
        """Watch *fd* (int, or object with ``fileno()``) for *eventmask*."""
        self._events[get_fileno(fd)] = eventmask

    def modify(self, fd, eventmask):
        """Change the events of a watched descriptor. Raises FileNotFoundError."""
        fileno = get_fileno(fd)
        if fileno not in self._events:
            raise FileNotFoundError(2, "No such file or directory")
        self._events[fileno] = eventmask

    def unregister(self, fd):
        """Stop watching. Raises KeyError."""
        del self._events[get_fileno(fd)]

    def poll(self, timeout=None):
        """Return [(descriptor, events)] as soon as there are any. *timeout*: milliseconds; None or
        negative
        waits for ever. May switch: yes."""
        seconds = None if timeout is None or timeout < 0 else timeout / 1000
        wanted = list(self._events.items())
        ready = _core.wait_any(wanted, seconds, True)
        return [(fd, events) for (fd, _), events in zip(wanted, ready, strict=True) if events]
