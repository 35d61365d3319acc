"""PyOpenSSL, with connections that let other green threads run while they wait.

It is a package beside PyOpenSSL's, which must be installed: `SSL`, `crypto`, `version`, and `tsafe`
where PyOpenSSL still has it (it was removed in 2023).
"""

from contextlib import suppress

from eventlet.green.OpenSSL import SSL, crypto
from eventlet.green.OpenSSL.version import __version__

with suppress(ImportError):
    from eventlet.green.OpenSSL import tsafe

__all__ = ["SSL", "__version__", "crypto"]
