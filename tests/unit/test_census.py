"""Every green thread says what it does, since when, what it waits for and who spawned it."""

import io
import os
import re
import signal
import socket
import sys
import threading
import time

import eventlet
import greenlet
import pytest
from eventlet import debug, hubs
from eventlet.green import socket as green_socket
from eventlet.lock import Lock
from greenlet import _core


def info(g):
    """What the census says of one greenlet; None if it is not in it."""
    found = [m for _, members in _core.census() for m in members if m["greenlet"] is g]
    assert len(found) <= 1
    return found[0] if found else None


def parked(function, *args):
    """A green thread that has run until it waits; killed by the fixture."""
    g = eventlet.spawn(function, *args)
    eventlet.sleep(0)
    return g


def line_about(g):
    """What `format_threads` says of a greenlet, in one line."""
    return re.search(rf"^  \S+ #{info(g)['number']} .*$", debug.format_threads(), re.M)[0]


@pytest.fixture
def killed():
    """Kills what a test has put into the list."""
    greenlets = []
    yield greenlets
    for g in greenlets:
        g.kill()


def test_main_greenlet_runs():
    [(ident, members)] = _core.census()
    assert ident == threading.get_ident()
    main = members[0]
    assert main["greenlet"] is greenlet.getcurrent()
    assert (main["kind"], main["state"]) == ("main greenlet", "running")
    assert "main greenlet" in debug.format_threads()
    assert "test_main_greenlet_runs" in debug.format_threads()


def test_sleep_and_its_time_left(killed):
    g = parked(eventlet.sleep, 60)
    killed.append(g)
    found = info(g)
    assert found["state"] == "waiting" and found["waits_for"] == "sleep"
    assert 55 < found["seconds_left"] <= 60
    assert 0 <= found["parked"] <= found["age"] < 50
    assert re.search(r"sleeps, (59|60)\.\d s left, for \d", line_about(g))


def test_time_that_it_computed_is_no_time_that_it_waits(killed):
    reader, writer = os.pipe()

    def work():
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            pass
        os.write(writer, b"x")
        eventlet.Event().wait()

    killed.append(g := eventlet.spawn(work))
    hubs.trampoline(reader, read=True)
    os.close(reader)
    os.close(writer)
    found = info(g)
    assert found["waits_for"] == "event"
    assert found["age"] - found["parked"] > 0.25


def test_ready_new_and_ended():
    g = eventlet.spawn(boil := eventlet.sleep, 0)
    found = info(g)
    assert (found["state"], found["function"]) == ("new", boil)
    assert "starts in the next turn" in line_about(g)
    eventlet.sleep(0)
    assert info(g)["state"] == "ready" and info(g)["waits_for"] is None
    assert "is ready to run" in line_about(g)
    g.wait()
    assert info(g) is None


def test_spawn_after_counts_down(killed):
    g = eventlet.spawn_after(30, len, ())
    killed.append(g)
    assert 25 < info(g)["seconds_left"] <= 30
    assert re.search(r"starts in (29|30)\.\d s", line_about(g))


@pytest.mark.parametrize(
    ("make", "noun", "kind"),
    [
        (lambda: eventlet.Event().wait, "event", eventlet.Event),
        (lambda: eventlet.Semaphore(0).acquire, "semaphore", eventlet.Semaphore),
        (lambda: eventlet.Queue().get, "queue", eventlet.Queue),
    ],
)
def test_object_that_is_waited_for(killed, make, noun, kind):
    wait = make()
    g = parked(wait)
    killed.append(g)
    found = info(g)
    assert found["waits_for"] == noun
    assert found["object"] is wait.__self__ and isinstance(found["object"], kind)
    assert found["holder"] is None and found["seconds_left"] is None


def test_object_of_a_derived_class(killed):
    class Cups(eventlet.Semaphore):
        def __init__(self):
            super().__init__(0)
            self.name = "cups"

        def __repr__(self):
            return "<my cups>"

    class Broken(eventlet.Event):
        def __repr__(self):
            raise ValueError("no")

    cups, broken = Cups(), Broken()
    killed += [parked(cups.acquire), parked(broken.wait)]
    assert info(killed[0])["object"] is cups
    assert "waits for <my cups>" in line_about(killed[0])
    assert "<Broken at" in line_about(killed[1]) and "no" in line_about(killed[1])


