"""`eventlet.coros.metaphore`: a counter to be waited for."""

import eventlet
import pytest
from eventlet.coros import metaphore


def test_wait_returns_at_once_when_nothing_is_under_way():
    metaphore().wait()


def test_wait_waits_for_zero_each_time():
    under_way, log = metaphore(), []

    def wait():
        under_way.wait()
        log.append(under_way.counter)

    for _ in range(2):
        under_way.inc(by=3)
        waiters = [eventlet.spawn(wait) for _ in range(2)]
        eventlet.sleep(0)
        under_way.dec()
        eventlet.sleep(0)
        assert (log, under_way.counter) == ([], 2)
        under_way.dec(by=2)
        for waiter in waiters:
            waiter.wait()
        assert log == [0, 0]
        log.clear()


def test_bad_numbers():
    under_way = metaphore()
    for call in (under_way.inc, under_way.dec):
        for by in (0, -1):
            with pytest.raises(AssertionError, match=f"expects by > 0, actual: {by}"):
                call(by)
    under_way.inc()
    with pytest.raises(AssertionError, match=r"dec\(2\) is more than the counter, 1"):
        under_way.dec(2)
    assert under_way.counter == 1


def test_names_that_were_here():
    from eventlet import coros, event, semaphore

    assert coros.Event is event.Event and coros.Semaphore is semaphore.Semaphore
    assert coros.BoundedSemaphore is semaphore.BoundedSemaphore
