"""Processes: `eventlet.green.subprocess` and the patched standard module."""

import os
import signal
import subprocess as std
import sys
import textwrap

import eventlet
import pytest
from eventlet.green import os as green_os, subprocess


def python(script):
    return [sys.executable, "-c", textwrap.dedent(script)]


def held():
    """A process that ends when its standard input is closed."""
    return subprocess.Popen(["cat"], stdin=subprocess.PIPE)


def alongside(function, *args, **kwargs):
    g = eventlet.spawn(function, *args, **kwargs)
    eventlet.sleep(0)
    assert not g.dead, "it did not wait"
    return g


def test_communicate_lets_others_run():
    p = subprocess.Popen(
        ["sh", "-c", "read x; echo $x; echo bad >&2"], stdin=-1, stdout=-1, stderr=-1
    )
    g = alongside(p.communicate, b"tea\n")
    assert g.wait() == (b"tea\n", b"bad\n") and p.returncode == 0


def test_much_in_both_directions():
    data = bytes(range(256)) * 4000
    assert subprocess.run(["cat"], input=data, stdout=subprocess.PIPE).stdout == data


def test_pipes_by_hand():
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        g = alongside(p.stdout.readline)
        p.stdin.write(b"tea\n")
        p.stdin.flush()
        assert g.wait() == b"tea\n"
    assert p.returncode == 0 and p.stdin.closed and p.stdout.closed


@pytest.mark.parametrize("bufsize", [-1, 0, 1, 4096])
def test_text_and_buffer_sizes(bufsize):
    p = subprocess.Popen(
        ["cat"], bufsize=bufsize, stdin=-1, stdout=-1, text=True, encoding="utf-8", errors="strict"
    )
    assert p.communicate("täa\n") == ("täa\n", None)


def test_wait_with_a_timeout():
    p = subprocess.Popen(["sleep", "60"])
    with pytest.raises(std.TimeoutExpired) as error:
        p.wait(timeout=0.001)
    assert error.value.cmd == ["sleep", "60"] and error.value.timeout == 0.001
    with pytest.raises(std.TimeoutExpired):
        p.wait(0.001, 0.01)
    g = alongside(p.wait)
    p.terminate()
    assert g.wait() == -signal.SIGTERM == p.wait() == p.poll()


def test_communicate_with_a_timeout_can_be_repeated():
    here, there = os.pipe()
    program = python(f"import os; input(); os.read({here}, 1); print('tea')")
    p = subprocess.Popen(program, stdin=-1, stdout=-1, pass_fds=[here])
    with pytest.raises(std.TimeoutExpired):
        p.communicate(b"\n", timeout=0.001)
    os.write(there, b"x")
    assert p.communicate() == (b"tea\n", None)
    os.close(here)
    os.close(there)


def test_many_wait_for_one_process():
    p = held()
    waiters = [alongside(p.wait) for _ in range(3)]
    p.stdin.close()
    assert [g.wait() for g in waiters] == [0, 0, 0]


def test_child_that_somebody_else_has_reaped():
    p = subprocess.Popen(["true"])
    os.waitpid(p.pid, 0)
    assert p.wait() == 0  # nobody knows: as in the standard module


def test_status_that_is_reported_for_a_stopped_child(monkeypatch):
    p = subprocess.Popen(["true"])
    os.waitpid(p.pid, 0)
    # What a tracer sees: stopped by signal 3.
    monkeypatch.setattr(green_os, "waitpid", lambda pid, options: (pid, 3 << 8 | 0x7F))
    assert p.wait() == -3


def test_pipe_that_two_processes_share_stays_blocking():
    shows = python("import os; print(os.get_blocking(0), len(os.read(0, 9)))")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        with subprocess.Popen(shows, stdin=first.stdout, stdout=subprocess.PIPE) as second:
            first.stdin.write(b"tea")
            first.stdin.close()
            assert second.communicate() == (b"True 3\n", None)


def test_line_buffering_of_bytes_is_warned_of():
    with pytest.warns(RuntimeWarning, match="line buffering"):
        p = subprocess.Popen(["cat"], bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with p:
        p.communicate(b"tea")
    assert p.returncode == 0


def test_functions_and_their_errors():
    assert subprocess.call(["sh", "-c", "exit 3"]) == 3
    assert subprocess.check_call(["true"]) == 0
    assert subprocess.check_output(["echo", "tea"]) == b"tea\n"
    assert subprocess.getoutput("echo tea") == "tea"
    assert subprocess.getstatusoutput("exit 3") == (3, "")
    with pytest.raises(std.CalledProcessError) as error:
        subprocess.run(["sh", "-c", "exit 3"], check=True)
    assert error.value.returncode == 3
    with pytest.raises(FileNotFoundError):
        subprocess.Popen(["/none"])
    with pytest.raises(std.TimeoutExpired):
        subprocess.run(["sleep", "60"], timeout=0.001)
    with pytest.raises(TypeError):
        subprocess.Popen(["true"], bufsize="1")


@pytest.mark.parametrize("name", ["CalledProcessError", "TimeoutExpired", "CompletedProcess"])
def test_classes_are_the_standard_module_s(name):
    assert getattr(subprocess, name) is getattr(std, name)


def test_descriptors_are_passed_on():
    import os

    here, there = os.pipe()
    p = subprocess.Popen(["sh", "-c", f"echo tea > /dev/fd/{there}"], pass_fds=[there])
    os.close(there)
    p.wait()
    with os.fdopen(here) as reader:
        assert reader.read() == "tea\n"


def test_killed_waiter_leaves_the_process():
    p = held()
    alongside(p.wait).kill()
    p.stdin.close()
    assert p.wait() == 0


def test_without_pidfds(monkeypatch):
    # Any options but the plain ones go to a native thread, as they do where there are no pidfds.
    from eventlet.green import os
    from greenlet import _core

    monkeypatch.setattr(
        subprocess._core,
        "wait_child",
        lambda *a, f=_core.wait_child: f(*a[:2], a[2] | os.WSTOPPED, *a[3:]),
    )
    p = held()
    with pytest.raises(std.TimeoutExpired):
        p.wait(0.001)
    g = alongside(p.wait)
    p.stdin.close()
    assert g.wait() == 0


def test_patched_popen_is_the_standard_one():
    script = """
        import os, subprocess
        from subprocess import Popen
        class Mine(Popen): pass
        import eventlet
        eventlet.monkey_patch()

        def child(kind, command, **options):
            # It goes on when another green thread has had its turns, which it has if nobody blocks.
            read, write = os.pipe()
            process = kind("read line; " + command, shell=True, stdin=read, **options)
            def go_on():
                for _ in range(3):
                    eventlet.sleep(0)
                os.write(write, b"x\\n")
            eventlet.spawn(go_on)
            return process

        for kind in (Popen, Mine, subprocess.Popen):
            print(child(kind, "echo tea", stdout=subprocess.PIPE).communicate(timeout=20))
        print(child(Popen, "exit 3").wait(20))
        print(Popen is subprocess.Popen)
        import multiprocessing
        context = multiprocessing.get_context("fork")
        process = context.Process(target=print, args=("child",))
        process.start(); process.join()
        print(process.exitcode)
    """
    done = std.run(python(script), capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["(b'tea\\n', None)"] * 3 + [
        "3",
        "True",
        "child",
        "0",
    ]
