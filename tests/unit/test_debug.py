"""The switches and dumps of eventlet.debug that upstream has."""

import io
import os
import re
import signal
import sys
import time

import eventlet
import pytest
from eventlet import debug, greenpool, hubs
from eventlet.green import socket
from eventlet.hubs import timer


@pytest.fixture
def traced(monkeypatch):
    """What `spew` would set as trace function, without tracing the test."""
    seen = []
    monkeypatch.setattr(sys, "settrace", seen.append)
    return seen


def test_spew_sets_and_unspew_ends_a_trace(traced):
    debug.spew(["eventlet"], show_values=True)
    debug.unspew()
    spew, nothing = traced
    assert isinstance(spew, debug.Spew) and nothing is None
    assert (spew.trace_names, spew.show_values) == (["eventlet"], True)


def test_spew_prints_lines_and_values(capsys):
    cup = "tea"
    spew = debug.Spew()
    assert spew(sys._getframe(), "line", None) is spew
    out = capsys.readouterr().out
    assert re.match(rf"{re.escape(__name__)}:\d+:     assert spew\(", out) and "\tspew=<" in out
    debug.Spew(show_values=False)(sys._getframe(), "line", cup)
    assert "\t" not in capsys.readouterr().out
    debug.Spew(trace_names=["other"])(sys._getframe(), "line", None)
    spew(sys._getframe(), "call", None)
    assert capsys.readouterr().out == ""


def test_spew_of_code_without_a_file(capsys):
    names = {"sys": sys}
    frame = eval("sys._getframe()", names)
    debug.Spew()(frame, "line", None)
    assert re.match(r"\[unknown\]:\d+: Unknown code named \[<module>\]", capsys.readouterr().out)


def test_listeners_and_timers_in_words():
    here, there = socket.socketpair()
    g = eventlet.spawn(here.recv, 1)
    eventlet.sleep(0)
    text = debug.format_hub_listeners()
    readers, writers = text.split(os.linesep + "WRITERS:")
    assert readers.startswith("READERS:") and str(here.fileno()) in readers and writers == ""
    g.kill()
    assert str(here.fileno()) not in debug.format_hub_listeners()
    pending = hubs.get_hub().schedule_call_global(60, print, "tea")
    assert "print" in debug.format_hub_timers() and "60" in debug.format_hub_timers()
    pending.cancel()
    here.close()
    there.close()


def test_threads_info_names_threads():
    assert "MainThread" in debug.format_threads_info()


def test_asyncio_info_of_a_running_loop():
    import asyncio

    async def show():
        return debug.format_asyncio_info()

    text = asyncio.run(show())
    assert text.startswith("TASKS:") and "show" in text and "EVENTLOOP: " in text


def test_hub_exceptions_are_printed_or_not(capsys):
    try:
        for state in (True, False):
            debug.hub_exceptions(state)
            assert greenpool.DEBUG is state and hubs.get_hub().debug_exceptions is state
            eventlet.spawn_n(lambda: 1 // 0)
            eventlet.sleep(0)
            assert ("ZeroDivisionError" in capsys.readouterr().err) is state
    finally:
        debug.hub_exceptions(True)


def test_tpool_exceptions():
    from eventlet import tpool

    debug.tpool_exceptions(True)
    assert tpool.QUIET is False
    debug.tpool_exceptions(False)
    assert tpool.QUIET is True


def test_timer_stacks_show_where_a_timer_was_made():
    debug.hub_timer_stacks(True)
    try:
        made = hubs.get_hub().schedule_call_global(60, print)
        assert timer._g_debug is True
        assert "test_timer_stacks_show" in debug.format_hub_timers()
        made.cancel()
    finally:
        debug.hub_timer_stacks(False)
    assert timer._g_debug is False


def test_listener_stacks_can_be_switched():
    debug.hub_listener_stacks(True)
    debug.hub_listener_stacks(False)


def test_multiple_readers_can_be_allowed():
    here, there = socket.socketpair()
    first = eventlet.spawn(here.recv, 1)
    eventlet.sleep(0)
    with pytest.raises(RuntimeError, match="Second simultaneous read"):
        here.recv(1)
    debug.hub_prevent_multiple_readers(False)
    try:
        second = eventlet.spawn(here.recv, 1)
        eventlet.sleep(0)
        there.send(b"xy")
        assert {first.wait(), second.wait()} == {b"x", b"y"}
    finally:
        debug.hub_prevent_multiple_readers(True)
    here.close()
    there.close()


def test_blocking_detection_raises_in_who_does_not_yield():
    with pytest.raises(AssertionError):
        debug.hub_blocking_detection(True, resolution=0)
    before = signal.getsignal(signal.SIGALRM)
    debug.hub_blocking_detection(True, resolution=0.05)
    hub = hubs.get_hub()
    hub.set_timer_exceptions(False)
    try:
        with pytest.raises(RuntimeError, match="[Bb]lock"):
            eventlet.spawn(time.sleep, 5).wait()
    finally:
        debug.hub_blocking_detection(False)
        hub.set_timer_exceptions(True)
        signal.signal(signal.SIGALRM, before)


def test_everything_public_has_a_name_in_all():
    for name in debug.__all__:
        assert callable(getattr(debug, name)) and getattr(debug, name).__doc__


def test_writing_to_a_text_file_that_is_no_file():
    out = io.StringIO()
    debug.print_threads(out)
    assert "main greenlet" in out.getvalue()
