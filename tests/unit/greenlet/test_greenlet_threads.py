"""Greenlets and OS threads: each thread has a tree of its own."""

import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref

import greenlet as package
import pytest
from greenlet import GreenletExit, getcurrent, greenlet


class Other:
    """A thread that makes a suspended greenlet and waits until it is told to go on."""

    def __init__(self, body=None, finish=True):
        self.ready, self.go = threading.Event(), threading.Event()
        self.body = body or (lambda: getcurrent().parent.switch())
        self.finish = finish
        self.main = self.parked = self.error = None
        self.thread = threading.Thread(target=self.work, daemon=True)

    def work(self):
        try:
            self.main = getcurrent()
            self.parked = greenlet(self.body)
            self.parked.switch()
            self.ready.set()
            assert self.go.wait(30)
            getcurrent()
            if self.finish and self.parked:
                self.parked.switch()
        except BaseException as e:
            self.error = e

    def __enter__(self):
        self.thread.start()
        assert self.ready.wait(30)
        return self

    def end(self):
        self.go.set()
        self.thread.join(30)
        assert not self.thread.is_alive()

    def __exit__(self, *_):
        self.end()
        if self.error:
            raise self.error


def in_thread(function):
    result = []

    def work():
        try:
            result.append(function())
        except BaseException as e:
            result.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


def test_each_thread_has_a_main():
    mine = getcurrent()

    def look():
        g = getcurrent()
        return g is not mine, g.parent, g is getcurrent(), bool(g)

    assert in_thread(look) == (True, None, True, True)


def test_switch_and_throw_into_another_thread():
    with Other() as other:
        for g in (other.parked, other.main, greenlet(len, other.parked)):
            for action in (g.switch, g.throw, lambda g=g: g.throw(ValueError)):
                with pytest.raises(package.error) as info:
                    action()
                current, expected = repr(getcurrent()), repr(other.main)
                assert str(info.value) == (
                    "Cannot switch to a different thread\n"
                    f"\tCurrent:  {current}\n\tExpected: {expected}"
                )
        assert not other.parked.dead
    assert other.parked.dead


def test_failed_switch_costs_the_target_nothing():
    got = []
    with Other(lambda: got.append(getcurrent().parent.switch())) as other:
        with pytest.raises(package.error):
            other.parked.switch("intruder")
    assert got == [()]


def test_finished_greenlet_of_another_thread():
    done = in_thread(lambda: (g := greenlet(lambda: 1), g.switch())[0])
    assert done.dead
    with pytest.raises(package.error, match="different thread"):
        done.switch()


def test_new_greenlet_goes_to_the_thread_of_its_parent():
    g = greenlet(lambda: "ran")

    def try_it():
        with pytest.raises(package.error, match="Cannot switch to a different thread"):
            g.switch()
        g.parent = getcurrent()
        return g.switch()

    assert in_thread(try_it) == "ran"
    assert g.dead


def test_parent_in_another_thread():
    with Other() as other:
        new = greenlet(len)
        new.parent = other.parked  # not started: it may move
        with pytest.raises(package.error, match="Cannot switch to a different thread"):
            new.switch()
        suspended = greenlet(lambda: getcurrent().parent.switch())
        suspended.switch()
        with pytest.raises(ValueError, match="parent cannot be on a different thread"):
            suspended.parent = other.parked
        with pytest.raises(ValueError, match="parent cannot be on a different thread"):
            suspended.parent = other.main
        suspended.switch()
        del new


def test_last_reference_dropped_by_another_thread():
    """The kill is delivered by the owner, the next time it uses greenlets."""
    log = []

    def body():
        try:
            getcurrent().parent.switch()
        except GreenletExit:
            log.append(threading.get_ident())

    with Other(body, finish=False) as other:
        ident = other.thread.ident
        ref = weakref.ref(other.parked)
        other.parked = None
        gc.collect()
        assert log == []
        other.end()
    assert log == [ident]
    assert ref() is None


def test_many_kills_queued_for_one_thread():
    log, greenlets = [], []

    def body(n):
        try:
            getcurrent().parent.switch()
        except GreenletExit:
            log.append(n)

    ready, go = threading.Event(), threading.Event()

    def work():
        greenlets.extend(greenlet(body) for _ in range(200))
        for n, g in enumerate(greenlets):
            g.switch(n)
        del g
        ready.set()
        assert go.wait(30)
        assert log == []
        greenlet(len)  # any use of greenlets delivers
        assert sorted(log) == list(range(200))
        return len(log)

    result = []
    thread = threading.Thread(target=lambda: result.append(work()))
    thread.start()
    assert ready.wait(30)
    del greenlets[:]
    go.set()
    thread.join(30)
    assert result == [200]


