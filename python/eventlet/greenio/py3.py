"""Green files: `GreenFileIO`, a raw file that lets others run while it waits, and `GreenPipe`.

The waiting is native (ext/src/file.rs): pipes, terminals and sockets park until they are ready, regular
files are read and written in native threads when the kernel cannot do it at once. The buffers and the
text layer on top are the standard library's; several green threads may use one, in turns.
"""

import errno
import io
import os
import socket
import stat
import sys
import warnings

from greenlet import _core

from eventlet.hubs import IOClosed, notify_close, notify_opened

__all__ = ["GreenFileIO", "GreenPipe", "_fileobject"]

_fileobject = socket.SocketIO

_READ_SIZE = 64 * 1024


def _flags(mode):
    """Return the ``os.open`` flags of a raw file mode such as 'r+'."""
    kind = {"r": 0, "w": os.O_CREAT | os.O_TRUNC, "a": os.O_CREAT | os.O_APPEND}
    kind["x"] = os.O_CREAT | os.O_EXCL
    letter = mode[0]
    if "+" in mode:
        access = os.O_RDWR
    else:
        access = os.O_RDONLY if letter == "r" else os.O_WRONLY
    return kind[letter] | access | os.O_CLOEXEC


def _open(name, flags):
    """Open a path as os.open does, for a FIFO once its other side is open. May switch: yes."""
    fileno = _core.open_fifo(os.fsdecode(name), flags, 0o666)
    return os.open(name, flags, 0o666) if fileno is None else fileno


class GreenFileIO(io.RawIOBase):
    """A raw file on a descriptor, whose flags stay as they are. *name*: a descriptor or a path.

    *mode*: one of 'r', 'w', 'a', 'x', with '+' for both directions ('b' is implied). *closefd*
    False leaves the descriptor open on close. *opener*: as in ``open``. May switch: reads and
    writes. Raises OSError; ValueError for a bad mode.
    """

    _blksize = 128 * 1024

    def __init__(self, name, mode="r", closefd=True, opener=None):
        super().__init__()
        self._fileno = -1
        mode = mode.replace("b", "")
        if not mode or mode[0] not in "rwax" or mode[1:] not in ("", "+"):
            raise ValueError(f"invalid mode: {mode!r}")
        self._mode = mode
        self._seekable = None
        if isinstance(name, int):
            if isinstance(name, bool) and sys.version_info >= (3, 13):
                text = "bool is used as a file descriptor"
                warnings.warn(text, RuntimeWarning, stacklevel=2)
            if name < 0:
                raise ValueError("negative file descriptor")
            self._name = f"<fd:{name}>"
            self._closefd = closefd
            fileno = name
        else:
            if not closefd:
                raise ValueError("Cannot use closefd=False with file name")
            self._name = os.fspath(name)
            self._closefd = True
            flags = _flags(mode)
            fileno = opener(name, flags) if opener is not None else _open(name, flags)
        notify_opened(fileno)
        self._fileno = fileno
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self):
        fileno = self._fileno
        if stat.S_ISDIR(os.fstat(fileno).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self._name)
        if self._mode[0] == "a" and self.seekable():
            os.lseek(fileno, 0, os.SEEK_END)

    @property
    def name(self):
        """The path, or '<fd:N>'."""
        return self._name

    @property
    def mode(self):
        """The mode, as ``open`` reports it for raw files."""
        letter = "rb" if self._mode == "r" else self._mode[0] + "b"
        return letter + ("+" if "+" in self._mode else "")

    def __repr__(self):
        state = "closed" if self.closed else f"name={self._name!r} mode={self.mode!r}"
        return f"<{type(self).__module__}.{type(self).__qualname__} {state}>"

    def _check(self):
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def fileno(self):
        """Return the descriptor."""
        self._check()
        return self._fileno

    def readable(self):
        """Return whether the mode allows reading."""
        self._check()
        return "r" in self._mode or "+" in self._mode

    def writable(self):
        """Return whether the mode allows writing."""
        self._check()
        return self._mode[0] in "wax" or "+" in self._mode

    def seekable(self):
        """Return whether the file has a position."""
        self._check()
        if self._seekable is None:
            try:
                os.lseek(self._fileno, 0, os.SEEK_CUR)
            except OSError:
                self._seekable = False
            else:
                self._seekable = True
        return self._seekable

    def isatty(self):
        """Return whether it is a terminal."""
        self._check()
        return os.isatty(self._fileno)

    def _isatty_open_only(self):
        # Python 3.13's text layer asks so.
        return self.isatty()

    def _call(self, function, *args):
        try:
            return function(self._fileno, *args)
        except IOClosed:
            # The number is somebody else's now: it must not be closed through us.
            self._closefd = False
            raise

    def read(self, size=-1):
        """Return up to *size* bytes as soon as there are any; all until the end if negative or None."""
        if size is None or size < 0:
            return self.readall()
        self._check()
        if not self.readable():
            raise io.UnsupportedOperation("File not open for reading")
        return self._call(_core.file_read, size)

    def readall(self):
        """Return all bytes until the end."""
        parts = []
        while part := self.read(_READ_SIZE):
            parts.append(part)
        return b"".join(parts)

    def readinto(self, buffer):
        """Read into *buffer*; return the number of bytes, 0 at the end."""
        with memoryview(buffer).cast("B") as view:
            data = self.read(len(view))
            view[: len(data)] = data
        return len(data)

    def write(self, data):
        """Write all of *data*; return its size in bytes."""
        self._check()
        if not self.writable():
            raise io.UnsupportedOperation("File not open for writing")
        with memoryview(data).cast("B") as view:
            total = len(view)
            done = 0
            while done < total:
                done += self._call(_core.file_write, view[done:])
                self._check()
        return total

    def seek(self, offset, whence=os.SEEK_SET):
        """Move; return the new position in bytes."""
        self._check()
        return os.lseek(self._fileno, offset, whence)

    def tell(self):
        """Return the position in bytes."""
        return self.seek(0, os.SEEK_CUR)

    def truncate(self, size=None):
        """Cut or extend to *size* bytes (None: the position) and move there; return the size."""
        self._check()
        if size is None:
            size = self.tell()
        os.ftruncate(self._fileno, size)
        return self.seek(size)

    def close(self):
        """Close the descriptor, unless it is to be left open."""
        if self.closed:
            return
        try:
            super().close()
        finally:
            fileno, self._fileno = self._fileno, -1
            if fileno >= 0 and self._closefd:
                notify_close(fileno)
                os.close(fileno)


