"""`eventlet.hubs.asyncio` and `eventlet.asyncio`: coroutines and green threads in one OS thread.

Each test runs under the asyncio hub, in an OS thread of its own unless it needs the main one.
"""

import asyncio
import os
import subprocess
import sys
import threading

import eventlet
import pytest
from eventlet import debug, event, hubs
from eventlet.asyncio import spawn_for_awaitable
from eventlet.green import socket
from eventlet.hubs import asyncio as asyncio_hub, hub as hub_module
from greenlet import GreenletExit, getcurrent


@pytest.fixture
def under():
    """Calls a function in an OS thread with the asyncio hub; its result."""

    def call(function):
        outcome = []

        def body():
            hubs.use_hub("asyncio")
            try:
                outcome.append(function())
            except BaseException as error:
                outcome.append(error)
            finally:
                hubs.use_hub()

        thread = threading.Thread(target=body)
        thread.start()
        thread.join(20)
        assert outcome, "did not come back"
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    return call


def run(code, **env):
    """Run a program with the asyncio hub; its output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "EVENTLET_HUB": "asyncio", **env},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# The hub


def test_timers_and_turns(under):
    def program():
        log = []

        def count(name):
            for number in range(3):
                log.append((name, number))
                eventlet.sleep(0)

        later = event.Event()
        hubs.get_hub().schedule_call_global(0.002, later.send, "later")
        for thread in [eventlet.spawn(count, name) for name in "ab"]:
            thread.wait()
        return [*log, later.wait()]

    turns = [(name, number) for number in range(3) for name in "ab"]
    assert under(program) == [*turns, "later"]


def test_sockets_and_trampoline(under):
    def program():
        here, there = socket.socketpair()
        eventlet.spawn_after(0.001, there.sendall, b"tea")
        data = here.recv(10)
        assert hubs.trampoline(here, write=True) == here.fileno()
        with pytest.raises(eventlet.Timeout):
            hubs.trampoline(here, read=True, timeout=0.001)
        here.close()
        there.close()
        return data

    assert under(program) == b"tea"


def test_attributes(under):
    def program():
        hub = hubs.get_hub()
        assert type(hub) is asyncio_hub.Hub and asyncio_hub.is_available()
        assert asyncio.get_event_loop() is hub.loop
        eventlet.sleep(0)
        assert hub.loop.is_running() and hub.running
        assert asyncio.get_running_loop() is hub.loop
        return isinstance(hub.sleep_event, asyncio.Event)

    assert under(program)


def test_several_readers_are_not_allowed(under):
    def program():
        hubs.get_hub()
        debug.hub_prevent_multiple_readers(True)  # is what holds already
        with pytest.raises(RuntimeError, match="asyncio hub"):
            debug.hub_prevent_multiple_readers(False)

    under(program)


def test_the_sleep_event_gives_a_turn(under):
    async def ring(hub):
        hub.sleep_event.set()
        await asyncio.sleep(0.001)
        return hub.sleep_event.is_set()

    assert under(lambda: spawn_for_awaitable(ring(hubs.get_hub())).wait()) is False


def test_no_side_starves_the_other(under):
    def program():
        log, stop = [], []

        async def tick():
            for _ in range(20):
                log.append("coroutine")
                await asyncio.sleep(0)
            stop.append(True)

        def spin():
            while not stop:
                log.append("green")
                eventlet.sleep(0)

        spinning = eventlet.spawn(spin)
        spawn_for_awaitable(tick()).wait()
        spinning.wait()
        # Between two steps of the coroutine the green thread had no more than a bounded turn.
        return log.count("coroutine"), log.count("green") > 20

    assert under(program) == (20, True)


def test_many_busy_sockets_starve_neither_coroutines_nor_green_threads(under):
    count, limit = 100, 5000

    def program():
        turns, seen, others = [], [], []

        async def note():
            await asyncio.sleep(0)
            seen.append("coroutine")

        def work(number):
            while len(seen) < 2 and len(turns) < limit:
                hubs.trampoline(number, write=True)  # ready at every poll
                turns.append(number)
                if len(turns) == 5 * count:
                    others.append(spawn_for_awaitable(note()))
                    others.append(eventlet.spawn(seen.append, "green"))

        left, right = socket.socketpair()
        numbers = [os.dup(left.fileno()) for _ in range(count)]
        workers = [eventlet.spawn(work, number) for number in numbers]
        for green_threads in workers, others:
            for green in green_threads:
                green.wait()
        for number in numbers:
            os.close(number)
        left.close()
        right.close()
        return sorted(seen), len(turns) < limit

    assert under(program) == (["coroutine", "green"], True)


def test_a_coroutine_that_was_ready_first_runs_before_a_green_thread(under):
    def program():
        eventlet.sleep(0)  # in a turn from here on
        log = []

        async def coroutine():
            log.append("coroutine")

        task = asyncio.ensure_future(coroutine())
        thread = eventlet.spawn(log.append, "green")
        thread.wait()
        spawn_for_awaitable(task).wait()
        return log

    assert under(program) == ["coroutine", "green"]


def test_a_coroutine_wakes_green_threads(under):
    def program():
        done = event.Event()

        async def send():
            await asyncio.sleep(0.001)
            done.send("tea")

        task = asyncio.ensure_future(send(), loop=hubs.get_hub().loop)
        with eventlet.Timeout(5):
            assert done.wait() == "tea"
        return spawn_for_awaitable(task).wait()

    assert under(program) is None


def test_another_os_thread_wakes_green_threads(under):
    def program():
        done = event.Event()
        thread = threading.Thread(target=done.send, args=("tea",))
        hubs.get_hub().schedule_call_global(0.001, thread.start)
        value = done.wait(timeout=5)
        thread.join()
        return value

    assert under(program) == "tea"


def test_listeners(under):
    def program():
        hub, log = hubs.get_hub(), []
        here, there = socket.socketpair()
        listener = hub.add(
            hub_module.READ, here.fileno(), lambda _: log.append(here.recv(1)), None, None
        )
        there.send(b"1")
        while not log:
            eventlet.sleep(0.001)
        hub.remove(listener)
        here.close()
        there.close()
        with pytest.raises(ValueError, match="Invalid file descriptor"):
            hub.add(hub_module.READ, 1_000_000, None, None, None)
        return log

    assert under(program) == [b"1"]


def test_abort_and_run_again(under):
    def program():
        hub = hubs.get_hub()
        hub.schedule_call_global(0, hub.abort)
        hub.switch()
        assert not hub.running and not hub.loop.is_running()

        async def stop():
            hub.abort()

        task = asyncio.ensure_future(stop(), loop=hub.loop)
        hub.switch()
        assert task.done() and not hub.running
        eventlet.sleep(0.001)
        return hub.running

    assert under(program)


def test_a_system_exception_of_a_coroutine_or_a_green_thread_reaches_the_main_greenlet(under):
    def program():
        async def interrupt():
            raise KeyboardInterrupt("in a coroutine")

        def leave():
            raise SystemExit("in a green thread")

        asyncio.ensure_future(interrupt(), loop=hubs.get_hub().loop)
        with pytest.raises(KeyboardInterrupt, match="in a coroutine"):
            eventlet.sleep(5)
        eventlet.spawn(leave)
        with pytest.raises(SystemExit, match="in a green thread"):
            eventlet.sleep(5)
        return eventlet.spawn(lambda: "alive").wait()

    assert under(program) == "alive"


def test_what_is_thrown_at_the_hub_reaches_the_main_greenlet(under):
    def program():
        eventlet.sleep(0)
        with pytest.raises(LookupError, match="thrown"):
            hubs.get_hub().greenlet.throw(LookupError("thrown"))
        eventlet.sleep(0.001)
        return "alive"

    assert under(program) == "alive"


def test_a_coroutine_must_not_block(under):
    async def block():
        with pytest.raises(RuntimeError, match="do not call blocking functions from the mainloop"):
            eventlet.sleep(0.001)
        return "said so"

    assert under(lambda: spawn_for_awaitable(block()).wait()) == "said so"


def test_inside_of_another_loop_it_says_what_to_do(under):
    def program():
        async def main():
            eventlet.sleep(0.001)

        with pytest.raises(RuntimeError, match="spawn_for_awaitable"):
            asyncio.run(main())
        hubs.use_hub("asyncio")  # asyncio.run() has taken the current loop away
        return eventlet.spawn(lambda: "alive").wait()

    assert under(program) == "alive"


def test_a_hub_that_is_dropped_closes_its_loop(under):
    def program():
        loop = hubs.get_hub().loop
        eventlet.sleep(0)
        hubs.use_hub("asyncio")
        assert loop.is_closed() and hubs.get_hub().loop is not loop
        return eventlet.spawn(lambda: "tea").wait()

    assert under(program) == "tea"


def test_a_thread_that_ends_closes_its_loop():
    loops = []

    def body():
        hubs.use_hub("asyncio")
        eventlet.sleep(0.001)
        loops.append(hubs.get_hub().loop)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert loops[0].is_closed()


# Green threads wait for awaitables


def test_results(under):
    async def double(value):
        await asyncio.sleep(0)
        return value * 2

    def program():
        loop = hubs.get_hub().loop
        future = loop.create_future()
        loop.call_soon(future.set_result, "future")
        task = loop.create_task(double(4))
        results = [spawn_for_awaitable(what).wait() for what in (double(2), task, future)]
        done = spawn_for_awaitable(future).wait()  # one that is done already
        return results, done

    assert under(program) == ([4, 8, "future"], "future")


def test_exceptions(under):
    async def fail():
        await asyncio.sleep(0)
        raise ZeroDivisionError("tea")

    def program():
        with pytest.raises(ZeroDivisionError, match="tea"):
            spawn_for_awaitable(fail()).wait()

    under(program)


def test_what_cannot_be_awaited(under):
    def program():
        with pytest.raises(TypeError):
            spawn_for_awaitable(5)
        other = asyncio.SelectorEventLoop()
        with pytest.raises(ValueError):
            spawn_for_awaitable(other.create_future())
        other.close()

    under(program)


def test_without_the_asyncio_hub():
    async def idle():
        return None

    coroutine = idle()
    with pytest.raises(RuntimeError, match="EVENTLET_HUB=asyncio"):
        spawn_for_awaitable(coroutine)
    coroutine.close()
    thread = eventlet.spawn(int)
    with pytest.raises(RuntimeError, match="EVENTLET_HUB=asyncio"):
        thread.__await__()
    thread.wait()


@pytest.mark.parametrize("started", [True, False])
def test_a_kill_cancels_the_awaitable(under, started):
    def program():
        log = []

        async def idle():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                log.append("cancelled")
                raise

        task = asyncio.ensure_future(idle(), loop=hubs.get_hub().loop)
        eventlet.sleep(0.001)
        thread = spawn_for_awaitable(task)
        if started:
            eventlet.sleep(0)
        thread.kill()
        with pytest.raises(GreenletExit):
            thread.wait()
        eventlet.sleep(0.001)
        return task.cancelled(), log

    assert under(program) == (True, ["cancelled"])


def test_a_timeout_ends_the_wait_and_cancels(under):
    def program():
        task = hubs.get_hub().loop.create_future()
        thread = spawn_for_awaitable(task)
        with pytest.raises(eventlet.Timeout), eventlet.Timeout(0.001):
            thread.wait()
        assert not task.done()  # only the waiting has ended
        thread.kill()
        return task.cancelled()

    assert under(program)


def test_a_cancelled_awaitable_ends_the_green_thread(under):
    def program():
        future = hubs.get_hub().loop.create_future()
        thread = spawn_for_awaitable(future)
        eventlet.sleep(0)
        future.cancel()
        with pytest.raises(GreenletExit):
            thread.wait()

    under(program)


# Coroutines await green threads


def test_await_a_green_thread(under):
    def brew(delay):
        if delay:
            eventlet.sleep(delay)
        return "tea"

    async def drink():
        slow = await eventlet.spawn(brew, 0.001)
        finished = eventlet.spawn(brew, 0)
        await asyncio.sleep(0.001)
        assert finished.dead
        both = await asyncio.gather(eventlet.spawn(brew, 0), finished)
        return [slow, *both]

    assert under(lambda: spawn_for_awaitable(drink()).wait()) == ["tea"] * 3


def test_the_exception_of_an_awaited_green_thread(under, capsys):
    def fail(kind):
        raise kind("tea")

    async def drink():
        with pytest.raises(ZeroDivisionError, match="tea"):
            await eventlet.spawn(fail, ZeroDivisionError)
        with pytest.raises(RuntimeError, match="raised StopIteration"):
            await eventlet.spawn(fail, StopIteration)

    under(lambda: spawn_for_awaitable(drink()).wait())


def test_cancelling_who_awaits_kills_the_green_thread(under):
    def program():
        log = []

        def idle():
            try:
                eventlet.sleep(60)
            finally:
                log.append("unwound")

        async def drink(thread):
            await thread

        thread = eventlet.spawn(idle)
        task = asyncio.ensure_future(drink(thread), loop=hubs.get_hub().loop)
        eventlet.sleep(0.001)
        task.cancel()
        with pytest.raises(GreenletExit):
            thread.wait()
        return log

    assert under(program) == ["unwound"]


def test_a_green_thread_that_is_killed_cancels_who_awaits_it(under):
    async def drink(thread):
        try:
            await thread
        except asyncio.CancelledError:
            return "cancelled"

    def program():
        thread = eventlet.spawn(eventlet.sleep, 60)
        waiting = spawn_for_awaitable(drink(thread))
        eventlet.sleep(0.001)
        thread.kill()
        return waiting.wait()

    assert under(program) == "cancelled"


def test_a_green_thread_that_ends_itself(under):
    async def drink(thread):
        with pytest.raises(asyncio.CancelledError):
            await thread

    def program():
        thread = eventlet.spawn(lambda: getcurrent().kill())
        spawn_for_awaitable(drink(thread)).wait()

    under(program)


# asyncio's own means


def test_subprocesses_and_threads_of_asyncio():
    code = """
