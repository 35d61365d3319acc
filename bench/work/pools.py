"""Pools and what green threads keep to themselves: GreenPool.imap, Pool, corolocal.local.

Invariant: every result is read, every item given back, before the round ends.
"""

import eventlet
import meter
from eventlet import corolocal, pools


def imap():
    """One item of GreenPool(100).imap, its result read."""

    def same(item):
        return item

    def run(n):
        for _ in eventlet.GreenPool(100).imap(same, range(n)):
            pass

    return run


def pile():
    """Spawn into a GreenPile(100), read the results."""

    def body():
        pass

    def run(n):
        pile = eventlet.GreenPile(100)
        spawn = pile.spawn
        for _ in range(n):
            spawn(body)
        for _ in pile:
            pass

    return run


def item():
    """Take an item of a Pool and give it back; nobody waits."""
    pool = pools.Pool(create=object)

    def run(n):
        get, put = pool.get, pool.put
        for _ in range(n):
            put(get())

    return run


def local():
    """Read an attribute of a local."""
    own = corolocal.local()
    own.value = 1

    def run(n):
        for _ in range(n):
            own.value  # noqa: B018

    return run


meter.main(
    {
        "imap": meter.Work(imap, ops=10_000),
        "pile": meter.Work(pile, ops=10_000),
        "item": meter.Work(item),
        "local": meter.Work(local),
    }
)
