"""Look-ups of names by the system's own resolver, in OS threads: other green threads go on
meanwhile.

Numeric addresses need no look-up and are answered at once, from memory when they are asked for
again. The threads are those of the native pool (`ext/src/tpool.rs`); in the hub itself, and where
there is none, look-ups are made in place. What the hosts file alone decides is answered from memory
while the file is the same.
"""

import _socket
import socket

from greenlet._core import HostsCache, call_in_thread as in_thread

_getaddrinfo = socket.getaddrinfo
_gethostbyname = socket.gethostbyname
_gethostbyname_ex = socket.gethostbyname_ex
_gethostbyaddr = socket.gethostbyaddr
_getnameinfo = socket.getnameinfo

_hosts = HostsCache()


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
    """As `socket.getaddrinfo`. May switch: yes.

    >>> getaddrinfo('localhost', 80, type=socket.SOCK_STREAM)[0][4][1]
    80
    """
    known = _hosts.look(host, port, family, type, proto, flags)
    if known.__class__ is list:
        return known
    named_port = isinstance(port, (str, bytes)) and not port.isdigit()
    call = _call_now if is_numeric(host) and not named_port else in_thread
    found = call(_getaddrinfo, host, port, family, type, proto, flags)
    _hosts.keep(known, found, host, port, family, type, proto, flags)
    return found


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


def raw_getaddrinfo(original):
    """Return what acts in the place of the builtin *original*, `_socket.getaddrinfo`. May switch: yes."""

    def getaddrinfo(host, port, *args, **kwargs):
        at_once = is_numeric(host) and (not isinstance(port, (str, bytes)) or port.isdigit())
        call = _call_now if at_once else in_thread
        return call(original, host, port, *args, **kwargs)

    return getaddrinfo


def _call_now(function, *args, **kwargs):
    return function(*args, **kwargs)
