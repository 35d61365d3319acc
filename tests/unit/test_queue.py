"""`eventlet.queue`: items between green threads."""

import collections
import heapq
import queue as stdlib_queue

import eventlet
import pytest
from eventlet import hubs, queue
from eventlet.queue import LifoQueue, LightQueue, PriorityQueue, Queue

KINDS = [LightQueue, Queue, PriorityQueue, LifoQueue]


def spawn_getters(q, count, log, **how):
    def get(number):
        log.append((number, q.get(**how)))

    threads = [eventlet.spawn(get, number) for number in range(count)]
    eventlet.sleep(0)
    return threads


def in_hub(function, *args):
    """Call the function in the hub's greenlet; the result or the exception."""
    log = []

    def call():
        try:
            log.append(function(*args))
        except Exception as error:
            log.append(error)

    hubs.get_hub().schedule_call_global(0, call)
    eventlet.sleep(0)
    return log[0]


def test_exceptions_are_the_standard_librarys():
    assert queue.Full is stdlib_queue.Full and queue.Empty is stdlib_queue.Empty


@pytest.mark.parametrize("kind", KINDS)
def test_put_then_get(kind):
    q = kind()
    assert q.empty() and not q.full() and q.qsize() == 0 and q.maxsize is None
    q.put(1)
    q.put(2)
    assert q.qsize() == 2 and not q.empty()
    assert sorted([q.get(), q.get()]) == [1, 2]


def test_orders():
    for kind, order in ((Queue, [3, 1, 2]), (LifoQueue, [2, 1, 3]), (PriorityQueue, [1, 2, 3])):
        q = kind()
        for number in (3, 1, 2):
            q.put(number)
        assert [q.get() for _ in range(3)] == order


@pytest.mark.parametrize("kind", KINDS)
def test_get_waits_for_put(kind):
    q = kind()
    eventlet.spawn(q.put, "tea")
    assert q.get() == "tea"


@pytest.mark.parametrize("kind", KINDS)
def test_put_waits_for_room(kind):
    q, log = kind(2), []

    def put():
        for number in range(3):
            q.put(number)
            log.append(number)

    eventlet.spawn(put)
    eventlet.sleep(0)
    assert log == [0, 1] and q.full() and q.putting() == 1
    q.get()
    eventlet.sleep(0)
    assert log == [0, 1, 2] and q.qsize() == 2 and q.putting() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_not_blocking(kind):
    q = kind(1)
    with pytest.raises(queue.Empty):
        q.get_nowait()
    with pytest.raises(queue.Empty):
        q.get(block=False, timeout=5)
    q.put_nowait(1)
    with pytest.raises(queue.Full):
        q.put_nowait(2)
    with pytest.raises(queue.Full):
        q.put(2, False)
    assert q.get(False) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_timeouts(kind):
    q = kind(1)
    with pytest.raises(queue.Empty):
        q.get(timeout=0.001)
    assert q.getting() == 0
    q.put(1)
    with pytest.raises(queue.Full):
        q.put(2, timeout=0.001)
    assert q.putting() == 0 and q.get(timeout=5) == 1 and q.empty()


def test_every_getter_gets_one():
    q, log = Queue(), []
    threads = spawn_getters(q, 4, log)
    assert q.getting() == 4
    for number in range(4):
        q.put(number)
    for thread in threads:
        thread.wait()
    assert sorted(item for _, item in log) == [0, 1, 2, 3] and q.getting() == 0


def test_a_getter_killed_before_its_turn_loses_nothing():
    q, log = Queue(), []
    first, second = spawn_getters(q, 2, log)
    q.put("tea")
    first.kill()
    second_or_nobody = eventlet.with_timeout(1, second.wait)
    assert second_or_nobody is None and log == [(1, "tea")]


def test_an_item_for_getters_that_time_out_stays():
    q = Queue()

    def impatient():
        with eventlet.Timeout(0, False):
            return q.get()
        return "late"

    threads = [eventlet.spawn(impatient) for _ in range(2)]
    eventlet.sleep(0)
    q.put("tea")
    assert [thread.wait() for thread in threads] == ["late", "late"]
    assert q.get() == "tea"


def test_a_putter_killed_while_it_waits_puts_nothing():
    q = Queue(1)
    q.put(1)
    thread = eventlet.spawn(q.put, 2)
    eventlet.sleep(0)
    thread.kill()
    assert q.get() == 1 and q.empty() and q.putting() == 0


def test_channel_put_waits_for_get():
    q, log = LightQueue(0), []
    assert q.empty() and q.full()

    def put():
        q.put("tea")
        log.append("put")

    eventlet.spawn(put)
    eventlet.sleep(0)
    assert log == [] and q.putting() == 1
    assert q.get() == "tea"
    eventlet.sleep(0)
    assert log == ["put"] and q.empty() and q.full()


def test_channel_get_waits_for_put():
    q, log = LightQueue(0), []
    spawn_getters(q, 1, log)
    q.put("tea")
    assert log == [(0, "tea")]


