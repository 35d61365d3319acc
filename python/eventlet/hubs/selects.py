"""The hub for systems that have nothing but select: here it waits by poll, which every Unix has.

Unlike select(2), that has no highest descriptor.
"""

import select

from eventlet.hubs import poll


def is_available():
    """Return whether this system has select."""
    return hasattr(select, "select")


class Hub(poll.Hub):
    """A hub that waits by poll."""
