"""Upstream's own DNS resolver, for programs that use it by name.

The green `socket` module does not look names up by it: it asks the system's resolver, which knows
nsswitch, search domains and multicast names (`eventlet.support.resolver`). Here the hosts file is
asked first and then, over green sockets, the name servers of resolv.conf.

That needs dnspython. Without it the look-up functions are the system's, and what is made of
dnspython's classes raises ImportError. Nothing is read from disk before the first look-up.
"""

import ipaddress
import os
import struct
import warnings

from eventlet.green import _socket_nodns as socket
from eventlet.support import resolver as _system

try:
    import dns
    import dns.exception
    import dns.flags
    import dns.inet
    import dns.message
    import dns.name
    import dns.query
    import dns.rdataclass
    import dns.rdatatype
    import dns.rdtypes
    import dns.rdtypes.ANY
    import dns.rdtypes.IN
    import dns.resolver
    import dns.reversename
    import dns.rrset

    from eventlet.support.dns_transport import (
        DNS_QUERY_TIMEOUT,
        GreenNameserver,
        tcp,
        udp,
    )
    from eventlet.support.hosts import HOSTS_TTL, HostsAnswer, HostsResolver
except ImportError:
    dns = None
    DNS_QUERY_TIMEOUT = HOSTS_TTL = 10.0

    def _missing(*args, **kwargs):
        """Stand for what is made of dnspython's classes: raises ImportError."""
        raise ImportError("eventlet.support.greendns needs dnspython 2.4 or later")

    HostsAnswer = HostsResolver = tcp = udp = _missing

__all__ = [
    "ResolverProxy",
    "getaddrinfo",
    "getaliases",
    "gethostbyname",
    "gethostbyname_ex",
    "getnameinfo",
    "is_ip_addr",
    "is_ipv4_addr",
    "is_ipv6_addr",
    "reset",
    "resolve",
    "resolve_cname",
    "resolver",
    "tcp",
    "udp",
]

# Resolvers are asked by the old name of `resolve(search=True)`: programs put their own in the place of
# ours, and those have `query` alone.
warnings.filterwarnings("ignore", "please use dns.resolver", DeprecationWarning, __name__)

EAI_EAGAIN_ERROR = socket.gaierror(socket.EAI_AGAIN, "Lookup timed out")
EAI_NONAME_ERROR = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
EAI_NOFAMILY_ERROR = socket.gaierror(socket.EAI_FAMILY, "Address family for hostname not supported")
# EAI_NODATA was removed from RFC 3493; programs that still test for it can have it back.
if os.environ.get("EVENTLET_DEPRECATED_EAI_NODATA", "").lower() in ("1", "y", "yes"):
    EAI_NODATA_ERROR = socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")
else:
    EAI_NODATA_ERROR = EAI_NONAME_ERROR


def _raise_new_error(error):
    # One instance for all would collect the frames of everybody who ever got it.
    raise type(error)(*error.args)


def _text(name):
    if isinstance(name, (bytes, bytearray)):
        return bytes(name).decode("ascii")
    if isinstance(name, str) and not name.isascii():
        return name.encode("idna").decode("ascii")
    return name


def is_ipv4_addr(host):
    """Return whether *host* (str, or bytes, or None) is an IPv4 address in dotted form.

    >>> is_ipv4_addr('127.0.0.1'), is_ipv4_addr('260.0.0.0')
    (True, False)
    """
    return _is_address(host, ipaddress.IPv4Address)


def is_ipv6_addr(host):
    """Return whether *host* (str, or bytes, or None) is an IPv6 address, with or without a scope.

    >>> is_ipv6_addr('fe80::1%eth0'), is_ipv6_addr('foobar::1')
    (True, False)
    """
    return _is_address(host, ipaddress.IPv6Address)


def is_ip_addr(host):
    """Return whether *host* is an IPv4 or IPv6 address.

    >>> is_ip_addr('::1'), is_ip_addr('localhost')
    (True, False)
    """
    return is_ipv4_addr(host) or is_ipv6_addr(host)


