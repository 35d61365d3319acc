"""fork: the child keeps the green thread that forked, and nobody else."""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback

import eventlet
import greenlet
import pytest
from eventlet import hubs, pools
from eventlet.green import socket
from eventlet.lock import Lock

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def forked(child, fork=os.fork):
    """Runs a function in a forked child: its exit status, and what it printed."""
    with tempfile.TemporaryFile() as output:
        pid, terminal = start(child, output, fork)
        status = wait_for(pid)
        if terminal is not None:
            os.close(terminal)
        output.seek(0)
        return status, output.read().decode()


def start(child, output, fork=os.fork):
    answer = fork()
    pid, terminal = answer if isinstance(answer, tuple) else (answer, None)
    if pid == 0:
        status = 99
        try:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            sys.stdout = open(1, "w", closefd=False)
            sys.stderr = open(2, "w", closefd=False)
            with eventlet.Timeout(20):
                status = child() or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return pid, terminal


def wait_for(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def from_main(child):
    return forked(child)


def from_green_thread(child):
    return eventlet.spawn(forked, child).wait()


def from_greenlet(child):
    return greenlet.greenlet(forked).switch(child)


def from_callback(child):
    outcome = eventlet.Event()
    hubs.get_hub().schedule_call_global(0, lambda: outcome.send(forked(child)))
    return outcome.wait()


def from_blocked_callback(child):
    outcome = eventlet.Event()

    def callback():
        eventlet.sleep(0.001)
        outcome.send(forked(child))

    hubs.get_hub().schedule_call_global(0, callback)
    return outcome.wait()


def from_os_thread(child):
    outcome = []

    def target():
        outcome.append(from_green_thread(child))

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    return outcome[0]


PLACES = [
    from_main,
    from_green_thread,
    from_greenlet,
    from_callback,
    from_blocked_callback,
    from_os_thread,
]


@pytest.fixture
def neighbours():
    """Green threads that wait in every way, and what they did."""
    log, gate = [], eventlet.Event()
    here, there = socket.socketpair()
    semaphore, queue = eventlet.Semaphore(0), eventlet.Queue()

    def waits(function, *args):
        try:
            function(*args)
            log.append("went on")
        finally:
            log.append("unwound")

    threads = [
        eventlet.spawn(waits, eventlet.sleep, 0.001),
        eventlet.spawn(waits, gate.wait),
        eventlet.spawn(waits, here.recv, 1),
        eventlet.spawn(waits, semaphore.acquire),
        eventlet.spawn(waits, queue.get),
    ]
    eventlet.sleep(0)
    threads.append(eventlet.spawn(waits, len, ""))  # not started
    threads.append(eventlet.spawn_after(0.001, waits, len, ""))
    yield threads, log
    assert log == [] or "unwound" in log
    gate.send()
    there.send(b"x")
    semaphore.release()
    queue.put(1)
    for thread in threads:
        thread.wait()
    assert log.count("went on") == log.count("unwound") == len(threads)
    here.close()
    there.close()


@pytest.mark.parametrize("place", PLACES)
def test_the_child_keeps_only_who_forked(place, neighbours):
    threads, log = neighbours

    def child():
        before = list(log)
        eventlet.sleep(0.003)
        assert eventlet.spawn(len, "tea").wait() == 3
        for thread in threads:
            assert thread.dead
        with pytest.raises(greenlet.GreenletExit, match="goes on in the parent process alone"):
            threads[1].wait()
        assert log == before
        print("child")

    assert place(child) == (0, "child\n")


@pytest.mark.parametrize("place", PLACES)
def test_the_child_has_a_hub_of_its_own(place):
    here, there = socket.socketpair()
    timer = hubs.get_hub().schedule_call_global(60, print, "timer of the parent")

    def child():
        reader = eventlet.spawn(here.recv, 3)
        eventlet.sleep(0.002)
        there.sendall(b"tea")
        assert reader.wait() == b"tea"
        assert hubs.get_hub().get_timers_count() <= 1  # the timeout of the child itself
        queue = eventlet.Queue()
        hubs.get_hub().schedule_call_global(0.001, queue.put, "timer of the child")
        print(queue.get())

    assert place(child) == (0, "timer of the child\n")
    assert hubs.get_hub().get_timers_count() >= 1
    timer.cancel()
    here.close()
    there.close()


def test_parent_and_child_do_not_wake_each_other():
    (here, there), (one, other) = socket.socketpair(), socket.socketpair()
    reader = eventlet.spawn(here.recv, 10)
    eventlet.sleep(0)

    def child():
        own = eventlet.spawn(here.recv, 10)
        eventlet.sleep(0)
        other.sendall(b"ready")
        print(own.wait())

    with tempfile.TemporaryFile() as output:
        pid, _ = start(child, output)
        assert one.recv(5) == b"ready"
        reader.kill()
        there.sendall(b"for the child")
        assert wait_for(pid) == 0
        output.seek(0)
        assert output.read() == b"b'for the ch'\n"
    for sock in (here, there, one, other):
        sock.close()


def test_listeners_are_the_parents(pipe):
    here, there = pipe
    hub, seen = hubs.get_hub(), []
    listener = hub.add(hub.READ, here, seen.append, None, None)

    def child():
        assert hub.get_readers() == []
        os.write(there, b"x")
        eventlet.sleep(0.001)
        assert seen == []
        mine = hub.add(hub.READ, here, lambda fd: (os.read(fd, 1), seen.append(fd)), None, None)
        eventlet.sleep(0.001)
        assert seen == [here]
        hub.remove(mine)

    assert forked(child) == (0, "")
    hub.remove(listener)


@pytest.fixture
def pipe():
    here, there = os.pipe()
    yield here, there
    os.close(here)
    os.close(there)


def test_timeouts_of_the_survivor_go_on():
    def body():
        with eventlet.Timeout(0.02, False) as timeout:
            assert timeout.pending

            def child():
                with pytest.raises(eventlet.Timeout), eventlet.Timeout(0.001):
                    eventlet.sleep(5)
                with eventlet.Timeout(5, False):
                    eventlet.sleep(60)
                print("not reached: the outer one ends the child")

            return forked_silently(child)

    # The timeout that was pending at the fork interrupts the child.
    assert eventlet.spawn(body).wait() == (7, "")


def forked_silently(child):
    """As `forked`, but what ends the child is not reported: its status is 7."""
    with tempfile.TemporaryFile() as output:
        pid = os.fork()
        if pid == 0:
            os.dup2(output.fileno(), 1)
            try:
                child()
            finally:
                os._exit(7)
        status = wait_for(pid)
        output.seek(0)
        return status, output.read().decode()


def test_locks_keep_their_owners_and_forget_who_waited():
    lock, semaphore = Lock(), eventlet.Semaphore(2)
    bounded = eventlet.Queue(1)
    lock.acquire()
    semaphore.acquire()
    bounded.put("first")
    waiters = [eventlet.spawn(lock.acquire), eventlet.spawn(bounded.put, "second")]
    eventlet.sleep(0)

    def child():
        assert lock.locked()
        assert semaphore.balance == 1
        lock.release()
        assert lock.acquire(blocking=False)
        assert bounded.get() == "first"
        assert bounded.empty()
        assert bounded.putting() == 0
        bounded.put("of the child")
        assert bounded.get() == "of the child"
        mine = eventlet.spawn(lock.acquire)
        eventlet.sleep(0)
        lock.release()
        assert mine.wait() is True

    assert forked(child) == (0, "")
    lock.release()
    assert waiters[0].wait() is True
    assert bounded.get() == "first"
    assert bounded.get() == "second"


def test_pools_of_the_parent_can_be_left_alone():
    pool = pools.Pool(max_size=1, create=object)
    pool.get()
    waiter = eventlet.spawn(pool.get)
    eventlet.sleep(0)
    workers = eventlet.GreenPool(2)
    workers.spawn_n(eventlet.sleep, 0.001)
    eventlet.sleep(0)

    def child():
        own = eventlet.GreenPool(2)
        assert list(own.imap(len, ["a", "tea"])) == [1, 3]
        assert workers.running() == 1
        assert workers.spawn(len, "tea").wait() == 3

    assert forked(child) == (0, "")
    workers.waitall()
    waiter.kill()


def test_greenlets_that_are_not_the_hubs_go_on():
    def body(value):
        while True:
            value += greenlet.getcurrent().parent.switch(value)

    plain = greenlet.greenlet(body)
    plain.switch(1)

    def child():
        assert not plain.dead
        assert plain.switch(1) == 2

    assert forked(child) == (0, "")
    assert plain.switch(10) == 11
    plain.throw()


def test_a_greenlet_that_a_green_thread_is_waiting_for_may_fork():
    def outer():
        inner = greenlet.greenlet(lambda: os.fork())
        pid = inner.switch()
        if pid == 0:
            eventlet.sleep(0.001)
            os._exit(3)
        return wait_for(pid)

    assert eventlet.spawn(outer).wait() == 3


def exit_of(body):
    """The status of a child whose forking green thread goes on with `body`, and what it printed."""

    def thread():
        pid = os.fork()
        if pid:
            return pid
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        return body()

    main = os.getpid()
    with tempfile.TemporaryFile() as output:
        try:
            pid = eventlet.spawn(thread).wait()
        finally:
            if os.getpid() != main:
                os.write(2, b"the main greenlet ran\n")
                os._exit(98)
        status = wait_for(pid)
        output.seek(0)
        return status, output.read().decode()


def test_the_child_ends_with_the_green_thread_that_forked():
    def body():
        eventlet.sleep(0.001)
        sys.stdout.write("done")

    assert exit_of(body) == (0, "done")


def test_the_child_waits_for_green_threads_of_its_own():
    def body():
        eventlet.spawn_after(0.002, sys.stdout.write, "done")

    assert exit_of(body) == (0, "done")


def test_the_child_waits_for_os_threads_of_its_own():
    def body():
        def target():
            event.wait()
            sys.stdout.write("done")
            sys.stdout.flush()
            os._exit(0)

        event = threading.Event()
        threading.Thread(target=target).start()
        eventlet.spawn_after(0.002, event.set)

    assert exit_of(body) == (0, "done")


def test_an_exception_ends_the_child_with_status_1():
    def body():
        raise ZeroDivisionError("in the child")

    status, printed = exit_of(body)
    assert status == 1
    assert printed.count("ZeroDivisionError: in the child") == 1


@pytest.mark.parametrize(
    ("code", "status", "printed"), [(None, 0, ""), (3, 3, ""), ("no tea", 1, "no tea\n")]
)
def test_system_exit_ends_the_child(code, status, printed):
    assert exit_of(lambda: sys.exit(code)) == (status, printed)


def test_an_interrupt_ends_the_child():
    def body():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.002)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        eventlet.sleep(60)

    status, printed = exit_of(body)
    assert status == 130
    assert "KeyboardInterrupt" in printed