def test_channel_times_out():
    q = LightQueue(0)
    with pytest.raises(queue.Full):
        q.put("tea", timeout=0.001)
    with pytest.raises(queue.Empty):
        q.get_nowait()
    with pytest.raises(queue.Full):
        q.put_nowait("tea")


def test_channel_put_nowait_to_a_getter():
    q, log = LightQueue(0), []
    spawn_getters(q, 1, log)
    q.put_nowait("tea")
    eventlet.sleep(0)
    assert log == [(0, "tea")] and q.empty()


def test_channel_with_getters_that_die():
    q, got = Queue(0), []
    hub = hubs.get_hub()
    for _ in range(5):
        eventlet.spawn(lambda: got.append(q.get()))
        bad = eventlet.spawn(lambda: got.append(q.get()))
        hub.schedule_call_global(0, bad.throw, eventlet.greenthread.greenlet.GreenletExit)
    eventlet.sleep(0)
    for number in range(5):
        q.put(number)
    assert got == list(range(5))


def test_the_hub_may_use_the_nowait_methods():
    q = Queue(1)
    assert in_hub(q.put_nowait, 1) is None
    assert isinstance(in_hub(q.put_nowait, 2), queue.Full)
    assert in_hub(q.get_nowait) == 1
    assert isinstance(in_hub(q.get_nowait), queue.Empty)


def test_the_hub_takes_from_a_waiting_putter():
    q = Queue(0)
    putter = eventlet.spawn(q.put, 5)
    eventlet.sleep(0)
    assert in_hub(q.get_nowait) == 5
    assert putter.dead


def test_the_hub_gives_to_a_waiting_getter():
    q, log = Queue(0), []
    spawn_getters(q, 1, log)
    assert in_hub(q.put_nowait, 10) is None
    eventlet.sleep(0)
    assert log == [(0, 10)]


@pytest.mark.parametrize("size", [1, 5, None])
def test_resize_lets_putters_in(size):
    q, log = Queue(0), []
    eventlet.spawn(lambda: (q.put("tea"), log.append("put")))
    eventlet.sleep(0)
    assert log == []
    q.resize(size)
    eventlet.sleep(0)
    assert log == ["put"] and q.maxsize == size


def test_resize_down_keeps_the_items():
    q = Queue(5)
    for number in range(5):
        q.put(number)
    q.resize(1)
    assert list(q.queue) == [0, 1, 2, 3, 4] and q.full()


def test_negative_size_is_no_limit():
    assert Queue(-1).maxsize is None and not Queue(-1).full()


def test_tasks():
    q, log = Queue(), []
    q.join()
    with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
        q.task_done()
    for number in range(2):
        q.put(number)
    assert q.unfinished_tasks == 2

    def join():
        q.join()
        log.append("joined")

    eventlet.spawn(join)
    q.get()
    q.task_done()
    eventlet.sleep(0)
    assert log == [] and q.unfinished_tasks == 1
    q.get()
    q.task_done()
    eventlet.sleep(0)
    eventlet.sleep(0)
    assert log == ["joined"]
    q.put(3)
    assert q.unfinished_tasks == 1


def test_a_channel_counts_tasks_too():
    q = Queue(0)
    eventlet.spawn(q.put, 1)
    assert q.get() == 1 and q.unfinished_tasks == 1
    q.task_done()
    q.join()
    eventlet.sleep(0)


def test_overridden_containers():
    class Doubling(Queue):
        def _init(self, maxsize):
            self.queue = collections.deque()
            self.told = maxsize

        def _put(self, item):
            super()._put(item * 2)

        def _get(self):
            return super()._get() + 1

    q = Doubling(3)
    assert q.told == 3
    q.put(2)
    assert q.unfinished_tasks == 1 and q.get() == 5
    eventlet.spawn(q.put, 4)
    assert q.get() == 9


def test_an_overridden_priority_queue():
    class Negative(PriorityQueue):
        def _put(self, item):
            heapq.heappush(self.queue, -item)
            self._put_bookkeeping()

    q = Negative()
    for number in (1, 3, 2):
        q.put(number)
    assert [q.get() for _ in range(3)] == [-3, -2, -1] and q.unfinished_tasks == 3


def test_items_that_cannot_be_ordered():
    q = PriorityQueue()
    q.put((1, object()))
    with pytest.raises(TypeError):
        q.put((1, object()))


def test_text():
    q = LightQueue(2)
    assert str(q) == "<LightQueue maxsize=2>"
    q.put(1)
    assert str(q) == "<LightQueue maxsize=2 queue=deque([1])>"
    assert repr(q).startswith(f"<LightQueue at {hex(id(q))} maxsize=2")


def test_subscript():
    assert LightQueue[int].__origin__ is LightQueue


def test_bad_arguments():
    with pytest.raises(TypeError):
        Queue("many")
    with pytest.raises(TypeError):
        Queue().get(timeout="soon")


def test_producer_and_consumer_in_order():
    q, log = Queue(3), []

    def produce():
        for number in range(100):
            q.put(number)
        q.put(None)

    eventlet.spawn(produce)
    while (item := q.get()) is not None:
        log.append(item)
    assert log == list(range(100))