class _InTurns:
    # A standard buffer refuses a green thread while another one waits in it, as a call from within itself.

    def __init__(self, *args):
        self._turn = _core.RLock()
        super().__init__(*args)

    def close(self):
        """Close the file; who waits in it gets an error."""
        if self._turn.locked() and not self._turn._is_owned() and not self.closed:
            self.raw.close()
        with self._turn:
            super().close()


def _in_turns(base, names):
    def taking_a_turn(name):
        method = getattr(base, name)

        def call(self, *args, **kwargs):
            with self._turn:
                return method(self, *args, **kwargs)

        call.__name__ = name
        call.__doc__ = method.__doc__
        return call

    methods = {name: taking_a_turn(name) for name in names.split() if hasattr(base, name)}
    return type(base.__name__, (_InTurns, base), {**methods, "__module__": __name__})


_READS = "read read1 readinto readinto1 readline readlines peek"
_WRITES = "write writelines flush"
_BufferedReader = _in_turns(io.BufferedReader, f"{_READS} seek tell")
_BufferedWriter = _in_turns(io.BufferedWriter, f"{_WRITES} seek tell truncate")
_BufferedRandom = _in_turns(io.BufferedRandom, f"{_READS} {_WRITES} seek tell truncate")


def GreenPipe(
    name,
    mode="r",
    buffering=-1,
    encoding=None,
    errors=None,
    newline=None,
    closefd=True,
    opener=None,
):
    """Open a green file. *name*: a path, a descriptor, or a file, of which a duplicate is used and
    which is closed.

    The other arguments and the errors are those of ``open``; *buffering* is in bytes. Reading and
    writing may switch: yes.

    >>> import os
    >>> r, w = map(GreenPipe, os.pipe(), ('rb', 'wb'))
    >>> w.write(b'x'); w.close(); r.read()
    1
    b'x'
    """
    if hasattr(name, "fileno"):
        original, name = name, os.dup(name.fileno())
        original.close()
        closefd = True
    kinds = set(mode)
    if not isinstance(mode, str) or len(kinds) != len(mode) or kinds - set("rwaxbt+"):
        raise ValueError(f"invalid mode: {mode!r}")
    if len(kinds & set("rwax")) != 1:
        raise ValueError("must have exactly one of create/read/write/append mode")
    binary = "b" in kinds
    if binary and "t" in kinds:
        raise ValueError("can't have text and binary mode at once")
    if binary and (encoding, errors, newline) != (None, None, None):
        raise ValueError("binary mode doesn't take an encoding, errors or newline argument")
    letter = (kinds & set("rwax")).pop()
    raw = GreenFileIO(name, letter + ("+" if "+" in kinds else ""), closefd, opener)
    result = raw
    try:
        lines = buffering == 1 and not binary
        if buffering == 1 and binary:
            warnings.warn(
                "line buffering (buffering=1) isn't supported in binary mode, the default buffer "
                "size will be used",
                RuntimeWarning,
                stacklevel=2,
            )
        if buffering == 1 or buffering < 0:
            buffering = io.DEFAULT_BUFFER_SIZE
            lines = lines or (not binary and raw.isatty())
        if buffering == 0:
            if not binary:
                raise ValueError("can't have unbuffered text I/O")
            return result
        if "+" in kinds:
            # A buffer for both directions needs a position; without one each direction gets its own.
            result = (
                _BufferedRandom(raw, buffering)
                if raw.seekable()
                else io.BufferedRWPair(raw, raw, buffering)
            )
        elif letter == "r":
            result = _BufferedReader(raw, buffering)
        else:
            result = _BufferedWriter(raw, buffering)
        if binary:
            return result
        result = io.TextIOWrapper(result, encoding, errors, newline, lines)
        result.mode = mode
        return result
    except BaseException:
        result.close()
        raise
