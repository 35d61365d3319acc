"""TLS: wrap_ssl, green contexts, and what monkey_patch makes of the standard ones."""

import os
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


def test_makefile_of_both_sides(pair):
    client, conn = pair
    with client.makefile("rwb") as file, conn.makefile("rwb") as other:
        file.write(b"one\ntwo\n")
        file.flush()
        assert [other.readline(), other.readline()] == [b"one\n", b"two\n"]


def test_sendfile(pair, tmp_path):
    client, conn = pair
    path = tmp_path / "data"
    path.write_bytes(bytes(range(256)) * 400)

    def send():
        with path.open("rb") as file:
            return client.sendfile(file, 6)

    g = eventlet.spawn(send)
    got = bytearray()
    while len(got) < 102394:
        got += conn.recv(65536)
    assert g.wait() == 102394
    assert got == path.read_bytes()[6:]


def test_names_and_protocols(server):
    server.context.set_alpn_protocols(["h2", "http/1.1"])
    names = []
    server.context.sni_callback = lambda sock, name, context: names.append(name)
    context = green_ssl.create_default_context(cafile=CERT)
    assert type(context) is green_ssl.GreenSSLContext
    context.set_alpn_protocols(["http/1.1"])

    def serve():
        conn, _ = server.accept()
        with conn:
            conn.do_handshake()
            return conn.selected_alpn_protocol()

    g = eventlet.spawn(serve)
    plain = eventlet.connect(server.getsockname())
    with context.wrap_socket(plain, server_hostname="localhost") as client:
        assert client.selected_alpn_protocol() == "http/1.1"
        assert client.server_hostname == "localhost"
        assert g.wait() == "http/1.1"
    assert names == ["localhost"]


def test_session_is_used_again(server):
    server.context.maximum_version = ssl.TLSVersion.TLSv1_2
    context = green_ssl.create_default_context(cafile=CERT)
    session = None

    def serve():
        conn, _ = server.accept()
        with conn:
            conn.sendall(b"x")
            conn.recv(1)

    for reused in False, True:
        g = eventlet.spawn(serve)
        plain = eventlet.connect(server.getsockname())
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as client:
            assert client.recv(1) == b"x"
            assert client.session_reused == reused
            session = client.session
        g.wait()


def test_get_server_certificate(server):
    def serve():
        conn, _ = server.accept()
        with conn:
            conn.do_handshake()

    g = eventlet.spawn(serve)
    found = green_ssl.get_server_certificate(server.getsockname(), timeout=5)
    g.wait()
    assert found.split() == Path(CERT).read_text().split()


def test_a_peer_that_leaves_without_a_word(pair):
    client, conn = pair
    client.shutdown(socket.SHUT_RDWR)
    assert conn.recv(10) == b""
    assert conn.recv_into(bytearray(10)) == 0


def test_a_ragged_end_is_told_to_who_wants_to_know(server):
    context = green_ssl.create_default_context(cafile=CERT)

    def serve():
        conn, _ = server.accept()
        conn.do_handshake()
        os.close(conn.detach())

    g = eventlet.spawn(serve)
    plain = eventlet.connect(server.getsockname())
    with context.wrap_socket(
        plain, server_hostname="localhost", suppress_ragged_eofs=False
    ) as client:
        g.wait()
        with pytest.raises(ssl.SSLEOFError):
            client.recv(10)


def test_garbage_instead_of_tls(server):
    with eventlet.connect(server.getsockname()) as client:
        conn, _ = server.accept()
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with conn, pytest.raises(ssl.SSLError):
            conn.recv(10)


def test_records_before_the_end_of_tls_are_read(pair):
    # Each read takes one record; what waits behind it must not be mistaken for nothing.
    client, conn = pair
    for part in b"one", b"two", b"three":
        client.sendall(part)
    assert [conn.recv(100) for _ in range(3)] == [b"one", b"two", b"three"]
    client.sendall(b"a longer record")
    assert [conn.recv(8), conn.recv(8)] == [b"a longer", b" record"]
    client.sendall(b"last")
    g = eventlet.spawn(client.unwrap)
    assert conn.recv(100) == b"last"
    assert conn.recv(100) == b""
    plain = conn.unwrap()
    other = g.wait()
    other.sendall(b"plain")
    assert plain.recv(100) == b"plain"


def test_timeout_counts_for_the_whole_handshake(server):
    with eventlet.connect(server.getsockname()) as client:
        conn, _ = server.accept()
        conn.settimeout(0.05)

        def drip():
            for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 4:
                client.send(bytes([byte]))
                eventlet.sleep(0.005)

        g = eventlet.spawn(drip)
        with conn, eventlet.Timeout(5), pytest.raises(socket.timeout):
            conn.do_handshake()
        g.kill()


