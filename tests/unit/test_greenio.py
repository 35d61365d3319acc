"""Green pipes and files, and the helpers of `eventlet.greenio`."""

import errno
import io
import os
import socket as std

import eventlet
import pytest
from eventlet import greenio

ours = pytest.mark.skipif(
    not hasattr(eventlet, "__implementation__"), reason="differs from upstream on purpose"
)


@pytest.fixture
def pipe():
    r, w = os.pipe()
    reader, writer = greenio.GreenPipe(r, "rb"), greenio.GreenPipe(w, "wb", 0)
    yield reader, writer
    reader.close()
    writer.close()


def test_reading_lets_others_run(pipe):
    reader, writer = pipe
    g = eventlet.spawn(reader.readline)
    eventlet.sleep(0)
    writer.write(b"a li")
    eventlet.sleep(0)
    writer.write(b"ne\nrest")
    assert g.wait() == b"a line\n"


def test_writing_lets_others_run(pipe):
    reader, writer = pipe
    data = os.urandom(1 << 20)

    def write():
        count = writer.write(data)
        writer.close()
        return count

    g = eventlet.spawn(write)
    assert reader.read() == data
    assert g.wait() == len(data)


def test_read_to_the_end_in_parts(pipe):
    reader, writer = pipe
    g = eventlet.spawn(reader.read)
    for part in (b"one", b"two"):
        eventlet.sleep(0)
        writer.write(part)
    writer.close()
    assert g.wait() == b"onetwo"


def test_pipe_takes_a_duplicate_of_a_file_and_closes_it():
    r, w = os.pipe()
    original = os.fdopen(r, "rb")
    reader = greenio.GreenPipe(original, "rb")
    assert original.closed
    os.write(w, b"x")
    os.close(w)
    with reader:
        assert reader.read() == b"x"


def test_context_manager_closes():
    r, w = os.pipe()
    with greenio.GreenPipe(r) as reader, greenio.GreenPipe(w, "w") as writer:
        pass
    assert reader.closed and writer.closed
    with pytest.raises(OSError):
        os.fstat(r)


@pytest.mark.parametrize(
    "mode, before, written, after",
    [
        ("w", "old content", "new", "new"),
        ("a", "old,", "new", "old,new"),
        ("r+", "old content", "new", "new content"),
        ("w+", "old", "new", "new"),
        ("a+", "old,", "new", "old,new"),
    ],
)
@pytest.mark.parametrize("binary", [False, True])
def test_modes_of_regular_files(tmp_path, mode, before, written, after, binary):
    path = tmp_path / "file"
    path.write_text(before)
    with greenio.GreenPipe(str(path), mode + ("b" if binary else "")) as file:
        file.write(written.encode() if binary else written)
    assert path.read_text() == after


def test_seek_tell_truncate(tmp_path):
    with greenio.GreenPipe(str(tmp_path / "file"), "wb+", 1024) as file:
        file.write(b"1234567890")
        file.seek(0, 2)
        assert file.tell() == 10
        file.seek(-4, 1)
        assert file.read() == b"7890"
        file.truncate(5)
        assert file.tell() == 5
        file.seek(0)
        assert file.read() == b"12345"


def test_text_layer(tmp_path):
    path = tmp_path / "file"
    with greenio.GreenPipe(str(path), "w", encoding="utf-8", newline="\r\n") as file:
        file.write("grün\n")
    assert path.read_bytes() == "grün\r\n".encode()
    with greenio.GreenPipe(str(path), encoding="utf-8") as file:
        assert file.read() == "grün\n"


@pytest.mark.parametrize("mode", ["", "rw", "rr", "q", "rbt", "+"])
@ours
def test_wrong_modes(mode):
    r, w = os.pipe()
    with pytest.raises(ValueError):
        greenio.GreenPipe(r, mode)
    os.close(r)
    os.close(w)


@ours
def test_wrong_direction(pipe):
    reader, writer = pipe
    with pytest.raises(io.UnsupportedOperation):
        reader.write(b"x")
    with pytest.raises(io.UnsupportedOperation):
        writer.read(1)


def test_unbuffered_text_is_refused():
    r, w = os.pipe()
    with pytest.raises(ValueError):
        greenio.GreenPipe(w, "w", 0)
    for fd in (r, w):
        try:
            os.close(fd)
        except OSError:
            pass


def test_closed_pipe(pipe):
    reader, writer = pipe
    writer.close()
    with pytest.raises(ValueError):
        writer.write(b"x")
    reader.close()
    with pytest.raises(ValueError):
        reader.read()


def test_broken_pipe(pipe):
    reader, writer = pipe
    reader.close()
    with pytest.raises(OSError) as caught:
        writer.write(b"x")
    assert caught.value.errno == errno.EPIPE


@ours
def test_pipe_for_both_directions():
    a, b = std.socketpair()
    with b, greenio.GreenPipe(a.detach(), "r+b") as file:
        file.write(b"out")
        file.flush()
        assert b.recv(10) == b"out"
        b.sendall(b"in\n")
        assert file.readline() == b"in\n"


# --- helpers -----------------------------------------------------------------------------------


def test_set_nonblocking():
    r, w = os.pipe()
    with std.socket() as sock, os.fdopen(r, "rb") as file:
        greenio.set_nonblocking(sock)
        assert not os.get_blocking(sock.fileno())
        greenio.set_nonblocking(file)
        assert not os.get_blocking(r)
    os.close(w)


def test_shutdown_safe():
    a, b = std.socketpair()
    with b:
        greenio.shutdown_safe(a)
        assert b.recv(1) == b""
        a.close()
        greenio.shutdown_safe(a)
    with std.socket() as unconnected:
        greenio.shutdown_safe(unconnected)


def test_socket_connect_and_accept_without_waiting():
    with std.socket() as server, std.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        client.setblocking(False)
        base = greenio.base
        assert base.socket_accept(server) is None
        base.socket_connect(client, server.getsockname())
        eventlet.hubs.trampoline(client, write=True)
        assert base.socket_connect(client, server.getsockname()) is client
        base.socket_checkerr(client)
        eventlet.hubs.trampoline(server, read=True)
        conn, _ = base.socket_accept(server)
        conn.close()


def test_names_that_programs_use():
    assert greenio.socket_timeout is std.timeout
    assert greenio._fileobject is std.SocketIO
    assert errno.EAGAIN in greenio.SOCKET_BLOCKING
    assert errno.EPIPE in greenio.SOCKET_CLOSED
    assert errno.EINPROGRESS in greenio.CONNECT_ERR
    assert 0 in greenio.CONNECT_SUCCESS
    assert issubclass(greenio.SSL.WantReadError, Exception)
    with pytest.raises(AttributeError):
        getattr(greenio, "no_such_name")  # noqa: B009
