"""Green threads start with a copy of their spawner's contextvars context; plain greenlets with none."""

import contextvars
import os
import subprocess
import sys

import eventlet
import greenlet
import pytest
from eventlet import greenthread

user = contextvars.ContextVar("user", default="nobody")


@pytest.fixture(autouse=True)
def ann():
    token = user.set("ann")
    yield
    user.reset(token)


@pytest.fixture
def empty():
    """Upstream's way."""
    assert greenthread.inherit_context(False) is True
    yield
    assert greenthread.inherit_context(True) is False


def seen_by(spawn):
    """What a function sees that is spawned in this way."""
    seen = []
    spawn(lambda: seen.append(user.get()))
    while not seen:
        eventlet.sleep(0.001)
    return seen[0]


WAYS = {
    "spawn": eventlet.spawn,
    "spawn_n": eventlet.spawn_n,
    "spawn_after": lambda f: eventlet.spawn_after(0.001, f),
    "spawn_after at once": lambda f: eventlet.spawn_after(0, f),
    "spawn_after_local": lambda f: greenthread.spawn_after_local(0.001, f),
    "GreenPool.spawn": lambda f: eventlet.GreenPool().spawn(f),
    "GreenPool.spawn_n": lambda f: eventlet.GreenPool().spawn_n(f),
    "GreenPile": lambda f: eventlet.GreenPile().spawn(f),
    "imap": lambda f: list(eventlet.GreenPool().imap(lambda _: f(), [1])),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_spawn_inherits(way):
    assert seen_by(WAYS[way]) == "ann"


@pytest.mark.parametrize("way", WAYS)
def test_each_way_can_be_told_not_to(way, empty):
    assert seen_by(WAYS[way]) == "nobody"


def test_plain_greenlets_start_empty():
    assert seen_by(lambda f: greenlet.greenlet(f).switch()) == "nobody"
    assert greenlet.greenlet(len).gr_context is None


def test_the_moment_of_spawning_counts():
    g = eventlet.spawn(user.get)
    later = eventlet.spawn_after(0.001, user.get)
    user.set("bob")
    assert (g.wait(), later.wait()) == ("ann", "ann")


def test_what_is_set_stays_on_its_side():
    def body():
        user.set("eve")
        eventlet.sleep(0)
        return user.get()

    one, two = eventlet.spawn(body), eventlet.spawn(user.get)
    assert (one.wait(), two.wait(), user.get()) == ("eve", "ann", "ann")


def test_inherited_through_generations():
    def child():
        user.set(user.get() + "'s child")
        return eventlet.spawn(user.get).wait()

    assert eventlet.spawn(child).wait() == "ann's child"


def test_copy_has_the_variables_and_is_another_context():
    g = eventlet.spawn(contextvars.copy_context)
    assert g.gr_context is not None and g.gr_context is not greenlet.getcurrent().gr_context
    assert g.gr_context[user] == "ann"
    assert g.wait()[user] == "ann"


def test_no_copy_where_nothing_is_set():
    g = contextvars.Context().run(eventlet.spawn, user.get)
    assert g.gr_context is None
    assert g.wait() == "nobody"


def test_context_run_decides_for_what_is_spawned_in_it():
    context = contextvars.Context()
    context.run(user.set, "carl")
    assert context.run(eventlet.spawn, user.get).wait() == "carl"


def test_copy_can_be_replaced_before_the_start():
    g = eventlet.spawn(user.get)
    g.gr_context = None
    assert g.wait() == "nobody"


def test_values_are_released_with_the_green_thread():
    import gc
    import weakref

    class Request:
        pass

    request = Request()
    gone = weakref.ref(request)
    token = user.set(request)
    g = eventlet.spawn(lambda: None)
    user.reset(token)
    g.wait()
    del request, token, g
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("value", "seen"), [("no", "nobody"), ("OFF", "nobody"), ("0", "nobody"), ("1", "x"), ("", "x")]
)
def test_environment_variable(value, seen):
    program = (
        "import contextvars, eventlet\n"
        "user = contextvars.ContextVar('user', default='nobody'); user.set('x')\n"
        "print(eventlet.spawn(user.get).wait())"
    )
    environment = {**os.environ, "EVENTLET_INHERIT_CONTEXT": value}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == seen + "\n"
