"""The `os` module with calls that let other green threads run while they wait.

Waiting is native (ext/src/file.rs): for a descriptor, for a child process by its pidfd, and in native
threads for disks. A descriptor that the program itself made non-blocking keeps its BlockingIOError.
"""

import errno
import fcntl as _fcntl
import functools as _functools
import io as _io
import os as _stdlib
import stat as _stat
import sys

from greenlet import _core

from eventlet import greenio, patcher
from eventlet.hubs import IOClosed, notify_opened

__all__ = list(_stdlib.__all__)
__patched__ = [
    "fdatasync",
    "fdopen",
    "fsync",
    "open",
    "popen",
    "read",
    "system",
    "wait",
    "wait3",
    "wait4",
    "waitid",
    "waitpid",
    "write",
]

patcher.slurp_properties(_stdlib, globals(), ignore=__patched__, srckeys=dir(_stdlib))

__original_fdopen__ = _stdlib.fdopen
__original_open__ = _stdlib.open
__original_read__ = _stdlib.read
__original_wait__ = _stdlib.wait
__original_waitpid__ = _stdlib.waitpid
__original_write__ = _stdlib.write
_originals = {name: getattr(_stdlib, name) for name in __patched__ if hasattr(_stdlib, name)}
_flock = _fcntl.flock
_lockf = _fcntl.lockf
_io_open = _io.open


def _call(name, *args, **kwargs):
    """Call the standard function itself, also where `monkey_patch` has redirected it."""
    return _core.call_original(_originals[name], *args, **kwargs)


def fdopen(fd, *args, **kw):
    """Return a green file on the descriptor *fd*; the other arguments are those of `os.fdopen`. Raises
    OSError, TypeError for what is no descriptor."""
    if not isinstance(fd, int):
        raise TypeError(f"invalid fd type ({type(fd)}, expected integer)")
    return greenio.GreenPipe(fd, *args, **kw)


def read(fd, n):
    """Return up to *n* bytes of the descriptor *fd*; none at the end, and if it is closed meanwhile.

    May switch: yes. Raises OSError, ValueError for a negative number.

    >>> here, there = pipe()
    >>> write(there, b'tea'), read(here, 10)
    (3, b'tea')
    >>> close(here), close(there)
    (None, None)
    """
    if n < 0:
        raise OSError(errno.EINVAL, strerror(errno.EINVAL))
    try:
        return _core.file_read(fd, n, False)
    except IOClosed:
        return b""


def write(fd, st):
    """Write the bytes *st* to the descriptor *fd*; return how many were written.

    May switch: yes. Raises OSError, TypeError.
    """
    return _core.file_write(fd, st, False)


def open(path, flags, mode=0o777, *, dir_fd=None):
    """Open *path* as `os.open` does; for a FIFO, when its other side is open. May switch: yes. Raises
    OSError."""
    fd = None
    if isinstance(path, (str, bytes, PathLike)):
        folder = {} if dir_fd is None else {"folder": dir_fd}
        fd = _core.open_fifo(fsdecode(path), flags, mode, **folder)
    if fd is None:
        fd = _call("open", path, flags, mode, dir_fd=dir_fd)
        notify_opened(fd)
    return fd


# The sets of functions that take `dir_fd` and the like have the functions of this module, too.
_supports = [n for n in dir(_stdlib) if n.startswith("supports_") and type(globals()[n]) is set]
for _name in _supports:
    _own = {globals()[n] for n, f in _originals.items() if f in getattr(_stdlib, _name)}
    globals()[_name] = getattr(_stdlib, _name) | _own


def fsync(fd):
    """Write what the kernel holds of *fd* to its disk. May switch: yes. Raises OSError."""
    _core.file_sync(fd)


def fdatasync(fd):
    """As `fsync`, without what is not needed to read the data again. May switch: yes. Raises OSError."""
    _core.file_sync(fd, True)


def _which(pid):
    """Return (kind, id) of `waitid` for the *pid* argument of `waitpid`."""
    if pid > 0:
        return P_PID, pid
    if pid == -1:
        return P_ALL, 0
    return P_PGID, -pid or getpgrp()


