"""An interactive interpreter inside a running program, for who connects to a socket.

    eventlet.spawn(backdoor.backdoor_server, eventlet.listen(("127.0.0.1", 3000)), locals())

Each connection has a console of its own in a green thread. `sys.stdin`, `sys.stdout` and `sys.stderr`
are the connection's while that green thread runs, and the program's own while any other does.

Whoever can connect can do whatever the program can: listen on localhost or on a Unix socket only.
"""

import code
import errno
import socket
import sys

import greenlet

import eventlet
from eventlet import greenio, hubs, timeout

__all__ = ["FileProxy", "SocketConsole", "backdoor", "backdoor_server"]

_CLOSED = {errno.EPIPE, errno.EBADF, errno.EINVAL, errno.ENOTCONN}


class FileProxy:
    """A connection's file as a console wants it: a terminal, whose lines go out at once.

    Everything else is the file's, *f*.
    """

    def __init__(self, f):
        self.f = f

    def isatty(self):
        """True: who sits there is a human."""
        return True

    def flush(self):
        """Do nothing: `write` has sent it. *May switch: no.*"""

    def write(self, data):
        """Send *data*, a str; returns its length. *May switch: yes.*"""
        self.f.write(data)
        self.f.flush()
        return len(data)

    def writelines(self, lines):
        """Send some strings. *May switch: yes.*"""
        self.write("".join(lines))

    def readline(self, *args):
        """The next line, ended by a newline however the client ends it. *May switch: yes.*"""
        line = self.f.readline(*args)
        return line[:-2] + "\n" if line.endswith("\r\n") else line

    def __iter__(self):
        return iter(self.readline, "")

    def __getattr__(self, name):
        return getattr(self.f, name)


class InteractiveConsole(code.InteractiveConsole):
    """The console of the standard library, in a green thread that can be killed."""

    def runcode(self, code):
        """Run *code* and show its exception, but not those that end a green thread. *May switch: yes.*"""
        try:
            exec(code, self.locals)
        except (SystemExit, greenlet.GreenletExit, timeout.Timeout):
            raise
        except BaseException:
            self.showtraceback()


# Hub -> number of its consoles. Their OS thread swaps the streams at switches while there are any.
_consoles = {}
_prompts = {"ps1": ">>> ", "ps2": "... "}


def _begin(hub):
    """A console begins: `sys` gets what it needs."""
    if not _consoles:
        for name in [name for name in _prompts if not hasattr(sys, name)]:
            setattr(sys, name, _Prompt(_prompts[name]))
    if hub not in _consoles:
        greenlet.add_trace(_switched)
    _consoles[hub] = _consoles.get(hub, 0) + 1


def _end(hub):
    """A console has ended; the last one leaves `sys` as it was, since prompts tell an interactive program."""
    _consoles[hub] -= 1
    if not _consoles[hub]:
        del _consoles[hub]
        greenlet.remove_trace(_switched)
    if not _consoles:
        for name in [name for name in _prompts if isinstance(getattr(sys, name, None), _Prompt)]:
            delattr(sys, name)


class _Prompt(str):
    """A prompt that the program did not set."""


def _switched(event, pair):
    origin, target = pair
    if isinstance(origin, SocketConsole):
        origin.switch_out()
    if isinstance(target, SocketConsole):
        target.switch_in()


class SocketConsole(greenlet.greenlet):
    """The green thread of one connection.

    *desc* is the connection's file, *hostport* what to call the client, *locals* the dictionary in which
    its lines are run, shared if given to several; None makes a new one. It starts at its first switch.
    """

    def __init__(self, desc, hostport, locals):
        super().__init__(parent=hubs.get_hub().greenlet)
        self.hostport = hostport
        self.locals = locals
        self.desc = FileProxy(desc)
        self._inside = False
        self._streams = (self.desc, self.desc, self.desc)

    def run(self):
        """Serve the client until it goes. *May switch: yes.*"""
        hub = hubs.get_hub()
        _begin(hub)
        self.switch_in()
        try:
            InteractiveConsole(self.locals).interact()
        except (SystemExit, OSError, ValueError):
            pass  # quit(), or the client has gone, or the file was closed
        finally:
            self.switch_out()
            _end(hub)
            self.finalize()

    def switch_in(self):
        """Make the standard streams the connection's. *May switch: no.*"""
        if not self._inside:
            self._swap()

    def switch_out(self):
        """Give the standard streams back to the program. *May switch: no.*"""
        if self._inside:
            self._swap()

    def _swap(self):
        self._inside = not self._inside
        theirs = sys.stdin, sys.stdout, sys.stderr
        sys.stdin, sys.stdout, sys.stderr = self._streams
        self._streams = theirs

    def finalize(self):
        """Close the connection and say so on the program's output. *May switch: yes.*"""
        try:
            self.desc.close()
        except OSError:
            pass  # what was still to be sent has nobody to read it
        print(f"backdoor closed to {_name(self.hostport)}")


def _name(address):
    """A socket address in words."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"{host}:{port}"
    if isinstance(address, bytes):
        address = address.decode(errors="backslashreplace")
    return address or "a Unix socket"


def backdoor_server(sock, locals=None):
    """Serve a console to everybody who connects to *sock*, a listening socket, until it is closed.

    *locals* is the dictionary in which all of them run what they type; None gives each a new one. Closes
    the socket at the end. Raises OSError when accepting fails for good. *May switch: yes.*

    >>> import eventlet
    >>> server = eventlet.spawn(backdoor_server, eventlet.listen(("127.0.0.1", 0)))
    >>> eventlet.sleep(0)  # doctest: +ELLIPSIS
    backdoor server listening on 127.0.0.1:...
    >>> server.kill()
    """
    print(f"backdoor server listening on {_name(sock.getsockname())}")
    try:
        while True:
            try:
                accepted = sock.accept()
            except ConnectionAbortedError:
                continue
            backdoor(accepted, locals)
    except OSError as error:
        if error.errno not in _CLOSED:
            raise
    finally:
        sock.close()


def backdoor(conn_info, locals=None):
    """Start a console on a connection: *conn_info* is what `accept` returns, *locals* as for `backdoor_server`.

    Returns at once. For a server's own listener: `eventlet.serve(sock, lambda *c: backdoor(c))`.
    *May switch: no.*
    """
    conn, address = conn_info
    if type(conn) is socket.socket and not isinstance(conn, greenio.GreenSocket):
        conn = greenio.GreenSocket(conn)
    file = conn.makefile("rw", encoding="utf-8", errors="replace")
    conn.close()  # the file keeps the connection open
    print(f"backdoor opened to {_name(address)}")
    console = SocketConsole(file, address, locals)
    hubs.get_hub().schedule_call_global(0, console.switch)


if __name__ == "__main__":
    backdoor_server(eventlet.listen(("127.0.0.1", 9000)), {})
