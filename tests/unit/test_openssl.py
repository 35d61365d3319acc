"""PyOpenSSL's connections, green."""

import socket as std
import sys
from pathlib import Path

import eventlet
import pytest
from eventlet.green import socket

pytest.importorskip("OpenSSL", reason="PyOpenSSL is not installed")
from eventlet.green.OpenSSL import SSL, crypto, version

FOLDER = Path(__file__).with_name("tls")


def context(method=SSL.TLS_METHOD, *, certificate=False):
    made = SSL.Context(method)
    if certificate:
        made.use_certificate_file(str(FOLDER / "cert.pem"))
        made.use_privatekey_file(str(FOLDER / "key.pem"))
    return made


@pytest.fixture
def pair():
    """(client, server side), connected; the handshake is still to come."""
    a, b = socket.socketpair()
    client, server = SSL.Connection(context(), a), SSL.Connection(context(certificate=True), b)
    client.set_connect_state()
    server.set_accept_state()
    with a, b:
        yield client, server


@pytest.fixture
def joined(pair):
    g = eventlet.spawn(pair[1].do_handshake)
    pair[0].do_handshake()
    g.wait()
    return pair


def test_names():
    import OpenSSL

    assert SSL.ConnectionType is SSL.Connection is SSL.GreenConnection
    assert issubclass(SSL.Connection, OpenSSL.SSL.Connection)
    assert crypto.X509 is OpenSSL.crypto.X509
    assert version.__version__ == OpenSSL.version.__version__


def test_both_directions(joined):
    client, server = joined
    g = eventlet.spawn(server.recv, 100)
    eventlet.sleep(0)
    assert client.send(b"ping") == 4
    assert g.wait() == b"ping"
    data = bytes(range(256)) * 2048
    g = eventlet.spawn(server.sendall, data)
    got = bytearray()
    while len(got) < len(data):
        got += client.read(65536)
    g.wait()
    assert got == data
    client.write(b"into")
    buffer = bytearray(10)
    assert server.recv_into(buffer) == 4
    assert client.send(b"") == 0


def test_timeout_and_non_blocking(joined):
    client, server = joined
    client.settimeout(0.005)
    assert client.gettimeout() == 0.005
    with pytest.raises(std.timeout):
        client.recv(1)
    client.act_non_blocking = True
    with pytest.raises(SSL.WantReadError):
        client.recv(1)


def test_shutdown(joined):
    client, server = joined
    client.shutdown()
    with pytest.raises(SSL.ZeroReturnError):
        server.recv(1)
    assert server.shutdown()


def test_a_peer_that_vanishes(joined):
    client, server = joined
    client.sock_shutdown(std.SHUT_RDWR)
    assert server.recv(1) == b""


def test_listener():
    listener = SSL.Connection(context(certificate=True), eventlet.listen(("127.0.0.1", 0)))
    address = listener.getsockname()

    def serve():
        conn, _ = listener.accept()
        assert type(conn) is SSL.Connection
        conn.sendall(conn.recv(10))
        conn.close()

    g = eventlet.spawn(serve)
    client = SSL.Connection(context(), socket.socket())
    client.connect(address)
    client.send(b"echo")
    assert client.recv(10) == b"echo"
    g.wait()
    client.close()
    listener.close()


def test_an_existing_connection_becomes_green():
    import OpenSSL

    a, b = std.socketpair()
    with a, b:
        plain = OpenSSL.SSL.Connection(context(), a)
        green = SSL.GreenConnection(plain)
        assert green is plain
        green.set_connect_state()
        green.settimeout(0.005)
        with pytest.raises(std.timeout):
            green.do_handshake()


def test_in_memory():
    client = SSL.Connection(context(), None)
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    assert client.bio_read(4096)


def test_what_it_cannot_do(pair):
    for call in pair[0].makefile, pair[0].dup:
        with pytest.raises(NotImplementedError):
            call()


def test_wrap_ssl_without_the_standard_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "eventlet.green.ssl", None)
    monkeypatch.delattr(eventlet.green, "ssl", raising=False)
    cert, key = str(FOLDER / "cert.pem"), str(FOLDER / "key.pem")
    a, b = socket.socketpair()
    with a, b:
        server = eventlet.wrap_ssl(b, certfile=cert, keyfile=key, server_side=True)
        g = eventlet.spawn(server.recv, 10)
        client = eventlet.wrap_ssl(a, cert_reqs=2, ca_certs=cert, ciphers="HIGH")
        client.sendall(b"by PyOpenSSL")
        assert type(client) is SSL.Connection
        assert g.wait() == b"by PyOpenS"
