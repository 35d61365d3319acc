"""What `monkey_patch(thread=True)` does for debuggers, when a program imports one.

pydevd, which debugpy is made of, debugs threads; it finds a green thread's identity, name and locals as it
finds those of any thread. Three things it must not share with the program. Its own threads are OS threads,
for they work while the program is stopped. What it waits for holds the OS thread (`hold_threads_for`), for a
stopped program is to stay as it is. And what it keeps for each thread is kept for each green thread: before
CPython 3.12 that includes the trace function, of which the interpreter has one for each OS thread.

pdb traces an OS thread, hence breaks in any green thread of it; only steps stay in the one where the command
was given.
"""

import _thread
import functools
import sys
import threading
import types

from greenlet import _core, getcurrent

#: Beginnings of the names of pydevd's modules and debugpy's.
_NAMES = ("pydevd", "_pydev", "debugpy")


def adapt(module):
    """Adapt a debugger: *module* is `bdb` or `pydevd`, just imported or there before the patch."""
    if module.__name__ == "bdb":
        _adapt_bdb(module)
    else:
        _adapt_pydevd(module)


def _adapt_bdb(bdb):
    """Have steps of `bdb.Bdb`, and so pdb's, stay in the green thread in which they were asked for."""
    base = bdb.Bdb
    set_stop, stop_here = base._set_stopinfo, base.stop_here
    if hasattr(stop_here, "__wrapped__"):
        return

    @functools.wraps(set_stop)
    def _set_stopinfo(self, *args, **kwargs):
        self._green_thread = _core.get_ident()
        set_stop(self, *args, **kwargs)

    @functools.wraps(stop_here)
    def _stop_here(self, frame):
        if getattr(self, "_green_thread", None) not in (None, _core.get_ident()):
            return False
        return stop_here(self, frame)

    base._set_stopinfo = _set_stopinfo
    base.stop_here = _stop_here
    if hasattr(bdb, "_MonitoringTracer"):
        # Since CPython 3.14 bdb asks itself which thread it traces: the OS thread, here as before.
        from eventlet import patcher

        bdb.threading = types.SimpleNamespace(current_thread=patcher.original("_thread").get_ident)


def _adapt_pydevd(pydevd):
    """Have pydevd debug green threads."""
    if hasattr(pydevd, "_debugs_green_threads"):
        return
    pydevd._debugs_green_threads = True
    from eventlet.corolocal import local

    _core.hold_threads_for(*_NAMES)
    _start_natively()
    _show_os_threads()
    for name in ("_pydevd_sys_monitoring", "_pydevd_sys_monitoring_cython"):
        monitoring = sys.modules.get(f"_pydevd_sys_monitoring.{name}")
        if monitoring is not None:
            monitoring._thread_local_info = local()
            monitoring._DeleteDummyThreadOnDel = _forgetting(monitoring._DeleteDummyThreadOnDel)
    for name, module in list(sys.modules.items()):
        if name.startswith("_pydevd_bundle.") and hasattr(module, "_current_frames"):
            module._current_frames = _core.current_frames
    _Frames(pydevd)
    constants = sys.modules["_pydevd_bundle.pydevd_constants"]
    if not constants.PYDEVD_USE_SYS_MONITORING:
        _Tracing(pydevd, constants, sys.modules["pydevd_tracing"])


def _forgetting(forget_at_end):
    """Return what notes that a thread is to be forgotten at its end; green threads are without it."""

    def note(thread):
        return None if hasattr(thread, "_green_handle") else forget_at_end(thread)

    return note


# -- its own threads


def _is_own(function):
    """Return whether *function* is what a thread of the debugger's own is started with."""
    while hasattr(function, "original_func"):  # the debugger's own wrapper of all threads
        function = function.original_func
    thread = getattr(function, "__self__", None)
    if isinstance(thread, threading.Thread):
        if getattr(thread, "is_pydev_daemon_thread", False):
            return True
        function = getattr(thread, "_target", None)
    return str(getattr(function, "__module__", "")).startswith(_NAMES)


def _start_natively():
    """Have threads that the debugger starts for itself start as OS threads."""
    from eventlet import patcher

    native = patcher.original("_thread")
    green_start = _core.start_new_thread

    def start_new_thread(function, *args, **kwargs):
        start = native.start_new_thread if _is_own(function) else green_start
        return start(function, *args, **kwargs)

    places = {"start_new_thread": start_new_thread, "start_new": start_new_thread}
    places["_start_new_thread"] = start_new_thread
    if hasattr(_thread, "start_joinable_thread"):

        def start_joinable_thread(function, handle=None, daemon=True):
            if not _is_own(function):
                return _core.start_joinable_thread(function, handle, daemon)
            own = function
            while hasattr(own, "original_func"):
                own = own.original_func
            thread = getattr(own, "__self__", None)
            if handle is not None:
                # The interpreter wants a handle of its own kind; nobody has used this one yet.
                held = handle
                handle = native._ThreadHandle()
                for name in ("_handle", "_os_thread_handle"):
                    if getattr(thread, name, None) is held:
                        setattr(thread, name, handle)
            return native.start_joinable_thread(function, handle=handle, daemon=daemon)

        places["start_joinable_thread"] = start_joinable_thread
        places["_start_joinable_thread"] = start_joinable_thread
    wrapped = False
    for module in (_thread, threading):
        for name in ("_original_start_new_thread", "_original_start_joinable_thread"):
            if name in vars(module):  # it has wrapped what was there before the patch
                delattr(module, name)
                wrapped = True
        for name, function in places.items():
            if hasattr(module, name):
                setattr(module, name, function)
    if wrapped:
        sys.modules["_pydev_bundle.pydev_monkey"].patch_thread_modules()


