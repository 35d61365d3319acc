"""Green sockets: what they do as the standard class does it, and what they do while they wait."""

import errno
import os
import pickle
import resource
import signal
import socket as std
import subprocess
import sys
import textwrap
import threading
import weakref

import eventlet
import pytest
from eventlet import greenio
from eventlet.green import socket

ours = pytest.mark.skipif(
    not hasattr(eventlet, "__implementation__"), reason="differs from upstream on purpose"
)


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    with a, b:
        yield a, b


@pytest.fixture
def tcp():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(5)
        client = socket.socket()
        client.connect(server.getsockname())
        conn, _ = server.accept()
        with client, conn:
            yield client, conn


@pytest.fixture
def listener():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(128)
        yield server


class Pickled(socket.socket):
    """A socket that is pickled as something else."""

    def __reduce__(self):
        return str, ("a socket",)


def run(script, timeout=30, **env):
    """Output of a script in a process of its own; a crash or a hang fails."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- plain use ---------------------------------------------------------------------------------


def test_constructor_defaults():
    with socket.socket() as sock:
        assert (sock.family, sock.type, sock.proto) == (socket.AF_INET, socket.SOCK_STREAM, 0)
        assert sock.gettimeout() is None
        assert sock.fileno() >= 0
        assert not os.get_blocking(sock.fileno())


@ours
def test_is_a_standard_socket():
    with socket.socket() as sock:
        assert isinstance(sock, std.socket)
        assert "GreenSocket" in repr(sock)


@ours
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_sockets_cannot_be_pickled(pair, protocol):
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(pair[0], protocol)
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(socket.socket(pair[0], set_nonblocking=False), protocol)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_subclass_says_how_it_is_pickled(protocol):
    with Pickled() as sock:
        assert pickle.loads(pickle.dumps(sock, protocol)) == "a socket"


def test_fileno_takes_a_descriptor_over():
    a, b = std.socketpair()
    with socket.socket(fileno=a.detach()) as green, b:
        assert green.family == socket.AF_UNIX
        b.sendall(b"x")
        assert green.recv(10) == b"x"


@pytest.mark.parametrize(
    "args, kwargs, error",
    [
        ((1, 2, 3, 4, 5), {}, TypeError),
        (("inet",), {}, (TypeError, AttributeError)),
        ((), {"famly": 2}, TypeError),
        ((), {"fileno": 1 << 20}, OSError),
        ((socket.AF_INET, 99), {}, OSError),
    ],
)
def test_constructor_errors(args, kwargs, error):
    with pytest.raises(error):
        socket.socket(*args, **kwargs)


def test_recv_returns_what_is_there(pair):
    a, b = pair
    a.sendall(b"0123456789")
    assert b.recv(4) == b"0123"
    assert b.recv(100) == b"456789"


def test_recv_larger_than_any_internal_buffer(pair):
    a, b = pair
    data = os.urandom(300_000)
    sender = eventlet.spawn(a.sendall, data)
    got = b""
    while len(got) < len(data):
        part = b.recv(1 << 20)
        assert part
        got += part
    sender.wait()
    assert got == data


def test_recv_flags(pair):
    a, b = pair
    a.sendall(b"peek")
    assert b.recv(4, socket.MSG_PEEK) == b"peek"
    assert b.recv(4) == b"peek"


def test_recv_into(pair):
    a, b = pair
    a.sendall(b"abcdef")
    buffer = bytearray(4)
    assert b.recv_into(buffer, 2) == 2
    assert buffer == b"ab\0\0"
    assert b.recv_into(memoryview(buffer)[1:]) == 3
    assert buffer == b"acde"


def test_recv_into_wrong_buffers(pair):
    _, b = pair
    with pytest.raises(TypeError):
        b.recv_into(b"read only")
    with pytest.raises(ValueError):
        b.recv_into(bytearray(2), 3)
    with pytest.raises(ValueError):
        b.recv_into(bytearray(2), -1)


@pytest.mark.parametrize("size", ["1", 1.5, None])
def test_recv_wrong_size(pair, size):
    pair[0].sendall(b"x")
    with pytest.raises(TypeError):
        pair[1].recv(size)


def test_recv_negative_size(pair):
    pair[0].sendall(b"x")
    with pytest.raises(ValueError):
        pair[1].recv(-1)


def test_send_wrong_type(pair):
    for call in (pair[0].send, pair[0].sendall):
        with pytest.raises(TypeError):
            call("text")


def test_sendall_takes_any_buffer(pair):
    a, b = pair
    assert a.sendall(memoryview(b"abcd")[1:3]) is None
    a.sendall(bytearray(b"ef"))
    assert b.recv(10) == b"bcef"


def test_end_of_stream(pair):
    a, b = pair
    a.sendall(b"last")
    a.shutdown(socket.SHUT_WR)
    assert b.recv(100) == b"last"
    assert b.recv(100) == b""
    assert b.recv(100) == b""


def test_end_of_stream_reported_together_with_the_data(tcp):
    # With edge-triggered registration the short read must not park for an edge that has passed.
    client, conn = tcp
    reader = eventlet.spawn(lambda: [client.recv(100) for _ in range(3)])
    eventlet.sleep(0)
    conn.sendall(b"data")
    conn.close()
    with eventlet.Timeout(5):
        assert reader.wait() == [b"data", b"", b""]


def test_reset_by_peer_reads_as_the_end(tcp):
    client, conn = tcp
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    assert conn.recv(10) == b""


def test_send_to_a_gone_peer_raises(pair):
    a, b = pair
    b.close()
    with pytest.raises(BrokenPipeError):
        a.sendall(b"x")


def test_makefile(pair):
    a, b = pair
    with a.makefile("wb") as out, b.makefile("r") as lines:
        out.write(b"one\ntwo\n")
        out.flush()
        assert [lines.readline(), lines.readline()] == ["one\n", "two\n"]


def test_makefile_keeps_the_socket_open(pair):
    a, b = pair
    out = a.makefile("wb")
    a.close()
    out.write(b"still")
    out.close()
    assert b.recv(10) == b"still"
    assert b.recv(10) == b""
    assert a.fileno() == -1


def test_dup(pair):
    a, b = pair
    a.settimeout(7)
    with a.dup() as copy:
        assert copy.gettimeout() == 7
        assert copy.fileno() != a.fileno()
        copy.sendall(b"x")
        assert b.recv(1) == b"x"


def test_detach(pair):
    a, b = pair
    fd = a.detach()
    assert a.fileno() == -1
    os.close(fd)
    assert b.recv(1) == b""


def test_closed_socket_raises(pair):
    a, _ = pair
    a.close()
    a.close()
    for call in (lambda: a.recv(1), lambda: a.send(b"x"), a.getsockname):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EBADF


def test_forgotten_socket_is_closed():
    a, b = socket.socketpair()
    with b:
        del a
        assert b.recv(1) == b""


@pytest.mark.parametrize("family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_datagrams_go_back_to_where_they_came_from(family, host):
    def bound():
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind((host, 0))
        return sock

    with bound() as server, bound() as one, bound() as two:
        name = server.getsockname()
        seen = []
        for client in (one, one, two, one, two):
            client.sendto(b"ask", name)
            data, address = server.recvfrom(10)
            assert (data, address) == (b"ask", client.getsockname())
            seen.append(address)
            server.sendto(b"answer", address)
            assert client.recvfrom(10) == (b"answer", name)
        # Older ones, and others that are equal, lead to the same places.
        for client, address in ((one, seen[0]), (two, seen[2]), (two, tuple(list(seen[4])))):
            server.sendto(b"again", address)
            assert client.recv(10) == b"again"
            server.sendmsg([b"once ", b"more"], (), 0, address)
            assert client.recv(10) == b"once more"
        one.sendto(b"message", name)
        assert server.recvmsg(10)[3] == one.getsockname()


@ours
def test_the_address_of_the_last_peer_is_made_once():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        addresses = []
        for _ in range(2):
            sock.sendto(b"x", sock.getsockname())
            addresses.append(sock.recvfrom(1)[1])
        assert addresses[0] is addresses[1]
        gone = weakref.ref(sock)
        before = sys.getrefcount(addresses[0])
    del sock
    after = sys.getrefcount(addresses[0])
    assert gone() is None
    assert after == before - 1


def test_every_ipv4_address_has_the_text_that_libc_gives_it():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("0.0.0.0", 0))
        port = server.getsockname()[1]
        for octet in (0, 1, 9, 10, 19, 99, 100, 101, 110, 199, 200, 250, 255):
            host = f"127.{octet}.{octet}.7"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.bind((host, 0))
                client.sendto(b"x", ("127.0.0.1", port))
                assert server.recvfrom(1)[1] == (host, client.getsockname()[1])


def test_udp():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b,
    ):
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        assert a.sendto(b"one", b.getsockname()) == 3
        assert a.sendto(b"two", 0, b.getsockname()) == 3
        assert b.recvfrom(10) == (b"one", a.getsockname())
        buffer = bytearray(10)
        assert b.recvfrom_into(buffer) == (3, a.getsockname())
        assert buffer[:3] == b"two"


def test_udp_waits_for_each_datagram():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b,
    ):
        b.bind(("127.0.0.1", 0))
        reader = eventlet.spawn(lambda: [b.recvfrom(10)[0] for _ in range(3)])
        for n in range(3):
            eventlet.sleep(0)
            a.sendto(str(n).encode(), b.getsockname())
        assert reader.wait() == [b"0", b"1", b"2"]


@ours
def test_messages_with_ancillary_data(pair):
    a, b = pair
    r, w = os.pipe()
    receiver = eventlet.spawn(b.recvmsg, 10, socket.CMSG_SPACE(4))
    eventlet.sleep(0)
    a.sendmsg([b"f", b"d"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, w.to_bytes(4, sys.byteorder))])
    data, ancillary, _, _ = receiver.wait()
    assert data == b"fd"
    copy = int.from_bytes(ancillary[0][2], sys.byteorder)
    os.write(copy, b"!")
    assert os.read(r, 1) == b"!"
    for fd in (r, w, copy):
        os.close(fd)


def test_unix_path(tmp_path):
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)
        conn, address = server.accept()
        with conn:
            assert address == ""
            assert client.getpeername() == path
            assert conn.family == socket.AF_UNIX


def test_accept_ipv6():
    try:
        server = socket.socket(socket.AF_INET6)
        server.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with server, socket.socket(socket.AF_INET6) as client:
        server.listen()
        client.connect(server.getsockname())
        conn, address = server.accept()
        conn.close()
        assert address == client.getsockname()


# --- waiting -----------------------------------------------------------------------------------


def test_recv_lets_others_run(pair):
    a, b = pair
    order = []

    def reader():
        order.append("reading")
        order.append(b.recv(10))

    g = eventlet.spawn(reader)
    eventlet.sleep(0)
    order.append("writing")
    a.send(b"data")
    g.wait()
    assert order == ["reading", "writing", b"data"]


def test_sendall_lets_others_run(pair):
    a, b = pair
    data = os.urandom(1 << 20)
    writer = eventlet.spawn(a.sendall, data)
    got = bytearray()
    while len(got) < len(data):
        got += b.recv(65536)
    assert writer.wait() is None
    assert got == data


def test_ping_pong_both_ways(pair):
    a, b = pair

    def pong():
        for _ in range(1000):
            b.sendall(b.recv(10))

    g = eventlet.spawn(pong)
    for n in range(1000):
        message = b"%d" % n
        a.sendall(message)
        assert a.recv(10) == message
    g.wait()


def test_accept_many(listener):
    def client(n):
        with socket.create_connection(listener.getsockname()) as sock:
            sock.sendall(b"%d\n" % n)
            return sock.makefile().readline()

    def serve():
        for _ in range(50):
            conn, _ = listener.accept()
            eventlet.spawn_n(answer, conn)

    def answer(conn):
        with conn, conn.makefile("rb") as lines:
            conn.sendall(lines.readline())

    server = eventlet.spawn(serve)
    pool = eventlet.GreenPool(50)
    assert sorted(pool.imap(client, range(50))) == sorted(f"{n}\n" for n in range(50))
    server.wait()


def test_accepted_socket_is_green(listener):
    with socket.create_connection(listener.getsockname()) as client:
        conn, address = listener.accept()
        with conn:
            assert type(conn) is type(listener)
            assert address == client.getsockname()
            assert (conn.family, conn.type, conn.proto) == (socket.AF_INET, socket.SOCK_STREAM, 0)
            assert conn.gettimeout() is None
            assert not os.get_blocking(conn.fileno())
            assert not conn.get_inheritable()


def test_subclass_of_accepting_socket():
    class Counted(greenio.GreenSocket):
        made = 0

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            Counted.made += 1

    with Counted(socket.AF_INET) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.create_connection(server.getsockname()) as client:
            conn, _ = server.accept()
            with conn:
                assert type(conn) is Counted
                assert Counted.made == 2
                client.sendall(b"x")
                assert conn.recv(1) == b"x"


def test_second_reader_is_refused(pair):
    _, b = pair
    first = eventlet.spawn(b.recv, 1)
    eventlet.sleep(0)
    with pytest.raises(RuntimeError, match="Second simultaneous read on fileno"):
        b.recv(1)
    first.kill()


def test_reader_and_writer_of_one_socket(pair):
    a, b = pair
    data = bytes(1 << 20)
    writer = eventlet.spawn(a.sendall, data)
    reader = eventlet.spawn(a.recv, 10)
    eventlet.sleep(0)
    left = len(data)
    while left:
        left -= len(b.recv(65536))
    b.sendall(b"thanks")
    assert reader.wait() == b"thanks"
    writer.wait()


def test_killed_reader_leaves_the_socket_usable(pair):
    a, b = pair
    reader = eventlet.spawn(b.recv, 10)
    eventlet.sleep(0)
    reader.kill()
    a.sendall(b"later")
    assert b.recv(10) == b"later"


def test_timeout_object_interrupts(pair):
    _, b = pair
    with pytest.raises(eventlet.Timeout):
        with eventlet.Timeout(0.01):
            b.recv(1)


def test_two_threads_each_with_a_hub():
    a, b = socket.socketpair()
    got = []

    def reader():
        got.append(b.recv(10))
        b.sendall(b"from the thread")

    with a, b:
        thread = threading.Thread(target=reader)
        thread.start()
        a.sendall(b"from main")
        assert a.recv(100) == b"from the thread"
        thread.join(10)
    assert got == [b"from main"]


# --- timeouts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 0.1, 5, 0, 2.5])
def test_gettimeout(pair, value):
    pair[0].settimeout(value)
    assert pair[0].gettimeout() == value


@pytest.mark.parametrize("value, error", [(-1, ValueError), ("1", TypeError), ([], TypeError)])
def test_settimeout_errors(pair, value, error):
    with pytest.raises(error):
        pair[0].settimeout(value)


@ours
def test_settimeout_nan(pair):
    with pytest.raises(ValueError):
        pair[0].settimeout(float("nan"))


@ours
def test_settimeout_infinite(pair):
    a, b = pair
    b.settimeout(1e300)
    g = eventlet.spawn(b.recv, 1)
    eventlet.sleep(0)
    a.send(b"x")
    assert g.wait() == b"x"


def test_recv_timeout(pair):
    pair[0].settimeout(0.02)
    for call in (
        lambda: pair[0].recv(10),
        lambda: pair[0].recv(0),
        lambda: pair[0].recv_into(bytearray(1)),
    ):
        with pytest.raises(socket.timeout) as caught:
            call()
        assert caught.value.args == ("timed out",)


def test_accept_timeout(listener):
    listener.settimeout(0.02)
    with pytest.raises(socket.timeout, match="timed out"):
        listener.accept()


def test_sendall_timeout(pair):
    pair[0].settimeout(0.02)
    with pytest.raises(socket.timeout, match="timed out"):
        pair[0].sendall(bytes(1 << 24))


def test_non_blocking(pair):
    a, b = pair
    a.setblocking(False)
    assert a.act_non_blocking
    assert a.gettimeout() == 0.0
    with pytest.raises(BlockingIOError):
        a.recv(1)
    a.setblocking(True)
    assert a.gettimeout() is None
    assert not a.act_non_blocking
    a.settimeout(0)
    with pytest.raises(BlockingIOError):
        a.recv_into(bytearray(1))
    b.send(b"x")
    assert a.recv(1) == b"x"


def test_non_blocking_accept_and_connect(listener):
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()
    with socket.socket() as client:
        client.setblocking(False)
        assert client.connect_ex(listener.getsockname()) in (0, errno.EINPROGRESS)


def test_default_timeout():
    socket.setdefaulttimeout(0.25)
    try:
        with socket.socket() as sock:
            assert sock.gettimeout() == 0.25
    finally:
        socket.setdefaulttimeout(None)


def test_default_timeout_of_accepted_sockets(listener):
    with socket.create_connection(listener.getsockname()):
        socket.setdefaulttimeout(0.25)
        try:
            conn, _ = listener.accept()
            with conn:
                assert conn.gettimeout() == 0.25
        finally:
            socket.setdefaulttimeout(None)


# --- connecting --------------------------------------------------------------------------------


def test_connect_refused():
    with std.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with socket.socket() as sock, pytest.raises(ConnectionRefusedError):
            sock.connect(unused.getsockname())
        with socket.socket() as sock:
            assert sock.connect_ex(unused.getsockname()) == errno.ECONNREFUSED


def test_connect_ex(listener):
    with socket.socket() as sock:
        assert sock.connect_ex(listener.getsockname()) == 0
        assert sock.getpeername() == listener.getsockname()


@pytest.mark.parametrize("address", [None, 5, "127.0.0.1", ("127.0.0.1",), ("127.0.0.1", "x")])
def test_connect_wrong_address(address):
    with socket.socket() as sock, pytest.raises(TypeError):
        sock.connect(address)


@ours
def test_connect_by_name(listener):
    with socket.socket() as sock:
        sock.connect(("localhost", listener.getsockname()[1]))
        assert sock.getpeername() == listener.getsockname()


@ours
def test_connect_unknown_name():
    with socket.socket() as sock, pytest.raises(socket.gaierror):
        sock.connect(("no-such-host.invalid", 80))


def test_connect_timeout_to_a_full_backlog():
    with std.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fillers = []
        try:
            for _ in range(8):
                sock = socket.socket()
                fillers.append(sock)
                sock.settimeout(0.05)
                code = sock.connect_ex(server.getsockname())
                if code:
                    assert code == errno.EAGAIN
                    with pytest.raises(socket.timeout):
                        sock.connect(server.getsockname())
                    break
            else:
                pytest.skip("the kernel takes any number")
        finally:
            for sock in fillers:
                sock.close()


@ours
def test_connect_waits_for_a_full_unix_backlog(tmp_path):
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(path)
        server.listen(0)
        first.connect(path)
        second = socket.socket(socket.AF_UNIX)
        with second:
            second.settimeout(0.02)
            with pytest.raises(socket.timeout):
                second.connect(path)
            second.settimeout(5)
            g = eventlet.spawn(second.connect, path)
            eventlet.sleep(0)
            server.accept()[0].close()
            g.wait()


# --- closing under a waiter --------------------------------------------------------------------


@ours
@pytest.mark.parametrize("call", ["recv", "accept", "sendall"])
def test_close_wakes_who_waits(pair, listener, call):
    a, _ = pair
    sock = listener if call == "accept" else a
    action = {
        "recv": lambda: a.recv(1),
        "accept": listener.accept,
        "sendall": lambda: a.sendall(bytes(1 << 24)),
    }[call]
    waiter = eventlet.spawn(action)
    eventlet.sleep(0)
    sock.close()
    with eventlet.Timeout(5), pytest.raises(OSError) as caught:
        waiter.wait()
    assert caught.value.errno == errno.EBADF


@ours
def test_close_in_another_thread_wakes_who_waits(pair):
    a, _ = pair
    waiter = eventlet.spawn(a.recv, 1)
    eventlet.sleep(0)
    thread = threading.Thread(target=a.close)
    thread.start()
    with eventlet.Timeout(5), pytest.raises(OSError) as caught:
        waiter.wait()
    thread.join()
    assert caught.value.errno == errno.EBADF


@ours
def test_recycled_descriptor_does_not_reach_the_old_waiter():
    a, b = socket.socketpair()
    old = a.fileno()
    waiter = eventlet.spawn(a.recv, 10)
    eventlet.sleep(0)
    a.close()
    c, d = socket.socketpair()
    with b, c, d:
        assert old in (c.fileno(), d.fileno())
        other = d if c.fileno() == old else c
        other.sendall(b"for the new one")
        with pytest.raises(OSError):
            waiter.wait()
        mine = c if other is d else d
        assert mine.recv(100) == b"for the new one"


@ours
def test_descriptor_closed_behind_our_back():
    # os.close() and a new socket of the same number: the old waiter is told, the new one works.
    script = """
        import os, eventlet
        from eventlet.green import socket
        a, b = socket.socketpair()
        waiter = eventlet.spawn(a.recv, 10)
        eventlet.sleep(0)
        number = a.fileno()
        os.close(number)
        c, d = socket.socketpair()
        assert number in (c.fileno(), d.fileno())
        one, two = (c, d) if c.fileno() == number else (d, c)
        reader = eventlet.spawn(one.recv, 10)
        eventlet.sleep(0)
        two.sendall(b'new')
        assert reader.wait() == b'new'
        try:
            waiter.wait()
        except OSError as error:
            print(type(error).__name__)
        os._exit(0) if print('end', flush=True) is None else None
    """
    assert run(script).split() == ["IOClosed", "end"]


# --- wrapping ----------------------------------------------------------------------------------


def test_wraps_a_standard_socket():
    a, b = std.socketpair()
    with b:
        a.settimeout(3)
        green = greenio.GreenSocket(a)
        assert green.gettimeout() == 3
        assert green.fileno() == a.fileno()
        assert green.fd is a
        assert not os.get_blocking(a.fileno())
        g = eventlet.spawn(green.recv, 10)
        eventlet.sleep(0)
        b.sendall(b"x")
        assert g.wait() == b"x"
        assert green.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
        green.sendall(b"back")
        assert b.recv(10) == b"back"
        green.close()
        assert a.fileno() == -1


def test_wrapped_listener_accepts_green_sockets():
    server = std.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    green = greenio.GreenSocket(server)
    g = eventlet.spawn(green.accept)
    with socket.create_connection(server.getsockname()) as client:
        conn, address = g.wait()
        with conn:
            assert isinstance(conn, greenio.GreenSocket)
            assert address == client.getsockname()
            client.sendall(b"x")
            assert conn.recv(1) == b"x"
    green.close()


def test_wraps_a_green_socket(pair):
    a, b = pair
    outer = greenio.GreenSocket(a)
    outer.settimeout(0.02)
    with pytest.raises(socket.timeout):
        outer.recv(1)
    b.sendall(b"x")
    assert outer.recv(1) == b"x"


class Foreign:
    """What a wrapped object may have beside the methods of a socket."""

    def __init__(self, sock):
        self.sock = sock

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def describe(self):
        return "foreign"


def test_what_no_class_has_is_looked_for_in_the_wrapped_object(pair):
    foreign = Foreign(pair[0])
    green = greenio.GreenSocket(foreign)
    assert green.describe() == "foreign"
    foreign.later = 5
    assert green.later == 5
    for missing in ("nothing", "__length_hint__"):
        with pytest.raises(AttributeError, match=f"has no attribute '{missing}'"):
            getattr(green, missing)
    with pytest.raises(AttributeError, match="'GreenSocket' object has no attribute 'describe'"):
        pair[1].describe()


@ours
def test_a_socket_that_wraps_none_looks_its_methods_up_the_fast_way():
    assert not hasattr(greenio.GreenSocket, "__getattr__")


class Special(greenio.GreenSocket):
    def __getattr__(self, name):
        if name == "special":
            return "special"
        return super().__getattr__(name)


def test_a_subclass_keeps_its_class_and_its_own_attributes_when_it_wraps(pair):
    for sock in (Special(Foreign(pair[0])), Special()):
        with sock:
            assert isinstance(sock, Special) and type(sock).__name__ == "Special"
            assert sock.special == "special"
            with pytest.raises(AttributeError):
                _ = sock.nothing
    assert Special(Foreign(pair[1])).describe() == "foreign"


@pytest.mark.parametrize("inner", [std.socket, socket.socket, lambda: Foreign(std.socket())])
@pytest.mark.parametrize("cls", [greenio.GreenSocket, Special])
def test_what_a_wrapping_listener_accepts_is_of_its_class(cls, inner):
    server = inner()
    server.bind(("127.0.0.1", 0))
    server.listen()
    with cls(server) as green:
        g = eventlet.spawn(green.accept)
        with socket.create_connection(server.getsockname()):
            conn, _ = g.wait()
            with conn:
                assert isinstance(conn, greenio.GreenSocket)
                assert type(conn).__name__ == ("Special" if cls is Special else "GreenSocket")
                with pytest.raises(AttributeError):
                    conn.describe()


def test_the_duplicate_of_a_wrapping_socket_wraps(pair):
    a, b = pair
    with greenio.GreenSocket(a).dup() as copy:
        copy.sendall(b"x")
        assert b.recv(1) == b"x"


def test_fd_of_a_green_socket_is_plain(pair):
    a, _ = pair
    assert a.fd.fileno() == a.fileno()
    with pytest.raises(BlockingIOError):
        a.fd.recv(1)


def test_fd_of_a_green_socket_takes_weak_references(pair):
    plain = pair[0].fd
    assert weakref.ref(plain)() is plain


# --- the process -------------------------------------------------------------------------------


@ours
def test_descriptors_run_out():
    script = """
        import errno, resource, eventlet
        from eventlet.green import socket
        server = eventlet.listen(('127.0.0.1', 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        clients = []
        try:
            while True:
                clients.append(eventlet.connect(server.getsockname()))
        except OSError as error:
            assert error.errno == errno.EMFILE, error
        try:
            server.accept()
        except OSError as error:
            assert error.errno == errno.EMFILE, error
        else:
            raise SystemExit('accepted with no descriptor left')
        for client in clients[-5:]:
            client.close()
        conn, _ = server.accept()
        clients[0].sendall(b'fine')
        assert conn.recv(10) == b'fine'
        print('survived')
    """
    assert run(script) == "survived\n"


def test_interrupt_while_accepting():
    script = """
        import os, signal, threading, eventlet
        server = eventlet.listen(('127.0.0.1', 0))
        def interrupt():
            eventlet.sleep(0)
            os.kill(os.getpid(), signal.SIGINT)
        eventlet.spawn(interrupt)
        try:
            server.accept()
        except KeyboardInterrupt:
            print('interrupted')
        client = eventlet.connect(server.getsockname())
        conn, _ = server.accept()
        client.sendall(b'x')
        print(conn.recv(1))
    """
    assert run(script).splitlines() == ["interrupted", "b'x'"]


def test_interrupt_from_outside_while_receiving():
    script = """
        import sys, eventlet
        from eventlet.green import socket
        a, b = socket.socketpair()
        try:
            print('ready', flush=True)
            a.recv(1)
        except KeyboardInterrupt:
            print('interrupted')
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "ready\n"
        # The waiting itself cannot be seen from outside; an early signal has the same result.
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "interrupted\n"
        assert process.wait(30) == 0


def test_fork_while_green_threads_wait():
    script = """
        import os, eventlet
        from eventlet.green import socket
        a, b = socket.socketpair()
        c, d = socket.socketpair()
        waiter = eventlet.spawn(a.recv, 10)
        eventlet.sleep(0)
        pid = os.fork()
        if pid == 0:
            with eventlet.Timeout(10):
                g = eventlet.spawn(c.recv, 10)
                eventlet.sleep(0)
                d.sendall(b'child')
                assert g.wait() == b'child'
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        b.sendall(b'parent')
        with eventlet.Timeout(10):
            print(waiter.wait())
    """
    warnings = "ignore::DeprecationWarning"
    assert run(script, PYTHONWARNINGS=warnings) == "b'parent'\n"


def test_sockets_at_interpreter_exit():
    script = """
        import eventlet
        from eventlet.green import socket
        server = eventlet.listen(('127.0.0.1', 0))
        a, b = socket.socketpair()
        waiter = eventlet.spawn(a.recv, 1)
        eventlet.sleep(0)
        keep = [server, a, b, waiter]
        keep.append(keep)
        print('end')
    """
    assert run(script) == "end\n"


def test_memory_does_not_grow(pair):
    a, b = pair

    def talk(rounds):
        for _ in range(rounds):
            a.send(b"x" * 1000)
            b.recv(4096)

    talk(2000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    talk(20_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096


@ours
def test_sendfile(pair, tmp_path):
    a, b = pair
    data = os.urandom(1 << 20)
    path = tmp_path / "data"
    path.write_bytes(data)

    def send():
        with path.open("rb") as file:
            return a.sendfile(file, 10)

    g = eventlet.spawn(send)
    got = bytearray()
    while len(got) < len(data) - 10:
        got += b.recv(65536)
    assert g.wait() == len(data) - 10
    assert got == data[10:]
