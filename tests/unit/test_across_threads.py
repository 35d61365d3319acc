"""Primitives shared by green threads of several OS threads, and by OS threads without a hub."""

import collections
import gc
import os
import subprocess
import sys
import threading
import time

import eventlet
import greenlet
import pytest
from eventlet import queue
from eventlet.lock import Lock
from greenlet import _core

FULL = bool(os.environ.get("EVENTLET_STRESS"))
#: OS threads, green threads in each, and hand-offs of the stress tests.
THREADS, GREEN, HANDOFFS = (4, 1000, 100_000) if FULL else (4, 50, 2_000)
SLOW = [pytest.mark.slow] if FULL else []


class Threads:
    """OS threads whose exceptions are raised where they are joined."""

    def __init__(self):
        self.threads, self.errors = [], []

    def start(self, function, *args):
        def call():
            try:
                function(*args)
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=call, daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread

    def join(self):
        """Waits, while the green threads of this OS thread run."""
        while any(thread.is_alive() for thread in self.threads):
            eventlet.sleep(0.001)
        for thread in self.threads:
            thread.join()
        if self.errors:
            raise self.errors[0]


@pytest.fixture
def threads():
    started = Threads()
    yield started
    started.join()


def in_green_threads(count, function, *args):
    """Runs function(number, *args) in `count` green threads of this OS thread, to the end."""
    for thread in [eventlet.spawn(function, number, *args) for number in range(count)]:
        thread.wait()


def wait_until(condition):
    while not condition():
        eventlet.sleep(0.001)


# One at a time.


def test_an_event_wakes_green_threads_of_all_os_threads(threads):
    event, got, ready = eventlet.Event(), [], []

    def waiter(_number):
        ready.append(1)
        got.append(event.wait())

    for _ in range(3):
        threads.start(in_green_threads, 4, waiter)
    wait_until(lambda: len(ready) == 12)
    threads.start(event.send, "tea")
    threads.join()
    assert got == ["tea"] * 12


def test_an_exception_reaches_other_os_threads(threads):
    event, got = eventlet.Event(), []

    def waiter():
        with pytest.raises(KeyError, match="cup"):
            event.wait()
        got.append(True)

    threads.start(waiter)
    wait_until(lambda: len(event._waiters) == 1)
    event.send_exception(KeyError("cup"))
    threads.join()
    assert got == [True]


def test_a_lock_shared_by_three_os_threads(threads):
    lock, counter = Lock(), [0]

    def add(_number):
        for _ in range(20):
            with lock:
                before = counter[0]
                eventlet.sleep(0)
                counter[0] = before + 1

    for _ in range(3):
        threads.start(in_green_threads, 5, add)
    threads.join()
    assert counter == [300] and not lock.locked()


def test_a_lock_released_by_another_os_thread(threads):
    lock = Lock()
    lock.acquire()
    threads.start(lock.release)
    assert lock.acquire() is True
    lock.release()


def test_a_timed_acquire_across_os_threads(threads):
    lock, outcome = Lock(), []
    lock.acquire()
    threads.start(lambda: outcome.append(lock.acquire(timeout=0.01)))
    threads.join()
    assert outcome == [False]
    lock.release()


def test_items_put_by_another_os_thread_arrive_in_order(threads):
    q = eventlet.Queue()
    threads.start(lambda: [q.put(i) for i in range(500)])
    assert [q.get() for _ in range(500)] == list(range(500))


def test_a_bounded_queue_and_a_channel_between_os_threads(threads):
    for size in (0, 1, 3):
        q = eventlet.Queue(size)
        threads.start(lambda q=q: [q.put(i) for i in range(100)])
        assert [q.get() for _ in range(100)] == list(range(100))
        assert q.empty() and q.unfinished_tasks == 100


def test_join_of_a_queue_across_os_threads(threads):
    q = eventlet.Queue()
    for i in range(10):
        q.put(i)
    threads.start(lambda: [(q.get(), q.task_done()) for _ in range(10)])
    q.join()
    assert q.unfinished_tasks == 0


def test_waiters_are_served_in_the_order_in_which_they_came(threads):
    semaphore, order = eventlet.Semaphore(0), []

    def take(number):
        semaphore.acquire()
        order.append(number)

    for number in range(6):
        threads.start(take, number)
        wait_until(lambda number=number: semaphore.balance == -number - 1)
    for number in range(6):
        semaphore.release()
        wait_until(lambda number=number: len(order) == number + 1)
    threads.join()
    assert order == list(range(6))


