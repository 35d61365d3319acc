"""Sends back whatever it receives: one green thread for each connection, plain blocking code in each.

python examples/echo_server.py --port 6000          # then: python examples/echo_client.py --port 6000
"""

import argparse

import eventlet


def echo(conn, addr):
    while data := conn.recv(65536):
        conn.sendall(data)
    print(f"{addr[0]}:{addr[1]} has left", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=6000, help="0: one that is free")
    parser.add_argument("--connections", type=int, help="end after so many (default: run for ever)")
    options = parser.parse_args()

    server = eventlet.listen(("127.0.0.1", options.port))
    print(f"echo server on port {server.getsockname()[1]}", flush=True)
    if options.connections is None:
        eventlet.serve(server, echo)
    pool = eventlet.GreenPool()
    for _ in range(options.connections or 0):
        pool.spawn_n(echo, *server.accept())
    pool.waitall()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("stopped")
