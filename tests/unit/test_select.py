"""Green select, poll and selectors."""

import os
import select as std
import time

import eventlet
import pytest
from eventlet import hubs
from eventlet.green import select, selectors, socket

ours = pytest.mark.skipif(
    not hasattr(eventlet, "__implementation__"), reason="differs from upstream on purpose"
)


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    with a, b:
        yield a, b


def test_ready_at_once(pair):
    a, b = pair
    assert select.select([], [a], [], 0) == ([], [a], [])
    assert select.select([a], [], [], 0) == ([], [], [])
    b.send(b"x")
    assert select.select([a], [], [], 5) == ([a], [], [])


@ours
def test_everything_that_is_ready_is_reported(pair):
    a, b = pair
    a.send(b"x")
    b.send(b"x")
    assert select.select([a, b], [a, b], [a]) == ([a, b], [a, b], [])


def test_select_lets_others_run(pair):
    a, b = pair
    g = eventlet.spawn(select.select, [a], [], [])
    eventlet.sleep(0)
    b.send(b"x")
    assert g.wait() == ([a], [], [])


def test_timeout(pair):
    start = time.monotonic()
    assert select.select([pair[0]], [], [], 0.05) == ([], [], [])
    assert time.monotonic() - start >= 0.05


def test_zero_timeout_lets_others_run():
    ran = []
    eventlet.spawn(ran.append, 1)
    for _ in range(5):
        select.select([], [], [], 0)
    assert ran


def test_numbers_and_objects(pair):
    a, b = pair
    b.send(b"x")
    assert select.select([a.fileno()], [], []) == ([a.fileno()], [], [])


@pytest.mark.parametrize("bad", ["x", None, 1.5])
def test_wrong_descriptors(bad):
    with pytest.raises(TypeError):
        select.select([bad], [], [], 0)


def test_wrong_timeout(pair):
    with pytest.raises(TypeError):
        select.select([pair[0]], [], [], "soon")


@ours
def test_closed_descriptor():
    r, w = os.pipe()
    os.close(r)
    os.close(w)
    with pytest.raises(OSError):
        select.select([r], [], [], 0.1)


def test_reopened_descriptor_raises(pair):
    a, _ = pair
    g = eventlet.spawn(select.select, [a], [a.fileno()] * 0, [])
    eventlet.sleep(0)
    with pytest.raises(hubs.IOClosed):
        hubs.get_hub().mark_as_reopened(a.fileno())
        with eventlet.Timeout(5):
            g.wait()


@ours
def test_close_ends_a_select():
    a, b = socket.socketpair()
    with b:
        g = eventlet.spawn(select.select, [a], [], [])
        eventlet.sleep(0)
        a.close()
        with eventlet.Timeout(5), pytest.raises(OSError):
            g.wait()


@ours
def test_select_beside_a_reader(pair):
    a, b = pair
    reader = eventlet.spawn(a.recv, 1)
    waiter = eventlet.spawn(select.select, [a], [], [])
    eventlet.sleep(0)
    b.send(b"xy")
    assert reader.wait() == b"x"
    assert waiter.wait() == ([a], [], [])


@ours
def test_killed_select_leaves_nothing(pair):
    a, b = pair
    g = eventlet.spawn(select.select, [a, b], [], [])
    eventlet.sleep(0)
    g.kill()
    b.send(b"x")
    assert a.recv(1) == b"x"


@ours
def test_poll(pair):
    a, b = pair
    poll = select.poll()
    poll.register(a, std.POLLIN)
    assert poll.poll(0) == []
    g = eventlet.spawn(poll.poll)
    eventlet.sleep(0)
    b.send(b"x")
    assert g.wait() == [(a.fileno(), std.POLLIN)]
    poll.modify(a, std.POLLOUT)
    assert poll.poll(1000) == [(a.fileno(), std.POLLOUT)]
    poll.unregister(a)
    with pytest.raises(KeyError):
        poll.unregister(a)
    with pytest.raises(FileNotFoundError):
        poll.modify(a, std.POLLIN)
    assert poll.poll(1) == []


def test_selectors(pair):
    a, b = pair
    assert selectors.DefaultSelector is selectors.SelectSelector
    with selectors.DefaultSelector() as selector:
        key = selector.register(a, selectors.EVENT_READ, data="d")
        g = eventlet.spawn(selector.select)
        eventlet.sleep(0)
        b.send(b"x")
        assert g.wait() == [(key, selectors.EVENT_READ)]
        assert selector.select(0) == [(key, selectors.EVENT_READ)]


def test_selectors_timeout(pair):
    with selectors.DefaultSelector() as selector:
        selector.register(pair[0], selectors.EVENT_READ)
        assert selector.select(0.01) == []
