"""spawn, wait, link, kill, cancel and sleep: what a program sees of one green thread."""

import gc
import subprocess
import sys
import textwrap
import threading
import weakref

import eventlet
import greenlet
import pytest
from eventlet import greenthread, hubs


def boil(*args, **kwargs):
    return args, kwargs


def fail():
    raise ValueError("cold")


@pytest.fixture
def quiet():
    """No reports of uncaught exceptions: the test expects them."""
    hub = hubs.get_hub()
    before = hub.debug_exceptions
    hub.set_timer_exceptions(False)
    yield
    hub.set_timer_exceptions(before)


# spawn


def test_spawn_passes_arguments_and_returns_the_result():
    assert eventlet.spawn(boil, 1, 2, cup="mug").wait() == ((1, 2), {"cup": "mug"})
    assert eventlet.spawn(boil).wait() == ((), {})


def test_spawn_does_not_run_at_once():
    seen = []
    g = eventlet.spawn(seen.append, 1)
    assert seen == []
    assert not g.dead
    g.wait()
    assert seen == [1]


def test_spawn_starts_in_the_order_of_the_calls():
    seen = []
    for n in range(50):
        (eventlet.spawn if n % 2 else eventlet.spawn_n)(seen.append, n)
    eventlet.sleep()
    assert seen == list(range(50))


def test_the_parent_of_a_green_thread_is_the_hub():
    g = eventlet.spawn(lambda: greenlet.getcurrent().parent)
    assert g.wait() is hubs.get_hub().greenlet


def test_spawn_n_returns_a_plain_greenlet():
    seen = []
    g = eventlet.spawn_n(seen.append, "tea")
    assert isinstance(g, greenlet.greenlet)
    eventlet.sleep()
    assert seen == ["tea"] and g.dead


def test_spawn_n_passes_keywords():
    seen = []
    eventlet.spawn_n(lambda *a, **k: seen.append((a, k)), 1, b=2)
    eventlet.sleep()
    assert seen == [((1,), {"b": 2})]


def test_spawn_without_a_function_is_a_type_error():
    for function in (eventlet.spawn, eventlet.spawn_n, eventlet.spawn_after):
        with pytest.raises(TypeError):
            function()
    with pytest.raises(TypeError):
        eventlet.spawn_after(1)


def test_what_is_not_callable_fails_in_the_green_thread(quiet):
    with pytest.raises(TypeError):
        eventlet.spawn(3).wait()


# wait


def test_wait_raises_what_the_function_raised_each_time(quiet):
    g = eventlet.spawn(fail)
    for _ in range(3):
        with pytest.raises(ValueError, match="cold"):
            g.wait()


def test_the_traceback_reaches_into_the_function(quiet):
    g = eventlet.spawn(fail)
    with pytest.raises(ValueError) as caught:
        g.wait()
    assert caught.traceback[-1].name == "fail"


def test_any_number_of_waiters_before_and_after_the_end():
    g = eventlet.spawn(len, "tea")
    waiters = [eventlet.spawn(g.wait) for _ in range(10)]
    assert [w.wait() for w in waiters] == [3] * 10
    assert g.wait() == 3


def test_waiters_wake_in_the_order_in_which_they_came():
    g = eventlet.spawn(eventlet.sleep)
    seen = []

    def wait(n):
        g.wait()
        seen.append(n)

    for n in range(10):
        eventlet.spawn_n(wait, n)
    for _ in range(5):
        eventlet.sleep()
    assert seen == list(range(10))


def test_a_killed_waiter_does_not_disturb_the_others():
    g = eventlet.spawn(eventlet.sleep, 0.001)
    first, second = eventlet.spawn(g.wait), eventlet.spawn(g.wait)
    eventlet.sleep()
    first.kill()
    assert second.wait() is None


# link


def test_links_run_in_order_with_their_arguments():
    seen = []
    g = eventlet.spawn(len, "tea")
    g.link(lambda *a, **k: seen.append((a, k)), 1, b=2)
    g.link(lambda *a: seen.append(a), 3)
    g.wait()
    eventlet.sleep()
    assert seen == [((g, 1), {"b": 2}), (g, 3)]


def test_a_link_to_a_finished_green_thread_is_called_at_once():
    g = eventlet.spawn(len, "tea")
    g.wait()
    eventlet.sleep()
    seen = []
    g.link(lambda g, cup: seen.append((g.wait(), cup)), "mug")
    assert seen == [(3, "mug")]


def test_a_link_made_by_a_link_runs_too():
    seen = []
    g = eventlet.spawn(len, "tea")
    g.link(lambda g: g.link(lambda g: seen.append("inner")))
    g.wait()
    eventlet.sleep()
    assert seen == ["inner"]


