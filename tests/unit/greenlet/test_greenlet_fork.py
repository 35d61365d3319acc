"""fork() while greenlets exist: the child continues with copies of all of them."""

import os
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


def test_child_continues_all_greenlets(script):
    done = script(
        """
        import os, sys
        from greenlet import getcurrent, greenlet

        def body(n):
            while True:
                n += getcurrent().parent.switch(n)

        keep = [greenlet(body) for _ in range(50)]
        values = [g.switch(n) for n, g in enumerate(keep)]
        pid = os.fork()
        values = [g.switch(100 if pid else 200) for g in keep]
        assert values == [n + (100 if pid else 200) for n in range(50)], values
        if pid:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            print("parent")
        """
    )
    assert (done.code, done.out) == (0, "parent\n"), done


def test_fork_inside_a_greenlet(script):
    done = script(
        """
        import os, sys
        from greenlet import getcurrent, greenlet

        def body():
            pid = os.fork()
            getcurrent().parent.switch(pid)
            return "finished"

        g = greenlet(body)
        pid = g.switch()
        assert g.switch() == "finished"
        assert greenlet(lambda: 5).switch() == 5
        if pid == 0:
            os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
        print("parent")
        """
    )
    assert (done.code, done.out) == (0, "parent\n"), done


def test_child_kills_what_it_inherited(script):
    done = script(
        """
        import os, sys
        from greenlet import getcurrent, greenlet
        log = []

        def body(n):
            try:
                getcurrent().parent.switch()
            finally:
                log.append(n)

        keep = [greenlet(body) for n in range(20)]
        for n, g in enumerate(keep):
            g.switch(n)
        del g
        pid = os.fork()
        if pid == 0:
            keep.clear()
            os._exit(0 if sorted(log) == list(range(20)) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert log == []
        print("parent")
        """
    )
    assert (done.code, done.out) == (0, "parent\n"), done


def test_greenlets_of_threads_that_the_child_does_not_have(script):
    done = script(
        """
        import os, sys, threading
        import greenlet as package
        from greenlet import getcurrent, greenlet
        theirs, ready, go = [], threading.Event(), threading.Event()

        def work():
            g = greenlet(lambda: getcurrent().parent.switch())
            g.switch()
            theirs.append(g)
            ready.set()
            go.wait(20)
            g.switch()

        thread = threading.Thread(target=work)
        thread.start()
        ready.wait(20)
        pid = os.fork()
        if pid == 0:
            try:
                theirs[0].switch()
            except package.error:
                theirs.clear()
                ok = greenlet(lambda: "alive").switch() == "alive"
                sys.stdout.flush()
                os._exit(0 if ok else 1)
            os._exit(2)
        go.set()
        thread.join()
        assert theirs[0].dead
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        print("parent")
        """
    )
    assert (done.code, done.out) == (0, "parent\n"), done


def test_thread_that_ran_a_greenlet_at_the_fork(script):
    """In the child that greenlet cannot be switched to, and its stack is left alone."""
    done = script(
        """
        import gc, os, sys, threading
        import greenlet as package
        from greenlet import getcurrent, greenlet
        theirs, ready, go = [], threading.Event(), threading.Event()

        def deep(n):
            if n:
                return deep(n - 1)
            ready.set()
            go.wait(20)

        def body():
            getcurrent().parent.switch()
            deep(50)

        def work():
            g = greenlet(body)
            theirs.append(g)
            g.switch()
            g.switch()

        thread = threading.Thread(target=work)
        thread.start()
        ready.wait(20)
        pid = os.fork()
        if pid == 0:
            try:
                theirs[0].switch()
            except package.error:
                theirs.clear()
            gc.collect()
            keep = [greenlet(lambda: getcurrent().parent.switch()) for _ in range(200)]
            for g in keep:
                g.switch()
            for g in keep:
                g.switch()
            os._exit(1 if theirs else 0)
        go.set()
        thread.join()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        print("parent")
        """
    )
    assert (done.code, done.out) == (0, "parent\n"), done


def test_child_ends_normally(script):
    """Finalization in the child, with suspended greenlets of the parent."""
    done = script(
        """
        import os, sys
        from greenlet import getcurrent, greenlet
        g = greenlet(lambda: getcurrent().parent.switch())
        g.switch()
        pid = os.fork()
        if pid:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            print("parent")
        """
    )
    assert (done.code, done.out) == (0, "parent\n"), done


@pytest.mark.skipif(sys.platform != "linux", reason="start methods of Linux")
def test_multiprocessing_fork(script):
    done = script(
        """
        import multiprocessing
        from greenlet import getcurrent, greenlet

        def task(n):
            g = greenlet(lambda: getcurrent().parent.switch(n * n))
            value = g.switch()
            g.switch()
            return value

        keep = greenlet(lambda: getcurrent().parent.switch())
        keep.switch()
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(sum(pool.map(task, range(50))))
        """
    )
    assert (done.code, done.out) == (0, "40425\n"), done
