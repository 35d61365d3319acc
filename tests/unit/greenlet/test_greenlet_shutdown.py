"""The end of the interpreter with greenlets in every state; each case is a process of its own."""

import sys

import pytest


def check(done, out=None, code=0):
    assert done.code == code, done
    assert "Fatal Python error" not in done.err, done
    assert "panicked" not in done.err, done
    if out is not None:
        assert done.out == out, done


def test_suspended_at_exit(script):
    done = script(
        """
        from greenlet import getcurrent, greenlet
        g = greenlet(lambda: getcurrent().parent.switch("parked"))
        print(g.switch())
        """
    )
    check(done, "parked\n")


def test_many_suspended_at_exit(script):
    done = script(
        """
        from greenlet import getcurrent, greenlet
        keep = [greenlet(lambda: getcurrent().parent.switch()) for _ in range(2000)]
        for g in keep:
            g.switch()
        print("end")
        """
    )
    check(done, "end\n")


def test_in_atexit(script):
    """Greenlets work in atexit functions, which run before the finalization."""
    done = script(
        """
        import atexit
        from greenlet import getcurrent, greenlet

        def last():
            g = greenlet(lambda: getcurrent().parent.switch("in atexit"))
            print(g.switch(), repr(getcurrent())[:18])
            print(g.switch())

        atexit.register(last)
        """
    )
    check(done, "in atexit <greenlet.greenlet\n()\n")


def test_killed_in_atexit(script):
    done = script(
        """
        import atexit
        from greenlet import getcurrent, greenlet

        def body():
            try:
                getcurrent().parent.switch()
            finally:
                print("unwound")

        def last():
            global g
            del g

        g = greenlet(body)
        g.switch()
        atexit.register(last)
        """
    )
    check(done, "unwound\n")


def test_finally_blocks_do_not_crash_the_finalization(script):
    """Whether a module's suspended greenlet is unwound while modules die is not promised."""
    done = script(
        """
        import sys
        from greenlet import getcurrent, greenlet

        def body():
            try:
                getcurrent().parent.switch()
            finally:
                sys.stdout.write("unwound ")

        g = greenlet(body)
        g.switch()
        sys.stdout.write("end ")
        """
    )
    check(done)
    assert done.out in ("end ", "end unwound ")


def test_getcurrent_while_finalizing(script):
    """RuntimeError, or a plain greenlet if the interpreter still works; never a crash."""
    done = script(
        """
        import greenlet

        class Late:
            def __del__(self, getcurrent=greenlet.getcurrent, print=print):
                try:
                    print(type(getcurrent()).__name__)
                except RuntimeError as e:
                    print(e)

        greenlet.getcurrent()
        late = Late()
        late.me = late
        import builtins
        builtins.late = late
        del late
        """
    )
    check(done)
    assert done.out in ("greenlet\n", "greenlet is being finalized\n", ""), done


@pytest.mark.parametrize("where", ["__main__", "sys", "builtins"])
def test_switch_in_del_while_finalizing(script, where):
    done = script(
        """
        import importlib, sys
        import greenlet

        class Late:
            def __del__(self, greenlet=greenlet.greenlet, error=greenlet.error):
                try:
                    greenlet(lambda: None).switch()
                except (RuntimeError, error):
                    pass

        importlib.import_module(sys.argv[1]).late = Late()
        print("end")
        """,
        where,
    )
    check(done, "end\n")


def test_exit_from_a_greenlet(script):
    done = script(
        """
        import sys
        from greenlet import greenlet
        def body():
            print("leaving")
            sys.exit(7)
        greenlet(body).switch()
        print("not reached")
        """
    )
    check(done, "leaving\n", 7)


def test_os_exit_from_a_greenlet(script):
    done = script("import os; from greenlet import greenlet; greenlet(os._exit).switch(3)")
    check(done, "", 3)


def test_uncaught_exception_in_a_greenlet(script):
    done = script(
        """
        from greenlet import greenlet
        def body():
            raise ValueError("uncaught")
        greenlet(body).switch()
        """
    )
    check(done, "", 1)
    assert "ValueError: uncaught" in done.err
    assert "in body" in done.err


def test_keyboard_interrupt_in_a_greenlet(script):
    done = script(
        """
        import signal, time
        from greenlet import greenlet
        def body():
            signal.raise_signal(signal.SIGINT)
            time.sleep(20)
        try:
            greenlet(body).switch()
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    check(done, "interrupted\n")


def test_daemon_thread_with_greenlets(script):
    done = script(
        """
        import threading, time
        from greenlet import getcurrent, greenlet
        ready = threading.Event()

        def work():
            keep = [greenlet(lambda: getcurrent().parent.switch()) for _ in range(20)]
            for g in keep:
                g.switch()
            ready.set()
            while True:
                greenlet(time.sleep).switch(0.001)

        for _ in range(3):
            ready.clear()
            threading.Thread(target=work, daemon=True).start()
            ready.wait(20)
        print("end")
        """
    )
    check(done, "end\n")


def test_thread_that_ends_after_main(script):
    done = script(
        """
        import threading
        from greenlet import getcurrent, greenlet
        go = threading.Event()

        def work():
            g = greenlet(lambda: getcurrent().parent.switch())
            g.switch()
            go.wait(20)
            print(g.switch())

        threading.Thread(target=work).start()
        threading.Timer(0.05, go.set).start()
        """
    )
    check(done, "()\n")


def test_greenlet_of_a_dead_thread_at_exit(script):
    done = script(
        """
        import threading
        from greenlet import getcurrent, greenlet
        keep = []

        def work():
            g = greenlet(lambda: getcurrent().parent.switch())
            g.switch()
            keep.append(g)

        threads = [threading.Thread(target=work) for _ in range(5)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        print(len(keep))
        """
    )
    check(done, "5\n")


def test_tracing_at_exit(script):
    done = script(
        """
        from greenlet import getcurrent, greenlet, settrace
        settrace(lambda event, args: None)
        g = greenlet(lambda: getcurrent().parent.switch())
        g.switch()
        print("end")
        """
    )
    check(done, "end\n")


def test_weakref_callback_at_exit(script):
    done = script(
        """
        import weakref
        from greenlet import getcurrent, greenlet
        g = greenlet(lambda: getcurrent().parent.switch())
        g.switch()
        ref = weakref.ref(g, lambda r: print("gone"))
        print("end")
        """
    )
    check(done)
    assert done.out in ("end\n", "end\ngone\n")


def test_reference_from_its_own_frame_at_exit(script):
    done = script(
        """
        from greenlet import getcurrent, greenlet
        def body():
            me = getcurrent()
            me.parent.switch()
        greenlet(body).switch()
        print("end")
        """
    )
    check(done, "end\n")


def test_import_again_after_removal_from_sys_modules(script):
    """The native module is single-phase: a second import gives a working package."""
    done = script(
        """
        import sys
        import greenlet
        first = greenlet.greenlet
        for name in [n for n in sys.modules if n.startswith("greenlet")]:
            del sys.modules[name]
        import greenlet
        assert greenlet.greenlet is first
        print(greenlet.greenlet(lambda: "works").switch())
        """
    )
    check(done, "works\n")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no per-interpreter checks before")
def test_subinterpreter_is_refused_or_works(script):
    """Sub-interpreters are not supported; importing in one must not crash the process."""
    done = script(
        """
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        interp = interpreters.create()
        try:
            interpreters.run_string(interp, "import greenlet")
        except Exception as e:
            print(type(e).__name__)
        print("end")
        """
    )
    check(done)
    assert done.out.endswith("end\n")
