"""What is said of calls that cannot be meant: the type and the text, and nothing else happens.

Texts that belong to one behaviour are tested with it; here are those that belong to none.
"""

import os
import threading

import eventlet
import greenlet
import pytest
from eventlet import hubs
from eventlet.event import Event
from eventlet.greenpool import GreenPool
from eventlet.greenthread import GreenThread
from eventlet.queue import LightQueue, Waiter
from eventlet.semaphore import CappedSemaphore


def bare(base):
    class Bare(base):
        def __init__(self):
            pass

    return Bare()


def test_an_initializer_that_was_not_called():
    for call in (bare(GreenPool).free, lambda: bare(GreenPool).spawn(len, "tea")):
        with pytest.raises(AssertionError, match=r"GreenPool\.__init__\(\) was not called"):
            call()
    with pytest.raises(AttributeError, match=r"no attribute 'queue': __init__\(\) was not called"):
        bare(LightQueue).get(block=False)
    with pytest.raises(RuntimeError, match=r"CappedSemaphore\.__init__\(\) was not called"):
        bare(CappedSemaphore).acquire()


def test_exceptions_that_cannot_be_sent():
    event = Event()
    event.send_exception(ValueError, 1, None, None)
    with pytest.raises(TypeError, match="throw expected at most 3 arguments, got 4"):
        event.wait()


def test_exceptions_that_cannot_be_thrown():
    g = eventlet.spawn(eventlet.sleep, 60)
    for call in (g.kill, g.cancel):
        with pytest.raises(TypeError, match=r"throw\(\) takes at most 3 arguments \(4 given\)"):
            call(ValueError, None, None, None)
    assert not g.dead
    g.kill()


@pytest.mark.parametrize("make", [lambda g: g.link, lambda g: g.unlink])
def test_links_want_a_function(make):
    g = eventlet.spawn(len, "tea")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'func'"):
        make(g)()
    assert g.wait() == 3


def test_a_green_thread_wants_a_greenlet_as_its_parent():
    with pytest.raises(TypeError, match="Expected any type of greenlet, not int"):
        GreenThread(3)
    with pytest.raises(TypeError):
        GreenThread()
    with pytest.raises(TypeError):
        GreenThread(None).main(len)


def test_trampoline():
    with pytest.raises(RuntimeError, match=r"trampoline\(\) needs read or write"):
        hubs.trampoline(0)

    class NoDescriptor:
        def fileno(self):
            return "tea"

    text = r"a descriptor is an int or has a fileno\(\) that returns one, not "
    with pytest.raises(TypeError, match=text):
        hubs.trampoline(NoDescriptor(), read=True)
    with pytest.raises(TypeError, match=text):
        hubs.trampoline("tea", read=True)


def test_a_hub_of_another_thread():
    hub, problems = hubs.get_hub(), []

    def other():
        try:
            hub.switch()
        except RuntimeError as error:
            problems.append(str(error))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert problems == ["this hub belongs to another thread, or was replaced by use_hub()"]


def test_abort_with_wait_in_the_hub(capsys):
    hub, problems = hubs.get_hub(), []

    def callback():
        try:
            hub.abort(wait=True)
        except AssertionError as error:
            problems.append(str(error))

    hub.schedule_call_global(0, callback)
    eventlet.sleep(0)
    assert problems == ["Can't abort with wait from inside the hub's greenlet."]
    eventlet.sleep(0)  # it was stopped all the same: the next hub starts


def test_waiters_of_upstreams_queues():
    waiter = Waiter()
    for call in (waiter.switch, waiter.throw):
        with pytest.raises(
            AssertionError, match=r"Can only use Waiter.switch method from the mainloop"
        ):
            call()
    waiter.greenlet = greenlet.getcurrent()
    with pytest.raises(AssertionError, match="This Waiter is already used by <greenlet"):
        waiter.wait()


def test_a_callback_that_raises_is_reported_once_and_the_hub_goes_on(capsys):
    hub, reader, writer = hubs.get_hub(), *os.pipe()
    left = ["listener", "timer", "link", "green thread"]

    def fail(*_args):
        if left:  # a listener is called once more when it is removed for its error
            raise ValueError(left.pop())

    hub.add(hub.READ, reader, fail, print, print)
    hub.schedule_call_global(0, fail)
    eventlet.spawn(len, "tea").link(fail)
    eventlet.spawn_n(fail)
    os.write(writer, b"x")
    while left or hub.get_readers():
        eventlet.sleep(0.001)
    os.close(reader)
    os.close(writer)
    printed = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("ValueError: ")
    ]
    assert sorted(printed) == [
        "ValueError: green thread",
        "ValueError: link",
        "ValueError: listener",
        "ValueError: timer",
    ]
