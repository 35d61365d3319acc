"""The `urllib.response` of the running Python, which does no input or output of its own."""

import urllib.response as _response

globals().update((name, value) for name, value in vars(_response).items() if name[:2] != "__")

__all__ = _response.__all__
