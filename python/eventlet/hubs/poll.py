"""The hub on poll."""

import select

from eventlet.hubs import hub


def is_available():
    """Return whether this system has poll."""
    return hasattr(select, "poll")


class Hub(hub.BaseHub):
    """A hub that waits by poll."""

    BACKEND = "poll"
