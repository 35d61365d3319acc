"""The hub on an asyncio loop: coroutines and green threads side by side in one OS thread.

The native hub is a guest of the loop: it has one descriptor, readable when green threads have
something to do, and one deadline. Both give it a *turn*, in which green threads that are ready hand
over to each other without the loop; a turn is bounded, so that coroutines do not starve. Coroutines
run in the hub's greenlet, so they must not block: they await.

This is the one module of the package that schedules.
"""

import asyncio
import contextlib
import errno
import os
import select
import signal
import weakref

from greenlet import _core

from eventlet.hubs import hub
from eventlet.support import asyncio_modules


def is_available():
    """Return whether this system can run the hub: it needs epoll."""
    return hasattr(select, "epoll")


class _SleepEvent(asyncio.Event):
    """Set it to give green threads a turn: what upstream's hub waits for between two of them."""

    def __init__(self, give_turn):
        super().__init__()
        self._give_turn = give_turn

    def set(self):
        super().set()
        self._give_turn()


def _close(loop):
    if not loop.is_running() and not loop.is_closed():
        loop.close()


class Hub(hub.BaseHub):
    """A hub that runs in an asyncio loop of its own, which becomes the thread's current one.

    *loop* is that loop, *sleep_event* an `asyncio.Event` that gives green threads a turn when set.
    A coroutine gets there by `eventlet.asyncio.spawn_for_awaitable`, or by the loop's own means, such
    as `asyncio.create_task` in a green thread; it awaits a green thread as any awaitable.
    """

    BACKEND = "epoll"
    #: Whether `debug.hub_prevent_multiple_readers(False)` is allowed.
    MULTIPLE_READERS = False
    #: Whether this process was forked from a green thread.
    _is_child = False
    #: A coroutine's task that such a process will not end before.
    _last_task = None

    def __init__(self):
        super().__init__()
        self._deadline = None
        self._failure = None
        self._attach(_new_loop())

    def _post_initialize(self):
        # asyncio must have the original modules, patched or not.
        asyncio_modules.keep_original()

    def _attach(self, loop):
        """Make *loop* the one that the hub is a guest of."""
        self.loop = loop
        asyncio.set_event_loop(loop)
        self.sleep_event = _SleepEvent(lambda: loop.call_soon(self._on_readable))
        loop.add_reader(self.fileno(), self._on_readable)
        self._finalizer = weakref.finalize(self, _close, loop)

    def _begin_outside(self):
        # The descriptor is the loop's already, and readable if anything is ready or due.
        due = self.sleep_until()
        left = 0 if due is None else due - self.clock()
        if left > 0:
            self._wake_in(left)

    def _dropped(self):
        loop, self.loop = self.loop, None
        self._finalizer.detach()
        _close(loop)

    def _abandoned(self):
        # The thread ended in the middle of the loop, which takes itself for running.
        self.loop._thread_id = None
        self._dropped()

    def run(self, *args, **kwargs):
        """Run the loop until `abort`. Called in the hub's greenlet. *May switch: yes.*"""
        other = asyncio._get_running_loop()
        if other is not None and other is not self.loop:
            raise RuntimeError(
                "green threads cannot run inside of another asyncio loop than their hub's: "
                "use eventlet.asyncio.spawn_for_awaitable() in the place of asyncio.run()"
            )
        self._failure = None
        self.loop.run_forever()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def abort(self, wait=False):
        """End the loop after what it does now, and forget the hub's timers; see `BaseHub.abort`."""
        if self.running:
            self.loop.stop()
        super().abort(wait)

    def _on_readable(self):
        if self._failure is not None:
            return  # the loop is about to end
        if self.sleep_event.is_set():
            self.sleep_event.clear()
        try:
            wanted = self.turn()
        except self.SYSTEM_EXCEPTIONS:
            raise  # asyncio lets them through
        except BaseException as error:
            self._failure = error
            self.loop.stop()
            return
        if self.stopping:
            self.loop.stop()
        elif wanted:
            self._wake_in(wanted)
        elif wanted is None and self._is_child:
            self._end_if_idle()

    def _end_if_idle(self):
        """End a forked child when neither green threads nor coroutines have anything left to do."""
        if self._last_task is not None or self._deadline is not None:
            return
        self._last_task = next(iter(asyncio.all_tasks(self.loop)), None)
        if self._last_task is None:
            _core.end_idle_child()
        else:
            self._last_task.add_done_callback(self._on_task_done)

    def _on_task_done(self, _task):
        self._last_task = None
        self.loop.call_soon(self._on_readable)

    def _wake_in(self, seconds):
        when = self.loop.time() + seconds
        if self._deadline is not None:
            if self._deadline.when() <= when:
                return  # too early does no harm: the turn then says when
            self._deadline.cancel()
        self._deadline = self.loop.call_at(when, self._on_deadline)

    def _on_deadline(self):
        self._deadline = None
        self._on_readable()

    def _watch(self, evtype, fileno):
        try:
            super()._watch(evtype, fileno)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            raise ValueError(f"Invalid file descriptor: {fileno!r}") from error

    def _after_fork(self):
        super()._after_fork()
        self._deadline = self._failure = None
        if not self.running:  # else it was a coroutine that forked, and it goes on
            self._is_child = True
            self._finalizer.detach()
            self._attach(_new_loop())
            self.loop.call_soon(self._on_readable)

    def _keep_loop(self):
        _renew(self.loop)
        self.loop.call_soon(self._on_readable)


def _after_fork():
    present = _core.existing_hub()
    if not isinstance(present, Hub):
        return
    # asyncio's own handler (since 3.12), which runs before this one, has forgotten which loop it is.
    if present.running or _core.green_threads_survive_fork():
        present._keep_loop()
    else:
        asyncio.set_event_loop(present.loop)


os.register_at_fork(after_in_child=_after_fork)


def _renew(loop):
    """Make anew what the loop of a forked child shares with its parent's: epoll and the self-pipe."""
    asyncio._set_running_loop(loop)
    asyncio.set_event_loop(loop)
    if not isinstance(loop, asyncio.SelectorEventLoop):
        return  # another kind has to see to it itself
    old, loop._selector = loop._selector, type(loop._selector)()
    for key in old.get_map().values():
        loop._selector.register(key.fileobj, key.events, key.data)
    old.close()
    loop._close_self_pipe()
    loop._make_self_pipe()
    if getattr(loop, "_signal_handlers", None):
        signal.set_wakeup_fd(loop._csock.fileno())


def _yield_to(loop):
    """Have green threads let *loop* go on when one of them has given it something to do."""
    call_soon = loop.call_soon

    def call_soon_in_a_new_turn(callback, *args, context=None):
        _core.end_turn()
        return call_soon(callback, *args, context=context)

    # A loop that refuses, because it is not written in Python, goes on when the turn is over.
    with contextlib.suppress(AttributeError):
        loop.call_soon = call_soon_in_a_new_turn


def _new_loop():
    # A policy (uvloop's, for instance) decides what kind of loop it is; the standard one takes its
    # modules as `keep_original` left them.
    asyncio_modules.keep_original()
    loop = asyncio.new_event_loop()
    _yield_to(loop)
    return loop