def test_waiting_for_a_green_thread_of_another_os_thread(threads):
    found, go = queue.LightQueue(), eventlet.Event()

    def owner():
        g = eventlet.spawn(lambda: (go.wait(), "tea")[1])
        found.put(g)
        g.wait()

    thread = threads.start(owner)
    g, log = found.get(), []
    g.link(lambda g: log.append(threading.get_ident()))
    go.send()
    assert g.wait() == "tea"
    threads.join()
    assert log == [thread.ident]  # links run where the green thread ended


def test_a_pool_shared_by_os_threads(threads):
    pool, counter, most = eventlet.GreenPool(3), [0], [0]

    def work():
        most[0] = max(most[0], pool.running())
        eventlet.sleep(0)
        counter[0] += 1

    def feed():
        for _ in range(40):
            pool.spawn_n(work)
        pool.waitall()

    for _ in range(3):
        threads.start(feed)
    threads.join()
    assert counter == [120] and pool.free() == 3 and most[0] <= 3


def test_a_timeout_cancelled_by_another_os_thread(threads):
    timeout = eventlet.Timeout(0.02)
    threads.start(timeout.cancel)
    threads.join()
    assert not timeout.pending
    eventlet.sleep(0.03)


# kill


@pytest.mark.parametrize("how", ["kill", "method"])
def test_kill_is_done_by_the_os_thread_of_the_green_thread(threads, how):
    found, log = queue.LightQueue(), []

    def owner():
        g = eventlet.spawn(body)
        eventlet.sleep()
        found.put(g)
        with pytest.raises(greenlet.GreenletExit):
            g.wait()

    def body():
        try:
            eventlet.sleep(60)
        finally:
            log.append(threading.get_ident())

    thread = threads.start(owner)
    g = found.get()
    eventlet.kill(g) if how == "kill" else g.kill()
    threads.join()
    assert log == [thread.ident] and g.dead


def test_kill_with_an_exception_across_os_threads(threads):
    found, got = queue.LightQueue(), []

    def body():
        try:
            eventlet.sleep(60)
        except KeyError as error:
            got.append(error)

    def owner():
        g = eventlet.spawn(body)
        eventlet.sleep()
        found.put(g)
        g.wait()

    threads.start(owner)
    g, cup = found.get(), KeyError("cup")
    with pytest.raises(TypeError):
        g.kill("no exception")
    g.kill(cup)
    threads.join()
    assert got == [cup]


def test_cancel_and_kill_before_the_start_across_os_threads(threads):
    found, go, log = queue.LightQueue(), eventlet.Event(), []

    def owner():
        for _ in range(2):
            found.put(eventlet.spawn_after(0.05, log.append, 1))
        go.wait()
        eventlet.sleep(0.06)

    threads.start(owner)
    first, second = found.get(), found.get()
    first.cancel()
    second.kill()
    go.send()
    threads.join()
    assert log == [] and first.dead and second.dead


def test_kill_of_a_green_thread_whose_os_thread_has_ended():
    found = []

    def owner():
        found.append(eventlet.spawn(eventlet.sleep, 60))
        eventlet.sleep()

    thread = threading.Thread(target=owner)
    thread.start()
    thread.join()
    found[0].kill()
    assert found[0].dead
    del found[:]


def test_throw_and_switch_stay_with_their_os_thread(threads):
    g = eventlet.spawn(eventlet.sleep, 60)
    eventlet.sleep()

    def other():
        with pytest.raises(greenlet.error):
            g.throw()
        with pytest.raises(greenlet.error):
            g.switch()

    threads.start(other)
    threads.join()
    g.kill()


# Waiters that go away.


def test_a_killed_waiter_takes_no_item_of_another_os_thread(threads):
    for size in (None, 0):
        q = queue.LightQueue(size)
        getter = eventlet.spawn(q.get)
        eventlet.sleep()
        sent = threading.Event()
        threads.start(lambda q=q, sent=sent: (q.put("tea"), sent.set()))
        if size is None:
            assert sent.wait(5)  # the wake-up is in the inbox and this hub has not run
        getter.kill()
        assert q.get() == "tea"
    threads.join()


def test_a_timeout_in_the_turn_in_which_the_item_comes(threads):
    q, items = queue.LightQueue(), []
    for number in range(50):
        threads.start(q.put, number)
        with eventlet.Timeout(0.0001, False):
            items.append(q.get())
    threads.join()
    while not q.empty():
        items.append(q.get())
    assert sorted(items) == list(range(50))


