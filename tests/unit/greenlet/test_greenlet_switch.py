"""switch(): what goes in, what comes out, who runs next."""

import sys

import greenlet as package
import pytest
from greenlet import getcurrent, greenlet

FORMS = [
    ((), {}, ()),
    ((1,), {}, 1),
    (((),), {}, ()),
    ((None,), {}, None),
    ((1, 2), {}, (1, 2)),
    ((), {"a": 1}, {"a": 1}),
    ((1,), {"a": 2}, ((1,), {"a": 2})),
    ((1, 2), {"a": 3}, ((1, 2), {"a": 3})),
]


def parked(*args):
    """A greenlet that hands each switch to its parent and finishes on "stop"."""

    def body():
        value = getcurrent().parent.switch("ready")
        while value != "stop":
            value = getcurrent().parent.switch(value)
        return "stopped"

    g = greenlet(body)
    assert g.switch() == "ready"
    return g


@pytest.mark.parametrize(("args", "kwargs", "_"), FORMS)
def test_first_switch_calls_run_with_the_arguments(args, kwargs, _):
    assert greenlet(lambda *a, **k: (a, k)).switch(*args, **kwargs) == (args, kwargs)


@pytest.mark.parametrize(("args", "kwargs", "expected"), FORMS)
def test_later_switches_return_the_value(args, kwargs, expected):
    g = parked()
    assert g.switch(*args, **kwargs) == expected
    assert g.switch("stop") == "stopped"


@pytest.mark.parametrize(("args", "kwargs", "expected"), FORMS)
def test_to_itself_returns_at_once(args, kwargs, expected):
    assert getcurrent().switch(*args, **kwargs) == expected


@pytest.mark.parametrize(("args", "kwargs", "expected"), FORMS)
def test_to_a_dead_greenlet_lands_in_the_nearest_living_ancestor(args, kwargs, expected):
    g = greenlet(lambda: None)
    g.switch()
    assert g.switch(*args, **kwargs) == expected


def test_to_a_dead_greenlet_whose_parent_is_parked():
    parent = parked()
    g = greenlet(lambda: None, parent)
    # its return value goes to the parent, which passes it on to us
    assert g.switch() is None
    assert g.dead
    assert g.switch("hello") == "hello"
    assert parent.switch("stop") == "stopped"
    assert g.switch("again") == "again"


def test_to_a_dead_greenlet_whose_parent_is_not_started():
    parent = greenlet(lambda *args: ("parent ran", args))
    g = greenlet(lambda: 5, parent)
    assert g.switch() == ("parent ran", (5,))


def test_two_greenlets_take_turns():
    seen = []

    def first():
        seen.append(12)
        two.switch()
        seen.append(34)

    def second():
        seen.append(56)
        one.switch()
        seen.append(78)

    one, two = greenlet(first), greenlet(second)
    one.switch()
    assert seen == [12, 56, 34]
    assert one.dead
    assert not two.dead
    two.switch()
    assert seen == [12, 56, 34, 78]


def test_return_value_goes_to_the_parent_not_to_the_switcher():
    log = []

    def child():
        return "value"

    def middle():
        log.append(("middle", target.switch()))

    target = greenlet(child)
    log.append(("main", greenlet(middle).switch()))
    assert log == [("main", "value")]


def test_finishing_skips_dead_ancestors():
    grandparent = parked()
    parent = greenlet(lambda: "p", grandparent)
    child = greenlet(lambda: "c", parent)
    assert parent.switch() == "p"
    assert child.switch() == "c"
    assert grandparent.switch("stop") == "stopped"


def test_exception_goes_to_the_parent():
    def fail():
        raise ValueError("boom")

    caught = []

    def parent():
        try:
            return greenlet(fail).switch()
        except ValueError as e:
            caught.append(str(e))
            return "handled"

    assert greenlet(parent).switch() == "handled"
    assert caught == ["boom"]


