"""The `urllib.parse` of the running Python, which does no input or output of its own."""

import urllib.parse as _parse

globals().update((name, value) for name, value in vars(_parse).items() if name[:2] != "__")

__all__ = _parse.__all__
