"""Exception state: what is being handled belongs to a greenlet, not to the thread."""

import sys

import pytest
from greenlet import GreenletExit, getcurrent, greenlet


def test_new_greenlet_handles_nothing():
    try:
        raise ValueError
    except ValueError:
        assert greenlet(sys.exc_info).switch() == (None, None, None)


def test_handled_exceptions_stay_apart():
    def body(n):
        try:
            raise ValueError(n)
        except ValueError as e:
            getcurrent().parent.switch()
            assert sys.exc_info()[1] is e
            try:
                raise KeyError(n)
            except KeyError as inner:
                assert inner.__context__ is e
                getcurrent().parent.switch()
                assert sys.exc_info()[1] is inner
            assert sys.exc_info()[1] is e
        return sys.exc_info()

    greenlets = [greenlet(body) for _ in range(5)]
    try:
        raise LookupError("mine")
    except LookupError as mine:
        for n, g in enumerate(greenlets):
            g.switch(n)
            assert sys.exc_info()[1] is mine
        for g in greenlets:
            g.switch()
            assert sys.exc_info()[1] is mine
    assert sys.exc_info() == (None, None, None)
    for g in greenlets:
        assert g.switch() == (None, None, None)


def test_bare_raise_after_a_switch():
    def other():
        try:
            raise KeyError("other")
        except KeyError:
            getcurrent().parent.switch()

    g = greenlet(other)
    with pytest.raises(ValueError, match="mine"):
        try:
            raise ValueError("mine")
        except ValueError:
            g.switch()
            raise
    g.switch()


def test_switch_inside_finally():
    log = []

    def body():
        try:
            raise ValueError("kept")
        finally:
            log.append(getcurrent().parent.switch("in finally"))

    g = greenlet(body)
    assert g.switch() == "in finally"
    with pytest.raises(ValueError, match="kept"):
        g.switch("back")
    assert log == ["back"]


def test_switch_in_a_generator_that_handles_an_exception():
    def numbers():
        try:
            raise ValueError("in generator")
        except ValueError:
            yield sys.exc_info()[1]
            getcurrent().parent.switch("from generator")
            yield sys.exc_info()[1]

    def body():
        return [str(e) for e in numbers()]

    g = greenlet(body)
    assert g.switch() == "from generator"
    assert sys.exc_info() == (None, None, None)
    assert g.switch() == ["in generator"] * 2


def test_exception_thrown_in_gets_no_context():
    def body():
        try:
            raise KeyError("first")
        except KeyError:
            getcurrent().parent.switch()

    g = greenlet(body)
    g.switch()
    with pytest.raises(ValueError) as info:
        g.throw(ValueError("second"))
    assert info.value.__context__ is None


def test_exception_from_a_child_gets_no_foreign_context():
    def fail():
        raise ValueError("child")

    try:
        raise KeyError("parent's")
    except KeyError as parents:
        with pytest.raises(ValueError) as info:
            greenlet(fail).switch()
        assert info.value.__context__ in (None, parents)


def test_exceptions_raised_by_del_of_locals():
    """Finishing runs destructors in the greenlet; they may switch and raise."""
    main = getcurrent()
    log = []

    class Noisy:
        def __del__(self):
            log.append(main.switch("in __del__"))

    def body():
        noisy = Noisy()  # noqa: F841
        return "value"

    g = greenlet(body)
    assert g.switch() == "in __del__"
    assert g.switch("back") == "value"
    assert log == ["back"]


def test_kill_runs_finally_and_except_blocks():
    log = []

    def body():
        try:
            try:
                getcurrent().parent.switch()
            except GreenletExit as e:
                log.append(str(e))
                raise
        finally:
            log.append("finally")

    g = greenlet(body)
    g.switch()
    del g
    assert log == ["Killing the greenlet because all references have vanished.", "finally"]


def test_exception_raised_while_being_killed_is_reported(capsys):
    def body():
        try:
            getcurrent().parent.switch()
        finally:
            raise ValueError("while dying")

    g = greenlet(body)
    g.switch()
    hook, seen = sys.unraisablehook, []
    sys.unraisablehook = lambda u: seen.append(u.exc_value)
    try:
        del g
    finally:
        sys.unraisablehook = hook
    assert [str(e) for e in seen] == ["while dying"]
    assert sys.exc_info() == (None, None, None)


def test_many_greenlets_unwound_by_one_exception():
    def body(n):
        try:
            getcurrent().parent.switch()
        except BaseException as e:
            return n, type(e)

    greenlets = [greenlet(body) for _ in range(100)]
    for n, g in enumerate(greenlets):
        g.switch(n)
    assert [g.throw(ValueError) for g in greenlets] == [(n, ValueError) for n in range(100)]
