"""``sleep(0)`` and ping-pong over a socket under the asyncio hub, to compare with the default one.

Invariant: the work is that of ``sleep.py`` (one green thread) and ``pingpong.py`` (Unix socket); all
that differs is the hub.
"""

import eventlet
import meter
from eventlet import hubs
from eventlet.green import socket

MESSAGE = b"x" * 64


def yielding():
    """The main greenlet calls sleep(0)."""
    hubs.use_hub("asyncio")
    sleep = eventlet.sleep
    sleep(0)

    def run(n):
        for _ in range(n):
            sleep(0)

    return run


def echo(peer):
    """Sends back what arrives until the other side closes."""
    while data := peer.recv(4096):
        peer.sendall(data)


def rally():
    """One green thread echoes; the main greenlet sends 64 bytes and takes them back."""
    hubs.use_hub("asyncio")
    left, right = socket.socketpair()
    eventlet.spawn_n(echo, right)

    def run(n):
        sendall, recv = left.sendall, left.recv
        for _ in range(n):
            sendall(MESSAGE)
            if len(recv(4096)) != 64:
                raise SystemExit("a reply came in pieces")

    return run


meter.main({"sleep": meter.Work(yielding), "unix": meter.Work(rally)})
