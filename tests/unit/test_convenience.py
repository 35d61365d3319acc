"""connect, listen, serve."""

import socket as std
import warnings

import eventlet
import pytest
from eventlet import convenience
from eventlet.green import socket


def test_listen_and_connect():
    with eventlet.listen(("127.0.0.1", 0)) as server:
        with eventlet.connect(server.getsockname()) as client:
            conn, address = server.accept()
            with conn:
                assert address == client.getsockname()
                assert isinstance(client, socket.socket)


def test_connect_bind():
    with eventlet.listen(("127.0.0.1", 0)) as server:
        with eventlet.connect(server.getsockname(), bind=("127.0.0.1", 0)) as client:
            server.accept()[0].close()
            assert client.getsockname()[0] == "127.0.0.1"


def test_connect_refused_leaves_no_socket():
    with std.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            eventlet.connect(unused.getsockname())


def option(sock, name):
    return bool(sock.getsockopt(socket.SOL_SOCKET, getattr(socket, name)))


def free_port():
    with std.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_listen_reuse_options():
    with eventlet.listen(("127.0.0.1", 0)) as server:
        assert option(server, "SO_REUSEADDR")
        assert not option(server, "SO_REUSEPORT")
    with eventlet.listen(("127.0.0.1", 0), reuse_addr=False) as server:
        assert not option(server, "SO_REUSEADDR")
    with eventlet.listen(("127.0.0.1", free_port())) as server:
        assert option(server, "SO_REUSEPORT")
    with eventlet.listen(("127.0.0.1", free_port()), reuse_port=False) as server:
        assert not option(server, "SO_REUSEPORT")


def test_listen_on_a_random_port_with_reuse_port_warns():
    with pytest.warns(convenience.ReuseRandomPortWarning):
        eventlet.listen(("127.0.0.1", 0), reuse_port=True).close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        eventlet.listen(("127.0.0.1", 0)).close()


def test_listen_where_reuse_port_is_refused(monkeypatch):
    if not hasattr(eventlet, "__implementation__"):
        pytest.skip("upstream's sockets have the method on the instance")
    original = socket.socket.setsockopt

    def refuse(self, level, name, value):
        if name == socket.SO_REUSEPORT:
            raise OSError(22, "Invalid argument")
        return original(self, level, name, value)

    monkeypatch.setattr(socket.socket, "setsockopt", refuse)
    with pytest.warns(convenience.ReusePortUnavailableWarning):
        eventlet.listen(("127.0.0.1", 0 + free_port())).close()


def test_listen_unix(tmp_path):
    path = str(tmp_path / "sock")
    with eventlet.listen(path, family=socket.AF_UNIX) as server:
        with eventlet.connect(path, family=socket.AF_UNIX) as client:
            conn, _ = server.accept()
            with conn:
                client.sendall(b"x")
                assert conn.recv(1) == b"x"


def test_listen_on_a_used_address():
    with eventlet.listen(("127.0.0.1", free_port()), reuse_port=False) as server:
        with pytest.raises(OSError):
            eventlet.listen(server.getsockname(), reuse_port=False)


def echo(conn, addr):
    while data := conn.recv(100):
        conn.sendall(data)


def test_serve_runs_handlers_and_closes_connections():
    with eventlet.listen(("127.0.0.1", 0)) as server:
        g = eventlet.spawn(eventlet.serve, server, echo)
        for _ in range(3):
            with eventlet.connect(server.getsockname()) as client:
                client.sendall(b"hi")
                assert client.recv(10) == b"hi"
                client.shutdown(socket.SHUT_WR)
                assert client.recv(10) == b""
        eventlet.kill(g)


def test_stop_serve_thrown_into_the_server():
    with eventlet.listen(("127.0.0.1", 0)) as server:
        g = eventlet.spawn(eventlet.serve, server, echo)
        eventlet.sleep(0)
        eventlet.kill(g, eventlet.StopServe())
        assert not g


def test_stop_serve_raised_by_a_handler():
    def handle(conn, addr):
        conn.sendall(b"bye")
        raise eventlet.StopServe()

    with eventlet.listen(("127.0.0.1", 0)) as server:
        g = eventlet.spawn(lambda: eventlet.connect(server.getsockname()).recv(10))
        assert eventlet.serve(server, handle) is None
        assert g.wait() == b"bye"


def test_error_of_a_handler_ends_the_server():
    def handle(conn, addr):
        raise ZeroDivisionError

    with eventlet.listen(("127.0.0.1", 0)) as server:
        client = eventlet.spawn(eventlet.connect, server.getsockname())
        with pytest.raises(ZeroDivisionError):
            eventlet.serve(server, handle)
        client.wait().close()
        eventlet.sleep(0)


def test_killed_handler_does_not_end_the_server():
    handlers = []

    def handle(conn, addr):
        handlers.append(eventlet.getcurrent())
        conn.recv(1)

    with eventlet.listen(("127.0.0.1", 0)) as server:
        g = eventlet.spawn(eventlet.serve, server, handle)
        with eventlet.connect(server.getsockname()) as client:
            while not handlers:
                eventlet.sleep(0.001)
            handlers[0].kill()
            assert client.recv(1) == b""
        with eventlet.connect(server.getsockname()):
            while len(handlers) < 2:
                eventlet.sleep(0.001)
        handlers[1].wait()
        eventlet.kill(g)


def test_serve_concurrency():
    entered, release = [], eventlet.Event()

    def handle(conn, addr):
        entered.append(addr)
        release.wait()

    with eventlet.listen(("127.0.0.1", 0)) as server:
        g = eventlet.spawn(eventlet.serve, server, handle, concurrency=2)
        clients = [eventlet.connect(server.getsockname()) for _ in range(3)]
        for _ in range(20):
            eventlet.sleep(0.001)
        assert len(entered) == 2
        release.send()
        while len(entered) < 3:
            eventlet.sleep(0.001)
        eventlet.kill(g)
        for client in clients:
            client.close()
