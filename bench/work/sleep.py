"""``eventlet.sleep(0)`` with 1, 2 and 1000 green threads that all do nothing else.

Invariant: an operation is one return from sleep(0) in any of the threads; the preparation checks
that all of them get the same number of turns.
"""

import eventlet
import meter


def sleepers(count):
    """The main greenlet and ``count - 1`` green threads call sleep(0) in turn."""

    def prepare():
        sleep = eventlet.sleep
        turns = [0] * (count - 1)
        counting = True

        def body(index):
            while counting:
                turns[index] += 1
                sleep(0)
            while True:
                sleep(0)

        for index in range(count - 1):
            eventlet.spawn(body, index)
        for _ in range(100):
            sleep(0)
        if turns and (min(turns) < 99 or max(turns) > 101):
            raise SystemExit(f"unfair: between {min(turns)} and {max(turns)} turns out of 100")
        counting = False
        sleep(0)

        def run(n):
            for _ in range(n // count):
                sleep(0)

        return run

    return prepare


meter.main(
    {
        "one": meter.Work(sleepers(1)),
        "two": meter.Work(sleepers(2)),
        "thousand": meter.Work(sleepers(1000), ops=50_000),
    }
)
