"""UDP echo server in one green thread; prints its port and serves until killed.

Invariant: the loop is plain blocking code, identical for both implementations.
"""

from eventlet.green import socket

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    data, address = server.recvfrom(4096)
    server.sendto(data, address)
