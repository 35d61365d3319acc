"""Clients of HTTP and Redis servers in a patched process, many at once; and the same ones, plain.

    clients.py urllib|requests|redis [plain]

Plain is without eventlet: the same calls, in the same number of clients, one after the other in one
thread, which is the cheapest way to make them. The server is a process of its own, on another core.

Invariant: every answer is checked, and the CPU time of the server does not count.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

PLAIN = sys.argv[2:] == ["plain"]
PATIENCE = 20  # seconds
CLIENTS = 20
COMMANDS = 20  # in a pipeline

sys.argv[1:] = sys.argv[1:2]
prctl = ctypes.CDLL(None).prctl  # before the fork: after it, only calls


def _detach():
    """Runs in the server: it ends with this process, and leaves this process's core to it."""
    prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    others = set(range(os.cpu_count())) - os.sched_getaffinity(0)
    os.sched_setaffinity(0, others or os.sched_getaffinity(0))


def start(*command):
    """A server process."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=_detach)


def http_server():
    """The port of an HTTP server."""
    folder = os.path.dirname(os.path.abspath(__file__))
    server = start(sys.executable, os.path.join(folder, "http_server.py"))
    return int(server.stdout.readline())


def redis_server():
    """The port of a Redis server that keeps nothing."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tempfile.gettempdir()
    start("redis-server", "--port", str(port), "--save", "", "--dir", folder)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return port
        time.sleep(0.01)
    raise SystemExit("the Redis server does not answer")


PORT = (redis_server if sys.argv[1] == "redis" else http_server)()

if PLAIN:

    def at_once(count, function, jobs):
        """Calls `function` on all jobs, one after the other."""
        for job in jobs:
            function(job)

else:
    import eventlet

    eventlet.monkey_patch()

    def at_once(count, function, jobs):
        """Calls `function` on all jobs, at most `count` of them at a time."""
        for _ in eventlet.GreenPool(count).imap(function, jobs):
            pass


import meter  # noqa: E402


def check(page):
    """Ends the program unless it is the server's page."""
    if len(page) != 1000:
        raise SystemExit("an answer is not whole")


def shares(n):
    """n operations, divided among the clients."""
    return [n // CLIENTS + (number < n % CLIENTS) for number in range(CLIENTS)]


def with_urllib():
    """One operation: `urlopen` and `read`, 200 at once, a new connection each."""
    from urllib.request import urlopen

    url = f"http://127.0.0.1:{PORT}/"

    def fetch(_):
        with urlopen(url) as answer:
            check(answer.read())

    return lambda n: at_once(200, fetch, range(n))


def with_requests():
    """One operation: `get` in a session; 20 sessions at once."""
    import requests

    url = f"http://127.0.0.1:{PORT}/"
    sessions = [requests.Session() for _ in range(CLIENTS)]
    for session in sessions:
        session.trust_env = False

    def fetch(job):
        session, count = job
        for _ in range(count):
            check(session.get(url).content)

    return lambda n: at_once(CLIENTS, fetch, zip(sessions, shares(n)))


def with_redis():
    """One operation: a pipeline of 20 commands; 20 clients at once."""
    import redis

    clients = [redis.Redis(port=PORT) for _ in range(CLIENTS)]

    def execute(job):
        client, count = job
        for _ in range(count):
            with client.pipeline(transaction=False) as pipeline:
                for number in range(COMMANDS // 2):
                    pipeline.set(f"key {number}", number).get(f"key {number}")
                if pipeline.execute()[-1] != b"%d" % (COMMANDS // 2 - 1):
                    raise SystemExit("an answer is wrong")

    return lambda n: at_once(CLIENTS, execute, zip(clients, shares(n)))


meter.main(
    {
        "urllib": meter.Work(with_urllib, ops=200),
        "requests": meter.Work(with_requests, ops=200),
        "redis": meter.Work(with_redis, ops=200),
    }
)
