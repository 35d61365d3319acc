"""The `profile` of the running Python, which knows of green threads.

Each green thread has a stack of calls of its own. Time counts for the green thread that runs: what
others do while a function waits is not part of that function's time.
"""

import profile as _stdlib
import sys as _sys
import weakref

from greenlet import _core, getcurrent

from eventlet.patcher import slurp_properties

__all__ = _stdlib.__all__

slurp_properties(_stdlib, globals(), srckeys=dir(_stdlib))

_base = _stdlib.Profile


class Profile(_base):
    """A profiler of calls in every green thread of an OS thread; arguments as `profile.Profile`.

    *timer*: a function that returns seconds; None is processor time. *bias*: seconds that an event
    costs, taken off each; None is the class's `bias`.

    >>> done = Profile().runctx('sum([2, 1])', {}, {})
    >>> ('profile', 0, 'sum([2, 1])') in done.timings
    True
    """

    base = _base

    def __init__(self, timer=None, bias=None):
        super().__init__(timer, bias)
        self.running = False
        self.current_tasklet = getcurrent()
        self.thread_id = _core.get_ident()
        # Calls and timings of the green threads that do not run. Timings are kept apart, because
        # the same function in two stacks is no recursion, and added up when a stack is empty.
        self._stacks = weakref.WeakKeyDictionary()
        self._sums = self.timings
        self._dispatch_here = self.dispatcher
        self.dispatcher = self._dispatch_anywhere

    def __call__(self, *args):
        """Take note of an event: `sys.setprofile` may be given the profiler itself."""
        self.dispatcher(*args)

    def _setup(self):
        """Begin anew: forget what was measured so far."""
        self._stacks.clear()
        self.cur = None
        self.timings = self._sums = {}
        self.current_tasklet = getcurrent()
        self.thread_id = _core.get_ident()
        self.simulate_call("profiler")

    def start(self, name="start"):
        """Begin anew, and profile the calling OS thread as if *name* (str) was called, until `stop`.

        Nothing happens if it does so already. May switch: no.

        >>> profiler = Profile()
        >>> profiler.start('tea')
        >>> profiler.stop()
        >>> ('profile', 0, 'tea') in profiler.timings
        True
        """
        if not self.running:
            self._setup()
            self.simulate_call(name)
            self._call_all(_sys._getframe())
            self.running = True
            _sys.setprofile(self.dispatcher)

    def stop(self):
        """Stop profiling; `timings` hold the sums of all green threads then. May switch: no."""
        _sys.setprofile(None)
        self.running = False
        self.TallyTimings()

    def runctx(self, cmd, globals, locals):
        """Profile *cmd* (str) in these namespaces; returns the profiler. *May switch: if it does.*"""
        try:
            return super().runctx(cmd, globals, locals)
        finally:
            self.TallyTimings()

    def runcall(self, func, /, *args, **kw):
        r"""Profile the call *func(\*args, \*\*kw)* and return its result. *May switch: if it does.*"""
        try:
            return super().runcall(func, *args, **kw)
        finally:
            self.TallyTimings()

    def TallyTimings(self):
        """End the calls that are open in any green thread, and add the times of all up in `timings`."""
        self.simulate_cmd_complete()

    def _dispatch_anywhere(self, frame, event, arg):
        current = getcurrent()
        if current is not self.current_tasklet:
            if self.cur[-1] is None:
                self._add_up()
            else:
                self._stacks[self.current_tasklet] = self.cur, self.timings
            self.current_tasklet = current
            self.cur, self.timings = self._stacks.pop(current, (None, None))
            if self.cur is None:
                self.timings = {}
                self._enter(frame, event, arg)
        self._dispatch_here(frame, event, arg)

    def _add_up(self):
        if self.timings is self._sums:
            return
        for function, (done, open_, own, total, callers) in self.timings.items():
            # How many calls are open is counted from -1 on, by `profile`.
            before = self._sums.get(function, (0, -1, 0, 0, {}))
            for caller, count in callers.items():
                before[4][caller] = before[4].get(caller, 0) + count
            still_open = before[1] + open_ + 1
            sums = (before[0] + done, still_open, before[2] + own, before[3] + total)
            self._sums[function] = (*sums, before[4])

    def _enter(self, frame, event, arg):
        # The calls that a green thread was in before it was first seen count from now on.
        self.simulate_call("greenlet")
        self._call_all(frame.f_back if event == "call" else frame)
        if event in ("c_return", "c_exception"):
            self.c_func_name = arg.__name__
            self.dispatch["c_call"](self, frame, 0)

    def _call_all(self, frame):
        # Who returns must have been called.
        frames = []
        while frame is not None:
            frames.append(frame)
            frame = frame.f_back
        for each in reversed(frames):
            self.dispatch["call"](self, each, 0)

    def set_cmd(self, cmd):
        """Take note that the calling green thread is about to run *cmd* (str)."""
        if self.cur[-1] is None:
            self.current_tasklet = getcurrent()
        super().set_cmd(cmd)

    def simulate_cmd_complete(self):
        """End the calls that are open, in every green thread, so that their times count."""
        super().simulate_cmd_complete()
        self._add_up()
        own = self.cur
        while self._stacks:
            _, (self.cur, self.timings) = self._stacks.popitem()
            super().simulate_cmd_complete()
            self._add_up()
        self.cur, self.timings = own, self._sums


def run(statement, filename=None, sort=-1):
    """Profile *statement* (str) in the main module; as `profile.run`. *May switch: if it does.*"""
    return _stdlib._Utils(Profile).run(statement, filename, sort)


def runctx(statement, globals, locals, filename=None, sort=-1):
    """Profile *statement* (str) in these namespaces; as `profile.runctx`. *May switch: if it does.*"""
    return _stdlib._Utils(Profile).runctx(statement, globals, locals, filename, sort)
