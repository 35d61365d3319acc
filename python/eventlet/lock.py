"""`Lock`: `threading.Lock` for green threads.

The class is native (`ext/src/semaphore.rs`); this module gives it upstream's address.
"""

from greenlet._core import Lock

__all__ = ["Lock"]
