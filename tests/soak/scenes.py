"""What works in a soak. Each scene keeps books of its own, which must balance when all have stopped.

A scene's `start` puts actors on the stage; they end by themselves once `stage.stopping` is set, and
most may be killed wherever they wait. `check` returns what is wrong, as texts.
"""

import os
import threading

import eventlet
from eventlet import tpool
from eventlet.dagpool import DAGPool
from eventlet.event import Event
from eventlet.green import socket
from eventlet.greenpool import GreenPool
from eventlet.lock import Lock
from eventlet.pools import Pool
from eventlet.queue import Empty, LifoQueue, LightQueue, PriorityQueue, Queue
from eventlet.semaphore import BoundedSemaphore


class Scene:
    """A part of the work, on a stage."""

    def __init__(self, stage):
        self.stage, self.rng = stage, stage.rng
        self.wrong = []

    def expect(self, truth, text):
        """Notes what is wrong."""
        if not truth:
            self.wrong.append(text)

    def check(self):
        """What was wrong, a few of it."""
        return self.wrong[:5]


class Queues(Scene):
    """Items are never lost and never doubled, whoever is killed while it puts or gets."""

    def start(self):
        kinds = [LightQueue, Queue, LifoQueue, PriorityQueue]
        sizes = [None, 0, 1, 7]
        self.books = []
        for _ in range(4):
            queue = self.rng.choice(kinds)(self.rng.choice(sizes))
            book = {"queue": queue, "next": 0, "sure": set(), "unsure": set(), "got": []}
            self.books.append(book)
            for _ in range(3):
                self.stage.keep(self.put, book)
                self.stage.keep(self.get, book)

    def put(self, book):
        while not self.stage.stopping:
            book["next"] += 1
            item = book["next"]
            book["unsure"].add(item)  # until put() has returned: it may be killed after it has put
            with eventlet.Timeout(self.rng.random() / 500, False):
                book["queue"].put(item)
                book["unsure"].discard(item)
                book["sure"].add(item)
            if book["queue"].qsize() > 20:  # one without a limit does not make anybody wait
                self.stage.pause()

    def get(self, book):
        while not self.stage.stopping:
            with eventlet.Timeout(self.rng.random() / 500, False):
                item = book["queue"].get()
                book["got"].append(item)
            if self.rng.random() < 0.05:
                self.stage.pause()

    def check(self):
        for book in self.books:
            queue, got = book["queue"], book["got"]
            while True:
                try:
                    got.append(queue.get_nowait())
                except Empty:
                    break
            self.stage.counts["items"] += len(got)
            self.expect(len(got) == len(set(got)), f"{queue}: items came twice")
            self.expect(book["sure"] <= set(got), f"{queue}: lost {book['sure'] - set(got)}")
            strange = set(got) - book["sure"] - book["unsure"]
            self.expect(not strange, f"{queue}: nobody put {strange}")
            self.expect(queue.getting() == queue.putting() == 0, f"{queue}: waiters are left")
        return super().check()


class Locks(Scene):
    """No more hold a semaphore than it allows, and it is as free in the end as in the beginning."""

    def start(self):
        self.held = [0, 0, 0]
        self.locks = [(Lock(), 1), (BoundedSemaphore(3), 3), (BoundedSemaphore(1), 1)]
        for _ in range(12):
            self.stage.keep(self.hold)

    def hold(self):
        while not self.stage.stopping:
            which, way = self.rng.randrange(3), self.rng.random()
            lock, limit = self.locks[which]
            if way < 0.3:
                with lock:
                    self.use(which, limit)
                continue
            timeout = self.rng.random() / 1000
            if lock.acquire(timeout=timeout) if way < 0.6 else lock.acquire(blocking=False):
                try:
                    self.use(which, limit)
                finally:
                    lock.release()
            else:
                self.stage.pause()

    def use(self, which, limit):
        self.held[which] += 1
        self.stage.counts["locks held"] += 1
        try:
            self.expect(self.held[which] <= limit, f"{self.held[which]} hold {self.locks[which]}")
            self.stage.pause()
        finally:
            self.held[which] -= 1

    def check(self):
        for lock, limit in self.locks:
            self.expect(lock.counter == limit and lock.balance == limit, f"{lock} is not free")
        return super().check()