def test_unlink_takes_back_exactly_that_link():
    seen = []

    def note(g, cup):
        seen.append(cup)

    g = eventlet.spawn(len, "tea")
    g.link(note, "mug")
    g.link(note, "glass")
    assert g.unlink(note, "bowl") is False
    assert g.unlink(note, "mug") is True
    assert g.unlink(note, "mug") is False
    g.wait()
    eventlet.sleep()
    assert seen == ["glass"]


def test_links_run_when_the_function_fails_and_when_it_is_killed(quiet):
    for end in ("fail", "kill", "kill before start"):
        seen = []
        g = eventlet.spawn(
            fail if end == "fail" else eventlet.sleep, *([] if end == "fail" else [60])
        )
        g.link(seen.append)
        if end == "kill":
            eventlet.sleep()
        if end != "fail":
            g.kill()
        eventlet.sleep()
        assert seen == [g], end


# kill and cancel


def test_kill_is_immediate_and_runs_finally():
    seen = []

    def body():
        try:
            eventlet.sleep(60)
        finally:
            seen.append("finally")

    g = eventlet.spawn(body)
    eventlet.sleep()
    eventlet.kill(g)
    assert seen == ["finally"] and g.dead


def test_wait_after_kill_raises_greenlet_exit():
    g = eventlet.spawn(eventlet.sleep, 60)
    eventlet.sleep()
    g.kill()
    for _ in range(2):
        with pytest.raises(greenlet.GreenletExit):
            g.wait()


def test_kill_before_the_start_never_runs_the_body(quiet):
    seen = []
    g = eventlet.spawn(seen.append, 1)
    g.kill()
    eventlet.sleep()
    assert seen == [] and g.dead
    with pytest.raises(greenlet.GreenletExit):
        g.wait()


def test_kill_with_an_exception_class_and_a_triple(quiet):
    for args in ((KeyError,), (KeyError, "x"), (KeyError, KeyError("x"), None)):
        g = eventlet.spawn(eventlet.sleep, 60)
        eventlet.sleep()
        g.kill(*args)
        with pytest.raises(KeyError):
            g.wait()


def test_kill_of_a_plain_greenlet_of_spawn_n():
    seen = []
    g = eventlet.spawn_n(seen.append, 1)
    eventlet.kill(g)
    eventlet.sleep()
    assert seen == [] and g.dead
    g = eventlet.spawn_n(eventlet.sleep, 60)
    eventlet.sleep()
    eventlet.kill(g)
    assert g.dead


def test_kill_of_the_dead_does_nothing():
    g = eventlet.spawn(len, "tea")
    g.wait()
    eventlet.sleep()
    eventlet.kill(g)
    assert g.wait() == 3


def test_killing_oneself_raises_in_place():
    seen = []

    def body():
        try:
            eventlet.kill(greenlet.getcurrent())
        except greenlet.GreenletExit:
            seen.append("here")
            raise

    g = eventlet.spawn(body)
    with pytest.raises(greenlet.GreenletExit):
        g.wait()
    assert seen == ["here"]


def test_who_survives_a_kill_goes_on():
    def body():
        try:
            eventlet.sleep(60)
        except greenlet.GreenletExit:
            eventlet.sleep()
            return "still here"

    g = eventlet.spawn(body)
    eventlet.sleep()
    g.kill()
    assert g.wait() == "still here"


