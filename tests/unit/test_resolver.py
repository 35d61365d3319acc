"""`eventlet.support.resolver`: the system's look-ups, while other green threads go on."""

import os
import socket
import threading

import eventlet
import pytest
from eventlet.support import resolver
from greenlet._core import HostsCache

ANY = (0, 0, 0, 0)
STREAM = (0, socket.SOCK_STREAM, 0, 0)

QUESTIONS = [
    ("localhost", 80, *ANY),
    ("localhost", 80, *STREAM),
    ("localhost", "http", *STREAM),
    ("localhost", None, *STREAM),
    ("LOCALHOST", 80, socket.AF_INET, 0, 0, 0),
    ("localhost", 80, socket.AF_INET, 0, 0, socket.AI_CANONNAME),
    ("localhost", 80, 0, 0, 0, socket.AI_ADDRCONFIG),
    (b"localhost", b"80", *STREAM),
    (None, 80, *STREAM),
    (None, 80, 0, 0, 0, socket.AI_PASSIVE),
    ("", 80, *STREAM),
    ("127.0.0.1", 80, *STREAM),
    ("127.1", 80, *STREAM),
    ("::1", 80, *STREAM),
    ("fe80::1%lo", 80, *STREAM),
    ("<broadcast>", 80, *STREAM),
    (bytearray(b"127.0.0.1"), 80, *STREAM),
    ("host.invalid", 80, *STREAM),
    ("host.invalid", 80, 0, 0, 0, socket.AI_NUMERICHOST),
    ("localhost", "no-such-service", *STREAM),
    ("localhost", 1 << 40, *STREAM),
    ("localhost", 80.0, *STREAM),
    ("localhost", 80, 12345, 0, 0, 0),
    ("local\0host", 80, *STREAM),
    ("x" * 300, 80, *STREAM),
    ("ü" * 80, 80, *STREAM),
    (5, 80, *STREAM),
]


def outcome(function, arguments):
    try:
        return function(*arguments)
    except Exception as error:
        return type(error), error.args


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: repr(question[:2])[:40])
def test_answers_and_errors_are_the_systems(question):
    expected = outcome(resolver._getaddrinfo, question)
    assert outcome(resolver.getaddrinfo, question) == expected
    assert outcome(resolver.getaddrinfo, question) == expected  # from memory, perhaps


