"""Imports some fifty popular packages into a patched process and does something with each.

    with_packages.py [NAME...]      only these

Prints a line for each that is installed, and "pass" at the end. A green thread counts all the while:
whatever keeps it from counting for two seconds blocks the hub, and is an error.
"""

import sys
import threading
import time

import eventlet

eventlet.monkey_patch()

import asyncio  # noqa: E402
import http.server  # noqa: E402
import importlib.util  # noqa: E402


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"tea")

    do_POST = do_GET

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
HOST = f"127.0.0.1:{server.server_port}"
URL = f"http://{HOST}/"


def use_requests():
    import requests

    assert requests.get(URL, timeout=10).text == "tea"


def use_urllib3():
    import urllib3

    assert urllib3.PoolManager().request("GET", URL).data == b"tea"


def use_httpx():
    import httpx

    assert httpx.get(URL).text == "tea"

    async def fetch():
        async with httpx.AsyncClient() as client:
            return (await client.get(URL)).text

    assert asyncio.run(fetch()) == "tea"


def use_trio():
    import trio

    async def main():
        with trio.move_on_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 0.01)
            assert await trio.to_thread.run_sync(lambda: "tea") == "tea"
            return "done"

    assert trio.run(main) == "done"


def use_httpx_and_trio():
    import httpx
    import trio

    async def fetch():
        async with httpx.AsyncClient() as client:
            return (await client.get(URL)).text

    assert trio.run(fetch) == "tea"


def use_anyio():
    import anyio

    async def main():
        await anyio.sleep(0.01)
        return await anyio.to_thread.run_sync(lambda: "tea")

    assert anyio.run(main) == "tea"


def use_aiohttp():
    import aiohttp

    async def fetch():
        async with aiohttp.ClientSession() as session, session.get(URL) as answer:
            return await answer.text()

    assert asyncio.run(fetch()) == "tea"


def use_websockets():
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import serve

    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    async def main():
        async with serve(echo, "127.0.0.1", 0) as running:
            port = running.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}") as connection:
                await connection.send("tea")
                return await connection.recv()

    assert asyncio.run(main()) == "tea"


def use_tornado():
    from tornado.httpclient import AsyncHTTPClient

    async def fetch():
        return (await AsyncHTTPClient().fetch(URL)).body

    assert asyncio.run(fetch()) == b"tea"


