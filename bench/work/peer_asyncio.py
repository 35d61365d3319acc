"""Echo server on asyncio or uvloop; prints its port and serves until killed.

    peer_asyncio.py asyncio|uvloop streams|protocol tcp|udp|tls [CERTIFICATE KEY]

Streams are a coroutine for each connection; the protocol API is callbacks, and asyncio's only one for
datagrams.

Invariant: per request one read and one write, nothing else.
"""

import asyncio
import ssl
import sys

BACKLOG = 1024


async def handle(reader, writer):
    """Sends back what arrives until the client closes."""
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()
    writer.close()


class Stream(asyncio.Protocol):
    """Sends back what arrives."""

    def connection_made(self, transport):
        self.write = transport.write

    def data_received(self, data):
        self.write(data)


class Datagrams(asyncio.DatagramProtocol):
    """Sends back each datagram."""

    def connection_made(self, transport):
        self.send = transport.sendto

    def datagram_received(self, data, address):
        self.send(data, address)


async def serve(api, kind, *certificate):
    """Serves for ever."""
    loop = asyncio.get_running_loop()
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    if kind == "udp":
        transport, _ = await loop.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0))
        name = transport.get_extra_info("sockname")
    else:
        place = {"host": "127.0.0.1", "port": 0, "backlog": BACKLOG, "ssl": context}
        if api == "streams":
            server = await asyncio.start_server(handle, **place)
        else:
            server = await loop.create_server(Stream, **place)
        name = server.sockets[0].getsockname()
    print(name[1], flush=True)
    await asyncio.Event().wait()


loop_name, *arguments = sys.argv[1:]
if loop_name == "uvloop":
    import uvloop

    uvloop.run(serve(*arguments))
else:
    asyncio.run(serve(*arguments))
