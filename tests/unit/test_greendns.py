"""`eventlet.support.greendns`: hosts file and name servers, asked over green sockets.

The name server is a green thread of the test's own, on a port of this machine.
"""

import socket
import subprocess
import sys

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.resolver
import dns.rrset
import eventlet
import pytest
from eventlet.green import socket as green_socket
from eventlet.support import dns_transport, greendns, hosts

# dnspython's warning about a name that is used on purpose; pytest overrides the module's own filter.
pytestmark = pytest.mark.filterwarnings("ignore:please use dns.resolver:DeprecationWarning")

ZONE = {
    ("host.example.com.", "A"): ["192.0.2.1", "192.0.2.2"],
    ("host.example.com.", "AAAA"): ["2001:db8::1"],
    ("four.example.com.", "A"): ["192.0.2.4"],
    ("alias.example.com.", "CNAME"): ["host.example.com."],
    ("top.", "A"): ["192.0.2.9"],
    ("1.2.0.192.in-addr.arpa.", "PTR"): ["host.example.com."],
    ("1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa.", "PTR"): ["six.example.com."],
}


def answer(wire, truncate=False):
    """What the zone says to a question."""
    query = dns.message.from_wire(wire)
    response = dns.message.make_response(query)
    if truncate:
        response.flags |= dns.flags.TC
        return response.to_wire()
    question = query.question[0]
    name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
    known = {name for name, _ in ZONE}
    while kind != "CNAME" and (name, "CNAME") in ZONE:
        target = ZONE[name, "CNAME"]
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", *target))
        name = target[0]
    if (name, kind) in ZONE:
        response.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *ZONE[name, kind]))
    elif name not in known:
        response.set_rcode(3)
    return response.to_wire()


class Server:
    """A name server in green threads: what it was asked, and ways to be a bad one."""

    def __init__(self):
        self.questions = []
        self.truncate = self.silent = False
        self.udp = green_socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.port = self.udp.getsockname()[1]
        self.tcp = eventlet.listen(("127.0.0.1", self.port))
        self.threads = [eventlet.spawn(self.datagrams), eventlet.spawn(self.streams)]

    def datagrams(self):
        while True:
            wire, client = self.udp.recvfrom(65535)
            self.questions.append("udp")
            if not self.silent:
                self.udp.sendto(answer(wire, self.truncate), client)

    def streams(self):
        while True:
            connection, _ = self.tcp.accept()
            self.questions.append("tcp")
            with connection:
                wire = connection.recv(65535)
                reply = answer(wire[2:])
                connection.sendall(len(reply).to_bytes(2, "big") + reply)

    def close(self):
        for thread in self.threads:
            thread.kill()
        self.udp.close()
        self.tcp.close()


@pytest.fixture
def server():
    found = Server()
    yield found
    found.close()


@pytest.fixture
def proxy(server, tmp_path, monkeypatch):
    """A resolver that asks a hosts file and `server`, in the place of the process's."""
    (tmp_path / "hosts").write_text(
        "192.0.2.77 Near.Example.com near nearer # a comment\n"
        "not-an-address ignored\n"
        "2001:db8::77 near.example.com\n"
        "192.0.2.78 near.example.com\n"
        "fe80::1 linklocal\n"
    )
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\nsearch example.com\n")
    proxy = greendns.ResolverProxy(
        greendns.HostsResolver(str(tmp_path / "hosts")), str(tmp_path / "resolv.conf")
    )
    resolver = proxy._resolver
    resolver.nameservers = [dns_transport.GreenNameserver("127.0.0.1", server.port)]
    resolver.lifetime = resolver.timeout = 0.3
    monkeypatch.setattr(greendns, "resolver", proxy)
    return proxy


def addresses(found):
    """The addresses, in order but for those of one family, which the server shuffles."""
    return sorted([entry[4][0] for entry in found], key=lambda address: ("." in address, address))


