"""`eventlet.green.http.server` by its name in Python 2; Python 3.15 ends CGI there."""

import warnings

from eventlet.green.http import server as _server

globals().update((name, value) for name, value in vars(_server).items() if name[:2] != "__")

__all__ = ["CGIHTTPRequestHandler"]

warnings.warn(
    "eventlet.green.CGIHTTPServer is deprecated: CGI is no longer part of http.server",
    DeprecationWarning,
    stacklevel=2,
)
