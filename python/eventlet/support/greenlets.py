"""The greenlet names that programs take from here."""

import greenlet as _greenlet

getcurrent = _greenlet.getcurrent
GreenletExit = _greenlet.GreenletExit
greenlet = _greenlet.greenlet

__all__ = ["GreenletExit", "getcurrent", "greenlet"]
