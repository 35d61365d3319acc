"""Green select, poll and selectors."""

import os
import resource
import select as std
import selectors as std_selectors
import threading
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


@ours
def test_poll_watches_everything_unless_told(pair):
    a, _ = pair
    poll = select.poll()
    poll.register(a)
    poll.register(a)
    assert poll.poll() == [(a.fileno(), std.POLLOUT)]


@ours
def test_poll_reports_a_closed_descriptor():
    r, w = os.pipe()
    poll = select.poll()
    poll.register(r, std.POLLIN)
    g = eventlet.spawn(poll.poll)
    eventlet.sleep(0)
    os.close(r)
    os.close(w)
    hubs.notify_close(r)
    with eventlet.Timeout(5):
        assert g.wait() == [(r, std.POLLNVAL)]


@ours
def test_one_poll_at_a_time(pair):
    poll = select.poll()
    poll.register(pair[0], std.POLLIN)
    g = eventlet.spawn(poll.poll)
    eventlet.sleep(0)
    with pytest.raises(RuntimeError, match="concurrent"):
        poll.poll()
    g.kill()
    assert poll.poll(0) == []


@ours
def test_select_reads_a_list_that_changes(pair):
    class Shrinking:
        def fileno(self):
            objects.pop()
            return pair[0].fileno()

    objects = [Shrinking() for _ in range(10)]
    first = objects[:5]
    assert select.select([], objects, []) == ([], first, [])


@ours
def test_poll_for_a_hang_up_only(pair):
    a, b = pair
    poll = select.poll()
    poll.register(a, 0)
    g = eventlet.spawn(poll.poll)
    b.send(b"not what is waited for")
    eventlet.sleep(0.005)
    assert not g.dead
    b.shutdown(socket.SHUT_RDWR)
    b.close()
    with eventlet.Timeout(5):
        assert g.wait() == [(a.fileno(), std.POLLHUP)]


@ours
def test_select_for_urgent_data():
    with eventlet.listen(("127.0.0.1", 0)) as listener:
        client = eventlet.connect(listener.getsockname())
        conn, _ = listener.accept()
        with client, conn:
            client.send(b"ordinary")
            g = eventlet.spawn(select.select, [], [], [conn])
            eventlet.sleep(0.005)
            assert not g.dead
            client.send(b"!", socket.MSG_OOB)
            with eventlet.Timeout(5):
                assert g.wait() == ([], [], [conn])


@ours
def test_select_beyond_fd_setsize(pair):
    resource = pytest.importorskip("resource")
    number = 1500
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= number:
        pytest.skip("the system allows no such descriptor")
    a, b = pair
    os.dup2(a.fileno(), number)
    try:
        b.send(b"x")
        assert select.select([number], [], []) == ([number], [], [])
    finally:
        os.close(number)


ERRORS = [
    lambda s: s.select(1, 2, 3),
    lambda s: s.select([-1], [], []),
    lambda s: s.select(["x"], [], []),
    lambda s: s.select([], [], [], "soon"),
    lambda s: s.select([], [], [], float("nan")),
    lambda s: s.select([], [], [], -1),
    lambda s: s.poll().poll(1 << 31),
    lambda s: type(s.poll())(),
    lambda s: s.poll().poll("soon"),
    lambda s: s.poll().poll(1e30),
    lambda s: s.poll().register(-1),
    lambda s: s.poll().register(0, -1),
    lambda s: s.poll().register(0, 1 << 16),
    lambda s: s.poll().register(0, "x"),
    lambda s: s.poll().modify(0, 1),
    lambda s: s.poll().unregister(0),
    lambda s: s.epoll(0),
    lambda s: s.epoll(flags=12),
    lambda s: s.epoll().poll("soon"),
    lambda s: s.epoll().poll(maxevents=0),
    lambda s: s.epoll().register("x"),
    lambda s: s.epoll().register(1 << 20),
    lambda s: s.epoll().register(0, "x"),
    lambda s: s.epoll().unregister(0),
]


@ours
@pytest.mark.parametrize("call", ERRORS)
def test_errors_are_those_of_the_standard_module(call):
    with pytest.raises(Exception) as expected:
        call(std)
    with pytest.raises(type(expected.value)) as found:
        call(select)
    assert getattr(found.value, "errno", None) == getattr(expected.value, "errno", None)