class Timeouts(Scene):
    """A timeout arrives where it was set, the inner one first, and never after its block."""

    def start(self):
        for _ in range(8):
            self.stage.keep(self.nest)

    def nest(self):
        while not self.stage.stopping:
            outer = inner = None
            try:
                with eventlet.Timeout(self.rng.random() / 300) as outer:
                    try:
                        with eventlet.Timeout(self.rng.random() / 500) as inner:
                            with eventlet.Timeout(self.rng.random() / 500, False):
                                eventlet.sleep(self.rng.random() / 300)
                    except eventlet.Timeout as raised:
                        self.stage.counts["timeouts"] += 1
                        self.expect(raised in (outer, inner), "a strange timeout")
                        if raised is outer:
                            raise
                    self.expect(not inner.pending, "the inner timeout goes on")
            except eventlet.Timeout as raised:
                self.expect(raised is outer, "a strange outer timeout")
            self.expect(not outer.pending, "the outer timeout goes on")
            value = eventlet.with_timeout(0.0001, eventlet.sleep, 0.001, timeout_value=self)
            self.expect(value in (self, None), "with_timeout returned what is not its value")


class Events(Scene):
    """Everybody who waits for an event gets what was sent, and nobody is left waiting."""

    def start(self):
        self.current = Event()
        for _ in range(8):
            self.stage.keep(self.wait)
        self.stage.enter(self.send, victim=False)

    def wait(self):
        while not self.stage.stopping:
            event, timeout = self.current, self.rng.choice([None, self.rng.random() / 1000])
            value = event.wait(timeout)
            self.stage.counts["events"] += 1
            fair = value is event or (value is None and timeout is not None)
            self.expect(fair, "an event brought what was not sent")

    def send(self):
        while not self.stage.stopping:
            self.stage.pause()
            event, self.current = self.current, Event()
            event.send(event)
        # Whoever looked before `stopping` was set may still wait for the last one.
        self.current.send(self.current)