def abandoned(function):
    """Runs function in a green thread of an OS thread that ends while it is parked."""

    def owner():
        eventlet.spawn(function)
        eventlet.sleep()

    thread = threading.Thread(target=owner)
    thread.start()
    thread.join()


def test_waiters_of_an_os_thread_that_ended_are_passed_over(threads):
    lock, q, channel = Lock(), queue.LightQueue(), queue.LightQueue(0)
    event = eventlet.Event()
    lock.acquire()
    for wait in (lock.acquire, q.get, channel.get, event.wait, lambda: channel.put("lost")):
        abandoned(wait)
    lock.release()
    assert lock.acquire(timeout=1) is True
    q.put("tea")
    assert q.get(timeout=1) == "tea"
    with pytest.raises(queue.Full):
        channel.put_nowait("tea")
    with pytest.raises(queue.Empty):
        channel.get_nowait()
    putter = eventlet.spawn(channel.put, "tea")
    assert channel.get(timeout=1) == "tea"
    putter.wait()
    event.send(1)


def woken_and_gone(wait, wake):
    """Has a green thread wait in an OS thread that ends as soon as the green thread is woken."""
    ready, woken = threading.Event(), threading.Event()

    def owner():
        eventlet.spawn(wait)
        eventlet.sleep()
        ready.set()
        assert woken.wait(5)  # natively: this hub does not run any more

    thread = threading.Thread(target=owner)
    thread.start()
    assert ready.wait(5)
    wake()
    woken.set()
    return thread


@pytest.mark.parametrize("kind", [eventlet.Semaphore, Lock, queue.LightQueue])
@pytest.mark.parametrize("waits_before", [True, False])
def test_what_a_waiter_that_never_ran_was_woken_for_goes_to_the_next(kind, waits_before):
    primitive = kind()
    if kind is queue.LightQueue:
        wait, wake = primitive.get, lambda: primitive.put("tea")
    else:
        primitive.acquire()
        wait, wake = primitive.acquire, primitive.release
    thread = woken_and_gone(wait, wake)
    if waits_before:
        other = eventlet.spawn(wait)
        eventlet.sleep()
        thread.join()
    else:
        thread.join()
        other = eventlet.spawn(wait)
    assert other.wait() == ("tea" if kind is queue.LightQueue else True)
    if kind is queue.LightQueue:
        assert primitive.getting() == 0 and primitive.empty()


def test_an_item_handed_to_a_getter_that_never_ran():
    channel = queue.LightQueue(0)
    thread = woken_and_gone(channel.get, lambda: channel.put_nowait("tea"))
    other = eventlet.spawn(channel.get)
    eventlet.sleep()
    thread.join()
    assert other.wait() == "tea"


def test_woken_by_its_own_os_thread_at_its_end():
    semaphore = eventlet.Semaphore(0)

    def owner():
        eventlet.spawn(semaphore.acquire)
        eventlet.sleep()
        waiting.set()
        assert other_waits.wait(5)
        semaphore.release()  # for the one that waits here, first of all

    waiting, other_waits = threading.Event(), threading.Event()
    thread = threading.Thread(target=owner)
    thread.start()
    assert waiting.wait(5)
    other = eventlet.spawn(semaphore.acquire)
    eventlet.sleep()
    other_waits.set()
    thread.join()
    assert other.wait() is True


def test_containers_that_run_python_code_are_changed_one_at_a_time(threads):
    class Slow(queue.Queue):
        """Switches and lets other OS threads in, in the middle of every change."""

        def _put(self, item):
            size = len(self.queue)
            time.sleep(0)
            super()._put(item)
            assert len(self.queue) == size + 1

        def _get(self):
            size = len(self.queue)
            time.sleep(0)
            item = super()._get()
            assert len(self.queue) == size - 1
            return item

    class Item(int):
        def __lt__(self, other):
            time.sleep(0)
            return int(self) < int(other)

    for q in (Slow(2), Slow(0), queue.PriorityQueue(5)):
        got = []
        for first in range(3):
            threads.start(lambda q=q, first=first: [q.put(Item(first + 3 * i)) for i in range(20)])
            threads.start(lambda q=q, got=got: [got.append(q.get()) for _ in range(20)])
        threads.join()
        assert sorted(got) == list(range(60)) and q.empty() and q.unfinished_tasks == 60


# Stress: no loss, no duplicate, no hang.


def everywhere(threads, function):
    for number in range(THREADS):
        threads.start(in_green_threads, GREEN, lambda i, number=number: function(number, i))
    threads.join()


