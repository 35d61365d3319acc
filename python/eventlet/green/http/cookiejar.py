"""The `http.cookiejar` of the running Python, over green `urllib` and `http.client`."""

from eventlet import patcher
from eventlet.green import http, threading, time
from eventlet.green.urllib import request

patcher.inject(
    "http.cookiejar",
    globals(),
    ("http", http.package),
    ("http.client", http.client),
    ("threading", threading),
    ("time", time),
    ("urllib.request", request),
)

del patcher
