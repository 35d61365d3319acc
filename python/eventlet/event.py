"""`Event`: one result or exception for any number of waiting green threads.

The class is native (`ext/src/event.rs`); this module gives it upstream's address. `NOT_USED` stands
for the result of an event that was not sent.
"""

from greenlet._core import NOT_USED, Event

__all__ = ["Event"]

NOT_USED = NOT_USED  # kept public under upstream's name
