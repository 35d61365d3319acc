"""Parameters have upstream's names: what may be given by name there may be given so here."""

import inspect
import os
import subprocess
import sys
from unittest import mock

import eventlet
import pytest
from eventlet import event, greenpool, greenthread, hubs, lock, queue, semaphore, timeout, tpool
from eventlet.green import select, socket, thread
from eventlet.hubs import timer


def tea(*args, **kwargs):
    return args, kwargs


def ended():
    g = eventlet.spawn(tea)
    g.wait()
    return g


def test_spawn_by_name():
    pool = greenpool.GreenPool()
    assert eventlet.spawn(func=tea).wait() == ((), {})
    assert eventlet.spawn(sugar=1, func=tea, milk=2).wait() == ((), {"sugar": 1, "milk": 2})
    assert greenthread.spawn(tea, 1, sugar=2).wait() == ((1,), {"sugar": 2})
    assert pool.spawn(sugar=1, function=tea).wait() == ((), {"sugar": 1})


def test_spawn_n_by_name():
    cups = []
    eventlet.spawn_n(func=lambda **kwargs: cups.append(kwargs), sugar=1)
    pool = greenpool.GreenPool(size=1)
    pool.spawn_n(function=lambda **kwargs: cups.append(kwargs), sugar=2)
    pool.waitall()
    assert cups == [{"sugar": 1}, {"sugar": 2}]


@pytest.mark.parametrize("spawn", [eventlet.spawn_after, greenthread.spawn_after_local])
def test_spawn_after_by_name(spawn):
    assert spawn(seconds=0, func=tea).wait() == ((), {})
    assert spawn(func=tea, sugar=1, seconds=0.001, milk=2).wait() == ((), {"sugar": 1, "milk": 2})
    assert spawn(0, func=tea, seconds=3).wait() == ((), {"seconds": 3})
    assert spawn(0, tea, func=1, seconds=2).wait() == ((), {"func": 1, "seconds": 2})


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: eventlet.spawn(), r"spawn\(\) missing 1 required positional argument: 'func'"),
        (lambda: eventlet.spawn(f=tea), r"spawn\(\) missing 1 required .*: 'func'"),
        (lambda: eventlet.spawn_n(), r"spawn_n\(\) missing 1 required positional argument: 'func'"),
        (
            lambda: eventlet.spawn_after(),
            r"spawn_after\(\) missing 2 required positional arguments: 'seconds' and 'func'",
        ),
        (lambda: eventlet.spawn_after(1), r"spawn_after\(\) missing 1 required .*: 'func'"),
        (lambda: eventlet.spawn_after(func=tea), r"spawn_after\(\) missing 1 .*: 'seconds'"),
        (
            lambda: greenthread.spawn_after_local(1, function=tea),
            r"spawn_after_local\(\) missing 1 required positional argument: 'func'",
        ),
        (lambda: greenpool.GreenPool().spawn(), r"spawn\(\) missing 1 required .*: 'function'"),
        (lambda: ended().link(), r"link\(\) missing 1 required .*: 'func'"),
        (lambda: ended().unlink(x=1), r"unlink\(\) missing 1 required .*: 'func'"),
    ],
)
def test_missing(call, text):
    with pytest.raises(TypeError, match=text):
        call()


def test_links_by_name():
    cups = []
    g = eventlet.spawn(tea)

    def fill(_, **kwargs):
        cups.append(kwargs)

    kwargs = {"func": fill, "sugar": 1}
    g.link(**kwargs)
    g.link(func=fill, sugar=2)
    assert g.unlink(func=fill, sugar=2)
    assert not g.unlink(func=fill, sugar=2)
    g.wait()
    assert cups == [{"sugar": 1}]
    assert kwargs == {"func": fill, "sugar": 1}


def test_select_by_name():
    here, there = socket.socketpair()
    there.send(b"x")
    assert select.select([here], [], [], timeout=0) == ([here], [], [])
    ready = select.select(read_list=[], write_list=[here], error_list=[], timeout=0)
    assert ready == ([], [here], [])


def test_threads_by_name():
    cups = []
    thread.start_new_thread(
        function=lambda *a, **k: cups.append((a, k)), args=(1,), kwargs={"b": 2}
    )
    thread.start_new_thread(cups.append, args=(3,))
    eventlet.sleep()
    assert cups == [((1,), {"b": 2}), 3]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (eventlet.sleep, "(seconds=0)"),
        (eventlet.spawn, "(func, *args, **kwargs)"),
        (eventlet.spawn_n, "(func, *args, **kwargs)"),
        (eventlet.spawn_after, "(seconds, func, *args, **kwargs)"),
        (greenthread.spawn_after_local, "(seconds, func, *args, **kwargs)"),
        (eventlet.kill, "(g, *throw_args)"),
        (greenthread.GreenThread, "(parent)"),
        (greenthread.GreenThread.wait, "(self, /)"),
        (greenthread.GreenThread.link, "(self, /, func, *args, **kwargs)"),
        (greenthread.GreenThread.kill, "(self, /, *throw_args)"),
        (greenpool.GreenPool, "(size=1000)"),
        (queue.LightQueue, "(maxsize=None)"),
        (queue.Queue, "(maxsize=None)"),
        (queue.PriorityQueue, "(maxsize=None)"),
        (queue.LifoQueue, "(maxsize=None)"),
        (semaphore.Semaphore, "(value=1)"),
        (semaphore.BoundedSemaphore, "(value=1)"),
        (semaphore.CappedSemaphore, "(count, limit)"),
        (lock.Lock, "(value=1)"),
        (event.Event, "()"),
        (timeout.Timeout, "(seconds=None, exception=None)"),
        (timer.Timer, "(seconds, cb, *args, **kw)"),
        (timer.LocalTimer, "(seconds, cb, *args, **kw)"),
        (tpool.execute, "(meth, *args, **kwargs)"),
        (hubs.trampoline, None),
    ],
)
def test_signatures(function, expected):
    """`help()`, `inspect.signature` and `mock` read them."""
    found = inspect.signature(function)
    if expected is None:
        wanted = ["fd", "read", "write", "timeout", "timeout_exc", "mark_as_closed"]
        assert list(found.parameters) == wanted
    else:
        assert str(found) == expected


def test_specified_mocks():
    with mock.patch("eventlet.spawn", autospec=True) as spawn:
        eventlet.spawn(tea, 1, sugar=2)
        spawn.assert_called_once_with(tea, 1, sugar=2)
    with mock.patch("eventlet.greenpool.GreenPool", autospec=True) as pool:
        greenpool.GreenPool(size=3).spawn_n(tea, 1)
        pool.return_value.spawn_n.assert_called_once_with(tea, 1)


def test_a_server_in_a_service():
    """The call that starts each WSGI server of OpenStack: everything by name."""
    program = """if True:
        import eventlet
        eventlet.monkey_patch()
        from eventlet.green import socket

        def serve(sock, site, protocol=None):
            client, _ = sock.accept()
            client.sendall(site)
            client.close()

        sock = eventlet.listen(("127.0.0.1", 0))
        server = eventlet.spawn(**{"func": serve, "sock": sock, "site": b"tea", "protocol": None})
        print(socket.create_connection(sock.getsockname()).recv(9))
        server.wait()
    """
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ,
    )
    assert done.stdout == "b'tea'\n"
