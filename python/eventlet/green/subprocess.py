"""The `subprocess` module with processes that are waited for, read and written by one green thread.

It is the running Python's own source over green modules. A child is waited for by its pidfd, its pipes
are green files, and the exceptions are the standard module's.
"""

import contextlib
import io
import subprocess as _stdlib
import types

from greenlet import _core

from eventlet import greenio, patcher
from eventlet.green import os, select, selectors, threading, time

# The functions use the standard Popen, which `_patch_in_place` makes green.
__patched__ = []

_copy = patcher.inject(
    "subprocess",
    None,
    ("os", os),
    ("select", select),
    ("selectors", selectors),
    ("threading", threading),
    ("time", time),
)

# One class for each exception: who catches the standard module's catches these.
for _name in ("SubprocessError", "CalledProcessError", "TimeoutExpired", "CompletedProcess"):
    setattr(_copy, _name, getattr(_stdlib, _name))

# Pipes of a process are opened through this name.
_io = types.ModuleType("io", io.__doc__)
_io.__dict__.update(vars(io))
_io.open = greenio.GreenPipe
_copy.io = _io

_StandardPopen = _copy.Popen


def _wait(self, timeout):
    """Wait for the end of the process; what `Popen.wait` and `communicate` do inside."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while self.returncode is None:
        with self._waitpid_lock:
            if self.returncode is not None:
                break
            pid, status = self._try_wait(os.WNOHANG)
            if pid == self.pid:
                self._handle_exitstatus(status)
                break
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise _stdlib.TimeoutExpired(self.args, timeout)
        with contextlib.suppress(ChildProcessError):  # which the next attempt notices
            _core.wait_child(os.P_PID, self.pid, os.WEXITED, left)
    return self.returncode


class Popen(_StandardPopen):
    """A process whose `wait`, `communicate` and pipes let other green threads run.

    The arguments are those of `subprocess.Popen`.

    >>> Popen(['echo', 'tea'], stdout=PIPE).communicate()
    (b'tea\\n', None)
    """

    _wait = _wait

    def wait(self, timeout=None, check_interval=0.01):
        """Wait for the end of the process and return its return code.

        *timeout*: seconds, None waits for ever. *check_interval* changes nothing: nobody polls. May
        switch: yes. Raises TimeoutExpired.
        """
        return super().wait(timeout)


Popen.__module__ = _copy.__name__
_copy.Popen = Popen
patcher.slurp_properties(
    _copy,
    globals(),
    ignore=["Popen", "_wait"],
    srckeys=[n for n in dir(_copy) if n not in globals()],
)
call = _copy.call
check_call = _copy.check_call
check_output = _copy.check_output
run = _copy.run
getoutput = _copy.getoutput
getstatusoutput = _copy.getstatusoutput
PIPE = _copy.PIPE
__all__ = _stdlib.__all__


def _patch_in_place(patches):
    # Called by monkey_patch: the standard Popen itself, and with it every class derived from it before.
    standard = _stdlib.Popen
    old = standard._wait
    standard._wait = _wait
    patches.then_undo(lambda: setattr(standard, "_wait", old))
    patches.replace(_stdlib, "io", _io)
    patches.replace(_stdlib, "_PopenSelector", selectors.PollSelector)
