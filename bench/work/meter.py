"""Runs one benchmark inside a worker process, a round at a time, on request.

Protocol: the driver writes one line per round to standard input and reads one JSON line back.  A
benchmark is a function that prepares its state once and returns ``run(n)``, which performs n
operations.  A round reports CPU time per operation (user + system of this process).

Invariant: nothing but ``run(n)`` lies between the two clock readings, and both implementations
execute the same bytes of every benchmark script.
"""

import gc
import json
import sys
import time
from collections.abc import Callable

ROUND_NS = 25_000_000
MOST_OPS = 50_000_000
Run = Callable[[int], float | None]


class Work:
    """One benchmark: ``prepare`` returns ``run``; ``ops`` fixes the size of a round.

    With ``direct`` set, ``run`` returns the figure itself and is not timed.
    """

    def __init__(self, prepare: Callable[[], Run], ops: int | None = None, direct: bool = False):
        self.prepare = prepare
        self.ops = ops
        self.direct = direct


def timed(run: Run, ops: int) -> int:
    """CPU nanoseconds that ``run(ops)`` takes."""
    gc.collect()
    start = time.process_time_ns()
    run(ops)
    return time.process_time_ns() - start


def calibrate(run: Run) -> int:
    """The number of operations that fills a round; warms the code up on the way."""
    ops = 10
    while ops < MOST_OPS:
        took = timed(run, ops)
        if took >= ROUND_NS:
            break
        ops *= 2 if took * 4 > ROUND_NS else 4
    return ops


def main(works: dict[str, Work]) -> None:
    """Serves rounds of the benchmark named on the command line until standard input ends."""
    work = works[sys.argv[1]]
    run = work.prepare()
    ops = 1 if work.direct else work.ops
    if ops is None:
        ops = calibrate(run)
    elif not work.direct:
        timed(run, ops)
    print(json.dumps({"ready": ops}), flush=True)
    for _ in sys.stdin:
        value = run(ops) if work.direct else timed(run, ops) / ops
        print(json.dumps({"value": value}), flush=True)
