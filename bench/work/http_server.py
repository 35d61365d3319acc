"""HTTP server for clients.py, with the standard library alone; prints its port and serves until killed.

Answers every request with the same page, and closes the connection if the client asks for that.
"""

import asyncio

PAGE = b"x" * 1000
KEPT = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (
    len(PAGE),
    PAGE,
)
LAST = KEPT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)


class Http(asyncio.Protocol):
    """One connection; requests have no body and come one at a time."""

    def connection_made(self, transport):
        self.transport, self.head = transport, b""

    def data_received(self, data):
        self.head += data
        if not self.head.endswith(b"\r\n\r\n"):
            return
        if b"\r\nconnection: close\r\n" in self.head.lower():
            self.transport.write(LAST)
            self.transport.close()
        else:
            self.transport.write(KEPT)
        self.head = b""


async def serve():
    """Serves for ever."""
    server = await asyncio.get_running_loop().create_server(Http, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(serve())