def _show_os_threads():
    """Have `threading` know the OS threads that code without green threads has started, as `tpool` does."""
    from eventlet import patcher

    base = patcher.original("threading").Thread
    run, delete = base.run, base._delete

    @functools.wraps(run)
    def _run(self):
        threading._active[self.ident] = self
        run(self)

    @functools.wraps(delete)
    def _delete(self):
        if threading._active.get(self.ident) is self:
            del threading._active[self.ident]
        delete(self)

    base.run, base._delete = _run, _delete
    # Instances say that they are of the standard class, to `isinstance`.
    _core.set_type_attribute(base, "__class__", property(lambda self: threading.Thread))
    for ident, thread in list(patcher.original("threading")._active.items()):
        threading._active.setdefault(ident, thread)


# -- frames and trace functions


class _Frames:
    """Sets what is needed to stop in frames of green threads that are suspended when breakpoints change."""

    def __init__(self, pydevd):
        whole = pydevd.PyDB.set_tracing_for_untraced_contexts

        @functools.wraps(whole)
        def set_tracing_for_untraced_contexts(self, *args, **kwargs):
            whole(self, *args, **kwargs)
            known = sys._current_frames()
            for ident, frame in _core.current_frames().items():
                if known.get(ident) is not frame and ident in threading._active:
                    self.set_trace_for_frame_and_parents(ident, frame)

        pydevd.PyDB.set_tracing_for_untraced_contexts = set_tracing_for_untraced_contexts


class _Tracing:
    """One trace function for each OS thread, which calls that of the green thread that runs."""

    def __init__(self, pydevd, constants, tracing):
        from eventlet.corolocal import local

        self._debugger = constants.get_global_debugger
        self._own = local()
        self._native_to_threads = tracing.set_trace_to_threads
        self._holder = tracing.TracingFunctionHolder
        self._settrace = settrace = self._holder._original_tracing or sys.settrace
        tracing.SetTrace = self.set_trace
        tracing.set_trace_to_threads = self.set_trace_to_threads
        if self._holder._original_tracing is not None:
            self._holder._original_tracing = self.set_trace
        replace, restore = tracing.replace_sys_set_trace_func, tracing.restore_sys_set_trace_func

        def replace_sys_set_trace_func():
            replace()
            self._holder._original_tracing = self.set_trace

        def restore_sys_set_trace_func():
            restore()
            sys.settrace = settrace

        tracing.replace_sys_set_trace_func = replace_sys_set_trace_func
        tracing.restore_sys_set_trace_func = restore_sys_set_trace_func
        from eventlet import patcher

        patcher.original("threading").settrace(self)
        debugger = self._debugger()
        if debugger is not None:
            debugger.SetTrace = self.set_trace
            debugger._local_thread_trace_func = local()
            if debugger.ready_to_run and sys.gettrace() is not None:
                self.set_trace_to_threads(debugger.trace_dispatch)
                self._settrace(self)

    def set_trace(self, function):
        """Set the trace function of the running green thread; None ends its tracing."""
        if function is not self:
            self._own.function = function
        if function is not None:
            self._settrace(self)
        elif getcurrent().parent is None and _core.existing_hub() is None:
            self._settrace(None)  # an OS thread without green threads

    def set_trace_to_threads(self, function, thread_idents=None, create_dummy_thread=True):
        """Trace OS threads, all unless *thread_idents* tells which."""
        frames = sys._current_frames()
        if thread_idents is None:
            thread_idents = frames
        own = {t.ident for t in threading.enumerate() if getattr(t, "pydev_do_not_trace", False)}
        idents = [ident for ident in thread_idents if ident in frames and ident not in own]
        return self._native_to_threads(self, idents, create_dummy_thread) if idents else 0

    def __call__(self, frame, event, arg):
        try:
            function = self._own.function
        except AttributeError:
            function = self._first(frame)
        return function and function(frame, event, arg)

    def _first(self, frame):
        """Return the trace function of a green thread that has none yet."""
        debugger = self._debugger()
        if debugger is None or debugger.pydb_disposed:
            self._settrace(None)
            return None
        while frame.f_back is not None:
            frame = frame.f_back
        if frame.f_globals.get("__name__") not in ("threading", "_pydev_bundle.pydev_monkey"):
            threading.current_thread()  # makes one for a green thread that was not started as a Thread
        return debugger.trace_dispatch
