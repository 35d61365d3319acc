"""Green sockets answer as plain ones do, and plain ones can be made to wait green."""

import array
import io
import os
import socket as std
import struct
import sys

import eventlet
import pytest
from eventlet.green import socket as green

_core = pytest.importorskip("greenlet._core")

ours = pytest.mark.skipif(
    not hasattr(eventlet, "__implementation__"), reason="upstream has not these methods"
)
pytestmark = ours


def outcome(call):
    """What a call returns, or its exception's class, errno and text."""
    try:
        return call()
    except Exception as error:
        return type(error), getattr(error, "errno", None), str(error)


def same(scene, *args):
    """The outcome of a scene on plain and on green sockets, which must be the same."""
    plain, other = (outcome(lambda m=module: scene(m, *args)) for module in (std, green))
    assert other == plain
    return other


def pair(module, kind=std.SOCK_STREAM):
    a, b = module.socketpair(type=kind)
    a.settimeout(5)
    b.settimeout(5)
    return a, b


def udp(module, family=std.AF_INET):
    """Two datagram sockets that know of each other."""
    found = []
    for _ in range(2):
        sock = module.socket(family, std.SOCK_DGRAM)
        sock.bind(("127.0.0.1" if family == std.AF_INET else "::1", 0))
        sock.settimeout(5)
        found.append(sock)
    return found


# --- datagrams ---------------------------------------------------------------------------------


def datagrams(module, family):
    a, b = udp(module, family)
    with a, b:
        to, back = b.getsockname(), a.getsockname()
        found = [a.sendto(b"one", to), b.recvfrom(10) == (b"one", back)]
        found += [a.sendto(memoryview(b"two"), 0, to[:2]), b.recv(10)]
        buffer = bytearray(8)
        found += [a.sendto(b"three", to), b.recvfrom_into(buffer) == (5, back), bytes(buffer)]
        found += [a.sendto(b"four", to), b.recvfrom_into(buffer, 2)[0], bytes(buffer)]
        found += [a.sendmsg([b"fi", b"ve"], [], 0, to), b.recvmsg(10) == (b"five", [], 0, back)]
        parts = [bytearray(1), bytearray(9)]
        found += [a.sendmsg([b"six"], (), 0, to), b.recvmsg_into(parts)[0], *map(bytes, parts)]
        found += [a.sendto(b"localhost", ("localhost", to[1])) if family == std.AF_INET else 0]
        return found


@pytest.mark.parametrize("family", [std.AF_INET, std.AF_INET6])
def test_datagrams(family):
    assert isinstance(same(datagrams, family), list)


TARGETS = [
    ("127.0.0.1",),
    ("127.0.0.1", -1),
    ("127.0.0.1", 65536),
    ("127.0.0.1", 1 << 70),
    ("127.0.0.1", "1"),
    ("127.0.0.1", 1, 2),
    ["127.0.0.1", 1],
    (1, 2),
    "x",
    b"x",
    None,
    ("a\0b", 1),
    ("a" * 300, 1),
]


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_wrong_addresses(target):
    def scene(module):
        with module.socket(type=std.SOCK_DGRAM) as sock:
            return [
                outcome(lambda: sock.sendto(b"x", target)),
                outcome(lambda: sock.connect(target)),
                outcome(lambda: sock.connect_ex(target)),
                outcome(lambda: sock.sendmsg([b"x"], [], 0, target)) if target else None,
            ]

    same(scene)


@pytest.mark.parametrize("target", [("::1", 1, -1, 0), ("::1", 1, 1 << 20, 0), ("::1", 1, 2, 3, 4)])
def test_wrong_ipv6_addresses(target):
    def scene(module):
        with module.socket(std.AF_INET6, std.SOCK_DGRAM) as sock:
            return sock.sendto(b"x", target)

    same(scene)


@pytest.mark.parametrize(
    "target", ["/nonexistent/x", "a" * 200, b"/x", "\0unbound", "x\0y", "", ("x",), 3]
)
def test_wrong_paths(target):
    def scene(module):
        with module.socket(std.AF_UNIX) as sock:
            return sock.connect(target)

    same(scene)


