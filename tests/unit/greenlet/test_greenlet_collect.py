"""Greenlets and memory: death by the last reference, resurrection, __del__, cycles."""

import gc
import sys
import weakref

import pytest
from greenlet import GreenletExit, getcurrent, greenlet


def park():
    getcurrent().parent.switch()


def noting(log):
    """A body that parks and notes how it ended."""

    def body():
        try:
            getcurrent().parent.switch("parked")
        except BaseException as e:
            log.append(type(e))
            raise

    return body


def test_last_reference_kills():
    log = []
    g = greenlet(noting(log))
    g.switch()
    ref = weakref.ref(g)
    del g
    assert log == [GreenletExit]
    assert ref() is None


def test_kill_returns_to_where_the_reference_was_dropped():
    steps = []

    def body():
        try:
            getcurrent().parent.switch()
        finally:
            steps.append("killed in")

    def dropper():
        g = greenlet(body, main)
        g.switch()
        steps.append("unreachable")

    main = getcurrent()

    def run():
        g = greenlet(body)
        g.switch()
        steps.append("before")
        del g
        steps.append("after")

    greenlet(run).switch()
    assert steps == ["before", "killed in", "after"]


def test_new_greenlet_simply_goes():
    ran = []
    g = greenlet(lambda: ran.append(1))
    ref = weakref.ref(g)
    del g
    assert ref() is None
    assert ran == []


def test_current_exception_survives_a_kill():
    log = []
    try:
        raise ValueError("mine")
    except ValueError as e:
        g = greenlet(noting(log))
        g.switch()
        del g
        assert sys.exc_info()[1] is e
    assert log == [GreenletExit]


def test_kill_during_unwinding():
    """A local that is a suspended greenlet dies while an exception is on its way."""
    log = []

    def fail():
        g = greenlet(noting(log))
        g.switch()
        raise KeyError("original")

    with pytest.raises(KeyError, match="original"):
        try:
            fail()
        finally:
            sys.exc_info()
    assert log == [GreenletExit]


def test_locals_are_released():
    class Thing:
        pass

    def body():
        thing = Thing()
        refs.append(weakref.ref(thing))
        getcurrent().parent.switch()

    refs = []
    for finish in (True, False):
        g = greenlet(body)
        g.switch()
        assert refs[-1]() is not None
        if finish:
            g.switch()
        del g
        assert refs[-1]() is None


def test_resurrection_by_storing_itself():
    saved = []

    def body():
        try:
            getcurrent().parent.switch()
        except GreenletExit:
            saved.append(getcurrent())
            return getcurrent().parent.switch("not yet")

    g = greenlet(body)
    g.switch()
    ref = weakref.ref(g)
    del g
    (g,) = saved
    assert ref() in (None, g)
    assert not g.dead
    assert g.switch("end") == "end"
    assert g.dead
    assert gc.is_tracked(g)
    del saved[:], g


def test_resurrected_subclass_keeps_its_type_alive():
    saved = []

    class Stubborn(greenlet):
        pass

    def body():
        try:
            getcurrent().parent.switch()
        except GreenletExit:
            saved.append(getcurrent())
            getcurrent().parent.switch()

    references = sys.getrefcount(Stubborn)
    for _ in range(10):
        g = Stubborn(body)
        g.switch()
        del g
        saved.pop().switch()
    assert sys.getrefcount(Stubborn) == references


@pytest.mark.leaks("a greenlet that refuses to die is kept for ever")
def test_refusing_to_die_is_reported(capfd):
    def body():
        while True:
            try:
                getcurrent().parent.switch("still here")
            except GreenletExit:
                keep.append(1)

    keep = []
    g = greenlet(body)
    g.switch()
    address = id(g)
    del g
    assert keep == [1]
    err = capfd.readouterr().err
    assert "GreenletExit did not kill <greenlet.greenlet object at" in err
    assert f"{address:#x}" in err
    # it was leaked on purpose: find it and end it
    (g,) = (o for o in gc.get_objects() if type(o) is greenlet and id(o) == address)
    with pytest.raises(ValueError):
        g.throw(ValueError)


def test_del_method():
    log = []

    class Mortal(greenlet):
        def __del__(self):
            log.append((self.dead, bool(self)))

    for start in (False, True):
        g = Mortal(park)
        if start:
            g.switch()
            g.switch()
        del g
        gc.collect()
    assert log == [(False, False), (True, False)]


