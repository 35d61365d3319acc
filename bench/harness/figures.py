"""The figures to reach: one entry per line of the project's table.

A limit is judged on what two sides measured side by side: ``AtMost`` compares ours with upstream or
another side, ``NearFloor`` ours with a plain C program, ``Equal`` and ``Times`` ours with another figure
of ours.

Invariant: limits are stated here and nowhere else; a figure without a limit is information.
"""

import statistics
from dataclasses import dataclass

SIDES = ("ours", "upstream")
PLAIN = "plain"  # the same program on our interpreter, without eventlet
GEVENT = "gevent"
ASYNCIO_STREAMS, ASYNCIO_PROTOCOL = "asyncio streams", "asyncio protocol"
UVLOOP_STREAMS, UVLOOP_PROTOCOL = "uvloop streams", "uvloop protocol"
PEERS = (GEVENT, ASYNCIO_STREAMS, ASYNCIO_PROTOCOL, UVLOOP_STREAMS, UVLOOP_PROTOCOL)

NANOSECONDS, MICROSECONDS, MILLISECONDS, BYTES = "ns", "us", "ms", "B"
PER = {NANOSECONDS: 1, MICROSECONDS: 1000, MILLISECONDS: 1_000_000, BYTES: 1}


def paired(operation, left, right):
    """The median of ``operation`` over values measured side by side; None if a side is missing.

    Both sides of a pair have seen the same state of the machine, so this scatters less than the
    quotient (or difference) of two medians.
    """
    if not left or not right:
        return None
    if len(left) != len(right):
        return operation(statistics.median(left), statistics.median(right))
    return statistics.median(map(operation, left, right))


def quotient(left, right):
    """left / right."""
    return left / right


@dataclass(frozen=True)
class AtMost:
    """Ours may be at most ``share`` of the other ``side``; below it, if ``strict``."""

    share: float
    text: str
    strict: bool = False
    side: str = "upstream"

    def met(self, values, _twin):
        """Whether the limit is kept; None if it cannot be told."""
        ratio = paired(quotient, values.get("ours"), values.get(self.side))
        if ratio is None:
            return None
        return ratio < self.share if self.strict else ratio <= self.share


@dataclass(frozen=True)
class NearFloor:
    """Ours may exceed the C program's figure by ``plus``, or by the factor ``times``."""

    text: str
    plus: float = 0
    times: float = 1

    def met(self, values, _twin):
        """Whether the limit is kept; None if it cannot be told."""
        excess = paired(
            lambda ours, floor: ours - self.times * floor, values.get("ours"), values.get("C")
        )
        return None if excess is None else excess <= self.plus


@dataclass(frozen=True)
class Equal:
    """Ours must be within ``share`` of our own figure ``twin``."""

    twin: str
    share: float
    text: str

    def met(self, values, twin):
        """Whether the limit is kept; None if it cannot be told."""
        ratio = paired(quotient, values.get("ours"), twin and twin.get("ours"))
        return None if ratio is None else abs(ratio - 1) <= self.share


@dataclass(frozen=True)
class Times:
    """Ours may be at most ``factor`` times our own figure ``twin``."""

    twin: str
    factor: float
    text: str

    def met(self, values, twin):
        """Whether the limit is kept; None if it cannot be told."""
        ratio = paired(quotient, values.get("ours"), twin and twin.get("ours"))
        return None if ratio is None else ratio <= self.factor


def fraction(divisor):
    """The limit "at most 1/divisor of upstream"."""
    return AtMost(1 / divisor, f"<= 1/{divisor:g}")


@dataclass(frozen=True)
class Figure:
    """One benchmark: ``script`` and ``work`` name the program, ``title`` the line of the table."""

    name: str
    title: str
    script: str
    work: str
    unit: str
    limits: tuple
    fresh: bool = False  # one round per process, because the first is the only honest one
    heavy: bool = False  # takes gigabytes or minutes: measured only if it is asked for by name
    sides: tuple = SIDES  # for a script of bench/work; servers know theirs
    needs: str = ""  # a command of the system without which it cannot be measured

    def bound_to(self, python):
        """The limits that hold on this (major, minor) version."""
        if self.unit == BYTES and not self.limits:
            if python >= (3, 14):
                return (AtMost(1, "< 1.0", strict=True),)
            return (AtMost(1.1, "<= 1.1"),)
        return self.limits


def _figure(script, work, title, limits=(), unit=NANOSECONDS, fresh=False, heavy=False):
    if not isinstance(limits, tuple):
        limits = (limits,)
    return Figure(f"{script}.{work}", title, script, work, unit, limits, fresh, heavy)


def _client(work, title, needs=""):
    limit = AtMost(1.06, "<= 1.06 x plain", side=PLAIN)
    sides = (*SIDES, PLAIN)
    name = f"clients.{work}"
    return Figure(name, title, "clients", work, MICROSECONDS, (limit,), sides=sides, needs=needs)


_NO_MORE = AtMost(1, "<= 1")