def test_an_exit_waits_for_nobody_of_the_parents():
    here, there = socket.socketpair()
    reader = eventlet.spawn(here.recv, 1)
    eventlet.sleep(0)
    assert exit_of(lambda: None) == (0, "")
    there.send(b"x")
    assert reader.wait() == b"x"
    here.close()
    there.close()


def test_a_child_forks_again():
    def child():
        gate = eventlet.Event()
        mine = eventlet.spawn(gate.wait)
        eventlet.sleep(0)
        status, printed = eventlet.spawn(forked, lambda: print(mine.dead)).wait()
        gate.send("tea")
        print(status, printed.strip(), mine.wait())

    assert forked(child) == (0, "0 True tea\n")


def test_descriptors_are_not_leaked():
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    gate = threading.Event()
    threads = [threading.Thread(target=idle_hub, args=(gate,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    eventlet.sleep(0.001)
    before = descriptors()

    def child():
        # Each other thread's hub has two, and they are closed with it; the output is one more.
        print(before + 1 - descriptors())

    status, printed = forked(child)
    gate.set()
    for thread in threads:
        thread.join()
    assert (status, printed) == (0, "6\n")


def idle_hub(gate):
    eventlet.sleep(0)
    started = eventlet.spawn(len, "tea")
    assert started.wait() == 3
    gate.wait()


def test_other_os_threads_are_busy_meanwhile():
    stop = []

    def target():
        while not stop:
            eventlet.spawn(eventlet.sleep, 0).wait()

    threads = [threading.Thread(target=target) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            assert from_green_thread(lambda: eventlet.sleep(0.001)) == (0, "")
    finally:
        stop.append(True)
        for thread in threads:
            thread.join()


def test_forkpty():
    assert forked(lambda: eventlet.spawn(len, "tea").wait(), os.forkpty) == (3, "")


def test_green_threads_may_go_on_in_the_child_if_that_is_wanted():
    log, gate = [], eventlet.Event()
    thread = eventlet.spawn(lambda: log.append(gate.wait()))
    eventlet.sleep(0)
    assert hubs.green_threads_survive_fork(True) is False
    try:

        def child():
            gate.send("tea")
            eventlet.sleep(0)
            print(log)

        assert forked(child) == (0, "['tea']\n")
        assert hubs.green_threads_survive_fork(False) is True
    finally:
        hubs.green_threads_survive_fork(False)
    gate.send("coffee")
    thread.wait()
    assert log == ["coffee"]


GO_ON = """
import eventlet; eventlet.monkey_patch()
import os, sys, threading

go = threading.Event()

def say(line):  # in one piece: both processes write to the pipe
    os.write(1, f"{line}\\n".encode())

def background():
    go.wait()
    if os.getpid() != parent:
        say(f"background {threading.current_thread() in threading.enumerate()}")

def fork():
    forking = threading.current_thread()
    pid = os.fork()
    if pid:
        go.set()
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    assert threading.current_thread() is forking
    assert threading.main_thread() is main and main.native_id == forking.native_id == os.getpid()
    assert sorted(t.name for t in threading.enumerate()) == names
    go.set()

parent, main = os.getpid(), threading.current_thread()
thread = threading.Thread(target=background, name="background")
thread.start()
names = ["MainThread", "background"]
if sys.argv[1] == "main":
    fork()
else:
    start = {"Thread": lambda f: threading.Thread(target=f, name="forker").start(),
             "spawn": lambda f: eventlet.spawn(lambda: setattr(threading.current_thread(), "name", "forker") or f())}
    names.append("forker")
    start[sys.argv[1]](fork)
if sys.argv[2] == "join":
    thread.join()
    say(f"joined {thread.is_alive()}")
"""


@pytest.mark.parametrize(
    "who, end", [("main", "join"), ("main", "exit"), ("Thread", "join"), ("spawn", "join")]
)
def test_threads_that_go_on_are_known_to_threading(who, end):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GO_ON, who, end],
        env={**os.environ, "EVENTLET_FORK": "keep"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    lines = ["background True"] + ["joined False"] * (end == "join") * (1 if who == "main" else 2)
    assert (done.returncode, sorted(done.stdout.splitlines()), done.stderr) == (0, lines, "")


def work(number):
    eventlet.sleep(0.001)
    return eventlet.spawn(pow, number, 2).wait()


KEEPS = pytest.mark.leaks("multiprocessing keeps its server's descriptors")


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    ["fork", pytest.param("forkserver", marks=KEEPS), pytest.param("spawn", marks=KEEPS)],
)
def test_multiprocessing(method):
    context = multiprocessing.get_context(method)
    here, there = context.Pipe()

    def parent():
        process = context.Process(target=answer, args=(there, 3))
        process.start()
        process.join()
        return process.exitcode

    gate = eventlet.Event()
    neighbour = eventlet.spawn(gate.wait)
    assert eventlet.spawn(parent).wait() == 0
    assert here.recv() == 9
    gate.send("tea")
    assert neighbour.wait() == "tea"
    here.close()
    there.close()


def answer(connection, number):
    connection.send(work(number))


def test_subprocess_with_a_function_to_run_first():
    gate = eventlet.Event()
    neighbour = eventlet.spawn(gate.wait)

    def first():
        os.write(1, b"neighbour is dead: %r\n" % neighbour.dead)

    def run():
        return subprocess.run(["true"], preexec_fn=first, stdout=subprocess.PIPE, check=True).stdout

    assert eventlet.spawn(run).wait() == b"neighbour is dead: True\n"
    gate.send("tea")
    assert neighbour.wait() == "tea"


ASYNCIO = """
import os, sys
import eventlet
from eventlet import hubs
hubs.use_hub("asyncio")
import asyncio
from eventlet.asyncio import spawn_for_awaitable

async def late():
    await asyncio.sleep(0.02)
    print("coroutine")

def child():
    print("child")
    {work}

def forker():
    pid = os.fork()
    if pid == 0:
        return child()
    print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

eventlet.spawn(forker).wait()
"""


@pytest.mark.parametrize(
    "work, printed, status",
    [
        ("", "", 0),
        ("eventlet.sleep(0.01); print('slept')", "slept\n", 0),
        ("eventlet.spawn_after(0.02, print, 'later')", "later\n", 0),
        ("spawn_for_awaitable(late()).wait()", "coroutine\n", 0),
        ("asyncio.get_event_loop().create_task(late())", "coroutine\n", 0),
        ("sys.stderr.close(); raise ValueError", "", 1),
        ("sys.exit(7)", "", 7),
    ],
)
def test_child_with_the_asyncio_hub_ends(work, printed, status):
    done = subprocess.run(
        [sys.executable, "-u", "-W", "ignore", "-c", ASYNCIO.format(work=work)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == f"child\n{printed}status {status}\n", done.stderr


COROUTINE = """
import asyncio, os, signal
from eventlet import hubs
hubs.use_hub("asyncio")
from eventlet.asyncio import spawn_for_awaitable

async def main():
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, heard.set)
    pid = os.fork()
    if pid == 0:
        assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGUSR1)
        await heard.wait()
        os._exit(3)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

spawn_for_awaitable(main()).wait()
"""


def test_coroutine_that_forks_keeps_its_loop_and_its_signals():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COROUTINE],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == "3\n", done.stderr
