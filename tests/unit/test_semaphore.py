"""`eventlet.semaphore` and `eventlet.lock`: counters that green threads wait for."""

import collections
import threading

import eventlet
import pytest
from eventlet.lock import Lock
from eventlet.semaphore import BoundedSemaphore, CappedSemaphore, Semaphore


def takers(sem, count, log, **how):
    """Start *count* green threads that acquire *sem* and log their number and the answer."""

    def take(number):
        log.append((number, sem.acquire(**how)))

    threads = [eventlet.spawn(take, number) for number in range(count)]
    eventlet.sleep(0)
    return threads


def test_acquire_and_release_count():
    sem = Semaphore(2)
    assert sem.acquire() is True and sem.acquire() is True
    assert sem.counter == 0 and sem.locked() and not sem.bounded()
    assert sem.release() is True
    assert sem.counter == 1 and not sem.locked() and sem.balance == 1


def test_default_is_one():
    assert Semaphore().counter == BoundedSemaphore().counter == Lock().counter == 1


@pytest.mark.parametrize("kind", [Semaphore, BoundedSemaphore, Lock])
def test_the_initial_value_is_checked(kind):
    assert kind(1e2).counter == 100
    assert kind("3").counter == 3
    with pytest.raises(
        TypeError, match=r"Semaphore\(\) expect value :: int, actual: <class 'str'>"
    ):
        kind("tea")
    with pytest.raises(ValueError, match=r"Semaphore\(\) expect value >= 0, actual: -1"):
        kind(-1)
    with pytest.raises(TypeError):
        kind([])


def test_waiters_are_served_in_order():
    sem, log = Semaphore(0), []
    takers(sem, 3, log)
    assert sem.balance == -3
    sem.release()
    sem.release()
    assert log == []  # release never switches
    eventlet.sleep(0)
    assert log == [(0, True), (1, True)]
    sem.release()
    eventlet.sleep(0)
    assert log[2:] == [(2, True)]
    assert sem.counter == 0 and len(sem._waiters) == 0


def test_a_newcomer_queues_behind_those_who_wait():
    sem, log = Semaphore(0), []
    takers(sem, 1, log)
    sem.release()
    eventlet.spawn(sem.release)
    sem.acquire()
    assert log == [(0, True)]


def test_not_blocking():
    sem = Semaphore(0)
    assert sem.acquire(blocking=False) is False
    assert sem.acquire(False) is False
    sem.release()
    assert sem.acquire(blocking=0) is True
    assert sem.acquire(blocking=None) is False


def test_not_blocking_may_overtake_a_woken_waiter_who_waits_on():
    sem, log = Semaphore(0), []
    takers(sem, 2, log)
    sem.release()
    assert sem.acquire(blocking=False) is True
    eventlet.sleep(0)
    eventlet.sleep(0)
    assert log == []
    sem.release()
    sem.release()
    eventlet.sleep(0)
    eventlet.sleep(0)
    assert sorted(log) == [(0, True), (1, True)]


def test_timeout():
    sem = Semaphore(0)
    assert sem.acquire(timeout=0.001) is False
    assert sem.acquire(True, 0) is False
    assert len(sem._waiters) == 0
    sem.release()
    assert sem.acquire(timeout=5) is True


def test_timeout_minus_one_is_none():
    sem = Semaphore(0)
    eventlet.spawn(sem.release)
    assert sem.acquire(timeout=-1) is True
    assert sem.acquire(blocking=False, timeout=-1) is False


def test_bad_timeouts():
    sem = Semaphore()
    with pytest.raises(ValueError, match="timeout value must be strictly positive"):
        sem.acquire(timeout=-2)
    with pytest.raises(ValueError, match="can't specify timeout for non-blocking acquire"):
        sem.acquire(blocking=False, timeout=1)
    with pytest.raises(TypeError):
        sem.acquire(timeout="soon")
    assert sem.counter == 1


def test_the_unit_of_a_killed_waiter_goes_to_the_next():
    sem, log = Semaphore(0), []
    first, _second = takers(sem, 2, log)
    sem.release()
    first.kill()  # woken, and killed before its turn
    eventlet.sleep(0)
    eventlet.sleep(0)
    assert log == [(1, True)]
    assert sem.counter == 0 and sem.balance == 0


def test_the_unit_of_a_waiter_broken_off_by_a_timeout_goes_to_the_next():
    sem, log = Semaphore(0), []

    def impatient():
        with eventlet.Timeout(0.001, False):
            sem.acquire()
            log.append("impatient")

    thread = eventlet.spawn(impatient)
    eventlet.sleep(0)
    takers(sem, 1, log)
    thread.wait()
    sem.release()
    eventlet.sleep(0)
    assert log == [(0, True)]


def test_a_foreign_switch_does_not_give_a_unit():
    sem, log = Semaphore(0), []
    (thread,) = takers(sem, 1, log)
    eventlet.hubs.get_hub().schedule_call_global(0, thread.switch)
    eventlet.sleep(0)
    assert log == []
    thread.kill()


def test_with_block():
    sem = Semaphore()
    with sem as nothing:
        assert nothing is None and sem.counter == 0
    with pytest.raises(KeyError), sem:
        raise KeyError
    assert sem.counter == 1


