"""The builtins whose files wait: `open`, for `monkey_patch(builtins=True)`.

Files that have a name are green then: pipes and terminals park the green thread, and regular files are
read and written in native threads when the kernel cannot do it at once.
"""

import builtins as _stdlib
import io
import os
import stat

from eventlet import greenio
from eventlet.hubs import notify_opened
from eventlet.patcher import slurp_properties

__all__ = dir(_stdlib)
__patched__ = ["open"]

slurp_properties(_stdlib, globals(), ignore=__patched__, srckeys=dir(_stdlib))

__original_open = io.open
__opening = False


def _waits(fd):
    try:
        kind = os.fstat(fd).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or stat.S_ISCHR(kind)


def open(
    file,
    mode="r",
    buffering=-1,
    encoding=None,
    errors=None,
    newline=None,
    closefd=True,
    opener=None,
):
    """Open *file* as the builtin does, green. May switch: yes. Raises OSError, ValueError, TypeError.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open(os.path.join(folder, 'cup'), 'w+') as cup:
    ...         _ = cup.write('tea'), cup.seek(0)
    ...         cup.read()
    'tea'
    """
    if isinstance(file, int) and not _waits(file):
        return _original(file, mode, buffering, encoding, errors, newline, closefd, opener)
    if not isinstance(file, (int, str, bytes, os.PathLike)):
        kind = type(file).__name__
        raise TypeError(f"expected str, bytes or os.PathLike object, not {kind}")
    opened = greenio.GreenPipe(file, mode, buffering, encoding, errors, newline, closefd, opener)
    if isinstance(file, int):
        notify_opened(file)
    return opened


def _original(*args):
    return __original_open(*args)


file = open
