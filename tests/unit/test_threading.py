"""Green threads as `threading`: `eventlet.green.thread`, `green.threading`, and the patched standard module."""

import signal
import subprocess
import sys
import textwrap
import threading as std

import eventlet
import pytest
from eventlet.green import thread, threading
from eventlet.green.Queue import LifoQueue, PriorityQueue, Queue, SimpleQueue
from greenlet import GreenletExit, _core, getcurrent


def run(script, *args):
    """Runs a program in a process of its own; returns its output's lines."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *args],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


# ---- identity


def test_main_thread_is_the_main_thread():
    assert threading.main_thread() is threading.current_thread() is std.main_thread()
    assert threading.get_ident() == std.get_ident() == std.main_thread().ident


def test_identities_are_never_used_again():
    seen = set()
    for _ in range(100):
        ident = eventlet.spawn(thread.get_ident).wait()
        assert ident not in seen
        seen.add(ident)


def test_identity_of_another_greenlet():
    g = eventlet.spawn(thread.get_ident)
    ident = thread.get_ident(g)
    assert g.wait() == ident == thread.get_ident(g)


def test_identity_of_what_is_no_greenlet():
    with pytest.raises(TypeError, match="a greenlet is required, not int"):
        thread.get_ident(3)


@pytest.mark.parametrize("spawn", [eventlet.spawn, eventlet.spawn_n])
def test_current_thread_of_a_green_thread_that_is_no_thread(spawn):
    found = []

    def look():
        me = threading.current_thread()
        found.append(me)
        eventlet.sleep(0)
        assert threading.current_thread() is me
        assert me in threading.enumerate() and me in std.enumerate()
        assert me.ident == threading.get_ident() and me.is_alive() and me.daemon

    before = threading.enumerate()
    spawn(look)
    spawn(look)
    eventlet.sleep(0)
    one, other = found
    assert one is not other and one.name != other.name and one.name.startswith("GreenThread-")
    one.join()
    assert not one.is_alive()
    other.join(5)
    assert threading.enumerate() == before and len(threading._active) == len(before)


def test_current_thread_of_a_killed_green_thread_is_forgotten():
    asked = eventlet.Event()

    def wait():
        asked.send(threading.current_thread())
        eventlet.sleep(60)

    g = eventlet.spawn(wait)
    me = asked.wait()
    assert me.ident in threading._active
    g.kill()
    assert me.ident not in threading._active and not me.is_alive()


def test_thread_knows_itself():
    seen = []
    t = threading.Thread(target=lambda: seen.append(threading.current_thread()), name="cook")
    assert t.ident is None and not t.is_alive()
    t.start()
    t.join()
    assert (
        seen == [t]
        and t.ident != std.get_ident()
        and not t.is_alive()
        and t not in threading.enumerate()
    )
    assert t.native_id == std.get_native_id()


def test_names_of_upstream_s_green_threads():
    def look():
        me = threading.current_thread()
        me.set_name("a")
        names = [me.get_name(), me.getName(), me.name]
        me.setName("b")
        return names + [me.name], me.isAlive(), me.is_daemon(), me.isDaemon()

    assert eventlet.spawn(look).wait() == (["a", "a", "a", "b"], True, True, True)


# ---- start, join, end


def test_threads_take_turns():
    order = []

    def work(name):
        for step in range(3):
            order.append((step, name))
            eventlet.sleep(0)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(order) == [(step, name) for step in range(3) for name in "ab"]
    assert threading.active_count() == len(threading.enumerate())


def test_join_with_a_timeout():
    gate = threading.Event()
    t = threading.Thread(target=gate.wait)
    t.start()
    t.join(0.001)
    assert t.is_alive()
    gate.set()
    t.join(5)
    assert not t.is_alive()


def test_join_oneself():
    errors = []

    def join():
        try:
            threading.current_thread().join()
        except RuntimeError as error:
            errors.append(str(error))

    t = threading.Thread(target=join)
    t.start()
    t.join()
    assert errors == ["cannot join current thread"] or errors == ["Cannot join current thread"]


def test_many_wait_for_one():
    gate, ended = threading.Event(), []
    t = threading.Thread(target=gate.wait)
    t.start()
    waiters = [threading.Thread(target=lambda: (t.join(), ended.append(1))) for _ in range(5)]
    for waiter in waiters:
        waiter.start()
    gate.set()
    for waiter in waiters:
        waiter.join()
    assert ended == [1] * 5


def test_excepthook_gets_exceptions(monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    monkeypatch.setattr(threading._copy, "excepthook", seen.append)

    def fail():
        raise KeyError("cup")

    t = threading.Thread(target=fail)
    t.start()
    t.join()
    (args,) = seen
    assert args.exc_type is KeyError and args.thread is t


@pytest.mark.parametrize("leave", [thread.exit, sys.exit, lambda: getcurrent().throw()])
def test_leaving_early_is_no_error(leave, capsys):
    t = threading.Thread(target=leave)
    t.start()
    t.join()
    assert not t.is_alive() and capsys.readouterr().err == ""


def test_exit_is_both_kinds_of_exit():
    with pytest.raises(SystemExit):
        thread.exit()
    with pytest.raises(GreenletExit):
        thread.exit()


def test_killed_thread_is_dead():
    found = []

    def wait():
        found.append(getcurrent())
        eventlet.sleep(60)

    t = threading.Thread(target=wait, daemon=True)
    t.start()
    eventlet.sleep(0)
    eventlet.kill(found[0])
    t.join(5)
    assert not t.is_alive()


# ---- the functions of _thread


def test_start_new_thread():
    seen = []
    ident = thread.start_new_thread(
        lambda *a, **k: seen.append((a, k, thread.get_ident())), (1,), {"b": 2}
    )
    assert thread._count() == 1
    eventlet.sleep(0)
    assert seen == [((1,), {"b": 2}, ident)] and thread._count() == 0


@pytest.mark.parametrize(
    "args, text",
    [
        ((3, ()), "first arg must be callable"),
        ((print, 3), "2nd arg must be a tuple"),
        ((print, (), 3), "optional 3rd arg must be a dictionary"),
    ],
)
def test_start_new_thread_with_bad_arguments(args, text):
    with pytest.raises(TypeError, match=text):
        thread.start_new_thread(*args)


def test_uncaught_exception_goes_to_the_unraisable_hook(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda u: seen.append((u.exc_type, u.err_msg or "")))

    def fail():
        raise KeyError("cup")

    thread.start_new_thread(fail, ())
    eventlet.sleep(0)
    ((kind, text),) = seen
    assert kind is KeyError and "in thread started by" in text


def test_handle():
    gate = eventlet.Event()
    handle = _core._ThreadHandle()
    with pytest.raises(RuntimeError, match="thread not started"):
        handle.join()
    with pytest.raises(RuntimeError, match="thread not started"):
        handle._set_done()
    assert _core.start_joinable_thread(gate.wait, handle) is handle
    assert not handle.is_done() and handle.ident != thread.get_ident()
    with pytest.raises(RuntimeError, match="thread already started"):
        _core.start_joinable_thread(print, handle=handle)
    handle.join(0.001)
    gate.send()
    handle.join()
    assert handle.is_done()
    with pytest.raises(TypeError, match="'handle' must be a _ThreadHandle"):
        _core.start_joinable_thread(print, handle=3)
    with pytest.raises(TypeError, match="thread function must be callable"):
        _core.start_joinable_thread(3)


def test_handle_of_a_thread_that_runs_already():
    handle = _core.make_thread_handle(6)
    assert handle.ident == 6 and not handle.is_done()
    handle._set_done()
    handle.join()
    assert handle.is_done()


def test_interrupt_main_from_a_green_thread(monkeypatch):
    seen = []
    old = signal.signal(signal.SIGUSR1, lambda *args: seen.append(args[0]))
    try:
        eventlet.spawn(thread.interrupt_main, signal.SIGUSR1).wait()
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert seen == [signal.SIGUSR1]
    eventlet.spawn(thread.interrupt_main, signal.SIGUSR1).wait()  # has no handler: nothing happens
    with pytest.raises(ValueError):
        thread.interrupt_main(5000)


# ---- what is built on locks


def test_rlock_belongs_to_a_green_thread():
    lock = thread.RLock()
    with lock:
        assert lock.acquire() is True and lock._is_owned() and lock._recursion_count() == 2
        lock.release()

        def other():
            refused = lock.acquire(blocking=False)
            with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
                lock.release()
            return refused, lock.acquire(timeout=0.001), lock._is_owned()

        assert eventlet.spawn(other).wait() == (False, False, False)
        g = eventlet.spawn(lambda: (lock.acquire(), lock.release()))
        eventlet.sleep(0)
        assert not g.dead and repr(lock).startswith("<locked _thread.RLock object owner=")
    assert g.wait() == (True, None)
    state = lock.acquire() and lock._release_save()
    assert not lock.locked() and repr(lock).startswith("<unlocked")
    lock._acquire_restore(state)
    lock._at_fork_reinit()
    assert not lock.locked()


@pytest.mark.parametrize(
    "args, error",
    [((False, 1), ValueError), ((True, -2), ValueError), ((True, 1e100), OverflowError)],
)
def test_rlock_with_bad_arguments(args, error):
    with pytest.raises(error):
        thread.RLock().acquire(*args)


def test_rlock_of_a_class_with_arguments():
    class Named(thread.RLock):
        def __init__(self, name, *, colour):
            super().__init__()
            self.name = name, colour

    lock = Named("tea", colour="green")
    with lock:
        assert lock.locked() and lock.name == ("tea", "green")


def test_rlock_of_a_killed_waiter_goes_to_the_next():
    lock = thread.RLock()
    lock.acquire()
    first, second = (eventlet.spawn(lock.acquire) for _ in range(2))
    eventlet.sleep(0)
    lock.release()
    first.kill()
    assert second.wait() is True


def test_condition_barrier_semaphore_timer_event():
    barrier, seen = threading.Barrier(3), []
    condition = threading.Condition()

    def work():
        barrier.wait()
        with condition:
            seen.append(1)
            condition.notify()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    with condition:
        assert condition.wait_for(lambda: len(seen) == 3, timeout=5)
    for t in threads:
        t.join()
    semaphore = threading.BoundedSemaphore(1)
    with semaphore:
        assert not semaphore.acquire(timeout=0.001)
    event = threading.Event()
    timer = threading.Timer(0.001, event.set)
    timer.start()
    assert event.wait(5)
    timer.join()
    assert not threading.Event().wait(0.001)


def test_local_is_of_the_green_thread():
    mine = threading.local()
    mine.cup = 1
    seen = []
    t = threading.Thread(target=lambda: seen.append(hasattr(mine, "cup")))
    t.start()
    t.join()
    assert seen == [False] and mine.cup == 1


@pytest.mark.parametrize(
    "kind, order", [(Queue, [2, 1]), (PriorityQueue, [1, 2]), (LifoQueue, [1, 2])]
)
def test_queues_without_bound(kind, order):
    q = kind()
    q.put(2)
    q.put(1)
    assert not q.full() and [q.get(), q.get()] == order
    with q.mutex:
        pass
    small = kind(1)
    small.put(1)
    with pytest.raises(std_queue_full()):
        small.put(2, timeout=0.001)


def std_queue_full():
    import queue

    return queue.Full


def test_simple_queue():
    import queue

    q = SimpleQueue()
    g = eventlet.spawn(q.get)
    eventlet.sleep(0)
    q.put(1, False, 3)
    assert g.wait() == 1
    q.put_nowait(2)
    assert q.qsize() == 1 and not q.empty() and q.get_nowait() == 2
    with pytest.raises(queue.Empty):
        q.get(timeout=0.001)
    with pytest.raises(ValueError):
        q.get(timeout=-1)


# ---- the patched process


PATCHED = "import eventlet; eventlet.monkey_patch(thread=True, time=True)\n"


def test_patched_main_thread_and_spawned():
    script = """
        import threading
        main = threading.main_thread()
        print(main is threading.current_thread(), main.ident == threading.get_ident())
        def look():
            me = threading.current_thread()
            print(type(me).__name__, me is threading.current_thread(), me in threading.enumerate())
        eventlet.spawn(look).wait()
        eventlet.spawn_n(look); eventlet.sleep(0)
        print(threading.active_count(), len(threading._active))
    """
    assert run(PATCHED + textwrap.dedent(script)) == [
        "True True",
        "_GreenThread True True",
        "_GreenThread True True",
        "1 1",
    ]


def test_patched_threads_pools_queues_and_logging():
    script = """
        import concurrent.futures, logging, queue, sys, threading, time
        logging.basicConfig(stream=sys.stdout, format="%(threadName)s %(message)s")
        ticks = []
        def tick():
            while True:
                ticks.append(1); eventlet.sleep(0)
        ticker = eventlet.spawn(tick)
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            print(sorted(pool.map(lambda n: (time.sleep(0.001), n * n)[1], range(5))))
        q = queue.Queue(1)
        t = threading.Thread(target=lambda: [q.put(n) for n in range(3)], name="cook")
        t.start()
        print([q.get() for _ in range(3)])
        t.join()
        t = threading.Thread(target=logging.warning, args=("tea",), name="cook")
        t.start(); t.join()
        print(len(ticks) > 5)
        ticker.kill()
    """
    assert run(PATCHED + textwrap.dedent(script)) == [
        "[0, 1, 4, 9, 16]",
        "[0, 1, 2]",
        "cook tea",
        "True",
    ]


def test_process_waits_for_threads_that_are_no_daemons():
    script = """
        import threading, time
        def late():
            time.sleep(0.02)
            print("late")
        threading.Thread(target=late).start()
        threading.Thread(target=lambda: (time.sleep(60), print("never")), daemon=True).start()
        print("end")
    """
    assert run(PATCHED + textwrap.dedent(script)) == ["end", "late"]


def test_process_waits_for_threads_of_the_green_module():
    script = """
        import eventlet
        from eventlet.green import threading
        threading.Thread(target=lambda: (eventlet.sleep(0.02), print("late"))).start()
        print("end")
    """
    assert run(script) == ["end", "late"]


def test_native_threads_know_themselves_in_a_patched_process():
    script = """
        import threading
        from eventlet import patcher
        original = patcher.original("threading")
        def look():
            print(threading.current_thread() is t, threading.get_ident() == original.get_ident())
        t = original.Thread(target=look)
        t.start(); t.join()
        print(len(threading._active), len(original._active))
    """
    assert run(PATCHED + textwrap.dedent(script)) == ["True True", "1 1"]


@pytest.mark.parametrize("where", ["main", "thread", "green thread"])
def test_thread_that_forks_is_the_child_s_main_thread(where):
    script = """
        import os, sys, threading
        gate = threading.Event()
        other = threading.Thread(target=gate.wait)
        other.start()
        def fork():
            if os.fork() == 0:
                me = threading.current_thread()
                print(me is threading.main_thread(), threading.enumerate() == [me], other.is_alive())
                sys.stdout.flush()
                os._exit(0)
            os.wait()
        where = sys.argv[1]
        if where == "main":
            fork()
        elif where == "thread":
            t = threading.Thread(target=fork)
            t.start(); t.join()
        else:
            eventlet.spawn(fork).wait()
        print(other.is_alive())
        gate.set()
        other.join()
    """
    assert run(PATCHED + textwrap.dedent(script), where) == ["True True False", "True"]


# --- arguments


def test_anything_true_makes_a_daemon():
    handle = _core.start_joinable_thread(lambda: None, daemon=["yes"])
    handle.join()
    assert handle.is_done()


# --- threads that spin ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "poll",
    [
        "while not things.empty(): pass",
        "while things.unfinished_tasks:\n    with lock: pass",
        "while things.unfinished_tasks:\n    with rlock: pass",
        "while things.unfinished_tasks:\n    early.acquire(); early.release()",
        "while things.unfinished_tasks:\n    with early_rlock: pass",
    ],
)
def test_who_polls_with_locks_lets_the_others_run(poll):
    script = f"""
        import queue, threading
        early, early_rlock = threading.Lock(), threading.RLock()
        import eventlet
        eventlet.monkey_patch()
        lock, rlock, things = threading.Lock(), threading.RLock(), queue.Queue()
        def consume():
            while True:
                things.get()
                things.task_done()
        threading.Thread(target=consume, daemon=True).start()
        for thing in range(3):
            things.put(thing)
        exec({poll!r})
        print("done")
    """
    assert run(script) == ["done"]


def test_who_raises_signals_lets_the_others_run():
    script = """
        import signal
        import eventlet
        eventlet.monkey_patch()
        import threading
        received = []
        signal.signal(signal.SIGUSR1, lambda *_: received.append(None))
        def raise_signals():
            while not stop:
                signal.raise_signal(signal.SIGUSR1)
        stop = False
        thread = threading.Thread(target=raise_signals)
        thread.start()
        stop = True
        thread.join()
        print(bool(received))
    """
    assert run(script) == ["True"]


def test_signals_are_raised_in_os_threads_that_run_no_hub():
    script = """
        import signal
        import eventlet
        eventlet.monkey_patch(thread=True)
        from eventlet import patcher, tpool
        received = []
        signal.signal(signal.SIGUSR1, lambda *_: received.append(None))
        tpool.execute(signal.raise_signal, signal.SIGUSR1)
        print(len(received))
        try:
            signal.raise_signal("none")
        except TypeError:
            print("refused")
    """
    assert run(script) == ["1", "refused"]


def test_a_few_locks_are_taken_without_a_switch():
    script = """
        import threading
        import eventlet
        eventlet.monkey_patch()
        lock, ran = threading.Lock(), []
        eventlet.spawn(ran.append, 1)
        for _ in range(1000):
            with lock:
                pass
        print(ran)
    """
    assert run(script) == ["[]"]