def _is_address(host, kind):
    if not isinstance(host, (str, bytes)):
        return False
    try:
        kind(_text(host).partition("%")[0])
    except ValueError:  # also AddressValueError and UnicodeError
        return False
    return True


class ResolverProxy:
    """The hosts file before the name servers, in the manner of `dns.resolver.Resolver`.

    *hosts_resolver*: what to ask first, such as a `HostsResolver`; None asks only the servers.
    *filename*: where the servers are written; None leaves them to be set by hand. The file is read
    at the first question. Raises ImportError without dnspython.
    """

    def __init__(self, hosts_resolver=None, filename="/etc/resolv.conf"):
        self._hosts = hosts_resolver
        self._filename = filename
        self._cached_resolver = None

    @property
    def _resolver(self):
        if self._cached_resolver is None:
            self.clear()
        return self._cached_resolver

    @_resolver.setter
    def _resolver(self, resolver):
        self._cached_resolver = resolver

    def clear(self):
        """Read the list of servers anew. Raises dns.resolver.NoResolverConfiguration."""
        if dns is None:
            _missing()
        resolver = dns.resolver.Resolver(configure=False)
        if self._filename is not None:
            resolver.read_resolv_conf(self._filename)
            resolver.nameservers = [
                GreenNameserver(server, resolver.nameserver_ports.get(server, resolver.port))
                for server in resolver.nameservers
                if is_ip_addr(server)
            ]
        resolver.cache = dns.resolver.LRUCache()
        self._cached_resolver = resolver

    def query(
        self,
        qname,
        rdtype=None,
        rdclass=None,
        tcp=False,
        source=None,
        raise_on_no_answer=True,
        _hosts_rdtypes=None,
        use_network=True,
    ):
        """Return the answer (dns.resolver.Answer) to a question.

        *qname*: name (str, bytes or dns.name.Name); *rdtype*: None is A; *rdclass*: None is IN;
        *tcp*: ask in streams; *source*: own address, None leaves it to the system;
        *use_network*: False asks the hosts file only. A name without a dot that is not found with
        the search list is tried as a top level. Raises dns.resolver.NXDOMAIN, NoAnswer unless
        *raise_on_no_answer* is false, dns.exception.Timeout. *May switch: yes.*
        """
        rdtype = dns.rdatatype.A if rdtype is None else rdtype
        rdclass = dns.rdataclass.IN if rdclass is None else rdclass
        if _hosts_rdtypes is None:
            _hosts_rdtypes = (dns.rdatatype.A, dns.rdatatype.AAAA)
        if isinstance(qname, (str, bytes)):
            qname = dns.name.from_text(_text(qname), None)
        failure = dns.resolver.NoAnswer
        if self._hosts is not None and rdclass == dns.rdataclass.IN and rdtype in _hosts_rdtypes:
            try:
                answer = self._hosts.query(
                    qname if qname.is_absolute() else qname.to_text(),
                    rdtype,
                    raise_on_no_answer=False,
                )
                if answer.rrset:
                    return answer
            except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
                pass
        if use_network:
            names = [qname]
            if len(qname.labels) == 1 and not qname.is_absolute():
                names.append(qname.concatenate(dns.name.root))
            for name in names:
                try:
                    return self._resolver.query(
                        name, rdtype, rdclass, tcp, source, raise_on_no_answer=raise_on_no_answer
                    )
                except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN) as error:
                    failure = error
        if raise_on_no_answer:
            raise failure
        return HostsAnswer(qname, rdtype, rdclass, None, False)

    def getaliases(self, hostname):
        """Return the names (list of str) that *hostname* is an alias for. *May switch: yes.*"""
        aliases = list(self._hosts.getaliases(hostname)) if self._hosts else []
        found = set(aliases)
        while True:
            try:
                answer = self._resolver.query(hostname, dns.rdatatype.CNAME)
            except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
                return aliases
            target = str(answer[0].target)
            if target in found:
                return aliases  # a circle
            found.add(target)
            aliases.append(target)
            hostname = target