def _events(options):
    """Return the events of `waitid` for the options of `waitpid`."""
    stopped = WSTOPPED if options & WUNTRACED else 0
    return WEXITED | stopped | options & WCONTINUED


def _until_told(call, kind, number, events):
    """Return the first result of *call*, which does not wait, that tells of a process."""
    while True:
        result = call()
        if result is not None and result[0] != 0:
            return result
        _core.wait_child(kind, number, events)


def waitpid(pid, options):
    """Wait for the child process *pid*; return (pid, status) as `os.waitpid` does.

    May switch: yes, unless *options* has WNOHANG. Raises OSError (ChildProcessError if there is none).

    >>> pid = posix_spawn('/bin/true', ['true'], {})
    >>> waitpid(pid, 0) == (pid, 0)
    True
    """
    if options & WNOHANG:
        return _call("waitpid", pid, options)

    def call():
        return _call("waitpid", pid, options | WNOHANG)

    return _until_told(call, *_which(pid), _events(options))


def wait():
    """Wait for any child process; return (pid, status). May switch: yes. Raises OSError."""
    return waitpid(-1, 0)


def wait3(options):
    """Wait for any child process; return (pid, status, usage). May switch: yes. Raises OSError."""
    return wait4(-1, options)


def wait4(pid, options):
    """As `waitpid`; return (pid, status, usage). May switch: yes. Raises OSError."""
    if options & WNOHANG:
        return _call("wait4", pid, options)

    def call():
        return _call("wait4", pid, options | WNOHANG)

    return _until_told(call, *_which(pid), _events(options))


def waitid(idtype, id, options, /):
    """Wait for news of child processes as `os.waitid` does. May switch: yes. Raises OSError."""
    if options & WNOHANG or idtype not in (P_PID, P_PGID, P_ALL):
        return _call("waitid", idtype, id, options)
    events = options & (WEXITED | WSTOPPED | WCONTINUED)
    while True:
        result = _call("waitid", idtype, id, options | WNOHANG)
        if result is not None:
            return result
        _core.wait_child(idtype, id, events)


def system(command):
    """Run *command* in a shell and return its wait status, as `os.system` does. May switch: yes.

    Unlike there, SIGINT and SIGQUIT still reach this process meanwhile.
    """
    sys.audit("os.system", command)
    pid = posix_spawn("/bin/sh", ["sh", "-c", command], environ)
    return waitpid(pid, 0)[1]


def popen(cmd, mode="r", buffering=-1):
    """Run *cmd* in a shell and return a file on its output (or input, by *mode*), as `os.popen` does.

    Reading and writing it, and closing it, may switch: yes. Raises TypeError, ValueError.
    """
    from eventlet.green import subprocess  # which needs this module

    original = patcher.patch_function(_originals["popen"], ("subprocess", subprocess))
    return original(cmd, mode, buffering)


def _lock(fd, operation):
    _core.file_lock(fd, operation)


def _lock_range(fd, cmd, len=0, start=0, whence=0):
    _core.file_lock(fd, cmd, (len, start, whence))


def _open_file(file, mode="r", *args, **kwargs):
    # A FIFO is opened and read by a green file; nothing else that has a name waits for ever.
    if isinstance(file, (str, bytes, PathLike)):
        try:
            special = _is_fifo(file)
        except (OSError, ValueError):
            special = False
        if special:
            return greenio.GreenPipe(file, mode, *args, **kwargs)
    return _core.call_original(_io_open, file, mode, *args, **kwargs)


def _is_fifo(file):
    return _stat.S_ISFIFO(_stdlib.stat(file).st_mode)


def _patch_in_place(patches):
    # Called by monkey_patch: what belongs to other modules, and is not replaced there by name.
    patches.redirect("fcntl.flock", _flock, _lock)
    patches.redirect("fcntl.lockf", _lockf, _lock_range)
    patches.redirect("io.open", _io_open, _open_file)
    for name in _supports:
        present = getattr(_stdlib, name)
        missing = globals()[name] - present
        present |= missing
        patches.then_undo(_functools.partial(present.difference_update, missing))
