"""A console in a running program: over each kind of socket, with streams of its own, until the client goes."""

import io
import os
import socket
import subprocess
import sys

import eventlet
import greenlet
import pytest
from eventlet import backdoor, hubs
from eventlet.green import socket as green_socket


class Client:
    """A connection to a backdoor, past the banner."""

    def __init__(self, address, family=socket.AF_INET):
        self.sock = green_socket.socket(family)
        self.sock.connect(address)
        self.file = self.sock.makefile("rw")
        self.banner = self.prompt()

    def prompt(self):
        """What comes before the next prompt."""
        text = ""
        while not text.endswith((">>> ", "... ")):
            more = self.file.read(1)
            assert more, f"the console has gone after {text!r}"
            text += more
        return text[:-4]

    def ask(self, *lines):
        """What the console answers to these lines."""
        answer = ""
        for line in lines:
            self.file.write(line + "\n")
            self.file.flush()
            answer += self.prompt()
        return answer

    def close(self):
        self.file.close()
        self.sock.close()


@pytest.fixture
def listener():
    sock = eventlet.listen(("127.0.0.1", 0))
    yield sock
    sock.close()


@pytest.fixture
def serve(listener):
    """Starts a server and gives a function that makes clients; all is gone at the end."""
    clients, servers = [], []

    def connect(**options):
        if not servers:
            servers.append(eventlet.spawn(backdoor.backdoor_server, listener, **options))
        clients.append(Client(listener.getsockname()))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()
    for server in servers:
        server.kill()
    while backdoor._consoles:
        eventlet.sleep(0)


def test_expressions_statements_and_blocks(serve):
    client = serve()
    assert f"Python {sys.version.split()[0]}" in client.banner
    assert "(InteractiveConsole)" in client.banner
    assert client.ask("print('hi')") == "hi\n"
    assert client.ask("6 * 7") == "42\n"
    assert client.ask("def f(n):", "    return n + 1", "", "f(1)") == "2\n"
    assert client.ask("x = 'déjà vu'", "x") == "'déjà vu'\n"


def test_carriage_returns_and_syntax_errors(serve):
    client = serve()
    assert client.ask("print(1)\r") == "1\n"
    assert "SyntaxError" in client.ask("1 +")


def test_exceptions_are_shown_and_the_console_goes_on(serve):
    client = serve()
    answer = client.ask("1 / 0")
    assert answer.startswith("Traceback") and "ZeroDivisionError" in answer
    assert client.ask("2") == "2\n"


def test_locals_are_shared_with_the_program(serve):
    mine = {"cups": [1, 2]}
    first, second = serve(locals=mine), serve()
    assert first.ask("cups.append(3)", "tea = 'green'") == ""
    assert second.ask("cups, tea") == "([1, 2, 3], 'green')\n"
    assert mine["tea"] == "green"


def test_each_connection_has_names_of_its_own(serve):
    first, second = serve(), serve()
    first.ask("cup = 1")
    assert "NameError" in second.ask("cup")


def test_input_reads_from_the_client(serve):
    client = serve()
    client.file.write("name = input('who? ')\n")
    client.file.flush()
    assert client.file.read(5) == "who? "
    assert client.ask("ann", "name") == "'ann'\n"


def test_streams_are_the_clients_only_while_its_console_runs(serve, capfd):
    streams = sys.stdin, sys.stdout, sys.stderr
    first, second = serve(locals={"eventlet": eventlet}), serve()
    assert (sys.stdin, sys.stdout, sys.stderr) == streams
    first.file.write("eventlet.sleep(0.02); print('first')\n")
    first.file.flush()
    eventlet.sleep(0.005)  # the first console sleeps
    assert (sys.stdin, sys.stdout, sys.stderr) == streams
    assert second.ask("print('second')") == "second\n"
    assert first.prompt() == "first\n"
    print("mine")
    sys.stdout.flush()
    assert "mine" in capfd.readouterr().out


def test_errors_go_to_the_client(serve):
    client = serve()
    assert client.ask("import sys; _ = sys.stderr.write('err\\n')") == "err\n"
    assert client.ask("sys.stdin is sys.stdout and sys.stdin.isatty()") == "True\n"


@pytest.mark.parametrize("end", ["quit()", "exit()", "raise SystemExit"])
def test_quit_ends_the_connection(serve, end):
    client = serve()
    client.file.write(end + "\n")
    client.file.flush()
    assert client.file.read() in ("", "now exiting InteractiveConsole...\n")  # the latter on 3.13
    assert serve().ask("1") == "1\n"  # the server goes on


