"""The `socketserver` of the running Python on green sockets and threads, by its name in Python 2."""

from eventlet import patcher
from eventlet.green import select, selectors, socket, threading

patcher.inject(
    "socketserver",
    globals(),
    ("select", select),
    ("selectors", selectors),
    ("socket", socket),
    ("threading", threading),
)

del patcher
