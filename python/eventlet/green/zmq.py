"""`zmq` (pyzmq) whose sockets block only the green thread that calls.

A 0MQ socket has one descriptor for both directions, which tells of *changes* of its state and not of
the state itself (zmq_getsockopt(3), ZMQ_FD and ZMQ_EVENTS). So whoever waits looks at ZMQ_EVENTS
first, and every operation that may have changed the state wakes those who wait for the other
direction. One green thread may send while another receives; further ones wait in turn.
"""

import zmq as _zmq
from greenlet import getcurrent as _getcurrent

from eventlet.event import Event as _Event
from eventlet.green import select as _select
from eventlet.hubs import get_hub as _get_hub
from eventlet.patcher import slurp_properties as _slurp_properties
from eventlet.semaphore import Semaphore as _Semaphore

__patched__ = ["Context", "Poller", "Socket", "select"]

_slurp_properties(_zmq, globals(), ignore=__patched__, srckeys=dir(_zmq))

__all__ = [*getattr(_zmq, "__all__", dir(_zmq))]

XREQ = _zmq.DEALER
XREP = _zmq.ROUTER


class LockReleaseError(Exception):
    """A `_QueueLock` was released that nobody holds."""


class _QueueLock:
    """A lock that goes to the green threads that wait in the order in which they came.

    The holder may acquire it again. It is true while somebody holds it.
    """

    def __init__(self):
        self._free = _Semaphore(1)
        self._count = 0
        self._holder = None

    def __bool__(self):
        return self._count > 0

    def __enter__(self):
        self.acquire()

    def __exit__(self, kind, value, traceback):
        self.release()

    def acquire(self):
        """Take the lock, after those who wait already. *May switch: yes.*"""
        current = _getcurrent()
        if self._holder is not current:
            self._free.acquire()
            self._holder = current
        self._count += 1

    def release(self):
        """Give the lock back. Raises `LockReleaseError` if nobody holds it. *May switch: no.*"""
        if self._count <= 0:
            raise LockReleaseError("Cannot release unacquired lock")
        self._count -= 1
        if self._count == 0:
            self._holder = None
            self._free.release()


class _BlockedThread:
    """The one green thread that waits here, if any; it is true while one does."""

    def __init__(self):
        self._event = None

    def __bool__(self):
        return self._event is not None

    def block(self, seconds=None):
        """Wait for `wake`; whether it came within *seconds* (None: for ever). *May switch: yes.*"""
        if self._event is not None:
            raise Exception("Cannot block more than one thread on one BlockedThread")
        event = self._event = _Event()
        try:
            event.wait(seconds)
            return event.ready()
        finally:
            self._event = None

    def wake(self):
        """Let the waiting green thread go on; whether there was one. *May switch: no.*"""
        if self._event is None or self._event.ready():
            return False
        self._event.send()
        return True


class Context(_zmq.Context):
    """A `zmq.Context` whose sockets are green."""

    def socket(self, socket_type, *args, **kwargs):
        """Return a green `Socket` of *socket_type*. Raises ZMQError if the context was ended."""
        if self.closed:
            raise _zmq.ZMQError(_zmq.ENOTSUP)
        return super().socket(socket_type, *args, **kwargs)


class Poller(_zmq.Poller):
    """A `zmq.Poller` that blocks only the green thread that polls."""

    def poll(self, timeout=None):
        """As `zmq.Poller.poll`; *timeout* in milliseconds, None or negative: for ever. *May switch: yes.*"""
        forever = timeout is None or timeout < 0
        clock = _get_hub().clock
        deadline = None if forever else clock() + timeout / 1000
        readers, writers = [], []
        for entry, flags in self.sockets:
            if isinstance(entry, _zmq.Socket):
                # Its descriptor becomes readable for news of either direction.
                readers.append(entry.getsockopt(_zmq.FD))
                continue
            number = entry if isinstance(entry, int) else entry.fileno()
            if flags & (_zmq.POLLIN | _zmq.POLLERR):
                readers.append(number)
            if flags & _zmq.POLLOUT:
                writers.append(number)
        while True:
            ready = super().poll(0)
            for entry, _ in self.sockets:
                if isinstance(entry, Socket):
                    entry._eventlet_wake()  # the news were taken note of, and would not be told again
            left = None if forever else deadline - clock()
            if ready or left is not None and left <= 0:
                return ready
            _select.select(readers, writers, [], left)


def select(rlist, wlist, xlist, timeout=None):
    """As `zmq.select`; *timeout* in seconds, None or negative: for ever. *May switch: yes.*"""
    poller = Poller()
    for entry in {*rlist, *wlist, *xlist}:
        flags = 0
        for wanted, flag in ((rlist, _zmq.POLLIN), (wlist, _zmq.POLLOUT), (xlist, _zmq.POLLERR)):
            if entry in wanted:
                flags |= flag
        poller.register(entry, flags)
    ready = poller.poll(None if timeout is None or timeout < 0 else timeout * 1000)
    return tuple(
        [entry for entry, flags in ready if flags & flag]
        for flag in (_zmq.POLLIN, _zmq.POLLOUT, _zmq.POLLERR)
    )