def test_del_method_of_a_suspended_greenlet_runs_once():
    log = []

    class Mortal(greenlet):
        def __del__(self):
            log.append("del")

    g = Mortal(noting(log))
    g.switch()
    del g
    gc.collect()
    assert sorted(map(str, log)) == sorted(["del", str(GreenletExit)])


def test_del_method_may_switch():
    log = []

    class Talking(greenlet):
        def __del__(self):
            log.append(greenlet(lambda: "from __del__").switch())

    Talking(len)
    assert log == ["from __del__"]


def test_cycle_of_dead_greenlets():
    g = greenlet(lambda: None)
    g.switch()
    g.me = g
    ref = weakref.ref(g)
    del g
    gc.collect()
    assert ref() is None


def test_cycle_of_new_greenlets():
    g = greenlet(park)
    g.run = lambda g=g: g
    g.other = greenlet(park, g)
    refs = [weakref.ref(g), weakref.ref(g.other)]
    del g
    gc.collect()
    assert [r() for r in refs] == [None, None]


def test_cycle_through_the_context():
    import contextvars

    var = contextvars.ContextVar("var")
    g = greenlet(park)
    g.gr_context = contextvars.Context()
    g.gr_context.run(var.set, g)
    ref = weakref.ref(g)
    del g
    gc.collect()
    assert ref() is None


def test_many_cycles_are_collected():
    refs = []
    for _ in range(10_000):
        g = greenlet(park)
        g.me = [g]
        refs.append(weakref.ref(g))
    del g
    gc.collect()
    assert sum(r() is not None for r in refs) == 0


def test_suspended_greenlet_is_a_root():
    """What a suspended greenlet's frames hold is never collected under its feet."""

    class Node:
        pass

    def body():
        node = Node()
        node.me = node
        getcurrent().parent.switch(weakref.ref(node))
        return node.me is node

    g = greenlet(body)
    ref = g.switch()
    for _ in range(3):
        gc.collect()
    assert ref() is not None
    assert g.switch() is True


def test_kill_from_the_collector():
    """A suspended greenlet that only a garbage cycle holds dies with the cycle."""
    log = []

    class Holder:
        pass

    holder = Holder()
    holder.me = holder
    holder.greenlet = greenlet(noting(log))
    holder.greenlet.switch()
    del holder
    gc.collect()
    assert log == [GreenletExit]


def test_collection_inside_every_switch():
    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:

        def body():
            for n in range(20):
                junk = [[] for _ in range(5)]
                junk.append(junk)
                getcurrent().parent.switch(n, junk)

        greenlets = [greenlet(body) for _ in range(20)]
        for _ in range(21):
            for g in greenlets:
                g.switch()
        assert all(g.dead for g in greenlets)
    finally:
        gc.set_threshold(*thresholds)


def test_parent_is_kept_alive():
    parent = greenlet(lambda v: ["parent", v])
    ref = weakref.ref(parent)
    g = greenlet(lambda: "value", parent)
    del parent
    assert ref() is not None
    assert g.switch() == ["parent", "value"]
    del g
    assert ref() is None


def test_kill_order_of_a_chain():
    """Dropping the youngest of a chain of suspended greenlets ends all of them, youngest first."""
    log = []

    def body(n):
        child = greenlet(body) if n else None
        try:
            if child is not None:
                child.switch(n - 1)
            else:
                main.switch(getcurrent())
        finally:
            log.append(n)

    main = getcurrent()
    youngest = greenlet(body).switch(4)
    assert not youngest.dead
    youngest.throw()
    assert log == [0, 1, 2, 3, 4]


def test_killed_greenlet_may_switch_elsewhere_and_come_back():
    log = []

    def body():
        try:
            getcurrent().parent.switch()
        finally:
            log.append(helper.switch(getcurrent()))

    def helping(dying):
        dying.switch("answer")

    helper = greenlet(helping)
    g = greenlet(body)
    g.switch()
    del g
    assert log == ["answer"]
    helper.switch()
    assert helper.dead


def test_no_leak_per_life():
    def once():
        g = greenlet(park)
        g.switch()
        g.switch()
        h = greenlet(park)
        h.switch()
        del h
        try:
            greenlet(lambda: 1 / 0).switch()
        except ZeroDivisionError:
            pass

    for _ in range(50):
        once()
    gc.collect()
    objects = len(gc.get_objects())
    blocks = sys.getallocatedblocks()
    for _ in range(500):
        once()
    gc.collect()
    assert len(gc.get_objects()) - objects < 50
    assert sys.getallocatedblocks() - blocks < 300