import asyncio, eventlet, sys, threading
from eventlet.asyncio import spawn_for_awaitable

async def main():
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "print('tea')", stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    idents = await asyncio.gather(*(asyncio.to_thread(threading.get_ident) for _ in range(3)))
    nested = await asyncio.to_thread(asyncio.run, asyncio.sleep(0, "nested"))
    loop = asyncio.get_running_loop()
    address = await loop.getaddrinfo("127.0.0.1", 80)
    return out.strip(), threading.get_ident() in idents, nested, address[0][4][0]

print(spawn_for_awaitable(main()).wait())
"""
    assert run(code) == "(b'tea', False, 'nested', '127.0.0.1')"


def test_signals():
    code = """
import asyncio, eventlet, os, signal
from eventlet import hubs

got = eventlet.Event()
hubs.get_hub().loop.add_signal_handler(signal.SIGUSR1, got.send, "by the loop")
eventlet.spawn_after(0.001, os.kill, os.getpid(), signal.SIGUSR1)
print(got.wait(timeout=5))

signal.signal(signal.SIGUSR2, lambda *_: again.send("by Python"))
again = eventlet.Event()
eventlet.spawn_after(0.001, os.kill, os.getpid(), signal.SIGUSR2)
print(again.wait(timeout=5))

eventlet.spawn_after(0.001, os.kill, os.getpid(), signal.SIGINT)
try:
    eventlet.sleep(5)