class _FirstUse:
    """Makes the hosts resolver of the process when it is first asked: importing reads no file."""

    def __init__(self):
        self._made = None

    def __getattr__(self, name):
        if self._made is None:
            self._made = HostsResolver()
        return getattr(self._made, name)


def _process_resolver():
    return ResolverProxy(None if dns is None else _FirstUse())


#: What the functions below ask.
resolver = _process_resolver()


def reset():
    """Forget what was read of the hosts file and of resolv.conf. *May switch: no.*"""
    global resolver
    resolver = _process_resolver()


def resolve(name, family=socket.AF_INET, raises=True, _proxy=None, use_network=True):
    """Return the addresses of *name* as an answer of dnspython's (dns.resolver.Answer).

    *family*: AF_INET or AF_INET6. *raises*: False gives an empty answer where there is none.
    *use_network*: False asks the hosts file only. Raises socket.gaierror. *May switch: yes.*
    """
    if dns is None:
        _missing()
    types = {socket.AF_INET: dns.rdatatype.A, socket.AF_INET6: dns.rdatatype.AAAA}
    rdtype = types.get(family)
    if rdtype is None:
        _raise_new_error(EAI_NOFAMILY_ERROR)
    proxy = resolver if _proxy is None else _proxy
    try:
        return proxy.query(name, rdtype, raise_on_no_answer=raises, use_network=use_network)
    except dns.resolver.NXDOMAIN:
        if not raises:
            return HostsAnswer(dns.name.from_text(name), rdtype, dns.rdataclass.IN, None, False)
    except dns.exception.Timeout:
        _raise_new_error(EAI_EAGAIN_ERROR)
    except dns.exception.DNSException:
        pass
    return _raise_new_error(EAI_NODATA_ERROR)


def resolve_cname(host):
    """Return the name (str) that *host* is an alias for, or *host*. Raises socket.gaierror.

    *May switch: yes.*
    """
    try:
        answer = resolver.query(host, dns.rdatatype.CNAME)
        return str(answer[0].target)
    except dns.resolver.NoAnswer:
        return host
    except dns.exception.Timeout:
        return _raise_new_error(EAI_EAGAIN_ERROR)
    except dns.exception.DNSException:
        return _raise_new_error(EAI_NODATA_ERROR)


def getaliases(host):
    """Return the other names (list of str) of *host*. Raises socket.gaierror. *May switch: yes.*"""
    try:
        return resolver.getaliases(host)
    except dns.exception.Timeout:
        return _raise_new_error(EAI_EAGAIN_ERROR)
    except dns.exception.DNSException:
        return _raise_new_error(EAI_NODATA_ERROR)


def _families(family, flags):
    """The families to look up, and whether IPv4 addresses are wanted in IPv6's clothes."""
    if family == socket.AF_INET6 and flags & socket.AI_V4MAPPED:
        return (socket.AF_INET6, socket.AF_INET), True
    if family == socket.AF_UNSPEC:
        return (socket.AF_INET6, socket.AF_INET), False
    return (family,), False


def _lookup(host, family, flags):
    """Addresses (list of str) and canonical name of *host*: the hosts file's, else the servers'."""
    families, mapped = _families(family, flags)
    for use_network in (False, True):
        addresses, failure, qname = [], None, None
        for each in families:
            if mapped and each == socket.AF_INET and addresses and not flags & socket.AI_ALL:
                break
            try:
                answer = resolve(host, each, False, use_network=use_network)
            except socket.gaierror as error:
                failure = error
                continue
            if answer.rrset:
                found = [record.address for record in answer.rrset]
                if mapped and each == socket.AF_INET:
                    found = ["::ffff:" + address for address in found]
                addresses += found
                qname = answer.qname
        if addresses:
            return addresses, qname
    if failure is not None:
        raise failure
    return _raise_new_error(EAI_NODATA_ERROR)


