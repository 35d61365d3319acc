"""Names that need no network: `getaddrinfo` of localhost and of an address.

Invariant: the answer is checked to name the loopback address, every time.
"""

import meter
from eventlet.green import socket


def resolving(host):
    """One operation: the addresses of `host` for a stream to port 80."""

    def prepare():
        def run(n):
            getaddrinfo, stream = socket.getaddrinfo, socket.SOCK_STREAM
            for _ in range(n):
                answer = getaddrinfo(host, 80, 0, stream)
                if answer[-1][4][0] not in ("127.0.0.1", "::1"):
                    raise SystemExit(f"{host} is {answer}")

        return run

    return prepare


meter.main(
    {
        "localhost": meter.Work(resolving("localhost")),
        "literal": meter.Work(resolving("127.0.0.1")),
    }
)
