"""TCP echo server of one green thread per connection; prints its port and serves until killed.

Invariant: the handler is plain blocking code, identical for both implementations.
"""

import eventlet


def handle(peer, _address):
    """Sends back what arrives until the client closes."""
    while data := peer.recv(4096):
        peer.sendall(data)


listener = eventlet.listen(("127.0.0.1", 0), backlog=1024)
print(listener.getsockname()[1], flush=True)
eventlet.serve(listener, handle, concurrency=4096)
