"""Fixtures of the greenlet tests.

The suite states the behaviour of upstream's greenlet 3.5.6 and passes on it too; a test marked
``ours`` states a deliberate difference, with the reason. Whatever may kill the process runs in a
process of its own, through ``script``. Every test must leave as many greenlets as it found, unless
it is marked ``leaks`` with the reason.
"""

import gc
import os
import subprocess
import sys
import textwrap
import time

import greenlet
import pytest

OURS = "+rs" in greenlet.__version__


def pytest_configure(config):
    config.addinivalue_line("markers", "ours(reason): deliberately different from upstream")
    config.addinivalue_line("markers", "leaks(reason): leaves greenlets behind, as documented")


def pytest_collection_modifyitems(items):
    for item in items:
        mark = item.get_closest_marker("ours")
        if mark and not OURS:
            item.add_marker(pytest.mark.skip(reason="differs from upstream: " + mark.args[0]))


def living_greenlets():
    """Count the greenlets of this process, main greenlets included."""
    gc.collect()
    greenlet.getcurrent()  # delivers kills that other threads have queued
    gc.collect()
    return sum(issubclass(type(o), greenlet.greenlet) for o in gc.get_objects())


def settles(condition, seconds=10):
    """Is the condition true, at the latest after some seconds?

    Thread.join() returns before the C library has run the thread's destructors, which is when its
    greenlets learn of its end; nothing tells when that is over.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
        greenlet.getcurrent()
    return True


@pytest.fixture(name="settles")
def settles_fixture():
    return settles


@pytest.fixture(autouse=True)
def no_leftovers(request):
    """Fail a test that leaves greenlets or a trace function behind."""
    before = living_greenlets()
    yield
    assert greenlet.gettrace() is None
    if not request.node.get_closest_marker("leaks"):
        sys.last_value = sys.last_traceback = sys.last_exc = None
        assert settles(lambda: living_greenlets() <= before), "greenlets were left behind"


class Outcome:
    """What a script did: ``code`` (negative: the signal that killed it), ``out`` and ``err``."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@pytest.fixture
def script():
    """Run Python source in a process of its own: ``script(source, *args, timeout=60, env={})``."""

    def run(source, *args, timeout=60, env=None):
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(source), *args],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run
