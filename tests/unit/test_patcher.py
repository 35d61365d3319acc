"""Monkey patching: each case in a process of its own, because it is for good."""

import os
import subprocess
import sys
import textwrap

import eventlet
import pytest
from eventlet import patcher

TLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tls")

ours = pytest.mark.skipif(
    not hasattr(eventlet, "__implementation__"), reason="differs from upstream on purpose"
)


def run(script, *options):
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_patches_time_socket_and_select():
    script = """
        import eventlet
        eventlet.monkey_patch()
        import time, socket, select, selectors
        from eventlet.green import time as gt, socket as gs, select as gsel
        assert time.sleep is gt.sleep
        assert socket.socket is gs.socket
        assert socket.create_connection is gs.create_connection
        assert select.select is gsel.select
        assert select.epoll is gsel.epoll
        assert selectors.DefaultSelector is selectors.EpollSelector
        print('fine')
    """
    assert run(script) == ["fine"]


@pytest.mark.parametrize(
    "flag, other", [("time", "socket"), ("socket", "time"), ("select", "time")]
)
def test_only_what_is_asked_for(flag, other):
    script = f"""
        import eventlet
        eventlet.monkey_patch({flag}=True)
        print(*[eventlet.patcher.is_monkey_patched(m) for m in ({flag!r}, {other!r})])
        import time
        print(time.sleep is eventlet.sleep)
    """
    assert run(script) == ["True", "False", str(flag == "time")]


def test_all_but_what_is_declined():
    script = """
        import eventlet
        eventlet.monkey_patch(time=False)
        print(*[eventlet.patcher.is_monkey_patched(m) for m in ('time', 'socket', 'select')])
    """
    assert run(script) == ["False", "True", "True"]


def test_all_false_patches_the_named_only():
    script = """
        import eventlet
        eventlet.monkey_patch(all=False, socket=True)
        print(*[eventlet.patcher.is_monkey_patched(m) for m in ('time', 'socket', 'select')])
    """
    assert run(script) == ["False", "True", "False"]


def test_repeated_calls_add_up_and_change_nothing_twice():
    script = """
        import eventlet, socket
        eventlet.monkey_patch(time=True)
        eventlet.monkey_patch(socket=True)
        first = socket.socket
        eventlet.monkey_patch()
        eventlet.monkey_patch()
        print(*[eventlet.patcher.is_monkey_patched(m) for m in ('time', 'socket', 'select')])
        print(socket.socket is first)
    """
    assert run(script) == ["True"] * 4


def test_unknown_flag():
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'sockets'"):
        eventlet.monkey_patch(sockets=True)


@ours
def test_optional_modules_that_are_missing_are_left_out():
    script = """
        import sys, eventlet
        sys.modules['psycopg2'] = sys.modules['MySQLdb'] = None
        eventlet.monkey_patch(psycopg=True, MySQLdb=True)
        print(*[eventlet.patcher.is_monkey_patched(m) for m in ('psycopg', 'MySQLdb')])
    """
    assert run(script) == ["False", "False"]


def test_mysql_connects_in_native_threads(tmp_path):
    package = tmp_path / "MySQLdb"
    package.mkdir()
    # Like the real one, the package does not import its connections before one is made.
    (package / "__init__.py").write_text("__all__ = ['connect']\ndef connect(): pass\n")
    (package / "connections.py").write_text(
        "import threading\n"
        "class Connection:\n"
        "    def __init__(self): self.thread = threading.current_thread().name\n"
        "    def cursor(self): return threading.current_thread().name\n"
    )
    script = f"""
        import sys; sys.path.insert(0, {str(tmp_path)!r})
        import eventlet
        from eventlet import tpool
        eventlet.monkey_patch(all=False, MySQLdb=True)
        import MySQLdb
        from eventlet.green import MySQLdb as green
        assert MySQLdb.connect is green.connect and MySQLdb.connections is green.connections
        connection = MySQLdb.connect()
        assert isinstance(connection, tpool.Proxy) and isinstance(connection.cursor(), tpool.Proxy)
        print(eventlet.patcher.is_monkey_patched('MySQLdb'), connection.thread != 'MainThread')
    """
    assert run(script) == ["True", "True"]