@pytest.mark.parametrize(
    "args", [(), (b"x",), (b"x", 0), ("x", ("::1", 1)), (b"x", "a", ("::1", 1)), (b"x", 0, 0, 0)]
)
def test_sendto_wrong_arguments(args):
    def scene(module):
        with module.socket(std.AF_INET6, std.SOCK_DGRAM) as sock:
            return sock.sendto(*args)

    same(scene)


def test_a_datagram_too_large():
    def scene(module):
        a, b = udp(module)
        with a, b:
            return a.sendto(b"x" * 70000, b.getsockname())

    same(scene)


def test_unix_datagrams(tmp_path):
    def scene(module):
        a, b = (module.socket(std.AF_UNIX, std.SOCK_DGRAM) for _ in range(2))
        with a, b:
            path = str(tmp_path / module.__name__)
            abstract = f"\0{os.getpid()}-{module.__name__}".encode()
            a.bind(path)
            b.bind(abstract)
            return [
                a.sendto(b"1", abstract),
                b.recvfrom(5) == (b"1", path),
                b.sendto(b"2", path),
                a.recvfrom(5) == (b"2", abstract),
            ]

    assert same(scene) == [1, True, 1, True]


# --- messages ----------------------------------------------------------------------------------


def test_descriptors_travel():
    def scene(module):
        a, b = pair(module)
        r, w = os.pipe()
        with a, b:
            found = [module.send_fds(a, [b"data"], [r, w])]
            data, fds, flags, address = module.recv_fds(b, 100, 5)
            os.write(fds[1], b"through")
            found += [data, len(fds), int(flags), address, os.read(r, 10)]
            for fd in (r, w, *fds):
                os.close(fd)
            return found

    assert same(scene)[-1] == b"through"


@pytest.mark.parametrize("room", [0, std.CMSG_LEN(4), std.CMSG_LEN(8)])
def test_truncated_ancillary_data(room):
    def scene(module):
        a, b = pair(module)
        r, w = os.pipe()
        with a, b:
            rights = array.array("i", [r, w, r])
            a.sendmsg([b"x"], [(std.SOL_SOCKET, std.SCM_RIGHTS, rights)])
            data, items, flags, address = b.recvmsg(10, room)
            for _, _, arrived in items:
                for (fd,) in struct.iter_unpack("i", arrived):
                    os.close(fd)
            os.close(r)
            os.close(w)
            return data, [len(item[2]) for item in items], int(flags), address

    same(scene)


MESSAGES = [
    (),
    (3,),
    ([3],),
    ([b"x"], 3),
    ([b"x"], [3]),
    ([b"x"], [(1, 2)]),
    ([b"x"], [("a", 2, b"")]),
    ([b"x"], [], "flags"),
    ([b"x"], [], 0, None),
    ([b"x"] * 2000,),
    ([b"x"], [(std.SOL_SOCKET, std.SCM_RIGHTS, b"\xff\xff\xff\x7f")]),
    ([],),
]


@pytest.mark.parametrize("args", MESSAGES, ids=lambda args: repr(args)[:40])
def test_sendmsg_arguments(args):
    def scene(module):
        a, b = pair(module)
        with a, b:
            try:
                return a.sendmsg(*args)
            except TypeError as error:
                # CPython 3.14 asks for a tuple in words where others ask for a sequence.
                raise TypeError(str(error).replace("sequence", "tuple")) from None

    same(scene)


@pytest.mark.parametrize(
    "args",
    [(-1,), ("x",), (9, -1), (9, 1 << 40), (9, 0, "x"), (9, 0, 0, 0), (2,), (9, 9, std.MSG_PEEK)],
)
def test_recvmsg_arguments(args):
    def scene(module):
        a, b = pair(module)
        with a, b:
            b.send(b"hello")
            return [
                outcome(lambda: a.recvmsg(*args)),
                outcome(lambda: a.recvmsg_into([bytearray(2)], *args[1:])),
            ]

    same(scene)


@pytest.mark.parametrize("buffers", [3, [3], [b"read-only"], None, [], (bytearray(1),)], ids=repr)
def test_recvmsg_into_buffers(buffers):
    def scene(module):
        a, b = pair(module)
        with a, b:
            b.send(b"hello")
            return a.recvmsg_into(buffers)

    same(scene)


