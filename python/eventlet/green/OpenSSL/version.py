"""The names of `OpenSSL.version`."""

from OpenSSL import version as _original

__version__ = _original.__version__
__all__ = list(getattr(_original, "__all__", ()))


def __getattr__(name):
    # Asked for one by one: some are deprecated, and warn.
    return getattr(_original, name)


def __dir__():
    return dir(_original)
