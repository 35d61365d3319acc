"""C stacks: their size, what happens at their end, and what they cost."""

import re
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.ours("upstream has no stacks of its own"),
    pytest.mark.skipif(sys.platform != "linux", reason="guards are tested on Linux"),
]

# libc's regular expression compiler recurses for each parenthesis, in C alone: no check of CPython's
# sees it.
EAT_STACK = """
import ctypes, sys
from greenlet import getcurrent, greenlet
libc = ctypes.CDLL(None)

def eat(levels):
    compiled = ctypes.create_string_buffer(4096)
    libc.regcomp(compiled, b"(" * levels + b")" * levels, 1)
    return levels

def body():
    return eat(500_000)

g = greenlet(body)
print(hex(id(g)), flush=True)
"""


LOW = "sys.setrecursionlimit(80)\n"


def overflow(script, tail, **options):
    done = script(EAT_STACK + tail, **options)
    assert done.code < 0, done  # killed by a signal: Python code cannot go on after it
    assert "greenlet stack overflow" in done.err, done
    return done


def test_overflow_is_named(script):
    done = overflow(script, "g.switch()")
    line = next(line for line in done.err.splitlines() if "greenlet stack overflow" in line)
    address = done.out.strip()
    assert address in line
    assert int(re.search(r"C stack of (\d+) bytes", line).group(1)) >= 1 << 19
    assert "GREENLET_STACK_SIZE" in line
    # faulthandler, which `script` turns on, has had its turn after us
    assert "Segmentation fault" in done.err


def test_overflow_in_a_thread_is_named(script):
    done = overflow(
        script,
        """
import threading
threading.Thread(target=lambda: greenlet(body).switch()).start()
""",
    )
    assert "greenlet stack overflow" in done.err


def test_overflow_without_faulthandler():
    """The default action still ends the process with SIGSEGV."""
    done = subprocess.run(
        [sys.executable, "-c", EAT_STACK + "g.switch()"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -11
    assert "greenlet stack overflow" in done.stderr


def test_other_segfaults_are_not_ours(script):
    done = script(
        """
        import ctypes
        from greenlet import greenlet
        greenlet(lambda: ctypes.string_at(8)).switch()
        """
    )
    assert done.code == -11, done
    assert "greenlet stack overflow" not in done.err
    assert "Segmentation fault" in done.err


def test_small_stack_by_environment(script):
    """The size is a real limit: what fits into 4 MiB does not fit into 64 KiB.

    3.10 and 3.11 give 8 MiB to a stack that could not hold the recursion limit: it is low here.
    """
    fits = script(
        EAT_STACK + LOW + "print(greenlet(eat).switch(4000))", env={"GREENLET_STACK_SIZE": "4M"}
    )
    assert fits.code == 0, fits
    assert fits.out.endswith("\n4000\n"), fits
    overflow(script, LOW + "print(greenlet(eat).switch(4000))", env={"GREENLET_STACK_SIZE": "64K"})


@pytest.mark.parametrize("size", ["plenty", "-1", "1.5M", "", "10", "12Q", "99999999999999G"])
def test_bad_size_in_the_environment(script, size):
    done = script("import greenlet", env={"GREENLET_STACK_SIZE": size})
    assert done.code == 1, done
    assert "ValueError: GREENLET_STACK_SIZE" in done.err, done


def test_stack_size_function(script):
    done = script(
        """
        from greenlet import _core, getcurrent, greenlet
        default = _core.stack_size()
        assert default >= 512 * 1024, default
        assert _core.stack_size("2M") == default
        assert _core.stack_size(256 * 1024) == 2 << 20
        assert _core.stack_size() == 256 * 1024
        assert greenlet(lambda: 5).switch() == 5
        g = greenlet(lambda: getcurrent().parent.switch())
        g.switch()
        _core.stack_size("1M")   # for other threads; this one has a suspended greenlet
        g.switch()
        for bad in ("plenty", 10, -1, "", 1 << 70):
            try:
                _core.stack_size(bad)
            except ValueError:
                pass
            else:
                raise SystemExit(f"accepted {bad!r}")
        for bad in (1.5, [], b"1M"):
            try:
                _core.stack_size(bad)
            except TypeError:
                pass
            else:
                raise SystemExit(f"accepted {bad!r}")
        assert _core.stack_size() == 1 << 20
        print("fine")
        """
    )
    assert (done.code, done.out) == (0, "fine\n"), done


def test_dead_threads_cost_no_memory(script):
    """Greenlets that are suspended when their thread ends give their stacks back when they go."""
    done = script(
        """
        import gc, threading
        from greenlet import _greenlet, getcurrent, greenlet

        def rss():
            with open("/proc/self/statm") as f:
                return int(f.read().split()[1]) * 4096

        def park():
            getcurrent().parent.switch()

        def work(keep):
            for _ in range(5000):
                keep.append(greenlet(park))
                keep[-1].switch()

        def once():
            keep = []
            thread = threading.Thread(target=work, args=(keep,))
            thread.start()
            thread.join()
            assert len(keep) == 5000

        once()
        gc.collect()
        before = rss()
        for _ in range(5):
            once()
        gc.collect()
        grown = rss() - before
        assert grown < 20_000_000, grown
        print("fine")
        """
    )
    assert (done.code, done.out) == (0, "fine\n"), done


def test_frames_of_a_dead_thread_stay_readable(script):
    """Whoever holds a frame of a greenlet can read it after the thread and the greenlet are gone."""
    done = script(
        """
        import gc, threading
        from greenlet import getcurrent, greenlet
        frames = []

        def inner(local):
            getcurrent().parent.switch()

        def outer():
            inner("value")

        def work():
            g = greenlet(outer)
            g.switch()
            frames.append(g.gr_frame)
            keep.append(g)

        keep = []
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        keep.clear()
        gc.collect()
        others = [greenlet(lambda: getcurrent().parent.switch()) for _ in range(500)]
        for g in others:
            g.switch()
        frame = frames[0]
        assert frame.f_code.co_name == "inner"
        assert frame.f_locals["local"] == "value"
        assert frame.f_back.f_code.co_name == "outer"
        print("fine")
        """
    )
    assert (done.code, done.out) == (0, "fine\n"), done


def test_generators_of_a_dead_thread_stay_readable(script):
    done = script(
        """
        import gc, threading
        from greenlet import getcurrent, greenlet
        found, keep = [], []

        def numbers():
            getcurrent().parent.switch()
            yield 1

        def outer():
            generator = numbers()
            found.append(generator)
            list(generator)

        def work():
            g = greenlet(outer)
            g.switch()
            keep.append(g)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        keep.clear()
        gc.collect()
        others = [greenlet(lambda: getcurrent().parent.switch()) for _ in range(500)]
        for g in others:
            g.switch()
        frame = found[0].gi_frame
        assert frame.f_code.co_name == "numbers"
        assert frame.f_back.f_code.co_name == "outer"
        print("fine")
        """
    )
    assert (done.code, done.out) == (0, "fine\n"), done
