"""`eventlet.greenpool`: bounded concurrency, results in order."""

import gc
import weakref

import eventlet
import pytest
from eventlet import greenpool
from eventlet.event import Event
from eventlet.greenpool import GreenMap, GreenPile, GreenPool


def turns(count=3):
    for _ in range(count):
        eventlet.sleep(0)


class Wrong(Exception):
    pass


def fail(*_args):
    raise Wrong


def test_spawn_gives_a_green_thread():
    pool = GreenPool(4)
    threads = [pool.spawn(pow, number, 2) for number in range(10)]
    assert [thread.wait() for thread in threads] == [number**2 for number in range(10)]
    assert isinstance(threads[0], eventlet.greenthread.GreenThread)
    assert pool.spawn(dict, tea=1).wait() == {"tea": 1}


def test_spawn_n_gives_nothing():
    pool, log = GreenPool(), []
    assert pool.spawn_n(log.append, 1) is None
    assert log == []
    pool.waitall()
    assert log == [1]


def test_never_more_than_size_run():
    pool, running, most = GreenPool(3), 0, 0

    def work():
        nonlocal running, most
        running += 1
        most = max(most, running)
        eventlet.sleep(0)
        running -= 1

    for spawn in [pool.spawn, pool.spawn_n] * 10:
        spawn(work)
        assert pool.running() <= 3 and pool.free() == 3 - pool.running()
    pool.waitall()
    assert (most, running, pool.running(), pool.free()) == (3, 0, 0, 3)


def test_counts():
    pool, done = GreenPool(1), Event()
    assert (pool.size, pool.running(), pool.free(), pool.waiting()) == (1, 0, 1, 0)
    threads = [eventlet.spawn(pool.spawn, done.wait) for _ in range(3)]
    turns(1)
    assert (pool.running(), pool.free(), pool.waiting()) == (1, 0, 2)
    done.send()
    for thread in threads:
        thread.wait()
    pool.waitall()
    assert (pool.running(), pool.free(), pool.waiting()) == (0, 1, 0)


def test_upstreams_attributes():
    pool, done = GreenPool(2), Event()
    thread = pool.spawn(done.wait)
    assert pool.sem.counter == 1
    assert set(pool.coroutines_running) == {thread}
    idle = pool.no_coros_running
    assert not idle.ready()
    done.send()
    pool.waitall()
    assert idle.ready() and len(pool.coroutines_running) == 0 and pool.sem.balance == 2


def test_waitall_with_nothing_to_do_returns_at_once():
    GreenPool().waitall()


def test_waitall_waits_also_for_those_who_wait_for_a_place():
    # upstream 0.41.3 hangs here: the event is replaced while somebody waits for it
    pool, log = GreenPool(1), []

    def work(number):
        eventlet.sleep(0)
        log.append(number)

    eventlet.spawn(lambda: [pool.spawn_n(work, number) for number in range(4)])
    turns(1)
    pool.waitall()
    assert log == [0, 1, 2, 3]


def test_several_greenlets_wait_for_all():
    pool, done, log = GreenPool(), Event(), []

    def waiter():
        pool.waitall()
        log.append("done")

    pool.spawn_n(done.wait)
    threads = [eventlet.spawn(waiter) for _ in range(3)]
    turns()
    assert log == []
    done.send()
    for thread in threads:
        thread.wait()
    assert log == ["done"] * 3


def test_waitall_of_a_member_is_an_assertion_error():
    pool = GreenPool()
    with pytest.raises(AssertionError, match="will never terminate"):
        pool.spawn(pool.waitall).wait()


def test_a_member_of_a_full_pool_runs_the_function_itself():
    pool, log = GreenPool(1), []

    def outer():
        thread = pool.spawn(str.upper, "tea")
        log.append(thread.wait())
        pool.spawn_n(log.append, "inline")
        log.append(pool.running())

    pool.spawn(outer).wait()
    assert log == ["TEA", "inline", 1]


def test_an_error_of_a_function_run_inline():
    pool = GreenPool(1)

    def outer():
        with pytest.raises(Wrong):
            pool.spawn(fail)

    pool.spawn(outer).wait()
    assert pool.free() == 1


def test_an_error_gives_the_place_back(capsys):
    pool = GreenPool(1)
    with pytest.raises(Wrong):
        pool.spawn(fail).wait()
    pool.spawn_n(fail)
    pool.waitall()
    assert pool.free() == 1 and pool.running() == 0
    capsys.readouterr()


@pytest.mark.parametrize("debug", [True, False])
def test_debug_decides_whether_spawn_n_prints(debug, capsys, monkeypatch):
    monkeypatch.setattr(greenpool, "DEBUG", debug)
    pool = GreenPool(1)
    pool.spawn_n(fail)
    pool.waitall()
    turns()
    assert capsys.readouterr().err.count("Traceback") == (1 if debug else 0)


