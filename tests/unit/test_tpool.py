"""eventlet.tpool: calls in OS threads while green threads go on."""

import contextvars
import copy
import gc
import os
import subprocess
import sys
import threading
import time
import traceback
import weakref

import eventlet
import pytest
from eventlet import tpool
from greenlet import GreenletExit, _core


@pytest.fixture(autouse=True)
def size():
    """Every test begins and ends without a pool, and with the default size."""
    tpool.killall()
    yield
    tpool.set_num_threads(20)
    tpool.killall()


class Gate:
    """A call that blocks its OS thread until it is let go."""

    def __init__(self):
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, result=None):
        self.entered.set()
        assert self.open.wait(10)
        return result

    def wait_entered(self):
        while not self.entered.is_set():
            eventlet.sleep(0.001)


def run(code, **env):
    """Runs a program; gives its output and how long it took."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr, time.monotonic() - began


# execute


def test_results_arguments_and_the_thread():
    here = threading.get_ident()
    there, args, kwargs = tpool.execute(lambda *a, **k: (threading.get_ident(), a, k), 1, two=2)
    assert there != here and (args, kwargs) == ((1,), {"two": 2})


def test_other_green_threads_run_meanwhile():
    gate = Gate()
    waiting = eventlet.spawn(tpool.execute, gate, "tea")
    gate.wait_entered()
    assert not waiting.dead
    gate.open.set()
    assert waiting.wait() == "tea"


def test_threads_start_when_there_is_work_for_them():
    tpool.set_num_threads(3)
    assert tpool._threads == []
    for _ in range(5):
        tpool.execute(int)
    assert len(tpool._threads) == 1
    gates = [Gate() for _ in range(5)]
    calls = [eventlet.spawn(tpool.execute, gate, i) for i, gate in enumerate(gates)]
    for gate in gates[:3]:
        gate.wait_entered()
    assert len(tpool._threads) == 3 and tpool._reqq.qsize() == 2
    assert [thread.name for thread in tpool._threads] == [f"tpool_thread_{i}" for i in range(3)]
    assert all(thread.daemon for thread in tpool._threads)
    for gate in gates:
        gate.open.set()
    assert [call.wait() for call in calls] == list(range(5))
    assert tpool._reqq.empty() and tpool._rspq.empty()


def test_calls_begin_in_order():
    tpool.set_num_threads(1)
    begun = []
    calls = [eventlet.spawn(tpool.execute, begun.append, i) for i in range(50)]
    for call in calls:
        call.wait()
    assert begun == list(range(50))


def test_an_exception_has_its_traceback():
    def inner():
        raise KeyError("cup")

    with pytest.raises(KeyError) as caught:
        tpool.execute(inner)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names == ["test_an_exception_has_its_traceback", "inner"]


@pytest.mark.parametrize(
    "error", [eventlet.Timeout(), GreenletExit(), KeyboardInterrupt(), SystemExit(3)]
)
def test_base_exceptions_reach_the_caller(error):
    def call():
        raise error

    with pytest.raises(type(error)) as caught:
        tpool.execute(call)
    assert caught.value is error
    assert tpool.execute(int) == 0 and len(tpool._threads) == 1


def test_nothing_keeps_arguments_results_and_exceptions():
    class Thing:
        def fail(self):
            raise ValueError(self)

    thing = Thing()
    alive = weakref.ref(thing)
    assert tpool.execute(lambda x: x, thing) is thing
    with pytest.raises(ValueError):
        tpool.execute(thing.fail)
    del thing
    gc.collect()
    assert alive() is None


def test_not_quiet_prints_the_exception(monkeypatch, capfd):
    monkeypatch.setattr(tpool, "QUIET", False)
    with pytest.raises(ZeroDivisionError):
        tpool.execute(divmod, 1, 0)
    assert "ZeroDivisionError" in capfd.readouterr().err
    monkeypatch.setattr(tpool, "QUIET", True)
    with pytest.raises(ZeroDivisionError):
        tpool.execute(divmod, 1, 0)
    assert capfd.readouterr().err == ""


def test_in_the_pool_a_call_is_made_in_place():
    tpool.set_num_threads(1)

    def nested():
        return threading.get_ident() == tpool.execute(threading.get_ident)

    assert tpool.execute(nested)


def test_with_the_import_lock_held_a_call_is_made_in_place():
    import _imp

    _imp.acquire_lock()
    try:
        assert tpool.execute(threading.get_ident) == threading.get_ident()
    finally:
        _imp.release_lock()


def test_the_context_is_a_copy():
    cup = contextvars.ContextVar("cup", default="empty")
    cup.set("tea")

    def drink():
        seen = cup.get()
        cup.set("empty")
        return seen

    assert tpool.execute(drink) == "tea"
    assert cup.get() == "tea"


def test_a_pool_thread_has_a_hub_of_its_own():
    def green():
        log = []
        other = eventlet.spawn(log.append, "other")
        eventlet.sleep(0.001)
        other.wait()
        return log, eventlet.hubs.get_hub()

    log, hub = tpool.execute(green)
    assert log == ["other"] and hub is not eventlet.hubs.get_hub()
    del hub


def test_calls_from_several_hubs_share_the_pool():
    results = []

    def thread():
        calls = [eventlet.spawn(tpool.execute, pow, 2, i) for i in range(20)]
        results.append([call.wait() for call in calls])

    threads = [threading.Thread(target=thread) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert results == [[2**i for i in range(20)]] * 3


def test_without_arguments_it_is_a_type_error():
    with pytest.raises(TypeError):
        tpool.execute()
    with pytest.raises(TypeError, match="not callable"):
        tpool.execute(4)


# Waiters that do not wait to the end.


def test_a_timed_out_waiter_leaves_the_thread_usable():
    tpool.set_num_threads(1)
    gate = Gate()
    with pytest.raises(eventlet.Timeout), eventlet.Timeout(0.01):
        tpool.execute(gate, "lost")
    gate.open.set()
    assert tpool.execute(int) == 0 and len(tpool._threads) == 1


def test_the_result_of_a_killed_waiter_is_dropped():
    class Result:
        pass

    gate, made = Gate(), []

    def call():
        result = Result()
        made.append(weakref.ref(result))
        return gate(result)

    waiter = eventlet.spawn(tpool.execute, call)
    gate.wait_entered()
    waiter.kill()
    gate.open.set()
    while _core._pending_thread_calls():
        eventlet.sleep(0.001)
    assert made[0]() is None


def test_a_call_that_has_not_begun_is_not_made_for_a_killed_waiter():
    tpool.set_num_threads(1)
    gate, made = Gate(), []
    first = eventlet.spawn(tpool.execute, gate)
    gate.wait_entered()
    second = eventlet.spawn(tpool.execute, made.append, 1)
    eventlet.sleep()
    second.kill()
    gate.open.set()
    first.wait()
    assert tpool.execute(int) == 0 and made == []


def test_results_that_come_with_the_timeout_are_not_mixed_up():
    tpool.set_num_threads(2)
    outcomes = {"in time": 0, "too late": 0}
    for i in range(200):
        try:
            with eventlet.Timeout(0.0002):
                assert tpool.execute(lambda i=i: (time.sleep(0.0001), i)[1]) == i
                outcomes["in time"] += 1
        except eventlet.Timeout:
            outcomes["too late"] += 1
    assert sum(outcomes.values()) == 200
    assert tpool.execute(str, "tea") == "tea"


# The pool itself.


def test_killall_waits_for_running_calls():
    gate = Gate()
    call = eventlet.spawn(tpool.execute, gate, "tea")
    gate.wait_entered()
    threads = list(tpool._threads)
    eventlet.spawn(gate.open.set)
    tpool.killall()
    assert call.wait() == "tea"
    assert tpool._threads == [] and not any(thread.is_alive() for thread in threads)
    tpool.killall()


def test_killall_in_a_thread_of_the_pool_does_not_wait_for_itself():
    tpool.execute(tpool.killall)
    assert tpool.execute(int) == 0


def test_a_hub_that_ends_before_its_call_does():
    gate = Gate()

    def thread():
        eventlet.spawn(tpool.execute, gate)
        eventlet.sleep(0.001)  # and nobody waits for it

    each = threading.Thread(target=thread)
    each.start()
    gate.wait_entered()
    each.join()
    gate.open.set()
    assert tpool.execute(int) == 0
    while _core._pending_thread_calls():
        eventlet.sleep(0.001)


def test_negative_size_and_none():
    tpool.set_num_threads(-1)
    with pytest.raises(AssertionError, match="negative number of threads"):
        tpool.execute(int)
    tpool.set_num_threads(0)
    with pytest.warns(RuntimeWarning, match=r"Zero threads in tpool.*EVENTLET_THREADPOOL_SIZE"):
        assert tpool.execute(threading.get_ident) == threading.get_ident()


def test_the_size_of_the_environment():
    out, _, _ = run(
        "from eventlet import tpool; print(tpool._nthreads)", EVENTLET_THREADPOOL_SIZE="7"
    )
    assert out == "7\n"


def test_own_threads_may_join_the_pool():
    tpool.set_num_threads(1)
    tpool.setup()
    own = threading.Thread(target=tpool.tworker)
    own.start()
    while not tpool._reqq.threads:
        eventlet.sleep(0.001)
    assert tpool.execute(threading.get_ident) == own.ident
    tpool.killall()
    own.join()
    tpool.tpool_trampoline()


def test_exit_does_not_wait_for_ever_for_a_call():
    out, err, seconds = run(
        "import eventlet, time; from eventlet import tpool\n"
        "tpool.EXIT_PATIENCE = 0.01\n"
        "eventlet.spawn(tpool.execute, time.sleep, 60); eventlet.sleep(0.01)\n"
        "print('end')"
    )
    assert (out, err) == ("end\n", "") and seconds < 20


def test_exit_lets_short_calls_end():
    out, _, _ = run(
        "import eventlet, time; from eventlet import tpool\n"
        "def call():\n    time.sleep(0.05); print('done', flush=True)\n"
        "eventlet.spawn(tpool.execute, call); eventlet.sleep(0.01)"
    )
    assert out == "done\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_a_new_pool():
    out, _, _ = run(
        "import eventlet, os, time, warnings; from eventlet import tpool\n"
        "warnings.simplefilter('ignore')\n"
        "eventlet.spawn(tpool.execute, time.sleep, 0.05); eventlet.sleep(0.01)\n"
        "pid = os.fork()\n"
        "assert tpool._threads == [] if pid == 0 else len(tpool._threads) == 1\n"
        "assert tpool.execute(pow, 2, 3) == 8\n"
        "if pid == 0:\n    os._exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    assert out == "7\n"


def test_killed_at_once_while_threads_start():
    for _ in range(20):
        call = eventlet.spawn(tpool.execute, int)
        eventlet.sleep()
        call.kill()
        tpool.killall()


# Native calls.


def test_native_calls_do_not_stop_the_hub():
    log = []
    call = eventlet.spawn(_core._block_thread, 0.02)
    eventlet.spawn(log.append, "ran")
    eventlet.sleep()
    eventlet.sleep()
    assert log == ["ran"] and not call.dead
    assert call.wait() is True


def test_native_calls_with_a_deadline_and_killed_ones():
    assert _core._block_thread(0.02, 0.001) is False
    call = eventlet.spawn(_core._block_thread, 0.02)
    eventlet.sleep()
    call.kill()
    assert _core._block_thread(0.0) is True
    while _core._pending_thread_calls():
        eventlet.sleep(0.001)


def test_native_calls_where_nobody_waits():
    out, _, _ = run(
        "from greenlet import _core\n"
        "import sys, threading\n"
        "print(_core._block_thread(0.001), threading.active_count(), 'eventlet' in sys.modules)"
    )
    assert out == "True 1 False\n"
    assert tpool.execute(_core._block_thread, 0.0)


# Proxy


class Kettle:
    """Remembers in which thread each method ran."""

    litres = 2

    def __init__(self):
        self.seen = []

    def boil(self, *args, **kwargs):
        self.seen.append(threading.get_ident())
        return args, kwargs

    def __getitem__(self, key):
        return self.boil(key)

    def __enter__(self):
        self.boil()
        return self

    def __exit__(self, *exc):
        self.boil()
        return True

    def __next__(self):
        self.boil()
        raise StopIteration

    def __iter__(self):
        return self

    def __copy__(self):
        self.boil()
        return self

    def __deepcopy__(self, memo):
        self.boil()
        return self

    def __call__(self):
        self.boil()

    def __setitem__(self, key, value):
        self.boil(key, value)


def test_a_proxy_calls_in_the_pool():
    kettle = Kettle()
    proxy = tpool.Proxy(kettle)
    assert proxy.boil(1, two=2) == ((1,), {"two": 2})
    assert proxy[3] == ((3,), {})
    proxy[4] = 5
    proxy()
    with proxy as entered:
        raise ValueError("swallowed by __exit__")
    assert entered is kettle
    assert list(proxy) == []
    assert isinstance(copy.copy(proxy), tpool.Proxy)
    assert isinstance(copy.deepcopy(proxy), tpool.Proxy)
    assert len(kettle.seen) == 9 and threading.get_ident() not in kettle.seen


def test_nonblocking_calls_in_place():
    kettle = Kettle()
    assert tpool.Proxy(kettle).boil(nonblocking=True) == ((), {})
    assert tpool.Proxy(kettle).boil(nonblocking=False) == ((), {})
    assert kettle.seen[0] == threading.get_ident() != kettle.seen[1]


def test_what_a_proxy_does_in_place():
    proxy = tpool.Proxy([1, 2])
    assert proxy == [1, 2] and proxy == tpool.Proxy([1, 2]) and proxy != [3]
    assert str(proxy) == repr(proxy) == "[1, 2]"
    assert len(proxy) == 2 and bool(proxy) and not tpool.Proxy([])
    assert list(proxy) == [1, 2]
    assert hash(tpool.Proxy("tea")) == hash("tea")
    with pytest.raises(TypeError):
        hash(proxy)
    with pytest.raises(AttributeError):
        proxy.brew()


def test_autowrap():
    kettle = Kettle()
    proxy = tpool.Proxy(kettle, autowrap=(tuple,), autowrap_names=("litres", "__call__", "seen"))
    assert isinstance(proxy.boil(), tpool.Proxy)
    assert isinstance(proxy.litres, tpool.Proxy) and proxy.litres == 2
    assert isinstance(proxy(), tpool.Proxy)
    assert isinstance(proxy.seen, tpool.Proxy)
    assert not isinstance(tpool.Proxy(kettle).litres, tpool.Proxy)
    assert isinstance(tpool.proxy_call(int, int), tpool.Proxy)


def test_a_proxy_of_a_generator():
    def numbers():
        yield threading.get_ident()
        yield threading.get_ident()

    assert threading.get_ident() not in list(tpool.Proxy(numbers()))


def test_a_half_made_copy_has_no_attributes():
    with pytest.raises(AttributeError):
        tpool.Proxy.__new__(tpool.Proxy).anything()
