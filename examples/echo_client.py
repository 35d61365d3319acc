"""Talks to `echo_server.py` over several connections at once and checks what comes back.

python examples/echo_client.py --port 6000 --connections 50 --messages 20
"""

import argparse
import sys

import eventlet


def converse(port, number, messages):
    """How many messages came back unchanged."""
    good = 0
    with eventlet.connect(("127.0.0.1", port)) as sock:
        lines = sock.makefile("r")
        for message in range(messages):
            line = f"client {number} message {message}\n"
            sock.sendall(line.encode())
            good += lines.readline() == line
        lines.close()
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=6000)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--messages", type=int, default=20)
    options = parser.parse_args()

    pool = eventlet.GreenPool(options.connections)
    numbers = range(options.connections)
    good = sum(pool.imap(lambda n: converse(options.port, n, options.messages), numbers))
    total = options.connections * options.messages
    print(f"{good} of {total} messages came back")
    return 0 if good == total else 1


if __name__ == "__main__":
    sys.exit(main())
