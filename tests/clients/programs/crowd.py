"""A crowd of green threads for the programs of this folder. Importing it patches the process."""

import time

import eventlet

eventlet.monkey_patch()

SIZE = 100


def gather(work, waited, size=SIZE):
    """Run `work(number)` in *size* green threads; prints how it went and returns the results.

    *waited*: seconds that each spends in the server at least. The crowd must be done in half
    of the sum: it would take all of it if one blocked the others.
    """
    ticks = 0

    def tick():
        nonlocal ticks
        while True:
            eventlet.sleep(0.01)
            ticks += 1

    clock = eventlet.spawn(tick)
    begun = time.monotonic()
    results = list(eventlet.GreenPool(size).imap(work, range(size)))
    seconds = time.monotonic() - begun
    clock.kill()
    assert seconds < size * waited / 2, f"{seconds:.2f} s: they have waited for each other"
    assert ticks > 1, "the hub was blocked"
    print(f"ok {size} in {seconds:.2f} s, {ticks} ticks")
    return results