@pytest.mark.parametrize(
    "name", ["localhost", "127.0.0.1", "host.invalid", "x" * 300, b"localhost", 5]
)
def test_other_look_ups_are_the_systems(name):
    for ours, theirs in (
        (resolver.gethostbyname, resolver._gethostbyname),
        (resolver.gethostbyname_ex, resolver._gethostbyname_ex),
        (resolver.gethostbyaddr, resolver._gethostbyaddr),
    ):
        assert outcome(ours, (name,)) == outcome(theirs, (name,))
    for address, flags in (
        (("127.0.0.1", 80), 0),
        (("::1", 80, 0, 0), socket.NI_NUMERICSERV),
        (("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
        (("127.0.0.1", 80), socket.NI_NAMEREQD),
        (("127.0.0.1", -1), 0),
        ("127.0.0.1", 0),
        (("127.0.0.1", 80), "0"),
    ):
        expected = outcome(resolver._getnameinfo, (address, flags))
        assert outcome(resolver.getnameinfo, (address, flags)) == expected


def test_others_run_while_a_look_up_blocks(monkeypatch):
    answer = threading.Event()

    def slow(*_):
        assert answer.wait(30)
        return ["found"]

    monkeypatch.setattr(resolver, "_getaddrinfo", slow)
    waiting = eventlet.spawn(resolver.getaddrinfo, "host.invalid", 80)
    eventlet.sleep(0)
    answer.set()
    assert waiting.wait() == ["found"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "hosts").write_text("127.0.0.1 here alias # near\n::1 here\n192.0.2.1 far far2\n")
    (tmp_path / "nsswitch.conf").write_text("passwd: files\nhosts:\tfiles dns\n")
    return tmp_path


def entries(*addresses):
    return [(socket.AF_INET, 1, 6, "", (address, 80)) for address in addresses]


HERE = ("here", 80, *STREAM)


def test_kept_answers_are_new_lists(folder):
    cache = HostsCache(str(folder))
    generation = cache.look(*HERE)
    assert isinstance(generation, int)
    answer = entries("127.0.0.1")
    assert cache.keep(generation, answer, *HERE)
    answer.clear()
    first, second = cache.look(*HERE), cache.look(*HERE)
    assert first == second == entries("127.0.0.1")
    assert first is not second
    assert isinstance(cache.look("here", 81, *STREAM), int)
    assert isinstance(cache.look("here", "80", *STREAM), int)
    assert isinstance(cache.look("here", True, *STREAM), int)


def test_what_depends_on_servers_routes_or_interfaces_is_not_kept(folder):
    cache = HostsCache(str(folder))

    def keep(question, *addresses):
        return cache.keep(cache.look(*question), entries(*addresses), *question)

    assert not keep(("elsewhere", 80, *STREAM), "127.0.0.1")
    assert not keep(("far", 80, socket.AF_INET6, 0, 0, 0), "192.0.2.1")
    assert not keep(("here", 80, 0, 0, 0, socket.AI_ADDRCONFIG), "127.0.0.1")
    assert not keep(("far", 80, *STREAM), "192.0.2.1", "192.0.2.2")
    assert keep(("FAR2", 80, socket.AF_INET, 0, 0, 0), "192.0.2.1")
    assert keep(("alias", 80, *STREAM), "127.0.0.1", "127.0.0.2")
    assert len(cache) == 2


@pytest.mark.parametrize("sources", ["dns files", "files [SUCCESS=merge] dns", "resolve", ""])
def test_nothing_is_kept_unless_files_come_first(folder, sources):
    (folder / "nsswitch.conf").write_text(f"hosts: {sources}\n")
    cache = HostsCache(str(folder))
    assert not cache.keep(cache.look(*HERE), entries("127.0.0.1"), *HERE)
    os.unlink(folder / "nsswitch.conf")
    assert not cache.keep(cache.look(*HERE), entries("127.0.0.1"), *HERE)


@pytest.mark.parametrize("name", ["hosts", "nsswitch.conf", "gai.conf", "services"])
def test_a_changed_file_ends_what_was_kept(folder, name):
    cache = HostsCache(str(folder))
    here = ("here", "http", *STREAM)
    generation = cache.look(*here)
    assert cache.keep(generation, entries("127.0.0.1"), *here)
    path = folder / name
    path.write_text((path.read_text() if path.exists() else "") + "# changed\n")
    later = cache.look(*here)
    assert later == generation + 1
    assert not cache.keep(generation, entries("127.0.0.1"), *here)  # asked before the change
    assert cache.keep(later, entries("127.0.0.1"), *here)


def test_the_number_of_answers_is_bounded(folder):
    cache = HostsCache(str(folder))
    for port in range(300):
        question = ("here", port, *STREAM)
        cache.keep(cache.look(*question), entries("127.0.0.1"), *question)
    assert len(cache) == 256


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_answers_for_addresses_depend_on_no_file(folder, host):
    cache = HostsCache(str(folder))
    question = (host, 80, *STREAM)
    assert cache.keep(cache.look(*question), entries(host), *question)
    for name in ("hosts", "nsswitch.conf", "gai.conf", "services"):
        (folder / name).write_text("# changed\n")
    first, second = cache.look(*question), cache.look(*question)
    assert first == second == entries(host) and first is not second
    for other in (
        (host, "http", *STREAM),
        (host, 80, 0, 0, 0, socket.AI_ADDRCONFIG),
        (host + "%1", 80, *STREAM),
    ):
        assert not cache.keep(cache.look(*other), entries(host), *other)


def test_the_number_of_addresses_is_bounded(folder):
    cache = HostsCache(str(folder))
    for port in range(300):
        question = ("192.0.2.1", port, *STREAM)
        assert cache.keep(cache.look(*question), entries("192.0.2.1"), *question)
        assert cache.look(*question) == entries("192.0.2.1")
        assert len(cache) <= 256
