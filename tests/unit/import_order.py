"""Captures what blocks in every kind of place, in a random order of imports, with eventlet imported
somewhere in between; patches, and proves by running that nothing stops the other green threads.

    python import_order.py SEED [--count N] [--packages NAME...]

tests/unit/test_patcher_order.py runs it with modules of the standard library, tests/clients with
packages, too. Prints "proved", how many captures, locks and modules, and the packages; and the seed.

Every wait below ends only if another green thread runs meanwhile: one that blocks the OS thread hangs,
and is told by a traceback after some seconds.
"""

import argparse
import faulthandler
import importlib
import random
import sys
import warnings

# Of the standard library: programs, what opens windows or files of the user, what is for other systems.
LEFT_OUT = {"antigravity", "this", "idlelib", "turtle", "turtledemo", "tkinter", "test", "lib2to3"}
LEFT_OUT |= {"__main__", "pydoc_data", "rlcompleter", "readline", "site", "sitecustomize", "pty"}
# asyncio keeps a policy for each OS thread that imports it; the others change the process.
LEFT_OUT |= {
    "ensurepip",
    "venv",
    "nt",
    "ntpath",
    "msvcrt",
    "winreg",
    "winsound",
    "crypt",
    "spwd",
    "nis",
}


def module_names(chance, count):
    names = [n for n in sys.stdlib_module_names if n not in LEFT_OUT and not n.startswith("_")]
    names += ["concurrent.futures", "concurrent.futures.thread", "http.client", "http.server"]
    names += ["logging.handlers", "multiprocessing.pool", "unittest.mock", "urllib.request"]
    names += [
        "email.message",
        "xml.etree.ElementTree",
        "wsgiref.simple_server",
        "importlib.metadata",
    ]
    names.sort()
    chance.shuffle(names)
    return names[:count]


# --- places: each takes a callable, keeps it, and returns a callable that finds it there ------------------


class Slots:
    __slots__ = ("kept",)


class Instance:
    def method(self, *args):
        return self.kept(*args)


def in_a_global(kept):
    name = f"kept_{len(globals())}"
    globals()[name] = kept
    return lambda *args: globals()[name](*args)


def in_a_closure(kept):
    def call(*args):
        return kept(*args)

    return call


def in_a_default(kept):
    def call(*args, kept=kept):
        return kept(*args)

    return call


def in_a_tuple(kept):
    holder = (None, (kept,))
    return lambda *args: holder[1][0](*args)


def in_slots(kept):
    holder = Slots()
    holder.kept = kept
    return lambda *args: holder.kept(*args)


def in_an_instance(kept):
    holder = Instance()
    holder.kept = kept
    return holder.method


def in_a_class(kept):
    return type("Holder", (), {"kept": staticmethod(kept)}).kept


def in_a_partial(kept):
    import functools

    return functools.partial(kept)


def in_a_deque(kept):
    from collections import deque

    holder = deque([kept])
    return lambda *args: holder[0](*args)


def in_an_iterator(kept):
    import itertools

    holder = itertools.repeat(kept)
    return lambda *args: next(holder)(*args)


def in_a_generator(kept):
    def body(function):
        result = None
        while True:
            args = yield result
            result = function(*args)

    holder = body(kept)
    next(holder)
    return lambda *args: holder.send(args)


def in_a_structure_of_c(kept):
    import ctypes

    class Structure(ctypes.Structure):
        _fields_ = [("kept", ctypes.py_object)]

    holder = Structure(kept)
    return lambda *args: holder.kept(*args)


def in_a_slot_of_its_type(kept):
    return kept.__call__


def in_a_map(kept):
    def call(*args):
        return next(map(kept, *([a] for a in args))) if args else kept()

    return call


PLACES = [f for name, f in sorted(globals().items()) if name.startswith("in_")]


# --- what may block: each captures, and returns (name, prove) where prove() runs after the patch ----------


