"""The `urllib.error` of the running Python, which does no input or output of its own."""

import urllib.error as _error

globals().update((name, value) for name, value in vars(_error).items() if name[:2] != "__")

__all__ = _error.__all__