@pytest.mark.ours("upstream forgets them, and what they hold is lost")
def test_queued_kills_are_delivered_at_the_end_of_the_thread():
    log = []
    ready, go = threading.Event(), threading.Event()
    greenlets = []

    def body(n):
        try:
            getcurrent().parent.switch()
        finally:
            log.append((n, threading.get_ident()))

    def work():
        for n in range(3):
            g = greenlet(body)
            g.switch(n)
            greenlets.append(g)
        del g
        ready.set()
        assert go.wait(30)  # and uses no greenlets any more

    thread = threading.Thread(target=work)
    thread.start()
    ident = thread.ident
    assert ready.wait(30)
    greenlets.clear()
    assert log == []
    go.set()
    thread.join(30)
    assert sorted(log) == [(n, ident) for n in range(3)]


@pytest.mark.leaks("the frames of a greenlet whose thread has ended cannot be unwound")
def test_thread_death(settles):
    with Other(finish=False) as other:
        pass
    assert settles(lambda: other.main.dead)
    text = r"cannot switch to a different thread \(which happens to have exited\)"
    for g in (other.main, other.parked):
        assert g.dead
        assert not g
        # ours still shows the frames that nobody can run any more; upstream forgets them after a while
        assert g.gr_frame is None or g is other.parked
        for action in (g.switch, g.throw, lambda g=g: g.throw(ValueError)):
            with pytest.raises(package.error, match=text):
                action()
    orphan = greenlet(len, other.parked)
    with pytest.raises(package.error, match=text):
        orphan.switch()
    with pytest.raises(package.error, match=text):
        orphan.throw()


@pytest.mark.leaks("the frames of a greenlet whose thread has ended cannot be unwound")
def test_greenlets_dropped_after_their_thread_died(settles):
    with Other(finish=False) as other:
        pass
    assert settles(lambda: other.main.dead)
    ref = weakref.ref(other.parked)
    assert ref().dead
    other.parked = other.main = None
    assert settles(lambda: gc.collect() and False or ref() is None)


@pytest.mark.leaks("what a thread leaves suspended is released, at the latest, with the next use")
def test_thread_that_ends_with_suspended_greenlets():
    def work():
        keep = [greenlet(lambda: getcurrent().parent.switch()) for _ in range(20)]
        for g in keep:
            g.switch()
        getcurrent().keep = keep

    for _ in range(10):
        in_thread(work)
    getcurrent()
    gc.collect()


def test_main_greenlets_are_counted_down(settles):
    from greenlet import _greenlet

    getcurrent()
    before = _greenlet.get_total_main_greenlets()
    with Other() as other:
        assert _greenlet.get_total_main_greenlets() == before + 1
    other.main = other.parked = None
    for _ in range(10):
        in_thread(getcurrent)
    assert settles(lambda: _greenlet.get_total_main_greenlets() <= before)
    assert settles(lambda: _greenlet.get_pending_cleanup_count() == 0)


def test_threads_switch_at_the_same_time():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    failures = []

    def work(number):
        def body(start):
            value = start
            for _ in range(200):
                value = getcurrent().parent.switch(value + 1)
            return value

        try:
            greenlets = [greenlet(body) for _ in range(10)]
            values = [g.switch(number) for g in greenlets]
            while not greenlets[0].dead:
                values = [g.switch(v) for g, v in zip(greenlets, values, strict=True)]
            assert values == [number + 200] * 10, values
        except BaseException as e:
            failures.append(e)

    try:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
            assert not t.is_alive()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []


def test_thread_started_inside_a_greenlet():
    def body():
        return in_thread(lambda: getcurrent().parent)

    assert greenlet(body).switch() is None


def test_threading_local_is_shared_by_the_greenlets_of_a_thread():
    local = threading.local()
    local.value = "main"

    def body():
        before = local.value
        local.value = "child"
        return before

    assert greenlet(body).switch() == "main"
    assert local.value == "child"


def test_lock_across_switches():
    """A lock belongs to the thread: a second greenlet sees it taken and does not deadlock."""
    lock = threading.Lock()

    def body():
        with lock:
            getcurrent().parent.switch()

    g = greenlet(body)
    g.switch()
    assert not lock.acquire(blocking=False)
    g.switch()
    assert lock.acquire(blocking=False)


def test_gil_release_in_a_greenlet():
    """Blocking calls release the GIL from a greenlet's stack too."""
    started, go = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: (started.wait(30), go.set()))
    thread.start()

    def body():
        started.set()
        return go.wait(30)

    assert greenlet(body).switch() is True
    thread.join(30)


def test_set_thread_local():
    from greenlet import _greenlet

    assert _greenlet.set_thread_local("greenlet test key", 1) is None
    with pytest.raises(TypeError):
        _greenlet.set_thread_local("only a key")


def test_threads_that_end_leave_no_memory():
    # 64 KiB each were left: the alternate signal stack.
    script = """
        import gc, greenlet, threading

        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * 4

        def rounds(count):
            for _ in range(count):
                thread = threading.Thread(target=lambda: greenlet.greenlet(len).switch(""))
                thread.start()
                thread.join()
            gc.collect()

        rounds(50)
        before = resident()
        rounds(200)
        print(resident() - before)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert int(done.stdout) < 2000, done.stderr
