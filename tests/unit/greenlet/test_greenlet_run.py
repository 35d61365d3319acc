"""The run attribute."""

import sys

import pytest
from greenlet import getcurrent, greenlet


def parked():
    g = greenlet(lambda: getcurrent().parent.switch())
    g.switch()
    return g


def dead():
    g = greenlet(lambda: None)
    g.switch()
    return g


def test_set_and_delete_before_start():
    g = greenlet()
    with pytest.raises(AttributeError, match="^run$"):
        g.run  # noqa: B018
    del g.run  # unset: nothing happens
    g.run = len
    assert g.run is len
    del g.run
    with pytest.raises(AttributeError, match="^run$"):
        g.switch()
    g.run = lambda: 1
    assert g.switch() == 1


@pytest.mark.parametrize("make", [parked, dead])
def test_after_the_start(make):
    g = make()
    with pytest.raises(AttributeError, match="^run$"):
        g.run  # noqa: B018
    assert not hasattr(g, "run")
    with pytest.raises(AttributeError, match="run cannot be set after the start of the greenlet"):
        g.run = len
    with pytest.raises(AttributeError, match="run cannot be set after the start of the greenlet"):
        del g.run


def test_while_running():
    def body():
        return hasattr(getcurrent(), "run")

    assert greenlet(body).switch() is False


def test_main():
    main = getcurrent()
    text = "Main greenlets do not have a run attribute."
    with pytest.raises(AttributeError, match=text):
        main.run  # noqa: B018
    with pytest.raises(AttributeError, match=text):
        main.run = len
    with pytest.raises(AttributeError, match=text):
        del main.run
    with pytest.raises(AttributeError, match=text):
        main.__init__(len)


def test_is_released_at_the_start():
    class Body:
        def __call__(self):
            getcurrent().parent.switch("parked")

    body = Body()
    base = sys.getrefcount(body)
    g = greenlet(body)
    assert sys.getrefcount(body) == base + 1
    g.switch()
    g.switch()
    assert g.dead
    assert sys.getrefcount(body) == base


def test_is_looked_up_on_the_instance():
    """A subclass may compute `run`; it is asked once, at the start."""

    class Asked(greenlet):
        count = 0

        def __getattribute__(self, name):
            if name == "run":
                Asked.count += 1
                return lambda *a: ("asked", a)
            return super().__getattribute__(name)

    assert Asked().switch(1) == ("asked", (1,))
    assert Asked.count == 1


def test_builtin_and_class_as_run():
    assert greenlet(int).switch("12") == 12
    assert greenlet(dict).switch(a=1) == {"a": 1}


def test_wrong_arguments_for_run():
    g = greenlet(lambda a: a)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        g.switch()
    assert g.dead
