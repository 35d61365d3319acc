"""The parent attribute and the chain of parents."""

import pytest
from greenlet import getcurrent, greenlet


def parked():
    g = greenlet(lambda: getcurrent().parent.switch())
    g.switch()
    return g


def test_set_before_start_and_while_suspended():
    first, second = greenlet(lambda v: ("first", v)), greenlet(lambda v: ("second", v))
    g = greenlet(lambda: getcurrent().parent.parent.switch("parked") and None or "end", first)
    g.parent = second
    assert g.parent is second
    second.parent = getcurrent()
    assert g.switch() == "parked"
    g.parent = first
    assert g.switch() == ("first", "end")
    with pytest.raises(ValueError):  # `second` was never started: end it
        second.throw(ValueError)


def test_set_of_the_running_greenlet():
    main = getcurrent()

    def relay(value):
        return "relayed", value

    def body():
        getcurrent().parent = greenlet(relay, main)
        return 1

    assert greenlet(body).switch() == ("relayed", 1)


def test_set_of_a_dead_greenlet_decides_where_values_go():
    dead = greenlet(lambda: None)
    dead.switch()
    dead.parent = greenlet(lambda *v: ("ran", v))
    assert dead.switch(3) == ("ran", (3,))


@pytest.mark.parametrize("make", [greenlet, parked])
def test_set_to_something_else(make):
    g = make()
    for value, name in ((3, "int"), (None, "NoneType"), ("p", "str")):
        with pytest.raises(TypeError, match=f"Expected any type of greenlet, not {name}"):
            g.parent = value
    assert g.parent is getcurrent()


def test_delete():
    with pytest.raises(AttributeError, match="can't delete attribute"):
        del greenlet().parent
    with pytest.raises(AttributeError, match="can't delete attribute"):
        del getcurrent().parent


@pytest.mark.parametrize("value", [greenlet(), None, 3])
def test_main_has_none(value):
    main = getcurrent()
    assert main.parent is None
    with pytest.raises(AttributeError, match="cannot set the parent of a main greenlet"):
        main.parent = value


def test_cycles_are_refused():
    a = greenlet()
    with pytest.raises(ValueError, match="cyclic parent chain"):
        a.parent = a
    chain = [a]
    for _ in range(5):
        chain.append(greenlet(None, chain[-1]))
    for g in chain[1:]:
        with pytest.raises(ValueError, match="cyclic parent chain"):
            a.parent = g
    assert a.parent is getcurrent()
    main = getcurrent()

    def cyclic():
        with pytest.raises(ValueError, match="cyclic parent chain"):
            getcurrent().parent = greenlet(len)
        return getcurrent().parent is main

    assert greenlet(cyclic).switch()


def test_cyclic_through_the_constructor():
    a = greenlet()
    with pytest.raises(ValueError, match="cyclic parent chain"):
        a.__init__(None, greenlet(None, a))


def test_exception_climbs_one_level_at_a_time():
    seen = []

    def level(n):
        try:
            if n == 0:
                raise ValueError("from the bottom")
            greenlet(level).switch(n - 1)
        except ValueError:
            seen.append(n)
            raise

    with pytest.raises(ValueError, match="from the bottom"):
        greenlet(level).switch(5)
    assert seen == [0, 1, 2, 3, 4, 5]


def test_main_of_the_thread_is_the_end_of_each_chain():
    found = []

    def nest(n):
        if n:
            greenlet(nest).switch(n - 1)
            return
        g = getcurrent()
        while g.parent is not None:
            g = g.parent
        found.append(g)

    greenlet(nest).switch(5)
    assert found == [getcurrent()]


def test_failure_to_start_leaves_it_startable():
    """`run` must be found before the greenlet counts as started."""

    class Looked(greenlet):
        tries = 0

        @property
        def run(self):
            type(self).tries += 1
            if self.tries == 1:
                raise KeyError("not yet")
            return lambda: "ran"

    g = Looked()
    with pytest.raises(KeyError):
        g.switch()
    assert g.dead is False
    assert g.switch() == "ran"


def test_run_is_looked_up_by_the_caller_which_may_switch():
    main = getcurrent()
    looked = []

    class Asked(greenlet):
        @property
        def run(self):
            looked.append((getcurrent(), other.switch("to other")))
            return lambda: "ran"

    other = greenlet(lambda value: main.switch([value, "and back"]))
    assert Asked().switch() == "ran"
    assert looked == [(main, ["to other", "and back"])]
    other.switch()


def test_run_property_that_starts_the_same_greenlet():
    """The inner start wins; the outer one becomes a plain switch into what is running by then."""

    class Twice(greenlet):
        depth = 0

        @property
        def run(self):
            type(self).depth += 1
            if self.depth == 1:
                assert self.switch("inner") == "body parked"
            return lambda *a: ("body", a, getcurrent().parent.switch("body parked"))

    g = Twice()
    assert g.switch("outer") == ("body", ("inner",), "outer")
    assert g.dead
