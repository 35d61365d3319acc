"""`eventlet.timeout`: exceptions that raise themselves."""

import copy
import gc
import weakref

import eventlet
import greenlet
import pytest
from eventlet import hubs
from eventlet.timeout import Timeout, is_timeout, with_timeout, wrap_is_timeout


class Late(Exception):
    pass


def timers():
    return hubs.get_hub().get_timers_count()


def test_raises_itself():
    with pytest.raises(Timeout) as caught, Timeout(0.001) as timeout:
        eventlet.sleep(5)
    assert caught.value is timeout and not timeout.pending


def test_is_no_exception_for_except_exception():
    assert not issubclass(Timeout, Exception) and issubclass(Timeout, BaseException)


@pytest.mark.parametrize("exception", [Late, Late("tea")])
def test_raises_the_exception_that_was_given(exception):
    with pytest.raises(Late), Timeout(0.001, exception):
        eventlet.sleep(5)


def test_false_is_silent_only_for_itself():
    with Timeout(0.001, False):
        eventlet.sleep(5)
    with pytest.raises(Timeout) as caught:
        with Timeout(0.001) as outer, Timeout(5, False):
            eventlet.sleep(5)
    assert caught.value is outer


def test_false_raises_itself_without_a_with_block():
    timeout = Timeout(0.001, False)
    with pytest.raises(Timeout) as caught:
        eventlet.sleep(5)
    assert caught.value is timeout


def test_true_raises_itself():
    with pytest.raises(Timeout), Timeout(0.001, True):
        eventlet.sleep(5)


def test_none_never_fires():
    timeout = Timeout()
    assert not timeout.pending and timeout.seconds is None and timeout.timer is None
    with timeout:
        eventlet.sleep(0)


@pytest.mark.parametrize("seconds", [0, -1, -0.5])
def test_no_time_at_all_fires_in_the_next_turn(seconds):
    with pytest.raises(Timeout):
        Timeout(seconds)
        eventlet.sleep(5)


@pytest.mark.parametrize("seconds", ["5", object(), []])
def test_seconds_that_are_no_number(seconds):
    with pytest.raises(TypeError):
        Timeout(seconds)


def test_the_end_of_the_block_cancels_it():
    before = timers()
    with Timeout(5) as timeout:
        assert timeout.pending
        assert timers() == before + 1
    assert not timeout.pending and timeout.timer is None


def test_an_error_in_the_block_cancels_it():
    with pytest.raises(KeyError), Timeout(5) as timeout:
        raise KeyError
    assert not timeout.pending


def test_cancel_and_start_again():
    timeout = Timeout(5)
    with pytest.raises(AssertionError, match="is already started; to restart it, cancel it first"):
        timeout.start()
    timeout.cancel()
    timeout.cancel()
    assert not timeout.pending
    assert timeout.start() is timeout and timeout.pending
    timeout.cancel()


def test_enter_starts_a_cancelled_one():
    timeout = Timeout(5)
    timeout.cancel()
    with timeout:
        assert timeout.pending
    assert not timeout.pending


def test_a_cancelled_timeout_does_not_fire_when_restarted_later():
    timeout = Timeout(0)
    timeout.cancel()
    timeout.seconds = 60
    timeout.start()
    eventlet.sleep(0.005)
    assert timeout.pending
    timeout.cancel()


def test_enter_after_it_has_fired_does_not_start_it():
    timeout = Timeout(0)
    with pytest.raises(Timeout):
        eventlet.sleep(5)
    with timeout:
        assert not timeout.pending
        eventlet.sleep(0)


def test_it_may_start_again_after_it_has_fired():
    timeout = Timeout(0)
    for _ in range(3):
        with pytest.raises(Timeout):
            eventlet.sleep(5)
        timeout.start()
    timeout.cancel()
    eventlet.sleep(0)


def test_attributes_can_be_changed_before_a_restart():
    timeout = Timeout(5)
    timeout.cancel()
    timeout.seconds, timeout.exception = 0, Late
    timeout.start()
    with pytest.raises(Late):
        eventlet.sleep(5)


def test_the_timer_is_the_hubs():
    timeout = Timeout(5)
    timer = timeout.timer
    assert timer.pending and not timer.called and timer.seconds == 5
    assert timeout.timer is timer and timeout.pending
    timer.cancel()
    assert not timeout.pending
    timeout.cancel()
    assert timeout.timer is None


