"""The names of `OpenSSL.tsafe`, where PyOpenSSL has it. Deprecated: a green connection needs no lock.

Raises ImportError with PyOpenSSL 23.3 and later, which are without it.
"""

from OpenSSL import tsafe as _original

from eventlet.green.OpenSSL.SSL import Connection as _Connection

__patched__ = ["Connection"]

Connection = _Connection


def __getattr__(name):
    return getattr(_original, name)
