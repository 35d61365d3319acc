"""Builtins redirected in place: each case in a process of its own, because it is for good."""

import subprocess
import sys
import textwrap

import pytest

PROLOGUE = """
import _queue, _thread, sys, threading, time
LockType, RLockType = type(_thread.allocate_lock()), type(_thread.RLock())
early = _thread.allocate_lock()
acquire, release, early_sleep = early.acquire, early.release, time.sleep
owned = _thread.RLock()
owned.acquire()
items = _queue.SimpleQueue()
get = items.get
import eventlet
from greenlet import _core
eventlet.sleep(0)
assert _core.redirect_natively('lock', LockType) == []
assert _core.redirect_natively('rlock', RLockType) == []
assert _core.redirect_natively('simple_queue', _queue.SimpleQueue) == []
assert _core.redirect_natively('sleep', time.sleep) == []
if hasattr(_thread, '_set_sentinel'):
    main = [t._tstate_lock for t in threading._active.values() if t._tstate_lock]
    assert _core.redirect_natively('sentinel', _thread._set_sentinel, main) == []
log = []
def start(function, *args):
    g = eventlet.spawn(function, *args)
    eventlet.sleep(0)
    return g
def raises(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except Exception as error:
        return type(error).__name__, str(error)
"""


def run(script):
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROLOGUE + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.split()


def test_lock_captured_before_serves_green_threads_in_order():
    script = """
        def take(n):
            with early:
                log.append(n)
        acquire()
        gs = [start(take, n) for n in range(3)]
        log.append('release')
        release()
        for g in gs: g.wait()
        assert log == ['release', 0, 1, 2], log
        assert not early.locked()
        # By every alias, and with a bound method that was captured before.
        assert early.acquire_lock() and early.locked_lock()
        g = start(acquire)
        assert not g.dead
        early.release_lock()
        assert g.wait() is True
    """
    run(script)


def test_lock_timeouts_and_refusals():
    script = """
        acquire()
        g = start(acquire, True, 0.01)
        assert g.wait() is False
        assert acquire(False) is False and acquire(blocking=0) is False
        assert acquire(timeout=0) is False
        # Who was killed or timed out takes no turn from the next one.
        first, second = start(acquire), start(acquire)
        release()  # wakes the first, which is killed before its turn
        first.kill()
        assert second.wait() is True
        log = [raises(acquire, False, 1), raises(acquire, True, -2), raises(acquire, 1, 2, 3)]
        log += [raises(acquire, timeout='x'), raises(acquire, nonsense=1), raises(acquire, True, 1e300)]
        kinds = [kind for kind, _ in log]
        assert kinds == ['ValueError', 'ValueError', 'TypeError', 'TypeError', 'TypeError', 'OverflowError'], log
        release()
        assert raises(release)[1] == 'release unlocked lock'
    """
    run(script)


def test_lock_between_green_threads_and_os_threads():
    script = """
        # An OS thread without a hub waits natively, and a green release wakes it.
        acquire()
        def native():
            acquire()
            log.append('native')
            release()
        thread = threading.Thread(target=native)
        thread.start()
        start(release)
        thread.join()
        assert log == ['native']
        # A native release wakes a green thread, and others run meanwhile.
        ready = threading.Event()
        def holder():
            with early:
                ready.set()
                while 'tick' not in log: early_sleep(0.001)
        thread = threading.Thread(target=holder)
        thread.start()
        ready.wait()
        tick = eventlet.spawn(log.append, 'tick')
        assert acquire()
        assert 'tick' in log
        thread.join()
    """
    run(script)


def test_lock_among_several_hubs():
    script = """
        total = [0]
        def count():
            for _ in range(50):
                with early:
                    seen = total[0]
                    eventlet.sleep(0)
                    total[0] = seen + 1
        def hub():
            for g in [eventlet.spawn(count) for _ in range(4)]: g.wait()
        threads = [threading.Thread(target=hub) for _ in range(3)]
        for t in threads: t.start()
        hub()
        for t in threads: t.join()
        assert total[0] == 4 * 4 * 50, total
    """
    run(script)


def test_rlock_belongs_to_a_green_thread():
    script = """
        lock = _thread.RLock()
        def holder():
            with lock, lock:
                assert lock._is_owned()
                if hasattr(lock, '_recursion_count'):
                    assert lock._recursion_count() == 2
                log.append('held')
                eventlet.sleep(0.01)
                log.append('done')
        def other():
            assert not lock._is_owned()
            assert raises(lock.release)[1] == 'cannot release un-acquired lock'
            assert lock.acquire(False) is False
            assert lock.acquire(timeout=0.001) is False
            with lock:
                log.append('other')
        a, b = start(holder), start(other)
        assert not lock._is_owned() and lock.acquire(False) is False
        a.wait(); b.wait()
        assert log == ['held', 'done', 'other'], log
        assert 'unlocked' in repr(lock)
    """
    run(script)


def test_rlock_held_before_stays_held():
    script = """
        def other():
            assert owned.acquire(False) is False
            assert raises(owned.release)[0] == 'RuntimeError'
            with owned: log.append('other')
        g = start(other)
        assert owned._is_owned()
        with owned: eventlet.sleep(0)
        assert log == []
        owned.release()
        g.wait()
        assert log == ['other'] and raises(owned.release)[0] == 'RuntimeError'
        # And in OS threads that have no hub.
        lock = _thread.RLock()
        lock.acquire()
        def native():
            assert not lock.acquire(False)
            with lock: log.append('native')
        thread = threading.Thread(target=native)
        thread.start()
        start(lambda: None).wait()
        lock.release()
        thread.join()
        assert log == ['other', 'native']
    """
    run(script)


