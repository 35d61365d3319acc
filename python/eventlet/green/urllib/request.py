"""The `urllib.request` of the running Python on green sockets."""

from eventlet import patcher
from eventlet.green import ftplib, http, socket, ssl, time
from eventlet.green.urllib import error, parse, response

patcher.inject(
    "urllib.request",
    globals(),
    ("ftplib", ftplib),
    ("http", http.package),
    ("http.client", http.client),
    ("socket", socket),
    ("ssl", ssl),
    ("time", time),
    # The classes of requests and errors are the standard library's.
    ("urllib.error", error),
    ("urllib.parse", parse),
    ("urllib.response", response),
)

del patcher