def test_end_of_input_ends_the_connection(serve):
    client = serve()
    client.sock.shutdown(socket.SHUT_WR)
    assert "now exiting" in client.file.read()


def test_client_that_vanishes_while_its_code_runs(serve, capfd):
    client = serve(locals={"eventlet": eventlet})
    client.file.write("while True: print('x' * 1000); eventlet.sleep(0)\n")
    client.file.flush()
    client.file.read(1)
    client.close()
    while backdoor._consoles:
        eventlet.sleep(0)
    assert "Traceback" not in capfd.readouterr().err


def test_client_that_vanishes_at_once(listener):
    server = eventlet.spawn(backdoor.backdoor_server, listener)
    for _ in range(3):
        sock = green_socket.create_connection(listener.getsockname())
        sock.close()
    client = Client(listener.getsockname())
    assert client.ask("1") == "1\n"
    client.close()
    server.kill()
    eventlet.sleep(0.01)


def test_killed_console_closes_its_connection(serve):
    client = serve(locals={"eventlet": eventlet})
    client.file.write("me = eventlet.getcurrent(); eventlet.sleep(60)\n")
    client.file.flush()
    eventlet.sleep(0.005)
    [console] = [
        g for g in map(lambda m: m["greenlet"], _members()) if isinstance(g, backdoor.SocketConsole)
    ]
    eventlet.kill(console)
    assert client.file.read() in ("", "now exiting InteractiveConsole...\n")  # the latter on 3.13


def _members():
    from greenlet import _core

    return [member for _, members in _core.census() for member in members]


def test_unix_socket(tmp_path):
    path = str(tmp_path / "door")
    server = eventlet.spawn(backdoor.backdoor_server, eventlet.listen(path, socket.AF_UNIX))
    eventlet.sleep(0)
    client = Client(path, socket.AF_UNIX)
    assert client.ask("print('unix')") == "unix\n"
    client.close()
    server.kill()
    while backdoor._consoles:
        eventlet.sleep(0)


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="the system has no IPv6")
def test_inet6_socket(capsys):
    listener = eventlet.listen(("::1", 0), socket.AF_INET6)
    server = eventlet.spawn(backdoor.backdoor_server, listener)
    client = Client(listener.getsockname()[:2], socket.AF_INET6)
    assert client.ask("print('six')") == "six\n"
    client.close()
    server.kill()
    while backdoor._consoles:
        eventlet.sleep(0)
    assert "backdoor opened to ::1:" in capsys.readouterr().out


def test_plain_socket_is_made_green():
    here, there = socket.socketpair()
    backdoor.backdoor((there, ("client", 1)))
    file = green_socket.socket(fileno=here.detach())
    file.sendall(b"quit()\n")
    text = b""
    while more := file.recv(1000):
        text += more
    assert b"InteractiveConsole" in text
    file.close()


def test_closed_listener_ends_the_server(listener):
    server = eventlet.spawn(backdoor.backdoor_server, listener)
    eventlet.sleep(0)
    listener.shutdown(socket.SHUT_RDWR)
    assert server.wait() is None


def test_nothing_is_left_in_sys(serve):
    assert not hasattr(sys, "ps1")
    client = serve()
    assert client.ask("1") == "1\n"
    client.close()
    while backdoor._consoles:
        eventlet.sleep(0)
    assert not hasattr(sys, "ps1") and not hasattr(sys, "ps2")


def test_file_proxy_passes_on_what_it_does_not_know():
    file = io.StringIO("one\r\ntwo")
    proxy = backdoor.FileProxy(file)
    assert proxy.isatty() and proxy.readline() == "one\n" and list(proxy) == ["two"]
    assert proxy.write("x") == 1
    proxy.writelines(["y", "z"])
    proxy.close()
    assert file.closed and proxy.closed


def test_module_can_be_run():
    program = "import runpy, eventlet\n" + (
        "eventlet.listen = lambda address: print(address) or exit(7)\n"
        "runpy.run_module('eventlet.backdoor', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, "('127.0.0.1', 9000)\n")


def test_console_is_a_greenlet_of_the_hub(serve):
    client = serve()
    assert client.ask("1") == "1\n"
    consoles = [
        m["greenlet"] for m in _members() if isinstance(m["greenlet"], backdoor.SocketConsole)
    ]
    assert [c.parent for c in consoles] == [hubs.get_hub().greenlet]
    assert all(isinstance(c, greenlet.greenlet) for c in consoles)