@pytest.mark.parametrize("exc", [KeyboardInterrupt, SystemExit, BaseException, package.error])
def test_every_exception_but_greenletexit_propagates(exc):
    def fail():
        raise exc("x")

    g = greenlet(fail)
    with pytest.raises(exc, match="x"):
        g.switch()
    assert g.dead


def test_greenletexit_is_returned():
    ended = package.GreenletExit(3)

    def leave():
        raise ended

    g = greenlet(leave)
    assert g.switch() is ended
    assert g.dead


def test_greenletexit_subclass_is_returned():
    class Bye(package.GreenletExit):
        pass

    def leave():
        raise Bye("b")

    assert isinstance(greenlet(leave).switch(), Bye)


def test_traceback_of_an_exception_from_a_child():
    def inner():
        raise ValueError

    with pytest.raises(ValueError) as info:
        greenlet(inner).switch()
    assert [e.name for e in info.traceback][-1] == "inner"


def test_states():
    g = parked()
    assert g
    assert g.dead is False
    g.switch("stop")
    assert not g
    assert g.dead is True


def test_getcurrent():
    main = getcurrent()
    assert type(main) is greenlet
    assert main.parent is None
    assert main
    assert main.dead is False

    def body():
        return getcurrent()

    g = greenlet(body)
    assert g.switch() is g
    assert getcurrent() is main


def test_value_reference_counts():
    class Value:
        pass

    value = Value()
    base = sys.getrefcount(value)
    g = parked()
    for _ in range(50):
        assert g.switch(value) is value
        g.switch(value, value)
        g.switch(a=value)
        g.switch(value, a=value)
    g.switch("stop")
    del g
    assert sys.getrefcount(value) == base


def test_kwargs_dict_is_fresh():
    g = parked()
    given = {"a": 1}
    got = g.switch(**given)
    assert got == given
    assert got is not given
    g.switch("stop")


def test_ring():
    size, rounds = 50, 20
    ring = []

    def body(i):
        for _ in range(rounds):
            ring[(i + 1) % size].switch((i + 1) % size)
        return "end"

    ring.extend(greenlet(body) for _ in range(size))
    count = 0
    for g in ring:
        while not g.dead:
            g.switch(ring.index(g))
            count += 1
    assert all(g.dead for g in ring)
    assert count >= size


def test_switch_in_the_middle_of_c_code():
    """A switch under sorted(), map() and a dict lookup resumes exactly there."""
    main = getcurrent()

    class Key:
        def __init__(self, n):
            self.n = n

        def __hash__(self):
            return 1

        def __eq__(self, other):
            main.switch("eq")
            return self.n == other.n

    def body():
        order = sorted([3, 1, 2], key=lambda n: (main.switch("key"), n)[1])
        mapped = list(map(lambda n: (main.switch("map"), n + 1)[1], order))
        found = {Key(1): "one"}[Key(1)]
        return order, mapped, found

    g = greenlet(body)
    events, value = [], g.switch()
    while not g.dead:
        events.append(value)
        value = g.switch()
    assert value == ([1, 2, 3], [2, 3, 4], "one")
    assert events == ["key"] * 3 + ["map"] * 3 + ["eq"]


def test_each_greenlet_has_its_own_recursion_depth():
    limit = sys.getrecursionlimit()

    def down(n):
        if n:
            return down(n - 1)
        return getcurrent().parent.switch("bottom")

    deep = [greenlet(down) for _ in range(5)]
    # together they would exceed the limit
    for g in deep:
        assert g.switch(limit // 2) == "bottom"
    for g in deep:
        g.switch()
        assert g.dead


def test_recursion_error_in_a_greenlet_leaves_the_others_alone():
    def forever():
        return forever()

    for _ in range(3):
        with pytest.raises(RecursionError):
            greenlet(forever).switch()

    def down(n):
        return n and down(n - 1)

    assert down(sys.getrecursionlimit() // 2) == 0


def test_nested_creation():
    """Each greenlet starts the next: a long parent chain, values come all the way back."""

    def nest(n):
        return 0 if n == 0 else greenlet(nest).switch(n - 1) + 1

    assert greenlet(nest).switch(300) == 300
