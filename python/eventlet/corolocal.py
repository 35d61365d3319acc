"""`local`: `threading.local` for green threads.

Attribute access is native (`ext/src/local.rs`); this module gives the class upstream's address.
"""

from greenlet import getcurrent
from greenlet._core import _localbase

__all__ = ["get_ident", "local"]


def get_ident():
    """Return a number that no other living greenlet has. *May switch: no.*

    >>> import eventlet
    >>> get_ident() == eventlet.spawn(get_ident).wait()
    False
    """
    return id(getcurrent())


class local(_localbase):
    """An object whose attributes are different in each greenlet, and gone with it.

    Those of the greenlet that used the object last stay until another one uses it. A subclass with
    an `__init__` has it called in each greenlet, with the arguments that the object was made with,
    when that first uses it. What a class defines, `__slots__` included, is shared. *May switch: if
    that `__init__` does.* Raises TypeError for arguments without such an `__init__`.

    >>> import eventlet
    >>> mine = local()
    >>> mine.cup = 1
    >>> eventlet.spawn(hasattr, mine, "cup").wait(), mine.cup
    (False, 1)
    """

    __slots__ = ()


def _patch(thrl):
    # Upstream's way to have a local show the current greenlet's attributes; here it always does.
    return thrl.__dict__
