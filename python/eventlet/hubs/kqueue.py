"""The hub on kqueue: not available, since no system with kqueue is supported yet."""


def is_available():
    """Return False."""
    return False
