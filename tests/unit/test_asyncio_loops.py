"""asyncio's own loops in patched threads: as many as there are threads, each with its running loop."""

import os
import subprocess
import sys
import textwrap

import pytest

PATCH_FIRST = "import eventlet; eventlet.monkey_patch()\nimport asyncio, threading, time\n"
PATCH_LAST = "import asyncio, threading, time\nimport eventlet; eventlet.monkey_patch()\n"
RUN = """
def run(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""

pytestmark = pytest.mark.parametrize("order", [PATCH_FIRST, PATCH_LAST], ids=["first", "last"])


def run(order, script):
    """Lines that a program prints; a crash, a hang or a warning fails."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", order + RUN + textwrap.dedent(script)],
        env={name: value for name, value in os.environ.items() if name != "EVENTLET_HUB"},
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_each_thread_runs_a_loop(order):
    script = """
        async def body():
            loop = asyncio.get_running_loop()
            for _ in range(3):
                await barrier()
                assert asyncio.get_running_loop() is loop
            found.append(loop)
        async def barrier():
            # Until the others have got here, too: all loops run at once.
            mine = len(arrived) // 3 * 3 + 3
            arrived.append(None)
            while len(arrived) < mine:
                await asyncio.sleep(0.001)
        found, arrived = [], []
        run(*[lambda: asyncio.run(body())] * 3)
        print(len(found), len(set(found)))
    """
    assert run(order, script) == ["3 3"]


def test_a_coroutine_that_blocks_keeps_its_loop_and_its_task(order):
    script = """
        async def body(other):
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            before.release()
            for _ in range(3):
                time.sleep(0.001)
                eventlet.sleep(0)
                assert asyncio.get_running_loop() is loop and asyncio.current_task() is task
                await asyncio.sleep(0)
                assert asyncio.get_running_loop() is loop and asyncio.current_task() is task
            with between:
                pass
            assert asyncio.get_running_loop() is loop and asyncio.current_task() is task
            return loop
        before, between = threading.Semaphore(0), threading.Lock()
        loops = []
        between.acquire()
        def release():
            before.acquire(); before.acquire()
            between.release()
        run(*[lambda: loops.append(asyncio.run(body(None)))] * 2, release)
        print(len(set(loops)))
    """
    assert run(order, script) == ["2"]


def test_others_see_no_loop(order):
    script = """
        async def body():
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
            await asyncio.get_running_loop().run_in_executor(None, look)
            print(await asyncio.to_thread(asyncio.run, inner()))
        async def inner():
            return await asyncio.sleep(0.001, "inner")
        def look():
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                print("none")
        asyncio.run(body())
    """
    assert run(order, script) == ["none", "none", "inner"]


def test_asynchronous_generators_belong_to_the_loop_that_began_them(order):
    script = """
        import sys
        async def numbers(name):
            try:
                while True:
                    yield name
            finally:
                await asyncio.sleep(0)
                closed.append(name)
        async def body(name, first, second):
            kept.append(numbers(name))
            assert await kept[-1].__anext__() == name
            first.release()
            while not second.acquire(blocking=False):
                await asyncio.sleep(0.001)
        kept, closed = [], []
        one, other = threading.Semaphore(0), threading.Semaphore(0)
        # Each begins after the other, and so ends.
        run(lambda: asyncio.run(body("one", one, other)), lambda: asyncio.run(body("other", other, one)))
        print(sorted(closed), tuple(sys.get_asyncgen_hooks()))
    """
    assert run(order, script) == ["['one', 'other'] (None, None)"]


def test_a_killed_green_thread_ends_its_loop(order):
    script = """
        async def body():
            try:
                started.append(asyncio.get_running_loop())
                await asyncio.sleep(60)
            finally:
                assert asyncio.get_running_loop() is started[0]
                print("cancelled")
        import greenlet
        started = []
        thread = eventlet.spawn(lambda: asyncio.run(body()))
        while not started:
            eventlet.sleep(0)
        thread.kill()
        try:
            thread.wait()
        except greenlet.GreenletExit:
            pass
        print(asyncio._get_running_loop(), started[0].is_closed())
        print(asyncio.run(asyncio.sleep(0.001, "next")))
    """
    assert run(order, script) == ["cancelled", "None True", "next"]


def test_who_kills_a_loop_keeps_its_own(order):
    script = """
        started = []
        async def sleep():
            started.append(None)
            await asyncio.sleep(60)
        async def body():
            victim = eventlet.spawn(asyncio.run, sleep())
            while not started:
                eventlet.sleep(0)
            # The victim has let others run since: it polls.
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            victim.kill()
            assert asyncio.get_running_loop() is loop and asyncio.current_task() is task
            while not victim.dead:  # its loop cancels what is left
                eventlet.sleep(0)
            assert asyncio.get_running_loop() is loop and asyncio.current_task() is task
            await asyncio.sleep(0)
            print("done")
        asyncio.run(body())
    """
    assert run(order, script) == ["done"]
