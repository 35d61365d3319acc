"""Deep recursion in a greenlet: an exception, never a crash, whatever recurses.

Every program of tests/crash/deep_recursion.py runs in a process of its own, in a greenlet with the
default stack. The rest checks that depth is counted per greenlet.
"""

import pathlib
import subprocess
import sys

import pytest
from greenlet import getcurrent, greenlet

SCRIPT = pathlib.Path(__file__).parent.parent / "crash" / "deep_recursion.py"
FINE = {"ok", "RecursionError", "MemoryError"}


def run_script(*arguments):
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )


NAMES = run_script("--list").stdout.split()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_program_ends_with_an_exception_or_a_result(name):
    done = run_script(name)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() in FINE


# What needed most stack per level where CPython counts levels only (3.10, 3.11), and plain calls.
HUNGRY = [
    "add_operator",
    "getattr_hook",
    "map_function",
    "plain_python",
    "property_get",
    "sorted_key",
    "unary_operators",
    "yield_from_self",
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("limit", [1300, 5000])
@pytest.mark.parametrize("name", HUNGRY)
def test_a_raised_limit_is_met_before_the_end_of_the_stack(name, limit):
    done = run_script(name, str(limit))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() in FINE


def test_all_programs_are_known():
    assert len(NAMES) > 70


def descend(levels):
    return 0 if levels == 0 else 1 + descend(levels - 1)


def depth_left():
    """How many more Python calls the running greenlet may nest."""

    def call():
        nonlocal depth
        depth += 1
        call()

    depth = 0
    try:
        call()
    except RecursionError:
        pass
    return depth


def test_each_greenlet_counts_its_own_depth():
    def run():
        first = depth_left()
        getcurrent().parent.switch()
        return first, depth_left()

    def at_depth(levels, g):
        return g.switch() if levels == 0 else at_depth(levels - 1, g)

    g = greenlet(run)
    g.switch()
    first, second = at_depth(300, g)
    assert first == second
    assert abs(depth_left() - first) < 60


def test_a_new_greenlet_inherits_the_depth_of_its_starter():
    def at_depth(levels):
        return greenlet(depth_left).switch() if levels == 0 else at_depth(levels - 1)

    shallow = at_depth(0)
    deep = at_depth(300)
    assert 290 <= shallow - deep <= 310


def test_greenlets_that_start_greenlets_without_end_meet_recursion_error():
    def run():
        return greenlet(run).switch()

    with pytest.raises(RecursionError):
        greenlet(run).switch()


@pytest.fixture
def recursion_limit():
    before = sys.getrecursionlimit()
    yield before
    sys.setrecursionlimit(before)


def test_a_new_limit_holds_in_every_greenlet(recursion_limit):
    def run():
        depths = [depth_left()]
        while True:
            getcurrent().parent.switch(depths[-1])
            depths.append(depth_left())

    g = greenlet(run)
    normal = g.switch()
    sys.setrecursionlimit(recursion_limit + 500)
    assert g.switch() == normal + 500
    sys.setrecursionlimit(recursion_limit - 300)
    assert g.switch() == normal - 300
    sys.setrecursionlimit(recursion_limit)
    assert g.switch() == normal


def test_a_limit_set_in_a_greenlet_holds_outside(recursion_limit):
    before = depth_left()

    def run():
        sys.setrecursionlimit(recursion_limit + 400)
        getcurrent().parent.switch()
        return depth_left()

    g = greenlet(run)
    g.switch()
    assert depth_left() == before + 400
    assert g.switch() > before


def test_deep_greenlets_keep_their_frames_apart():
    def run(levels):
        if levels:
            return run(levels - 1) + levels
        return getcurrent().parent.switch()

    greenlets = [greenlet(run) for _ in range(300)]
    for number, g in enumerate(greenlets):
        g.switch(number % 150)
    for number, g in reversed(list(enumerate(greenlets))):
        levels = number % 150
        assert g.switch(number) == number + levels * (levels + 1) // 2
        assert g.dead


def resident_kilobytes():
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="needs /proc")
def test_frames_of_deep_greenlets_are_given_back():
    def run():
        descend(600)
        getcurrent().parent.switch()
        return descend(600)

    def a_thousand():
        greenlets = [greenlet(run) for _ in range(1000)]
        for g in greenlets:
            g.switch()
        for g in greenlets:
            assert g.switch() == 600

    a_thousand()
    a_thousand()
    before = resident_kilobytes()
    for _ in range(4):
        a_thousand()
    assert resident_kilobytes() - before < 20_000


def test_killed_in_depth_gives_its_frames_back():
    def run(levels):
        if levels:
            return run(levels - 1)
        return getcurrent().parent.switch()

    def round_trip():
        for _ in range(500):
            g = greenlet(run)
            g.switch(500)
            del g

    round_trip()
    round_trip()
    before = resident_kilobytes()
    round_trip()
    round_trip()
    assert resident_kilobytes() - before < 20_000