def test_hosts_file_comes_first(proxy, server):
    found = greendns.getaddrinfo("NEAR.example.com", 80, type=socket.SOCK_STREAM)
    assert addresses(found) == ["2001:db8::77", "192.0.2.77", "192.0.2.78"]
    assert server.questions == []
    assert greendns.getaliases("near.example.com.") == ["near", "nearer"]


def test_servers_are_asked_and_others_run_meanwhile(proxy, server):
    found = greendns.getaddrinfo("host.example.com", 53, type=socket.SOCK_DGRAM)
    assert addresses(found) == ["2001:db8::1", "192.0.2.1", "192.0.2.2"]
    assert server.questions == ["udp", "udp"]


def test_families_and_flags(proxy):
    look = greendns.getaddrinfo
    stream = {"type": socket.SOCK_STREAM}
    assert addresses(look("four.example.com", 1, socket.AF_INET, **stream)) == ["192.0.2.4"]
    with pytest.raises(socket.gaierror) as caught:
        look("four.example.com", 1, socket.AF_INET6)
    assert caught.value.errno == socket.EAI_NONAME
    mapped = look("four.example.com", 1, socket.AF_INET6, socket.SOCK_STREAM, 0, socket.AI_V4MAPPED)
    assert addresses(mapped) == ["::ffff:192.0.2.4"]
    both = socket.AI_V4MAPPED | socket.AI_ALL
    every = look("host.example.com", 1, socket.AF_INET6, socket.SOCK_STREAM, 0, both)
    assert addresses(every) == ["2001:db8::1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"]
    named = look("alias.example.com", 1, 0, socket.SOCK_STREAM, 0, socket.AI_CANONNAME)
    assert named[0][3] == "host.example.com."
    with pytest.raises(socket.gaierror):
        look("host.example.com", 1, flags=socket.AI_NUMERICHOST)


def test_search_list_and_top_level_names(proxy):
    assert greendns.gethostbyname("host") in ("192.0.2.1", "192.0.2.2")
    assert greendns.gethostbyname("top") == "192.0.2.9"
    name, aliases, found = greendns.gethostbyname_ex("host.example.com")
    assert (name, aliases, sorted(found)) == ("host.example.com", [], ["192.0.2.1", "192.0.2.2"])


def test_truncated_answers_are_asked_for_again_in_a_stream(proxy, server):
    server.truncate = True
    assert greendns.gethostbyname("four.example.com") == "192.0.2.4"
    assert server.questions == ["udp", "tcp"]


def test_errors_are_new_and_of_the_usual_type(proxy, server):
    with pytest.raises(socket.gaierror) as first:
        greendns.gethostbyname("nobody.example.com")
    with pytest.raises(socket.gaierror) as second:
        greendns.gethostbyname("nobody.example.com")
    assert first.value is not second.value
    assert first.value.errno == socket.EAI_NONAME
    assert greendns.EAI_NONAME_ERROR.__traceback__ is None
    with pytest.raises(socket.gaierror) as caught:
        greendns.resolve("host.example.com", socket.AF_UNIX)
    assert caught.value.errno == socket.EAI_FAMILY


@pytest.mark.slow
def test_a_silent_server_is_a_temporary_failure(proxy, server):
    server.silent = True
    with pytest.raises(socket.gaierror) as caught:
        greendns.gethostbyname("host.example.com")
    assert caught.value.errno == socket.EAI_AGAIN


def test_reverse_names(proxy):
    numeric = socket.NI_NUMERICSERV
    assert greendns.getnameinfo(("192.0.2.1", 80), numeric) == ("host.example.com", "80")
    assert greendns.getnameinfo(("2001:db8::1", 80, 0, 0), numeric) == ("six.example.com", "80")
    assert greendns.getnameinfo(("192.0.2.1", 80), numeric | socket.NI_NOFQDN)[0] == "host"
    assert greendns.getnameinfo(("192.0.2.5", 80), numeric) == ("192.0.2.5", "80")
    with pytest.raises(socket.gaierror):
        greendns.getnameinfo(("192.0.2.5", 80), numeric | socket.NI_NAMEREQD)
    with pytest.raises(TypeError):
        greendns.getnameinfo(["192.0.2.5", 80], 0)
    with pytest.raises(TypeError):
        greendns.getnameinfo(("192.0.2.5", 80), "0")
    with pytest.raises(socket.gaierror):
        greendns.getnameinfo(("192.0.2.5",), 0)


