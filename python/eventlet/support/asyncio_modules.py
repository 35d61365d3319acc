"""asyncio and concurrent.futures with the original modules, whatever `monkey_patch` has done.

An asyncio loop waits for its own descriptors and threads, so it needs the real ``socket``,
``selectors`` and ``threading``. Their modules refer to those by name: the references are replaced by
the copies that `patcher.original` keeps. Everybody else's are left alone.
"""

import _thread
import importlib
import sys

from eventlet import patcher

#: What `monkey_patch` changes and the modules of `PACKAGES` use.
NAMES = (
    "_thread",
    "os",
    "queue",
    "select",
    "selectors",
    "socket",
    "subprocess",
    "threading",
    "time",
)
PACKAGES = ("asyncio", "concurrent.futures")

# Imported on first use otherwise, and so perhaps after the patch.
_LATE = ("asyncio.subprocess", "concurrent.futures.thread")


def keep_original():
    """Make the modules of `PACKAGES` refer to unpatched ones, for good. *May switch: no.*"""
    for name in (*PACKAGES, *_LATE):
        importlib.import_module(name)
    for name, module in list(sys.modules.items()):
        if name.startswith(tuple(f"{package}." for package in PACKAGES)) or name in PACKAGES:
            _restore(module)


def _restore(module):
    names = vars(module)
    for name in NAMES:
        if name in names and names[name] is sys.modules.get(name):
            names[name] = _original(name)


def _original(name):
    """As `patcher.original`, in any OS thread."""
    if name in ("queue", "subprocess", "threading"):
        _prepare_threading()
    return patcher.original(name)


def _prepare_threading():
    """Make the copy of ``threading`` without harm to the thread that does.

    The copy takes it for the main one, and before 3.13 would have it release another lock at its
    end than the one that ``Thread.join`` waits for.
    """
    if "__original_module_threading" in sys.modules or not hasattr(_thread, "_set_sentinel"):
        return
    sentinel = _thread._set_sentinel
    native = {_thread, patcher.original("_thread")}  # where the copy takes it from
    for module in native:
        module._set_sentinel = _thread.allocate_lock
    try:
        patcher.original("threading")._set_sentinel = sentinel
    finally:
        for module in native:
            module._set_sentinel = sentinel
