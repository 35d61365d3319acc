"""Echo server of gevent's, the way its users write one; prints its port and serves until killed.

    peer_gevent.py tcp|udp|tls [CERTIFICATE KEY]

Invariant: the handlers are those of echo_server.py, udp_echo_server.py and tls_echo_server.py.
"""

import sys

from gevent import socket, ssl
from gevent.server import StreamServer


def handle(peer, _address):
    """Sends back what arrives until the client closes."""
    while data := peer.recv(4096):
        peer.sendall(data)


def serve_datagrams():
    """Sends back each datagram."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    print(server.getsockname()[1], flush=True)
    while True:
        data, address = server.recvfrom(4096)
        server.sendto(data, address)


def serve_streams(*certificate):
    """Serves connections, over TLS if a certificate is given."""
    options = {}
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        options["ssl_context"] = context
    server = StreamServer(("127.0.0.1", 0), handle, backlog=1024, **options)
    server.start()
    print(server.server_port, flush=True)
    server.serve_forever()


kind, *certificate = sys.argv[1:]
if kind == "udp":
    serve_datagrams()
else:
    serve_streams(*certificate)