@ours
@pytest.mark.parametrize("flag", ["time", "socket", "select", "thread"])
def test_an_error_leaves_everything_as_it_was(flag):
    script = f"""
        import eventlet, socket, select, ssl, time, threading, _thread, _socket, queue, selectors
        from eventlet import patcher
        from greenlet import _core
        import eventlet.hubs
        eventlet.hubs.get_hub()
        patcher._default_modules()  # importing green modules is no patching
        modules = [socket, select, time, threading, _thread, queue, selectors, ssl, _socket]
        before = [dict(vars(m)) for m in modules]
        members = [m for t in (type(_thread.allocate_lock()), type(_thread.RLock()), _socket.socket)
                   for m in vars(t).values()] + [time.sleep, select.select, _thread.get_ident]
        lock = threading.RLock()
        # The last thing that is patched for the flag fails.
        patches, real = patcher._patches, patcher._patches.then_undo
        def then_undo(function):
            real(function)
            if {flag!r} in patcher.already_patched:
                raise KeyboardInterrupt
        patches.then_undo = then_undo
        try:
            eventlet.monkey_patch()
        except KeyboardInterrupt:
            print('interrupted')
        print([m for m, names in zip(modules, before) if dict(vars(m)) != names])
        print([m for m in members if _core.is_redirected(m)], patcher.already_patched)
        print(isinstance(lock, threading._PyRLock), bool(patcher.report()))
        patches.then_undo = real
        eventlet.monkey_patch()
        print(isinstance(lock, threading._PyRLock), bool(patcher.report()))
    """
    assert run(script) == ["interrupted", "[]", "[]", "{}", "False", "False", "True", "True"]


@ours
def test_report_tells_what_was_done():
    script = """
        import threading, time
        from threading import local as mine
        import eventlet
        from eventlet import patcher
        assert str(patcher.report()) == 'nothing is monkey patched' and not patcher.report()
        eventlet.monkey_patch()
        report = patcher.report()
        assert report and 'time' in report.flags, report
        for name in ('time.sleep', '_thread.LockType', '_thread.RLock', '_socket.socket', 'select.select'):
            assert name in report.in_place, report
        assert 'socket.socket' in report.by_name
        assert report.failed == [], report
        assert 'green in place' in str(report)
    """
    run(script)


@ours
def test_what_cannot_be_redirected_is_reported():
    script = """
        import eventlet, time
        from eventlet import patcher
        from greenlet import _core
        real = _core.redirect_natively
        _core.redirect_natively = lambda kind, builtin, locks: [(kind, 'as a test')]
        eventlet.monkey_patch(time=True)
        report = patcher.report()
        assert report.failed == [('time.sleep', 'as a test')], report
        assert 'not possible: time.sleep: as a test' in str(report)
        assert time.sleep is eventlet.sleep
    """
    run(script)


@ours
def test_plain_call_is_silent():
    assert run("import eventlet; eventlet.monkey_patch(); print('fine')", "-W", "error") == ["fine"]


def test_is_monkey_patched_takes_modules_and_names():
    script = """
        import eventlet, time, socket
        eventlet.monkey_patch(time=True)
        p = eventlet.patcher.is_monkey_patched
        print(p(time), p('time'), p(socket), p('socket'), p('nothing'), p(5))
    """
    assert run(script) == ["True", "True", "False", "False", "False", "False"]


@ours
def test_references_taken_before_are_green_wherever_they_are():
    script = """
        import functools, os, select, socket, threading, time
        from time import sleep
        from socket import socketpair, socket as Socket, gethostbyname
        lock, rlock = threading.Lock(), threading.RLock()
        def by_default(seconds, sleep=time.sleep): sleep(seconds)
        class Slots:
            __slots__ = ('sleep',)
        slots = Slots(); slots.sleep = sleep
        def closure(kept):
            return lambda seconds: kept(seconds)
        class Attribute:
            wait = staticmethod(sleep)
        sleeps = [sleep, by_default, slots.sleep, closure(sleep), Attribute.wait, (sleep,)[0],
                  {'s': sleep}['s'], functools.partial(sleep)]
        select_early, acquire = select.select, lock.acquire
        a, b = socketpair()
        receive = a.recv
        c, d = os.pipe()
        poller = select.poll(); poller.register(c, select.POLLIN)
        queue = select.epoll(); queue.register(c, select.EPOLLIN)
        class Mine(Socket): pass
        import eventlet
        eventlet.monkey_patch()
        blocked = []
        def others():
            blocked[:] = [False]
        def free(function, *args):
            blocked[:] = [True]
            eventlet.spawn(others)
            result = function(*args)
            assert blocked == [False], function
            return result
        for each in sleeps:
            free(each, 0.001)
        eventlet.spawn_after(0.01, b.send, b'x')
        assert free(receive, 10) == b'x'
        for wait in (lambda: select_early([c], [], []), poller.poll, queue.poll):
            eventlet.spawn_after(0.01, os.write, d, b'x')
            assert free(wait)
            os.read(c, 1)
        for held in (lock, rlock):
            g = eventlet.spawn(lambda: [held.acquire(), eventlet.sleep(0.01), held.release()])
            eventlet.sleep(0)
            with held: pass
            free(lambda: [eventlet.spawn(held.acquire).wait(), eventlet.sleep(0)])
        listener = Mine(); listener.bind(('127.0.0.1', 0)); listener.listen()
        client = Mine()
        eventlet.spawn_after(0.01, client.connect, listener.getsockname())
        conn, _ = free(listener.accept)
        for s in (a, b, listener, client, conn): s.close()
        assert free(gethostbyname, 'localhost') == '127.0.0.1'
        queue.close(); os.close(c); os.close(d)
    """
    run(script, "-W", "ignore")