GRPC_SERVER = """
from concurrent import futures
import grpc
method = grpc.unary_unary_rpc_method_handler(lambda request, context: request + b"!")
handlers = grpc.method_handlers_generic_handler("test.Tea", {"Pour": method})
server = grpc.server(futures.ThreadPoolExecutor(2))
server.add_generic_rpc_handlers((handlers,))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""


def use_grpc():
    # gRPC waits in C code of its own, which nothing can make green: its calls belong into tpool.
    import subprocess

    import grpc
    from eventlet import tpool

    running = subprocess.Popen(
        [sys.executable, "-c", GRPC_SERVER], stdout=subprocess.PIPE, text=True
    )
    try:
        address = f"127.0.0.1:{int(running.stdout.readline())}"
        with grpc.insecure_channel(address) as channel:
            call = channel.unary_unary("/test.Tea/Pour")
            pool = eventlet.GreenPool(10)
            answers = list(
                pool.imap(lambda n: tpool.execute(call, b"%d" % n, timeout=10), range(10))
            )
        assert answers == [b"%d!" % n for n in range(10)]
    finally:
        running.kill()
        running.communicate()


def use_sqlalchemy():
    import sqlalchemy

    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.StaticPool)
    with engine.begin() as connection:
        assert connection.execute(sqlalchemy.text("select 1 + 1")).scalar() == 2


def use_django():
    import django
    from django.conf import settings

    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    settings.configure(DATABASES={"default": database}, SECRET_KEY="tea", ROOT_URLCONF=__name__)
    django.setup()
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("select 1 + 1")
        assert cursor.fetchone() == (2,)


def use_flask():
    import flask

    app = flask.Flask("tea")
    app.route("/")(lambda: "tea")
    assert app.test_client().get("/").data == b"tea"


def use_fastapi():
    import fastapi
    from fastapi.testclient import TestClient

    app = fastapi.FastAPI()
    app.get("/")(lambda: "tea")
    with TestClient(app) as client:
        assert client.get("/").json() == "tea"


def use_boto3():
    import boto3

    client = boto3.client(
        "s3",
        region_name="none",
        endpoint_url=URL,
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    assert client.get_object(Bucket="cup", Key="tea")["Body"].read() == b"tea"


def use_cryptography():
    from cryptography.fernet import Fernet

    box = Fernet(Fernet.generate_key())
    assert box.decrypt(box.encrypt(b"tea")) == b"tea"


def use_lxml():
    from lxml import etree

    assert etree.fromstring("<a><b>tea</b></a>").findtext("b") == "tea"


def use_numpy():
    import numpy

    assert (numpy.ones((200, 200)) @ numpy.ones((200, 200))).sum() == 200**3


def use_pandas():
    import pandas

    assert pandas.DataFrame({"a": [1, 2]})["a"].sum() == 3


def use_PIL():
    from PIL import Image

    assert Image.new("RGB", (4, 4)).resize((2, 2)).size == (2, 2)


def use_pydantic():
    import pydantic

    class Cup(pydantic.BaseModel):
        size: int

    assert Cup(size="3").size == 3


def use_jinja2():
    import jinja2

    assert jinja2.Template("{{ a }}").render(a="tea") == "tea"


def use_yaml():
    import yaml

    assert yaml.safe_load("a: [tea]") == {"a": ["tea"]}


def use_click():
    import click
    from click.testing import CliRunner

    assert CliRunner().invoke(click.command()(lambda: click.echo("tea"))).output == "tea\n"


def use_rich():
    import io

    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=io.StringIO())) as progress:
        task = progress.add_task("tea", total=3)
        progress.update(task, advance=3)
        time.sleep(0.05)
    assert progress.finished


def use_tqdm():
    import io

    import tqdm

    assert sum(tqdm.tqdm(range(10), file=io.StringIO())) == 45


def use_redis():
    import redis

    try:
        redis.Redis(port=1, socket_timeout=1).ping()
    except redis.ConnectionError:
        return
    raise AssertionError("there is no such server")


def use_pymongo():
    import pymongo

    client = pymongo.MongoClient("127.0.0.1", 1, serverSelectionTimeoutMS=200)
    try:
        client.admin.command("ping")
    except pymongo.errors.ServerSelectionTimeoutError:
        return
    finally:
        client.close()
    raise AssertionError("there is no such server")


def use_kombu():
    import kombu

    with kombu.Connection("memory://") as connection:
        queue = connection.SimpleQueue("cups")
        queue.put("tea")
        assert queue.get(timeout=5).payload == "tea"


def use_celery():
    import celery

    app = celery.Celery("tea", broker="memory://", backend="cache+memory://")
    app.conf.task_always_eager = True

    @app.task
    def pour(a, b):
        return a + b

    assert pour.delay(1, 2).get(timeout=5) == 3


def use_pika():
    import pika

    try:
        pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", 1, connection_attempts=1))
    except pika.exceptions.AMQPConnectionError:
        return
    raise AssertionError("there is no such server")


def use_kazoo():
    from kazoo.client import KazooClient
    from kazoo.handlers.eventlet import SequentialEventletHandler
    from kazoo.handlers.threading import KazooTimeoutError

    client = KazooClient("127.0.0.1:1", handler=SequentialEventletHandler())
    try:
        client.start(timeout=0.5)
    except (KazooTimeoutError, client.handler.timeout_exception):
        return
    raise AssertionError("there is no such server")


def use_elasticsearch():
    import elasticsearch

    client = elasticsearch.Elasticsearch(URL, max_retries=0)
    try:
        client.info()
    except Exception as error:  # it is no server of that kind
        assert "Unsupported" in type(error).__name__ or "Serial" in type(error).__name__, error
    client.close()


def use_websocket():
    import websocket

    try:
        websocket.create_connection(f"ws://{HOST}/", timeout=5)
    except websocket.WebSocketBadStatusException:
        return
    raise AssertionError("it is no such server")


def use_twisted():
    from twisted.internet import reactor, task

    done = []

    def stop():
        done.append(True)
        reactor.stop()

    task.deferLater(reactor, 0.01, stop)
    reactor.run(installSignalHandlers=False)
    assert done


def use_apscheduler():
    from apscheduler.schedulers.background import BackgroundScheduler

    done = threading.Event()
    scheduler = BackgroundScheduler()
    scheduler.add_job(done.set)
    scheduler.start()
    assert done.wait(10)
    scheduler.shutdown()


def use_watchdog():
    import os
    import tempfile

    from watchdog.events import FileSystemEventHandler
    from watchdog.observers import Observer

    seen = threading.Event()

    class Watcher(FileSystemEventHandler):
        def on_any_event(self, event):
            seen.set()

    with tempfile.TemporaryDirectory() as folder:
        observer = Observer()
        observer.schedule(Watcher(), folder)
        observer.start()
        open(os.path.join(folder, "tea"), "w").close()
        assert seen.wait(10)
        observer.stop()
        observer.join()


def use_psutil():
    import psutil

    assert psutil.Process().cpu_times().user >= 0


def use_prometheus_client():
    import urllib.request

    import prometheus_client

    running, thread = prometheus_client.start_http_server(0, addr="127.0.0.1")
    with urllib.request.urlopen(f"http://127.0.0.1:{running.server_port}/metrics") as answer:
        assert b"python_info" in answer.read()
    running.shutdown()
    thread.join()


def use_opentelemetry():
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Exporter(SpanExporter):
        spans = []

        def export(self, spans):
            self.spans.extend(spans)
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Exporter()))
    with provider.get_tracer("tea").start_as_current_span("pour"):
        pass
    provider.shutdown()
    assert len(Exporter.spans) == 1


def use_sentry_sdk():
    import sentry_sdk

    sentry_sdk.init(dsn=f"http://key@{HOST}/1", default_integrations=False)
    assert sentry_sdk.capture_message("tea")
    sentry_sdk.flush(timeout=5)


def use_structlog():
    import structlog

    structlog.get_logger().bind(cup=1)


def use_loguru():
    import io

    from loguru import logger

    logger.remove()
    output = io.StringIO()
    logger.add(output, enqueue=False)
    logger.info("tea")
    assert "tea" in output.getvalue()


def use_tenacity():
    import tenacity

    calls = []

    @tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_fixed(0.01))
    def pour():
        calls.append(1)
        if len(calls) < 3:
            raise OSError

    pour()


def use_zmq():
    import zmq

    context = zmq.Context()
    with context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as other:
        port = one.bind_to_random_port("tcp://127.0.0.1")
        other.connect(f"tcp://127.0.0.1:{port}")
        one.send(b"tea")
        assert other.recv() == b"tea"
    context.term()


def use_ldap3():
    import ldap3

    try:
        ldap3.Connection(ldap3.Server("127.0.0.1", 1, connect_timeout=1)).bind()
    except ldap3.core.exceptions.LDAPSocketOpenError:
        return
    raise AssertionError("there is no such server")


def use_jwt():
    import jwt

    key = "k" * 32
    assert jwt.decode(jwt.encode({"a": 1}, key), key, ["HS256"]) == {"a": 1}


def use_msgpack():
    import msgpack

    assert msgpack.unpackb(msgpack.packb([1, "tea"])) == [1, "tea"]


def use_orjson():
    import orjson

    assert orjson.loads(orjson.dumps({"a": 1})) == {"a": 1}


def use_google_protobuf():
    from google.protobuf.struct_pb2 import Struct

    message = Struct()
    message["a"] = "tea"
    assert Struct.FromString(message.SerializeToString())["a"] == "tea"


def use_gunicorn():
    import gunicorn.app.wsgiapp
    import gunicorn.workers.sync

    assert issubclass(gunicorn.app.wsgiapp.WSGIApplication, gunicorn.app.base.Application)
    assert gunicorn.workers.sync.SyncWorker


def use_uvicorn():
    import uvicorn

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"tea"})

    import socket
    import urllib.request

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    running.install_signal_handlers = lambda: None
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    while not running.started:
        time.sleep(0.01)
    port = listener.getsockname()[1]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
        assert answer.read() == b"tea"
    running.should_exit = True
    thread.join()


def installed(name):
    modules = {"google_protobuf": "google.protobuf", "httpx_and_trio": "trio"}
    module = modules.get(name, name)
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def main():
    functions = {name[4:]: value for name, value in globals().items() if name.startswith("use_")}
    beats = 0

    def beat():
        nonlocal beats
        while True:
            eventlet.sleep(0.02)
            beats += 1

    def watch():
        # In an OS thread: the hub cannot tell that it is blocked.
        seen, since = -1, time.monotonic()
        while True:
            native.sleep(0.1)
            if beats != seen:
                seen, since = beats, time.monotonic()
            elif time.monotonic() - since > 2 and name not in SLOW_TO_IMPORT:
                slow.add(name)

    native = eventlet.patcher.original("time")
    slow, name = set(), None
    eventlet.spawn(beat)
    eventlet.patcher.original("threading").Thread(target=watch, daemon=True).start()
    wanted = sys.argv[1:] or functions
    used = 0
    for name in wanted:
        if not installed(name):
            print(f"{name:20} is not installed", flush=True)
            continue
        begun = time.monotonic()
        with eventlet.Timeout(40, RuntimeError(f"{name} does not end")):
            functions[name]()
        eventlet.sleep(0.03)
        used += 1
        print(f"{name:20} {time.monotonic() - begun:6.2f} s", flush=True)
    assert not slow, f"blocked the hub: {slow}"
    print(f"pass: {used} of {len(wanted)} packages")


#: Their import alone, which is computing, takes long.
SLOW_TO_IMPORT = {"pandas", "boto3", "elasticsearch", "celery", "grpc", "fastapi", "django"}

if __name__ == "__main__":
    main()