def test_lock_and_its_holder(killed):
    lock = Lock()

    def hold():
        with lock:
            eventlet.sleep(60)

    holder = parked(hold)
    waiter = parked(lock.acquire)
    killed += [waiter, holder]
    found = info(waiter)
    assert found["waits_for"] == "lock" and found["object"] is lock
    assert found["holder"] == info(holder)["number"]
    assert re.search(
        r"waits for <locked Lock .*>, taken by GreenThread #\d+ \(.*hold\)", line_about(waiter)
    )


def test_primitives_that_are_parts_of_others(killed):
    """What waits within another Rust object has no Python object of its own to be shown."""
    from eventlet.green import threading as green_threading

    lock, pool = green_threading.RLock(), eventlet.GreenPool(1)

    def hold():
        with lock:
            eventlet.sleep(60)

    holder, waiter = parked(hold), parked(lock.acquire)
    killed += [waiter, holder]
    assert info(waiter)["waits_for"] == "lock"
    assert re.search(
        r"waits for .*lock.*, taken by GreenThread #\d+ \(.*hold\)", line_about(waiter), re.I
    )
    killed.append(pool.spawn(eventlet.sleep, 60))
    killed.insert(0, parked(pool.waitall))
    assert info(killed[0])["waits_for"] == "event"
    debug.format_threads()


def test_holder_that_ended_without_a_release(killed):
    lock = Lock()
    eventlet.spawn(lock.acquire).wait()
    killed.append(parked(lock.acquire))
    assert re.search(r"taken by #\d+, which has ended", line_about(killed[0]))


def test_join_names_the_green_thread(killed):
    g = parked(eventlet.sleep, 60)
    waiter = parked(g.wait)
    killed += [waiter, g]
    assert info(waiter)["object"] is g
    assert f"waits for the end of GreenThread #{info(g)['number']}" in line_about(waiter)


def test_place_in_a_pool(killed):
    pool = eventlet.GreenPool(1)
    killed.append(pool.spawn(eventlet.sleep, 60))
    waiter = parked(pool.spawn, len, ())
    killed.insert(0, waiter)
    assert info(waiter)["waits_for"] == "place in a pool"
    assert "waits for a place in a pool" in line_about(waiter)


def test_descriptor_and_peer(killed):
    server = green_socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    port = server.getsockname()[1]
    accepting = parked(server.accept)
    killed.append(accepting)
    found = info(accepting)
    assert (found["waits_for"], found["descriptor"]) == ("read", server.fileno())
    assert f"at 127.0.0.1:{port}" in line_about(accepting)
    here = green_socket.create_connection(("127.0.0.1", port))
    there, _ = accepting.wait()
    reading = parked(there.recv, 1)
    killed[:] = [reading]
    assert f"peer 127.0.0.1:{here.getsockname()[1]}" in line_about(reading)
    reading.kill()
    for sock in (here, there, server):
        sock.close()


def test_pipe_is_named_as_one(killed):
    from eventlet import hubs

    reader, writer = os.pipe()
    g = parked(hubs.trampoline, reader, True, None, 60)
    assert f"waits to read descriptor {reader} (pipe:" in line_about(g)
    g.kill()
    os.close(reader)
    os.close(writer)


def test_spawner_by_name_and_after_its_end(killed):
    def parent():
        killed.append(eventlet.spawn(eventlet.sleep, 60))

    g = eventlet.spawn(parent)
    number = info(g)["number"]
    g.wait()
    eventlet.sleep(0)
    assert info(killed[0])["spawner"] == number
    assert f"by #{number}, which has ended" in debug.format_threads()
    killed.append(eventlet.spawn(eventlet.sleep, 60))
    assert "by main greenlet #" in debug.format_threads()


def test_spawning_stack_is_kept_when_switched_on(killed):
    assert debug.spawn_stacks(True) is False
    try:
        killed += [eventlet.spawn(eventlet.sleep, 60), eventlet.spawn_n(eventlet.sleep, 0)]
    finally:
        assert debug.spawn_stacks(False) is True
    text = debug.format_threads()
    assert "where it was spawned:" in text
    assert "killed += [eventlet.spawn(eventlet.sleep, 60)" in text
    killed.pop()
    eventlet.sleep(0)


