"""The hub on poll.

It waits natively. A class derived from it that overrides `do_poll` or `register`, to ask something
else than poll(2) about descriptors, gets the loop around them.
"""

import contextlib
import errno
import select
import sys

from eventlet.hubs import hub

EXC_MASK = select.POLLERR | select.POLLHUP
READ_MASK = select.POLLIN | select.POLLPRI
WRITE_MASK = select.POLLOUT


def is_available():
    """Return whether this system has poll."""
    return hasattr(select, "poll")


class Hub(hub.BaseHub):
    """A hub that waits by poll.

    A listener may be added for a descriptor that is not open: it is called in the next turn and
    forgotten, so that whoever added it finds out by trying. *poll* is the poll object of a derived
    class that overrides `do_poll` or `register`.
    """

    BACKEND = "poll"
    #: What `do_poll` multiplies seconds by: poll objects count milliseconds.
    WAIT_MULTIPLIER = 1000.0

    def __init__(self, clock=None):
        super().__init__(clock)
        self.poll = select.poll()

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if cls.do_poll is not Hub.do_poll or cls.register is not Hub.register:
            for name in ("add", "remove", "remove_descriptor", "wait"):
                if getattr(cls, name) is getattr(Hub, name):
                    setattr(cls, name, getattr(_ByHand, name))
        if cls.wait is not Hub.wait and hasattr(select, "epoll"):
            cls.BACKEND = "epoll"  # which has a descriptor to be polled by the class

    def register(self, fileno, new=False):
        """Tell *poll* for what *fileno* has listeners now; *new*: it may have had none before."""
        mask = 0
        if fileno in self.listeners[hub.READ]:
            mask |= READ_MASK | EXC_MASK
        if fileno in self.listeners[hub.WRITE]:
            mask |= WRITE_MASK | EXC_MASK
        if not mask:
            with contextlib.suppress(KeyError, OSError):
                self.poll.unregister(fileno)
            return
        if not new:
            try:
                self.poll.modify(fileno, mask)
                return
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
        self.poll.register(fileno, mask)

    def do_poll(self, seconds):
        """Wait *seconds* at most (None: for ever); return pairs of descriptor and what happened."""
        return self.poll.poll(None if seconds is None else seconds * self.WAIT_MULTIPLIER)

    def _after_fork(self):
        super()._after_fork()
        self.poll = select.poll()

    def _watch(self, evtype, fileno):
        try:
            super()._watch(evtype, fileno)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            self.schedule_call_global(0, self.remove_descriptor, fileno)


class _ByHand:
    """Methods of derived classes that override `do_poll` or `register`."""

    def add(self, evtype, fileno, cb, tb, mark_as_closed):
        listener = hub.BaseHub.add(self, evtype, fileno, cb, tb, mark_as_closed)
        self.register(fileno, new=True)
        return listener

    def remove(self, listener):
        hub.BaseHub.remove(self, listener)
        self.register(listener.fileno)

    def remove_descriptor(self, fileno):
        hub.BaseHub.remove_descriptor(self, fileno)
        self.register(fileno)

    def wait(self, seconds=None):
        for fileno, happened in self.do_poll(seconds):
            if happened & select.POLLNVAL:
                self.remove_descriptor(fileno)
                continue
            for evtype, mask in ((hub.READ, READ_MASK), (hub.WRITE, WRITE_MASK)):
                if happened & (mask | EXC_MASK):
                    _call(self, self.listeners[evtype].get(fileno, hub.noop), fileno)


def _call(self, listener, fileno):
    try:
        listener.cb(fileno)
    except self.SYSTEM_EXCEPTIONS:
        raise
    except BaseException:
        self.squelch_exception(fileno, sys.exc_info())