def captures(place):
    import os
    import queue
    import select
    import socket
    import threading
    import time

    def lock(make, name):
        held = make()
        acquire, release = place(held.acquire), place(held.release)

        def prove(eventlet):
            def holder():
                held.acquire()
                eventlet.sleep(0.001)
                held.release()

            eventlet.spawn(holder)
            eventlet.sleep(0)
            acquire()
            release()
            with held:
                pass

        return name, prove

    def notified(name):
        condition = threading.Condition()
        wait, notify = place(condition.wait), place(condition.notify)

        def prove(eventlet):
            def other():
                with condition:
                    notify()

            with condition:
                eventlet.spawn(other)
                wait()

        return name, prove

    def event(name):
        happened = threading.Event()
        wait = place(happened.wait)

        def prove(eventlet):
            eventlet.spawn(happened.set)
            wait()

        return name, prove

    def items(make, name):
        kept = make()
        get = place(kept.get)

        def prove(eventlet):
            eventlet.spawn(kept.put, name)
            assert get() == name

        return name, prove

    def receive(name):
        a, b = socket.socketpair()
        recv, into = place(a.recv), place(a.recv_into)

        def prove(eventlet):
            eventlet.spawn(b.sendall, b"x")
            assert recv(1) == b"x"
            eventlet.spawn(b.sendall, b"y")
            assert into(bytearray(1)) == 1
            b.close()
            assert recv(1) == b""
            a.close()

        return name, prove

    def send(name):
        a, b = socket.socketpair()
        sendall = place(a.sendall)
        data = bytes(1 << 21)

        def prove(eventlet):
            def reader():
                left = len(data)
                while left:
                    left -= len(b.recv(1 << 16))
                return True

            g = eventlet.spawn(reader)
            sendall(data)
            assert g.wait()
            a.close()
            b.close()

        return name, prove

    def accept(name):
        listener = socket.create_server(("127.0.0.1", 0))
        take, client = place(listener.accept), socket.socket()
        connect = place(client.connect)

        def prove(eventlet):
            g = eventlet.spawn(connect, listener.getsockname())
            conn, _ = take()
            g.wait()
            for each in (conn, client, listener):
                each.close()

        return name, prove

    def sleep(name):
        nap = place(time.sleep)

        def prove(eventlet):
            ran = []
            eventlet.spawn(ran.append, 1)
            nap(0.001)
            assert ran

        return name, prove

    def ready(name):
        r, w = os.pipe()
        poll, epoll = select.poll(), select.epoll()
        for each in (poll, epoll):
            each.register(r, 1)
        choose = place(select.select)
        waits = [lambda: choose([r], [], []), place(poll.poll), place(epoll.poll)]

        def prove(eventlet):
            for wait in waits:
                eventlet.spawn(os.write, w, b"x")
                assert wait()
                os.read(r, 1)
            epoll.close()
            os.close(r)
            os.close(w)

        return name, prove

    def look_up(name):
        find, by_name = place(socket.getaddrinfo), place(socket.gethostbyname)

        def prove(eventlet):
            assert find("localhost", 80)
            ran = []
            eventlet.spawn(ran.append, 1)
            assert by_name("localhost") == "127.0.0.1"

        return name, prove

    def ident(name):
        who = place(threading.get_ident)

        def prove(eventlet):
            found = {eventlet.spawn(who).wait() for _ in range(3)}
            assert len(found | {who()}) == 4, found

        return name, prove

    return [
        lock(threading.Lock, "lock"),
        lock(threading.RLock, "rlock"),
        lock(lambda: threading.Semaphore(1), "semaphore"),
        notified("condition"),
        event("event"),
        items(queue.Queue, "queue"),
        items(queue.SimpleQueue, "simple queue"),
        receive("receive"),
        send("send"),
        accept("accept"),
        sleep("sleep"),
        ready("ready"),
        look_up("look up"),
        ident("ident"),
    ]


def locks_of_modules(kinds):
    """Every free lock of the process, by whichever module it was made."""
    import gc

    found = []
    for candidate in gc.get_objects():
        if type(candidate) in kinds and candidate.acquire(False):
            candidate.release()
            found.append(candidate)
    return found


def prove_locks(eventlet, locks):
    for lock in locks:

        def holder(lock=lock):
            lock.acquire()
            eventlet.sleep(0)
            lock.release()

        g = eventlet.spawn(holder)
        eventlet.sleep(0)
        lock.acquire()
        lock.release()
        g.wait()


# --- packages: objects made before the patch, used after it --------------------------------------------------