def test_hosts_file_is_read_again_when_it_has_changed(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("192.0.2.1 one\n")
    resolver = hosts.HostsResolver(str(path), interval=0)
    resolver._last_stat = 0
    assert resolver.query("one")[0].address == "192.0.2.1"
    path.write_text("192.0.2.22 one\n")
    resolver._last_stat = 0
    assert resolver.query(b"one")[0].address == "192.0.2.22"
    with pytest.raises(dns.resolver.NoAnswer):
        resolver.query("two")
    assert not resolver.query("two", raise_on_no_answer=False).rrset
    assert str(resolver.query("one", dns.rdatatype.A).qname) == "one."
    path.unlink()
    resolver._last_stat = 0
    with pytest.raises(dns.resolver.NoAnswer):
        resolver.query("one")


def test_datagrams_of_others_are_not_the_answer(server):
    query = dns.message.make_query("host.example.com", "A")
    other = green_socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    mine = green_socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with other, mine:
        mine.bind(("127.0.0.1", 0))
        other.sendto(answer(query.to_wire()), mine.getsockname())
        with pytest.raises(dns.query.UnexpectedSource):
            dns_transport.udp(query, "127.0.0.1", port=server.port, sock=mine)
        found = dns_transport.udp(
            query, "127.0.0.1", port=server.port, sock=mine, ignore_unexpected=True
        )
        assert found.answer
    # A server that answers another question is told from one that does not.
    wrong = dns.message.make_query("host.example.com", "A").to_wire()
    with green_socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as liar:
        liar.bind(("127.0.0.1", 0))

        def lie():
            _, client = liar.recvfrom(65535)
            liar.sendto(answer(wrong), client)

        thread = eventlet.spawn(lie)
        with pytest.raises(dns.query.BadResponse):
            dns_transport.udp(query, "127.0.0.1", port=liar.getsockname()[1])
        thread.wait()


def test_a_server_that_hangs_up(server):
    query = dns.message.make_query("host.example.com", "A")
    with eventlet.listen(("127.0.0.1", 0)) as listener:

        def hang_up():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65535)
                connection.sendall(b"\x00")

        thread = eventlet.spawn(hang_up)
        with pytest.raises(EOFError):
            dns_transport.tcp(query, "127.0.0.1", port=listener.getsockname()[1])
        thread.wait()


WITHOUT = """
import sys
sys.modules["dns"] = None
from eventlet.support import greendns
assert greendns.gethostbyname("127.0.0.1") == "127.0.0.1"
assert greendns.getaddrinfo("localhost", 80)
assert greendns.resolver is not None
try:
    greendns.resolve("localhost")
except ImportError as error:
    assert "dnspython" in str(error)
    print("pass")
"""


def test_works_without_dnspython():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "pass\n", done.stderr


def test_importing_reads_no_configuration():
    program = (
        "import builtins, sys\n"
        "real, seen = builtins.open, []\n"
        "builtins.open = lambda path, *a, **k: (seen.append(str(path)), real(path, *a, **k))[1]\n"
        "from eventlet.support import greendns\n"
        "import eventlet.green.socket\n"
        "assert not [p for p in seen if 'resolv' in p or 'hosts' in p], seen\n"
        "print('pass')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "pass\n", done.stderr


def test_eai_nodata_by_environment():
    program = (
        "import socket\nfrom eventlet.support import greendns\n"
        "print(greendns.EAI_NODATA_ERROR.errno == socket.EAI_NODATA)"
    )
    for value, expected in (("yes", "True\n"), ("", "False\n")):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=30,
            env={"EVENTLET_DEPRECATED_EAI_NODATA": value, "PATH": ""},
        )
        assert done.stdout == expected, done.stderr
