"""`eventlet.green.http.client` by its name in Python 2."""

from eventlet.green.http import client as _client

globals().update((name, value) for name, value in vars(_client).items() if name[:2] != "__")

__all__ = _client.__all__
