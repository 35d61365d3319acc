"""throw(): forms of its arguments, error texts, new, dead and current targets."""

import sys

import greenlet as package
import pytest
from greenlet import GreenletExit, getcurrent, greenlet


def catching():
    """A greenlet that returns the exception thrown into it."""

    def body():
        try:
            getcurrent().parent.switch("parked")
        except BaseException as e:
            return e

    g = greenlet(body)
    assert g.switch() == "parked"
    return g


def finished():
    g = greenlet(lambda: None)
    g.switch()
    return g


@pytest.mark.parametrize(
    ("args", "cls", "arguments"),
    [
        ((), GreenletExit, ()),
        ((GreenletExit,), GreenletExit, ()),
        ((GreenletExit, "bye"), GreenletExit, ("bye",)),
        ((ValueError,), ValueError, ()),
        ((ValueError, None), ValueError, ()),
        ((ValueError, "x"), ValueError, ("x",)),
        ((ValueError, (1, 2)), ValueError, (1, 2)),
        ((ValueError, ()), ValueError, ()),
        ((ValueError("inst"),), ValueError, ("inst",)),
        ((ValueError("inst"), None), ValueError, ("inst",)),
        ((ValueError("inst"), None, None), ValueError, ("inst",)),
        ((LookupError, KeyError(4)), KeyError, (4,)),
    ],
)
def test_forms(args, cls, arguments):
    e = catching().throw(*args)
    assert type(e) is cls
    assert e.args == arguments


def test_instance_is_passed_as_it_is():
    given = ValueError("x")
    assert catching().throw(given) is given


def test_value_of_another_exception_becomes_an_argument():
    inner = KeyError(4)
    e = catching().throw(ValueError, inner)
    assert type(e) is ValueError
    assert e.args == (inner,)


def test_traceback_argument():
    def origin():
        raise ValueError("with a history")

    try:
        origin()
    except ValueError:
        tb = sys.exc_info()[2]
    e = catching().throw(ValueError, "again", tb)
    names = []
    where = e.__traceback__
    while where:
        names.append(where.tb_frame.f_code.co_name)
        where = where.tb_next
    assert names[-1] == "origin"
    assert "body" in names


@pytest.mark.parametrize("target", [catching, finished, lambda: greenlet(len), getcurrent])
@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((5,), "exceptions must be classes, or instances, not int"),
        (("abc",), "exceptions must be classes, or instances, not str"),
        ((None,), "exceptions must be classes, or instances, not NoneType"),
        ((int,), "exceptions must be classes, or instances, not type"),
        ((ValueError("x"), 2), "instance exception may not have a separate value"),
        ((ValueError, "x", 3), "throw() third argument must be a traceback object"),
    ],
)
def test_bad_arguments(target, args, text):
    g = target()
    before = g.dead
    with pytest.raises(TypeError) as info:
        g.throw(*args)
    assert str(info.value) == text
    assert g.dead is before


def test_bad_signature():
    with pytest.raises(TypeError):
        catching().throw(ValueError, 1, None, 3)
    with pytest.raises(TypeError):
        catching().throw(typ=ValueError)


def test_class_that_cannot_be_instantiated():
    class Broken(Exception):
        def __init__(self):
            raise RuntimeError("in init")

    g = catching()
    e = g.throw(Broken)
    assert type(e) is RuntimeError


def test_uncaught_comes_out_at_the_parent():
    g = greenlet(lambda: getcurrent().parent.switch())
    g.switch()
    with pytest.raises(ValueError, match="through"):
        g.throw(ValueError("through"))
    assert g.dead


def test_greenletexit_ends_it_and_is_returned():
    g = greenlet(lambda: getcurrent().parent.switch())
    g.switch()
    ended = GreenletExit("v")
    assert g.throw(ended) is ended
    assert g.dead


def test_greenletexit_may_be_refused():
    def body():
        while True:
            try:
                getcurrent().parent.switch("still here")
            except GreenletExit:
                pass
            else:
                return "done"

    g = greenlet(body)
    g.switch()
    assert g.throw() == "still here"
    assert g.switch() == "done"


def test_into_a_new_greenlet_never_runs_it():
    ran = []
    g = greenlet(lambda: ran.append(1))
    with pytest.raises(ValueError, match="early"):
        g.throw(ValueError("early"))
    assert ran == []
    assert g.dead
    assert not g
    with pytest.raises(AttributeError):
        g.run  # noqa: B018


def test_into_a_new_greenlet_without_run():
    g = greenlet()
    with pytest.raises(AttributeError, match="run"):
        g.throw(ValueError)
    assert g.dead is False


def test_greenletexit_into_a_new_greenlet_is_the_result():
    ended = GreenletExit(7)
    g = greenlet(lambda: None)
    assert g.throw(ended) is ended
    assert g.dead
    assert type(greenlet(len).throw()) is GreenletExit
    assert greenlet(len).throw(GreenletExit, 5).args == (5,)


def test_into_a_new_greenlet_goes_to_its_parent():
    def body():
        try:
            getcurrent().parent.switch("parked")
        except ValueError as e:
            return ["parent got", *e.args]

    parent = greenlet(body)
    parent.switch()
    g = greenlet(lambda: None, parent)
    assert g.throw(ValueError("y")) == ["parent got", "y"]


def test_into_a_dead_greenlet_raises_in_the_parent():
    g = finished()
    with pytest.raises(ValueError, match="d"):
        g.throw(ValueError("d"))
    ended = GreenletExit("r")
    assert g.throw(ended) is ended
    assert type(g.throw()) is GreenletExit


def test_into_itself_raises_at_once():
    with pytest.raises(ValueError, match="me"):
        getcurrent().throw(ValueError("me"))
    with pytest.raises(GreenletExit):
        getcurrent().throw()


def test_repeatedly():
    def body():
        count = 0
        while True:
            try:
                getcurrent().parent.switch(count)
            except ValueError:
                count += 1

    g = greenlet(body)
    g.switch()
    assert [g.throw(ValueError) for _ in range(100)] == list(range(1, 101))


def test_reference_counts():
    e = ValueError("counted")
    g = greenlet(lambda: None)
    g.switch()
    base = sys.getrefcount(e)
    for _ in range(20):
        try:
            g.throw(e)
        except ValueError:
            pass
        e.__traceback__ = None
    assert sys.getrefcount(e) == base


def test_package_names():
    assert package.greenlet.throw is greenlet.throw