@ours
def test_tls_socket_made_before():
    script = f"""
        import os, socket, ssl
        folder = {TLS!r}
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(folder + '/cert.pem', folder + '/key.pem')
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        a, b = socket.socketpair()
        left = server.wrap_socket(a, server_side=True, do_handshake_on_connect=False)
        right = client.wrap_socket(b, do_handshake_on_connect=False)
        import eventlet
        eventlet.monkey_patch()
        g = eventlet.spawn(left.do_handshake)
        right.do_handshake(); g.wait()
        g = eventlet.spawn(right.recv, 10)
        eventlet.sleep(0)
        left.sendall(b'hello'); print(g.wait())
        data = os.urandom(1 << 20)
        g = eventlet.spawn(left.sendall, data)
        got = b''
        while len(got) < len(data): got += right.recv(1 << 16)
        g.wait(); print(got == data)
        right.settimeout(0.01)
        try: right.recv(1)
        except TimeoutError as error: print(error)
        print(right.gettimeout(), left.gettimeout())
        for s in (left, right): s.close()
    """
    assert " ".join(run(script)) == "b'hello' True The read operation timed out 0.01 None"


def test_sleep_in_two_green_threads_overlaps():
    script = """
        import eventlet
        eventlet.monkey_patch()
        import time
        start = time.monotonic()
        gs = [eventlet.spawn(time.sleep, 0.3) for _ in range(10)]
        for g in gs: g.wait()
        print(0.3 <= time.monotonic() - start < 2)
    """
    assert run(script) == ["True"]


def test_urllib_against_a_server_in_the_same_thread():
    script = """
        import eventlet
        eventlet.monkey_patch()
        import urllib.request
        def answer(conn, addr):
            while conn.recv(4096)[-4:] != b'\\r\\n\\r\\n':
                pass
            eventlet.sleep(0.1)
            conn.sendall(b'HTTP/1.0 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi')
        server = eventlet.listen(('127.0.0.1', 0))
        eventlet.spawn(eventlet.serve, server, answer)
        url = 'http://127.0.0.1:%d/' % server.getsockname()[1]
        pool = eventlet.GreenPool(20)
        def fetch(_):
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.read()
        print(set(pool.imap(fetch, range(20))) == {b'hi'})
    """
    assert run(script, "-W", "ignore") == ["True"]


def test_socketserver_and_http_client():
    script = """
        import eventlet
        eventlet.monkey_patch()
        import http.client, http.server
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header('Content-Length', '5')
                self.end_headers()
                self.wfile.write(b'hello')
            def log_message(self, *args):
                pass
        server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
        g = eventlet.spawn(server.serve_forever, 0.01)
        client = http.client.HTTPConnection(*server.server_address, timeout=10)
        client.request('GET', '/')
        print(client.getresponse().read().decode())
        client.close()
        g.kill()
        server.server_close()
    """
    assert run(script, "-W", "ignore") == ["hello"]


@ours
def test_look_ups_do_not_block():
    script = """
        import eventlet
        from eventlet.support import resolver
        import threading
        order, gate = [], threading.Event()
        def slow(*args):
            gate.wait(10)
            return ['found']
        resolver._getaddrinfo = slow
        from eventlet.green import socket
        g = eventlet.spawn(socket.getaddrinfo, 'name.invalid', 80)
        eventlet.sleep(0)
        order.append('others run')
        gate.set()
        order.append(g.wait())
        print(order)
    """
    assert " ".join(run(script)) == "['others run', ['found']]"


