"""Lightweight coroutines, each on a stack of its own.

This package has the names, signatures and errors of upstream's greenlet. The type, the switch and
the C API live in the native module ``greenlet._core``; nothing here runs when a greenlet switches.

    >>> from greenlet import getcurrent, greenlet
    >>> def double(n):
    ...     while True:
    ...         n = getcurrent().parent.switch(2 * n)
    >>> g = greenlet(double)
    >>> g.switch(21), g.switch(4)
    (42, 8)
"""

import os

from . import _greenlet as _greenlet
from ._core import add_trace as add_trace, remove_trace as remove_trace
from ._greenlet import (
    _C_API,
    CLOCKS_PER_SEC as CLOCKS_PER_SEC,
    GREENLET_USE_CONTEXT_VARS as GREENLET_USE_CONTEXT_VARS,
    GREENLET_USE_GC as GREENLET_USE_GC,
    GREENLET_USE_TRACING as GREENLET_USE_TRACING,
    GreenletExit,
    enable_optional_cleanup as enable_optional_cleanup,
    error,
    get_clocks_used_doing_optional_cleanup as get_clocks_used_doing_optional_cleanup,
    getcurrent,
    gettrace,
    greenlet,
    settrace,
)

#: The release of upstream whose behaviour this is, then our own version after the plus sign.
__version__ = "3.5.6+rs.0.1.0"

__all__ = [
    "_C_API",
    "GreenletExit",
    "__version__",
    "error",
    "getcurrent",
    "gettrace",
    "greenlet",
    "settrace",
]


def get_include() -> str:
    """Return the folder that holds ``greenlet.h``.

    A C extension compiles with ``-I`` of this folder and ``#include "greenlet.h"``, or with ``-I``
    of its parent and ``#include <greenlet/greenlet.h>``.

    *May switch*: no.

        >>> os.path.exists(os.path.join(get_include(), "greenlet.h"))
        True
    """
    return os.path.dirname(os.path.abspath(__file__))
