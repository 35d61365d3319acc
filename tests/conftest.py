"""What every test is held to: it leaves nothing behind, and the process counts prove it.

Around each test the counters of `greenlet._core` (stacks in use, watched descriptors, timers, green
threads; see `_statistics`) and the open descriptors of the process are compared. What a test may
leave is named by `@pytest.mark.leaks("why")`. Warnings are errors and each test has a timeout: both
are set in pyproject.toml.
"""

import ctypes  # noqa: F401 (recent libffi opens a file of its own when it is loaded, for good)
import gc
import os
import signal
import time

import pytest

try:
    from greenlet import _core
except ImportError:  # the tests of tools/ need no extension
    _core = None

# Counters that only grow, or that caches own, say nothing about a leak.
IGNORED = {"stacks_idle", "stacks_warm", "stacks_leaked"}
PATIENCE = 5.0  # seconds for another thread's destructors, which nothing can be waited for


def pytest_configure(config):
    config.addinivalue_line("markers", "leaks(reason): leaves something behind, as documented")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell starts background jobs that way, and the programs that tests start inherit it:
        # they would never see the interrupts that they are tested with.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def descriptors():
    """Number of the process's open descriptors, -1 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return -1


def counters():
    """What the calling thread's greenlets, stacks and hub hold now."""
    found = {"descriptors": descriptors()}
    if hasattr(_core, "_statistics"):
        statistics = _core._statistics()
        found.update((k, v) for k, v in statistics.items() if k not in IGNORED)
    return found


def more(before):
    """The counters that are higher than before, as name: (before, now)."""
    now = counters()
    return {k: (before.get(k, 0), v) for k, v in now.items() if v > before.get(k, 0)}


@pytest.fixture(autouse=True, scope="session")
def hub():
    """Makes this thread's hub, so that what it keeps for good is there before anything is counted."""
    if hasattr(_core, "sleep"):
        _core.sleep(0.001)


@pytest.fixture(autouse=True)
def nothing_is_left(request, hub):
    """Fails a test that leaves greenlets, stacks, descriptors, timers or waiters behind."""
    if request.node.get_closest_marker("leaks"):
        yield
        return
    before = counters()
    yield
    if not more(before):
        return
    gc.collect()
    deadline = time.monotonic() + PATIENCE
    while left := more(before):
        if time.monotonic() > deadline:
            pytest.fail(f"left behind (before, after): {left}")
        time.sleep(0.005)
        gc.collect()
