"""Files and descriptors: `eventlet.green.os`, `green.builtin`, and the patched standard modules."""

import errno
import fcntl
import io
import os as std
import pty
import socket
import subprocess
import sys
import textwrap
import warnings

import eventlet
import pytest
from eventlet import greenio
from eventlet.green import builtin, os
from greenlet import _core


@pytest.fixture
def pipe():
    here, there = std.pipe()
    yield here, there
    for fd in (here, there):
        try:
            std.close(fd)
        except OSError:
            pass


def alongside(function, *args):
    """Calls it in a green thread that others outlive; returns that."""
    g = eventlet.spawn(function, *args)
    eventlet.sleep(0)
    assert not g.dead, "it did not wait"
    return g


def test_read_waits_for_its_own_green_thread_alone(pipe):
    here, there = pipe
    g = alongside(os.read, here, 10)
    assert std.get_blocking(here)
    std.write(there, b"tea")
    assert g.wait() == b"tea"
    std.close(there)
    assert os.read(here, 10) == b""


def test_write_of_more_than_fits_takes_all(pipe):
    here, there = pipe
    data = bytes(range(256)) * 2000
    g = alongside(os.write, there, data)
    got = b""
    while len(got) < len(data):
        got += os.read(here, 100_000)
    assert g.wait() == len(data) and got == data


@pytest.mark.parametrize("data", [bytearray(b"tea"), memoryview(b"tea"), b"tea"])
def test_write_of_any_bytes(pipe, data):
    here, there = pipe
    assert os.write(there, data) == 3 and os.read(here, 9) == b"tea"


def test_what_the_program_made_non_blocking_stays_so(pipe):
    here, there = pipe
    std.set_blocking(here, False)
    with pytest.raises(BlockingIOError):
        os.read(here, 1)


@pytest.mark.parametrize("make", [std.pipe, lambda: [s.detach() for s in socket.socketpair()]])
def test_green_file_leaves_the_flags_to_whom_it_shares_them_with(make):
    here, there = make()
    with greenio.GreenPipe(here, "rb", 0) as file, greenio.GreenPipe(there, "wb", 0) as out:
        assert std.get_blocking(here) and std.get_blocking(there)
        g = alongside(file.read, 10)
        out.write(b"tea")
        assert g.wait() == b"tea"
        g = alongside(os.read, here, 10)
        out.write(b"cup")
        assert g.wait() == b"cup"
        g = alongside(out.write, bytes(1_000_000))
        got = 0
        while got < 1_000_000:
            got += len(file.read(100_000))
        assert g.wait() == 1_000_000


def test_bad_arguments(pipe):
    here, there = pipe
    with pytest.raises(OSError) as error:
        os.read(here, -1)
    assert error.value.errno == errno.EINVAL
    with pytest.raises(TypeError):
        os.write(there, "tea")
    for call in (lambda: os.read(9999, 1), lambda: os.write(9999, b"x"), lambda: os.fsync(9999)):
        with pytest.raises(OSError) as error:
            call()
        assert error.value.errno == errno.EBADF
    with pytest.raises(TypeError, match="invalid fd type"):
        os.fdopen("3")
    with pytest.raises(BrokenPipeError):
        std.close(here)
        os.write(there, b"tea")


def test_killed_reader_leaves_the_descriptor_usable(pipe):
    here, there = pipe
    alongside(os.read, here, 10).kill()
    std.write(there, b"tea")
    assert os.read(here, 10) == b"tea"


def test_descriptor_closed_meanwhile_reads_as_the_end(pipe):
    here, there = pipe
    g = alongside(os.read, here, 10)
    eventlet.hubs.notify_close(here)
    std.write(there, b"x")
    assert g.wait() == b""


def test_sockets_and_terminals():
    left, right = socket.socketpair()
    g = alongside(os.read, left.fileno(), 10)
    assert os.write(right.fileno(), b"tea") == 3 and g.wait() == b"tea"
    left.close(), right.close()
    control, terminal = pty.openpty()
    g = alongside(os.read, control, 10)
    std.write(terminal, b"tea")
    assert g.wait() == b"tea"
    std.close(control), std.close(terminal)


