"""The `http.server` of the running Python on green sockets."""

from eventlet import patcher
from eventlet.green import SocketServer, http, select, socket, time

patcher.inject(
    "http.server",
    globals(),
    ("http", http.package),
    ("http.client", http.client),
    ("select", select),
    ("socket", socket),
    ("socketserver", SocketServer),
    ("time", time),
)

del patcher
