"""A local HTTP server that answers every request after a pause; `fetch_many.py` starts it as a process.

It is written with asyncio, so that the other side of the measurement owes nothing to eventlet. It prints its
port on the first line and ends when its standard input is closed.

    python examples/slow_server.py --delay 0.05
"""

import argparse
import asyncio
import sys


async def answer(reader, writer, delay):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(delay)
        body = b"you asked for " + head.split()[1] + b"\n"
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve(delay):
    server = await asyncio.start_server(
        lambda reader, writer: answer(reader, writer, delay), "127.0.0.1", 0, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay", type=float, default=0.05, help="seconds before each answer")
    asyncio.run(serve(parser.parse_args().delay))


if __name__ == "__main__":
    main()
