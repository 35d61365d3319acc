"""The `selectors` module on the green `select`: all its classes, and the same default as the standard one."""

from eventlet import patcher
from eventlet.green import select

__patched__ = ["DefaultSelector", "SelectSelector", "PollSelector", "EpollSelector"]
__deleted__ = []

patcher.inject("selectors", globals(), ("select", select))