def test_killed_reader_leaves_the_connection_usable(pair):
    client, conn = pair
    client.sendall(b"first")
    assert conn.recv(100) == b"first"
    g = eventlet.spawn(conn.recv, 100)
    eventlet.sleep(0)
    g.kill()
    client.sendall(b"second")
    assert conn.recv(100) == b"second"


def test_close_ends_a_read(pair):
    client, conn = pair
    g = eventlet.spawn(conn.recv, 100)
    eventlet.sleep(0)
    conn.close()
    with eventlet.Timeout(5), pytest.raises(OSError):
        g.wait()


@pytest.mark.parametrize("call", ["recv", "recv_into", "send", "sendall"])
def test_flags_are_refused(pair, call):
    argument = {"recv": 10, "recv_into": bytearray(10)}.get(call, b"x")
    args = (argument, 10) if call == "recv_into" else (argument,)
    with pytest.raises(ValueError, match=f"non-zero flags not allowed in calls to {call}"):
        getattr(pair[0], call)(*args, 1)


def test_reading_into_what_is_asked(pair):
    client, conn = pair
    client.sendall(b"0123456789")
    buffer = bytearray(4)
    assert conn.read(4, buffer) == 4
    assert conn.recv_into(buffer, 2) == 2
    assert buffer == b"4523"
    assert conn.recv() == b"6789"
    assert client.write(memoryview(b"view")) == 4
    assert conn.read() == b"view"


def test_before_and_after_tls():
    context = green_ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with context.wrap_socket(socket.socket()) as client:
        for call in client.read, lambda: client.write(b"x"):
            with pytest.raises(ValueError):
                call()
        with pytest.raises(OSError):
            client.do_handshake()
        with pytest.raises(OSError):
            client.recv(10)


def test_subclasses(server):
    class Counted(green_ssl.GreenSSLSocket):
        reads = 0

        def read(self, *args):
            type(self).reads += 1
            return super().read(*args)

    context = green_ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(CERT)
    context.sslsocket_class = Counted

    def serve():
        conn, _ = server.accept()
        with conn:
            conn.sendall(b"abc")

    g = eventlet.spawn(serve)
    with context.wrap_socket(
        eventlet.connect(server.getsockname()), server_hostname="localhost"
    ) as client:
        assert type(client) is Counted
        assert client.recv(1) + client.recv(1) == b"ab"
        assert client.recv_into(bytearray(1)) == 1
    assert Counted.reads == 3
    g.wait()


def test_the_class_can_be_called(server):
    with eventlet.connect(server.getsockname()) as plain:
        with green_ssl.GreenSSLSocket(plain, do_handshake_on_connect=False) as client:
            assert type(client) is green_ssl.GreenSSLSocket
    with pytest.raises(TypeError):
        green_ssl.GreenSSLSocket()


def test_context_settings():
    context = green_ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_COMPRESSION
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION


def test_tls_in_memory():
    incoming, outgoing = green_ssl.MemoryBIO(), green_ssl.MemoryBIO()
    context = green_ssl.create_default_context()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    assert type(tls) is ssl.SSLObject
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    assert outgoing.pending


CLIENTS = {
    "requests": """
        import requests
        def fetch(_):
            return requests.get(url, verify={cert!r}, timeout=10).content
    """,
    "urllib3": """
        import urllib3
        manager = urllib3.PoolManager(ca_certs={cert!r}, maxsize=10)
        def fetch(_):
            return manager.request('GET', url, timeout=10).data
    """,
    "http.client": """
        import http.client
        def fetch(_):
            context = ssl.create_default_context(cafile={cert!r})
            conn = http.client.HTTPSConnection('localhost', port, timeout=10, context=context)
            conn.request('GET', '/')
            body = conn.getresponse().read()
            conn.close()
            return body
    """,
}


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS)
def test_clients_in_a_patched_process(client):
    if client != "http.client":
        pytest.importorskip(client, reason=f"{client} is not installed")
    script = f"""
        import eventlet
        eventlet.monkey_patch()
        import ssl
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain({CERT!r}, {KEY!r})
        def answer(conn, addr):
            with context.wrap_socket(conn, server_side=True) as tls:
                while tls.recv(4096)[-4:] != b'\\r\\n\\r\\n':
                    pass
                waiting.append(conn)
                if len(waiting) == 10:
                    arrived.send()
                arrived.wait()
                tls.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nhi')
        waiting, arrived = [], eventlet.Event()
        server = eventlet.listen(('127.0.0.1', 0))
        eventlet.spawn(eventlet.serve, server, answer)
        port = server.getsockname()[1]
        url = f'https://localhost:{{port}}/'
        pool = eventlet.GreenPool(10)
    """
    script = textwrap.dedent(script) + textwrap.dedent(CLIENTS[client]).format(cert=CERT)
    script += "print(set(pool.imap(fetch, range(10))))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=50
    )
    assert done.stdout.split() == ["{b'hi'}"], done.stderr


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
