"""Many greenlets, little address space, deep stacks."""

import gc
import os
import sys

import pytest
from greenlet import getcurrent, greenlet

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc or sets RLIMIT_AS")


def park(value=None):
    while True:
        value = getcurrent().parent.switch(value)
        if value == "stop":
            return "stopped"


@pytest.mark.parametrize("count", [10_000, 100_000])
@linux
def test_many_suspended(script, count):
    """Each is started, resumed once and ended; half by switch, half by dropping it."""
    done = script(
        """
        import sys
        from greenlet import getcurrent, greenlet
        count = int(sys.argv[1])

        def park(n):
            assert getcurrent().parent.switch(n) == -n
            try:
                getcurrent().parent.switch()
            finally:
                ended.append(n)

        ended = []
        keep = [greenlet(park) for _ in range(count)]
        for n, g in enumerate(keep):
            assert g.switch(n) == n
        for n, g in enumerate(keep):
            g.switch(-n)
        del g
        for g in keep[: count // 2]:
            g.switch()
            assert g.dead
        del g
        keep.clear()
        assert sorted(ended) == list(range(count))
        print("ended", len(ended))
        """,
        str(count),
        timeout=240,
    )
    assert (done.code, done.out) == (0, f"ended {count}\n"), done


@linux
def test_stacks_are_used_again(script):
    """A million lives one after the other need the memory of a few."""
    done = script(
        """
        from greenlet import getcurrent, greenlet

        def rss():
            with open("/proc/self/statm") as f:
                return int(f.read().split()[1]) * 4096

        def life():
            return 1

        for _ in range(10_000):
            greenlet(life).switch()
        before = rss()
        for _ in range(200_000):
            greenlet(life).switch()
        grown = rss() - before
        assert grown < 2_000_000, grown
        print("flat")
        """,
        timeout=120,
    )
    assert (done.code, done.out) == (0, "flat\n"), done


@linux
@pytest.mark.ours("upstream copies stacks into the heap and needs no mapping for each")
def test_out_of_address_space(script):
    """RLIMIT_AS: starting one more raises MemoryError; those that exist go on; no abort."""
    done = script(
        """
        import resource
        from greenlet import getcurrent, greenlet
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

        def park():
            getcurrent().parent.switch("parked")
            return "finished"

        keep = []
        try:
            for _ in range(100_000):
                g = greenlet(park)
                keep.append(g)
                g.switch()
            print("no limit")
        except MemoryError:
            failed = keep.pop()
            assert not failed.dead and not failed, failed
            for g in keep:
                assert g.switch() == "finished" and g.dead
            del g
            keep.clear()
            # there is room again, also for the one that failed
            assert failed.switch() == "parked"
            assert failed.switch() == "finished"
            print("MemoryError")
        """,
        timeout=120,
    )
    assert (done.code, done.out) == (0, "MemoryError\n"), done


@linux
@pytest.mark.ours("upstream copies stacks into the heap and needs no mapping for each")
def test_out_of_address_space_while_killing(script):
    """Ending greenlets needs no new mapping."""
    done = script(
        """
        import resource
        from greenlet import getcurrent, greenlet
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        ended = [0]  # a count: a list that grows would need memory of its own

        def park():
            try:
                getcurrent().parent.switch("parked")
            finally:
                ended[0] += 1

        keep = []
        try:
            while True:
                keep.append(greenlet(park))
                keep[-1].switch()
        except MemoryError:
            keep.pop()
        count = len(keep)
        keep.clear()
        assert ended == [count], (ended, count)
        print("all ended")
        """,
        timeout=120,
    )
    assert (done.code, done.out) == (0, "all ended\n"), done


@linux
@pytest.mark.ours("upstream needs no mapping for each greenlet")
def test_map_count_stays_small(script):
    """Guards do not use up vm.max_map_count: 10,000 greenlets add few mappings."""
    done = script(
        """
        from greenlet import getcurrent, greenlet

        def maps():
            with open("/proc/self/maps") as f:
                return sum(1 for _ in f)

        before = maps()
        keep = [greenlet(lambda: getcurrent().parent.switch()) for _ in range(10_000)]
        for g in keep:
            g.switch()
        print(maps() - before)
        """,
        timeout=120,
    )
    assert done.code == 0, done
    assert int(done.out) < 12_000, done


def test_deep_python_recursion_in_many_greenlets():
    def down(n):
        return down(n - 1) if n else park("bottom")

    depth = sys.getrecursionlimit() // 4
    keep = [greenlet(down) for _ in range(100)]
    for g in keep:
        assert g.switch(depth) == "bottom"
    for g in keep:
        assert g.switch("stop") == "stopped"


def test_data_stack_grows_and_shrinks_over_chunk_borders():
    """Frames larger than a chunk of CPython's frame stack, in several greenlets at once."""
    names = [f"v{i}" for i in range(700)]
    source = "def wide(n):\n" + "".join(f"    {v} = n\n" for v in names)
    source += (
        "    got = park(n) if n == 0 else wide(n - 1)\n    return got if v699 == n else 'broken'\n"
    )
    scope = {"park": park}
    exec(source, scope)
    for _ in range(20):
        keep = [greenlet(scope["wide"]) for _ in range(10)]
        for g in keep:
            g.switch(12)
        for g in reversed(keep):
            assert g.switch("stop") == "stopped"


def test_every_order_of_ending():
    for order in (list, reversed, lambda k: k[::2] + k[1::2]):
        keep = [greenlet(park) for _ in range(500)]
        for g in keep:
            g.switch()
        for g in order(keep):
            assert g.switch("stop") == "stopped"


def test_switches_between_ten_thousand():
    keep = [greenlet(park) for _ in range(10_000)]
    for g in keep:
        g.switch()
    for _ in range(5):
        for n, g in enumerate(keep):
            assert g.switch(n) == n
    for g in keep:
        g.switch("stop")
    del keep, g
    gc.collect()


@linux
def test_open_descriptors_are_none():
    before = len(os.listdir("/proc/self/fd"))
    keep = [greenlet(park) for _ in range(100)]
    for g in keep:
        g.switch()
    assert len(os.listdir("/proc/self/fd")) == before
    for g in keep:
        g.switch("stop")