def test_condition_on_an_rlock_saves_and_restores_the_count():
    script = """
        condition = threading.Condition()
        def waiter():
            with condition, condition:
                assert condition.wait(5)
                assert condition._lock._is_owned()
                log.append('notified')
            assert not condition._lock._is_owned()
        g = start(waiter)
        with condition:
            condition.notify()
            eventlet.sleep(0)
            assert log == []
        g.wait()
        assert log == ['notified']
        assert raises(condition._lock._acquire_restore, 5)[0] == 'TypeError'
        assert raises(condition._lock._release_save)[0] == 'RuntimeError'
    """
    run(script)


def test_simple_queue():
    script = """
        gs = [start(get) for _ in range(3)]
        for item in 'abc': items.put(item)
        assert [g.wait() for g in gs] == ['a', 'b', 'c']
        assert raises(get, timeout=0.001)[0] == 'Empty'
        assert raises(get, False)[0] == 'Empty' and raises(items.get_nowait)[0] == 'Empty'
        assert raises(get, timeout=-1)[0] == 'ValueError'
        # A killed getter loses nothing.
        first, second = start(get), start(get)
        items.put('kept')
        first.kill()
        assert second.wait() == 'kept'
        # From an OS thread, and to one.
        g = start(get)
        thread = threading.Thread(target=items.put_nowait, args=('native',))
        thread.start()
        assert g.wait() == 'native'
        thread.join()
        thread = threading.Thread(target=lambda: log.append(get()))
        thread.start()
        items.put('for a thread')
        thread.join()
        assert log == ['for a thread']
    """
    run(script)


def test_sleep_captured_before():
    script = """
        g = start(lambda: [early_sleep(0.01), log.append('slept')])
        log.append('others run')
        early_sleep(0)
        g.wait()
        assert log == ['others run', 'slept']
        assert raises(early_sleep, -1)[0] == 'ValueError'
        assert raises(early_sleep, 'x')[0] == 'TypeError'
        assert raises(early_sleep, float('nan'))[0] == 'ValueError'
    """
    run(script)


def test_native_threads_can_be_joined():
    # Until CPython 3.12 the interpreter releases a thread's lock by itself and tells nobody.
    script = """
        def native():
            while 'tick' not in log: early_sleep(0.001)
        thread = threading.Thread(target=native)
        thread.start()
        if sys.version_info < (3, 13):
            tick = eventlet.spawn(log.append, 'tick')
        else:
            log.append('tick')
        thread.join(20)
        assert not thread.is_alive()
    """
    run(script)


def test_daemon_threads_blocked_at_exit():
    script = """
        acquire()
        for function in (acquire, get, lambda: early_sleep(100)):
            threading.Thread(target=function, daemon=True).start()
        print('end')
    """
    assert run(script) == ["end"]


def test_redirect_to_python():
    script = """
        import math, os
        from os import getpgid as captured
        assert not _core.is_redirected(os.getpgid)
        def replacement(*args, **kwargs):
            return 'green', args, kwargs, _core.call_original(captured, *args)
        _core.redirect(os.getpgid, replacement)
        assert _core.is_redirected(captured)
        mine = _core.call_original(captured, 0)
        assert captured(0) == ('green', (0,), {}, mine)
        assert _core.private_copy(captured)(0) == mine
        def native():
            log.append(captured(0))
        thread = threading.Thread(target=native)
        thread.start(); thread.join()
        assert log == [mine]
        _core.redirect(captured, lambda pid: ('again', captured(pid)))
        assert captured(0) == ('again', mine)
        _core.redirect(captured, None)
        assert captured(0) == mine and not _core.is_redirected(captured)
        assert raises(_core.redirect, replacement, replacement)[0] == 'RuntimeError'
        assert raises(_core.redirect, captured, 5)[0] == 'TypeError'
        assert raises(_core.call_original, LockType.acquire, 5)[0] == 'TypeError'
        lock = _thread.allocate_lock()
        assert _core.call_original(LockType.acquire, lock) is True
        assert _core.call_original(LockType.acquire, lock, blocking=False) is False
        assert _core.call_original(time.sleep, 0) is None
        assert raises(_core.call_original, time.sleep)[0] == 'TypeError'
    """
    run(script)


@pytest.mark.parametrize("kind", ["nonsense", ""])
def test_unknown_kind(kind):
    from greenlet import _core

    with pytest.raises(ValueError, match="unknown kind"):
        _core.redirect_natively(kind, len)


def test_lock_in_a_forked_child_and_interrupted():
    script = """
        import os, signal
        def take():
            with early: pass
        acquire()
        gs = [start(take) for _ in range(3)]
        pid = os.fork()
        if pid == 0:
            release()
            acquire(); release()
            start(take).wait()
            os._exit(0)
        while (found := os.waitpid(pid, os.WNOHANG)) == (0, 0): early_sleep(0.001)
        assert found == (pid, 0), found
        release()
        for g in gs: g.wait()
        # A signal handler ends the wait, and the lock stays as it was.
        def interrupt(*args): raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, interrupt)
        acquire()
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        try:
            acquire()
        except KeyboardInterrupt:
            log.append('interrupted')
        assert log == ['interrupted'] and early.locked()
        release()
    """
    run(script)
