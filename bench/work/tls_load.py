"""Load for TLS echo servers: keeps one request in flight on each of N connections.

    tls_load.py PORT SERVER_PID CONNECTIONS MESSAGE_BYTES WARM_UP_SECONDS SECONDS

Prints one JSON object like echo_load: requests, the server's CPU time over the same window, p99 and
the number of connections that were answered.

Invariant: standard library only, so that the load is the same for all servers.
"""

import json
import select
import socket
import ssl
import sys
import time


def connect(port, count):
    """`count` connections over TLS, with their handshakes done."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for _ in range(count):
        yield context.wrap_socket(socket.create_connection(("127.0.0.1", port)))


def main(port, pid, count, size, warm_up, window):
    """Runs the load and returns the report."""
    clock = (~pid << 3) | 2  # as clock_getcpuclockid(3) makes it on Linux
    message = b"x" * size
    latencies, sent_at, answered = [], {}, set()
    poller = select.epoll()
    by_number = {sock.fileno(): sock for sock in connect(port, count)}
    for number in by_number:
        poller.register(number, select.EPOLLIN)
    for number, sock in by_number.items():
        sock.sendall(message)
        sent_at[number] = time.monotonic_ns()
    start = time.monotonic_ns() + int(warm_up * 1e9)
    end = start + int(window * 1e9)
    before = None
    while (now := time.monotonic_ns()) < end:
        if before is None and now >= start:
            before = time.clock_gettime_ns(clock)
            latencies.clear()
            answered.clear()
        for number, _ in poller.poll(1):
            sock = by_number[number]
            got = sock.recv(size)
            while len(got) < size:
                got += sock.recv(size - len(got))
            latencies.append(time.monotonic_ns() - sent_at[number])
            answered.add(number)
            sock.sendall(message)
            sent_at[number] = time.monotonic_ns()
    spent = time.clock_gettime_ns(clock) - before
    latencies.sort()
    return {
        "requests": len(latencies),
        "server_ns": spent,
        "p99_ns": latencies[len(latencies) * 99 // 100],
        "served": len(answered),
    }


if __name__ == "__main__":
    numbers = sys.argv[1:]
    print(json.dumps(main(*map(int, numbers[:4]), *map(float, numbers[4:]))), flush=True)
