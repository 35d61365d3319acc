"""DNS questions over green UDP and TCP sockets: `udp` and `tcp`, for dnspython's resolver.

RFC 1035 section 4.2 says what goes over the wire: a message as it is in a datagram, and behind its
length, two bytes, in a stream. Needs dnspython.
"""

import struct
import time

import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.nameserver
import dns.query

from eventlet.green import _socket_nodns as socket
from eventlet.timeout import Timeout

#: Seconds for which an answer is waited for.
DNS_QUERY_TIMEOUT = 10.0


def _addresses(where, port, af, source, source_port):
    """Family, destination and, if one was asked for, own address of a question."""
    if af is None:
        try:
            af = dns.inet.af_for_address(where)
        except (ValueError, dns.exception.SyntaxError):
            af = socket.AF_INET
    rest = (0, 0) if af == socket.AF_INET6 else ()
    own = None
    if source is not None or source_port:
        any_address = "::" if af == socket.AF_INET6 else "0.0.0.0"
        own = (source or any_address, source_port, *rest)
    return af, (where, port, *rest), own


def _same_address(af, one, other):
    """Whether two socket addresses are the same, however they are written."""
    binary = dns.inet.inet_pton
    try:
        return binary(af, one[0]) == binary(af, other[0]) and one[1:2] == other[1:2]
    except (OSError, ValueError, dns.exception.SyntaxError):
        return one == other


def _limit(timeout):
    """A block that may take *timeout* seconds; None is for ever."""
    return Timeout(timeout, dns.exception.Timeout(timeout=timeout))


def udp(
    q,
    where,
    timeout=DNS_QUERY_TIMEOUT,
    port=53,
    af=None,
    source=None,
    source_port=0,
    ignore_unexpected=False,
    one_rr_per_rrset=False,
    ignore_trailing=False,
    raise_on_truncation=False,
    sock=None,
    ignore_errors=False,
):
    """Ask *q* (dns.message.Message) of the server at *where* in a datagram; return its answer.

    *where* is an address, *port* its port; *timeout* in seconds, None waits for ever; *af* an
    address family, None to see it from *where*; *source* and *source_port* the own address, None
    and 0 leave it to the system; *sock* a socket to use instead of a new one. Datagrams of others
    are an error unless *ignore_unexpected*, answers to something else unless *ignore_errors*.
    Raises dns.exception.Timeout, dns.query.UnexpectedSource, dns.query.BadResponse,
    dns.message.Truncated if *raise_on_truncation*, OSError. *May switch: yes.*
    """
    wire = q.to_wire()
    af, destination, own = _addresses(where, port, af, source, source_port)
    begun = time.time()
    s = socket.socket(af, socket.SOCK_DGRAM) if sock is None else sock
    try:
        with _limit(timeout):
            if own is not None:
                s.bind(own)
            s.sendto(wire, destination)
            while True:
                answer, sender = s.recvfrom(65535)
                if not _same_address(af, sender, destination):
                    if ignore_unexpected:
                        continue
                    raise dns.query.UnexpectedSource(
                        f"got a response from {sender} instead of {destination}"
                    )
                try:
                    response = dns.message.from_wire(
                        answer,
                        keyring=q.keyring,
                        request_mac=q.mac,
                        one_rr_per_rrset=one_rr_per_rrset,
                        ignore_trailing=ignore_trailing,
                        raise_on_truncation=raise_on_truncation,
                    )
                except dns.message.Truncated:
                    raise
                except Exception:
                    if ignore_errors:
                        continue
                    raise
                if q.is_response(response):
                    response.time = time.time() - begun
                    return response
                if not ignore_errors:
                    raise dns.query.BadResponse()
    except TimeoutError:  # the socket's own limit
        raise dns.exception.Timeout(timeout=timeout) from None
    finally:
        if sock is None:
            s.close()


def tcp(
    q,
    where,
    timeout=DNS_QUERY_TIMEOUT,
    port=53,
    af=None,
    source=None,
    source_port=0,
    one_rr_per_rrset=False,
    ignore_trailing=False,
    sock=None,
):
    """Ask *q* (dns.message.Message) of the server at *where* in a stream; return its answer.

    The arguments are those of `udp`; *sock* is a connected socket. Raises dns.exception.Timeout,
    dns.query.BadResponse, EOFError when the server hangs up, OSError. *May switch: yes.*
    """
    wire = q.to_wire()
    af, destination, own = _addresses(where, port, af, source, source_port)
    begun = time.time()
    s = socket.socket(af, socket.SOCK_STREAM) if sock is None else sock
    try:
        with _limit(timeout):
            if sock is None:
                if own is not None:
                    s.bind(own)
                s.connect(destination)
            s.sendall(struct.pack("!H", len(wire)) + wire)
            (length,) = struct.unpack("!H", _read(s, 2))
            answer = _read(s, length)
        response = dns.message.from_wire(
            answer,
            keyring=q.keyring,
            request_mac=q.mac,
            one_rr_per_rrset=one_rr_per_rrset,
            ignore_trailing=ignore_trailing,
        )
        if not q.is_response(response):
            raise dns.query.BadResponse()
        response.time = time.time() - begun
        return response
    except TimeoutError:  # the socket's own limit
        raise dns.exception.Timeout(timeout=timeout) from None
    finally:
        if sock is None:
            s.close()


def _read(sock, count):
    """Exactly *count* bytes."""
    parts = []
    while count > 0:
        data = sock.recv(count)
        if not data:
            raise EOFError("the DNS server closed the connection within its answer")
        parts.append(data)
        count -= len(data)
    return b"".join(parts)


class GreenNameserver(dns.nameserver.Do53Nameserver):
    """A server of dnspython's resolver (2.4 and later) that is asked over green sockets."""

    def query(
        self,
        request,
        timeout,
        source,
        source_port,
        max_size=False,
        one_rr_per_rrset=False,
        ignore_trailing=False,
    ):
        """Ask *request*, in a stream if *max_size*. *May switch: yes.*"""
        shared = {
            "timeout": timeout,
            "port": self.port,
            "source": source,
            "source_port": source_port,
            "one_rr_per_rrset": one_rr_per_rrset,
            "ignore_trailing": ignore_trailing,
        }
        if max_size:
            return tcp(request, self.address, **shared)
        return udp(
            request,
            self.address,
            raise_on_truncation=True,
            ignore_errors=True,
            ignore_unexpected=True,
            **shared,
        )
