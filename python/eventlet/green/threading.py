"""The `threading` module for green threads: the running Python's own source over `green.thread`.

It is a copy of the standard module, made when this one is imported, that shares with it who is alive
(``_active``) and the main thread; so both modules' `enumerate` tell of all threads. `monkey_patch`
puts the names of ``__patched__`` into the standard module instead, whose classes are green then.

A green thread that nobody started as a `Thread` is told by `current_thread` to be a `_GreenThread`,
made when first asked for and forgotten when the green thread ends.
"""

import os
import sys
import threading as _stdlib
from itertools import count

from greenlet import _core, getcurrent

from eventlet import patcher
from eventlet.green import thread, time as _green_time

__patched__ = [
    "Lock",
    "_CRLock",
    "_DummyThread",
    "_LockType",
    "_ThreadHandle",
    "_allocate_lock",
    "_make_thread_handle",
    "_set_sentinel",
    "_start_joinable_thread",
    "_start_new_thread",
    "_thread_shutdown",
    "currentThread",
    "excepthook",
    "get_ident",
    "local",
]

_copy = patcher.inject("threading", None, ("_thread", thread), ("time", _green_time))

# One population: whoever is alive, and the threads that the process waits for at its end.
for _name in ("_active", "_limbo", "_main_thread", "_shutdown_locks", "_shutdown_locks_lock"):
    if hasattr(_stdlib, _name):
        setattr(_copy, _name, getattr(_stdlib, _name))

_numbers = count(1)
_original_excepthook = _stdlib.excepthook


def excepthook(args, /):
    """Print what ended a thread, as `threading.excepthook` does; GreenletExit and SystemExit are no errors."""
    if not issubclass(args.exc_type, (thread.GreenletExit, SystemExit)):
        _original_excepthook(args)


excepthook.__module__ = "threading"


def current_thread():
    """Return the `Thread` of the calling green thread or OS thread; one is made for who has none.

    >>> current_thread().name
    'MainThread'
    """
    return _copy.current_thread()


currentThread = current_thread


def _foreign_thread():
    """Return the thread of an OS thread that unpatched code started, if this is one."""
    original = sys.modules.get("__original_module_threading")
    return original and original._active.get(_core.get_ident())


def _make_dummy_class(module):
    """Return what stands in *module* for `_DummyThread`: the answer for who is no `Thread`."""
    base = module._DummyThread
    thread_class = module.Thread
    get_name = thread_class.name.fget

    class _DummyThread(base):
        """A thread that was not started as one: a green thread or an OS thread."""

        def __new__(cls, *args, **kwargs):
            if cls is _DummyThread:
                if getcurrent().parent is not None:
                    cls = _GreenThread
                elif (known := _foreign_thread()) is not None:
                    return known
            return object.__new__(cls)

    class _GreenThread(_DummyThread):
        """A green thread as `threading` sees it, until it ends; a daemon."""

        def __init__(self):
            thread_class.__init__(self, name=f"GreenThread-{next(_numbers)}", daemon=True)
            self._started.set()
            self._green_handle = _core.track_current(module._active)
            self._ident = self._green_handle.ident
            self._native_id = module.get_native_id()
            for name in ("_handle", "_os_thread_handle"):  # CPython 3.13, and since 3.14
                if hasattr(self, name):
                    setattr(self, name, self._green_handle)
            module._active[self._ident] = self

        def join(self, timeout=None):
            """Wait until the green thread has ended, at most *timeout* seconds. May switch: yes."""
            self._green_handle.join(None if timeout is None else max(timeout, 0))

        def is_alive(self):
            """Return whether the green thread has not ended."""
            return not self._green_handle.is_done()

        def is_daemon(self):
            """Return True: nobody waits for a green thread at the end of the process."""
            return True

        def get_name(self):
            """Return the name."""
            return get_name(self)

        def set_name(self, name):
            """Change the name."""
            self.name = name

        isAlive = is_alive
        isDaemon = is_daemon
        getName = get_name
        setName = set_name

        def _become_main(self):
            # In the child of a fork, whose main thread is the one that forked, unless the real one goes on.
            if _survivors.main is not None:
                return
            self.__class__ = module._MainThread
            self._name = "MainThread"
            self._daemonic = False
            if hasattr(self, "_set_tstate_lock"):
                self._set_tstate_lock()

        def _reset_internal_locks(self, is_alive):  # CPython before 3.13
            super()._reset_internal_locks(is_alive)
            if is_alive:
                self._become_main()

        def _after_fork(self, new_ident=None):  # CPython 3.13
            if new_ident is not None:
                self._become_main()
            thread_class._after_fork(self, new_ident=new_ident)

    _DummyThread.__module__ = _GreenThread.__module__ = module.__name__
    return _DummyThread


