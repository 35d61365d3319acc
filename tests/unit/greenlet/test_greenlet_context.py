"""contextvars: each greenlet has a context of its own, and gr_context."""

import contextvars
import gc
import sys
import threading

import pytest
from greenlet import getcurrent, greenlet

var = contextvars.ContextVar("var", default="unset")


@pytest.fixture(autouse=True)
def own_context():
    """The main greenlet's context, as it was before the test."""
    before = getcurrent().gr_context
    getcurrent().gr_context = contextvars.Context()
    yield
    getcurrent().gr_context = before


def parked():
    g = greenlet(lambda: getcurrent().parent.switch())
    g.switch()
    return g


def test_new_greenlets_start_empty():
    var.set("main")
    assert greenlet(var.get).switch() == "unset"
    assert greenlet(len).gr_context is None


def test_values_stay_apart():
    def body(name):
        var.set(name)
        getcurrent().parent.switch()
        return var.get()

    var.set("main")
    greenlets = {name: greenlet(body) for name in "abc"}
    for name, g in greenlets.items():
        g.switch(name)
        assert var.get() == "main"
    for name, g in greenlets.items():
        assert g.switch() == name
    assert var.get() == "main"


def test_set_before_the_start():
    context = contextvars.Context()
    context.run(var.set, "given")
    g = greenlet(lambda: (var.get(), var.set("changed"))[0])
    g.gr_context = context
    assert g.gr_context is context
    assert g.switch() == "given"
    assert context[var] == "changed"


def test_inherit_by_copy():
    var.set("main")
    g = greenlet(var.get)
    g.gr_context = contextvars.copy_context()
    assert g.switch() == "main"


def test_run_in_a_context():
    context = contextvars.Context()
    var.set("main")

    def body():
        var.set("in body")
        getcurrent().parent.switch()
        return var.get()

    g = greenlet(context.run)
    g.switch(body)
    assert var.get() == "main"
    assert g.gr_context is context
    assert g.switch() == "in body"


def test_context_that_is_entered_elsewhere():
    """A context entered by a suspended greenlet cannot be entered again."""
    context = contextvars.Context()
    g = greenlet(context.run)
    g.switch(lambda: getcurrent().parent.switch())
    with pytest.raises(RuntimeError, match="already entered"):
        context.run(lambda: None)
    g.switch()
    context.run(lambda: None)


def test_while_suspended():
    def body():
        var.set("old")
        getcurrent().parent.switch()
        return var.get()

    g = greenlet(body)
    g.switch()
    assert g.gr_context[var] == "old"
    new = contextvars.Context()
    new.run(var.set, "new")
    g.gr_context = new
    assert g.switch() == "new"


def test_of_the_running_greenlet():
    def body():
        g = getcurrent()
        before = g.gr_context
        var.set("x")
        middle = g.gr_context
        g.gr_context = None
        return before, middle[var], g.gr_context, var.get()

    assert greenlet(body).switch() == (None, "x", None, "unset")


def test_from_a_child():
    """The context of a suspended parent, read and replaced by the child."""
    main = getcurrent()
    var.set("main")
    new = contextvars.Context()
    new.run(var.set, "from the child")

    def body():
        value = main.gr_context[var]
        main.gr_context = new
        return value

    assert greenlet(body).switch() == "main"
    assert var.get() == "from the child"


@pytest.mark.parametrize("make", [greenlet, parked, getcurrent])
def test_bad_values(make):
    g = make()
    before = g.gr_context
    for value in (3, {}, "ctx"):
        with pytest.raises(
            TypeError, match="greenlet context must be a contextvars.Context or None"
        ):
            g.gr_context = value
    with pytest.raises(AttributeError, match="can't delete context attribute"):
        del g.gr_context
    assert g.gr_context is before


def test_dead_greenlet():
    g = greenlet(lambda: var.set("x"))
    g.switch()
    assert isinstance(g.gr_context, contextvars.Context | None)
    context = contextvars.Context()
    g.gr_context = context
    assert g.gr_context is context


def test_other_thread():
    ready, done = threading.Event(), threading.Event()
    theirs = []

    def work():
        suspended = parked()
        suspended.gr_context = contextvars.Context()
        theirs.extend((getcurrent(), suspended))
        ready.set()
        done.wait(30)
        suspended.switch()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(30)
    running, suspended = theirs
    try:
        with pytest.raises(
            ValueError, match="cannot get context of a greenlet that is running in a diff"
        ):
            running.gr_context  # noqa: B018
        with pytest.raises(
            ValueError, match="cannot set context of a greenlet that is running in a diff"
        ):
            running.gr_context = None
        assert isinstance(suspended.gr_context, contextvars.Context)
    finally:
        done.set()
        thread.join(30)


def test_reference_counts():
    context = contextvars.Context()
    base = sys.getrefcount(context)
    for finish in (True, False):
        g = greenlet(lambda: getcurrent().parent.switch())
        g.gr_context = context
        g.switch()
        assert g.gr_context is context
        if finish:
            g.switch()
        del g
        gc.collect()
        assert sys.getrefcount(context) == base


def test_reset_across_greenlets():
    token = var.set("a")

    def body():
        with pytest.raises(ValueError, match="created in a different Context"):
            var.reset(token)

    greenlet(body).switch()
    var.reset(token)
    assert var.get() == "unset"


def test_cached_lookups_are_dropped_by_a_switch():
    """ContextVar.get() caches by context version; a switch must not leave a stale value."""
    other = contextvars.ContextVar("other", default=None)

    def body():
        other.set("child")
        while True:
            assert other.get() == "child"
            if getcurrent().parent.switch() == "stop":
                return

    other.set("main")
    g = greenlet(body)
    for _ in range(50):
        g.switch()
        assert other.get() == "main"
    g.switch("stop")