except KeyboardInterrupt:
    print("interrupted")
"""
    assert run(code).splitlines() == ["by the loop", "by Python", "interrupted"]


def test_streams_beside_green_sockets():
    code = """
import asyncio, eventlet
from eventlet.asyncio import spawn_for_awaitable
from eventlet.green import socket

async def serve(reader, writer):
    writer.write((await reader.readline()).upper())
    await writer.drain()
    writer.close()

async def start():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()

server, address = spawn_for_awaitable(start()).wait()

def ask(word):
    with socket.create_connection(address) as sock:
        sock.sendall(word + b"\\n")
        return sock.recv(100)

pile = eventlet.GreenPile()
for word in (b"tea", b"cup"):
    pile.spawn(ask, word)
print(sorted(pile))
server.close()
"""
    assert run(code) == r"[b'CUP\n', b'TEA\n']"


def test_patching_leaves_asyncio_the_original_modules():
    code = """
import asyncio.selector_events, concurrent.futures.thread, socket, sys, threading
import eventlet, eventlet.hubs
eventlet.hubs.get_hub()
eventlet.monkey_patch()
events = asyncio.selector_events
assert events.selectors is sys.modules["__original_module_selectors"]
assert events.selectors.select is sys.modules["__original_module_select"]
assert events.socket is sys.modules["__original_module_socket"]
assert concurrent.futures.thread.threading is sys.modules["__original_module_threading"]
from eventlet.green.socket import socket as green
assert socket.socket is green and events.socket.socket is not green