def test_an_inline_spawn_n_does_not_raise(capsys):
    pool, log = GreenPool(1), []

    def outer():
        pool.spawn_n(fail)
        log.append("went on")

    pool.spawn(outer).wait()
    assert log == ["went on"]
    assert "Wrong" in capsys.readouterr().err


def test_greenlet_exit_in_spawn_n_is_silent(capsys):
    pool = GreenPool(1)

    def leave():
        raise eventlet.greenthread.greenlet.GreenletExit

    pool.spawn_n(leave)
    pool.waitall()
    assert pool.free() == 1
    assert capsys.readouterr().err == ""


def test_killed_members_give_their_places_back():
    pool, never = GreenPool(2), Event()
    started, fresh = pool.spawn(never.wait), None
    turns(1)
    started.kill()
    fresh = pool.spawn(never.wait)
    fresh.kill()  # before it has begun
    turns()
    pool.waitall()
    assert pool.free() == 2 and pool.running() == 0


def test_a_spawn_that_is_broken_off_takes_no_place():
    pool, done = GreenPool(1), Event()
    pool.spawn(done.wait)
    with pytest.raises(eventlet.Timeout), eventlet.Timeout(0):
        pool.spawn(fail)
    assert pool.waiting() == 0 and pool.free() == 0
    done.send()
    pool.waitall()
    assert pool.free() == 1


def test_resize():
    pool, done = GreenPool(2), Event()
    pool.spawn(done.wait)
    pool.spawn(done.wait)
    pool.resize(1)
    assert (pool.size, pool.free(), pool.running()) == (1, -1, 2)
    done.send()
    pool.waitall()
    assert (pool.free(), pool.running()) == (1, 0)
    pool.resize(3)
    assert pool.free() == 3
    with pytest.raises(TypeError):
        pool.resize("many")


def test_resize_lets_in_who_waits():
    pool, done, log = GreenPool(1), Event(), []
    pool.spawn_n(done.wait)
    eventlet.spawn_n(pool.spawn_n, log.append, "tea")
    eventlet.sleep()
    assert (pool.waiting(), log) == (1, [])
    pool.resize(2)
    eventlet.sleep()
    eventlet.sleep()
    assert (pool.waiting(), log) == (0, ["tea"])
    done.send()
    pool.waitall()
    assert pool.free() == 2


def test_size_and_places_by_hand():
    """How Celery's pool grows and shrinks (worker autoscale, `pool_grow`)."""
    pool, done, log = GreenPool(1), Event(), []
    pool.spawn_n(done.wait)
    eventlet.spawn_n(pool.spawn_n, log.append, "tea")
    eventlet.sleep()
    pool.size = 2
    pool.sem.release()
    eventlet.sleep()
    eventlet.sleep()
    assert (pool.size, log, pool.waiting()) == (2, ["tea"], 0)
    pool.sem.counter -= 1
    pool.size = 1
    assert pool.free() == 0
    done.send()
    pool.waitall()
    assert (pool.size, pool.free(), pool.running()) == (1, 1, 0)
    with pytest.raises(TypeError):
        pool.size = "many"
    with pytest.raises(AttributeError):
        del pool.size


@pytest.mark.parametrize("kind", [GreenPool, GreenPile])
def test_the_size_is_checked(kind):
    kind(0)
    kind(1e3)
    with pytest.raises(TypeError, match=r"GreenPool\(\) expect size :: int, actual: <class 'str'>"):
        kind("tea")
    with pytest.raises(ValueError, match=r"GreenPool\(\) expect size >= 0, actual: -1"):
        kind(-1)


def test_default_size():
    assert GreenPool().size == GreenPool().free() == 1000


def test_imap_and_starmap_keep_the_order():
    def slow(number, more=0):
        for _ in range(5 - number % 5):
            eventlet.sleep(0)
        return number + more

    pool = GreenPool(4)
    assert list(pool.imap(slow, range(20))) == list(range(20))
    assert list(pool.imap(slow, range(5), range(5))) == [0, 2, 4, 6, 8]
    assert list(pool.starmap(slow, [(1, 2), (3, 4)])) == [3, 7]
    assert list(pool.imap(slow, [])) == []


def test_imap_without_a_function():
    assert list(GreenPool(2).imap(None, "ab", "cd")) == [("a", "c"), ("b", "d")]


