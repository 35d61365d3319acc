"""TLS echo server of one green thread per connection; prints its port and serves until killed.

    tls_echo_server.py CERTIFICATE KEY

Invariant: the handler is plain blocking code, identical for both implementations.
"""

import sys

import eventlet
from eventlet.green import ssl


def handle(peer, _address):
    """Sends back what arrives until the client closes."""
    with context.wrap_socket(peer, server_side=True) as conn:
        while data := conn.recv(4096):
            conn.sendall(data)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(*sys.argv[1:3])
listener = eventlet.listen(("127.0.0.1", 0), backlog=1024)
print(listener.getsockname()[1], flush=True)
eventlet.serve(listener, handle, concurrency=4096)
