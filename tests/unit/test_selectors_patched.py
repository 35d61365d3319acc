"""What stands on selectors in a patched process: asyncio loops and socketserver, beside green threads."""

import subprocess
import sys
import textwrap

import eventlet
import pytest

pytestmark = pytest.mark.skipif(
    not hasattr(eventlet, "__implementation__"), reason="upstream takes poll and epoll away"
)


def run(script):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.split()


ASYNCIO = """
    import eventlet
    eventlet.monkey_patch()
    import asyncio, socket

    ticks = []
    def tick():
        while True:
            ticks.append(1)
            eventlet.sleep(0.001)
    eventlet.spawn(tick)

    async def echo(reader, writer):
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async def main():
        server = await asyncio.start_server(echo, '127.0.0.1', 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(5):
            writer.write(b'ping')
            assert await reader.readexactly(4) == b'ping'
        await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()
        server.close()
        before = len(ticks)
        for _ in range(1_000_000):
            await asyncio.sleep(0)
            if len(ticks) > before + 2:
                return 'fair'
        return 'starved'
"""


def test_asyncio_in_a_green_thread():
    assert run(
        ASYNCIO + "    print(eventlet.spawn(asyncio.run, main()).wait(), len(ticks) > 5)"
    ) == [
        "fair",
        "True",
    ]


def test_asyncio_in_another_os_thread():
    script = """
    out = []
    thread = eventlet.patcher.original('threading').Thread(target=lambda: out.append(asyncio.run(main())))
    thread.start()
    while thread.is_alive():
        eventlet.sleep(0.005)
    print(*out)
    """
    assert run(ASYNCIO + script) == ["fair"]


def test_selectors_stay_whole():
    script = """
    import select, selectors, asyncio
    from selectors import EpollSelector
    import eventlet
    eventlet.monkey_patch()
    from eventlet.green import select as green
    assert select.epoll is green.epoll and select.poll is green.poll
    assert selectors.DefaultSelector is selectors.EpollSelector
    EpollSelector().close()
    with selectors.EpollSelector() as selector:
        assert type(selector._selector) is green.epoll
    with selectors.PollSelector() as selector:
        assert type(selector._selector) is type(green.poll())
    print('whole')
    """
    assert run(script) == ["whole"]


def test_http_server_beside_its_client():
    script = """
    import eventlet
    eventlet.monkey_patch()
    import http.client, http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header('Content-Length', '2')
            self.end_headers()
            self.wfile.write(b'hi')
        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
    serving = eventlet.spawn(server.serve_forever)
    client = http.client.HTTPConnection(*server.server_address)
    client.request('GET', '/')
    print(client.getresponse().read().decode())
    client.close()
    serving.kill()
    server.server_close()
    """
    assert run(script) == ["hi"]
