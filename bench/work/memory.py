"""Memory of a suspended greenlet: growth of resident pages and page tables, in bytes each.

One measurement per process, because allocators keep what they once had.

Invariant: the list that holds the greenlets is paid for before the first reading.
"""

import meter
from greenlet import getcurrent, greenlet
from memory_of import occupied


def parked(count):
    """Bytes per greenlet with ``count`` of them suspended one call deep."""

    def prepare():
        back = getcurrent().switch

        def body():
            back()

        def run(_):
            kept = [None] * count
            greenlet(body).switch()
            before = occupied()
            for index in range(count):
                kept[index] = one = greenlet(body)
                one.switch()
            grown = occupied() - before
            assert all(kept) and not kept[-1].dead
            return grown / count

        return run

    return prepare


meter.main(
    {
        "parked_10k": meter.Work(parked(10_000), direct=True),
        "parked_100k": meter.Work(parked(100_000), direct=True),
    }
)