def test_regular_files(tmp_path):
    path = tmp_path / "cup"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    assert os.write(fd, b"tea" * 1000) == 3000
    os.fsync(fd), os.fdatasync(fd)
    std.lseek(fd, 0, std.SEEK_SET)
    assert os.read(fd, 5000) == b"tea" * 1000 and os.read(fd, 1) == b""
    std.close(fd)
    with pytest.raises(IsADirectoryError):
        fd = std.open(tmp_path, std.O_RDONLY)
        try:
            os.read(fd, 1)
        finally:
            std.close(fd)


@pytest.mark.parametrize("kind", ["flock", "lockf"])
def test_locked_file_is_waited_for(tmp_path, kind):
    path = tmp_path / "lock"
    script = f"""
        import fcntl, sys
        file = open(sys.argv[1], "w")
        fcntl.{kind}(file, fcntl.LOCK_EX)
        print("locked", flush=True)
        sys.stdin.read()
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder, open(path, "w") as file:
        holder.stdout.readline()
        lock = os._lock if kind == "flock" else os._lock_range
        with pytest.raises(BlockingIOError):
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        killed = alongside(lock, file, fcntl.LOCK_EX)
        g = alongside(lock, file, fcntl.LOCK_EX)
        killed.kill()
        holder.stdin.close()
        g.wait()
        lock(file, fcntl.LOCK_UN)
    with pytest.raises(ValueError):
        _core.file_lock(0, 77, (0, 0, 0))


def test_fifo_is_opened_when_its_other_side_is(tmp_path):
    path = tmp_path / "fifo"
    std.mkfifo(path)
    g = alongside(lambda: builtin.open(path).read())
    with builtin.open(path, "w") as writer:
        eventlet.sleep(0)
        writer.write("tea")
    assert g.wait() == "tea"
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    std.close(fd)


def test_files_of_the_green_builtin(tmp_path):
    path = tmp_path / "cup"
    with builtin.open(path, "w", encoding="utf-8") as file:
        file.write("täa\n" * 3)
    with builtin.open(str(path), encoding="utf-8") as file:
        assert list(file) == ["täa\n"] * 3
    with builtin.open(path, "ab") as file:
        assert file.tell() == 15
    with builtin.open(path, "rb", 0) as file:
        assert file.readall() == "täa\n".encode() * 3
    with pytest.raises(IsADirectoryError):
        builtin.open(tmp_path)
    with pytest.raises(FileNotFoundError):
        builtin.open(tmp_path / "none")
    with pytest.raises(FileExistsError):
        builtin.open(path, "x")
    with pytest.raises(ValueError):
        builtin.open(path, "rw")
    with pytest.raises(TypeError):
        builtin.open(3.5)
    fd = std.open(path, std.O_RDONLY)
    with builtin.open(fd, "rb", closefd=False) as file:
        assert file.read(1) == b"t"
    std.close(fd)


def test_green_threads_take_turns_at_one_file():
    here, there = std.pipe()
    reader = greenio.GreenPipe(here, "rb")
    readers = [alongside(reader.readline) for _ in range(2)]
    std.write(there, b"a\nb\n")
    assert sorted(g.wait() for g in readers) == [b"a\n", b"b\n"]
    waiting = alongside(reader.readline)
    reader.close()
    with pytest.raises((OSError, ValueError)):
        waiting.wait()
    std.close(there)


def test_fdopen_is_green():
    here, there = std.pipe()
    with os.fdopen(here) as reader, os.fdopen(there, "w", 1) as writer:
        g = alongside(reader.readline)
        writer.write("tea\n")
        assert g.wait() == "tea\n" and isinstance(reader, io.TextIOBase)


# ---- child processes


def child(seconds=0.01, status=3):
    return std.posix_spawn("/bin/sh", ["sh", "-c", f"sleep {seconds}; exit {status}"], std.environ)


@pytest.mark.parametrize("call", ["waitpid", "wait4", "waitid", "wait", "wait3", "group"])
def test_children_are_waited_for(call):
    pid = child()
    calls = {
        "waitpid": lambda: os.waitpid(pid, 0),
        "wait4": lambda: os.wait4(pid, 0)[:2],
        "waitid": lambda: (os.waitid(os.P_PID, pid, os.WEXITED).si_pid, 3 << 8),
        "wait": os.wait,
        "wait3": lambda: os.wait3(0)[:2],
        "group": lambda: os.waitpid(0, 0),
    }
    assert alongside(calls[call]).wait() == (pid, 3 << 8)


def test_no_child_and_no_hang():
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, 0)
    with pytest.raises(ChildProcessError):
        os.wait4(std.getpid(), 0)
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED)
    pid = child(60)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0) and os.wait4(pid, os.WNOHANG)[0] == 0
    assert not _core.wait_child(os.P_PID, pid, os.WEXITED, 0.001)
    assert not _core.wait_child(os.P_PID, pid, os.WEXITED | os.WSTOPPED, 0.001)
    killed = alongside(os.waitpid, pid, 0)
    killed.kill()
    std.kill(pid, 9)
    assert os.waitpid(pid, 0) == (pid, 9)


def test_stops_are_told():
    pid = child(60)
    g = alongside(os.waitpid, pid, os.WUNTRACED)
    std.kill(pid, 19)
    found, status = g.wait()
    assert found == pid and std.WIFSTOPPED(status)
    std.kill(pid, 9)
    os.waitpid(pid, 0)


def test_system_and_popen():
    assert alongside(os.system, "sleep 0.01; exit 3").wait() == 3 << 8
    with os.popen("sleep 0.01; echo tea") as file:
        assert file.read() == "tea\n"
    assert os.popen("exit 3").close() == 3 << 8


def test_open_has_the_names_of_the_standard_one(tmp_path):
    fd = os.open(path=tmp_path / "x", flags=os.O_CREAT | os.O_RDONLY, mode=0o600, dir_fd=None)
    std.close(fd)


@pytest.mark.parametrize("call", [os.fsync, os.fdatasync, os.fdopen])
def test_bool_as_a_descriptor_is_warned_of(call):
    if sys.version_info < (3, 13):
        pytest.skip("CPython warns since 3.13")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.raises(RuntimeWarning, match="bool is used as a file descriptor"):
            call(False)


def test_sync_of_what_is_no_descriptor():
    with pytest.raises(TypeError, match="argument must be an int, or have a fileno"):
        os.fsync("tea")
    with pytest.raises(ValueError, match="negative"):
        os.fsync(-1)


def test_green_open_is_among_what_takes_a_directory():
    assert os.open in os.supports_dir_fd and os.open not in std.supports_dir_fd
    script = """
        import os
        import eventlet
        before = set(os.supports_dir_fd)
        eventlet.monkey_patch()
        assert os.open in os.supports_dir_fd and os.open not in before
        import shutil
        print(shutil.rmtree.avoids_symlink_attacks)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_patched_process_reaches_what_was_taken_before():
    """What each call waits for is done by another green thread, so it hangs where that cannot run."""
    script = """
        import fcntl, os, tempfile
        from os import read, waitpid
        early = open
        import eventlet
        eventlet.monkey_patch()

        def later(function, *args):
            def run():
                for _ in range(3):
                    eventlet.sleep(0)
                function(*args)
            eventlet.spawn(run)

        here, there = os.pipe()
        later(os.write, there, b"tea")
        print(read(here, 10))
        with tempfile.TemporaryDirectory() as folder:
            fifo = os.path.join(folder, "fifo")
            os.mkfifo(fifo)
            def write():
                with early(fifo, "w") as file:
                    for _ in range(3):
                        eventlet.sleep(0)
                    file.write("tea")
            later(write)
            print(early(fifo).read())
            one, other = (early(os.path.join(folder, "lock"), "w") for _ in range(2))
            fcntl.flock(one, fcntl.LOCK_EX)
            later(fcntl.flock, one, fcntl.LOCK_UN)
            print(fcntl.flock(other, fcntl.LOCK_EX))
            one.close(), other.close()
        command = ["sh", "-c", "read line; exit 3"]
        stdin = [(os.POSIX_SPAWN_DUP2, here, 0)]
        pid = os.posix_spawn("/bin/sh", command, os.environ, file_actions=stdin)
        later(os.write, there, b"x\\n")
        print(os.waitstatus_to_exitcode(waitpid(pid, 0)[1]))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["b'tea'", "tea", "None", "3"]