def test_it_fires_after_its_timer_was_looked_at():
    with pytest.raises(Timeout) as caught, Timeout(0.001) as timeout:
        assert timeout.timer.pending
        eventlet.sleep(5)
    assert caught.value is timeout


def test_the_timer_after_it_has_fired():
    timeout = Timeout(0)
    with pytest.raises(Timeout):
        eventlet.sleep(5)
    assert timeout.timer is not None and timeout.timer.called and not timeout.timer.pending


def test_text():
    assert str(Timeout()) == ""
    for timeout, text in (
        (Timeout(1), "1 second"),
        (Timeout(2), "2 seconds"),
        (Timeout(0.5), "0.5 seconds"),
        (Timeout(5, False), "5 seconds (silent)"),
        (Timeout(5, True), "5 seconds"),
        (Timeout(5, Late("tea")), "5 seconds (tea)"),
    ):
        assert str(timeout) == text
        timeout.cancel()


def test_repr():
    timeout = Timeout(5)
    assert repr(timeout) == f"<Timeout at {hex(id(timeout))} seconds=5 pending>"
    timeout.cancel()
    assert repr(timeout) == f"<Timeout at {hex(id(timeout))} seconds=5>"
    assert " seconds=None exception=False>" in repr(Timeout(None, False))


def test_the_class_can_be_raised():
    with pytest.raises(Timeout) as caught:
        raise Timeout
    assert not caught.value.pending and caught.value.seconds is None


def test_subclass():
    class Deadline(Timeout):
        def __init__(self, name):
            super().__init__(0.001)
            self.name = name

    with pytest.raises(Deadline) as caught:
        Deadline("tea")
        eventlet.sleep(5)
    assert caught.value.name == "tea" and repr(caught.value).startswith("<Deadline at")


def test_arguments_are_kept_as_for_any_exception():
    timeout = Timeout(5, Late)
    timeout.cancel()
    assert timeout.args == (5, Late)


def test_bad_arguments():
    with pytest.raises(TypeError):
        Timeout(1, 2, 3)
    with pytest.raises(TypeError):
        Timeout(minutes=1)


def test_it_reaches_the_green_thread_that_made_it():
    def work():
        with pytest.raises(Timeout), Timeout(0.001):
            eventlet.sleep(5)
        return "done"

    threads = [eventlet.spawn(work) for _ in range(3)]
    assert [thread.wait() for thread in threads] == ["done"] * 3


def test_nested_the_inner_first():
    log = []
    with Timeout(0.02, False):
        with Timeout(0.001, False):
            eventlet.sleep(5)
        log.append("inner")
        eventlet.sleep(5)
    assert log == ["inner"]


def test_many_cancelled_timeouts_leave_nothing():
    before = timers()
    for _ in range(5000):
        with Timeout(60):
            pass
    assert timers() <= before + 1000


def test_a_pending_timeout_nobody_holds_still_fires():
    Timeout(0.001)
    gc.collect()
    with pytest.raises(Timeout):
        eventlet.sleep(5)


def test_a_cancelled_timeout_is_freed():
    class Mine(Timeout):
        pass

    timeout = Mine(60)
    timeout.cancel()
    gone = weakref.ref(timeout)
    del timeout
    gc.collect()
    assert gone() is None


def test_copy_makes_a_new_timeout():
    timeout = Timeout(None, Late)
    again = copy.copy(timeout)
    assert again.args == (None, Late) and again is not timeout


def test_with_timeout():
    assert with_timeout(5, max, 1, 2) == 2
    with pytest.raises(Timeout):
        with_timeout(0.001, eventlet.sleep, 5)
    assert with_timeout(0.001, eventlet.sleep, 5, timeout_value="late") == "late"
    assert with_timeout(5, eventlet.sleep, 0, timeout_value="late") is None
    assert with_timeout(None, dict, tea=1) == {"tea": 1}
    before = timers()
    with pytest.raises(KeyError):
        with_timeout(60, {}.__getitem__, 1)
    assert timers() <= before + 1


