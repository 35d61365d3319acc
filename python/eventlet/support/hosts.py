"""The hosts file as a resolver of dnspython's: `HostsResolver` and its `HostsAnswer`.

The file is read when the resolver is made, and again at most every `interval` seconds if it has
changed. Needs dnspython; nothing else in eventlet does.
"""

import ipaddress
import os
import sys
import time

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.resolver
import dns.rrset

#: Seconds for which an answer from the hosts file holds, and between two looks at the file.
HOSTS_TTL = 10.0

_CLASSES = {
    dns.rdatatype.A: dns.rdtypes.IN.A.A,
    dns.rdatatype.AAAA: dns.rdtypes.IN.AAAA.AAAA,
}


class HostsAnswer(dns.resolver.Answer):
    """An answer that no server gave: *rrset* (None is an empty one) under the name *qname*.

    Raises dns.resolver.NoAnswer for an empty *rrset* if *raise_on_no_answer*.
    """

    def __init__(self, qname, rdtype, rdclass, rrset, raise_on_no_answer=True):
        self.response = None
        self.qname = qname
        self.canonical_name = qname
        self.rdtype = rdtype
        self.rdclass = rdclass
        self.nameserver = self.port = self.chaining_result = None
        if not rrset and raise_on_no_answer:
            raise dns.resolver.NoAnswer()
        self.rrset = rrset
        self.expiration = time.time() + getattr(rrset, "ttl", 0)


class HostsResolver:
    """Answers from a hosts file, in the manner of `dns.resolver.Resolver`.

    *fname*: path of the file; None is the system's. *interval*: seconds between two looks at
    whether it has changed. A file that cannot be read is an empty one.

    >>> from eventlet.support.greendns import HostsResolver
    >>> HostsResolver('/nonexistent').getaliases('tea')
    []
    """

    LINE_BREAKS = ("\n", "\r")

    def __init__(self, fname=None, interval=HOSTS_TTL):
        self.fname = fname or _system_hosts()
        self.interval = interval
        self._v4 = {}  # name: an address, or a list of them
        self._v6 = {}
        self._aliases = {}  # alias: the first name of its line
        self._mark = None
        self._last_stat = 0
        self._load()

    def _state_of_file(self):
        try:
            found = os.stat(self.fname)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _readlines(self):
        try:
            with open(self.fname, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            return []
        stripped = (line.partition("#")[0].strip() for line in lines)
        return [line for line in stripped if line]

    def _load(self):
        """Read the file, whether or not it has changed. *May switch: no.*"""
        self._mark = self._state_of_file()
        self._last_stat = time.time()
        v4, v6, aliases = {}, {}, {}
        for line in self._readlines():
            address, *names = line.split()
            try:
                parsed = ipaddress.ip_address(address)
            except ValueError:
                continue
            if parsed.version == 6 and parsed.is_link_local:
                continue  # of no use without an interface
            known = v4 if parsed.version == 4 else v6
            names = [name.lower() for name in names]
            for name in names:
                _add(known, name, address)
            for alias in names[1:]:
                aliases[alias] = names[0]
        self._v4, self._v6, self._aliases = v4, v6, aliases

    def _refresh(self):
        if self._last_stat + self.interval >= time.time():
            return
        self._last_stat = time.time()
        if self._state_of_file() != self._mark:
            self._load()

    def query(
        self,
        qname,
        rdtype=dns.rdatatype.A,
        rdclass=dns.rdataclass.IN,
        tcp=False,
        source=None,
        raise_on_no_answer=True,
    ):
        """Return what the file has for *qname* (str, bytes or dns.name.Name) as a `HostsAnswer`.

        *rdtype*: A, AAAA or CNAME; the file has no others. *rdclass*, *tcp* and *source* mean
        nothing to a file and are there for the signature. Raises dns.resolver.NoAnswer unless
        *raise_on_no_answer* is false. *May switch: no.*
        """
        self._refresh()
        name = qname
        if isinstance(qname, bytes):
            name = qname.decode()
        if isinstance(name, str):
            qname = dns.name.from_text(name)
        else:
            qname = name
            name = str(name)
        name = name.rstrip(".").lower()
        rrset = dns.rrset.RRset(qname, dns.rdataclass.IN, rdtype)
        rrset.ttl = max(0, self._last_stat + self.interval - time.time())
        if rdclass == dns.rdataclass.IN:
            for data in self._records(name, rdtype):
                rrset.add(data)
        return HostsAnswer(qname, rdtype, dns.rdataclass.IN, rrset, raise_on_no_answer)

    def _records(self, name, rdtype):
        where = dns.rdataclass.IN
        if rdtype == dns.rdatatype.CNAME:
            target = self._aliases.get(name)
            if target is not None:
                yield dns.rdtypes.ANY.CNAME.CNAME(where, rdtype, dns.name.from_text(target))
            return
        known = {dns.rdatatype.A: self._v4, dns.rdatatype.AAAA: self._v6}.get(rdtype, {})
        addresses = known.get(name, [])
        if isinstance(addresses, str):
            addresses = [addresses]
        for address in addresses:
            yield _CLASSES[rdtype](where, rdtype, address)

    def getaliases(self, hostname):
        """Return the other names (list of str) that the file has for *hostname*. *May switch: no.*"""
        self._refresh()
        hostname = hostname.rstrip(".").lower()
        first = self._aliases.get(hostname, hostname)
        names = [alias for alias, name in self._aliases.items() if name == first]
        if first != hostname:
            names.append(first)
        return [name for name in names if name != hostname]


def _add(known, name, address):
    before = known.get(name)
    if before is None:
        known[name] = address
    elif isinstance(before, list):
        before.append(address)
    elif before != address:
        known[name] = [before, address]


def _system_hosts():
    if sys.platform == "win32":
        root = os.environ.get("SystemRoot", r"C:\Windows")
        return os.path.join(root, r"System32\drivers\etc\hosts")
    return "/etc/hosts"
