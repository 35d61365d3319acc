"""Keeps everything busy at once while it is being broken, and looks for what is lost or left behind.

    python tests/soak/run.py [--seconds N | --minutes N] [--seed N] [--rounds N] [--round SECONDS]
                             [--scenes NAME,...]

Works in rounds of about a second. In each, the scenes of scenes.py run side by side at full speed:
queues, locks, events, timeouts, pools, sockets, native threads. Meanwhile green threads are killed at
random parks, callbacks raise, and signals arrive. Then everybody is asked to stop, each scene checks
its books, and the process is compared with what it was: green threads, timers, waiters, stacks,
descriptors. Memory must not grow from round to round (memory.py). What is wrong is printed, with the
seed of its round, and the status is 1.
"""

import argparse
import gc
import os
import random
import sys
import time
from collections import Counter

import chaos
import eventlet
import memory
import scenes
from eventlet import tpool
from greenlet import _core

ROUND = 0.7  # seconds of work
PATIENCE = 20.0  # seconds for everybody to stop


def counters():
    """What the process holds; stacks that wait to be used again say nothing."""
    found = dict(_core._statistics())
    found = {k: v for k, v in found.items() if k == "stacks_in_use" or not k.startswith("stacks_")}
    found["descriptors"] = len(os.listdir("/proc/self/fd"))
    return found


def settled(before):
    """Waits until nothing is held that was not held before; returns what is left after all."""
    deadline = time.monotonic() + PATIENCE
    while True:
        gc.collect()
        eventlet.sleep(0.002)
        now = counters()
        left = {k: (before.get(k, 0), v) for k, v in now.items() if v > before.get(k, 0)}
        if not left or time.monotonic() > deadline:
            return left


def play(seed, names, totals, seconds=ROUND):
    """One round; returns a list of what was wrong."""
    rng = random.Random(seed)
    gc.collect()
    before = counters()
    with chaos.Reports() as reports:
        stage = chaos.Stage(rng, reports)
        running = [scenes.SCENES[name](stage) for name in names]
        for scene in running:
            scene.start()
        with chaos.signals(stage):
            stage.break_things(time.monotonic() + seconds)
        wrong = stage.finish(PATIENCE)
        for scene in running:
            wrong += [f"{type(scene).__name__}: {text}" for text in scene.check()]
        eventlet.sleep(0.002)
        wrong += reports.check()
    totals.update(stage.counts)
    del running, stage, scene
    if left := settled(before):
        wrong.append(f"left behind (before, after): {left}")
    return wrong


def start_threads():
    """Has the thread pool start all of its threads, which stay."""
    pool = eventlet.GreenPool()
    for _ in range(int(os.environ.get("EVENTLET_THREADPOOL_SIZE", 20))):
        pool.spawn_n(tpool.execute, eventlet.patcher.original("time").sleep, 0.05)
    pool.waitall()


def main():
    """Plays rounds until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--rounds", type=int, help="no more than these")
    parser.add_argument("--round", type=float, default=ROUND, help="seconds of work in each")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--scenes", default=",".join(scenes.SCENES), help="names, by commas")
    options = parser.parse_args()
    names = options.scenes.split(",")
    seconds = options.minutes * 60 if options.minutes else options.seconds
    start_threads()
    print(f"soak: {seconds:g} s, seed {options.seed}, scenes {options.scenes}", flush=True)
    samples = memory.Samples(options.rounds or int(seconds / options.round) + 1)
    begun, shown, totals, bad, played = time.monotonic(), 0.0, Counter(), 0, 0
    while time.monotonic() - begun < seconds and played != options.rounds:
        seed = options.seed + played
        wrong = play(seed, names, totals, options.round)
        played += 1
        bad += len(wrong)
        for text in wrong:
            print(f"soak: WRONG in the round of seed {seed}: {text}", flush=True)
        sample = samples.take()
        passed = time.monotonic() - begun
        if passed - shown > 30:
            shown = passed
            print(f"soak: {passed:.0f} s, {played} rounds, {sample}", flush=True)
    for text in samples.complaints():
        bad += 1
        print(f"soak: WRONG: {text}")
    report = ", ".join(f"{count:,} {name}" for name, count in sorted(totals.items()))
    print(f"soak: {played} rounds: {report}")
    grown = ", ".join(f"{name} {by:+,.0f}" for name, by in samples.growth().items())
    print(f"soak: {sample}; {grown} from the second quarter to the last; {bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