@pytest.mark.parametrize("kind", [Semaphore, BoundedSemaphore, Lock])
def test_a_subclass_is_asked_by_the_with_block(kind):
    class Counting(kind):
        calls = ()

        def acquire(self, *args, **kwargs):
            self.calls += ("acquire",)
            return super().acquire(*args, **kwargs)

        def release(self, *args, **kwargs):
            self.calls += ("release",)
            return super().release(*args, **kwargs)

    sem = Counting(1)
    with sem:
        pass
    assert sem.calls == ("acquire", "release")


def test_text():
    sem = Semaphore(3)
    assert str(sem) == "<Semaphore c=3 _w[0]>"
    assert repr(sem) == f"<Semaphore at {hex(id(sem))} c=3 _w[0]>"
    assert isinstance(sem._waiters, collections.deque)


def test_text_of_a_lock_says_whether_it_is_taken():
    lock = Lock()
    assert repr(lock) == f"<unlocked Lock object at {hex(id(lock))} c=1 _w[0]>"
    with lock:
        assert repr(lock) == f"<locked Lock object at {hex(id(lock))} c=0 _w[0]>"


def test_timeouts_of_a_lock_are_those_of_the_standard_lock():
    lock = Lock()
    for timeout in (threading.TIMEOUT_MAX * 1.01, 1e100, float("inf")):
        with pytest.raises(OverflowError, match="timeout value is too large"):
            lock.acquire(timeout=timeout)
    for arguments in ((False, 1), (True, -2)):
        with pytest.raises(ValueError):
            lock.acquire(*arguments)
    assert lock.acquire(timeout=threading.TIMEOUT_MAX) and not lock.acquire(False)
    assert not lock.acquire(timeout=0)


def test_raising_the_counter_by_hand_is_seen():
    sem = Semaphore(0)
    sem.counter += 2
    assert sem.acquire() and sem.acquire() and sem.locked()


def test_bounded():
    sem = BoundedSemaphore(2)
    assert sem.original_counter == 2
    sem.acquire()
    assert sem.release() is True
    with pytest.raises(ValueError, match="Semaphore released too many times"):
        sem.release()
    with sem:
        assert sem.counter == 1
    assert isinstance(sem, Semaphore)


def test_lock():
    lock = Lock()
    with lock:
        assert lock.locked() and lock.acquire(blocking=False) is False
    with pytest.raises(RuntimeError, match="release unlocked lock"):
        lock.release()
    assert isinstance(lock, Semaphore)


def test_lock_hands_over_in_order():
    lock, log = Lock(), []
    lock.acquire()
    takers(lock, 2, log)
    lock.release()
    eventlet.sleep(0)
    assert log == [(0, True)]
    lock.release()
    eventlet.sleep(0)
    assert log == [(0, True), (1, True)]


def test_lock_in_a_forked_child_is_free():
    lock, log = Lock(), []
    lock.acquire()
    (thread,) = takers(lock, 1, log)
    lock._at_fork_reinit()
    assert lock.counter == 1 and len(lock._waiters) == 0
    thread.kill()
    assert lock.acquire(blocking=False) is True


def test_capped():
    sem = CappedSemaphore(2, limit=3)
    assert sem.balance == 1 and not sem.locked() and not sem.bounded()
    assert sem.acquire() is True and sem.acquire() is True
    assert sem.locked() and sem.acquire(blocking=False) is False
    for _ in range(3):
        assert sem.release() is True
    assert sem.bounded() and sem.release(blocking=False) is False
    assert sem.balance == 3


def test_capped_release_waits_for_an_acquire():
    sem, log = CappedSemaphore(1, 1), []

    def give():
        sem.release()
        log.append("given")

    eventlet.spawn(give)
    eventlet.sleep(0)
    assert log == []
    assert sem.acquire() is True
    eventlet.sleep(0)
    assert log == ["given"]


def test_capped_gives_back_what_a_broken_wait_had_taken():
    sem = CappedSemaphore(0, 1)
    with eventlet.Timeout(0.001, False):
        sem.acquire()
    assert sem.upper_bound.counter == 1 and sem.lower_bound.counter == 0
    assert sem.release() is True
    with eventlet.Timeout(0.001, False):
        sem.release()
    assert sem.lower_bound.counter == 1 and sem.balance == 1


def test_capped_rendezvous():
    sem = CappedSemaphore(0, 0)
    thread = eventlet.spawn(sem.acquire)
    assert sem.release() is True
    assert thread.wait() is True


def test_capped_arguments():
    with pytest.raises(ValueError, match="must be initialized with a positive number, got -1"):
        CappedSemaphore(-1, 2)
    with pytest.raises(ValueError, match="'count' cannot be more than 'limit'"):
        CappedSemaphore(3, 2)
    with pytest.raises(TypeError):
        CappedSemaphore(1, None)


def test_capped_text_and_with_block():
    sem = CappedSemaphore(1, 2)
    text = "b=0 l=<Semaphore c=1 _w[0]> u=<Semaphore c=1 _w[0]>"
    assert str(sem) == f"<CappedSemaphore {text}>"
    assert repr(sem).startswith(f"<CappedSemaphore at {hex(id(sem))} b=0 l=<Semaphore")
    with sem as nothing:
        assert nothing is None and sem.locked()