def test_a_kill_leaves_no_exception_behind():
    # In a process of its own: what PyO3 has put aside is let go by any call of its functions.
    script = """
        import eventlet, gc
        for _ in range(100):
            g = eventlet.spawn(eventlet.sleep, 60)
            eventlet.sleep(0)
            g.kill()
        print(sum(isinstance(thing, LookupError) for thing in gc.get_objects()))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_kill_with_what_cannot_be_raised_is_a_type_error():
    g = eventlet.spawn(eventlet.sleep, 60)
    eventlet.sleep()
    with pytest.raises(TypeError):
        g.kill(3)
    assert not g.dead
    g.kill()


def test_cancel_only_before_the_start(quiet):
    g = eventlet.spawn(eventlet.sleep)
    g.cancel()
    assert g.dead
    g = eventlet.spawn(eventlet.sleep)
    eventlet.sleep()
    greenthread.cancel(g)
    assert not g.dead
    g.wait()


def test_cancelled_spawn_after_leaves_no_timer(quiet):
    count = hubs.get_hub().get_timers_count()
    g = eventlet.spawn_after(60, len, "tea")
    g.cancel()
    assert hubs.get_hub().get_timers_count() == count


# spawn_after


def test_spawn_after_runs_by_deadline_and_not_by_call():
    seen = []
    late = eventlet.spawn_after(0.02, seen.append, "late")
    eventlet.spawn_after(0.001, seen.append, "early")
    late.wait()
    assert seen == ["early", "late"]


def test_spawn_after_outlives_its_caller_and_the_local_form_does_not():
    seen = []

    def caller():
        eventlet.spawn_after(0.001, seen.append, "global")
        greenthread.spawn_after_local(0.001, seen.append, "local")

    eventlet.spawn(caller).wait()
    eventlet.sleep(0.01)
    assert seen == ["global"]


def test_spawn_after_local_of_a_living_caller_runs():
    assert greenthread.spawn_after_local(0.001, len, "tea").wait() == 3


# sleep


def test_sleep_rejects_what_is_no_number():
    for wrong in ("x", [], object()):
        with pytest.raises(TypeError):
            eventlet.sleep(wrong)


def test_sleep_of_a_negative_time_yields():
    seen = []
    eventlet.spawn_n(seen.append, 1)
    eventlet.sleep(-5)
    assert seen == [1]


def test_a_foreign_switch_ends_a_sleep_early():
    g = eventlet.spawn(eventlet.sleep, 60)
    eventlet.sleep()
    hubs.get_hub().schedule_call_global(0, g.switch, "value")
    assert g.wait() is None


def test_sleep_in_the_hub():
    outcome = []

    def callback():
        for seconds in (0, 0.001):
            eventlet.sleep(seconds)
            outcome.append(greenlet.getcurrent() is hubs.get_hub().greenlet)

    hubs.get_hub().schedule_call_global(0, callback)
    eventlet.sleep()
    assert outcome == [True]
    eventlet.sleep(0.002)
    assert outcome == [True, False]


# the class


def test_green_threads_can_be_subclassed():
    class Mine(greenthread.GreenThread):
        pass

    g = Mine(hubs.get_hub().greenlet)
    g.note = "tea"
    hubs.get_hub().schedule_call_global(0, g.switch, boil, (1,), {"b": 2})
    assert g.wait() == ((1,), {"b": 2})
    assert g.note == "tea"


def test_main_delivers_without_a_switch():
    g = greenthread.GreenThread(greenlet.getcurrent())
    g.main(boil, (1,), {})
    assert g.wait() == ((1,), {})


def test_the_constructor_takes_the_parent():
    with pytest.raises(TypeError):
        greenthread.GreenThread()
    with pytest.raises(TypeError):
        greenthread.GreenThread(3)


def test_a_finished_green_thread_keeps_nothing_but_its_result():
    class Cup:
        pass

    cup = Cup()
    ref = weakref.ref(cup)
    g = eventlet.spawn(lambda cup: None, cup)
    del cup
    g.wait()
    eventlet.sleep()
    gc.collect()
    assert ref() is None


def test_a_green_thread_in_a_cycle_is_collected():
    def made():
        g = eventlet.spawn(len, "tea")
        g.link(lambda g: None)
        g.me = g
        ref = weakref.ref(g)
        g.wait()
        eventlet.sleep()
        return ref

    ref = made()
    gc.collect()
    assert ref() is None


def test_arguments_are_released_when_killed_before_the_start(quiet):
    class Cup:
        pass

    cup = Cup()
    count = sys.getrefcount(cup)
    g = eventlet.spawn(boil, cup, cup=cup)
    g.kill()
    assert sys.getrefcount(cup) == count


# the names that upstream keeps to itself


def test_exit_event_tells_of_the_end(quiet):
    g = eventlet.spawn(len, "tea")
    event = g._exit_event
    assert event is g._exit_event and not event.ready()
    waiter = eventlet.spawn(event.wait)
    seen = []
    g.link(lambda g: seen.append(g._exit_event.ready()))
    assert (g.wait(), waiter.wait(), event.wait(), seen) == (3, 3, 3, [True])
    assert eventlet.greenthread.GreenThread(None)._exit_event.ready() is False
    for late in (False, True):
        g = eventlet.spawn(fail)
        event = None if late else g._exit_event
        with pytest.raises(ValueError, match="cold"):
            g.wait()
        with pytest.raises(ValueError, match="cold"):
            (event or g._exit_event).wait()


def test_exit_event_of_one_that_was_killed():
    for start in (False, True):
        g = eventlet.spawn(eventlet.sleep, 60)
        event = g._exit_event
        if start:
            eventlet.sleep(0)
        g.kill()
        with pytest.raises(greenlet.GreenletExit):
            event.wait()


def test_exit_funcs_and_resolve_links():
    g, seen = eventlet.spawn(len, "tea"), []

    def note(g, *args, **kwargs):
        seen.append((g, args, kwargs))

    g.link(note, 1, cup="mug")
    g.link(note)
    assert list(g._exit_funcs) == [(note, (1,), {"cup": "mug"}), (note, (), {})]
    g._resolve_links()
    assert seen == [(g, (1,), {"cup": "mug"}), (g, (), {})]
    assert not g._exit_funcs
    g.wait()
    assert len(seen) == 2


# links that raise


def failing(text, kind=ValueError):
    def link(_g):
        raise kind(text)

    return link


def reports(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("ValueError")]


def test_a_link_that_raises_is_reported_once_and_the_others_run(capsys):
    g, seen = eventlet.spawn(len, "tea"), []
    g.link(failing("first"))
    g.link(seen.append)
    g.link(failing("second"))
    g.link(seen.append)
    assert g.wait() == 3, "the result is what it was"
    eventlet.sleep(0)
    assert (seen, g.dead) == ([g, g], True)
    assert sorted(reports(capsys)) == ["ValueError: first", "ValueError: second"]


def test_a_link_that_raises_does_not_hide_the_green_threads_own_error(capsys):
    g = eventlet.spawn(fail)
    g.link(failing("link"))
    with pytest.raises(ValueError, match="cold"):
        g.wait()
    eventlet.sleep(0)
    assert reports(capsys) == ["ValueError: cold", "ValueError: link"]


def test_a_link_to_a_finished_green_thread_raises_in_the_caller(capsys):
    g = eventlet.spawn(len, "tea")
    g.wait()
    with pytest.raises(ValueError, match="late"):
        g.link(failing("late"))
    assert reports(capsys) == []


def test_an_interrupt_in_a_link_reaches_the_main_greenlet(capsys):
    g, seen = eventlet.spawn(len, "tea"), []
    g.link(failing("first"))
    g.link(failing("interrupt", KeyboardInterrupt))
    g.link(seen.append)
    with pytest.raises(KeyboardInterrupt, match="interrupt"):
        for _ in range(3):
            eventlet.sleep(0)
    assert (seen, reports(capsys)) == ([g], ["ValueError: first"])
    eventlet.sleep(0)  # starts the next hub


def test_a_link_may_switch():
    g, seen = eventlet.spawn(len, "tea"), []

    def link(g):
        eventlet.sleep(0)
        seen.append(g.wait())

    g.link(link)
    assert g.wait() == 3
    assert seen == [] and not g.dead
    eventlet.sleep(0)
    assert seen == [3] and g.dead


def test_killing_one_that_waits_for_another_leaves_that_one_alone():
    g = eventlet.spawn(eventlet.sleep, 0.001)
    waiter = eventlet.spawn(g.wait)
    eventlet.sleep(0)
    waiter.kill()
    with pytest.raises(greenlet.GreenletExit):
        waiter.wait()
    assert g.wait() is None


def test_one_exception_instance_for_one_that_has_not_started(quiet):
    # Upstream's wait() raises IndexError here.
    error = ValueError("cold")
    g = eventlet.spawn(len, "tea")
    g.kill(error)
    with pytest.raises(ValueError) as caught:
        g.wait()
    assert caught.value is error


def test_a_kill_from_another_os_thread_arrives():
    import threading

    g = eventlet.spawn(eventlet.sleep, 60)
    eventlet.sleep(0)
    thread = threading.Thread(target=g.kill)
    thread.start()
    thread.join()
    with pytest.raises(greenlet.GreenletExit):
        g.wait()
    assert g.dead


def test_kill_and_cancel_want_a_greenlet():
    for function in (eventlet.kill, greenthread.cancel):
        with pytest.raises(TypeError, match="a greenlet is required, not int"):
            function(1)


def test_sleep_rejects_what_upstream_rejects():
    with pytest.raises(TypeError, match="unexpected keyword"):
        eventlet.sleep(minutes=1)
    with pytest.raises(TypeError, match="from 0 to 1 positional"):
        eventlet.sleep(1, 2)
    with pytest.raises(ValueError, match="NaN"):
        eventlet.sleep(float("nan"))


# threads that end


@pytest.mark.parametrize("pause", [0, 0.001])  # the second is waited for in the hub greenlet
def test_green_threads_of_an_os_thread_that_has_ended_are_dead(pause):
    left = []

    def target():
        left.append(eventlet.spawn(eventlet.sleep, 60))
        eventlet.sleep(pause)
        left.append(eventlet.spawn(len, "never started"))
        left.append(eventlet.spawn_after(60, len, "never due"))

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    for each in left:
        assert each.dead
        with pytest.raises(greenlet.GreenletExit, match="its thread has ended"):
            each.wait()
