"""`eventlet.event.Event`: every rule of sending, waiting, resetting and polling."""

import gc
import sys
import weakref

import eventlet
import pytest
from eventlet import event, hubs
from eventlet.event import Event


def waiters(evt, count, log):
    """Start *count* green threads that wait for *evt* and log what they get."""

    def wait(number):
        try:
            log.append((number, evt.wait()))
        except BaseException as error:
            log.append((number, error))
            if not isinstance(error, Exception):
                raise

    threads = [eventlet.spawn(wait, number) for number in range(count)]
    eventlet.sleep(0)
    return threads


def test_a_result_reaches_every_waiter_in_order_and_everybody_later():
    evt, log = Event(), []
    waiters(evt, 5, log)
    evt.send("tea")
    assert log == []  # sending never switches
    eventlet.sleep(0)
    assert sorted(log) == [(number, "tea") for number in range(5)]
    assert evt.wait() == "tea"


def test_send_without_arguments_sends_none():
    evt = Event()
    evt.send()
    assert evt.ready() and evt.has_result() and not evt.has_exception()
    assert evt.wait() is None


def test_sending_twice_is_an_assertion_error():
    evt = Event()
    evt.send(1)
    for again in (evt.send, evt.send_exception):
        with pytest.raises(
            AssertionError, match=r"Trying to re-send\(\) an already-triggered event\."
        ):
            again(ValueError())
    assert evt.wait() == 1


def test_reset_needs_a_sent_event_and_makes_it_usable_again():
    evt = Event()
    with pytest.raises(AssertionError, match=r"Trying to re-reset\(\) a fresh event\."):
        evt.reset()
    evt.send_exception(ValueError("old"))
    evt.reset()
    assert not evt.ready() and not evt.has_exception()
    evt.send("new")
    assert evt.wait() == "new"


def test_waiters_keep_what_was_sent_before_a_reset():
    evt, log = Event(), []
    waiters(evt, 2, log)
    evt.send("first")
    evt.reset()
    eventlet.sleep(0)
    assert sorted(log) == [(0, "first"), (1, "first")]


def test_wait_with_a_timeout_returns_none():
    evt = Event()
    assert evt.wait(timeout=0.001) is None
    assert evt.wait(0) is None
    assert evt.wait(-1) is None
    evt.send("late")
    assert evt.wait(timeout=0.001) == "late"


def test_a_wait_that_timed_out_leaves_no_waiter():
    evt = Event()
    evt.wait(timeout=0.001)
    assert len(evt._waiters) == 0


def test_a_result_before_the_timeout_cancels_it():
    evt = Event()
    eventlet.spawn(evt.send, 1)
    before = hubs.get_hub().get_timers_count()
    assert evt.wait(timeout=60) == 1
    assert hubs.get_hub().get_timers_count() <= before + 1


@pytest.mark.parametrize("wrong", ["soon", object(), []])
def test_a_timeout_that_is_no_number(wrong):
    with pytest.raises(TypeError):
        Event().wait(wrong)


def test_exception_instance_is_raised_as_it_is():
    evt, log, error = Event(), [], KeyError("cup")
    waiters(evt, 2, log)
    evt.send_exception(error)
    eventlet.sleep(0)
    assert [what is error for _, what in log] == [True, True]
    with pytest.raises(KeyError) as caught:
        evt.wait()
    assert caught.value is error
    assert evt.has_exception() and not evt.has_result() and evt.ready()


def test_exception_class_is_instantiated_when_raised():
    evt = Event()
    evt.send_exception(KeyError)
    with pytest.raises(KeyError) as first:
        evt.wait()
    with pytest.raises(KeyError) as second:
        evt.wait()
    assert first.value is not second.value


def test_class_and_value():
    evt = Event()
    evt.send_exception(KeyError, "cup")
    with pytest.raises(KeyError, match="cup"):
        evt.wait()


