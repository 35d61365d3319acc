"""`Timer` and `LocalTimer`: calls that a hub makes later.

The classes are native (`ext/src/timer.rs`); this module gives them upstream's address.
"""

from greenlet._core import LocalTimer, Timer

__all__ = ["LocalTimer", "Timer"]

#: Whether new timers remember where they were made. Set by `eventlet.debug.hub_timer_stacks`.
_g_debug = False
