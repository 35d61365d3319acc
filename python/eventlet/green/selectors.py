"""The `selectors` module on the green `select`: `DefaultSelector` is `SelectSelector`."""

from eventlet import patcher
from eventlet.green import select

__patched__ = ["DefaultSelector", "SelectSelector"]
__deleted__ = ["PollSelector", "EpollSelector", "DevpollSelector", "KqueueSelector"]

patcher.inject("selectors", globals(), ("select", select))

SelectSelector = globals()["SelectSelector"]
SelectSelector._select = staticmethod(select.select)
DefaultSelector = SelectSelector
