"""`BaseHub`: what programs see of a hub, and its listeners with Python callbacks.

Scheduling is native (`greenlet._core.Hub`, `ext/src/hub.rs`): green threads that wait for a
descriptor do not pass through here. This module keeps the listeners that `add` registers by hand,
one for each descriptor and direction plus *secondaries* behind it, and upstream's protocol for
descriptors that are closed and used again.
"""

import errno
import inspect
import math
import signal
import sys
import time
import traceback

import greenlet
from greenlet import _core

from eventlet.hubs import timer

__all__ = ["READ", "WRITE", "BaseHub", "DebugListener", "FdListener"]

READ = "read"
WRITE = "write"

_SECOND = (
    "Second simultaneous {0} on fileno {1} detected.  Unless you really know what you're doing, "
    "make sure that only one greenthread can {0} any particular socket.  Consider using a "
    "pools.Pool. If you do know what you're doing and want to disable this error, call "
    "eventlet.debug.hub_prevent_multiple_readers(False) - MY THREAD={2}; THAT THREAD={3}"
)


def __getattr__(name):
    if name == "g_prevent_multiple_readers":
        return _core.prevent_multiple_readers()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def arm_alarm(seconds):
    """Let the kernel send SIGALRM after *seconds*. *May switch: no.*"""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
    else:
        signal.alarm(math.ceil(seconds))


def alarm_handler(signum, frame):
    """Raise RuntimeError: the code in *frame* has kept the hub from running for too long."""
    # A green thread whose function is native has no frame.
    where = " native code" if frame is None else str(inspect.getframeinfo(frame))
    raise RuntimeError("Blocking detector ALARMED at" + where)


def closed_callback(fileno):
    """Take the place of the callback of a listener whose descriptor is gone: does nothing."""


class FdListener:
    """Somebody who wants to know when *fileno* is ready for *evtype* (`READ` or `WRITE`).

    *cb* is called with the descriptor when it is. *tb* is called with an exception if the
    descriptor turns out to have been closed; *mark_as_closed* without arguments at once then, if it
    is not None.
    """

    def __init__(self, evtype, fileno, cb, tb, mark_as_closed):
        assert evtype is READ or evtype is WRITE
        self.evtype = evtype
        self.fileno = fileno
        self.cb = cb
        self.tb = tb
        self.mark_as_closed = mark_as_closed
        self.spent = False
        self.greenlet = greenlet.getcurrent()

    def __repr__(self):
        return f"{type(self).__name__}({self.evtype!r}, {self.fileno!r}, {self.cb!r}, {self.tb!r})"

    __str__ = __repr__

    def defang(self):
        """Make it harmless: its descriptor is gone. *May switch: no.*"""
        self.cb = closed_callback
        if self.mark_as_closed is not None:
            self.mark_as_closed()
        self.spent = True


class DebugListener(FdListener):
    """A listener that remembers where it was made (`debug.hub_listener_stacks`)."""

    def __init__(self, evtype, fileno, cb, tb, mark_as_closed):
        self.where_called = traceback.format_stack()
        super().__init__(evtype, fileno, cb, tb, mark_as_closed)

    def __repr__(self):
        parts = (self.evtype, self.fileno, self.cb, self.tb, self.mark_as_closed, self.greenlet)
        shown = ", ".join(map(repr, parts))
        return f"DebugListener({shown})\n{''.join(self.where_called)}EndDebugFdListener"

    __str__ = __repr__


noop = FdListener(READ, 0, closed_callback, closed_callback, None)


