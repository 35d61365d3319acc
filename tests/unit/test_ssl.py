"""TLS: wrap_ssl, green contexts, and what monkey_patch makes of the standard ones."""

import subprocess
import sys
import textwrap
from pathlib import Path

import eventlet
import pytest
from eventlet.green import socket

ssl = pytest.importorskip("ssl")
from eventlet.green import ssl as green_ssl  # noqa: E402

FOLDER = Path(__file__).with_name("tls")
CERT, KEY = str(FOLDER / "cert.pem"), str(FOLDER / "key.pem")


@pytest.fixture
def server():
    listener = eventlet.listen(("127.0.0.1", 0))
    with eventlet.wrap_ssl(listener, certfile=CERT, keyfile=KEY, server_side=True) as sock:
        yield sock


@pytest.fixture
def pair(server):
    def accept():
        conn, _ = server.accept()
        conn.do_handshake()
        return conn

    accepted = eventlet.spawn(accept)
    client = eventlet.wrap_ssl(eventlet.connect(server.getsockname()))
    conn = accepted.wait()
    with client, conn:
        yield client, conn


def test_a_client_that_never_begins_holds_up_nobody(server):
    with eventlet.connect(server.getsockname()):
        idle, _ = server.accept()

        def serve():
            conn, _ = server.accept()
            with conn:
                conn.sendall(conn.recv(10))

        g = eventlet.spawn(serve)
        with idle, eventlet.wrap_ssl(eventlet.connect(server.getsockname())) as client:
            client.sendall(b"good")
            assert client.recv(10) == b"good"
        g.wait()


def test_classes(pair):
    for sock in pair:
        assert isinstance(sock, green_ssl.GreenSSLSocket)
        assert isinstance(sock, ssl.SSLSocket)
        assert isinstance(sock, socket.socket)


def test_both_directions(pair):
    client, conn = pair
    g = eventlet.spawn(conn.recv, 100)
    eventlet.sleep(0)
    client.sendall(b"to the server")
    assert g.wait() == b"to the server"
    conn.sendall(b"to the client")
    buffer = bytearray(100)
    assert client.recv_into(buffer) == 13
    assert buffer[:13] == b"to the client"


def test_large_transfer_while_others_run(pair):
    client, conn = pair
    data = bytes(range(256)) * 8192
    g = eventlet.spawn(client.sendall, data)
    got = bytearray()
    while len(got) < len(data):
        part = conn.recv(65536)
        assert part
        got += part
    g.wait()
    assert got == data


def test_end_of_stream(pair):
    client, conn = pair
    client.close()
    assert conn.recv(10) == b""


def test_unwrap(pair):
    client, conn = pair
    g = eventlet.spawn(conn.unwrap)
    plain = client.unwrap()
    other = g.wait()
    plain.sendall(b"plain")
    assert other.recv(10) == b"plain"


def test_timeout(pair):
    client, _ = pair
    client.settimeout(0.02)
    with pytest.raises(socket.timeout):
        client.recv(1)


def test_handshake_timeout(server):
    with eventlet.connect(server.getsockname()) as plain:
        plain.settimeout(0.02)
        with pytest.raises(socket.timeout):
            eventlet.wrap_ssl(plain)


def test_non_blocking(pair):
    client, _ = pair
    client.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        client.recv(1)


def test_makefile(pair):
    client, conn = pair
    client.sendall(b"line\n")
    with conn.makefile("rb") as lines:
        assert lines.readline() == b"line\n"


def test_verified_connection(server):
    context = green_ssl.create_default_context(cafile=CERT)
    plain = eventlet.connect(server.getsockname())

    def serve():
        conn, _ = server.accept()
        with conn:
            conn.sendall(b"x")

    g = eventlet.spawn(serve)
    with context.wrap_socket(plain, server_hostname="localhost") as client:
        assert client.recv(1) == b"x"
    g.wait()


def test_refused_certificate(server):
    context = green_ssl.create_default_context()

    def accept():
        conn, _ = server.accept()
        with conn, pytest.raises(OSError):
            conn.recv(1)

    g = eventlet.spawn(accept)
    with eventlet.connect(server.getsockname()) as plain:
        with pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(plain, server_hostname="localhost")
    g.wait()


@pytest.mark.parametrize("wrong", [{"server_side": True}, {"keyfile": KEY}])
def test_wrong_arguments(wrong):
    with socket.socket() as sock, pytest.raises(ValueError):
        eventlet.wrap_ssl(sock, **wrong)


def test_dup_is_refused(pair):
    with pytest.raises(NotImplementedError):
        pair[0].dup()


def test_patched_standard_modules():
    script = f"""
        import eventlet
        eventlet.monkey_patch()
        import ssl, urllib.request
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain({CERT!r}, {KEY!r})
        context.options |= ssl.OP_NO_COMPRESSION
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        def answer(conn, addr):
            with context.wrap_socket(conn, server_side=True) as tls:
                while tls.recv(4096)[-4:] != b'\\r\\n\\r\\n':
                    pass
                eventlet.sleep(0.05)
                tls.sendall(b'HTTP/1.0 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi')
        server = eventlet.listen(('127.0.0.1', 0))
        eventlet.spawn(eventlet.serve, server, answer)
        url = 'https://localhost:%d/' % server.getsockname()[1]
        client = ssl.create_default_context(cafile={CERT!r})
        pool = eventlet.GreenPool(10)
        def fetch(_):
            with urllib.request.urlopen(url, timeout=10, context=client) as response:
                return response.read()
        print(set(pool.imap(fetch, range(10))))
        print(eventlet.patcher.is_monkey_patched('socket'))
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["{b'hi'}", "True"], done.stderr
