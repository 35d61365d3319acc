"""gr_frame: the Python frames of a suspended greenlet."""

import sys
import threading
import traceback

from greenlet import getcurrent, greenlet


def leaf():
    return getcurrent().parent.switch(sys._getframe())


def middle():
    return leaf()


def names(frame):
    found = []
    while frame is not None:
        found.append(frame.f_code.co_name)
        frame = frame.f_back
    return found


def test_new_running_dead():
    g = greenlet(lambda: getcurrent().gr_frame)
    assert g.gr_frame is None
    assert g.switch() is None
    assert g.gr_frame is None
    assert getcurrent().gr_frame is None


def test_suspended():
    g = greenlet(middle)
    frame = g.switch()
    assert g.gr_frame is frame
    assert g.gr_frame is g.gr_frame
    assert names(g.gr_frame) == ["leaf", "middle"]
    g.switch()
    assert g.gr_frame is None


def test_chain_ends_at_the_greenlet():
    """The frames of the greenlet that started it are not part of its chain."""

    def run():
        return names(sys._getframe())

    assert greenlet(run).switch() == ["run"]


def test_line_numbers_and_locals():
    def body():
        local = "first"
        getcurrent().parent.switch()
        local = "second"
        getcurrent().parent.switch()
        return local

    g = greenlet(body)
    first = body.__code__.co_firstlineno
    g.switch()
    assert g.gr_frame.f_lineno == first + 2
    assert g.gr_frame.f_locals["local"] == "first"
    g.switch()
    assert g.gr_frame.f_lineno == first + 4
    assert g.gr_frame.f_locals["local"] == "second"
    g.switch()


def test_frame_outlives_the_greenlet():
    g = greenlet(middle)
    g.switch()
    frame = g.gr_frame
    g.switch()
    del g
    assert frame.f_code.co_name == "leaf"
    assert frame.f_locals == {}


def test_frame_outlives_a_killed_greenlet():
    g = greenlet(middle)
    g.switch()
    frame = g.gr_frame
    del g
    assert frame.f_code is leaf.__code__
    # its callers have ended too: nothing dangles
    names(frame)


def test_traceback_module_can_print_it():
    g = greenlet(middle)
    g.switch()
    stack = traceback.extract_stack(g.gr_frame)
    assert [entry.name for entry in stack] == ["middle", "leaf"]
    assert stack[-1].line == "return getcurrent().parent.switch(sys._getframe())"
    g.switch()


def test_frame_of_the_suspended_main():
    main = getcurrent()

    def look():
        return names(main.gr_frame)

    found = greenlet(look).switch()
    assert found[0] == "test_frame_of_the_suspended_main"
    assert len(found) > 1


def test_frames_below_c_calls():
    def key(value):
        getcurrent().parent.switch()
        return value

    def body():
        return sorted([2, 1], key=key)

    g = greenlet(body)
    g.switch()
    assert names(g.gr_frame) == ["key", "body"]
    g.switch()
    assert g.switch() == [1, 2]


def test_many_reads_and_switches():
    def body():
        while getcurrent().parent.switch() == ():
            pass

    g = greenlet(body)
    g.switch()
    frame = g.gr_frame
    for _ in range(200):
        g.switch()
        assert g.gr_frame is frame
        assert names(g.gr_frame) == ["body"]
    g.switch("stop")


def test_frames_of_generators():
    def numbers():
        yield 1
        getcurrent().parent.switch()
        yield 2

    def body():
        return list(numbers())

    g = greenlet(body)
    g.switch()
    assert names(g.gr_frame) == ["numbers", "body"]
    assert g.switch() == [1, 2]


def test_current_frames_reports_the_running_greenlet():
    def body():
        return names(sys._current_frames()[threading.get_ident()])[0]

    assert greenlet(body).switch() == "body"


def test_walking_deep_chains():
    def down(n):
        return down(n - 1) if n else getcurrent().parent.switch()

    g = greenlet(down)
    g.switch(200)
    assert names(g.gr_frame) == ["down"] * 201
    g.switch()
