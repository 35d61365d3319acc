"""`eventlet.dagpool`: results that depend on one another."""

import gc
import pickle
import weakref

import eventlet
import pytest
from eventlet.dagpool import Collision, DAGPool, PropagateError


class Wrong(Exception):
    pass


def turns(count=5):
    for _ in range(count):
        eventlet.sleep(0)


def collect(key, upstream):
    return key, dict(upstream)


def fail(key, upstream, error=None):
    list(upstream)
    raise error or Wrong(key)


def test_preload():
    for preload in ({"a": 1, "b": 2}, [("a", 1), ("b", 2)], iter([("a", 1), ("b", 2)])):
        pool = DAGPool(preload)
        assert (pool["a"], pool.get("b"), pool.get("c"), pool.get("c", 3)) == (1, 2, None, 3)
        assert (pool.keys(), pool.items()) == (("a", "b"), (("a", 1), ("b", 2)))
        assert pool.wait() == pool.waitall() == {"a": 1, "b": 2}
        assert dict(pool.wait_each("ab")) == {"a": 1, "b": 2}
    known = {"a": 1}
    pool = DAGPool(known)
    pool.post("b", 2)
    assert known == {"a": 1} and DAGPool().values == {}


def test_results_come_in_the_order_in_which_they_end():
    pool = DAGPool({"ready": 0})
    events = {key: eventlet.Event() for key in "abc"}
    for key in "abc":
        pool.spawn(key, (), lambda key, upstream: events[key].wait())
    log = []

    def consume():
        for pair in pool.wait_each(["a", "b", "c", "ready"]):
            log.append(pair)

    consumer = eventlet.spawn(consume)
    turns()
    assert log == [("ready", 0)]
    for number, key in enumerate("cab"):
        events[key].send(number)
        turns()
    consumer.wait()
    assert log == [("ready", 0), ("c", 0), ("a", 1), ("b", 2)]


def test_a_graph():
    pool = DAGPool()
    pool.spawn_many({"e": "cd", "d": "bc", "c": "a", "b": ["a"], "a": ()}, collect)
    assert pool.running() == 5 and set(pool.running_keys()) == set("abcde")
    found = pool.waitall()
    assert found["a"] == ("a", {})
    assert found["e"] == ("e", {"c": found["c"], "d": found["d"]})
    assert (pool.running(), pool.running_keys(), pool.coros) == (0, (), {})


def test_spawn_passes_arguments():
    pool = DAGPool()
    pool.spawn("a", (key for key in ()), lambda *args, **kwargs: (args[2:], kwargs), 1, two=2)
    pool.spawn_many([("b", ())], lambda *args, **kwargs: (args[0], args[2:], kwargs), 1, two=2)
    assert pool["a"] == ((1,), {"two": 2})
    assert pool["b"] == ("b", (1,), {"two": 2})


def test_who_waits_for_whom():
    pool = DAGPool({"known": 1})
    gate = eventlet.Event()
    pool.spawn("a", (), lambda key, upstream: gate.wait())
    pool.spawn("b", ["a", "known", "never"], collect)
    turns()
    assert (pool.waiting(), pool.waiting_for()) == (1, {"b": {"a", "never"}})
    assert (pool.waiting_for("b"), pool.waiting_for("a")) == ({"a", "never"}, set())
    assert pool.waiting_for("known") == set()
    with pytest.raises(KeyError, match="never"):
        pool.waiting_for("never")
    gate.send(2)
    turns()
    assert pool.waiting_for() == {"b": {"never"}}
    pool.post("never", 3)
    assert pool["b"] == ("b", {"a": 2, "known": 1, "never": 3})
    assert (pool.waiting(), pool.waiting_for()) == (0, {})


def test_collisions():
    pool = DAGPool({"known": 1})
    pool.spawn("a", (), collect)
    for key in ("known", "a"):
        with pytest.raises(Collision, match=f"'{key}' is in use"):
            pool.spawn(key, (), collect)
    with pytest.raises(Collision, match="'a' cannot be posted: a green thread works on it"):
        pool.post("a", 1)
    with pytest.raises(Collision, match="'a' cannot be posted"):
        pool.post("a", 1, replace=True)
    with pytest.raises(Collision, match="'known' has a result already"):
        pool.post("known", 2)
    pool.post("known", 2, replace=True)
    assert pool["known"] == 2
    pool.waitall()
    with pytest.raises(Collision, match="'a' has a result"):
        pool.post("a", 1)


def test_a_green_thread_may_post_its_own_result():
    pool, gate = DAGPool(), eventlet.Event()

    def work(key, upstream):
        pool.post(key, "early")
        gate.wait()
        with pytest.raises(Collision):
            pool.post(key, "again")
        pool.post(key, "better", replace=True)
        return "ignored"

    pool.spawn("a", (), work)
    pool.spawn("b", "a", collect)
    assert pool["b"] == ("b", {"a": "early"})
    assert pool.running_keys() == ("a",)
    gate.send()
    turns()
    assert (pool["a"], pool.running()) == ("better", 0)