from eventlet.asyncio import spawn_for_awaitable
async def main():
    other = await asyncio.to_thread(threading.get_ident)
    return other != threading.get_ident()
print(spawn_for_awaitable(main()).wait())
"""
    assert run(code) == "True"


FORK = """
import asyncio, eventlet, os
from eventlet import hubs
from eventlet.asyncio import spawn_for_awaitable

def parent(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def child(checks):
    code = 1
    try:
        with eventlet.Timeout(5):
            code = 0 if all(checks()) else 2
    finally:
        os._exit(code)

async def answer(value):
    await asyncio.sleep(0.001)
    return value

assert spawn_for_awaitable(answer(1)).wait() == 1
loop = hubs.get_hub().loop
"""


@pytest.mark.parametrize("kept", ["drop", "keep"])
def test_fork(kept):
    code = """
def checks():
    eventlet.sleep(0.001)
    yield spawn_for_awaitable(answer(2)).wait() == 2
    here = hubs.get_hub().loop
    yield (here is loop) == (os.environ["EVENTLET_FORK"] == "keep")
    yield asyncio.get_running_loop() is here

pid = os.fork()
if not pid:
    child(checks)
print(parent(pid), spawn_for_awaitable(answer(3)).wait())
"""
    assert run(FORK + code, EVENTLET_FORK=kept) == "0 3"


def test_fork_in_a_coroutine():
    code = """
async def fork():
    pid = os.fork()
    if pid:
        return parent(pid)
    code = 1
    try:
        tea = await eventlet.spawn(lambda: eventlet.sleep(0.001) or "tea")
        three = await asyncio.to_thread(int, "3")
        same = asyncio.get_running_loop() is loop
        code = 0 if (tea, three, same, await answer(4)) == ("tea", 3, True, 4) else 2
    finally:
        os._exit(code)

print(spawn_for_awaitable(fork()).wait(), spawn_for_awaitable(answer(3)).wait())
"""
    assert run(FORK + code) == "0 3"