class BaseHub(_core.Hub):
    """The hub of one OS thread. Get it by `eventlet.hubs.get_hub()`.

    A class derived from it may override any part: how the hub runs (`run`, `wait`, `fire_timers`,
    `prepare_timers`, `sleep_until`), how timers are added (`add_timer`), how a greenlet leaves for
    the hub (`switch`), who watches descriptors (`add`, `remove`). What it leaves alone is native. See
    `docs/hubs.md`.

    *clock*: None, or `time.monotonic`, which is what timers go by. Raises ValueError for another.

    >>> from eventlet import hubs
    >>> hubs.get_hub().schedule_call_global(60, print, "tea").cancel()
    """

    SYSTEM_EXCEPTIONS = (KeyboardInterrupt, SystemExit)
    READ = READ
    WRITE = WRITE
    debug_blocking_resolution = 1

    def __init__(self, clock=None):
        super().__init__()
        if clock not in (None, time.monotonic):
            raise ValueError(f"timers go by time.monotonic, not by {clock!r}")
        self.listeners = {READ: {}, WRITE: {}}
        self.secondaries = {READ: {}, WRITE: {}}
        self.closed = []
        self.lclass = FdListener
        self._watches = {}
        self._closers = {}
        self._old_signal_handler = None
        #: Whether the class asks the kernel about the listeners, and not this one.
        self._polls = self._overrides("wait")
        #: The listener of the native hub, where the class does the waiting.
        self._guest = None
        self._own = None
        self._in_turn = False

    # A class that runs itself

    def _overrides(self, *names):
        return any(getattr(type(self), name) is not getattr(BaseHub, name) for name in names)

    def _begin_outside(self):
        # Called natively before `run` of a class that overrides a part of it.
        runs = self._overrides("run")
        if self._guest is None and (self._polls or (runs and self._overrides("add"))):
            self._own = self.fileno()
            self._guest = self.add(READ, self._own, self._give_turn, self._give_turn, None)
        if runs:
            self._give_turn()

    def _give_turn(self, *_):
        if self._in_turn:
            return
        self._in_turn = True
        try:
            wanted = self.turn()
        finally:
            self._in_turn = False
        # A loop of another kind knows no other deadlines than those of timers that it is given.
        if wanted and self._overrides("run") and self._overrides("add_timer", "sleep_until"):
            self.add_timer(timer.Timer(wanted, self._give_turn))

    def _before_native_wait(self):
        # Called natively by `wait`: a class's own may go on to here, and has not polled itself then.
        if self._polls:
            self._polls = False
            if self._guest is not None:
                self.remove(self._guest)
                self._guest = None
            for evtype in (READ, WRITE):
                for fileno in self.listeners[evtype]:
                    self._watch(evtype, fileno)

    def _dropped(self):
        """Called after `use_hub` has put another hub in this one's place: gives back what it holds."""

    def _abandoned(self):
        """Called when the OS thread of a hub that runs itself has ended, and the loop with it."""

    # Listeners

    def add(self, evtype, fileno, cb, tb, mark_as_closed):
        """Call `cb(fileno)` in the hub whenever *fileno* is ready, until the listener is removed.

        Returns the listener, for `remove`. A second one for the same descriptor and *evtype* is a
        RuntimeError, or waits behind the first if `debug.hub_prevent_multiple_readers(False)` was
        called. Raises OSError for what is no open descriptor. *May switch: no.*
        """
        self.check_thread()
        listener = self.lclass(evtype, fileno, cb, tb, mark_as_closed)
        bucket = self.listeners[evtype]
        if fileno in bucket:
            if _core.prevent_multiple_readers():
                raise RuntimeError(_SECOND.format(evtype, fileno, cb, bucket[fileno]))
            self.secondaries[evtype].setdefault(fileno, []).append(listener)
        else:
            self._watch(evtype, fileno)
            bucket[fileno] = listener
        return listener

    def remove(self, listener):
        """Forget a listener; one that waits behind it takes its place. *May switch: no.*"""
        self.check_thread()
        if listener.spent:
            return
        fileno, evtype = listener.fileno, listener.evtype
        waiting = self.secondaries[evtype].get(fileno)
        if listener is self.listeners[evtype].get(fileno):
            if waiting:
                self.listeners[evtype][fileno] = waiting.pop(0)
            else:
                del self.listeners[evtype][fileno]
                self._unwatch(evtype, fileno)
        elif waiting:
            waiting.remove(listener)
        if waiting is not None and not waiting:
            del self.secondaries[evtype][fileno]

    def remove_descriptor(self, fileno):
        """Call every listener of *fileno* once more and forget them all. *May switch: yes.*"""
        self.check_thread()
        everyone = []
        for evtype in (READ, WRITE):
            everyone.append(self.listeners[evtype].get(fileno, noop))
        for evtype in (READ, WRITE):
            everyone.extend(self.secondaries[evtype].get(fileno, ()))
        for listener in everyone:
            try:
                listener.cb(fileno)
            except Exception:
                self.squelch_generic_exception(sys.exc_info())
        for evtype in (READ, WRITE):
            self.listeners[evtype].pop(fileno, None)
            self.secondaries[evtype].pop(fileno, None)
            self._unwatch(evtype, fileno)

    def _watch(self, evtype, fileno):
        if self._polls or fileno == self._own:
            return
        key = self.watch(fileno, evtype is WRITE, self._ready, (evtype, fileno))
        self._watches[evtype, fileno] = key

    def _unwatch(self, evtype, fileno):
        key = self._watches.pop((evtype, fileno), None)
        if key is not None:
            self.unwatch(key)

    def _ready(self, place):
        # Called by the hub, once for each `_watch`.
        evtype, fileno = place
        self._watches.pop(place, None)
        listener = self.listeners[evtype].get(fileno, noop)
        try:
            listener.cb(fileno)
        except self.SYSTEM_EXCEPTIONS:
            raise
        except BaseException:
            self.squelch_exception(fileno, sys.exc_info())
        finally:
            if fileno in self.listeners[evtype] and place not in self._watches:
                try:
                    self._watch(evtype, fileno)
                except OSError:
                    self.remove_descriptor(fileno)

    def get_readers(self):
        """Return the listeners that wait to read: those added by hand, and one for each green thread."""
        return [*self._added(READ), *self._parked(READ)]

    def get_writers(self):
        """Return the listeners that wait to write: those added by hand, and one for each green thread."""
        return [*self._added(WRITE), *self._parked(WRITE)]

    def _added(self, evtype):
        everyone = self.listeners[evtype].values()
        return [listener for listener in everyone if listener is not self._guest]

    def _parked(self, evtype):
        listeners = []
        for thread, fileno, write in self.parked_on_descriptors():
            if write == (evtype is WRITE):
                listener = self.lclass(evtype, fileno, thread.switch, thread.throw, None)
                listener.greenlet = thread
                listeners.append(listener)
        return listeners

    def set_debug_listeners(self, value):
        """Let new listeners remember where they were made, or not."""
        self.lclass = DebugListener if value else FdListener

    # Descriptors that are closed and used again

    def notify_close(self, fileno):
        """Take note that *fileno* was closed: listeners learn of it when it is used again."""
        _core.notify_close(fileno)

    def mark_as_reopened(self, fileno):
        """Take note that *fileno* is a new descriptor: whoever waits for the old one gets `IOClosed`."""
        self.check_thread()
        self._obsolete(fileno)
        for mark_as_closed in self._closers.pop(fileno, {}).values():
            mark_as_closed()
        _core.forget_reopened(fileno)

    def _obsolete(self, fileno):
        gone = []
        for evtype in (READ, WRITE):
            gone.extend(self.secondaries[evtype].pop(fileno, ()))
            if fileno in self.listeners[evtype]:
                gone.append(self.listeners[evtype].pop(fileno))
                self._unwatch(evtype, fileno)
        for listener in gone:
            listener.defang()
            self.closed.append(listener)
            self.schedule_call_global(0, self.close_one)
        return bool(gone)

    def close_one(self):
        """Tell one greenlet whose descriptor was closed under it. *May switch: yes.*"""
        if not self.closed:
            return
        listener = self.closed.pop(0)
        if not listener.greenlet.dead:
            listener.tb(_core.IOClosed(errno.ENOTCONN, "Operation on closed file"))

    def _after_fork(self):
        # Called natively in the child of a fork: what was registered belongs to the parent.
        self.listeners = {READ: {}, WRITE: {}}
        self.secondaries = {READ: {}, WRITE: {}}
        self.closed = []
        self._watches = {}
        self._closers = {}
        self._guest = self._own = None
        self._in_turn = False

    # Exceptions

    def squelch_generic_exception(self, exc_info):
        """Print an exception, unless `set_timer_exceptions(False)` was called."""
        if self.debug_exceptions:
            traceback.print_exception(*exc_info)
            sys.stderr.flush()

    def squelch_timer_exception(self, timer, exc_info):
        """Print the exception of a timer, unless `set_timer_exceptions(False)` was called."""
        self.squelch_generic_exception(exc_info)

    def squelch_exception(self, fileno, exc_info):
        """Print the exception of a listener and remove its descriptor."""
        traceback.print_exception(*exc_info)
        sys.stderr.write(f"Removing descriptor: {fileno!r}\n")
        sys.stderr.flush()
        try:
            self.remove_descriptor(fileno)
        except Exception as error:
            sys.stderr.write(f"Exception while removing descriptor! {error!r}\n")
            sys.stderr.flush()

    def set_timer_exceptions(self, value):
        """Print the exceptions of timers and green threads, or not."""
        self.debug_exceptions = value

    # Blocking detector

    def block_detect_pre(self):
        """Let SIGALRM interrupt code that runs for longer than `debug_blocking_resolution` seconds."""
        old = signal.signal(signal.SIGALRM, alarm_handler)
        if old != alarm_handler:
            self._old_signal_handler = old
        arm_alarm(self.debug_blocking_resolution)

    def block_detect_post(self):
        """End what `block_detect_pre` began."""
        if self._old_signal_handler:
            signal.signal(signal.SIGALRM, self._old_signal_handler)
        signal.alarm(0)

    def default_sleep(self):
        """Return 60.0, how long upstream's hub sleeps at most; ours sleeps until it is needed."""
        return 60.0