class Sockets(Scene):
    """What comes back over TCP is what was sent, though clients and servers are killed."""

    def start(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(50)
        self.address = self.listener.getsockname()
        self.stage.enter(self.serve, victim=False)
        for _ in range(6):
            self.stage.keep(self.ask)

    def serve(self):
        self.listener.settimeout(0.05)
        while not self.stage.stopping:
            try:
                conn, _ = self.listener.accept()
            except TimeoutError:
                continue
            self.stage.enter(self.echo, conn)
            del conn
        self.listener.close()

    def echo(self, conn):
        # Killed before it starts, it closes nothing: the socket goes with it.
        with conn:
            try:
                conn.settimeout(0.2)
                while data := conn.recv(4096):
                    conn.sendall(data)
            except OSError:
                pass

    def ask(self):
        with socket.socket() as client:
            try:
                client.settimeout(0.2)
                client.connect(self.address)
                while not self.stage.stopping:
                    sent = os.urandom(16) * self.rng.choice([1, 10, 1000])
                    client.sendall(sent)
                    got = b""
                    while len(got) < len(sent):
                        part = client.recv(65536)
                        if not part:
                            return  # the server was killed
                        got += part
                    self.stage.counts["echoes"] += 1
                    self.expect(got == sent, "an echo is not what was sent")
            except OSError:
                self.stage.pause()


class Pools(Scene):
    """Places and items of pools come back, whoever is killed."""

    def start(self):
        self.green = GreenPool(5)
        self.things = Pool(max_size=3, create=object)
        for _ in range(4):
            self.stage.keep(self.use)
            self.stage.keep(self.map)
            self.stage.keep(self.graph)

    def use(self):
        while not self.stage.stopping:
            with self.things.item():
                self.green.spawn_n(self.stage.pause)
                thread = self.green.spawn(self.stage.pause)
                if self.rng.random() < 0.2:
                    thread.kill()
            self.stage.counts["pool jobs"] += 2
            self.stage.pause()

    def map(self):
        numbers = range(self.rng.randrange(20))
        stop = self.rng.choice([None, 3])
        results = GreenPool(3).imap(self.slow, numbers)
        got = [result for _, result in zip(range(stop or 100), results, strict=False)]
        self.expect(got == list(numbers)[: len(got)], f"a map gave {got}")
        self.stage.counts["map results"] += len(got)
        self.stage.pause()

    def slow(self, number):
        self.stage.pause()
        return number

    def graph(self):
        pool = DAGPool()
        keys = range(8)
        for key in keys:
            pool.spawn(key, [other for other in keys if other < key], self.node)
        try:
            self.expect(pool.waitall() == {k: 2 ** max(0, k - 1) for k in keys}, "a graph")
        finally:
            for key in pool.running_keys():
                pool.kill(key)
        self.stage.pause()

    def node(self, key, upstream):
        self.stage.pause()
        return sum(value for _, value in upstream) or 1

    def check(self):
        self.green.waitall()
        eventlet.sleep(0)
        self.expect(self.green.free() == 5 and self.green.running() == 0, "places are missing")
        self.expect(self.things.free() == 3 and self.things.waiting() == 0, "things are missing")
        return super().check()


class Threads(Scene):
    """Native threads: calls by tpool, and a thread with a hub of its own on the same queues."""

    def start(self):
        self.there, self.back = Queue(5), Queue()
        self.sent, self.got = 0, []
        self.over = object()
        self.thread = threading.Thread(target=self.relay)
        self.thread.start()
        self.stage.enter(self.send, victim=False)
        self.stage.enter(self.receive, victim=False)
        for _ in range(3):
            self.stage.keep(self.call)

    def relay(self):
        while (item := self.there.get()) is not self.over:
            self.back.put(item)
            eventlet.sleep(0)
        self.back.put(self.over)

    def send(self):
        while not self.stage.stopping:
            self.there.put(self.sent)
            self.sent += 1
            self.stage.pause()
        self.there.put(self.over)

    def receive(self):
        while (item := self.back.get()) is not self.over:
            self.got.append(item)

    def call(self):
        while not self.stage.stopping:
            number = self.rng.randrange(1000)
            self.expect(tpool.execute(abs, -number) == number, "a native call")
            self.stage.counts["native calls"] += 1

    def check(self):
        self.thread.join(10)
        self.stage.counts["items between threads"] += len(self.got)
        self.expect(self.got == list(range(self.sent)), "items between threads are lost")
        return super().check()


class Signals(Scene):
    """What a signal's handler puts into a queue, or spawns, arrives, whenever the signal came."""

    def start(self):
        self.queue, self.put, self.spawned, self.got = Queue(), 0, 0, []
        self.stage.on_signal.append(self.handle)
        self.stage.enter(self.receive, victim=False)

    def handle(self):
        self.queue.put_nowait(self.put)
        self.put += 1
        eventlet.spawn_n(self.note)

    def note(self):
        self.spawned += 1

    def receive(self):
        while not self.stage.stopping:
            with eventlet.Timeout(0.01, False):
                self.got.append(self.queue.get())

    def check(self):
        while not self.queue.empty():
            self.got.append(self.queue.get())
        self.expect(self.got == list(range(self.put)), "what a handler put is lost")
        self.expect(self.spawned == self.put, f"{self.put} spawned, {self.spawned} ran")
        return super().check()


SCENES = {
    kind.__name__.lower(): kind
    for kind in (Queues, Locks, Timeouts, Events, Sockets, Pools, Threads, Signals)
}
