"""add_trace: several observers of switches beside settrace, none of which can break another."""

import threading

import greenlet
import pytest


class Observer:
    """Notes what it is told; can be told to raise."""

    made = []

    def __init__(self, error=None):
        self.made.append(self)
        self.seen = []
        self.error = error

    def __call__(self, event, pair):
        self.seen.append((event, pair))
        if self.error is not None:
            raise self.error


@pytest.fixture
def added():
    """Adds observers, and removes those that are left."""
    observers = []

    def add(observer):
        greenlet.add_trace(observer)
        observers.append(observer)
        return observer

    yield add
    for observer in observers:
        try:
            greenlet.remove_trace(observer)
        except ValueError:
            pass
    greenlet.settrace(None)
    for observer in Observer.made:
        observer.seen, observer.error = [], None  # which keep greenlets
    Observer.made.clear()


@pytest.fixture
def unraisable(monkeypatch):
    """What sys.unraisablehook is told."""
    seen = []
    monkeypatch.setattr("sys.unraisablehook", lambda u: seen.append((u.exc_type, u.object)))
    return seen


def test_all_are_told_of_each_switch(added):
    main = greenlet.getcurrent()
    one, two = added(Observer()), added(Observer())
    g = greenlet.greenlet(lambda: None)
    g.switch()
    assert one.seen == two.seen == [("switch", (main, g)), ("switch", (g, main))]


def test_throw_is_told_as_one(added):
    observer = added(Observer())
    g = greenlet.greenlet(main := greenlet.getcurrent().switch)
    g.switch()
    del observer.seen[:], main
    with pytest.raises(KeyError):
        g.throw(KeyError)
    assert [event for event, _ in observer.seen] == ["throw", "throw"]


def test_order_is_that_of_adding_after_settrace(added):
    calls = []
    added(lambda event, pair: calls.append("first"))
    added(lambda event, pair: calls.append("second"))
    greenlet.settrace(lambda event, pair: calls.append("slot"))
    greenlet.greenlet(lambda: None).switch()
    assert calls == ["slot", "first", "second"] * 2


def test_settrace_and_its_slot_are_not_touched(added):
    observer = added(Observer())
    assert greenlet.gettrace() is None
    slot = Observer()
    assert greenlet.settrace(slot) is None
    assert greenlet.settrace(None) is slot
    greenlet.greenlet(lambda: None).switch()
    assert len(observer.seen) == 2 and not slot.seen


def test_exception_removes_the_observer_alone(added, unraisable):
    bad, good = added(Observer(ValueError("bad"))), added(Observer())
    assert greenlet.greenlet(lambda: 7).switch() == 7
    assert len(bad.seen) == 1 and len(good.seen) == 2
    assert unraisable == [(ValueError, bad)]
    with pytest.raises(ValueError, match="was not added in this thread"):
        greenlet.remove_trace(bad)


def test_error_of_settrace_reaches_the_target_and_not_the_observers(added):
    observer = added(Observer())
    greenlet.settrace(Observer(ValueError("slot")))
    with pytest.raises(ValueError, match="slot"):
        greenlet.greenlet(lambda: None).switch()
    assert greenlet.gettrace() is None
    assert len(observer.seen) == 2


def test_other_exceptions_are_raised_in_the_target(added):
    observer = added(Observer(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        greenlet.greenlet(lambda: None).switch()
    observer.error = None
    greenlet.greenlet(lambda: None).switch()
    assert len(observer.seen) == 4, "it stays"


def test_removing(added):
    observer = Observer()
    greenlet.add_trace(observer)
    greenlet.add_trace(observer)
    greenlet.remove_trace(observer)
    greenlet.greenlet(lambda: None).switch()
    assert len(observer.seen) == 2
    greenlet.remove_trace(observer)
    greenlet.greenlet(lambda: None).switch()
    assert len(observer.seen) == 2
    with pytest.raises(ValueError):
        greenlet.remove_trace(observer)


def test_bound_methods_are_found_by_equality():
    seen = []
    greenlet.add_trace(seen.__class__.__len__)
    greenlet.remove_trace(list.__len__)
    greenlet.add_trace("".join)
    greenlet.remove_trace("".join)


def test_observers_may_remove_themselves_and_add_others(added):
    calls = []

    def once(event, pair):
        greenlet.remove_trace(once)
        added(lambda event, pair: calls.append(event))

    added(once)
    greenlet.greenlet(lambda: None).switch()
    assert calls == ["switch"]


def test_only_callables():
    with pytest.raises(TypeError, match="callback must be callable, not int"):
        greenlet.add_trace(7)


def test_per_os_thread(added):
    observer = added(Observer())
    seen = []

    def other():
        mine = Observer()
        greenlet.add_trace(mine)  # goes with its thread
        greenlet.greenlet(lambda: None).switch()
        seen.append(len(mine.seen))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [2] and observer.seen == []
