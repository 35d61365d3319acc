"""`shutdown` of queues: what CPython 3.13's `queue.Queue.shutdown` does, on every version."""

import queue as stdlib_queue

import eventlet
import pytest
from eventlet.queue import LifoQueue, LightQueue, PriorityQueue, Queue, ShutDown

KINDS = [LightQueue, Queue, PriorityQueue, LifoQueue]


def waiting(function, *args):
    """A green thread that waits in function(*args); it ends with what that raised, or returned."""

    def call():
        try:
            return function(*args)
        except ShutDown:
            return ShutDown

    g = eventlet.spawn(call)
    eventlet.sleep()
    assert not g.dead
    return g


def test_the_exception_is_the_standard_librarys_if_it_has_one():
    assert getattr(stdlib_queue, "ShutDown", ShutDown) is ShutDown
    assert issubclass(ShutDown, Exception)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_in_it_can_be_taken(kind):
    q = kind()
    q.put(1)
    q.put(2)
    assert q.is_shutdown is False
    q.shutdown()
    assert q.is_shutdown is True
    for put in (q.put, q.put_nowait, lambda item: q.put(item, timeout=1)):
        with pytest.raises(ShutDown):
            put(3)
    assert sorted([q.get(), q.get_nowait()]) == [1, 2]
    for get in (q.get, q.get_nowait, lambda: q.get(timeout=1)):
        with pytest.raises(ShutDown):
            get()
    q.shutdown()  # once more changes nothing
    assert q.is_shutdown


@pytest.mark.parametrize("kind", KINDS)
def test_immediately_what_is_in_it_is_dropped(kind):
    q = kind()
    q.put(1)
    q.shutdown(immediate=True)
    assert q.empty()
    with pytest.raises(ShutDown):
        q.get()


@pytest.mark.parametrize("immediate", [False, True])
def test_waiting_getters_and_putters_are_woken(immediate):
    empty, full, channel = Queue(), Queue(1), Queue(0)
    full.put(1)
    waiters = [
        waiting(empty.get),
        waiting(empty.get, True, 60),
        waiting(full.put, 2),
        waiting(channel.put, 3),
    ]
    for q in (empty, full, channel):
        q.shutdown(immediate)
    assert [g.wait() for g in waiters] == [ShutDown] * 4
    assert channel.putting() == full.putting() == empty.getting() == 0
    assert full.qsize() == (0 if immediate else 1)


def test_a_channel_has_no_items_left():
    channel = LightQueue(0)
    channel.shutdown()
    with pytest.raises(ShutDown):
        channel.get()
    with pytest.raises(ShutDown):
        channel.put(1)


def test_dropped_items_count_as_done():
    q = Queue()
    for number in range(3):
        q.put(number)
    q.get()
    joiner = waiting(q.join)
    q.shutdown(immediate=True)
    assert q.unfinished_tasks == 1 and not joiner.dead
    q.task_done()
    joiner.wait()
    with pytest.raises(ValueError):
        q.task_done()


def test_immediately_joiners_go_on_when_nothing_is_being_done():
    q = Queue()
    q.put(1)
    joiner = waiting(q.join)
    q.shutdown(immediate=True)
    joiner.wait()


def test_a_woken_getter_gets_the_item_that_woke_it():
    q = Queue()
    getter = waiting(q.get)
    q.put("tea")
    q.shutdown()
    assert getter.wait() == "tea"


def test_through_the_methods_that_are_overridden():
    class Counting(Queue):
        taken = 0

        def _get(self):
            self.taken += 1
            return super()._get()

    q = Counting()
    q.put(1)
    q.put(2)
    q.shutdown(immediate=True)
    assert q.taken == 2 and q.unfinished_tasks == 0