def test_kill_forgets():
    pool = DAGPool()
    with pytest.raises(KeyError):
        pool.kill("a")
    log = []

    def work(key, upstream):
        try:
            list(upstream)
        finally:
            log.append("ended")

    waiter = eventlet.spawn(lambda: pool["a"])
    for started in (False, True):
        pool.spawn("a", ["never"], work)
        if started:
            turns()
        pool.kill("a")
        assert (pool.running(), log, waiter.dead) == (0, ["ended"] * started, False)
    with pytest.raises(KeyError):
        pool.kill("a")
    pool.spawn("a", (), lambda key, upstream: "at last")
    assert waiter.wait() == "at last"
    with pytest.raises(KeyError):
        pool.kill("a")
    assert pool._takers == {}


def test_a_green_thread_killed_from_elsewhere_is_forgotten():
    pool = DAGPool()
    for start in (False, True):
        pool.spawn("a", ["never"], collect)
        if start:
            turns()
        pool.coros["a"].greenthread.kill()
        assert pool.coros == {}
    pool.post("a", 1)
    assert pool["a"] == 1


def test_errors_spread():
    pool = DAGPool()
    error = Wrong("bad")
    pool.spawn("a", (), fail, error)
    pool.spawn("b", "a", collect)
    pool.spawn("c", "b", collect)
    with pytest.raises(PropagateError) as caught:
        pool["c"]
    c = caught.value
    assert (c.key, c.exc.key, c.exc.exc.key, c.exc.exc.exc) == ("c", "b", "a", error)
    assert (
        str(c)
        == c.msg
        == (
            "PropagateError(c): PropagateError: PropagateError(b): PropagateError: "
            "PropagateError(a): Wrong: bad"
        )
    )
    assert c.__cause__ is c.exc
    for ask in (pool.items, pool.wait, pool.waitall, lambda: pool.get("a"), lambda: pool.wait("b")):
        with pytest.raises(PropagateError):
            ask()


def test_success_and_exception():
    bad = PropagateError("bad", Wrong())
    pool = DAGPool({"good": 1, "bad": bad})
    assert dict(pool.wait_each_success()) == dict(pool.wait_each_success(["good"])) == {"good": 1}
    assert dict(pool.wait_each_exception()) == {"bad": bad}
    assert list(pool.wait_each_success(["bad"])) == list(pool.wait_each_exception(["good"])) == []
    with pytest.raises(PropagateError, match=r"^PropagateError\(bad\): Wrong$"):
        list(pool.wait_each())
    # an exception that nobody raised is a result as any other
    pool.post("mine", Wrong("mine"))
    assert isinstance(pool["mine"], Wrong)


def test_errors_can_be_pickled():
    for error in (
        PropagateError("a", Wrong("bad")),
        PropagateError(("a", 1), PropagateError("b", KeyError("c"))),
        Collision("'a' is in use"),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), repr(copy)) == (type(error), str(error), repr(error))
    copy = pickle.loads(pickle.dumps(PropagateError("a", Wrong("bad"))))
    assert (copy.key, type(copy.exc), copy.exc.args) == ("a", Wrong, ("bad",))


def test_waiting_that_is_broken_off_leaves_nothing():
    pool = DAGPool()
    with eventlet.Timeout(0.001, False):
        pool["never"]
    with eventlet.Timeout(0.001, False):
        pool.wait(["never", "neither"])
    pairs = pool.wait_each(["never", "b"])
    pool.post("b", 1)
    assert next(pairs) == ("b", 1)
    pairs.close()
    assert pool._takers == {}


def test_event_is_sent_at_each_result():
    pool, log = DAGPool(), []
    waiter = eventlet.spawn(pool.event.wait)
    waiter.link(lambda _: log.append(pool.keys()))
    turns()
    pool.post("a", 1)
    waiter.wait()
    assert log == [("a",)] and not pool.event.ready()


def test_nothing_is_kept_of_those_that_ended():
    pool = DAGPool()

    class Heavy:
        pass

    heavy = Heavy()
    seen = weakref.ref(heavy)
    pool.spawn("a", (), lambda key, upstream, heavy: None, heavy)
    del heavy
    pool.waitall()
    turns()
    gc.collect()
    assert seen() is None


@pytest.mark.slow
def test_a_long_chain():
    pool = DAGPool({0: 0})
    for number in range(1, 2000):
        pool.spawn(number, [number - 1], lambda key, upstream: next(upstream)[1] + 1)
    assert pool[1999] == 1999
