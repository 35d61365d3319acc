"""Every example runs, with the result it promises."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, *args, timeout=60):
    command = [sys.executable, str(EXAMPLES / name), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


@pytest.fixture
def start():
    """Starts a server; gives its process and the port it prints."""
    started = []

    def start(name, *args):
        command = [sys.executable, str(EXAMPLES / name), "--port", "0", *map(str, args)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, int(process.stdout.readline().rsplit(None, 1)[1])

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def table(text):
    return dict(re.findall(r"^(\w[\w ,-]*?) +([\d.]+)x?$", text, re.M))


def test_two_greenlets():
    done = run("two_greenlets.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "12\n56\n34\n", "")


def test_fetch_many():
    done = run("fetch_many.py", "--requests", 60, "--concurrency", 20)
    assert done.returncode == 0, done.stderr
    values = table(done.stdout)
    assert values["requests"] == "60"
    assert values["failures"] == "0"
    assert float(values["sum of the waits, s"]) >= 60 * 0.05
    assert float(values["speed-up"]) > 2
    assert float(values["peak memory, MiB"]) > 0
    assert "\r" not in done.stdout, "no progress bar unless it is a terminal"


def test_fetch_many_fails_on_failures(tmp_path):
    # A server that answers wrongly.
    (tmp_path / "fetch_many.py").write_text((EXAMPLES / "fetch_many.py").read_text())
    server = (EXAMPLES / "slow_server.py").read_text().replace("you asked for ", "no ", 1)
    (tmp_path / "slow_server.py").write_text(server.replace("head.split()[1]", "b'!'"))
    command = [sys.executable, str(tmp_path / "fetch_many.py"), "--requests", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert table(done.stdout)["failures"] == "3"
    assert "wrong answer" in done.stderr


def test_fetch_many_shows_progress_on_a_terminal():
    pty = pytest.importorskip("pty")
    import os

    ours, theirs = pty.openpty()
    command = [sys.executable, str(EXAMPLES / "fetch_many.py"), "--requests", "10"]
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:
        pass  # how Linux reports that the other side has gone
    os.close(ours)
    problems = process.communicate(timeout=60)[1]
    assert process.returncode == 0, problems
    assert b"10/10" in shown and b"#####" in shown


def test_echo(start):
    server, port = start("echo_server.py", "--connections", 5)
    done = run("echo_client.py", "--port", port, "--connections", 5, "--messages", 10)
    assert (done.returncode, done.stdout) == (0, "50 of 50 messages came back\n"), done.stderr
    assert server.wait(30) == 0


def test_chat(start):
    server, port = start("chat_server.py", "--guests", 2)
    with socket.create_connection(("127.0.0.1", port)) as ada:
        heard = ada.makefile("r")
        with socket.create_connection(("127.0.0.1", port)) as bob:
            assert heard.readline() == "* guest2 has come\n"
            bob.sendall(b"good evening\n")
            assert heard.readline() == "guest2: good evening\n"
            ada.sendall(b"to you, too\n")
            assert bob.makefile("r").readline() == "guest1: to you, too\n"
        assert heard.readline() == "* guest2 has left\n"
        heard.close()
    assert server.wait(30) == 0


def test_producer_consumer():
    done = run("producer_consumer.py", "--items", 4)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("8 items, 8 different\n")


def test_ticker():
    done = run("ticker.py", "--ticks", 3, "--interval", 0.05)
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[:3]] == [
        ["tick", "1"],
        ["tick", "2"],
        ["tick", "3"],
    ]
    assert "not printed" not in done.stdout