@pytest.mark.parametrize("size", [None, 0, 7])
@pytest.mark.parametrize("marked", [pytest.param(0, marks=SLOW)])
def test_stress_of_a_queue(threads, size, marked):
    q, got = queue.Queue(size), []
    each = HANDOFFS // (THREADS * GREEN // 2)

    def work(number, i):
        if i % 2:
            for k in range(each):
                q.put((number, i, k))
        else:
            for _ in range(each):
                got.append(q.get())
                q.task_done()

    everywhere(threads, work)
    q.join()
    counts = collections.Counter(got)
    assert len(counts) == len(got) == each * THREADS * GREEN // 2 and q.empty()


@pytest.mark.parametrize("kind", [Lock, eventlet.Semaphore, lambda: eventlet.CappedSemaphore(1, 1)])
@pytest.mark.parametrize("marked", [pytest.param(0, marks=SLOW)])
def test_stress_of_locks(threads, kind, marked):
    lock, counter, inside = kind(), [0], []
    each = HANDOFFS // (THREADS * GREEN)

    def work(_number, i):
        for k in range(each):
            with lock:
                inside.append(1)
                assert len(inside) == 1
                if (i + k) % 8 == 0:
                    eventlet.sleep(0)
                counter[0] += 1
                inside.pop()

    everywhere(threads, work)
    assert counter == [each * THREADS * GREEN]
    assert not lock.locked()


@pytest.mark.parametrize("marked", [pytest.param(0, marks=SLOW)])
def test_stress_of_events(threads, marked):
    each = max(1, HANDOFFS // (THREADS * GREEN))
    events = [[eventlet.Event() for _ in range(each)] for _ in range(GREEN)]

    def work(number, i):
        for k, event in enumerate(events[i]):
            if k % THREADS == number:
                event.send((i, k))
            else:
                assert event.wait() == (i, k)

    everywhere(threads, work)


@pytest.mark.parametrize("marked", [pytest.param(0, marks=SLOW)])
def test_stress_with_kills_and_timeouts(threads, marked):
    q, got, put = queue.Queue(3), [], []
    lock = Lock()

    def work(number, i):
        for k in range(max(2, HANDOFFS // (THREADS * GREEN))):
            item = (number, i, k)
            with eventlet.Timeout(0.0005 * (k % 3), False):
                with lock:
                    eventlet.sleep(0)
                q.put(item)
                put.append(item)
            with eventlet.Timeout(0.0005 * (k % 2), False):
                got.append(q.get())

    def stop_some(number, i):
        worker = eventlet.spawn(work, number, i)
        if i % 5 == 0:
            eventlet.sleep(0.001)
            worker.kill()
        else:
            worker.wait()

    everywhere(threads, stop_some)
    while not q.empty():
        got.append(q.get())
    assert len(set(got)) == len(got) and set(put) <= set(got)
    assert not lock.locked() and q.getting() == q.putting() == 0


def test_nothing_is_kept_of_other_os_threads(threads):
    before = _core.get_total_main_greenlets()
    q = queue.LightQueue()
    threads.start(lambda: in_green_threads(20, lambda i: q.put(i)))
    assert sorted(q.get() for _ in range(20)) == list(range(20))
    threads.join()
    gc.collect()
    assert _core.get_total_main_greenlets() == before


MEANWHILE = """
import os, sys, threading
os.environ.pop("EVENTLET_HUB", None)
import eventlet
from eventlet import hubs
from eventlet.hubs import poll

class Chosen:
    Hub = poll.Hub

    def is_available():
        if threading.current_thread() is waiter:
            proceed.set()
            other.join()
        return True

def finish():
    shared["green"] = eventlet.spawn(str, "done")
    begun.set()
    proceed.wait()
    shared["event"].send("done")
    shared["green"].wait()

def wait():
    begun.wait()
    print(shared[sys.argv[1]].wait())

hubs.builtin_hub_modules = [Chosen]
shared = {"event": eventlet.Event()}
begun, proceed = threading.Event(), threading.Event()
other, waiter = threading.Thread(target=finish), threading.Thread(target=wait)
other.start()
waiter.start()
waiter.join()
"""


@pytest.mark.parametrize("kind", ["event", "green"])
def test_what_comes_while_the_waiter_makes_its_hub(kind):
    """Python code runs there, and with it other OS threads."""
    command = [sys.executable, "-X", "faulthandler", "-c", MEANWHILE, kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
