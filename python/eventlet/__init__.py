"""eventlet: concurrent networking with green threads.

Names are imported on first use, so that ``import eventlet`` is quick. Importing starts no hub.
"""

import importlib
import sys

__version__ = "0.41.3+rs.0.1.0"
__implementation__ = "eventlet-rs"

# Name -> module that has it.
_HOMES = {
    "BoundedSemaphore": "eventlet.semaphore",
    "CappedSemaphore": "eventlet.semaphore",
    "Event": "eventlet.event",
    "GreenPile": "eventlet.greenpool",
    "GreenPool": "eventlet.greenpool",
    "Queue": "eventlet.queue",
    "Semaphore": "eventlet.semaphore",
    "StopServe": "eventlet.convenience",
    "Timeout": "eventlet.timeout",
    "connect": "eventlet.convenience",
    "getcurrent": "greenlet",
    "import_patched": "eventlet.patcher",
    "is_timeout": "eventlet.timeout",
    "kill": "eventlet.greenthread",
    "listen": "eventlet.convenience",
    "monkey_patch": "eventlet.patcher",
    "serve": "eventlet.convenience",
    "sleep": "eventlet.greenthread",
    "spawn": "eventlet.greenthread",
    "spawn_after": "eventlet.greenthread",
    "spawn_n": "eventlet.greenthread",
    "with_timeout": "eventlet.timeout",
    "wrap_is_timeout": "eventlet.timeout",
    "wrap_ssl": "eventlet.convenience",
}

# Name -> (module, name there, name to use instead).
_DEPRECATED = {
    "TimeoutError": ("eventlet.timeout", "Timeout", "Timeout"),
    "exc_after": ("eventlet.greenthread", "exc_after", "greenthread.exc_after"),
    "call_after_global": (
        "eventlet.greenthread",
        "call_after_global",
        "greenthread.call_after_global",
    ),
}

_SUBMODULES = frozenset(
    (
        "convenience",
        "event",
        "green",
        "greenio",
        "greenpool",
        "greenthread",
        "hubs",
        "patcher",
        "queue",
        "semaphore",
        "support",
        "timeout",
    )
)

__all__ = [*_HOMES, *_SUBMODULES, *_DEPRECATED, "EventletDeprecationWarning", "greenlet"]


class EventletDeprecationWarning(Warning):
    """Kept for programs that filter it. This implementation is maintained and never emits it."""


def __getattr__(name):
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _SUBMODULES:
        value = importlib.import_module("eventlet." + name)
    elif name == "greenlet":
        value = importlib.import_module("greenlet")
    elif name in _DEPRECATED:
        from eventlet.support import wrap_deprecated

        module, attribute, instead = _DEPRECATED[name]
        value = wrap_deprecated(name, instead)(getattr(importlib.import_module(module), attribute))
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return vars(sys.modules[__name__]).setdefault(name, value)


def __dir__():
    return sorted({*globals(), *__all__})
