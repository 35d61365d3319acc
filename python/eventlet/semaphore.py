"""`Semaphore`, `BoundedSemaphore` and `CappedSemaphore` for green threads and OS threads.

The classes are native (`ext/src/semaphore.rs`); this module gives them upstream's address.
"""

from greenlet._core import BoundedSemaphore, CappedSemaphore, Semaphore

__all__ = ["BoundedSemaphore", "CappedSemaphore", "Semaphore"]