def test_imap_raises_at_the_items_turn_and_goes_on():
    def odd(number):
        if number % 2 == 0:
            raise Wrong(number)
        return number

    results, log = GreenPool(2).imap(odd, range(4)), []
    while True:
        try:
            log.append(next(results))
        except Wrong as error:
            log.append(error.args)
        except StopIteration:
            break
    assert log == [(0,), 1, (2,), 3]


def test_imap_is_lazy():
    taken = []

    def numbers():
        for number in range(1000):
            taken.append(number)
            yield number

    results = GreenPool(5).imap(lambda number: number, numbers())
    assert taken == []
    assert next(results) == 0
    turns(50)
    assert len(taken) <= 15
    assert list(results) == list(range(1, 1000))


def test_imap_inside_a_full_pool():
    pool = GreenPool(1)
    assert pool.spawn(lambda: list(pool.imap(str, range(3)))).wait() == ["0", "1", "2"]


def test_pile_gives_results_in_order_of_spawning():
    pile = GreenPile(2)
    assert list(pile) == []
    for number in range(6):
        pile.spawn(lambda number: (eventlet.sleep(0.001 * (6 - number)), number)[1], number)
    assert pile.counter == 6
    assert list(pile) == list(range(6))
    assert iter(pile) is pile
    with pytest.raises(StopIteration):
        pile.next()


def test_pile_raises_an_error_at_its_turn():
    pile = GreenPile()
    pile.spawn(fail)
    pile.spawn(len, "tea")
    with pytest.raises(Wrong):
        next(pile)
    assert next(pile) == 3


def test_piles_share_a_pool():
    pool = GreenPool(2)
    piles = [GreenPile(pool), GreenPile(pool)]
    assert all(pile.pool is pool for pile in piles)
    for number in range(4):
        for pile in piles:
            pile.spawn(int, number)
    assert [list(pile) for pile in piles] == [[0, 1, 2, 3]] * 2


def test_pile_counts_nothing_for_a_spawn_that_was_broken_off():
    pile, done = GreenPile(1), Event()
    pile.spawn(done.wait)
    with pytest.raises(eventlet.Timeout), eventlet.Timeout(0):
        pile.spawn(len, "tea")
    done.send("done")
    assert list(pile) == ["done"]


def test_map_ends_when_the_producer_says_so():
    results = GreenMap(2)

    def produce():
        for number in range(5):
            results.spawn(int, number)
            eventlet.sleep(0)
        results.done_spawning()

    eventlet.spawn(produce)
    assert list(results) == [0, 1, 2, 3, 4]


def test_subclass_of_the_pool():
    class Named(GreenPool):
        def __init__(self, name):
            super().__init__(2)
            self.name = name

    pool = Named("tea")
    assert pool.name == "tea" and pool.size == 2
    assert pool.spawn(len, "tea").wait() == 3


def test_an_idle_pool_is_freed():
    pool = GreenPool(2)
    pool.spawn_n(len, "tea")
    pool.waitall()
    turns()
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("read", [0, 1, 3])
def test_a_map_that_is_dropped_half_read_leaves_nothing(read):
    called, closed = [], []

    def numbers():
        try:
            yield from range(100)
        finally:
            closed.append(True)

    results = GreenPool(3).imap(called.append, numbers())
    for _ in range(read):
        next(results)
    turns(20)
    assert not closed
    before = len(called)
    del results
    turns(20)
    assert closed and len(called) == before == 4 + read


def test_a_map_that_is_dropped_at_once_does_what_upstreams_does():
    called = []
    GreenPool(3).imap(called.append, range(100))
    turns(20)
    assert called == [0, 1, 2]
    GreenPool(3).imap(called.append, range(2))
    turns(20)
    assert called == [0, 1, 2, 0, 1]


def test_a_map_dropped_while_the_input_waits():
    gate, called = Event(), []

    def numbers():
        yield 1
        yield gate.wait()
        yield 3

    results = GreenPool(1).imap(called.append, numbers())
    assert next(results) is None
    del results
    turns()
    gate.send(2)
    turns(20)
    assert called == [1, 2]


@pytest.mark.parametrize("error", [eventlet.Timeout(None), Wrong("input")])
def test_an_error_of_the_input_is_the_consumers(error):
    def numbers():
        yield 1
        raise error

    results = GreenPool(2).imap(str, numbers())
    assert next(results) == "1"
    with pytest.raises(type(error)) as caught:
        next(results)
    assert caught.value is error
    assert list(results) == []


def test_a_map_dropped_while_its_helper_waits_for_a_place():
    gate, closed = Event(), []

    def numbers():
        try:
            yield from range(100)
        finally:
            closed.append(True)

    results = GreenPool(1).imap(lambda number: gate.wait(), numbers())
    turns()
    assert results.waiters.full() and not results.waiters.putting()
    del results
    gate.send()
    turns(10)
    assert closed