def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    """As `socket.getaddrinfo`, but by the hosts file and the name servers. *May switch: yes.*

    >>> getaddrinfo('127.0.0.1', 80, type=socket.SOCK_STREAM)[0][-1]
    ('127.0.0.1', 80)
    """
    host = _text(host)
    numeric = host is None or is_ip_addr(host) or flags & socket.AI_NUMERICHOST
    if numeric:
        return socket.getaddrinfo(host, port, family, type, proto, flags)
    if dns is None:
        return _system.getaddrinfo(host, port, family, type, proto, flags)
    addresses, _ = _lookup(host, family, flags)
    ai_flags = (flags | socket.AI_NUMERICHOST) & ~socket.AI_CANONNAME
    found, failure = [], None
    for address in addresses:
        try:
            found += socket.getaddrinfo(address, port, family, type, proto, ai_flags)
        except OSError as error:
            if not flags & socket.AI_ADDRCONFIG:
                raise
            failure = error  # this family is not configured; the others may be
    if not found:
        if failure is not None:
            raise failure
        _raise_new_error(EAI_NONAME_ERROR)
    if flags & socket.AI_CANONNAME:
        first = found[0]
        found[0] = (*first[:3], resolve_cname(host), first[4])
    return found


def gethostbyname(hostname):
    """As `socket.gethostbyname`: one IPv4 address (str). Raises socket.gaierror. *May switch: yes.*

    >>> gethostbyname('127.0.0.1')
    '127.0.0.1'
    """
    hostname = _text(hostname)
    if is_ipv4_addr(hostname):
        return hostname
    if dns is None:
        return _system.gethostbyname(hostname)
    return resolve(hostname)[0].address


def gethostbyname_ex(hostname):
    """As `socket.gethostbyname_ex`: name, aliases and IPv4 addresses. *May switch: yes.*

    Raises socket.gaierror.

    >>> gethostbyname_ex('127.0.0.1')
    ('127.0.0.1', [], ['127.0.0.1'])
    """
    hostname = _text(hostname)
    if is_ipv4_addr(hostname):
        return hostname, [], [hostname]
    if dns is None:
        return _system.gethostbyname_ex(hostname)
    answer = resolve(hostname)
    aliases = getaliases(hostname)
    addresses = [record.address for record in answer.rrset]
    name = str(answer.qname)
    return name[:-1] if name.endswith(".") else name, aliases, addresses


def getnameinfo(sockaddr, flags):
    """As `socket.getnameinfo`: name and service of an address. *May switch: yes.*

    *sockaddr*: address and port, for IPv6 also flow information and scope. *flags*: NI_… constants.
    Raises TypeError, and socket.gaierror for what is no address or has no name though
    NI_NAMEREQD asks for one.

    >>> getnameinfo(('127.0.0.1', 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    ('127.0.0.1', '80')
    """
    if not isinstance(sockaddr, tuple):
        raise TypeError("getnameinfo() argument 1 must be a tuple")
    if not isinstance(flags, int):
        raise TypeError("an integer is required")
    try:
        host, port = sockaddr[0], sockaddr[1]
        struct.pack("!H", port)
    except (IndexError, struct.error):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
    if dns is None or not is_ip_addr(host) or flags & socket.NI_NUMERICHOST:
        return _system.getnameinfo(sockaddr, flags)
    service = socket.getnameinfo(sockaddr, flags | socket.NI_NUMERICHOST)[1]
    try:
        pointer = dns.reversename.from_address(host.partition("%")[0])
        name = str(resolver.query(pointer, dns.rdatatype.PTR)[0].target)
    except dns.exception.Timeout:
        _raise_new_error(EAI_EAGAIN_ERROR)
    except dns.exception.DNSException:
        if flags & socket.NI_NAMEREQD:
            _raise_new_error(EAI_NONAME_ERROR)
        return host, service
    if name.endswith("."):
        name = name[:-1]
    if flags & socket.NI_NOFQDN:
        name = name.partition(".")[0]
    return name, service
