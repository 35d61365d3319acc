"""The hub for systems that have nothing but select: here it waits by poll, which every Unix has."""

import select

from eventlet.hubs import hub


def is_available():
    """Return whether this system has select."""
    return hasattr(select, "select")


class Hub(hub.BaseHub):
    """A hub that waits by poll."""

    BACKEND = "poll"