def test_exc_info_keeps_the_traceback_and_does_not_grow_it():
    def brew():
        raise ValueError("cold")

    evt = Event()
    try:
        brew()
    except ValueError:
        evt.send_exception(*sys.exc_info())
    lengths = set()
    for _ in range(3):
        with pytest.raises(ValueError) as caught:
            evt.wait()
        names = [entry.name for entry in caught.traceback]
        assert names[-1] == "brew"
        lengths.add(len(names))
    assert len(lengths) == 1


def test_send_takes_an_exception_by_keyword():
    error = ValueError("sent")
    for exc in (error, (error,), (ValueError, error, None)):
        evt = Event()
        evt.send(exc=exc)
        with pytest.raises(ValueError) as caught:
            evt.wait()
        assert caught.value is error


def test_what_is_no_exception_is_a_type_error_for_the_waiter():
    evt = Event()
    evt.send_exception("no exception")
    with pytest.raises(TypeError, match="exceptions must be classes, or instances, not str"):
        evt.wait()


def test_polling():
    evt = Event()
    assert evt.poll() is None and evt.poll("no") == "no"
    assert evt.poll_result(1) == 1 and evt.poll_exception(2) == 2
    evt.send("tea")
    assert evt.poll() == evt.poll_result() == "tea"
    assert evt.poll_exception("none") == "none"
    evt.reset()
    evt.send_exception(KeyError)
    assert evt.poll_result("none") == "none"
    for poll in (evt.poll, evt.poll_exception):
        with pytest.raises(KeyError):
            poll()


def test_a_killed_waiter_is_skipped_and_the_others_are_served():
    evt, log = Event(), []
    threads = waiters(evt, 3, log)
    evt.send("tea")
    threads[1].kill()
    eventlet.sleep(0)
    assert sorted(number for number, what in log if what == "tea") == [0, 2]
    assert len(evt._waiters) == 0


def test_a_timeout_around_wait_leaves_no_waiter():
    evt = Event()
    with pytest.raises(eventlet.Timeout), eventlet.Timeout(0.001):
        evt.wait()
    assert len(evt._waiters) == 0


def test_a_foreign_switch_ends_the_wait_with_its_value():
    evt, log = Event(), []
    (thread,) = waiters(evt, 1, log)
    hubs.get_hub().schedule_call_global(0, thread.switch, "from outside")
    eventlet.sleep(0)
    assert log == [(0, "from outside")]


def test_attributes_and_text():
    evt, log = Event(), []
    assert evt._result is event.NOT_USED and repr(event.NOT_USED) == "NOT_USED"
    assert evt._exc is None and len(evt._waiters) == 0
    assert str(evt) == f"<Event at {hex(id(evt))} result=NOT_USED _exc=None _waiters[0]>"
    threads = waiters(evt, 1, log)
    assert set(evt._waiters) == set(threads)
    assert "_waiters[1]" in str(evt)
    evt.send(3)
    assert evt._result == 3
    eventlet.sleep(0)


def test_a_subclass_with_its_own_initializer():
    class Named(Event):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def send(self, result=None, exc=None):
            super().send((self.name, result), exc)

    evt = Named("kettle")
    evt.send("hot")
    assert evt.wait() == ("kettle", "hot")
    again = Named("kettle")
    again.send_exception(ValueError)  # goes through the overridden method
    with pytest.raises(ValueError):
        again.wait()


def test_too_many_arguments():
    with pytest.raises(TypeError):
        Event(1)
    with pytest.raises(TypeError):
        Event().send(1, 2, 3)


def test_a_cycle_through_an_event_is_collected():
    class Cup:
        pass

    evt, cup = Event(), Cup()
    cup.event = evt
    evt.send(cup)
    gone = weakref.ref(cup)
    del evt, cup
    gc.collect()
    assert gone() is None


def test_weak_reference():
    evt = Event()
    assert weakref.ref(evt)() is evt