_DummyThread = _make_dummy_class(_stdlib)
_CRLock = thread.RLock
get_ident = thread.get_ident
Lock = _allocate_lock = _LockType = thread.Lock
_start_new_thread = thread.start_new_thread
if sys.version_info >= (3, 13):
    _start_joinable_thread = thread.start_joinable_thread
    _ThreadHandle = thread._ThreadHandle
    _make_thread_handle = thread._make_thread_handle
    _thread_shutdown = thread._shutdown
    # The process waits for green threads of the copy, too, after all that runs at its end.
    _stdlib._thread_shutdown = _thread_shutdown
else:
    _set_sentinel = thread._set_sentinel

_copy._CRLock = _CRLock
_copy._DummyThread = _make_dummy_class(_copy)
_copy.excepthook = _copy.__excepthook__ = excepthook
_copy.currentThread = currentThread

patcher.slurp_properties(
    _copy,
    globals(),
    ignore=[*__patched__, "_name"],
    srckeys=[n for n in dir(_copy) if n not in globals()],
)
local = thread._local
__all__ = _stdlib.__all__


class _Survivors:
    """The forking OS thread's other green threads, if they go on in the child: `threading`, which takes
    them for lost there, does not see them during the fork."""

    def __init__(self):
        self.active, self.limbo, self.dangling, self.main = {}, {}, [], None

    def hide(self):
        """Before the fork."""
        os_thread, forking = _stdlib.get_native_id(), {_core.get_ident(), _stdlib.get_ident()}
        for ident, known in list(_stdlib._active.items()):
            if known._native_id == os_thread and ident not in forking:
                self.active[ident] = _stdlib._active.pop(ident)
        self.limbo.update(_stdlib._limbo)  # started; whose they are shows when they run
        _stdlib._limbo.clear()
        for hidden in (*self.active.values(), *self.limbo.values()):
            if hidden is _stdlib._main_thread:
                self.main = hidden
            for module in (_stdlib, _copy):
                if hidden in module._dangling:
                    module._dangling.discard(hidden)
                    self.dangling.append((module, hidden))

    def show(self):
        """After it, in both processes."""
        _stdlib._active.update(self.active)
        _stdlib._limbo.update(self.limbo)
        for module, hidden in self.dangling:
            module._dangling.add(hidden)
        self.__init__()

    def go_on(self):
        """In the child, before `show`."""
        if self.main is not None:
            _stdlib._main_thread = _copy._main_thread = self.main
        for known in (*self.active.values(), _stdlib._active.get(_core.get_ident())):
            if known is not None:
                known._set_native_id()
        if hasattr(_stdlib, "_shutdown_locks"):  # CPython before 3.13
            _stdlib._shutdown_locks.update(
                known._tstate_lock
                for known in self.active.values()
                if known._tstate_lock is not None and not known.daemon
            )


_survivors = _Survivors()


def _before_fork():
    # The child of a fork takes the thread that forked for its main thread: it must be known by then.
    if _core.get_ident() not in _stdlib._active:
        _stdlib.current_thread() if _stdlib.get_ident is get_ident else _copy.current_thread()
    if _core.green_threads_survive_fork():
        _survivors.hide()


def _after_fork_in_child():
    _survivors.go_on()
    _survivors.show()
    if hasattr(_stdlib, "_shutdown_locks"):  # each module has made a set of its own
        _stdlib._shutdown_locks.update(_copy._shutdown_locks)
        _copy._shutdown_locks = _stdlib._shutdown_locks
        _copy._shutdown_locks_lock = _stdlib._shutdown_locks_lock


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_survivors.show,
    after_in_child=_after_fork_in_child,
)
