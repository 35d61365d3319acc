"""Ping-pong of 64 bytes between two green threads of one process, over a Unix and a TCP socket.

Invariant: a round trip is sendall + recv on both sides, and every reply is checked to be whole.
"""

import eventlet
import meter
from eventlet.green import socket

MESSAGE = b"x" * 64


def echo(peer):
    """Sends back what arrives until the other side closes."""
    while data := peer.recv(4096):
        peer.sendall(data)


def rally(make_pair):
    """Prepares the echoing green thread and returns the loop of the other side."""

    def prepare():
        left, right = make_pair()
        eventlet.spawn_n(echo, right)

        def run(n):
            sendall, recv = left.sendall, left.recv
            for _ in range(n):
                sendall(MESSAGE)
                if len(recv(4096)) != 64:
                    raise SystemExit("a reply came in pieces")

        return run

    return prepare


def tcp_pair():
    """A connected pair of TCP sockets on the loopback interface."""
    listener = eventlet.listen(("127.0.0.1", 0))
    accepting = eventlet.spawn(listener.accept)
    left = eventlet.connect(listener.getsockname())
    right, _ = accepting.wait()
    for end in (left, right):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return left, right


meter.main({"unix": meter.Work(rally(socket.socketpair)), "tcp": meter.Work(rally(tcp_pair))})
