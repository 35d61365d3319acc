"""What breaks things in a soak, and keeps count of what was broken: kills, errors, signals.

A scene spawns its actors on the `Stage`. Those that may be killed are, at random moments, wherever
they are parked. Exceptions that are injected carry a number, by which `Reports`, which stands for
`sys.stderr`, finds each of them reported as often as it should be.
"""

import contextlib
import re
import signal
import sys
import time
from collections import Counter

import eventlet
from eventlet.event import Event
from greenlet import GreenletExit

# Lines of a traceback that say nothing new.
KNOWN = re.compile(
    r"^(Traceback \(most recent call last\):|\s.*|)$"
    r"|^(During handling of the above exception|The above exception was the direct cause)"
    r"|^(greenlet\.)?GreenletExit"
)
INJECTED = re.compile(r"^(?:chaos\.)?Injected: (\d+)$")


class Injected(Exception):
    """An error with a number."""


class Reports:
    """Stands for `sys.stderr` and keeps the numbers of the injected errors that are reported."""

    def __init__(self):
        self.seen = Counter()
        self.wanted = {}  # number -> whether exactly once; else once or more
        self.unknown = []
        self._rest = ""

    def __enter__(self):
        self._stderr, sys.stderr = sys.stderr, self
        return self

    def __exit__(self, *_):
        sys.stderr = self._stderr

    def write(self, text):
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if found := INJECTED.match(line):
                self.seen[int(found[1])] += 1
            elif not KNOWN.match(line):
                self.unknown.append(line)
        return len(text)

    def flush(self):
        pass

    def error(self, exactly=True):
        """A new error that is going to be raised and must be reported."""
        number = len(self.wanted)
        self.wanted[number] = exactly
        return Injected(number)

    def check(self):
        """What is wrong, as texts."""
        wrong = [f"unexpected on stderr: {line}" for line in self.unknown[:5]]
        for number, exactly in self.wanted.items():
            count = self.seen[number]
            if count < 1 or (exactly and count > 1):
                wrong.append(f"error {number} was reported {count} times")
        return wrong[:10]


class Stage:
    """Where actors work until they are told to stop, or killed."""

    def __init__(self, rng, reports):
        self.rng, self.reports = rng, reports
        self.stopping = False
        self.counts = Counter()
        self.actors = set()
        self.victims = []
        self.on_signal = []
        self.done = Event()

    def enter(self, function, *args, victim=True):
        """Spawns an actor. `victim`: it may be killed."""
        actor = eventlet.spawn(self._act, function, args)
        self.actors.add(actor)
        if victim:
            self.victims.append(actor)
        actor.link(self._leave)
        self.counts["green threads"] += 1
        return actor

    def _act(self, function, args):
        try:
            return function(*args)
        except GreenletExit:
            self.counts["kills that arrived"] += 1

    def _leave(self, actor):
        self.actors.discard(actor)
        if self.stopping and not self.actors:
            self.done.send()

    def keep(self, function, *args):
        """Spawns an actor, and its successor whenever it ends, until all are to stop."""

        def replace(_):
            if not self.stopping:
                self.keep(function, *args)

        self.enter(function, *args).link(replace)

    def pause(self):
        """Parks for a while, mostly not at all."""
        eventlet.sleep(0 if self.rng.random() < 0.9 else self.rng.random() / 2000)

    def break_things(self, deadline):
        """Kills and injects until the deadline."""
        hub = eventlet.hubs.get_hub()
        while time.monotonic() < deadline:
            for _ in range(self.rng.randrange(1, 4)):
                self.kill_one()
            what = self.rng.random()
            if what < 0.05:
                self.counts["errors"] += 1
                hub.schedule_call_global(self.rng.random() / 1000, self._fail(True))
            elif what < 0.10:
                self.counts["errors"] += 1
                eventlet.spawn_n(self._fail(True))
            elif what < 0.15 and self.actors:
                # A link's error may show a second time, as the context of another's.
                self.counts["errors"] += 1
                next(iter(self.actors)).link(self._fail(False))
            self.pause()

    def _fail(self, exactly):
        error = self.reports.error(exactly)

        def fail(*_):
            raise error

        return fail

    def kill_one(self):
        """Kills a victim, whatever it is doing."""
        if not self.victims:
            return
        index = self.rng.randrange(len(self.victims))
        self.victims[index], self.victims[-1] = self.victims[-1], self.victims[index]
        victim = self.victims.pop()
        if not victim.dead:
            self.counts["kills"] += 1
            victim.kill()

    def finish(self, patience):
        """Tells everybody to stop; returns a complaint about those who do not."""
        self.stopping = True
        if self.actors:
            with eventlet.Timeout(patience, False):
                self.done.wait()
        left, self.victims = list(self.actors), []
        for actor in left:
            actor.kill()
        return [f"{len(left)} do not stop: {left[:3]}"] if left else []


@contextlib.contextmanager
def signals(stage):
    """Has the process interrupted every few hundred microseconds."""

    active = True

    def handle(_number, _frame):
        if not active:  # one that came just before the end
            return
        stage.counts["signals"] += 1
        for function in stage.on_signal:
            function()
        signal.setitimer(signal.ITIMER_REAL, 0.0001 + stage.rng.random() / 500)

    old = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    try:
        yield
    finally:
        active = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
