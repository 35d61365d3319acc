"""Monkey patching: each case in a process of its own, because it is for good."""

import subprocess
import sys
import textwrap

import eventlet
import pytest
from eventlet import patcher

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
@pytest.mark.parametrize("flag", ["psycopg", "MySQLdb", "builtins", "os", "subprocess"])
def test_what_is_not_patched_yet_says_so(flag):
    script = f"""
        import warnings, eventlet
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            eventlet.monkey_patch({flag}=True)
        print(*[w.category.__name__ for w in caught])
        print(eventlet.patcher.is_monkey_patched({flag!r}))
    """
    assert run(script) == ["NotPatchedWarning", "False"]


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
@pytest.mark.parametrize("before", [True, False])
def test_order_of_imports_does_not_matter(before):
    imports = "import user"
    patch = "eventlet.monkey_patch()"
    first, second = (imports, patch) if before else (patch, imports)
    script = f"""
        import sys, types, importlib.abc, importlib.machinery
        source = (
            'from time import sleep; from select import select; '
            'from socket import socket, create_connection, getaddrinfo as look_up'
        )
        class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
            def find_spec(self, name, path, target=None):
                if name == 'user':
                    return importlib.machinery.ModuleSpec(name, self)
            def exec_module(self, module):
                exec(source, module.__dict__)
        sys.meta_path.insert(0, Finder())
        import eventlet
        {first}
        {second}
        import time
        import socket, select
        print(user.sleep is time.sleep is eventlet.sleep)
        print(user.socket is socket.socket is eventlet.greenio.GreenSocket)
        print(user.create_connection is socket.create_connection)
        print(user.look_up is socket.getaddrinfo)
        print(user.select is select.select)
    """
    assert run(script) == ["True"] * 5


@ours
def test_main_module_is_rebound():
    script = """
        from time import sleep
        import eventlet
        eventlet.monkey_patch()
        print(sleep is eventlet.sleep)
    """
    assert run(script) == ["True"]


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


def test_run_a_script_patched(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, time, eventlet\nprint(__name__, time.sleep is eventlet.sleep, sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "eventlet.patcher", str(script), "a", "b"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.strip() == "__main__ True ['a', 'b']", done.stderr
