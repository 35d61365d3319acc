"""`eventlet.corolocal.local`: attributes per greenlet, gone with it."""

import gc
import threading
import weakref

import eventlet
import greenlet
import pytest
from eventlet import corolocal
from eventlet.corolocal import local


class Thing:
    pass


def test_each_greenlet_has_its_own_attributes():
    mine = local()
    mine.cup = 1

    def other():
        with pytest.raises(AttributeError, match="'local' object has no attribute 'cup'"):
            mine.cup  # noqa: B018
        mine.cup = 2
        eventlet.sleep(0)
        return mine.cup, mine.__dict__

    threads = [eventlet.spawn(other) for _ in range(3)]
    assert [thread.wait() for thread in threads] == [(2, {"cup": 2})] * 3
    assert (mine.cup, mine.__dict__, "cup" in dir(mine)) == (1, {"cup": 1}, True)
    plain = greenlet.greenlet(lambda: hasattr(mine, "cup"))
    assert plain.switch() is False


def test_each_os_thread_has_its_own_attributes():
    mine, seen = local(), []
    mine.cup = 1
    thread = threading.Thread(target=lambda: seen.append(hasattr(mine, "cup")))
    thread.start()
    thread.join()
    assert seen == [False]


def test_delete():
    mine = local()
    mine.cup = 1
    del mine.cup
    with pytest.raises(AttributeError):
        del mine.cup
    assert mine.__dict__ == {}


def test_dict_is_read_only():
    mine = local()
    text = "'local' object attribute '__dict__' is read-only"
    with pytest.raises(AttributeError, match=text):
        mine.__dict__ = {}
    with pytest.raises(AttributeError, match=text):
        setattr(mine, "".join(["__di", "ct__"]), {})
    with pytest.raises(AttributeError, match=text):
        del mine.__dict__
    mine.__dict__["cup"] = 1
    assert mine.cup == 1
    with pytest.raises(TypeError):
        getattr(mine, 1)


def test_init_is_called_in_each_greenlet_with_the_same_arguments():
    calls = []

    class Cups(local):
        size = 3

        def __init__(self, *args, **kwargs):
            calls.append((args, kwargs, greenlet.getcurrent()))
            self.made = len(calls)

        def both(self):
            return self.size, self.made

    cups = Cups(1, 2, tea=3)
    assert cups.both() == (3, 1)
    thread = eventlet.spawn(lambda: (cups.both(), cups.both(), isinstance(cups, local)))
    assert thread.wait() == ((3, 2), (3, 2), True)
    assert calls == [
        ((1, 2), {"tea": 3}, greenlet.getcurrent()),
        ((1, 2), {"tea": 3}, thread),
    ]


def test_init_may_switch():
    class Slow(local):
        def __init__(self):
            eventlet.sleep(0)
            self.ready = True

    slow = Slow()
    assert [eventlet.spawn(lambda: slow.ready).wait() for _ in range(2)] == [True, True]


def test_init_that_fails_is_tried_again():
    class Once(local):
        fail = [False, True, False]

        def __init__(self):
            if self.fail.pop(0):
                raise OSError
            self.cup = 1

    once = Once()

    def other():
        with pytest.raises(OSError):
            once.cup  # noqa: B018
        return once.cup

    assert eventlet.spawn(other).wait() == 1


def test_arguments_need_an_init():
    class Plain(local):
        pass

    for kind in (local, Plain):
        with pytest.raises(TypeError, match="Initialization arguments are not supported"):
            kind(1)
        with pytest.raises(TypeError, match="Initialization arguments are not supported"):
            kind(cup=1)
        kind()


def test_descriptors_and_slots_of_a_subclass():
    class Sub(local):
        __slots__ = ("shared",)

        @property
        def double(self):
            return self.cup * 2

        @double.setter
        def double(self, value):
            self.cup = value // 2

        def __getattr__(self, name):
            return f"no {name}"

    sub = Sub()
    sub.shared, sub.double = 1, 10
    assert (sub.shared, sub.cup, sub.double) == (1, 5, 10)
    assert eventlet.spawn(lambda: (sub.shared, sub.cup)).wait() == (1, "no cup")


def test_attributes_go_with_their_greenlet():
    mine, things = local(), []

    def use():
        mine.thing = Thing()
        things.append(weakref.ref(mine.thing))

    thread = eventlet.spawn(use)
    thread.wait()
    assert things[0]() is not None  # the green thread is still there, its attributes too
    del thread
    eventlet.sleep(0)
    assert things[0]() is not None  # as upstream's: those of the last one, until another comes
    assert not hasattr(mine, "thing")
    assert things[0]() is None
    for _ in range(50):
        eventlet.spawn(use).wait()
    eventlet.sleep(0)
    assert [thing() is None for thing in things] == [True] * 50 + [False]
    mine.cup = 1
    assert things[-1]() is None


def test_attributes_go_with_the_local():
    mine = local()
    mine.thing = Thing()
    seen = weakref.ref(mine.thing)
    del mine
    assert seen() is None


def test_cycles_are_collected():
    mine = local()
    mine.own, mine.thing = mine, Thing()
    seen = weakref.ref(mine.thing)
    del mine
    gc.collect()
    assert seen() is None


def test_a_greenlet_that_is_killed_by_its_last_reference_sees_its_own():
    mine, seen = local(), []

    def use():
        mine.cup = "own"
        try:
            greenlet.getcurrent().parent.switch()
        finally:
            seen.append(mine.cup)

    other = greenlet.greenlet(use)
    other.switch()
    del other
    assert seen == ["own"]


def test_an_address_that_is_used_again_begins_anew():
    mine = local()

    def use():
        found = hasattr(mine, "cup")
        mine.cup = 1
        return found

    assert not any(greenlet.greenlet(use).switch() for _ in range(1000))


def test_weak_references_and_subclass_of_the_base():
    mine = local()
    assert weakref.ref(mine)() is mine
    assert isinstance(mine, corolocal._localbase)
    mine.cup = 1
    assert corolocal._patch(mine) == {"cup": 1}


def test_get_ident():
    assert corolocal.get_ident() == id(greenlet.getcurrent())
    thread = eventlet.spawn(corolocal.get_ident)
    assert thread.wait() == id(thread)