def test_messages_let_others_run():
    a, b = green.socketpair()
    with a, b:
        g = eventlet.spawn(a.recvmsg, 10)
        eventlet.sleep(0)
        b.sendmsg([b"be", b"fore"])
        assert g.wait()[0] == b"before"
        a.settimeout(0.005)
        with pytest.raises(TimeoutError):
            a.recvmsg(10)
        with pytest.raises(TimeoutError):
            while True:
                a.sendmsg([b"x" * 65536])
        a.setblocking(False)
        with pytest.raises(BlockingIOError):
            a.recvmsg_into([bytearray(1)])


def test_a_call_that_shall_not_wait(tmp_path):
    a, b = green.socketpair()
    with a, b:
        calls = [
            lambda: a.recv(1, std.MSG_DONTWAIT),
            lambda: a.recv_into(bytearray(1), 1, std.MSG_DONTWAIT),
            lambda: a.recvfrom(1, std.MSG_DONTWAIT),
            lambda: a.recvmsg(1, 0, std.MSG_DONTWAIT),
            lambda: [a.send(b"x" * 65536, std.MSG_DONTWAIT) for _ in range(1000)],
            lambda: a.sendmsg([b"x" * 65536], [], std.MSG_DONTWAIT),
        ]
        for call in calls:
            with eventlet.Timeout(5), pytest.raises(BlockingIOError):
                call()


@pytest.mark.skipif(not hasattr(std, "SOCK_NONBLOCK"), reason="has no such flag")
def test_a_socket_made_not_to_wait():
    def scene(module):
        with module.socket(type=std.SOCK_STREAM | std.SOCK_NONBLOCK) as sock:
            return sock.gettimeout(), sock.type

    assert same(scene) == (0.0, std.SOCK_STREAM)


# --- files -------------------------------------------------------------------------------------

RANGES = [(), (10,), (10, 5), (0, 0), (0, -1), (0, "x"), (1000,), (95, 100), ("x",), (-5,)]


@pytest.mark.parametrize("args", RANGES, ids=repr)
def test_sendfile_arguments(args, tmp_path):
    path = tmp_path / "data"
    path.write_bytes(bytes(range(100)))

    def scene(module):
        a, b = pair(module)
        with a, b, path.open("rb") as file:
            file.seek(5)
            sent = outcome(lambda: a.sendfile(file, *args))
            a.send(b".")
            return sent, file.tell(), b.recv(1000)

    same(scene)


def test_sendfile_of_other_files(tmp_path):
    def scene(module):
        a, b = pair(module)
        with a, b, open(__file__) as text:
            closed = open(__file__, "rb")
            closed.close()
            return [
                outcome(lambda: a.sendfile(text)),
                a.sendfile(io.BytesIO(b"abcdef"), 2, 3),
                b.recv(10),
                outcome(lambda: a.sendfile(closed))[0],
            ]

    assert same(scene)[1:3] == [3, b"cde"]


def test_sendfile_without_waiting(tmp_path):
    a, b = green.socketpair()
    with a, b, open(__file__, "rb") as file:
        a.setblocking(False)
        with pytest.raises(ValueError):
            a.sendfile(file)


