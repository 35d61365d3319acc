"""Making greenlets: arguments, the type, fresh instances, subclasses, serializing."""

import copy
import pickle
import weakref

import greenlet as package
import pytest
from greenlet import getcurrent, greenlet


def test_fresh_greenlet():
    g = greenlet(len)
    assert not g
    assert g.dead is False
    assert g.run is len
    assert g.parent is getcurrent()
    assert g.gr_frame is None
    assert g.gr_context is None


def test_default_parent_is_the_creator():
    def outer():
        me = getcurrent()
        return greenlet(len).parent is me

    assert greenlet(outer).switch() is True


@pytest.mark.parametrize(
    "make", [lambda p: greenlet(len, p), lambda p: greenlet(run=len, parent=p)]
)
def test_parent_argument(make):
    parent = greenlet()
    assert make(parent).parent is parent


def test_parent_none_is_the_default():
    assert greenlet(len, None).parent is getcurrent()


@pytest.mark.parametrize(
    ("args", "kwargs"), [((1, 2, 3), {}), ((), {"foo": 1}), ((len,), {"run": len})]
)
def test_bad_signature(args, kwargs):
    with pytest.raises(TypeError):
        greenlet(*args, **kwargs)


@pytest.mark.parametrize("parent", [5, "main", object(), len])
def test_parent_of_another_type(parent):
    with pytest.raises(
        TypeError, match=f"Expected any type of greenlet, not {type(parent).__name__}"
    ):
        greenlet(len, parent)


@pytest.mark.parametrize(("run", "name"), [(5, "int"), (None, "NoneType")])
def test_run_is_called_not_checked(run, name):
    g = greenlet(run)
    assert g.run is run
    with pytest.raises(TypeError, match=f"'{name}' object is not callable"):
        g.switch()
    assert g.dead


def test_without_run():
    g = greenlet()
    for _ in range(2):
        with pytest.raises(AttributeError, match="run"):
            g.switch()
    assert g.dead is False
    g.run = lambda: 7
    assert g.switch() == 7


def test_new_without_init():
    g = greenlet.__new__(greenlet)
    assert g.parent is getcurrent()
    g.run = lambda: 3
    assert g.switch() == 3


def test_init_again_replaces_run_and_parent():
    g = greenlet(lambda: 1)
    parent = greenlet()
    g.__init__(lambda: 2, parent)
    assert g.parent is parent
    g.parent = getcurrent()
    assert g.switch() == 2


def test_init_of_a_started_greenlet():
    g = greenlet(lambda: getcurrent().parent.switch())
    g.switch()
    with pytest.raises(AttributeError, match="run cannot be set after the start of the greenlet"):
        g.__init__(len)
    g.switch()


def test_layout_and_names_of_the_type():
    pointer = 8
    assert greenlet.__basicsize__ == 5 * pointer
    assert greenlet.__itemsize__ == 0
    assert greenlet.__module__ == "greenlet"
    assert greenlet.__qualname__ == "greenlet"
    assert greenlet.__base__ is object
    assert type(greenlet) is type


def test_type_carries_the_functions_of_the_module():
    for name in ("getcurrent", "settrace", "gettrace", "error", "GreenletExit"):
        assert getattr(greenlet, name) is getattr(package, name)
    assert greenlet.getcurrent() is getcurrent()


def test_type_is_immutable():
    with pytest.raises(TypeError):
        greenlet.extra = 1


def test_exceptions():
    assert package.error.__mro__ == (package.error, Exception, BaseException, object)
    assert package.GreenletExit.__mro__ == (package.GreenletExit, BaseException, object)
    for exception, name in ((package.error, "error"), (package.GreenletExit, "GreenletExit")):
        assert (exception.__module__, exception.__qualname__) == ("greenlet", name)


def test_equality_is_identity():
    a, b = greenlet(), greenlet()
    assert a == a
    assert a != b
    assert len({a, b, a}) == 2
    with pytest.raises(TypeError):
        a < b  # noqa: B015


def test_instance_dict():
    g = greenlet()
    g.colour = "red"
    assert g.__dict__ == {"colour": "red"}
    g.__dict__ = {"colour": "blue"}
    assert g.colour == "blue"
    with pytest.raises(TypeError, match="__dict__ may not be deleted"):
        del g.__dict__
    with pytest.raises(TypeError, match="__dict__ must be a dictionary"):
        g.__dict__ = 1


@pytest.mark.parametrize("name", ["dead", "gr_frame"])
def test_read_only_attributes(name):
    g = greenlet()
    with pytest.raises(AttributeError, match="not writable"):
        setattr(g, name, None)
    with pytest.raises(AttributeError, match="not writable"):
        delattr(g, name)


class Child(greenlet):
    """A subclass of Python code."""

    def run(self, *args):
        return self, args


class Slotted(greenlet):
    __slots__ = ("extra",)


class WithInit(greenlet):
    def __init__(self, number):
        super().__init__(self.body)
        self.number = number

    def body(self, factor):
        return self.number * factor


def test_subclass_with_a_run_method():
    g = Child()
    assert g.switch(1, 2) == (g, (1, 2))


def test_subclass_run_method_wins_over_the_argument():
    g = Child(lambda *a: a)
    assert g.switch(5) == (g, (5,))


def test_subclass_with_slots():
    g = Slotted(lambda: 4)
    g.extra = "e"
    g.other = "o"  # the base has a __dict__
    assert (g.extra, g.other, g.switch()) == ("e", "o", 4)


def test_subclass_with_its_own_init():
    assert WithInit(6).switch(7) == 42


def test_subclass_may_be_a_parent():
    parent = Child()
    assert greenlet(len, parent).parent is parent


@pytest.mark.parametrize("cls", [greenlet, Child])
def test_serializing_is_refused(cls):
    for how in (pickle.dumps, copy.copy, copy.deepcopy, lambda g: g.__getstate__()):
        with pytest.raises(TypeError, match="cannot serialize '.*' object"):
            how(cls())


@pytest.mark.parametrize("cls", [greenlet, Child])
def test_weak_references(cls):
    g = cls(lambda: None)
    gone = []
    ref = weakref.ref(g, gone.append)
    assert ref() is g
    g.switch()
    assert ref() is g
    del g
    assert ref() is None
    assert gone == [ref]


def test_weak_reference_of_a_suspended_greenlet():
    g = greenlet(lambda: getcurrent().parent.switch())
    g.switch()
    ref = weakref.ref(g)
    del g
    assert ref() is None
