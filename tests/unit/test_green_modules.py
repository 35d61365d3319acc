"""Green copies of the standard library's modules: they are the running Python's, on green sockets."""

import importlib
import subprocess
import sys
import threading

import eventlet
import pytest
from eventlet.green import socket as green_socket

MODULES = [
    "BaseHTTPServer",
    "SocketServer",
    "asynchat",
    "asyncore",
    "ftplib",
    "http",
    "http.client",
    "http.cookiejar",
    "http.cookies",
    "http.server",
    "httplib",
    "profile",
    "urllib",
    "urllib.error",
    "urllib.parse",
    "urllib.request",
    "urllib.response",
]


ISOLATED = """
import importlib, sys
import http.client, http.server, socket, socketserver, urllib.request
originals = ("http", "http.client", "http.server", "socketserver", "urllib.request", "socket")
before = {name: dict(vars(sys.modules[name])) for name in originals}
for green in sys.argv[1:]:
    importlib.import_module(f"eventlet.green.{green}")
    for name, names in before.items():
        now = vars(sys.modules[name])
        assert {key: now.get(key) for key in names} == names, (green, name)
print("pass")
"""


def test_copies_leave_the_originals_as_they_are():
    done = subprocess.run(
        [sys.executable, "-c", ISOLATED, *MODULES], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "pass\n", done.stderr


def test_names_that_programs_take():
    from eventlet.green import httplib, urllib
    from eventlet.green.http import HTTPStatus, client
    from eventlet.green.urllib import error, parse, request

    for name in (
        "HTTPConnection HTTPSConnection HTTPResponse CONTINUE ImproperConnectionState _UNKNOWN"
    ).split():
        assert getattr(client, name) is getattr(httplib, name)
    assert HTTPStatus(404).phrase == "Not Found"
    assert client.socket is green_socket
    assert request.HTTPError is error.HTTPError
    assert parse.urlparse("http://a/b").path == "/b"
    assert request.http.client.HTTPConnection is client.HTTPConnection
    assert urllib.__name__ == "eventlet.green.urllib"


@pytest.mark.parametrize("name", ["SimpleHTTPServer", "CGIHTTPServer"])
def test_old_names_warn(name):
    sys.modules.pop(f"eventlet.green.{name}", None)
    with pytest.warns(DeprecationWarning, match=name):
        module = importlib.import_module(f"eventlet.green.{name}")
    assert module.HTTPServer


def test_server_and_client_in_one_thread():
    from eventlet.green.http import client
    from eventlet.green.http.server import BaseHTTPRequestHandler, HTTPServer
    from eventlet.green.urllib.error import HTTPError
    from eventlet.green.urllib.request import urlopen

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.path.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    serving = eventlet.spawn(server.serve_forever)
    with urlopen(f"http://127.0.0.1:{server.server_port}/tea") as answer:
        assert answer.read() == b"/tea"
    connection = client.HTTPConnection("127.0.0.1", server.server_port)
    connection.request("POST", "/", body=iter([b"a"]), encode_chunked=True)
    assert connection.getresponse().status == 501
    connection.close()
    with pytest.raises(HTTPError) as caught:
        urlopen(f"http://127.0.0.1:{server.server_port}/", data=b"x")
    assert caught.value.code == 501
    caught.value.close()
    serving.kill()
    server.server_close()


def test_threads_of_a_socketserver_are_green():
    from eventlet.green import SocketServer

    seen = []

    class Handler(SocketServer.StreamRequestHandler):
        def handle(self):
            seen.append(threading.get_native_id())
            self.wfile.write(self.rfile.readline())

    class Server(SocketServer.ThreadingTCPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    serving = eventlet.spawn(server.serve_forever)
    for _ in range(3):
        with eventlet.connect(server.server_address) as client:
            client.sendall(b"tea\n")
            assert client.recv(10) == b"tea\n"
    serving.kill()
    server.server_close()
    assert seen == [threading.get_native_id()] * 3


def test_ftplib_is_green():
    from eventlet.green import ftplib

    listener = eventlet.listen(("127.0.0.1", 0))

    def serve():
        client, _ = listener.accept()
        with client:
            client.sendall(b"220 ready\r\n")
            client.recv(100)
            client.sendall(b"221 bye\r\n")

    serving = eventlet.spawn(serve)
    with listener, ftplib.FTP() as ftp:
        ftp.connect("127.0.0.1", listener.getsockname()[1], timeout=10)
        assert ftp.getwelcome() == "220 ready"
        assert ftp.quit() == "221 bye"
    serving.wait()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="CPython 3.12 ended asyncore")
def test_asyncore_has_the_old_names():
    from eventlet.green import asynchat, asyncore

    assert issubclass(asynchat.async_chat, asyncore.dispatcher)