def test_sendfile_that_fails_in_between(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(bytes(1 << 20))
    a, b = green.socketpair()
    with a, b, path.open("rb") as file:
        a.settimeout(0.005)
        with pytest.raises(TimeoutError):
            a.sendfile(file)
        got = file.tell()
        assert got
        a.close()
        assert sum(len(part) for part in iter(lambda: b.recv(65536), b"")) == got


# --- other things ------------------------------------------------------------------------------


def test_nothing_is_missing():
    assert [name for name in dir(std) if not hasattr(green, name)] == []
    assert hasattr(green, "fromshare") == hasattr(std, "fromshare")


def test_closed():
    def scene(module):
        a, b = pair(module)
        b.close()
        a.close()
        calls = {
            "recv": (1,),
            "send": (b"x",),
            "sendall": (b"x",),
            "recv_into": (bytearray(1),),
            "recvfrom": (1,),
            "recvmsg": (1,),
            "sendmsg": ([b"x"],),
            "sendto": (b"x", "/tmp/x"),
            "connect": ("/tmp/x",),
            "accept": (),
            "listen": (),
            "shutdown": (2,),
            "dup": (),
            "fileno": (),
            "detach": (),
            "close": (),
        }
        return [outcome(lambda n=n, a_=a_: getattr(a, n)(*a_)) for n, a_ in calls.items()]

    same(scene)


def test_create_connection_tells_all_errors():
    def scene(module):
        if sys.version_info < (3, 11):
            return None
        with pytest.raises(ExceptionGroup) as raised:  # noqa: F821 (3.11)
            module.create_connection(("127.0.0.1", 1), timeout=5, all_errors=True)
        return [(type(error), error.errno) for error in raised.value.exceptions]

    same(scene)


def test_create_server_for_both_families():
    if not green.has_dualstack_ipv6():
        pytest.skip("the system has no dual-stack sockets")
    with green.create_server(("", 0), family=std.AF_INET6, dualstack_ipv6=True) as server:
        assert type(server) is green.socket
        for host in "127.0.0.1", "::1":
            with green.create_connection((host, server.getsockname()[1])):
                conn, _ = server.accept()
                conn.close()


def test_audit_events_of_native_calls():
    heard = []
    hears = True

    def hook(event, args):
        if hears and event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            heard.append((event, args[1]))

    sys.addaudithook(hook)
    try:
        a, b = udp(green)
        with a, b:
            to = b.getsockname()
            a.sendto(b"x", to)
            a.sendmsg([b"x"], [], 0, to)
            a.connect(to)
            a.sendmsg([b"x"])
    finally:
        hears = False
    events = ["socket.sendto", "socket.sendmsg", "socket.connect"]
    assert heard == [*((event, to) for event in events), ("socket.sendmsg", None)]


# --- plain sockets, green ----------------------------------------------------------------------


def call(sock, name, *args):
    return _core._call_plain(sock, name, args)


@pytest.mark.parametrize("timeout", [None, 5])
def test_a_plain_socket_waits_green(timeout):
    with std.create_server(("127.0.0.1", 0)) as server, std.socket() as client:
        server.settimeout(timeout)
        client.settimeout(timeout)
        accepting = eventlet.spawn(call, server, "_accept")
        eventlet.sleep(0)
        call(client, "connect", server.getsockname())
        fd, address = accepting.wait()
        assert address == client.getsockname()
        with std.socket(fileno=fd) as conn:
            conn.settimeout(timeout)
            assert os.get_blocking(fd) == (timeout is None)
            receiving = eventlet.spawn(call, conn, "recv", 10)
            eventlet.sleep(0)
            assert call(client, "send", b"ping") == 4
            assert receiving.wait() == b"ping"
            data = os.urandom(4 << 20)
            sending = eventlet.spawn(call, client, "sendall", data)
            got = bytearray()
            while len(got) < len(data):
                got += call(conn, "recv", 1 << 16)
            assert got == data
            assert sending.wait() is None
            assert os.get_blocking(client.fileno()) == (timeout is None)


def test_a_plain_socket_times_out():
    a, b = std.socketpair()
    with a, b:
        a.settimeout(0.005)
        with pytest.raises(TimeoutError):
            call(a, "recv", 1)
        with pytest.raises(TimeoutError):
            call(a, "recvmsg", 1)
        a.settimeout(0)
        with pytest.raises(BlockingIOError):
            call(a, "recv", 1)


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_a_plain_socket_and_wrong_addresses(target):
    def with_plain(name, *args):
        with std.socket(type=std.SOCK_DGRAM) as sock:
            return call(sock, name, *args)

    def itself(name, *args):
        with std.socket(type=std.SOCK_DGRAM) as sock:
            return getattr(sock, name)(*args)

    for args in [("sendto", b"x", target), ("connect", target), ("connect_ex", target)]:
        assert outcome(lambda a=args: with_plain(*a)) == outcome(lambda a=args: itself(*a))


def test_a_plain_connect_by_name():
    with std.create_server(("127.0.0.1", 0)) as server, std.socket() as client:
        call(client, "connect", ("localhost", server.getsockname()[1]))
        assert client.getpeername() == server.getsockname()
