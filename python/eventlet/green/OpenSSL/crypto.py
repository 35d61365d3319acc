"""The names of `OpenSSL.crypto`: nothing in it waits."""

from OpenSSL import crypto as _original

__all__ = list(getattr(_original, "__all__", ()))


def __getattr__(name):
    # Asked for one by one: some are deprecated, and warn.
    return getattr(_original, name)


def __dir__():
    return dir(_original)