def test_plain_greenlet_is_listed():
    def body():
        greenlet.getcurrent().parent.switch()

    g = greenlet.greenlet(body)
    g.switch()
    found = info(g)
    assert (found["kind"], found["state"], found["age"]) == ("greenlet", "switched", None)
    assert "has switched to another" in line_about(g)
    g.switch()
    assert info(g) is None


def test_stack_of_each():
    def outer():
        def inner():
            eventlet.sleep(60)

        inner()

    g = parked(outer)
    text = debug.format_threads()
    assert text.index("in outer") < text.index("in inner")
    assert "          eventlet.sleep(60)\n".strip() in text
    g.kill()


def test_all_os_threads_are_listed():
    started, done = threading.Event(), threading.Event()

    def other():
        g = eventlet.spawn(eventlet.sleep, 60)
        eventlet.sleep(0)
        started.set()
        done.wait()
        g.kill()

    thread = threading.Thread(target=other, name="kitchen")
    thread.start()
    started.wait()
    census = dict(_core.census())
    text = debug.format_threads()
    done.set()
    thread.join()
    assert set(census) == {threading.get_ident(), thread.ident}
    states = sorted(m["state"] for m in census[thread.ident] if m["kind"] != "hub")
    assert states == ["running", "waiting"]
    assert "OS thread kitchen" in text and "in other" in text and "done.wait()" in text
    assert len(_core.census()) == 1


def test_many_are_found_each_once(killed):
    event = eventlet.Event()
    killed += [eventlet.spawn(event.wait) for _ in range(200)]
    eventlet.sleep(0)
    [(_, members)] = _core.census()
    numbers = [m["number"] for m in members]
    assert numbers == sorted(set(numbers))
    assert sum(m["object"] is event for m in members) == 200


def test_dead_greenlets_with_lost_stacks_are_not_followed():
    """A thread that ends leaves suspended greenlets behind: their stacks no longer name them."""

    def other():
        eventlet.spawn(eventlet.sleep, 60)
        eventlet.sleep(0)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(_core.census()) == 1


def test_print_threads_goes_to_any_file(capfd):
    text = io.StringIO()
    debug.print_threads(text)
    assert text.getvalue().startswith("OS thread MainThread")
    debug.print_threads(sys.__stderr__)
    debug.print_threads()
    eventlet.spawn(debug.print_threads).wait()  # nobody calls it but the hub
    assert capfd.readouterr().err.count("OS thread MainThread") == 3


def test_write_goes_on_with_the_file_where_the_descriptor_takes_no_more():
    from eventlet import _census

    class Full(io.StringIO):
        encoding = "ascii"

        def fileno(self):
            return writer

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    file = Full()
    text = "é" * 100_000
    _census.write(text, file)
    sent = len(os.read(reader, 10_000_000))
    os.close(reader)
    os.close(writer)
    assert 0 < sent and sent + len(file.getvalue()) == len(text.encode("ascii", "backslashreplace"))


def test_dump_on_signal_also_from_a_busy_loop(tmp_path):
    path = tmp_path / "dump"
    with path.open("w") as file:
        before = debug.dump_on_signal(signal.SIGUSR2, file)
        try:

            def spin():
                signal.raise_signal(signal.SIGUSR2)
                while not path.stat().st_size:
                    pass

            eventlet.spawn(spin).wait()
        finally:
            signal.signal(signal.SIGUSR2, before)
    text = path.read_text()
    assert re.search(r"GreenThread #\d+ \(.*spin\) is running", text)
    assert "in spin" in text and "in dump" not in text


def test_dump_on_signal_refuses_what_is_no_signal():
    with pytest.raises(ValueError):
        debug.dump_on_signal(signal.NSIG + 1)


def test_socket_of_a_unix_pair(killed):
    one, two = socket.socketpair()
    green = green_socket.socket(fileno=one.detach())
    g = parked(green.recv, 1)
    assert "(socket" in line_about(g)
    g.kill()
    green.close()
    two.close()