@ours
def test_look_up_errors_and_limits():
    script = """
        import socket as std
        from eventlet.green import socket
        import eventlet
        try:
            socket.getaddrinfo('no-such-host.invalid', 80)
        except socket.gaierror as error:
            print(type(error) is std.gaierror)
        from eventlet.support import resolver
        pool = eventlet.GreenPool(100)
        results = list(pool.imap(lambda _: socket.getaddrinfo('localhost', 80), range(100)))
        print(all(r == std.getaddrinfo('localhost', 80) for r in results))
        print(socket.getaddrinfo('127.0.0.1', 80) == std.getaddrinfo('127.0.0.1', 80))
        print(socket.gethostbyname('localhost'))
        for bad in (5, 1.5):
            try:
                socket.getaddrinfo(bad, 80)
            except TypeError:
                print('TypeError')
    """
    assert run(script) == ["True", "True", "True", "127.0.0.1", "TypeError", "TypeError"]


# --- originals ---------------------------------------------------------------------------------


def test_original_is_a_copy_of_its_own():
    script = """
        import time, eventlet
        sleep = time.sleep
        eventlet.monkey_patch()
        import sys, socket
        o = eventlet.patcher.original('time')
        print(o.sleep is not time.sleep, o.sleep.__name__)
        s = eventlet.patcher.original('socket')
        print(s.socket is not socket.socket, s is sys.modules['__original_module_socket'])
        print(s is eventlet.patcher.original('socket'), sys.modules['socket'] is socket)
        t = eventlet.patcher.original('threading')
        print(t.current_thread.__globals__['_active'] is t._active)
        q = eventlet.patcher.original('queue')
        print(q.threading is t)
    """
    assert run(script) == ["True", "sleep", *["True"] * 6]


@ours
@pytest.mark.parametrize("early", [True, False])
def test_threads_of_the_original_module_can_be_joined(early):
    script = f"""
        import eventlet
        from eventlet import patcher
        if {early}: patcher.original('threading')
        go = []
        def start():
            import time
            threading, sleep = patcher.original('threading'), patcher.original('time').sleep
            def body():
                while not go: sleep(0.001)
            thread = threading.Thread(target=body)
            thread.start()
            return thread
        threads = [start()] if {early} else []
        eventlet.monkey_patch()
        threads.append(start())
        eventlet.spawn_after(0.01, go.append, 1)
        for thread in threads:
            thread.join()
        print('joined')
    """
    assert run(script) == ["joined"]


@pytest.mark.parametrize("patch", ["", "eventlet.monkey_patch()"])
def test_originals_can_be_imported(patch):
    script = f"""
        import eventlet.patcher, sys, threading
        {patch}
        import __original_module_threading as copy
        import __original_module_http.client
        print(copy is eventlet.patcher.original("threading") is not threading)
        print(copy.__name__, copy.__spec__.name, copy.Thread.__module__)
        print(sys.modules["__original_module_http.client"].HTTPConnection.__module__)
        try:
            import __original_module_tea
        except ImportError as error:
            print(error, "__original_module_tea" in sys.modules)
        import copy as unharmed
        print(unharmed.copy([1]))
    """
    expected = "True threading threading threading http.client No module named 'tea' False [1]"
    assert run(script) == expected.split()


def test_what_cinder_does_after_patching():
    """Cinder gives the copy of `threading` the threads of the patched one."""
    script = """
        import eventlet, logging, sys
        eventlet.monkey_patch()
        import __original_module_threading as orig_threading
        import threading
        orig_threading.current_thread.__globals__["_active"] = threading._active
        main = threading.main_thread()
        print(orig_threading.current_thread() is threading.current_thread() is main)
        logging.basicConfig(stream=sys.stdout, format="%(threadName)s %(message)s")

        def tea():
            logging.warning("tea")
            return threading.current_thread()

        green = threading.Thread(target=tea, name="green")
        green.start()
        green.join()
        native = orig_threading.Thread(target=tea, name="native")
        native.start()
        native.join()
        print(eventlet.spawn(tea).wait() is not main, threading.active_count())
        print(orig_threading.current_thread() is threading.current_thread() is main)
    """
    first, green, native, other, *last = " ".join(run(script)).split(" tea ")
    assert first == "True green"
    assert (green, native.split("-")[0]) == ("native", "GreenThread")
    assert other == "True 1 True"
    assert last == []