PROGRAMS = (
    _figure("switch", "shallow", "switch round trip, shallow", fraction(6)),
    _figure(
        "switch",
        "deep",
        "switch round trip, 50 C calls deep",
        (fraction(80), Equal("switch.shallow", 0.1, "shallow +-10 %")),
    ),
    _figure("switch", "siblings", "siblings round trip, shallow", fraction(6)),
    _figure(
        "switch",
        "siblings_deep",
        "siblings round trip, both 50 C calls deep",
        (fraction(80), Equal("switch.siblings", 0.1, "shallow +-10 %")),
    ),
    _figure("lifecycle", "finish", "greenlet create + run + finish", fraction(40)),
    _figure("lifecycle", "kill", "greenlet create + park + kill", fraction(15)),
    _figure("lifecycle", "throw", "throw round trip", fraction(10)),
    _figure("memory", "parked_10k", "memory per suspended greenlet, 10k", (), BYTES, True),
    _figure("memory", "parked_100k", "memory per suspended greenlet, 100k", (), BYTES, True),
    _figure("sleep", "one", "sleep(0), 1 green thread", fraction(20)),
    _figure("sleep", "two", "sleep(0), 2 green threads", fraction(20)),
    _figure("sleep", "thousand", "sleep(0), 1000 green threads", fraction(20)),
    _figure("spawn", "one_by_one", "spawn + wait, one by one", fraction(30)),
    _figure("spawn", "together", "spawn + wait, 10k together", fraction(30)),
    _figure("spawn", "spawn_n", "spawn_n, 10k drained", fraction(40)),
    _figure("spawn", "pool", "GreenPool(1000).spawn_n, 10k + waitall", fraction(20)),
    _figure("spawn", "kill", "spawn + park + kill", fraction(20)),
    _figure("pools", "imap", "GreenPool(100).imap, an item", fraction(10)),
    _figure("pools", "pile", "GreenPile(100), a job", fraction(10)),
    _figure("pools", "item", "Pool, get + put", _NO_MORE),
    _figure("pools", "local", "corolocal.local, read an attribute", _NO_MORE),
    _figure("alive", "start_100k", "100k green threads: spawn and park one", fraction(10)),
    _figure("alive", "stop_100k", "100k green threads: end one of the parked", fraction(10)),
    _figure("alive", "memory_100k", "100k green threads: memory of one", _NO_MORE, BYTES, True),
    _figure("alive", "memory_1m", "1M green threads: memory of one", _NO_MORE, BYTES, True, True),
    _figure("alive", "start_1m", "1M green threads: spawn and park one", fraction(10), heavy=True),
    _figure(
        "alive", "stop_1m", "1M green threads: end one of the parked", fraction(10), heavy=True
    ),
    _figure("timers", "fired", "100k timers scheduled and fired", fraction(10)),
    _figure("timers", "cancelled", "100k timers scheduled and cancelled", fraction(4)),
    _figure("timers", "timeout", "Timeout that never fires", fraction(5)),
    _figure("queues", "unbounded", "Queue put + get, nobody waits", fraction(3)),
    _figure("queues", "handed_over", "Queue(1), item handed over", fraction(12)),
    _figure("locks", "free", "Semaphore, free", fraction(1.5)),
    _figure("locks", "contended", "Semaphore, contended", fraction(12)),
    _figure("events", "pingpong", "Event ping-pong, round trip", fraction(12)),
    _figure("os_threads", "pool", "tpool round trip", fraction(2), MICROSECONDS),
    _figure(
        "os_threads",
        "handed_over",
        "Queue hand-over to another OS thread and back, elapsed",
        (),
        MICROSECONDS,
    ),
    _figure("pingpong", "unix", "in-process ping-pong, Unix socket", fraction(3.5), MICROSECONDS),
    _figure("pingpong", "tcp", "in-process ping-pong, TCP", fraction(1.8), MICROSECONDS),
    _figure(
        "asyncio_hub",
        "sleep",
        "asyncio hub: sleep(0), 1 green thread",
        Times("sleep.one", 1.5, "<= 1.5 x default hub"),
    ),
    _figure(
        "asyncio_hub",
        "unix",
        "asyncio hub: in-process ping-pong, Unix socket",
        Times("pingpong.unix", 1.5, "<= 1.5 x default hub"),
        MICROSECONDS,
    ),
    _figure("resolver", "localhost", "getaddrinfo('localhost')", fraction(10), MICROSECONDS),
    _figure("resolver", "literal", "getaddrinfo('127.0.0.1')", _NO_MORE, MICROSECONDS),
    _figure("patched", "thread", "patched Thread, start + join", fraction(3), MICROSECONDS),
    _figure("patched", "process", "patched Popen + communicate", _NO_MORE, MICROSECONDS),
    _client("urllib", "urllib, a page; 200 at once"),
    _client("requests", "requests, a page; 20 sessions"),
    _client("redis", "redis, a pipeline of 20 commands; 20 clients", "redis-server"),
    _figure("import_time", "import", "import eventlet", fraction(8), MILLISECONDS, True),
    _figure(
        "import_time", "patch", "import eventlet, monkey_patch()", fraction(4), MILLISECONDS, True
    ),
)

ECHO_CONNECTIONS = (1, 100, 1000)
ACCEPT_CONNECTIONS = 50
UDP_IN_FLIGHT = 32
TLS_CONNECTIONS = 50

_ECHO_CPU = (
    NearFloor("<= C + 1.2 us", plus=1200),
    AtMost(1, "< uvloop protocol", strict=True, side=UVLOOP_PROTOCOL),
)
# What a server is held to, by kind and what is measured of it. One connection is information only: the
# server then waits for each request, and how long depends on the load's core.
SERVER_LIMITS = {
    ("echo", 100, "cpu"): _ECHO_CPU,
    ("echo", 1000, "cpu"): _ECHO_CPU,
    ("echo", 100, "p99"): (NearFloor("<= 1.5 x C", times=1.5),),
    ("echo", 1000, "p99"): (NearFloor("<= 1.5 x C", times=1.5),),
    ("accept", ACCEPT_CONNECTIONS, "cpu"): (_NO_MORE,),
    ("udp", UDP_IN_FLIGHT, "cpu"): (NearFloor("<= C + 1.2 us", plus=1200),),
    ("tls", TLS_CONNECTIONS, "cpu"): (AtMost(10 / 14, "<= 10/14"),),
}