def capture_packages():
    """Return (name, prove) for each package that is installed."""
    found = []
    if "requests" in sys.modules:
        session = sys.modules["requests"].Session()
        session.trust_env = False

        def prove_requests(eventlet):
            address = answering(eventlet)
            gs = [eventlet.spawn(session.get, f"http://{address}/", timeout=20) for _ in range(10)]
            assert {g.wait().text for g in gs} == {"hi"}
            session.close()

        found.append(("requests", prove_requests))
    if "urllib3" in sys.modules:
        pool = sys.modules["urllib3"].PoolManager(maxsize=1, block=True)

        def prove_urllib3(eventlet):
            address = answering(eventlet)
            gs = [eventlet.spawn(pool.request, "GET", f"http://{address}/") for _ in range(5)]
            assert {g.wait().data for g in gs} == {b"hi"}
            pool.clear()

        found.append(("urllib3", prove_urllib3))
    if "sqlalchemy" in sys.modules:
        sqlalchemy = sys.modules["sqlalchemy"]
        one = sqlalchemy.pool.QueuePool
        options = {"check_same_thread": False}
        engine = sqlalchemy.create_engine(
            "sqlite://", poolclass=one, pool_size=1, max_overflow=0, connect_args=options
        )

        def prove_sqlalchemy(eventlet):
            def query():
                with engine.connect() as connection:
                    eventlet.sleep(0.001)
                    return connection.execute(sqlalchemy.text("select 1")).scalar()

            gs = [eventlet.spawn(query) for _ in range(5)]
            assert [g.wait() for g in gs] == [1] * 5
            engine.dispose()

        found.append(("sqlalchemy", prove_sqlalchemy))
    if "redis" in sys.modules:
        import socket

        listener = socket.create_server(("127.0.0.1", 0))
        client = sys.modules["redis"].Redis(port=listener.getsockname()[1], protocol=2)

        def prove_redis(eventlet):
            def serve(connection):
                while data := connection.recv(4096):
                    for _ in range(data.count(b"SETINFO")):
                        connection.sendall(b"+OK\r\n")
                    if b"PING" in data:
                        connection.sendall(b"+PONG\r\n")

            def accept():
                while True:
                    eventlet.spawn(serve, listener.accept()[0])

            g = eventlet.spawn(accept)
            assert all(p.wait() for p in [eventlet.spawn(client.ping) for _ in range(5)])
            client.close()
            g.kill()
            listener.close()

        found.append(("redis", prove_redis))
    if "flask" in sys.modules:
        flask = sys.modules["flask"]
        app = flask.Flask("here")

        def prove_flask(eventlet):
            @app.route("/<name>")
            def answer(name):
                eventlet.sleep(0.001)
                assert flask.request.path == "/" + name
                return name

            def ask(name):
                return app.test_client().get("/" + name).text

            gs = [eventlet.spawn(ask, name) for name in "abc"]
            assert [g.wait() for g in gs] == ["a", "b", "c"]

        found.append(("flask", prove_flask))
    return found


def answering(eventlet):
    """Start a green HTTP server that says "hi"; return host:port."""
    server = eventlet.listen(("127.0.0.1", 0))

    def answer(connection, _):
        while data := connection.recv(65536):
            eventlet.sleep(0.001)
            for _ in range(data.count(b"\r\n\r\n")):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    eventlet.spawn(eventlet.serve, server, answer)
    return f"127.0.0.1:{server.getsockname()[1]}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", type=int)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--packages", nargs="*", default=[])
    options = parser.parse_args()
    faulthandler.dump_traceback_later(80, exit=True)
    warnings.simplefilter("ignore")
    chance = random.Random(options.seed)
    names = module_names(chance, options.count)
    names += options.packages
    chance.shuffle(names)
    at = chance.randrange(len(names) + 1)  # where eventlet is imported, which patches nothing yet
    imported = 0
    proofs = []
    kinds = None
    for index, name in enumerate([*names, None]):
        if index == at:
            import eventlet
        if index % (len(names) // 4 + 1) == 0:
            proofs += captures(chance.choice(PLACES))
        if name is None:
            break
        try:
            importlib.import_module(name)
            imported += 1
        except ImportError:
            pass
    import _thread

    kinds = (type(_thread.allocate_lock()), type(_thread.RLock()))
    proofs += capture_packages()
    import eventlet.patcher

    eventlet.monkey_patch()
    assert not eventlet.patcher.report().failed, eventlet.patcher.report()
    for name, prove in proofs:
        try:
            prove(eventlet)
        except BaseException:
            print("failed:", name, "with seed", options.seed, file=sys.stderr)
            raise
    locks = locks_of_modules(kinds)
    prove_locks(eventlet, locks)
    packages = [name for name in options.packages if name in sys.modules]
    counts = (len(proofs), "captures,", len(locks), "locks,", imported, "modules")
    print("proved", *counts, *packages, "with seed", options.seed)
    sys.stdout.flush()
    # Some of the modules start threads or ask at exit; that is not what is tested.
    __import__("os")._exit(0)


if __name__ == "__main__":
    main()