def test_with_timeout_lets_an_outer_timeout_pass():
    def inner():
        return with_timeout(5, eventlet.sleep, 5, timeout_value="inner")

    with pytest.raises(Timeout):
        with_timeout(0.001, inner)


def test_is_timeout():
    assert Timeout().is_timeout is True
    assert is_timeout(Timeout()) and is_timeout(TimeoutError())
    assert not is_timeout(Late()) and not is_timeout(None)


def test_wrap_is_timeout_of_a_class():
    @wrap_is_timeout
    class Slow(Exception):
        pass

    assert Slow().is_timeout is True and is_timeout(Slow())
    with pytest.raises(AttributeError):
        Slow().is_timeout = False


def test_wrap_is_timeout_of_a_function():
    def make(text):
        return Late(text)

    wrapped = wrap_is_timeout(make)
    error = wrapped("tea")
    assert isinstance(error, Late) and is_timeout(error) and wrapped.__name__ == "make"


# in except and finally, and with kills


def test_in_an_except_block():
    try:
        try:
            raise KeyError("first")
        except KeyError:
            with Timeout(0.001) as timeout:
                eventlet.sleep(5)
    except Timeout as raised:
        assert raised is timeout


def test_in_a_finally_block_that_runs_for_another_timeout():
    log = []
    with pytest.raises(Timeout) as caught, Timeout(0.001) as outer:
        try:
            eventlet.sleep(5)
        finally:
            with Timeout(0.001, False):
                eventlet.sleep(5)
            log.append("cleaned up")
    assert caught.value is outer and log == ["cleaned up"]


@pytest.mark.parametrize("inner_first", [True, False])
def test_a_handler_of_one_is_broken_off_by_the_other_only_if_it_goes_on(inner_first):
    log = []
    try:
        with Timeout(0.002 if inner_first else 0) as outer:
            try:
                with Timeout(0.001) as inner:
                    eventlet.sleep(5)
            except Timeout as raised:
                log.append(raised)
                eventlet.sleep(5 if inner_first else 0.003)
    except Timeout as raised:
        log.append(raised)
    assert log == ([inner, outer] if inner_first else [outer])


def test_a_handler_is_not_interrupted_by_the_timeout_that_it_handles():
    with pytest.raises(Timeout):
        with Timeout(0.001):
            eventlet.sleep(5)
    eventlet.sleep(0.002)  # nothing more comes


def test_a_timeout_in_another_block_of_the_same_instance():
    timeout = Timeout(0.001, False)
    with timeout:
        eventlet.sleep(5)
    with timeout:  # it was cancelled by the first block: entered, it starts anew
        eventlet.sleep(5)
    assert not timeout.pending


def test_a_kill_cancels_the_timeout_of_the_block():
    started = timers()

    def work():
        with Timeout(60):
            eventlet.sleep(60)

    thread = eventlet.spawn(work)
    eventlet.sleep(0)
    thread.kill()
    assert thread.dead and timers() <= started + 1


def test_a_timeout_of_a_dead_green_thread_does_nothing():
    timeout = eventlet.spawn(Timeout, 0.001).wait()
    eventlet.sleep(0.003)
    assert not timeout.pending


def test_a_kill_in_the_turn_of_the_timeout():
    seen = []

    def work():
        try:
            with Timeout(0, False):
                eventlet.sleep(5)
            seen.append("timeout")
            eventlet.sleep(5)
        except greenlet.GreenletExit:
            seen.append("killed")
            raise

    thread = eventlet.spawn(work)
    eventlet.sleep(0)
    thread.kill()
    eventlet.sleep(0)
    assert thread.dead and seen in (["killed"], ["timeout", "killed"])


def test_throwing_a_timeout_by_hand():
    timeout = Timeout(None)
    thread = eventlet.spawn(eventlet.sleep, 5)
    eventlet.sleep(0)
    thread.kill(timeout)
    with pytest.raises(Timeout) as caught:
        thread.wait()
    assert caught.value is timeout


def test_is_timeout_of_what_others_raise():
    class Theirs(Exception):
        is_timeout = True

    assert is_timeout(Theirs()) and is_timeout(Timeout(None))
    assert is_timeout(TimeoutError()) and is_timeout(TimeoutError())
    assert not is_timeout(None) and not is_timeout(OSError())
