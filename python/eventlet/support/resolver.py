"""Look-ups of names by the system's own resolver, in OS threads: other green threads go on
meanwhile.

Numeric addresses need no look-up and are answered at once. At most `MAX_THREADS` look-ups run at a
time in one process, each in a thread that ends with it.
"""

import _socket
import _thread
import socket

from greenlet import getcurrent

from eventlet.event import Event
from eventlet.hubs import get_hub
from eventlet.semaphore import Semaphore

MAX_THREADS = 20

_start_thread = _thread.start_new_thread
_getaddrinfo = socket.getaddrinfo
_gethostbyname = socket.gethostbyname
_gethostbyname_ex = socket.gethostbyname_ex
_gethostbyaddr = socket.gethostbyaddr
_getnameinfo = socket.getnameinfo

_slots = Semaphore(MAX_THREADS)


def in_thread(function, *args):
    """Return ``function(*args)``, run in an OS thread; its exception is raised here. May switch: yes."""
    if getcurrent() is get_hub().greenlet:
        return function(*args)  # the hub cannot wait for itself
    done = Event()

    def work():
        try:
            result = function(*args)
        except BaseException as error:
            done.send_exception(error)
        else:
            done.send(result)

    with _slots:
        _start_thread(work, ())
        return done.wait()


def is_numeric(host):
    """Return whether *host* (str, bytes or None) is an address already.

    >>> is_numeric('::1'), is_numeric('localhost')
    (True, False)
    """
    if host is None or host in ("", b""):
        return True
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("latin-1")
    if not isinstance(host, str):
        return True  # the original function has the right complaint
    for family in (_socket.AF_INET, getattr(_socket, "AF_INET6", None)):
        try:
            if family is not None:
                _socket.inet_pton(family, host.partition("%")[0])
                return True
        except (OSError, ValueError):
            pass
    return host == "<broadcast>"


def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    """As `socket.getaddrinfo`. May switch: yes."""
    named_port = isinstance(port, (str, bytes)) and not port.isdigit()
    if is_numeric(host) and not named_port:
        return _getaddrinfo(host, port, family, type, proto, flags)
    return in_thread(_getaddrinfo, host, port, family, type, proto, flags)


def gethostbyname(hostname):
    """As `socket.gethostbyname`. May switch: yes."""
    call = _call_now if is_numeric(hostname) else in_thread
    return call(_gethostbyname, hostname)


def gethostbyname_ex(hostname):
    """As `socket.gethostbyname_ex`. May switch: yes."""
    return in_thread(_gethostbyname_ex, hostname)


def gethostbyaddr(ip_address):
    """As `socket.gethostbyaddr`. May switch: yes."""
    return in_thread(_gethostbyaddr, ip_address)


def getnameinfo(sockaddr, flags):
    """As `socket.getnameinfo`. May switch: yes."""
    numeric = _socket.NI_NUMERICHOST | _socket.NI_NUMERICSERV
    call = _call_now if isinstance(flags, int) and flags & numeric == numeric else in_thread
    return call(_getnameinfo, sockaddr, flags)


def _call_now(function, *args):
    return function(*args)