class Socket(_zmq.Socket):
    """A `zmq.Socket` that blocks only the green thread that calls.

    NOBLOCK and the options RCVTIMEO and SNDTIMEO are honoured; what runs into a timeout raises
    ZMQError with EAGAIN, of which `eventlet.is_timeout` says so.
    """

    _poller_class = Poller

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # In the dictionary: assigning an attribute would set a socket option.
        self.__dict__.update(
            _eventlet_send_event=_BlockedThread(),
            _eventlet_recv_event=_BlockedThread(),
            _eventlet_send_lock=_QueueLock(),
            _eventlet_recv_lock=_QueueLock(),
            _eventlet_listener=None,
        )

    def close(self, linger=None):
        """Close the socket; who waits in it gets ZMQError. *linger* in milliseconds. *May switch: no.*"""
        if not self.closed:
            self._eventlet_unlisten()
            self._eventlet_wake()
        super().close(linger)

    # Waiting

    def _eventlet_wake(self, fileno=None):
        # Also the callback of the listener, which passes the descriptor.
        self._eventlet_send_event.wake()
        self._eventlet_recv_event.wake()

    def _eventlet_listen(self):
        if self._eventlet_listener is None:
            hub = _get_hub()
            number = super().getsockopt(_zmq.FD)
            listener = hub.add(hub.READ, number, self._eventlet_wake, _ignore, None)
            self.__dict__["_eventlet_listener"] = hub, listener

    def _eventlet_unlisten(self):
        if self._eventlet_listener is not None:
            hub, listener = self._eventlet_listener
            self.__dict__["_eventlet_listener"] = None
            hub.remove(listener)

    def _eventlet_wait(self, event, flag, deadline):
        """Wait until the state of the socket may have changed; raise when the time is up."""
        if self.closed or super().getsockopt(_zmq.EVENTS) & flag:
            return
        self._eventlet_listen()
        try:
            clock = _get_hub().clock
            left = None if deadline is None else max(0, deadline - clock())
            if not event.block(left):
                error = _zmq.ZMQError(_zmq.EAGAIN)
                error.is_timeout = True
                raise error
        finally:
            if not self._eventlet_send_event and not self._eventlet_recv_event:
                self._eventlet_unlisten()

    def _eventlet_deadline(self, option):
        milliseconds = super().getsockopt(option)
        return None if milliseconds < 0 else _get_hub().clock() + milliseconds / 1000

    def _eventlet_call(self, operation, flags, sending):
        """Call *operation*, which does not block, until it does not say EAGAIN; green threads in turn."""
        events = self._eventlet_recv_event, self._eventlet_send_event
        event, other = events[sending], events[not sending]
        if flags & _zmq.NOBLOCK:
            try:
                return operation()
            finally:
                other.wake()
        if sending:
            lock, flag, option = self._eventlet_send_lock, _zmq.POLLOUT, _zmq.SNDTIMEO
        else:
            lock, flag, option = self._eventlet_recv_lock, _zmq.POLLIN, _zmq.RCVTIMEO
        with lock:
            deadline = self._eventlet_deadline(option)
            while True:
                try:
                    return operation()
                except _zmq.ZMQError as error:
                    if error.errno != _zmq.EAGAIN:
                        raise
                finally:
                    other.wake()
                self._eventlet_wait(event, flag, deadline)

    def get(self, option):
        """Return a socket option, as `zmq.Socket.get`. *May switch: no.*"""
        value = super().get(option)
        if option == _zmq.EVENTS and "_eventlet_send_event" in self.__dict__:
            # The news were taken note of, and would not be told again.
            self._eventlet_wake()
        return value

    getsockopt = get

    # Sending

    def send(self, msg, flags=0, copy=True, track=False, **kwargs):
        """Send a message; the arguments are those of `zmq.Socket.send`. *May switch: yes, without NOBLOCK.*"""
        send = super().send

        def operation():
            return send(msg, flags | _zmq.NOBLOCK, copy=copy, track=track, **kwargs)

        return self._eventlet_call(operation, flags, sending=True)

    def send_multipart(self, msg_parts, flags=0, copy=True, track=False, **kwargs):
        """Send the parts of a message, none of another between them. *May switch: yes, without NOBLOCK.*"""
        if flags & _zmq.NOBLOCK:
            return super().send_multipart(msg_parts, flags, copy=copy, track=track, **kwargs)
        with self._eventlet_send_lock:
            return super().send_multipart(msg_parts, flags, copy=copy, track=track, **kwargs)

    # Receiving

    def recv(self, flags=0, copy=True, track=False):
        """Receive a message; the arguments are those of `zmq.Socket.recv`. *May switch: yes, without NOBLOCK.*"""
        recv = super().recv

        def operation():
            return recv(flags | _zmq.NOBLOCK, copy=copy, track=track)

        return self._eventlet_call(operation, flags, sending=False)

    def recv_into(self, buffer, /, *, nbytes=0, flags=0):
        """Receive a message into *buffer*, as `zmq.Socket.recv_into`. *May switch: yes, without NOBLOCK.*"""
        recv_into = super().recv_into

        def operation():
            return recv_into(buffer, nbytes=nbytes, flags=flags | _zmq.NOBLOCK)

        return self._eventlet_call(operation, flags, sending=False)

    def recv_multipart(self, flags=0, copy=True, track=False):
        """Receive all parts of a message, as a list. *May switch: yes, without NOBLOCK.*"""
        if flags & _zmq.NOBLOCK:
            return super().recv_multipart(flags, copy=copy, track=track)
        with self._eventlet_recv_lock:
            return super().recv_multipart(flags, copy=copy, track=track)


def _ignore(error):
    """The descriptor was closed under a listener: `close` has told everybody already."""


Context._socket_class = Socket
