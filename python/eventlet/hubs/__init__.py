"""Hubs: `get_hub`, `use_hub`, and `trampoline`, which waits for a descriptor.

Each OS thread has one hub, made when it is first needed. It is native; `use_hub` chooses how it
asks the kernel.
"""

import importlib
import inspect
import os
import threading
import warnings

from greenlet import _core
from greenlet._core import (
    HubError,
    IOClosed,
    get_hub,
    green_threads_survive_fork,
    notify_close,
    notify_opened,
    trampoline,
)

from eventlet.hubs.hub import BaseHub

__all__ = ["get_default_hub", "get_hub", "green_threads_survive_fork", "trampoline", "use_hub"]

#: Hub modules in the order in which `get_default_hub` tries them.
builtin_hub_names = ("epolls", "kqueue", "poll", "selects")
builtin_hub_modules = tuple(
    importlib.import_module(f"eventlet.hubs.{name}") for name in builtin_hub_names
)

_UNCHECKED = (
    "Please provide `is_available()` function in your custom Eventlet hub {}.\n"
    "It must return bool: whether hub supports current platform."
    " See eventlet/hubs/{{epoll,kqueue}} for example.\n"
)


class _ThreadLocal(threading.local):
    """Upstream's view of the calling thread: `hub` is its hub, `Hub` the class of the next one."""

    @property
    def hub(self):
        hub = _core.existing_hub()
        if hub is None:
            raise AttributeError("hub")
        return hub

    @hub.deleter
    def hub(self):
        _core.drop_hub()


_threadlocal = _ThreadLocal()


def _hub_class():
    # Called natively when a thread needs a hub.
    if not hasattr(_threadlocal, "Hub"):
        use_hub()
    return _threadlocal.Hub


_core.set_hub_chooser(_hub_class, BaseHub)


def get_default_hub():
    """Return the best hub module of this system. Raises `HubError` if there is none. *May switch: no.*

    >>> get_default_hub().__name__
    'eventlet.hubs.epolls'
    """
    for module in builtin_hub_modules:
        if module.is_available():
            return module
    raise HubError(f"no built-in hubs are available: {builtin_hub_modules}")


def use_hub(mod=None):
    """Choose the hub of the calling thread; its present hub is dropped with all timers and waiters.

    *mod* is a class, a module with a class `Hub`, a name (`"poll"` is `eventlet.hubs.poll`,
    `"package.module"`, `"package.module:Class"`), or None: the environment variable `EVENTLET_HUB`,
    else the best one. Call it before anything else.

    A class derived from `eventlet.hubs.hub.BaseHub` may override how it runs (`docs/hubs.md`); one of
    another kind is what `get_hub` returns, while green threads run natively. Raises RuntimeError for
    an empty name, Exception for a hub that this system does not have, ImportError or AttributeError
    for a name that leads nowhere, TypeError for what is no class, module or name.
    *May switch: no.*

    >>> from eventlet import hubs
    >>> hubs.use_hub("poll")
    >>> type(hubs.get_hub()).__module__
    'eventlet.hubs.poll'
    >>> hubs.use_hub()
    """
    if mod is None:
        mod = os.environ.get("EVENTLET_HUB")
    if mod is None:
        mod = get_default_hub()
    classname = ""
    if isinstance(mod, str):
        name = mod.strip()
        if not name:
            raise RuntimeError("Need to specify a hub")
        if "." in name or ":" in name:
            modulename, _, classname = name.partition(":")
        else:
            modulename = f"eventlet.hubs.{name}"
        mod = importlib.import_module(modulename)
    if not hasattr(mod, "is_available"):
        warnings.warn(_UNCHECKED.format(mod), DeprecationWarning, stacklevel=2)
    elif not mod.is_available():
        raise Exception(f"selected hub is not available on this system mod={mod}")
    hubclass = mod if inspect.isclass(mod) else getattr(mod, classname or "Hub")
    if not callable(hubclass):
        raise TypeError(f"a hub is made by a class, not by {hubclass!r}")
    old = _core.existing_hub()
    _threadlocal.Hub = hubclass
    _core.drop_hub()
    if isinstance(old, BaseHub):
        old._dropped()
