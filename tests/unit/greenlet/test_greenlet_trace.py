"""settrace() and gettrace(), and what becomes of sys.settrace and sys.setprofile."""

import sys
import threading

import greenlet as package
import pytest
from greenlet import getcurrent, gettrace, greenlet, settrace


@pytest.fixture
def traced():
    events = []
    settrace(lambda event, args: events.append((event, args)))
    yield events
    settrace(None)
    del events[:]


def test_returns_the_previous_function():
    first, second = (lambda *a: None), (lambda *a: None)
    assert settrace(first) is None
    assert gettrace() is first
    assert settrace(second) is first
    assert settrace(None) is second
    assert gettrace() is None


def test_bad_signature():
    with pytest.raises(TypeError):
        settrace()
    with pytest.raises(TypeError):
        settrace(None, None)
    with pytest.raises(TypeError):
        gettrace(1)


def test_switches(traced):
    main = getcurrent()
    g = greenlet(lambda: main.switch())
    g.switch()
    g.switch()
    settrace(None)
    assert traced == [
        ("switch", (main, g)),
        ("switch", (g, main)),
        ("switch", (main, g)),
        ("switch", (g, main)),
    ]


def test_throws(traced):
    main = getcurrent()

    def body():
        try:
            main.switch()
        except ValueError:
            raise KeyError from None

    g = greenlet(body)
    g.switch()
    with pytest.raises(KeyError):
        g.throw(ValueError)
    settrace(None)
    assert traced[2:] == [("throw", (main, g)), ("throw", (g, main))]


def test_throw_into_a_new_greenlet(traced):
    main = getcurrent()
    g = greenlet(len)
    with pytest.raises(ValueError):
        g.throw(ValueError)
    settrace(None)
    assert traced == [("throw", (main, g)), ("throw", (g, main))]


def test_to_itself(traced):
    main = getcurrent()
    main.switch(1)
    settrace(None)
    assert traced == [("switch", (main, main))]


def test_dead_target_names_where_it_lands(traced):
    main = getcurrent()
    g = greenlet(lambda: None)
    g.switch()
    del traced[:]
    g.switch()
    settrace(None)
    assert traced == [("switch", (main, main))]


def test_is_called_in_the_target():
    where = []
    settrace(lambda event, args: where.append(getcurrent()))
    g = greenlet(lambda: None)
    g.switch()
    settrace(None)
    assert where == [g, getcurrent()]


def test_result_is_ignored():
    settrace(lambda event, args: 1 / 1)
    assert greenlet(lambda: 5).switch() == 5
    settrace(None)


def test_exception_is_thrown_into_the_target_and_ends_tracing():
    def tracer(event, args):
        raise RuntimeError("from the tracer")

    g = greenlet(lambda: getcurrent().parent.switch("parked"))
    g.switch()
    settrace(tracer)
    with pytest.raises(RuntimeError, match="from the tracer"):
        g.switch()
    assert gettrace() is None
    assert g.dead


def test_exception_in_front_of_a_new_greenlet():
    ran = []

    def tracer(event, args):
        raise RuntimeError("from the tracer")

    g = greenlet(lambda: ran.append(1))
    settrace(tracer)
    with pytest.raises(RuntimeError, match="from the tracer"):
        g.switch()
    assert ran == []
    assert gettrace() is None
    assert g.dead


def test_exception_replaces_a_thrown_one():
    g = greenlet(lambda: getcurrent().parent.switch())
    g.switch()

    def tracer(event, args):
        raise RuntimeError("from the tracer")

    settrace(tracer)
    with pytest.raises(RuntimeError, match="from the tracer"):
        g.throw(ValueError)
    assert gettrace() is None


def test_exception_on_the_way_back():
    main = getcurrent()

    def tracer(event, args):
        if args[1] is main:
            raise RuntimeError("back")

    g = greenlet(lambda: "value")
    settrace(tracer)
    with pytest.raises(RuntimeError, match="back"):
        g.switch()
    assert gettrace() is None
    assert g.dead


def test_not_callable():
    settrace(5)
    assert gettrace() == 5
    with pytest.raises(TypeError, match="not callable"):
        greenlet(lambda: 1).switch()
    assert gettrace() is None


def test_handled_exception_of_the_target_survives_the_tracer():
    def tracer(event, args):
        try:
            raise LookupError
        except LookupError:
            pass

    settrace(tracer)
    try:
        raise ValueError("outer")
    except ValueError as e:
        greenlet(lambda: None).switch()
        assert sys.exc_info()[1] is e
    settrace(None)


def test_is_per_thread():
    seen = []
    settrace(lambda *a: None)
    thread = threading.Thread(target=lambda: seen.append(gettrace()))
    thread.start()
    thread.join(30)
    settrace(None)
    assert seen == [None]


def test_tracer_may_read_the_greenlets():
    shown = []
    settrace(lambda event, args: shown.append([repr(g) for g in args]))
    greenlet(lambda: None).switch()
    settrace(None)
    assert len(shown) == 2


def test_tracer_is_held_and_released():
    class Tracer:
        def __call__(self, *args):
            pass

    tracer = Tracer()
    base = sys.getrefcount(tracer)
    settrace(tracer)
    greenlet(lambda: None).switch()
    assert sys.getrefcount(tracer) == base + 1
    settrace(None)
    assert sys.getrefcount(tracer) == base


class Lines:
    """A sys.settrace function that notes the names of the frames it is called for."""

    def __init__(self):
        self.calls = []

    def __call__(self, frame, event, arg):
        if event == "call":
            self.calls.append(frame.f_code.co_name)
        return self


@pytest.fixture(params=["settrace", "setprofile"])
def interpreter_hook(request):
    install = getattr(sys, request.param)
    previous = getattr(sys, request.param.replace("set", "get"))()
    yield install
    install(previous)


def test_interpreter_hooks_see_into_greenlets(interpreter_hook):
    lines = Lines()

    def inner():
        pass

    def body():
        inner()
        getcurrent().parent.switch()
        inner()

    g = greenlet(body)
    interpreter_hook(lines)
    g.switch()
    g.switch()
    interpreter_hook(None)
    assert lines.calls == ["body", "inner", "inner"]


def test_interpreter_hook_set_inside_stays(interpreter_hook):
    lines = Lines()

    def outer():
        pass

    def body():
        interpreter_hook(lines)
        getcurrent().parent.switch()
        interpreter_hook(None)

    g = greenlet(body)
    g.switch()
    outer()
    g.switch()
    outer()
    assert lines.calls == ["outer"]


def test_interpreter_hooks_are_off_inside_the_tracer(interpreter_hook):
    lines = Lines()

    def tracer(event, args):
        def within():
            pass

        within()

    settrace(tracer)
    interpreter_hook(lines)
    greenlet(lambda: None).switch()
    interpreter_hook(None)
    settrace(None)
    assert "tracer" not in lines.calls
    assert "within" not in lines.calls


def test_events_of_a_kill(traced):
    main = getcurrent()
    g = greenlet(lambda: main.switch())
    g.switch()
    del traced[:]
    killed = id(g)
    g = None
    settrace(None)
    assert [(event, [id(a) for a in args]) for event, args in traced] == [
        ("throw", [id(main), killed]),
        ("switch", [killed, id(main)]),
    ]
    del traced[:]


def test_names():
    assert package.settrace is settrace
