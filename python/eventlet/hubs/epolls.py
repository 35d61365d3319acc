"""The hub on epoll."""

import select

from eventlet.hubs import hub


def is_available():
    """Return whether this system has epoll."""
    return hasattr(select, "epoll")


class Hub(hub.BaseHub):
    """A hub that waits by epoll."""

    BACKEND = "epoll"
