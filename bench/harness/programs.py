"""Measures the single-process benchmarks: rounds of ours and upstream (and a plain program) in turn.

Figures of one script are measured together, round by round, so that what is compared has seen the
same minutes of the machine.

Invariant: each round of ours has a round of upstream right beside it; of a heavy figure only one
process is alive at a time.
"""

import shutil

from .figures import PLAIN
from .processes import Failed, Worker

ROUNDS = 5  # per process
FRESH = 3  # processes per repeat, for figures that allow one round each


class Samples:
    """What was measured of one figure: value lists by side, or why there is none.

    ``absent`` says what this machine lacks; then nothing was tried, which is no failure.
    """

    def __init__(self, absent=""):
        self.values = {}
        self.failures = {}
        self.absent = absent

    def add(self, side, value):
        """Records one round."""
        self.values.setdefault(side, []).append(value)

    def fail(self, side, reason):
        """Records that this side cannot be measured."""
        self.failures.setdefault(side, str(reason))


def by_script(figures):
    """Groups figures by their script, in order; those that allow one round for each process apart.

    A heavy figure is a group of its own: two of them at once are more than a machine may hold.
    """
    groups = {}
    for figure in figures:
        alone = figure.name if figure.heavy else figure.fresh
        groups.setdefault((figure.script, alone), []).append(figure)
    return groups.values()


def _processes(figure, repeats):
    """How many processes of each side a group with this figure gets, and the rounds of each."""
    if figure.heavy:
        return 1, 1
    return (repeats * FRESH, 1) if figure.fresh else (repeats, ROUNDS)


def _workers(group, sides, pythons, folder, core, samples):
    """Starts and warms up every figure of a group on those sides where it has not failed."""
    workers = {}
    for figure in group:
        for side in sides:
            if (
                side not in figure.sides
                or side in samples[figure.name].failures
                or samples[figure.name].absent
            ):
                continue
            arguments = [PLAIN] if side == PLAIN else []
            worker = Worker(pythons[side], folder, figure, core, *arguments)
            try:
                worker.wait_ready()
                workers[figure, side] = worker
            except Failed as reason:
                samples[figure.name].fail(side, reason)
                worker.close()
    return workers


def _rounds(count, workers, samples):
    """Alternates ``count`` rounds over all workers."""
    for _ in range(count):
        for (figure, side), worker in list(workers.items()):
            try:
                samples[figure.name].add(side, worker.round())
            except Failed as reason:
                samples[figure.name].fail(side, reason)
                workers.pop((figure, side)).close()


def _absent(figure):
    """What this machine lacks to measure a figure, as a sentence; empty if nothing."""
    if figure.needs and not shutil.which(figure.needs):
        return f"{figure.needs} is not installed"
    return ""


def measure(figures, pythons, folder, core, repeats, say, samples):
    """Fills ``samples``, by figure name; ``pythons`` maps each side to its interpreter."""
    samples |= {figure.name: Samples(_absent(figure)) for figure in figures}
    for group in by_script(figures):
        first = group[0]
        processes, rounds = _processes(first, repeats)
        together = [[side] for side in pythons] if first.heavy else [list(pythons)]
        for repeat in range(processes):
            say(f"{first.script} {repeat + 1}")
            for sides in together:
                workers = _workers(group, sides, pythons, folder, core, samples)
                try:
                    _rounds(rounds, workers, samples)
                finally:
                    for worker in workers.values():
                        worker.close()
