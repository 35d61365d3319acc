"""Lets psycopg2 wait by the hub: `make_psycopg_green`, which `monkey_patch(psycopg=True)` calls."""

from psycopg2 import OperationalError, extensions

from eventlet.hubs import trampoline

__all__ = ["eventlet_wait_callback", "make_psycopg_green"]


def make_psycopg_green():
    """Have every connection of psycopg2 wait by `eventlet_wait_callback`. *May switch: no.*"""
    extensions.set_wait_callback(eventlet_wait_callback)


def eventlet_wait_callback(conn, timeout=-1):
    """Wait until *conn* has done what it is about. *May switch: yes.*

    *timeout* in seconds; a negative one is none. Raises psycopg2.OperationalError for a state that
    is none, and `eventlet.Timeout`.
    """
    limit = None if timeout < 0 else timeout
    while True:
        state = conn.poll()
        if state == extensions.POLL_OK:
            return
        if state == extensions.POLL_READ:
            trampoline(conn.fileno(), read=True, timeout=limit)
        elif state == extensions.POLL_WRITE:
            trampoline(conn.fileno(), write=True, timeout=limit)
        else:
            raise OperationalError(f"Bad result from poll: {state!r}")