def test_original_of_an_unknown_module():
    with pytest.raises(ImportError):
        patcher.original("no_such_module_at_all")
    assert "__original_module_no_such_module_at_all" not in sys.modules


def test_import_patched():
    script = """
        import sys, eventlet
        import http.client as plain
        green = eventlet.import_patched('http.client')
        from eventlet.green import socket
        print(green is not plain, green.socket.socket is socket.socket)
        print(plain.socket.socket is not socket.socket)
        print(sys.modules['http.client'] is plain)
        print(eventlet.import_patched('http.client') is green)
    """
    assert run(script) == ["True"] * 5


def test_inject_fills_a_dictionary():
    script = """
        import types, sys, eventlet
        from eventlet import patcher
        fake = types.ModuleType('fake_time')
        fake.sleep = 'green'
        names = {}
        module = patcher.inject('sched', names, ('time', fake), )
        print(names['scheduler'] is module.scheduler, '__file__' in names)
        print('sched' in sys.modules, '__patched_module_sched' in sys.modules)
        print(module.time.sleep if hasattr(module, 'time') else 'no')
    """
    out = run(script.replace("fake.sleep = 'green'", "fake.sleep = 'green'; fake.monotonic = None"))
    assert out[:2] == ["True", "False"]
    assert out[2:4] == ["False", "True"]


def test_inject_restores_after_a_failed_import():
    script = """
        import sys, types
        from eventlet import patcher
        import time
        try:
            patcher.inject('no_such_module', None, ('time', types.ModuleType('time')))
        except ImportError:
            print(sys.modules['time'] is time)
    """
    assert run(script) == ["True"]


def test_patch_function():
    script = """
        from eventlet import patcher
        import types
        fake = types.ModuleType('time')
        def f():
            import time
            return time
        print(patcher.patch_function(f, ('time', fake))() is fake)
        import time
        print(f() is time)
    """
    assert run(script) == ["True"] * 2


def test_slurp_properties():
    import types

    source = types.ModuleType("m")
    source.a, source.b, source.__c, source.__all__ = 1, 2, 3, ["a", "b"]
    into = {}
    patcher.slurp_properties(source, into)
    assert into == {"a": 1, "b": 2}
    into = {}
    patcher.slurp_properties(source, into, ignore=["a"], srckeys=dir(source))
    assert "b" in into and "a" not in into and "__name__" not in into


PROGRAM = """
import sys, time, eventlet
print(__name__, time.sleep is eventlet.sleep, sys.argv[1:], sys.modules['__main__'].sys is sys)
import beside
sys.exit(3)
"""


@pytest.fixture
def program(tmp_path):
    (tmp_path / "script.py").write_text(PROGRAM)
    (tmp_path / "beside.py").write_text("print('beside')\n")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        [["-m", "eventlet.patcher"], ["{}/script.py"]],
        pytest.param([["-m", "eventlet.support.program"], ["{}/script.py"]], marks=ours),
        pytest.param([["-m", "eventlet.support.program"], ["-m", "script"]], marks=ours),
        pytest.param([["-m", "eventlet.support.program"], ["-c", PROGRAM]], marks=ours),
    ],
)
def test_run_a_program_patched(program, command):
    interpreter, arguments = command
    arguments = [argument.replace("{}", str(program)) for argument in arguments]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *interpreter, *arguments, "a", "-b"],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=program,
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines() == ["__main__ True ['a', '-b'] True", "beside"]


@ours
def test_usage_of_eventlet_run(capsys):
    from eventlet.support import program

    for argv, status in ((["-h"], 0), ([], 2), (["-m"], 2), (["-x"], 2)):
        assert program.run("eventlet-run", argv) == status
    out, err = capsys.readouterr()
    assert out.count("usage: eventlet-run") == 1 and err.count("usage: eventlet-run") == 3


@ours
def test_green_threads_that_import_one_module_wait_for_each_other(tmp_path):
    (tmp_path / "slow_module.py").write_text("import time\ntime.sleep(0.01)\nready = True\n")
    script = f"""
        import sys, eventlet
        eventlet.monkey_patch()
        sys.path.insert(0, {str(tmp_path)!r})
        def use():
            import slow_module
            return slow_module.ready
        print(*[g.wait() for g in [eventlet.spawn(use) for _ in range(4)]])
    """
    assert run(script) == ["True"] * 4