@ours
def test_epoll(pair):
    a, b = pair
    with select.epoll() as epoll:
        assert not epoll.closed
        epoll.register(a, std.EPOLLIN)
        with pytest.raises(FileExistsError):
            epoll.register(a)
        assert epoll.poll(0) == []
        assert epoll.poll(0.001) == []
        g = eventlet.spawn(epoll.poll)
        eventlet.sleep(0)
        b.send(b"x")
        assert g.wait() == [(a.fileno(), std.EPOLLIN)]
        epoll.modify(a, std.EPOLLOUT | std.EPOLLIN)
        epoll.register(b, std.EPOLLOUT)
        assert len(epoll.poll()) == 2
        assert len(epoll.poll(maxevents=1)) == 1
        epoll.unregister(b)
        assert epoll.poll(-1) == [(a.fileno(), std.EPOLLIN | std.EPOLLOUT)]
    assert epoll.closed
    epoll.close()
    for call in epoll.fileno, epoll.poll, epoll.__enter__:
        with pytest.raises(ValueError, match="closed epoll"):
            call()


@ours
def test_epoll_reports_as_many_as_are_asked_for():
    count = 1500
    here, there = os.pipe()
    own = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 100:
        pytest.skip("too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 100), hard))
    try:
        with select.epoll() as epoll:
            for _ in range(count):
                own.append(os.dup(there))
                epoll.register(own[-1], std.EPOLLOUT)
            assert len(epoll.poll(0, count)) == count
            assert len(epoll.poll(0, count + 1)) == count
            assert len(epoll.poll(0)) == 1023
    finally:
        for fd in (here, there, *own):
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@ours
def test_epoll_edges_are_not_lost(pair):
    a, b = pair
    with select.epoll() as epoll:
        epoll.register(a, std.EPOLLIN | std.EPOLLET)
        for _ in range(3):
            b.send(b"x")
            assert epoll.poll(5) == [(a.fileno(), std.EPOLLIN)]
            assert epoll.poll(0) == []


@ours
def test_epoll_fromfd(pair):
    with std.epoll() as other:
        epoll = select.epoll.fromfd(os.dup(other.fileno()))
        other.register(pair[0], std.EPOLLOUT)
        assert epoll.poll() == [(pair[0].fileno(), std.EPOLLOUT)]
        epoll.close()


@ours
def test_closing_an_epoll_wakes_who_waits(pair):
    epoll = select.epoll()
    g = eventlet.spawn(epoll.poll)
    eventlet.sleep(0)
    epoll.close()
    with eventlet.Timeout(5), pytest.raises(OSError):
        g.wait()


@ours
@pytest.mark.parametrize("make", [lambda fd: [fd], lambda fd: select.poll, lambda fd: select.epoll])
def test_a_loop_over_what_is_ready_stops_nobody(pair, make):
    a, _ = pair
    kind = make(a)
    if isinstance(kind, list):

        def look():
            return select.select([], kind, [])

    else:
        poller = kind()
        poller.register(a, 4)
        look = poller.poll
    ran = []
    eventlet.spawn(ran.append, 1)
    for _ in range(3):
        assert look()
    assert ran


@ours
def test_threads_without_a_hub_wait_natively(pair):
    a, b = pair
    seen = []

    def work():
        seen.append(select.select([a], [], [], 0.001))
        poll = select.poll()
        poll.register(a, std.POLLIN)
        seen.append(poll.poll())
        with select.epoll() as epoll:
            epoll.register(a, std.EPOLLIN)
            seen.append(epoll.poll(1))
        seen.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    b.send(b"x")
    thread.join()
    assert seen[1:] == [[(a.fileno(), 1)], [(a.fileno(), 1)], "done"]


@pytest.mark.parametrize("name", ["Default", "Select", "Poll", "Epoll"])
def test_selectors(pair, name):
    a, b = pair
    with getattr(selectors, name + "Selector")() as selector:
        key = selector.register(a, selectors.EVENT_READ, data="d")
        g = eventlet.spawn(selector.select)
        eventlet.sleep(0)
        b.send(b"x")
        assert g.wait() == [(key, selectors.EVENT_READ)]
        assert selector.select(0) == [(key, selectors.EVENT_READ)]


@ours
def test_selectors_extend_the_standard_ones():
    assert selectors.SelectorKey is std_selectors.SelectorKey
    for name in "Default", "Select", "Poll", "Epoll":
        green, standard = (getattr(m, name + "Selector") for m in (selectors, std_selectors))
        assert issubclass(green, standard)


def test_selectors_timeout(pair):
    with selectors.DefaultSelector() as selector:
        selector.register(pair[0], selectors.EVENT_READ)
        assert selector.select(0.01) == []


@ours
def test_a_lone_yield_sees_what_is_ready(pair):
    a, b = pair
    got = []
    g = eventlet.spawn(lambda: got.append(a.recv(1)))
    eventlet.sleep(0)
    b.send(b"x")
    eventlet.sleep(0)
    assert got == [b"x"]
    g.wait()
