"""`eventlet.green.http.server` by its name in Python 2; use that one."""

import warnings

from eventlet.green.http import server as _server

globals().update((name, value) for name, value in vars(_server).items() if name[:2] != "__")

__all__ = ["SimpleHTTPRequestHandler"]

warnings.warn(
    "eventlet.green.SimpleHTTPServer is deprecated: use eventlet.green.http.server",
    DeprecationWarning,
    stacklevel=2,
)
