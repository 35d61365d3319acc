"""The old path of greenlet's native module.

Programs and test-suites import ``greenlet._greenlet`` and store attributes on it, so it is an
ordinary module: the names of ``greenlet._core`` that upstream's native module has, and its
constants. Names that only test-suites use (counters, ``set_thread_local``,
``UnswitchableGreenlet``) are found here and not in ``greenlet``.
"""

import sys

from ._core import (
    _C_API,
    CLOCKS_PER_SEC,
    GREENLET_USE_CONTEXT_VARS,
    GREENLET_USE_GC,
    GREENLET_USE_STANDARD_THREADING,
    GREENLET_USE_TRACING,
    GreenletExit,
    UnswitchableGreenlet,
    enable_optional_cleanup,
    error,
    get_clocks_used_doing_optional_cleanup,
    get_pending_cleanup_count,
    get_total_main_greenlets,
    getcurrent,
    gettrace,
    greenlet,
    set_thread_local,
    settrace,
)

__all__ = [
    "CLOCKS_PER_SEC",
    "GREENLET_USE_CONTEXT_VARS",
    "GREENLET_USE_GC",
    "GREENLET_USE_STANDARD_THREADING",
    "GREENLET_USE_TRACING",
    "_C_API",
    "GreenletExit",
    "UnswitchableGreenlet",
    "enable_optional_cleanup",
    "error",
    "get_clocks_used_doing_optional_cleanup",
    "get_pending_cleanup_count",
    "get_total_main_greenlets",
    "getcurrent",
    "gettrace",
    "greenlet",
    "set_thread_local",
    "settrace",
]

if sys.version_info < (3, 13):
    # CPython 3.13 has no trash-can depth in its thread state.
    from ._core import get_tstate_trash_delete_nesting

    __all__ += ["get_tstate_trash_delete_nesting"]
